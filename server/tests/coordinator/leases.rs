//! Leases: a worker that was thought dead does no harm, and one that comes back in time loses nothing.

use std::time::Duration;

use crate::common::{App, artifact_upload, upload};
use axum::http::StatusCode;
use motif_proto::id::FencingToken;
use motif_proto::run::{AttemptState, CheckpointKind, Failure, FailureClass, RunState};
use motif_proto::worker::{Outcome, Verdict};

const LOSS: &str = "loss/total";

#[tokio::test]
async fn a_worker_that_lost_its_lease_changes_nothing() {
    let app = App::start().await;
    let old = app.running().await;
    app.store_metrics(&old, 0, &[(LOSS, &[(0, 1.0)])]).await;
    app.lose(old.attempt).await;
    let worker = app.register().await;
    let new = app.claim(worker).await.unwrap();
    assert_eq!(new.run, old.run);
    app.store_metrics(&new, 0, &[(LOSS, &[(0, 9.0)])]).await;

    let conflict = StatusCode::CONFLICT;
    app.metrics(&old, 1, &[(LOSS, &[(1, 2.0)])])
        .await
        .problem(conflict, "stale_lease");
    app.finish(&old, 1, Outcome::Succeeded)
        .await
        .problem(conflict, "stale_lease");
    let stale = upload(&old, CheckpointKind::Last, 1, b"weights");
    app.upload_as(&stale, b"weights")
        .await
        .problem(conflict, "stale_lease");
    assert_eq!(app.heartbeat(worker, &old).await, Verdict::Lost);

    let curve = &app.curves(new.run, "").await.series[0];
    assert_eq!((curve.steps.as_slice(), curve.values[0].0), (&[0][..], 9.0));
    assert_eq!(app.run_state(new.run).await, RunState::Running);
    assert_eq!(app.state.artifacts.count().await.unwrap(), 0);
    assert_eq!(app.heartbeat(worker, &new).await, Verdict::Continue);
}

#[tokio::test]
async fn a_token_that_was_never_given_is_stale() {
    let app = App::start().await;
    let mut claim = app.running().await;
    claim.token = FencingToken(claim.token.0 + 1);
    app.metrics(&claim, 0, &[(LOSS, &[(0, 1.0)])])
        .await
        .problem(StatusCode::CONFLICT, "stale_lease");
}

#[tokio::test]
async fn a_late_heartbeat_takes_up_a_run_that_nobody_has_taken() {
    let app = App::start().await;
    let claim = app.running().await;
    app.lose(claim.attempt).await;
    assert_eq!(app.run_state(claim.run).await, RunState::Queued);
    let worker = app.register().await;
    assert_eq!(app.heartbeat(worker, &claim).await, Verdict::Continue);
    assert_eq!(app.run_state(claim.run).await, RunState::Running);
    app.store_metrics(&claim, 0, &[(LOSS, &[(0, 1.0)])]).await;
    assert!(app.claim(worker).await.is_none());
}

#[tokio::test]
async fn late_metrics_count_as_well_as_a_late_heartbeat() {
    let app = App::start().await;
    let claim = app.running().await;
    app.lose(claim.attempt).await;
    app.store_metrics(&claim, 0, &[(LOSS, &[(0, 1.0)])]).await;
    assert_eq!(app.run_state(claim.run).await, RunState::Running);
}

#[tokio::test]
async fn a_silent_worker_loses_its_run_by_itself() {
    let app = App::with_lease(Duration::from_secs(2)).await;
    let claim = app.running().await;
    let taken_back = async {
        while app.run_state(claim.run).await != RunState::Queued {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), taken_back)
        .await
        .unwrap();
    assert_eq!(
        app.detail(claim.run).await.attempt_history[0].state,
        AttemptState::Lost
    );
}

#[tokio::test]
async fn after_an_outage_of_ours_every_lease_gets_its_whole_length() {
    let app = App::start().await;
    let claim = app.running().await;
    sqlx::query("update attempts set lease_expires_at = now() - interval '1 hour'")
        .execute(&app.pool)
        .await
        .unwrap();
    assert_eq!(
        app.state
            .store
            .grant_grace(Duration::from_secs(60))
            .await
            .unwrap(),
        1
    );
    assert_eq!(app.state.store.requeue_lost().await.unwrap(), 0);
    assert_eq!(app.run_state(claim.run).await, RunState::Running);
}

#[tokio::test]
async fn five_attempts_lost_without_progress_end_a_run_and_progress_resets_the_count() {
    let app = App::start().await;
    let mut claim = app.running().await;
    let worker = app.register().await;
    for _ in 0..4 {
        app.lose(claim.attempt).await;
        app.end_wait(claim.run).await;
        claim = app.claim(worker).await.unwrap();
    }
    app.upload(&claim, CheckpointKind::Last, 10, b"ten batches").await;
    for _ in 0..4 {
        app.lose(claim.attempt).await;
        app.end_wait(claim.run).await;
        claim = app.claim(worker).await.unwrap();
    }
    app.lose(claim.attempt).await;
    let summary = app.detail(claim.run).await.summary;
    assert_eq!((summary.state, summary.attempts), (RunState::Failed, 9));
    assert_eq!(summary.failure.unwrap().class, FailureClass::Lost);
}

