//! The API's table of contents, and what stands around every request.

use std::any::Any;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use motif_proto::access::Scope;
use motif_proto::upload::UPLOAD_PART_BYTES;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::TraceLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::AppState;
use crate::domain::access::Need;
use crate::http::access::Door;
use crate::http::problem::{ApiError, render_problems};
use crate::http::{
    access, artifacts, audit, checkpoints, dashboard, document, encoding, etag, events, experiments, guard,
    health, idempotency, logs, metrics, presets, problems, projects, rate, run_list, runs, session,
    statistics, studies, tokens, uploads, webhooks, worker, workers,
};
use crate::monitoring;
use crate::table::{Schemes, Table};

/// For anybody: nothing is asked.
const ANYBODY: Need = Need::Nothing;
/// For everybody whom we know.
const KNOWN: Need = Need::Known;
const READ: Need = Need::AnyOf(&[Scope::Read]);
const SUBMIT: Need = Need::AnyOf(&[Scope::Submit]);
const ADMIN: Need = Need::AnyOf(&[Scope::Admin]);
const WORKER: Need = Need::AnyOf(&[Scope::Worker]);
/// Workers fetch what runs start from.
const READ_OR_WORKER: Need = Need::AnyOf(&[Scope::Read, Scope::Worker]);

/// Where the API stands.
const PREFIX: &str = "/api/v1";
/// Most bytes of a spec.
const SPEC_LIMIT: usize = 256 * 1024;
/// Most bytes of a token, a project or a session.
const SMALL_LIMIT: usize = 16 * 1024;
/// Most bytes of a study.
const STUDY_LIMIT: usize = 1024 * 1024;
/// Most bytes of a batch of metrics.
const METRICS_LIMIT: usize = 8 * 1024 * 1024;
/// Most bytes of a part of an upload.
const PART_LIMIT: usize = UPLOAD_PART_BYTES as usize;
/// Most bytes of a batch of log lines.
const LOGS_LIMIT: usize = 2 * 1024 * 1024;
/// How long a request may take that does not wait or stream.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// Who can reach the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Programs of this machine, a browser among them: they need no token, and only names of this machine are
    /// answered.
    ThisMachine,
    /// Anybody, under names that we do not know: they show a token.
    Network,
}

#[derive(OpenApi)]
#[openapi(
    modifiers(&Schemes),
    info(
        title = "Motif",
        description = "Runs experiments on networks that move a muscle-driven arm. Errors are problem documents \
                       (RFC 9457): branch on `code`, show `detail`.",
        license(name = "MIT OR Apache-2.0"),
    ),
    components(schemas(motif_proto::event::Event, motif_proto::problem::Problem)),
    tags(
        (name = "runs", description = "Submit, list, watch, cancel"),
        (name = "studies", description = "Experiments that are submitted as one"),
        (name = "checkpoints", description = "Stored networks"),
        (name = "artifacts", description = "Files that runs made"),
        (name = "workers", description = "Who works and what waits"),
        (name = "worker", description = "The worker's side: register, claim, heartbeat, report, finish"),
        (name = "access", description = "Tokens, projects, sign-in, and who did what"),
        (name = "webhooks", description = "Who is told when runs end"),
        (name = "health", description = "Whether the coordinator lives"),
    ),
)]
struct Document;

