//! Some rows of an episode, from start to end and back: network and arm together.
//!
//! A block owns everything that its rows need, so that blocks run on any threads without meeting. What the way back
//! needs is kept for every instant; x stands where δ will be, and goals where the slopes of the position error will.
//! Where nothing goes back, z and x of two instants do.

use std::ops::Range;

use pulp::Simd;

use super::aligned::Aligned;
use super::arm::{SENSED_SIZE, STATE_SIZE};
use super::network::Shape;
use super::product::{ROW_GROUP, Rows, panel_width};
use super::real::{Lanes, Real, each, packs, packs_mut, width};
use crate::arm::MUSCLES;

/// Rows of a block at most: one vector of arms on the widest instruction set. Fixed, because sums go block by block.
pub(crate) const BLOCK_ROWS: usize = 16;

/// Numbers of the arms of a block, a row of [`BLOCK_ROWS`] for each quantity.
pub(super) const LANES: usize = BLOCK_ROWS;

/// What is kept of the network's sequences, z and d. The arm's are kept whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kept {
    #[default]
    Everything,
    /// Only what the next step needs: the episode can be neither read nor gone back through.
    Latest,
}

impl Kept {
    /// Instants of an episode that have memory of their own.
    fn instants(self, steps: usize) -> usize {
        match self {
            Self::Everything => steps + 1,
            Self::Latest => 2,
        }
    }
}

/// The episode as a block is told of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script<'a, T> {
    /// T.
    pub steps: usize,
    /// B, rows of the whole episode.
    pub rows: usize,
    /// `[T + 1, B, observation]`, of which the first `known` are read.
    pub known: &'a [T],
    pub observation: usize,
    /// `[T + 1, B, 2]`, metres.
    pub goal: &'a [T],
    pub kept: Kept,
}

/// What the way back is told: slopes of the total loss.
#[derive(Debug)]
pub(crate) struct Seeds<T> {
    /// Of every |Δx|, |Δy|.
    pub position: f64,
    /// Of every activation that is not 0.
    pub muscle: f64,
    /// Of every |h|.
    pub rate: f64,
    /// Of every slope at h of each unit, padded; absent without that term.
    pub dynamics: Option<Vec<T>>,
}

/// Sums over the rows and instants of a block.
#[derive(Debug, Default)]
pub(crate) struct Sums<T> {
    /// |Δx| + |Δy| of each row.
    pub position: Vec<T>,
    /// Σ over muscles of the activation, of each row.
    pub muscle: Vec<T>,
    /// |h| of each unit, padded, without the zeros at the start.
    pub rate: Vec<T>,
    /// Slope at h of each unit, padded, without that of the zeros at the start.
    pub slope: Vec<T>,
}

#[derive(Debug)]
pub(crate) struct Block<T> {
    pub(super) shape: Shape,
    /// Rows of the episode.
    pub(super) rows: Range<usize>,
    /// Rows with padding.
    pub(super) padded: usize,
    pub(super) steps: usize,
    /// Instants of z and d that have memory; they take turns in it.
    instants: usize,
    /// z of instants 0 … T: `[instants, padded, z_stride]`.
    pub(crate) z: Aligned<T>,
    /// `[instants, padded, d_stride]`: x (of gated units the gates), later δ, and γ.
    pub(crate) d: Aligned<T>,
    /// `[T + 1, STATE_SIZE, LANES]`.
    pub(super) state: Aligned<T>,
    /// `[T + 1, SENSED_SIZE, LANES]`.
    pub(super) sensed: Aligned<T>,
    /// `[T, MUSCLES, LANES]`.
    pub(super) excitation: Aligned<T>,
    /// `[T + 1, 2, LANES]`: the goal, later the sign of fingertip − goal.
    pub(super) goal: Aligned<T>,
    pub(super) scratch: Scratch<T>,
    pub(crate) sums: Sums<T>,
}

