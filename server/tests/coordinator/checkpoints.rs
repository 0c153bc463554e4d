//! Checkpoints: named only when their bytes are right, and kept only while named.

use crate::common::{App, upload};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use motif_proto::run::{Checkpoint, CheckpointKind, CheckpointList};
use motif_proto::worker::UploadCheckpoint;
use serde_json::json;

async fn list(app: &App, run: motif_proto::id::RunId) -> Vec<Checkpoint> {
    let answer = app.get(&format!("/api/v1/runs/{run}/checkpoints")).await;
    answer.expect::<CheckpointList>(StatusCode::OK).checkpoints
}

#[tokio::test]
async fn content_that_is_not_what_was_announced_names_nothing() {
    let app = App::start().await;
    let claim = app.running().await;
    let good = upload(&claim, CheckpointKind::Last, 5, b"right bytes");
    let shorter = UploadCheckpoint {
        size_bytes: 4,
        ..good.clone()
    };
    let longer = UploadCheckpoint {
        size_bytes: 400,
        ..good.clone()
    };
    for (announced, content) in [
        (&good, b"wrong bytes"),
        (&shorter, b"right bytes"),
        (&longer, b"right bytes"),
    ] {
        let answer = app.upload_as(announced, content).await;
        answer.problem(StatusCode::UNPROCESSABLE_ENTITY, "checksum_mismatch");
    }
    assert!(list(&app, claim.run).await.is_empty());
    assert_eq!(app.state.artifacts.count().await.unwrap(), 0);
}

#[tokio::test]
async fn an_upload_that_cannot_be_a_checkpoint_is_refused_before_its_bytes() {
    let app = App::start().await;
    let claim = app.running().await;
    let good = upload(&claim, CheckpointKind::Last, 5, b"bytes");
    let huge = UploadCheckpoint {
        size_bytes: (2 << 30) + 1,
        ..good.clone()
    };
    app.upload_as(&huge, b"bytes")
        .await
        .problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large");
    for sha256 in ["../../etc/passwd".to_owned(), "A".repeat(64), String::new()] {
        let odd = UploadCheckpoint {
            sha256,
            ..good.clone()
        };
        app.upload_as(&odd, b"bytes")
            .await
            .problem(StatusCode::BAD_REQUEST, "invalid_query");
    }
    let early = UploadCheckpoint {
        metrics_sequence: 1,
        ..good
    };
    app.upload_as(&early, b"bytes")
        .await
        .problem(StatusCode::CONFLICT, "sequence_gap");
}

#[tokio::test]
async fn a_newer_checkpoint_replaces_the_older_of_its_kind_and_its_bytes() {
    let app = App::start().await;
    let claim = app.running().await;
    app.upload(&claim, CheckpointKind::Best, 5, b"five").await;
    app.upload(&claim, CheckpointKind::Last, 5, b"five").await;
    assert_eq!(app.state.artifacts.count().await.unwrap(), 1);
    let last = app.upload(&claim, CheckpointKind::Last, 9, b"nine").await;
    let listed = list(&app, claim.run).await;
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0], last);
    // The best one still names the bytes that both had.
    assert_eq!(app.state.artifacts.count().await.unwrap(), 2);
    app.upload(&claim, CheckpointKind::Best, 9, b"nine").await;
    assert_eq!(app.state.artifacts.count().await.unwrap(), 1);
}

#[tokio::test]
async fn every_nth_checkpoint_is_kept_while_the_run_goes_on() {
    let app = App::start().await;
    let training = json!({ "batches": 1000, "save_every": 50, "keep_every": 100 });
    app.submit(json!({ "preset": "demo", "training": training }))
        .await;
    let worker = app.register().await;
    let claim = app.claim(worker).await.unwrap();
    for batch in (50..=400).step_by(50) {
        let content = format!("after {batch}");
        app.upload(&claim, CheckpointKind::Last, batch, content.as_bytes())
            .await;
    }
    let listed = list(&app, claim.run).await;
    let kept: Vec<_> = listed.iter().map(|c| (c.kind, c.next_batch)).collect();
    assert_eq!(
        kept,
        [
            (CheckpointKind::Last, 400),
            (CheckpointKind::Kept, 300),
            (CheckpointKind::Kept, 200),
            (CheckpointKind::Kept, 100)
        ]
    );
    assert_eq!(app.state.artifacts.count().await.unwrap(), 4);
    // One that is kept can be started from.
    let base =
        json!({ "preset": "continue_training", "base": listed[2].id, "training": { "batches": 5000 } });
    app.submit(base).await;
    let kept = upload(&claim, CheckpointKind::Kept, 450, b"x");
    let answer = app.upload_as(&kept, b"x").await;
    answer.problem(StatusCode::BAD_REQUEST, "invalid_query");
    let spec =
        json!({ "preset": "demo", "training": { "batches": 100_000, "save_every": 1, "keep_every": 2 } });
    let answer = app.post("/api/v1/experiments", &spec).await;
    let problem = answer.problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_spec");
    assert_eq!(problem.errors[0].pointer, "/training/keep_every");
}

