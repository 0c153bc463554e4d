//! The door to the science: what a slot's thread asks of it, and how its failures are classed.
//!
//! Tensors never leave the thread that made them; reports and checkpoints' bytes do.

use std::any::Any;
use std::ops::ControlFlow;

use motif_motor::checkpoint::Checkpoint;
use motif_motor::config::{Objective, TrainingConfig};
use motif_motor::device::{Device, Numerics, Precision};
use motif_motor::engine::Engine as EpisodeEngine;
use motif_motor::engine::cuda::{CardError, rows_per_block_for};
use motif_motor::error::Error as MotorError;
use motif_motor::evaluation::{Evaluation, Examiner, Progress};
use motif_motor::training::{BatchReport, Trainer};
use motif_proto::run::{Failure, FailureClass};
use motif_proto::spec::{ExperimentKind, ExperimentSpec};

use crate::spec::{training_config, with_inputs_of};

/// Builds trainings. Shared by all slots.
pub trait Engine: Send + Sync {
    /// A training at its beginning, or where a checkpoint (`resume`) left off. It belongs to the thread that called.
    /// `base` is the checkpoint file of the network that the experiment starts from, needed also to go on.
    ///
    /// # Errors
    /// When the spec cannot be carried out or a checkpoint does not fit.
    fn open(
        &self,
        spec: &ExperimentSpec,
        base: Option<&[u8]>,
        resume: Option<&[u8]>,
    ) -> Result<Box<dyn Training>, Failure>;
}

/// Is told which part of an evaluation is done, from 0 to 1, and answers whether it should stop there.
pub type Watch<'a> = dyn FnMut(f64) -> bool + 'a;

/// One run's training, or an evaluation: a training of no batches and without states to keep. All calls block.
pub trait Training {
    /// Whether there are states to keep. If not, the evaluation itself is the result.
    fn has_states(&self) -> bool {
        true
    }
    /// What runs its episodes, in a word.
    fn engine(&self) -> &'static str {
        "none"
    }
    /// Batch that comes next.
    fn next_batch(&self) -> u64;
    /// Whether all batches were trained.
    fn is_finished(&self) -> bool;
    /// Whether the newest batch is due an evaluation that was not completed.
    fn evaluation_pending(&self) -> bool;
    /// Trains the next batch.
    ///
    /// # Errors
    /// When it cannot be trained; then nothing was changed.
    fn train_batch(&mut self) -> Result<BatchReport, Failure>;
    /// Evaluates; `None` when `watch` said before the end that it should stop.
    ///
    /// # Errors
    /// When a score is not finite.
    fn evaluate(&mut self, watch: &mut Watch<'_>) -> Result<Option<Evaluation>, Failure>;
    /// A checkpoint file's bytes.
    ///
    /// # Errors
    /// When the state cannot be written down.
    fn checkpoint(&self) -> Result<Vec<u8>, Failure>;
}

/// The real engine.
#[derive(Clone, Copy, Debug)]
pub struct Motor {
    numerics: Numerics,
    episodes: EpisodeEngine,
}

impl Motor {
    /// An engine in single precision on a device.
    ///
    /// # Errors
    /// When the device cannot be used.
    pub fn new(device: Device) -> Result<Self, motif_motor::device::DeviceError> {
        Numerics::new(Precision::F32, device).map(|numerics| Self {
            numerics,
            episodes: EpisodeEngine::Fused,
        })
    }

    /// The same with a choice of what runs the episodes of new trainings; resumed ones keep theirs.
    #[must_use]
    pub fn with_episodes_by(self, episodes: EpisodeEngine) -> Self {
        Self { episodes, ..self }
    }

    /// The same with threads that share the work of an episode. They change no result.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self {
            numerics: self.numerics.with_threads(threads),
            ..self
        }
    }

    /// The same for so many runs at once, which decides how a card's work is cut up. That changes no result.
    #[must_use]
    pub fn with_slots(self, slots: u32) -> Self {
        let rows = rows_per_block_for(slots as usize);
        Self {
            numerics: self.numerics.with_rows_per_block(Some(rows)),
            ..self
        }
    }

    fn config(&self, spec: &ExperimentSpec) -> TrainingConfig {
        let config = TrainingConfig {
            engine: self.episodes,
            ..training_config(spec)
        };
        if self.numerics.card().is_some() && !config.has_kernels() {
            tracing::info!("the fused engine does not run this: libtorch does, step by step, on the card");
        }
        config
    }
}

