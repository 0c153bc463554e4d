//! What a training is told: plain data with the defaults of the model family, checked before anything is built.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::loss::LossWeights;
use crate::policy::NetworkConfig;
use crate::tasks::{DELAY_STEPS, Family, Task};

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
            compatibility: CompatibilityConfig::default(),
        }
    }
}

/// How evaluations run. The default is the model family's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Whether the network's noise is on.
    pub noise: bool,
    /// Index into [`DELAY_STEPS`] for all conditions; `None` draws one for each task and speed.
    pub delay: Option<usize>,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            noise: true,
            delay: None,
        }
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

    /// # Errors
    /// [`Error::InvalidConfig`] with the path of the first impossible field.
    pub fn validate(&self) -> Result<(), Error> {
        self.network.validate()?;
        let distinct = self.tasks.iter().collect::<std::collections::BTreeSet<_>>().len();
        check("tasks", !self.tasks.is_empty(), "must name at least one task")?;
        check("tasks", distinct == self.tasks.len(), "names a task twice")?;
        check(
            "tasks",
            self.tasks.iter().all(|task| task.family() == self.family()),
            "mixes base tasks with composed ones: their rule inputs differ",
        )?;
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
        let delay_known = self
            .evaluation
            .delay
            .is_none_or(|delay| delay < DELAY_STEPS.len());
        check("evaluation.delay", delay_known, "must be 0, 1 or 2")
    }
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
    fn impossible_values_name_their_field() {
        let config = TrainingConfig::default;
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
                "evaluation.delay",
                TrainingConfig {
                    evaluation: EvaluationConfig {
                        noise: true,
                        delay: Some(3),
                    },
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
