//! A leaky network as the engine computes with it: its matrices packed, biases and inputs among them.
//!
//! A row of what enters a step is `z = [h | 1 | feedback | known]`, so that one product gives W h + b + U u:
//!
//! ```text
//! A = [ W | b | U_feedback | U_known ]      z Aᵀ           what enters the units
//!     [ V | c |     0      |    0    ]      z Aᵀ, h and 1  what leaves them
//! ```
//!
//! and a row of slopes is `d = [δ | γ]`, of what entered the units and of what left them a step before, so that
//! one sum of outer products over the whole episode, Σ dᵀ z, gives the slopes of W, b, U, V and c.

use super::arm::SENSED_SIZE;
use super::product::{Panels, ROW_GROUP, panel_width};
use super::real::Real;
use crate::arm::MUSCLES;
use crate::policy::Activation;

/// Sizes and places in the rows z and d. Units are padded to whole panels; a padded unit has no connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub hidden: usize,
    /// Inputs known before the episode.
    pub known: usize,
    /// Units with padding; also the place of the constant 1 in z, and of γ in d.
    pub units: usize,
    pub z_stride: usize,
    pub d_stride: usize,
}

impl Shape {
    pub(crate) fn new<T>(hidden: usize, known: usize) -> Self {
        let units = hidden.next_multiple_of(panel_width::<T>());
        Self {
            hidden,
            known,
            units,
            z_stride: (units + 1 + SENSED_SIZE + known).next_multiple_of(panel_width::<T>()),
            d_stride: units + ROW_GROUP,
        }
    }

    /// Place of the arm's feedback in z.
    pub(crate) fn feedback(&self) -> usize {
        self.units + 1
    }

    /// Place of the known inputs in z.
    pub(crate) fn known_inputs(&self) -> usize {
        self.feedback() + SENSED_SIZE
    }

    /// Used length of z.
    pub(crate) fn entering(&self) -> usize {
        self.known_inputs() + self.known
    }
}

/// Matrices of a leaky network as they act, row-major, or the slopes of a loss with respect to them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Weights<T> {
    /// W, `[hidden, hidden]`.
    pub recurrent: Vec<T>,
    /// U, `[hidden, known + feedback]`.
    pub input: Vec<T>,
    /// b, `[hidden]`.
    pub base_firing: Vec<T>,
    /// V, `[muscle, hidden]`.
    pub output_weight: Vec<T>,
    /// c, `[muscle]`.
    pub output_bias: Vec<T>,
}

/// What a network is apart from its weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Constants {
    pub hidden: usize,
    pub known: usize,
    pub activation: Activation,
    /// α = dt/τ.
    pub alpha: f64,
    /// √(2/α) σ of the noise of units and inputs.
    pub hidden_noise: f64,
    pub input_noise: f64,
    /// x at the start, `[hidden]`.
    pub initial_x: Vec<f64>,
}

/// The packed matrices.
#[derive(Debug)]
pub(crate) struct Packed<T> {
    pub shape: Shape,
    pub constants: Constants,
    pub weights: Weights<T>,
    /// x at the start, padded.
    pub initial_x: Vec<T>,
    /// z to units.
    pub entering: Panels<T>,
    /// h and 1 to outputs.
    pub leaving: Panels<T>,
    /// δ and γ back to h.
    pub back: Panels<T>,
    /// δ back to the feedback.
    pub back_to_feedback: Panels<T>,
}

impl<T: Real> Packed<T> {
    pub(crate) fn new(constants: Constants) -> Self {
        let shape = Shape::new::<T>(constants.hidden, constants.known);
        let mut initial_x = vec![T::default(); shape.units];
        for (padded, &x) in initial_x.iter_mut().zip(&constants.initial_x) {
            *padded = T::of(x);
        }
        Self {
            shape,
            initial_x,
            weights: Weights::default(),
            entering: Panels::new(shape.entering(), shape.units),
            leaving: Panels::narrow(shape.units + 1, MUSCLES),
            back: Panels::new(shape.d_stride, shape.units),
            back_to_feedback: Panels::narrow(shape.units, SENSED_SIZE),
            constants,
        }
    }

    /// Takes new weights.
    pub(crate) fn pack(&mut self, weights: Weights<T>) {
        let Shape {
            hidden, known, units, ..
        } = self.shape;
        let inputs = known + SENSED_SIZE;
        let (feedback, known_inputs) = (self.shape.feedback(), self.shape.known_inputs());
        for (to, row) in weights.recurrent.chunks_exact(hidden).enumerate() {
            self.entering.set_column(to, 0, row);
            self.back.set_row(to, row);
        }
        for (to, row) in weights.input.chunks_exact(inputs).enumerate() {
            let (of_known, of_feedback) = row.split_at(known);
            self.entering.set_column(to, feedback, of_feedback);
            self.entering.set_column(to, known_inputs, of_known);
            self.back_to_feedback.set_row(to, of_feedback);
        }
        for (to, &bias) in weights.base_firing.iter().enumerate() {
            self.entering.set_column(to, units, &[bias]);
        }
        for (to, row) in weights.output_weight.chunks_exact(hidden).enumerate() {
            self.leaving.set_column(to, 0, row);
            self.back.set_row(units + to, row);
        }
        for (to, &bias) in weights.output_bias.iter().enumerate() {
            self.leaving.set_column(to, units, &[bias]);
        }
        self.weights = weights;
    }

    /// The slopes of the weights out of Σ dᵀ z, `[d_stride, z_stride]`.
    pub(crate) fn unpack(&self, sums: &[T]) -> Weights<T> {
        let Shape {
            hidden,
            known,
            units,
            z_stride,
            ..
        } = self.shape;
        let (feedback, known_inputs) = (self.shape.feedback(), self.shape.known_inputs());
        let mut slopes = Weights {
            recurrent: Vec::with_capacity(hidden * hidden),
            input: Vec::with_capacity(hidden * (known + SENSED_SIZE)),
            base_firing: Vec::with_capacity(hidden),
            output_weight: Vec::with_capacity(MUSCLES * hidden),
            output_bias: Vec::with_capacity(MUSCLES),
        };
        for row in sums.chunks_exact(z_stride).take(hidden) {
            slopes.recurrent.extend(&row[..hidden]);
            slopes.input.extend(&row[known_inputs..known_inputs + known]);
            slopes.input.extend(&row[feedback..feedback + SENSED_SIZE]);
            slopes.base_firing.push(row[units]);
        }
        for row in sums.chunks_exact(z_stride).skip(units).take(MUSCLES) {
            slopes.output_weight.extend(&row[..hidden]);
            slopes.output_bias.push(row[units]);
        }
        slopes
    }
}
