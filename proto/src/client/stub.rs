//! A pretend coordinator on a port of its own, and documents for it to answer with.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde_json::json;

use super::Client;
use crate::id::{ExperimentId, RunId};
use crate::problem::{FieldProblem, PROBLEM_JSON, Problem};
use crate::run::{Progress, RunState, RunSummary};
use crate::spec::ExperimentKind;

/// Serves the routes, as they stand under `/api/v1`, until the test's runtime ends.
pub(crate) async fn serve(routes: Router) -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().nest("/api/v1", routes);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Client::new(&format!("http://{address}"), Some("secret".to_owned())).unwrap()
}

/// A problem as the coordinator answers it.
pub(crate) fn answer(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap();
    let body = serde_json::to_string(problem).unwrap();
    (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response()
}

/// A spec with one wrong value and one unknown name.
pub(crate) fn invalid_spec() -> Problem {
    Problem {
        kind: "about:blank".to_owned(),
        title: "Invalid spec".to_owned(),
        status: 422,
        detail: "The spec has 2 problems".to_owned(),
        code: "invalid_spec".to_owned(),
        request_id: None,
        errors: vec![
            FieldProblem {
                pointer: "/network/hidden".to_owned(),
                detail: "0 is out of range".to_owned(),
                given: Some(json!(0)),
                allowed: Some("an integer from 1 to 4096".to_owned()),
                nearest: None,
            },
            FieldProblem {
                pointer: "/network/activaton".to_owned(),
                detail: "there is no such field".to_owned(),
                given: Some(json!("relu")),
                allowed: None,
                nearest: Some("activation".to_owned()),
            },
        ],
    }
}

/// A problem without fields.
pub(crate) fn problem(status: u16, code: &str, detail: &str) -> Problem {
    Problem {
        status,
        code: code.to_owned(),
        detail: detail.to_owned(),
        errors: Vec::new(),
        ..invalid_spec()
    }
}

/// An instant that all documents share.
pub(crate) fn noon() -> DateTime<Utc> {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

/// A run whose id ends with the digits given, 500 of 2000 batches done.
pub(crate) fn run(tail: &str, state: RunState) -> RunSummary {
    let id: RunId = format!("01890000-0000-7000-8000-0000{tail:0>8}").parse().unwrap();
    RunSummary {
        project: crate::spec::DEFAULT_PROJECT.to_owned(),
        id,
        experiment: ExperimentId::new(),
        name: "demo".to_owned(),
        kind: ExperimentKind::Train,
        preset: None,
        seed: 0,
        tags: Vec::new(),
        priority: 0,
        state,
        pausing: false,
        not_before: None,
        progress: Progress {
            batches_done: 500,
            batches_total: 2000,
            batches_per_second: Some(25.0),
        },
        last_loss: None,
        last_validation: None,
        best_validation: None,
        attempts: 1,
        worker: None,
        failure: None,
        reason: None,
        study: None,
        created_at: noon(),
        started_at: None,
        finished_at: None,
    }
}
