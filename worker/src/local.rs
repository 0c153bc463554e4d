//! A run whose results are files of a folder, under the names that this model family's programs read.
//!
//! | file | holds |
//! | --- | --- |
//! | `hp.json` | the family's hyperparameters, and under `spec` the whole spec |
//! | `losses.txt` | `loss/total` of every batch, one a line |
//! | `test_losses.txt` | `validation/total` of every evaluation, one a line |
//! | `checkpoint-best.safetensors`, `checkpoint-last.safetensors` | states of the network |
//!
//! The same spec started again in the same folder goes on from `checkpoint-last`: what the histories hold beyond
//! it is cut off, and written again with the same bits.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use motif_motor::checkpoint::Checkpoint;
use motif_motor::evaluation::Evaluation;
use motif_motor::training::BatchReport;
use motif_proto::run::CheckpointKind;
use motif_proto::spec::ExperimentSpec;
use motif_proto::spec::network::NetworkSpec;
use motif_proto::spec::read::Choice;
use serde_json::{Value, json};

use crate::driver::{Recorder, State};

const HYPERPARAMETERS: &str = "hp.json";
const LOSSES: &str = "losses.txt";
const TEST_LOSSES: &str = "test_losses.txt";

/// Name of a checkpoint's file.
#[must_use]
pub fn checkpoint_file(kind: CheckpointKind) -> &'static str {
    match kind {
        CheckpointKind::Best => "checkpoint-best.safetensors",
        CheckpointKind::Last => "checkpoint-last.safetensors",
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
    losses: File,
    test_losses: File,
}

