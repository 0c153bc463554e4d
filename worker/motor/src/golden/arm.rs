//! The arm alone: driven open loop, under loads, its gradients, its muscle curves.

use tch::Tensor;

use super::FileError;
use super::comparison::{Comparison, Quantity};
use super::file::GoldenFile;
use crate::arm::{ArmState, Effector, GeometryState, JointState, Loads};
use crate::device::Numerics;

/// `arm_rollout`: every state of a batch driven by given excitations.
pub(super) fn open_loop(
    file: &GoldenFile,
    numerics: Numerics,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let _no_grad = tch::no_grad_guard();
    let effector = Effector::new(numerics);
    let (excitation, [_, rows, _]) = file.input_of::<3>("excitation", numerics)?;
    let joint = file.input("joint", numerics)?;
    let states = drive(
        &effector,
        effector.start_from(joint_state(&joint.get(0))),
        &excitation,
        None,
    );
    let sequence = |quantity: &dyn Fn(&ArmState) -> Tensor| {
        Tensor::stack(&states.iter().map(quantity).collect::<Vec<_>>(), 0)
    };
    let muscle = sequence(&|state| effector.muscle.table(&state.muscle));
    let mut compare = |name: &str, ours: &Tensor| comparison.stored(Quantity::OpenLoop, file, name, ours);
    compare("joint", &sequence(&|state| joint_row(state)))?;
    compare("cartesian", &sequence(&|state| cartesian(&effector, state)))?;
    // Some quantities are stored for the first trials only, others for the last.
    let geometry = sequence(&|state| geometry_table(&effector, state));
    for (name, ours) in [("muscle", &muscle), ("geometry", &geometry)] {
        if file.has(name) {
            let (_, [_, stored, ..]) = file.input_of::<4>(name, numerics)?;
            compare(name, &ours.narrow(1, 0, stored.min(rows)))?;
        }
    }
    for (name, row_of_table) in [("activation", 0), ("force", 6)] {
        if file.has(name) {
            let (_, [_, stored, _]) = file.input_of::<3>(name, numerics)?;
            let stored = stored.min(rows);
            compare(
                name,
                &muscle.narrow(1, rows - stored, stored).select(2, row_of_table),
            )?;
        }
    }
    Ok(())
}

/// `arm_extra`.
pub(super) fn loads_gradients_curves(
    file: &GoldenFile,
    numerics: Numerics,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let effector = Effector::new(numerics);
    for (group, compare) in GROUPS {
        if file.below(group).next().is_some() {
            compare(file, &effector, numerics, comparison)?;
        }
    }
    Ok(())
}

type Group = fn(&GoldenFile, &Effector, Numerics, &mut Comparison) -> Result<(), FileError>;

/// A file need not have them all.
const GROUPS: [(&str, Group); 3] = [("loads/", loads), ("grad/", gradients), ("curves/", curves)];

fn loads(
    file: &GoldenFile,
    effector: &Effector,
    numerics: Numerics,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let loads = Loads {
        joint_torque: file.input("loads/joint_load", numerics)?,
        endpoint_force: file.input("loads/endpoint_load", numerics)?,
    };
    let joint = file.input("loads/joint", numerics)?;
    let start = effector.start_from(joint_state(&joint.get(0)));
    let states = drive(
        effector,
        start,
        &file.input("loads/excitation", numerics)?,
        Some(&loads),
    );
    let ours = Tensor::stack(&states.iter().map(joint_row).collect::<Vec<_>>(), 0);
    comparison.stored(Quantity::OpenLoop, file, "loads/joint", &ours)
}

