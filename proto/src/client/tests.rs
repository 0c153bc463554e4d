use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::StreamExt;
use serde_json::json;

use super::stub::{answer, invalid_spec, problem, run, serve};
use super::{Client, ClientError, MetricsQuery, RunFilter, StreamItem};
use crate::event::Event;
use crate::id::{AttemptId, FencingToken, RunId, WorkerId};
use crate::metrics::RunMetrics;
use crate::run::{CheckpointKind, Queue, RunList, RunState};
use crate::worker::{ClaimRequest, UploadArtifact, UploadCheckpoint};

#[tokio::test]
async fn a_problem_document_becomes_a_typed_error_with_every_field() {
    let routes = Router::new().route("/experiments", post(|| async { answer(&invalid_spec()) }));
    let error = serve(routes).await.submit(&json!({})).await.unwrap_err();

    assert_eq!(error.code(), Some("invalid_spec"));
    assert!(!error.is_transient());
    let ClientError::Problem { status, problem } = error else {
        panic!("{error}");
    };
    assert_eq!(status, 422);
    assert_eq!(*problem, invalid_spec());
}

#[tokio::test]
async fn a_coordinator_that_is_away_is_a_transient_error_that_names_it() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let client = Client::new(&format!("http://127.0.0.1:{port}/"), None).unwrap();
    let error = client.queue().await.unwrap_err();
    assert!(error.is_transient());
    assert!(error.to_string().starts_with(&format!(
        "cannot reach the coordinator at http://127.0.0.1:{port}: "
    )));
}

#[tokio::test]
async fn where_nobody_listens_the_next_coordinator_is_asked_at_once_and_from_then_on() {
    let dead = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let alive = serve(Router::new().route("/queue", get(|| async { Json(Queue::default()) }))).await;
    let client = Client::new(&format!("{dead},{}", alive.server()), None).unwrap();
    assert_eq!(client.server(), dead);
    client.queue().await.unwrap();
    assert_eq!(client.server(), alive.server());

    let both_dead = Client::new(&format!("{dead},{dead}/second"), None).unwrap();
    assert!(both_dead.queue().await.unwrap_err().is_transient());
}

#[tokio::test]
async fn a_coordinator_that_fails_is_asked_no_more_by_the_next_call() {
    let failing = || async { answer(&problem(503, "unavailable", "The database is away")) };
    let failing = serve(Router::new().route("/queue", get(failing))).await;
    let alive = serve(Router::new().route("/queue", get(|| async { Json(Queue::default()) }))).await;
    let client = Client::new(&format!("{},{}", failing.server(), alive.server()), None).unwrap();
    // It was asked, so whether to ask again is for the caller to say.
    assert!(client.queue().await.unwrap_err().is_transient());
    client.queue().await.unwrap();
}

#[tokio::test]
async fn a_fault_of_the_coordinator_is_transient_and_a_stale_lease_is_not() {
    let routes = Router::new()
        .route(
            "/queue",
            get(|| async { answer(&problem(503, "unavailable", "The database is away")) }),
        )
        .route(
            "/workers",
            get(|| async { answer(&problem(409, "stale_lease", "The lease has passed on")) }),
        )
        .route(
            "/runs",
            get(|| async { answer(&problem(507, "storage_full", "The store has no room left")) }),
        )
        .route(
            "/presets",
            get(|| async { (StatusCode::BAD_GATEWAY, "<html>a proxy</html>") }),
        );
    let client = serve(routes).await;
    assert!(client.queue().await.unwrap_err().is_transient());
    assert!(client.presets().await.unwrap_err().is_transient());
    let full = client.runs(&RunFilter::default()).await.unwrap_err();
    assert_eq!((full.is_transient(), full.code()), (true, Some("storage_full")));
    let stale = client.workers().await.unwrap_err();
    assert_eq!((stale.is_transient(), stale.code()), (false, Some("stale_lease")));
}

#[tokio::test]
async fn an_answer_that_is_not_motifs_is_said_to_be_so() {
    let routes = Router::new().route("/queue", get(|| async { "hello" }));
    let error = serve(routes).await.queue().await.unwrap_err();
    assert!(
        matches!(error, ClientError::UnexpectedAnswer { status: 200, .. }),
        "{error}"
    );
}

#[test]
fn addresses_that_are_no_coordinators_are_refused_before_any_call() {
    for address in [
        "",
        "localhost:8080",
        "ftp://host",
        "http://host?x=1",
        "http://host#x",
    ] {
        let refused = Client::new(address, None);
        assert!(
            matches!(refused, Err(ClientError::InvalidServer { .. })),
            "{address}: {refused:?}"
        );
    }
    let refused = Client::new("http://host", Some("two\nlines".to_owned()));
    assert!(matches!(refused, Err(ClientError::InvalidToken)));
}

