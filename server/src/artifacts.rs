//! The artifact store: bytes by their SHA-256, in a directory.
//!
//! An upload is written under a name of its own and hashed on the way; only what has the length and the hash
//! that were announced is moved to its place.

use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::error::Error;
use crate::monitoring::storage::Measured;

/// Where uploads lie until they are verified.
const UPLOADS: &str = "uploads";
/// Age from which an upload counts as left behind by a coordinator that was killed.
const ABANDONED: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Why the artifact store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Neither a path nor a `file://` URL.
    #[error("`{0}` is not a place for artifacts: give a directory or a file:/// URL")]
    NotADirectory(String),
    /// The directory cannot be made or read.
    #[error("the artifact directory {} cannot be used: {source}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The store refuses the directory.
    #[error("the artifact directory cannot be used: {0}")]
    Refused(#[from] object_store::Error),
}

/// The artifact store; cheap to clone.
#[derive(Clone, Debug)]
pub struct Artifacts {
    store: Arc<dyn ObjectStore>,
}

/// Verified bytes that have no name yet.
#[derive(Debug)]
pub struct Staged {
    from: Path,
    to: Path,
}

impl Artifacts {
    /// Opens the store at a path or `file://` URL, making the directory where there is none.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(place: &str) -> Result<Self, OpenError> {
        let path = directory(place)?;
        let unusable = |source| OpenError::Unusable {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(&path).map_err(unusable)?;
        let root = path.canonicalize().map_err(unusable)?;
        discard_abandoned(&root.join(UPLOADS)).map_err(unusable)?;
        let store = LocalFileSystem::new_with_prefix(root)?
            .with_automatic_cleanup(false)
            // The database names a file only once it would survive a power cut.
            .with_fsync(true);
        Ok(Self {
            store: Arc::new(Measured(store)),
        })
    }

    /// Receives bytes that shall have this length and hash, never holding more than a few pieces in memory.
    ///
    /// # Errors
    /// [`Error::ChecksumMismatch`], [`Error::UploadCut`], the artifact store. Nothing stays behind.
    pub async fn receive(
        &self,
        content: impl Stream<Item = Result<Bytes, axum::Error>> + Unpin,
        sha256: &str,
        size_bytes: u64,
    ) -> Result<Staged, Error> {
        let from = Path::from_iter([UPLOADS, &Uuid::now_v7().to_string()]);
        let mut writer = BufWriter::new(Arc::clone(&self.store), from.clone());
        let received = self.write(&mut writer, content, sha256, size_bytes).await;
        if let Err(error) = received {
            // Neither may have begun; what is left is discarded at the next start.
            let _ = writer.abort().await;
            let _ = self.store.delete(&from).await;
            return Err(error);
        }
        Ok(Staged {
            from,
            to: place_of(sha256),
        })
    }

    async fn write(
        &self,
        writer: &mut BufWriter,
        mut content: impl Stream<Item = Result<Bytes, axum::Error>> + Unpin,
        sha256: &str,
        size_bytes: u64,
    ) -> Result<(), Error> {
        let mut hash = Sha256::new();
        let mut length = 0u64;
        while let Some(piece) = content.next().await {
            let piece = piece.map_err(Error::UploadCut)?;
            length += piece.len() as u64;
            if length > size_bytes {
                break;
            }
            hash.update(&piece);
            writer.put(piece).await?;
        }
        if length != size_bytes {
            let more = if length > size_bytes { "more than " } else { "" };
            return Err(Error::ChecksumMismatch {
                found: format!("{more}{} bytes", length.min(size_bytes)),
                announced: format!("the {size_bytes} announced"),
            });
        }
        let found = format!("{:x}", hash.finalize());
        if found != sha256 {
            return Err(Error::ChecksumMismatch {
                found: format!("the SHA-256 {found}"),
                announced: format!("the {sha256} announced"),
            });
        }
        writer
            .shutdown()
            .await
            .map_err(|error| object_store::Error::Generic {
                store: "artifacts",
                source: Box::new(error),
            })?;
        Ok(())
    }

    /// Reads the bytes of a hash, or a part of them.
    ///
    /// # Errors
    /// The artifact store, at once or in the stream.
    pub async fn read(
        &self,
        sha256: &str,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, object_store::Error>>, Error> {
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        Ok(self
            .store
            .get_opts(&place_of(sha256), options)
            .await?
            .into_stream())
    }

    /// Deletes the bytes of a hash; that they are gone already is no error.
    ///
    /// # Errors
    /// The artifact store.
    pub async fn delete(&self, sha256: &str) -> Result<(), Error> {
        match self.store.delete(&place_of(sha256)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// How many files there are, uploads included.
    ///
    /// # Errors
    /// The artifact store.
    pub async fn count(&self) -> Result<usize, Error> {
        Ok(self
            .store
            .list(None)
            .try_fold(0, |count, _| async move { Ok(count + 1) })
            .await?)
    }
}

impl Staged {
    /// Moves the bytes to the place of their hash.
    ///
    /// # Errors
    /// The artifact store.
    pub async fn commit(&self, artifacts: &Artifacts) -> Result<(), Error> {
        Ok(artifacts.store.rename(&self.from, &self.to).await?)
    }

    /// Deletes the bytes if they were not moved.
    pub async fn discard(self, artifacts: &Artifacts) {
        // After a commit there is nothing, and what stays by mischance is discarded at a later start.
        let _ = artifacts.store.delete(&self.from).await;
    }
}

fn directory(place: &str) -> Result<PathBuf, OpenError> {
    let not_a_directory = || OpenError::NotADirectory(place.to_owned());
    if !place.contains("://") {
        return Ok(PathBuf::from(place));
    }
    let url = url::Url::parse(place).map_err(|_| not_a_directory())?;
    if url.scheme() != "file" {
        return Err(not_a_directory());
    }
    url.to_file_path().map_err(|()| not_a_directory())
}

/// Deletes uploads that no coordinator can still be receiving.
fn discard_abandoned(uploads: &FilePath) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(uploads) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if age > ABANDONED {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Two digits are a directory of their own, so that none gets too full.
fn place_of(sha256: &str) -> Path {
    let prefix = sha256.get(..2).unwrap_or(sha256);
    Path::from_iter(["sha256", prefix, sha256])
}
