//! Networks on this machine's disk that an experiment starts from: run folders, checkpoints, PyTorch's files.

use std::path::{Path, PathBuf};

use motif_motor::checkpoint::{Checkpoint, CheckpointError, read_bounded};
use motif_proto::run::CheckpointKind;
use motif_proto::spec::base::Base;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::local::checkpoint_file;
use crate::origin;
use crate::pth::{self, ImportError};

/// A base and where it was found.
#[derive(Clone, Debug)]
pub struct LocalBase {
    /// The file that was read.
    pub path: PathBuf,
    pub checkpoint: Checkpoint,
    /// SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
}

/// Why a base cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    #[error("there is no base at {0}: a run's folder, a .safetensors checkpoint or a .pth file")]
    Missing(PathBuf),
    #[error("{folder} holds neither {checkpoint} nor one .pth file")]
    EmptyFolder {
        folder: PathBuf,
        checkpoint: &'static str,
    },
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} cannot be used as a base: {problem}")]
    Checkpoint { path: PathBuf, problem: String },
    #[error("{path} cannot be used as a base")]
    Import {
        path: PathBuf,
        #[source]
        source: ImportError,
    },
}

impl LocalBase {
    /// Reads a base: a file, or of a run's folder the checkpoint asked for.
    ///
    /// `hints`: the `[network]` of the spec that names it, for what a `.pth` file does not say.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn find(path: &Path, kind: CheckpointKind, hints: Option<&Value>) -> Result<Self, BaseError> {
        let path = if path.is_dir() {
            of_folder(path, kind)?
        } else {
            path.to_owned()
        };
        if !path.exists() {
            return Err(BaseError::Missing(path));
        }
        let unusable = |error: &CheckpointError| BaseError::Checkpoint {
            path: path.clone(),
            problem: crate::engine::chain(error),
        };
        let bytes = read_bounded(&path).map_err(|error| unusable(&error))?;
        let checkpoint = if motif_motor::pth::is_pth(&path) {
            pth::import(&bytes, &path, hints).map_err(|source| BaseError::Import {
                path: path.clone(),
                source,
            })?
        } else {
            Checkpoint::from_bytes(&bytes).map_err(|error| unusable(&error))?
        };
        Ok(Self {
            sha256: format!("{:x}", Sha256::digest(&bytes)),
            path,
            checkpoint,
        })
    }

    /// The base in the terms of a spec.
    #[must_use]
    pub fn terms(&self) -> Base {
        origin::of(&self.checkpoint.config)
    }
}

fn of_folder(folder: &Path, kind: CheckpointKind) -> Result<PathBuf, BaseError> {
    let checkpoint = checkpoint_file(kind);
    let ours = folder.join(checkpoint);
    if ours.exists() {
        return Ok(ours);
    }
    let entries = std::fs::read_dir(folder).map_err(|source| BaseError::Read {
        path: folder.to_owned(),
        source,
    })?;
    let files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| motif_motor::pth::is_pth(path))
        .collect();
    match files.as_slice() {
        [one] => Ok(one.clone()),
        _ => Err(BaseError::EmptyFolder {
            folder: folder.to_owned(),
            checkpoint,
        }),
    }
}
