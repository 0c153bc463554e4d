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
    /// Directions of the way back of a composed task where they are not those of the way there: the path then
    /// jumps in the middle. For comparison with results that rest on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backward_directions: Option<Vec<usize>>,
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
    #[error("{0} is in one piece: it has no directions of a way back")]
    OnePiece(Task),
    #[error("{forward} directions there, {backward} back: a trial needs one of each")]
    DirectionCount { forward: usize, backward: usize },
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

/// Angles of directions from +x, radians.
fn angles_rad(mode: Mode, directions: &[usize]) -> Result<Vec<f64>, ConditionError> {
    let known = mode.directions();
    let angle = |&direction: &usize| {
        if direction < known {
            Ok(TAU * direction as f64 / known as f64)
        } else {
            Err(ConditionError::Direction {
                mode,
                direction,
                known,
            })
        }
    };
    directions.iter().map(angle).collect()
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
        let task = conditions.task;
        let angles = angles_rad(conditions.mode, &conditions.directions)?;
        let paths: Vec<Vec<Point>> = match &conditions.backward_directions {
            None => {
                let along_x = path::along_x(task, movement_steps);
                angles.iter().map(|&angle| path::place(&along_x, angle)).collect()
            }
            Some(backward) => {
                let Task::Composed(pair) = task else {
                    return Err(ConditionError::OnePiece(task));
                };
                if backward.len() != angles.len() {
                    return Err(ConditionError::DirectionCount {
                        forward: angles.len(),
                        backward: backward.len(),
                    });
                }
                let back = angles_rad(conditions.mode, backward)?;
                let both = angles.iter().zip(back);
                both.map(|(&there, back)| path::placed_apart(pair, movement_steps, there, back))
                    .collect()
            }
        };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::{Family, Pair};

    fn conditions(task: Task) -> TrialConditions {
        TrialConditions {
            task,
            mode: Mode::Train,
            speed: 0,
            delay_steps: 25,
            directions: vec![0, 3],
            backward_directions: None,
        }
    }

    fn distance([ax, ay]: Point, [bx, by]: Point) -> f64 {
        (ax - bx).hypot(ay - by)
    }

    #[test]
    fn a_pair_aims_at_the_far_point_and_its_halves_meet_there() {
        for task in Family::Composed.tasks() {
            let trial = Trial::new(conditions(task)).expect("a trial");
            assert_eq!(trial.steps(), 25 + 25 + 100 + 25);
            assert!((trial.speed_scalar - (1.0 - 100.0 / 300.0)).abs() < 1e-15);
            for (path, target) in trial.paths.iter().zip(&trial.targets) {
                assert_eq!(path[50], *target);
                assert!(distance(path[49], path[50]) < 1e-12, "{task}");
            }
        }
    }

    #[test]
    fn ways_of_different_directions_jump_in_the_middle() {
        let pair = Task::Composed(Pair::of_rule(0).expect("a pair"));
        let apart = Trial::new(TrialConditions {
            backward_directions: Some(vec![0, 7]),
            ..conditions(pair)
        })
        .expect("a trial");
        let together = Trial::new(conditions(pair)).expect("a trial");
        assert_eq!(apart.paths[0], together.paths[0]);
        assert_eq!(apart.paths[1][..50], together.paths[1][..50]);
        // From 135° to 315°: twice the extent.
        assert!((distance(apart.paths[1][49], apart.paths[1][50]) - 0.5).abs() < 1e-12);
        assert_eq!(apart.targets[1], apart.paths[1][50]);
    }

    #[test]
    fn directions_that_do_not_fit_are_refused() {
        let pair = Task::Composed(Pair::of_rule(0).expect("a pair"));
        let with = |task, backward: Vec<usize>| {
            Trial::new(TrialConditions {
                backward_directions: Some(backward),
                ..conditions(task)
            })
            .expect_err("refused")
        };
        assert_eq!(
            with(Task::DlyFullReach, vec![0, 0]),
            ConditionError::OnePiece(Task::DlyFullReach)
        );
        let count = ConditionError::DirectionCount {
            forward: 2,
            backward: 1,
        };
        assert_eq!(with(pair, vec![0]), count);
        let direction = ConditionError::Direction {
            mode: Mode::Train,
            direction: 8,
            known: 8,
        };
        assert_eq!(with(pair, vec![0, 8]), direction);
    }
}