impl Folder {
    /// Opens a folder for a spec: empty, or with what an earlier process of the same spec left. Returns it with
    /// the checkpoint to go on from.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(path: &Path, spec: &ExperimentSpec) -> Result<(Self, Option<Vec<u8>>), FolderError> {
        fs::create_dir_all(path).map_err(failed("create", path))?;
        require_same_spec(path, spec)?;
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
        let hyperparameters = format!("{:#}\n", hyperparameters(spec));
        write_whole(&path.join(HYPERPARAMETERS), hyperparameters.as_bytes())?;
        let mut folder = Self {
            path: path.to_owned(),
            losses,
            test_losses: open_history(&path.join(TEST_LOSSES))?,
        };
        let checkpoint = folder.read_checkpoint()?;
        folder.cut_histories(spec, checkpoint.as_ref().map(|(_, state)| state))?;
        Ok((folder, checkpoint.map(|(bytes, _)| bytes)))
    }

    fn read_checkpoint(&self) -> Result<Option<(Vec<u8>, Checkpoint)>, FolderError> {
        let path = self.path.join(checkpoint_file(CheckpointKind::Last));
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

    /// Cuts both histories to what the checkpoint knows of.
    fn cut_histories(
        &mut self,
        spec: &ExperimentSpec,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<(), FolderError> {
        let batches = checkpoint.map_or(0, |state| state.next_batch);
        let save_every = spec.training.as_ref().map_or(1, |training| training.save_every);
        let evaluations = checkpoint
            .and_then(|state| state.evaluated)
            .map_or(0, |batch| evaluations_through(batch, save_every));
        keep_lines(&mut self.losses, batches, &self.path.join(LOSSES))?;
        keep_lines(&mut self.test_losses, evaluations, &self.path.join(TEST_LOSSES))
    }

    fn append(&mut self, history: &'static str, value: f64) -> Result<(), FolderError> {
        let file = if history == LOSSES {
            &mut self.losses
        } else {
            &mut self.test_losses
        };
        let line = format!("{}\n", like_printf(value));
        file.write_all(line.as_bytes())
            .map_err(failed("write", &self.path.join(history)))
    }
}

impl Recorder for Folder {
    type Error = FolderError;

    fn batch(&mut self, report: &BatchReport, _batches_per_second: f64) -> Result<(), FolderError> {
        self.append(LOSSES, report.losses.total)
    }

    fn evaluation(&mut self, evaluation: &Evaluation) -> Result<(), FolderError> {
        self.append(TEST_LOSSES, evaluation.total)
    }

    /// The histories reach the disk before the checkpoint that presumes them.
    fn checkpoint(&mut self, state: State) -> Result<(), FolderError> {
        for (file, name) in [(&self.losses, LOSSES), (&self.test_losses, TEST_LOSSES)] {
            file.sync_data().map_err(failed("write", &self.path.join(name)))?;
        }
        write_whole(&self.path.join(checkpoint_file(state.kind)), &state.bytes)
    }

    fn artifact(&mut self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        write_whole(&self.path.join(name), bytes)
    }
}

/// How many evaluations there were up to and with that of a batch: one every `save_every` batches from batch 0
/// on, and one after the last batch.
fn evaluations_through(batch: u64, save_every: u64) -> u64 {
    let regular = batch / save_every + 1;
    regular + u64::from(!batch.is_multiple_of(save_every))
}

fn require_same_spec(path: &Path, spec: &ExperimentSpec) -> Result<(), FolderError> {
    let hyperparameters = path.join(HYPERPARAMETERS);
    match fs::read(&hyperparameters) {
        Ok(bytes) => {
            let stored: Option<Value> = serde_json::from_slice(&bytes).ok();
            let stored = stored.and_then(|mut document| document.get_mut("spec").map(Value::take));
            let stored: Option<ExperimentSpec> =
                stored.and_then(|document| serde_json::from_value(document).ok());
            match stored {
                None => Err(FolderError::NoHyperparameters(path.to_owned())),
                Some(stored) if stored == *spec => Ok(()),
                Some(_) => Err(FolderError::OtherSpec(path.to_owned())),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Histories without a line are what is left when a process is killed before it wrote hp.json.
            let holds = |name: &str| fs::metadata(path.join(name)).is_ok_and(|file| file.len() > 0);
            let files = [CheckpointKind::Best, CheckpointKind::Last].map(checkpoint_file);
            if files.into_iter().chain([LOSSES, TEST_LOSSES]).any(holds) {
                return Err(FolderError::NoHyperparameters(path.to_owned()));
            }
            Ok(())
        }
        Err(error) => Err(failed("read", &hyperparameters)(error)),
    }
}

/// The family's names for what a spec asks for, and the spec itself.
fn hyperparameters(spec: &ExperimentSpec) -> Value {
    let network = &spec.network;
    let mut family = json!({
        "network": network.kind().name(),
        "inp_size": 28,
        "hid_size": network.hidden(),
        "spec": spec,
    });
    if let NetworkSpec::Rnn(rnn) = network {
        family["activation"] = json!(rnn.activation);
        family["noise_level_act"] = json!(rnn.noise_hidden);
        family["noise_level_inp"] = json!(rnn.noise_input);
        family["constrained"] = json!(rnn.constrained);
        family["dt"] = json!(rnn.dt_ms);
        family["t_const"] = json!(rnn.time_constant_ms);
    }
    if let Some(training) = &spec.training {
        family["lr"] = json!(training.learning_rate);
        family["batch_size"] = json!(training.batch_size);
        family["epochs"] = json!(training.batches);
        family["save_iter"] = json!(training.save_every);
        family["l1_rate"] = json!(training.losses.rate);
        family["l1_weight"] = json!(training.losses.weight);
        family["l1_muscle_act"] = json!(training.losses.muscle);
        family["simple_dynamics_weight"] = json!(training.losses.dynamics);
    }
    family
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

/// Cuts a file after so many lines and goes to its end.
fn keep_lines(file: &mut File, lines: u64, path: &Path) -> Result<(), FolderError> {
    let cut = |file: &mut File| -> io::Result<Result<(), u64>> {
        file.rewind()?;
        let mut reader = BufReader::new(&mut *file);
        let (mut bytes, mut line) = (0, Vec::new());
        for found in 0..lines {
            line.clear();
            bytes += reader.read_until(b'\n', &mut line)? as u64;
            if line.last() != Some(&b'\n') {
                return Ok(Err(found));
            }
        }
        file.set_len(bytes)?;
        file.seek(SeekFrom::Start(bytes))?;
        Ok(Ok(()))
    };
    match cut(file).map_err(failed("cut", path))? {
        Ok(()) => Ok(()),
        Err(found) => Err(FolderError::HistoryTooShort {
            path: path.to_owned(),
            found,
            expected: lines,
        }),
    }
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

/// C's `%.18e`: Rust's exponent has neither a sign nor a leading zero.
fn like_printf(value: f64) -> String {
    let text = format!("{value:.18e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent
                .strip_prefix('-')
                .map_or(('+', exponent), |exponent| ('-', exponent));
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_printf_writes_them() {
        for (value, text) in [
            (0.0, "0.000000000000000000e+00"),
            (1.0, "1.000000000000000000e+00"),
            (0.1, "1.000000000000000056e-01"),
            (-12_345.678, "-1.234567799999999988e+04"),
            (1e-300, "1.000000000000000025e-300"),
        ] {
            assert_eq!(like_printf(value), text);
            assert_eq!(text.parse::<f64>().expect("a number"), value);
        }
    }

    #[test]
    fn evaluations_are_counted_with_that_of_the_last_batch() {
        for (batch, save_every, count) in [(0, 500, 1), (500, 500, 2), (749, 500, 3), (1, 1, 2), (6, 3, 3)] {
            assert_eq!(evaluations_through(batch, save_every), count);
        }
    }

    fn spec(seed: u64) -> ExperimentSpec {
        ExperimentSpec::resolve(&json!({ "seed": seed, "network": { "hidden": 4 } }), None)
            .expect("a valid spec")
    }

    #[test]
    fn a_folder_belongs_to_one_spec_and_one_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let held = Folder::open(folder.path(), &spec(1)).expect("opened");
        assert!(matches!(
            Folder::open(folder.path(), &spec(1)),
            Err(FolderError::InUse(_))
        ));
        drop(held);
        let other = Folder::open(folder.path(), &spec(2));
        assert!(matches!(other, Err(FolderError::OtherSpec(_))));
        Folder::open(folder.path(), &spec(1)).expect("opened again");
    }

    #[test]
    fn results_of_other_programs_are_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(LOSSES), "1.0\n").expect("written");
        let opened = Folder::open(folder.path(), &spec(1));
        assert!(matches!(opened, Err(FolderError::NoHyperparameters(_))));
        let kept = fs::read_to_string(folder.path().join(LOSSES)).expect("read");
        assert_eq!(kept, "1.0\n");
    }

    #[test]
    fn hyperparameters_have_the_family_s_names() {
        let written = hyperparameters(&spec(1));
        assert_eq!(
            (&written["hid_size"], &written["epochs"]),
            (&json!(4), &json!(75_000))
        );
        assert_eq!(
            (&written["activation"], &written["t_const"]),
            (&json!("softplus"), &json!(20.0))
        );
        assert_eq!(written["spec"]["seed"], json!(1));
    }
}
