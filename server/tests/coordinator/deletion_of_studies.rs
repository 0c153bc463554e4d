//! Deletion along the edges of a study: what others need stays, and a study goes whole.

use crate::common::study::{carry_out, experiment, fail, states, submit};
use crate::common::{Answer, App};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use motif_proto::access::AuditList;
use motif_proto::id::RunId;
use motif_proto::run::{DeleteRuns, FailureClass, RunState};
use motif_proto::study::{StudyDetail, StudyList};
use serde_json::json;

async fn delete(app: &App, path: &str) -> Answer {
    let request = Request::delete(path).body(Body::empty()).unwrap();
    app.answer(request).await
}

async fn delete_many(app: &App, runs: &[RunId]) -> Answer {
    let body = DeleteRuns { runs: runs.to_vec() };
    app.post("/api/v1/runs/delete", &body).await
}

fn run_of(study: &StudyDetail, key: &str) -> RunId {
    experiment(study, key).runs[0].run
}

/// A base, a pupil that starts from it, and a run that only comes after it.
async fn three(app: &App) -> StudyDetail {
    submit(
        app,
        json!({ "name": "three", "experiments": [
            { "id": "base", "preset": "demo" },
            { "id": "pupil", "kind": "transfer", "base": "base" },
            { "id": "later", "preset": "demo", "after": ["base"] },
        ] }),
    )
    .await
}

#[tokio::test]
async fn a_run_stays_while_others_have_yet_to_begin_after_it_in_whatever_state() {
    let app = App::start().await;
    let study = three(&app).await;
    let [base, pupil, later] = ["base", "pupil", "later"].map(|key| run_of(&study, key));
    fail(&app, &study, "base", FailureClass::BadSpec).await;
    assert_eq!(states(&app, &study).await["pupil"], RunState::Skipped);
    let refused = delete(&app, &format!("/api/v1/runs/{base}"))
        .await
        .problem(StatusCode::CONFLICT, "run_in_use");
    for (name, run) in [("pupil", pupil), ("later", later)] {
        let named = format!("`{name}` (run {run}, skipped)");
        assert!(refused.detail.contains(&named), "{}", refused.detail);
    }
    delete_many(&app, &[base, later])
        .await
        .problem(StatusCode::CONFLICT, "run_in_use");

    // So nothing was lost: a new try goes on as if nobody had asked.
    let path = format!("/api/v1/runs/{base}/retry");
    assert_eq!(app.post(&path, &json!({})).await.status, StatusCode::OK);
    assert_eq!(states(&app, &study).await["later"], RunState::Waiting);
    carry_out(&app, &study, "base").await;
    carry_out(&app, &study, "later").await;

    // What came after it has begun without it; what starts from it still needs it.
    let refused = delete(&app, &format!("/api/v1/runs/{base}"))
        .await
        .problem(StatusCode::CONFLICT, "run_in_use");
    assert!(
        refused.detail.contains("pupil") && !refused.detail.contains("later"),
        "{}",
        refused.detail
    );
    carry_out(&app, &study, "pupil").await;
    assert_eq!(
        delete_many(&app, &[pupil, base]).await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(app.run_state(later).await, RunState::Succeeded);
}

#[tokio::test]
async fn a_study_goes_whole_or_not_at_all() {
    let app = App::start().await;
    let kept = three(&app).await;
    let study = submit(
        &app,
        json!({ "name": "search", "experiments": [
            { "id": "base", "preset": "demo" },
            { "id": "rest", "preset": "demo", "after": ["base"] },
            { "id": "trials", "preset": "demo", "sweep": {
                "method": "asha", "metric": "validation/total", "samples": 3, "first_rung": 200, "reduction": 3,
                "parameters": { "training.learning_rate": [1e-4, 1e-3, 1e-2] } } },
        ] }),
    )
    .await;
    let path = format!("/api/v1/studies/{}", study.summary.id);
    delete(&app, &path)
        .await
        .problem(StatusCode::CONFLICT, "run_not_ended");
    carry_out(&app, &study, "base").await;
    app.post(&format!("{path}/cancel"), &json!({})).await;

    // A run outside that starts from one of it keeps all of it.
    let base = run_of(&study, "base");
    let outside = app
        .submit(
            json!({ "preset": "continue_training", "base": base, "name": "outside",
                        "training": { "batches": 100_000 } }),
        )
        .await;
    let refused = delete(&app, &path)
        .await
        .problem(StatusCode::CONFLICT, "run_in_use");
    assert!(refused.detail.contains("`outside`"), "{}", refused.detail);
    assert_eq!(states(&app, &study).await["base"], RunState::Succeeded);
    app.post(&format!("/api/v1/runs/{outside}/cancel"), &json!({}))
        .await;
    let gone = delete(&app, &format!("/api/v1/runs/{outside}")).await;
    assert_eq!(gone.status, StatusCode::ACCEPTED);

    assert_eq!(delete(&app, &path).await.status, StatusCode::ACCEPTED);
    app.get(&path)
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_study");
    let list: StudyList = app.get("/api/v1/studies").await.expect(StatusCode::OK);
    assert_eq!(list.studies.len(), 1);
    assert_eq!(list.studies[0].id, kept.summary.id);
    app.get(&format!("/api/v1/runs/{base}"))
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_run");
    // Again is the same.
    assert_eq!(delete(&app, &path).await.status, StatusCode::ACCEPTED);
    let left: (i64, i64) =
        sqlx::query_as("select (select count(*) from sweeps), (select count(*) from dependencies)")
            .fetch_one(&app.pool)
            .await
            .unwrap();
    assert_eq!(left, (0, 2), "the other study keeps its edges");

    let audit = |query: String| {
        let app = &app;
        async move {
            let list: AuditList = app
                .get(&format!("/api/v1/audit?{query}"))
                .await
                .expect(StatusCode::OK);
            list.entries
        }
    };
    let of_study = audit(format!("subject={}&action=study.delete", study.summary.id)).await;
    assert_eq!(of_study.len(), 1);
    assert_eq!(of_study[0].details, json!({ "name": "search", "runs": 5 }));
    let of_runs = audit("action=run.delete&limit=50".to_owned()).await;
    assert_eq!(of_runs.len(), 6);
    let of_base = audit(format!("subject={base}&action=run.delete")).await;
    assert_eq!(
        of_base[0].details,
        json!({ "name": "base", "state": "succeeded" })
    );
}

#[tokio::test]
async fn a_study_says_what_is_kept_of_its_runs_unless_one_says_otherwise() {
    let app = App::start().await;
    let study = submit(
        &app,
        json!({ "name": "kept", "defaults": { "training": { "keep_every": 1000 } }, "experiments": [
            { "id": "as-the-study", "preset": "demo" },
            { "id": "more", "preset": "demo", "training": { "keep_every": 500 } },
            { "id": "none", "preset": "demo", "training": { "keep_every": 0 } },
        ] }),
    )
    .await;
    for (key, every) in [("as-the-study", Some(1000)), ("more", Some(500)), ("none", None)] {
        let spec = serde_json::to_value(app.detail(run_of(&study, key)).await.spec).unwrap();
        assert_eq!(spec["training"]["keep_every"].as_u64(), every, "{key}");
    }
}
