//! Uploads under way: who may go on with one, and what becomes of one that nobody goes on with.

use crate::common::stores::{bytes, open_uploads, sha256};
use crate::common::{Answer, App, artifact_upload, upload};
use axum::body::Body;
use axum::http::{Method, StatusCode};
use motif_proto::id::UploadId;
use motif_proto::run::CheckpointKind;
use motif_proto::upload::{
    BeginUpload, MAX_OPEN_UPLOADS, MAX_UPLOAD_BYTES, UPLOAD_PART_BYTES, UploadProgress,
};
use motif_proto::worker::{Claim, Outcome};
use motif_server::artifacts::Artifacts;

const BEGIN: &str = "/api/v1/worker/uploads";

fn begin(claim: &Claim, content: &[u8]) -> BeginUpload {
    BeginUpload {
        attempt: claim.attempt,
        token: claim.token,
        sha256: sha256(content),
        size_bytes: content.len() as u64,
    }
}

async fn part(app: &App, claim: &Claim, upload: UploadId, first_byte: u64, content: &[u8]) -> Answer {
    let (attempt, token) = (claim.attempt, claim.token.0);
    let path = format!("{BEGIN}/{upload}?attempt={attempt}&token={token}&first_byte={first_byte}");
    app.request(Method::PATCH, &path, "application/octet-stream", content.to_vec())
        .await
}

/// Says that an upload in parts is a checkpoint.
async fn finish(app: &App, claim: &Claim, id: UploadId, content: &[u8]) -> Answer {
    let query = serde_html_form::to_string(upload(claim, CheckpointKind::Last, 1, content)).unwrap();
    let path = format!("/api/v1/worker/checkpoints?{query}&upload={id}");
    app.request(Method::POST, &path, "application/octet-stream", Body::empty())
        .await
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_goes_on_with_no_upload() {
    let app = App::start().await;
    let claim = app.running().await;
    let content = bytes(3000);
    let begun: UploadProgress = app
        .post(BEGIN, &begin(&claim, &content))
        .await
        .expect(StatusCode::OK);
    part(&app, &claim, begun.upload, 0, &content[..1000])
        .await
        .expect::<UploadProgress>(StatusCode::OK);
    app.finish(&claim, 0, Outcome::Released).await;
    for answer in [
        app.post(BEGIN, &begin(&claim, &content)).await,
        part(&app, &claim, begun.upload, 1000, &content[1000..]).await,
        finish(&app, &claim, begun.upload, &content).await,
    ] {
        answer.problem(StatusCode::CONFLICT, "stale_lease");
    }
    // Nor does the next one with what is not its own.
    let worker = app.register().await;
    let next = app.claim(worker).await.unwrap();
    let foreign = part(&app, &next, begun.upload, 1000, &content[1000..]).await;
    foreign.problem(StatusCode::NOT_FOUND, "unknown_upload");
    finish(&app, &next, begun.upload, &content)
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_upload");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_name() {
    let app = App::start().await;
    let claim = app.running().await;
    let content = bytes(3000);
    let begun: UploadProgress = app
        .post(BEGIN, &begin(&claim, &content))
        .await
        .expect(StatusCode::OK);
    let id = begun.upload;
    for (first_byte, length, status, code) in [
        (1, 10, StatusCode::CONFLICT, "offset_mismatch"),
        (0, 3001, StatusCode::UNPROCESSABLE_ENTITY, "upload_too_long"),
        (0, 0, StatusCode::UNPROCESSABLE_ENTITY, "upload_too_long"),
        (
            0,
            UPLOAD_PART_BYTES as usize + 1,
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
        ),
    ] {
        part(&app, &claim, id, first_byte, &bytes(length))
            .await
            .problem(status, code);
    }
    let huge = BeginUpload {
        size_bytes: MAX_UPLOAD_BYTES + 1,
        ..begin(&claim, b"x")
    };
    app.post(BEGIN, &huge)
        .await
        .problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large");
    for i in 1..MAX_OPEN_UPLOADS {
        app.post(BEGIN, &begin(&claim, &bytes(i)))
            .await
            .expect::<UploadProgress>(StatusCode::OK);
    }
    let more = app.post(BEGIN, &begin(&claim, b"one more")).await;
    more.problem(StatusCode::CONFLICT, "too_many_uploads");

    // Parts that make other bytes than announced: the upload is over, and nothing of it is left.
    part(&app, &claim, id, 0, &vec![0; 3000])
        .await
        .expect::<UploadProgress>(StatusCode::OK);
    let spoilt = finish(&app, &claim, id, &content).await;
    spoilt.problem(StatusCode::UNPROCESSABLE_ENTITY, "checksum_mismatch");
    finish(&app, &claim, id, &content)
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_upload");
    assert_eq!(app.state.artifacts.count().await.unwrap(), 0);
}

#[tokio::test]
async fn bytes_that_are_promised_are_not_collected_until_nobody_goes_on_for_a_day() {
    let app = App::start().await;
    let claim = app.running().await;
    let (store, artifacts) = (&app.state.store, &app.state.artifacts);
    // As if the coordinator had been killed between the bytes and the name.
    let upload = artifact_upload(&claim, "a.bin", b"promised");
    store.admit_artifact(&upload, None).await.unwrap();
    let content = futures::stream::iter([Ok::<_, axum::Error>("promised".into())]);
    artifacts.receive(content, &upload.sha256, 8).await.unwrap();
    assert_eq!(store.collect_blobs(artifacts).await.unwrap(), 0);
    assert_eq!(store.discard_abandoned_uploads(artifacts).await.unwrap(), 0);
    sqlx::query("update uploads set touched_at = now() - interval '25 hours'")
        .execute(&app.pool)
        .await
        .unwrap();
    assert_eq!(store.discard_abandoned_uploads(artifacts).await.unwrap(), 1);
    assert_eq!(
        (open_uploads(&app).await, artifacts.count().await.unwrap()),
        (0, 1)
    );
    assert_eq!(store.collect_blobs(artifacts).await.unwrap(), 1);
    assert_eq!(artifacts.count().await.unwrap(), 0);
}

#[tokio::test]
async fn what_an_earlier_coordinator_left_half_written_is_discarded_when_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::open(folder.path().to_str().unwrap()).unwrap();
    let root = artifacts.directory().unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 24 * 3600);
    let files = [
        ("uploads/1/0000000000000000", true, false),
        ("uploads/2/0000000000000000", false, true),
        ("sha256/ab/abc#1", true, false),
        ("sha256/ab/abc#2", false, true),
        ("sha256/ab/abc", true, true),
    ];
    for (name, is_old, _) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "half").unwrap();
        if is_old {
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(old).unwrap();
        }
    }
    assert_eq!(artifacts.discard_abandoned().await.unwrap(), 2);
    for (name, _, stays) in files {
        assert_eq!(root.join(name).exists(), stays, "{name}");
    }
}
