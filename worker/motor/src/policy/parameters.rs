//! The named tensors of a network: how they begin, how they are stored, which of them training changes.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::Sign;
use crate::checkpoint::CheckpointError;
use crate::device::Numerics;
use crate::host_tensor::{HostTensor, TensorTable};
use crate::random::{Purpose, Stream};

/// Parameters that can be kept from training together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Weights between hidden units.
    Recurrent,
    /// Weights from the observation.
    Input,
    /// Weights and biases of the muscle excitations.
    Output,
    /// Tonic input of the hidden units; in the gated network its two bias vectors.
    BaseFiring,
}

/// A tensor that a network is to have.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) shape: Vec<i64>,
    /// `None` for masks and sign matrices, which are stored but never trained.
    pub(super) group: Option<Group>,
    pub(super) trainable: bool,
    pub(super) initial: Initial,
}

/// What a tensor holds in a new network.
#[derive(Clone, Copy, Debug)]
pub(super) enum Initial {
    Constant(f64),
    Normal {
        spread: f64,
    },
    /// Absolute values of normal draws.
    HalfNormal {
        spread: f64,
    },
    /// Uniform within ±`bound`.
    Uniform {
        bound: f64,
    },
    /// 1, but in every column `removed` randomly chosen entries are 0.
    Mask {
        removed: usize,
    },
    /// The mask before it with a sign.
    Signs(Sign),
}

#[derive(Debug)]
struct Parameter {
    slot: Slot,
    tensor: Tensor,
}

/// Named tensors in the order in which PyTorch lists them.
#[derive(Debug)]
pub(super) struct Parameters(Vec<Parameter>);

impl Parameters {
    /// New tensors. Draws of the n-th come from the initialisation's stream number `first_stream` + n.
    pub(super) fn drawn(slots: Vec<Slot>, seed: u64, first_stream: u32, numerics: Numerics) -> Self {
        let mut parameters: Vec<Parameter> = Vec::with_capacity(slots.len());
        for (slot, step) in slots.into_iter().zip(first_stream..) {
            let stream = Stream {
                seed,
                purpose: Purpose::Initialisation,
                batch: 0,
                step,
            };
            let before = parameters.last().map(|parameter| &parameter.tensor);
            let tensor = slot.initial.value(&slot.shape, before, stream, numerics);
            parameters.push(Parameter::new(slot, &tensor));
        }
        Self(parameters)
    }

