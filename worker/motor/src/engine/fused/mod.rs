//! The fused engine: whole episodes, forward and backward, on the CPU, without a graph.
//!
//! Rows are dealt out in blocks that run from start to end without meeting; within a block, the units' arithmetic
//! is vectorised over units and the arms' over rows. Three products a step do most of the work. Nothing is
//! allocated once buffers have grown to the longest episode.
//!
//! In reading order: `real` and `precision` (numbers and vectors of them); `arm`, with `muscles` and `skeleton`, and
//! `units` (a step and its adjoint); `product`, `network` (how weights are laid out for it); `block`, `forward`,
//! `backward` (an episode of some rows); here what joins the blocks, threads and losses; `engine` (what the rest of
//! the crate sees). `docs/engine.md` derives the adjoint.
//!
//! Results depend neither on the number of threads nor on the instruction set: every entry is computed by the same
//! operations in the same order on any of them.

mod aligned;
mod arm;
mod backward;
mod block;
mod drive;
mod engine;
mod forward;
mod muscles;
mod network;
mod noise;
mod precision;
mod product;
mod real;
mod skeleton;
#[cfg(test)]
mod tests;
mod units;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use self::aligned::Aligned;
use self::backward::Backward;
use self::block::{BLOCK_ROWS, Block, Kept, Script, Seeds};
pub(crate) use self::drive::{Drive, Instant, MuscleLaw};
pub use self::engine::{FusedEngine, NotCovered};
use self::forward::Forward;
use self::network::{Constants, Kind, Packed, Weights};
use self::product::{Copies, ROW_GROUP, Rows, add_outer_products};
use self::real::Real;
use super::NoiseSource;
use crate::loss::LossWeights;
use crate::policy::Activation;

/// Episodes of one network, with room for what the way back needs.
#[derive(Debug)]
pub(crate) struct Episodes<T> {
    arch: Arch,
    threads: Threads,
    network: Packed<T>,
    blocks: Vec<Block<T>>,
    rows: usize,
    steps: usize,
    kept: Kept,
    /// Σ dᵀ z, `[d_stride, z_stride]`.
    slopes: Aligned<T>,
    /// One for each thread.
    copies: Vec<Copies<T>>,
}

/// Means over an episode that the losses are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Means {
    /// |Δx| + |Δy| over trials and instants, metres.
    pub position: f64,
    /// |h| over trials, instants and units.
    pub rate: f64,
    /// Σ over muscles of the activation, over trials and instants.
    pub muscle: f64,
    /// Frobenius norm of W_ij d_j²; absent where it is not defined.
    pub dynamics: Option<f64>,
}

impl<T: Real> Episodes<T> {
    pub(crate) fn new(constants: Constants, threads: Threads) -> Self {
        let network = Packed::new(constants);
        Self {
            arch: Arch::new(),
            threads,
            slopes: Aligned::zeros(network.shape.d_stride * network.shape.z_stride),
            network,
            copies: Vec::new(),
            blocks: Vec::new(),
            rows: 0,
            steps: 0,
            kept: Kept::Everything,
        }
    }

    /// Lays out the weights that the next episodes run with.
    pub(crate) fn take(&mut self, weights: Weights<T>) {
        self.network.pack(weights);
    }

    /// Runs an episode.
    pub(crate) fn forward(&mut self, script: Script<'_, T>, noise: Option<&NoiseSource>) {
        if self.rows != script.rows {
            self.rows = script.rows;
            let starts = (0..script.rows).step_by(BLOCK_ROWS);
            let block = |start| Block::new(self.network.shape, start..(start + BLOCK_ROWS).min(script.rows));
            self.blocks = starts.map(block).collect();
        }
        (self.steps, self.kept) = (script.steps, script.kept);
        let (arch, network) = (self.arch, &self.network);
        self.threads.each(&mut self.blocks, |block| {
            arch.dispatch(Forward {
                block,
                network,
                script,
                noise,
            });
        });
    }

    /// Trials × instants.
    fn samples(&self) -> f64 {
        (self.rows * (self.steps + 1)) as f64
    }

