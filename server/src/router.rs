//! The API's table of contents, and what stands around every request.

use std::any::Any;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use motif_proto::upload::UPLOAD_PART_BYTES;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::TraceLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::AppState;
use crate::http::problem::{ApiError, render_problems};
use crate::http::{
    artifacts, checkpoints, dashboard, events, experiments, guard, health, metrics, presets, runs, uploads,
    worker, workers,
};

/// Where the API stands.
const PREFIX: &str = "/api/v1";
/// Most bytes of a spec.
const SPEC_LIMIT: usize = 256 * 1024;
/// Most bytes of a batch of metrics.
const METRICS_LIMIT: usize = 8 * 1024 * 1024;
/// Most bytes of a part of an upload.
const PART_LIMIT: usize = UPLOAD_PART_BYTES as usize;
/// How long a request may take that does not wait or stream.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// Who can reach the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Programs of this machine, a browser among them: only names of this machine are answered.
    ThisMachine,
    /// Anybody, under names that we do not know.
    Network,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Motif",
        description = "Runs experiments on networks that move a muscle-driven arm. Errors are problem documents \
                       (RFC 9457): branch on `code`, show `detail`.",
        license(name = "MIT OR Apache-2.0"),
    ),
    components(schemas(motif_proto::event::Event, motif_proto::problem::Problem)),
    tags(
        (name = "runs", description = "Submit, list, watch, cancel"),
        (name = "checkpoints", description = "Stored networks"),
        (name = "artifacts", description = "Files that runs made"),
        (name = "workers", description = "Who works and what waits"),
        (name = "worker", description = "The worker's side: register, claim, heartbeat, report, finish"),
        (name = "health", description = "Whether the coordinator lives"),
    ),
)]
struct Document;

/// Everything the coordinator answers.
pub fn router(state: AppState, reach: Reach) -> Router {
    let (api, document) = api().split_for_parts();
    let document = document_json(&document);
    let openapi = move || async move { ([(header::CONTENT_TYPE, "application/json")], document) };
    let compressed = SizeAbove::new(1024)
        .and(NotForContentType::const_new("text/event-stream"))
        .and(NotForContentType::const_new("application/octet-stream"));
    api.route("/api/v1/openapi.json", routing::get(openapi))
        .fallback(dashboard::serve)
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .with_state(state)
        .layer(middleware::from_fn_with_state(reach, guard::refuse_strangers))
        .layer(CompressionLayer::new().gzip(true).compress_when(compressed))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(render_problems))
        .layer(header_layer("x-content-type-options", "nosniff"))
        .layer(header_layer("referrer-policy", "no-referrer"))
        .layer(header_layer("x-frame-options", "DENY"))
        .layer(header_layer(
            "content-security-policy",
            dashboard::CONTENT_SECURITY_POLICY,
        ))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(TraceLayer::new_for_http().make_span_with(request_span))
        .layer(middleware::from_fn(guard::forget_strange_request_ids))
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
}

/// The OpenAPI document, as it is checked in.
#[must_use]
pub fn openapi_json() -> String {
    let (_, document) = api().split_for_parts();
    document_json(&document)
}

fn api() -> OpenApiRouter<AppState> {
    let quick = OpenApiRouter::new()
        .merge(
            OpenApiRouter::new()
                .routes(routes!(experiments::submit))
                .layer(DefaultBodyLimit::max(SPEC_LIMIT)),
        )
        .routes(routes!(runs::list))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(runs::show, runs::change, runs::delete))
                .routes(routes!(runs::delete_many))
                .layer(DefaultBodyLimit::max(SPEC_LIMIT)),
        )
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::pause))
        .routes(routes!(runs::resume))
        .routes(routes!(runs::retry))
        .routes(routes!(metrics::curves))
        .routes(routes!(metrics::curves_of_runs))
        .routes(routes!(checkpoints::list))
        .routes(routes!(artifacts::list))
        .routes(routes!(presets::list))
        .routes(routes!(workers::list))
        .routes(routes!(workers::set_aside))
        .routes(routes!(workers::put_back))
        .routes(routes!(workers::queue))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(worker::register))
                .routes(routes!(worker::canary))
                .routes(routes!(worker::finish))
                .layer(DefaultBodyLimit::max(SPEC_LIMIT)),
        )
        .merge(
            OpenApiRouter::new()
                .routes(routes!(worker::metrics))
                .layer(DefaultBodyLimit::max(METRICS_LIMIT)),
        )
        .layer(middleware::from_fn(limit_time));
    let patient = OpenApiRouter::new()
        .routes(routes!(checkpoints::content))
        .routes(routes!(artifacts::content))
        .routes(routes!(events::of_run))
        .routes(routes!(events::of_all))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(worker::claim))
                .routes(routes!(worker::heartbeat))
                .layer(DefaultBodyLimit::max(SPEC_LIMIT)),
        )
        .routes(routes!(worker::upload_checkpoint))
        .routes(routes!(worker::upload_artifact))
        .routes(routes!(uploads::begin))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(uploads::part))
                .layer(DefaultBodyLimit::max(PART_LIMIT)),
        );
    let outside = OpenApiRouter::new()
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .layer(middleware::from_fn(limit_time));
    OpenApiRouter::with_openapi(Document::openapi())
        .nest(PREFIX, quick.merge(patient))
        .merge(outside)
}

fn document_json(document: &utoipa::openapi::OpenApi) -> String {
    document
        .to_pretty_json()
        .unwrap_or_else(|error| unreachable!("the document has only JSON values: {error}"))
}

async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::timed_out(REQUEST_LIMIT).into_response(),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the layer hands the panic over")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(message, "a handler panicked");
    ApiError::internal().into_response()
}

fn header_layer(name: &'static str, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(HeaderName::from_static(name), HeaderValue::from_static(value))
}

fn request_span(request: &axum::http::Request<axum::body::Body>) -> tracing::Span {
    let id = request
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .unwrap_or("");
    tracing::info_span!("request", request.id = id, method = %request.method(), path = request.uri().path())
}
