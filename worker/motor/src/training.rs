//! Training: batches, evaluations, checkpoints, in the order that the reference trains in.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Best, Checkpoint, CheckpointError};
use crate::config::{Objective, TrainingConfig};
use crate::device::{Numerics, set_intra_op_threads};
use crate::engine::NoiseSource;
use crate::engine::cuda::Card;
use crate::environment::Episode;
use crate::error::Error;
use crate::evaluation::{CONDITIONS_PER_CHUNK, Evaluation, Evaluator, Progress};
use crate::host_tensor::{TensorTable, in_precision};
use crate::imitation::Demonstration;
use crate::learner::{LearnError, Learner};
use crate::loss::Losses;
use crate::policy::{InputLayout, Policy};
use crate::random::{Purpose, Stream};
use crate::tasks::{DELAY_STEPS, Family, Mode, Trial, TrialConditions};

/// What one batch did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchReport {
    pub batch: u64,
    pub conditions: TrialConditions,
    pub losses: Losses,
    /// Joint 2-norm of the gradients before clipping.
    pub grad_norm: f64,
}

/// A training run in progress. Owned by one thread; all calls block.
///
/// libtorch uses one thread within an operation, set for the thread that builds the trainer;
/// [`set_intra_op_threads`] raises it, at the price of sums whose order may differ.
#[derive(Debug)]
pub struct Trainer {
    config: TrainingConfig,
    learner: Learner,
    teacher: Option<Policy>,
    next_batch: u64,
    /// Last batch whose evaluation was completed.
    evaluated: Option<u64>,
    best: Option<Best>,
    /// The episode of the batch that comes next, where there was time to lay it out.
    prepared: Option<Prepared>,
}

/// A batch's trial, laid out.
#[derive(Debug)]
struct Prepared {
    batch: u64,
    trial: Trial,
    episode: Episode,
}

impl Prepared {
    fn new(config: &TrainingConfig, batch: u64, numerics: Numerics) -> Self {
        let trial = Trial::new(draw_conditions(config, batch))
            .unwrap_or_else(|error| unreachable!("conditions are drawn from those there are: {error}"));
        Self {
            episode: Episode::new(std::slice::from_ref(&trial), numerics),
            batch,
            trial,
        }
    }
}

impl Trainer {
    /// Builds the initial network from the configuration's seed.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`].
    pub fn new(config: TrainingConfig, numerics: Numerics) -> Result<Self, Error> {
        config.validate()?;
        let numerics = numerics.for_training(&config)?;
        let policy = Policy::new(&config.network, config.seed, numerics);
        Self::at_start(config, policy, numerics)
    }

    /// Goes on where the checkpoint was taken: every later number is that of the uninterrupted run, bit for bit.
    ///
    /// The configuration may differ from the checkpoint's in how long to train and when and how to evaluate.
    /// The engine is the checkpoint's.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], or [`Error::Checkpoint`] if the checkpoint belongs to another training or does
    /// not fit.
    pub fn resume(
        config: TrainingConfig,
        numerics: Numerics,
        checkpoint: &Checkpoint,
    ) -> Result<Self, Error> {
        config.validate()?;
        require_same_training(&config, &checkpoint.config)?;
        let config = TrainingConfig {
            engine: checkpoint.config.engine,
            ..config
        };
        let numerics = numerics.for_training(&config)?;
        let policy = Policy::from_state(&config.network, &checkpoint.state, numerics)?;
        let mut trainer = Self::at_start(config, policy, numerics)?;
        trainer.go_on_from(checkpoint, &checkpoint.moments)?;
        Ok(trainer)
    }

