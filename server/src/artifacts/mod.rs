//! The artifact store: bytes by their SHA-256, in a directory or a bucket ([`place`]).
//!
//! An upload goes to the place of its hash, which is known before, but is seen there only when it is complete: every
//! store that we use publishes a file, or the parts of one, in one step. That step is taken when length and hash are
//! those announced. Nothing is renamed, which buckets cannot do. [`transfer`] receives, [`health`] says whether the
//! store works.

mod health;
mod place;
mod transfer;

use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use motif_proto::id::UploadId;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};

pub use self::health::{Health, is_full};
pub use self::place::OpenError;
pub use self::transfer::Incoming;
use crate::error::Error;

/// Where parts of resumable uploads lie until their whole is verified.
const UPLOADS: &str = "uploads";
/// Where verified bytes lie.
const CONTENT: &str = "sha256";
/// Age from which what no upload can still be using counts as left behind by a coordinator that was killed.
const ABANDONED: Duration = Duration::from_secs(48 * 3600);
/// How long a question or a deletion may take. Some are asked while a row is locked.
const CALL_LIMIT: Duration = Duration::from_secs(20);

/// The artifact store; cheap to clone.
#[derive(Clone, Debug)]
pub struct Artifacts {
    store: Arc<dyn ObjectStore>,
    /// The same store, where uploads in parts have names that outlive this process.
    multipart: Option<Arc<dyn MultipartStoreDebug>>,
    directory: Option<PathBuf>,
    /// Uploads that are longer go in parts of so many bytes.
    part_bytes: usize,
    watch: Arc<health::Watch>,
}

/// A [`MultipartStore`] that can be shown.
pub trait MultipartStoreDebug: MultipartStore + std::fmt::Debug {}
impl<T: MultipartStore + std::fmt::Debug> MultipartStoreDebug for T {}

/// Bytes that lie in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The SHA-256 that their place stands for, in hex.
    pub sha256: String,
    /// How many they are.
    pub size_bytes: u64,
}

