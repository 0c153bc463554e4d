//! The arm alone, one at a time: driven open loop, its slopes, and the curves of its muscles. For comparisons with
//! other programs; training never runs an arm without a network.

use pulp::bytemuck::cast_slice;
use pulp::{Arch, Simd, WithSimd};

use super::arm::{self, ArmLanes, OfJoints, OfMuscles, SENSED_SIZE, STATE_SIZE, Sensed, start_adjoint};
use super::muscles::{Fibre, GeometrySlopes, fibres, moment_arms, muscle_adjoint, within_unit};
use super::real::{Lanes, Real, each};
use super::skeleton::fingertip_adjoint;
use crate::arm::muscle::{OPTIMAL_M, TENDON_M, UNIT_SPEED_M_S};
use crate::arm::{JOINTS, MUSCLES};
use crate::device::Precision;

/// What drives an arm. Computed in single or double precision; numbers are handed over in double.
#[derive(Clone, Debug)]
pub(crate) struct Drive {
    /// Angles and velocities at the start.
    pub joint: [f64; 2 * JOINTS],
    /// For every step.
    pub excitation: Vec<[f64; MUSCLES]>,
    /// Outer joint torque, N m, and force at the fingertip, N.
    pub torque: [f64; JOINTS],
    pub force: [f64; 2],
    /// Slopes of a value with respect to what is sensed, and to the activations, at every instant; empty when no
    /// slopes are asked for.
    pub seeds: Vec<([f64; SENSED_SIZE], [f64; MUSCLES])>,
}

/// An instant of a driven arm.
#[derive(Clone, Debug)]
pub(crate) struct Instant {
    /// Angles, velocities.
    pub joint: [f64; 2 * JOINTS],
    pub fingertip: [f64; 2],
    /// Activation, fibre length (m), fibre speed (m/s), passive force, length factor, speed factor, force (N).
    pub muscle: [[f64; MUSCLES]; 7],
    /// Path length (m), path speed (m/s), moment arms of shoulder and elbow (m).
    pub geometry: [[f64; MUSCLES]; 4],
}

/// Slopes of the value that the seeds describe.
#[derive(Clone, Debug, Default)]
pub(crate) struct DriveSlopes {
    pub excitation: Vec<[f64; MUSCLES]>,
    pub joint: [f64; 2 * JOINTS],
}

impl Drive {
    /// Every instant from the start on, and the slopes where seeds are given.
    pub(crate) fn run(&self, precision: Precision) -> (Vec<Instant>, DriveSlopes) {
        match precision {
            Precision::F32 => Arch::new().dispatch(Run::<f32>(self, std::marker::PhantomData)),
            Precision::F64 => Arch::new().dispatch(Run::<f64>(self, std::marker::PhantomData)),
        }
    }
}

struct Run<'a, T>(&'a Drive, std::marker::PhantomData<T>);

impl<T: Real> WithSimd for Run<'_, T> {
    type Output = (Vec<Instant>, DriveSlopes);

    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self(drive, _) = self;
        let [q1, q2, w1, w2] = splat::<S, T, 4>(simd, drive.joint);
        let (angle, velocity) = ([q1, q2], [w1, w2]);
        let outer = |state: &ArmLanes<S, T>| -> OfJoints<S, T> {
            let torque = splat::<S, T, 2>(simd, drive.torque);
            let of_force = fingertip_adjoint(state.angle, splat(simd, drive.force));
            [torque[0] + of_force[0], torque[1] + of_force[1]]
        };
        let mut history = vec![arm::start(angle, velocity)];
        for &excitation in &drive.excitation {
            let (old, _) = history[history.len() - 1];
            history.push(arm::step(&old, splat(simd, excitation), outer(&old)));
        }
        let instants = history
            .iter()
            .map(|(state, sensed)| instant(state, sensed))
            .collect();
        if drive.seeds.is_empty() {
            return (instants, DriveSlopes::default());
        }

        let mut slopes = ArmLanes::from_array(splat(simd, [0.0; STATE_SIZE]));
        let mut of_excitation = vec![[0.0; MUSCLES]; drive.excitation.len()];
        let seed = |slopes: &mut ArmLanes<S, T>, at: usize| -> Sensed<S, T> {
            let (of_sensed, of_activation) = drive.seeds[at];
            let of_activation = splat::<S, T, MUSCLES>(simd, of_activation);
            for (slope, seed) in slopes.activation.iter_mut().zip(of_activation) {
                *slope = *slope + seed;
            }
            Sensed::from_array(splat(simd, of_sensed))
        };
        for step in (0..drive.excitation.len()).rev() {
            let sensed = seed(&mut slopes, step + 1);
            let (old, _) = history[step];
            let excitation = splat(simd, drive.excitation[step]);
            let of_inputs;
            (slopes, of_inputs) = arm::step_adjoint(&old, excitation, outer(&old), &slopes, &sensed);
            of_excitation[step] = numbers(of_inputs);
        }
        let sensed = seed(&mut slopes, 0);
        let [of_angle, of_velocity] = start_adjoint(angle, velocity, &slopes, &sensed);
        let joint = [of_angle[0], of_angle[1], of_velocity[0], of_velocity[1]];
        let slopes = DriveSlopes {
            excitation: of_excitation,
            joint: numbers(joint),
        };
        (instants, slopes)
    }
}

