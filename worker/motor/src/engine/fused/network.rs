//! A network as the engine computes with it: its matrices packed, biases and inputs among them.
//!
//! A row of what enters a step is `z = [h | 1 | feedback | known]`, so that one product gives W h + b + U u of leaky
//! units:
//!
//! ```text
//! A = [ W | b | U_feedback | U_known ]      z Aᵀ           what enters the units
//!     [ V | c |     0      |    0    ]      z Aᵀ, h and 1  what leaves them
//! ```
//!
//! and a row of slopes is `d = [δ | γ]`, of what entered the units and of what left them a step before, so that
//! one sum of outer products over the whole episode, Σ dᵀ z, gives the slopes of W, b, U, V and c. Gated units have
//! four numbers in place of one: what enters the new state from outside, the reset gate, the update gate, and what
//! enters the new state from h.

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
    /// Units with padding; also the place of the constant 1 in z.
    pub units: usize,
    /// Numbers that a unit has in d: one, or [`GATES`].
    pub gates: usize,
    pub z_stride: usize,
    pub d_stride: usize,
}

impl Shape {
    pub(crate) fn new<T>(hidden: usize, known: usize, gates: usize) -> Self {
        let units = hidden.next_multiple_of(panel_width::<T>());
        Self {
            hidden,
            known,
            units,
            gates,
            z_stride: (units + 1 + SENSED_SIZE + known).next_multiple_of(panel_width::<T>()),
            d_stride: gates * units + ROW_GROUP,
        }
    }

    /// Place of γ in d.
    pub(crate) fn outputs(&self) -> usize {
        self.gates * self.units
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

/// Numbers that a gated unit has in d.
pub(crate) const GATES: usize = 4;

/// Places of a gated unit's numbers in d, in blocks of all units: on the way there n, r, z and W_hn h + b_hn; on the
/// way back the slopes of what enters n from outside, r, z, and n from h.
///
/// Blocks that go back to the inputs are neighbours, as are those that go back to h.
pub(crate) mod gate {
    pub(crate) const NEW: usize = 0;
    pub(crate) const RESET: usize = 1;
    pub(crate) const UPDATE: usize = 2;
    pub(crate) const NEW_FROM_H: usize = 3;
}

/// Matrices of a network as they act, row-major, or the slopes of a loss with respect to them. A gated network has
/// three rows for every unit: those of the reset gates, the update gates, the new states.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Weights<T> {
    /// W, `[hidden, hidden]`.
    pub recurrent: Vec<T>,
    /// U, `[hidden, known + feedback]`.
    pub input: Vec<T>,
    /// b, `[hidden]`.
    pub base_firing: Vec<T>,
    /// The second bias vector of gated units.
    pub recurrent_bias: Vec<T>,
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
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Leaky(Leaky),
    Gated,
}

/// Constants of leaky units.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leaky {
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
    /// z to units; of gated ones to the reset and the update gates.
    pub entering: Panels<T>,
    /// z without h, and h and 1, to the new states of gated units.
    pub new_state: Option<[Panels<T>; 2]>,
    /// h and 1 to outputs.
    pub leaving: Panels<T>,
    /// δ (of gated units without the first block) and γ back to h.
    pub back: Panels<T>,
    /// δ (of gated units without the last block) back to the feedback.
    pub back_to_feedback: Panels<T>,
}

impl<T: Real> Packed<T> {
    pub(crate) fn new(constants: Constants) -> Self {
        let leaky = match &constants.kind {
            Kind::Leaky(leaky) => Some(leaky),
            Kind::Gated => None,
        };
        let gates = if leaky.is_some() { 1 } else { GATES };
        let shape = Shape::new::<T>(constants.hidden, constants.known, gates);
        let units = shape.units;
        let mut initial_x = vec![T::default(); units];
        for (padded, &x) in initial_x
            .iter_mut()
            .zip(leaky.into_iter().flat_map(|leaky| &leaky.initial_x))
        {
            *padded = T::of(x);
        }
        let new_state = match leaky {
            Some(_) => None,
            None => Some([
                Panels::new(shape.entering() - units, units),
                Panels::new(units + 1, units),
            ]),
        };
        let (in_entering, in_back) = if leaky.is_some() { (1, 1) } else { (2, 3) };
        Self {
            initial_x,
            weights: Weights::default(),
            entering: Panels::new(shape.entering(), in_entering * units),
            new_state,
            leaving: Panels::narrow(units + 1, MUSCLES),
            back: Panels::new(in_back * units + ROW_GROUP, units),
            back_to_feedback: Panels::narrow(in_back * units, SENSED_SIZE),
            shape,
            constants,
        }
    }

