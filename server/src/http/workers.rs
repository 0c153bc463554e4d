//! Who works and is trusted with runs, and what waits.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use motif_proto::id::WorkerId;
use motif_proto::problem::Problem;
use motif_proto::run::Queue;
use motif_proto::worker::{SetWorkerAside, WorkerList};

use super::extract::{Id, Json as JsonBody};
use super::problem::ApiError;
use crate::app::Leases;
use crate::domain::access::Principal;
use crate::store::Store;
use crate::store::standing::By;

/// Longest reason for setting a worker aside, in characters.
const MAX_REASON: usize = 500;

/// List the workers heard of within a day, those alive first.
#[utoipa::path(
    get, path = "/workers", tag = "workers", operation_id = "list_workers",
    responses((status = OK, body = WorkerList)),
)]
pub async fn list(
    State(store): State<Store>,
    State(leases): State<Leases>,
    principal: Principal,
) -> Result<Json<WorkerList>, ApiError> {
    Ok(Json(
        store.list_workers(&principal.projects, leases.length).await?,
    ))
}

/// Give a worker no runs until it is put back.
///
/// The runs that it holds go on. Safe to repeat; the first reason stays.
#[utoipa::path(
    post, path = "/workers/{id}/set-aside", tag = "workers", operation_id = "set_worker_aside",
    params(("id" = WorkerId, Path, description = "The worker")), request_body = SetWorkerAside,
    responses(
        (status = NO_CONTENT, description = "It gets no runs"),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = UNSUPPORTED_MEDIA_TYPE, body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn set_aside(
    State(store): State<Store>,
    Id(worker): Id<WorkerId>,
    JsonBody(wish): JsonBody<SetWorkerAside>,
) -> Result<StatusCode, ApiError> {
    let characters = wish.reason.chars().count();
    if !(1..=MAX_REASON).contains(&characters) || wish.reason.chars().any(char::is_control) {
        let detail = format!("`reason` has 1 to {MAX_REASON} characters and no control characters");
        return Err(ApiError::invalid_body(detail));
    }
    store.set_aside(worker, &wish.reason, By::Person).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a worker runs again that was set aside.
///
/// What happened on it before does not count any more. Safe to repeat.
#[utoipa::path(
    post, path = "/workers/{id}/put-back", tag = "workers", operation_id = "put_worker_back",
    params(("id" = WorkerId, Path, description = "The worker")),
    responses(
        (status = NO_CONTENT, description = "It gets runs"),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn put_back(State(store): State<Store>, Id(worker): Id<WorkerId>) -> Result<StatusCode, ApiError> {
    store.put_back(worker).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Count the runs in each state.
#[utoipa::path(
    get, path = "/queue", tag = "workers", operation_id = "queue_counts",
    responses((status = OK, body = Queue)),
)]
pub async fn queue(State(store): State<Store>, principal: Principal) -> Result<Json<Queue>, ApiError> {
    Ok(Json(store.queue_counts(&principal.projects).await?))
}
