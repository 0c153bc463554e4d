//! Policies: networks that turn observations into muscle excitations.

mod activation;
mod config;
mod leaky;

pub use activation::Activation;
pub use config::{LeakyConfig, MAX_HIDDEN, NetworkConfig};
pub(crate) use leaky::checked;
pub use leaky::{LeakyPolicy, LeakyState, RunningPolicy, UnitNoise};
