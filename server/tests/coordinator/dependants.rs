//! What becomes of runs that wait for others when those end, also at the same moment.

use crate::common::App;
use crate::common::study::{carry_out, detail, experiment, fail, states, submit};
use axum::http::StatusCode;
use motif_proto::run::{CheckpointKind, FailureClass, RunState};
use motif_proto::study::{StudyDetail, StudyState};
use motif_proto::worker::Outcome;
use serde_json::{Value, json};

#[tokio::test]
async fn parents_that_end_at_the_same_moment_release_their_dependants_once() {
    let app = App::start().await;
    let study = submit(
        &app,
        json!({ "name": "together", "experiments": [
            { "id": "parent", "preset": "demo", "seeds": 12 },
            { "id": "child", "preset": "demo", "seeds": 8, "after": ["parent"] },
            { "id": "pupil", "kind": "transfer", "base": "parent" },
        ] }),
    )
    .await;
    let mut claims = Vec::new();
    for _ in 0..12 {
        let worker = app.register().await;
        let claim = app.claim(worker).await.unwrap();
        app.upload(
            &claim,
            CheckpointKind::Best,
            600,
            claim.run.to_string().as_bytes(),
        )
        .await;
        claims.push(claim);
    }
    let answers = futures::future::join_all(
        claims
            .iter()
            .map(|claim| app.finish(claim, 0, Outcome::Succeeded)),
    )
    .await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == StatusCode::NO_CONTENT)
    );
    let states = states(&app, &study).await;
    assert_eq!(
        (states["child"], states["pupil"]),
        (RunState::Queued, RunState::Queued)
    );
    let worker = app.register().await;
    let mut released = Vec::new();
    while let Some(claim) = app.claim(worker).await {
        if let Some(base) = &claim.base {
            let content = app
                .get(&format!("/api/v1/checkpoints/{}/content", base.checkpoint))
                .await;
            assert_eq!(content.body, base.run.to_string().into_bytes());
        }
        released.push(claim.run);
    }
    released.sort();
    released.dedup();
    assert_eq!(released.len(), 20);
}

#[tokio::test]
async fn failures_and_successes_at_the_same_moment_leave_nothing_waiting() {
    let app = App::start().await;
    let study = submit(
        &app,
        json!({ "name": "mixed", "experiments": [
            { "id": "parent", "preset": "demo", "seeds": 10 },
            { "id": "child", "preset": "demo", "seeds": 4, "after": ["parent"] },
            { "id": "grandchild", "preset": "demo", "after": ["child"] },
        ] }),
    )
    .await;
    let worker = app.register().await;
    let mut claims = Vec::new();
    for _ in 0..10 {
        claims.push(app.claim(worker).await.unwrap());
    }
    let outcome = |i: usize| match i % 3 {
        0 => crate::common::study::failure(FailureClass::Diverged),
        _ => Outcome::Succeeded,
    };
    let ends = claims.iter().enumerate();
    futures::future::join_all(ends.map(|(i, claim)| app.finish(claim, 0, outcome(i)))).await;
    let now = detail(&app, study.summary.id).await;
    let counts = now.summary.counts.runs;
    assert_eq!((counts.succeeded, counts.failed, counts.skipped), (6, 4, 5));
}

#[tokio::test]
async fn a_base_that_left_no_such_checkpoint_ends_what_starts_from_it() {
    let app = App::start().await;
    let study = submit(
        &app,
        json!({ "name": "empty", "experiments": [
            { "id": "base", "preset": "demo" },
            { "id": "next", "kind": "transfer", "base": "base" },
            { "id": "then", "kind": "evaluate", "base": "next" },
        ] }),
    )
    .await;
    let worker = app.register().await;
    let claim = app.claim(worker).await.unwrap();
    app.upload(&claim, CheckpointKind::Last, 600, b"last").await;
    app.finish(&claim, 0, Outcome::Succeeded).await;
    let states = states(&app, &study).await;
    assert_eq!(
        (states["next"], states["then"]),
        (RunState::Skipped, RunState::Skipped)
    );
    let reason = app
        .detail(experiment(&study, "next").runs[0].run)
        .await
        .summary
        .reason;
    assert!(reason.unwrap().contains("no such checkpoint"));
}