    /// Takes new weights.
    pub(crate) fn pack(&mut self, weights: Weights<T>) {
        let Shape { hidden, units, .. } = self.shape;
        match self.constants.kind {
            Kind::Leaky(_) => self.pack_leaky(&weights),
            Kind::Gated => self.pack_gated(&weights),
        }
        let outputs = self.back.depth() - ROW_GROUP;
        for (to, row) in weights.output_weight.chunks_exact(hidden).enumerate() {
            self.leaving.set_column(to, 0, row);
            self.back.set_row(outputs + to, row);
        }
        for (to, &bias) in weights.output_bias.iter().enumerate() {
            self.leaving.set_column(to, units, &[bias]);
        }
        self.weights = weights;
    }

    fn pack_leaky(&mut self, weights: &Weights<T>) {
        let Shape {
            hidden, known, units, ..
        } = self.shape;
        let (feedback, known_inputs) = (self.shape.feedback(), self.shape.known_inputs());
        for (to, row) in weights.recurrent.chunks_exact(hidden).enumerate() {
            self.entering.set_column(to, 0, row);
            self.back.set_row(to, row);
        }
        for (to, row) in weights.input.chunks_exact(known + SENSED_SIZE).enumerate() {
            let (of_known, of_feedback) = row.split_at(known);
            self.entering.set_column(to, feedback, of_feedback);
            self.entering.set_column(to, known_inputs, of_known);
            self.back_to_feedback.set_row(to, of_feedback);
        }
        for (to, &bias) in weights.base_firing.iter().enumerate() {
            self.entering.set_column(to, units, &[bias]);
        }
    }

    fn pack_gated(&mut self, weights: &Weights<T>) {
        let Shape {
            hidden, known, units, ..
        } = self.shape;
        let (feedback, known_inputs) = (self.shape.feedback(), self.shape.known_inputs());
        let Some([new_from_outside, new_from_h]) = &mut self.new_state else {
            unreachable!("gated units have panels for the new state")
        };
        // Rows of the matrices: reset, update, new.
        let place = |row: usize| (row / hidden, row % hidden);
        for (row, values) in weights.recurrent.chunks_exact(hidden).enumerate() {
            let (which, unit) = place(row);
            match which {
                2 => new_from_h.set_column(unit, 0, values),
                gate => self.entering.set_column(gate * units + unit, 0, values),
            }
            self.back.set_row(which * units + unit, values);
        }
        for (row, values) in weights.input.chunks_exact(known + SENSED_SIZE).enumerate() {
            let (which, unit) = place(row);
            let (of_known, of_feedback) = values.split_at(known);
            let (panels, to, before, slopes) = match which {
                2 => (&mut *new_from_outside, unit, units, gate::NEW),
                which => (&mut self.entering, which * units + unit, 0, gate::RESET + which),
            };
            panels.set_column(to, feedback - before, of_feedback);
            panels.set_column(to, known_inputs - before, of_known);
            self.back_to_feedback.set_row(slopes * units + unit, of_feedback);
        }
        for (row, (&of_input, &of_h)) in weights
            .base_firing
            .iter()
            .zip(&weights.recurrent_bias)
            .enumerate()
        {
            match place(row) {
                (2, unit) => {
                    new_from_outside.set_column(unit, 0, &[of_input]);
                    new_from_h.set_column(unit, units, &[of_h]);
                }
                (which, unit) => self
                    .entering
                    .set_column(which * units + unit, units, &[of_input + of_h]),
            }
        }
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
        // Blocks of d in the order of the matrices' rows.
        let (with_h, with_inputs): (&[usize], &[usize]) = match self.constants.kind {
            Kind::Leaky(_) => (&[0], &[0]),
            Kind::Gated => (
                &[gate::RESET, gate::UPDATE, gate::NEW_FROM_H],
                &[gate::RESET, gate::UPDATE, gate::NEW],
            ),
        };
        let rows = |first: usize, count: usize| sums.chunks_exact(z_stride).skip(first).take(count);
        let mut slopes = Weights {
            recurrent: Vec::with_capacity(with_h.len() * hidden * hidden),
            input: Vec::with_capacity(with_inputs.len() * hidden * (known + SENSED_SIZE)),
            ..Weights::default()
        };
        for block in with_h {
            for row in rows(block * units, hidden) {
                slopes.recurrent.extend(&row[..hidden]);
                if self.shape.gates == GATES {
                    slopes.recurrent_bias.push(row[units]);
                }
            }
        }
        for block in with_inputs {
            for row in rows(block * units, hidden) {
                slopes.input.extend(&row[known_inputs..known_inputs + known]);
                slopes.input.extend(&row[feedback..feedback + SENSED_SIZE]);
                slopes.base_firing.push(row[units]);
            }
        }
        for row in rows(self.shape.outputs(), MUSCLES) {
            slopes.output_weight.extend(&row[..hidden]);
            slopes.output_bias.push(row[units]);
        }
        slopes
    }
}
