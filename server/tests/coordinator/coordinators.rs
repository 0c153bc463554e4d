//! Several coordinators on one database: any of them serves any request, and what happens by itself happens once.

use std::collections::HashSet;
use std::time::Duration;

use crate::common::App;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures::StreamExt;
use motif_proto::run::{AttemptState, CheckpointKind, RunState};
use motif_proto::worker::{Claim, Outcome, Verdict};
use serde_json::json;

const LOSS: &str = "loss/total";
const PATIENCE: Duration = Duration::from_secs(20);

async fn two() -> (App, App) {
    let first = App::start().await;
    let second = first.beside().await;
    (first, second)
}

#[tokio::test]
async fn each_step_of_a_run_may_go_to_another_coordinator() {
    let (a, b) = two().await;
    let run = a.submit(json!({ "preset": "demo" })).await;
    let worker = b.register().await;
    let claim = a.claim(worker).await.unwrap();
    assert_eq!(claim.run, run);
    b.store_metrics(&claim, 0, &[(LOSS, &[(0, 1.0)])]).await;
    a.store_metrics(&claim, 1, &[(LOSS, &[(1, 2.0)])]).await;
    // Sent to one, whose answer got lost, and so to the other.
    let again = b.metrics(&claim, 1, &[(LOSS, &[(1, 2.0)])]).await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(b.heartbeat(worker, &claim).await, Verdict::Continue);
    let checkpoint = a.upload(&claim, CheckpointKind::Last, 2, b"weights").await;
    let content = b
        .get(&format!("/api/v1/checkpoints/{}/content", checkpoint.id))
        .await;
    assert_eq!(content.body, b"weights");
    for app in [&a, &b] {
        let ended = app.finish(&claim, 2, Outcome::Succeeded).await;
        assert_eq!(ended.status, StatusCode::NO_CONTENT);
        assert_eq!(app.points(run, LOSS).await, [(0, 1.0), (1, 2.0)]);
        assert_eq!(app.run_state(run).await, RunState::Succeeded);
    }
}

#[tokio::test]
async fn a_claim_that_waits_hears_of_a_run_that_another_coordinator_took_in() {
    let (a, b) = two().await;
    let worker = a.register().await;
    let body = json!({ "worker": worker, "free_slots": 1, "wait_seconds": 20 });
    let waiting = a.post("/api/v1/worker/claim", &body);
    let submitted = async {
        // Whether it waits already or not, it gets the run; if it does, by a notice.
        tokio::time::sleep(Duration::from_millis(200)).await;
        b.submit(json!({ "preset": "demo" })).await
    };
    let both = async { tokio::join!(waiting, submitted) };
    let (answer, run) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert_eq!(answer.expect::<Claim>(StatusCode::OK).run, run);
}

#[tokio::test]
async fn a_stream_tells_what_other_coordinators_were_told() {
    let (a, b) = two().await;
    let claim = a.running().await;
    let path = format!("/api/v1/runs/{}/events", claim.run);
    let response = b.send(Request::get(&path).body(Body::empty()).unwrap()).await;
    let mut stream = response.into_body().into_data_stream();
    a.store_metrics(&claim, 0, &[(LOSS, &[(0, 1.0)])]).await;
    let line = json!({ "sequence": 0, "time": "2026-01-01T12:00:00Z", "level": "info", "target": "t", "message": "m" });
    let logs = json!({ "attempt": claim.attempt, "token": claim.token, "lines": [line] });
    assert_eq!(a.post("/api/v1/worker/logs", &logs).await.status, StatusCode::OK);
    let mut told = String::new();
    let all_told = async {
        while !(told.contains("event: metrics") && told.contains("event: log")) {
            told.push_str(&String::from_utf8_lossy(&stream.next().await.unwrap().unwrap()));
        }
    };
    tokio::time::timeout(PATIENCE, all_told).await.unwrap();
    assert!(told.contains("\"end\":\"1.1\""), "{told}");
}

#[tokio::test]
async fn every_run_is_handed_out_once_however_many_coordinators_are_asked() {
    let (a, b) = two().await;
    let mut runs = HashSet::new();
    for _ in 0..12 {
        runs.insert(a.submit(json!({ "preset": "demo" })).await);
    }
    let (first, second) = (a.register().await, b.register().await);
    let take = async |app: &App, worker| {
        let mut taken = Vec::new();
        while let Some(claim) = app.claim(worker).await {
            taken.push(claim.run);
        }
        taken
    };
    let (mut taken, others) = tokio::join!(take(&a, first), take(&b, second));
    taken.extend(others);
    assert_eq!(taken.len(), runs.len());
    assert_eq!(taken.into_iter().collect::<HashSet<_>>(), runs);
}