#[tokio::test]
async fn a_run_that_is_tried_again_brings_back_what_it_blocked_and_nothing_else() {
    let app = App::start().await;
    let study = submit(
        &app,
        json!({ "name": "again", "experiments": [
            { "id": "one", "preset": "demo" },
            { "id": "two", "preset": "demo" },
            { "id": "on-one", "kind": "transfer", "base": "one" },
            { "id": "look", "kind": "evaluate", "base": "on-one" },
            { "id": "on-both", "preset": "demo", "after": ["one", "two"] },
        ] }),
    )
    .await;
    fail(&app, &study, "one", FailureClass::Diverged).await;
    fail(&app, &study, "two", FailureClass::Diverged).await;
    let one = experiment(&study, "one").runs[0].run;
    let on_one = experiment(&study, "on-one").runs[0].run;
    let retry = async |run| app.post(&format!("/api/v1/runs/{run}/retry"), &json!({})).await;
    let blocked = retry(on_one).await.problem(StatusCode::CONFLICT, "run_blocked");
    assert!(blocked.detail.contains(&one.to_string()), "{}", blocked.detail);
    retry(one).await.expect::<Value>(StatusCode::OK);
    let states = states(&app, &study).await;
    assert_eq!(
        (states["on-one"], states["look"]),
        (RunState::Waiting, RunState::Waiting)
    );
    assert_eq!(
        states["on-both"],
        RunState::Skipped,
        "the other parent failed too"
    );
    assert_eq!(app.detail(on_one).await.summary.reason, None);
    carry_out(&app, &study, "one").await;
    carry_out(&app, &study, "on-one").await;
    carry_out(&app, &study, "look").await;
}

#[tokio::test]
async fn a_cancelled_run_takes_what_depends_on_it_along() {
    let app = App::start().await;
    let study = submit(
        &app,
        json!({ "name": "cut", "experiments": [
            { "id": "a", "preset": "demo", "seeds": 2 },
            { "id": "b", "kind": "transfer", "base": "a" },
            { "id": "c", "kind": "evaluate", "base": "b" },
        ] }),
    )
    .await;
    let cut = experiment(&study, "a").runs[1].run;
    app.post(&format!("/api/v1/runs/{cut}/cancel"), &json!({}))
        .await
        .expect::<Value>(StatusCode::OK);
    let now: StudyDetail = app
        .get(&format!("/api/v1/studies/{}", study.summary.id))
        .await
        .expect(StatusCode::OK);
    for (key, first, second) in [
        ("a", RunState::Queued, RunState::Cancelled),
        ("b", RunState::Waiting, RunState::Skipped),
        ("c", RunState::Waiting, RunState::Skipped),
    ] {
        let runs = &experiment(&now, key).runs;
        assert_eq!((runs[0].state, runs[1].state), (first, second), "{key}");
    }
}

#[tokio::test]
async fn what_depends_on_a_failure_is_skipped_with_the_reason_and_the_rest_goes_on() {
    let app = App::start().await;
    let study = submit(
        &app,
        json!({ "name": "branches", "experiments": [
            { "id": "good", "preset": "demo" },
            { "id": "bad", "preset": "demo" },
            { "id": "on-bad", "kind": "transfer", "base": "bad" },
            { "id": "after-that", "preset": "demo", "after": ["on-bad"] },
            { "id": "on-good", "kind": "transfer", "base": "good" },
            { "id": "on-both", "preset": "demo", "after": ["good", "after-that"] },
        ] }),
    )
    .await;
    carry_out(&app, &study, "good").await;
    fail(&app, &study, "bad", FailureClass::Diverged).await;
    let states = states(&app, &study).await;
    assert_eq!(states["on-good"], RunState::Queued);
    for key in ["on-bad", "after-that", "on-both"] {
        assert_eq!(states[key], RunState::Skipped, "{key}");
        let run = experiment(&study, key).runs[0].run;
        let summary = app.detail(run).await.summary;
        let reason = summary.reason.unwrap();
        assert!(
            reason.contains("`bad`") && reason.contains("failed: why"),
            "{reason}"
        );
        assert!(summary.finished_at.is_some() && summary.failure.is_none());
    }
    // Nobody is given what was skipped.
    carry_out(&app, &study, "on-good").await;
    let worker = app.register().await;
    assert!(app.claim(worker).await.is_none());
    let study: StudyDetail = app
        .get(&format!("/api/v1/studies/{}", study.summary.id))
        .await
        .expect(StatusCode::OK);
    assert_eq!(study.summary.state, StudyState::Failed);
}
