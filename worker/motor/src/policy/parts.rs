//! The matrices as they act, as a list: which stretch of which matrix comes from which parameter, and how.
//!
//! [`effective`](super::effective) has the same as differentiable tensors. An engine that keeps the parameters on a
//! device of its own puts its matrices together from this.

use std::ops::Range;

use tch::Tensor;

/// One of the matrices of [`EffectiveLeaky`](super::EffectiveLeaky).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    Recurrent,
    Input,
    BaseFiring,
    OutputWeight,
    OutputBias,
}

/// Whose bounds hold for the magnitude of a weight, in a constrained network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bounded {
    Recurrent,
    Input,
}

/// A stretch of a matrix: entry = factor × parameter, or factor × clip(|parameter|) in a constrained network.
#[derive(Debug)]
pub(crate) struct Part {
    pub whole: Whole,
    pub rows: Range<i64>,
    pub columns: Range<i64>,
    /// The parameter's name in the state dict.
    pub name: String,
    /// Of the parameter's shape.
    pub factor: Tensor,
    pub bounded: Option<Bounded>,
}

impl Part {
    /// The parameter as it is.
    pub(super) fn as_it_is(
        whole: Whole,
        rows: Range<i64>,
        columns: Range<i64>,
        name: String,
        tensor: &Tensor,
    ) -> Self {
        Self {
            whole,
            rows,
            columns,
            name,
            factor: tensor.detach().ones_like(),
            bounded: None,
        }
    }
}