    /// Trains a finished run further, with settings that may be others than its own: weights, Adam's moments, number
    /// of batches and best score go on. With the same settings every later number is that of a run that was never
    /// finished.
    ///
    /// Parameters that the base did not train start with moments of 0.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], also when the base has trained as many batches as are asked for;
    /// [`Error::Checkpoint`] if its tensors do not fit the network.
    pub fn continuing(config: TrainingConfig, numerics: Numerics, base: &Checkpoint) -> Result<Self, Error> {
        config.validate()?;
        if config.batches <= base.next_batch {
            return Err(Error::InvalidConfig {
                field: "batches",
                problem: format!(
                    "is {}, but the base has trained {} already: nothing is left to train",
                    config.batches, base.next_batch
                ),
            });
        }
        let config = TrainingConfig {
            engine: base.config.engine,
            ..config
        };
        let numerics = numerics.for_training(&config)?;
        let state = in_precision(&base.state, numerics);
        let policy = Policy::from_state(&config.network, &state, numerics)?;
        let mut trainer = Self::at_start(config, policy, numerics)?;
        // Exactly the moments of what is trained now.
        let mut moments = trainer.learner.adam.state();
        for (name, moment) in &mut moments {
            if let Some(stored) = base.moments.get(name) {
                *moment = stored.in_kind(numerics.kind());
            }
        }
        trainer.go_on_from(base, &moments)?;
        Ok(trainer)
    }

