//! Some rows of an episode, from start to end and back: network and arm together.
//!
//! A block owns everything that its rows need, so that blocks run on any threads without meeting. What the way back
//! needs is kept for every instant; x stands where δ will be, and goals where the slopes of the position error will.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::aligned::Aligned;
use super::arm::{self, ArmLanes, SENSED_SIZE, STATE_SIZE, Sensed};
use super::network::{Packed, Shape};
use super::product::{ROW_GROUP, Rows, multiply, panel_width};
use super::real::{Lanes, Real, each, packs, packs_mut, width};
use super::units::{fire, fire_slopes};
use crate::arm::{MUSCLES, start_angles_rad};
use crate::engine::NoiseSource;

/// Rows of a block at most: one vector of arms on the widest instruction set. Fixed, because sums go block by block.
pub(crate) const BLOCK_ROWS: usize = 16;

/// Numbers of the arms of a block, a row of [`BLOCK_ROWS`] for each quantity.
const LANES: usize = BLOCK_ROWS;

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
    shape: Shape,
    /// Rows of the episode.
    rows: Range<usize>,
    /// Rows with padding.
    padded: usize,
    steps: usize,
    /// z of instants 0 … T: `[T + 1, padded, z_stride]`.
    pub(crate) z: Aligned<T>,
    /// `[T + 1, padded, d_stride]`: x, later δ, and γ.
    pub(crate) d: Aligned<T>,
    /// `[T + 1, STATE_SIZE, LANES]`.
    state: Aligned<T>,
    /// `[T + 1, SENSED_SIZE, LANES]`.
    sensed: Aligned<T>,
    /// `[T, MUSCLES, LANES]`.
    excitation: Aligned<T>,
    /// `[T + 1, 2, LANES]`: the goal, later the sign of fingertip − goal.
    goal: Aligned<T>,
    scratch: Scratch<T>,
    pub(crate) sums: Sums<T>,
}

/// What lives within a step.
#[derive(Debug, Default)]
struct Scratch<T> {
    /// `[padded, units]`: what enters the units; on the way back the slopes of h.
    entering: Aligned<T>,
    /// `[padded, units]`.
    hidden_noise: Aligned<T>,
    /// `[padded, panel]`: a narrow product.
    narrow: Aligned<T>,
    draws: Vec<f32>,
}

