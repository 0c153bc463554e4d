//! Engines: programs that run an episode of arm and network. All give the same numbers to rounding.
//!
//! `fused` and [`cuda`] are halves of one engine, for the processor and for a card.

pub mod cuda;
mod fused;
mod reference;

use std::fmt;
use std::str::FromStr;

pub(crate) use fused::{Drive, Instant, MuscleLaw};
pub use fused::{FusedEngine, NotCovered};
pub use reference::{Details, EpisodeRun, NoiseSource, Recording, Rollout, roll_out};
use serde::{Deserialize, Serialize};

/// Which program runs the episodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Tensor operations and libtorch's autograd.
    Reference,
    /// Whole episodes with a derived adjoint: on the CPU, and those of leaky networks on a card.
    Fused,
}

impl Engine {
    pub(crate) fn before_there_was_a_choice() -> Self {
        Engine::Reference
    }
}

/// The name is no engine's.
#[derive(Debug, thiserror::Error)]
#[error("unknown engine `{0}`: fused or reference")]
pub struct UnknownEngine(pub String);

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Reference => "reference",
            Engine::Fused => "fused",
        })
    }
}

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        match name {
            "reference" => Ok(Engine::Reference),
            "fused" => Ok(Engine::Fused),
            _ => Err(UnknownEngine(name.to_owned())),
        }
    }
}
