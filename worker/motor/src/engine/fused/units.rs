//! The units' side of a step: firing of leaky units, gates of gated ones, and their adjoints.

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

/// A gated unit's step: r, z, n and h, from what enters its gates, and the new state from outside and from h.
#[inline(always)]
pub(crate) fn pass_gates<S: Simd, T: Real>(
    [reset, update]: [Lanes<S, T>; 2],
    [from_outside, from_h]: [Lanes<S, T>; 2],
    old_h: Lanes<S, T>,
) -> [Lanes<S, T>; 4] {
    let (r, z) = (reset.sigmoid(), update.sigmoid());
    let n = r.mul_add(from_h, from_outside).tanh();
    let h = z.mul_add(old_h - n, n);
    [r, z, n, h]
}

/// Slopes of what [`pass_gates`] was given, in d's order ([`gate`](super::network::gate)), and of the old h on the
/// way that does not lead through the gates.
#[inline(always)]
pub(crate) fn gates_adjoint<S: Simd, T: Real>(
    [r, z, n]: [Lanes<S, T>; 3],
    from_h: Lanes<S, T>,
    old_h: Lanes<S, T>,
    of_h: Lanes<S, T>,
) -> ([Lanes<S, T>; 4], Lanes<S, T>) {
    let of_new = (of_h - of_h * z) * (-(n * n) + 1.0);
    let of_reset = of_new * from_h * (r - r * r);
    let of_update = of_h * (old_h - n) * (z - z * z);
    ([of_new, of_reset, of_update, of_new * r], of_h * z)
}
