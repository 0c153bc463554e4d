//! What becomes of runs whose attempts fail, and of workers on which they do.

use crate::common::{App, worker};
use axum::http::StatusCode;
use motif_proto::canary::CanaryReport;
use motif_proto::id::{RunId, WorkerId};
use motif_proto::run::{Failure, FailureClass, RunState};
use motif_proto::worker::{
    Claim, Heartbeat, HeartbeatAnswer, Outcome, RegisterWorker, WorkerCanary, WorkerInfo, WorkerList,
};
use serde_json::json;

const GIB: u64 = 1 << 30;

fn failed(class: FailureClass) -> Outcome {
    Outcome::Failed {
        failure: Failure {
            class,
            message: "why".to_owned(),
        },
    }
}

async fn fail(app: &App, claim: &Claim, class: FailureClass) {
    let answer = app.finish(claim, 0, failed(class)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
}

async fn with_memory(app: &App, gib: u64, slots: u32) -> WorkerId {
    let about = RegisterWorker {
        memory_bytes: Some(gib * GIB),
        slots,
        ..worker()
    };
    app.register_as(&about).await
}

async fn info(app: &App, id: WorkerId) -> WorkerInfo {
    let list: WorkerList = app.get("/api/v1/workers").await.expect(StatusCode::OK);
    list.workers.into_iter().find(|worker| worker.id == id).unwrap()
}

/// Lets a worker fail a new run, and returns it.
async fn fail_one(app: &App, worker: WorkerId, seed: u64) -> RunId {
    let run = app.submit(json!({ "preset": "demo", "seed": seed })).await;
    let claim = app.claim(worker).await.unwrap();
    assert_eq!(claim.run, run);
    fail(app, &claim, FailureClass::Internal).await;
    run
}

async fn succeed(app: &App, worker: WorkerId) -> RunId {
    let claim = app.claim(worker).await.unwrap();
    app.finish(&claim, 0, Outcome::Succeeded).await;
    claim.run
}

#[tokio::test]
async fn a_run_that_waits_for_its_next_try_says_until_when_and_a_person_can_end_the_wait() {
    let app = App::start().await;
    let claim = app.running().await;
    fail(&app, &claim, FailureClass::Internal).await;
    let summary = app.detail(claim.run).await.summary;
    assert!(summary.state == RunState::Queued && summary.not_before > Some(chrono::Utc::now()));
    let other = app.register().await;
    assert!(app.claim(other).await.is_none());
    app.post(&format!("/api/v1/runs/{}/retry", claim.run), &()).await;
    assert_eq!(app.detail(claim.run).await.summary.not_before, None);
    assert_eq!(app.claim(other).await.unwrap().run, claim.run);
}

#[tokio::test]
async fn a_run_that_failed_on_a_worker_goes_to_another_one_that_is_there() {
    let app = App::start().await;
    let (first, second) = (app.register().await, app.register().await);
    let run = fail_one(&app, first, 0).await;
    sqlx::query("update runs set not_before = now() where id = $1")
        .bind(run.0)
        .execute(&app.pool)
        .await
        .unwrap();
    app.state.store.end_waits().await.unwrap();
    assert!(app.claim(first).await.is_none());
    assert_eq!(app.claim(second).await.unwrap().run, run);
}

#[tokio::test]
async fn a_run_that_ran_out_of_memory_gets_fewer_neighbours_then_more_memory_then_fails() {
    let app = App::start().await;
    let (small, large) = (with_memory(&app, 8, 4).await, with_memory(&app, 80, 4).await);
    let neighbour = app.submit(json!({ "preset": "demo" })).await;
    assert_eq!(app.claim(small).await.unwrap().run, neighbour);
    let run = app.submit(json!({ "preset": "demo", "seed": 1 })).await;
    let shared = app.claim(small).await.unwrap();
    assert_eq!((shared.run, shared.slots), (run, 1));
    fail(&app, &shared, FailureClass::OutOfMemory).await;

    let roomier = app.claim(small).await.unwrap();
    assert_eq!((roomier.run, roomier.slots), (run, 2));
    // Alone on its worker, so only more memory can help.
    sqlx::query(
        "update attempts set state = 'cancelled', finished_at = now() - interval '1 hour' where run_id = $1",
    )
    .bind(neighbour.0)
    .execute(&app.pool)
    .await
    .unwrap();
    sqlx::query("update attempts set finished_at = now() - interval '1 hour' where state = 'failed'")
        .execute(&app.pool)
        .await
        .unwrap();
    fail(&app, &roomier, FailureClass::OutOfMemory).await;
    assert!(app.claim(small).await.is_none());
    let largest = app.claim(large).await.unwrap();
    assert_eq!(largest.run, run);
    fail(&app, &largest, FailureClass::OutOfMemory).await;
    let summary = app.detail(run).await.summary;
    assert_eq!(summary.state, RunState::Failed);
    assert_eq!(summary.failure.unwrap().class, FailureClass::OutOfMemory);

    // A person's retry asks for what the spec does.
    app.post(&format!("/api/v1/runs/{run}/retry"), &()).await;
    let anew = app.claim(small).await.unwrap();
    assert_eq!((anew.run, anew.slots), (run, 1));
}

#[tokio::test]
async fn a_run_for_which_no_worker_has_more_memory_fails_at_once() {
    let app = App::start().await;
    let only = with_memory(&app, 8, 1).await;
    let run = app.submit(json!({ "preset": "demo" })).await;
    let claim = app.claim(only).await.unwrap();
    fail(&app, &claim, FailureClass::OutOfMemory).await;
    assert_eq!(app.run_state(run).await, RunState::Failed);
}

#[tokio::test]
async fn a_worker_whose_runs_go_well_elsewhere_is_set_aside_with_the_reason_until_it_is_put_back() {
    let app = App::start().await;
    let (bad, good) = (app.register().await, app.register().await);
    for seed in 0..2 {
        let run = fail_one(&app, bad, seed).await;
        app.end_wait(run).await;
        assert_eq!(succeed(&app, good).await, run);
    }
    assert_eq!(app.state.store.suspects().await.unwrap(), [bad]);
    app.state.store.judge_worker(bad).await.unwrap();
    let aside = info(&app, bad).await.set_aside.unwrap();
    assert!(aside.reason.contains("went well on other workers") && aside.trial_at.is_some());
    assert!(info(&app, good).await.set_aside.is_none());

    let run = app.submit(json!({ "preset": "demo", "seed": 9 })).await;
    assert!(app.claim(bad).await.is_none());
    let path = format!("/api/v1/workers/{bad}/put-back");
    for _ in 0..2 {
        assert_eq!(app.post(&path, &()).await.status, StatusCode::NO_CONTENT);
    }
    assert!(info(&app, bad).await.set_aside.is_none());
    assert_eq!(app.claim(bad).await.unwrap().run, run);
    // What was before does not count any more.
    assert_eq!(app.state.store.judge_worker(bad).await.unwrap(), None);
}

#[tokio::test]
async fn failures_of_different_runs_in_a_row_set_a_worker_aside_only_while_others_succeed() {
    let app = App::start().await;
    let lonely = app.register().await;
    for seed in 0..4 {
        fail_one(&app, lonely, seed).await;
    }
    assert!(info(&app, lonely).await.set_aside.is_none());

    let (bad, good) = (app.register().await, app.register().await);
    let first = fail_one(&app, bad, 10).await;
    app.submit(json!({ "preset": "demo", "seed": 11 })).await;
    succeed(&app, good).await;
    fail_one(&app, bad, 12).await;
    assert!(info(&app, bad).await.set_aside.is_none());
    fail_one(&app, bad, 13).await;
    assert!(info(&app, bad).await.set_aside.is_some());
    // Its failures are not held against its runs.
    let counted: i32 = sqlx::query_scalar("select internal_failures from runs where id = $1")
        .bind(first.0)
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(counted, 0);
}

#[tokio::test]
async fn a_person_sets_a_worker_aside_and_only_a_person_puts_it_back() {
    let app = App::start().await;
    let id = app.register().await;
    let path = format!("/api/v1/workers/{id}/set-aside");
    let answer = app.post(&path, &json!({ "reason": "its fan is loud" })).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let aside = info(&app, id).await.set_aside.unwrap();
    assert_eq!((aside.reason.as_str(), aside.trial_at), ("its fan is loud", None));
    report(&app, id, CanaryReport::expected()).await;
    assert!(info(&app, id).await.set_aside.is_some());
    app.post(&path, &json!({ "reason": "" }))
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body");
    let nobody = format!("/api/v1/workers/{}/put-back", WorkerId::new());
    app.post(&nobody, &())
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_worker");
}

async fn report(app: &App, worker: WorkerId, canary: CanaryReport) {
    let answer = app
        .post("/api/v1/worker/canary", &WorkerCanary { worker, canary })
        .await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
}

async fn is_asked_for_canary(app: &App, worker: WorkerId) -> bool {
    let body = Heartbeat {
        worker,
        leases: Vec::new(),
        wait_seconds: 0,
    };
    let answer = app.post("/api/v1/worker/heartbeat", &body).await;
    answer.expect::<HeartbeatAnswer>(StatusCode::OK).canary
}

#[tokio::test]
async fn a_worker_whose_canary_is_wrong_gets_no_run_until_a_later_one_is_right() {
    let app = App::start().await;
    let mut wrong = CanaryReport::expected();
    wrong.losses[0].0 *= 1.1;
    let about = RegisterWorker {
        canary: Some(wrong.clone()),
        ..worker()
    };
    let id = app.register_as(&about).await;
    let run = app.submit(json!({ "preset": "demo" })).await;
    assert!(app.claim(id).await.is_none());
    let aside = info(&app, id).await.set_aside.unwrap();
    assert!(
        aside.reason.contains("its canary gave the loss"),
        "{}",
        aside.reason
    );
    assert!(!is_asked_for_canary(&app, id).await);

    for (canary, is_right) in [(wrong, false), (CanaryReport::expected(), true)] {
        sqlx::query("update workers set trial_at = now() where id = $1")
            .bind(id.0)
            .execute(&app.pool)
            .await
            .unwrap();
        assert!(is_asked_for_canary(&app, id).await);
        report(&app, id, canary).await;
        assert!(!is_asked_for_canary(&app, id).await);
        assert_eq!(info(&app, id).await.set_aside.is_none(), is_right);
    }
    assert_eq!(app.claim(id).await.unwrap().run, run);
}

#[tokio::test]
async fn a_worker_whose_canary_is_right_or_that_has_none_gets_runs() {
    let app = App::start().await;
    for canary in [Some(CanaryReport::expected()), None] {
        let id = app.register_as(&RegisterWorker { canary, ..worker() }).await;
        let run = app.submit(json!({ "preset": "demo" })).await;
        assert_eq!(app.claim(id).await.unwrap().run, run);
    }
}
