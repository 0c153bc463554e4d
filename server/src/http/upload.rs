//! Uploads: content of an announced length and hash, streamed into the artifact store.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use futures::{Stream, StreamExt, stream};

use super::problem::ApiError;
use crate::artifacts::{Artifacts, Staged};
use crate::error::Error;

/// Most bytes of an upload.
const MAX_UPLOAD: u64 = 2 << 30;
/// How long an upload may stand still.
const MAX_STANDSTILL: Duration = Duration::from_secs(30);

/// What a client announced, as far as it can be judged before the content comes.
pub(super) struct Announced<'a> {
    sha256: &'a str,
    size_bytes: u64,
}

impl<'a> Announced<'a> {
    /// Refuses what can be no upload.
    pub(super) fn check(sha256: &'a str, size_bytes: u64, headers: &HeaderMap) -> Result<Self, ApiError> {
        let digits = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if sha256.len() != 64 || !digits(sha256) {
            return Err(ApiError::invalid_query("`sha256` is 64 hex digits in lower case"));
        }
        if size_bytes > MAX_UPLOAD {
            let detail = format!("An upload has at most {MAX_UPLOAD} bytes, not {size_bytes}");
            return Err(ApiError::too_large(detail));
        }
        let length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        if let Some(length) = length.filter(|length: &u64| *length > size_bytes) {
            return Err(Error::ChecksumMismatch {
                found: format!("{length} bytes"),
                announced: format!("the {size_bytes} announced"),
            }
            .into());
        }
        Ok(Self { sha256, size_bytes })
    }

    /// Takes in the content, which must be what was announced.
    pub(super) async fn receive(&self, artifacts: &Artifacts, body: Body) -> Result<Staged, Error> {
        let content = with_standstill_limit(body);
        artifacts.receive(content, self.sha256, self.size_bytes).await
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
