//! Evaluation: tasks at speeds, delays and directions, without gradient.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::arm::Effector;
use crate::checkpoint::Checkpoint;
use crate::config::{EvaluationConfig, TrainingConfig};
use crate::device::{Numerics, set_intra_op_threads};
use crate::engine::cuda::{self, Card, CardEngine};
use crate::engine::{Engine, EpisodeRun, FusedEngine, NoiseSource, Recording};
use crate::environment::Episode;
use crate::error::Error;
use crate::host_tensor::in_precision;
use crate::policy::{NetworkConfig, Policy};
use crate::random::{Purpose, Stream};
use crate::tasks::{DELAY_STEPS, Task, Trial, TrialConditions};

/// Called during an evaluation with the fraction done, 0 to 1; breaking stops the evaluation.
pub type Progress<'a> = dyn FnMut(f64) -> ControlFlow<()> + 'a;

/// Scores of one evaluation, in metres: position errors as in the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Last batch trained before it.
    pub batch: u64,
    /// Mean over tasks.
    pub total: f64,
    /// Mean over speeds and delays, in the order of the configuration's tasks.
    pub per_task: Vec<(Task, f64)>,
    pub conditions: Vec<ConditionScore>,
    /// Whether `total` is not above any earlier evaluation's of this run.
    pub is_best: bool,
}

/// Score of one task at one speed and delay over all directions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConditionScore {
    pub task: Task,
    pub speed: usize,
    pub movement_steps: usize,
    pub delay_steps: usize,
    /// Mean over directions.
    pub position: f64,
    pub directions: Vec<DirectionScore>,
}

/// Score of one trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DirectionScore {
    pub direction: usize,
    /// |Δx| + |Δy|, mean over time, metres.
    pub position: f64,
    /// Distance of the fingertip from the goal after the last step, metres.
    pub endpoint: f64,
}

/// Outcome of one task at one speed and delay.
#[derive(Clone, Debug)]
pub struct ConditionOutcome {
    pub score: ConditionScore,
    /// Fingertips after the last step, by direction, metres.
    pub final_fingertips: Vec<[f64; 2]>,
}

/// Test speeds of every task: conditions are numbered by them.
const SPEEDS: usize = 10;
/// Test directions: a condition's rows are numbered by them.
const DIRECTIONS: usize = 32;

/// Conditions that the reference engine runs side by side by default. Fixed, because the rounding of products may
/// depend on it.
pub const CONDITIONS_PER_CHUNK: usize = 10;

/// Rows for each thread that the fused engine runs side by side. Nothing depends on it but speed and memory.
const FUSED_ROWS_PER_THREAD: usize = 32;

/// Rows that it runs side by side on a card: enough to have work for every multiprocessor.
const FUSED_ROWS_ON_CARD: usize = 1024;

/// An evaluation of a policy: every task × speed × delay × direction, shortest conditions first.
///
/// Random draws come from streams of their own, keyed by seed, batch, task, speed and direction: evaluating never
/// changes training, and a condition's draws do not depend on which others run. Delays of one task and speed share
/// their noise, so that they compare pairwise.
#[derive(Debug)]
pub struct Evaluator<'a> {
    pub effector: &'a Effector,
    pub policy: &'a Policy,
    pub numerics: Numerics,
    pub protocol: EvaluationConfig,
    pub seed: u64,
    pub batch: u64,
    pub conditions_per_chunk: usize,
    /// Runs the episodes where it covers the policy; else the reference engine does.
    pub engine: Engine,
    /// Where the fused engine runs them, if not on the processor.
    pub card: Option<Arc<dyn Card>>,
}

/// What runs the episodes of an evaluation.
enum Player {
    Reference,
    /// Which has the weights.
    Fused(Box<FusedEngine>),
    OnCard(Box<CardEngine>),
}

