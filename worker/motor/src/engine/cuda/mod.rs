//! The fused engine's other half: whole episodes on a card, forward and backward, and the learning from them.
//!
//! In reading order: `kernels/` (what runs on the card, one source for cards and processors), `source` (that source
//! with the arm's numbers), `run` (what a kernel is told), `shape` and `plan` (how a network is laid out), `card` (what
//! is asked of a card), `driver`, `compiler` and `libraries` (NVIDIA's), `memory`, `engine` (the sequence of kernels that is a batch). `docs/cuda.md` explains the whole
//! and says what has been run where.

mod card;
pub mod compiler;
pub mod driver;
mod engine;
mod libraries;
mod memory;
mod plan;
mod run;
mod shape;
pub mod source;

use std::sync::Arc;

pub use card::{Card, CardError, Grid};
pub use engine::{CardEngine, Learnt, Update};
pub use run::{Address, Run};
pub use shape::{ROWS_PER_BLOCK, Shape};

use self::driver::DriverCard;
use crate::device::Numerics;
use crate::policy::Policy;

/// The card that episodes of a policy run on, opened for it; `None` where the numerics name none or the policy is of
/// another kind.
///
/// # Errors
/// When the card cannot be used.
pub fn card_for(policy: &Policy, numerics: Numerics) -> Result<Option<Arc<dyn Card>>, CardError> {
    let (Some(index), Policy::Leaky(leaky)) = (numerics.card(), policy) else {
        return Ok(None);
    };
    let config = leaky.config();
    let shape = Shape::new(config.hidden, config.inputs.observations());
    let rows = numerics.rows_per_block().unwrap_or(DEFAULT_ROWS_PER_BLOCK);
    let card = DriverCard::open(index, &shape, numerics.precision(), rows)?;
    Ok(Some(Arc::new(card)))
}

/// Rows of a block where nothing else was asked for. No result depends on it.
const DEFAULT_ROWS_PER_BLOCK: usize = 4;

/// Rows of a block for so many runs at once: with few, more blocks find more multiprocessors; with many, a matrix that
/// is read serves more rows. Measured for one run and for 64 (`docs/cuda.md`).
pub fn rows_per_block_for(runs: usize) -> usize {
    match runs {
        0..=2 => 1,
        3..=8 => 2,
        _ => 4,
    }
}
