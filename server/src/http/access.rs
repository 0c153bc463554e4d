//! Lets requests in: who is it, and may they?
//!
//! [`identify`] stands around everything and finds out who asks. [`authorize`] stands before each route, put there
//! by the table of contents, and lets in whoever has what the route needs. Handlers take a [`Principal`] or, where
//! they change something, an [`Actor`].

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use motif_proto::access::{ActorKind, Scope};
use serde_json::json;

use super::problem::ApiError;
use crate::access::{Access, Shown};
use crate::domain::access::{Actor, Need, Principal};
use crate::error::{Error, chain};
use crate::router::Reach;
use crate::store::Store;
use crate::store::audit::Entry;
use crate::table::Guarded;

/// The cookie of a browser that signed in.
pub const SESSION_COOKIE: &str = "motif_session";
/// The header that our own pages send with every write, and that no page of another origin can.
pub const REQUEST_HEADER: &str = "x-motif-request";
/// What Prometheus reads; beside the API, and for those who may read it.
const METRICS: &str = "/metrics";
/// Headers that only proxies add: whoever comes through one is not this machine's own.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// Who asks, as far as the request says it.
#[derive(Clone, Debug)]
enum Caller {
    Known(Principal),
    /// Showed nothing.
    Anonymous,
    /// Showed something that opens nothing.
    Refused(&'static str),
}

/// What [`identify`] works with.
#[derive(Clone, Debug)]
pub struct Door {
    /// Who is behind a secret.
    pub access: Access,
    /// Where entries of the audit trail go.
    pub store: Store,
    /// Whether programs of this machine need no token.
    pub reach: Reach,
}

/// Who [`identify`] found, if it was somebody.
pub(super) fn known(extensions: &Extensions) -> Option<&Principal> {
    match extensions.get::<Caller>() {
        Some(Caller::Known(principal)) => Some(principal),
        Some(Caller::Anonymous | Caller::Refused(_)) | None => None,
    }
}

/// Finds out who asks, and hands it on.
pub async fn identify(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.starts_with("/api/") || path == METRICS {
        match caller(&door, request.headers()).await {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                request.extensions_mut().insert(door.store);
            }
            Err(error) => return ApiError::from(error).into_response(),
        }
    }
    next.run(request).await
}

async fn caller(door: &Door, headers: &HeaderMap) -> Result<Caller, Error> {
    if let Some(shown) = headers.get(header::AUTHORIZATION) {
        let Some(token) = bearer(shown) else {
            return Ok(Caller::Refused(
                "The header Authorization has to be `Bearer` and a token",
            ));
        };
        let holder = match Shown::token(token) {
            Some(shown) => door.access.holder(shown).await?,
            None => None,
        };
        return Ok(holder.map_or(
            Caller::Refused("The token is not known here, or it has expired or was revoked"),
            Caller::Known,
        ));
    }
    let session = session_cookie(headers).and_then(Shown::session);
    if let Some(shown) = session
        && let Some(holder) = door.access.holder(shown).await?
    {
        return Ok(Caller::Known(holder));
    }
    let is_forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
    if door.reach == Reach::ThisMachine && !is_forwarded {
        return Ok(Caller::Known(Principal::local()));
    }
    Ok(match session {
        Some(_) => Caller::Refused("The session has ended: sign in again"),
        None => Caller::Anonymous,
    })
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The secret in the browser's cookie.
fn session_cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find_map(|(name, value)| (name == SESSION_COOKIE).then_some(value))
}

