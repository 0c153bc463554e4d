//! What an outbox sends: one letter for each request.

use std::fs;
use std::path::PathBuf;

use motif_proto::log::LogBatch;
use motif_proto::worker::{FinishAttempt, UploadArtifact, UploadCheckpoint};

/// One thing to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    pub(super) number: u64,
    pub(super) bytes: u64,
    /// What is in it.
    pub content: Content,
}

/// What a letter holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A [`MetricsBatch`](motif_proto::metrics::MetricsBatch) as JSON.
    Metrics {
        /// Its sequence number.
        sequence: u64,
        /// The file.
        file: PathBuf,
    },
    /// A checkpoint.
    Checkpoint {
        /// What is told about it.
        upload: UploadCheckpoint,
        /// The file.
        file: PathBuf,
    },
    /// A file that the run made.
    Artifact {
        /// What is told about it.
        upload: UploadArtifact,
        /// The file.
        file: PathBuf,
    },
    /// Log lines, which lie in memory.
    Logs(LogBatch),
    /// The end.
    Finish(FinishAttempt),
}

impl Content {
    /// Whether it is bytes for the artifact store.
    pub(crate) const fn is_upload(&self) -> bool {
        matches!(self, Self::Checkpoint { .. } | Self::Artifact { .. })
    }

    /// Frees the file's place on disk. If that fails, it is freed with the whole folder.
    pub(super) fn remove(&self) {
        match self {
            Self::Metrics { file, .. } | Self::Checkpoint { file, .. } | Self::Artifact { file, .. } => {
                if let Err(error) = fs::remove_file(file) {
                    tracing::debug!(%error, "cannot remove a file that was sent");
                }
            }
            Self::Logs(_) | Self::Finish(_) => {}
        }
    }
}
