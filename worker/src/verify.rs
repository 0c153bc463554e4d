//! Recomputing parts of a finished run from what its folder holds, and comparing bit for bit.
//!
//! A folder keeps two states, the best and the last; so the batches from the run's beginning (seed or base) and those
//! after the best state can be recomputed, with the evaluations among them, and the evaluations of both states. A
//! recomputation that arrives at a state of the folder must be in that state.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use motif_motor::checkpoint::Checkpoint;
use motif_motor::config::{Objective, TrainingConfig};
use motif_motor::device::Numerics;
use motif_motor::error::Error as MotorError;
use motif_motor::evaluation::{Evaluation, Examiner};
use motif_motor::host_tensor::TensorTable;
use motif_motor::training::Trainer;
use motif_proto::run::CheckpointKind;
use motif_proto::spec::ExperimentKind;
use serde::Serialize;

use crate::base::{BaseError, LocalBase};
use crate::local::history::{Began, evaluations_between, read_numbers};
use crate::local::hyperparameters::Stored;
use crate::local::{HYPERPARAMETERS, LOSSES, TEST_LOSSES, checkpoint_file, read_stored};
use crate::spec::{training_config, with_inputs_of};
use crate::table;

/// What was recomputed, and whether it was the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// In words.
    pub what: String,
    /// File that holds the record.
    pub file: &'static str,
    /// Numbers compared.
    pub compared: u64,
    /// The first that differs.
    pub difference: Option<Difference>,
    /// What else is not as it should be, in words.
    pub mismatch: Option<String>,
    /// Why nothing was compared.
    pub skipped: Option<String>,
}

/// Two numbers that should be one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub batch: u64,
    pub recomputed: f64,
    pub recorded: f64,
}

/// Why a folder cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("{0} holds no hp.json of Motif: it is no run's folder")]
    NoRun(PathBuf),
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Motor(#[from] MotorError),
    #[error(transparent)]
    Base(#[from] BaseError),
    #[error("{path} is not the base that the run began from: its SHA-256 is another")]
    OtherBase { path: PathBuf },
}

/// Sees a verification go on.
pub trait Follow {
    /// What is being recomputed, and which part of it is done, from 0 to 1.
    fn under_way(&mut self, what: &str, done: f64);

    /// A result.
    fn checked(&mut self, check: &Check);
}

/// Recomputes and compares; `follow` sees each result as soon as it is known.
///
/// At most `batches` of each stretch. `base` takes the place of the path that the folder remembers.
///
/// # Errors
/// When the folder cannot be read. A difference is no error but part of the result.
pub fn verify(
    folder: &Path,
    batches: u64,
    base: Option<&Path>,
    numerics: Numerics,
    follow: &mut dyn Follow,
) -> Result<Vec<Check>, VerifyError> {
    let stored = read_stored(folder).ok_or_else(|| VerifyError::NoRun(folder.to_owned()))?;
    let run = Run {
        base: find_base(&stored, base)?,
        folder,
        stored,
        numerics,
    };
    if run.stored.spec.kind == ExperimentKind::Evaluate {
        let check = run.evaluation(follow)?;
        follow.checked(&check);
        return Ok(vec![check]);
    }
    let history = History::read(folder, &run.stored)?;
    let last = run.checkpoint(CheckpointKind::Last)?;
    let best = run.checkpoint(CheckpointKind::Best)?;
    let mut checks = Vec::new();
    let mut add = |check: Check, follow: &mut dyn Follow| {
        follow.checked(&check);
        checks.push(check);
    };
    add(run.settings(&last), follow);
    add(history.lengths(&last), follow);
    let best_is_last = best.next_batch == last.next_batch;
    let mut held = vec![(CheckpointKind::Best, &best), (CheckpointKind::Last, &last)];
    for check in run.beginning(&last, &history, &held, batches, follow)? {
        add(check, follow);
    }
    if !best_is_last {
        held.remove(0);
        for check in run.after(&best, &last, &history, &held, batches, follow)? {
            add(check, follow);
        }
        add(run.evaluation_of("best", &best, &history, follow)?, follow);
    }
    let name = if best_is_last { "last and best" } else { "last" };
    add(run.evaluation_of(name, &last, &history, follow)?, follow);
    Ok(checks)
}

/// The numbers of both files.
struct History {
    losses: Vec<f64>,
    test_losses: Vec<f64>,
    began: Began,
    save_every: u64,
}

impl History {
    fn read(folder: &Path, stored: &Stored) -> Result<Self, VerifyError> {
        let numbers = |name: &str| {
            let path = folder.join(name);
            read_numbers(&path).map_err(|source| VerifyError::Read { path, source })
        };
        Ok(Self {
            losses: numbers(LOSSES)?,
            test_losses: numbers(TEST_LOSSES)?,
            began: stored.began,
            save_every: stored
                .spec
                .training
                .as_ref()
                .map_or(1, |training| training.save_every),
        })
    }

    /// The recorded loss of a batch.
    fn loss(&self, batch: u64) -> Option<f64> {
        let line = (self.began.losses + batch).checked_sub(self.began.batch)?;
        self.losses.get(usize::try_from(line).ok()?).copied()
    }

    /// The recorded result of the evaluation after a batch.
    fn evaluation(&self, batch: u64) -> Option<f64> {
        let since = evaluations_between(self.began.evaluated, Some(batch), self.save_every);
        let line = (self.began.test_losses + since).checked_sub(1)?;
        self.test_losses.get(usize::try_from(line).ok()?).copied()
    }

    /// Whether both files have the lines that the last state presumes; more only where the run is not finished.
    fn lengths(&self, last: &Checkpoint) -> Check {
        let expected = self.began.lines(Some(last), self.save_every);
        let finished = last.next_batch >= last.config.batches;
        let files = [
            (LOSSES, self.losses.len() as u64, expected.losses),
            (TEST_LOSSES, self.test_losses.len() as u64, expected.test_losses),
        ];
        let wrong =
            |&(_, found, expected): &(&str, u64, u64)| found < expected || (finished && found > expected);
        let words = |(file, found, expected)| {
            format!("{file} has {found} lines, where the last state presumes {expected}")
        };
        Check {
            compared: files.len() as u64,
            mismatch: files.into_iter().find(wrong).map(words),
            ..Check::of("length of the histories", LOSSES)
        }
    }
}

struct Run<'a> {
    folder: &'a Path,
    stored: Stored,
    base: Option<Checkpoint>,
    numerics: Numerics,
}

