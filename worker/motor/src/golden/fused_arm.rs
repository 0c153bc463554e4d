//! The arm alone by the fused engine: driven open loop, under loads, its gradients, its muscle curves.

use tch::{Kind, Tensor};

use super::FileError;
use super::comparison::{Comparison, Quantity};
use super::file::GoldenFile;
use crate::arm::muscle::{OPTIMAL_M, UNIT_SPEED_M_S};
use crate::arm::{JOINTS, MUSCLES, Skeleton};
use crate::device::{Numerics, Precision};
use crate::engine::{Drive, Instant, MuscleLaw};

/// `arm_rollout`.
pub(super) fn open_loop(
    file: &GoldenFile,
    numerics: Numerics,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let joint = numbers(&file.input("joint", numerics)?.get(0));
    let (excitation, [_, rows, _]) = file.input_of::<3>("excitation", numerics)?;
    let drives = drives(&joint, &numbers(&excitation), rows as usize);
    let arms: Vec<Vec<Instant>> = drives
        .iter()
        .map(|drive| drive.run(numerics.precision()).0)
        .collect();
    let mut compare = |name: &str, ours: &Tensor| comparison.stored(Quantity::OpenLoop, file, name, ours);
    let joint = sequence(&arms, &[4], &|instant| instant.joint.to_vec());
    compare("joint", &joint)?;
    compare("cartesian", &cartesian(&arms, &joint))?;
    let muscle = sequence(&arms, &[7, 6], &|instant| instant.muscle.as_flattened().to_vec());
    let geometry = sequence(&arms, &[4, 6], &|instant| {
        instant.geometry.as_flattened().to_vec()
    });
    // Some quantities are stored for the first trials only, others for the last.
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
    for (group, compare) in GROUPS {
        if file.below(group).next().is_some() {
            compare(file, numerics, comparison)?;
        }
    }
    Ok(())
}

type Group = fn(&GoldenFile, Numerics, &mut Comparison) -> Result<(), FileError>;

/// A file need not have them all.
const GROUPS: [(&str, Group); 3] = [("loads/", loads), ("grad/", gradients), ("curves/", curves)];

fn loads(file: &GoldenFile, numerics: Numerics, comparison: &mut Comparison) -> Result<(), FileError> {
    let input = |name: &str| Ok::<_, FileError>(numbers(&file.input(&format!("loads/{name}"), numerics)?));
    let joint = numbers(&file.input("loads/joint", numerics)?.get(0));
    let (torque, force) = (input("joint_load")?, input("endpoint_load")?);
    let rows = joint.len() / (2 * JOINTS);
    let mut drives = drives(&joint, &input("excitation")?, rows);
    let loads = torque.chunks_exact(JOINTS).zip(force.chunks_exact(2));
    for (drive, (torque, force)) in drives.iter_mut().zip(loads) {
        drive.torque = array(torque);
        drive.force = array(force);
    }
    let arms: Vec<Vec<Instant>> = drives
        .iter()
        .map(|drive| drive.run(numerics.precision()).0)
        .collect();
    let ours = sequence(&arms, &[4], &|instant| instant.joint.to_vec());
    comparison.stored(Quantity::OpenLoop, file, "loads/joint", &ours)
}

fn gradients(file: &GoldenFile, numerics: Numerics, comparison: &mut Comparison) -> Result<(), FileError> {
    let input = |name: &str| Ok::<_, FileError>(numbers(&file.input(&format!("grad/{name}"), numerics)?));
    let (joint, excitation) = (input("joint0")?, input("excitation")?);
    let [w_xy, w_activation, w_muscle] = [input("w_xy")?, input("w_activation")?, input("w_muscle")?];
    let rows = joint.len() / (2 * JOINTS);
    let steps = excitation.len() / (rows * MUSCLES);
    let mut drives = drives(&joint, &excitation, rows);
    for (row, drive) in drives.iter_mut().enumerate() {
        drive.seeds = (0..=steps)
            .map(|instant| {
                let at = instant * rows + row;
                let tip = &w_xy[at * 2..][..2];
                let (lengths, speeds) = w_muscle[at * 2 * MUSCLES..][..2 * MUSCLES].split_at(MUSCLES);
                // The file weighs fibre lengths in metres and speeds in metres a second.
                let lengths = lengths.iter().zip(OPTIMAL_M).map(|(weight, unit)| weight * unit);
                let speeds = speeds.iter().map(|weight| weight * UNIT_SPEED_M_S);
                let of_sensed: Vec<f64> = tip.iter().copied().chain(lengths).chain(speeds).collect();
                (array(&of_sensed), array(&w_activation[at * MUSCLES..][..MUSCLES]))
            })
            .collect();
    }
    let mut value = 0.0;
    let (mut arms, mut of_excitation, mut of_joint) = (Vec::new(), Vec::new(), Vec::new());
    for (row, drive) in drives.iter().enumerate() {
        let (instants, slopes) = drive.run(numerics.precision());
        for (index, (instant, (_, activation))) in instants.iter().zip(&drive.seeds).enumerate() {
            let at = index * rows + row;
            let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
            value += dot(&w_xy[at * 2..][..2], &instant.fingertip) + dot(activation, &instant.muscle[0]);
            let (lengths, speeds) = w_muscle[at * 2 * MUSCLES..][..2 * MUSCLES].split_at(MUSCLES);
            value += dot(lengths, &instant.muscle[1]) + dot(speeds, &instant.muscle[2]);
        }
        of_excitation.push(slopes.excitation);
        of_joint.extend(slopes.joint);
        arms.push(instants);
    }
    let by_step: Vec<f64> = (0..steps)
        .flat_map(|step| of_excitation.iter().flat_map(move |of_row| of_row[step]))
        .collect();
    let last: Vec<f64> = arms.iter().flat_map(|instants| instants[steps].joint).collect();
    let tensor = |values: &[f64], shape: &[i64]| Tensor::from_slice(values).reshape(shape);
    let rows = rows as i64;
    comparison.stored(Quantity::Gradient, file, "grad/value", &tensor(&[value], &[1]))?;
    comparison.stored(
        Quantity::OpenLoop,
        file,
        "grad/final_joint",
        &tensor(&last, &[rows, 4]),
    )?;
    let of_excitation = tensor(&by_step, &[steps as i64, rows, 6]);
    comparison.stored(Quantity::Gradient, file, "grad/d_excitation", &of_excitation)?;
    comparison.stored(
        Quantity::Gradient,
        file,
        "grad/d_joint0",
        &tensor(&of_joint, &[rows, 4]),
    )
}