/// Gradients of a weighted sum of fingertips, activations, fibre lengths (m) and speeds (m/s) over all steps with
/// respect to excitations and start.
fn gradients(
    file: &GoldenFile,
    effector: &Effector,
    numerics: Numerics,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let input = |name: &str| file.input(&format!("grad/{name}"), numerics);
    let joint0 = input("joint0")?.set_requires_grad(true);
    let excitation = input("excitation")?.set_requires_grad(true);
    let [w_xy, w_activation, w_muscle] = [input("w_xy")?, input("w_activation")?, input("w_muscle")?];
    let states = drive(
        effector,
        effector.start_from(joint_state(&joint0)),
        &excitation,
        None,
    );
    let total = |tensor: Tensor| tensor.sum(None::<tch::Kind>);
    let value_of_step = |(step, state): (i64, &ArmState)| {
        let fibres = effector.muscle.table(&state.muscle).narrow(1, 1, 2);
        total(w_xy.get(step) * &state.fingertip)
            + total(w_activation.get(step) * &state.muscle.activation)
            + total(w_muscle.get(step) * fibres)
    };
    let value: Tensor = (0..).zip(&states).map(value_of_step).sum();
    let slopes = Tensor::run_backward(&[&value], &[&excitation, &joint0], false, false);
    let last = states.last().map(joint_row).unwrap_or_default();
    comparison.stored(Quantity::Gradient, file, "grad/value", &value.reshape([1]))?;
    comparison.stored(Quantity::OpenLoop, file, "grad/final_joint", &last)?;
    comparison.stored(Quantity::Gradient, file, "grad/d_excitation", &slopes[0])?;
    comparison.stored(Quantity::Gradient, file, "grad/d_joint0", &slopes[1])
}

/// The muscle law and the slopes of its force.
fn curves(
    file: &GoldenFile,
    effector: &Effector,
    numerics: Numerics,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let input = |name: &str| {
        Ok::<_, FileError>(
            file.input(&format!("curves/{name}"), numerics)?
                .set_requires_grad(true),
        )
    };
    let [activation, length, velocity] = [
        input("activation_in")?,
        input("path_length")?,
        input("path_velocity")?,
    ];
    let geometry = GeometryState {
        deviation: numerics.zeros(&[length.size()[0], 2]),
        length: length.shallow_clone(),
        velocity: velocity.shallow_clone(),
    };
    let state = effector.muscle.state(activation.clamp(0.0, 1.0), &geometry);
    let force = state.force.sum(None::<tch::Kind>);
    let slopes = Tensor::run_backward(&[&force], &[&length, &velocity, &activation], false, false);
    let mut compare =
        |name: &str, ours: &Tensor| comparison.stored(Quantity::Curve, file, &format!("curves/{name}"), ours);
    compare("muscle", &effector.muscle.table(&state))?;
    compare("dforce_dlength", &slopes[0])?;
    compare("dforce_dvelocity", &slopes[1])?;
    compare("dforce_dactivation", &slopes[2])
}

/// All states from the start on under excitations `[T, batch, muscle]`.
fn drive(effector: &Effector, start: ArmState, excitation: &Tensor, loads: Option<&Loads>) -> Vec<ArmState> {
    let mut states = vec![start];
    for excitation in excitation.unbind(0) {
        let next = effector.step(&states[states.len() - 1], &excitation, loads);
        states.push(next);
    }
    states
}

fn joint_state(row: &Tensor) -> JointState {
    JointState {
        angle: row.narrow(1, 0, 2),
        velocity: row.narrow(1, 2, 2),
    }
}

fn joint_row(state: &ArmState) -> Tensor {
    Tensor::cat(&[&state.joint.angle, &state.joint.velocity], 1)
}

fn cartesian(effector: &Effector, state: &ArmState) -> Tensor {
    let velocity = effector
        .skeleton
        .fingertip_velocity(&state.pose, &state.joint.velocity);
    Tensor::cat(&[&state.fingertip, &velocity], 1)
}

/// Path length, speed, moment arms: `[batch, 4, muscle]`.
fn geometry_table(effector: &Effector, state: &ArmState) -> Tensor {
    let GeometryState { length, velocity, .. } = &state.geometry;
    let arms = effector.geometry.moment_arms(&state.geometry);
    Tensor::cat(&[&length.unsqueeze(1), &velocity.unsqueeze(1), &arms], 1)
}
