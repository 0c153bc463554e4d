//! Bones and joints: kinematics, equations of motion, limits.

use tch::Tensor;

use super::{DT_S, JOINTS, UPPER_ANGLES_RAD};
use crate::device::Numerics;

/// Length of the upper arm, m.
pub(crate) const UPPER_ARM_M: f64 = 0.309;
/// Length of the forearm with the hand, m.
pub(crate) const FOREARM_M: f64 = 0.333;
/// Masses, kg.
pub(crate) const MASS_KG: [f64; JOINTS] = [1.82, 1.43];
/// Distance of each centre of mass from the proximal joint, m.
pub(crate) const CENTRE_M: [f64; JOINTS] = [0.135, 0.165];
/// Moments of inertia about the centres of mass, kg m².
pub(crate) const INERTIA_KG_M2: [f64; JOINTS] = [0.051, 0.057];
/// Bound on both joint velocities, rad/s.
pub(crate) const MAX_VELOCITY_RAD_S: f64 = 1000.0;

/// k = m₂ L₁ g₂, the part of the mass matrix that turns with the elbow, kg m².
pub(crate) const COUPLING: f64 = MASS_KG[1] * UPPER_ARM_M * CENTRE_M[1];
/// M₂₂ = I₂ + m₂ g₂², also the constant part of M₁₂, kg m².
pub(crate) const ELBOW_INERTIA: f64 = INERTIA_KG_M2[1] + MASS_KG[1] * CENTRE_M[1] * CENTRE_M[1];
/// Constant part of M₁₁ = I₁ + m₁ g₁² + I₂ + m₂ (g₂² + L₁²) + 2 k cos q₂, kg m².
pub(crate) const SHOULDER_INERTIA: f64 = INERTIA_KG_M2[0]
    + MASS_KG[0] * CENTRE_M[0] * CENTRE_M[0]
    + ELBOW_INERTIA
    + MASS_KG[1] * UPPER_ARM_M * UPPER_ARM_M;

/// Angles and angular velocities, each `[batch, joint]`, rad and rad/s.
#[derive(Debug)]
pub struct JointState {
    pub angle: Tensor,
    pub velocity: Tensor,
}

/// Cosines and sines of q₁, q₂ and q₁ + q₂, each `[batch, 3]`.
#[derive(Debug)]
pub struct Pose {
    pub cos: Tensor,
    pub sin: Tensor,
}

/// The two-link arm.
#[derive(Debug)]
pub struct Skeleton {
    /// `[joint, 3]`: q ↦ (q₁, q₂, q₁ + q₂).
    angle_sums: Tensor,
    /// `[3, 1]`: what the cosines (sines) of those contribute to x (y).
    reach: Tensor,
    lower: Tensor,
    upper: Tensor,
}

impl Skeleton {
    pub fn new(numerics: Numerics) -> Self {
        Self {
            angle_sums: numerics.tensor(&[1.0, 0.0, 1.0, 0.0, 1.0, 1.0], &[2, 3]),
            reach: numerics.tensor(&[UPPER_ARM_M, 0.0, FOREARM_M], &[3, 1]),
            lower: numerics.zeros(&[2]),
            upper: numerics.tensor(&UPPER_ANGLES_RAD, &[2]),
        }
    }

    pub fn pose(&self, angle: &Tensor) -> Pose {
        let angles = angle.mm(&self.angle_sums);
        Pose {
            cos: angles.cos(),
            sin: angles.sin(),
        }
    }

    /// Fingertip, `[batch, 2]`, metres: L₁ (cos q₁, sin q₁) + L₂ (cos(q₁+q₂), sin(q₁+q₂)).
    pub fn fingertip(&self, pose: &Pose) -> Tensor {
        Tensor::cat(&[pose.cos.mm(&self.reach), pose.sin.mm(&self.reach)], 1)
    }

