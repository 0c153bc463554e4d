//! The worker's side: register, claim, heartbeat, metrics, checkpoints, artifacts, finish.

use std::time::Duration;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use motif_proto::artifact::{Artifact, MAX_ARTIFACT_NAME, is_artifact_name};
use motif_proto::metrics::{MetricsAccepted, MetricsBatch};
use motif_proto::problem::Problem;
use motif_proto::run::{Checkpoint, CheckpointKind};
use motif_proto::worker::{
    Claim, ClaimRequest, FinishAttempt, Heartbeat, HeartbeatAnswer, MAX_CLAIM_WAIT_SECONDS, RegisterWorker,
    UploadArtifact, UploadCheckpoint, WorkerRegistered,
};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

use super::extract::{Json, Packed, Query};
use super::problem::ApiError;
use super::upload::{Announced, Upload};
use super::uploads::Received;
use crate::app::{AppState, Leases};
use crate::artifacts::Artifacts;
use crate::config::heartbeat_seconds;
use crate::signals::Signal;
use crate::store::Store;

/// How often a waiting claim looks by itself, should a notice be lost.
const LOOK_ANYWAY: Duration = Duration::from_secs(3);
/// Most leases of one heartbeat.
const MAX_LEASES: usize = 1024;
/// Most slots of a worker.
const MAX_SLOTS: u32 = 1024;
/// Longest text of a registration, in characters.
const MAX_TEXT: usize = 200;
/// Most labels of a worker.
const MAX_LABELS: usize = 32;

/// Register a worker under a new id.
#[utoipa::path(
    post, path = "/worker/register", tag = "worker", request_body = RegisterWorker,
    responses(
        (status = OK, body = WorkerRegistered),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn register(
    State(store): State<Store>,
    State(leases): State<Leases>,
    Json(worker): Json<RegisterWorker>,
) -> Result<Answer<WorkerRegistered>, ApiError> {
    check_registration(&worker)?;
    let id = store.register_worker(&worker).await?;
    Ok(Answer(WorkerRegistered {
        worker: id,
        heartbeat_seconds: heartbeat_seconds(leases.length),
        lease_seconds: u32::try_from(leases.length.as_secs()).unwrap_or(u32::MAX),
    }))
}

/// Claim a run, waiting until there is one.
///
/// 204 says that there was none in the time given: ask again.
#[utoipa::path(
    post, path = "/worker/claim", tag = "worker", request_body = ClaimRequest,
    responses(
        (status = OK, body = Claim),
        (status = NO_CONTENT, description = "No run fits for now"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json",
         description = "`unknown_worker`: register again"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn claim(
    State(state): State<AppState>,
    Json(request): Json<ClaimRequest>,
) -> Result<Response, ApiError> {
    if request.free_slots == 0 {
        return Err(ApiError::invalid_body("`free_slots` is at least 1"));
    }
    let wait = Duration::from_secs(request.wait_seconds.min(MAX_CLAIM_WAIT_SECONDS).into());
    let deadline = Instant::now() + wait;
    // Before the first look, so that nothing that is queued in between is missed.
    let mut news = state.signals.subscribe();
    loop {
        if let Some(claim) = state.store.claim_run(&request, state.leases.length).await? {
            return Ok(Answer(claim).into_response());
        }
        if Instant::now() >= deadline {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        let look_anyway = deadline.min(Instant::now() + LOOK_ANYWAY);
        tokio::select! {
            () = state.stopping.0.cancelled() => return Ok(StatusCode::NO_CONTENT.into_response()),
            // Whether there is news or not, the next look tells.
            _ = timeout_at(look_anyway, queue_news(&mut news)) => {}
        }
    }
}

/// Renew leases, and learn what became of them.
#[utoipa::path(
    post, path = "/worker/heartbeat", tag = "worker", request_body = Heartbeat,
    responses(
        (status = OK, body = HeartbeatAnswer),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json",
         description = "`unknown_worker`: register again"),
    ),
)]
pub async fn heartbeat(
    State(store): State<Store>,
    State(leases): State<Leases>,
    Json(heartbeat): Json<Heartbeat>,
) -> Result<Answer<HeartbeatAnswer>, ApiError> {
    if heartbeat.leases.len() > MAX_LEASES {
        return Err(ApiError::invalid_body(format!(
            "`leases` has at most {MAX_LEASES} entries"
        )));
    }
    let leases = store
        .heartbeat(heartbeat.worker, &heartbeat.leases, leases.length)
        .await?;
    Ok(Answer(HeartbeatAnswer { leases }))
}

/// Append points to the curves of the run.
///
/// Safe to repeat. A stale token is refused and changes nothing. As `application/x-postcard` the body is the same
/// structure in that binary format, which both sides read and write faster.
#[utoipa::path(
    post, path = "/worker/metrics", tag = "worker",
    request_body(content((MetricsBatch = "application/json"), (Vec<u8> = "application/x-postcard"))),
    responses(
        (status = OK, body = MetricsAccepted),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
         description = "`stale_lease` or `sequence_gap`"),
        (status = PAYLOAD_TOO_LARGE, body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn metrics(
    State(store): State<Store>,
    State(leases): State<Leases>,
    Packed(batch): Packed<MetricsBatch>,
) -> Result<Answer<MetricsAccepted>, ApiError> {
    Ok(Answer(store.append_metrics(&batch, leases.length).await?))
}

/// Upload a checkpoint.
///
/// Safe to repeat. It is named only when its bytes have the length and the hash given.
#[utoipa::path(
    post, path = "/worker/checkpoints", tag = "worker", params(UploadCheckpoint, Received),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = CREATED, body = Checkpoint),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
         description = "`stale_lease`, `sequence_gap`, or `offset_mismatch` where parts are missing"),
        (status = PAYLOAD_TOO_LARGE, body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json",
         description = "`checksum_mismatch`: nothing was named"),
        (status = INSUFFICIENT_STORAGE, body = Problem, content_type = "application/problem+json",
         description = "`storage_full`: nothing was named; try again later"),
    ),
)]
pub async fn upload_checkpoint(
    State(store): State<Store>,
    State(artifacts): State<Artifacts>,
    Query(upload): Query<UploadCheckpoint>,
    Query(received): Query<Received>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Answer<Checkpoint>), ApiError> {
    if upload.kind == CheckpointKind::Kept {
        return Err(ApiError::invalid_query(
            "`kind` is `best` or `last`: which are kept the coordinator decides",
        ));
    }
    Announced::check(&upload.sha256, upload.size_bytes)?.check_length(&headers)?;
    let promised = &store.admit_checkpoint(&upload, received.upload).await?;
    let named = Upload {
        store: &store,
        artifacts: &artifacts,
        promised,
        in_parts: received.upload.is_some(),
    }
    .carry_out(body, store.name_checkpoint(&upload, promised, &artifacts))
    .await?;
    Ok((StatusCode::CREATED, Answer(named)))
}

