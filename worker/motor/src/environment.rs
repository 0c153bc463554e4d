//! What the network sees, and when: trials laid out as sequences of observations and goals.

use tch::Tensor;

use crate::arm::ArmState;
use crate::device::Numerics;
use crate::tasks::{Family, Trial};

/// Layout of an observation: what is known before the episode, then what the arm feeds back.
///
/// | index, n rules | content |
/// |---|---|
/// | 0 … n − 1 | rule, one-hot, from the first step on |
/// | n | speed scalar |
/// | n + 1 | go cue |
/// | n + 2, n + 3 | visual target, m |
/// | n + 4, n + 5 | fingertip, m |
/// | n + 6 … n + 11 | fibre lengths in optimal lengths |
/// | n + 12 … n + 17 | fibre speeds over 1.5 m/s |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservationLayout {
    /// Numbers known beforehand: rules, speed, cue, target.
    pub known: i64,
    /// Numbers that the arm feeds back.
    pub feedback: i64,
}

/// Speed scalar, go cue, target x and y.
const CUES: usize = 4;

/// What the ten base tasks show.
pub const OBSERVATIONS: ObservationLayout = ObservationLayout {
    known: 14,
    feedback: 14,
};

impl ObservationLayout {
    /// What the tasks of a family show: 28 numbers, or 38.
    pub fn of(family: Family) -> Self {
        Self {
            known: (family.rules() + CUES) as i64,
            feedback: OBSERVATIONS.feedback,
        }
    }

    pub fn width(self) -> i64 {
        self.known + self.feedback
    }

    /// Width of the rule input.
    pub fn rules(self) -> i64 {
        self.known - CUES as i64
    }
}

/// The arm's part of the observation, `[batch, 14]`.
pub fn feedback(arm: &ArmState) -> Tensor {
    Tensor::cat(&[&arm.fingertip, &arm.muscle.length, &arm.muscle.velocity], 1)
}

/// Trials side by side, ready to run: T steps of B rows.
///
/// The network is called T times; call 0 and call 1 both see time index 0, call n sees n − 1. The fingertip after
/// step k is compared with the goal of time index k, and the start with the path's start.
///
/// Rows of shorter trials are padded with their last values; their sequences count up to their own `steps`.
#[derive(Debug)]
pub struct Episode {
    pub layout: ObservationLayout,
    /// `[T + 1, batch, observation]`: observation at reset and after each step, 0 where the arm's feedback will be.
    pub known: Tensor,
    /// `[T + 1, batch, 2]`, metres.
    pub goal: Tensor,
    /// Length of each row's trial; T is the largest.
    pub steps: Vec<usize>,
}

impl Episode {
    /// All rows of all trials, in order. The trials' tasks are of one family.
    pub fn new(trials: &[Trial], numerics: Numerics) -> Self {
        let family = |trial: &Trial| trial.conditions.task.family();
        let layout = ObservationLayout::of(trials.first().map_or(Family::Base, family));
        debug_assert!(
            trials
                .iter()
                .all(|trial| ObservationLayout::of(family(trial)) == layout)
        );
        let steps: Vec<usize> = trials
            .iter()
            .flat_map(|trial| vec![trial.steps(); trial.rows()])
            .collect();
        let longest = steps.iter().copied().max().unwrap_or(0);
        let observation = layout.width() as usize;
        let mut known = vec![0.0; (longest + 1) * steps.len() * observation];
        let mut goal = Vec::with_capacity((longest + 1) * steps.len() * 2);
        let mut observations = known.chunks_exact_mut(observation);
        for instant in 0..=longest {
            // Reset and the first step both show time index 0.
            let time = instant.saturating_sub(1);
            for trial in trials {
                for row in 0..trial.rows() {
                    goal.extend(if instant == 0 {
                        trial.paths[row][0]
                    } else {
                        trial.goal(row, time)
                    });
                    if let Some(observation) = observations.next() {
                        show(trial, row, time, observation);
                    }
                }
            }
        }
        let shape = |width: usize| [longest + 1, steps.len(), width].map(|n| n as i64);
        Self {
            layout,
            known: numerics.tensor(&known, &shape(observation)),
            goal: numerics.tensor(&goal, &shape(2)),
            steps,
        }
    }

    /// T.
    pub fn longest(&self) -> usize {
        self.steps.iter().copied().max().unwrap_or(0)
    }

    /// B.
    pub fn rows(&self) -> usize {
        self.steps.len()
    }
}

/// Writes the known part of an observation.
fn show(trial: &Trial, row: usize, time: usize, observation: &mut [f64]) {
    let task = trial.conditions.task;
    let rules = task.family().rules();
    observation[task.rule()] = 1.0;
    observation[rules] = trial.speed_scalar(time);
    observation[rules + 1] = trial.go_cue(time);
    observation[rules + 2..rules + CUES].copy_from_slice(&trial.target(row, time));
}
