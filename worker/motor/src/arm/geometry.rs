//! Muscle paths: lengths, speeds and moment arms as polynomials of the joint angles.

use tch::Tensor;

use super::{JointState, MUSCLES};
use crate::device::Numerics;

/// Path length (muscle and tendon) at the reference angles, m.
pub(crate) const LENGTH_M: [f64; MUSCLES] = [0.1510, 0.2322, 0.2859, 0.2355, 0.3329, 0.2989];
/// Linear coefficients p₁ of shoulder and elbow, m/rad.
pub(crate) const LINEAR_M: [[f64; MUSCLES]; 2] = [
    [-0.03, 0.03, 0.0, 0.0, -0.03, 0.03],
    [0.0, 0.0, -0.014, 0.025, -0.016, 0.030],
];
/// Quadratic coefficients p₂ of shoulder and elbow, m/rad².
pub(crate) const QUADRATIC_M: [[f64; MUSCLES]; 2] =
    [[0.0; MUSCLES], [0.0, 0.0, -4.0e-3, -2.2e-3, -5.7e-3, -3.2e-3]];
/// Angles r at which the polynomials are developed, rad.
pub(crate) const REFERENCE_RAD: [f64; 2] = [std::f64::consts::FRAC_PI_2, 0.0];

/// Muscle paths over the joints.
///
/// With d = q − r, for every muscle:
///
/// ```text
/// L   = p₀ + Σⱼ (p₁ⱼ + p₂ⱼ dⱼ) dⱼ        path length, m
/// Rⱼ  = ∂L/∂qⱼ = p₁ⱼ + 2 p₂ⱼ dⱼ          moment arm, m
/// V   = Σⱼ wⱼ Rⱼ                         path speed, m/s, positive when lengthening
/// τⱼ  = −Σ F Rⱼ                          joint torque, N m
/// ```
#[derive(Debug)]
pub struct Geometry {
    reference: Tensor,
    length: Tensor,
    /// `[joint, muscle]`: p₁, p₂ and 2 p₂.
    linear: Tensor,
    quadratic: Tensor,
    twice_quadratic: Tensor,
    /// `[muscle, joint]`: −p₁ and −2 p₂, from forces to torques.
    torque_linear: Tensor,
    torque_quadratic: Tensor,
}

/// What the muscles are told about the joints.
#[derive(Debug)]
pub struct GeometryState {
    /// Path length L, `[batch, muscle]`, m.
    pub length: Tensor,
    /// Path speed V, `[batch, muscle]`, m/s.
    pub velocity: Tensor,
    /// d = q − r, `[batch, joint]`, rad: what the moment arms follow from.
    pub deviation: Tensor,
}

impl Geometry {
    pub fn new(numerics: Numerics) -> Self {
        let table =
            |coefficients: &[[f64; MUSCLES]; 2]| numerics.tensor(coefficients.as_flattened(), &[2, 6]);
        let (linear, quadratic) = (table(&LINEAR_M), table(&QUADRATIC_M));
        let twice_quadratic = &quadratic * 2.0;
        Self {
            reference: numerics.tensor(&REFERENCE_RAD, &[2]),
            length: numerics.tensor(&LENGTH_M, &[6]),
            torque_linear: -linear.tr(),
            torque_quadratic: -twice_quadratic.tr(),
            linear,
            quadratic,
            twice_quadratic,
        }
    }

    pub fn state(&self, joint: &JointState) -> GeometryState {
        let deviation = &joint.angle - &self.reference;
        let turning = &joint.velocity * &deviation;
        GeometryState {
            length: self
                .length
                .addmm(&deviation, &self.linear)
                .addmm(&deviation.square(), &self.quadratic),
            velocity: joint
                .velocity
                .mm(&self.linear)
                .addmm(&turning, &self.twice_quadratic),
            deviation,
        }
    }

    /// Joint torques, `[batch, joint]`, N m, of muscle forces `[batch, muscle]`, N.
    pub fn torque(&self, state: &GeometryState, force: &Tensor) -> Tensor {
        force
            .mm(&self.torque_linear)
            .addcmul(&force.mm(&self.torque_quadratic), &state.deviation)
    }

    /// Moment arms, `[batch, joint, muscle]`, m.
    pub fn moment_arms(&self, state: &GeometryState) -> Tensor {
        &self.linear + &self.twice_quadratic * state.deviation.unsqueeze(-1)
    }
}
