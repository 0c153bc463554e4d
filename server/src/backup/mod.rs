//! `motif-server backup`, `restore` and `check`: the database and the bytes that it names, as one.
//!
//! A backup is a folder:
//!
//! | file | holds |
//! | --- | --- |
//! | `manifest.json` | what it is: when, which schema, hash of the dump, hash and length of every blob that is named |
//! | `database.dump` | `pg_dump`'s own format, of one moment |
//! | `sha256/…` | with `--artifacts`: the bytes, where the artifact store has them |
//!
//! The coordinator may run meanwhile: the dump and the list come from one snapshot, and what that names is not
//! collected until the backup is done.

mod check;
mod restore;
mod save;
mod tools;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::check::{Findings, check};
pub use self::restore::restore;
pub use self::save::backup;
use crate::artifacts::OpenError;
use crate::error::Error;
use crate::postgres::PostgresError;
use crate::serve::StartError;

const MANIFEST: &str = "manifest.json";
const DUMP: &str = "database.dump";
/// Raised when an older program could not restore it.
const FORMAT: u32 = 1;

/// What a backup is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the layout.
    pub format: u32,
    /// When it was made.
    pub created_at: chrono::DateTime<chrono::Utc>,
    /// Version of the program that made it.
    pub program: String,
    /// Newest migration of the database.
    pub schema: i64,
    /// SHA-256 of the dump, in hex.
    pub dump_sha256: String,
    /// Whether the bytes are in the folder.
    pub with_artifacts: bool,
    /// What the database names.
    pub blobs: Vec<Blob>,
}

/// Bytes that the database names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// Their SHA-256, in hex.
    pub sha256: String,
    /// How many they are.
    pub size_bytes: u64,
}

/// Why a backup, a restoration or a check did not come to its end, as one sentence for a person.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is something already.
    #[error("{} is not empty: a backup is made in a folder of its own", .0.display())]
    FolderInUse(PathBuf),
    /// The target has data.
    #[error("the database holds something already: a backup is restored into an empty one")]
    DatabaseInUse,
    /// The folder is no backup.
    #[error("{} is no backup of Motif: {reason}", folder.display())]
    NotABackup {
        /// Which.
        folder: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of the backup is not what it was.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// A tool of Postgres failed.
    #[error("{program} failed: {reason}")]
    Tool {
        /// Which.
        program: &'static str,
        /// Its last words.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("{} cannot be used: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Bytes that the database names are not in the artifact store.
    #[error("{missing} of {named} blobs are missing or damaged, the first is {first}")]
    Incomplete {
        /// How many.
        missing: usize,
        /// Of how many.
        named: usize,
        /// One of them.
        first: String,
    },
    /// The coordinator's database cannot be reached.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The private Postgres does not run.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The artifact store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database or the artifact store failed.
    #[error("{}", crate::error::chain(.0))]
    Failed(#[from] Error),
    /// The database failed.
    #[error("the database failed: {}", crate::error::chain(.0))]
    Database(#[from] sqlx::Error),
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> BackupError + use<> {
    let path = path.to_path_buf();
    move |source| BackupError::File { path, source }
}

/// Where the bytes of a hash lie in a backup: as in the artifact store.
fn place_of(folder: &Path, sha256: &str) -> PathBuf {
    folder
        .join("sha256")
        .join(sha256.get(..2).unwrap_or(sha256))
        .join(sha256)
}