impl<T: Real> Block<T> {
    pub(crate) fn new(shape: Shape, rows: Range<usize>) -> Self {
        let padded = rows.len().next_multiple_of(ROW_GROUP);
        Self {
            shape,
            padded,
            steps: 0,
            z: Aligned::default(),
            d: Aligned::default(),
            state: Aligned::default(),
            sensed: Aligned::default(),
            excitation: Aligned::default(),
            goal: Aligned::default(),
            scratch: Scratch {
                entering: Aligned::zeros(padded * shape.units),
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

    /// Makes room for an episode and writes down what is known of it.
    fn load(&mut self, script: Script<'_, T>) {
        let instants = script.steps + 1;
        self.steps = script.steps;
        self.z.reserve(instants * self.padded * self.shape.z_stride);
        self.d.reserve(instants * self.padded * self.shape.d_stride);
        self.state.reserve(instants * STATE_SIZE * LANES);
        self.sensed.reserve(instants * SENSED_SIZE * LANES);
        self.excitation.reserve(instants * MUSCLES * LANES);
        self.goal.reserve(instants * 2 * LANES);
        let (units, known_inputs, known) = (self.shape.units, self.shape.known_inputs(), self.shape.known);
        for instant in 0..instants {
            let z = &mut self.z[instant * self.padded * self.shape.z_stride..];
            for (row, z) in z
                .chunks_exact_mut(self.shape.z_stride)
                .take(self.padded)
                .enumerate()
            {
                z[units] = T::of(1.0);
                let inputs = &mut z[known_inputs..known_inputs + known];
                if row < self.rows.len() {
                    let row = instant * script.rows + self.rows.start + row;
                    let start = row * script.observation;
                    inputs.copy_from_slice(&script.known[start..start + known]);
                }
            }
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

    fn z_row(&self, instant: usize) -> usize {
        instant * self.padded * self.shape.z_stride
    }

    fn d_row(&self, instant: usize) -> usize {
        instant * self.padded * self.shape.d_stride
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
}

/// The way there.
pub(crate) struct Forward<'a, T> {
    pub block: &'a mut Block<T>,
    pub network: &'a Packed<T>,
    pub script: Script<'a, T>,
    pub noise: Option<&'a NoiseSource>,
}

impl<T: Real> WithSimd for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            block,
            network,
            script,
            noise,
        } = self;
        block.load(script);
        block.begin(simd);
        for step in 0..block.steps {
            block.perceive(simd, network, noise, step);
            block.advance_units(simd, network, noise.is_some(), step);
            block.act(simd, network, step);
        }
    }
}

impl<T: Real> Block<T> {
    /// The arm at the start of a trial.
    #[inline(always)]
    fn begin<S: Simd>(&mut self, simd: S) {
        let angle = start_angles_rad();
        let angle = [Lanes::splat(simd, angle[0]), Lanes::splat(simd, angle[1])];
        let velocity = [Lanes::splat(simd, 0.0); 2];
        let (state, sensed) = arm::start(angle, velocity);
        for first in (0..LANES).step_by(width::<S, T>()) {
            self.note_arm(0, first, state, sensed);
        }
    }

    /// Keeps an instant of some arms, and what it adds to the losses.
    #[inline(always)]
    fn note_arm<S: Simd>(
        &mut self,
        instant: usize,
        first: usize,
        state: ArmLanes<S, T>,
        sensed: Sensed<S, T>,
    ) {
        store_lanes(
            &mut self.state[instant * STATE_SIZE * LANES..],
            first,
            state.to_array(),
        );
        store_lanes(
            &mut self.sensed[instant * SENSED_SIZE * LANES..],
            first,
            sensed.to_array(),
        );
        let goals = &mut self.goal[instant * 2 * LANES..];
        let goal: [Lanes<S, T>; 2] = load_lanes(sensed.fingertip[0].simd(), goals, first);
        let difference = [sensed.fingertip[0] - goal[0], sensed.fingertip[1] - goal[1]];
        store_lanes(goals, first, [difference[0].sign(), difference[1].sign()]);
        let distance = difference[0].magnitude() + difference[1].magnitude();
        let mut activation = state.activation[0];
        for &of_muscle in &state.activation[1..] {
            activation = activation + of_muscle;
        }
        add_to_rows(&mut self.sums.position, first, distance);
        add_to_rows(&mut self.sums.muscle, first, activation);
    }

    /// Completes z: feedback, and the noise of all inputs.
    #[inline(always)]
    fn perceive<S: Simd>(&mut self, _: S, network: &Packed<T>, noise: Option<&NoiseSource>, step: usize) {
        let shape = self.shape;
        let start = self.z_row(step);
        let sensed = &self.sensed[step * SENSED_SIZE * LANES..][..SENSED_SIZE * LANES];
        let rows = self.z[start..].chunks_exact_mut(shape.z_stride);
        for (lane, z) in rows.take(self.padded).enumerate() {
            let feedback = &mut z[shape.feedback()..shape.known_inputs()];
            for (value, quantity) in feedback.iter_mut().zip(sensed.chunks_exact(LANES)) {
                *value = quantity[lane];
            }
        }
        let Some(noise) = noise else { return };
        let inputs = shape.known + SENSED_SIZE;
        noise.fill(
            noise.input,
            step,
            self.rows.clone(),
            inputs,
            &mut self.scratch.draws,
        );
        let scale = T::of(network.constants.input_noise);
        let rows = self.z[start..].chunks_exact_mut(shape.z_stride);
        for (z, draws) in rows.zip(self.scratch.draws.chunks_exact(inputs)) {
            let (of_known, of_feedback) = draws.split_at(shape.known);
            let (feedback, known) = z[shape.feedback()..shape.entering()].split_at_mut(SENSED_SIZE);
            for (value, &draw) in feedback.iter_mut().zip(of_feedback) {
                *value = *value + scale * T::from(draw);
            }
            for (value, &draw) in known.iter_mut().zip(of_known) {
                *value = *value + scale * T::from(draw);
            }
        }
        noise.fill(
            noise.hidden,
            step,
            self.rows.clone(),
            shape.hidden,
            &mut self.scratch.draws,
        );
        let rows = self.scratch.hidden_noise.chunks_exact_mut(shape.units);
        for (row, draws) in rows.zip(self.scratch.draws.chunks_exact(shape.hidden)) {
            for (value, &draw) in row.iter_mut().zip(draws) {
                *value = T::from(draw);
            }
        }
    }

    /// x and h after the step.
    #[inline(always)]
    fn advance_units<S: Simd>(&mut self, simd: S, network: &Packed<T>, noisy: bool, step: usize) {
        let shape = self.shape;
        let (z_now, z_next) = (self.z_row(step), self.z_row(step + 1));
        let rows = Rows {
            values: &self.z[z_now..],
            stride: shape.z_stride,
            count: self.padded,
        };
        multiply(
            simd,
            rows,
            &network.entering,
            shape.entering(),
            &mut self.scratch.entering,
        );

        let constants = &network.constants;
        let alpha = Lanes::splat(simd, constants.alpha);
        let noise_scale = Lanes::splat(simd, constants.hidden_noise);
        let x_now = self.d_row(step);
        let wide = width::<S, T>();
        for unit in (0..shape.units).step_by(wide) {
            let mut rate = Lanes::splat(simd, 0.0);
            let mut slopes = rate;
            for row in 0..self.padded {
                let at = row * shape.units + unit;
                let mut entering = load(simd, &self.scratch.entering, at);
                if noisy {
                    entering = load(simd, &self.scratch.hidden_noise, at).mul_add(noise_scale, entering);
                }
                let here = row * shape.d_stride + unit;
                let old = if step == 0 {
                    load(simd, &network.initial_x, unit)
                } else {
                    load(simd, &self.d, x_now - self.padded * shape.d_stride + here)
                };
                let x = (entering - old).mul_add(alpha, old);
                let [h, slope] = fire(constants.activation, x);
                store(&mut self.d, x_now + here, x);
                store(&mut self.z, z_next + row * shape.z_stride + unit, h);
                if row < self.rows.len() {
                    rate = rate + h.magnitude();
                    slopes = slopes + slope;
                }
            }
            let sum = load(simd, &self.sums.rate, unit) + rate;
            store(&mut self.sums.rate, unit, sum);
            let sum = load(simd, &self.sums.slope, unit) + slopes;
            store(&mut self.sums.slope, unit, sum);
        }
    }

    /// Excitations, and the arm's step under them.
    #[inline(always)]
    fn act<S: Simd>(&mut self, simd: S, network: &Packed<T>, step: usize) {
        let z_next = self.z_row(step + 1);
        let rows = Rows {
            values: &self.z[z_next..],
            stride: self.shape.z_stride,
            count: self.padded,
        };
        multiply(
            simd,
            rows,
            &network.leaving,
            self.shape.units + 1,
            &mut self.scratch.narrow,
        );
        let excitation = &mut self.excitation[step * MUSCLES * LANES..][..MUSCLES * LANES];
        let outputs = self.scratch.narrow.chunks_exact(network.leaving.columns());
        for (lane, outputs) in outputs.take(self.padded).enumerate() {
            for (quantity, &output) in excitation.chunks_exact_mut(LANES).zip(outputs) {
                quantity[lane] = output;
            }
        }
        for first in (0..self.lanes()).step_by(width::<S, T>()) {
            let outputs: [Lanes<S, T>; MUSCLES] =
                load_lanes(simd, &self.excitation[step * MUSCLES * LANES..], first);
            let excitation = each(
                #[inline(always)]
                |m| outputs[m].sigmoid(),
            );
            store_lanes(&mut self.excitation[step * MUSCLES * LANES..], first, excitation);
            let old = ArmLanes::from_array(load_lanes(simd, &self.state[step * STATE_SIZE * LANES..], first));
            let (state, sensed) = arm::step(&old, excitation, [Lanes::splat(simd, 0.0); 2]);
            self.note_arm(step + 1, first, state, sensed);
        }
    }

    /// Lanes that carry rows.
    fn lanes(&self) -> usize {
        self.rows.len()
    }
}

/// The way back: leaves δ and γ in `d`.
pub(crate) struct Backward<'a, T> {
    pub block: &'a mut Block<T>,
    pub network: &'a Packed<T>,
    pub seeds: &'a Seeds<T>,
}

impl<T: Real> WithSimd for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            block,
            network,
            seeds,
        } = self;
        let end = block.d_row(block.steps);
        for d in block.d[end..]
            .chunks_exact_mut(block.shape.d_stride)
            .take(block.padded)
        {
            d[..block.shape.units].fill(T::default());
        }
        let begin = &mut block.d[..block.padded * block.shape.d_stride];
        for d in begin.chunks_exact_mut(block.shape.d_stride) {
            d[block.shape.units..].fill(T::default());
        }
        // Slopes of the arm's state at the instant under consideration.
        let mut arm_slopes = [T::default(); STATE_SIZE * LANES];
        for step in (0..block.steps).rev() {
            block.feel_back(simd, network, step);
            block.act_back(simd, network, seeds, step, &mut arm_slopes);
            block.retreat_units(simd, network, seeds, step);
        }
    }
}