/// What lives within a step.
#[derive(Debug, Default)]
pub(super) struct Scratch<T> {
    pub(super) entering: Aligned<T>,
    /// `[padded, units]`.
    pub(super) hidden_noise: Aligned<T>,
    /// `[padded, units]`: slopes of h that gated units pass on without a product.
    pub(super) carried: Aligned<T>,
    /// `[padded, panel]`: a narrow product.
    pub(super) narrow: Aligned<T>,
    pub(super) draws: Vec<f32>,
}

impl<T: Real> Block<T> {
    pub(crate) fn new(shape: Shape, rows: Range<usize>) -> Self {
        let padded = rows.len().next_multiple_of(ROW_GROUP);
        Self {
            shape,
            padded,
            steps: 0,
            instants: 1,
            z: Aligned::default(),
            d: Aligned::default(),
            state: Aligned::default(),
            sensed: Aligned::default(),
            excitation: Aligned::default(),
            goal: Aligned::default(),
            scratch: Scratch {
                entering: Aligned::zeros(padded * shape.gates * shape.units),
                carried: Aligned::zeros(padded * shape.units),
                hidden_noise: Aligned::zeros(padded * shape.units),
                narrow: Aligned::zeros(padded * panel_width::<T>()),
                draws: Vec::new(),
            },
            sums: Sums {
                position: vec![T::default(); rows.len()],
                muscle: vec![T::default(); rows.len()],
                rate: vec![T::default(); shape.units],
                slope: vec![T::default(); shape.units],
            },
            rows,
        }
    }

    /// Makes room for an episode, and writes down its goals and that h is 0 at its start.
    pub(super) fn prepare(&mut self, script: Script<'_, T>) {
        let instants = script.steps + 1;
        self.steps = script.steps;
        self.instants = script.kept.instants(script.steps);
        self.z.reserve(self.instants * self.padded * self.shape.z_stride);
        self.d.reserve(self.instants * self.padded * self.shape.d_stride);
        self.state.reserve(instants * STATE_SIZE * LANES);
        self.sensed.reserve(instants * SENSED_SIZE * LANES);
        self.excitation.reserve(instants * MUSCLES * LANES);
        self.goal.reserve(instants * 2 * LANES);
        let units = self.shape.units;
        let start = self.z.chunks_exact_mut(self.shape.z_stride);
        for z in start.take(self.padded) {
            z[..units].fill(T::default());
        }
        for instant in 0..instants {
            let goals = &mut self.goal[instant * 2 * LANES..][..2 * LANES];
            let (x, y) = goals.split_at_mut(LANES);
            for (lane, row) in self.rows.clone().enumerate() {
                let start = (instant * script.rows + row) * 2;
                x[lane] = script.goal[start];
                y[lane] = script.goal[start + 1];
            }
        }
        for sums in [
            &mut self.sums.position,
            &mut self.sums.muscle,
            &mut self.sums.rate,
            &mut self.sums.slope,
        ] {
            sums.fill(T::default());
        }
    }

    /// Writes what is known before the episode into z of an instant: its inputs, and the 1 of the biases.
    pub(super) fn show(&mut self, script: Script<'_, T>, instant: usize) {
        let (units, known_inputs, known) = (self.shape.units, self.shape.known_inputs(), self.shape.known);
        let start = self.z_row(instant);
        let rows = self.z[start..].chunks_exact_mut(self.shape.z_stride);
        for (row, z) in rows.take(self.padded).enumerate() {
            z[units] = T::of(1.0);
            if row < self.rows.len() {
                let row = instant * script.rows + self.rows.start + row;
                let start = row * script.observation;
                z[known_inputs..known_inputs + known].copy_from_slice(&script.known[start..start + known]);
            }
        }
    }

    pub(super) fn z_row(&self, instant: usize) -> usize {
        instant % self.instants * self.padded * self.shape.z_stride
    }

    pub(super) fn d_row(&self, instant: usize) -> usize {
        instant % self.instants * self.padded * self.shape.d_stride
    }

