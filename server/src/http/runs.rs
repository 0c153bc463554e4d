//! Runs: details, cancellation.

use axum::Json;
use axum::extract::State;
use motif_proto::id::RunId;
use motif_proto::problem::Problem;
use motif_proto::run::{RunDetail, RunSummary};

use super::extract::Id;
use super::problem::ApiError;
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
pub async fn show(State(store): State<Store>, Id(run): Id<RunId>) -> Result<Json<RunDetail>, ApiError> {
    Ok(Json(store.run_detail(run).await?))
}

/// Cancel a run, whether it waits or runs.
///
/// Safe to repeat. A run that ended otherwise stays as it is (409, `run_ended`).
#[utoipa::path(
    post, path = "/runs/{id}/cancel", tag = "runs", operation_id = "cancel_run",
    params(("id" = RunId, Path, description = "The run")),
    responses(
        (status = OK, body = RunSummary),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn cancel(State(store): State<Store>, Id(run): Id<RunId>) -> Result<Json<RunSummary>, ApiError> {
    Ok(Json(store.cancel_run(run).await?))
}
