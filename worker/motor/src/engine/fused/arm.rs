//! One step of the arm for as many trials as a vector has lanes, and its adjoint.
//!
//! The formulas are those of [`crate::arm`]; `docs/engine.md` derives the adjoint line by line, in this order and
//! with these names. In the adjoint, `slope` of a quantity is the derivative of the total loss with respect to it.

use pulp::Simd;

use super::real::{Lanes, Real, each};
use crate::arm::geometry::{LENGTH_M, LINEAR_M, QUADRATIC_M, REFERENCE_RAD};
use crate::arm::muscle::{
    ACTIVE_FROM, FALL_S, HUMPS, MAX_FORCE_N, MAX_SPEED_FACTOR, MIN_FIBRE_M, OPTIMAL_M, PASSIVE_SCALE,
    PASSIVE_WIDTH, RISE_S, TENDON_M, UNIT_SPEED_M_S,
};
use crate::arm::skeleton::{
    COUPLING, ELBOW_INERTIA, FOREARM_M, MAX_VELOCITY_RAD_S, SHOULDER_INERTIA, UPPER_ARM_M,
};
use crate::arm::{DT_S, JOINTS, MUSCLES, UPPER_ANGLES_RAD};

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

/// Joint torques of a force at the fingertip, Jᵀ f.
#[inline(always)]
pub(crate) fn fingertip_adjoint<S: Simd, T: Real>(
    angle: OfJoints<S, T>,
    slope: [Lanes<S, T>; 2],
) -> OfJoints<S, T> {
    let (sin1, cos1) = angle[0].sin_cos();
    let (sin12, cos12) = (angle[0] + angle[1]).sin_cos();
    let [x, y] = slope;
    let elbow = (y * cos12 - x * sin12) * FOREARM_M;
    [(y * cos1 - x * sin1) * UPPER_ARM_M + elbow, elbow]
}

#[inline(always)]
fn sensed<S: Simd, T: Real>(angle: OfJoints<S, T>, fibres: &[Fibre<S, T>; MUSCLES]) -> Sensed<S, T> {
    let (sin1, cos1) = angle[0].sin_cos();
    let (sin12, cos12) = (angle[0] + angle[1]).sin_cos();
    Sensed {
        fingertip: [
            cos1 * UPPER_ARM_M + cos12 * FOREARM_M,
            sin1 * UPPER_ARM_M + sin12 * FOREARM_M,
        ],
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

#[inline(always)]
fn clip<S: Simd, T: Real>(u: Lanes<S, T>) -> Lanes<S, T> {
    u.at_least(0.0).at_most(1.0)
}

/// A slope where clipping to [0, 1] lets it through.
#[inline(always)]
fn within_unit<S: Simd, T: Real>(value: Lanes<S, T>, slope: Lanes<S, T>) -> Lanes<S, T> {
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
fn activate<S: Simd, T: Real>(a: Lanes<S, T>, u: Lanes<S, T>) -> Lanes<S, T> {
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
fn activate_adjoint<S: Simd, T: Real>(
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
struct Fibre<S: Simd, T: Real> {
    /// Before the floor, m.
    raw_length: Lanes<S, T>,
    length: Lanes<S, T>,
    speed: Lanes<S, T>,
}

#[inline(always)]
fn fibres<S: Simd, T: Real>(angle: OfJoints<S, T>, velocity: OfJoints<S, T>) -> [Fibre<S, T>; MUSCLES] {
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
            Fibre {
                raw_length,
                length: raw_length.at_least(MIN_FIBRE_M) * (1.0 / OPTIMAL_M[m]),
                speed: stretching * (1.0 / UNIT_SPEED_M_S),
            }
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
fn moment_arms<S: Simd, T: Real>(angle: OfJoints<S, T>) -> [OfJoints<S, T>; MUSCLES] {
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
    /// F = Fmax (a f_l f_v + f_p), N.
    #[inline(always)]
    fn force(&self, muscle: usize, activation: Lanes<S, T>) -> Lanes<S, T> {
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
struct GeometrySlopes<S: Simd, T: Real> {
    /// Path lengths, m, and speeds, m/s.
    length: OfMuscles<S, T>,
    velocity: OfMuscles<S, T>,
    /// Moment arms, m, other than through the speeds.
    arm: [OfJoints<S, T>; MUSCLES],
}

/// Adjoint of the muscle law: slopes of the geometry (none of the moment arms) and of the activations.
#[inline(always)]
fn muscle_adjoint<S: Simd, T: Real>(
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
fn geometry_adjoint<S: Simd, T: Real>(
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

/// M a = τ − c at an old state: the parts of M⁻¹ and the net torque.
struct Dynamics<S: Simd, T: Real> {
    k_sin: Lanes<S, T>,
    k_cos: Lanes<S, T>,
    m11: Lanes<S, T>,
    m12: Lanes<S, T>,
    per_determinant: Lanes<S, T>,
    net: OfJoints<S, T>,
}

impl<S: Simd, T: Real> Dynamics<S, T> {
    #[inline(always)]
    fn new(old: &ArmLanes<S, T>, torque: OfJoints<S, T>) -> Self {
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
    fn solve(&self, right: OfJoints<S, T>) -> OfJoints<S, T> {
        let [r1, r2] = right;
        [
            (r1 * ELBOW_INERTIA - self.m12 * r2) * self.per_determinant,
            (self.m11 * r2 - self.m12 * r1) * self.per_determinant,
        ]
    }

    #[inline(always)]
    fn acceleration(&self) -> OfJoints<S, T> {
        self.solve(self.net)
    }

    /// Slopes of angles and velocities through M and c, from the slope `net` of the net torque.
    ///
    /// The slope of M is −net aᵀ, and dM/dq₂ = −k sin q₂ [[2, 1], [1, 0]].
    #[inline(always)]
    fn adjoint(
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
struct Moved<S: Simd, T: Real> {
    raw_angle: OfJoints<S, T>,
    raw_velocity: OfJoints<S, T>,
    slowest: OfJoints<S, T>,
    fastest: OfJoints<S, T>,
}

impl<S: Simd, T: Real> Moved<S, T> {
    #[inline(always)]
    fn new(old: &ArmLanes<S, T>, acceleration: OfJoints<S, T>) -> Self {
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
    fn angle(&self) -> OfJoints<S, T> {
        each(
            #[inline(always)]
            |j| self.raw_angle[j].at_least(0.0).at_most(UPPER_ANGLES_RAD[j]),
        )
    }

    #[inline(always)]
    fn velocity(&self) -> OfJoints<S, T> {
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
    fn adjoint(&self, angle: OfJoints<S, T>, velocity: OfJoints<S, T>) -> (OfJoints<S, T>, OfJoints<S, T>) {
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
