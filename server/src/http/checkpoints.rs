//! Checkpoints: lists and content.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use motif_proto::id::{CheckpointId, RunId};
use motif_proto::problem::Problem;
use motif_proto::run::{Checkpoint, CheckpointKind, CheckpointList};

use super::content::{self, Stored};
use super::extract::{Id, Part};
use super::problem::ApiError;
use crate::artifacts::Artifacts;
use crate::store::Store;

/// Most letters of an experiment's name in the name of a file.
const MAX_STEM: usize = 100;

/// List the checkpoints of a run, newest first.
#[utoipa::path(
    get, path = "/runs/{id}/checkpoints", tag = "checkpoints", operation_id = "list_checkpoints",
    params(("id" = RunId, Path, description = "The run")),
    responses(
        (status = OK, body = CheckpointList),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(State(store): State<Store>, Id(run): Id<RunId>) -> Result<Json<CheckpointList>, ApiError> {
    Ok(Json(store.list_checkpoints(run).await?))
}

/// The content of a checkpoint: safetensors.
///
/// A checkpoint is gone when a newer one of its kind takes its place. Takes `Range` with one range, and `If-None-Match`.
#[utoipa::path(
    get, path = "/checkpoints/{id}/content", tag = "checkpoints", operation_id = "checkpoint_content",
    params(("id" = CheckpointId, Path, description = "The checkpoint")),
    responses(content::Answers),
)]
pub async fn content(
    State(store): State<Store>,
    State(artifacts): State<Artifacts>,
    Id(id): Id<CheckpointId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let find = || store.find_checkpoint(id);
    content::newest(&artifacts, &headers, find, described).await
}

/// The content of a run's best or last checkpoint as it is now: an address that stays while checkpoints change.
///
/// Takes `Range` with one range, and `If-None-Match`. The `ETag` is the SHA-256 of the content: give it as
/// `If-Range` where a download goes on, for the checkpoint may be a newer one by then.
#[utoipa::path(
    get, path = "/runs/{id}/checkpoints/{kind}/content", tag = "checkpoints",
    operation_id = "current_checkpoint_content",
    params(
        ("id" = RunId, Path, description = "The run"),
        ("kind" = CheckpointKind, Path, description = "Which of its checkpoints"),
    ),
    responses(content::Answers),
)]
pub async fn current_content(
    State(store): State<Store>,
    State(artifacts): State<Artifacts>,
    Part(run, kind): Part<RunId, CheckpointKind>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let find = || store.current_checkpoint(run, kind);
    content::newest(&artifacts, &headers, find, described).await
}

fn described((checkpoint, name): &(Checkpoint, String)) -> Stored {
    let stem: String = name.chars().take(MAX_STEM).collect();
    Stored {
        sha256: checkpoint.sha256.clone(),
        size_bytes: checkpoint.size_bytes,
        file_name: format!("{stem}-{}.safetensors", checkpoint.kind),
        media_type: "application/octet-stream".to_owned(),
    }
}
