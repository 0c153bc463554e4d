//! Artifacts: lists and content.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use motif_proto::artifact::ArtifactList;
use motif_proto::id::{ArtifactId, RunId};
use motif_proto::problem::Problem;

use super::content::{self, Stored};
use super::extract::Id;
use super::problem::ApiError;
use crate::artifacts::Artifacts;
use crate::store::Store;

/// List the files that a run made, in the order of their names.
#[utoipa::path(
    get, path = "/runs/{id}/artifacts", tag = "artifacts", operation_id = "list_artifacts",
    params(("id" = RunId, Path, description = "The run")),
    responses(
        (status = OK, body = ArtifactList),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(State(store): State<Store>, Id(run): Id<RunId>) -> Result<Json<ArtifactList>, ApiError> {
    Ok(Json(store.list_artifacts(run).await?))
}

/// The content of an artifact, of the type that its name says.
///
/// Takes `Range` with one range, and `If-None-Match`.
#[utoipa::path(
    get, path = "/artifacts/{id}/content", tag = "artifacts", operation_id = "artifact_content",
    params(("id" = ArtifactId, Path, description = "The artifact")),
    responses(content::Answers),
)]
pub async fn content(
    State(store): State<Store>,
    State(artifacts): State<Artifacts>,
    Id(id): Id<ArtifactId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    content::newest(
        &artifacts,
        &headers,
        || store.find_artifact(id),
        |artifact| Stored {
            sha256: artifact.sha256.clone(),
            size_bytes: artifact.size_bytes,
            file_name: artifact.name.clone(),
            media_type: mime_guess::from_path(&artifact.name)
                .first_or_octet_stream()
                .to_string(),
        },
    )
    .await
}
