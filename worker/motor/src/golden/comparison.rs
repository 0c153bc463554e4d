//! Relative errors, and how large they may be.

use std::collections::BTreeMap;
use std::fmt;

use tch::{Kind, Tensor};

use super::file::GoldenFile;
use super::{FileError, Line};
use crate::device::Precision;

/// Kinds of quantities, which differ in how far single precision carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// Paths, targets, cues, the observation at reset.
    TrialDefinition,
    /// Action, x, h, observation, muscle activation in closed loop.
    ClosedLoop,
    Fingertip,
    /// Angles and angular velocities; the latter set the scale.
    Joint,
    /// The arm alone, with contacts at its limits.
    OpenLoop,
    Curve,
    Loss,
    Gradient,
    /// Gradients of a relu network: a unit may cross 0 on the other side.
    ReluGradient,
    GradientNorm,
    /// Parameters, moments and norms after consecutive updates.
    Training,
    /// Change of the parameters by Adam's first step.
    AdamDelta,
}

/// Double precision against double precision.
const F64_LIMIT: f64 = 1e-11;
/// Double precision against a result stored in single precision.
const STORED_AS_F32_LIMIT: f64 = 1e-6;

impl Quantity {
    /// Limit of the relative error in single precision.
    fn f32_limit(self) -> f64 {
        match self {
            Quantity::TrialDefinition => 1e-6,
            Quantity::ClosedLoop | Quantity::Loss => 5e-6,
            Quantity::Fingertip | Quantity::Curve => 1e-5,
            Quantity::Joint | Quantity::Gradient | Quantity::GradientNorm => 5e-5,
            Quantity::Training => 1e-4,
            Quantity::OpenLoop => 2e-4,
            Quantity::AdamDelta => 1e-3,
            Quantity::ReluGradient => 2e-3,
        }
    }

    fn limit(self, precision: Precision, reference: Kind) -> f64 {
        match precision {
            Precision::F32 => self.f32_limit(),
            Precision::F64 if reference == Kind::Float => STORED_AS_F32_LIMIT,
            Precision::F64 => F64_LIMIT,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Quantity::TrialDefinition => "trial definition",
            Quantity::ClosedLoop => "closed loop",
            Quantity::Fingertip => "fingertip",
            Quantity::Joint => "joint",
            Quantity::OpenLoop => "open loop",
            Quantity::Curve => "curve",
            Quantity::Loss => "loss",
            Quantity::Gradient => "gradient",
            Quantity::ReluGradient => "gradient (relu)",
            Quantity::GradientNorm => "gradient norm",
            Quantity::Training => "training",
            Quantity::AdamDelta => "adam delta",
        })
    }
}

/// Errors of one file, gathered by kind.
pub(super) struct Comparison {
    precision: Precision,
    kinds: BTreeMap<Quantity, Vec<Outcome>>,
}

struct Outcome {
    tensor: String,
    error: f64,
    limit: f64,
    remark: String,
}

impl Comparison {
    pub(super) fn new(precision: Precision) -> Self {
        Self {
            precision,
            kinds: BTreeMap::new(),
        }
    }

    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    /// Compares a tensor with its reference, which must have the same shape.
    pub(super) fn tensor(&mut self, quantity: Quantity, name: &str, ours: &Tensor, reference: &Tensor) {
        let limit = quantity.limit(self.precision, reference.kind());
        let (error, remark) = if ours.size() == reference.size() {
            relative_error(ours, reference)
        } else {
            (
                f64::INFINITY,
                format!(": shape {:?}, reference {:?}", ours.size(), reference.size()),
            )
        };
        self.add(quantity, name, error, limit, remark);
    }

    /// Compares with what the file stores under a name, if it does.
    pub(super) fn stored(
        &mut self,
        quantity: Quantity,
        file: &GoldenFile,
        name: &str,
        ours: &Tensor,
    ) -> Result<(), FileError> {
        if file.has(name) {
            self.tensor(quantity, name, ours, &file.reference(name)?);
        }
        Ok(())
    }

    fn add(&mut self, quantity: Quantity, name: &str, error: f64, limit: f64, remark: String) {
        let outcome = Outcome {
            tensor: name.to_owned(),
            error,
            limit,
            remark,
        };
        self.kinds.entry(quantity).or_default().push(outcome);
    }

    /// A line for each kind, about the tensor that came closest to its limit.
    pub(super) fn into_lines(self, file: &str) -> Vec<Line> {
        let precision = self.precision;
        let line = |(quantity, outcomes): (Quantity, Vec<Outcome>)| {
            let share = |outcome: &Outcome| outcome.error / outcome.limit;
            let worst = outcomes.iter().max_by(|a, b| share(a).total_cmp(&share(b)))?;
            Some(Line {
                file: file.to_owned(),
                kind: quantity.to_string(),
                precision,
                tensors: outcomes.len(),
                worst: Some(worst.error),
                limit: Some(worst.limit),
                detail: format!("{}{}", worst.tensor, worst.remark),
                passed: outcomes.iter().all(|outcome| outcome.error <= outcome.limit),
            })
        };
        self.kinds.into_iter().filter_map(line).collect()
    }
}

/// max |difference| / max |reference| and where the largest difference is. A reference of zeros is compared
/// absolutely; what is not finite is infinitely wrong.
fn relative_error(ours: &Tensor, reference: &Tensor) -> (f64, String) {
    if reference.numel() == 0 {
        return (f64::INFINITY, ": the reference is empty".to_owned());
    }
    let in_double = |tensor: &Tensor| tensor.detach().to_device(tch::Device::Cpu).to_kind(Kind::Double);
    let difference = (in_double(ours) - in_double(reference)).abs().reshape([-1]);
    let scale = in_double(reference).abs().max().double_value(&[]);
    let place = difference.argmax(0, false).int64_value(&[]);
    let error = difference.double_value(&[place]) / if scale > 0.0 { scale } else { 1.0 };
    let error = if error.is_finite() { error } else { f64::INFINITY };
    (error, format!("{:?}", index_of(place, &reference.size())))
}

/// The index of an element of a contiguous tensor.
fn index_of(mut place: i64, shape: &[i64]) -> Vec<i64> {
    let mut index: Vec<i64> = shape
        .iter()
        .rev()
        .map(|length| {
            let along = place % length;
            place /= length;
            along
        })
        .collect();
    index.reverse();
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_relative_to_the_largest_reference_and_is_located() {
        let reference = Tensor::from_slice(&[1.0, -4.0, 2.0, 0.0]).reshape([2, 2]);
        let ours = &reference + Tensor::from_slice(&[0.0, 0.0, 0.5, 0.1]).reshape([2, 2]);
        let (error, place) = relative_error(&ours, &reference);
        assert!((error - 0.125).abs() < 1e-15);
        assert_eq!(place, "[1, 0]");
    }

    #[test]
    fn what_is_not_a_number_or_has_another_shape_fails() {
        let reference = Tensor::from_slice(&[1.0, 2.0]);
        for ours in [
            Tensor::from_slice(&[1.0, f64::NAN]),
            Tensor::from_slice(&[1.0, 2.0, 3.0]),
        ] {
            let mut comparison = Comparison::new(Precision::F64);
            comparison.tensor(Quantity::Loss, "x", &ours, &reference);
            let lines = comparison.into_lines("file");
            assert!(!lines[0].passed, "{}", lines[0].detail);
        }
    }
}
