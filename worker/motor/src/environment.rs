//! What the network sees, and when: trials laid out as sequences of observations and goals.

use tch::Tensor;

use crate::arm::ArmState;
use crate::device::Numerics;
use crate::tasks::{Task, Trial};

/// Layout of an observation: what is known before the episode, then what the arm feeds back.
///
/// | index | content |
/// |---|---|
/// | 0–9 | rule, one-hot, from the first step on |
/// | 10 | speed scalar |
/// | 11 | go cue |
/// | 12–13 | visual target, m |
/// | 14–15 | fingertip, m |
/// | 16–21 | fibre lengths in optimal lengths |
/// | 22–27 | fibre speeds over 1.5 m/s |
#[derive(Clone, Copy, Debug)]
pub struct ObservationLayout {
    pub known: i64,
    pub feedback: i64,
}

pub const OBSERVATIONS: ObservationLayout = ObservationLayout {
    known: 14,
    feedback: 14,
};

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
    /// `[T + 1, batch, 28]`: observation at reset and after each step, 0 where the arm's feedback will be.
    pub known: Tensor,
    /// `[T + 1, batch, 2]`, metres.
    pub goal: Tensor,
    /// Length of each row's trial; T is the largest.
    pub steps: Vec<usize>,
}

impl Episode {
    /// All rows of all trials, in order.
    pub fn new(trials: &[Trial], numerics: Numerics) -> Self {
        let steps: Vec<usize> = trials
            .iter()
            .flat_map(|trial| vec![trial.steps(); trial.rows()])
            .collect();
        let longest = steps.iter().copied().max().unwrap_or(0);
        let observation = (OBSERVATIONS.known + OBSERVATIONS.feedback) as usize;
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
    const RULES: usize = Task::ALL.len();
    observation[trial.conditions.task.rule()] = 1.0;
    observation[RULES] = trial.speed_scalar(time);
    observation[RULES + 1] = trial.go_cue(time);
    observation[RULES + 2..RULES + 4].copy_from_slice(&trial.target(row, time));
}
