//! `Idempotency-Key`: a request that may be sent again.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use tracing::Instrument;

use super::access;
use super::problem::ApiError;
use crate::error::{Error, chain};
use crate::store::Store;
use crate::store::idempotency::{Attempt, Begun, KeyedRequest, StoredAnswer};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Says that an answer is the one of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Longest key.
const MAX_KEY: usize = 255;
/// Longest body of a request with a key, and of its answer: beyond what any address accepts.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// Carries out a POST with a key once, and answers it alike however often it comes.
///
/// It is carried out to its end even where nobody waits for the answer any more: whoever lost the connection gets it
/// by asking again.
pub async fn answer_once(State(store): State<Store>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(IDEMPOTENCY_KEY) {
        return next.run(request).await;
    }
    let principal = match access::known(request.extensions()) {
        Some(principal) if !answers_with_a_secret(request.uri().path()) => principal.key(),
        // Whoever is not known is refused further in, and a secret is not kept to be told again.
        _ => return next.run(request).await,
    };
    match keyed(request, principal).await {
        Ok((keyed, request)) => answer(store, keyed, request, next)
            .await
            .unwrap_or_else(IntoResponse::into_response),
        Err(refusal) => refusal.into_response(),
    }
}

/// Whether a POST to this address is answered with a secret, which is shown once.
fn answers_with_a_secret(path: &str) -> bool {
    matches!(path, "/api/v1/tokens" | "/api/v1/session" | "/api/v1/webhooks")
}

async fn answer(
    store: Store,
    keyed: KeyedRequest,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let attempt = match store.begin_request(&keyed).await? {
        Begun::New(attempt) => attempt,
        Begun::Answered(answer) => return Ok(replay(answer)),
        Begun::Running => return Err(Error::RequestRunning.into()),
        Begun::OtherRequest => return Err(Error::KeyReused.into()),
    };
    let carried_out = async move {
        let response = attempt.clone().carry_out(next.run(request)).await;
        keep(&store, &attempt, response).await
    };
    tokio::spawn(carried_out.in_current_span())
        .await
        .map_err(|error| {
            tracing::error!(%error, "a request with a key did not come to an end");
            ApiError::internal()
        })
}

/// Keeps the answer of a request that was carried out. One that was refused had no effect and may come again.
async fn keep(store: &Store, attempt: &Attempt, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let mut response = Response::from_parts(parts, Body::empty());
    let kept = match to_bytes(body, MAX_BODY).await {
        Ok(body) => {
            *response.body_mut() = Body::from(body.clone());
            if response.status().is_success() {
                let content_type = response.headers().get(header::CONTENT_TYPE);
                let answer = StoredAnswer {
                    status: response.status().as_u16(),
                    content_type: content_type
                        .and_then(|kind| kind.to_str().ok())
                        .map(ToOwned::to_owned),
                    body: body.into(),
                };
                store.keep_answer(attempt, &answer).await
            } else {
                store.forget_request(attempt).await
            }
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be read");
            return ApiError::internal().into_response();
        }
    };
    if let Err(error) = kept {
        // The answer is as good as ever. A repetition waits until the key may be taken over.
        tracing::warn!(error = %chain(&error), "the end of a request with a key was not stored");
    }
    response
}

fn replay(answer: StoredAnswer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    if let Some(kind) = answer
        .content_type
        .and_then(|kind| HeaderValue::try_from(kind).ok())
    {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// The request's key and hash, and the request with its body read.
async fn keyed(request: Request, principal: String) -> Result<(KeyedRequest, Request), ApiError> {
    let key = key_of(request.headers())?;
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY)
        .await
        .map_err(|_| ApiError::too_large("The body is longer than this address accepts"))?;
    let mut hash = Sha256::new();
    let kind = parts.headers.get(header::CONTENT_TYPE);
    for part in [
        parts.uri.to_string().as_bytes(),
        kind.map_or(&[], |kind| kind.as_bytes()),
        &body,
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let keyed = KeyedRequest {
        principal,
        key,
        sha256: hash.finalize().into(),
    };
    Ok((keyed, Request::from_parts(parts, Body::from(body))))
}

fn key_of(headers: &HeaderMap) -> Result<String, ApiError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (key, another) = (values.next().and_then(|key| key.to_str().ok()), values.next());
    let is_sound =
        |key: &str| (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    match (key, another) {
        (Some(key), None) if is_sound(key) => Ok(key.to_owned()),
        _ => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "invalid_idempotency_key",
            "Invalid Idempotency-Key",
            format!("The header Idempotency-Key is given once, with 1 to {MAX_KEY} visible ASCII characters"),
        )),
    }
}