impl Run<'_> {
    fn checkpoint(&self, kind: CheckpointKind) -> Result<Checkpoint, VerifyError> {
        let path = self.folder.join(checkpoint_file(kind));
        Ok(Checkpoint::read_from(&path).map_err(MotorError::from)?)
    }

    /// The run as it was when it began, with the configuration that its last state remembers.
    fn begin(&self, last: &Checkpoint) -> Result<Option<Trainer>, VerifyError> {
        let config = last.config.clone();
        let trainer = match (self.stored.spec.kind, &self.base) {
            (ExperimentKind::Continue, Some(base)) => Trainer::continuing(config, self.numerics, base)?,
            (ExperimentKind::Transfer, Some(base)) => Trainer::transferring(config, self.numerics, base)?,
            (ExperimentKind::Train, Some(teacher)) => {
                Trainer::new(config, self.numerics)?.taught_by(teacher)?
            }
            (ExperimentKind::Train, None) if config.objective == Objective::Movement => {
                Trainer::new(config, self.numerics)?
            }
            _ => return Ok(None),
        };
        Ok(Some(trainer))
    }

    /// Whether the last state was trained as hp.json asks.
    fn settings(&self, last: &Checkpoint) -> Check {
        let asked = TrainingConfig {
            engine: last.config.engine,
            ..with_inputs_of(training_config(&self.stored.spec), &last.config.network, None)
        };
        let [asked, trained] = [&asked, &last.config].map(|config| serde_json::json!(config));
        let differs = trained
            .as_object()
            .into_iter()
            .flatten()
            .find(|(field, value)| asked.get(*field) != Some(*value));
        Check {
            compared: 1,
            mismatch: differs.map(|(field, value)| {
                let asked = asked.get(field).unwrap_or(&serde_json::Value::Null);
                format!("hp.json asks for `{field}` {asked}, the last state was trained with {value}")
            }),
            ..Check::of("settings of the last state", HYPERPARAMETERS)
        }
    }

    fn beginning(
        &self,
        last: &Checkpoint,
        history: &History,
        held: &[Held<'_>],
        batches: u64,
        follow: &mut dyn Follow,
    ) -> Result<Vec<Check>, VerifyError> {
        match self.begin(last)? {
            Some(trainer) => stretch("from the beginning", trainer, history, held, batches, follow),
            None => Ok(vec![Check {
                skipped: Some("the base is not where it was: name it with --base".to_owned()),
                ..Check::of("batches from the beginning", LOSSES)
            }]),
        }
    }

    fn after(
        &self,
        best: &Checkpoint,
        last: &Checkpoint,
        history: &History,
        held: &[Held<'_>],
        batches: u64,
        follow: &mut dyn Follow,
    ) -> Result<Vec<Check>, VerifyError> {
        let mut trainer = Trainer::resume(last.config.clone(), self.numerics, best)?;
        if let (Objective::MuscleActivity, Some(teacher)) = (last.config.objective, &self.base) {
            trainer = trainer.taught_by(teacher)?;
        }
        stretch("after the best state", trainer, history, held, batches, follow)
    }

    fn evaluation_of(
        &self,
        name: &str,
        state: &Checkpoint,
        history: &History,
        follow: &mut dyn Follow,
    ) -> Result<Check, VerifyError> {
        let mut check = Check::of(&format!("evaluation of the {name} state"), TEST_LOSSES);
        let evaluated = state.evaluated.filter(|batch| batch + 1 == state.next_batch);
        let recorded = evaluated.and_then(|batch| history.evaluation(batch));
        let (Some(batch), Some(recorded)) = (evaluated, recorded) else {
            check.skipped = Some("none was recorded".to_owned());
            return Ok(check);
        };
        let examiner = Examiner::new(state.config.clone(), self.numerics, state)?;
        let evaluation = evaluate(&examiner, &check.what, follow)?;
        check.what = format!("{} after batch {batch}", check.what);
        check.compare(batch, evaluation.total, recorded);
        Ok(check)
    }

    /// Of an `evaluate`: the whole table.
    fn evaluation(&self, follow: &mut dyn Follow) -> Result<Check, VerifyError> {
        let mut check = Check::of("evaluation of the base", "evaluation.csv");
        let Some(base) = &self.base else {
            check.skipped = Some("the base is not where it was: name it with --base".to_owned());
            return Ok(check);
        };
        let spec = &self.stored.spec;
        let asked = training_config(spec);
        let asked = TrainingConfig {
            engine: self.stored.engine.unwrap_or(asked.engine),
            ..asked
        };
        let config = with_inputs_of(asked, &base.config.network, Some(spec.kind));
        let examiner = Examiner::new(config, self.numerics, base)?;
        let evaluation = evaluate(&examiner, &check.what, follow)?;
        let [_, (name, recomputed)] = table::files(&evaluation);
        let path = self.folder.join(name);
        let recorded = std::fs::read_to_string(&path).map_err(|source| VerifyError::Read { path, source })?;
        let recomputed = String::from_utf8_lossy(&recomputed).into_owned();
        let position = |line: Option<&str>| -> f64 {
            let column = line.and_then(|line| line.split(',').nth(5));
            column.and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
        };
        let lines = recomputed.lines().count().max(recorded.lines().count());
        for line in 1..lines {
            let (ours, theirs) = (recomputed.lines().nth(line), recorded.lines().nth(line));
            check.compared += 1;
            if ours != theirs && check.difference.is_none() {
                check.difference = Some(Difference {
                    batch: line as u64,
                    recomputed: position(ours),
                    recorded: position(theirs),
                });
            }
        }
        Ok(check)
    }
}

/// A state of the folder.
type Held<'a> = (CheckpointKind, &'a Checkpoint);

