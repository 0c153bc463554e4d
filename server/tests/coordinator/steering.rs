//! What people ask of runs: cancel, pause, resume, retry, and other names for them.

use crate::common::{Answer, App};
use axum::http::{Method, StatusCode};
use motif_proto::id::RunId;
use motif_proto::run::{
    AttemptState, CheckpointKind, Failure, FailureClass, RunDetail, RunState, RunSummary,
};
use motif_proto::worker::{Claim, Heartbeat, HeartbeatAnswer, HeldLease, Outcome, Verdict};
use motif_server::domain::steering::{self, Wish};
use serde_json::{Value, json};

const LOSS: &str = "loss/total";
const WISHES: [Wish; 4] = [Wish::Cancel, Wish::Pause, Wish::Resume, Wish::Retry];

async fn ask(app: &App, run: RunId, wish: Wish) -> Answer {
    app.post(&format!("/api/v1/runs/{run}/{}", wish.as_str()), &())
        .await
}

async fn granted(app: &App, run: RunId, wish: Wish) -> RunSummary {
    ask(app, run, wish).await.expect(StatusCode::OK)
}

async fn patch(app: &App, run: RunId, change: Value) -> Answer {
    let path = format!("/api/v1/runs/{run}");
    app.request(Method::PATCH, &path, "application/json", change.to_string())
        .await
}

fn failed(class: FailureClass) -> Outcome {
    Outcome::Failed {
        failure: Failure {
            class,
            message: "why".to_owned(),
        },
    }
}

/// A run in this state, brought there as runs come there; those of studies by hand.
async fn in_state(app: &App, state: RunState) -> RunId {
    let claim = app.running().await;
    let run = claim.run;
    match state {
        RunState::Running => {}
        RunState::Queued => drop(app.finish(&claim, 0, Outcome::Released).await),
        RunState::Succeeded => drop(app.finish(&claim, 0, Outcome::Succeeded).await),
        RunState::Failed => drop(app.finish(&claim, 0, failed(FailureClass::Diverged)).await),
        RunState::Cancelled => drop(granted(app, run, Wish::Cancel).await),
        RunState::Paused => {
            granted(app, run, Wish::Pause).await;
            app.finish(&claim, 0, Outcome::Released).await;
        }
        RunState::Waiting | RunState::Skipped => {
            app.finish(&claim, 0, Outcome::Released).await;
            sqlx::query(
                "update runs set state = $2, finished_at = case when $3 then now() end where id = $1",
            )
            .bind(run.0)
            .bind(state.as_str())
            .bind(state.is_final())
            .execute(&app.pool)
            .await
            .unwrap();
        }
    }
    assert_eq!(app.run_state(run).await, state);
    run
}

#[tokio::test]
async fn every_wish_has_an_answer_in_every_state_and_the_same_when_it_is_sent_again() {
    let app = App::start().await;
    for state in RunState::ALL {
        for wish in WISHES {
            let run = in_state(&app, state).await;
            let first = ask(&app, run, wish).await;
            match steering::step(wish, state) {
                Ok(_) => {
                    let after = first.expect::<RunSummary>(StatusCode::OK);
                    let again = granted(&app, run, wish).await;
                    assert_eq!(
                        (again.state, again.pausing),
                        (after.state, after.pausing),
                        "{wish:?} of {state}"
                    );
                }
                Err(refused) => {
                    let code = if state.is_final() {
                        "run_ended"
                    } else {
                        "run_not_ended"
                    };
                    let problem = first.problem(StatusCode::CONFLICT, code);
                    if let Some(instead) = refused.instead {
                        assert!(problem.detail.contains(instead.as_str()), "{}", problem.detail);
                        granted(&app, run, instead).await;
                    } else {
                        assert_eq!(app.run_state(run).await, state);
                    }
                }
            }
            let ended = app.run_state(run).await.is_final();
            if !ended {
                granted(&app, run, Wish::Cancel).await;
            }
        }
    }
    ask(&app, RunId::new(), Wish::Pause)
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_run");
}