    /// Trains new rule inputs of a network that is otherwise kept as it is, from batch 0.
    ///
    /// The configuration's network is that of the base with [`new_rules`](crate::policy::InputLayout::new_rules).
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] when the network has no new rules or several regions; [`Error::Checkpoint`] if
    /// the base's tensors do not fit it.
    pub fn transferring(
        config: TrainingConfig,
        numerics: Numerics,
        base: &Checkpoint,
    ) -> Result<Self, Error> {
        config.validate()?;
        let Some(new_rules) = config.network.inputs().new_rules else {
            return Err(Error::InvalidConfig {
                field: "network.inputs.new_rules",
                problem: "is not given, and a transfer trains nothing else".to_owned(),
            });
        };
        let mut network = config.network.clone();
        *network.inputs_mut() = InputLayout {
            feedback: network.inputs().feedback,
            ..*base.config.network.inputs()
        };
        let numerics = numerics.for_training(&config)?;
        let state = in_precision(&base.state, numerics);
        let policy = Policy::from_state(&network, &state, numerics)?;
        let policy = policy.into_transfer(new_rules, config.seed)?;
        Self::at_start(config, policy, numerics)
    }

    /// Gives the network a teacher, whose muscle activity it learns where the objective is that.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] when the teacher does not know the tasks; [`Error::Checkpoint`] when its tensors do
    /// not fit its network.
    pub fn taught_by(mut self, teacher: &Checkpoint) -> Result<Self, Error> {
        let numerics = self.learner.numerics;
        let (seen, shown) = (
            teacher.config.network.inputs().observations(),
            self.config.network.inputs().observations(),
        );
        if seen != shown {
            return Err(Error::InvalidConfig {
                field: "tasks",
                problem: format!("show {shown} numbers, but the teacher takes {seen}"),
            });
        }
        let state = in_precision(&teacher.state, numerics);
        self.teacher = Some(Policy::from_state(&teacher.config.network, &state, numerics)?);
        Ok(self)
    }

    fn at_start(config: TrainingConfig, policy: Policy, numerics: Numerics) -> Result<Self, Error> {
        set_intra_op_threads(1);
        let policy = policy.frozen(&config.frozen);
        let learner = Learner::new(
            policy,
            config.learning_rate,
            config.loss_weights,
            config.clip,
            numerics,
        )
        .with_engine(config.engine)?;
        let mut trainer = Self {
            config: TrainingConfig {
                engine: learner.engine(),
                ..config
            },
            learner,
            teacher: None,
            next_batch: 0,
            evaluated: None,
            best: None,
            prepared: None,
        };
        trainer.reserve()?;
        Ok(trainer)
    }

    /// A card that is too small says so before anything is trained.
    fn reserve(&mut self) -> Result<(), Error> {
        let (rows, steps) = (self.config.batch_size, self.config.longest_steps());
        Ok(self.learner.reserve(rows, steps)?)
    }

    /// Moves the training to a card, if the fused engine runs it.
    ///
    /// # Errors
    /// [`Error::Card`].
    pub fn on_card(mut self, card: Arc<dyn Card>) -> Result<Self, Error> {
        if self.config.has_kernels() {
            self.learner = self.learner.on_card(card)?;
            self.reserve()?;
        }
        Ok(self)
    }

    fn go_on_from(&mut self, checkpoint: &Checkpoint, moments: &TensorTable) -> Result<(), Error> {
        self.learner
            .restore_optimizer(self.config.learning_rate, checkpoint.adam_step, moments)?;
        self.next_batch = checkpoint.next_batch;
        self.evaluated = checkpoint.evaluated;
        self.best = checkpoint.best;
        Ok(())
    }

    pub fn config(&self) -> &TrainingConfig {
        &self.config
    }

    /// Batch that will be trained next; equal to the number of batches trained so far.
    pub fn next_batch(&self) -> u64 {
        self.next_batch
    }

    pub fn is_finished(&self) -> bool {
        self.next_batch >= self.config.batches
    }

    /// Best evaluation so far.
    pub fn best(&self) -> Option<Best> {
        self.best
    }

    /// The network as it is now.
    ///
    /// # Panics
    /// When a card that has it has failed.
    pub fn policy(&self) -> &Policy {
        self.learner.policy()
    }

    /// Trains the next batch: draws a task and its conditions, rolls out with noise, updates.
    ///
    /// # Errors
    /// [`Error::Diverged`] when a loss or gradient is not finite: the batch is not applied, and the trainer stays
    /// as it was. [`Error::Finished`] after the last batch.
    pub fn train_batch(&mut self) -> Result<BatchReport, Error> {
        if self.is_finished() {
            return Err(Error::Finished {
                batches: self.config.batches,
            });
        }
        let batch = self.next_batch;
        let prepared = self.prepared.take().filter(|prepared| prepared.batch == batch);
        let Prepared { trial, episode, .. } =
            prepared.unwrap_or_else(|| Prepared::new(&self.config, batch, self.learner.numerics));
        let noise = NoiseSource::training(self.config.seed, batch, trial.rows());
        let learned = match self.config.objective {
            Objective::Movement => {
                let numerics = self.learner.numerics;
                let (config, prepared) = (&self.config, &mut self.prepared);
                let mut prepare_next = || {
                    if batch + 1 < config.batches {
                        *prepared = Some(Prepared::new(config, batch + 1, numerics));
                    }
                };
                let played = self.learner.roll_out(&episode, Some(&noise));
                self.learner
                    .learn_while(&played, &episode.goal, &mut prepare_next)
            }
            Objective::MuscleActivity => {
                let teacher = self.teacher.as_ref().ok_or(Error::NoTeacher)?;
                let (effector, numerics) = (&self.learner.effector, self.learner.numerics);
                let shown = Demonstration::record(teacher, effector, &episode, numerics);
                self.learner
                    .imitate(&shown, Some(&noise))
                    .map_err(LearnError::from)
            }
        };
        match learned {
            Ok((losses, grad_norm)) => {
                self.next_batch += 1;
                Ok(BatchReport {
                    batch,
                    conditions: trial.conditions,
                    losses,
                    grad_norm,
                })
            }
            Err(error) => Err(Error::of_batch(error, batch, trial.conditions)),
        }
    }

    /// Whether an evaluation follows the given batch's update: every `save_every` batches from batch 0 on, and
    /// after the last.
    pub fn evaluation_due(&self, batch: u64) -> bool {
        batch.is_multiple_of(self.config.save_every) || batch + 1 == self.config.batches
    }

    /// Whether the last trained batch is due an evaluation that was not completed yet. A checkpoint knows: one
    /// taken while an evaluation was under way leads to that evaluation when it is resumed.
    pub fn evaluation_pending(&self) -> bool {
        let last = self.next_batch.checked_sub(1);
        last.is_some_and(|batch| self.evaluation_due(batch) && self.evaluated != Some(batch))
    }

    /// Evaluates the network as the last trained batch left it, and notes whether it is the best so far (ties
    /// count as better). `progress` is called after every step and may stop it.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when `progress` breaks off; [`Error::EvaluationDiverged`].
    pub fn evaluate(&mut self, progress: &mut Progress<'_>) -> Result<Evaluation, Error> {
        let batch = self.next_batch.saturating_sub(1);
        let evaluator = Evaluator {
            effector: &self.learner.effector,
            policy: self.learner.policy(),
            card: self.learner.card().cloned(),
            numerics: self.learner.numerics,
            protocol: self.config.evaluation.clone(),
            seed: self.config.seed,
            batch,
            conditions_per_chunk: CONDITIONS_PER_CHUNK,
            engine: self.config.engine,
        };
        let mut evaluation = evaluator.evaluate(self.config.evaluated_tasks(), progress)?;
        self.evaluated = Some(batch);
        evaluation.is_best = self.best.is_none_or(|best| evaluation.total <= best.value);
        if evaluation.is_best {
            self.best = Some(Best {
                value: evaluation.total,
                batch,
            });
        }
        Ok(evaluation)
    }

    /// Everything that is needed to go on from here, in host memory.
    ///
    /// # Panics
    /// When a card that has the network has failed.
    pub fn checkpoint(&self) -> Checkpoint {
        self.learner.settle();
        Checkpoint {
            config: self.config.clone(),
            next_batch: self.next_batch,
            evaluated: self.evaluated,
            best: self.best,
            adam_step: self.learner.adam.step(),
            state: self.learner.policy.state(),
            moments: self.learner.adam.state(),
        }
    }
}