impl Check {
    /// One that has compared nothing yet.
    fn of(what: &str, file: &'static str) -> Self {
        Self {
            what: what.to_owned(),
            file,
            compared: 0,
            difference: None,
            mismatch: None,
            skipped: None,
        }
    }

    pub fn passed(&self) -> bool {
        self.difference.is_none() && self.mismatch.is_none()
    }

    fn compare(&mut self, batch: u64, recomputed: f64, recorded: f64) {
        self.compared += 1;
        if recomputed.to_bits() != recorded.to_bits() && self.difference.is_none() {
            self.difference = Some(Difference {
                batch,
                recomputed,
                recorded,
            });
        }
    }
}

fn evaluate(examiner: &Examiner, what: &str, follow: &mut dyn Follow) -> Result<Evaluation, MotorError> {
    examiner.evaluate(&mut |done| {
        follow.under_way(what, done);
        ControlFlow::Continue(())
    })
}

/// Trains and compares, up to the first difference: what follows one differs too.
fn stretch(
    whence: &str,
    mut trainer: Trainer,
    history: &History,
    held: &[Held<'_>],
    batches: u64,
    follow: &mut dyn Follow,
) -> Result<Vec<Check>, VerifyError> {
    let first = trainer.next_batch();
    let what = format!("batches {whence}");
    let mut losses = Check::of(&what, LOSSES);
    let mut evaluations = Check::of(&format!("evaluations {whence}"), TEST_LOSSES);
    let mut states = Vec::new();
    while losses.compared < batches && losses.passed() && evaluations.passed() && !trainer.is_finished() {
        let Some(recorded) = history.loss(trainer.next_batch()) else {
            break;
        };
        follow.under_way(&what, losses.compared as f64 / batches as f64);
        let report = trainer.train_batch()?;
        losses.compare(report.batch, report.losses.total, recorded);
        states.extend(held.iter().filter_map(|held| same_state(&trainer, *held)));
        if let Some(recorded) = history
            .evaluation(report.batch)
            .filter(|_| trainer.evaluation_pending())
        {
            let evaluation = trainer.evaluate(&mut |_| {
                follow.under_way(&what, losses.compared as f64 / batches as f64);
                ControlFlow::Continue(())
            })?;
            evaluations.compare(report.batch, evaluation.total, recorded);
            states.extend(held.iter().filter_map(|held| same_state(&trainer, *held)));
        }
    }
    match losses.compared {
        0 => losses.skipped = Some("none was recorded".to_owned()),
        count => losses.what = format!("batches {first} to {} {whence}", first + count - 1),
    }
    let mut checks = vec![losses];
    checks.extend(Some(evaluations).filter(|check| check.compared > 0));
    checks.extend(states);
    Ok(checks)
}

/// Whether a trainer that has come to where a state of the folder was taken is in that state.
fn same_state(trainer: &Trainer, (kind, held): Held<'_>) -> Option<Check> {
    if trainer.next_batch() != held.next_batch {
        return None;
    }
    let reached = trainer.checkpoint();
    if reached.evaluated != held.evaluated {
        return None;
    }
    let tables = [(&reached.state, &held.state), (&reached.moments, &held.moments)];
    let differs = tables.into_iter().find_map(|(reached, held)| {
        let other = |name: &&String| held.get(*name) != reached.get(*name);
        reached.keys().chain(held.keys()).find(other)
    });
    let counters = |state: &Checkpoint| (state.adam_step, state.best);
    let mismatch = match differs {
        Some(name) => Some(format!("tensor `{name}` is another")),
        None if counters(&reached) != counters(held) => {
            Some("the best score or a counter is another".to_owned())
        }
        None => None,
    };
    let numbers = |table: &TensorTable| -> u64 {
        let sizes = table
            .values()
            .map(|tensor| tensor.shape().iter().product::<usize>() as u64);
        sizes.sum()
    };
    Some(Check {
        compared: numbers(&held.state) + numbers(&held.moments),
        mismatch,
        ..Check::of(
            &format!("state after batch {}", held.next_batch.saturating_sub(1)),
            checkpoint_file(kind),
        )
    })
}

/// The base that the folder remembers, or the one given; it must be the same file.
fn find_base(stored: &Stored, given: Option<&Path>) -> Result<Option<Checkpoint>, VerifyError> {
    let Some(record) = &stored.base else {
        return Ok(None);
    };
    let path = given.unwrap_or(&record.path);
    if given.is_none() && !path.exists() {
        return Ok(None);
    }
    let kind = stored.spec.base_checkpoint.unwrap_or(CheckpointKind::Best);
    let network = serde_json::to_value(&stored.spec.network).ok();
    let hints = network.filter(|_| stored.spec.kind != ExperimentKind::Train);
    let base = LocalBase::find(path, kind, hints.as_ref())?;
    if base.sha256 == record.sha256 {
        return Ok(Some(base.checkpoint));
    }
    if given.is_some() {
        return Err(VerifyError::OtherBase { path: base.path });
    }
    Ok(None)
}
