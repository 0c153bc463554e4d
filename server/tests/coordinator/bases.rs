//! Experiments that start from others: what they start from is found, fixed and kept.

use crate::common::App;
use axum::http::StatusCode;
use motif_proto::id::RunId;
use motif_proto::problem::FieldProblem;
use motif_proto::run::{CheckpointKind, RunList, RunState};
use motif_proto::spec::ExperimentKind;
use motif_proto::worker::Outcome;
use serde_json::{Value, json};

/// A demo of 600 batches that was trained to its end.
async fn demo(app: &App) -> crate::common::Trained {
    app.trained(json!({ "preset": "demo", "seed": 4 }), 600).await
}

async fn problems(app: &App, spec: &Value) -> Vec<FieldProblem> {
    let answer = app.post("/api/v1/experiments", spec).await;
    answer
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_spec")
        .errors
}

async fn only_problem(app: &App, spec: &Value) -> FieldProblem {
    let mut problems = problems(app, spec).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

#[tokio::test]
async fn a_claim_carries_the_checkpoint_that_the_spec_starts_from() {
    let app = App::start().await;
    let base = demo(&app).await;
    let worker = app.register().await;
    for (spec, checkpoint) in [
        (json!({ "kind": "transfer", "base": base.run }), &base.best),
        (
            json!({ "kind": "evaluate", "base": base.run, "base_checkpoint": "last" }),
            &base.last,
        ),
        (json!({ "kind": "evaluate", "base": base.last.id }), &base.last),
        (
            json!({ "kind": "continue", "base": base.run, "training": { "batches": 700 } }),
            &base.last,
        ),
    ] {
        let run = app.submit(spec).await;
        let claim = app.claim(worker).await.unwrap();
        let carried = claim.base.unwrap();
        assert_eq!((carried.checkpoint, carried.run), (checkpoint.id, base.run));
        assert_eq!((&carried.sha256, carried.size_bytes), (&checkpoint.sha256, 8));
        assert_eq!((carried.kind, carried.next_batch), (checkpoint.kind, 600));
        let detail = app.detail(run).await;
        assert_eq!(detail.base.unwrap().run_name, "demo");
        assert_eq!(detail.spec.network.hidden(), 64);
    }
}

#[tokio::test]
async fn a_continued_run_takes_its_base_s_settings_and_begins_where_that_ended() {
    let app = App::start().await;
    let base = demo(&app).await;
    let run = app
        .submit(json!({ "kind": "continue", "base": base.run, "training": { "batches": 700 } }))
        .await;
    let worker = app.register().await;
    let claim = app.claim(worker).await.unwrap();
    assert_eq!((claim.spec.seed, &claim.resume), (4, &None));
    let detail = app.detail(run).await;
    assert_eq!(detail.attempt_history[0].first_batch, 600);
    assert_eq!(detail.summary.progress.batches_done, 600);
    app.store_metrics(&claim, 0, &[("loss/total", &[(600, 1.0), (601, 0.9)])])
        .await;
    assert_eq!(app.detail(run).await.summary.progress.batches_done, 602);
    // Without a checkpoint of its own it begins with its base again.
    app.lose(claim.attempt).await;
    let claim = app.claim(worker).await.unwrap();
    assert_eq!(claim.base.unwrap().checkpoint, base.last.id);
    let detail = app.detail(run).await;
    assert_eq!(detail.attempt_history[1].first_batch, 600);
    assert_eq!(detail.summary.progress.batches_done, 600);
}

#[tokio::test]
async fn a_base_that_cannot_be_used_is_refused_at_submission() {
    let app = App::start().await;
    let base = demo(&app).await;
    let nobody = RunId::new();
    let unknown = only_problem(&app, &json!({ "kind": "evaluate", "base": nobody })).await;
    assert_eq!(unknown.pointer, "/base");
    assert!(unknown.detail.contains(&nobody.to_string()), "{}", unknown.detail);
    let path = only_problem(&app, &json!({ "kind": "evaluate", "base": "runs/a.pth" })).await;
    assert_eq!(path.pointer, "/base");

    let waiting = app.submit(json!({ "preset": "demo" })).await;
    let without = only_problem(&app, &json!({ "kind": "transfer", "base": waiting })).await;
    assert_eq!(without.pointer, "/base");
    assert!(without.detail.contains("`best`"), "{}", without.detail);

    let other = json!({ "kind": "transfer", "base": base.run, "network": { "hidden": 128 } });
    let misfit = only_problem(&app, &other).await;
    assert_eq!(misfit.pointer, "/network/hidden");
    assert!(
        misfit.detail.contains("128") && misfit.detail.contains("64"),
        "{}",
        misfit.detail
    );
    let gru = json!({ "kind": "evaluate", "base": base.run, "network": { "kind": "gru" } });
    let misfit = only_problem(&app, &gru).await;
    assert!(
        misfit.detail.contains("gru") && misfit.detail.contains("rnn"),
        "{}",
        misfit.detail
    );

    let done = only_problem(&app, &json!({ "preset": "continue_training", "base": base.run })).await;
    assert_eq!(done.pointer, "/training/batches");
    assert!(done.detail.contains("600"), "{}", done.detail);
}

#[tokio::test]
async fn every_other_mistake_is_named_beside_that_of_the_base() {
    let app = App::start().await;
    let spec = json!({ "kind": "evaluate", "base": "x", "training": {}, "evaluation": { "delay": 3 } });
    let pointers: Vec<_> = problems(&app, &spec)
        .await
        .into_iter()
        .map(|problem| problem.pointer)
        .collect();
    assert_eq!(pointers, ["/base", "/training", "/evaluation/delay"]);
}

#[tokio::test]
async fn a_base_stays_while_its_run_goes_on() {
    let app = App::start().await;
    let training = app.running().await;
    let early = app.upload(&training, CheckpointKind::Best, 25, b"early").await;
    let evaluation = app
        .submit(json!({ "kind": "evaluate", "base": training.run }))
        .await;
    let later = app.upload(&training, CheckpointKind::Best, 50, b"later").await;
    app.upload(&training, CheckpointKind::Best, 75, b"latest").await;
    // What nothing starts from is gone, and the run's own list is as ever.
    let gone = app
        .get(&format!("/api/v1/checkpoints/{}/content", later.id))
        .await;
    gone.problem(StatusCode::NOT_FOUND, "unknown_checkpoint");
    let listed = app
        .get(&format!("/api/v1/runs/{}/checkpoints", training.run))
        .await;
    let listed: motif_proto::run::CheckpointList = listed.expect(StatusCode::OK);
    assert_eq!(
        listed
            .checkpoints
            .iter()
            .map(|each| each.next_batch)
            .collect::<Vec<_>>(),
        [75]
    );

    app.state.store.collect_blobs(&app.state.artifacts).await.unwrap();
    let worker = app.register().await;
    let claim = app.claim(worker).await.unwrap();
    assert_eq!(
        (claim.run, claim.base.unwrap().checkpoint),
        (evaluation, early.id)
    );
    let content = app
        .get(&format!("/api/v1/checkpoints/{}/content", early.id))
        .await;
    assert_eq!(
        (content.status, content.body.as_slice()),
        (StatusCode::OK, b"early".as_slice())
    );
    // A kept checkpoint can be named again by its id.
    app.submit(json!({ "kind": "transfer", "base": early.id })).await;
}

#[tokio::test]
async fn submissions_and_newer_checkpoints_at_once_lose_no_base() {
    let app = App::start().await;
    let training = app.running().await;
    app.upload(&training, CheckpointKind::Best, 1, b"first").await;
    let uploads = async {
        for next_batch in 2..40u64 {
            let content = next_batch.to_le_bytes();
            app.upload(&training, CheckpointKind::Best, next_batch, &content)
                .await;
        }
    };
    let submissions = async {
        let mut runs = Vec::new();
        for _ in 0..20 {
            runs.push(
                app.submit(json!({ "kind": "evaluate", "base": training.run }))
                    .await,
            );
        }
        runs
    };
    let (_, runs) = tokio::join!(uploads, submissions);
    app.state.store.collect_blobs(&app.state.artifacts).await.unwrap();
    for run in runs {
        let base = app.detail(run).await.base.unwrap();
        let content = app
            .get(&format!("/api/v1/checkpoints/{}/content", base.checkpoint))
            .await;
        assert_eq!(
            (content.status, content.body.len() as u64),
            (StatusCode::OK, base.size_bytes)
        );
    }
}

#[tokio::test]
async fn a_pupil_starts_from_its_teacher_s_checkpoint_with_a_network_of_its_own() {
    let app = App::start().await;
    let teacher = demo(&app).await;
    let spec = json!({ "preset": "muscles_rnn256_softplus", "base": teacher.run });
    let run = app.submit(spec).await;
    let detail = app.detail(run).await;
    assert_eq!(detail.base.unwrap().checkpoint, teacher.best.id);
    assert_eq!(detail.spec.network.hidden(), 256);
}

#[tokio::test]
async fn an_evaluation_trains_nothing_and_runs_are_listed_by_kind() {
    let app = App::start().await;
    let base = demo(&app).await;
    let evaluation = app.submit(json!({ "kind": "evaluate", "base": base.run })).await;
    let worker = app.register().await;
    let claim = app.claim(worker).await.unwrap();
    app.store_metrics(&claim, 0, &[("validation/total", &[(0, 0.02)])])
        .await;
    app.finish(&claim, 1, Outcome::Succeeded).await;
    let summary = app.detail(evaluation).await.summary;
    assert_eq!(
        (summary.kind, summary.state),
        (ExperimentKind::Evaluate, RunState::Succeeded)
    );
    assert_eq!(summary.progress.batches_total, 0);
    assert_eq!(summary.last_validation.unwrap().value.0, 0.02);

    let listed = async |query: &str| {
        let list: RunList = app
            .get(&format!("/api/v1/runs?{query}"))
            .await
            .expect(StatusCode::OK);
        list.runs.into_iter().map(|run| run.id).collect::<Vec<_>>()
    };
    assert_eq!(listed("kind=evaluate").await, [evaluation]);
    assert_eq!(listed("kind=train").await, [base.run]);
    assert_eq!(listed("kind=train&kind=evaluate").await, [evaluation, base.run]);
    assert!(listed("kind=transfer").await.is_empty());
}

#[tokio::test]
async fn series_of_composable_pairs_and_of_imitation_are_stored() {
    let app = App::start().await;
    let claim = app.running().await;
    let pair = "validation/forward_halfcirclecclk+backward_fullcircleclk";
    app.store_metrics(&claim, 0, &[(pair, &[(0, 0.5)]), ("loss/imitation", &[(0, 1.0)])])
        .await;
    let curves = app.curves(claim.run, "series=loss/imitation").await;
    assert_eq!(curves.series[0].values.len(), 1);
    let series = app.detail(claim.run).await.series;
    assert_eq!(series, ["loss/imitation", pair]);
}