/// Upload a file that the run made.
///
/// Safe to repeat. It is named only when its bytes have the length and the hash given; a newer file of the same
/// name replaces the older.
#[utoipa::path(
    post, path = "/worker/artifacts", tag = "worker", params(UploadArtifact, Received),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = CREATED, body = Artifact),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
         description = "`stale_lease`, or `offset_mismatch` where parts are missing"),
        (status = PAYLOAD_TOO_LARGE, body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json",
         description = "`checksum_mismatch` or `too_many_artifacts`: nothing was named"),
        (status = INSUFFICIENT_STORAGE, body = Problem, content_type = "application/problem+json",
         description = "`storage_full`: nothing was named; try again later"),
    ),
)]
pub async fn upload_artifact(
    State(store): State<Store>,
    State(artifacts): State<Artifacts>,
    Query(upload): Query<UploadArtifact>,
    Query(received): Query<Received>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Answer<Artifact>), ApiError> {
    if !is_artifact_name(&upload.name) {
        let detail = format!(
            "`name` has 1 to {MAX_ARTIFACT_NAME} letters, digits, dots, underscores and hyphens, and begins with no dot"
        );
        return Err(ApiError::invalid_query(detail));
    }
    Announced::check(&upload.sha256, upload.size_bytes)?.check_length(&headers)?;
    let promised = &store.admit_artifact(&upload, received.upload).await?;
    let named = Upload {
        store: &store,
        artifacts: &artifacts,
        promised,
        in_parts: received.upload.is_some(),
    }
    .carry_out(body, store.name_artifact(&upload, promised, &artifacts))
    .await?;
    Ok((StatusCode::CREATED, Answer(named)))
}

/// Report how an attempt ended.
///
/// Safe to repeat. A stale token is refused and changes nothing.
#[utoipa::path(
    post, path = "/worker/finish", tag = "worker", request_body = FinishAttempt,
    responses(
        (status = NO_CONTENT, description = "The end is recorded"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
         description = "`stale_lease` or `sequence_gap`"),
    ),
)]
pub async fn finish(
    State(store): State<Store>,
    Json(finish): Json<FinishAttempt>,
) -> Result<StatusCode, ApiError> {
    store.finish_attempt(&finish).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn queue_news(news: &mut broadcast::Receiver<Signal>) {
    loop {
        match news.recv().await {
            Ok(Signal::Run(_)) => {}
            Ok(Signal::Queue) | Err(RecvError::Lagged(_) | RecvError::Closed) => return,
        }
    }
}

fn check_registration(worker: &RegisterWorker) -> Result<(), ApiError> {
    let texts = [
        ("name", &worker.name),
        ("version", &worker.version),
        ("device_name", &worker.device_name),
    ];
    for (field, text) in texts {
        if text.chars().count() > MAX_TEXT || text.chars().any(char::is_control) {
            let detail = format!("`{field}` has at most {MAX_TEXT} characters and no control characters");
            return Err(ApiError::invalid_body(detail));
        }
    }
    if worker.name.is_empty() {
        return Err(ApiError::invalid_body("`name` is empty"));
    }
    if !(1..=MAX_SLOTS).contains(&worker.slots) {
        let detail = format!("`slots` is from 1 to {MAX_SLOTS}, not {}", worker.slots);
        return Err(ApiError::invalid_body(detail));
    }
    let sound = |text: &String| text.chars().count() <= MAX_TEXT && !text.chars().any(char::is_control);
    if worker.labels.len() > MAX_LABELS || !worker.labels.iter().all(|(k, v)| sound(k) && sound(v)) {
        let detail = format!("`labels` has at most {MAX_LABELS} short texts without control characters");
        return Err(ApiError::invalid_body(detail));
    }
    Ok(())
}