    /// The rows d of all instants, and the rows z.
    pub(crate) fn slopes(&self, instants: usize) -> Rows<'_, T> {
        Rows {
            values: &self.d,
            stride: self.shape.d_stride,
            count: instants * self.padded,
        }
    }

    pub(crate) fn entered(&self, instants: usize) -> Rows<'_, T> {
        Rows {
            values: &self.z,
            stride: self.shape.z_stride,
            count: instants * self.padded,
        }
    }

    /// Fingertip of a row at an instant, metres.
    pub(crate) fn fingertip(&self, instant: usize, row: usize) -> [T; 2] {
        [0, 1].map(|axis| self.sensed[(instant * SENSED_SIZE + axis) * LANES + row])
    }

    /// Rows, without padding.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Appends quantities of a row's arm: angles, velocities, activations, forces.
    pub(crate) fn read_state(&self, instant: usize, row: usize, which: Range<usize>, values: &mut Vec<f64>) {
        let at = |quantity: usize| (instant * STATE_SIZE + quantity) * LANES + row;
        values.extend(which.map(|quantity| -> f64 { self.state[at(quantity)].into() }));
    }

    /// Appends a row's excitations at a step.
    pub(crate) fn read_excitation(&self, step: usize, row: usize, values: &mut Vec<f64>) {
        let at = |muscle: usize| (step * MUSCLES + muscle) * LANES + row;
        values.extend((0..MUSCLES).map(|muscle| -> f64 { self.excitation[at(muscle)].into() }));
    }

    /// Appends what a row was shown at an instant, without noise.
    pub(crate) fn read_observation(&self, instant: usize, row: usize, values: &mut Vec<f64>) {
        let known = self.shape.known_inputs();
        self.read_z(instant, row, known..known + self.shape.known, values);
        let at = |quantity: usize| (instant * SENSED_SIZE + quantity) * LANES + row;
        values.extend((0..SENSED_SIZE).map(|quantity| -> f64 { self.sensed[at(quantity)].into() }));
    }

    pub(crate) fn read_z(&self, instant: usize, row: usize, which: Range<usize>, values: &mut Vec<f64>) {
        let start = self.z_row(instant) + row * self.shape.z_stride;
        values.extend(
            self.z[start..][which]
                .iter()
                .map(|&value| -> f64 { value.into() }),
        );
    }

    pub(crate) fn read_d(&self, instant: usize, row: usize, which: Range<usize>, values: &mut Vec<f64>) {
        let start = self.d_row(instant) + row * self.shape.d_stride;
        values.extend(
            self.d[start..][which]
                .iter()
                .map(|&value| -> f64 { value.into() }),
        );
    }

    /// Lanes of the arms that carry rows.
    pub(super) fn lanes(&self) -> usize {
        self.rows.len()
    }
}

#[inline(always)]
pub(super) fn load<S: Simd, T: Real>(simd: S, values: &[T], at: usize) -> Lanes<S, T> {
    Lanes::new(simd, packs::<S, T>(&values[at..at + width::<S, T>()])[0])
}

#[inline(always)]
pub(super) fn store<S: Simd, T: Real>(values: &mut [T], at: usize, lanes: Lanes<S, T>) {
    packs_mut::<S, T>(&mut values[at..at + width::<S, T>()])[0] = lanes.pack;
}

/// Quantities of the arms from lane `first` on.
#[inline(always)]
pub(super) fn load_lanes<S: Simd, T: Real, const N: usize>(
    simd: S,
    values: &[T],
    first: usize,
) -> [Lanes<S, T>; N] {
    each(
        #[inline(always)]
        |quantity| load(simd, values, quantity * LANES + first),
    )
}

#[inline(always)]
pub(super) fn store_lanes<S: Simd, T: Real, const N: usize>(
    values: &mut [T],
    first: usize,
    quantities: [Lanes<S, T>; N],
) {
    for (quantity, lanes) in quantities.into_iter().enumerate() {
        store(values, quantity * LANES + first, lanes);
    }
}