#[tokio::test]
async fn a_silent_worker_loses_its_run_once_though_all_coordinators_look() {
    let first = App::with_lease(Duration::from_secs(2)).await;
    let others = [first.beside().await, first.beside().await];
    let claim = first.running().await;
    let taken_back = async {
        while first.run_state(claim.run).await != RunState::Queued {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // All of them look a few times more.
        for app in &others {
            for _ in 0..3 {
                app.state.store.requeue_lost().await.unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, taken_back).await.unwrap();
    let lost: i32 = sqlx::query_scalar("select lost_in_row from runs where id = $1")
        .bind(claim.run.0)
        .fetch_one(&first.pool)
        .await
        .unwrap();
    assert_eq!(lost, 1);
    let history = first.detail(claim.run).await.attempt_history;
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].state, AttemptState::Lost);
}

#[tokio::test]
async fn what_is_cleaned_up_by_all_at_once_is_cleaned_up_without_harm() {
    let (a, b) = two().await;
    let claim = a.running().await;
    for sequence in 0..20 {
        a.store_metrics(&claim, sequence, &[(LOSS, &[(sequence, 1.0)])])
            .await;
    }
    // Replaced one after the other: bytes that nothing names any more.
    for batch in 1..4 {
        a.upload(
            &claim,
            CheckpointKind::Last,
            batch,
            format!("weights {batch}").as_bytes(),
        )
        .await;
    }
    a.finish(&claim, 20, Outcome::Succeeded).await;
    let clean = async |app: &App| {
        for run in app.state.store.unsettled().await.unwrap() {
            app.state.store.settle(run).await.unwrap();
        }
        app.state.store.collect_blobs(&app.state.artifacts).await.unwrap();
        app.state.store.prune_events(Duration::ZERO).await.unwrap();
        app.state.store.prune_logs(Duration::ZERO).await.unwrap();
    };
    tokio::join!(clean(&a), clean(&b), clean(&a), clean(&b));
    let points: Vec<(u64, f64)> = (0..20).map(|step| (step, 1.0)).collect();
    assert_eq!(b.points(claim.run, LOSS).await, points);
    assert_eq!(b.state.artifacts.count().await.unwrap(), 1);
}

#[tokio::test]
async fn what_a_coordinator_remembers_of_a_journal_gives_way_to_what_another_appended() {
    let (a, b) = two().await;
    let claim = a.running().await;
    let told: Vec<(u64, f64)> = (0..200).map(|step| (step, 1.0 / (step + 1) as f64)).collect();
    // Turn about in stretches of different length: whoever comes back remembers a journal that is no longer so.
    for (sequence, point) in told.iter().enumerate() {
        let app = if (sequence / 3) % 2 == 0 || sequence % 7 == 0 {
            &a
        } else {
            &b
        };
        // A series of its own now and then makes the journal longer at one of the two.
        let name = format!("extra/{}", sequence / 50);
        let series: &[(&str, &[(u64, f64)])] = &[(LOSS, &[*point]), (&name, &[*point])];
        app.store_metrics(&claim, sequence as u64, series).await;
        if sequence % 5 == 0 {
            // The answer got lost, and the batch comes once more, wherever.
            b.store_metrics(&claim, sequence as u64, series).await;
        }
    }
    for app in [&a, &b] {
        assert_eq!(app.points(claim.run, LOSS).await, told);
        assert_eq!(app.points(claim.run, "extra/2").await, told[100..150]);
    }
    let gap = a.metrics(&claim, 201, &[(LOSS, &[(300, 1.0)])]).await;
    gap.problem(StatusCode::CONFLICT, "sequence_gap");
    let back = a.metrics(&claim, 200, &[(LOSS, &[(10, 1.0)])]).await;
    back.problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_metrics");
}

#[tokio::test]
async fn a_lease_that_another_coordinator_ended_is_stale_where_its_journal_is_remembered() {
    let (a, b) = two().await;
    let claim = a.running().await;
    for sequence in 0..3 {
        a.store_metrics(&claim, sequence, &[(LOSS, &[(sequence, 1.0)])])
            .await;
    }
    let released = b.finish(&claim, 3, Outcome::Released).await;
    assert_eq!(released.status, StatusCode::NO_CONTENT);
    let late = a.metrics(&claim, 3, &[(LOSS, &[(3, 1.0)])]).await;
    late.problem(StatusCode::CONFLICT, "stale_lease");
    let ended = a.finish(&claim, 3, Outcome::Succeeded).await;
    ended.problem(StatusCode::CONFLICT, "stale_lease");

    let next = b.claim(b.register().await).await.unwrap();
    assert_eq!(next.run, claim.run);
    // Without a checkpoint it begins anew, and what the first attempt told is gone.
    b.store_metrics(&next, 0, &[(LOSS, &[(0, 2.0)])]).await;
    a.store_metrics(&next, 1, &[(LOSS, &[(1, 2.0)])]).await;
    assert_eq!(a.points(claim.run, LOSS).await, [(0, 2.0), (1, 2.0)]);
}
