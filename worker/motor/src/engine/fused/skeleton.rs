//! Bones and joints: equations of motion, limits, the fingertip, and the adjoints of all of them.
//!
//! The formulas are those of [`crate::arm::Skeleton`].

use pulp::Simd;

use super::arm::{ArmLanes, OfJoints};
use super::muscles::moment_arms;
use super::real::{Lanes, Real, each};
use crate::arm::skeleton::{
    COUPLING, ELBOW_INERTIA, FOREARM_M, MAX_VELOCITY_RAD_S, SHOULDER_INERTIA, UPPER_ARM_M,
};
use crate::arm::{DT_S, UPPER_ANGLES_RAD};

/// Fingertip, metres.
#[inline(always)]
pub(super) fn fingertip<S: Simd, T: Real>(angle: OfJoints<S, T>) -> [Lanes<S, T>; 2] {
    let (sin1, cos1) = angle[0].sin_cos();
    let (sin12, cos12) = (angle[0] + angle[1]).sin_cos();
    [
        cos1 * UPPER_ARM_M + cos12 * FOREARM_M,
        sin1 * UPPER_ARM_M + sin12 * FOREARM_M,
    ]
}

/// Adjoint of [`fingertip`]: Jᵀ times the slopes.
#[inline(always)]
pub(super) fn fingertip_adjoint<S: Simd, T: Real>(
    angle: OfJoints<S, T>,
    slope: [Lanes<S, T>; 2],
) -> OfJoints<S, T> {
    let (sin1, cos1) = angle[0].sin_cos();
    let (sin12, cos12) = (angle[0] + angle[1]).sin_cos();
    let [x, y] = slope;
    let elbow = (y * cos12 - x * sin12) * FOREARM_M;
    [(y * cos1 - x * sin1) * UPPER_ARM_M + elbow, elbow]
}

/// M a = τ − c at an old state: the parts of M⁻¹ and the net torque.
pub(super) struct Dynamics<S: Simd, T: Real> {
    k_sin: Lanes<S, T>,
    k_cos: Lanes<S, T>,
    m11: Lanes<S, T>,
    m12: Lanes<S, T>,
    per_determinant: Lanes<S, T>,
    net: OfJoints<S, T>,
}

impl<S: Simd, T: Real> Dynamics<S, T> {
    #[inline(always)]
    pub(super) fn new(old: &ArmLanes<S, T>, torque: OfJoints<S, T>) -> Self {
        let (sin, cos) = old.angle[1].sin_cos();
        let (k_sin, k_cos) = (sin * COUPLING, cos * COUPLING);
        let [w1, w2] = old.velocity;
        let arms = moment_arms(old.angle);
        let [mut torque1, mut torque2] = torque;
        for (force, [arm1, arm2]) in old.force.into_iter().zip(arms) {
            torque1 = torque1 - force * arm1;
            torque2 = torque2 - force * arm2;
        }
        let m11 = k_cos * 2.0 + SHOULDER_INERTIA;
        let m12 = k_cos + ELBOW_INERTIA;
        Self {
            net: [torque1 + k_sin * (w1 * 2.0 + w2) * w2, torque2 - k_sin * w1 * w1],
            per_determinant: (m11 * ELBOW_INERTIA - m12 * m12).reciprocal(),
            k_sin,
            k_cos,
            m11,
            m12,
        }
    }

    /// M⁻¹ r. M is symmetric, so this is its own adjoint.
    #[inline(always)]
    pub(super) fn solve(&self, right: OfJoints<S, T>) -> OfJoints<S, T> {
        let [r1, r2] = right;
        [
            (r1 * ELBOW_INERTIA - self.m12 * r2) * self.per_determinant,
            (self.m11 * r2 - self.m12 * r1) * self.per_determinant,
        ]
    }

    #[inline(always)]
    pub(super) fn acceleration(&self) -> OfJoints<S, T> {
        self.solve(self.net)
    }

