//! `motif-worker verify`: recomputes parts of a finished run and compares bit for bit.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use indicatif::ProgressBar;
use motif_motor::device::{Device, Numerics, Precision};
use serde_json::json;

use crate::commands::progress;
use crate::verify::{Check, Follow, verify};

/// Recompute parts of a finished run from its checkpoints, and compare with its losses bit for bit.
///
/// Exit code 1 with the first difference. On another kind of processor the last bits may differ.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The run's folder
    dir: PathBuf,
    /// Batches to recompute from the beginning, and again after the best state
    #[arg(long, default_value_t = 100, value_name = "N")]
    batches: u64,
    /// What the run started from, where it is no longer at its place
    #[arg(long, value_name = "PATH")]
    base: Option<PathBuf>,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// Runs `verify`.
///
/// # Errors
/// When the folder cannot be read, or nothing in it could be compared.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let numerics = Numerics::new(Precision::F32, arguments.device)?;
    let mut telling = Telling {
        json: arguments.json,
        bar: progress::of_whole(""),
    };
    let base = arguments.base.as_deref();
    let checks = verify(&arguments.dir, arguments.batches, base, numerics, &mut telling);
    telling.bar.finish_and_clear();
    let checks = checks?;
    let compared: u64 = checks.iter().map(|check| check.compared).sum();
    let passed = checks.iter().all(Check::passed);
    if arguments.json {
        println!(
            "{}",
            json!({ "passed": passed && compared > 0, "compared": compared, "checks": checks })
        );
    }
    if compared == 0 {
        bail!("nothing of {} could be compared", arguments.dir.display());
    }
    if !arguments.json && passed {
        println!("{compared} numbers, all equal to the last bit");
    }
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Telling {
    json: bool,
    bar: ProgressBar,
}

impl Follow for Telling {
    fn under_way(&mut self, what: &str, done: f64) {
        progress::say(&self.bar, what);
        progress::set(&self.bar, done);
    }

    fn checked(&mut self, check: &Check) {
        if !self.json {
            self.bar.suspend(|| print(check));
        }
    }
}

fn print(check: &Check) {
    let Check {
        what, file, compared, ..
    } = check;
    match (&check.difference, &check.mismatch, &check.skipped) {
        (_, Some(mismatch), _) => println!("{file}: {what}: DIFFERENT: {mismatch}"),
        (Some(difference), ..) => println!(
            "{file}: {what}: DIFFERENT at {}: recomputed {:e}, recorded {:e}",
            difference.batch, difference.recomputed, difference.recorded
        ),
        (None, None, Some(why)) => println!("{file}: {what}: not compared, {why}"),
        (None, None, None) => println!("{file}: {what}: {compared} equal"),
    }
}
