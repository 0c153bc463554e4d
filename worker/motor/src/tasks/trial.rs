//! A trial: conditions, and the sequences that follow from them.

use std::f64::consts::TAU;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Mode, Point, Task, path};

/// Steps at rest before the target appears.
pub const STABLE_STEPS: usize = 25;
/// Steps at the end in which the hand stays where the movement ended.
pub const HOLD_STEPS: usize = 25;
/// Steps between target and go cue, by delay index.
pub const DELAY_STEPS: [usize; 3] = [25, 50, 75];

/// What a batch of trials of one task has in common, and the direction of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialConditions {
    pub task: Task,
    pub mode: Mode,
    /// Index into [`Task::movement_steps`].
    pub speed: usize,
    pub delay_steps: usize,
    /// Direction i of n is the angle 2π i/n from +x.
    pub directions: Vec<usize>,
}

/// Conditions outside of what the task knows.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConditionError {
    #[error("{task} has {known} {mode} speeds, not one with index {speed}")]
    Speed {
        task: Task,
        mode: Mode,
        speed: usize,
        known: usize,
    },
    #[error("there are {known} {mode} directions, not one with index {direction}")]
    Direction {
        mode: Mode,
        direction: usize,
        known: usize,
    },
    #[error("there are 3 delays, not one with index {0}")]
    Delay(usize),
}

/// Half-open ranges of time indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epochs {
    pub delay_start: usize,
    pub movement_start: usize,
    pub hold_start: usize,
    /// T, the length of the episode.
    pub end: usize,
}

/// A batch of trials of one task, ready to be run: sequences over time indices, one row per direction.
#[derive(Clone, Debug)]
pub struct Trial {
    pub conditions: TrialConditions,
    pub epochs: Epochs,
    /// Positions to be passed, `[direction][M]`, metres.
    pub paths: Vec<Vec<Point>>,
    /// Visual target from the delay on, `[direction]`, metres.
    pub targets: Vec<Point>,
    /// 1 − M/Mmax, shown from the delay on.
    pub speed_scalar: f64,
}

impl fmt::Display for TrialConditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} speed {}, delay {} steps",
            self.task, self.mode, self.speed, self.delay_steps
        )
    }
}

impl TrialConditions {
    /// Movement time M in steps.
    ///
    /// # Errors
    /// [`ConditionError::Speed`] for an index that the task does not have.
    pub fn movement_steps(&self) -> Result<usize, ConditionError> {
        let known = self.task.movement_steps(self.mode);
        known.get(self.speed).copied().ok_or(ConditionError::Speed {
            task: self.task,
            mode: self.mode,
            speed: self.speed,
            known: known.len(),
        })
    }
}

/// Delay in steps of a delay index.
///
/// # Errors
/// [`ConditionError::Delay`] for an index other than 0, 1 and 2.
pub fn delay_steps(index: usize) -> Result<usize, ConditionError> {
    DELAY_STEPS
        .get(index)
        .copied()
        .ok_or(ConditionError::Delay(index))
}

impl Trial {
    /// # Errors
    /// [`ConditionError`] when the task has no such speed or direction.
    pub fn new(conditions: TrialConditions) -> Result<Self, ConditionError> {
        let movement_steps = conditions.movement_steps()?;
        Self::with_movement(conditions, movement_steps)
    }

    /// A trial whose movement takes any number of steps, whatever its speed index says.
    pub(crate) fn with_movement(
        conditions: TrialConditions,
        movement_steps: usize,
    ) -> Result<Self, ConditionError> {
        let known = conditions.mode.directions();
        let beyond = conditions
            .directions
            .iter()
            .copied()
            .find(|&direction| direction >= known);
        if let Some(direction) = beyond {
            return Err(ConditionError::Direction {
                mode: conditions.mode,
                direction,
                known,
            });
        }
        let task = conditions.task;
        let along_x = path::along_x(task, movement_steps);
        let angle = |direction: usize| TAU * direction as f64 / known as f64;
        let paths: Vec<Vec<Point>> = conditions
            .directions
            .iter()
            .map(|&direction| path::place(&along_x, angle(direction)))
            .collect();
        let target_index = if task.returns() {
            movement_steps / 2
        } else {
            movement_steps - 1
        };
        Ok(Self {
            targets: paths.iter().map(|path| path[target_index]).collect(),
            paths,
            speed_scalar: 1.0 - movement_steps as f64 / task.slowest_movement_steps() as f64,
            epochs: Epochs::new(conditions.delay_steps, movement_steps),
            conditions,
        })
    }

    /// Number of trials, B.
    pub fn rows(&self) -> usize {
        self.paths.len()
    }

    /// Length of the episode, T.
    pub fn steps(&self) -> usize {
        self.epochs.end
    }

    /// Go cue at a time index.
    pub fn go_cue(&self, time: usize) -> f64 {
        if time < self.epochs.movement_start {
            0.0
        } else {
            1.0
        }
    }

    /// Speed scalar at a time index.
    pub fn speed_scalar(&self, time: usize) -> f64 {
        if time < self.epochs.delay_start {
            0.0
        } else {
            self.speed_scalar
        }
    }

    /// Visual target of a row at a time index, metres.
    pub fn target(&self, row: usize, time: usize) -> Point {
        if time < self.epochs.delay_start {
            [0.0, 0.0]
        } else {
            self.targets[row]
        }
    }

    /// Where the hand of a row should be at a time index, metres: the start of the path until the go cue, its end
    /// from the end of the movement on.
    pub fn goal(&self, row: usize, time: usize) -> Point {
        let path = &self.paths[row];
        path[time
            .saturating_sub(self.epochs.movement_start)
            .min(path.len() - 1)]
    }
}

impl Epochs {
    fn new(delay_steps: usize, movement_steps: usize) -> Self {
        let movement_start = STABLE_STEPS + delay_steps;
        let hold_start = movement_start + movement_steps;
        Self {
            delay_start: STABLE_STEPS,
            movement_start,
            hold_start,
            end: hold_start + HOLD_STEPS,
        }
    }

    /// Stable, delay, movement, hold: start and end of each.
    pub fn bounds(&self) -> [[usize; 2]; 4] {
        [
            [0, self.delay_start],
            [self.delay_start, self.movement_start],
            [self.movement_start, self.hold_start],
            [self.hold_start, self.end],
        ]
    }
}
