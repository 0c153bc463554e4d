//! Adam with a bound on the gradients' joint norm, in tensor operations, with its state in the open.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::checkpoint::CheckpointError;
use crate::device::Numerics;
use crate::host_tensor::{HostTensor, TensorTable};
use crate::policy::{Policy, checked};

pub(crate) const BETA1: f64 = 0.9;
pub(crate) const BETA2: f64 = 0.999;
pub(crate) const EPSILON: f64 = 1e-8;
/// Keeps the clipping factor finite for gradients that vanish.
pub(crate) const CLIP_EPSILON: f64 = 1e-6;

/// A parameter's name and its gradient.
pub type Gradients = Vec<(String, Tensor)>;

/// Gradients of a scalar with respect to all trainable tensors; 0 for those that it does not depend on.
pub fn gradients(scalar: &Tensor, policy: &Policy, keep_graph: bool) -> Gradients {
    let (names, parameters): (Vec<_>, Vec<_>) = policy.trainable().unzip();
    if parameters.is_empty() {
        return vec![];
    }
    let found = Tensor::run_backward(&[scalar], &parameters, keep_graph, false);
    let or_zero = |(gradient, parameter): (Tensor, &&Tensor)| {
        if gradient.defined() {
            gradient
        } else {
            parameter.zeros_like()
        }
    };
    names
        .into_iter()
        .map(str::to_owned)
        .zip(found.into_iter().zip(&parameters).map(or_zero))
        .collect()
}

/// Joint 2-norm of all gradients.
pub fn joint_norm(gradients: &Gradients) -> f64 {
    if gradients.is_empty() {
        return 0.0;
    }
    let norms: Vec<Tensor> = gradients.iter().map(|(_, gradient)| gradient.norm()).collect();
    Tensor::stack(&norms, 0).norm().double_value(&[])
}

/// Gradients scaled by min(1, `max`/(`norm` + 1e-6)).
pub fn clip(gradients: Gradients, norm: f64, max: f64) -> Gradients {
    let factor = max / (norm + CLIP_EPSILON);
    if factor >= 1.0 {
        return gradients;
    }
    gradients
        .into_iter()
        .map(|(name, gradient)| (name, gradient * factor))
        .collect()
}

/// Adam (Kingma & Ba 2015, <https://arxiv.org/abs/1412.6980>): β 0.9 and 0.999, ε 1e-8, no weight decay.
#[derive(Debug)]
pub struct Adam {
    learning_rate: f64,
    /// Updates so far.
    step: u64,
    moments: BTreeMap<String, Moments>,
}

/// Running means of a parameter's gradient and of its square.
#[derive(Debug)]
struct Moments {
    first: Tensor,
    second: Tensor,
}

impl Adam {
    pub fn new(learning_rate: f64, policy: &Policy) -> Self {
        let zero = |(name, parameter): (&str, &Tensor)| {
            (
                name.to_owned(),
                Moments {
                    first: parameter.detach().zeros_like(),
                    second: parameter.detach().zeros_like(),
                },
            )
        };
        Self {
            learning_rate,
            step: 0,
            moments: policy.trainable().map(zero).collect(),
        }
    }

    /// Goes on from stored moments.
    ///
    /// # Errors
    /// When a moment is missing, unknown, of another shape or precision than its parameter, or not finite.
    pub fn from_state(
        learning_rate: f64,
        step: u64,
        state: &TensorTable,
        policy: &Policy,
        numerics: Numerics,
    ) -> Result<Self, CheckpointError> {
        let mut moments = BTreeMap::new();
        for (name, parameter) in policy.trainable() {
            let moment = |which: &str| {
                let name = format!("{which}.{name}");
                match state.get(&name) {
                    Some(stored) => checked(&name, stored, &parameter.size(), numerics),
                    None => Err(CheckpointError::MissingTensor { name }),
                }
            };
            moments.insert(
                name.to_owned(),
                Moments {
                    first: moment("first")?,
                    second: moment("second")?,
                },
            );
        }
        let known = |name: &str| {
            name.split_once('.')
                .is_some_and(|(_, rest)| moments.contains_key(rest))
        };
        match state.keys().find(|name| !known(name)) {
            Some(name) => Err(CheckpointError::UnknownTensor { name: name.clone() }),
            None => Ok(Self {
                learning_rate,
                step,
                moments,
            }),
        }
    }

    pub fn step(&self) -> u64 {
        self.step
    }

    /// `first.<parameter>` and `second.<parameter>`, copied to host memory.
    pub fn state(&self) -> TensorTable {
        let copies = self.moments.iter().flat_map(|(name, moments)| {
            [("first", &moments.first), ("second", &moments.second)]
                .map(|(which, moment)| (format!("{which}.{name}"), HostTensor::from_tensor(moment)))
        });
        copies.collect()
    }

    /// η/(1 − β₁ᵗ) and 1/√(1 − β₂ᵗ) of the update that comes.
    pub(crate) fn next_scales(&self) -> (f64, f64) {
        let steps = i32::try_from(self.step + 1).unwrap_or(i32::MAX);
        let step_size = self.learning_rate / (1.0 - BETA1.powi(steps));
        (step_size, 1.0 / (1.0 - BETA2.powi(steps)).sqrt())
    }

    /// Counts an update that was made elsewhere.
    pub(crate) fn count_update(&mut self) {
        self.step += 1;
    }

    /// Both moments of a parameter.
    pub(crate) fn moments_of(&self, name: &str) -> Option<(&Tensor, &Tensor)> {
        let Moments { first, second } = self.moments.get(name)?;
        Some((first, second))
    }

    /// One update of the policy's weights, in place.
    ///
    /// ```text
    /// m ← β₁ m + (1 − β₁) g        v ← β₂ v + (1 − β₂) g²
    /// p ← p − η/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε)
    /// ```
    pub fn update(&mut self, policy: &Policy, gradients: &Gradients) {
        let (step_size, second_scale) = self.next_scales();
        self.count_update();
        let _no_grad = tch::no_grad_guard();
        for ((name, parameter), (_, gradient)) in policy.trainable().zip(gradients) {
            let Some(Moments { first, second }) = self.moments.get_mut(name) else {
                continue;
            };
            let _ = first.lerp_(gradient, 1.0 - BETA1);
            let _ = second
                .g_mul_scalar_(BETA2)
                .g_add_(&(gradient.square() * (1.0 - BETA2)));
            let change = &*first / (second.sqrt() * second_scale + EPSILON) * step_size;
            let _ = parameter.shallow_clone().g_sub_(&change);
        }
    }
}
