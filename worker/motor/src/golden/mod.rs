//! Comparison with reference tensors made by another program.
//!
//! A folder holds safetensors files; each file's tensors and metadata say what is to be computed and what came
//! out elsewhere. Nothing here knows particular files: sizes, conditions and constants are read from them, results
//! are compared where a file holds them, and a tensor that nothing here understands is a failure.
//!
//! - `comparison`: relative errors, their kinds and limits;
//! - `file`: a file's tensors and conditions;
//! - `arm`, `fused_arm`, `tasks`, `network`, `regions`, `training`: what is computed for each family of files.

mod arm;
mod comparison;
mod file;
mod fused_arm;
mod literal;
mod network;
mod regions;
mod tasks;
mod terms;
mod training;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde::Serialize;

use self::comparison::Comparison;
pub use self::comparison::Quantity;
use self::file::GoldenFile;
use crate::device::{Numerics, Precision};
use crate::engine::Engine;
use crate::host_tensor::FormatError;

/// One kind of quantity in one file.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub file: String,
    /// What was compared, or `file` when nothing could be.
    pub kind: String,
    pub precision: Precision,
    /// Tensors compared.
    pub tensors: usize,
    /// Largest of max |difference| / max |reference| over them.
    pub worst: Option<f64>,
    pub limit: Option<f64>,
    /// The tensor that came closest to its limit, or why nothing was compared.
    pub detail: String,
    pub passed: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub lines: Vec<Line>,
}

impl Report {
    /// Whether something was compared and everything held.
    pub fn passed(&self) -> bool {
        !self.lines.is_empty() && self.lines.iter().all(|line| line.passed)
    }
}

/// The folder cannot be used. What is wrong with a file is a failed line of the report.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    #[error("cannot list {path}")]
    List {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Why a file could not be compared.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("not covered by the {0} engine")]
    NotCovered(Engine),
    #[error("cannot be read")]
    Read(#[from] std::io::Error),
    #[error("is not usable")]
    Format(#[from] FormatError),
    #[error("lacks tensor `{0}`")]
    MissingTensor(String),
    #[error("holds tensors that are not understood: {0}")]
    NotUnderstood(String),
    #[error("lacks metadata `{0}`")]
    MissingMetadata(String),
    #[error("metadata `{key}` is `{value}`, which is not understood")]
    Metadata { key: String, value: String },
    #[error("tensor `{name}` has shape {shape:?}, which does not fit")]
    Shape { name: String, shape: Vec<i64> },
    #[error(transparent)]
    Conditions(#[from] crate::tasks::ConditionError),
    #[error(transparent)]
    Task(#[from] crate::tasks::UnknownTask),
    #[error(transparent)]
    Policy(#[from] crate::checkpoint::CheckpointError),
    #[error(transparent)]
    Stitch(#[from] crate::policy::StitchError),
    #[error(transparent)]
    Network(#[from] crate::error::Error),
    #[error(transparent)]
    Engine(#[from] crate::engine::NotCovered),
    #[error(transparent)]
    Card(#[from] crate::engine::cuda::CardError),
    #[error("tensors do not fit each other: {0}")]
    Operation(String),
    #[error("the loss or its gradient is not finite: {0}")]
    NotFinite(String),
}

/// Compares every `.safetensors` file of `dir`, or those named by `only` (without extension). `on_line` sees each
/// line as soon as it is known.
///
/// # Errors
/// When the folder cannot be listed. Everything else is a failed line of the report.
pub fn run(
    dir: &Path,
    only: Option<&[String]>,
    numerics: Numerics,
    engine: Engine,
    on_line: &mut dyn FnMut(&Line),
) -> Result<Report, GoldenError> {
    let names = match only {
        Some(names) => names.to_vec(),
        None => list(dir)?,
    };
    let mut lines = Vec::new();
    for name in names {
        let mut comparison = Comparison::new(numerics.precision());
        let compared = GoldenFile::read(dir, &name).and_then(|file| {
            unless_panic(|| compare(&file, numerics, engine, &mut comparison))?;
            match file.unused().as_slice() {
                [] => Ok(()),
                unused => Err(FileError::NotUnderstood(unused.join(", "))),
            }
        });
        let mut of_file = comparison.into_lines(&name);
        if let Err(error) = compared {
            of_file.push(failed(&name, numerics.precision(), chain(&error)));
        } else if of_file.is_empty() {
            of_file.push(failed(
                &name,
                numerics.precision(),
                "holds nothing to compare".to_owned(),
            ));
        }
        of_file.iter().for_each(&mut *on_line);
        lines.extend(of_file);
    }
    Ok(Report { lines })
}

/// Computes what a file holds; the family is the beginning of its name.
fn compare(
    file: &GoldenFile,
    numerics: Numerics,
    engine: Engine,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let name = file.name.as_str();
    let is = |family: &str| name.starts_with(family);
    let by_reference = engine == Engine::Reference;
    // The arm alone is run by the processor's half of the fused engine.
    let alone = numerics.card().is_none();
    match name {
        _ if is("arm_rollout") && by_reference => arm::open_loop(file, numerics, comparison),
        _ if is("arm_rollout") && alone => fused_arm::open_loop(file, numerics, comparison),
        _ if is("arm_extra") && by_reference => arm::loads_gradients_curves(file, numerics, comparison),
        _ if is("arm_extra") && alone => fused_arm::loads_gradients_curves(file, numerics, comparison),
        // Trials are laid out before any engine runs them.
        _ if is("task_trials") || is("composable_trials") => tasks::trials(file, numerics, comparison),
        _ if is("rnn_noise") && by_reference => network::noisy_calls(file, numerics, comparison),
        _ if is("mrnn_multi") && by_reference => regions::sequences(file, numerics, comparison),
        _ if is("gru") || is("rnn_") && !is("rnn_noise") => {
            network::closed_loop(file, numerics, engine, comparison)
        }
        _ if is("transfer_rules") => network::transfer(file, numerics, engine, comparison),
        _ if is("train_steps") => training::updates(file, numerics, engine, comparison),
        _ if is("eval_table") => training::evaluation(file, numerics, engine, comparison),
        _ => Err(FileError::NotCovered(engine)),
    }
}

/// What libtorch says of tensors that do not fit each other comes as a panic.
fn unless_panic(compare: impl FnOnce() -> Result<(), FileError>) -> Result<(), FileError> {
    catch_unwind(AssertUnwindSafe(compare)).unwrap_or_else(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or_default();
        let first = words.lines().next().unwrap_or_default();
        Err(FileError::Operation(first.to_owned()))
    })
}

fn failed(file: &str, precision: Precision, detail: String) -> Line {
    Line {
        file: file.to_owned(),
        kind: "file".to_owned(),
        precision,
        tensors: 0,
        worst: None,
        limit: None,
        detail,
        passed: false,
    }
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Names of the safetensors files of a folder, sorted.
///
/// # Errors
/// When the folder cannot be listed.
pub fn list(dir: &Path) -> Result<Vec<String>, GoldenError> {
    read_names(dir).map_err(|source| GoldenError::List {
        path: dir.to_owned(),
        source,
    })
}

fn read_names(dir: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let is_golden = path
            .extension()
            .is_some_and(|extension| extension == "safetensors");
        if let (true, Some(stem)) = (is_golden, path.file_stem()) {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