impl Engine for Motor {
    fn open(
        &self,
        spec: &ExperimentSpec,
        base: Option<&[u8]>,
        resume: Option<&[u8]>,
    ) -> Result<Box<dyn Training>, Failure> {
        let read = |bytes: &[u8]| Checkpoint::from_bytes(bytes).map_err(MotorError::from);
        let opened = || -> Result<Box<dyn Training>, MotorError> {
            // A checkpoint of the run itself holds all that the base gave, but for what a teacher shows.
            if let Some(resume) = resume {
                let own = read(resume)?;
                let config = with_inputs_of(self.config(spec), &own.config.network, None);
                let teaches = config.objective == Objective::MuscleActivity;
                let trainer = Trainer::resume(config, self.numerics, &own)?;
                return Ok(Box::new(match base.filter(|_| teaches) {
                    Some(teacher) => trainer.taught_by(&read(teacher)?)?,
                    None => trainer,
                }));
            }
            let config = self.config(spec);
            let base = base.map(read).transpose()?;
            let Some(base) = base else {
                return Ok(Box::new(Trainer::new(config, self.numerics)?));
            };
            let of_base = |config| with_inputs_of(config, &base.config.network, Some(spec.kind));
            Ok(match spec.kind {
                ExperimentKind::Train => Box::new(Trainer::new(config, self.numerics)?.taught_by(&base)?),
                ExperimentKind::Continue => {
                    Box::new(Trainer::continuing(of_base(config), self.numerics, &base)?)
                }
                ExperimentKind::Transfer => {
                    Box::new(Trainer::transferring(of_base(config), self.numerics, &base)?)
                }
                ExperimentKind::Evaluate => {
                    Box::new(Examination::new(of_base(config), self.numerics, &base)?)
                }
            })
        };
        if base.is_none() && resume.is_none() && spec.kind.needs_base() {
            return Err(Failure {
                class: FailureClass::BadSpec,
                message: format!("a {} needs a base, and none was given", spec.kind.as_str()),
            });
        }
        // A base that does not fit is a mistake of the spec; a checkpoint of the run itself is not.
        let of_spec = resume.is_none();
        opened().map_err(|error| match error {
            MotorError::Checkpoint(_) if of_spec => Failure {
                class: FailureClass::BadSpec,
                message: format!("the base does not fit: {}", chain(&error)),
            },
            error => failure(&error),
        })
    }
}

/// The evaluation of a network that is not trained.
struct Examination {
    examiner: Examiner,
    done: bool,
}

impl Examination {
    fn new(config: TrainingConfig, numerics: Numerics, base: &Checkpoint) -> Result<Self, MotorError> {
        Ok(Self {
            examiner: Examiner::new(config, numerics, base)?,
            done: false,
        })
    }
}

impl Training for Examination {
    fn has_states(&self) -> bool {
        false
    }

    fn next_batch(&self) -> u64 {
        0
    }

    fn is_finished(&self) -> bool {
        true
    }

    fn evaluation_pending(&self) -> bool {
        !self.done
    }

    fn train_batch(&mut self) -> Result<BatchReport, Failure> {
        Err(failure(&MotorError::Finished { batches: 0 }))
    }

    fn evaluate(&mut self, watch: &mut Watch<'_>) -> Result<Option<Evaluation>, Failure> {
        let evaluation = unless_stopped(watch, |progress| self.examiner.evaluate(progress))?;
        self.done = evaluation.is_some();
        // The one point of its curves.
        Ok(evaluation.map(|evaluation| Evaluation {
            batch: 0,
            ..evaluation
        }))
    }

    fn checkpoint(&self) -> Result<Vec<u8>, Failure> {
        Err(failure(&MotorError::Finished { batches: 0 }))
    }
}

/// An evaluation, or `None` when `watch` stopped it before its end.
fn unless_stopped(
    watch: &mut Watch<'_>,
    evaluate: impl FnOnce(&mut Progress<'_>) -> Result<Evaluation, MotorError>,
) -> Result<Option<Evaluation>, Failure> {
    let mut go_on = |done| match watch(done) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    match evaluate(&mut go_on) {
        Ok(evaluation) => Ok(Some(evaluation)),
        Err(MotorError::Interrupted) => Ok(None),
        Err(error) => Err(failure(&error)),
    }
}

impl Training for Trainer {
    fn engine(&self) -> &'static str {
        match self.config().engine {
            EpisodeEngine::Reference => "reference",
            EpisodeEngine::Fused => "fused",
        }
    }

    fn next_batch(&self) -> u64 {
        Trainer::next_batch(self)
    }

    fn is_finished(&self) -> bool {
        Trainer::is_finished(self)
    }

    fn evaluation_pending(&self) -> bool {
        Trainer::evaluation_pending(self)
    }

    fn train_batch(&mut self) -> Result<BatchReport, Failure> {
        Trainer::train_batch(self).map_err(|error| failure(&error))
    }

    fn evaluate(&mut self, watch: &mut Watch<'_>) -> Result<Option<Evaluation>, Failure> {
        unless_stopped(watch, |progress| Trainer::evaluate(self, progress))
    }

    fn checkpoint(&self) -> Result<Vec<u8>, Failure> {
        let bytes = Trainer::checkpoint(self).to_bytes();
        bytes.map_err(|error| failure(&MotorError::from(error)))
    }
}

