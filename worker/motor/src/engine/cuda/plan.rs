//! How parameters make up the matrices, entry by entry, and where the gradient of each parameter comes from.

use std::ops::Range;

use tch::{Kind, Tensor};

use super::shape::Shape;
use crate::arm::MUSCLES;
use crate::policy::{Bounded, LeakyPolicy, Whole};

/// A trained parameter and its place among all of them.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) shape: Vec<i64>,
    pub(super) places: Range<usize>,
}

/// Lists as the kernels read them; `kernels/run.h` explains each.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) parameters: Vec<Parameter>,
    pub(super) source: Vec<i32>,
    pub(super) factor: Vec<f64>,
    pub(super) place: Vec<i32>,
    pub(super) parameter_factor: Vec<f64>,
    pub(super) kind: Vec<i32>,
    pub(super) share: Vec<f64>,
    /// Σ of mean |p| over the parameters that are not trained, masks and signs among them.
    pub(super) fixed_size: f64,
}

impl Plan {
    pub(super) fn new(policy: &LeakyPolicy, shape: &Shape) -> Self {
        let mut plan = Self::of_parameters(policy);
        plan.fix(policy, shape);
        for part in policy.parts() {
            let Some(places) = plan.places(&part.name) else {
                continue;
            };
            let factors = numbers(&part.factor);
            let columns = (part.columns.end - part.columns.start) as usize;
            for (index, parameter) in places.enumerate() {
                let row = part.rows.start as usize + index / columns;
                let column = part.columns.start as usize + index % columns;
                let (entry, place) = locate(shape, part.whole, row, column);
                plan.source[entry] = parameter as i32;
                plan.factor[entry] = factors[index];
                plan.place[parameter] = place as i32;
                plan.parameter_factor[parameter] = factors[index];
                plan.kind[parameter] = match part.bounded {
                    None => 0,
                    Some(Bounded::Recurrent) => 1,
                    Some(Bounded::Input) => 2,
                };
            }
        }
        plan
    }

    /// Trained parameters that no matrix has anything of.
    fn of_parameters(policy: &LeakyPolicy) -> Self {
        let (mut parameters, mut share) = (Vec::new(), Vec::new());
        for (name, tensor) in policy.trainable() {
            let count = tensor.numel();
            parameters.push(Parameter {
                name: name.to_owned(),
                shape: tensor.size(),
                places: share.len()..share.len() + count,
            });
            share.resize(share.len() + count, 1.0 / count as f64);
        }
        let trained: Vec<&str> = parameters
            .iter()
            .map(|parameter| parameter.name.as_str())
            .collect();
        let fixed = policy
            .named_parameters()
            .filter(|(name, _)| !trained.contains(name));
        let fixed_size = fixed
            .map(|(_, tensor)| tensor.detach().abs().mean(Kind::Double).double_value(&[]))
            .sum();
        let count = share.len();
        Self {
            parameters,
            source: Vec::new(),
            factor: Vec::new(),
            place: vec![-1; count],
            parameter_factor: vec![0.0; count],
            kind: vec![0; count],
            share,
            fixed_size,
        }
    }

    /// Every entry as it is now, from no parameter.
    fn fix(&mut self, policy: &LeakyPolicy, shape: &Shape) {
        let effective = policy.effective();
        let joined = |parts: &[&Tensor]| numbers(&Tensor::cat(parts, 1));
        self.factor = joined(&[
            &effective.recurrent,
            &effective.input,
            &effective.base_firing.unsqueeze(1),
        ]);
        self.factor.extend(joined(&[
            &effective.output_weight,
            &effective.output_bias.unsqueeze(1),
        ]));
        debug_assert_eq!(
            self.factor.len(),
            shape.hidden * shape.columns() + MUSCLES * (shape.hidden + 1)
        );
        self.source = vec![-1; self.factor.len()];
    }

    fn places(&self, name: &str) -> Option<Range<usize>> {
        let parameter = self.parameters.iter().find(|parameter| parameter.name == name)?;
        Some(parameter.places.clone())
    }

    /// Number of trained parameters, tensors' entries counted.
    pub(super) fn count(&self) -> usize {
        self.share.len()
    }

    /// Name of the parameter with an entry at a place.
    pub(super) fn name_at(&self, place: usize) -> Option<&str> {
        let holds = |parameter: &&Parameter| parameter.places.contains(&place);
        self.parameters
            .iter()
            .find(holds)
            .map(|parameter| parameter.name.as_str())
    }
}

/// Number of an entry of a matrix among those of [W | U | b] and then [V | c], and its place in Σ dᵀz.
fn locate(shape: &Shape, whole: Whole, row: usize, column: usize) -> (usize, usize) {
    let (hidden, of_one) = (shape.hidden, shape.hidden + shape.inputs);
    let entering = |column: usize| (row * shape.columns() + column, row * shape.z_stride + column);
    let leaving = |column: usize, of_z: usize| {
        (
            hidden * shape.columns() + row * (hidden + 1) + column,
            (hidden + row) * shape.z_stride + of_z,
        )
    };
    match whole {
        Whole::Recurrent => entering(column),
        Whole::Input => entering(hidden + column),
        Whole::BaseFiring => entering(of_one),
        Whole::OutputWeight => leaving(column, column),
        Whole::OutputBias => leaving(hidden, of_one),
    }
}

/// A tensor's numbers, row by row.
fn numbers(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor
        .detach()
        .to_device(tch::Device::Cpu)
        .to_kind(Kind::Double)
        .contiguous();
    let mut values = vec![0.0; tensor.numel()];
    let count = values.len();
    tensor.copy_data(&mut values, count);
    values
}