    /// The tensors of a state dict. Full masks and all sign matrices may be left out.
    pub(super) fn loaded(
        slots: Vec<Slot>,
        state: &TensorTable,
        numerics: Numerics,
    ) -> Result<Self, CheckpointError> {
        let mut parameters: Vec<Parameter> = Vec::with_capacity(slots.len());
        for slot in slots {
            let before = parameters.last().map(|parameter| &parameter.tensor);
            let tensor = match (state.get(&slot.name), slot.initial) {
                (Some(stored), _) => checked(&slot.name, stored, &slot.shape, numerics)?,
                (None, Initial::Mask { removed: 0 }) => numerics.ones(&slot.shape),
                (None, Initial::Signs(sign)) => with_sign(before, sign, &slot.shape, numerics),
                (None, _) => return Err(CheckpointError::MissingTensor { name: slot.name }),
            };
            parameters.push(Parameter::new(slot, &tensor));
        }
        Ok(Self(parameters))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Tensor> {
        self.0
            .iter()
            .find_map(|parameter| (parameter.slot.name == name).then_some(&parameter.tensor))
    }

    /// A tensor that the network was built with.
    pub(super) fn expect(&self, name: &str) -> &Tensor {
        self.get(name)
            .unwrap_or_else(|| unreachable!("`{name}` is among the slots"))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn named(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0
            .iter()
            .map(|parameter| (parameter.slot.name.as_str(), &parameter.tensor))
    }

    pub(super) fn trainable(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0
            .iter()
            .filter(|parameter| parameter.slot.trainable)
            .map(|parameter| (parameter.slot.name.as_str(), &parameter.tensor))
    }

    pub(super) fn freeze(&mut self, groups: &[Group]) {
        for Parameter { slot, tensor } in &mut self.0 {
            if slot.group.is_some_and(|group| groups.contains(&group)) {
                slot.trainable = false;
                *tensor = tensor.set_requires_grad(false);
            }
        }
    }

    /// Multiplies a tensor in place.
    pub(super) fn scale(&self, name: &str, factor: f64) {
        let _no_grad = tch::no_grad_guard();
        let _ = self.expect(name).shallow_clone().g_mul_scalar_(factor);
    }
}

impl Parameter {
    fn new(slot: Slot, tensor: &Tensor) -> Self {
        Self {
            tensor: tensor.set_requires_grad(slot.trainable),
            slot,
        }
    }
}

impl Slot {
    /// Weights of a new network from a stream of one's own.
    pub(super) fn draw(&self, stream: Stream, numerics: Numerics) -> Tensor {
        self.initial.value(&self.shape, None, stream, numerics)
    }
}

impl Initial {
    fn value(self, shape: &[i64], before: Option<&Tensor>, stream: Stream, numerics: Numerics) -> Tensor {
        let count = shape.iter().product::<i64>();
        let normal = || {
            let mut draws = vec![0.0; count as usize];
            stream.fill_normal(0, &mut draws);
            numerics.tensor(&draws, shape)
        };
        match self {
            Initial::Constant(value) => numerics.ones(shape) * value,
            Initial::Normal { spread } => normal() * spread,
            Initial::HalfNormal { spread } => normal().abs() * spread,
            Initial::Uniform { bound } => {
                let draws: Vec<f64> = (0..count as u32)
                    .map(|i| (2.0 * stream.uniform(i) - 1.0) * bound)
                    .collect();
                numerics.tensor(&draws, shape)
            }
            Initial::Mask { removed } => numerics.tensor(&sparse_mask(shape, removed, stream), shape),
            Initial::Signs(sign) => with_sign(before, sign, shape, numerics),
        }
    }
}

/// Row by row: 1, but `removed` entries of every column, chosen uniformly, are 0.
///
/// Element `column · rows + i` of the stream chooses the i-th entry that a column loses among those it still has.
fn sparse_mask(shape: &[i64], removed: usize, stream: Stream) -> Vec<f64> {
    let (rows, columns) = (shape[0] as usize, shape[1] as usize);
    let mut mask = vec![1.0; rows * columns];
    for column in 0..columns {
        let mut left: Vec<usize> = (0..rows).collect();
        for i in 0..removed {
            let element = (column * rows + i) as u32;
            let row = left.swap_remove(stream.index(element, left.len()));
            mask[row * columns + column] = 0.0;
        }
    }
    mask
}

fn with_sign(mask: Option<&Tensor>, sign: Sign, shape: &[i64], numerics: Numerics) -> Tensor {
    mask.map_or_else(|| numerics.ones(shape), Tensor::copy) * sign.factor()
}

/// The state dict of several lists, copied to host memory.
pub(super) fn state<'a>(named: impl Iterator<Item = (&'a str, &'a Tensor)>) -> TensorTable {
    named
        .map(|(name, tensor)| (name.to_owned(), HostTensor::from_tensor(tensor)))
        .collect()
}

/// Refuses a state dict with tensors that none of the slots is for.
pub(super) fn refuse_unknown(state: &TensorTable, slots: &[Slot]) -> Result<(), CheckpointError> {
    let known = |name: &str| slots.iter().any(|slot| slot.name == name);
    match state.keys().find(|name| !known(name)) {
        Some(name) => Err(CheckpointError::UnknownTensor { name: name.clone() }),
        None => Ok(()),
    }
}

/// A stored tensor on the device, if it is what the network needs.
pub(crate) fn checked(
    name: &str,
    stored: &HostTensor,
    shape: &[i64],
    numerics: Numerics,
) -> Result<Tensor, CheckpointError> {
    let name = || name.to_owned();
    if stored.shape_i64() != shape {
        return Err(CheckpointError::Shape {
            name: name(),
            found: stored.shape_i64(),
            expected: shape.to_vec(),
        });
    }
    if stored.kind() != numerics.kind() {
        return Err(CheckpointError::Precision {
            name: name(),
            found: stored.kind(),
            expected: numerics.kind(),
        });
    }
    let tensor = stored.to_tensor();
    if tensor.isfinite().all().int64_value(&[]) == 0 {
        return Err(CheckpointError::NotFinite { name: name() });
    }
    Ok(tensor.to_device(numerics.device()))
}
