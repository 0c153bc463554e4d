//! Functions against the mathematics library, the arm's adjoint against differences, products against sums.

use proptest::prelude::*;
use pulp::bytemuck::cast_slice;
use pulp::{Arch, Simd, WithSimd};

use super::aligned::Aligned;
use super::arm::{self, ArmLanes, SENSED_SIZE, STATE_SIZE, Sensed};
use super::block::{Kept, Script};
use super::network::{Constants, Kind, Leaky, Weights};
use super::product::{Copies, Panels, Rows, add_outer_products, multiply};
use super::real::{Lanes, each, width};
use super::{Episodes, Threads};
use crate::arm::{MUSCLES, UPPER_ANGLES_RAD};
use crate::engine::NoiseSource;
use crate::loss::LossWeights;
use crate::policy::Activation;

/// A function of one number on every lane.
#[derive(Clone, Copy)]
enum Function {
    ExpOfNegative,
    Ln1p,
    Sin,
    Cos,
    Tanh,
    Sigmoid,
}

struct Apply<'a> {
    function: Function,
    values: &'a mut [f32],
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for pack in super::real::packs_mut::<S, f32>(self.values) {
            let x = Lanes::<S, f32>::new(simd, *pack);
            let y = match self.function {
                Function::ExpOfNegative => x.exp_of_negative(),
                Function::Ln1p => x.ln_1p(),
                Function::Sin => x.sin_cos().0,
                Function::Cos => x.sin_cos().1,
                Function::Tanh => x.tanh(),
                Function::Sigmoid => x.sigmoid(),
            };
            *pack = y.pack;
        }
    }
}

/// Largest error over many points of an interval: absolute, or relative to the exact value.
fn worst(function: Function, from: f64, to: f64, relative: bool, exact: fn(f64) -> f64) -> f64 {
    const POINTS: usize = 1 << 16;
    let points: Vec<f32> = (0..POINTS)
        .map(|i| (from + (to - from) * i as f64 / (POINTS - 1) as f64) as f32)
        .collect();
    let mut values = points.clone();
    Arch::new().dispatch(Apply {
        function,
        values: &mut values,
    });
    let errors = points.iter().zip(&values).map(|(&x, &y)| {
        let exact = exact(f64::from(x));
        let error = (f64::from(y) - exact).abs();
        if relative && exact != 0.0 {
            error / exact.abs()
        } else {
            error
        }
    });
    errors.fold(0.0, |worst, error| {
        if error > worst || error.is_nan() {
            error
        } else {
            worst
        }
    })
}

/// A function, an interval, whether its error is relative, what it should be, and the limit of its error.
type Case = (Function, f64, f64, bool, fn(f64) -> f64, f64);

#[test]
fn functions_have_the_errors_that_are_stated() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let cases: [Case; 8] = [
        (Function::ExpOfNegative, -87.0, 0.0, true, f64::exp, 2e-7),
        (Function::ExpOfNegative, -1000.0, -87.0, false, f64::exp, 1e-37),
        (Function::Ln1p, 0.0, 1.0, true, f64::ln_1p, 2e-7),
        (Function::Sin, -10.0, 10.0, false, f64::sin, 2e-7),
        (Function::Cos, -10.0, 10.0, false, f64::cos, 2e-7),
        (Function::Tanh, -1.0, 1.0, true, f64::tanh, 3e-7),
        (Function::Tanh, -30.0, 30.0, true, f64::tanh, 3e-7),
        (Function::Sigmoid, -60.0, 60.0, true, sigmoid, 4e-7),
    ];
    for (index, (function, from, to, relative, exact, limit)) in cases.into_iter().enumerate() {
        let error = worst(function, from, to, relative, exact);
        assert!(error < limit, "case {index}: {error:e}");
    }
}

/// What is not a number stays so, everywhere that a network or an arm could lose it.
#[test]
fn functions_pass_on_what_is_not_a_number() {
    for function in [
        Function::ExpOfNegative,
        Function::Ln1p,
        Function::Sin,
        Function::Tanh,
        Function::Sigmoid,
    ] {
        let mut values = [f32::NAN; 16];
        Arch::new().dispatch(Apply {
            function,
            values: &mut values,
        });
        assert!(values.iter().all(|value| value.is_nan()));
    }
}

/// State, excitation and outer torque of one arm, and the state after a step with what was sensed of it.
#[derive(Debug)]
struct Step {
    state: [f64; STATE_SIZE],
    excitation: [f64; MUSCLES],
    torque: [f64; 2],
}

const OUTPUTS: usize = STATE_SIZE + SENSED_SIZE;

impl WithSimd for &Step {
    type Output = [f64; OUTPUTS];