/// Classes an error of the science, for the decision whether another attempt makes sense.
fn failure(error: &MotorError) -> Failure {
    let class = match error {
        MotorError::InvalidConfig { .. } | MotorError::NoTeacher => FailureClass::BadSpec,
        MotorError::Diverged { .. } | MotorError::EvaluationDiverged { .. } => FailureClass::Diverged,
        MotorError::Card(CardError::OutOfMemory { .. }) => FailureClass::OutOfMemory,
        MotorError::Card(_)
        | MotorError::Interrupted
        | MotorError::Finished { .. }
        | MotorError::Checkpoint(_)
        | MotorError::Device(_)
        | MotorError::Read { .. } => FailureClass::Internal,
    };
    Failure {
        class,
        message: chain(error),
    }
}

/// An error and what caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let detail = error.to_string();
        // Some errors repeat their source's words in their own.
        if !text.contains(&detail) {
            text.push_str(": ");
            text.push_str(&detail);
        }
        cause = error.source();
    }
    text
}

/// Classes a panic of the science: libtorch reports what goes wrong inside an operation only in words.
#[must_use]
pub fn failure_of_panic(payload: &(dyn Any + Send)) -> Failure {
    const OUT_OF_MEMORY: [&str; 4] = [
        "out of memory",
        "can't allocate memory",
        "not enough memory",
        "CUBLAS_STATUS_ALLOC_FAILED",
    ];
    let words = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("the training stopped without saying why");
    let out_of_memory = OUT_OF_MEMORY.iter().any(|sign| words.contains(sign));
    let class = if out_of_memory {
        FailureClass::OutOfMemory
    } else {
        FailureClass::Internal
    };
    // What follows the first lines is libtorch's own stack.
    let message: Vec<&str> = words.lines().take(3).collect();
    Failure {
        class,
        message: message.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use motif_motor::tasks::{Mode, Task, TrialConditions};
    use serde_json::json;

    use super::*;

    #[test]
    fn libtorch_s_words_for_memory_are_understood() {
        for words in [
            "CUDA out of memory. Tried to allocate 20.00 GiB",
            "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried",
        ] {
            let payload: Box<dyn Any + Send> = Box::new(words.to_owned());
            assert_eq!(
                failure_of_panic(payload.as_ref()).class,
                FailureClass::OutOfMemory
            );
        }
        let payload: Box<dyn Any + Send> = Box::new("index out of range");
        let failure = failure_of_panic(payload.as_ref());
        assert_eq!(
            (failure.class, failure.message.as_str()),
            (FailureClass::Internal, "index out of range")
        );
    }

    #[test]
    fn a_checkpoint_of_another_training_is_refused_with_the_reason() {
        let spec = |hidden: u32| {
            ExperimentSpec::resolve(
                &json!({ "network": { "hidden": hidden }, "training": { "batch_size": 2 } }),
                None,
            )
            .expect("a valid spec")
        };
        let engine = Motor::new(Device::Cpu).expect("a processor");
        let bytes = engine
            .open(&spec(4), None, None)
            .and_then(|training| training.checkpoint())
            .expect("a checkpoint");
        let refused = engine.open(&spec(5), None, Some(&bytes)).err().expect("refused");
        assert!(
            refused.message.contains("another `network`"),
            "{}",
            refused.message
        );
        assert!(engine.open(&spec(4), None, Some(&bytes[..100])).is_err());
    }

    #[test]
    fn divergence_names_batch_task_and_conditions() {
        let conditions = TrialConditions {
            task: Task::DlyHalfReach,
            mode: Mode::Train,
            speed: 2,
            delay_steps: 50,
            directions: vec![0, 3],
            backward_directions: None,
        };
        let failure = failure(&MotorError::Diverged {
            batch: 17,
            conditions: Box::new(conditions),
            quantity: "loss/rate".to_owned(),
        });
        assert_eq!(failure.class, FailureClass::Diverged);
        for word in ["loss/rate", "batch 17", "DlyHalfReach", "speed 2", "delay 50"] {
            assert!(failure.message.contains(word), "{}", failure.message);
        }
    }
}
