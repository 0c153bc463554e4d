//! The arm: two joints, six muscles, in the horizontal plane.
//!
//! A planar model of shoulder and elbow (`RigidTendonArm26` of motornet 0.2) moved by six lumped Hill muscles with
//! rigid tendons. Angles in radians (shoulder from +x, elbow from the upper arm), metres, seconds, newtons;
//! [`DT_S`] per step. `docs/arm.md` has the equations, constants and sources in one place.

mod effector;
pub(crate) mod geometry;
pub(crate) mod muscle;
pub(crate) mod skeleton;

pub use effector::{ArmState, Effector, Loads};
pub use geometry::{Geometry, GeometryState};
pub use muscle::{Muscle, MuscleState};
pub use skeleton::{JointState, Pose, Skeleton};

/// Time of one step, s.
pub const DT_S: f64 = 0.01;
pub const JOINTS: usize = 2;
pub const MUSCLES: usize = 6;

/// Names of the muscles, in the order of every muscle axis.
pub const MUSCLE_NAMES: [&str; MUSCLES] = [
    "pectoralis",
    "deltoid",
    "brachioradialis",
    "tricepslat",
    "biceps",
    "tricepslong",
];

/// Largest angles of shoulder and elbow, rad; the smallest are 0.
pub(crate) const UPPER_ANGLES_RAD: [f64; JOINTS] = [135.0 * DEGREE, 155.0 * DEGREE];

const DEGREE: f64 = std::f64::consts::PI / 180.0;

/// Joint angles at the start of every trial: the middle of the range, 0.1 and 0.5 rad further. Rad.
pub fn start_angles_rad() -> [f64; JOINTS] {
    [UPPER_ANGLES_RAD[0] / 2.0 + 0.1, UPPER_ANGLES_RAD[1] / 2.0 + 0.5]
}

/// Fingertip at the start of every trial, metres.
pub fn start_fingertip_m() -> [f64; 2] {
    let [shoulder, elbow] = start_angles_rad();
    let (sin1, cos1) = shoulder.sin_cos();
    let (sin12, cos12) = (shoulder + elbow).sin_cos();
    [
        skeleton::UPPER_ARM_M * cos1 + skeleton::FOREARM_M * cos12,
        skeleton::UPPER_ARM_M * sin1 + skeleton::FOREARM_M * sin12,
    ]
}
