//! Policies: networks that turn observations into muscle excitations.
//!
//! - [`NetworkConfig`], [`RegionsConfig`]: which network, as plain data;
//! - `parameters`: named tensors, their initial values, which of them are trained;
//! - `layout`, `network`, `units`: leaky units in regions ([`RegionNetwork`]), their weight blocks, and their steps;
//! - `leaky`, `gru`: the policies, made of units and outputs; `effective`, `parts`: their matrices as
//!   they act, as tensors and as a list of what they are made of;
//! - `transfer`, `side_by_side`: networks made from trained ones.
//!
//! `docs/policies.md`, `docs/regions.md` and `docs/transfer.md` have the equations and the names.

mod activation;
mod config;
mod effective;
mod gru;
mod layout;
mod leaky;
mod network;
mod parameters;
mod parts;
mod regions;
mod side_by_side;
mod side_by_side_file;
mod transfer;
mod units;

use tch::Tensor;

pub use self::activation::Activation;
pub use self::config::{
    Bounds, CONDITION_INPUTS, Feedback, GruConfig, InputLayout, LeakyConfig, MAX_HIDDEN, NetworkConfig,
};
pub use self::effective::{Effective, EffectiveGru, EffectiveLeaky};
pub use self::gru::{GruPolicy, RunningGru};
pub use self::leaky::{LeakyPolicy, RunningLeaky};
pub use self::network::{RegionNetwork, UnknownRegion};
pub use self::parameters::Group;
pub(crate) use self::parameters::checked;
pub(crate) use self::parts::{Bounded, Whole};
pub use self::regions::{Connection, InputRegion, RecurrentRegion, RegionsConfig, Sign};
pub use self::side_by_side::{InputBlocks, SideBySide, SideBySideSequence, StitchError};
pub use self::side_by_side_file::{Member, SideBySideFile};
pub use self::units::RunningUnits;
use crate::checkpoint::CheckpointError;
use crate::device::Numerics;
use crate::host_tensor::TensorTable;

/// A network of any kind with its weights.
#[derive(Debug)]
pub enum Policy {
    Leaky(Box<LeakyPolicy>),
    Gru(GruPolicy),
}

/// State of the units, each `[batch, hidden]`.
#[derive(Debug)]
pub struct UnitState {
    /// Before the activation function. Gated units have none; theirs stays 0.
    pub x: Tensor,
    /// Firing.
    pub h: Tensor,
}

/// Unit normal draws for a stretch of steps: hidden `[step, batch, hidden]`, input `[step, batch, observation]`.
#[derive(Debug)]
pub struct UnitNoise {
    pub hidden: Tensor,
    pub input: Tensor,
}

impl Policy {
    /// A network with initial weights drawn from `seed`. The configuration must be valid.
    pub fn new(config: &NetworkConfig, seed: u64, numerics: Numerics) -> Self {
        match config.clone() {
            NetworkConfig::Leaky(config) => Policy::Leaky(Box::new(LeakyPolicy::new(config, seed, numerics))),
            NetworkConfig::Gru(config) => Policy::Gru(GruPolicy::new(config, seed, numerics)),
        }
    }

    /// A network with the weights of a state dict. Full masks and all sign matrices may be left out.
    ///
    /// # Errors
    /// When a tensor is missing, unknown, of another shape or precision, or not finite.
    pub fn from_state(
        config: &NetworkConfig,
        state: &TensorTable,
        numerics: Numerics,
    ) -> Result<Self, CheckpointError> {
        Ok(match config.clone() {
            NetworkConfig::Leaky(config) => {
                Policy::Leaky(Box::new(LeakyPolicy::from_state(config, state, numerics)?))
            }
            NetworkConfig::Gru(config) => Policy::Gru(GruPolicy::from_state(config, state, numerics)?),
        })
    }

    /// Keeps groups of parameters as they are: they are no longer trained, and have no moments.
    #[must_use]
    pub fn frozen(mut self, groups: &[Group]) -> Self {
        match &mut self {
            Policy::Leaky(policy) => policy.freeze(groups),
            Policy::Gru(policy) => policy.freeze(groups),
        }
        self
    }

    pub fn config(&self) -> NetworkConfig {
        match self {
            Policy::Leaky(policy) => NetworkConfig::Leaky(policy.config().clone()),
            Policy::Gru(policy) => NetworkConfig::Gru(policy.config().clone()),
        }
    }

