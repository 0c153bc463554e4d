//! One run from where it stands to its end: batches, evaluations and checkpoints, in their order.
//!
//! The same loop serves a coordinator and a folder; a [`Recorder`] is told what happened.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use motif_motor::evaluation::Evaluation;
use motif_motor::training::BatchReport;
use motif_proto::run::{CheckpointKind, Failure};

use crate::engine::Training;
use crate::{monitoring, table};

/// Asks a training to stop at the next batch, from any thread.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicU8>);

/// What a training was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// Nothing.
    GoOn,
    /// To stop and leave a checkpoint.
    HandBack,
    /// To stop and leave nothing.
    Abandon,
}

impl Stop {
    /// Asks for a stop with a checkpoint; does not weaken an earlier [`abandon`](Self::abandon).
    pub fn hand_back(&self) {
        self.0.fetch_max(Asked::HandBack as u8, Ordering::Relaxed);
    }

    /// Asks for a stop that leaves nothing.
    pub fn abandon(&self) {
        self.0.fetch_max(Asked::Abandon as u8, Ordering::Relaxed);
    }

    /// The strongest that was asked so far.
    #[must_use]
    pub fn asked(&self) -> Asked {
        match self.0.load(Ordering::Relaxed) {
            0 => Asked::GoOn,
            1 => Asked::HandBack,
            _ => Asked::Abandon,
        }
    }
}

/// A state of a network, as a file's bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// What it is kept for.
    pub kind: CheckpointKind,
    /// The first batch that is not in it.
    pub next_batch: u64,
    /// Score of the evaluation of this state, if there was one.
    pub validation: Option<f64>,
    /// The checkpoint file.
    pub bytes: Vec<u8>,
}

/// Is told what happens, in order. An error ends the training.
pub trait Recorder {
    /// Why something could not be recorded.
    type Error;

    /// A batch was trained; `batches_per_second` is the recent speed, evaluations left out.
    ///
    /// # Errors
    /// When it cannot be recorded.
    fn batch(&mut self, report: &BatchReport, batches_per_second: f64) -> Result<(), Self::Error>;

    /// An evaluation of the newest batch's network is under way; `done` goes from 0 to 1.
    fn evaluating(&mut self, done: f64) {
        let _ = done;
    }

    /// An evaluation of the newest batch's network ended.
    ///
    /// # Errors
    /// When it cannot be recorded.
    fn evaluation(&mut self, evaluation: &Evaluation) -> Result<(), Self::Error>;

    /// A state to keep. Everything recorded before belongs to it.
    ///
    /// # Errors
    /// When it cannot be recorded.
    fn checkpoint(&mut self, state: State) -> Result<(), Self::Error>;

    /// A file to keep beside the checkpoints; a later one of the same name replaces it.
    ///
    /// # Errors
    /// When it cannot be recorded.
    fn artifact(&mut self, name: &str, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All batches were trained, and evaluated where due.
    Finished,
    /// It was asked to stop, and left a checkpoint unless that was recorded already.
    HandedBack,
    /// It was asked to stop, and left nothing.
    Abandoned,
    /// The batch before which it was to stop comes next, and a checkpoint is left.
    Reached,
}

/// Why a training ended early.
#[derive(Debug, PartialEq)]
pub enum Error<E> {
    /// The training failed.
    Training(Failure),
    /// What it did could not be recorded.
    Recording(E),
}

impl<E> From<Failure> for Error<E> {
    fn from(failure: Failure) -> Self {
        Self::Training(failure)
    }
}

/// Trains to the end, until asked to stop, or until batch `stop_before` would come next. A training that stops
/// there does nothing that it would not have done otherwise, so going on from its checkpoint is the same training.
///
/// # Errors
/// The training's failure or the recorder's error.
pub fn drive<R: Recorder>(
    training: &mut dyn Training,
    stop: &Stop,
    stop_before: Option<u64>,
    recorder: &mut R,
) -> Result<Ended, Error<R::Error>> {
    let engine = training.engine();
    let mut speed = Speed::default();
    // A state that was just opened is recorded already: it is the beginning, or came from a checkpoint.
    let mut recorded = Position::of(training);
    loop {
        match stop.asked() {
            Asked::GoOn => {}
            Asked::HandBack if recorded == Position::of(training) => return Ok(Ended::HandedBack),
            Asked::HandBack => {
                let last = state(training, CheckpointKind::Last, None)?;
                recorder.checkpoint(last).map_err(Error::Recording)?;
                return Ok(Ended::HandedBack);
            }
            Asked::Abandon => return Ok(Ended::Abandoned),
        }
        if training.evaluation_pending() {
            let mut watch = |done| {
                recorder.evaluating(done);
                stop.asked() > Asked::GoOn
            };
            let begun = Instant::now();
            let Some(evaluation) = training.evaluate(&mut watch)? else {
                continue;
            };
            monitoring::evaluated(begun.elapsed());
            recorder.evaluation(&evaluation).map_err(Error::Recording)?;
            if !training.has_states() {
                for (name, bytes) in table::files(&evaluation) {
                    recorder.artifact(name, &bytes).map_err(Error::Recording)?;
                }
                continue;
            }
            // The same bytes for both, so that a store that goes by content keeps them once.
            let last = state(training, CheckpointKind::Last, Some(evaluation.total))?;
            if evaluation.is_best {
                let best = State {
                    kind: CheckpointKind::Best,
                    ..last.clone()
                };
                recorder.checkpoint(best).map_err(Error::Recording)?;
            }
            recorder.checkpoint(last).map_err(Error::Recording)?;
            recorded = Position::of(training);
        } else if training.is_finished() {
            return Ok(Ended::Finished);
        } else if stop_before.is_some_and(|batch| training.next_batch() >= batch) {
            if recorded != Position::of(training) {
                let last = state(training, CheckpointKind::Last, None)?;
                recorder.checkpoint(last).map_err(Error::Recording)?;
            }
            return Ok(Ended::Reached);
        } else {
            let begun = Instant::now();
            let report = training.train_batch()?;
            let took = begun.elapsed();
            monitoring::trained(engine, took);
            let per_second = speed.after(took);
            recorder.batch(&report, per_second).map_err(Error::Recording)?;
        }
    }
}

fn state(training: &dyn Training, kind: CheckpointKind, validation: Option<f64>) -> Result<State, Failure> {
    Ok(State {
        kind,
        next_batch: training.next_batch(),
        validation,
        bytes: training.checkpoint()?,
    })
}

/// What distinguishes the states of one training.
#[derive(PartialEq)]
struct Position {
    next_batch: u64,
    evaluation_pending: bool,
}

impl Position {
    fn of(training: &dyn Training) -> Self {
        Self {
            next_batch: training.next_batch(),
            evaluation_pending: training.evaluation_pending(),
        }
    }
}

/// Mean speed over the newest batches: their lengths differ by a factor of three.
#[derive(Default)]
struct Speed {
    newest: VecDeque<Duration>,
    sum: Duration,
}

impl Speed {
    const BATCHES: usize = 50;

    fn after(&mut self, batch: Duration) -> f64 {
        self.newest.push_back(batch);
        self.sum += batch;
        if self.newest.len() > Self::BATCHES {
            self.sum -= self.newest.pop_front().unwrap_or_default();
        }
        self.newest.len() as f64 / self.sum.as_secs_f64().max(1e-9)
    }
}
