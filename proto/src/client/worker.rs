//! The worker's side: register, claim, heartbeat, metrics, logs, checkpoints, finish.

use std::io::{self, SeekFrom};
use std::path::Path;
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Method, RequestBuilder, StatusCode};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use super::{Client, ClientError};
use crate::id::AttemptId;
use crate::log::{LogBatch, LogsAccepted};
use crate::metrics::{MetricsAccepted, MetricsBatch, POSTCARD};
use crate::upload::{BeginUpload, UploadPart, UploadProgress};
use crate::worker::{
    Claim, ClaimRequest, FinishAttempt, Heartbeat, HeartbeatAnswer, RegisterWorker, UploadArtifact,
    UploadCheckpoint, WorkerCanary, WorkerRegistered,
};

/// Files above this go in parts.
const IN_PARTS_FROM: u64 = 24 << 20;
/// How long after the end of its wait a claim may still be answered.
const CLAIM_GRACE: Duration = Duration::from_secs(10);
/// How long an upload may take beside the transfer itself.
const UPLOAD_GRACE: Duration = Duration::from_secs(60);
/// The slowest transfer that is worth waiting for.
const SLOWEST_UPLOAD_BYTES_PER_SECOND: u64 = 64 * 1024;
/// Longest time after the end of its wait before a heartbeat counts as lost; a lease is longer.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);

