//! Checkpoints: one safetensors file with a PyTorch state dict, and in its metadata what resuming needs.
//!
//! The tensors are exactly the state dict, so that `load_state_dict(load_file(path))` works as it is. Two keys of
//! the file's metadata carry the rest: `motif`, a JSON object ([`Progress`](self) below), and `motif.optimizer`,
//! base64 of a safetensors blob with Adam's moments. `docs/checkpoint.md` describes the format for other readers.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::config::TrainingConfig;
use crate::host_tensor::{self, FormatError, TensorTable};

/// Version of the layout, raised when an older program could not read it.
pub const FORMAT_VERSION: u32 = 1;

/// Files above this are refused unread: the largest network in double precision stays well below.
const MAX_FILE_BYTES: u64 = 2 << 30;

/// Moments up to this size stand in the metadata; safetensors readers refuse headers above 100 MB. Larger ones
/// become tensors of the file, named [`MOMENT_PREFIX`]….
const MAX_METADATA_MOMENT_BYTES: usize = 60_000_000;

const STATE_KEY: &str = "motif";
const MOMENTS_KEY: &str = "motif.optimizer";
const MOMENT_PREFIX: &str = "motif.optimizer.";

/// Best evaluation of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub value: f64,
    pub batch: u64,
}

/// Everything that a training run is made of between two batches, in host memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    pub config: TrainingConfig,
    pub next_batch: u64,
    /// Last batch whose evaluation was completed.
    pub evaluated: Option<u64>,
    pub best: Option<Best>,
    /// Updates that the moments have seen.
    pub adam_step: u64,
    /// State dict, masks and signs included.
    pub state: TensorTable,
    /// `first.<parameter>` and `second.<parameter>`: Adam's running means.
    pub moments: TensorTable,
}

/// The `motif` entry of the metadata.
#[derive(Serialize, Deserialize)]
struct StoredState {
    format: u32,
    config: TrainingConfig,
    next_batch: u64,
    #[serde(default)]
    evaluated: Option<u64>,
    best: Option<Best>,
    adam_step: u64,
}