    fn slots(config: &NetworkConfig) -> Vec<parameters::Slot> {
        match config {
            NetworkConfig::Leaky(config) => leaky::slots(config),
            NetworkConfig::Gru(config) => gru::slots(config),
        }
    }

    /// Precision and device of its weights.
    pub fn numerics(&self) -> Numerics {
        match self {
            Policy::Leaky(policy) => policy.network().numerics(),
            Policy::Gru(policy) => policy.numerics(),
        }
    }

    /// Number of units.
    pub fn hidden(&self) -> usize {
        match self {
            Policy::Leaky(policy) => policy.config().hidden,
            Policy::Gru(policy) => policy.config().hidden,
        }
    }

    /// Width of the observations that it takes.
    pub fn observations(&self) -> usize {
        match self {
            Policy::Leaky(policy) => policy.config().inputs.observations(),
            Policy::Gru(policy) => policy.config().inputs.observations(),
        }
    }

    /// Whether noise enters it when it is on.
    pub fn has_noise(&self) -> bool {
        matches!(self, Policy::Leaky(_))
    }

    /// All tensors of the state dict with their names, masks and signs included, in PyTorch's order.
    pub fn named_parameters(&self) -> Box<dyn Iterator<Item = (&str, &Tensor)> + '_> {
        match self {
            Policy::Leaky(policy) => Box::new(policy.named_parameters()),
            Policy::Gru(policy) => Box::new(policy.named_parameters()),
        }
    }

    /// The tensors that training changes.
    pub fn trainable(&self) -> Box<dyn Iterator<Item = (&str, &Tensor)> + '_> {
        match self {
            Policy::Leaky(policy) => Box::new(policy.trainable()),
            Policy::Gru(policy) => Box::new(policy.trainable()),
        }
    }

    /// The state dict, copied to host memory.
    pub fn state(&self) -> TensorTable {
        parameters::state(self.named_parameters())
    }

    /// The matrices as they act, differentiable with respect to the parameters that they are made of.
    pub fn effective(&self) -> Effective {
        match self {
            Policy::Leaky(policy) => Effective::Leaky(policy.effective()),
            Policy::Gru(policy) => Effective::Gru(policy.effective()),
        }
    }

    /// The network made ready to be called many times with its present weights.
    pub fn prepare(&self) -> RunningPolicy {
        match self {
            Policy::Leaky(policy) => RunningPolicy::Leaky(policy.prepare()),
            Policy::Gru(policy) => RunningPolicy::Gru(policy.prepare()),
        }
    }
}

/// A [`Policy`] with transposed effective matrices, so that a step is a few operations.
///
/// What is known of an observation before the episode (rule, speed, go cue, target) enters for many steps at once
/// through [`drive`](Self::drive); what the arm feeds back enters step by step.
#[derive(Debug)]
pub enum RunningPolicy {
    Leaky(RunningLeaky),
    Gru(RunningGru),
}

impl RunningPolicy {
    /// The state before the first call, `[rows, hidden]`.
    pub fn start(&self, rows: i64) -> UnitState {
        match self {
            RunningPolicy::Leaky(policy) => policy.start(rows),
            RunningPolicy::Gru(policy) => policy.start(rows),
        }
    }

    /// What enters the units from outside for the part of the observation that is known beforehand, biases and noise
    /// included. Gated units take no noise.
    ///
    /// Shapes: `known` `[step, batch, observation]`, 0 where the arm's feedback will be; returns
    /// `[step, batch, hidden]`, for gated units `[step, batch, 3 hidden]`.
    pub fn drive(&self, known: &Tensor, noise: Option<&UnitNoise>) -> Tensor {
        match self {
            RunningPolicy::Leaky(policy) => policy.drive(known, noise),
            RunningPolicy::Gru(policy) => policy.drive(known),
        }
    }

    /// One call: state after it.
    ///
    /// Shapes: `drive` one step of [`drive`](Self::drive); `feedback` `[batch, 14]`.
    pub fn step(&self, old: &UnitState, drive: &Tensor, feedback: &Tensor) -> UnitState {
        match self {
            RunningPolicy::Leaky(policy) => policy.step(old, drive, feedback),
            RunningPolicy::Gru(policy) => policy.step(old, drive, feedback),
        }
    }

    /// Muscle excitations, `[batch, muscle]`, in (0, 1).
    pub fn action(&self, h: &Tensor) -> Tensor {
        match self {
            RunningPolicy::Leaky(policy) => policy.action(h),
            RunningPolicy::Gru(policy) => policy.action(h),
        }
    }
}