#[tokio::test]
async fn a_finish_whose_answer_got_lost_is_accepted_again() {
    let app = App::start().await;
    let claim = app.running().await;
    app.store_metrics(&claim, 0, &[(LOSS, &[(0, 1.0)])]).await;
    for _ in 0..2 {
        assert_eq!(
            app.finish(&claim, 1, Outcome::Succeeded).await.status,
            StatusCode::NO_CONTENT
        );
    }
    app.finish(&claim, 1, Outcome::Released)
        .await
        .problem(StatusCode::CONFLICT, "stale_lease");
    assert_eq!(app.run_state(claim.run).await, RunState::Succeeded);
}

#[tokio::test]
async fn a_finish_waits_for_the_last_metrics() {
    let app = App::start().await;
    let claim = app.running().await;
    app.finish(&claim, 1, Outcome::Succeeded)
        .await
        .problem(StatusCode::CONFLICT, "sequence_gap");
    assert_eq!(app.run_state(claim.run).await, RunState::Running);
}

#[tokio::test]
async fn a_cancelled_run_is_taken_from_its_worker() {
    let app = App::start().await;
    let claim = app.running().await;
    let worker = app.register().await;
    let path = format!("/api/v1/runs/{}/cancel", claim.run);
    for _ in 0..2 {
        assert_eq!(app.post(&path, &()).await.status, StatusCode::OK);
    }
    assert_eq!(app.heartbeat(worker, &claim).await, Verdict::Cancelled);
    app.metrics(&claim, 0, &[])
        .await
        .problem(StatusCode::CONFLICT, "stale_lease");
    let detail = app.detail(claim.run).await;
    assert_eq!(detail.summary.state, RunState::Cancelled);
    assert_eq!(detail.attempt_history[0].state, AttemptState::Cancelled);
    assert!(app.claim(worker).await.is_none());
}

#[tokio::test]
async fn a_run_that_succeeded_cannot_be_cancelled() {
    let app = App::start().await;
    let claim = app.running().await;
    app.finish(&claim, 0, Outcome::Succeeded).await;
    let path = format!("/api/v1/runs/{}/cancel", claim.run);
    app.post(&path, &())
        .await
        .problem(StatusCode::CONFLICT, "run_ended");
    assert_eq!(app.run_state(claim.run).await, RunState::Succeeded);
}

/// How a worker comes to hold a token that is worth nothing.
#[derive(Clone, Copy, Debug)]
enum Ending {
    TakenOver,
    Cancelled,
    HandedBack,
    NeverGiven,
}

#[tokio::test]
async fn nothing_that_a_stale_token_sends_is_stored_whatever_it_is() {
    for ending in [
        Ending::TakenOver,
        Ending::Cancelled,
        Ending::HandedBack,
        Ending::NeverGiven,
    ] {
        let app = App::start().await;
        let mut stale = app.running().await;
        let worker = app.register().await;
        app.store_metrics(&stale, 0, &[(LOSS, &[(0, 1.0)])]).await;
        match ending {
            Ending::TakenOver => {
                app.lose(stale.attempt).await;
                app.claim(worker).await.unwrap();
            }
            Ending::Cancelled => {
                app.post(&format!("/api/v1/runs/{}/cancel", stale.run), &()).await;
            }
            Ending::HandedBack => {
                app.finish(&stale, 1, Outcome::Released).await;
            }
            Ending::NeverGiven => stale.token = FencingToken(stale.token.0 + 1),
        }
        let before = app.detail(stale.run).await;
        let curves = app.curves(stale.run, "").await;

        let conflict = StatusCode::CONFLICT;
        let failure = Failure {
            class: FailureClass::Internal,
            message: "why".to_owned(),
        };
        let late = [
            app.metrics(&stale, 1, &[(LOSS, &[(1, 2.0)])]).await,
            app.metrics(&stale, 0, &[(LOSS, &[(0, 1.0)])]).await,
            app.upload_as(&upload(&stale, CheckpointKind::Last, 1, b"weights"), b"weights")
                .await,
            app.upload_as(&upload(&stale, CheckpointKind::Best, 1, b"weights"), b"weights")
                .await,
            app.upload_artifact_as(&artifact_upload(&stale, "table.csv", b"1,2"), b"1,2")
                .await,
            app.finish(&stale, 1, Outcome::Succeeded).await,
            app.finish(&stale, 1, Outcome::Failed { failure }).await,
        ];
        for (number, answer) in late.iter().enumerate() {
            let problem = answer.problem(conflict, "stale_lease");
            assert!(!problem.detail.is_empty(), "{ending:?}, {number}");
        }
        let verdict = app.heartbeat(worker, &stale).await;
        assert!(
            matches!(verdict, Verdict::Lost | Verdict::Cancelled),
            "{ending:?}"
        );

        assert_eq!(app.detail(stale.run).await, before, "{ending:?}");
        assert_eq!(app.curves(stale.run, "").await, curves, "{ending:?}");
        assert_eq!(app.state.artifacts.count().await.unwrap(), 0, "{ending:?}");
    }
}