fn instant<S: Simd, T: Real>(state: &ArmLanes<S, T>, sensed: &Sensed<S, T>) -> Instant {
    let curves: OfMuscles<S, T> = sensed.length;
    let fibre = |m: usize| Fibre::at(curves[m] * OPTIMAL_M[m], sensed.speed[m] * UNIT_SPEED_M_S, m);
    let of_fibres: [[f64; 3]; MUSCLES] = each(|m| numbers(fibre(m).factors()));
    let here = fibres(state.angle, state.velocity);
    let arms = moment_arms(state.angle);
    let scaled = |values: OfMuscles<S, T>, scales: [f64; MUSCLES]| -> [f64; MUSCLES] {
        numbers(each(|m| values[m] * scales[m]))
    };
    Instant {
        joint: numbers([
            state.angle[0],
            state.angle[1],
            state.velocity[0],
            state.velocity[1],
        ]),
        fingertip: numbers(sensed.fingertip),
        muscle: [
            numbers(state.activation),
            scaled(sensed.length, OPTIMAL_M),
            scaled(sensed.speed, [UNIT_SPEED_M_S; MUSCLES]),
            each(|m| of_fibres[m][0]),
            each(|m| of_fibres[m][1]),
            each(|m| of_fibres[m][2]),
            numbers(state.force),
        ],
        geometry: [
            numbers(each(|m| here[m].raw_length + TENDON_M[m])),
            numbers(each(|m| here[m].speed * UNIT_SPEED_M_S)),
            numbers(each(|m| arms[m][0])),
            numbers(each(|m| arms[m][1])),
        ],
    }
}

/// The muscle law at activations, path lengths (m) and path speeds (m/s) of the six muscles.
#[derive(Clone, Debug)]
pub(crate) struct MuscleLaw {
    pub activation: [f64; MUSCLES],
    pub length: [f64; MUSCLES],
    pub velocity: [f64; MUSCLES],
}

/// Rows as in [`Instant::muscle`], and the slopes of the forces by path length, path speed and activation.
#[derive(Clone, Debug)]
pub(crate) struct MuscleCurves {
    pub muscle: [[f64; MUSCLES]; 7],
    pub slopes: [[f64; MUSCLES]; 3],
}

impl MuscleLaw {
    pub(crate) fn run(&self, precision: Precision) -> MuscleCurves {
        match precision {
            Precision::F32 => Arch::new().dispatch(Law::<f32>(self, std::marker::PhantomData)),
            Precision::F64 => Arch::new().dispatch(Law::<f64>(self, std::marker::PhantomData)),
        }
    }
}

struct Law<'a, T>(&'a MuscleLaw, std::marker::PhantomData<T>);

impl<T: Real> WithSimd for Law<'_, T> {
    type Output = MuscleCurves;

    fn with_simd<S: Simd>(self, simd: S) -> MuscleCurves {
        let Self(law, _) = self;
        let given: OfMuscles<S, T> = splat(simd, law.activation);
        let activation: OfMuscles<S, T> = each(|m| given[m].at_least(0.0).at_most(1.0));
        let length: OfMuscles<S, T> = splat(simd, law.length);
        let velocity: OfMuscles<S, T> = splat(simd, law.velocity);
        let fibres: [Fibre<S, T>; MUSCLES] = each(|m| Fibre::at(length[m] - TENDON_M[m], velocity[m], m));
        let one = splat(simd, [1.0; MUSCLES]);
        let silent = Sensed::from_array(splat(simd, [0.0; SENSED_SIZE]));
        let (GeometrySlopes { length, velocity, .. }, by_activation) =
            muscle_adjoint(&fibres, activation, one, &silent);
        let factors: [[f64; 3]; MUSCLES] = each(|m| numbers(fibres[m].factors()));
        MuscleCurves {
            muscle: [
                numbers(activation),
                numbers(each(|m| fibres[m].length * OPTIMAL_M[m])),
                numbers(each(|m| fibres[m].speed * UNIT_SPEED_M_S)),
                each(|m| factors[m][0]),
                each(|m| factors[m][1]),
                each(|m| factors[m][2]),
                numbers(each(|m| fibres[m].force(m, activation[m]))),
            ],
            slopes: [
                numbers(length),
                numbers(velocity),
                numbers(each(|m| within_unit(given[m], by_activation[m]))),
            ],
        }
    }
}

fn splat<S: Simd, T: Real, const N: usize>(simd: S, values: [f64; N]) -> [Lanes<S, T>; N] {
    each(|index| Lanes::splat(simd, values[index]))
}

/// The first lane of each.
fn numbers<S: Simd, T: Real, const N: usize>(lanes: [Lanes<S, T>; N]) -> [f64; N] {
    each(|index| {
        let packs = [lanes[index].pack];
        cast_slice::<_, T>(&packs)[0].into()
    })
}