    /// What the episode's losses are made of.
    pub(crate) fn means(&self) -> Means {
        let samples = self.samples();
        let total = |part: fn(&Block<T>) -> &[T]| -> f64 {
            let parts = self.blocks.iter().flat_map(part);
            parts.map(|&value| -> f64 { value.into() }).sum()
        };
        let hidden = self.network.shape.hidden;
        let mean_rate: f64 = (0..hidden)
            .map(|unit| self.sum_of_unit(unit, |sums| &sums.rate))
            .sum();
        Means {
            position: total(|block| &block.sums.position) / samples,
            rate: mean_rate / (samples * hidden as f64),
            muscle: total(|block| &block.sums.muscle) / samples,
            dynamics: self.mean_slopes().map(|slopes| self.dynamics(&slopes)),
        }
    }

    fn sum_of_unit(&self, unit: usize, which: fn(&block::Sums<T>) -> &Vec<T>) -> f64 {
        let of_block = |block: &Block<T>| -> f64 { which(&block.sums)[unit].into() };
        self.blocks.iter().map(of_block).sum()
    }

    /// d: mean slope of each unit, where the dynamics loss is defined. The zeros at the start count.
    fn mean_slopes(&self) -> Option<Vec<f64>> {
        let Kind::Leaky(leaky) = &self.network.constants.kind else {
            return None;
        };
        let at_zero = match leaky.activation {
            Activation::Softplus => 0.5,
            Activation::Relu => 0.0,
            Activation::Tanh | Activation::Sigmoid | Activation::Linear => return None,
        };
        let start = at_zero * self.rows as f64;
        let units = 0..self.network.shape.hidden;
        let mean = |unit| (self.sum_of_unit(unit, |sums| &sums.slope) + start) / self.samples();
        Some(units.map(mean).collect())
    }

    fn dynamics(&self, slopes: &[f64]) -> f64 {
        let recurrent = &self.network.weights.recurrent;
        let square = |(&weight, slope): (&T, &f64)| {
            let entry: f64 = weight.into();
            (entry * slope * slope).powi(2)
        };
        let of_row = |row: &[T]| -> f64 { row.iter().zip(slopes).map(square).sum() };
        recurrent
            .chunks_exact(self.network.shape.hidden)
            .map(of_row)
            .sum::<f64>()
            .sqrt()
    }

    /// Slopes of the weighted losses, but for the weights' own size, with respect to the matrices as they act.
    /// `position` is the weight of the position error.
    pub(crate) fn backward(&mut self, position: f64, losses: &LossWeights) -> Weights<T> {
        assert_eq!(self.kept, Kept::Everything, "nothing to go back through");
        let samples = self.samples();
        let hidden = self.network.shape.hidden;
        let dynamics = match losses.dynamics {
            0.0 => None,
            weight => self.mean_slopes().map(|slopes| (weight, slopes)),
        };
        let dynamics = dynamics.map(|(weight, slopes)| DynamicsSlopes::new(self, weight, &slopes));
        let seeds = Seeds {
            position: position / samples,
            muscle: losses.muscle / samples,
            rate: losses.rate / (samples * hidden as f64),
            dynamics: dynamics.as_ref().map(|slopes| slopes.of_unit.clone()),
        };
        let (arch, network) = (self.arch, &self.network);
        self.threads.each(&mut self.blocks, |block| {
            arch.dispatch(Backward {
                block,
                network,
                seeds: &seeds,
            });
        });
        self.sum_outer_products();
        let mut slopes = self.network.unpack(&self.slopes);
        if let Some(dynamics) = &dynamics {
            for (slope, of_weight) in slopes.recurrent.iter_mut().zip(&dynamics.of_weight) {
                *slope = *slope + *of_weight;
            }
        }
        slopes
    }

