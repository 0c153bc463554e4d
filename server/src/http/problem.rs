//! Every refusal is a problem document: the one table from errors to answers.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use motif_proto::health::Readiness;
use motif_proto::problem::{FieldProblem, PROBLEM_JSON, Problem};

use crate::artifacts;
use crate::error::{Error, chain};
use crate::store::room;
use crate::tokens;

/// Seconds after which to try again what passes by itself.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
/// Where people read what a code means.
const PAGE: &str = "/docs/problems";

/// A refusal on its way out; [`render_problems`] writes it down.
#[derive(Debug)]
pub struct ApiError(Box<Problem>);

impl ApiError {
    /// A refusal of this kind.
    #[must_use]
    pub fn new(status: StatusCode, code: &str, title: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem {
            kind: format!("{PAGE}#{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.to_owned(),
            request_id: None,
            errors: Vec::new(),
        }))
    }

    /// 422: a spec with these mistakes.
    #[must_use]
    pub fn invalid_spec(errors: Vec<FieldProblem>) -> Self {
        let detail = match errors.as_slice() {
            [only] => format!("{}: {}", only.pointer, only.detail),
            several => format!("{} fields cannot be accepted", several.len()),
        };
        let mut error = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_spec",
            "Invalid spec",
            detail,
        );
        error.0.errors = errors;
        error
    }

    /// 422: a body of the right form with these mistakes.
    #[must_use]
    pub fn invalid_fields(errors: Vec<FieldProblem>) -> Self {
        let details: Vec<String> = errors
            .iter()
            .map(|error| format!("{}: {}", error.pointer, error.detail))
            .collect();
        let mut error = Self::invalid_body(details.join("; "));
        error.0.errors = errors;
        error
    }

    /// 400: a query that cannot be understood.
    #[must_use]
    pub fn invalid_query(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_query", "Invalid query", detail)
    }

    /// 422: a body of the right form whose content cannot be accepted.
    #[must_use]
    pub fn invalid_body(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_body",
            "Invalid body",
            detail,
        )
    }

    /// 404: no such place.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "Not found",
            "There is nothing at this address",
        )
    }

    /// 405: the place exists, the method does not.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        let detail = "This address does not know the method; see the header Allow";
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "Method not allowed",
            detail,
        )
    }

    /// 413: too many bytes.
    #[must_use]
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "Too large", detail)
    }

    /// 503: the answer took too long.
    #[must_use]
    pub fn timed_out(limit: Duration) -> Self {
        let detail = format!("The answer took longer than {limit:?}; try again");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", "Timeout", detail)
    }

    /// 503: the coordinator or its database is not there for now.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "Unavailable",
            detail,
        )
    }

    /// 503: these components do not work.
    #[must_use]
    pub fn not_ready(readiness: &Readiness) -> Self {
        let errors: Vec<FieldProblem> = readiness
            .components
            .iter()
            .filter_map(|component| {
                Some(FieldProblem {
                    pointer: format!("/{}", component.name),
                    detail: component.detail.clone()?,
                    given: Some(serde_json::json!(component.state)),
                    allowed: None,
                    nearest: None,
                })
            })
            .collect();
        let details: Vec<&str> = errors.iter().map(|error| error.detail.as_str()).collect();
        let mut error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_ready",
            "Not ready",
            sentence(&details.join("; ")),
        );
        error.0.errors = errors;
        error
    }

    /// 507: no room, until somebody makes some.
    #[must_use]
    pub fn storage_full(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "storage_full",
            "Storage full",
            detail,
        )
    }

    /// 500: our fault; the log has the rest.
    #[must_use]
    pub fn internal() -> Self {
        let detail = "The coordinator failed; its log says more under this request's id";
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
            detail,
        )
    }
}

impl From<tokens::Refusal> for ApiError {
    fn from(refusal: tokens::Refusal) -> Self {
        match refusal {
            tokens::Refusal::Invalid(problems) => Self::invalid_fields(problems),
            tokens::Refusal::Failed(error) => error.into(),
        }
    }
}

/// A client's mistake is explained to the client, our own fault to the log.
impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self::of(&error)
    }
}