impl<T: Real> Block<T> {
    /// Slopes of what was sensed after the step, as the next call's δ gives them.
    #[inline(always)]
    fn feel_back<S: Simd>(&mut self, simd: S, network: &Packed<T>, step: usize) {
        let rows = Rows {
            values: &self.d[self.d_row(step + 1)..],
            stride: self.shape.d_stride,
            count: self.padded,
        };
        let back = &network.back_to_feedback;
        multiply(simd, rows, back, self.shape.units, &mut self.scratch.narrow);
    }

    /// The arm's adjoint step, and γ: slopes of the outputs before the sigmoid.
    #[inline(always)]
    fn act_back<S: Simd>(
        &mut self,
        simd: S,
        network: &Packed<T>,
        seeds: &Seeds<T>,
        step: usize,
        arm_slopes: &mut [T; STATE_SIZE * LANES],
    ) {
        let mut sensed_slopes = [T::default(); SENSED_SIZE * LANES];
        let columns = network.back_to_feedback.columns();
        for (lane, slopes) in self
            .scratch
            .narrow
            .chunks_exact(columns)
            .take(self.padded)
            .enumerate()
        {
            for (quantity, &slope) in sensed_slopes.chunks_exact_mut(LANES).zip(slopes) {
                quantity[lane] = slope;
            }
        }
        let mut outputs = [T::default(); MUSCLES * LANES];
        for first in (0..self.lanes()).step_by(width::<S, T>()) {
            let signs: [Lanes<S, T>; 2] = load_lanes(simd, &self.goal[(step + 1) * 2 * LANES..], first);
            let mut sensed = Sensed::from_array(load_lanes(simd, &sensed_slopes, first));
            for (slope, sign) in sensed.fingertip.iter_mut().zip(signs) {
                *slope = *slope + sign * seeds.position;
            }
            let states = &self.state[step * STATE_SIZE * LANES..];
            let old = ArmLanes::from_array(load_lanes(simd, states, first));
            let new = ArmLanes::from_array(load_lanes(simd, &states[STATE_SIZE * LANES..], first));
            let mut slopes = ArmLanes::from_array(load_lanes(simd, &arm_slopes[..], first));
            for (slope, a) in slopes.activation.iter_mut().zip(new.activation) {
                *slope = *slope + a.sign() * seeds.muscle;
            }
            let excitation: [Lanes<S, T>; MUSCLES] =
                load_lanes(simd, &self.excitation[step * MUSCLES * LANES..], first);
            let torque = [Lanes::splat(simd, 0.0); 2];
            let (slopes, of_excitation) = arm::step_adjoint(&old, excitation, torque, &slopes, &sensed);
            store_lanes(&mut arm_slopes[..], first, slopes.to_array());
            let gamma: [Lanes<S, T>; MUSCLES] = each(
                #[inline(always)]
                |m| of_excitation[m] * (excitation[m] - excitation[m] * excitation[m]),
            );
            store_lanes(&mut outputs, first, gamma);
        }
        let end = self.d_row(step + 1);
        let rows = self.d[end..].chunks_exact_mut(self.shape.d_stride);
        for (lane, d) in rows.take(self.rows.len()).enumerate() {
            let gamma = &mut d[self.shape.units..];
            for (gamma, output) in gamma.iter_mut().zip(outputs.chunks_exact(LANES)) {
                *gamma = output[lane];
            }
        }
    }

