//! Bytes on their way into the store.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use motif_proto::id::UploadId;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use super::{Artifacts, MultipartStoreDebug, generic, limited, limited_to, place_of, place_of_part};
use crate::error::Error;

/// Bytes of a part. Buckets want at least 5 MiB of each but the last, some also that all are equal.
pub(super) const PART: usize = 8 << 20;
/// Parts of an upload on their way at once; with the one that is filled they are what it holds in memory.
const IN_FLIGHT: usize = 2;
/// How long the store may take for a part: as long as it may for the slowest connection that is worth having.
const PART_LIMIT: Duration = Duration::from_secs(90);

type Result<T> = std::result::Result<T, object_store::Error>;

/// Bytes that are being received for the place of their hash. Dropped without [`complete`](Self::complete) or
/// [`abort`](Self::abort), it leaves parts behind that nobody sees.
#[derive(Debug)]
pub struct Incoming {
    artifacts: Artifacts,
    sha256: String,
    size_bytes: u64,
    parts: Option<Parts>,
    filled: BytesMut,
    hash: Sha256,
    length: u64,
}

impl Artifacts {
    /// Begins to receive bytes that shall have this length and hash.
    ///
    /// # Errors
    /// The artifact store.
    pub async fn begin(&self, sha256: &str, size_bytes: u64) -> std::result::Result<Incoming, Error> {
        let parts = if size_bytes > self.part_bytes as u64 {
            Some(self.seen(Parts::begin(self, place_of(sha256)).await, size_bytes)?)
        } else {
            None
        };
        Ok(Incoming {
            artifacts: self.clone(),
            sha256: sha256.to_owned(),
            size_bytes,
            parts,
            filled: BytesMut::new(),
            hash: Sha256::new(),
            length: 0,
        })
    }

    /// Receives bytes that shall have this length and hash, from the first to the last.
    ///
    /// # Errors
    /// As [`Incoming::take`] and [`Incoming::complete`]. Nothing stays behind.
    pub async fn receive<E>(
        &self,
        content: impl Stream<Item = std::result::Result<Bytes, E>> + Unpin,
        sha256: &str,
        size_bytes: u64,
    ) -> std::result::Result<(), Error>
    where
        Error: From<E>,
    {
        self.begin(sha256, size_bytes).await?.receive(content).await
    }

    /// Forgets the parts of an upload that nobody completed.
    ///
    /// # Errors
    /// The artifact store.
    pub async fn abort(&self, sha256: &str, multipart_id: &str) -> std::result::Result<(), Error> {
        let Some(store) = &self.multipart else {
            return Ok(());
        };
        match limited(store.abort_multipart(&place_of(sha256), &multipart_id.to_owned())).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Stores the part of a resumable upload that begins with this byte, whole or not at all.
    ///
    /// # Errors
    /// The artifact store.
    pub async fn put_part(
        &self,
        upload: UploadId,
        first_byte: u64,
        content: Bytes,
    ) -> std::result::Result<(), Error> {
        let size = content.len() as u64;
        let place = place_of_part(upload, first_byte);
        let put = limited_to(PART_LIMIT, self.store.put(&place, content.into())).await;
        self.seen(put, size)?;
        Ok(())
    }

    /// The parts of a resumable upload that begin with these bytes, one after the other.
    pub fn read_parts(
        &self,
        upload: UploadId,
        first_bytes: Vec<u64>,
    ) -> impl Stream<Item = std::result::Result<Bytes, Error>> + Send + use<> {
        let artifacts = self.clone();
        futures::stream::iter(first_bytes)
            .then(move |first_byte| {
                let artifacts = artifacts.clone();
                async move { artifacts.stream(&place_of_part(upload, first_byte), None).await }
            })
            .map_ok(|part| part.map_err(Error::from))
            .try_flatten()
    }

    /// Deletes the parts of a resumable upload that begin with these bytes.
    ///
    /// # Errors
    /// The artifact store.
    pub async fn delete_parts(
        &self,
        upload: UploadId,
        first_bytes: &[u64],
    ) -> std::result::Result<(), Error> {
        for &first_byte in first_bytes {
            self.delete_at(&place_of_part(upload, first_byte)).await?;
        }
        Ok(())
    }
}

impl Incoming {
    /// What the bucket calls this upload, where it has parts: whoever knows it can [`abort`](Artifacts::abort) it.
    #[must_use]
    pub fn multipart_id(&self) -> Option<&str> {
        match &self.parts.as_ref()?.target {
            Target::Named { id, .. } => Some(id),
            Target::Unnamed(_) => None,
        }
    }

