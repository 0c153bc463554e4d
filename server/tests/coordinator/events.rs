//! Event streams: nothing is missed, and what cannot be caught up is said.

use std::time::Duration;

use crate::common::App;
use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use futures::StreamExt;
use motif_proto::run::{CheckpointKind, RunState};
use motif_proto::worker::Outcome;
use serde_json::{Value, json};

const LOSS: &str = "loss/total";

/// A message as browsers see it.
#[derive(Debug)]
struct Message {
    event: String,
    id: Option<String>,
    data: Value,
}

struct Stream {
    body: BodyDataStream,
    text: String,
}

impl Stream {
    async fn open(app: &App, path: &str, last_event_id: Option<&str>) -> Self {
        let mut request = Request::get(path);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = app.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        Self {
            body: response.into_body().into_data_stream(),
            text: String::new(),
        }
    }

    async fn next(&mut self) -> Message {
        tokio::time::timeout(Duration::from_secs(30), self.read())
            .await
            .unwrap()
            .unwrap()
    }

    async fn next_called(&mut self, event: &str) -> Message {
        loop {
            let message = self.next().await;
            if message.event == event {
                return message;
            }
        }
    }

    async fn read(&mut self) -> Option<Message> {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = message.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|text| text.trim_start_matches(' ').to_owned())
                };
                let parsed = field("event:").map(|event| Message {
                    event,
                    id: field("id:"),
                    data: serde_json::from_str(&field("data:").unwrap()).unwrap(),
                });
                self.text = rest.to_owned();
                match parsed {
                    Some(message) => return Some(message),
                    None => continue,
                }
            }
            let piece = self.body.next().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }
}

fn path(claim: &motif_proto::worker::Claim) -> String {
    format!("/api/v1/runs/{}/events", claim.run)
}

#[tokio::test]
async fn a_stream_begins_with_the_state_and_tells_what_happens() {
    let app = App::start().await;
    let claim = app.running().await;
    let mut stream = Stream::open(&app, &path(&claim), None).await;
    let first = stream.next().await;
    assert_eq!(
        (first.event.as_str(), &first.data["state"]),
        ("run", &json!("running"))
    );

    app.store_metrics(&claim, 0, &[(LOSS, &[(0, 2.5), (1, f64::NAN)])])
        .await;
    let metrics = stream.next_called("metrics").await;
    assert_eq!(metrics.data["series"][0]["steps"], json!([0, 1]));
    assert_eq!(metrics.data["series"][0]["values"], json!([2.5, "NaN"]));
    let run = stream.next_called("run").await;
    assert_eq!(run.data["progress"]["batches_done"], 2);

    let checkpoint = app.upload(&claim, CheckpointKind::Last, 1, b"one").await;
    let told = stream.next_called("checkpoint").await;
    assert_eq!(told.data["sha256"], checkpoint.sha256);

    app.lose(claim.attempt).await;
    let worker = app.register().await;
    let second = app.claim(worker).await.unwrap();
    let rewind = stream.next_called("rewind").await;
    assert_eq!(rewind.data["next_batch"], 1);
    app.finish(&second, 0, Outcome::Succeeded).await;
    while stream.next_called("run").await.data["state"] != "succeeded" {}
    assert_eq!(app.run_state(claim.run).await, RunState::Succeeded);
}

#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed() {
    let app = App::start().await;
    let claim = app.running().await;
    let mut stream = Stream::open(&app, &path(&claim), None).await;
    app.store_metrics(&claim, 0, &[(LOSS, &[(0, 1.0)])]).await;
    let seen = stream.next_called("metrics").await.id.unwrap();
    drop(stream);

    for step in 1..4 {
        app.store_metrics(&claim, step, &[(LOSS, &[(step, 1.0)])]).await;
    }
    let mut stream = Stream::open(&app, &path(&claim), Some(&seen)).await;
    assert_eq!(stream.next().await.event, "run");
    for step in 1..4 {
        let metrics = stream.next_called("metrics").await;
        assert_eq!(metrics.data["series"][0]["steps"], json!([step]));
    }
}

#[tokio::test]
async fn a_client_that_was_away_too_long_is_told_to_fetch_everything_anew() {
    let app = App::start().await;
    let claim = app.running().await;
    app.store_metrics(&claim, 0, &[(LOSS, &[(0, 1.0)])]).await;
    app.state.store.prune_events(Duration::ZERO).await.unwrap();
    for gone in ["1", "999", "nonsense"] {
        let mut stream = Stream::open(&app, &path(&claim), Some(gone)).await;
        assert_eq!(stream.next().await.event, "reset", "{gone}");
        let run = stream.next().await;
        assert_eq!(run.event, "run");
        app.state.store.newest_migration().await.unwrap();
    }
    // Nothing is missing after the newest event, whether it is still kept or not.
    let mut stream = Stream::open(&app, &path(&claim), Some("3")).await;
    assert_eq!(stream.next().await.event, "run");
}

#[tokio::test]
async fn the_stream_of_all_runs_tells_of_every_run_that_changes() {
    let app = App::start().await;
    let old = app.submit(json!({ "preset": "demo" })).await;
    let mut stream = Stream::open(&app, "/api/v1/events", None).await;
    let first = stream.next().await;
    assert_eq!((first.event.as_str(), &first.data["id"]), ("run", &json!(old)));
    let new = app.submit(json!({ "preset": "demo" })).await;
    let second = stream.next().await;
    assert_eq!(second.data["id"], json!(new));
    drop(stream);

    app.post(&format!("/api/v1/runs/{old}/cancel"), &()).await;
    let mut stream = Stream::open(&app, "/api/v1/events", second.id.as_deref()).await;
    while stream.next_called("run").await.data["state"] != "cancelled" {}
}

#[tokio::test]
async fn streams_end_when_the_coordinator_stops() {
    let app = App::start().await;
    let claim = app.running().await;
    let mut of_run = Stream::open(&app, &path(&claim), None).await;
    let mut of_all = Stream::open(&app, "/api/v1/events", None).await;
    for stream in [&mut of_run, &mut of_all] {
        assert_eq!(stream.next().await.event, "run");
    }
    app.state.stopping.0.cancel();
    for mut stream in [of_run, of_all] {
        let end = async { while stream.read().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(10), end).await.unwrap();
    }
}

#[tokio::test]
async fn a_deletion_makes_lists_fetch_anew_and_ends_the_stream_of_the_run() {
    let app = App::start().await;
    let run = app.submit(json!({ "preset": "demo" })).await;
    app.post(&format!("/api/v1/runs/{run}/cancel"), &json!({})).await;
    let mut all = Stream::open(&app, "/api/v1/events", None).await;
    let mut one = Stream::open(&app, &format!("/api/v1/runs/{run}/events"), None).await;
    all.next_called("run").await;
    one.next_called("run").await;
    let request = Request::delete(format!("/api/v1/runs/{run}"));
    let answer = app.answer(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    all.next_called("reset").await;
    one.next_called("reset").await;
    let end = tokio::time::timeout(Duration::from_secs(30), one.body.next()).await;
    assert!(end.unwrap().is_none());
}