/// Lets in whoever has what the route needs, and sees to it that a change by a person has its entry in the audit
/// trail, should the handler have added none.
pub async fn authorize(
    State(guarded): State<Arc<Guarded>>,
    path: RawPathParams,
    mut request: Request,
    next: Next,
) -> Response {
    if guarded.need == Need::Nothing {
        return next.run(request).await;
    }
    let principal = match request.extensions().get::<Caller>() {
        Some(Caller::Known(principal)) => principal.clone(),
        Some(Caller::Anonymous) => {
            let detail = "A token is needed: send it as `Authorization: Bearer …`, or sign in";
            let error = ApiError::new(StatusCode::UNAUTHORIZED, "token_required", "Who are you?", detail);
            return challenged(error, HeaderValue::from_static("Bearer realm=\"motif\""));
        }
        Some(Caller::Refused(detail)) => {
            let challenge = HeaderValue::from_static("Bearer realm=\"motif\", error=\"invalid_token\"");
            let error = ApiError::new(StatusCode::UNAUTHORIZED, "invalid_token", "Who are you?", *detail);
            return challenged(error, challenge);
        }
        None => {
            tracing::error!("a request reached its route without anybody asking who sent it");
            return ApiError::internal().into_response();
        }
    };
    if !principal.satisfies(guarded.need) {
        return forbidden(&principal, guarded.need);
    }
    let changes = !request.method().is_safe();
    if changes && principal.kind == ActorKind::Session && !request.headers().contains_key(REQUEST_HEADER) {
        let detail =
            "A browser's writes need the header `X-Motif-Request`, which only this dashboard's pages send";
        return ApiError::new(
            StatusCode::FORBIDDEN,
            "cross_site_request",
            "Foreign page",
            detail,
        )
        .into_response();
    }
    let request_id = request
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .map(ToOwned::to_owned);
    let actor = Actor::new(principal, request_id);
    let store = request.extensions().get::<Store>().cloned();
    let method = request.method().clone();
    request.extensions_mut().insert(actor.clone());
    let response = next.run(request).await;
    if changes && response.status().is_success() && !actor.is_recorded() && guarded.is_audited() {
        record(store, &guarded, &method, &path, &actor).await;
    }
    response
}

impl Guarded {
    /// Whether what it changes is changed by a person's will, not by a worker's reports.
    fn is_audited(&self) -> bool {
        matches!(self.need, Need::AnyOf(scopes) if !scopes.contains(&Scope::Worker))
    }
}

async fn record(
    store: Option<Store>,
    guarded: &Guarded,
    method: &Method,
    path: &RawPathParams,
    actor: &Actor,
) {
    let Some(store) = store else { return };
    let entry = Entry {
        action: guarded.operations.get(method).map_or("", String::as_str),
        subject: path.iter().next().map_or("", |(_, value)| value).into(),
        project: None,
        details: json!({}),
    };
    if let Err(error) = store.record(actor, entry).await {
        let request = actor.request_id.as_deref().unwrap_or("");
        tracing::error!(error = %chain(&error), request.id = request, "a change is missing in the audit trail");
    }
}

fn forbidden(principal: &Principal, need: Need) -> Response {
    let words = |scopes: &[Scope]| {
        let words: Vec<String> = scopes.iter().map(|scope| format!("`{scope}`")).collect();
        words.join(" or ")
    };
    let needed = match need {
        Need::AnyOf(scopes) => scopes,
        Need::Nothing | Need::Known => &[],
    };
    let detail = format!(
        "This needs the scope {}; the token `{}` has {}",
        words(needed),
        principal.name,
        words(&principal.scopes)
    );
    let error = ApiError::new(StatusCode::FORBIDDEN, "missing_scope", "Not allowed", detail);
    let scope = needed.first().map_or("", |scope| scope.as_str());
    let challenge = format!("Bearer realm=\"motif\", error=\"insufficient_scope\", scope=\"{scope}\"");
    match HeaderValue::try_from(challenge) {
        Ok(challenge) => challenged(error, challenge),
        Err(_) => error.into_response(),
    }
}

fn challenged(error: ApiError, challenge: HeaderValue) -> Response {
    let mut response = error.into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        actor(parts).map(|actor| actor.principal.clone())
    }
}

impl<S: Sync> FromRequestParts<S> for Actor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        actor(parts).cloned()
    }
}

/// Whoever [`authorize`] let in.
fn actor(parts: &Parts) -> Result<&Actor, ApiError> {
    parts.extensions.get::<Actor>().ok_or_else(|| {
        tracing::error!("a handler asks who its caller is, and its route asks for nothing");
        ApiError::internal()
    })
}