    fn with_simd<S: Simd>(self, simd: S) -> [f64; OUTPUTS] {
        let (state, sensed) = arm::step(
            &self.old(simd),
            self.splat(simd, self.excitation),
            self.splat(simd, self.torque),
        );
        let mut outputs = [0.0; OUTPUTS];
        for (output, lanes) in outputs
            .iter_mut()
            .zip(state.to_array().into_iter().chain(sensed.to_array()))
        {
            *output = first_lane(lanes);
        }
        outputs
    }
}

impl Step {
    fn splat<S: Simd, const N: usize>(&self, simd: S, values: [f64; N]) -> [Lanes<S, f64>; N] {
        each(|index| Lanes::splat(simd, values[index]))
    }

    fn old<S: Simd>(&self, simd: S) -> ArmLanes<S, f64> {
        ArmLanes::from_array(self.splat(simd, self.state))
    }
}

/// Slopes of Σ weights × outputs of a step with respect to state and excitation.
struct Slopes<'a> {
    step: &'a Step,
    weights: [f64; OUTPUTS],
}

impl WithSimd for Slopes<'_> {
    type Output = Vec<f64>;

    fn with_simd<S: Simd>(self, simd: S) -> Vec<f64> {
        let step = self.step;
        let new = step.splat::<S, STATE_SIZE>(simd, each(|index| self.weights[index]));
        let sensed = step.splat::<S, SENSED_SIZE>(simd, each(|index| self.weights[STATE_SIZE + index]));
        let (state, excitation) = arm::step_adjoint(
            &step.old(simd),
            step.splat(simd, step.excitation),
            step.splat(simd, step.torque),
            &ArmLanes::from_array(new),
            &Sensed::from_array(sensed),
        );
        state
            .to_array()
            .into_iter()
            .chain(excitation)
            .map(first_lane)
            .collect()
    }
}

fn first_lane<S: Simd>(lanes: Lanes<S, f64>) -> f64 {
    let packs = [lanes.pack];
    cast_slice::<_, f64>(&packs)[0]
}

fn within(bounds: std::ops::Range<f64>) -> impl Strategy<Value = f64> {
    (0.0..1.0).prop_map(move |part: f64| bounds.start + part * (bounds.end - bounds.start))
}

fn steps() -> impl Strategy<Value = (Step, [f64; OUTPUTS])> {
    let angles = UPPER_ANGLES_RAD.map(|upper| within(-0.005..upper + 0.005));
    let velocities = [within(-6.0..6.0), within(-6.0..6.0)];
    let many = |bounds: std::ops::Range<f64>| prop::collection::vec(within(bounds), MUSCLES);
    (
        angles,
        velocities,
        many(0.0..1.0),
        many(0.0..1500.0),
        many(-0.2..1.2),
        [within(-2.0..2.0), within(-2.0..2.0)],
        prop::collection::vec(within(-1.0..1.0), OUTPUTS),
    )
        .prop_map(
            |(angle, velocity, activation, force, excitation, torque, weights)| {
                let mut state = [0.0; STATE_SIZE];
                let values = angle.into_iter().chain(velocity).chain(activation).chain(force);
                state
                    .iter_mut()
                    .zip(values)
                    .for_each(|(place, value)| *place = value);
                let step = Step {
                    state,
                    excitation: each(|m| excitation[m]),
                    torque,
                };
                (step, each(|output| weights[output]))
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_arms_adjoint_is_the_slope_of_its_step((step, weights) in steps()) {
        let arch = Arch::new();
        let slopes = arch.dispatch(Slopes { step: &step, weights });
        let value = |step: &Step| -> f64 {
            arch.dispatch(step).iter().zip(&weights).map(|(output, weight)| output * weight).sum()
        };
        for (index, slope) in slopes.iter().enumerate() {
            let forces = 10..STATE_SIZE;
            let h = if forces.contains(&index) { 1e-3 } else { 1e-6 };
            let shifted = |by: f64| {
                let mut step = Step { state: step.state, excitation: step.excitation, torque: step.torque };
                match index.checked_sub(STATE_SIZE) {
                    None => step.state[index] += by,
                    Some(muscle) => step.excitation[muscle] += by,
                }
                value(&step)
            };
            let (above, here, below) = (shifted(h), shifted(0.0), shifted(-h));
            let [right, left] = [(above - here) / h, (here - below) / h];
            // At a bend, as of a limit or a clip, the slope is that of either side.
            let tolerance = 1e-5 * (1.0 + slope.abs().max(1500.0 * weights[10].abs()));
            let near = |found: f64| (found - slope).abs() < tolerance;
            prop_assert!(
                near((right + left) / 2.0) || near(right) || near(left),
                "number {index}: slope {slope}, differences {left} and {right}"
            );
        }
    }
}

/// A product and a sum of outer products of small integers, which are exact in either precision.
struct Products<'a> {
    rows: Rows<'a, f32>,
    matrix: &'a Panels<f32>,
    depth: usize,
    product: &'a mut [f32],
    outer: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        multiply(simd, self.rows, self.matrix, self.depth, self.product);
        let mut copies = Copies::default();
        add_outer_products(simd, self.rows, 8..24, self.rows, &mut copies, self.outer);
        width::<S, f32>()
    }
}

