//! Sizes of a network as the kernels lay it out, and the memory on chip that they take.

use crate::arm::MUSCLES;
use crate::device::Precision;

/// Threads of a block. More of them hide more of the wait for the matrices; the sums depend on it, through
/// [`Shape::slices`].
pub(super) const THREADS: usize = 512;
/// Threads of a block that sums outer products: as many as a tile has pieces, in whole warps.
pub(super) const TILE_THREADS: usize = 192;
/// As in `kernels/learning.h`.
pub(super) const SUM_PARTS: usize = 16;
pub(super) const UNIT_GROUP: usize = 32;
pub(super) const UNIT_LANES: usize = 8;
pub(super) const TILE: usize = 72;
pub(super) const PARAMETER_GROUP: usize = 1024;
pub(super) const LANES: usize = 32;
/// As in `kernels/arm.h` and `kernels/forward.h`.
pub(super) const ARM_SIZE: usize = 16;
pub(super) const SENSED: usize = 14;
pub(super) const PARTS: usize = 8;

/// Rows of an episode that a block can have, most first.
pub const ROWS_PER_BLOCK: [usize; 5] = [16, 8, 4, 2, 1];

/// Sizes and strides. Strides are multiples of 4, so that four neighbours are read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub hidden: usize,
    /// Inputs known before the episode, and all inputs.
    pub known: usize,
    pub inputs: usize,
    pub z_stride: usize,
    pub d_stride: usize,
    pub unit_stride: usize,
    pub back_stride: usize,
}

impl Shape {
    pub fn new(hidden: usize, inputs: usize) -> Self {
        Self {
            hidden,
            known: inputs - SENSED,
            inputs,
            z_stride: (hidden + inputs + 1).next_multiple_of(4),
            d_stride: (hidden + MUSCLES).next_multiple_of(4),
            unit_stride: hidden.next_multiple_of(4),
            back_stride: (hidden + SENSED).next_multiple_of(4),
        }
    }

    /// Columns of A = [W | U | b].
    pub(super) fn columns(&self) -> usize {
        self.hidden + self.inputs + 1
    }

    /// Rows of Σ dᵀz.
    pub(super) fn slope_rows(&self) -> usize {
        self.hidden + MUSCLES
    }

    /// Shares of the inner dimension: the fewest that leave threads idle for little longer than the best number
    /// would. The sums depend on it, so nothing but the network decides it.
    pub(super) fn slices(columns: usize) -> usize {
        let pairs = columns / 2;
        // Time of a product, in that of a thread that goes through the whole inner dimension once.
        let time = |slices: usize| (pairs * slices).div_ceil(THREADS) as f64 / slices as f64;
        let best = (1..=8).map(time).fold(f64::INFINITY, f64::min);
        let good = |&slices: &usize| time(slices) < 1.15 * best;
        (1..=8).find(good).unwrap_or(1)
    }

    /// Numbers on chip of a block of `forward`, as `forward_chip` deals them out.
    fn forward_numbers(&self, rows: usize) -> usize {
        rows * (self.z_stride
            + Self::slices(self.unit_stride) * self.unit_stride
            + 2 * self.unit_stride
            + MUSCLES * PARTS
            + 2 * ARM_SIZE
            + 1
            + MUSCLES)
    }

    /// The same of `backward`.
    fn backward_numbers(&self, rows: usize) -> usize {
        rows * (self.unit_stride
            + Self::slices(self.back_stride) * self.back_stride
            + 4
            + 4 * MUSCLES
            + 2 * MUSCLES
            + 2
            + MUSCLES)
    }

    /// Bytes on chip of a block of each of the kernels that need any.
    pub fn on_chip(&self, kernel: &str, precision: Precision, rows: usize) -> usize {
        let (real, double) = (bytes_of(precision), size_of::<f64>());
        match kernel {
            "forward" => self.forward_numbers(rows) * real,
            "backward" => self.backward_numbers(rows) * real,
            "sum_units" => UNIT_GROUP * UNIT_LANES * 2 * real,
            "losses" => (3 * self.hidden + 4 * LANES) * double,
            "descend" => (2 * PARAMETER_GROUP + 2 * LANES) * double,
            "adapt" => (2 * LANES + 2) * double,
            _ => 0,
        }
    }

    /// The most rows that a block can have with so many bytes on chip, and not more than `wanted`.
    pub fn rows_that_fit(&self, precision: Precision, wanted: usize, bytes: usize) -> Option<usize> {
        let fits = |rows: usize| {
            ["forward", "backward"]
                .into_iter()
                .all(|kernel| self.on_chip(kernel, precision, rows) <= bytes)
        };
        ROWS_PER_BLOCK
            .into_iter()
            .find(|&rows| rows <= wanted && fits(rows))
    }

    /// Bytes of a card that a run takes for a network of so many trained parameters, with episodes of so many rows
    /// and steps: sequences, sums, parameters.
    pub fn memory(&self, precision: Precision, parameters: usize, rows: usize, steps: usize) -> usize {
        let real = bytes_of(precision);
        let sample = self.z_stride + self.d_stride + ARM_SIZE + MUSCLES + 4 + self.inputs;
        let matrices = 2 * self.hidden * self.columns() + self.hidden * self.back_stride;
        let sums = SUM_PARTS * (self.slope_rows() * self.z_stride + 2 * self.hidden);
        rows * (steps + 1) * sample * real
            + (matrices + sums + 6 * parameters) * real
            + (self.hidden * self.columns() + 2 * parameters) * size_of::<i32>()
    }
}

/// Bytes of a number.
pub(super) fn bytes_of(precision: Precision) -> usize {
    match precision {
        Precision::F32 => 4,
        Precision::F64 => 8,
    }
}
