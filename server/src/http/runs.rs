//! Runs: details, and what people ask of them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use motif_proto::id::RunId;
use motif_proto::problem::Problem;
use motif_proto::run::{DeleteRuns, MAX_DELETED, RunChange, RunDetail, RunSummary};

use super::extract::{Id, Json as JsonBody};
use super::if_match::Revised;
use super::problem::ApiError;
use crate::domain::access::Actor;
use crate::domain::revision::Expected;
use crate::domain::steering::Wish;
use crate::store::Store;

/// Everything about a run but its curves and checkpoints.
#[utoipa::path(
    get, path = "/runs/{id}", tag = "runs", operation_id = "show_run",
    params(("id" = RunId, Path, description = "The run")),
    responses(
        (status = OK, body = RunDetail),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn show(State(store): State<Store>, Id(run): Id<RunId>) -> Result<Revised<RunDetail>, ApiError> {
    Ok(Revised(store.run_detail(run).await?))
}

/// Delete a run that has ended.
///
/// It is gone from every list when the answer comes; its points, files and logs go in the background. A run that has
/// not ended is cancelled first (409, `run_not_ended`); one from which others start, or after which others have yet to
/// begin, stays for as long as they do (409, `run_in_use`, naming some of them). Safe to repeat.
#[utoipa::path(
    delete, path = "/runs/{id}", tag = "runs", operation_id = "delete_run",
    params(("id" = RunId, Path, description = "The run")),
    responses(
        (status = ACCEPTED, description = "It is gone, and its data goes"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn delete(
    State(store): State<Store>,
    actor: Actor,
    Id(run): Id<RunId>,
) -> Result<StatusCode, ApiError> {
    store.delete_runs(&[run], &actor).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Delete runs that have ended, all or none.
///
/// As one by one, but runs that need each other may go together.
#[utoipa::path(
    post, path = "/runs/delete", tag = "runs", operation_id = "delete_runs", request_body = DeleteRuns,
    responses(
        (status = ACCEPTED, description = "They are gone, and their data goes"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
         description = "`run_not_ended` or `run_in_use`"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn delete_many(
    State(store): State<Store>,
    actor: Actor,
    JsonBody(request): JsonBody<DeleteRuns>,
) -> Result<StatusCode, ApiError> {
    if !(1..=MAX_DELETED).contains(&request.runs.len()) {
        let detail = format!("`runs` has 1 to {MAX_DELETED} ids, not {}", request.runs.len());
        return Err(ApiError::invalid_body(detail));
    }
    store.delete_runs(&request.runs, &actor).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Change a run's name, tags, notes or priority.
///
/// What is given takes the place of what was. The spec stays as it was submitted. With `If-Match`, nobody's change is
/// overwritten unseen (412, `changed_meanwhile`); what the run itself does meanwhile is no hindrance.
#[utoipa::path(
    patch, path = "/runs/{id}", tag = "runs", operation_id = "change_run",
    params(("id" = RunId, Path, description = "The run")), request_body = RunChange,
    responses(
        (status = OK, body = RunDetail),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = PAYLOAD_TOO_LARGE, body = Problem, content_type = "application/problem+json"),
        (status = UNSUPPORTED_MEDIA_TYPE, body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json",
         description = "`errors` names every field that is wrong"),
    ),
)]
pub async fn change(
    State(store): State<Store>,
    Id(run): Id<RunId>,
    expected: Expected,
    JsonBody(change): JsonBody<RunChange>,
) -> Result<Revised<RunDetail>, ApiError> {
    let problems = change.problems();
    if !problems.is_empty() {
        return Err(ApiError::invalid_fields(problems));
    }
    Ok(Revised(store.change_run(run, &change, &expected).await?))
}

/// End a run that has not ended.
///
/// What it wrote stays; `retry` lets it come back. The worker that holds it stops at its next batch. Safe to repeat. A
/// run that ended otherwise stays as it is (409, `run_ended`).
#[utoipa::path(
    post, path = "/runs/{id}/cancel", tag = "runs", operation_id = "cancel_run",
    params(("id" = RunId, Path, description = "The run")),
    responses(
        (status = OK, body = RunSummary),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn cancel(
    State(store): State<Store>,
    actor: Actor,
    Id(run): Id<RunId>,
) -> Result<Json<RunSummary>, ApiError> {
    Ok(Json(store.steer_run(run, Wish::Cancel, &actor).await?))
}

/// Hold a run back.
///
/// A run that waits is paused at once. A worker that holds it is asked to leave a checkpoint and hand it back: until
/// then the run is `running` and `pausing`. Safe to repeat. A run that ended stays as it is (409, `run_ended`).
#[utoipa::path(
    post, path = "/runs/{id}/pause", tag = "runs", operation_id = "pause_run",
    params(("id" = RunId, Path, description = "The run")),
    responses(
        (status = OK, body = RunSummary),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn pause(
    State(store): State<Store>,
    actor: Actor,
    Id(run): Id<RunId>,
) -> Result<Json<RunSummary>, ApiError> {
    Ok(Json(store.steer_run(run, Wish::Pause, &actor).await?))
}

/// Let a paused run go on, exactly where it stood.
///
/// Of a run that is about to pause the wish is withdrawn; one that waits or runs stays as it is. Safe to repeat. A run
/// that ended is refused (409, `run_ended`): retry it.
#[utoipa::path(
    post, path = "/runs/{id}/resume", tag = "runs", operation_id = "resume_run",
    params(("id" = RunId, Path, description = "The run")),
    responses(
        (status = OK, body = RunSummary),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn resume(
    State(store): State<Store>,
    actor: Actor,
    Id(run): Id<RunId>,
) -> Result<Json<RunSummary>, ApiError> {
    Ok(Json(store.steer_run(run, Wish::Resume, &actor).await?))
}

/// Let a run that failed, was cancelled or was skipped come back.
///
/// It goes on from its last checkpoint, and its failures no longer count. A run that waits before another try waits no
/// longer. Safe to repeat. A run that succeeded (409, `run_ended`) or is paused (409, `run_not_ended`) is refused.
#[utoipa::path(
    post, path = "/runs/{id}/retry", tag = "runs", operation_id = "retry_run",
    params(("id" = RunId, Path, description = "The run")),
    responses(
        (status = OK, body = RunSummary),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn retry(
    State(store): State<Store>,
    actor: Actor,
    Id(run): Id<RunId>,
) -> Result<Json<RunSummary>, ApiError> {
    Ok(Json(store.steer_run(run, Wish::Retry, &actor).await?))
}
