//! The arm's mechanics: energy, limits, the order of muscles, independence of rows, slopes.

// libtorch counts in i64.
#![allow(clippy::cast_possible_wrap)]

use motif_motor::arm::{Effector, JointState, MUSCLES, start_angles_rad, start_fingertip_m};
use motif_motor::device::{Numerics, Precision, set_intra_op_threads};
use proptest::prelude::*;
use tch::{Kind, Tensor};

fn numerics() -> Numerics {
    set_intra_op_threads(1);
    Numerics::cpu(Precision::F64)
}

fn row(values: &[f64]) -> Tensor {
    numerics().tensor(values, &[1, values.len() as i64])
}

fn pair(tensor: &Tensor) -> [f64; 2] {
    [tensor.double_value(&[0, 0]), tensor.double_value(&[0, 1])]
}

/// Kinetic energy of two rods, from the velocities of their centres of mass. J.
fn kinetic_energy([q1, q2]: [f64; 2], [w1, w2]: [f64; 2]) -> f64 {
    let (upper_arm, upper_centre, fore_centre) = (0.309, 0.135, 0.165);
    let (masses, inertias) = ([1.82, 1.43], [0.051, 0.057]);
    let elbow_x = -upper_arm * q1.sin() * w1;
    let elbow_y = upper_arm * q1.cos() * w1;
    let fore_x = elbow_x - fore_centre * (q1 + q2).sin() * (w1 + w2);
    let fore_y = elbow_y + fore_centre * (q1 + q2).cos() * (w1 + w2);
    let upper = 0.5 * (masses[0] * upper_centre * upper_centre + inertias[0]) * w1 * w1;
    let fore = 0.5 * masses[1] * (fore_x * fore_x + fore_y * fore_y) + 0.5 * inertias[1] * (w1 + w2).powi(2);
    upper + fore
}