    /// Columns of the Jacobian of the fingertip, ∂(x, y)/∂q₁ and ∂(x, y)/∂q₂, each `[batch, 2]`, metres.
    fn jacobian(pose: &Pose) -> [Tensor; 2] {
        let column = |table: &Tensor, index| table.select(1, index);
        let elbow_x = column(&pose.sin, 2) * -FOREARM_M;
        let elbow_y = column(&pose.cos, 2) * FOREARM_M;
        let shoulder_x = column(&pose.sin, 0) * -UPPER_ARM_M + &elbow_x;
        let shoulder_y = column(&pose.cos, 0) * UPPER_ARM_M + &elbow_y;
        [
            Tensor::stack(&[shoulder_x, shoulder_y], 1),
            Tensor::stack(&[elbow_x, elbow_y], 1),
        ]
    }

    /// Velocity of the fingertip, `[batch, 2]`, m/s.
    pub fn fingertip_velocity(&self, pose: &Pose, velocity: &Tensor) -> Tensor {
        let [by_shoulder, by_elbow] = Self::jacobian(pose);
        by_shoulder * velocity.narrow(1, 0, 1) + by_elbow * velocity.narrow(1, 1, 1)
    }

    /// Joint torques, `[batch, joint]`, N m, of a force `[batch, 2]`, N, at the fingertip: Jᵀ f.
    pub fn torque_of_endpoint_force(&self, pose: &Pose, force: &Tensor) -> Tensor {
        let [by_shoulder, by_elbow] = Self::jacobian(pose);
        let along = |column: Tensor| (column * force).sum_dim_intlist(1, false, None);
        Tensor::stack(&[along(by_shoulder), along(by_elbow)], 1)
    }

    /// Angular accelerations, `[batch, joint]`, rad/s².
    ///
    /// ```text
    /// a = M⁻¹ (τ − c),   M = [[A + 2 k cos q₂, C + k cos q₂], [C + k cos q₂, C]]
    ///                    c = k sin q₂ (−(2 w₁ + w₂) w₂, w₁²)
    /// ```
    ///
    /// Shapes: `torque` `[batch, joint]`, N m. No gravity, no damping.
    pub fn acceleration(&self, pose: &Pose, velocity: &Tensor, torque: &Tensor) -> Tensor {
        let [w1, w2] = columns(velocity);
        let [torque1, torque2] = columns(torque);
        let k_cos = pose.cos.select(1, 1) * COUPLING;
        let k_sin = pose.sin.select(1, 1) * COUPLING;

        let m11 = &k_cos * 2.0 + SHOULDER_INERTIA;
        let m12 = k_cos + ELBOW_INERTIA;
        let m22 = ELBOW_INERTIA;
        let net1 = torque1 + &k_sin * (&w1 * 2.0 + &w2) * w2;
        let net2 = torque2 - k_sin * w1.square();

        let determinant = &m11 * m22 - m12.square();
        let a1 = &net1 * m22 - &m12 * &net2;
        let a2 = m11 * net2 - m12 * net1;
        Tensor::stack(&[a1, a2], 1) / determinant.unsqueeze(1)
    }

    /// One explicit Euler step: the angle moves with the **old** velocity. A joint that would pass a limit stops
    /// there and loses its velocity (inelastic contact).
    pub fn integrate(&self, old: &JointState, acceleration: &Tensor) -> JointState {
        let angle = &old.angle + &old.velocity * DT_S;
        let velocity = &old.velocity + acceleration * DT_S;
        // A velocity may point only away from a limit that the (not yet clipped) angle has reached.
        let slowest = angle.gt_tensor(&self.lower) * -MAX_VELOCITY_RAD_S;
        let fastest = angle.lt_tensor(&self.upper) * MAX_VELOCITY_RAD_S;
        JointState {
            velocity: velocity.clamp_tensor(Some(slowest), Some(fastest)),
            angle: angle.clamp_tensor(Some(&self.lower), Some(&self.upper)),
        }
    }
}

/// The two columns of a `[batch, 2]` tensor.
fn columns(pair: &Tensor) -> [Tensor; 2] {
    let [first, second] =
        <[Tensor; 2]>::try_from(pair.unbind(1)).unwrap_or_else(|_| unreachable!("two joints"));
    [first, second]
}
