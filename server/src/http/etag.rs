//! `ETag`s of JSON answers, so that whoever has an answer need not be sent it again.
//!
//! A tag is the hash of the answer's text; where clients change what is told, the revision that a change may be meant
//! for follows (see [`if_match`](super::if_match)). A compressed answer is another representation: its tag ends with the
//! encoding's name, and a tag that comes back is known with and without it.

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::if_match::with_revision;
use crate::domain::revision::Revision;

/// Longest answer that gets a tag.
const MAX_BODY: usize = 4 * 1024 * 1024;
/// Bytes of the hash that stand in the tag.
const TAG_BYTES: usize = 16;
const ENCODINGS: [&str; 2] = ["gzip", "zstd"];

/// Adds the tag to an answer that is JSON, or answers 304 where the client has it. Of changes, only the answers of
/// those that a next one may be meant for have a tag.
pub async fn tag(request: Request, next: Next) -> Response {
    let is_reading = request.method() == Method::GET;
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let mut response = next.run(request).await;
    let revision = response.extensions_mut().remove::<Revision>();
    let is_tagged = is_reading || revision.is_some();
    if !is_tagged || response.status() != StatusCode::OK || !is_json(response.headers()) {
        return response;
    }
    let size = response.body().size_hint().exact();
    if response.headers().contains_key(header::ETAG) || size.is_none_or(|size| size > MAX_BODY as u64) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let tag = tag_of(&body, revision.as_ref());
    let is_known = is_reading && known.is_some_and(|known| names(&known, &tag));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        parts.headers.insert(header::ETAG, tag);
    }
    parts
        .headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("private, no-cache"));
    if is_known {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(body))
}

/// Sees to it that tags name the encoding of what is sent. Stands around the compression.
pub async fn name_encoding(mut request: Request, next: Next) -> Response {
    let asked = request.headers().get(header::IF_NONE_MATCH).cloned();
    for name in [header::IF_NONE_MATCH, header::IF_MATCH, header::IF_RANGE] {
        let lists = request.headers().get_all(&name).iter();
        let plain: Vec<_> = lists
            .map(|list| without_encodings(list).unwrap_or_else(|| list.clone()))
            .collect();
        request.headers_mut().remove(&name);
        for list in plain {
            request.headers_mut().append(&name, list);
        }
    }
    let mut response = next.run(request).await;
    let encoding = match response.headers().get(header::CONTENT_ENCODING) {
        Some(encoding) => encoding.to_str().ok().map(ToOwned::to_owned),
        // The answer that the client has is the one it named.
        None if response.status() == StatusCode::NOT_MODIFIED => encoding_asked(asked.as_ref(), &response),
        None => None,
    };
    let tag = response
        .headers()
        .get(header::ETAG)
        .and_then(|tag| tag.to_str().ok());
    if let (Some(encoding), Some(tag)) = (encoding, tag)
        && let Some(tag) = tag.strip_suffix('"')
        && let Ok(tag) = HeaderValue::try_from(format!("{tag}-{encoding}\""))
    {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

fn tag_of(body: &[u8], revision: Option<&Revision>) -> String {
    let hash = Sha256::digest(body);
    let digits = hash.iter().take(TAG_BYTES).map(|byte| format!("{byte:02x}"));
    let digits: String = digits.collect();
    let tag = revision.map(|revision| with_revision(&digits, revision));
    format!("\"{}\"", tag.unwrap_or(digits))
}

/// Whether a list of tags has this one; for reading, a weak tag is as good as a strong one.
fn names(list: &HeaderValue, tag: &str) -> bool {
    let Ok(list) = list.to_str() else { return false };
    list.split(',')
        .map(str::trim)
        .any(|named| named == "*" || named.trim_start_matches("W/") == tag)
}

fn without_encodings(list: &HeaderValue) -> Option<HeaderValue> {
    let mut list = list.to_str().ok()?.to_owned();
    for encoding in ENCODINGS {
        list = list.replace(&format!("-{encoding}\""), "\"");
    }
    HeaderValue::try_from(list).ok()
}

fn encoding_asked(asked: Option<&HeaderValue>, response: &Response) -> Option<String> {
    let tag = response
        .headers()
        .get(header::ETAG)?
        .to_str()
        .ok()?
        .strip_suffix('"')?;
    let asked = asked?.to_str().ok()?;
    let named = |encoding: &&str| asked.contains(&format!("{tag}-{encoding}\""));
    ENCODINGS.into_iter().find(named).map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_known_in_lists_weak_and_of_any_encoding() {
        let tag = tag_of(b"{}", None);
        let plain = |text: String| without_encodings(&HeaderValue::try_from(text).unwrap()).unwrap();
        let digits = tag.trim_matches('"');
        for known in [
            tag.clone(),
            format!("\"x\", {tag}"),
            format!("W/{tag}"),
            format!("\"{digits}-gzip\""),
            format!("\"x-zstd\", \"{digits}-zstd\""),
            "*".to_owned(),
        ] {
            assert!(names(&plain(known.clone()), &tag), "{known}");
        }
        for unknown in ["", "\"x\"", digits] {
            assert!(
                !names(&HeaderValue::from_str(unknown).unwrap(), &tag),
                "{unknown}"
            );
        }
    }
}