#[tokio::test]
async fn a_run_that_waits_is_paused_at_once_and_claimed_only_when_it_is_resumed() {
    let app = App::start().await;
    let run = app.submit(json!({ "preset": "demo" })).await;
    let worker = app.register().await;
    assert_eq!(granted(&app, run, Wish::Pause).await.state, RunState::Paused);
    assert!(app.claim(worker).await.is_none());
    assert_eq!(granted(&app, run, Wish::Resume).await.state, RunState::Queued);
    assert_eq!(app.claim(worker).await.unwrap().run, run);
}

#[tokio::test]
async fn a_paused_run_goes_on_from_the_checkpoint_that_its_worker_left() {
    let app = App::start().await;
    let claim = app.running().await;
    let worker = app.register().await;
    app.store_metrics(&claim, 0, &[(LOSS, &[(0, 1.0), (1, 2.0)])])
        .await;
    let asked = granted(&app, claim.run, Wish::Pause).await;
    assert_eq!((asked.state, asked.pausing), (RunState::Running, true));
    assert_eq!(app.heartbeat(worker, &claim).await, Verdict::Pause);
    // Until the worker hands it back, everything that it sends counts.
    app.store_metrics(&claim, 1, &[(LOSS, &[(2, 3.0)])]).await;
    app.upload(&claim, CheckpointKind::Last, 3, b"three batches")
        .await;
    app.finish(&claim, 2, Outcome::Released).await;
    let detail = app.detail(claim.run).await;
    assert_eq!(
        (detail.summary.state, detail.summary.pausing),
        (RunState::Paused, false)
    );
    assert_eq!(detail.attempt_history[0].state, AttemptState::Released);

    granted(&app, claim.run, Wish::Resume).await;
    let next = app.claim(worker).await.unwrap();
    assert_eq!(next.resume.unwrap().next_batch, 3);
    assert_eq!(app.points(claim.run, LOSS).await, [(0, 1.0), (1, 2.0), (2, 3.0)]);
}

#[tokio::test]
async fn a_pause_that_is_withdrawn_in_time_leaves_the_run_in_the_queue() {
    let app = App::start().await;
    let claim = app.running().await;
    let worker = app.register().await;
    granted(&app, claim.run, Wish::Pause).await;
    let resumed = granted(&app, claim.run, Wish::Resume).await;
    assert_eq!((resumed.state, resumed.pausing), (RunState::Running, false));
    assert_eq!(app.heartbeat(worker, &claim).await, Verdict::Continue);
    // A worker that heard of the pause before hands the run back all the same.
    app.finish(&claim, 0, Outcome::Released).await;
    assert_eq!(app.run_state(claim.run).await, RunState::Queued);
}

#[tokio::test]
async fn a_worker_that_falls_silent_before_a_pause_leaves_the_run_paused_and_may_still_bring_it_in() {
    let app = App::start().await;
    let claim = app.running().await;
    granted(&app, claim.run, Wish::Pause).await;
    app.lose(claim.attempt).await;
    assert_eq!(app.run_state(claim.run).await, RunState::Paused);
    let worker = app.register().await;
    assert!(app.claim(worker).await.is_none());
    assert_eq!(app.heartbeat(worker, &claim).await, Verdict::Pause);
    app.upload(&claim, CheckpointKind::Last, 7, b"seven batches")
        .await;
    app.finish(&claim, 0, Outcome::Released).await;
    assert_eq!(app.run_state(claim.run).await, RunState::Paused);
    granted(&app, claim.run, Wish::Resume).await;
    assert_eq!(app.claim(worker).await.unwrap().resume.unwrap().next_batch, 7);
}

#[tokio::test]
async fn a_run_that_ends_before_its_worker_hears_of_the_pause_has_ended() {
    let app = App::start().await;
    let claim = app.running().await;
    granted(&app, claim.run, Wish::Pause).await;
    app.finish(&claim, 0, Outcome::Succeeded).await;
    let summary = app.detail(claim.run).await.summary;
    assert_eq!((summary.state, summary.pausing), (RunState::Succeeded, false));
}

