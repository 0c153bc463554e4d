//! Muscles: activation, fibres, the curves of their forces, and the adjoints of all of them.
//!
//! The formulas are those of [`crate::arm::Muscle`] and [`crate::arm::Geometry`].

use pulp::Simd;

use super::arm::{OfJoints, OfMuscles, Sensed};
use super::real::{Lanes, Real, each};
use crate::arm::geometry::{LENGTH_M, LINEAR_M, QUADRATIC_M, REFERENCE_RAD};
use crate::arm::muscle::{
    ACTIVE_FROM, FALL_S, HUMPS, MAX_FORCE_N, MAX_SPEED_FACTOR, MIN_FIBRE_M, OPTIMAL_M, PASSIVE_SCALE,
    PASSIVE_WIDTH, RISE_S, TENDON_M, UNIT_SPEED_M_S,
};
use crate::arm::{DT_S, JOINTS, MUSCLES};

#[inline(always)]
pub(super) fn clip<S: Simd, T: Real>(u: Lanes<S, T>) -> Lanes<S, T> {
    u.at_least(0.0).at_most(1.0)
}

/// A slope where clipping to [0, 1] lets it through.
#[inline(always)]
pub(super) fn within_unit<S: Simd, T: Real>(value: Lanes<S, T>, slope: Lanes<S, T>) -> Lanes<S, T> {
    let below = value.less_or_equal(value.constant(1.0)).keep(slope);
    value.constant(0.0).less_or_equal(value).keep(below)
}

/// Activation before it is clipped: a + (u − a)/s where it rises, a + (u − a) s/4 where it falls, s = 0.5 + 1.5 a.
#[inline(always)]
fn activate_raw<S: Simd, T: Real>(a: Lanes<S, T>, u: Lanes<S, T>) -> Lanes<S, T> {
    let s = steps_to_rise(a);
    let gain = a.less(u).select(s.reciprocal(), s * FALL_GAIN);
    (u - a).mul_add(gain, a)
}

#[inline(always)]
pub(super) fn activate<S: Simd, T: Real>(a: Lanes<S, T>, u: Lanes<S, T>) -> Lanes<S, T> {
    clip(activate_raw(a, u))
}

#[inline(always)]
fn steps_to_rise<S: Simd, T: Real>(a: Lanes<S, T>) -> Lanes<S, T> {
    a * (1.5 * RISE_S / DT_S) + 0.5 * RISE_S / DT_S
}

const FALL_GAIN: f64 = DT_S * DT_S / (RISE_S * FALL_S);
const STEPS_TO_RISE_SLOPE: f64 = 1.5 * RISE_S / DT_S;

/// Slopes of old activation and excitation.
#[inline(always)]
pub(super) fn activate_adjoint<S: Simd, T: Real>(
    a: Lanes<S, T>,
    u: Lanes<S, T>,
    slope: Lanes<S, T>,
) -> [Lanes<S, T>; 2] {
    let slope = within_unit(activate_raw(a, u), slope);
    let s = steps_to_rise(a);
    let rising = a.less(u);
    let per_s = s.reciprocal();
    let gain = rising.select(per_s, s * FALL_GAIN);
    let gain_slope = rising.select(-(per_s * per_s), s.constant(FALL_GAIN)) * STEPS_TO_RISE_SLOPE;
    let by_activation = (u - a) * gain_slope - gain + 1.0;
    [slope * by_activation, slope * gain]
}

/// Length and speed of a fibre, the curves of its force there, and what their slopes need.
#[derive(Clone, Copy)]
pub(super) struct Fibre<S: Simd, T: Real> {
    /// Before the floor, m.
    pub(super) raw_length: Lanes<S, T>,
    pub(super) length: Lanes<S, T>,
    pub(super) speed: Lanes<S, T>,
}

