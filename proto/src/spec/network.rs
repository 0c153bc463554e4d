//! `[network]`: the policy that controls the arm.

use serde::{Deserialize, Serialize};

use super::read::{Choice, Table};

/// Most hidden units.
pub const MAX_HIDDEN: u64 = 4096;

/// The kind of policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NetworkKind {
    /// Leaky recurrent network.
    Rnn,
}

impl Choice for NetworkKind {
    const ALL: &'static [Self] = &[Self::Rnn];

    fn name(self) -> &'static str {
        match self {
            Self::Rnn => "rnn",
        }
    }
}

/// What turns a unit's state into its activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// ln(1 + e^x).
    Softplus,
    /// max(x, 0).
    Relu,
    /// Hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// Whether the simple-dynamics loss is defined for it.
    #[must_use]
    pub const fn has_dynamics_loss(self) -> bool {
        match self {
            Self::Softplus | Self::Relu => true,
            Self::Tanh => false,
        }
    }
}

impl Choice for Activation {
    const ALL: &'static [Self] = &[Self::Softplus, Self::Relu, Self::Tanh];

    fn name(self) -> &'static str {
        match self {
            Self::Softplus => "softplus",
            Self::Relu => "relu",
            Self::Tanh => "tanh",
        }
    }
}

/// The policy that controls the arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// The kind of policy.
    pub kind: NetworkKind,
    /// Hidden units, 1 to 4096.
    pub hidden: u32,
    /// What turns a unit's state into its activity.
    pub activation: Activation,
    /// Standard deviation of the noise on the hidden state.
    pub noise_hidden: f64,
    /// Standard deviation of the noise on the input.
    pub noise_input: f64,
    /// Length of a step of the network, in milliseconds.
    pub dt_ms: f64,
    /// Time constant of the units, in milliseconds; at least `dt_ms`.
    pub time_constant_ms: f64,
}

impl NetworkSpec {
    pub(super) fn read(table: &mut Table<'_>) -> Self {
        let kind = table.choice("kind", NetworkKind::Rnn);
        let hidden = table.integer("hidden", 1..=MAX_HIDDEN, 512) as u32;
        let activation = table.choice("activation", Activation::Softplus);
        let noise_hidden = table.number("noise_hidden", 0.0..=10.0, 0.1);
        let noise_input = table.number("noise_input", 0.0..=10.0, 0.01);
        let dt_ms = table.number("dt_ms", 0.1..=1000.0, 10.0);
        let time_constant_ms = table.number("time_constant_ms", 0.1..=10_000.0, 20.0);
        if time_constant_ms < dt_ms {
            table.problem_with(
                "time_constant_ms",
                time_constant_ms.into(),
                format!("a time constant of {time_constant_ms} ms is shorter than a step of {dt_ms} ms"),
                "at least dt_ms",
            );
        }
        Self {
            kind,
            hidden,
            activation,
            noise_hidden,
            noise_input,
            dt_ms,
            time_constant_ms,
        }
    }
}