#[test]
fn products_are_those_of_the_matrices() {
    // More than a sum takes in at once.
    const ROWS: usize = 264;
    const STRIDE: usize = 64;
    let entry = |i: usize, j: usize| ((i * 7 + j * 3) % 11) as f32 - 5.0;
    let mut values = Aligned::<f32>::zeros(ROWS * STRIDE);
    for (index, value) in values.iter_mut().enumerate() {
        *value = entry(index / STRIDE, index % STRIDE);
    }
    for narrow in [false, true] {
        let (depth, columns) = (40, 50);
        let mut matrix = if narrow {
            Panels::narrow(depth, columns)
        } else {
            Panels::new(depth, columns)
        };
        for row in 0..depth {
            let of_row: Vec<f32> = (0..columns).map(|column| entry(column, row)).collect();
            matrix.set_row(row, &of_row);
        }
        let mut product = Aligned::zeros(ROWS * matrix.columns());
        let mut outer = Aligned::zeros(16 * STRIDE);
        Arch::new().dispatch(Products {
            rows: Rows {
                values: &values,
                stride: STRIDE,
                count: ROWS,
            },
            matrix: &matrix,
            depth,
            product: &mut product,
            outer: &mut outer,
        });
        for (row, of_row) in product.chunks_exact(matrix.columns()).enumerate() {
            for (column, &found) in of_row.iter().enumerate() {
                let exact = |k| entry(row, k) * entry(column, k);
                let exact: f32 = if column < columns {
                    (0..depth).map(exact).sum()
                } else {
                    0.0
                };
                assert_eq!(found.to_bits(), exact.to_bits(), "product {row} {column}");
            }
        }
        for (column, of_column) in outer.chunks_exact(STRIDE).enumerate() {
            for (across, &found) in of_column.iter().enumerate() {
                let exact: f32 = (0..ROWS)
                    .map(|row| entry(row, 8 + column) * entry(row, across))
                    .sum();
                assert_eq!(found, exact, "outer {column} {across}");
            }
        }
    }
}

/// Slopes of a small noisy episode of leaky units, or of gated ones, computed with an instruction set.
fn slopes_with(arch: Arch, activation: Option<Activation>) -> Weights<f32> {
    let (hidden, known, steps, rows) = (20, 14, 30, 19);
    let leaky = |activation| Leaky {
        activation,
        alpha: 0.5,
        hidden_noise: 0.2,
        input_noise: 0.02,
        initial_x: vec![0.0; hidden],
    };
    let constants = Constants {
        hidden,
        known,
        kind: activation.map_or(Kind::Gated, |activation| Kind::Leaky(leaky(activation))),
    };
    let (gates, recurrent_bias) = match activation {
        Some(_) => (1, 0),
        None => (3, 3 * hidden),
    };
    let mut episodes = Episodes::new(constants, Threads::default());
    episodes.arch = arch;
    let numbers = |count: usize, scale: f32| -> Vec<f32> {
        (0..count)
            .map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0) * scale)
            .collect()
    };
    let weights = Weights {
        recurrent: numbers(gates * hidden * hidden, 0.2),
        input: numbers(gates * hidden * (known + SENSED_SIZE), 0.5),
        base_firing: numbers(gates * hidden, 0.1),
        recurrent_bias: numbers(recurrent_bias, 0.1),
        output_weight: numbers(MUSCLES * hidden, 0.5),
        output_bias: numbers(MUSCLES, 0.5),
    };
    let script = Script {
        steps,
        rows,
        known: &numbers((steps + 1) * rows * (known + SENSED_SIZE), 0.5),
        observation: known + SENSED_SIZE,
        goal: &numbers((steps + 1) * rows * 2, 0.3),
        kept: Kept::Everything,
    };
    episodes.take(weights);
    episodes.forward(script, Some(&NoiseSource::training(1, 2, rows)));
    episodes.backward(1.0, &LossWeights::default())
}

#[test]
fn the_instruction_set_does_not_change_a_bit() {
    for activation in [
        Some(Activation::Softplus),
        Some(Activation::Relu),
        Some(Activation::Tanh),
        Some(Activation::Sigmoid),
        None,
    ] {
        let here = slopes_with(Arch::new(), activation);
        assert!(here.recurrent.iter().any(|&slope| slope != 0.0));
        assert_eq!(here, slopes_with(Arch::Scalar, activation), "{activation:?}");
    }
}
