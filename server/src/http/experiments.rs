//! Submission.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use motif_proto::problem::Problem;
use motif_proto::run::ExperimentAccepted;

use super::extract::Document;
use super::problem::ApiError;
use crate::domain::access::Actor;
use crate::store::Store;
use crate::submission::{self, Refusal};

/// Submit an experiment.
///
/// The body is a spec as JSON or, as `application/toml`, as TOML. What is left out comes from its preset and the
/// defaults. Every mistake is named at once. A `base` is looked up at once too: the experiment starts from the
/// checkpoint as it is now, whatever becomes of its run. Without a `project`, the experiment goes to the token's only
/// one, or to `default`.
#[utoipa::path(
    post, path = "/experiments", tag = "runs",
    request_body(content(
        (serde_json::Value = "application/json"),
        (String = "application/toml"),
    )),
    responses(
        (status = CREATED, body = ExperimentAccepted, description = "The run is queued"),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = PAYLOAD_TOO_LARGE, body = Problem, content_type = "application/problem+json"),
        (status = UNSUPPORTED_MEDIA_TYPE, body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json",
         description = "`errors` names every field that is wrong"),
    ),
)]
pub async fn submit(
    State(store): State<Store>,
    actor: Actor,
    Document(document): Document,
) -> Result<(StatusCode, Json<ExperimentAccepted>), ApiError> {
    match submission::submit(&store, document, &actor).await {
        Ok(accepted) => Ok((StatusCode::CREATED, Json(accepted))),
        Err(Refusal::Invalid(problems)) => Err(ApiError::invalid_spec(problems)),
        Err(Refusal::Failed(error)) => Err(error.into()),
    }
}