    /// Slopes of angles and velocities through M and c, from the slope `net` of the net torque.
    ///
    /// The slope of M is −net aᵀ, and dM/dq₂ = −k sin q₂ [[2, 1], [1, 0]].
    #[inline(always)]
    pub(super) fn adjoint(
        &self,
        old: &ArmLanes<S, T>,
        acceleration: OfJoints<S, T>,
        net: OfJoints<S, T>,
    ) -> (OfJoints<S, T>, OfJoints<S, T>) {
        let [w1, w2] = old.velocity;
        let [a1, a2] = acceleration;
        let [n1, n2] = net;
        let by_mass = self.k_sin * (n1 * (a1 * 2.0 + a2) + n2 * a1);
        let by_coriolis = self.k_cos * (n1 * (w1 * 2.0 + w2) * w2 - n2 * w1 * w1);
        let of_w1 = self.k_sin * (n1 * w2 - n2 * w1) * 2.0;
        let of_w2 = self.k_sin * n1 * (w1 + w2) * 2.0;
        ([w1.constant(0.0), by_mass + by_coriolis], [of_w1, of_w2])
    }
}

/// Angles and velocities after an Euler step, before the limits, and the bounds that the limits put on them.
pub(super) struct Moved<S: Simd, T: Real> {
    raw_angle: OfJoints<S, T>,
    raw_velocity: OfJoints<S, T>,
    slowest: OfJoints<S, T>,
    fastest: OfJoints<S, T>,
}

impl<S: Simd, T: Real> Moved<S, T> {
    #[inline(always)]
    pub(super) fn new(old: &ArmLanes<S, T>, acceleration: OfJoints<S, T>) -> Self {
        let raw_angle: OfJoints<S, T> = each(
            #[inline(always)]
            |j| old.velocity[j].mul_add(old.velocity[j].constant(DT_S), old.angle[j]),
        );
        let raw_velocity: OfJoints<S, T> = each(
            #[inline(always)]
            |j| acceleration[j].mul_add(acceleration[j].constant(DT_S), old.velocity[j]),
        );
        // A velocity may point only away from a limit that the angle has reached.
        let [slowest, fastest] = [-MAX_VELOCITY_RAD_S, MAX_VELOCITY_RAD_S];
        Self {
            slowest: each(
                #[inline(always)]
                |j| {
                    let above_lower = raw_angle[j].is_positive();
                    above_lower.keep(raw_angle[j].constant(slowest))
                },
            ),
            fastest: each(
                #[inline(always)]
                |j| {
                    let below_upper = raw_angle[j].less(raw_angle[j].constant(UPPER_ANGLES_RAD[j]));
                    below_upper.keep(raw_angle[j].constant(fastest))
                },
            ),
            raw_angle,
            raw_velocity,
        }
    }

    #[inline(always)]
    pub(super) fn angle(&self) -> OfJoints<S, T> {
        each(
            #[inline(always)]
            |j| self.raw_angle[j].at_least(0.0).at_most(UPPER_ANGLES_RAD[j]),
        )
    }

    #[inline(always)]
    pub(super) fn velocity(&self) -> OfJoints<S, T> {
        each(
            #[inline(always)]
            |j| {
                let velocity = self.raw_velocity[j];
                let velocity = velocity.less(self.slowest[j]).select(self.slowest[j], velocity);
                self.fastest[j].less(velocity).select(self.fastest[j], velocity)
            },
        )
    }

    /// Slopes of angles and velocities before the limits: what lies within them passes.
    #[inline(always)]
    pub(super) fn adjoint(
        &self,
        angle: OfJoints<S, T>,
        velocity: OfJoints<S, T>,
    ) -> (OfJoints<S, T>, OfJoints<S, T>) {
        let passed_angle = each(
            #[inline(always)]
            |j| {
                let raw = self.raw_angle[j];
                let slope = raw
                    .less_or_equal(raw.constant(UPPER_ANGLES_RAD[j]))
                    .keep(angle[j]);
                raw.constant(0.0).less_or_equal(raw).keep(slope)
            },
        );
        let passed_velocity = each(
            #[inline(always)]
            |j| {
                let raw = self.raw_velocity[j];
                let slope = raw.less_or_equal(self.fastest[j]).keep(velocity[j]);
                self.slowest[j].less_or_equal(raw).keep(slope)
            },
        );
        (passed_angle, passed_velocity)
    }
}