    /// Σ dᵀ z over all blocks, instants and rows, in this order; threads share out the rows of the result.
    fn sum_outer_products(&mut self) {
        let shape = self.network.shape;
        let (arch, blocks, instants) = (self.arch, &self.blocks, self.steps + 1);
        let share = (shape.d_stride / ROW_GROUP).div_ceil(self.threads.count()) * ROW_GROUP;
        self.copies.resize_with(self.threads.count(), Copies::default);
        let mut parts: Vec<(usize, &mut [T], &mut Copies<T>)> = self
            .slopes
            .chunks_mut(share * shape.z_stride)
            .zip(&mut self.copies)
            .enumerate()
            .map(|(part, (sums, copies))| (part * share, sums, copies))
            .collect();
        self.threads.each(&mut parts, |(first, sums, copies)| {
            sums.fill(T::default());
            for block in blocks {
                arch.dispatch(OuterProducts {
                    left: block.slopes(instants),
                    columns: *first..*first + sums.len() / shape.z_stride,
                    right: block.entered(instants),
                    copies,
                    sums,
                });
            }
        });
    }

    pub(crate) fn kept(&self) -> Kept {
        self.kept
    }

    pub(crate) fn blocks(&self) -> &[Block<T>] {
        &self.blocks
    }

    pub(crate) fn network(&self) -> &Packed<T> {
        &self.network
    }
}

/// λ ‖W_ij d_j²‖ differentiated: with respect to W directly, and to each unit's slope at an instant.
struct DynamicsSlopes<T> {
    of_weight: Vec<T>,
    /// Padded.
    of_unit: Vec<T>,
}

impl<T: Real> DynamicsSlopes<T> {
    /// With N the norm: λ W_ij d_j⁴ / N, and λ 2 d_j³ Σᵢ W_ij² / N over the number of samples. 0 where N is 0.
    fn new(episodes: &Episodes<T>, weight: f64, slopes: &[f64]) -> Self {
        let recurrent = &episodes.network.weights.recurrent;
        let norm = episodes.dynamics(slopes);
        let scale = if norm > 0.0 { weight / norm } else { 0.0 };
        let of_column: Vec<f64> = slopes.iter().map(|slope| scale * slope.powi(4)).collect();
        let mut squares = vec![0.0; slopes.len()];
        let mut of_weight = Vec::with_capacity(recurrent.len());
        for row in recurrent.chunks_exact(slopes.len()) {
            for ((&entry, of_column), square) in row.iter().zip(&of_column).zip(&mut squares) {
                let entry: f64 = entry.into();
                of_weight.push(T::of(entry * of_column));
                *square += entry * entry;
            }
        }
        let mut of_unit = vec![T::default(); episodes.network.shape.units];
        for ((of_unit, square), slope) in of_unit.iter_mut().zip(&squares).zip(slopes) {
            *of_unit = T::of(scale * 2.0 * slope.powi(3) * square / episodes.samples());
        }
        Self { of_weight, of_unit }
    }
}

struct OuterProducts<'a, T> {
    left: Rows<'a, T>,
    columns: std::ops::Range<usize>,
    right: Rows<'a, T>,
    copies: &'a mut Copies<T>,
    sums: &'a mut [T],
}

impl<T: Real> WithSimd for OuterProducts<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        add_outer_products(simd, self.left, self.columns, self.right, self.copies, self.sums);
    }
}

/// Who computes: the calling thread, or threads kept for it.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    pool: Option<rayon::ThreadPool>,
}

impl Threads {
    /// So many threads, or the calling one alone where the system gives no more.
    pub(crate) fn new(count: usize) -> Self {
        let pool = match count {
            0 | 1 => None,
            _ => rayon::ThreadPoolBuilder::new().num_threads(count).build().ok(),
        };
        Self { pool }
    }

    pub(crate) fn count(&self) -> usize {
        self.pool
            .as_ref()
            .map_or(1, rayon::ThreadPool::current_num_threads)
    }

    /// Does something to each element, on any thread.
    pub(crate) fn each<E: Send>(&self, elements: &mut [E], work: impl Fn(&mut E) + Send + Sync) {
        match &self.pool {
            None => elements.iter_mut().for_each(work),
            Some(pool) => pool.install(|| elements.par_iter_mut().for_each(work)),
        }
    }
}