impl ApiError {
    fn of(error: &Error) -> Self {
        let (status, code, title) = match error {
            Error::Shared(error) => return Self::of(error),
            Error::Crowded => (StatusCode::SERVICE_UNAVAILABLE, "crowded", "Too many wait"),
            Error::UnknownRun(_) => (StatusCode::NOT_FOUND, "unknown_run", "No such run"),
            Error::UnknownStudy(_) => (StatusCode::NOT_FOUND, "unknown_study", "No such study"),
            Error::UnknownAttempt(_) => (StatusCode::NOT_FOUND, "unknown_attempt", "No such attempt"),
            Error::UnknownCheckpoint(_) | Error::NoCheckpoint { .. } => {
                (StatusCode::NOT_FOUND, "unknown_checkpoint", "No such checkpoint")
            }
            Error::UnknownArtifact(_) => (StatusCode::NOT_FOUND, "unknown_artifact", "No such artifact"),
            Error::TooManyArtifacts(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "too_many_artifacts",
                "Too many artifacts",
            ),
            Error::UnknownWorker(_) => (StatusCode::NOT_FOUND, "unknown_worker", "No such worker"),
            Error::StaleLease { .. } => (StatusCode::CONFLICT, "stale_lease", "Lease lost"),
            Error::SequenceGap { .. } => (StatusCode::CONFLICT, "sequence_gap", "Metrics are missing"),
            Error::TooManyCurves { .. } => (StatusCode::BAD_REQUEST, "too_many_curves", "Too many curves"),
            Error::InvalidCursor(_) => (StatusCode::BAD_REQUEST, "invalid_cursor", "Invalid cursor"),
            Error::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "Key of another request",
            ),
            Error::RequestRunning | Error::KeyTakenOver => (
                StatusCode::CONFLICT,
                "request_running",
                "The request is being carried out",
            ),
            Error::TooManyRuns { .. } => (StatusCode::BAD_REQUEST, "too_many_runs", "Too many runs"),
            Error::AmbiguousSeed { .. } => (StatusCode::BAD_REQUEST, "ambiguous_seed", "Seeds do not pair"),
            Error::Blocked { .. } => (StatusCode::CONFLICT, "run_blocked", "The run cannot begin"),
            Error::NotAsItStands { state, .. } if state.is_final() => {
                (StatusCode::CONFLICT, "run_ended", "The run has ended")
            }
            Error::NotAsItStands { .. } => (StatusCode::CONFLICT, "run_not_ended", "The run has not ended"),
            Error::RunNotEnded { .. } => (StatusCode::CONFLICT, "run_not_ended", "The run has not ended"),
            Error::RunInUse { .. } => (StatusCode::CONFLICT, "run_in_use", "Others need the run"),
            Error::ChangedMeanwhile => (
                StatusCode::PRECONDITION_FAILED,
                "changed_meanwhile",
                "Changed meanwhile",
            ),
            Error::InvalidMetrics(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_metrics",
                "Invalid metrics",
            ),
            Error::InvalidLogs(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_logs",
                "Invalid log lines",
            ),
            Error::ChecksumMismatch { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "checksum_mismatch",
                "Not the content announced",
            ),
            Error::UnknownToken(_) => (StatusCode::NOT_FOUND, "unknown_token", "No such token"),
            Error::TokenNameTaken(_) => (StatusCode::CONFLICT, "token_name_taken", "The name is taken"),
            Error::UnknownProject(_) => (StatusCode::NOT_FOUND, "unknown_project", "No such project"),
            Error::UnknownWebhook(_) => (StatusCode::NOT_FOUND, "unknown_webhook", "No such webhook"),
            Error::TooManyWebhooks => (StatusCode::CONFLICT, "too_many_webhooks", "Too many webhooks"),
            Error::ProjectExists(_) => (StatusCode::CONFLICT, "project_exists", "The project exists"),
            Error::UploadCut(_) => (StatusCode::BAD_REQUEST, "upload_cut", "Upload cut short"),
            Error::UnknownUpload(_) => (StatusCode::NOT_FOUND, "unknown_upload", "No such upload"),
            Error::TooManyUploads(_) => (StatusCode::CONFLICT, "too_many_uploads", "Too many uploads"),
            Error::OffsetMismatch { .. } => (
                StatusCode::CONFLICT,
                "offset_mismatch",
                "Not the part that comes next",
            ),
            Error::UploadTooLong { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "upload_too_long",
                "Not a part of the upload",
            ),
            Error::Storage(source) => {
                tracing::error!(error = %chain(error), "storage failed");
                return if room::is_full(source) {
                    Self::storage_full("The database has no room left; nothing was stored")
                } else if is_outage(source) {
                    Self::unavailable("The database does not answer; try again")
                } else {
                    Self::internal()
                };
            }
            Error::Artifacts(source) => {
                tracing::error!(error = %chain(error), "the artifact store failed");
                return match source {
                    source if artifacts::is_full(source) => {
                        Self::storage_full("The artifact store has no room left; nothing was stored")
                    }
                    // What the database names is not there: waiting does not mend that.
                    object_store::Error::NotFound { .. } => Self::internal(),
                    _ => Self::unavailable("The artifact store does not answer; try again"),
                };
            }
            Error::Damaged(_) | Error::NoRandomness(_) => {
                tracing::error!(error = %chain(error), "a request failed");
                return Self::internal();
            }
        };
        Self::new(status, code, title, sentence(&error.to_string()))
    }
}

/// Whether trying again later can help.
fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        // Connection trouble, a server that stops or is full, deadlocks, and our own limits of time.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "40", "53", "57"]
                .iter()
                .any(|class| code.starts_with(class))
                || code == "55P03"
        }),
        _ => false,
    }
}

/// When to try again, in seconds: soon after an outage, later where somebody has to make room first.
fn retry_after(status: u16) -> Option<HeaderValue> {
    match status {
        503 => Some(HeaderValue::from_static("2")),
        507 => Some(HeaderValue::from_static("15")),
        _ => None,
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        let passes = status == StatusCode::SERVICE_UNAVAILABLE || self.0.code == "request_running";
        if passes {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response.extensions_mut().insert(Carried(self.0));
        response
    }
}

#[derive(Clone, Debug)]
struct Carried(Box<Problem>);

/// Writes problems down with the request's id, once it is known.
pub async fn render_problems(request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .map(ToOwned::to_owned);
    let mut response = next.run(request).await;
    let Some(Carried(mut problem)) = response.extensions_mut().remove::<Carried>() else {
        return response;
    };
    problem.request_id = id;
    match serde_json::to_vec(&problem) {
        Ok(body) => {
            let headers = response.headers_mut();
            headers.remove(header::CONTENT_LENGTH);
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            if let Some(wait) = retry_after(problem.status) {
                headers.entry(header::RETRY_AFTER).or_insert(wait);
            }
            *response.body_mut() = Body::from(body);
        }
        Err(error) => tracing::error!(%error, "a problem could not be written down"),
    }
    response
}
