//! Uploads in parts, which end as a checkpoint or an artifact.

#![allow(unused_qualifications, reason = "a macro names the query type in full")]

use axum::Json as Answer;
use axum::extract::State;
use motif_proto::id::UploadId;
use motif_proto::problem::Problem;
use motif_proto::upload::{BeginUpload, UploadPart, UploadProgress};
use motif_proto::worker::HeldLease;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Id, Json, Query, Whole};
use super::problem::ApiError;
use super::upload::Announced;
use crate::artifacts::Artifacts;
use crate::store::Store;

/// The upload that a checkpoint or an artifact is made of.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Received {
    /// An upload in parts that holds the content; then the request has no body.
    pub(super) upload: Option<UploadId>,
}

/// Begin an upload in parts, or learn how far it is.
///
/// Safe to repeat: the same content of the same attempt is the same upload, and the answer says where it goes on.
/// Parts are kept for a day after the last one came.
#[utoipa::path(
    post, path = "/worker/uploads", tag = "worker", operation_id = "begin_upload", request_body = BeginUpload,
    responses(
        (status = OK, body = UploadProgress),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
         description = "`stale_lease` or `too_many_uploads`"),
        (status = PAYLOAD_TOO_LARGE, body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn begin(
    State(store): State<Store>,
    Json(begin): Json<BeginUpload>,
) -> Result<Answer<UploadProgress>, ApiError> {
    Announced::check(&begin.sha256, begin.size_bytes)?;
    Ok(Answer(store.begin_upload(&begin).await?))
}

/// Send the next part of an upload.
///
/// The answer to a part that does not begin where the last one ended is 409, `offset_mismatch`: begin again, and it
/// says where to go on.
#[utoipa::path(
    patch, path = "/worker/uploads/{id}", tag = "worker", operation_id = "upload_part",
    params(("id" = UploadId, Path, description = "The upload"), UploadPart),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = OK, body = UploadProgress),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
         description = "`stale_lease` or `offset_mismatch`"),
        (status = PAYLOAD_TOO_LARGE, body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json",
         description = "`upload_too_long`"),
        (status = INSUFFICIENT_STORAGE, body = Problem, content_type = "application/problem+json",
         description = "`storage_full`: try again later"),
    ),
)]
pub async fn part(
    State(store): State<Store>,
    State(artifacts): State<Artifacts>,
    Id(upload): Id<UploadId>,
    Query(part): Query<UploadPart>,
    Whole(content): Whole,
) -> Result<Answer<UploadProgress>, ApiError> {
    let lease = HeldLease {
        attempt: part.attempt,
        token: part.token,
    };
    let bytes = content.len() as u64;
    store.admit_part(lease, upload, part.first_byte, bytes).await?;
    artifacts.put_part(upload, part.first_byte, content).await?;
    Ok(Answer(
        store.note_part(lease, upload, part.first_byte, bytes).await?,
    ))
}
