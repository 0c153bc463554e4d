//! Keeps strange web pages away from a coordinator that asks nobody for a token.
//!
//! A page of any site can make its reader's browser send requests to this machine. Writes from another origin
//! are refused; and where we answer this machine alone, so are requests under a name that is not this
//! machine's, because a hostile name can be made to point here (DNS rebinding).

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::ApiError;
use crate::router::Reach;

/// Longest request id that is taken over.
const MAX_REQUEST_ID: usize = 64;

/// Refuses requests that a strange page sent.
pub async fn refuse_strangers(State(reach): State<Reach>, request: Request, next: Next) -> Response {
    let host = host_of(&request);
    if reach == Reach::ThisMachine && !host.as_deref().is_none_or(is_this_machine) {
        let detail = "This coordinator answers only under this machine's own name, such as localhost";
        return ApiError::new(
            StatusCode::MISDIRECTED_REQUEST,
            "foreign_host",
            "Foreign host",
            detail,
        )
        .into_response();
    }
    if !request.method().is_safe() && !is_same_origin(request.headers(), host.as_deref()) {
        let detail = "Web pages of other origins cannot change anything here";
        return ApiError::new(StatusCode::FORBIDDEN, "foreign_origin", "Foreign origin", detail)
            .into_response();
    }
    next.run(request).await
}

/// Leaves out request ids of the client that do not look like one, so that we make our own.
pub async fn forget_strange_request_ids(mut request: Request, next: Next) -> Response {
    let sound = |id: &[u8]| {
        id.len() <= MAX_REQUEST_ID
            && id
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    if request
        .headers()
        .get("x-request-id")
        .is_some_and(|id| !sound(id.as_bytes()))
    {
        request.headers_mut().remove("x-request-id");
    }
    next.run(request).await
}

fn host_of(request: &Request) -> Option<String> {
    let from_header = request
        .headers()
        .get(header::HOST)
        .map(|host| host.to_str().unwrap_or("").to_owned());
    from_header.or_else(|| request.uri().authority().map(ToString::to_string))
}

fn is_same_origin(headers: &HeaderMap, host: Option<&str>) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        // Browsers always send it with a write; other programs need not.
        return true;
    };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(_, authority)| Some(authority) == host)
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    address.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        for own in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:1",
            "127.0.0.1",
            "[::1]:8080",
            "[::1]",
        ] {
            assert!(is_this_machine(own), "{own}");
        }
        for foreign in [
            "evil.example",
            "localhost.evil.example:80",
            "10.0.0.1:8080",
            "",
            "127.0.0.1.evil.example",
        ] {
            assert!(!is_this_machine(foreign), "{foreign}");
        }
    }

    #[test]
    fn an_origin_has_to_be_the_host_asked() {
        let with = |origin: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, axum::http::HeaderValue::from_static(origin));
            is_same_origin(&headers, Some("localhost:8080"))
        };
        assert!(with("http://localhost:8080"));
        assert!(!with("http://localhost:3000"));
        assert!(!with("https://evil.example"));
        assert!(!with("null"));
        assert!(is_same_origin(&HeaderMap::new(), Some("localhost:8080")));
    }
}
