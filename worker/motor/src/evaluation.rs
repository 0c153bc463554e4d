//! Evaluation: every task, test speed and direction, without gradient.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::arm::Effector;
use crate::config::EvaluationConfig;
use crate::device::Numerics;
use crate::engine::{EpisodeRun, NoiseSource, Recording};
use crate::environment::Episode;
use crate::policy::Policy;
use crate::random::{Purpose, Stream};
use crate::tasks::{DELAY_STEPS, Mode, Task, Trial, TrialConditions};

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

/// Outcome of one task at one test speed.
#[derive(Clone, Debug)]
pub struct ConditionOutcome {
    pub score: ConditionScore,
    /// Fingertips after the last step, by direction, metres.
    pub final_fingertips: Vec<[f64; 2]>,
}

/// Test speeds of every task.
const SPEEDS: usize = 10;

/// Conditions that run side by side by default. Fixed, because the rounding of products may depend on it.
pub const CONDITIONS_PER_CHUNK: usize = 10;

/// An evaluation of a policy: every task × test speed × direction, shortest conditions first.
///
/// Random draws come from streams of their own, keyed by seed, batch and condition: evaluating never changes
/// training, and a condition's draws do not depend on which others run.
#[derive(Debug)]
pub struct Evaluator<'a> {
    pub effector: &'a Effector,
    pub policy: &'a Policy,
    pub numerics: Numerics,
    pub protocol: EvaluationConfig,
    pub seed: u64,
    pub batch: u64,
    pub conditions_per_chunk: usize,
}

/// The progress callback broke off.
#[derive(Debug)]
pub struct Interrupted;

impl Evaluator<'_> {
    /// Outcomes in the order of tasks, then speeds.
    ///
    /// # Errors
    /// [`Interrupted`] when `progress` breaks.
    pub fn run(
        &self,
        tasks: &[Task],
        progress: &mut Progress<'_>,
    ) -> Result<Vec<ConditionOutcome>, Interrupted> {
        let mut trials: Vec<(usize, Trial)> = tasks
            .iter()
            .flat_map(|&task| (0..SPEEDS).map(move |speed| self.trial(task, speed)))
            .enumerate()
            .collect();
        trials.sort_by_key(|(_, trial)| trial.steps());
        let steps: usize = trials.chunks(self.conditions_per_chunk).map(longest).sum();
        let mut done = 0;
        let mut outcomes = Vec::with_capacity(trials.len());
        for chunk in trials.chunks(self.conditions_per_chunk) {
            let (places, trials): (Vec<usize>, Vec<Trial>) = chunk.iter().cloned().unzip();
            let mut on_step = || {
                done += 1;
                progress(done as f64 / steps as f64)
            };
            outcomes.extend(places.into_iter().zip(self.run_chunk(&trials, &mut on_step)?));
        }
        outcomes.sort_by_key(|(place, _)| *place);
        Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
    }

    fn trial(&self, task: Task, speed: usize) -> Trial {
        let stream = Stream {
            seed: self.seed,
            purpose: Purpose::EvaluationDelay,
            batch: self.batch,
            step: 0,
        };
        let drawn = || stream.index(condition_number(task, speed) as u32, DELAY_STEPS.len());
        let delay_steps = DELAY_STEPS[self.protocol.delay.unwrap_or_else(drawn)];
        let directions = (0..Mode::Test.directions()).collect();
        let conditions = TrialConditions {
            task,
            mode: Mode::Test,
            speed,
            delay_steps,
            directions,
            backward_directions: None,
        };
        Trial::new(conditions).unwrap_or_else(|error| unreachable!("every task has ten test speeds: {error}"))
    }

    fn run_chunk(
        &self,
        trials: &[Trial],
        on_step: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Vec<ConditionOutcome>, Interrupted> {
        let _no_grad = tch::no_grad_guard();
        let episode = Episode::new(trials, self.numerics);
        let noise = self.protocol.noise.then(|| self.noise(trials));
        let recording = Recording::Fingertip;
        let mut run = EpisodeRun::new(
            self.effector,
            self.policy,
            &episode,
            noise.as_ref(),
            recording,
            self.numerics,
        );
        while !run.is_done() {
            run.step();
            if on_step().is_break() {
                return Err(Interrupted);
            }
        }
        let fingertip = run.finish().fingertip;
        let errors = (&fingertip - &episode.goal)
            .abs()
            .sum_dim_intlist(-1, false, Kind::Double);
        let errors = errors.to_device(tch::Device::Cpu);
        let fingertip = fingertip.to_kind(Kind::Double).to_device(tch::Device::Cpu);
        let mut first_row = 0;
        let mut outcomes = Vec::with_capacity(trials.len());
        for trial in trials {
            outcomes.push(outcome(
                trial,
                &of_rows(&errors, trial, first_row),
                &of_rows(&fingertip, trial, first_row),
            ));
            first_row += trial.rows();
        }
        Ok(outcomes)
    }

    fn noise(&self, trials: &[Trial]) -> NoiseSource {
        let rows = trials.iter().map(|trial| {
            let first =
                condition_number(trial.conditions.task, trial.conditions.speed) * Mode::Test.directions();
            first..first + trial.rows()
        });
        NoiseSource {
            seed: self.seed,
            batch: self.batch,
            hidden: Purpose::EvaluationHiddenNoise,
            input: Purpose::EvaluationInputNoise,
            rows: rows.collect(),
        }
    }
}

impl Evaluation {
    /// Means of the outcomes of complete tasks.
    pub(crate) fn new(batch: u64, outcomes: &[ConditionOutcome]) -> Self {
        let conditions: Vec<ConditionScore> = outcomes.iter().map(|outcome| outcome.score).collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let task_mean = |speeds: &[ConditionScore]| {
            let positions: Vec<f64> = speeds.iter().map(|score| score.position).collect();
            (speeds[0].task, mean(&positions))
        };
        let per_task: Vec<(Task, f64)> = conditions.chunks(SPEEDS).map(task_mean).collect();
        let task_scores: Vec<f64> = per_task.iter().map(|(_, score)| *score).collect();
        Self {
            batch,
            total: mean(&task_scores),
            per_task,
            conditions,
            is_best: false,
        }
    }
}

/// Number of a condition among all, whatever tasks are evaluated.
fn condition_number(task: Task, speed: usize) -> usize {
    task.number() * SPEEDS + speed
}

fn longest(chunk: &[(usize, Trial)]) -> usize {
    chunk.iter().map(|(_, trial)| trial.steps()).max().unwrap_or(0)
}

/// A trial's own part of a padded sequence `[T + 1, batch, …]`: its rows, and its steps.
fn of_rows(sequence: &Tensor, trial: &Trial, first_row: usize) -> Tensor {
    sequence
        .narrow(1, first_row as i64, trial.rows() as i64)
        .narrow(0, 0, trial.steps() as i64 + 1)
}

fn outcome(trial: &Trial, errors: &Tensor, fingertip: &Tensor) -> ConditionOutcome {
    let last = fingertip.get(-1);
    let final_fingertips =
        (0..trial.rows() as i64).map(|row| [last.double_value(&[row, 0]), last.double_value(&[row, 1])]);
    let TrialConditions {
        task,
        speed,
        delay_steps,
        ..
    } = trial.conditions;
    let score = ConditionScore {
        task,
        speed,
        movement_steps: trial.epochs.hold_start - trial.epochs.movement_start,
        delay_steps,
        position: errors.mean(None::<Kind>).double_value(&[]),
    };
    ConditionOutcome {
        score,
        final_fingertips: final_fingertips.collect(),
    }
}