/// Why a checkpoint cannot be written, read or used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("cannot read checkpoint {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write checkpoint {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("checkpoint has {bytes} bytes, more than the {MAX_FILE_BYTES} that any network needs")]
    TooLarge { bytes: u64 },
    #[error("checkpoint is damaged")]
    Format(#[from] FormatError),
    #[error("checkpoint has no `{key}` entry in its metadata: not written by Motif")]
    NotOurs { key: &'static str },
    #[error("checkpoint's `{key}` entry is damaged")]
    Metadata {
        key: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("checkpoint has format {found}, this program reads up to {FORMAT_VERSION}")]
    Version { found: u32 },
    #[error("checkpoint lacks tensor `{name}`")]
    MissingTensor { name: String },
    #[error("checkpoint has an unknown tensor `{name}`")]
    UnknownTensor { name: String },
    #[error("tensor `{name}` has shape {found:?}, the network needs {expected:?}")]
    Shape {
        name: String,
        found: Vec<i64>,
        expected: Vec<i64>,
    },
    #[error("tensor `{name}` holds {found:?} numbers, this training computes in {expected:?}")]
    Precision {
        name: String,
        found: tch::Kind,
        expected: tch::Kind,
    },
    #[error("tensor `{name}` holds numbers that are not finite")]
    NotFinite { name: String },
    #[error("checkpoint is of a training with another `{field}`")]
    OtherTraining { field: &'static str },
}

impl Checkpoint {
    /// The file's bytes.
    ///
    /// # Errors
    /// When the tensors cannot be expressed as safetensors.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        let stored = StoredState {
            format: FORMAT_VERSION,
            config: self.config.clone(),
            next_batch: self.next_batch,
            evaluated: self.evaluated,
            best: self.best,
            adam_step: self.adam_step,
        };
        let stored = serde_json::to_string(&stored).map_err(|source| CheckpointError::Metadata {
            key: STATE_KEY,
            source: source.into(),
        })?;
        let mut metadata = BTreeMap::from([
            ("format".to_owned(), "pt".to_owned()),
            (STATE_KEY.to_owned(), stored),
        ]);
        let moments = host_tensor::encode(&self.moments, &BTreeMap::new())?;
        if moments.len() <= MAX_METADATA_MOMENT_BYTES {
            metadata.insert(MOMENTS_KEY.to_owned(), BASE64.encode(moments));
            return Ok(host_tensor::encode(&self.state, &metadata)?);
        }
        let mut tensors = self.state.clone();
        for (name, moment) in &self.moments {
            tensors.insert(format!("{MOMENT_PREFIX}{name}"), moment.clone());
        }
        Ok(host_tensor::encode(&tensors, &metadata)?)
    }

    /// # Errors
    /// When the bytes are not a checkpoint; nothing in them is trusted.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let (mut state, metadata) = host_tensor::decode(bytes)?;
        let stored = metadata
            .get(STATE_KEY)
            .ok_or(CheckpointError::NotOurs { key: STATE_KEY })?;
        let stored = read_stored_state(stored)?;
        let moments = match metadata.get(MOMENTS_KEY) {
            Some(encoded) => decode_moments(encoded)?,
            None => take_moment_tensors(&mut state),
        };
        if moments.is_empty() && stored.adam_step > 0 {
            return Err(CheckpointError::NotOurs { key: MOMENTS_KEY });
        }
        Ok(Self {
            config: stored.config,
            next_batch: stored.next_batch,
            evaluated: stored.evaluated,
            best: stored.best,
            adam_step: stored.adam_step,
            state,
            moments,
        })
    }

    /// Writes the file whole or not at all: under another name first, flushed to disk, then renamed.
    ///
    /// # Errors
    /// [`CheckpointError::Write`].
    pub fn write_to(&self, path: &Path) -> Result<(), CheckpointError> {
        let bytes = self.to_bytes()?;
        write_atomically(path, &bytes).map_err(|source| CheckpointError::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// # Errors
    /// When the file cannot be read, is too large or is not a checkpoint.
    pub fn read_from(path: &Path) -> Result<Self, CheckpointError> {
        Self::from_bytes(&read_bounded(path)?)
    }
}

/// A file's bytes, if there are not more than any network needs.
///
/// # Errors
/// [`CheckpointError::Read`] and [`CheckpointError::TooLarge`].
pub fn read_bounded(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    let failed = |source| CheckpointError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let read = file
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)? as u64;
    if read > MAX_FILE_BYTES {
        return Err(CheckpointError::TooLarge { bytes: read });
    }
    Ok(bytes)
}

fn read_stored_state(stored: &str) -> Result<StoredState, CheckpointError> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let damaged = |source: serde_json::Error| CheckpointError::Metadata {
        key: STATE_KEY,
        source: source.into(),
    };
    let Version { format } = serde_json::from_str(stored).map_err(damaged)?;
    if format != FORMAT_VERSION {
        return Err(CheckpointError::Version { found: format });
    }
    serde_json::from_str(stored).map_err(damaged)
}

fn decode_moments(encoded: &str) -> Result<TensorTable, CheckpointError> {
    let blob = BASE64
        .decode(encoded)
        .map_err(|source| CheckpointError::Metadata {
            key: MOMENTS_KEY,
            source: source.into(),
        })?;
    let (moments, _) = host_tensor::decode(&blob).map_err(|source| CheckpointError::Metadata {
        key: MOMENTS_KEY,
        source: source.into(),
    })?;
    Ok(moments)
}

fn take_moment_tensors(state: &mut TensorTable) -> TensorTable {
    let all = std::mem::take(state);
    let mut moments = TensorTable::new();
    for (name, tensor) in all {
        match name.strip_prefix(MOMENT_PREFIX) {
            Some(moment) => moments.insert(moment.to_owned(), tensor),
            None => state.insert(name, tensor),
        };
    }
    moments
}

pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}
