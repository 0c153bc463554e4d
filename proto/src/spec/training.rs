//! `[training]`: tasks, batches, optimiser and losses.

use serde::{Deserialize, Serialize};

use super::network::Activation;
use super::read::{Choice, Table};

/// Most batches of a run.
pub const MAX_BATCHES: u64 = 10_000_000;

/// The ten delayed reaching tasks, in the order of their rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[allow(missing_docs, reason = "the names are those of the model family")]
pub enum TaskName {
    DlyHalfReach,
    DlyHalfCircleClk,
    DlyHalfCircleCClk,
    DlySinusoid,
    DlySinusoidInv,
    DlyFullReach,
    DlyFullCircleClk,
    DlyFullCircleCClk,
    DlyFigure8,
    DlyFigure8Inv,
}

impl Choice for TaskName {
    const ALL: &'static [Self] = &[
        Self::DlyHalfReach,
        Self::DlyHalfCircleClk,
        Self::DlyHalfCircleCClk,
        Self::DlySinusoid,
        Self::DlySinusoidInv,
        Self::DlyFullReach,
        Self::DlyFullCircleClk,
        Self::DlyFullCircleCClk,
        Self::DlyFigure8,
        Self::DlyFigure8Inv,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::DlyHalfReach => "DlyHalfReach",
            Self::DlyHalfCircleClk => "DlyHalfCircleClk",
            Self::DlyHalfCircleCClk => "DlyHalfCircleCClk",
            Self::DlySinusoid => "DlySinusoid",
            Self::DlySinusoidInv => "DlySinusoidInv",
            Self::DlyFullReach => "DlyFullReach",
            Self::DlyFullCircleClk => "DlyFullCircleClk",
            Self::DlyFullCircleCClk => "DlyFullCircleCClk",
            Self::DlyFigure8 => "DlyFigure8",
            Self::DlyFigure8Inv => "DlyFigure8Inv",
        }
    }
}

/// Weights of the loss terms beside the position loss, whose weight is 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LossWeights {
    /// Hidden activity.
    pub rate: f64,
    /// Weights of the network.
    pub weight: f64,
    /// Muscle activation.
    pub muscle: f64,
    /// Simple dynamics; 0 where the activation has none (tanh).
    pub dynamics: f64,
}

/// How a network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TrainingSpec {
    /// How many batches, each of one task.
    pub batches: u64,
    /// Trials in a batch.
    pub batch_size: u32,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Greatest joint norm of the gradients.
    pub clip: f64,
    /// Evaluate and store checkpoints every so many batches.
    pub save_every: u64,
    /// Tasks to draw from, each with equal chance; also the tasks of evaluations.
    pub tasks: Vec<TaskName>,
    /// Weights of the loss terms.
    pub losses: LossWeights,
}

impl TrainingSpec {
    pub(super) fn read(table: &mut Table<'_>, activation: Activation) -> Self {
        Self {
            batches: table.integer("batches", 1..=MAX_BATCHES, 75_000),
            batch_size: table.integer("batch_size", 1..=4096, 32) as u32,
            learning_rate: table.number("learning_rate", 1e-9..=1.0, 1e-3),
            clip: table.number("clip", 1e-6..=1e6, 1.0),
            save_every: table.integer("save_every", 1..=MAX_BATCHES, 500),
            tasks: table.choices("tasks", "task", TaskName::ALL),
            losses: table.table("losses", |t| LossWeights::read(t, activation)),
        }
    }
}

impl LossWeights {
    fn read(table: &mut Table<'_>, activation: Activation) -> Self {
        let rate = table.number("rate", 0.0..=1e3, 1e-3);
        let weight = table.number("weight", 0.0..=1e3, 1e-3);
        let muscle = table.number("muscle", 0.0..=1e3, 1e-2);
        let default = if activation.has_dynamics_loss() { 1e-3 } else { 0.0 };
        let dynamics = table.number("dynamics", 0.0..=1e3, default);
        if dynamics != 0.0 && !activation.has_dynamics_loss() {
            table.problem_with(
                "dynamics",
                dynamics.into(),
                format!(
                    "the simple-dynamics loss is not defined for {}",
                    activation.name()
                ),
                "0, or leave it out",
            );
        }
        Self {
            rate,
            weight,
            muscle,
            dynamics,
        }
    }
}
