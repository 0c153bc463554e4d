//! What every artifact store has to do, one body for each of them.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use motif_proto::run::{Checkpoint, CheckpointKind};
use motif_proto::upload::{BeginUpload, UploadProgress};
use motif_server::artifacts::{Artifacts, Health};
use motif_server::error::Error;
use sha2::{Digest, Sha256};

use super::{App, fresh_database, upload};

/// Parts of what goes to a store, so small that little has to go there.
const PART: usize = 100_000;
/// More than two parts.
const LARGE: usize = 250_000;

pub fn bytes(length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 9) as u8)
        .collect()
}

pub fn sha256(content: &[u8]) -> String {
    format!("{:x}", Sha256::digest(content))
}

/// Everything that is promised of a store, on an empty one.
pub async fn conforms(artifacts: Artifacts) {
    let artifacts = artifacts.with_parts_of(PART);
    bytes_come_back_whole_and_in_part(&artifacts).await;
    what_is_not_as_announced_is_not_there(&artifacts).await;
    an_upload_that_breaks_off_leaves_nothing(&artifacts).await;
    let app = App::over(fresh_database().await, artifacts, Duration::from_secs(60)).await;
    a_checkpoint_is_named_read_replaced_and_collected(&app).await;
    an_upload_in_parts_goes_on_where_it_stopped(&app).await;
    assert_eq!(app.state.artifacts.health().await, Health::Good);
}

async fn receive(artifacts: &Artifacts, content: &[u8], sha256: &str, size: usize) -> Result<(), Error> {
    let pieces = content
        .chunks(7_000)
        .map(|piece| Ok::<_, axum::Error>(Bytes::copy_from_slice(piece)));
    artifacts.receive(stream::iter(pieces), sha256, size as u64).await
}

async fn read(artifacts: &Artifacts, sha256: &str, range: Option<std::ops::Range<u64>>) -> Vec<u8> {
    let stream = artifacts.read(sha256, range).await.unwrap();
    stream
        .try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
        .unwrap()
}

async fn bytes_come_back_whole_and_in_part(artifacts: &Artifacts) {
    for length in [0, 1, 5000, LARGE] {
        let content = bytes(length);
        let hash = sha256(&content);
        receive(artifacts, &content, &hash, length).await.unwrap();
        assert!(read(artifacts, &hash, None).await == content, "{length}");
        assert_eq!(artifacts.size(&hash).await.unwrap(), Some(length as u64));
        // Once more is the same.
        receive(artifacts, &content, &hash, length).await.unwrap();
        if length > 4000 {
            let (first, last) = (length / 2, length / 2 + 2000);
            let part = read(artifacts, &hash, Some(first as u64..last as u64)).await;
            assert!(part == content[first..last]);
        }
    }
    let found: Vec<_> = artifacts.list().try_collect().await.unwrap();
    assert_eq!(found.len(), 4);
    for one in found {
        artifacts.delete(&one.sha256).await.unwrap();
        artifacts.delete(&one.sha256).await.unwrap();
        assert_eq!(artifacts.size(&one.sha256).await.unwrap(), None);
        assert!(matches!(
            artifacts.read(&one.sha256, None).await,
            Err(Error::Artifacts(object_store::Error::NotFound { .. }))
        ));
    }
    assert_eq!(artifacts.count().await.unwrap(), 0);
}

async fn what_is_not_as_announced_is_not_there(artifacts: &Artifacts) {
    for length in [5000, LARGE] {
        let content = bytes(length);
        let (hash, other) = (sha256(&content), sha256(b"other"));
        for (sha256, size) in [(&other, length), (&hash, length - 1), (&hash, length + 1)] {
            let refused = receive(artifacts, &content, sha256, size).await;
            assert!(
                matches!(refused, Err(Error::ChecksumMismatch { .. })),
                "{length} {size}"
            );
        }
    }
    assert_eq!(artifacts.count().await.unwrap(), 0);
}

async fn an_upload_that_breaks_off_leaves_nothing(artifacts: &Artifacts) {
    let content = bytes(LARGE);
    let pieces = content[..LARGE - 7_000]
        .chunks(7_000)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)));
    let broken = stream::iter(pieces).chain(stream::iter([Err(axum::Error::new(std::io::Error::other(
        "cut",
    )))]));
    let refused = artifacts.receive(broken, &sha256(&content), LARGE as u64).await;
    assert!(matches!(refused, Err(Error::UploadCut(_))));
    // A coordinator that was killed leaves parts, and what the bucket calls them.
    let left = artifacts.begin(&sha256(&content), LARGE as u64).await.unwrap();
    if let Some(id) = left.multipart_id() {
        artifacts.abort(&sha256(&content), id).await.unwrap();
    }
    assert_eq!(artifacts.count().await.unwrap(), 0);
}

