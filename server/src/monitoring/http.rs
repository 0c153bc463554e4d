//! Requests, by the route that answered them.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use motif_proto::monitoring::Metric;
use motif_proto::monitoring::coordinator::{HTTP_DURATION, HTTP_IN_FLIGHT};

use super::{add, observe};

/// What is called so that has no route: the dashboard's files, and addresses that do not exist.
const NO_ROUTE: &str = "dashboard";

/// Measures the time until an answer begins.
pub async fn measure(request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| NO_ROUTE.to_owned(), |path| path.as_str().to_owned());
    let method = method(request.method());
    let _in_flight = Counted::up(HTTP_IN_FLIGHT, &[]);
    let begun = Instant::now();
    let response = next.run(request).await;
    let status = response.status();
    observe(HTTP_DURATION, &[method, &route, status.as_str()], begun.elapsed());
    response
}

/// Anybody can make up methods; a label has few values.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// Counts itself in a gauge until it is dropped, in whatever way its owner ends.
#[derive(Debug)]
pub struct Counted {
    gauge: Metric,
    labels: &'static [&'static str],
}

impl Counted {
    /// One more.
    #[must_use]
    pub fn up(gauge: Metric, labels: &'static [&'static str]) -> Self {
        add(gauge, labels, 1.0);
        Self { gauge, labels }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        add(self.gauge, self.labels, -1.0);
    }
}