fn curves(file: &GoldenFile, numerics: Numerics, comparison: &mut Comparison) -> Result<(), FileError> {
    let input = |name: &str| Ok::<_, FileError>(numbers(&file.input(&format!("curves/{name}"), numerics)?));
    let [activation, length, velocity] = [
        input("activation_in")?,
        input("path_length")?,
        input("path_velocity")?,
    ];
    let (mut muscle, mut slopes) = (Vec::new(), [Vec::new(), Vec::new(), Vec::new()]);
    let rows = activation.chunks_exact(MUSCLES).zip(length.chunks_exact(MUSCLES));
    for ((activation, length), velocity) in rows.zip(velocity.chunks_exact(MUSCLES)) {
        let law = MuscleLaw {
            activation: array(activation),
            length: array(length),
            velocity: array(velocity),
        };
        let curves = law.run(numerics.precision());
        muscle.extend(curves.muscle.as_flattened());
        for (all, of_row) in slopes.iter_mut().zip(curves.slopes) {
            all.extend(of_row);
        }
    }
    let tensor = |values: &[f64], shape: &[i64]| Tensor::from_slice(values).reshape(shape);
    let mut compare =
        |name: &str, ours: &Tensor| comparison.stored(Quantity::Curve, file, &format!("curves/{name}"), ours);
    compare("muscle", &tensor(&muscle, &[-1, 7, 6]))?;
    for (name, slopes) in ["dforce_dlength", "dforce_dvelocity", "dforce_dactivation"]
        .into_iter()
        .zip(&slopes)
    {
        compare(name, &tensor(slopes, &[-1, 6]))?;
    }
    Ok(())
}

/// An arm for each row of joints `[rows, 4]`, driven by excitations `[T, rows, 6]`.
fn drives(joint: &[f64], excitation: &[f64], rows: usize) -> Vec<Drive> {
    let of_row = |row: usize| {
        let steps = excitation.chunks_exact(rows * MUSCLES);
        Drive {
            joint: array(&joint[row * 4..][..4]),
            excitation: steps
                .map(|step| array(&step[row * MUSCLES..][..MUSCLES]))
                .collect(),
            torque: [0.0; JOINTS],
            force: [0.0; 2],
            seeds: Vec::new(),
        }
    };
    (0..rows).map(of_row).collect()
}

/// `[T + 1, rows, …]` of what is read of each instant.
fn sequence(arms: &[Vec<Instant>], shape: &[i64], read: &dyn Fn(&Instant) -> Vec<f64>) -> Tensor {
    let instants = arms.first().map_or(0, Vec::len);
    let values: Vec<f64> = (0..instants)
        .flat_map(|instant| arms.iter().flat_map(move |arm| read(&arm[instant])))
        .collect();
    let size = [&[instants as i64, arms.len() as i64], shape].concat();
    Tensor::from_slice(&values).reshape(size)
}

/// Fingertips, and their velocities from the joints' (which the engine has no need of).
fn cartesian(arms: &[Vec<Instant>], joint: &Tensor) -> Tensor {
    let fingertip = sequence(arms, &[2], &|instant| instant.fingertip.to_vec());
    let size = joint.size();
    let joint = joint.reshape([-1, 4]);
    let skeleton = Skeleton::new(Numerics::cpu(Precision::F64));
    let pose = skeleton.pose(&joint.narrow(1, 0, 2));
    let velocity = skeleton.fingertip_velocity(&pose, &joint.narrow(1, 2, 2));
    Tensor::cat(&[fingertip, velocity.reshape([size[0], size[1], 2])], 2)
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.to_kind(Kind::Double).contiguous();
    let mut values = vec![0.0; tensor.numel()];
    let count = values.len();
    tensor.copy_data(&mut values, count);
    values
}

/// The beginning of some numbers.
fn array<const N: usize>(values: &[f64]) -> [f64; N] {
    std::array::from_fn(|index| values[index])
}