fn angles() -> impl Strategy<Value = [f64; 2]> {
    [0.0..2.35, 0.0..2.7]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn joint_torques_change_the_energy_by_their_power(
        q in angles(), w in [-8.0..8.0, -8.0..8.0], torque in [-20.0..20.0, -20.0..20.0],
    ) {
        let arm = Effector::new(numerics());
        let pose = arm.skeleton.pose(&row(&q));
        let [a1, a2] = pair(&arm.skeleton.acceleration(&pose, &row(&w), &row(&torque)));
        // dE/dt along the motion, by a central difference.
        let energy_at = |t: f64| kinetic_energy([q[0] + w[0] * t, q[1] + w[1] * t], [w[0] + a1 * t, w[1] + a2 * t]);
        let change = (energy_at(1e-5) - energy_at(-1e-5)) / 2e-5;
        let power = torque[0] * w[0] + torque[1] * w[1];
        prop_assert!((change - power).abs() < 1e-5 * (1.0 + power.abs() + energy_at(0.0)), "{change}, not {power}");
    }

    #[test]
    fn moment_arms_are_slopes_of_the_path_lengths_and_give_the_torque(
        q in angles(), w in [-8.0..8.0, -8.0..8.0], force in prop::collection::vec(0.0..1500.0, MUSCLES),
    ) {
        let geometry = Effector::new(numerics()).geometry;
        let state_at = |q: [f64; 2]| geometry.state(&JointState { angle: row(&q), velocity: row(&w) });
        let state = state_at(q);
        let arms = geometry.moment_arms(&state);
        let torque = pair(&geometry.torque(&state, &row(&force)));
        for joint in 0..2 {
            let moved = |by: f64| {
                let mut moved = q;
                moved[joint] += by;
                state_at(moved).length
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            let arm = arms.select(1, joint as i64);
            prop_assert!((&slope - &arm).abs().max().double_value(&[]) < 1e-9);
            let by_force = -(arm * row(&force)).sum(Kind::Double).double_value(&[]);
            prop_assert!((torque[joint] - by_force).abs() < 1e-9);
        }
        let speed = (arms * row(&w).unsqueeze(-1)).sum_dim_intlist(1, false, None);
        prop_assert!((speed - state.velocity).abs().max().double_value(&[]) < 1e-12);
    }
}

#[test]
fn the_arm_never_leaves_its_joint_ranges_and_pushes_against_none() {
    let _no_grad = tch::no_grad_guard();
    tch::manual_seed(1);
    let arm = Effector::new(numerics());
    let rows = 64;
    let mut state = arm.start(rows);
    let upper = Tensor::from_slice(&[135.0_f64.to_radians(), 155.0_f64.to_radians()]);
    let mut contacts = 0;
    for step in 0..400 {
        if step % 20 == 0 {
            // New drive: flexors or extensors, strongly.
            state = arm.step(
                &state,
                &Tensor::rand([rows, 6], (Kind::Double, tch::Device::Cpu)),
                None,
            );
        }
        let drive = Tensor::rand([rows, 1], (Kind::Double, tch::Device::Cpu))
            .gt(0.5)
            .to_kind(Kind::Double);
        let drive = drive * Tensor::from_slice(&[1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        state = arm.step(&state, &drive, None);
        let (q, w) = (&state.joint.angle, &state.joint.velocity);
        let (at_lower, at_upper) = (q.le(0.0), q.ge_tensor(&upper));
        assert!(q.ge(0.0).all().int64_value(&[]) == 1 && q.le_tensor(&upper).all().int64_value(&[]) == 1);
        let outwards = at_lower
            .logical_and(&w.lt(0.0))
            .logical_or(&at_upper.logical_and(&w.gt(0.0)));
        assert_eq!(outwards.any().int64_value(&[]), 0);
        contacts += at_lower.logical_or(&at_upper).sum(Kind::Int64).int64_value(&[]);
    }
    assert!(contacts > 100, "only {contacts} contacts: nothing was tested");
}

#[test]
fn the_start_is_that_of_the_model() {
    let [q1, q2] = start_angles_rad();
    assert!((q1 - 1.278_097_245_096_172).abs() < 1e-15 && (q2 - 1.852_630_170_295_606).abs() < 1e-15);
    let [x, y] = start_fingertip_m();
    assert!((x + 0.243_822_238_606).abs() < 1e-12 && (y - 0.299_475_843_614).abs() < 1e-12);
    let start = Effector::new(numerics()).start(1);
    let lengths = [0.901_351, 1.124_422, 0.806_894, 0.938_331, 0.645_804, 0.926_888];
    assert!(
        (&start.muscle.length - row(&lengths))
            .abs()
            .max()
            .double_value(&[])
            < 1e-6
    );
    // Only the deltoid is stretched beyond its optimal length.
    let tension = [0.0, 27.984_30, 0.0, 0.0, 0.0, 0.0];
    assert!(
        (&start.muscle.force - row(&tension))
            .abs()
            .max()
            .double_value(&[])
            < 1e-5
    );
}

#[test]
fn one_step_of_half_excitation_gives_the_published_values() {
    let arm = Effector::new(numerics());
    let start = arm.start(1);
    let next = arm.step(&start, &row(&[0.5; 6]), None);
    assert_eq!(
        next.muscle.activation,
        row(&[1.0; 6]),
        "the first step overshoots and is clipped"
    );
    let [w1, w2] = pair(&next.joint.velocity);
    assert!((w1 + 0.038_791_418_272).abs() < 1e-12 && (w2 - 0.030_592_052_924).abs() < 1e-12);
    assert_eq!(
        pair(&next.joint.angle),
        pair(&start.joint.angle),
        "angles move with the old velocity"
    );
}

#[test]
fn the_muscle_law_passes_its_landmarks() {
    let muscle = Effector::new(numerics()).muscle;
    // Rows of the pectoralis: fibre length in optimal lengths, speed over 1.5 m/s, then fp, fl, fv.
    let landmarks = [
        (0.5, 0.0, 0.0, 0.0, 1.0),
        (1.0, -1.0, 0.0, 1.0, 0.0),
        (1.0, -2.0, 0.0, 1.0, 0.0),
        (1.0, -0.5, 0.0, 1.0, 0.25),
        (1.3, 0.2, 0.325, 0.5, 1.2),
        (1.6, 5.0, 0.325 * 4.0, 0.0, 1.2),
        (0.725, 0.0, 0.0, 0.555, 1.0),
    ];
    for (length, speed, passive, factor, speed_factor) in landmarks {
        let geometry = motif_motor::arm::GeometryState {
            length: Tensor::full([1, 6], length * 0.134 + 0.039, (Kind::Double, tch::Device::Cpu)),
            velocity: Tensor::full([1, 6], speed * 1.5, (Kind::Double, tch::Device::Cpu)),
            deviation: numerics().zeros(&[1, 2]),
        };
        let state = muscle.state(numerics().ones(&[1, 6]), &geometry);
        let of_pectoralis = |tensor: &Tensor| tensor.double_value(&[0, 0]);
        assert!(
            (of_pectoralis(&state.passive) - passive).abs() < 1e-12,
            "fp at {length}"
        );
        assert!(
            (of_pectoralis(&state.length_factor) - factor).abs() < 1e-12,
            "fl at {length}"
        );
        assert!(
            (of_pectoralis(&state.speed_factor) - speed_factor).abs() < 1e-12,
            "fv at {speed}"
        );
        let force = 838.0 * (factor * speed_factor + passive);
        assert!((of_pectoralis(&state.force) - force).abs() < 1e-9);
    }
}

#[test]
fn a_row_of_a_batch_moves_as_it_does_alone() {
    let _no_grad = tch::no_grad_guard();
    tch::manual_seed(2);
    let arm = Effector::new(numerics());
    let drive = Tensor::rand([50, 5, 6], (Kind::Double, tch::Device::Cpu));
    let last_fingertip = |drive: &Tensor| {
        let start = arm.start(drive.size()[1]);
        drive
            .unbind(0)
            .iter()
            .fold(start, |state, drive| arm.step(&state, drive, None))
            .fingertip
    };
    let together = last_fingertip(&drive);
    for index in 0..5 {
        let alone = last_fingertip(&drive.narrow(1, index, 1));
        assert!(
            (together.narrow(0, index, 1) - alone)
                .abs()
                .max()
                .double_value(&[])
                < 1e-13
        );
    }
}
