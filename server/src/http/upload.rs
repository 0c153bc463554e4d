//! Uploads: content of an announced length and hash, streamed into the artifact store.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use futures::{Stream, StreamExt, stream};
use motif_proto::upload::MAX_UPLOAD_BYTES;

use super::problem::ApiError;
use crate::artifacts::Artifacts;
use crate::error::Error;
use crate::store::Store;
use crate::store::uploads::Promised;

/// How long an upload may stand still.
const MAX_STANDSTILL: Duration = Duration::from_secs(30);

/// What a client announced, as far as it can be judged before the content comes.
pub(super) struct Announced {
    size_bytes: u64,
}

impl Announced {
    /// Refuses what can be no upload.
    pub(super) fn check(sha256: &str, size_bytes: u64) -> Result<Self, ApiError> {
        let digits = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if sha256.len() != 64 || !digits(sha256) {
            return Err(ApiError::invalid_query("`sha256` is 64 hex digits in lower case"));
        }
        if size_bytes > MAX_UPLOAD_BYTES {
            let detail = format!("An upload has at most {MAX_UPLOAD_BYTES} bytes, not {size_bytes}");
            return Err(ApiError::too_large(detail));
        }
        Ok(Self { size_bytes })
    }

    /// Refuses a body that is longer than announced before it comes.
    pub(super) fn check_length(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        match length.filter(|length: &u64| *length > self.size_bytes) {
            None => Ok(()),
            Some(length) => Err(Error::ChecksumMismatch {
                found: format!("{length} bytes"),
                announced: format!("the {} announced", self.size_bytes),
            }
            .into()),
        }
    }
}

/// An upload that was admitted, and where its bytes go.
pub(super) struct Upload<'a> {
    pub(super) store: &'a Store,
    pub(super) artifacts: &'a Artifacts,
    pub(super) promised: &'a Promised,
    /// Its content came in parts before.
    pub(super) in_parts: bool,
}

impl Upload<'_> {
    /// Takes in the content, then names it. If either fails, nothing stays behind, except parts that the next try
    /// can use.
    pub(super) async fn carry_out<T>(
        self,
        body: Body,
        name: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let parts = if self.in_parts {
            self.store.parts(self.promised).await?
        } else {
            Vec::new()
        };
        let named = match self.receive(&parts, body).await {
            Ok(()) => name.await,
            Err(error) => Err(error),
        };
        let keeps_parts = self.in_parts
            && matches!(
                named,
                Err(Error::Storage(_) | Error::Artifacts(_) | Error::SequenceGap { .. })
            );
        if named.is_err() && !keeps_parts {
            self.store.give_up(self.promised, self.artifacts).await;
        }
        if !keeps_parts && let Err(error) = self.artifacts.delete_parts(self.promised.id, &parts).await {
            tracing::warn!(%error, "parts of an upload were not deleted; they are discarded later");
        }
        named
    }

    async fn receive(&self, parts: &[u64], body: Body) -> Result<(), Error> {
        let incoming = self
            .artifacts
            .begin(&self.promised.sha256, self.promised.size_bytes)
            .await?;
        if let Some(id) = incoming.multipart_id() {
            self.store.note_multipart(self.promised, id).await?;
        }
        if self.in_parts {
            let content = self.artifacts.read_parts(self.promised.id, parts.to_vec());
            incoming.receive(Box::pin(content)).await
        } else {
            incoming.receive(with_standstill_limit(body)).await
        }
    }
}

fn with_standstill_limit(body: Body) -> impl Stream<Item = Result<bytes::Bytes, axum::Error>> + Unpin {
    Box::pin(stream::unfold(
        Some(body.into_data_stream()),
        |stream| async move {
            let mut stream = stream?;
            match tokio::time::timeout(MAX_STANDSTILL, stream.next()).await {
                Ok(piece) => piece.map(|piece| (piece, Some(stream))),
                Err(elapsed) => Some((Err(axum::Error::new(elapsed)), None)),
            }
        },
    ))
}
