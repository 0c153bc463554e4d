//! Who works, and what waits.

use axum::Json;
use axum::extract::State;
use motif_proto::run::Queue;
use motif_proto::worker::WorkerList;

use super::problem::ApiError;
use crate::app::Leases;
use crate::domain::access::Principal;
use crate::store::Store;

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

/// Count the runs in each state.
#[utoipa::path(
    get, path = "/queue", tag = "workers", operation_id = "queue_counts",
    responses((status = OK, body = Queue)),
)]
pub async fn queue(State(store): State<Store>, principal: Principal) -> Result<Json<Queue>, ApiError> {
    Ok(Json(store.queue_counts(&principal.projects).await?))
}