    /// δ of the step.
    #[inline(always)]
    fn retreat_units<S: Simd>(&mut self, simd: S, network: &Packed<T>, seeds: &Seeds<T>, step: usize) {
        let shape = self.shape;
        let (now, next) = (self.d_row(step), self.d_row(step + 1));
        let rows = Rows {
            values: &self.d[next..],
            stride: shape.d_stride,
            count: self.padded,
        };
        multiply(
            simd,
            rows,
            &network.back,
            shape.d_stride,
            &mut self.scratch.entering,
        );

        let constants = &network.constants;
        let alpha = Lanes::splat(simd, constants.alpha);
        let kept = Lanes::splat(simd, (1.0 - constants.alpha) / constants.alpha);
        let rate = Lanes::splat(simd, seeds.rate);
        let z_next = self.z_row(step + 1);
        for unit in (0..shape.units).step_by(width::<S, T>()) {
            let dynamics = match &seeds.dynamics {
                Some(slopes) => load(simd, slopes, unit),
                None => Lanes::splat(simd, 0.0),
            };
            for row in 0..self.rows.len() {
                let at = row * shape.d_stride + unit;
                let x = load(simd, &self.d, now + at);
                let h = load(simd, &self.z, z_next + row * shape.z_stride + unit);
                let [slope, bend] = fire_slopes(constants.activation, x, h);
                let mut of_h = load(simd, &self.scratch.entering, row * shape.units + unit);
                of_h = h.sign().mul_add(rate, of_h);
                of_h = dynamics.mul_add(bend, of_h);
                let later = load(simd, &self.d, next + at);
                let of_x = of_h.mul_add(slope, later * kept);
                store(&mut self.d, now + at, of_x * alpha);
            }
            for row in self.rows.len()..self.padded {
                let at = now + row * shape.d_stride + unit;
                store(&mut self.d, at, Lanes::<S, T>::splat(simd, 0.0));
            }
        }
    }
}

