//! Muscle paths: lengths, speeds and moment arms as polynomials of the joint angles.

use tch::Tensor;

use super::{JointState, MUSCLES};
use crate::device::Numerics;

/// Path length (muscle and tendon) at the reference angles, m.
const LENGTH_M: [f64; MUSCLES] = [0.1510, 0.2322, 0.2859, 0.2355, 0.3329, 0.2989];
/// Linear coefficients p₁ of shoulder and elbow, m/rad.
const LINEAR_M: [[f64; MUSCLES]; 2] = [
    [-0.03, 0.03, 0.0, 0.0, -0.03, 0.03],
    [0.0, 0.0, -0.014, 0.025, -0.016, 0.030],
];
/// Quadratic coefficients p₂ of shoulder and elbow, m/rad².
const QUADRATIC_M: [[f64; MUSCLES]; 2] = [[0.0; MUSCLES], [0.0, 0.0, -4.0e-3, -2.2e-3, -5.7e-3, -3.2e-3]];
/// Angles r at which the polynomials are developed, rad.
const REFERENCE_RAD: [f64; 2] = [std::f64::consts::FRAC_PI_2, 0.0];

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
    /// `[4, muscle]`: p₁ of shoulder and elbow, then p₂.
    length_by_angle: Tensor,
    /// `[4, muscle]`: p₁ of shoulder and elbow, then 2 p₂.
    arm_by_angle: Tensor,
    /// `[muscle, 4]`: the same, negated and transposed.
    torque_by_force: Tensor,
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
        let table = |quadratic_factor: f64| {
            let quadratic = QUADRATIC_M.iter().flatten().map(|p2| quadratic_factor * p2);
            let rows: Vec<f64> = LINEAR_M.iter().flatten().copied().chain(quadratic).collect();
            numerics.tensor(&rows, &[4, 6])
        };
        let arm_by_angle = table(2.0);
        Self {
            reference: numerics.tensor(&REFERENCE_RAD, &[2]),
            length: numerics.tensor(&LENGTH_M, &[6]),
            length_by_angle: table(1.0),
            torque_by_force: -arm_by_angle.tr(),
            arm_by_angle,
        }
    }

    pub fn state(&self, joint: &JointState) -> GeometryState {
        let deviation = &joint.angle - &self.reference;
        let angle_powers = Tensor::cat(&[&deviation, &deviation.square()], 1);
        let turning = Tensor::cat(&[&joint.velocity, &(&joint.velocity * &deviation)], 1);
        GeometryState {
            length: self.length.addmm(&angle_powers, &self.length_by_angle),
            velocity: turning.mm(&self.arm_by_angle),
            deviation,
        }
    }

    /// Joint torques, `[batch, joint]`, N m, of muscle forces `[batch, muscle]`, N.
    pub fn torque(&self, state: &GeometryState, force: &Tensor) -> Tensor {
        let parts = force.mm(&self.torque_by_force);
        parts
            .narrow(1, 0, 2)
            .addcmul(&parts.narrow(1, 2, 2), &state.deviation)
    }

    /// Moment arms, `[batch, joint, muscle]`, m.
    pub fn moment_arms(&self, state: &GeometryState) -> Tensor {
        self.arm_by_angle.narrow(0, 0, 2) + self.arm_by_angle.narrow(0, 2, 2) * state.deviation.unsqueeze(-1)
    }
}
