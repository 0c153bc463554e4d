//! Logs of attempts: in order, once, within bounds, without secrets, and found again.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::common::{Answer, App};
use axum::http::StatusCode;
use motif_proto::log::{LogBatch, LogLevel, LogLine, LogsAccepted, RunLogs};
use motif_proto::worker::{Claim, Outcome};

fn line(sequence: u64, level: LogLevel, message: &str) -> LogLine {
    LogLine {
        sequence,
        time: "2026-01-01T12:00:00Z".parse().unwrap(),
        level,
        target: "motif_worker::driver".to_owned(),
        message: message.to_owned(),
        fields: BTreeMap::from([("batch".to_owned(), sequence.to_string())]),
    }
}

fn info(sequences: std::ops::Range<u64>) -> Vec<LogLine> {
    sequences
        .map(|i| line(i, LogLevel::Info, &format!("line {i}")))
        .collect()
}

async fn send(app: &App, claim: &Claim, lines: Vec<LogLine>) -> Answer {
    let batch = LogBatch {
        attempt: claim.attempt,
        token: claim.token,
        lines,
    };
    app.post("/api/v1/worker/logs", &batch).await
}

async fn store(app: &App, claim: &Claim, lines: Vec<LogLine>) {
    let next = lines.last().unwrap().sequence + 1;
    let accepted: LogsAccepted = send(app, claim, lines).await.expect(StatusCode::OK);
    assert_eq!(accepted.next_sequence, next);
}

async fn read(app: &App, claim: &Claim, query: &str) -> RunLogs {
    let path = format!("/api/v1/runs/{}/logs?{query}", claim.run);
    app.get(&path).await.expect(StatusCode::OK)
}

fn places(logs: &RunLogs) -> Vec<(u32, u64)> {
    logs.lines
        .iter()
        .map(|line| (line.attempt, line.line.sequence))
        .collect()
}

#[tokio::test]
async fn lines_are_kept_in_order_over_all_attempts_and_given_back_in_pages() {
    let app = App::start().await;
    let first = app.running().await;
    store(&app, &first, info(0..7)).await;
    store(&app, &first, info(7..10)).await;
    app.finish(&first, 0, Outcome::Released).await;
    let worker = app.register().await;
    let second = app.claim(worker).await.unwrap();
    store(&app, &second, info(0..5)).await;
    let all: Vec<(u32, u64)> = (0..10).map(|i| (1, i)).chain((0..5).map(|i| (2, i))).collect();

    let whole = read(&app, &first, "").await;
    assert_eq!(
        (places(&whole), whole.more, whole.before),
        (all.clone(), false, None)
    );
    assert_eq!(whole.lines[3].line, info(3..4)[0]);

    let mut forwards = Vec::new();
    let mut page = read(&app, &first, "limit=4").await;
    while page.more {
        assert_eq!(page.lines.len(), 4);
        forwards.extend(places(&page));
        page = read(&app, &first, &format!("limit=4&after={}", page.after)).await;
    }
    forwards.extend(places(&page));
    assert_eq!(forwards, all);

    let mut page = read(&app, &first, "limit=4&before=end").await;
    assert_eq!((page.after, page.more), (whole.after, false));
    let mut backwards = places(&page);
    while let Some(before) = page.before {
        page = read(&app, &first, &format!("limit=4&before={before}")).await;
        assert!(page.more);
        backwards.splice(0..0, places(&page));
    }
    assert_eq!(backwards, all);

    // To follow is to go on from the end.
    assert!(
        read(&app, &first, &format!("after={}", whole.after))
            .await
            .lines
            .is_empty()
    );
    store(&app, &second, info(5..6)).await;
    let new = read(&app, &first, &format!("after={}", whole.after)).await;
    assert_eq!(places(&new), [(2, 5)]);
}

#[tokio::test]
async fn lines_are_found_by_attempt_level_and_text() {
    let app = App::start().await;
    let claim = app.running().await;
    let mut lines = info(0..3);
    lines.push(line(3, LogLevel::Warn, "cannot send; training goes on"));
    lines.push(line(4, LogLevel::Error, "Diverged: loss/rate is not finite"));
    store(&app, &claim, lines).await;
    for (query, found) in [
        ("level=warn", vec![3, 4]),
        ("level=error", vec![4]),
        ("search=DIVERGED", vec![4]),
        ("search=line&level=info", vec![0, 1, 2]),
        ("search=batch%3D2", vec![2]),
        ("attempt=2", vec![]),
        ("attempt=1&level=warn&limit=1", vec![3]),
        ("level=warn&limit=1&before=end", vec![4]),
    ] {
        let logs = read(&app, &claim, query).await;
        let numbers: Vec<u64> = logs.lines.iter().map(|line| line.line.sequence).collect();
        assert_eq!(numbers, found, "{query}");
    }
    let newest = read(&app, &claim, "search=line&before=end").await;
    assert_eq!(
        newest.after.to_string(),
        "1.5",
        "what was not wanted is not asked for again"
    );
}