async fn a_checkpoint_is_named_read_replaced_and_collected(app: &App) {
    let claim = app.running().await;
    let content = bytes(LARGE);
    let checkpoint = app.upload(&claim, CheckpointKind::Last, 5, &content).await;
    let path = format!("/api/v1/checkpoints/{}/content", checkpoint.id);
    let whole = app.get(&path).await;
    assert_eq!(whole.status, StatusCode::OK);
    assert!(whole.body == content);
    for (range, bytes) in [
        ("bytes=0-0", 0..1),
        ("bytes=150000-150999", 150_000..151_000),
        ("bytes=-7", LARGE - 7..LARGE),
    ] {
        let request = Request::get(&path)
            .header(header::RANGE, range)
            .body(Body::empty())
            .unwrap();
        let part = app.answer(request).await;
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
        assert!(part.body == content[bytes], "{range}");
    }
    // An address that stays, whatever takes the checkpoint's place.
    let stays = format!("/api/v1/runs/{}/checkpoints/last/content", claim.run);
    assert!(app.get(&stays).await.body == content);
    app.upload(&claim, CheckpointKind::Last, 6, b"newer").await;
    assert_eq!(app.get(&stays).await.body, b"newer");
    app.get(&path)
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_checkpoint");
    assert_eq!(app.state.artifacts.count().await.unwrap(), 1);
    let wrong = upload(&claim, CheckpointKind::Last, 7, b"right");
    app.upload_as(&wrong, b"wrong")
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "checksum_mismatch");
    assert_eq!(app.state.artifacts.count().await.unwrap(), 1);
    assert_eq!(open_uploads(app).await, 0);
}

async fn an_upload_in_parts_goes_on_where_it_stopped(app: &App) {
    let claim = app.running().await;
    let content = bytes(LARGE);
    let begin = BeginUpload {
        attempt: claim.attempt,
        token: claim.token,
        sha256: sha256(&content),
        size_bytes: LARGE as u64,
    };
    let before = app.state.artifacts.count().await.unwrap();
    let begun: UploadProgress = app
        .post("/api/v1/worker/uploads", &begin)
        .await
        .expect(StatusCode::OK);
    assert_eq!(begun.offset, 0);
    let path = |first_byte: usize| {
        format!(
            "/api/v1/worker/uploads/{}?attempt={}&token={}&first_byte={first_byte}",
            begun.upload, claim.attempt, claim.token.0
        )
    };
    let part = async |range: std::ops::Range<usize>| {
        let (path, part) = (path(range.start), content[range].to_vec());
        app.request(Method::PATCH, &path, "application/octet-stream", part)
            .await
    };
    let first: UploadProgress = part(0..120_000).await.expect(StatusCode::OK);
    assert_eq!(first.offset, 120_000);
    part(0..120_000)
        .await
        .problem(StatusCode::CONFLICT, "offset_mismatch");

    let checkpoint = upload(&claim, CheckpointKind::Last, 9, &content);
    let query = serde_html_form::to_string(&checkpoint).unwrap();
    let finish = format!("/api/v1/worker/checkpoints?{query}&upload={}", begun.upload);
    let early = app
        .request(Method::POST, &finish, "application/octet-stream", Body::empty())
        .await;
    early.problem(StatusCode::CONFLICT, "offset_mismatch");
    // Whoever lost the answer begins again, and is told how far it is.
    let again: UploadProgress = app
        .post("/api/v1/worker/uploads", &begin)
        .await
        .expect(StatusCode::OK);
    assert_eq!((again.upload, again.offset), (begun.upload, 120_000));
    let last: UploadProgress = part(120_000..LARGE).await.expect(StatusCode::OK);
    assert_eq!(last.offset, LARGE as u64);
    let named = app
        .request(Method::POST, &finish, "application/octet-stream", Body::empty())
        .await;
    let named: Checkpoint = named.expect(StatusCode::CREATED);
    assert_eq!(named.size_bytes, LARGE as u64);
    let read = app
        .get(&format!("/api/v1/checkpoints/{}/content", named.id))
        .await;
    assert!(read.body == content);
    assert_eq!(app.state.artifacts.count().await.unwrap(), before + 1);
    assert_eq!(open_uploads(app).await, 0);
}

pub async fn open_uploads(app: &App) -> i64 {
    sqlx::query_scalar("select count(*) from uploads")
        .fetch_one(&app.pool)
        .await
        .unwrap()
}
