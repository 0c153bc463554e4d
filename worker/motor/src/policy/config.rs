//! Which network, and its constants.

use serde::{Deserialize, Serialize};

use super::Activation;
use crate::config::{check, not_negative, positive};
use crate::error::Error;

/// Kind of network and what it is built from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields)]
pub enum NetworkConfig {
    #[serde(rename = "rnn")]
    Leaky(LeakyConfig),
}

/// Constants of the leaky recurrent network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeakyConfig {
    /// Hidden units, 1 to [`MAX_HIDDEN`].
    pub hidden: usize,
    pub activation: Activation,
    /// Strength σ_h of the noise of the hidden units.
    pub hidden_noise: f64,
    /// Strength σ_u of the noise of the inputs.
    pub input_noise: f64,
    /// Time of one step, in ms.
    pub dt_ms: f64,
    /// Time constant of a unit, in ms.
    pub time_constant_ms: f64,
}

/// Largest network that is accepted.
pub const MAX_HIDDEN: usize = 4096;

impl Default for LeakyConfig {
    fn default() -> Self {
        Self {
            hidden: 512,
            activation: Activation::Softplus,
            hidden_noise: 0.1,
            input_noise: 0.01,
            dt_ms: 10.0,
            time_constant_ms: 20.0,
        }
    }
}

impl LeakyConfig {
    /// α, the fraction of the way that a unit goes towards its input in one step.
    pub fn alpha(&self) -> f64 {
        self.dt_ms / self.time_constant_ms
    }

    fn validate(&self) -> Result<(), Error> {
        check(
            "network.hidden",
            (1..=MAX_HIDDEN).contains(&self.hidden),
            "must be 1 to 4096",
        )?;
        check(
            "network.hidden_noise",
            not_negative(self.hidden_noise),
            "must be finite and not negative",
        )?;
        check(
            "network.input_noise",
            not_negative(self.input_noise),
            "must be finite and not negative",
        )?;
        check(
            "network.dt_ms",
            positive(self.dt_ms),
            "must be positive and finite",
        )?;
        let slow_enough = positive(self.time_constant_ms) && self.time_constant_ms >= self.dt_ms;
        check(
            "network.time_constant_ms",
            slow_enough,
            "must be finite and not below dt_ms",
        )
    }
}

impl Default for NetworkConfig {
    fn default() -> Self {
        NetworkConfig::Leaky(LeakyConfig::default())
    }
}

impl NetworkConfig {
    /// The leaky network of the given size, with default constants.
    pub fn leaky(hidden: usize, activation: Activation) -> Self {
        NetworkConfig::Leaky(LeakyConfig {
            hidden,
            activation,
            ..LeakyConfig::default()
        })
    }

    pub fn hidden(&self) -> usize {
        match self {
            NetworkConfig::Leaky(leaky) => leaky.hidden,
        }
    }

    /// # Errors
    /// [`Error::InvalidConfig`] with the path of the first impossible field.
    pub fn validate(&self) -> Result<(), Error> {
        match self {
            NetworkConfig::Leaky(leaky) => leaky.validate(),
        }
    }
}