#[tokio::test]
async fn a_heartbeat_that_waits_hears_of_a_pause_and_of_a_cancellation() {
    let app = App::start().await;
    let worker = app.register().await;
    for (wish, expected) in [(Wish::Pause, Verdict::Pause), (Wish::Cancel, Verdict::Cancelled)] {
        let claim = app.running().await;
        // At the end of its wait it would answer that the lease goes on.
        let waiting = heartbeat(&claim, worker);
        let (answer, ()) = tokio::join!(app.post("/api/v1/worker/heartbeat", &waiting), async {
            granted(&app, claim.run, wish).await;
        });
        let answer: HeartbeatAnswer = answer.expect(StatusCode::OK);
        assert_eq!(answer.leases[0].verdict, expected);
    }
}

fn heartbeat(claim: &Claim, worker: motif_proto::id::WorkerId) -> Heartbeat {
    let lease = HeldLease {
        attempt: claim.attempt,
        token: claim.token,
    };
    Heartbeat {
        worker,
        leases: vec![lease],
        wait_seconds: 10,
    }
}

#[tokio::test]
async fn a_retried_run_goes_on_from_its_checkpoint_and_its_failures_no_longer_count() {
    let app = App::start().await;
    let claim = app.running().await;
    let worker = app.register().await;
    app.store_metrics(&claim, 0, &[(LOSS, &[(0, 1.0), (1, 2.0)])])
        .await;
    app.upload(&claim, CheckpointKind::Last, 1, b"one batch").await;
    app.finish(&claim, 1, failed(FailureClass::Diverged)).await;
    let retried = granted(&app, claim.run, Wish::Retry).await;
    assert_eq!(
        (retried.state, retried.failure, retried.finished_at),
        (RunState::Queued, None, None)
    );
    let next = app.claim(worker).await.unwrap();
    assert_eq!(next.resume.unwrap().next_batch, 1);
    assert_eq!(app.points(claim.run, LOSS).await, [(0, 1.0)]);

    sqlx::query("update runs set internal_failures = 2, lost_in_row = 4 where id = $1")
        .bind(claim.run.0)
        .execute(&app.pool)
        .await
        .unwrap();
    granted(&app, claim.run, Wish::Cancel).await;
    granted(&app, claim.run, Wish::Retry).await;
    let third = app.claim(worker).await.unwrap();
    app.finish(&third, 0, failed(FailureClass::Internal)).await;
    assert_eq!(app.run_state(claim.run).await, RunState::Queued);
}

#[tokio::test]
async fn a_change_takes_the_place_of_what_was_and_leaves_the_spec_alone() {
    let app = App::start().await;
    let run = app.submit(json!({ "preset": "demo", "tags": ["old"] })).await;
    let before = app.detail(run).await;
    let change = json!({ "name": "better", "tags": ["new", "paper"], "notes": "two\nlines", "priority": 7 });
    let after: RunDetail = patch(&app, run, change).await.expect(StatusCode::OK);
    assert_eq!(after.summary.name, "better");
    assert_eq!(after.summary.tags, ["new", "paper"]);
    assert_eq!((after.notes.as_str(), after.summary.priority), ("two\nlines", 7));
    assert_eq!(
        (&after.spec, &after.spec_sha256),
        (&before.spec, &before.spec_sha256)
    );
    let unchanged: RunDetail = patch(&app, run, json!({})).await.expect(StatusCode::OK);
    assert_eq!(unchanged.summary.name, "better");
    let later = app.submit(json!({ "preset": "demo", "priority": 6 })).await;
    let worker = app.register().await;
    for expected in [run, later] {
        assert_eq!(app.claim(worker).await.unwrap().run, expected);
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_made_names_every_field_and_changes_nothing() {
    let app = App::start().await;
    let run = app.submit(json!({ "preset": "demo" })).await;
    let change =
        json!({ "name": "", "tags": ["fine", "\u{7}"], "notes": "x".repeat(10_001), "priority": 1001 });
    let problem = patch(&app, run, change)
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body");
    let mut places: Vec<&str> = problem
        .errors
        .iter()
        .map(|error| error.pointer.as_str())
        .collect();
    places.sort_unstable();
    assert_eq!(places, ["/name", "/notes", "/priority", "/tags/1"]);
    assert_eq!(app.detail(run).await.summary.name, "demo");
    patch(&app, run, json!({ "seed": 3 }))
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body");
    patch(&app, RunId::new(), json!({ "name": "x" }))
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_run");
}
