//! How many requests one sender may make: a bucket of tokens for each, in memory.
//!
//! Written here because it is little: the crates for it know addresses and not our principals, and bring a clock and a
//! map of their own. What a worker sends in the service of a run is not counted: its leases depend on it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::access;
use super::problem::ApiError;
use crate::domain::access::Principal;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// Seconds of requests that may come at once.
const BURST_SECONDS: u32 = 2;
/// Senders that are remembered. Beyond these, strangers share a bucket.
const MAX_SENDERS: usize = 10_000;
const STRANGERS: &str = "";

/// Counts the requests of each sender; clones count together.
#[derive(Clone, Debug)]
pub struct Rates {
    /// Requests a second, in the long run; 0 counts nothing.
    per_second: u32,
    buckets: Arc<Mutex<HashMap<String, Bucket>>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

/// What a sender may still do.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Allowance {
    is_allowed: bool,
    /// Requests that are left at once.
    left: u32,
    /// Until there is another one, where none is left, or until all are there again.
    wait: Duration,
}

impl Rates {
    /// So many requests a second for each sender; 0 lets all through.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self {
            per_second,
            buckets: Arc::default(),
        }
    }

    fn burst(&self) -> u32 {
        self.per_second.saturating_mul(BURST_SECONDS)
    }

    fn take(&self, sender: &str, now: Instant) -> Allowance {
        let (rate, burst) = (f64::from(self.per_second), f64::from(self.burst()));
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = |bucket: &Bucket| {
            let since = now.saturating_duration_since(bucket.filled_at);
            (bucket.tokens + since.as_secs_f64() * rate).min(burst)
        };
        let sender = if buckets.contains_key(sender) || buckets.len() < MAX_SENDERS {
            sender
        } else {
            // A full bucket is as good as none.
            buckets.retain(|_, bucket| filled(bucket) < burst);
            if buckets.len() < MAX_SENDERS {
                sender
            } else {
                STRANGERS
            }
        };
        let full = Bucket {
            tokens: burst,
            filled_at: now,
        };
        let bucket = buckets.entry(sender.to_owned()).or_insert(full);
        let tokens = filled(bucket);
        let is_allowed = tokens >= 1.0;
        bucket.tokens = if is_allowed { tokens - 1.0 } else { tokens };
        bucket.filled_at = now;
        let missing = if is_allowed {
            burst - bucket.tokens
        } else {
            1.0 - bucket.tokens
        };
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the burst, which fits"
        )]
        Allowance {
            is_allowed,
            left: bucket.tokens as u32,
            wait: Duration::from_secs_f64(missing / rate),
        }
    }
}

/// Refuses requests of a sender that makes too many.
pub async fn limit(State(rates): State<Rates>, request: Request, next: Next) -> Response {
    if rates.per_second == 0 || !is_counted(request.uri().path()) {
        return next.run(request).await;
    }
    let allowance = rates.take(&sender(&request), Instant::now());
    let wait = allowance.wait.as_secs_f64().ceil();
    let mut response = if allowance.is_allowed {
        next.run(request).await
    } else {
        let refusal = ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "Too many requests",
            format!(
                "There may be {} requests a second; wait {wait} s",
                rates.per_second
            ),
        );
        let mut response = refusal.into_response();
        insert(&mut response, header::RETRY_AFTER, &format!("{wait}"));
        response
    };
    let quota = rates.burst();
    insert(
        &mut response,
        POLICY,
        &format!("\"requests\";q={quota};w={BURST_SECONDS}"),
    );
    let left = allowance.left;
    insert(&mut response, LIMIT, &format!("\"requests\";r={left};t={wait}"));
    response
}

/// Only the API of people is counted: neither its pages nor what workers send.
fn is_counted(path: &str) -> bool {
    path.starts_with("/api/") && !path.starts_with("/api/v1/worker/")
}

fn sender(request: &Request) -> String {
    let principal = access::known(request.extensions()).map_or_else(|| "anybody".to_owned(), Principal::key);
    match request.extensions().get::<ConnectInfo<SocketAddr>>() {
        Some(ConnectInfo(address)) => format!("{principal} {}", address.ip()),
        None => principal,
    }
}

fn insert(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_so_many_a_second() {
        let (rates, start) = (Rates::new(10), Instant::now());
        let taken = |sender, at| rates.take(sender, start + Duration::from_millis(at));
        for left in (0..20).rev() {
            let allowance = taken("a", 0);
            assert_eq!((allowance.is_allowed, allowance.left), (true, left));
        }
        let refused = taken("a", 0);
        assert!(!refused.is_allowed && refused.wait == Duration::from_millis(100));
        assert!(taken("b", 0).is_allowed, "others are not affected");
        assert!(!taken("a", 99).is_allowed);
        assert!(taken("a", 101).is_allowed);
        assert!(!taken("a", 102).is_allowed);
        assert_eq!(taken("a", 60_000).left, 19);
    }

    #[test]
    fn strangers_share_a_bucket_where_there_are_too_many() {
        let (rates, now) = (Rates::new(1), Instant::now());
        for sender in 0..MAX_SENDERS {
            rates.take(&sender.to_string(), now);
        }
        let one = rates.take("one", now);
        let other = rates.take("other", now);
        assert_eq!((one.left, other.left), (1, 0));
        // Who was away for long enough is forgotten, and there is room again.
        let later = now + Duration::from_secs(60);
        assert_eq!(rates.take("another", later).left, 1);
        assert!(rates.buckets.lock().unwrap().len() < 3);
    }

    #[test]
    fn what_workers_send_is_not_counted() {
        assert!(is_counted("/api/v1/runs"));
        for path in [
            "/api/v1/worker/metrics",
            "/",
            "/assets/x.js",
            "/healthz",
            "/metrics",
        ] {
            assert!(!is_counted(path), "{path}");
        }
    }
}
