//! Extractors whose refusals are problem documents.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{FromRef, FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use motif_proto::metrics::POSTCARD;
use serde::de::DeserializeOwned;

use super::problem::ApiError;
use super::visible::Owned;
use crate::domain::access::Principal;
use crate::store::Store;

/// A body that is JSON of this type.
pub struct Json<T>(pub T);

/// A body of this type, given as JSON or as postcard.
pub struct Packed<T>(pub T);

/// A body as it is, up to the route's limit.
pub struct Whole(pub Bytes);

/// A body as a JSON value, given as JSON or as TOML.
pub struct Document(pub serde_json::Value);

/// Query parameters; a list takes a repeated one.
pub struct Query<T>(pub T);

/// The id in the path, of something that the caller may see.
pub struct Id<T>(pub T);

/// The id in the path of something that the caller may see, and which part of it is meant.
pub struct Part<T, U>(pub T, pub U);

/// The word in the path.
pub struct Name(pub String);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if media_type(request.headers()) != Some("application/json") {
            return Err(unsupported("application/json"));
        }
        let body = body(request, state).await?;
        serde_json::from_slice(&body).map(Self).map_err(|error| {
            if error.is_data() {
                ApiError::invalid_body(format!("The body does not fit: {error}"))
            } else {
                invalid_json(&error)
            }
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Packed<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match media_type(request.headers()) {
            Some("application/json") => Json::from_request(request, state)
                .await
                .map(|Json(body)| Self(body)),
            Some(POSTCARD) => {
                let body = body(request, state).await?;
                let (value, rest) = postcard::take_from_bytes(&body)
                    .map_err(|error| ApiError::invalid_body(format!("The body does not fit: {error}")))?;
                if !rest.is_empty() {
                    let detail = format!("The body goes on for {} bytes after its end", rest.len());
                    return Err(ApiError::invalid_body(detail));
                }
                Ok(Self(value))
            }
            _ => Err(unsupported("application/json or application/x-postcard")),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        body(request, state).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for Document {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let is_toml = match media_type(request.headers()) {
            Some("application/json") => false,
            Some("application/toml") => true,
            _ => return Err(unsupported("application/json or application/toml")),
        };
        let body = body(request, state).await?;
        if is_toml {
            let problem = |detail: String| {
                ApiError::new(
                    StatusCode::BAD_REQUEST,
                    "invalid_toml",
                    "The body is not TOML",
                    detail,
                )
            };
            let text = std::str::from_utf8(&body).map_err(|error| problem(error.to_string()))?;
            toml::from_str(text)
                .map(Self)
                .map_err(|error| problem(error.message().to_owned()))
        } else {
            serde_json::from_slice(&body)
                .map(Self)
                .map_err(|error| invalid_json(&error))
        }
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        serde_html_form::from_str(parts.uri.query().unwrap_or_default())
            .map(Self)
            .map_err(|error| ApiError::invalid_query(format!("The query does not fit: {error}")))
    }
}

impl<S: Send + Sync, T: Owned> FromRequestParts<S> for Id<T>
where
    Store: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let id: T = in_path(parts, state).await?;
        require_visible(id, parts, state).await?;
        Ok(Self(id))
    }
}

impl<S: Send + Sync, T: Owned, U: DeserializeOwned + Send> FromRequestParts<S> for Part<T, U>
where
    Store: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let (id, part): (T, U) = in_path(parts, state).await?;
        require_visible(id, parts, state).await?;
        Ok(Self(id, part))
    }
}

async fn require_visible<S: Send + Sync, T: Owned>(
    id: T,
    parts: &mut Parts,
    state: &S,
) -> Result<(), ApiError>
where
    Store: FromRef<S>,
{
    let principal = Principal::from_request_parts(parts, state).await?;
    if id.is_visible(&Store::from_ref(state), &principal).await? {
        Ok(())
    } else {
        Err(id.unknown().into())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        in_path(parts, state).await.map(Self)
    }
}

async fn in_path<S: Send + Sync, T: DeserializeOwned + Send>(
    parts: &mut Parts,
    state: &S,
) -> Result<T, ApiError> {
    let path: Result<Path<T>, PathRejection> = Path::from_request_parts(parts, state).await;
    path.map(|Path(id)| id).map_err(|rejection| {
        let detail = format!("The id in the path cannot be read: {}", rejection.body_text());
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_id", "Invalid id", detail)
    })
}

async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state)
        .await
        .map_err(|rejection: BytesRejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                ApiError::too_large("The body is longer than this address accepts")
            } else {
                ApiError::new(
                    StatusCode::BAD_REQUEST,
                    "upload_cut",
                    "Upload cut short",
                    rejection.body_text(),
                )
            }
        })
}

fn invalid_json(error: &serde_json::Error) -> ApiError {
    let detail = format!("The body is not JSON: {error}");
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "invalid_json",
        "The body is not JSON",
        detail,
    )
}

fn unsupported(wanted: &str) -> ApiError {
    let detail = format!("The header Content-Type has to be {wanted}");
    ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "Unsupported media type",
        detail,
    )
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}
