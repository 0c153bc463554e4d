//! Artifacts: files that runs make, named only when their bytes are right.

use crate::common::{App, artifact_upload};
use axum::http::{StatusCode, header};
use motif_proto::artifact::{Artifact, ArtifactList};
use motif_proto::id::{ArtifactId, RunId};
use motif_proto::run::CheckpointKind;
use motif_proto::worker::{Outcome, UploadArtifact};

async fn list(app: &App, run: RunId) -> Vec<Artifact> {
    let answer = app.get(&format!("/api/v1/runs/{run}/artifacts")).await;
    answer.expect::<ArtifactList>(StatusCode::OK).artifacts
}

#[tokio::test]
async fn files_of_a_run_are_listed_by_name_and_come_back() {
    let app = App::start().await;
    let claim = app.running().await;
    let table = app.upload_artifact(&claim, "evaluation.json", b"{}").await;
    let sheet = app.upload_artifact(&claim, "evaluation.csv", b"task,speed").await;
    assert_eq!(list(&app, claim.run).await, [sheet.clone(), table.clone()]);
    for (artifact, kind, content) in [
        (&table, "application/json", b"{}".as_slice()),
        (&sheet, "text/csv", b"task,speed"),
    ] {
        let answer = app
            .get(&format!("/api/v1/artifacts/{}/content", artifact.id))
            .await;
        assert_eq!((answer.status, answer.body.as_slice()), (StatusCode::OK, content));
        assert_eq!(answer.headers[header::CONTENT_TYPE], kind);
        let name = format!("attachment; filename=\"{}\"", artifact.name);
        assert_eq!(answer.headers[header::CONTENT_DISPOSITION], name);
        assert_eq!(answer.headers[header::ETAG], format!("\"{}\"", artifact.sha256));
    }
}

#[tokio::test]
async fn a_newer_file_replaces_the_older_of_its_name_and_the_same_again_is_the_same() {
    let app = App::start().await;
    let claim = app.running().await;
    let first = app.upload_artifact(&claim, "a.json", b"one").await;
    assert_eq!(app.upload_artifact(&claim, "a.json", b"one").await, first);
    let second = app.upload_artifact(&claim, "a.json", b"two").await;
    assert_eq!(list(&app, claim.run).await, [second]);
    let gone = app.get(&format!("/api/v1/artifacts/{}/content", first.id)).await;
    gone.problem(StatusCode::NOT_FOUND, "unknown_artifact");
    assert_eq!(app.state.artifacts.count().await.unwrap(), 1);
}

#[tokio::test]
async fn bytes_that_an_artifact_names_are_kept_when_a_checkpoint_lets_them_go() {
    let app = App::start().await;
    let claim = app.running().await;
    app.upload(&claim, CheckpointKind::Last, 1, b"same").await;
    app.upload_artifact(&claim, "copy.bin", b"same").await;
    app.upload(&claim, CheckpointKind::Last, 2, b"other").await;
    assert_eq!(
        app.state.store.collect_blobs(&app.state.artifacts).await.unwrap(),
        0
    );
    let artifact = list(&app, claim.run).await.remove(0);
    let answer = app
        .get(&format!("/api/v1/artifacts/{}/content", artifact.id))
        .await;
    assert_eq!(answer.body, b"same");
}

#[tokio::test]
async fn an_upload_that_is_not_what_it_says_names_nothing() {
    let app = App::start().await;
    let claim = app.running().await;
    let good = artifact_upload(&claim, "a.json", b"right");
    let wrong = app.upload_artifact_as(&good, b"wrong").await;
    wrong.problem(StatusCode::UNPROCESSABLE_ENTITY, "checksum_mismatch");
    for name in ["", "../a", "a/b", ".a", "a b"] {
        let odd = UploadArtifact {
            name: name.to_owned(),
            ..good.clone()
        };
        let answer = app.upload_artifact_as(&odd, b"right").await;
        answer.problem(StatusCode::BAD_REQUEST, "invalid_query");
    }
    let huge = UploadArtifact {
        size_bytes: (2 << 30) + 1,
        ..good
    };
    let answer = app.upload_artifact_as(&huge, b"right").await;
    answer.problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large");
    assert!(list(&app, claim.run).await.is_empty());
    assert_eq!(app.state.artifacts.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_names_nothing() {
    let app = App::start().await;
    let claim = app.running().await;
    let upload = artifact_upload(&claim, "a.json", b"late");
    app.finish(&claim, 0, Outcome::Released).await;
    let answer = app.upload_artifact_as(&upload, b"late").await;
    answer.problem(StatusCode::CONFLICT, "stale_lease");
    assert!(list(&app, claim.run).await.is_empty());
}

#[tokio::test]
async fn a_run_has_a_bounded_number_of_artifacts() {
    let app = App::start().await;
    let claim = app.running().await;
    let first = app.upload_artifact(&claim, "0", b"x").await;
    sqlx::query(
        "insert into artifacts (id, run_id, attempt_id, name, sha256)
         select gen_random_uuid(), run_id, attempt_id, n::text, sha256
         from artifacts, generate_series(1, 999) n",
    )
    .execute(&app.pool)
    .await
    .unwrap();
    let upload = artifact_upload(&claim, "1000", b"x");
    let answer = app.upload_artifact_as(&upload, b"x").await;
    answer.problem(StatusCode::UNPROCESSABLE_ENTITY, "too_many_artifacts");
    let replaced = app.upload_artifact(&claim, "0", b"y").await;
    assert_eq!(replaced.name, first.name);
}

#[tokio::test]
async fn artifacts_that_are_not_there_are_problems() {
    let app = App::start().await;
    let content = app
        .get(&format!("/api/v1/artifacts/{}/content", ArtifactId::new()))
        .await;
    content.problem(StatusCode::NOT_FOUND, "unknown_artifact");
    let list = app.get(&format!("/api/v1/runs/{}/artifacts", RunId::new())).await;
    list.problem(StatusCode::NOT_FOUND, "unknown_run");
}
