//! The units' side of a step: leaky integration and firing, and their adjoint.

use pulp::Simd;

use super::real::{Lanes, Real};
use crate::policy::Activation;

/// Firing h = f(x), and the slope at h that the dynamics loss looks at (0 where it is not defined).
#[inline(always)]
pub(crate) fn fire<S: Simd, T: Real>(activation: Activation, x: Lanes<S, T>) -> [Lanes<S, T>; 2] {
    match activation {
        Activation::Softplus => {
            let e = (-x.magnitude()).exp_of_negative();
            let bent = x.at_least(0.0) + e.ln_1p();
            let h = x.constant(SOFTPLUS_STRAIGHT).less(x).select(x, bent);
            [h, sigmoid_of_softplus(x, e)]
        }
        Activation::Relu => {
            let h = x.at_least(0.0);
            [h, h.is_positive().keep(h.constant(1.0))]
        }
        Activation::Tanh => [x.tanh(), x.constant(0.0)],
        Activation::Sigmoid => [x.sigmoid(), x.constant(0.0)],
        Activation::Linear => [x, x.constant(0.0)],
    }
}

/// f′(x), and the derivative with respect to h of the slope that [`fire`] gives.
#[inline(always)]
pub(crate) fn fire_slopes<S: Simd, T: Real>(
    activation: Activation,
    x: Lanes<S, T>,
    h: Lanes<S, T>,
) -> [Lanes<S, T>; 2] {
    let zero = x.constant(0.0);
    match activation {
        Activation::Softplus => {
            let e = (-x.magnitude()).exp_of_negative();
            let of_magnitude = (e + 1.0).reciprocal();
            let bent = x.is_positive().select(of_magnitude, e * of_magnitude);
            let slope = x
                .constant(SOFTPLUS_STRAIGHT)
                .less(x)
                .select(x.constant(1.0), bent);
            let s = sigmoid_of_softplus(x, e);
            [slope, s - s * s]
        }
        Activation::Relu => [x.is_positive().keep(x.constant(1.0)), zero],
        Activation::Tanh => [-(h * h) + 1.0, zero],
        Activation::Sigmoid => [h - h * h, zero],
        Activation::Linear => [x.constant(1.0), zero],
    }
}

/// Above this, softplus is the identity.
const SOFTPLUS_STRAIGHT: f64 = 20.0;

/// sigmoid(ln(1 + eˣ)) = (1 + eˣ)/(2 + eˣ), from e = e^−|x|.
#[inline(always)]
fn sigmoid_of_softplus<S: Simd, T: Real>(x: Lanes<S, T>, e: Lanes<S, T>) -> Lanes<S, T> {
    let denominator = x.is_positive().select(e * 2.0 + 1.0, e + 2.0);
    (e + 1.0) / denominator
}
