//! What can go wrong in training and evaluating, in terms that no transport knows.

use std::path::PathBuf;

use crate::checkpoint::CheckpointError;
use crate::device::DeviceError;
use crate::engine::cuda::CardError;
use crate::learner::{LearnError, NotFinite};
use crate::tasks::TrialConditions;

/// Errors of [`Trainer`](crate::training::Trainer) and of what it is made of.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the configuration is impossible; `field` is its path, dots between levels.
    #[error("`{field}` {problem}")]
    InvalidConfig { field: &'static str, problem: String },
    /// The loss or a gradient stopped being finite. The batch was not applied.
    #[error("`{quantity}` is not finite in batch {batch} ({conditions})")]
    Diverged {
        batch: u64,
        conditions: Box<TrialConditions>,
        /// `loss/position`, `gradient/fc.weight` and the like.
        quantity: String,
    },
    /// An evaluation gave a score that is not finite.
    #[error(
        "the evaluation after batch {batch} is not finite for {task}, speed {speed}, delay {delay_steps} steps"
    )]
    EvaluationDiverged {
        batch: u64,
        task: crate::tasks::Task,
        speed: usize,
        delay_steps: usize,
    },
    /// A network that learns muscle activity has nobody who shows it.
    #[error("to learn muscle activity, a network needs a teacher")]
    NoTeacher,
    /// The caller asked an evaluation to stop. Nothing was recorded; it can be repeated.
    #[error("interrupted")]
    Interrupted,
    /// All batches of the configuration have been trained.
    #[error("all {batches} batches have been trained")]
    Finished { batches: u64 },
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A card failed, or is too small.
    #[error(transparent)]
    Card(#[from] CardError),
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// Of a batch that was not applied.
    pub(crate) fn of_batch(error: LearnError, batch: u64, conditions: TrialConditions) -> Self {
        match error {
            LearnError::NotFinite(NotFinite { quantity }) => Error::Diverged {
                batch,
                conditions: Box::new(conditions),
                quantity,
            },
            LearnError::Card(error) => Error::Card(error),
        }
    }
}
