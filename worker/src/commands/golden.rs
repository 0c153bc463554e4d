//! `motif-worker golden`: compares with reference tensors of another program.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use motif_motor::device::{Device, Numerics, Precision, set_intra_op_threads};
use motif_motor::engine::Engine;
use motif_motor::golden::{self, Line, Report};

use crate::commands::progress;

/// Compute everything that the reference tensors of a folder hold, and compare.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder with safetensors files
    dir: PathBuf,
    /// Only these files, by name without extension
    #[arg(long, value_delimiter = ',', value_name = "FILE,…")]
    only: Option<Vec<String>>,
    /// f64 or f32; both when not given
    #[arg(long)]
    precision: Option<Precision>,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// Program that runs the episodes: reference or fused
    #[arg(long, default_value = "reference")]
    engine: Engine,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Runs `golden`: exit code 0 only if all limits hold.
///
/// # Errors
/// When the folder cannot be listed or the device cannot be used.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    set_intra_op_threads(1);
    let only: Option<Vec<String>> = arguments.only.as_ref().map(|names| {
        let stem = |name: &String| name.strip_suffix(".safetensors").unwrap_or(name).to_owned();
        names.iter().map(stem).collect()
    });
    let precisions = match arguments.precision {
        Some(precision) => vec![precision],
        None => vec![Precision::F64, Precision::F32],
    };
    if !arguments.json {
        println!(
            "{:18} {:4} {:18} {:>9} {:>9}  verdict",
            "file", "", "kind", "error", "limit"
        );
    }
    let names = only.map_or_else(|| golden::list(&arguments.dir), Ok)?;
    if names.is_empty() {
        bail!("{} holds no .safetensors file", arguments.dir.display());
    }
    let bar = progress::spinner();
    let mut on_line = |line: &Line| {
        if !arguments.json {
            bar.suspend(|| print(line));
        }
    };
    let mut lines = Vec::new();
    // What does not fit comes from libtorch as a panic, and becomes a line.
    std::panic::set_hook(Box::new(|_| {}));
    for precision in precisions {
        let numerics = Numerics::new(precision, arguments.device)?;
        let numerics = match arguments.engine {
            Engine::Reference => numerics.for_reference()?,
            Engine::Fused => numerics,
        };
        for name in &names {
            progress::say(&bar, &format!("{name}, {precision}"));
            let only = std::slice::from_ref(name);
            let dir = &arguments.dir;
            let report: Report = golden::run(dir, Some(only), numerics, arguments.engine, &mut on_line)?;
            lines.extend(report.lines);
        }
    }
    drop(std::panic::take_hook());
    bar.finish_and_clear();
    let passed = lines.iter().all(|line| line.passed);
    if arguments.json {
        let document = serde_json::json!({ "passed": passed, "lines": lines });
        println!("{document}");
    } else {
        let failed = lines.iter().filter(|line| !line.passed).count();
        println!("{} comparisons, {failed} failed", lines.len());
    }
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print(line: &Line) {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1e}"));
    let verdict = if line.passed { "ok" } else { "FAILED" };
    println!(
        "{:18} {:4} {:18} {:>9} {:>9}  {verdict:7} {}",
        line.file,
        line.precision.to_string(),
        line.kind,
        number(line.worst),
        number(line.limit),
        line.detail
    );
}
