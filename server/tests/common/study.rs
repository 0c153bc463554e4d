//! Studies in tests: submitted, and their runs carried out.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use motif_proto::run::{CheckpointKind, Failure, FailureClass, RunState};
use motif_proto::study::{StudyDetail, StudyExperiment};
use motif_proto::worker::{Claim, Outcome};
use serde_json::Value;

use super::App;

/// Submits a study that must be accepted.
pub async fn submit(app: &App, document: Value) -> StudyDetail {
    app.post("/api/v1/studies", &document)
        .await
        .expect(StatusCode::CREATED)
}

/// An experiment of a study by its key.
pub fn experiment<'a>(study: &'a StudyDetail, key: &str) -> &'a StudyExperiment {
    study
        .experiments
        .iter()
        .find(|experiment| experiment.key == key)
        .unwrap()
}

/// The state of all runs of each experiment, which must be the same.
pub async fn states(app: &App, study: &StudyDetail) -> BTreeMap<String, RunState> {
    let now: StudyDetail = app
        .get(&format!("/api/v1/studies/{}", study.summary.id))
        .await
        .expect(StatusCode::OK);
    let states = now.experiments.into_iter().map(|experiment| {
        let state = experiment.runs[0].state;
        assert!(
            experiment.runs.iter().all(|run| run.state == state),
            "{experiment:?}"
        );
        (experiment.key, state)
    });
    states.collect()
}

pub fn failure(class: FailureClass) -> Outcome {
    let message = "why".to_owned();
    Outcome::Failed {
        failure: Failure { class, message },
    }
}

/// Claims the first run of an experiment; whatever else is claimed on the way is handed back.
pub async fn claim_first(app: &App, study: &StudyDetail, key: &str) -> Claim {
    let wanted = experiment(study, key).runs[0].run;
    let worker = app.register().await;
    let mut others = Vec::new();
    let claim = loop {
        let claim = app.claim(worker).await.unwrap();
        if claim.run == wanted {
            break claim;
        }
        others.push(claim);
    };
    for other in others {
        app.finish(&other, 0, Outcome::Released).await;
    }
    claim
}

/// Brings the first run of an experiment to a good end, with both checkpoints.
pub async fn carry_out(app: &App, study: &StudyDetail, key: &str) {
    let claim = claim_first(app, study, key).await;
    for kind in [CheckpointKind::Best, CheckpointKind::Last] {
        app.upload(&claim, kind, 600, key.as_bytes()).await;
    }
    let ended = app.finish(&claim, 0, Outcome::Succeeded).await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
}

/// Lets the first run of an experiment fail.
pub async fn fail(app: &App, study: &StudyDetail, key: &str, class: FailureClass) {
    let claim = claim_first(app, study, key).await;
    app.finish(&claim, 0, failure(class)).await;
}

/// A study as it stands now.
pub async fn detail(app: &App, study: motif_proto::id::StudyId) -> StudyDetail {
    app.get(&format!("/api/v1/studies/{study}"))
        .await
        .expect(StatusCode::OK)
}
