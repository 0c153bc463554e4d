//! The worker's side: register, claim, heartbeat, metrics, logs, checkpoints, artifacts, finish.

use std::time::Duration;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use motif_proto::artifact::{Artifact, MAX_ARTIFACT_NAME, is_artifact_name};
use motif_proto::canary::CanaryReport;
use motif_proto::id::AttemptId;
use motif_proto::log::{LogBatch, LogsAccepted};
use motif_proto::metrics::{MetricsAccepted, MetricsBatch};
use motif_proto::problem::Problem;
use motif_proto::run::{Checkpoint, CheckpointKind};
use motif_proto::worker::{
    Claim, ClaimRequest, FinishAttempt, Heartbeat, HeartbeatAnswer, HeldLease, MAX_CLAIM_WAIT_SECONDS,
    RegisterWorker, UploadArtifact, UploadCheckpoint, Verdict, WorkerCanary, WorkerRegistered,
};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use super::extract::{Json, Packed, Query};
use super::problem::ApiError;
use super::upload::{Announced, Upload};
use super::uploads::Received;
use crate::app::{AppState, Leases};
use crate::artifacts::Artifacts;
use crate::config::heartbeat_seconds;
use crate::domain::access::Principal;
use crate::monitoring::outcomes;
use crate::store::Store;

/// Most leases of one heartbeat.
const MAX_LEASES: usize = 1024;
/// Most slots of a worker.
const MAX_SLOTS: u32 = 1024;
/// Longest text of a registration, in characters.
const MAX_TEXT: usize = 200;
/// Most batches of a canary.
const MAX_CANARY_BATCHES: usize = 100;
/// Longest error of a canary, in characters.
const MAX_CANARY_ERROR: usize = 4000;
/// Most labels of a worker.
const MAX_LABELS: usize = 32;

/// Register a worker under a new id. It gets runs of its token's projects.
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
    principal: Principal,
    Json(worker): Json<RegisterWorker>,
) -> Result<Answer<WorkerRegistered>, ApiError> {
    check_registration(&worker)?;
    let id = store.register_worker(&worker, &principal.projects).await?;
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
        (status = SERVICE_UNAVAILABLE, body = Problem, content_type = "application/problem+json",
         description = "`crowded`: ask again later"),
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
    let claim = outcomes::claim(state.dispatcher.claim(request, wait));
    let claimed = tokio::select! {
        () = state.stopping.0.cancelled() => None,
        claimed = claim => claimed?,
    };
    Ok(match claimed {
        Some(claim) => Answer(claim).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Renew leases, and learn what became of them.
///
/// With `wait_seconds` the answer waits until something is asked of one of the attempts, or for that long.
#[utoipa::path(
    post, path = "/worker/heartbeat", tag = "worker", request_body = Heartbeat,
    responses(
        (status = OK, body = HeartbeatAnswer),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json",
         description = "`unknown_worker`: register again"),
    ),
)]
pub async fn heartbeat(
    State(state): State<AppState>,
    Json(heartbeat): Json<Heartbeat>,
) -> Result<Answer<HeartbeatAnswer>, ApiError> {
    if heartbeat.leases.len() > MAX_LEASES {
        return Err(ApiError::invalid_body(format!(
            "`leases` has at most {MAX_LEASES} entries"
        )));
    }
    let length = state.leases.length;
    let renew = || state.store.heartbeat(heartbeat.worker, &heartbeat.leases, length);
    // Before the leases are looked at, so that nothing that is asked in between is missed.
    let mut asked = state.signals.asked();
    let mut answer = renew().await?;
    let nothing_to_say = !answer.canary
        && answer
            .leases
            .iter()
            .all(|lease| lease.verdict == Verdict::Continue);
    // Renewed at the beginning of the wait, so it ends well before the leases do.
    let wait = heartbeat.wait_seconds.min(heartbeat_seconds(length));
    if nothing_to_say && wait > 0 {
        let concerned = concerns(&mut asked, &heartbeat.leases);
        tokio::select! {
            () = state.stopping.0.cancelled() => {}
            asked = timeout(Duration::from_secs(wait.into()), concerned) => if asked.is_ok() {
                answer = renew().await?;
            },
        }
    }
    Ok(Answer(answer))
}

/// Report what the worker's canary gave, as a heartbeat asked.
///
/// One that gave what it should puts a worker back that was set aside for what happened on it; any other sets it
/// aside. Safe to repeat.
#[utoipa::path(
    post, path = "/worker/canary", tag = "worker", request_body = WorkerCanary,
    responses(
        (status = NO_CONTENT, description = "The canary was judged"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json",
         description = "`unknown_worker`: register again"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn canary(
    State(store): State<Store>,
    Json(report): Json<WorkerCanary>,
) -> Result<StatusCode, ApiError> {
    check_canary(&report.canary)?;
    store.judge_canary(report.worker, &report.canary).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Waits until something is asked of one of these attempts, or may have been.
async fn concerns(asked: &mut broadcast::Receiver<AttemptId>, leases: &[HeldLease]) {
    loop {
        match asked.recv().await {
            Ok(attempt) if leases.iter().all(|lease| lease.attempt != attempt) => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
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
    headers: HeaderMap,
    Packed(batch): Packed<MetricsBatch>,
) -> Result<Answer<MetricsAccepted>, ApiError> {
    let stored = store.append_metrics(&batch, leases.length);
    Ok(Answer(outcomes::ingest(&batch, &headers, stored).await?))
}

/// Append lines to the log of the attempt.
///
/// Safe to repeat. An attempt that ended itself may still send what it has left; a stale token is refused and changes
/// nothing. Secrets are hidden, long lines shortened.
#[utoipa::path(
    post, path = "/worker/logs", tag = "worker", request_body = LogBatch,
    responses(
        (status = OK, body = LogsAccepted),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
         description = "`stale_lease`"),
        (status = PAYLOAD_TOO_LARGE, body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn logs(
    State(store): State<Store>,
    Json(batch): Json<LogBatch>,
) -> Result<Answer<LogsAccepted>, ApiError> {
    let accepted = store.append_logs(&batch).await?;
    outcomes::logged(&batch);
    Ok(Answer(accepted))
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

fn check_canary(report: &CanaryReport) -> Result<(), ApiError> {
    let values = report.losses.len().max(report.grad_norms.len());
    let error = report.error.as_deref().unwrap_or_default();
    if values > MAX_CANARY_BATCHES || error.chars().count() > MAX_CANARY_ERROR || error.contains('\0') {
        let detail = format!(
            "`canary` has at most {MAX_CANARY_BATCHES} batches and an error of {MAX_CANARY_ERROR} characters"
        );
        return Err(ApiError::invalid_body(detail));
    }
    Ok(())
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
    if let Some(canary) = &worker.canary {
        check_canary(canary)?;
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
