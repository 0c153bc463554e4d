//! A run whose results are files of a folder, under the names that this model family's programs read.
//!
//! | file | holds |
//! | --- | --- |
//! | `hp.json` | the family's hyperparameters, under `spec` the whole spec, the base, and where the run began |
//! | `losses.txt` | `loss/total` of every batch, one a line |
//! | `test_losses.txt` | `validation/total` of every evaluation, one a line |
//! | `batches.csv` | task, speed, delay, directions, losses and norm of every batch |
//! | `checkpoint-best.safetensors`, `checkpoint-last.safetensors` | states of the network |
//! | `evaluation.json`, `evaluation.csv` | of an evaluation, in place of the others: every condition and trial |
//!
//! The same spec started again in the same folder goes on from `checkpoint-last`: what the histories hold beyond
//! it is cut off, and written again with the same bits. A continued run's histories begin with its base's.

pub mod history;
pub mod hyperparameters;
pub mod record;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use motif_motor::checkpoint::Checkpoint;
use motif_motor::engine::Engine;
use motif_motor::evaluation::Evaluation;
use motif_motor::training::BatchReport;
use motif_proto::run::CheckpointKind;
use motif_proto::spec::{ExperimentKind, ExperimentSpec};

use self::history::{Began, copy_lines, count_lines, keep_lines, like_printf};
use self::hyperparameters::{BaseRecord, Stored, document};
use crate::base::LocalBase;
use crate::driver::{Recorder, State};

pub const HYPERPARAMETERS: &str = "hp.json";
pub const LOSSES: &str = "losses.txt";
pub const TEST_LOSSES: &str = "test_losses.txt";
pub const BATCHES: &str = "batches.csv";

/// Name of a checkpoint's file.
#[must_use]
pub fn checkpoint_file(kind: CheckpointKind) -> &'static str {
    match kind {
        CheckpointKind::Best => "checkpoint-best.safetensors",
        CheckpointKind::Last => "checkpoint-last.safetensors",
        CheckpointKind::Kept => "checkpoint-kept.safetensors",
    }
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("cannot {what} {path}: {source}")]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0} holds results of another spec: choose another folder")]
    OtherSpec(PathBuf),
    #[error("{0} holds results that began from another base: choose another folder")]
    OtherBase(PathBuf),
    #[error("{0} holds results but no readable hp.json: choose another folder")]
    NoHyperparameters(PathBuf),
    #[error("another process trains in {0}")]
    InUse(PathBuf),
    #[error("{path} ends before its checkpoint: {found} lines where {expected} are needed")]
    HistoryTooShort {
        path: PathBuf,
        found: u64,
        expected: u64,
    },
    #[error("{path} cannot be used: {problem}")]
    Checkpoint { path: PathBuf, problem: String },
}

/// A folder that a run writes to. While it is held, no other process trains there.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Of a training; an evaluation has none.
    histories: Option<Histories>,
}

#[derive(Debug)]
struct Histories {
    losses: File,
    test_losses: File,
    batches: File,
}

impl Folder {
    /// Opens a folder for a spec: empty, or with what an earlier process of the same spec left. Returns it with
    /// the checkpoint to go on from. `engine` is remembered where no checkpoint will do it: of an evaluation.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(
        path: &Path,
        spec: &ExperimentSpec,
        base: Option<&LocalBase>,
        engine: Engine,
    ) -> Result<(Self, Option<Vec<u8>>), FolderError> {
        fs::create_dir_all(path).map_err(failed("create", path))?;
        let before = require_same_spec(path, spec, base)?;
        let Some(training) = &spec.training else {
            write_hyperparameters(path, spec, base, Began::default(), Some(engine))?;
            let folder = Self {
                path: path.to_owned(),
                histories: None,
            };
            return Ok((folder, None));
        };
        let losses = open_history(&path.join(LOSSES))?;
        match losses.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(FolderError::InUse(path.to_owned())),
            Err(fs::TryLockError::Error(source)) => {
                return Err(failed("lock", &path.join(LOSSES))(source));
            }
        }
        // Only now is it certain that this process is alone; the spec was checked before so that a folder with
        // other results is left untouched.
        let mut histories = Histories {
            losses,
            test_losses: open_history(&path.join(TEST_LOSSES))?,
            batches: open_history(&path.join(BATCHES))?,
        };
        let checkpoint = read_checkpoint(path)?;
        // First, so that whatever is copied has a folder that knows its spec.
        let known = before.as_ref().map_or_else(Began::default, |before| before.began);
        write_hyperparameters(path, spec, base, known, None)?;
        let continued = base.filter(|_| spec.kind == ExperimentKind::Continue);
        let began = match (&checkpoint, continued) {
            (None, Some(base)) => histories.begin_with(base, training.save_every)?,
            _ => known,
        };
        write_hyperparameters(path, spec, base, began, None)?;
        let state = checkpoint.as_ref().map(|(_, state)| state);
        let lines = began.lines(state, training.save_every);
        histories.cut(path, lines, state.map_or(began.batch, |state| state.next_batch))?;
        let folder = Self {
            path: path.to_owned(),
            histories: Some(histories),
        };
        Ok((folder, checkpoint.map(|(bytes, _)| bytes)))
    }

    fn append(&self, name: &'static str, mut history: &File, line: &str) -> Result<(), FolderError> {
        let written = history.write_all(line.as_bytes());
        written.map_err(failed("write", &self.path.join(name)))
    }
}

