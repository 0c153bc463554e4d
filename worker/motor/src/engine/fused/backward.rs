//! A block's way back: the adjoint of `forward`, step by step from the end.

use pulp::{Simd, WithSimd};

use super::arm::{self, ArmLanes, SENSED_SIZE, STATE_SIZE, Sensed};
use super::block::{Block, LANES, Seeds, load, load_lanes, store, store_lanes};
use super::network::{Kind, Leaky, Packed, gate};
use super::product::{Rows, multiply};
use super::real::{Lanes, Real, each, width};
use super::units::{fire_slopes, gates_adjoint};
use crate::arm::MUSCLES;

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
            d[..block.shape.outputs()].fill(T::default());
        }
        let begin = &mut block.d[..block.padded * block.shape.d_stride];
        for d in begin.chunks_exact_mut(block.shape.d_stride) {
            d[block.shape.outputs()..].fill(T::default());
        }
        block.scratch.carried.fill(T::default());
        // Slopes of the arm's state at the instant under consideration.
        let mut arm_slopes = [T::default(); STATE_SIZE * LANES];
        for step in (0..block.steps).rev() {
            block.feel_back(simd, network, step);
            block.act_back(simd, network, seeds, step, &mut arm_slopes);
            match &network.constants.kind {
                Kind::Leaky(leaky) => block.retreat_units(simd, network, leaky, seeds, step),
                Kind::Gated => block.retreat_gated_units(simd, network, seeds, step),
            }
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
        multiply(simd, rows, back, back.depth(), &mut self.scratch.narrow);
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
            let gamma = &mut d[self.shape.outputs()..];
            for (gamma, output) in gamma.iter_mut().zip(outputs.chunks_exact(LANES)) {
                *gamma = output[lane];
            }
        }
    }

    /// δ of the step.
    #[inline(always)]
    fn retreat_units<S: Simd>(
        &mut self,
        simd: S,
        network: &Packed<T>,
        leaky: &Leaky,
        seeds: &Seeds<T>,
        step: usize,
    ) {
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

        let alpha = Lanes::splat(simd, leaky.alpha);
        let kept = Lanes::splat(simd, (1.0 - leaky.alpha) / leaky.alpha);
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
                let [slope, bend] = fire_slopes(leaky.activation, x, h);
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

    /// Slopes of what entered the gates in the step.
    #[inline(always)]
    fn retreat_gated_units<S: Simd>(&mut self, simd: S, network: &Packed<T>, seeds: &Seeds<T>, step: usize) {
        let shape = self.shape;
        let units = shape.units;
        let (now, next) = (self.d_row(step), self.d_row(step + 1));
        // What entered the new state from outside does not go back to h.
        let rows = Rows {
            values: &self.d[next + (gate::NEW + 1) * units..],
            stride: shape.d_stride,
            count: self.padded,
        };
        let back = &network.back;
        multiply(simd, rows, back, back.depth(), &mut self.scratch.entering);
        let rate = Lanes::splat(simd, seeds.rate);
        let (z_now, z_next) = (self.z_row(step), self.z_row(step + 1));
        for unit in (0..units).step_by(width::<S, T>()) {
            for row in 0..self.padded {
                let here = now + row * shape.d_stride + unit;
                let at = row * units + unit;
                if row >= self.rows.len() {
                    for block in 0..shape.gates {
                        store(&mut self.d, here + block * units, Lanes::<S, T>::splat(simd, 0.0));
                    }
                    continue;
                }
                let stored = |block: usize| load(simd, &self.d, here + block * units);
                let gates = [stored(gate::RESET), stored(gate::UPDATE), stored(gate::NEW)];
                let from_h = stored(gate::NEW_FROM_H);
                let old = load(simd, &self.z, z_now + row * shape.z_stride + unit);
                let h = load(simd, &self.z, z_next + row * shape.z_stride + unit);
                let later = load(simd, &self.scratch.entering, at) + load(simd, &self.scratch.carried, at);
                let of_h = h.sign().mul_add(rate, later);
                let (slopes, carried) = gates_adjoint(gates, from_h, old, of_h);
                for (block, slope) in slopes.into_iter().enumerate() {
                    store(&mut self.d, here + block * units, slope);
                }
                store(&mut self.scratch.carried, at, carried);
            }
        }
    }
}