#[inline(always)]
pub(super) fn fibres<S: Simd, T: Real>(
    angle: OfJoints<S, T>,
    velocity: OfJoints<S, T>,
) -> [Fibre<S, T>; MUSCLES] {
    let deviation = deviation(angle);
    let arms = moment_arms(angle);
    each(
        #[inline(always)]
        |m| {
            // L = p₀ + Σⱼ (p₁ⱼ + p₂ⱼ dⱼ) dⱼ and Rⱼ = p₁ⱼ + 2 p₂ⱼ dⱼ, so L = p₀ + Σⱼ ½ (p₁ⱼ + Rⱼ) dⱼ.
            let of_shoulder = (arms[m][0] + LINEAR_M[0][m]) * 0.5 * deviation[0];
            let of_elbow = (arms[m][1] + LINEAR_M[1][m]) * 0.5 * deviation[1];
            let raw_length = of_shoulder + of_elbow + (LENGTH_M[m] - TENDON_M[m]);
            let stretching = velocity[0].mul_add(arms[m][0], velocity[1] * arms[m][1]);
            Fibre::at(raw_length, stretching, m)
        },
    )
}

#[inline(always)]
fn deviation<S: Simd, T: Real>(angle: OfJoints<S, T>) -> OfJoints<S, T> {
    each(
        #[inline(always)]
        |j| angle[j] - REFERENCE_RAD[j],
    )
}

#[inline(always)]
pub(super) fn moment_arms<S: Simd, T: Real>(angle: OfJoints<S, T>) -> [OfJoints<S, T>; MUSCLES] {
    let deviation = deviation(angle);
    each(
        #[inline(always)]
        |m| {
            each(
                #[inline(always)]
                |j| deviation[j] * (2.0 * QUADRATIC_M[j][m]) + LINEAR_M[j][m],
            )
        },
    )
}

impl<S: Simd, T: Real> Fibre<S, T> {
    /// A muscle's fibre at a length before the floor, m, and a path speed, m/s.
    #[inline(always)]
    pub(super) fn at(raw_length: Lanes<S, T>, speed: Lanes<S, T>, muscle: usize) -> Self {
        Self {
            raw_length,
            length: raw_length.at_least(MIN_FIBRE_M) * (1.0 / OPTIMAL_M[muscle]),
            speed: speed * (1.0 / UNIT_SPEED_M_S),
        }
    }

    /// Passive force, length factor, speed factor.
    pub(super) fn factors(&self) -> [Lanes<S, T>; 3] {
        [
            passive(self.length)[0],
            length_factor(self.length)[0],
            speed_factor(self.speed)[0],
        ]
    }

    /// F = Fmax (a f_l f_v + f_p), N.
    #[inline(always)]
    pub(super) fn force(&self, muscle: usize, activation: Lanes<S, T>) -> Lanes<S, T> {
        let active = length_factor(self.length)[0] * speed_factor(self.speed)[0];
        activation.mul_add(active, passive(self.length)[0]) * MAX_FORCE_N[muscle]
    }
}

/// f_l and its derivative: see [`crate::arm::Muscle`].
#[inline(always)]
fn length_factor<S: Simd, T: Real>(length: Lanes<S, T>) -> [Lanes<S, T>; 2] {
    let [first, second] = [hump(length, HUMPS[0]), hump(length, HUMPS[1])];
    [first[0] + second[0], first[1] + second[1]]
}

#[inline(always)]
fn hump<S: Simd, T: Real>(length: Lanes<S, T>, (peak, end, weight): (f64, f64, f64)) -> [Lanes<S, T>; 2] {
    let (rise, fall) = (1.0 / (peak - ACTIVE_FROM), 1.0 / (end - peak));
    let up = clip((length - ACTIVE_FROM) * rise);
    let down = clip((length - peak) * fall);
    let y = up - down;
    let upper = (y - 0.5).at_least(0.0);
    let value = (y * y - upper * upper * 2.0) * (2.0 * weight);
    let before_peak = length.less(length.constant(peak));
    let along = before_peak.select(length.constant(rise), length.constant(-fall));
    [value, (y - upper * 2.0) * along * (4.0 * weight)]
}

/// f_p and its derivative.
#[inline(always)]
fn passive<S: Simd, T: Real>(length: Lanes<S, T>) -> [Lanes<S, T>; 2] {
    let stretch = (length - 1.0) * (1.0 / PASSIVE_WIDTH);
    let bent = clip(stretch);
    let square = bent * bent;
    let value = square.mul_add(bent, (stretch - 1.0).at_least(0.0) * 3.0);
    [
        value * (PASSIVE_SCALE / 4.0),
        square * (3.0 * PASSIVE_SCALE / (4.0 * PASSIVE_WIDTH)),
    ]
}

