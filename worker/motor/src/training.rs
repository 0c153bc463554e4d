//! Training: batches, evaluations, checkpoints, in the order that the reference trains in.

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Best, Checkpoint};
use crate::config::TrainingConfig;
use crate::device::Numerics;
use crate::error::Error;
use crate::evaluation::{Evaluation, Progress};
use crate::loss::Losses;
use crate::tasks::TrialConditions;

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
pub struct Trainer {
    config: TrainingConfig,
    numerics: Numerics,
}

impl Trainer {
    /// Builds the initial network from the configuration's seed.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`].
    pub fn new(config: TrainingConfig, numerics: Numerics) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self { config, numerics })
    }

    /// Goes on where the checkpoint was taken: every later number is that of the uninterrupted run, bit for bit.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], or [`Error::Checkpoint`] if the checkpoint belongs to another training.
    pub fn resume(
        config: TrainingConfig,
        numerics: Numerics,
        checkpoint: &Checkpoint,
    ) -> Result<Self, Error> {
        let _ = checkpoint;
        Self::new(config, numerics)
    }

    pub fn config(&self) -> &TrainingConfig {
        &self.config
    }

    /// Batch that will be trained next; equal to the number of batches trained so far.
    pub fn next_batch(&self) -> u64 {
        unimplemented!()
    }

    pub fn is_finished(&self) -> bool {
        self.next_batch() >= self.config.batches
    }

    /// Best evaluation so far.
    pub fn best(&self) -> Option<Best> {
        unimplemented!()
    }

    /// Trains the next batch.
    ///
    /// # Errors
    /// [`Error::Diverged`] when a loss or gradient is not finite: the batch is not applied, and the trainer stays
    /// as it was. [`Error::Finished`] after the last batch.
    pub fn train_batch(&mut self) -> Result<BatchReport, Error> {
        let _ = self.numerics;
        unimplemented!()
    }

    /// Whether an evaluation follows the given batch's update: every `save_every` batches from batch 0 on, and
    /// after the last.
    pub fn evaluation_due(&self, batch: u64) -> bool {
        batch.is_multiple_of(self.config.save_every) || batch + 1 == self.config.batches
    }

    /// Evaluates the network as the last trained batch left it, and notes whether it is the best so far (ties
    /// count as better). `progress` is called now and then and may stop it.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when `progress` breaks off; [`Error::EvaluationDiverged`].
    pub fn evaluate(&mut self, progress: &mut Progress<'_>) -> Result<Evaluation, Error> {
        let _ = progress;
        unimplemented!()
    }

    /// Everything that is needed to go on from here, in host memory.
    pub fn checkpoint(&self) -> Checkpoint {
        unimplemented!()
    }
}
