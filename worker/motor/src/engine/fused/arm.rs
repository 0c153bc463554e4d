//! One step of the arm for as many trials as a vector has lanes, and its adjoint.
//!
//! The formulas are those of [`crate::arm`]; `docs/engine.md` derives the adjoint line by line, in this order and
//! with these names. In the adjoint, `slope` of a quantity is the derivative of the total loss with respect to it.

use pulp::Simd;

use super::muscles::{
    Fibre, activate, activate_adjoint, clip, fibres, geometry_adjoint, moment_arms, muscle_adjoint,
    within_unit,
};
use super::real::{Lanes, Real, each};
use super::skeleton::{Dynamics, Moved, fingertip, fingertip_adjoint};
use crate::arm::{DT_S, JOINTS, MUSCLES};

/// A number for each joint, and for each muscle.
pub(crate) type OfJoints<S, T> = [Lanes<S, T>; JOINTS];
pub(crate) type OfMuscles<S, T> = [Lanes<S, T>; MUSCLES];

/// What an arm carries from step to step: angles (rad), velocities (rad/s), activations, forces (N).
#[derive(Clone, Copy)]
pub(crate) struct ArmLanes<S: Simd, T: Real> {
    pub angle: OfJoints<S, T>,
    pub velocity: OfJoints<S, T>,
    pub activation: OfMuscles<S, T>,
    pub force: OfMuscles<S, T>,
}

/// What the network is told: fingertip (m), fibre lengths (optimal lengths), fibre speeds (1.5 m/s).
#[derive(Clone, Copy)]
pub(crate) struct Sensed<S: Simd, T: Real> {
    pub fingertip: [Lanes<S, T>; 2],
    pub length: OfMuscles<S, T>,
    pub speed: OfMuscles<S, T>,
}

/// Numbers of an arm's state, and of what is sensed of it, for a lane.
pub(crate) const STATE_SIZE: usize = 2 * JOINTS + 2 * MUSCLES;
pub(crate) const SENSED_SIZE: usize = 2 + 2 * MUSCLES;

impl<S: Simd, T: Real> ArmLanes<S, T> {
    #[inline(always)]
    pub(crate) fn from_array(values: [Lanes<S, T>; STATE_SIZE]) -> Self {
        Self {
            angle: each(
                #[inline(always)]
                |joint| values[joint],
            ),
            velocity: each(
                #[inline(always)]
                |joint| values[JOINTS + joint],
            ),
            activation: each(
                #[inline(always)]
                |muscle| values[2 * JOINTS + muscle],
            ),
            force: each(
                #[inline(always)]
                |muscle| values[2 * JOINTS + MUSCLES + muscle],
            ),
        }
    }

    #[inline(always)]
    pub(crate) fn to_array(self) -> [Lanes<S, T>; STATE_SIZE] {
        each(
            #[inline(always)]
            |index| match index {
                0..2 => self.angle[index],
                2..4 => self.velocity[index - JOINTS],
                4..10 => self.activation[index - 2 * JOINTS],
                _ => self.force[index - 2 * JOINTS - MUSCLES],
            },
        )
    }
}

impl<S: Simd, T: Real> Sensed<S, T> {
    #[inline(always)]
    pub(crate) fn from_array(values: [Lanes<S, T>; SENSED_SIZE]) -> Self {
        Self {
            fingertip: each(
                #[inline(always)]
                |axis| values[axis],
            ),
            length: each(
                #[inline(always)]
                |muscle| values[2 + muscle],
            ),
            speed: each(
                #[inline(always)]
                |muscle| values[2 + MUSCLES + muscle],
            ),
        }
    }

    #[inline(always)]
    pub(crate) fn to_array(self) -> [Lanes<S, T>; SENSED_SIZE] {
        each(
            #[inline(always)]
            |index| match index {
                0..2 => self.fingertip[index],
                2..8 => self.length[index - 2],
                _ => self.speed[index - 2 - MUSCLES],
            },
        )
    }
}

/// The arm at rest or moving, muscles silent: forces and what is sensed belong to the same instant.
#[inline(always)]
pub(crate) fn start<S: Simd, T: Real>(
    angle: OfJoints<S, T>,
    velocity: OfJoints<S, T>,
) -> (ArmLanes<S, T>, Sensed<S, T>) {
    let silent = [angle[0].constant(0.0); MUSCLES];
    let fibres = fibres(angle, velocity);
    let state = ArmLanes {
        angle,
        velocity,
        activation: silent,
        force: each(
            #[inline(always)]
            |m| fibres[m].force(m, silent[m]),
        ),
    };
    (state, sensed(angle, &fibres))
}

