//! What a training is told: plain data with the defaults of the model family, checked before anything is built.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};

use crate::engine::Engine;
use crate::environment::ObservationLayout;
use crate::error::Error;
use crate::loss::LossWeights;
use crate::policy::{Group, NetworkConfig};
use crate::tasks::{DELAY_STEPS, Family, HOLD_STEPS, Mode, STABLE_STEPS, Task, delay_steps};

/// Everything that decides the numbers of a training run, precision and device apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    pub network: NetworkConfig,
    /// Tasks drawn from, uniformly, one per batch. Also what an evaluation runs over.
    pub tasks: Vec<Task>,
    /// Number of batches, each one update.
    pub batches: u64,
    /// Trials per batch.
    pub batch_size: usize,
    pub learning_rate: f64,
    /// Largest joint 2-norm of the gradients; `None` leaves them as they are.
    pub clip: Option<f64>,
    /// Batches between evaluations.
    pub save_every: u64,
    pub loss_weights: LossWeights,
    pub seed: u64,
    pub evaluation: EvaluationConfig,
    /// What runs the episodes, where it covers the network. Checkpoints of before there was a choice name none.
    #[serde(default = "Engine::before_there_was_a_choice")]
    pub engine: Engine,
    /// Parts of the network that keep their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frozen: Vec<Group>,
    #[serde(default, skip_serializing_if = "Objective::is_movement")]
    pub objective: Objective,
    #[serde(default, skip_serializing_if = "CompatibilityConfig::is_off")]
    pub compatibility: CompatibilityConfig,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            network: NetworkConfig::default(),
            tasks: Family::Base.tasks(),
            batches: 75_000,
            batch_size: 32,
            learning_rate: 1e-3,
            clip: Some(1.0),
            save_every: 500,
            loss_weights: LossWeights::default(),
            seed: 0,
            evaluation: EvaluationConfig::default(),
            engine: Engine::Fused,
            frozen: vec![],
            objective: Objective::Movement,
            compatibility: CompatibilityConfig::default(),
        }
    }
}

/// What evaluations run, and how. The default is the model family's protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Tasks; `None` for those trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<Task>>,
    /// Which speeds and directions there are to choose from.
    pub mode: Mode,
    /// Speed indices of every task; `None` for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speeds: Option<Vec<usize>>,
    /// Direction indices; `None` for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directions: Option<Vec<usize>>,
    /// Delays in steps, with each of which every task and speed is run; with none, one of [`DELAY_STEPS`] is drawn
    /// for each task and speed.
    ///
    /// [`DELAY_STEPS`]: crate::tasks::DELAY_STEPS
    #[serde(alias = "delay", deserialize_with = "delays")]
    pub delays: Vec<usize>,
    /// Whether the network's noise is on.
    pub noise: bool,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            tasks: None,
            mode: Mode::Test,
            speeds: None,
            directions: None,
            delays: vec![],
            noise: true,
        }
    }
}

/// Reads a list of steps, or what stood here before there were lists: the index of one delay, or nothing.
fn delays<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<usize>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Steps(Vec<usize>),
        Index(Option<usize>),
    }
    match Stored::deserialize(deserializer)? {
        Stored::Steps(steps) => Ok(steps),
        Stored::Index(None) => Ok(vec![]),
        Stored::Index(Some(index)) => match delay_steps(index) {
            Ok(steps) => Ok(vec![steps]),
            Err(error) => Err(serde::de::Error::custom(error)),
        },
    }
}

/// Longest delay that is accepted, in steps.
pub const MAX_DELAY_STEPS: usize = 1000;

impl EvaluationConfig {
    /// The speed indices of every task.
    pub fn speeds(&self) -> Vec<usize> {
        let all = || (0..self.mode.speeds()).collect();
        self.speeds.clone().unwrap_or_else(all)
    }

    /// The direction indices.
    pub fn directions(&self) -> Vec<usize> {
        let all = || (0..self.mode.directions()).collect();
        self.directions.clone().unwrap_or_else(all)
    }