impl Client {
    /// Makes a worker known. Not idempotent: every call makes a new worker.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub async fn register(&self, worker: &RegisterWorker) -> Result<WorkerRegistered, ClientError> {
        self.post(&["worker", "register"], worker).await
    }

    /// Reports what a worker's canary gave. Safe to repeat.
    ///
    /// # Errors
    /// A problem with the code `unknown_worker` asks to register again.
    pub async fn report_canary(&self, canary: &WorkerCanary) -> Result<(), ClientError> {
        let request = self.request(Method::POST, &["worker", "canary"]);
        self.send(request.json(canary)).await.map(drop)
    }

    /// Waits for work; `None` when there was none for `wait_seconds`.
    ///
    /// # Errors
    /// A problem with the code `unknown_worker` asks to register again.
    pub async fn claim(&self, claim: &ClaimRequest) -> Result<Option<Claim>, ClientError> {
        let limit = Duration::from_secs(u64::from(claim.wait_seconds)) + CLAIM_GRACE;
        let request = self.request(Method::POST, &["worker", "claim"]);
        let response = self.send(request.timeout(limit).json(claim)).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        self.decode(response).await.map(Some)
    }

    /// Renews leases, and tells what became of each.
    ///
    /// # Errors
    /// A problem with the code `unknown_worker` asks to register again.
    pub async fn heartbeat(&self, heartbeat: &Heartbeat) -> Result<HeartbeatAnswer, ClientError> {
        let request = self.request(Method::POST, &["worker", "heartbeat"]);
        let limit = HEARTBEAT_TIMEOUT + Duration::from_secs(u64::from(heartbeat.wait_seconds));
        self.json(request.timeout(limit).json(heartbeat)).await
    }

    /// Sends what an attempt has measured. Safe to repeat.
    ///
    /// # Errors
    /// Problems with the codes `stale_lease` and `sequence_gap`.
    pub async fn send_metrics(&self, batch: &MetricsBatch) -> Result<MetricsAccepted, ClientError> {
        let body = postcard::to_stdvec(batch).map_err(|error| ClientError::Unsendable(error.to_string()))?;
        let request = self.request(Method::POST, &["worker", "metrics"]);
        let request = traced(request, batch.attempt);
        self.json(request.header(CONTENT_TYPE, POSTCARD).body(body)).await
    }

    /// Sends log lines of an attempt. Safe to repeat.
    ///
    /// # Errors
    /// A problem with the code `stale_lease`.
    pub async fn send_logs(&self, batch: &LogBatch) -> Result<LogsAccepted, ClientError> {
        let request = self.request(Method::POST, &["worker", "logs"]);
        self.json(traced(request, batch.attempt).json(batch)).await
    }

    /// Sends a checkpoint from a file, without holding it in memory, in parts where it is large. Safe to repeat: what
    /// arrived of a large one is not sent again.
    ///
    /// # Errors
    /// [`ClientError::File`], and problems with the codes `stale_lease`, `sequence_gap`, `checksum_mismatch`,
    /// `storage_full`.
    pub async fn upload_checkpoint(&self, upload: &UploadCheckpoint, file: &Path) -> Result<(), ClientError> {
        let begin = BeginUpload {
            attempt: upload.attempt,
            token: upload.token,
            sha256: upload.sha256.clone(),
            size_bytes: upload.size_bytes,
        };
        self.upload_file("checkpoints", upload, &begin, file).await
    }

    /// Sends a checkpoint from bytes or a stream of bytes. Safe to repeat with the same bytes.
    ///
    /// # Errors
    /// As [`Client::upload_checkpoint`].
    pub async fn upload_checkpoint_body(
        &self,
        upload: &UploadCheckpoint,
        content: impl Into<Body>,
    ) -> Result<(), ClientError> {
        self.upload(
            "checkpoints",
            upload.attempt,
            upload,
            upload.size_bytes,
            content.into(),
        )
        .await
    }

    /// Sends a file that a run made, as [`Client::upload_checkpoint`] sends a checkpoint.
    ///
    /// # Errors
    /// [`ClientError::File`], and problems with the codes `stale_lease`, `checksum_mismatch`, `storage_full`.
    pub async fn upload_artifact(&self, upload: &UploadArtifact, file: &Path) -> Result<(), ClientError> {
        let begin = BeginUpload {
            attempt: upload.attempt,
            token: upload.token,
            sha256: upload.sha256.clone(),
            size_bytes: upload.size_bytes,
        };
        self.upload_file("artifacts", upload, &begin, file).await
    }

    /// Sends a file whole, or in parts where it is large.
    async fn upload_file(
        &self,
        place: &str,
        query: &impl Serialize,
        begin: &BeginUpload,
        file: &Path,
    ) -> Result<(), ClientError> {
        if begin.size_bytes <= IN_PARTS_FROM {
            let content = content_of(file).await?;
            return self
                .upload(place, begin.attempt, query, begin.size_bytes, content)
                .await;
        }
        let held = self.upload_in_parts(begin, file).await?;
        self.finish_upload(place, query, held, begin.size_bytes).await
    }

    /// Sends what the coordinator does not have yet of a large file, part by part.
    async fn upload_in_parts(&self, begin: &BeginUpload, file: &Path) -> Result<UploadProgress, ClientError> {
        let unreadable = |source| ClientError::File {
            path: file.to_owned(),
            source,
        };
        let mut content = tokio::fs::File::open(file).await.map_err(unreadable)?;
        let mut progress: UploadProgress = self.post(&["worker", "uploads"], begin).await?;
        content
            .seek(SeekFrom::Start(progress.offset))
            .await
            .map_err(unreadable)?;
        while progress.offset < begin.size_bytes {
            let mut part = Vec::new();
            let wanted = progress.part_bytes.min(begin.size_bytes - progress.offset);
            (&mut content)
                .take(wanted)
                .read_to_end(&mut part)
                .await
                .map_err(unreadable)?;
            if part.is_empty() {
                return Err(unreadable(io::ErrorKind::UnexpectedEof.into()));
            }
            let id = progress.upload.to_string();
            let query = UploadPart {
                attempt: begin.attempt,
                token: begin.token,
                first_byte: progress.offset,
            };
            let request = self
                .request(Method::PATCH, &["worker", "uploads", &id])
                .query(&query)
                .timeout(upload_limit(part.len() as u64))
                .header(CONTENT_TYPE, "application/octet-stream")
                .body(part);
            progress = self.json(request).await?;
        }
        Ok(progress)
    }

    /// Says what an upload whose parts are all there is. The coordinator reads them all before it answers.
    async fn finish_upload(
        &self,
        place: &str,
        query: &impl Serialize,
        held: UploadProgress,
        size_bytes: u64,
    ) -> Result<(), ClientError> {
        let request = self
            .request(Method::POST, &["worker", place])
            .query(query)
            .query(&[("upload", held.upload)])
            .timeout(upload_limit(size_bytes));
        self.send(request).await.map(drop)
    }

    async fn upload(
        &self,
        place: &str,
        attempt: AttemptId,
        query: &impl Serialize,
        size_bytes: u64,
        content: Body,
    ) -> Result<(), ClientError> {
        let request = self
            .request(Method::POST, &["worker", place])
            .query(query)
            .timeout(upload_limit(size_bytes))
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, size_bytes)
            .body(content);
        self.send(traced(request, attempt)).await.map(drop)
    }

    /// Ends an attempt. Safe to repeat.
    ///
    /// # Errors
    /// Problems with the codes `stale_lease` and `sequence_gap`.
    pub async fn finish(&self, finish: &FinishAttempt) -> Result<(), ClientError> {
        let request = self.request(Method::POST, &["worker", "finish"]);
        let request = traced(request, finish.attempt);
        self.send(request.json(finish)).await.map(drop)
    }
}

fn upload_limit(size_bytes: u64) -> Duration {
    UPLOAD_GRACE + Duration::from_secs(size_bytes / SLOWEST_UPLOAD_BYTES_PER_SECOND)
}

/// Says that a request is part of an attempt, as W3C's trace context has it: the attempt's id is the trace, so that
/// whoever looks for what a coordinator did for an attempt knows what to look for.
fn traced(request: RequestBuilder, attempt: AttemptId) -> RequestBuilder {
    let (_, span) = Uuid::now_v7().as_u64_pair();
    request.header("traceparent", format!("00-{}-{span:016x}-01", attempt.0.simple()))
}

/// A file as a body that is read while it is sent.
async fn content_of(file: &Path) -> Result<Body, ClientError> {
    let content = tokio::fs::File::open(file)
        .await
        .map_err(|source| ClientError::File {
            path: file.to_owned(),
            source,
        })?;
    Ok(Body::wrap_stream(ReaderStream::new(content)))
}