/// Everything the coordinator answers.
///
/// The layers come in two stacks, the outermost of each first: axum boxes a route anew for every call of `layer`, and
/// clones it for every request.
pub fn router(state: AppState, reach: Reach) -> Router {
    let (api, document) = api().split_for_parts();
    let document = document_json(document);
    let (keys, rates) = (state.store.clone(), state.rates.clone());
    let door = Door {
        access: state.access.clone(),
        store: state.store.clone(),
        reach,
    };
    let openapi = move || async move { ([(header::CONTENT_TYPE, "application/json")], document) };
    let compressed = SizeAbove::new(1024)
        .and(NotForContentType::const_new("text/event-stream"))
        .and(NotForContentType::const_new("application/octet-stream"));
    api.route("/api/v1/openapi.json", routing::get(openapi))
        .fallback(dashboard::serve)
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .with_state(state)
        .layer(
            ServiceBuilder::new()
                .layer(middleware::from_fn_with_state(reach, guard::refuse_strangers))
                .layer(middleware::from_fn_with_state(door, access::identify))
                .layer(middleware::from_fn_with_state(rates, rate::limit))
                .layer(middleware::from_fn_with_state(keys, idempotency::answer_once))
                .layer(middleware::from_fn(etag::tag)),
        )
        .layer(RequestDecompressionLayer::new().gzip(true).zstd(true))
        .layer(
            ServiceBuilder::new()
                .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
                .layer(middleware::from_fn(guard::forget_strange_request_ids))
                .layer(middleware::from_fn(monitoring::http::measure))
                .layer(TraceLayer::new_for_http().make_span_with(request_span))
                .layer(PropagateRequestIdLayer::x_request_id())
                .layer(header_layer(
                    "content-security-policy",
                    dashboard::CONTENT_SECURITY_POLICY,
                ))
                .layer(header_layer("x-frame-options", "DENY"))
                .layer(header_layer("referrer-policy", "no-referrer"))
                .layer(header_layer("x-content-type-options", "nosniff"))
                .layer(middleware::from_fn(render_problems))
                .layer(CatchPanicLayer::custom(panicked))
                .layer(middleware::from_fn(etag::name_encoding))
                .layer(
                    CompressionLayer::new()
                        .gzip(true)
                        .zstd(true)
                        .compress_when(compressed),
                )
                .layer(middleware::from_fn(encoding::refuse_unknown)),
        )
}

/// The OpenAPI document, as it is checked in.
#[must_use]
pub fn openapi_json() -> String {
    let (_, document) = api().split_for_parts();
    document_json(document)
}