/// Task, speed, delay and directions of a batch: each uniform, each from its own stream.
pub fn draw_conditions(config: &TrainingConfig, batch: u64) -> TrialConditions {
    let stream = |purpose| Stream {
        seed: config.seed,
        purpose,
        batch,
        step: 0,
    };
    let mode = Mode::Train;
    let task = config.tasks[stream(Purpose::TaskChoice).index(0, config.tasks.len())];
    let speed = stream(Purpose::Speed).index(0, task.movement_steps(mode).len());
    let delay_steps = DELAY_STEPS[stream(Purpose::Delay).index(0, DELAY_STEPS.len())];
    let directions = |purpose| -> Vec<usize> {
        let trials = 0..config.batch_size as u32;
        trials
            .map(|trial| stream(purpose).index(trial, mode.directions()))
            .collect()
    };
    let apart = task.family() == Family::Composed && config.compatibility.independent_composable_directions;
    TrialConditions {
        task,
        mode,
        speed,
        delay_steps,
        directions: directions(Purpose::Directions),
        backward_directions: apart.then(|| directions(Purpose::BackwardDirections)),
    }
}

/// Everything that decides the numbers of the batches still to come must be as it was.
fn require_same_training(asked: &TrainingConfig, stored: &TrainingConfig) -> Result<(), CheckpointError> {
    let fields = [
        ("network", asked.network == stored.network),
        ("tasks", asked.tasks == stored.tasks),
        ("batch_size", asked.batch_size == stored.batch_size),
        ("learning_rate", asked.learning_rate == stored.learning_rate),
        ("clip", asked.clip == stored.clip),
        ("loss_weights", asked.loss_weights == stored.loss_weights),
        ("seed", asked.seed == stored.seed),
        ("frozen", asked.frozen == stored.frozen),
        ("objective", asked.objective == stored.objective),
        ("compatibility", asked.compatibility == stored.compatibility),
    ];
    match fields.into_iter().find(|(_, same)| !same) {
        Some((field, _)) => Err(CheckpointError::OtherTraining { field }),
        None => Ok(()),
    }
}
