//! Downloads: whole and right, or nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};

use crate::artifact::{Artifact, ArtifactList};
use crate::cli::CliError;
use crate::cli::pull::{fetch, fetch_artifacts, file_name};
use crate::client::Client;
use crate::client::stub::{answer, noon, problem, run, serve};
use crate::id::{ArtifactId, AttemptId, CheckpointId, RunId};
use crate::run::{Checkpoint, CheckpointKind, CheckpointList, RunState};

const CONTENT: &str = "abc";
const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// The best checkpoint of a run.
fn checkpoint(run: RunId, sha256: &str, size_bytes: u64) -> Checkpoint {
    Checkpoint {
        id: CheckpointId::new(),
        run,
        attempt: AttemptId::new(),
        kind: CheckpointKind::Best,
        next_batch: 500,
        validation: None,
        sha256: sha256.to_owned(),
        size_bytes,
        created_at: noon(),
    }
}

/// A coordinator with one checkpoint, whose listing claims this hash and length.
async fn coordinator(sha256: &'static str, size_bytes: u64) -> Client {
    let routes = Router::new()
        .route(
            "/runs/{id}/checkpoints",
            get(move || async move {
                let checkpoints = vec![checkpoint(
                    run("beef0001", RunState::Running).id,
                    sha256,
                    size_bytes,
                )];
                Json(CheckpointList { checkpoints })
            }),
        )
        .route("/checkpoints/{id}/content", get(|| async { CONTENT }));
    serve(routes).await
}

async fn pull(
    client: &Client,
    kind: CheckpointKind,
    directory: &Path,
) -> Result<std::path::PathBuf, CliError> {
    let run = run("beef0001", RunState::Running);
    fetch(client, &run, kind, directory).await.map(|(path, _)| path)
}

fn entries(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

#[tokio::test]
async fn a_checkpoint_arrives_under_its_name_in_a_new_directory() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("new/deep");
    let path = pull(&coordinator(SHA256, 3).await, CheckpointKind::Best, &out)
        .await
        .unwrap();
    assert_eq!(path, out.join("demo-beef0001-best.safetensors"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), CONTENT);
    assert_eq!(entries(&out), 1);
}

#[tokio::test]
async fn bytes_with_another_hash_or_length_leave_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let wrong_hash = "00".repeat(32).leak();
    for (sha256, size) in [(wrong_hash as &'static str, 3), (SHA256, 2), (SHA256, 4)] {
        let error = pull(
            &coordinator(sha256, size).await,
            CheckpointKind::Best,
            directory.path(),
        )
        .await;
        assert!(matches!(error, Err(CliError::Failed(_))), "{error:?}");
        assert_eq!(entries(directory.path()), 0);
    }
}

#[tokio::test]
async fn a_damaged_download_keeps_the_file_that_was_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = pull(
        &coordinator(SHA256, 3).await,
        CheckpointKind::Best,
        directory.path(),
    )
    .await
    .unwrap();
    pull(
        &coordinator(SHA256, 4).await,
        CheckpointKind::Best,
        directory.path(),
    )
    .await
    .unwrap_err();
    assert_eq!(std::fs::read_to_string(path).unwrap(), CONTENT);
}

#[tokio::test]
async fn a_checkpoint_that_is_missing_says_which_there_are() {
    let directory = tempfile::tempdir().unwrap();
    let error = pull(
        &coordinator(SHA256, 3).await,
        CheckpointKind::Last,
        directory.path(),
    )
    .await
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "run beef0001 has no `last` checkpoint yet, but these: best"
    );
}

#[tokio::test]
async fn a_checkpoint_that_was_replaced_meanwhile_is_followed() {
    let replaced = Arc::new(AtomicBool::new(false));
    let routes = Router::new()
        .route(
            "/runs/{id}/checkpoints",
            get(|| async {
                let checkpoints = vec![checkpoint(run("beef0001", RunState::Running).id, SHA256, 3)];
                Json(CheckpointList { checkpoints })
            }),
        )
        .route(
            "/checkpoints/{id}/content",
            get(move || async move {
                if replaced.swap(true, Ordering::SeqCst) {
                    CONTENT.into_response()
                } else {
                    answer(&problem(
                        404,
                        "unknown_checkpoint",
                        "A newer one has taken its place",
                    ))
                }
            }),
        );
    let directory = tempfile::tempdir().unwrap();
    let path = pull(&serve(routes).await, CheckpointKind::Best, directory.path())
        .await
        .unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), CONTENT);
}

/// A coordinator with one artifact of that name.
async fn keeper(name: &'static str) -> Client {
    let artifact = Artifact {
        id: ArtifactId::new(),
        run: run("beef0001", RunState::Succeeded).id,
        attempt: AttemptId::new(),
        name: name.to_owned(),
        sha256: SHA256.to_owned(),
        size_bytes: 3,
        created_at: noon(),
    };
    let list = ArtifactList {
        artifacts: vec![artifact],
    };
    let routes = Router::new()
        .route("/runs/{id}/artifacts", get(move || async move { Json(list) }))
        .route("/artifacts/{id}/content", get(|| async { CONTENT }));
    serve(routes).await
}

#[tokio::test]
async fn artifacts_arrive_under_the_run_s_name_and_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let run = run("beef0001", RunState::Succeeded);
    let pulled = fetch_artifacts(&keeper("evaluation.json").await, &run, directory.path())
        .await
        .unwrap();
    assert_eq!(pulled.len(), 1);
    let path = directory.path().join("demo-beef0001-evaluation.json");
    assert_eq!(pulled[0].path, path);
    assert_eq!(std::fs::read_to_string(path).unwrap(), CONTENT);
}

#[tokio::test]
async fn an_artifact_whose_name_leads_elsewhere_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let run = run("beef0001", RunState::Succeeded);
    let refused = fetch_artifacts(&keeper("../evaluation.json").await, &run, directory.path()).await;
    assert!(matches!(refused, Err(CliError::Failed(_))), "{refused:?}");
    assert_eq!(entries(directory.path()), 0);
}

#[test]
fn file_names_cannot_leave_the_directory_or_hide() {
    let mut run = run("beef0001", RunState::Queued);
    run.name = "../../a b/ü".to_owned();
    assert_eq!(
        file_name(&run, CheckpointKind::Last),
        "_.._a_b__-beef0001-last.safetensors"
    );
}