    fn validate(&self, trained: Family) -> Result<(), Error> {
        if let Some(tasks) = &self.tasks {
            check_tasks("evaluation.tasks", tasks)?;
            check(
                "evaluation.tasks",
                tasks.iter().all(|task| task.family() == trained),
                "are of another family than the trained tasks: their observations differ",
            )?;
        }
        check_indices("evaluation.speeds", self.speeds.as_deref(), self.mode.speeds())?;
        check_indices(
            "evaluation.directions",
            self.directions.as_deref(),
            self.mode.directions(),
        )?;
        let known = |delay: &usize| *delay <= MAX_DELAY_STEPS;
        check(
            "evaluation.delays",
            self.delays.iter().all(known) && distinct(&self.delays),
            "must be different numbers of steps up to 1000",
        )
    }
}

/// What training is to bring about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// The fingertip follows its goal.
    #[default]
    Movement,
    /// The muscles do what a teacher's did, shown what the teacher saw.
    MuscleActivity,
}

impl Objective {
    fn is_movement(&self) -> bool {
        *self == Self::Movement
    }
}

/// Deviations from what the experiments should do, that published results rest on. All off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompatibilityConfig {
    /// Composed tasks draw the directions of the two ways independently, so that the path jumps between them.
    pub independent_composable_directions: bool,
}

impl CompatibilityConfig {
    fn is_off(&self) -> bool {
        *self == Self::default()
    }
}

impl TrainingConfig {
    /// Family of the tasks; a valid configuration has only one.
    pub fn family(&self) -> Family {
        self.tasks.first().map_or(Family::Base, |task| task.family())
    }

    /// Tasks that an evaluation runs over.
    pub fn evaluated_tasks(&self) -> &[Task] {
        self.evaluation.tasks.as_deref().unwrap_or(&self.tasks)
    }

    /// Whether the fused engine is asked for, and has kernels for the training on a card.
    pub fn has_kernels(&self) -> bool {
        self.engine == Engine::Fused
            && self.objective == Objective::Movement
            && matches!(self.network, NetworkConfig::Leaky(_))
    }

    /// Steps of the longest episode that the training can draw.
    pub fn longest_steps(&self) -> usize {
        let movement = self
            .tasks
            .iter()
            .flat_map(|task| task.movement_steps(Mode::Train));
        let longest = movement.max().unwrap_or(0);
        STABLE_STEPS + DELAY_STEPS.into_iter().max().unwrap_or(0) + longest + HOLD_STEPS
    }

    /// # Errors
    /// [`Error::InvalidConfig`] with the path of the first impossible field.
    pub fn validate(&self) -> Result<(), Error> {
        self.network.validate()?;
        check_tasks("tasks", &self.tasks)?;
        self.check_observations()?;
        check("batches", self.batches > 0, "must be at least 1")?;
        check(
            "batch_size",
            (1..=4096).contains(&self.batch_size),
            "must be 1 to 4096",
        )?;
        check("save_every", self.save_every > 0, "must be at least 1")?;
        check(
            "learning_rate",
            positive(self.learning_rate),
            "must be positive and finite",
        )?;
        check(
            "clip",
            self.clip.is_none_or(positive),
            "must be positive and finite",
        )?;
        self.loss_weights.validate()?;
        self.evaluation.validate(self.family())
    }

    /// The network takes what the tasks show.
    fn check_observations(&self) -> Result<(), Error> {
        let (takes, shown) = (
            self.network.inputs().observations(),
            ObservationLayout::of(self.family()).width() as usize,
        );
        if takes == shown {
            return Ok(());
        }
        Err(Error::InvalidConfig {
            field: "network.inputs",
            problem: format!("take {takes} numbers, but the tasks show {shown}"),
        })
    }
}

fn check_tasks(field: &'static str, tasks: &[Task]) -> Result<(), Error> {
    check(field, !tasks.is_empty(), "must name at least one task")?;
    check(field, distinct(tasks), "names a task twice")?;
    check(
        field,
        tasks.iter().all(|task| task.family() == tasks[0].family()),
        "mixes base tasks with composed ones: their rule inputs differ",
    )
}

fn check_indices(field: &'static str, indices: Option<&[usize]>, known: usize) -> Result<(), Error> {
    let Some(indices) = indices else {
        return Ok(());
    };
    check(field, !indices.is_empty(), "must name at least one")?;
    check(field, distinct(indices), "names one twice")?;
    match indices.iter().find(|&&index| index >= known) {
        None => Ok(()),
        Some(index) => Err(Error::InvalidConfig {
            field,
            problem: format!("has no {index}: there are {known}, numbered from 0"),
        }),
    }
}