impl Histories {
    /// Starts a continued run's histories with its base's, where the base is part of a run's folder that has them.
    fn begin_with(&mut self, base: &LocalBase, save_every: u64) -> Result<Began, FolderError> {
        let state = &base.checkpoint;
        let without = Began {
            batch: state.next_batch,
            evaluated: state.evaluated,
            losses: 0,
            test_losses: 0,
        };
        let folder = base.path.parent().unwrap_or(Path::new("."));
        let Some(before) = read_stored(folder).filter(|before| before.spec.training.is_some()) else {
            return Ok(without);
        };
        let base_save_every = before
            .spec
            .training
            .as_ref()
            .map_or(1, |training| training.save_every);
        let mut lines = before.began.lines(Some(state), base_save_every);
        // An evaluation that only the base's end called for is none of the uninterrupted run's.
        if state
            .evaluated
            .is_some_and(|batch| !batch.is_multiple_of(save_every))
        {
            lines.test_losses = lines.test_losses.saturating_sub(1);
        }
        let has = |name, lines| count_lines(&folder.join(name)).is_ok_and(|found| found >= lines);
        if !has(LOSSES, lines.losses) || !has(TEST_LOSSES, lines.test_losses) {
            return Ok(without);
        }
        let copied = [
            (LOSSES, lines.losses, &mut self.losses),
            (TEST_LOSSES, lines.test_losses, &mut self.test_losses),
        ];
        for (name, lines, to) in copied {
            let from = folder.join(name);
            copy_lines(&from, lines, to).map_err(failed("copy", &from))?;
        }
        let from = folder.join(BATCHES);
        record::copy_before(&from, state.next_batch, &mut self.batches).map_err(failed("copy", &from))?;
        Ok(Began {
            losses: lines.losses,
            test_losses: lines.test_losses,
            ..without
        })
    }

    /// Cuts the histories to what a state knows of.
    fn cut(&mut self, folder: &Path, lines: history::Lines, next_batch: u64) -> Result<(), FolderError> {
        let both = [
            (LOSSES, lines.losses, &mut self.losses),
            (TEST_LOSSES, lines.test_losses, &mut self.test_losses),
        ];
        for (name, expected, file) in both {
            let path = folder.join(name);
            if let Err(found) = keep_lines(file, expected).map_err(failed("cut", &path))? {
                return Err(FolderError::HistoryTooShort {
                    path,
                    found,
                    expected,
                });
            }
        }
        let path = folder.join(BATCHES);
        record::keep_before(&mut self.batches, next_batch).map_err(failed("cut", &path))
    }
}

impl Recorder for Folder {
    type Error = FolderError;

    fn batch(&mut self, report: &BatchReport, _batches_per_second: f64) -> Result<(), FolderError> {
        let Some(histories) = &self.histories else {
            return Ok(());
        };
        self.append(BATCHES, &histories.batches, &record::line(report))?;
        let total = format!("{}\n", like_printf(report.losses.total));
        self.append(LOSSES, &histories.losses, &total)
    }

    fn evaluation(&mut self, evaluation: &Evaluation) -> Result<(), FolderError> {
        let Some(histories) = &self.histories else {
            return Ok(());
        };
        let total = format!("{}\n", like_printf(evaluation.total));
        self.append(TEST_LOSSES, &histories.test_losses, &total)
    }

    /// The histories reach the disk before the checkpoint that presumes them.
    fn checkpoint(&mut self, state: State) -> Result<(), FolderError> {
        if let Some(histories) = &self.histories {
            for (file, name) in [
                (&histories.losses, LOSSES),
                (&histories.test_losses, TEST_LOSSES),
                (&histories.batches, BATCHES),
            ] {
                file.sync_data().map_err(failed("write", &self.path.join(name)))?;
            }
        }
        write_whole(&self.path.join(checkpoint_file(state.kind)), &state.bytes)
    }

