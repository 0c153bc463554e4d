//! The API as clients meet it: submission, lists, and what bad input gets.

use crate::common::{App, fresh_database};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use motif_proto::health::Readiness;
use motif_proto::id::RunId;
use motif_proto::run::{ExperimentAccepted, RunList, RunState};
use motif_proto::spec::preset::PresetList;
use motif_proto::worker::{Verdict, WorkerList};
use motif_server::router::openapi_json;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const EXPERIMENTS: &str = "/api/v1/experiments";

#[test]
fn the_document_that_is_checked_in_is_the_one_that_is_served() {
    let checked_in = include_str!("../../../proto/openapi.json");
    assert!(
        checked_in.trim_end() == openapi_json(),
        "proto/openapi.json is stale: motif-server openapi > proto/openapi.json"
    );
}

#[tokio::test]
async fn a_spec_is_filled_in_and_queued_under_its_hash() {
    let app = App::start().await;
    let spec = json!({ "preset": "demo", "seed": 7, "tags": ["paper"], "network": { "hidden": 32 } });
    let accepted: ExperimentAccepted = app.post(EXPERIMENTS, &spec).await.expect(StatusCode::CREATED);
    assert_eq!((accepted.spec.seed, accepted.spec.network.hidden()), (7, 32));
    assert_eq!(accepted.run.state, RunState::Queued);
    let hash = format!("{:x}", Sha256::digest(accepted.spec.to_canonical_json()));
    assert_eq!(accepted.spec_sha256, hash);
    let detail = app.detail(accepted.run.id).await;
    assert_eq!(detail.spec, accepted.spec);
    assert_eq!(detail.summary, accepted.run);
    assert_eq!(detail.spec_sha256, hash);
}

#[tokio::test]
async fn toml_says_the_same_as_json() {
    let app = App::start().await;
    let toml = "preset = 'demo'\nseed = 7\n[network]\nhidden = 32\n";
    let answer = app
        .request(Method::POST, EXPERIMENTS, "application/toml", toml)
        .await;
    let from_toml: ExperimentAccepted = answer.expect(StatusCode::CREATED);
    let json = json!({ "preset": "demo", "seed": 7, "network": { "hidden": 32 } });
    let from_json: ExperimentAccepted = app.post(EXPERIMENTS, &json).await.expect(StatusCode::CREATED);
    assert_eq!(from_toml.spec_sha256, from_json.spec_sha256);
    let answer = app
        .request(Method::POST, EXPERIMENTS, "application/toml", "preset = ")
        .await;
    answer.problem(StatusCode::BAD_REQUEST, "invalid_toml");
}