#[test]
fn a_token_does_not_show_in_debug_output() {
    let client = Client::new("http://host", Some("secret".to_owned())).unwrap();
    assert!(!format!("{client:?}").contains("secret"));
}

#[tokio::test]
async fn every_call_carries_the_token_and_the_filter() {
    let routes = Router::new().route(
        "/runs",
        get(|headers: HeaderMap, uri: Uri| async move {
            assert_eq!(headers[header::AUTHORIZATION], "Bearer secret");
            assert_eq!(
                uri.query(),
                Some("state=running&state=paused&q=a%26b&where=last_loss%3C1&sort=-created&limit=5")
            );
            Json(RunList {
                runs: vec![run("1", RunState::Running)],
                next_cursor: None,
                total: None,
            })
        }),
    );
    let filter = RunFilter {
        states: vec![RunState::Running, RunState::Paused],
        text: Some("a&b".to_owned()),
        conditions: vec!["last_loss<1".to_owned()],
        sort: Some("-created".to_owned()),
        limit: Some(5),
        ..RunFilter::default()
    };
    assert_eq!(serve(routes).await.runs(&filter).await.unwrap().runs.len(), 1);
}

#[tokio::test]
async fn a_curve_query_names_its_series_and_range() {
    let routes = Router::new().route(
        "/runs/{id}/metrics",
        get(|uri: Uri| async move {
            assert_eq!(
                uri.query(),
                Some("series=loss%2Ftotal%2Cvalidation%2Fa%2Bb&points=10&from=5&to=9")
            );
            Json(RunMetrics {
                run: RunId::new(),
                series: Vec::new(),
            })
        }),
    );
    let query = MetricsQuery {
        series: vec!["loss/total".to_owned(), "validation/a+b".to_owned()],
        points: Some(10),
        from: Some(5),
        to: Some(9),
    };
    serve(routes).await.metrics(RunId::new(), &query).await.unwrap();
}

#[tokio::test]
async fn a_claim_without_work_is_none() {
    let routes = Router::new().route("/worker/claim", post(|| async { StatusCode::NO_CONTENT }));
    let claim = ClaimRequest {
        worker: WorkerId::new(),
        free_slots: 1,
        wait_seconds: 0,
    };
    assert_eq!(serve(routes).await.claim(&claim).await.unwrap(), None);
}