    fn artifact(&mut self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        write_whole(&self.path.join(name), bytes)
    }
}

/// What the `hp.json` of a folder says, if Motif wrote it.
#[must_use]
pub fn read_stored(folder: &Path) -> Option<Stored> {
    let bytes = fs::read(folder.join(HYPERPARAMETERS)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn read_checkpoint(folder: &Path) -> Result<Option<(Vec<u8>, Checkpoint)>, FolderError> {
    let path = folder.join(checkpoint_file(CheckpointKind::Last));
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", &path)(error)),
    };
    match Checkpoint::from_bytes(&bytes) {
        Ok(checkpoint) => Ok(Some((bytes, checkpoint))),
        Err(error) => Err(FolderError::Checkpoint {
            path,
            problem: crate::engine::chain(&error),
        }),
    }
}

/// Returns what the folder says of an earlier process, which must have had the same spec and base; where the base
/// lay does not matter.
fn require_same_spec(
    path: &Path,
    spec: &ExperimentSpec,
    base: Option<&LocalBase>,
) -> Result<Option<Stored>, FolderError> {
    let anywhere = |spec: &ExperimentSpec| ExperimentSpec {
        base: None,
        ..spec.clone()
    };
    match fs::read(path.join(HYPERPARAMETERS)) {
        Ok(bytes) => match serde_json::from_slice::<Stored>(&bytes) {
            Err(_) => Err(FolderError::NoHyperparameters(path.to_owned())),
            Ok(stored) if anywhere(&stored.spec) != anywhere(spec) => {
                Err(FolderError::OtherSpec(path.to_owned()))
            }
            Ok(stored) => {
                let digest = |record: &BaseRecord| record.sha256.clone();
                if stored.base.as_ref().map(digest) == base.map(|base| base.sha256.clone()) {
                    Ok(Some(stored))
                } else {
                    Err(FolderError::OtherBase(path.to_owned()))
                }
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Histories without a line are what is left when a process is killed before it wrote hp.json; a
            // continued run's hold its base's, and are written anew.
            let holds = |name: &str| fs::metadata(path.join(name)).is_ok_and(|file| file.len() > 0);
            let files = [CheckpointKind::Best, CheckpointKind::Last].map(checkpoint_file);
            if files.into_iter().chain([LOSSES, TEST_LOSSES]).any(holds) {
                return Err(FolderError::NoHyperparameters(path.to_owned()));
            }
            Ok(None)
        }
        Err(error) => Err(failed("read", &path.join(HYPERPARAMETERS))(error)),
    }
}

fn write_hyperparameters(
    path: &Path,
    spec: &ExperimentSpec,
    base: Option<&LocalBase>,
    began: Began,
    engine: Option<Engine>,
) -> Result<(), FolderError> {
    let stored = Stored {
        spec: spec.clone(),
        base: base.map(BaseRecord::of),
        began,
        engine,
    };
    let text = format!("{:#}\n", document(&stored));
    write_whole(&path.join(HYPERPARAMETERS), text.as_bytes())
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::File { what, path, source }
}

fn open_history(path: &Path) -> Result<File, FolderError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(failed("open", path))
}

/// Writes a file whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    let write = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(failed("write", path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(seed: u64) -> ExperimentSpec {
        ExperimentSpec::resolve(&json!({ "seed": seed, "network": { "hidden": 4 } }), None)
            .expect("a valid spec")
    }

    #[test]
    fn a_folder_belongs_to_one_spec_and_one_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let held = Folder::open(folder.path(), &spec(1), None, Engine::Fused).expect("opened");
        assert!(matches!(
            Folder::open(folder.path(), &spec(1), None, Engine::Fused),
            Err(FolderError::InUse(_))
        ));
        drop(held);
        let other = Folder::open(folder.path(), &spec(2), None, Engine::Fused);
        assert!(matches!(other, Err(FolderError::OtherSpec(_))));
        Folder::open(folder.path(), &spec(1), None, Engine::Fused).expect("opened again");
    }

    #[test]
    fn results_of_other_programs_are_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(LOSSES), "1.0\n").expect("written");
        let opened = Folder::open(folder.path(), &spec(1), None, Engine::Fused);
        assert!(matches!(opened, Err(FolderError::NoHyperparameters(_))));
        let kept = fs::read_to_string(folder.path().join(LOSSES)).expect("read");
        assert_eq!(kept, "1.0\n");
    }
}
