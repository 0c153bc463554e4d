//! The whole arm: one step from muscle excitations to the next state.

use tch::Tensor;

use super::{Geometry, GeometryState, JointState, Muscle, MuscleState, Pose, Skeleton, start_angles_rad};
use crate::device::Numerics;

/// Skeleton and muscles together.
#[derive(Debug)]
pub struct Effector {
    numerics: Numerics,
    pub skeleton: Skeleton,
    pub geometry: Geometry,
    pub muscle: Muscle,
}

/// State of a batch of arms.
#[derive(Debug)]
pub struct ArmState {
    pub joint: JointState,
    pub pose: Pose,
    /// `[batch, 2]`, metres.
    pub fingertip: Tensor,
    pub geometry: GeometryState,
    /// Except at the start, this belongs to the geometry **before** the step that led here.
    pub muscle: MuscleState,
}

/// What else acts on the arm: torques on the joints, `[batch, joint]`, N m, and a force at the fingertip,
/// `[batch, 2]`, N.
#[derive(Debug)]
pub struct Loads {
    pub joint_torque: Tensor,
    pub endpoint_force: Tensor,
}

impl Effector {
    pub fn new(numerics: Numerics) -> Self {
        Self {
            numerics,
            skeleton: Skeleton::new(numerics),
            geometry: Geometry::new(numerics),
            muscle: Muscle::new(numerics),
        }
    }

    /// The arm as every trial starts: at rest at the start angles, muscles silent.
    pub fn start(&self, rows: i64) -> ArmState {
        let angle = self
            .numerics
            .tensor(&start_angles_rad(), &[1, 2])
            .repeat([rows, 1]);
        let velocity = self.numerics.zeros(&[rows, 2]);
        self.start_from(JointState { angle, velocity })
    }

    /// The arm with silent muscles at any joint state. Here, and only here, muscle state and geometry belong to
    /// the same instant.
    pub fn start_from(&self, joint: JointState) -> ArmState {
        let pose = self.skeleton.pose(&joint.angle);
        let geometry = self.geometry.state(&joint);
        let silent = geometry.length.zeros_like();
        let muscle = self.muscle.state(silent, &geometry);
        ArmState {
            fingertip: self.skeleton.fingertip(&pose),
            joint,
            pose,
            geometry,
            muscle,
        }
    }

    /// One step of [`DT_S`](super::DT_S). `excitation`, `[batch, muscle]`, is clipped to [0, 1].
    pub fn step(&self, old: &ArmState, excitation: &Tensor, loads: Option<&Loads>) -> ArmState {
        self.step_within(old, &excitation.clamp(0.0, 1.0), loads)
    }

    /// One step for an excitation that is within [0, 1].
    ///
    /// The torque comes from the old forces and the old moment arms; the new forces from the new activation and
    /// the **old** geometry. So forces lag the joints by one step, as they do in motornet.
    pub fn step_within(&self, old: &ArmState, excitation: &Tensor, loads: Option<&Loads>) -> ArmState {
        let mut torque = self.geometry.torque(&old.geometry, &old.muscle.force);
        if let Some(loads) = loads {
            torque = torque
                + &loads.joint_torque
                + self
                    .skeleton
                    .torque_of_endpoint_force(&old.pose, &loads.endpoint_force);
        }
        let acceleration = self
            .skeleton
            .acceleration(&old.pose, &old.joint.velocity, &torque);
        let activation = self.muscle.activate(&old.muscle.activation, excitation);
        let muscle = self.muscle.state(activation, &old.geometry);

        let joint = self.skeleton.integrate(&old.joint, &acceleration);
        let pose = self.skeleton.pose(&joint.angle);
        let geometry = self.geometry.state(&joint);
        ArmState {
            fingertip: self.skeleton.fingertip(&pose),
            joint,
            pose,
            geometry,
            muscle,
        }
    }
}