#[tokio::test]
async fn a_checkpoint_is_sent_as_it_lies_on_disk_with_its_length_and_query() {
    let routes = Router::new().route(
        "/worker/checkpoints",
        post(
            |headers: HeaderMap, uri: Uri, body: axum::body::Bytes| async move {
                assert_eq!(headers[header::CONTENT_LENGTH], "7");
                assert_eq!(headers[header::CONTENT_TYPE], "application/octet-stream");
                assert!(
                    uri.query()
                        .unwrap()
                        .contains("kind=last&next_batch=3&metrics_sequence=2")
                );
                assert_eq!(&body[..], b"network");
                StatusCode::NO_CONTENT
            },
        ),
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("last");
    std::fs::write(&file, "network").unwrap();
    let upload = UploadCheckpoint {
        attempt: AttemptId::new(),
        token: FencingToken(1),
        kind: CheckpointKind::Last,
        next_batch: 3,
        metrics_sequence: 2,
        sha256: "0".repeat(64),
        size_bytes: 7,
        validation: None,
    };
    let client = serve(routes).await;
    client.upload_checkpoint(&upload, &file).await.unwrap();
    let missing = client
        .upload_checkpoint(&upload, &directory.path().join("none"))
        .await;
    assert!(matches!(missing, Err(ClientError::File { .. })));
}

#[tokio::test]
async fn a_large_file_goes_in_parts_and_on_where_an_outage_cut_it() {
    use axum::extract::{DefaultBodyLimit, Query};

    use crate::id::UploadId;
    use crate::upload::{UPLOAD_PART_BYTES, UploadPart, UploadProgress};

    let size = 2 * UPLOAD_PART_BYTES + 1000;
    let content: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
    let arrived = Arc::new(std::sync::Mutex::new(Vec::new()));
    let outage = Arc::new(AtomicUsize::new(1));
    let upload = UploadId::new();
    let progress = move |offset: usize| UploadProgress {
        upload,
        offset: offset as u64,
        part_bytes: UPLOAD_PART_BYTES,
    };
    let (begun, parts, named) = (arrived.clone(), arrived.clone(), arrived.clone());
    let routes = Router::new()
        .route(
            "/worker/uploads",
            post(move || async move { Json(progress(begun.lock().unwrap().len())) }),
        )
        .route(
            "/worker/uploads/{id}",
            axum::routing::patch(
                move |Query(part): Query<UploadPart>, body: axum::body::Bytes| async move {
                    let mut arrived = parts.lock().unwrap();
                    assert_eq!(part.first_byte, arrived.len() as u64);
                    if !arrived.is_empty() && outage.swap(0, Ordering::SeqCst) == 1 {
                        return answer(&problem(503, "unavailable", "The database is away"));
                    }
                    arrived.extend_from_slice(&body);
                    axum::response::IntoResponse::into_response(Json(progress(arrived.len())))
                },
            ),
        )
        .route(
            "/worker/artifacts",
            post(move |uri: Uri, body: axum::body::Bytes| async move {
                assert!(uri.query().unwrap().ends_with(&format!("&upload={upload}")));
                assert!(body.is_empty());
                assert_eq!(named.lock().unwrap().len() as u64, size);
                StatusCode::CREATED
            }),
        )
        .layer(DefaultBodyLimit::disable());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("large");
    std::fs::write(&file, &content).unwrap();
    let upload = UploadArtifact {
        attempt: AttemptId::new(),
        token: FencingToken(1),
        name: "large".to_owned(),
        sha256: "0".repeat(64),
        size_bytes: size,
    };
    let client = serve(routes).await;
    assert!(
        client
            .upload_artifact(&upload, &file)
            .await
            .unwrap_err()
            .is_transient()
    );
    client.upload_artifact(&upload, &file).await.unwrap();
    assert!(*arrived.lock().unwrap() == content);
}

/// One event in the stream's own form.
fn sse(id: u32, event: &Event) -> String {
    let data = serde_json::to_value(event).unwrap()["data"].to_string();
    format!("id: {id}\nevent: {}\ndata: {data}\n\n", event.name())
}

#[tokio::test]
async fn a_stream_that_is_cut_goes_on_after_the_last_event_that_arrived() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let routes = Router::new().route(
        "/runs/{id}/events",
        get(move |headers: HeaderMap| async move {
            let last = headers
                .get("last-event-id")
                .map(|id| id.to_str().unwrap().to_owned());
            let body = match (counter.fetch_add(1, Ordering::SeqCst), last.as_deref()) {
                // The second event breaks off in the middle.
                (0, None) => sse(7, &running()) + "id: 8\nevent: run\ndata: {\"id",
                (1, Some("7")) => return answer(&problem(503, "unavailable", "Starting")),
                (2, Some("7")) => {
                    ": a comment\n\nid: 8\nevent: of_tomorrow\ndata: {}\n\n".to_owned() + &sse(9, &ended())
                }
                other => panic!("unexpected connection {other:?}"),
            };
            axum::response::IntoResponse::into_response(([(header::CONTENT_TYPE, "text/event-stream")], body))
        }),
    );
    let client = serve(routes).await;
    let mut events = client.run_events(RunId::new(), None);
    let mut seen = Vec::new();
    let mut interruptions = 0;
    while seen.len() < 2 {
        match events.next().await.unwrap().unwrap() {
            StreamItem::Event { id, event } => seen.push((id, event)),
            StreamItem::Interrupted { error, .. } => {
                assert!(error.is_transient());
                interruptions += 1;
            }
        }
    }
    assert_eq!(seen, [("7".to_owned(), running()), ("9".to_owned(), ended())]);
    assert_eq!(interruptions, 2);
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

fn running() -> Event {
    let mut summary = run("1", RunState::Running);
    summary.experiment = summary.id.0.into();
    Event::Run(Box::new(summary))
}

fn ended() -> Event {
    let mut summary = run("1", RunState::Succeeded);
    summary.experiment = summary.id.0.into();
    Event::Run(Box::new(summary))
}

#[tokio::test]
async fn a_stream_of_a_run_that_does_not_exist_ends_with_the_problem() {
    let routes = Router::new().route(
        "/runs/{id}/events",
        get(|| async { answer(&problem(404, "unknown_run", "No such run")) }),
    );
    let mut events = serve(routes).await.run_events(RunId::new(), None);
    assert_eq!(
        events.next().await.unwrap().unwrap_err().code(),
        Some("unknown_run")
    );
    assert!(events.next().await.is_none());
}
