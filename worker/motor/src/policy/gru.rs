//! The gated recurrent policy: PyTorch's single-layer GRU, and six outputs.

use tch::Tensor;

use super::leaky::{OUTPUT_BIAS, OUTPUT_WEIGHT, readout_slots};
use super::parameters::{Group, Initial, Parameters, Slot, refuse_unknown};
use super::{CONDITION_INPUTS, EffectiveGru, GruConfig, UnitState};
use crate::arm::MUSCLES;
use crate::checkpoint::CheckpointError;
use crate::device::Numerics;
use crate::environment::OBSERVATIONS;
use crate::host_tensor::TensorTable;

/// Gated recurrent units (Cho et al. 2014, <https://arxiv.org/abs/1406.1078>, in PyTorch's form) with outputs.
///
/// One call, with observation u, gates in the order reset, update, new, and ∘ elementwise:
///
/// ```text
/// r = sigmoid(W_ir u + b_ir + W_hr h + b_hr)
/// z = sigmoid(W_iz u + b_iz + W_hz h + b_hz)
/// n = tanh(W_in u + b_in + r ∘ (W_hn h + b_hn))
/// h ← (1 − z) ∘ n + z ∘ h
/// action = sigmoid(V h + c)
/// ```
///
/// h starts at 0; there is no noise.
#[derive(Debug)]
pub struct GruPolicy {
    config: GruConfig,
    parameters: Parameters,
    numerics: Numerics,
}

pub(super) const INPUT: &str = "gru.weight_ih_l0";
const RECURRENT: &str = "gru.weight_hh_l0";
const INPUT_BIAS: &str = "gru.bias_ih_l0";
const RECURRENT_BIAS: &str = "gru.bias_hh_l0";
/// The blocks that a transfer puts in place of the input matrix.
pub(super) const NEW_RULES: &str = "gru.weight_ih_new_rules";
pub(super) const CONDITION: &str = "gru.weight_ih_condition";

impl GruPolicy {
    /// A network with initial weights drawn from `seed`, all uniform within ±1/√hidden.
    pub fn new(config: GruConfig, seed: u64, numerics: Numerics) -> Self {
        Self {
            parameters: Parameters::drawn(slots(&config), seed, 0, numerics),
            config,
            numerics,
        }
    }

    /// A network with the weights of a state dict.
    ///
    /// # Errors
    /// When a tensor is missing, unknown, of another shape or precision, or not finite.
    pub fn from_state(
        config: GruConfig,
        state: &TensorTable,
        numerics: Numerics,
    ) -> Result<Self, CheckpointError> {
        let slots = slots(&config);
        refuse_unknown(state, &slots)?;
        Ok(Self {
            parameters: Parameters::loaded(slots, state, numerics)?,
            config,
            numerics,
        })
    }

    pub fn config(&self) -> &GruConfig {
        &self.config
    }

    /// All tensors of the state dict with their names, in PyTorch's order.
    pub fn named_parameters(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.parameters.named()
    }

    /// The tensors that training changes.
    pub fn trainable(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.parameters.trainable()
    }

    pub(super) fn freeze(&mut self, groups: &[Group]) {
        self.parameters.freeze(groups);
    }

    pub(super) fn numerics(&self) -> Numerics {
        self.numerics
    }

    /// The matrices as they act, differentiable.
    pub fn effective(&self) -> EffectiveGru {
        let own = |name: &str| self.parameters.expect(name).shallow_clone();
        let input = match self.config.inputs.new_rules {
            None => own(INPUT),
            Some(_) => Tensor::cat(&[own(NEW_RULES), own(CONDITION)], 1),
        };
        let input = match self.config.inputs.column_mask() {
            Some(mask) => input * self.numerics.tensor(&mask, &[-1]),
            None => input,
        };
        EffectiveGru {
            input,
            recurrent: own(RECURRENT),
            input_bias: own(INPUT_BIAS),
            recurrent_bias: own(RECURRENT_BIAS),
            output_weight: own(OUTPUT_WEIGHT),
            output_bias: own(OUTPUT_BIAS),
        }
    }