fn distinct<T: Ord>(values: &[T]) -> bool {
    values.iter().collect::<BTreeSet<_>>().len() == values.len()
}

pub(crate) fn check(field: &'static str, holds: bool, problem: &str) -> Result<(), Error> {
    if holds {
        Ok(())
    } else {
        Err(Error::InvalidConfig {
            field,
            problem: problem.to_owned(),
        })
    }
}

pub(crate) fn positive(value: f64) -> bool {
    value > 0.0 && value.is_finite()
}

pub(crate) fn not_negative(value: f64) -> bool {
    value >= 0.0 && value.is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        TrainingConfig::default().validate().expect("defaults");
    }

    #[test]
    fn protocols_of_older_checkpoints_are_understood() {
        let read = |text: &str| serde_json::from_str::<EvaluationConfig>(text).expect("read");
        assert_eq!(
            read(r#"{"noise": true, "delay": null}"#),
            EvaluationConfig::default()
        );
        assert_eq!(read(r#"{"noise": false, "delay": 2}"#).delays, [75]);
        let ours = EvaluationConfig {
            delays: vec![25, 60],
            speeds: Some(vec![1]),
            ..EvaluationConfig::default()
        };
        assert_eq!(read(&serde_json::to_string(&ours).expect("written")), ours);
    }

    #[test]
    fn impossible_values_name_their_field() {
        let config = TrainingConfig::default;
        let evaluated = |evaluation| TrainingConfig {
            evaluation,
            ..TrainingConfig::default()
        };
        let cases = [
            (
                "tasks",
                TrainingConfig {
                    tasks: vec![],
                    ..config()
                },
            ),
            (
                "tasks",
                TrainingConfig {
                    tasks: vec![Task::DlySinusoid, Task::DlySinusoid],
                    ..config()
                },
            ),
            (
                "tasks",
                TrainingConfig {
                    tasks: vec![Task::DlySinusoid, Family::Composed.tasks()[3]],
                    ..config()
                },
            ),
            (
                "batches",
                TrainingConfig {
                    batches: 0,
                    ..config()
                },
            ),
            (
                "batch_size",
                TrainingConfig {
                    batch_size: 0,
                    ..config()
                },
            ),
            (
                "save_every",
                TrainingConfig {
                    save_every: 0,
                    ..config()
                },
            ),
            (
                "learning_rate",
                TrainingConfig {
                    learning_rate: f64::NAN,
                    ..config()
                },
            ),
            (
                "clip",
                TrainingConfig {
                    clip: Some(0.0),
                    ..config()
                },
            ),
            (
                "evaluation.delays",
                evaluated(EvaluationConfig {
                    delays: vec![25, 25],
                    ..EvaluationConfig::default()
                }),
            ),
            (
                "evaluation.speeds",
                evaluated(EvaluationConfig {
                    mode: Mode::Train,
                    speeds: Some(vec![3]),
                    ..EvaluationConfig::default()
                }),
            ),
            (
                "evaluation.directions",
                evaluated(EvaluationConfig {
                    directions: Some(vec![]),
                    ..EvaluationConfig::default()
                }),
            ),
            (
                "evaluation.tasks",
                evaluated(EvaluationConfig {
                    tasks: Some(Family::Composed.tasks()),
                    ..EvaluationConfig::default()
                }),
            ),
            (
                "network.inputs",
                TrainingConfig {
                    tasks: Family::Composed.tasks(),
                    ..config()
                },
            ),
            (
                "loss_weights.muscle",
                TrainingConfig {
                    loss_weights: LossWeights {
                        muscle: -1.0,
                        ..LossWeights::default()
                    },
                    ..config()
                },
            ),
            (
                "network.hidden",
                TrainingConfig {
                    network: NetworkConfig::leaky(0, crate::policy::Activation::Tanh),
                    ..config()
                },
            ),
        ];
        for (expected, config) in cases {
            let Err(Error::InvalidConfig { field, .. }) = config.validate() else {
                panic!("{expected} was accepted")
            };
            assert_eq!(field, expected);
        }
    }
}
