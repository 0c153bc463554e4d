//! The functions from a unit's state to its firing.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Elementwise function f with h = f(x).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// ln(1 + eˣ), the identity above x = 20.
    Softplus,
    /// max(x, 0), slope 0 at 0.
    Relu,
    Tanh,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// x itself.
    Linear,
}

impl Activation {
    pub fn apply(self, x: &Tensor) -> Tensor {
        match self {
            Activation::Softplus => x.softplus(),
            Activation::Relu => x.relu(),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => x.sigmoid(),
            Activation::Linear => x.shallow_clone(),
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Activation::Softplus => "softplus",
            Activation::Relu => "relu",
            Activation::Tanh => "tanh",
            Activation::Sigmoid => "sigmoid",
            Activation::Linear => "linear",
        })
    }
}
