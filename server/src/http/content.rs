//! Content of the artifact store as an answer: whole, in part, or not at all where the client has it.

use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use motif_proto::problem::Problem;

use super::problem::ApiError;
use crate::artifacts::Artifacts;
use crate::error::Error;

/// Bytes to answer with.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Their SHA-256 in hex.
    pub sha256: String,
    /// How many they are.
    pub size_bytes: u64,
    /// What the client is told to call the file.
    pub file_name: String,
    /// Their media type.
    pub media_type: String,
}

/// What an address of content can answer, for the document.
#[derive(utoipa::IntoResponses)]
pub enum Answers {
    /// All of it.
    #[response(status = OK, content_type = "application/octet-stream")]
    Whole(Vec<u8>),
    /// The range that was asked for.
    #[response(status = PARTIAL_CONTENT, content_type = "application/octet-stream")]
    Part(Vec<u8>),
    /// The content is the one that the client has.
    #[response(status = NOT_MODIFIED)]
    Known,
    /// There is none.
    #[response(status = NOT_FOUND, content_type = "application/problem+json")]
    Nothing(Problem),
    /// It is not so long.
    #[response(status = RANGE_NOT_SATISFIABLE, content_type = "application/problem+json")]
    NoSuchPart(Problem),
}

/// How often newer bytes may take the place of those found before an answer has begun.
const LOOKS: usize = 5;

/// Answers with what `find` finds, and looks again where newer bytes took its place before they could be read.
pub async fn newest<Found, Finding>(
    artifacts: &Artifacts,
    headers: &HeaderMap,
    find: impl Fn() -> Finding,
    describe: impl Fn(&Found) -> Stored,
) -> Result<Response, ApiError>
where
    Finding: Future<Output = Result<Found, Error>>,
{
    let mut found = find().await?;
    for _ in 0..LOOKS {
        if let Some(response) = answer(artifacts, headers, &describe(&found)).await? {
            return Ok(response);
        }
        found = find().await?;
    }
    let detail = format!("the artifact store has no content {}", describe(&found).sha256);
    Err(Error::Damaged(detail).into())
}

/// Answers a request for stored bytes; nothing where they are not there. Knows `Range` with one range, `If-Range`
/// and `If-None-Match`.
async fn answer(
    artifacts: &Artifacts,
    headers: &HeaderMap,
    stored: &Stored,
) -> Result<Option<Response>, ApiError> {
    let etag = format!("\"{}\"", stored.sha256);
    let size = stored.size_bytes;
    let mut response = if mentions(headers, header::IF_NONE_MATCH, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let range = requested_range(headers, &etag, size)?;
        let stream = match artifacts.read(&stored.sha256, range.clone()).await {
            Ok(stream) => stream,
            Err(Error::Artifacts(object_store::Error::NotFound { .. })) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut response = Body::from_stream(stream).into_response();
        let length = range.as_ref().map_or(size, |range| range.end - range.start);
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length.into());
        if let Some(range) = range {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let part = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            insert(&mut response, header::CONTENT_RANGE, &part);
        }
        insert(&mut response, header::CONTENT_TYPE, &stored.media_type);
        insert(
            &mut response,
            header::CONTENT_DISPOSITION,
            &disposition(&stored.file_name),
        );
        insert(&mut response, header::ACCEPT_RANGES, "bytes");
        response
    };
    insert(&mut response, header::ETAG, &etag);
    insert(&mut response, header::CACHE_CONTROL, "private, no-cache");
    Ok(Some(response))
}

fn insert(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// A file name that every system takes. Nothing is shown in the page's place, whatever it is.
fn disposition(file_name: &str) -> String {
    let plain: String = file_name
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() || "-_.".contains(letter) {
                letter
            } else {
                '_'
            }
        })
        .collect();
    format!("attachment; filename=\"{}\"", plain.trim_start_matches('.'))
}

fn mentions(headers: &HeaderMap, name: header::HeaderName, etag: &str) -> bool {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .split(',')
                .any(|tag| tag.trim() == etag || tag.trim() == "*")
        })
}

/// The part asked for; none where all is to be sent, as for forms of `Range` that we need not know.
fn requested_range(headers: &HeaderMap, etag: &str, size: u64) -> Result<Option<Range<u64>>, ApiError> {
    if headers.contains_key(header::IF_RANGE) && !mentions(headers, header::IF_RANGE, etag) {
        return Ok(None);
    }
    let range = headers
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok()?.strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
        return Ok(None);
    };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.is_empty() => first..size,
        (Err(_), Ok(last)) if first.is_empty() => size.saturating_sub(last)..size,
        _ => return Ok(None),
    };
    if range.start >= range.end {
        let detail = format!("The content has {size} bytes");
        return Err(ApiError::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "range_not_satisfiable",
            "No such range",
            detail,
        ));
    }
    Ok(Some(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(range: &'static str) -> Option<Option<Range<u64>>> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static(range));
        requested_range(&headers, "\"x\"", 10).ok()
    }

    #[test]
    fn ranges_are_read_as_rfc_9110_has_them() {
        assert_eq!(asked("bytes=0-3"), Some(Some(0..4)));
        assert_eq!(asked("bytes=4-"), Some(Some(4..10)));
        assert_eq!(asked("bytes=-3"), Some(Some(7..10)));
        assert_eq!(asked("bytes=8-99"), Some(Some(8..10)));
        assert_eq!(asked("bytes=10-"), None);
        assert_eq!(asked("bytes=0-1,3-4"), Some(None));
        assert_eq!(asked("lines=1-2"), Some(None));
    }
}