/// Adjoint of [`start`]: slopes of the angles and velocities.
#[inline(always)]
pub(crate) fn start_adjoint<S: Simd, T: Real>(
    angle: OfJoints<S, T>,
    velocity: OfJoints<S, T>,
    new: &ArmLanes<S, T>,
    sensed: &Sensed<S, T>,
) -> [OfJoints<S, T>; 2] {
    let silent = [angle[0].constant(0.0); MUSCLES];
    let (of_geometry, _) = muscle_adjoint(&fibres(angle, velocity), silent, new.force, sensed);
    let by_fingertip = fingertip_adjoint(angle, sensed.fingertip);
    let [by_angle, by_velocity] = geometry_adjoint(angle, velocity, &of_geometry);
    [
        each(
            #[inline(always)]
            |j| new.angle[j] + by_fingertip[j] + by_angle[j],
        ),
        each(
            #[inline(always)]
            |j| new.velocity[j] + by_velocity[j],
        ),
    ]
}

/// One step under excitations, which are clipped to [0, 1], and outer joint torques (N m).
///
/// The torque comes from the old forces and the old moment arms, the new forces from the new activation and the
/// old geometry.
#[inline(always)]
pub(crate) fn step<S: Simd, T: Real>(
    old: &ArmLanes<S, T>,
    excitation: OfMuscles<S, T>,
    torque: OfJoints<S, T>,
) -> (ArmLanes<S, T>, Sensed<S, T>) {
    let fibres = fibres(old.angle, old.velocity);
    let activation = each(
        #[inline(always)]
        |m| activate(old.activation[m], clip(excitation[m])),
    );
    let acceleration = Dynamics::new(old, torque).acceleration();
    let moved = Moved::new(old, acceleration);
    let state = ArmLanes {
        angle: moved.angle(),
        velocity: moved.velocity(),
        activation,
        force: each(
            #[inline(always)]
            |m| fibres[m].force(m, activation[m]),
        ),
    };
    (state, sensed(state.angle, &fibres))
}

/// Adjoint of [`step`]: slopes of the old state and of the excitations, from those of the new state and of what
/// was sensed of it.
#[inline(always)]
pub(crate) fn step_adjoint<S: Simd, T: Real>(
    old: &ArmLanes<S, T>,
    excitation: OfMuscles<S, T>,
    torque: OfJoints<S, T>,
    new: &ArmLanes<S, T>,
    sensed: &Sensed<S, T>,
) -> (ArmLanes<S, T>, OfMuscles<S, T>) {
    let dynamics = Dynamics::new(old, torque);
    let acceleration = dynamics.acceleration();
    let moved = Moved::new(old, acceleration);

    // Fingertip and limits.
    let by_fingertip = fingertip_adjoint(moved.angle(), sensed.fingertip);
    let new_angle = each(
        #[inline(always)]
        |j| new.angle[j] + by_fingertip[j],
    );
    let (raw_angle, raw_velocity) = moved.adjoint(new_angle, new.velocity);

    // Equations of motion.
    let net = dynamics.solve([raw_velocity[0] * DT_S, raw_velocity[1] * DT_S]);
    let (by_angle, by_velocity) = dynamics.adjoint(old, acceleration, net);

    // Muscles: new forces and what is sensed of the fibres, then the activation.
    let fibres = fibres(old.angle, old.velocity);
    let clipped: OfMuscles<S, T> = each(
        #[inline(always)]
        |m| clip(excitation[m]),
    );
    let activation = each(
        #[inline(always)]
        |m| activate(old.activation[m], clipped[m]),
    );
    let (mut of_geometry, by_force) = muscle_adjoint(&fibres, activation, new.force, sensed);
    let pairs: [[Lanes<S, T>; 2]; MUSCLES] = each(
        #[inline(always)]
        |m| activate_adjoint(old.activation[m], clipped[m], new.activation[m] + by_force[m]),
    );

    // Torque: τⱼ = −Σ F Rⱼ.
    let arms = moment_arms(old.angle);
    let force = each(
        #[inline(always)]
        |m| {
            of_geometry.arm[m] = each(
                #[inline(always)]
                |j| -(net[j] * old.force[m]),
            );
            -(net[0].mul_add(arms[m][0], net[1] * arms[m][1]))
        },
    );

    let [angle, velocity] = geometry_adjoint(old.angle, old.velocity, &of_geometry);
    let slopes = ArmLanes {
        angle: each(
            #[inline(always)]
            |j| raw_angle[j] + by_angle[j] + angle[j],
        ),
        velocity: each(
            #[inline(always)]
            |j| {
                raw_angle[j].mul_add(raw_angle[j].constant(DT_S), raw_velocity[j])
                    + by_velocity[j]
                    + velocity[j]
            },
        ),
        activation: each(
            #[inline(always)]
            |m| pairs[m][0],
        ),
        force,
    };
    let of_excitation = each(
        #[inline(always)]
        |m| within_unit(excitation[m], pairs[m][1]),
    );
    (slopes, of_excitation)
}

#[inline(always)]
fn sensed<S: Simd, T: Real>(angle: OfJoints<S, T>, fibres: &[Fibre<S, T>; MUSCLES]) -> Sensed<S, T> {
    Sensed {
        fingertip: fingertip(angle),
        length: each(
            #[inline(always)]
            |m| fibres[m].length,
        ),
        speed: each(
            #[inline(always)]
            |m| fibres[m].speed,
        ),
    }
}