    /// The network made ready to be called many times with its present weights.
    pub fn prepare(&self) -> RunningGru {
        let effective = self.effective();
        let input = effective.input.tr();
        let known = input.size()[0] - OBSERVATIONS.feedback;
        RunningGru {
            hidden: self.config.hidden as i64,
            feedback: input.narrow(0, known, OBSERVATIONS.feedback),
            input,
            recurrent: effective.recurrent.tr(),
            input_bias: effective.input_bias,
            recurrent_bias: effective.recurrent_bias,
            output_weight: effective.output_weight.tr(),
            output_bias: effective.output_bias,
        }
    }
}

/// The tensors that the network has, in the order of their registration.
pub(super) fn slots(config: &GruConfig) -> Vec<Slot> {
    let hidden = config.hidden as i64;
    let transferred = config.inputs.new_rules.is_some();
    let slot = |name: &str, shape, group, trainable| Slot {
        name: name.to_owned(),
        shape,
        group: Some(group),
        trainable,
        initial: Initial::Uniform {
            bound: 1.0 / (hidden as f64).sqrt(),
        },
    };
    let inputs = (config.inputs.rules + CONDITION_INPUTS) as i64;
    let weights = |name, columns, group| slot(name, vec![3 * hidden, columns], group, !transferred);
    let bias = |name| slot(name, vec![3 * hidden], Group::BaseFiring, !transferred);
    let mut slots = vec![
        weights(INPUT, inputs, Group::Input),
        weights(RECURRENT, hidden, Group::Recurrent),
        bias(INPUT_BIAS),
        bias(RECURRENT_BIAS),
    ];
    if let Some(rules) = config.inputs.new_rules {
        let block = |name: &str, columns: usize, trainable| {
            slot(name, vec![3 * hidden, columns as i64], Group::Input, trainable)
        };
        slots.push(block(NEW_RULES, rules, true));
        slots.push(block(CONDITION, CONDITION_INPUTS, false));
    }
    slots.extend(readout_slots(config.hidden, MUSCLES, !transferred));
    slots
}

/// A [`GruPolicy`] with transposed effective matrices.
#[derive(Debug)]
pub struct RunningGru {
    hidden: i64,
    /// `[observation, 3 hidden]`.
    input: Tensor,
    /// Its rows for what the arm feeds back.
    feedback: Tensor,
    /// `[hidden, 3 hidden]`.
    recurrent: Tensor,
    input_bias: Tensor,
    recurrent_bias: Tensor,
    output_weight: Tensor,
    output_bias: Tensor,
}

impl RunningGru {
    pub(super) fn start(&self, rows: i64) -> UnitState {
        let zeros = || {
            let options = (self.recurrent.kind(), self.recurrent.device());
            Tensor::zeros([rows, self.hidden], options)
        };
        UnitState {
            x: zeros(),
            h: zeros(),
        }
    }

    /// W_i u + b_i of the three gates for the part of u that is known beforehand, `[step, batch, 3 hidden]`.
    pub(super) fn drive(&self, known: &Tensor) -> Tensor {
        let size = known.size();
        let rows = known.reshape([size[0] * size[1], -1]);
        let drive = self.input_bias.addmm(&rows, &self.input);
        drive.reshape([size[0], size[1], -1])
    }

    pub(super) fn step(&self, old: &UnitState, drive: &Tensor, feedback: &Tensor) -> UnitState {
        let input = drive.addmm(feedback, &self.feedback).chunk(3, 1);
        let recurrent = self.recurrent_bias.addmm(&old.h, &self.recurrent).chunk(3, 1);
        let reset = (&input[0] + &recurrent[0]).sigmoid();
        let update = (&input[1] + &recurrent[1]).sigmoid();
        let new = (&input[2] + reset * &recurrent[2]).tanh();
        let h = new.lerp_tensor(&old.h, &update);
        UnitState {
            x: old.x.shallow_clone(),
            h,
        }
    }

    pub(super) fn action(&self, h: &Tensor) -> Tensor {
        self.output_bias.addmm(h, &self.output_weight).sigmoid()
    }
}
