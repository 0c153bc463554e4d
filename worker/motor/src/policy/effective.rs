//! Weights as they act: what an engine computes with, and how its gradients reach the parameters.

use tch::Tensor;

/// The matrices of a [`Policy`](super::Policy) as they act.
///
/// They come out of the parameters through masks, |·|, signs and joined blocks, differentiably. An engine that has
/// gradients G of a loss with respect to them turns these into gradients with respect to the parameters as those
/// of the scalar [`dot`](Self::dot)(G).
#[derive(Debug)]
pub enum Effective {
    Leaky(EffectiveLeaky),
    Gru(EffectiveGru),
}

/// x ← x + α (−x + W h + U u + b), action = sigmoid(V h + c).
#[derive(Debug)]
pub struct EffectiveLeaky {
    /// W `[hidden, hidden]`.
    pub recurrent: Tensor,
    /// U `[hidden, observation]`.
    pub input: Tensor,
    /// b `[hidden]`.
    pub base_firing: Tensor,
    /// V `[muscle, hidden]`.
    pub output_weight: Tensor,
    /// c `[muscle]`.
    pub output_bias: Tensor,
}

/// Gates in the order reset, update, new, one below the other.
#[derive(Debug)]
pub struct EffectiveGru {
    /// `[3 hidden, observation]`.
    pub input: Tensor,
    /// `[3 hidden, hidden]`.
    pub recurrent: Tensor,
    /// `[3 hidden]`.
    pub input_bias: Tensor,
    /// `[3 hidden]`.
    pub recurrent_bias: Tensor,
    /// V `[muscle, hidden]`.
    pub output_weight: Tensor,
    /// c `[muscle]`.
    pub output_bias: Tensor,
}

impl EffectiveLeaky {
    /// W, U, b, V, c.
    pub fn tensors(&self) -> [&Tensor; 5] {
        [
            &self.recurrent,
            &self.input,
            &self.base_firing,
            &self.output_weight,
            &self.output_bias,
        ]
    }
}

impl EffectiveGru {
    /// Input, recurrent, input bias, recurrent bias, V, c.
    pub fn tensors(&self) -> [&Tensor; 6] {
        [
            &self.input,
            &self.recurrent,
            &self.input_bias,
            &self.recurrent_bias,
            &self.output_weight,
            &self.output_bias,
        ]
    }
}

impl Effective {
    /// All tensors, in the order of [`EffectiveLeaky::tensors`] and [`EffectiveGru::tensors`].
    pub fn tensors(&self) -> Vec<&Tensor> {
        match self {
            Effective::Leaky(leaky) => leaky.tensors().to_vec(),
            Effective::Gru(gru) => gru.tensors().to_vec(),
        }
    }

    /// Σ over all entries of weight × `gradients`, which has a tensor of each tensor's shape, in their order.
    pub fn dot(&self, gradients: &[Tensor]) -> Tensor {
        let products = self.tensors().into_iter().zip(gradients);
        products
            .map(|(weight, gradient)| (weight * gradient).sum(weight.kind()))
            .sum()
    }
}