impl Artifacts {
    /// Opens the store at a path or URL, see [`OpenError::NotAPlace`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(place: &str) -> Result<Self, OpenError> {
        let environment: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::open_as(place, &environment)
    }

    /// Opens the store with what these variables say of its bucket.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_as(place: &str, environment: &[(String, String)]) -> Result<Self, OpenError> {
        place::open(place, environment)
    }

    /// A store over what `object_store` knows, for tests and for places that have no URL here.
    #[must_use]
    pub fn new(
        store: Arc<dyn ObjectStore>,
        multipart: Option<Arc<dyn MultipartStoreDebug>>,
        directory: Option<PathBuf>,
    ) -> Self {
        Self {
            store,
            multipart,
            directory,
            part_bytes: transfer::PART,
            watch: Arc::default(),
        }
    }

    /// The same store with parts of another length: for tests, as buckets have their own ideas of what a part may be.
    #[must_use]
    pub fn with_parts_of(mut self, bytes: usize) -> Self {
        self.part_bytes = bytes.max(1);
        self
    }

    /// The directory, where it is one.
    #[must_use]
    pub fn directory(&self) -> Option<&FilePath> {
        self.directory.as_deref()
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
        // Not every bucket takes a range that is empty, and what is asked for is known.
        if range.as_ref().is_some_and(Range::is_empty) {
            return Ok(futures::stream::empty().boxed());
        }
        self.stream(&place_of(sha256), range).await
    }

    async fn stream(
        &self,
        path: &Path,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, object_store::Error>>, Error> {
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        Ok(limited(self.store.get_opts(path, options)).await?.into_stream())
    }

    /// How many bytes lie at the place of a hash; none where nothing does.
    ///
    /// # Errors
    /// The artifact store.
    pub async fn size(&self, sha256: &str) -> Result<Option<u64>, Error> {
        match limited(self.store.head(&place_of(sha256))).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the bytes of a hash; that they are gone already is no error.
    ///
    /// # Errors
    /// The artifact store.
    pub async fn delete(&self, sha256: &str) -> Result<(), Error> {
        self.delete_at(&place_of(sha256)).await
    }

    async fn delete_at(&self, path: &Path) -> Result<(), Error> {
        match limited(self.store.delete(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Everything that lies at the place of a hash.
    pub fn list(&self) -> BoxStream<'static, Result<Found, object_store::Error>> {
        self.store
            .list(Some(&Path::from(CONTENT)))
            .try_filter_map(|found| async move {
                Ok(found.location.filename().map(|name| Found {
                    sha256: name.to_owned(),
                    size_bytes: found.size,
                }))
            })
            .boxed()
    }

    /// How many files there are, parts of uploads included.
    ///
    /// # Errors
    /// The artifact store.
    pub async fn count(&self) -> Result<usize, Error> {
        let mut count = 0;
        for prefix in [CONTENT, UPLOADS] {
            count += self
                .store
                .list(Some(&Path::from(prefix)))
                .try_fold(0, |count, _| async move { Ok(count + 1) })
                .await?;
        }
        Ok(count)
    }

    /// Deletes what uploads left behind that no coordinator can still be receiving. Returns how much.
    ///
    /// # Errors
    /// The artifact store, or the directory.
    pub async fn discard_abandoned(&self) -> Result<usize, Error> {
        let now = SystemTime::now();
        let old = |found: &ObjectMeta| {
            now.duration_since(found.last_modified.into())
                .is_ok_and(|age| age > ABANDONED)
        };
        let parts: Vec<Path> = self
            .store
            .list(Some(&Path::from(UPLOADS)))
            .try_filter_map(|found| async move { Ok(old(&found).then_some(found.location)) })
            .try_collect()
            .await?;
        let mut count = parts.len();
        for part in parts {
            self.delete_at(&part).await?;
        }
        if let Some(root) = self.directory.clone() {
            // Files that are written have a name of their own beside the place where they go.
            count += tokio::task::spawn_blocking(move || discard_unpublished(&root.join(CONTENT)))
                .await
                .map_err(|error| broken(error.into()))?
                .map_err(|error| broken(error.into()))?;
        }
        Ok(count)
    }
}

fn discard_unpublished(content: &FilePath) -> std::io::Result<usize> {
    let mut count = 0;
    let Some(folders) = entries(content)? else {
        return Ok(0);
    };
    for folder in folders {
        for entry in entries(&folder?.path())?.into_iter().flatten() {
            let entry = entry?;
            let unpublished = entry.file_name().to_string_lossy().contains('#');
            if unpublished && entry.metadata()?.modified()?.elapsed().unwrap_or_default() > ABANDONED {
                std::fs::remove_file(entry.path())?;
                count += 1;
            }
        }
    }
    Ok(count)
}

fn entries(folder: &FilePath) -> std::io::Result<Option<std::fs::ReadDir>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => Ok(Some(entries)),
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Two digits are a directory of their own, so that none gets too full.
fn place_of(sha256: &str) -> Path {
    let prefix = sha256.get(..2).unwrap_or(sha256);
    Path::from_iter([CONTENT, prefix, sha256])
}

/// Where the part of an upload lies that begins with this byte.
fn place_of_part(upload: UploadId, first_byte: u64) -> Path {
    Path::from_iter([UPLOADS, &upload.to_string(), &format!("{first_byte:016}")])
}

/// Bounds a call of the store.
async fn limited<T>(
    call: impl Future<Output = Result<T, object_store::Error>>,
) -> Result<T, object_store::Error> {
    limited_to(CALL_LIMIT, call).await
}

async fn limited_to<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, object_store::Error>>,
) -> Result<T, object_store::Error> {
    tokio::time::timeout(limit, call)
        .await
        .unwrap_or_else(|elapsed| Err(generic(elapsed.into())))
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> object_store::Error {
    object_store::Error::Generic {
        store: "artifacts",
        source,
    }
}

fn broken(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Artifacts(generic(source))
}