#[tokio::test]
async fn the_same_upload_again_is_the_same_checkpoint() {
    let app = App::start().await;
    let claim = app.running().await;
    let first = app.upload(&claim, CheckpointKind::Last, 5, b"five").await;
    let again = app.upload(&claim, CheckpointKind::Last, 5, b"five").await;
    assert_eq!(first, again);
    assert_eq!(app.state.artifacts.count().await.unwrap(), 1);
}

#[tokio::test]
async fn bytes_that_nothing_names_are_collected() {
    let app = App::start().await;
    let claim = app.running().await;
    app.upload(&claim, CheckpointKind::Last, 5, b"five").await;
    assert_eq!(
        app.state.store.collect_blobs(&app.state.artifacts).await.unwrap(),
        0
    );
    sqlx::query("delete from checkpoints")
        .execute(&app.pool)
        .await
        .unwrap();
    assert_eq!(
        app.state.store.collect_blobs(&app.state.artifacts).await.unwrap(),
        1
    );
    assert_eq!(app.state.artifacts.count().await.unwrap(), 0);
}

#[tokio::test]
async fn content_comes_back_whole_in_parts_and_not_at_all_if_known() {
    let app = App::start().await;
    app.submit(json!({ "preset": "demo", "name": "../my \"run\" ä" }))
        .await;
    let worker = app.register().await;
    let claim = app.claim(worker).await.unwrap();
    let content: Vec<u8> = (0..20_000_000u32).map(|i| (i % 251) as u8).collect();
    let checkpoint = app.upload(&claim, CheckpointKind::Best, 5, &content).await;
    let path = format!("/api/v1/checkpoints/{}/content", checkpoint.id);

    let whole = app.get(&path).await;
    assert_eq!(whole.status, StatusCode::OK);
    assert!(whole.body == content);
    assert_eq!(whole.headers[header::CONTENT_LENGTH], "20000000");
    let name = "attachment; filename=\"_my__run___-best.safetensors\"";
    assert_eq!(whole.headers[header::CONTENT_DISPOSITION], name);
    let etag = whole.headers[header::ETAG].to_str().unwrap();
    assert_eq!(etag, format!("\"{}\"", checkpoint.sha256));

    let request = |name, value: &str| {
        Request::get(&path)
            .header(name, value)
            .body(Body::empty())
            .unwrap()
    };
    let part = app.answer(request(header::RANGE, "bytes=100-199")).await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.body, &content[100..200]);
    assert_eq!(part.headers[header::CONTENT_RANGE], "bytes 100-199/20000000");
    let beyond = app.answer(request(header::RANGE, "bytes=20000000-")).await;
    beyond.problem(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable");
    let known = app.answer(request(header::IF_NONE_MATCH, etag)).await;
    assert_eq!((known.status, known.body.len()), (StatusCode::NOT_MODIFIED, 0));
}

#[tokio::test]
async fn a_checkpoint_that_is_not_there_is_a_problem() {
    let app = App::start().await;
    let path = format!(
        "/api/v1/checkpoints/{}/content",
        motif_proto::id::CheckpointId::new()
    );
    app.get(&path)
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_checkpoint");
}

#[tokio::test]
async fn the_address_of_a_run_s_best_checkpoint_stays_while_checkpoints_change() {
    let app = App::start().await;
    let claim = app.running().await;
    let best = format!("/api/v1/runs/{}/checkpoints/best/content", claim.run);
    let none = app.get(&best).await;
    none.problem(StatusCode::NOT_FOUND, "unknown_checkpoint");
    app.upload(&claim, CheckpointKind::Best, 5, b"five").await;
    assert_eq!(app.get(&best).await.body, b"five");
    app.upload(&claim, CheckpointKind::Last, 7, b"seven").await;
    app.upload(&claim, CheckpointKind::Best, 9, b"nine").await;
    assert_eq!(app.get(&best).await.body, b"nine");
    let worst = format!("/api/v1/runs/{}/checkpoints/worst/content", claim.run);
    app.get(&worst)
        .await
        .problem(StatusCode::BAD_REQUEST, "invalid_id");
    let nobody = motif_proto::id::RunId::new();
    let path = format!("/api/v1/runs/{nobody}/checkpoints/best/content");
    app.get(&path).await.problem(StatusCode::NOT_FOUND, "unknown_run");
}

#[tokio::test]
async fn a_download_finds_the_newer_bytes_that_took_the_place_of_those_it_looked_for() {
    let app = App::start().await;
    let claim = app.running().await;
    let path = format!("/api/v1/runs/{}/checkpoints/last/content", claim.run);
    app.upload(&claim, CheckpointKind::Last, 1, b"1").await;
    let replacing = async {
        for batch in 2..150 {
            let content = batch.to_string();
            app.upload(&claim, CheckpointKind::Last, batch, content.as_bytes())
                .await;
        }
    };
    let reading = async {
        let mut before = 0;
        while before < 149 {
            let answer = app.get(&path).await;
            assert_eq!(answer.status, StatusCode::OK);
            let now: u64 = String::from_utf8(answer.body).unwrap().parse().unwrap();
            assert!(now >= before);
            before = now;
        }
    };
    tokio::join!(replacing, reading);
}
