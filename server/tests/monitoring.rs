//! What Prometheus reads: every metric that is promised, under names without ids, at next to no cost.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

mod common;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use common::App;
use futures::StreamExt;
use motif_proto::monitoring::{Kind, PROCESS, coordinator, worker};
use motif_proto::run::CheckpointKind;
use motif_proto::worker::Outcome;
use serde_json::json;

async fn scrape(app: &App) -> String {
    let answer = app.get("/metrics").await;
    assert_eq!(answer.status, StatusCode::OK);
    let kind = answer.headers[header::CONTENT_TYPE].to_str().unwrap();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    String::from_utf8(answer.body).unwrap()
}

/// The value of a sample, as it is written; 0 where there is none yet.
fn value(text: &str, sample: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn every_metric_that_is_promised_is_there_with_its_meaning_and_without_ids() {
    let app = App::start().await;
    let claim = app.running().await;
    app.store_metrics(&claim, 0, &[("loss/total", &[(0, 1.0), (1, 2.0)])])
        .await;
    app.upload(&claim, CheckpointKind::Last, 1, b"weights").await;
    let line = json!({ "sequence": 0, "time": "2026-01-01T12:00:00Z", "level": "info", "target": "t", "message": "m" });
    let logs = json!({ "attempt": claim.attempt, "token": claim.token, "lines": [line] });
    app.post("/api/v1/worker/logs", &logs).await;
    let mut stream = app
        .send(Request::get("/api/v1/events").body(Body::empty()).unwrap())
        .await
        .into_body()
        .into_data_stream();
    stream.next().await.unwrap().unwrap();
    app.finish(&claim, 1, Outcome::Succeeded).await;
    app.get("/nowhere").await;
    // Tasks have their first turn when they start.
    let turned = async {
        loop {
            let text = scrape(&app).await;
            if text.contains("motif_task_last_success_timestamp_seconds{task=\"lost_leases\"}") {
                return text;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let text = tokio::time::timeout(std::time::Duration::from_secs(10), turned)
        .await
        .unwrap();
    for metric in coordinator::ALL {
        // Statements are measured by what listens to the log, which tests do not start.
        if *metric == coordinator::DB_QUERY_DURATION {
            continue;
        }
        let name = metric.name;
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        assert!(
            text.contains(&format!("# TYPE {name} {kind}\n")),
            "{name} is missing in\n{text}"
        );
        assert!(
            text.contains(&format!("# HELP {name} ")),
            "{name} is not explained"
        );
    }
    for name in PROCESS {
        assert!(text.contains(&format!("\n{name} ")), "{name} is missing");
    }
    let run = claim.run.to_string();
    assert!(!text.contains(&run) && !text.contains(&claim.attempt.to_string()));
    let routed = "motif_http_request_duration_seconds_count{method=\"POST\",route=\"/api/v1/worker/metrics\",status=\"200\"}";
    assert!(value(&text, routed) >= 1.0, "{text}");
    assert!(
        text.contains("route=\"dashboard\",status=\"404\"")
            || text.contains("route=\"dashboard\",status=\"200\"")
    );
    assert!(value(&text, "motif_event_streams{kind=\"all\"}") >= 1.0);
    assert!(value(&text, "motif_ingest_points_total") >= 2.0);
    assert!(value(&text, "motif_claims_total{outcome=\"run\"}") >= 1.0);
    assert!(value(&text, "motif_storage_bytes_total{direction=\"in\"}") >= 7.0);
}

#[tokio::test]
async fn counts_from_the_database_are_right_and_not_made_anew_for_everybody_who_asks() {
    let app = App::start().await;
    app.submit(json!({ "preset": "demo" })).await;
    let claim = app.running().await;
    app.submit(json!({ "preset": "demo" })).await;
    let text = scrape(&app).await;
    // Gauges belong to the process, and other tests of this program set them too.
    let census = app
        .state
        .store
        .census(std::time::Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!((census.queue.queued, census.queue.running), (2, 1));
    let fleet = &census.fleets[0];
    assert_eq!(
        (fleet.device.as_str(), fleet.alive, fleet.workers),
        ("cpu", true, 1)
    );
    assert_eq!(
        (fleet.slots, fleet.used_slots),
        (8, i64::from(claim.spec.resources.slots))
    );
    assert!(census.oldest_queued_seconds >= 0.0);
    assert_eq!(value(&text, "motif_database_up"), 1.0);

    // The database may be away: what was counted a moment ago still stands.
    app.pool.close().await;
    let again = scrape(&app).await;
    assert_eq!(value(&again, "motif_database_up"), 1.0);
}

#[tokio::test]
async fn where_tokens_are_asked_for_metrics_are_for_those_who_may_read() {
    let app = App::guarded().await;
    app.get("/metrics")
        .await
        .problem(StatusCode::UNAUTHORIZED, "token_required");
    assert_eq!(app.get("/healthz").await.status, StatusCode::NO_CONTENT);
}

/// Names of metrics in a text, as queries write them.
fn names(text: &str) -> Vec<&str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split(|letter| !is_part(letter))
        .filter(|word| word.starts_with("motif_") || word.starts_with("process_"))
        .collect()
}

fn is_promised(name: &str) -> bool {
    let metrics = || coordinator::ALL.iter().chain(worker::ALL);
    let of_histogram = ["_bucket", "_sum", "_count"].iter().any(|part| {
        let base = name.strip_suffix(part);
        metrics().any(|metric| metric.kind == Kind::Histogram && Some(metric.name) == base)
    });
    let plain = metrics().any(|metric| metric.kind != Kind::Histogram && metric.name == name);
    of_histogram || plain || PROCESS.contains(&name)
}

#[test]
fn boards_and_alerts_ask_only_for_metrics_that_exist() {
    let read = |path: &str| {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
        std::fs::read_to_string(root.join(path)).unwrap()
    };
    let board: serde_json::Value = serde_json::from_str(&read("grafana/motif.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let mut queries: Vec<String> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect();
    assert!(queries.len() > 30, "{} queries", queries.len());
    queries.push(read("prometheus/alerts.yml"));
    for query in &queries {
        let names = names(query);
        assert!(!names.is_empty(), "{query}");
        for name in names {
            assert!(is_promised(name), "`{name}` is no metric: {query}");
        }
    }
}
