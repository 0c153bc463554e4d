//! Whether the coordinator lives and can work.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use motif_proto::problem::Problem;

use super::problem::ApiError;
use crate::app::Stopping;
use crate::store::Store;

/// How long the database may take to answer.
const LIMIT: Duration = Duration::from_secs(2);

/// Whether the process answers.
#[utoipa::path(
    get, path = "/healthz", tag = "health", operation_id = "alive",
    responses((status = NO_CONTENT, description = "It does")),
)]
pub async fn alive() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Whether the database answers; the schema is up to date since the start.
#[utoipa::path(
    get, path = "/readyz", tag = "health", operation_id = "ready",
    responses(
        (status = NO_CONTENT, description = "It does"),
        (status = SERVICE_UNAVAILABLE, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn ready(
    State(store): State<Store>,
    State(stopping): State<Stopping>,
) -> Result<StatusCode, ApiError> {
    if stopping.0.is_cancelled() {
        return Err(ApiError::unavailable("The coordinator shuts down"));
    }
    match tokio::time::timeout(LIMIT, store.ping()).await {
        Ok(answer) => {
            answer?;
            Ok(StatusCode::NO_CONTENT)
        }
        Err(_) => Err(ApiError::timed_out(LIMIT)),
    }
}
