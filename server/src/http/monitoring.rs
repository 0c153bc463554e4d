//! What Prometheus reads.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::app::Leases;
use crate::monitoring::Monitoring;
use crate::store::Store;

/// The version of the text format that is written.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything this coordinator measures, in the text format of Prometheus.
///
/// Counts of runs and workers are a few seconds old at most, and the same whichever coordinator is asked.
#[utoipa::path(
    get, path = "/metrics", tag = "health", operation_id = "prometheus",
    responses((status = OK, body = String, content_type = "text/plain")),
)]
pub async fn prometheus(
    State(monitoring): State<Monitoring>,
    State(store): State<Store>,
    State(leases): State<Leases>,
) -> impl IntoResponse {
    let text = monitoring.render(&store, leases.length).await;
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], text)
}