#[tokio::test]
async fn a_batch_that_comes_twice_or_overlaps_is_stored_once() {
    let app = App::start().await;
    let claim = app.running().await;
    for lines in [info(0..3), info(0..3), info(2..6)] {
        store(&app, &claim, lines).await;
    }
    let accepted: LogsAccepted = send(&app, &claim, info(0..2)).await.expect(StatusCode::OK);
    assert_eq!(accepted.next_sequence, 6);
    let whole = read(&app, &claim, "").await;
    assert_eq!(places(&whole), (0..6).map(|i| (1, i)).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_attempt_that_lost_its_lease_logs_nothing_and_one_that_ended_says_its_last_words() {
    let app = App::start().await;
    let old = app.running().await;
    app.lose(old.attempt).await;
    let worker = app.register().await;
    let new = app.claim(worker).await.unwrap();
    send(&app, &old, info(0..1))
        .await
        .problem(StatusCode::CONFLICT, "stale_lease");
    app.finish(&new, 0, Outcome::Succeeded).await;
    store(&app, &new, info(0..1)).await;
    assert_eq!(places(&read(&app, &new, "").await), [(2, 0)]);

    let cancelled = app.running().await;
    app.post(&format!("/api/v1/runs/{}/cancel", cancelled.run), &())
        .await;
    send(&app, &cancelled, info(0..1))
        .await
        .problem(StatusCode::CONFLICT, "stale_lease");
}

#[tokio::test]
async fn the_coordinator_hides_secrets_that_a_worker_let_through() {
    let app = App::start().await;
    let claim = app.running().await;
    let token = "motif_0123456789abcdefghijABCDEFGHIJ0123456789";
    let mut secret = line(0, LogLevel::Error, &format!("sent Authorization: Bearer {token}"));
    secret.fields.insert(
        "url".to_owned(),
        "s3://AKIAIOSFODNN7EXAMPLE:hunter2@bucket".to_owned(),
    );
    store(&app, &claim, vec![secret]).await;
    let data: Vec<u8> = sqlx::query_scalar("select data from log_chunks")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    let text = String::from_utf8(motif_server::domain::log::unpack(&data).unwrap()).unwrap();
    for part in [token, "AKIAIOSFODNN7EXAMPLE", "hunter2"] {
        assert!(!text.contains(part), "{text}");
    }
    assert!(text.contains("sent Authorization: Bearer •••"), "{text}");
}

#[tokio::test]
async fn a_run_keeps_its_newest_lines_within_a_bound_and_says_what_is_gone() {
    let app = App::start().await;
    let claim = app.running().await;
    // Words that compress badly would take the test longer, and count the same.
    let long = "x".repeat(4000);
    for first in [0, 900, 1800] {
        let lines = (first..first + 900).map(|i| line(i, LogLevel::Info, &long));
        let answer = send(&app, &claim, lines.clone().take(450).collect()).await;
        assert_eq!(answer.status, StatusCode::OK);
        let answer = send(&app, &claim, lines.skip(450).collect()).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    let kept: i64 = sqlx::query_scalar("select sum(text_bytes)::bigint from log_chunks")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert!((7 << 20..=8 << 20).contains(&kept), "{kept} bytes");
    let oldest = read(&app, &claim, "limit=2").await;
    let gone = oldest.lines[1].line.sequence;
    assert!(gone > 0);
    let said = format!("{gone} older lines of this attempt are not kept");
    assert_eq!(oldest.lines[0].line.message, said);
    let newest = read(&app, &claim, "limit=1&before=end").await;
    assert_eq!(newest.lines[0].line.sequence, 2699);
}

#[tokio::test]
async fn old_lines_are_deleted_and_newer_ones_go_on_where_the_log_was() {
    let app = App::start().await;
    let claim = app.running().await;
    store(&app, &claim, info(0..3)).await;
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(app.state.store.prune_logs(day).await.unwrap(), 0);
    sqlx::query("update log_chunks set created_at = now() - interval '25 hours'")
        .execute(&app.pool)
        .await
        .unwrap();
    assert_eq!(app.state.store.prune_logs(day).await.unwrap(), 1);
    assert!(read(&app, &claim, "").await.lines.is_empty());
    // The next line goes on where the log was.
    store(&app, &claim, info(3..4)).await;
    let logs = read(&app, &claim, "").await;
    assert_eq!(
        logs.lines[0].line.message,
        "3 older lines of this attempt are not kept"
    );
}

#[tokio::test]
async fn what_is_no_batch_or_no_place_is_refused_with_what_would_be_right() {
    let app = App::start().await;
    let claim = app.running().await;
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    let falling = vec![info(1..2)[0].clone(), info(0..1)[0].clone()];
    let problem = send(&app, &claim, falling)
        .await
        .problem(unprocessable, "invalid_logs");
    assert!(problem.detail.contains("rises"), "{}", problem.detail);
    send(&app, &claim, info(0..1001))
        .await
        .problem(unprocessable, "invalid_logs");
    let last = vec![line(u64::MAX, LogLevel::Info, "")];
    send(&app, &claim, last)
        .await
        .problem(unprocessable, "invalid_logs");

    for wrong in [
        "after=1",
        "before=last",
        "after=1.0&before=1.0",
        "limit=0",
        "limit=2001",
        "attempt=0",
        "level=loud",
        "wanted=all",
    ] {
        let path = format!("/api/v1/runs/{}/logs?{wrong}", claim.run);
        app.get(&path)
            .await
            .problem(StatusCode::BAD_REQUEST, "invalid_query");
    }
    let nobody = motif_proto::id::RunId::new();
    app.get(&format!("/api/v1/runs/{nobody}/logs"))
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_run");
    assert_eq!(read(&app, &claim, "").await.after.to_string(), "0.0");
}