impl Evaluator<'_> {
    /// Scores of the policy.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when `progress` breaks, [`Error::EvaluationDiverged`] when a score is not finite.
    pub fn evaluate(&self, tasks: &[Task], progress: &mut Progress<'_>) -> Result<Evaluation, Error> {
        let outcomes = self.run(tasks, progress)?;
        let evaluation = Evaluation::new(self.batch, &outcomes);
        match evaluation
            .conditions
            .iter()
            .find(|score| !score.position.is_finite())
        {
            None => Ok(evaluation),
            Some(spoilt) => Err(Error::EvaluationDiverged {
                batch: self.batch,
                task: spoilt.task,
                speed: spoilt.speed,
                delay_steps: spoilt.delay_steps,
            }),
        }
    }

    /// Outcomes in the order of tasks, then speeds, then delays.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when `progress` breaks, [`Error::Card`].
    pub fn run(&self, tasks: &[Task], progress: &mut Progress<'_>) -> Result<Vec<ConditionOutcome>, Error> {
        let mut trials: Vec<(usize, Trial)> = tasks
            .iter()
            .flat_map(|&task| self.trials(task))
            .enumerate()
            .collect();
        trials.sort_by_key(|(_, trial)| trial.steps());
        let mut player = self.player()?;
        let rows = trials.first().map_or(1, |(_, trial)| trial.rows());
        let per_chunk = match &player {
            Player::Reference => self.conditions_per_chunk,
            Player::Fused(_) => (FUSED_ROWS_PER_THREAD * self.numerics.threads()).div_ceil(rows),
            Player::OnCard(_) => FUSED_ROWS_ON_CARD.div_ceil(rows),
        };
        let steps: usize = trials.chunks(per_chunk).map(longest).sum();
        let mut done = 0;
        let mut outcomes = Vec::with_capacity(trials.len());
        for chunk in trials.chunks(per_chunk) {
            let (places, trials): (Vec<usize>, Vec<Trial>) = chunk.iter().cloned().unzip();
            let mut on_steps = |count| {
                done += count;
                progress(done as f64 / steps as f64)
            };
            let of_chunk = self.run_chunk(&mut player, &trials, &mut on_steps)?;
            outcomes.extend(places.into_iter().zip(of_chunk));
        }
        outcomes.sort_by_key(|(place, _)| *place);
        Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
    }

    /// The conditions of a task that the protocol asks for.
    fn trials(&self, task: Task) -> Vec<Trial> {
        let stream = Stream {
            seed: self.seed,
            purpose: Purpose::EvaluationDelay,
            batch: self.batch,
            step: 0,
        };
        let mut trials = Vec::new();
        for speed in self.protocol.speeds() {
            let drawn = || stream.index(condition_number(task, speed) as u32, DELAY_STEPS.len());
            let delays = match self.protocol.delays.as_slice() {
                [] => vec![DELAY_STEPS[drawn()]],
                asked => asked.to_vec(),
            };
            for delay_steps in delays {
                let conditions = TrialConditions {
                    task,
                    mode: self.protocol.mode,
                    speed,
                    delay_steps,
                    directions: self.protocol.directions(),
                    backward_directions: None,
                };
                let trial = Trial::new(conditions);
                trials.push(trial.unwrap_or_else(|error| unreachable!("a valid protocol: {error}")));
            }
        }
        trials
    }

    fn player(&self) -> Result<Player, Error> {
        if let (Engine::Fused, Some(card), Policy::Leaky(policy)) = (self.engine, &self.card, self.policy) {
            let engine = CardEngine::new(policy, card.clone(), self.numerics.precision())?;
            return Ok(Player::OnCard(Box::new(engine)));
        }
        let fused = match self.engine {
            Engine::Reference => None,
            Engine::Fused => FusedEngine::new(self.policy, self.numerics).ok(),
        };
        Ok(fused.map_or(Player::Reference, |mut engine| {
            engine.take(&self.policy.effective());
            Player::Fused(Box::new(engine))
        }))
    }

    fn run_chunk(
        &self,
        player: &mut Player,
        trials: &[Trial],
        on_steps: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Vec<ConditionOutcome>, Error> {
        let _no_grad = tch::no_grad_guard();
        let episode = Episode::new(trials, self.numerics);
        let noise = self.protocol.noise.then(|| self.noise(trials));
        let fingertip = match player {
            Player::Reference => self.run_by_steps(&episode, noise.as_ref(), on_steps)?,
            Player::Fused(engine) => {
                engine.play(&episode, noise.as_ref());
                if on_steps(episode.longest()).is_break() {
                    return Err(Error::Interrupted);
                }
                engine.fingertips()
            }
            Player::OnCard(engine) => {
                engine.roll_out(&episode, noise.as_ref(), false)?;
                let fingertips = engine.fingertips()?;
                if on_steps(episode.longest()).is_break() {
                    return Err(Error::Interrupted);
                }
                fingertips
            }
        };
        let in_double = |tensor: &Tensor| tensor.to_kind(Kind::Double).to_device(tch::Device::Cpu);
        let missed = in_double(&(&fingertip - &episode.goal));
        let fingertip = in_double(&fingertip);
        let mut first_row = 0;
        let mut outcomes = Vec::with_capacity(trials.len());
        for trial in trials {
            outcomes.push(outcome(
                trial,
                &of_rows(&missed, trial, first_row),
                &of_rows(&fingertip, trial, first_row),
            ));
            first_row += trial.rows();
        }
        Ok(outcomes)
    }

    fn run_by_steps(
        &self,
        episode: &Episode,
        noise: Option<&NoiseSource>,
        on_steps: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Tensor, Error> {
        let recording = Recording::Fingertip;
        let mut run = EpisodeRun::new(
            self.effector,
            self.policy,
            episode,
            noise,
            recording,
            self.numerics,
        );
        while !run.is_done() {
            run.step();
            if on_steps(1).is_break() {
                return Err(Error::Interrupted);
            }
        }
        Ok(run.finish().fingertip)
    }

    fn noise(&self, trials: &[Trial]) -> NoiseSource {
        let rows = trials.iter().flat_map(|trial| {
            let first = condition_number(trial.conditions.task, trial.conditions.speed) * DIRECTIONS;
            stretches(&trial.conditions.directions)
                .map(move |stretch| first + stretch.start..first + stretch.end)
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

/// A network that is evaluated and not trained.
#[derive(Debug)]
pub struct Examiner {
    config: TrainingConfig,
    numerics: Numerics,
    effector: Effector,
    policy: Policy,
    batch: u64,
    card: Option<Arc<dyn Card>>,
}

impl Examiner {
    /// The network of a checkpoint, under the evaluation of a configuration. The draws are those of the evaluation
    /// that would follow the checkpoint's last batch, from the configuration's seed.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], or [`Error::Checkpoint`] if the checkpoint's tensors do not fit the network.
    pub fn new(config: TrainingConfig, numerics: Numerics, base: &Checkpoint) -> Result<Self, Error> {
        config.validate()?;
        set_intra_op_threads(1);
        let numerics = match (config.engine, &config.network) {
            (Engine::Fused, NetworkConfig::Leaky(_)) => numerics,
            _ => numerics.for_reference()?,
        };
        let state = in_precision(&base.state, numerics);
        let policy = Policy::from_state(&config.network, &state, numerics)?;
        Ok(Self {
            card: cuda::card_for(&policy, numerics)?,
            policy,
            config,
            numerics,
            effector: Effector::new(numerics),
            batch: base.next_batch.saturating_sub(1),
        })
    }

    /// # Errors
    /// [`Error::Interrupted`] when `progress` breaks, [`Error::EvaluationDiverged`] when a score is not finite.
    pub fn evaluate(&self, progress: &mut Progress<'_>) -> Result<Evaluation, Error> {
        let evaluator = Evaluator {
            effector: &self.effector,
            policy: &self.policy,
            numerics: self.numerics,
            protocol: self.config.evaluation.clone(),
            seed: self.config.seed,
            batch: self.batch,
            conditions_per_chunk: CONDITIONS_PER_CHUNK,
            engine: self.config.engine,
            card: self.card.clone(),
        };
        evaluator.evaluate(self.config.evaluated_tasks(), progress)
    }
}

impl Evaluation {
    /// Means of the outcomes, which stand in the order of their tasks.
    pub(crate) fn new(batch: u64, outcomes: &[ConditionOutcome]) -> Self {
        let conditions: Vec<ConditionScore> = outcomes.iter().map(|outcome| outcome.score.clone()).collect();
        let task_mean = |of_task: &[ConditionScore]| {
            let positions: Vec<f64> = of_task.iter().map(|score| score.position).collect();
            (of_task[0].task, mean(&positions))
        };
        let per_task: Vec<(Task, f64)> = conditions
            .chunk_by(|one, next| one.task == next.task)
            .map(task_mean)
            .collect();
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

/// `missed`: fingertip less goal, `fingertip`: both `[T + 1, direction, 2]`, metres.
fn outcome(trial: &Trial, missed: &Tensor, fingertip: &Tensor) -> ConditionOutcome {
    let last = fingertip.get(-1);
    let final_fingertips =
        (0..trial.rows() as i64).map(|row| [last.double_value(&[row, 0]), last.double_value(&[row, 1])]);
    let errors = missed.abs().sum_dim_intlist(-1, false, None);
    let positions = errors.mean_dim(0, false, None);
    let last_missed = missed.get(-1);
    let endpoints = last_missed.square().sum_dim_intlist(-1, false, None).sqrt();
    let directions = trial.conditions.directions.iter().zip(0..);
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
        directions: directions
            .map(|(&direction, row)| DirectionScore {
                direction,
                position: positions.double_value(&[row]),
                endpoint: endpoints.double_value(&[row]),
            })
            .collect(),
    };
    ConditionOutcome {
        score,
        final_fingertips: final_fingertips.collect(),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Stretches of consecutive numbers.
fn stretches(numbers: &[usize]) -> impl Iterator<Item = Range<usize>> {
    numbers
        .chunk_by(|one, next| one + 1 == *next)
        .map(|stretch| stretch[0]..stretch[0] + stretch.len())
}