/// f_v and its derivative.
#[inline(always)]
fn speed_factor<S: Simd, T: Real>(speed: Lanes<S, T>) -> [Lanes<S, T>; 2] {
    const C: f64 = MAX_SPEED_FACTOR - 1.0;
    let shortening = clip(speed + 1.0);
    let lengthening = speed.at_least(0.0).at_most(C);
    let rest = lengthening * (-1.0 / C) + 1.0;
    let value = lengthening.mul_add(rest + 1.0, shortening * shortening);
    let slope = speed.is_positive().select(rest, shortening) * 2.0;
    [value, slope]
}

/// Slopes of what the muscles know of the joints.
pub(super) struct GeometrySlopes<S: Simd, T: Real> {
    /// Path lengths, m, and speeds, m/s.
    pub(super) length: OfMuscles<S, T>,
    pub(super) velocity: OfMuscles<S, T>,
    /// Moment arms, m, other than through the speeds.
    pub(super) arm: [OfJoints<S, T>; MUSCLES],
}

/// Adjoint of the muscle law: slopes of the geometry (none of the moment arms) and of the activations.
#[inline(always)]
pub(super) fn muscle_adjoint<S: Simd, T: Real>(
    fibres: &[Fibre<S, T>; MUSCLES],
    activation: OfMuscles<S, T>,
    force: OfMuscles<S, T>,
    sensed: &Sensed<S, T>,
) -> (GeometrySlopes<S, T>, OfMuscles<S, T>) {
    let zero = activation[0].constant(0.0);
    let mut slopes = GeometrySlopes {
        length: [zero; MUSCLES],
        velocity: [zero; MUSCLES],
        arm: [[zero; JOINTS]; MUSCLES],
    };
    let by_activation = each(
        #[inline(always)]
        |m| {
            let fibre = &fibres[m];
            let [by_length, by_length_slope] = length_factor(fibre.length);
            let [by_speed, by_speed_slope] = speed_factor(fibre.speed);
            let [_, passive_slope] = passive(fibre.length);
            let scaled = force[m] * MAX_FORCE_N[m];
            let active = scaled * activation[m];
            let length = active * by_speed * by_length_slope + scaled * passive_slope + sensed.length[m];
            let speed = active * by_length * by_speed_slope + sensed.speed[m];
            let floor = fibre.raw_length.constant(MIN_FIBRE_M);
            let above_floor = floor.less_or_equal(fibre.raw_length);
            slopes.length[m] = above_floor.keep(length * (1.0 / OPTIMAL_M[m]));
            slopes.velocity[m] = speed * (1.0 / UNIT_SPEED_M_S);
            scaled * by_length * by_speed
        },
    );
    (slopes, by_activation)
}

/// Adjoint of lengths, speeds and moment arms: slopes of angles and velocities.
///
/// ∂L/∂qⱼ = Rⱼ, V = Σⱼ wⱼ Rⱼ, ∂Rⱼ/∂qⱼ = 2 p₂ⱼ.
#[inline(always)]
pub(super) fn geometry_adjoint<S: Simd, T: Real>(
    angle: OfJoints<S, T>,
    velocity: OfJoints<S, T>,
    slopes: &GeometrySlopes<S, T>,
) -> [OfJoints<S, T>; 2] {
    let arms = moment_arms(angle);
    let zero = angle[0].constant(0.0);
    let (mut of_angle, mut of_velocity) = ([zero; JOINTS], [zero; JOINTS]);
    for m in 0..MUSCLES {
        for j in 0..JOINTS {
            let of_arm = slopes.velocity[m].mul_add(velocity[j], slopes.arm[m][j]);
            of_angle[j] = slopes.length[m].mul_add(arms[m][j], of_angle[j]);
            of_angle[j] = of_arm.mul_add(of_arm.constant(2.0 * QUADRATIC_M[j][m]), of_angle[j]);
            of_velocity[j] = slopes.velocity[m].mul_add(arms[m][j], of_velocity[j]);
        }
    }
    [of_angle, of_velocity]
}
