//! The leaky recurrent policy: units in regions, and six outputs.

use tch::Tensor;

use super::parameters::{Group, Initial, Parameters, Slot, refuse_unknown};
use super::parts::{Part, Whole};
use super::{EffectiveLeaky, LeakyConfig, RegionNetwork, RunningUnits, UnitNoise, UnitState};
use crate::arm::MUSCLES;
use crate::checkpoint::CheckpointError;
use crate::device::Numerics;
use crate::environment::OBSERVATIONS;
use crate::host_tensor::TensorTable;

/// [`RegionNetwork`] with outputs: action = sigmoid(V h + c).
#[derive(Debug)]
pub struct LeakyPolicy {
    network: RegionNetwork,
    readout: Parameters,
}

/// What the names of the network's tensors begin with.
const PREFIX: &str = "mrnn.";

impl LeakyPolicy {
    /// A network with initial weights drawn from `seed`; `docs/policies.md` says from which distributions.
    pub fn new(config: LeakyConfig, seed: u64, numerics: Numerics) -> Self {
        let hidden = config.hidden;
        let network = RegionNetwork::new(config, PREFIX, seed, numerics);
        let first_stream = network.parameters().len() as u32;
        let readout = readout_slots(hidden, MUSCLES, network.config().inputs.new_rules.is_none());
        Self {
            readout: Parameters::drawn(readout, seed, first_stream, numerics),
            network,
        }
    }

    /// A network with the weights of a state dict. Full masks and all sign matrices may be left out.
    ///
    /// # Errors
    /// When a tensor is missing, unknown, of another shape or precision, or not finite.
    pub fn from_state(
        config: LeakyConfig,
        state: &TensorTable,
        numerics: Numerics,
    ) -> Result<Self, CheckpointError> {
        refuse_unknown(state, &slots(&config))?;
        let readout = readout_slots(config.hidden, MUSCLES, config.inputs.new_rules.is_none());
        Ok(Self {
            network: RegionNetwork::from_state(config, PREFIX, state, numerics)?,
            readout: Parameters::loaded(readout, state, numerics)?,
        })
    }

    pub fn config(&self) -> &LeakyConfig {
        self.network.config()
    }

    /// The units without the outputs.
    pub fn network(&self) -> &RegionNetwork {
        &self.network
    }

    /// All tensors of the state dict with their names, in PyTorch's order.
    pub fn named_parameters(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.network.parameters().named().chain(self.readout.named())
    }

    /// The tensors that training changes.
    pub fn trainable(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.network
            .parameters()
            .trainable()
            .chain(self.readout.trainable())
    }

    pub(super) fn freeze(&mut self, groups: &[Group]) {
        self.network.parameters_mut().freeze(groups);
        self.readout.freeze(groups);
    }

    /// The matrices as they act, differentiable.
    pub fn effective(&self) -> EffectiveLeaky {
        EffectiveLeaky {
            recurrent: self.network.recurrent_matrix(),
            input: self.network.input_matrix(),
            base_firing: self.network.base_firing(),
            output_weight: self.readout.expect(OUTPUT_WEIGHT).shallow_clone(),
            output_bias: self.readout.expect(OUTPUT_BIAS).shallow_clone(),
        }
    }

    /// What the matrices of [`effective`](Self::effective) are made of; what no part covers is b as it begins, or 0.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let hidden = self.config().hidden as i64;
        let mut parts = self.network.parts();
        for (name, whole, columns) in [
            (OUTPUT_WEIGHT, Whole::OutputWeight, 0..hidden),
            (OUTPUT_BIAS, Whole::OutputBias, 0..1),
        ] {
            let outputs = 0..MUSCLES as i64;
            let tensor = self.readout.expect(name);
            parts.push(Part::as_it_is(whole, outputs, columns, name.to_owned(), tensor));
        }
        parts
    }

    /// The network made ready to be called many times with its present weights.
    pub fn prepare(&self) -> RunningLeaky {
        let units = self.network.prepare();
        RunningLeaky {
            feedback: units.last_inputs(OBSERVATIONS.feedback),
            units,
            output_weight: self.readout.expect(OUTPUT_WEIGHT).tr(),
            output_bias: self.readout.expect(OUTPUT_BIAS).shallow_clone(),
        }
    }
}

/// The tensors that the network has, in the order of their registration.
pub(super) fn slots(config: &LeakyConfig) -> Vec<Slot> {
    let mut slots = RegionNetwork::slots(config, PREFIX);
    slots.extend(readout_slots(
        config.hidden,
        MUSCLES,
        config.inputs.new_rules.is_none(),
    ));
    slots
}

pub(super) const OUTPUT_WEIGHT: &str = "fc.weight";
pub(super) const OUTPUT_BIAS: &str = "fc.bias";

/// The output layer's tensors, uniform within ±1/√hidden.
pub(super) fn readout_slots(hidden: usize, outputs: usize, trainable: bool) -> Vec<Slot> {
    let (hidden, outputs) = (hidden as i64, outputs as i64);
    let slot = |name: &str, shape| Slot {
        name: name.to_owned(),
        shape,
        group: Some(Group::Output),
        trainable,
        initial: Initial::Uniform {
            bound: 1.0 / (hidden as f64).sqrt(),
        },
    };
    vec![
        slot(OUTPUT_WEIGHT, vec![outputs, hidden]),
        slot(OUTPUT_BIAS, vec![outputs]),
    ]
}

/// A [`LeakyPolicy`] with transposed effective matrices.
#[derive(Debug)]
pub struct RunningLeaky {
    units: RunningUnits,
    feedback: Tensor,
    output_weight: Tensor,
    output_bias: Tensor,
}

impl RunningLeaky {
    pub(super) fn start(&self, rows: i64) -> UnitState {
        self.units.start(rows)
    }

    pub(super) fn drive(&self, known: &Tensor, noise: Option<&UnitNoise>) -> Tensor {
        self.units.drive(known, noise)
    }

    pub(super) fn step(&self, old: &UnitState, drive: &Tensor, feedback: &Tensor) -> UnitState {
        self.units.step_with(old, drive, feedback, &self.feedback)
    }

    pub(super) fn action(&self, h: &Tensor) -> Tensor {
        self.output_bias.addmm(h, &self.output_weight).sigmoid()
    }
}