    /// Takes everything in and [completes](Self::complete) it, or leaves nothing behind.
    ///
    /// # Errors
    /// As [`take`](Self::take) and [`complete`](Self::complete), and those of the stream.
    pub async fn receive<E>(
        mut self,
        mut content: impl Stream<Item = std::result::Result<Bytes, E>> + Unpin,
    ) -> std::result::Result<(), Error>
    where
        Error: From<E>,
    {
        while let Some(piece) = content.next().await {
            let taken = match piece {
                Ok(piece) => self.take(piece).await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = taken {
                self.abort().await;
                return Err(error);
            }
        }
        self.complete().await
    }

    /// Takes in the next bytes.
    ///
    /// # Errors
    /// [`Error::ChecksumMismatch`] where they are more than announced, the artifact store.
    async fn take(&mut self, piece: Bytes) -> std::result::Result<(), Error> {
        self.length += piece.len() as u64;
        if self.length > self.size_bytes {
            return Err(self.wrong_length());
        }
        self.hash.update(&piece);
        self.filled.extend_from_slice(&piece);
        while let Some(parts) = &mut self.parts
            && self.filled.len() >= self.artifacts.part_bytes
        {
            let part = self.filled.split_to(self.artifacts.part_bytes).freeze();
            let put = parts.put(part).await;
            self.artifacts.seen(put, self.size_bytes)?;
        }
        Ok(())
    }

    /// Shows the bytes at their place if they are those announced, and leaves nothing behind otherwise.
    ///
    /// # Errors
    /// [`Error::ChecksumMismatch`], the artifact store.
    async fn complete(mut self) -> std::result::Result<(), Error> {
        if let Err(error) = self.verify() {
            self.abort().await;
            return Err(error);
        }
        let artifacts = self.artifacts.clone();
        let last = self.filled.split().freeze();
        let shown = match &mut self.parts {
            None => {
                let place = place_of(&self.sha256);
                let put = artifacts.store.put(&place, last.into());
                limited_to(PART_LIMIT, put).await.map(drop)
            }
            Some(parts) => parts.complete(last).await,
        };
        if shown.is_err() {
            self.abort().await;
        }
        artifacts.seen(shown, self.size_bytes)?;
        Ok(())
    }

    fn verify(&self) -> std::result::Result<(), Error> {
        if self.length != self.size_bytes {
            return Err(self.wrong_length());
        }
        let found = format!("{:x}", self.hash.clone().finalize());
        if found != self.sha256 {
            return Err(Error::ChecksumMismatch {
                found: format!("the SHA-256 {found}"),
                announced: format!("the {} announced", self.sha256),
            });
        }
        Ok(())
    }

    fn wrong_length(&self) -> Error {
        let more = if self.length > self.size_bytes {
            "more than "
        } else {
            ""
        };
        Error::ChecksumMismatch {
            found: format!("{more}{} bytes", self.length.min(self.size_bytes)),
            announced: format!("the {} announced", self.size_bytes),
        }
    }

    async fn abort(&mut self) {
        if let Some(parts) = &mut self.parts
            && let Err(error) = parts.abort().await
        {
            tracing::warn!(%error, "parts of an upload that failed were not deleted; they are collected later");
        }
    }
}

/// An upload in parts.
#[derive(Debug)]
struct Parts {
    place: Path,
    target: Target,
    next: usize,
    on_their_way: JoinSet<Result<(usize, Option<object_store::multipart::PartId>)>>,
    arrived: Vec<(usize, object_store::multipart::PartId)>,
}

#[derive(Debug)]
enum Target {
    /// The store has no name for the upload: it ends with this process.
    Unnamed(Box<dyn MultipartUpload>),
    Named {
        store: Arc<dyn MultipartStoreDebug>,
        id: String,
    },
}

impl Parts {
    async fn begin(artifacts: &Artifacts, place: Path) -> Result<Self> {
        let target = match &artifacts.multipart {
            Some(store) => Target::Named {
                store: Arc::clone(store),
                id: limited(store.create_multipart(&place)).await?,
            },
            None => Target::Unnamed(limited(artifacts.store.put_multipart(&place)).await?),
        };
        Ok(Self {
            place,
            target,
            next: 0,
            on_their_way: JoinSet::new(),
            arrived: Vec::new(),
        })
    }

    /// Sends a part; returns before it is there, unless too many are on their way.
    async fn put(&mut self, part: Bytes) -> Result<()> {
        while self.on_their_way.len() >= IN_FLIGHT {
            self.arrive().await?;
        }
        let number = self.next;
        self.next += 1;
        let payload = PutPayload::from(part);
        let put = match &mut self.target {
            Target::Unnamed(upload) => upload.put_part(payload).map(|put| put.map(|()| None)).boxed(),
            Target::Named { store, id } => {
                let (store, place, id) = (Arc::clone(store), self.place.clone(), id.clone());
                async move { store.put_part(&place, &id, number, payload).await.map(Some) }.boxed()
            }
        };
        self.on_their_way
            .spawn(async move { limited_to(PART_LIMIT, put).await.map(|id| (number, id)) });
        Ok(())
    }

    /// Waits for a part that is on its way.
    async fn arrive(&mut self) -> Result<bool> {
        match self.on_their_way.join_next().await {
            None => Ok(false),
            Some(arrived) => {
                let (number, id) = arrived.map_err(|error| generic(error.into()))??;
                self.arrived.extend(id.map(|id| (number, id)));
                Ok(true)
            }
        }
    }

    async fn complete(&mut self, last: Bytes) -> Result<()> {
        if !last.is_empty() {
            self.put(last).await?;
        }
        while self.arrive().await? {}
        match &mut self.target {
            Target::Unnamed(upload) => limited_to(PART_LIMIT, upload.complete()).await?,
            Target::Named { store, id } => {
                self.arrived.sort_by_key(|(number, _)| *number);
                let parts = std::mem::take(&mut self.arrived);
                let parts = parts.into_iter().map(|(_, id)| id).collect();
                limited_to(PART_LIMIT, store.complete_multipart(&self.place, id, parts)).await?
            }
        };
        Ok(())
    }

    async fn abort(&mut self) -> Result<()> {
        self.on_their_way.shutdown().await;
        match &mut self.target {
            Target::Unnamed(upload) => limited(upload.abort()).await,
            Target::Named { store, id } => limited(store.abort_multipart(&self.place, id)).await,
        }
    }
}
