//! Evaluation: every task, test speed and direction, without gradient.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::tasks::Task;

/// Called during an evaluation with the fraction done, 0 to 1; breaking stops the evaluation.
pub type Progress<'a> = dyn FnMut(f64) -> ControlFlow<()> + 'a;

/// Scores of one evaluation, in metres: position errors as in the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Last batch trained before it.
    pub batch: u64,
    /// Mean over tasks.
    pub total: f64,
    /// Mean over speeds, in the order of the configuration's tasks.
    pub per_task: Vec<(Task, f64)>,
    pub conditions: Vec<ConditionScore>,
    /// Whether `total` is not above any earlier evaluation's of this run.
    pub is_best: bool,
}

/// Score of one task at one test speed over all directions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConditionScore {
    pub task: Task,
    pub speed: usize,
    pub movement_steps: usize,
    pub delay_steps: usize,
    pub position: f64,
}
