//! A browser's session: begun with a token, held in a cookie that no script can read.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use motif_proto::access::{Me, SignIn};
use motif_proto::problem::Problem;

use super::access::{REQUEST_HEADER, SESSION_COOKIE};
use super::extract::Json;
use super::problem::ApiError;
use crate::access::{Access, Shown};
use crate::domain::access::{Actor, Principal};
use crate::domain::secret::{self, Secret};
use crate::error::Error;
use crate::store::Store;

/// How long a session lasts at most.
const LENGTH: Duration = Duration::from_secs(7 * 24 * 3600);

/// Who you are, and what you may do.
#[utoipa::path(
    get, path = "/me", tag = "access", operation_id = "me",
    responses((status = OK, body = Me)),
)]
pub async fn me(principal: Principal) -> ([(header::HeaderName, &'static str); 1], Answer<Me>) {
    ([(header::CACHE_CONTROL, "no-store")], Answer(principal.me()))
}

/// Sign a browser in with a token.
///
/// The answer sets a cookie that scripts cannot read and that no other site's page can use. The session ends after
/// a week, with its token, or when it is deleted.
#[utoipa::path(
    post, path = "/session", tag = "access", operation_id = "sign_in", request_body = SignIn,
    responses(
        (status = CREATED, body = Me, description = "The cookie is set",
         headers(("Set-Cookie" = String, description = "The session"))),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json",
         description = "The token opens nothing"),
        (status = FORBIDDEN, body = Problem, content_type = "application/problem+json",
         description = "The header `X-Motif-Request` is missing"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn begin(
    State(store): State<Store>,
    State(access): State<Access>,
    headers: HeaderMap,
    Json(shown): Json<SignIn>,
) -> Result<Response, ApiError> {
    // No page of another site may sign its reader in as somebody else.
    if !headers.contains_key(REQUEST_HEADER) {
        let detail = "Signing in needs the header `X-Motif-Request`, with any value";
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "cross_site_request",
            "Foreign page",
            detail,
        ));
    }
    let holder = match Shown::token(shown.token.trim()) {
        Some(shown) => access.holder(shown).await?,
        None => None,
    };
    let Some(holder) = holder else {
        let detail = "The token is not known here, or it has expired or was revoked";
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "invalid_token",
            "Who are you?",
            detail,
        ));
    };
    let secret = Secret::new(secret::SESSION).map_err(Error::from)?;
    let request_id = headers
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .map(ToOwned::to_owned);
    let principal = store
        .begin_session(&holder, &secret.hash(), LENGTH, request_id)
        .await?;
    let cookie = cookie(secret.expose(), LENGTH, is_secure(&headers));
    let headers = [
        (header::SET_COOKIE, cookie),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((StatusCode::CREATED, headers, Answer(principal.me())).into_response())
}

/// Sign this browser out.
///
/// Safe to repeat; without a session there is nothing to do.
#[utoipa::path(
    delete, path = "/session", tag = "access", operation_id = "sign_out",
    responses((status = NO_CONTENT, description = "The session has ended and the cookie is gone")),
)]
pub async fn end(
    State(store): State<Store>,
    State(access): State<Access>,
    headers: HeaderMap,
    actor: Actor,
) -> Result<Response, ApiError> {
    store.end_session(&actor).await?;
    access.forget();
    let cookie = cookie("", Duration::ZERO, is_secure(&headers));
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

fn cookie(secret: &str, length: Duration, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!(
        "{SESSION_COOKIE}={secret}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{secure}",
        length.as_secs()
    )
}

/// Whether the browser came by https: then the cookie is never to go another way. The page's own origin says it,
/// and so does the proxy that ends the encryption.
fn is_secure(headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    text(header::ORIGIN).is_some_and(|origin| origin.starts_with("https://"))
        || text(header::HeaderName::from_static("x-forwarded-proto")) == Some("https")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_kept_from_scripts_and_from_other_sites() {
        let plain = cookie("s", Duration::from_secs(60), false);
        assert_eq!(
            plain,
            "motif_session=s; Path=/; Max-Age=60; HttpOnly; SameSite=Strict"
        );
        assert!(cookie("s", LENGTH, true).ends_with("; Secure"));
    }
}
