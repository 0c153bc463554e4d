//! The five terms of the training loss.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::config::{check, not_negative};
use crate::engine::Rollout;
use crate::error::Error;
use crate::policy::{Activation, Policy};

/// λ of each term but the position error, whose weight is 1. A weight of 0 leaves its term out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossWeights {
    pub rate: f64,
    pub weight: f64,
    pub muscle: f64,
    pub dynamics: f64,
}

impl Default for LossWeights {
    fn default() -> Self {
        Self {
            rate: 1e-3,
            weight: 1e-3,
            muscle: 1e-2,
            dynamics: 1e-3,
        }
    }
}

impl LossWeights {
    /// Only the position error.
    pub const POSITION_ONLY: Self = Self {
        rate: 0.0,
        weight: 0.0,
        muscle: 0.0,
        dynamics: 0.0,
    };

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let problem = "must be finite and not negative";
        check("loss_weights.rate", not_negative(self.rate), problem)?;
        check("loss_weights.weight", not_negative(self.weight), problem)?;
        check("loss_weights.muscle", not_negative(self.muscle), problem)?;
        check("loss_weights.dynamics", not_negative(self.dynamics), problem)
    }
}

/// Values of the terms, weighted, and their plain sum. A term that is not used is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// Metres: |Δx| + |Δy|, mean over trials and time; 0 where muscle activity is learnt. (`l1_dist` in the
    /// reference.)
    pub position: f64,
    pub rate: f64,
    pub weight: f64,
    pub muscle: f64,
    pub dynamics: f64,
    /// Σ over muscles of |a − recorded a|, mean over trials and time; only where muscle activity is learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imitation: Option<f64>,
    pub total: f64,
}

impl Losses {
    /// Name and value of every series, in the order in which they are reported.
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        let mut named = vec![
            ("total", self.total),
            ("position", self.position),
            ("rate", self.rate),
            ("weight", self.weight),
            ("muscle", self.muscle),
            ("dynamics", self.dynamics),
        ];
        named.extend(self.imitation.map(|value| ("imitation", value)));
        named
    }
}

/// The terms as tensors, weighted, for the backward pass. A term that is not used is absent.
#[derive(Debug)]
pub struct LossTerms {
    pub position: Tensor,
    pub rate: Option<Tensor>,
    pub weight: Option<Tensor>,
    pub muscle: Option<Tensor>,
    pub dynamics: Option<Tensor>,
    pub imitation: Option<Tensor>,
    pub total: Tensor,
}

impl LossTerms {
    /// All terms of an episode whose rows have the same length.
    ///
    /// Shapes: `goal` `[T + 1, batch, 2]`, metres. The roll-out must have recorded what the losses need.
    pub fn new(policy: &Policy, rollout: &Rollout, goal: &Tensor, weights: &LossWeights) -> Self {
        let position = position_error(&rollout.fingertip, goal);
        let hidden = rollout.hidden.as_ref();
        Self::regularised(
            policy,
            hidden,
            rollout.activation.as_ref(),
            weights,
            position,
            None,
        )
    }

    /// The terms where recorded muscle activity is learnt instead of movement: the position error is 0.
    ///
    /// Shapes: `hidden` `[T + 1, batch, hidden]`, `activation` and `recorded` `[T + 1, batch, muscle]`.
    pub fn of_imitation(
        policy: &Policy,
        hidden: &Tensor,
        activation: &Tensor,
        recorded: &Tensor,
        weights: &LossWeights,
    ) -> Self {
        let imitation = imitation_error(activation, recorded);
        let position = imitation.zeros_like();
        Self::regularised(
            policy,
            Some(hidden),
            Some(activation),
            weights,
            position,
            Some(imitation),
        )
    }

    fn regularised(
        policy: &Policy,
        hidden: Option<&Tensor>,
        activation: Option<&Tensor>,
        weights: &LossWeights,
        position: Tensor,
        imitation: Option<Tensor>,
    ) -> Self {
        let weighted = |weight: f64, term: &dyn Fn() -> Option<Tensor>| {
            if weight == 0.0 {
                None
            } else {
                term().map(|value| value * weight)
            }
        };
        let rate = weighted(weights.rate, &|| hidden.map(firing_rate));
        let weight = weighted(weights.weight, &|| Some(weight_size(policy)));
        let muscle = weighted(weights.muscle, &|| activation.map(muscle_activity));
        let dynamics = weighted(weights.dynamics, &|| {
            hidden.and_then(|hidden| simple_dynamics(policy, hidden))
        });
        let others = [&rate, &weight, &muscle, &dynamics, &imitation]
            .into_iter()
            .flatten();
        let total = others.fold(position.shallow_clone(), |sum, term| sum + term);
        Self {
            position,
            rate,
            weight,
            muscle,
            dynamics,
            imitation,
            total,
        }
    }

    pub fn values(&self) -> Losses {
        let value = |term: &Option<Tensor>| term.as_ref().map_or(0.0, |term| term.double_value(&[]));
        Losses {
            position: self.position.double_value(&[]),
            rate: value(&self.rate),
            weight: value(&self.weight),
            muscle: value(&self.muscle),
            dynamics: value(&self.dynamics),
            imitation: self.imitation.as_ref().map(|term| term.double_value(&[])),
            total: self.total.double_value(&[]),
        }
    }
}

/// |Δx| + |Δy|, mean over trials and time, metres.
///
/// Shapes: both `[T + 1, batch, 2]`.
pub fn position_error(fingertip: &Tensor, goal: &Tensor) -> Tensor {
    mean(&((fingertip - goal).abs().sum_dim_intlist(-1, false, None)))
}

/// Σ over muscles of |a − recorded a|, mean over trials and time.
///
/// Shapes: both `[T + 1, batch, muscle]`.
pub fn imitation_error(activation: &Tensor, recorded: &Tensor) -> Tensor {
    mean(&((activation - recorded).abs().sum_dim_intlist(-1, false, None)))
}

/// Mean |h| over everything, the initial zeros included.
fn firing_rate(hidden: &Tensor) -> Tensor {
    mean(&hidden.abs())
}

/// Σ over **all** named parameters, masks and signs too, of the mean |p| of each: so a fully connected network
/// has a constant 4 in it.
pub(crate) fn weight_size(policy: &Policy) -> Tensor {
    policy
        .named_parameters()
        .map(|(_, parameter)| mean(&parameter.abs()))
        .sum()
}

/// Σ over muscles of |a|, mean over trials and time.
fn muscle_activity(activation: &Tensor) -> Tensor {
    mean(&activation.abs().sum_dim_intlist(-1, false, None))
}

/// Frobenius norm of W_ij d_j², where d_j is the mean slope of unit j's activation function over trials and time.
/// The slope is taken at h, not at x, as in the reference. Gradient 0 where the norm is 0. Absent for functions
/// that the reference does not define it for.
fn simple_dynamics(policy: &Policy, hidden: &Tensor) -> Option<Tensor> {
    let Policy::Leaky(policy) = policy else {
        return None;
    };
    let slope = match policy.config().activation {
        Activation::Softplus => hidden.sigmoid(),
        Activation::Relu => hidden.gt(0.0).to_kind(hidden.kind()),
        Activation::Tanh | Activation::Sigmoid | Activation::Linear => return None,
    };
    let mean_slope = slope.mean_dim([0_i64, 1].as_slice(), false, None);
    Some((policy.network().recurrent_matrix() * mean_slope.square()).norm())
}

fn mean(tensor: &Tensor) -> Tensor {
    tensor.mean(None::<Kind>)
}