fn api() -> OpenApiRouter<AppState> {
    let quick = Table::new()
        .merge(
            Table::new()
                .routes(SUBMIT, routes!(experiments::submit))
                .layer(DefaultBodyLimit::max(SPEC_LIMIT)),
        )
        .merge(
            Table::new()
                .routes(SUBMIT, routes!(studies::submit))
                .layer(DefaultBodyLimit::max(STUDY_LIMIT)),
        )
        .routes(READ, routes!(studies::list))
        .routes(READ, routes!(studies::show))
        .routes(SUBMIT, routes!(studies::cancel))
        .routes(SUBMIT, routes!(studies::delete))
        .routes(READ, routes!(studies::lineage))
        .routes(READ, routes!(statistics::of_group))
        .routes(READ, routes!(statistics::difference))
        .routes(READ, routes!(run_list::list))
        .merge(
            Table::new()
                .routes(READ, routes!(runs::show))
                .routes(SUBMIT, routes!(runs::change))
                .routes(SUBMIT, routes!(runs::delete))
                .routes(SUBMIT, routes!(runs::delete_many))
                .layer(DefaultBodyLimit::max(SPEC_LIMIT)),
        )
        .routes(READ, routes!(logs::of_run))
        .routes(SUBMIT, routes!(runs::cancel))
        .routes(SUBMIT, routes!(runs::pause))
        .routes(SUBMIT, routes!(runs::resume))
        .routes(SUBMIT, routes!(runs::retry))
        .routes(READ, routes!(metrics::curves))
        .routes(READ, routes!(metrics::curves_of_runs))
        .routes(READ, routes!(checkpoints::list))
        .routes(READ, routes!(artifacts::list))
        .routes(READ, routes!(presets::list))
        .routes(KNOWN, routes!(problems::list))
        .routes(READ, routes!(workers::list))
        .routes(ADMIN, routes!(workers::set_aside))
        .routes(ADMIN, routes!(workers::put_back))
        .routes(READ, routes!(workers::queue))
        .routes(KNOWN, routes!(session::me))
        .routes(READ, routes!(projects::list))
        .routes(READ, routes!(projects::show))
        .routes(ADMIN, routes!(audit::list))
        .merge(
            Table::new()
                .routes(ANYBODY, routes!(session::begin))
                .routes(KNOWN, routes!(session::end))
                .routes(ADMIN, routes!(tokens::create))
                .routes(ADMIN, routes!(tokens::list))
                .routes(ADMIN, routes!(tokens::revoke))
                .routes(ADMIN, routes!(projects::create))
                .routes(ADMIN, routes!(projects::change))
                .routes(ADMIN, routes!(webhooks::create))
                .routes(ADMIN, routes!(webhooks::list))
                .routes(ADMIN, routes!(webhooks::show))
                .routes(ADMIN, routes!(webhooks::change))
                .routes(ADMIN, routes!(webhooks::delete))
                .routes(ADMIN, routes!(webhooks::deliveries))
                .routes(ADMIN, routes!(webhooks::test))
                .layer(DefaultBodyLimit::max(SMALL_LIMIT)),
        )
        .merge(
            Table::new()
                .routes(WORKER, routes!(worker::register))
                .routes(WORKER, routes!(worker::canary))
                .routes(WORKER, routes!(worker::finish))
                .layer(DefaultBodyLimit::max(SPEC_LIMIT)),
        )
        .merge(
            Table::new()
                .routes(WORKER, routes!(worker::metrics))
                .layer(DefaultBodyLimit::max(METRICS_LIMIT)),
        )
        .merge(
            Table::new()
                .routes(WORKER, routes!(worker::logs))
                .layer(DefaultBodyLimit::max(LOGS_LIMIT)),
        )
        .layer(middleware::from_fn(limit_time));
    let patient = Table::new()
        .routes(READ_OR_WORKER, routes!(checkpoints::content))
        .routes(READ, routes!(checkpoints::current_content))
        .routes(READ, routes!(artifacts::content))
        .routes(READ, routes!(events::of_run))
        .routes(READ, routes!(events::of_all))
        .merge(
            Table::new()
                .routes(WORKER, routes!(worker::claim))
                .routes(WORKER, routes!(worker::heartbeat))
                .layer(DefaultBodyLimit::max(SPEC_LIMIT)),
        )
        .routes(WORKER, routes!(worker::upload_checkpoint))
        .routes(WORKER, routes!(worker::upload_artifact))
        .routes(WORKER, routes!(uploads::begin))
        .merge(
            Table::new()
                .routes(WORKER, routes!(uploads::part))
                .layer(DefaultBodyLimit::max(PART_LIMIT)),
        );
    let outside = Table::new()
        .routes(ANYBODY, routes!(health::alive))
        .routes(ANYBODY, routes!(health::ready))
        .routes(READ, routes!(crate::http::monitoring::prometheus))
        .layer(middleware::from_fn(limit_time));
    OpenApiRouter::with_openapi(Document::openapi())
        .nest(PREFIX, quick.merge(patient).into_router())
        .merge(outside.into_router())
}

fn document_json(mut document: utoipa::openapi::OpenApi) -> String {
    document::complete(&mut document);
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
    let span = tracing::info_span!(
        "request",
        request.id = id,
        method = %request.method(),
        path = request.uri().path(),
        trace.id = tracing::field::Empty,
    );
    if let Some(trace) = trace_of(request.headers()) {
        span.record("trace.id", trace);
    }
    span
}

/// The trace that a request belongs to, by W3C's trace context; strange ones are passed over.
fn trace_of(headers: &HeaderMap) -> Option<&str> {
    let mut parts = headers.get("traceparent")?.to_str().ok()?.split('-');
    let (_version, trace) = (parts.next()?, parts.next()?);
    let sound = trace.len() == 32
        && trace
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    sound.then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_belongs_to_the_trace_that_it_names_if_that_is_one() {
        let trace = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_static(value));
            trace_of(&headers).map(ToOwned::to_owned)
        };
        let known = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(trace(known).as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
        assert_eq!(trace("00-nonsense-b7ad6b7169203331-01"), None);
        assert_eq!(trace(""), None);
    }
}