#[inline(always)]
fn load<S: Simd, T: Real>(simd: S, values: &[T], at: usize) -> Lanes<S, T> {
    Lanes::new(simd, packs::<S, T>(&values[at..at + width::<S, T>()])[0])
}

#[inline(always)]
fn store<S: Simd, T: Real>(values: &mut [T], at: usize, lanes: Lanes<S, T>) {
    packs_mut::<S, T>(&mut values[at..at + width::<S, T>()])[0] = lanes.pack;
}

/// Quantities of the arms from lane `first` on.
#[inline(always)]
fn load_lanes<S: Simd, T: Real, const N: usize>(simd: S, values: &[T], first: usize) -> [Lanes<S, T>; N] {
    each(
        #[inline(always)]
        |quantity| load(simd, values, quantity * LANES + first),
    )
}

#[inline(always)]
fn store_lanes<S: Simd, T: Real, const N: usize>(
    values: &mut [T],
    first: usize,
    quantities: [Lanes<S, T>; N],
) {
    for (quantity, lanes) in quantities.into_iter().enumerate() {
        store(values, quantity * LANES + first, lanes);
    }
}

/// Adds the lanes from `first` on to the rows that there are.
#[inline(always)]
fn add_to_rows<S: Simd, T: Real>(sums: &mut [T], first: usize, lanes: Lanes<S, T>) {
    let values = [lanes.pack];
    let values = pulp::bytemuck::cast_slice::<_, T>(&values);
    for (sum, &value) in sums.iter_mut().skip(first).zip(values) {
        *sum = *sum + value;
    }
}
