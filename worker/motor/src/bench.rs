//! How long a training batch takes, measured as the PyTorch peer's benchmark does.

use serde::Serialize;

use crate::device::{Device, Precision};
use crate::engine::Engine;
use crate::error::Error;

#[derive(Clone, Debug)]
pub struct BenchOptions {
    pub hidden: usize,
    pub batch: usize,
    /// Steps of an episode, at least 102; the movement takes `steps − 100`.
    pub steps: usize,
    pub threads: usize,
    pub device: Device,
    pub precision: Precision,
    pub engine: Engine,
    /// Timed batches.
    pub n: usize,
    pub warmup: usize,
    pub seed: u64,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self {
            hidden: 256,
            batch: 32,
            steps: 200,
            threads: 1,
            device: Device::Cpu,
            precision: Precision::F32,
            engine: Engine::Reference,
            n: 20,
            warmup: 1,
            seed: 0,
        }
    }
}

/// Medians over the timed batches.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    pub hidden: usize,
    pub batch: usize,
    pub steps: usize,
    pub threads: usize,
    pub device: String,
    pub engine: String,
    pub n: usize,
    /// The roll-out.
    pub forward_ms: f64,
    /// Losses, backward pass, clipping, Adam.
    pub backward_ms: f64,
    pub total_ms: f64,
    /// Drawing and building the trials.
    pub setup_ms: f64,
    pub wall_ms: f64,
    /// batch × steps / total.
    pub env_steps_per_s: f64,
    pub last_loss: f64,
}

/// # Errors
/// [`Error::InvalidConfig`] for impossible options, [`Error::Device`].
pub fn train(options: &BenchOptions) -> Result<BenchReport, Error> {
    let _ = options;
    unimplemented!()
}
