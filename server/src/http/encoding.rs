//! Encodings of request bodies: those that are decompressed on their way in.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::ApiError;

/// What a body may be compressed with.
const KNOWN: [&[u8]; 3] = [b"gzip", b"zstd", b"identity"];

/// Refuses bodies in other encodings; limits of length hold for what comes out of the others.
pub async fn refuse_unknown(request: Request, next: Next) -> Response {
    let encoding = request.headers().get(header::CONTENT_ENCODING);
    if encoding.is_none_or(|encoding| KNOWN.contains(&encoding.as_bytes())) {
        return next.run(request).await;
    }
    let refusal = ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_encoding",
        "Unsupported encoding",
        "The header Content-Encoding has to be gzip, zstd or identity",
    );
    let mut response = refusal.into_response();
    response
        .headers_mut()
        .insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
    response
}
