//! A block's way from start to end.

use pulp::{Simd, WithSimd};

use super::arm::{self, ArmLanes, SENSED_SIZE, STATE_SIZE, Sensed};
use super::block::{Block, LANES, Script, load, load_lanes, store, store_lanes};
use super::network::{Kind, Leaky, Packed, gate};
use super::product::{Rows, multiply};
use super::real::{Lanes, Real, each, width};
use super::units::{fire, pass_gates};
use crate::arm::{MUSCLES, start_angles_rad};
use crate::engine::NoiseSource;

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
        block.prepare(script);
        block.begin(simd);
        block.show(script, 0);
        for step in 0..block.steps {
            block.perceive(simd, network, noise, step);
            match &network.constants.kind {
                Kind::Leaky(leaky) => block.advance_units(simd, network, leaky, noise.is_some(), step),
                Kind::Gated => block.advance_gated_units(simd, network, step),
            }
            block.show(script, step + 1);
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
        let (Some(noise), Kind::Leaky(leaky)) = (noise, &network.constants.kind) else {
            return;
        };
        let inputs = shape.known + SENSED_SIZE;
        noise.fill(
            noise.input,
            step,
            self.rows.clone(),
            inputs,
            &mut self.scratch.draws,
        );
        let scale = T::of(leaky.input_noise);
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
    fn advance_units<S: Simd>(
        &mut self,
        simd: S,
        network: &Packed<T>,
        leaky: &Leaky,
        noisy: bool,
        step: usize,
    ) {
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

        let alpha = Lanes::splat(simd, leaky.alpha);
        let noise_scale = Lanes::splat(simd, leaky.hidden_noise);
        let (x_before, x_now) = (self.d_row(step.saturating_sub(1)), self.d_row(step));
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
                    load(simd, &self.d, x_before + here)
                };
                let x = (entering - old).mul_add(alpha, old);
                let [h, slope] = fire(leaky.activation, x);
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

    /// Gates and h after the step.
    #[inline(always)]
    fn advance_gated_units<S: Simd>(&mut self, simd: S, network: &Packed<T>, step: usize) {
        let Some([new_from_outside, new_from_h]) = &network.new_state else {
            unreachable!("gated units have panels for the new state")
        };
        let shape = self.shape;
        let units = shape.units;
        let (z_now, z_next, gates_now) = (self.z_row(step), self.z_row(step + 1), self.d_row(step));
        let rows = |first: usize| Rows {
            values: &self.z[z_now + first..],
            stride: shape.z_stride,
            count: self.padded,
        };
        let (gates, new) = self.scratch.entering.split_at_mut(2 * self.padded * units);
        let (from_outside, from_h) = new.split_at_mut(self.padded * units);
        multiply(simd, rows(0), &network.entering, shape.entering(), gates);
        multiply(
            simd,
            rows(units),
            new_from_outside,
            shape.entering() - units,
            from_outside,
        );
        multiply(simd, rows(0), new_from_h, units + 1, from_h);
        let (gates, from_outside, from_h) = (&*gates, &*from_outside, &*from_h);
        for unit in (0..units).step_by(width::<S, T>()) {
            let mut rate = Lanes::splat(simd, 0.0);
            for row in 0..self.padded {
                let at = row * units + unit;
                let entering = [
                    load(simd, gates, 2 * row * units + unit),
                    load(simd, gates, (2 * row + 1) * units + unit),
                ];
                let from_h = load(simd, from_h, at);
                let new = [load(simd, from_outside, at), from_h];
                let old = load(simd, &self.z, z_now + row * shape.z_stride + unit);
                let [r, z, n, h] = pass_gates(entering, new, old);
                let here = gates_now + row * shape.d_stride + unit;
                for (block, value) in [
                    (gate::NEW, n),
                    (gate::RESET, r),
                    (gate::UPDATE, z),
                    (gate::NEW_FROM_H, from_h),
                ] {
                    store(&mut self.d, here + block * units, value);
                }
                store(&mut self.z, z_next + row * shape.z_stride + unit, h);
                if row < self.rows.len() {
                    rate = rate + h.magnitude();
                }
            }
            let sum = load(simd, &self.sums.rate, unit) + rate;
            store(&mut self.sums.rate, unit, sum);
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