#[tokio::test]
async fn every_mistake_in_a_spec_is_named_at_once() {
    let app = App::start().await;
    let spec = json!({
        "preset": "demo", "sed": 1,
        "network": { "hidden": 0 },
        "training": { "tasks": ["DlyHalfReech"], "batches": "many" },
    });
    let problem = app
        .post(EXPERIMENTS, &spec)
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_spec");
    let named = |pointer: &str| {
        problem
            .errors
            .iter()
            .find(|error| error.pointer == pointer)
            .unwrap_or_else(|| panic!("{pointer}"))
    };
    assert_eq!(named("/sed").nearest.as_deref(), Some("seed"));
    assert_eq!(named("/network/hidden").given, Some(json!(0)));
    assert_eq!(
        named("/training/tasks/0").nearest.as_deref(),
        Some("DlyHalfReach")
    );
    assert!(named("/training/batches").allowed.is_some());
    let list: RunList = app.get("/api/v1/runs").await.expect(StatusCode::OK);
    assert!(list.runs.is_empty());
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_told_apart() {
    let app = App::start().await;
    let send = |kind: &'static str, body: String| app.request(Method::POST, EXPERIMENTS, kind, body);
    let json = "application/json";
    send(json, "{".into())
        .await
        .problem(StatusCode::BAD_REQUEST, "invalid_json");
    send(json, String::new())
        .await
        .problem(StatusCode::BAD_REQUEST, "invalid_json");
    send("text/plain", "{}".into())
        .await
        .problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type");
    let long = format!("{{\"name\": \"{}\"}}", "x".repeat(300_000));
    send(json, long)
        .await
        .problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large");
    send(json, "[]".into())
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_spec");
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    send(json, deep)
        .await
        .problem(StatusCode::BAD_REQUEST, "invalid_json");
    app.post("/api/v1/worker/claim", &json!({ "worker": 3 }))
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body");
}

#[tokio::test]
async fn addresses_methods_and_ids_that_do_not_exist_are_problems() {
    let app = App::start().await;
    app.get("/api/v1/nothing")
        .await
        .problem(StatusCode::NOT_FOUND, "not_found");
    app.get("/api/nothing")
        .await
        .problem(StatusCode::NOT_FOUND, "not_found");
    let wrong = app
        .request(Method::DELETE, "/api/v1/runs", "text/plain", "")
        .await;
    wrong.problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
    app.get("/api/v1/runs/seven")
        .await
        .problem(StatusCode::BAD_REQUEST, "invalid_id");
    let unknown = RunId::new();
    app.get(&format!("/api/v1/runs/{unknown}"))
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_run");
    for end in ["cancel", "checkpoints", "events"] {
        let path = format!("/api/v1/runs/{unknown}/{end}");
        let answer = if end == "cancel" {
            app.post(&path, &()).await
        } else {
            app.get(&path).await
        };
        answer.problem(StatusCode::NOT_FOUND, "unknown_run");
    }
    for query in ["limit=0", "limit=x", "state=sleeping", "sate=queued", "q=%00"] {
        let answer = app.get(&format!("/api/v1/runs?{query}")).await;
        answer.problem(StatusCode::BAD_REQUEST, "invalid_query");
    }
    app.get("/api/v1/runs?cursor=x")
        .await
        .problem(StatusCode::BAD_REQUEST, "invalid_cursor");
}

#[tokio::test]
async fn runs_are_listed_newest_first_page_by_page() {
    let app = App::start().await;
    let mut submitted = Vec::new();
    for seed in 0..5 {
        submitted.push(app.submit(json!({ "preset": "demo", "seed": seed })).await);
    }
    submitted.reverse();
    let mut listed = Vec::new();
    let mut path = "/api/v1/runs?limit=2".to_owned();
    for pages_left in (0..3).rev() {
        let page: RunList = app.get(&path).await.expect(StatusCode::OK);
        listed.extend(page.runs.iter().map(|run| run.id));
        assert_eq!(page.next_cursor.is_some(), pages_left > 0);
        path = format!(
            "/api/v1/runs?limit=2&cursor={}",
            page.next_cursor.unwrap_or_default()
        );
    }
    assert_eq!(listed, submitted);
}

#[tokio::test]
async fn runs_are_found_by_state_text_and_tags() {
    let app = App::start().await;
    let paper = app
        .submit(json!({ "preset": "demo", "name": "100% Reach_er", "tags": ["paper", "arm"] }))
        .await;
    let other = app
        .submit(json!({ "preset": "demo", "name": "other", "tags": ["arm"] }))
        .await;
    app.post(&format!("/api/v1/runs/{other}/cancel"), &()).await;
    for (query, expected) in [
        ("state=queued", vec![paper]),
        ("state=queued&state=cancelled", vec![other, paper]),
        ("q=reach", vec![paper]),
        ("q=0%25%20r", vec![paper]),
        ("q=_er", vec![paper]),
        ("q=demo", vec![other, paper]),
        ("tag=arm", vec![other, paper]),
        ("tag=arm&tag=paper", vec![paper]),
        ("state=succeeded", vec![]),
    ] {
        let list: RunList = app
            .get(&format!("/api/v1/runs?{query}"))
            .await
            .expect(StatusCode::OK);
        assert_eq!(
            list.runs.iter().map(|run| run.id).collect::<Vec<_>>(),
            expected,
            "{query}"
        );
    }
}

#[tokio::test]
async fn workers_are_listed_with_what_they_hold() {
    let app = App::start().await;
    let claim = app.running().await;
    let list: WorkerList = app.get("/api/v1/workers").await.expect(StatusCode::OK);
    assert_eq!(list.workers.len(), 1);
    assert!(list.workers[0].alive);
    assert_eq!(list.workers[0].runs, [claim.run]);
    assert_eq!(app.heartbeat(list.workers[0].id, &claim).await, Verdict::Continue);
    assert_eq!(
        app.detail(claim.run).await.summary.worker.as_deref(),
        Some("bench")
    );
}

#[tokio::test]
async fn presets_health_and_the_document_are_served() {
    let app = App::start().await;
    let presets: PresetList = app.get("/api/v1/presets").await.expect(StatusCode::OK);
    assert_eq!(presets.presets[0].id, "demo");
    assert_eq!(app.get("/healthz").await.status, StatusCode::NO_CONTENT);
    let readiness: Readiness = app.get("/readyz").await.expect(StatusCode::OK);
    let names: Vec<&str> = readiness.components.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["database", "migrations", "artifacts"]);
    let document: Value = app.get("/api/v1/openapi.json").await.expect(StatusCode::OK);
    assert!(document["paths"]["/api/v1/experiments"]["post"].is_object());
}

#[tokio::test]
async fn pages_are_answered_under_any_address_and_files_only_under_their_own() {
    let app = App::start().await;
    for path in ["/", "/runs/some-run"] {
        let page = app.get(path).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(
            page.headers[header::CONTENT_TYPE]
                .to_str()
                .unwrap()
                .starts_with("text/html")
        );
        assert!(page.headers.contains_key("content-security-policy"));
    }
    app.get("/assets/missing.js")
        .await
        .problem(StatusCode::NOT_FOUND, "not_found");
    app.get("/../etc/passwd.txt")
        .await
        .problem(StatusCode::NOT_FOUND, "not_found");
}

#[tokio::test]
async fn strange_pages_change_nothing_and_strange_names_get_nothing() {
    let app = App::start().await;
    let request = |host: &str, origin: &str| {
        Request::post(EXPERIMENTS)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::HOST, host)
            .header(header::ORIGIN, origin)
            .body(Body::from(r#"{"preset":"demo"}"#))
            .unwrap()
    };
    let own = app
        .answer(request("localhost:8080", "http://localhost:8080"))
        .await;
    assert_eq!(own.status, StatusCode::CREATED);
    let foreign = app
        .answer(request("localhost:8080", "https://evil.example"))
        .await;
    foreign.problem(StatusCode::FORBIDDEN, "foreign_origin");
    let rebound = app.answer(request("evil.example", "http://evil.example")).await;
    rebound.problem(StatusCode::MISDIRECTED_REQUEST, "foreign_host");
}

#[tokio::test]
async fn migrations_can_be_applied_twice() {
    let pool = fresh_database().await;
    for _ in 0..2 {
        motif_server::MIGRATOR.run(&pool).await.unwrap();
    }
    let applied: i64 = sqlx::query_scalar("select count(*) from _sqlx_migrations where success")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(
        usize::try_from(applied).unwrap(),
        motif_server::MIGRATOR.iter().count()
    );
}
