//! The kernels' source, as a compiler is given it: one set of files for cards and processors, and the arm's numbers,
//! which are written once, in Rust.

use std::fmt::Write;

use super::run::Run;
use super::shape::THREADS;
use crate::arm::geometry::{LENGTH_M, LINEAR_M, QUADRATIC_M, REFERENCE_RAD};
use crate::arm::muscle::{
    ACTIVE_FROM, FALL_S, HUMPS, MAX_FORCE_N, MAX_SPEED_FACTOR, MIN_FIBRE_M, OPTIMAL_M, PASSIVE_SCALE,
    PASSIVE_WIDTH, RISE_S, TENDON_M, UNIT_SPEED_M_S,
};
use crate::arm::skeleton::{
    COUPLING, ELBOW_INERTIA, FOREARM_M, MAX_VELOCITY_RAD_S, SHOULDER_INERTIA, UPPER_ARM_M,
};
use crate::arm::{DT_S, MUSCLES, UPPER_ANGLES_RAD, start_angles_rad};
use crate::device::Precision;
use crate::optimizer::{BETA1, BETA2, CLIP_EPSILON, EPSILON};

/// The file that includes the others.
pub const MAIN: &str = "kernels.cu";

/// Kernels by name, as the engine launches them.
pub const KERNELS: [&str; 8] = [
    "assemble",
    "forward",
    "sum_units",
    "losses",
    "backward",
    "sum_outer_products",
    "descend",
    "adapt",
];

/// Name and text of every file, the one with the numbers included.
pub fn files() -> Vec<(&'static str, String)> {
    macro_rules! own {
        ($($name:literal),*) => {
            vec![$(($name, include_str!(concat!("kernels/", $name)).to_owned())),*]
        };
    }
    let mut files = own!(
        "kernels.cu",
        "device.h",
        "host.h",
        "run.h",
        "numbers.h",
        "noise.h",
        "muscles.h",
        "skeleton.h",
        "arm.h",
        "units.h",
        "product.h",
        "forward.h",
        "backward.h",
        "learning.h"
    );
    files.push(("constants.h", constants()));
    files
}

/// What the compiler's command line defines.
pub fn definitions(precision: Precision, rows_per_block: usize) -> Vec<String> {
    let real = match precision {
        Precision::F32 => "float",
        Precision::F64 => "double",
    };
    vec![
        format!("-DREAL={real}"),
        format!("-DROWS={rows_per_block}"),
        format!("-DRUN_BYTES={}", size_of::<Run>()),
        format!("-DTHREADS={THREADS}"),
    ]
}

/// The arm's numbers and Adam's, with what follows from them, in double precision until the compiler rounds them.
fn constants() -> String {
    let mut text = "// Written by source.rs out of the constants of the crate.\n#pragma once\n\n".to_owned();
    let [shoulder, elbow] = start_angles_rad();
    let max_lengthening = MAX_SPEED_FACTOR - 1.0;
    for (name, value) in [
        ("DT_S", DT_S),
        ("STEPS_TO_RISE_SLOPE", 1.5 * RISE_S / DT_S),
        ("STEPS_TO_RISE_AT_0", 0.5 * RISE_S / DT_S),
        ("FALL_GAIN", DT_S * DT_S / (RISE_S * FALL_S)),
        ("MIN_FIBRE_M", MIN_FIBRE_M),
        ("PER_UNIT_SPEED", 1.0 / UNIT_SPEED_M_S),
        ("ACTIVE_FROM", ACTIVE_FROM),
        ("PER_PASSIVE_WIDTH", 1.0 / PASSIVE_WIDTH),
        ("PASSIVE_GAIN", PASSIVE_SCALE / 4.0),
        ("PASSIVE_SLOPE", 3.0 * PASSIVE_SCALE / (4.0 * PASSIVE_WIDTH)),
        ("MAX_LENGTHENING", max_lengthening),
        ("PER_MAX_LENGTHENING", 1.0 / max_lengthening),
        ("UPPER_ARM_M", UPPER_ARM_M),
        ("FOREARM_M", FOREARM_M),
        ("COUPLING", COUPLING),
        ("ELBOW_INERTIA", ELBOW_INERTIA),
        ("SHOULDER_INERTIA", SHOULDER_INERTIA),
        ("MAX_VELOCITY_RAD_S", MAX_VELOCITY_RAD_S),
        ("FIRST_SHARE", 1.0 - BETA1),
        ("SECOND_KEPT", BETA2),
        ("SECOND_SHARE", 1.0 - BETA2),
        ("ADAM_EPSILON", EPSILON),
    ] {
        let _ = writeln!(text, "constexpr real {name} = {value:e};");
    }
    let _ = writeln!(text, "constexpr double CLIP_EPSILON = {CLIP_EPSILON:e};");
    let of_muscles = |of: &dyn Fn(usize) -> f64| (0..MUSCLES).map(of).collect::<Vec<f64>>();
    for (name, values) in [
        ("START_RAD", vec![shoulder, elbow]),
        ("UPPER_ANGLES_RAD", UPPER_ANGLES_RAD.to_vec()),
        ("REFERENCE_RAD", REFERENCE_RAD.to_vec()),
        ("SLACK_M", of_muscles(&|m| LENGTH_M[m] - TENDON_M[m])),
        ("PER_OPTIMAL_M", of_muscles(&|m| 1.0 / OPTIMAL_M[m])),
        ("MAX_FORCE_N", MAX_FORCE_N.to_vec()),
        ("HUMP_PEAK", HUMPS.map(|(peak, _, _)| peak).to_vec()),
        (
            "HUMP_RISE",
            HUMPS.map(|(peak, _, _)| 1.0 / (peak - ACTIVE_FROM)).to_vec(),
        ),
        (
            "HUMP_FALL",
            HUMPS.map(|(peak, end, _)| 1.0 / (end - peak)).to_vec(),
        ),
        ("HUMP_WEIGHT", HUMPS.map(|(_, _, weight)| weight).to_vec()),
    ] {
        let count = values.len();
        let _ = writeln!(text, "CONSTANT real {name}[{count}] = {{{}}};", list(&values));
    }
    for (name, table) in [
        ("LINEAR_M", LINEAR_M),
        (
            "TWICE_QUADRATIC_M",
            QUADRATIC_M.map(|of_joint| of_joint.map(|p| 2.0 * p)),
        ),
    ] {
        let rows = table.map(|row| format!("{{{}}}", list(&row))).join(", ");
        let _ = writeln!(text, "CONSTANT real {name}[2][{MUSCLES}] = {{{rows}}};");
    }
    text
}

/// Literals that `real` rounds without a complaint about narrowing.
fn list(values: &[f64]) -> String {
    let literals: Vec<String> = values.iter().map(|value| format!("real({value:e})")).collect();
    literals.join(", ")
}
