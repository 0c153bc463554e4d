//! Deletion: the name goes at once, the rest bit by bit and in nobody's way.

use std::time::{Duration, Instant};

use crate::common::{Answer, App, fresh_database};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use motif_proto::id::RunId;
use motif_proto::run::{CheckpointKind, DeleteRuns, RunList};
use motif_proto::worker::{Claim, Outcome};
use motif_server::store::deletions::BATCH;
use serde_json::json;
use sqlx::PgPool;

async fn delete(app: &App, run: RunId) -> Answer {
    let path = format!("/api/v1/runs/{run}");
    app.answer(Request::delete(path).body(Body::empty()).unwrap())
        .await
}

async fn delete_many(app: &App, runs: &[RunId]) -> Answer {
    let body = DeleteRuns { runs: runs.to_vec() };
    app.post("/api/v1/runs/delete", &body).await
}

/// A run that ended and left something of every kind.
async fn ended(app: &App) -> RunId {
    let claim = app.running().await;
    app.store_metrics(&claim, 0, &[("loss/total", &[(1, 0.5), (2, 0.25)])])
        .await;
    app.upload(&claim, CheckpointKind::Best, 2, b"best").await;
    app.upload(&claim, CheckpointKind::Last, 2, claim.run.to_string().as_bytes())
        .await;
    app.upload_artifact(&claim, "table.csv", b"a,b").await;
    let line = json!({ "sequence": 0, "time": "2026-01-01T12:00:00Z", "level": "info", "target": "motif",
                       "message": "hello", "fields": {} });
    let lines = json!({ "attempt": claim.attempt, "token": claim.token, "lines": [line] });
    assert_eq!(
        app.post("/api/v1/worker/logs", &lines).await.status,
        StatusCode::OK
    );
    app.finish(&claim, 1, Outcome::Succeeded).await;
    claim.run
}

/// Rows of every table that may know the run.
async fn traces(pool: &PgPool, run: RunId) -> Vec<(String, i64)> {
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select table_name::text, column_name::text from information_schema.columns
         where table_schema = 'public' and data_type = 'uuid' and (table_name, column_name) <> ('deletions', 'run_id')
         order by 1, 2",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert!(columns.len() > 10);
    let mut traces = Vec::new();
    for (table, column) in columns {
        let statement = format!("select count(*) from \"{table}\" where \"{column}\" = $1");
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .bind(run.0)
            .fetch_one(pool)
            .await
            .unwrap();
        if count > 0 {
            traces.push((format!("{table}.{column}"), count));
        }
    }
    traces
}

async fn wait_until_swept(pool: &PgPool) {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let open: i64 = sqlx::query_scalar("select count(*) from deletions where finished_at is null")
            .fetch_one(pool)
            .await
            .unwrap();
        if open == 0 {
            return;
        }
        assert!(Instant::now() < limit, "deleted runs are not swept");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_deleted_run_is_gone_at_once_and_leaves_nothing() {
    let app = App::start().await;
    let (run, other) = (ended(&app).await, ended(&app).await);
    app.state.store.settle(run).await.unwrap();
    let before = traces(&app.pool, run).await;
    assert!(
        before.contains(&("log_chunks.run_id".to_owned(), 1)),
        "{before:?}"
    );
    assert_eq!(delete(&app, run).await.status, StatusCode::ACCEPTED);
    let list: RunList = app.get("/api/v1/runs").await.expect(StatusCode::OK);
    assert_eq!(list.runs.iter().map(|run| run.id).collect::<Vec<_>>(), [other]);
    for path in ["", "/metrics", "/checkpoints", "/artifacts", "/events"] {
        let answer = app.get(&format!("/api/v1/runs/{run}{path}")).await;
        answer.problem(StatusCode::NOT_FOUND, "unknown_run");
    }
    // Again is the same.
    assert_eq!(delete(&app, run).await.status, StatusCode::ACCEPTED);
    wait_until_swept(&app.pool).await;
    assert_eq!(traces(&app.pool, run).await, []);
    assert_eq!(delete(&app, run).await.status, StatusCode::ACCEPTED);

    // The bytes that were its own go; those that both runs have stay.
    app.state.store.collect_blobs(&app.state.artifacts).await.unwrap();
    assert_eq!(app.state.artifacts.count().await.unwrap(), 3);
    assert_eq!(app.curves(other, "").await.series[0].steps, [1, 2]);
}

#[tokio::test]
async fn what_cannot_be_deleted_stays_whole() {
    let app = App::start().await;
    let claim = app.running().await;
    delete(&app, claim.run)
        .await
        .problem(StatusCode::CONFLICT, "run_not_ended");
    app.post(&format!("/api/v1/runs/{}/cancel", claim.run), &json!({}))
        .await;

    let base = app.trained(json!({ "preset": "demo" }), 500).await;
    let user = app
        .submit(json!({ "preset": "continue_training", "base": base.run, "name": "the user", "training": { "batches": 100_000 } }))
        .await;
    let problem = delete(&app, base.run)
        .await
        .problem(StatusCode::CONFLICT, "run_in_use");
    assert!(
        problem.detail.contains("the user") && problem.detail.contains(&user.to_string()),
        "{}",
        problem.detail
    );
    // One of several that cannot go keeps all of them.
    delete_many(&app, &[claim.run, base.run])
        .await
        .problem(StatusCode::CONFLICT, "run_in_use");
    delete_many(&app, &[claim.run, RunId::new()])
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_run");
    delete_many(&app, &[])
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body");
    app.detail(claim.run).await;
    app.detail(base.run).await;

    app.post(&format!("/api/v1/runs/{user}/cancel"), &json!({})).await;
    assert_eq!(
        delete_many(&app, &[base.run, claim.run, user]).await.status,
        StatusCode::ACCEPTED
    );
    wait_until_swept(&app.pool).await;
    let left: i64 =
        sqlx::query_scalar("select (select count(*) from experiments) + (select count(*) from attempts)")
            .fetch_one(&app.pool)
            .await
            .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn what_a_late_worker_of_a_deleted_run_sends_changes_nothing() {
    let app = App::start().await;
    let claim = app.running().await;
    app.post(&format!("/api/v1/runs/{}/cancel", claim.run), &json!({}))
        .await;
    delete(&app, claim.run).await;
    let late = app.metrics(&claim, 0, &[("loss/total", &[(1, 0.5)])]).await;
    late.problem(StatusCode::NOT_FOUND, "unknown_attempt");
    wait_until_swept(&app.pool).await;
    assert_eq!(traces(&app.pool, claim.run).await, []);
}

#[tokio::test]
async fn runs_with_very_many_points_go_while_others_write_and_never_in_one_stroke() {
    const RUNS: i64 = 60;
    let pool = fresh_database().await;
    let app = App::on(pool.clone(), Duration::from_secs(60)).await;
    // A second coordinator sweeps too.
    let other = App::on(pool.clone(), Duration::from_secs(60)).await;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let run = app.submit(json!({ "preset": "demo" })).await;
        app.post(&format!("/api/v1/runs/{run}/cancel"), &json!({})).await;
        runs.push(run);
    }
    // What 75,000 batches leave: hundreds of chunks and rows of the pyramid for each.
    for statement in [
        "insert into series (run_id, name, points, last_step)
         select id, 'series/' || n, 75000, 74999 from runs, generate_series(1, 10) n",
        "insert into series_chunks (series_id, number, first_step, last_step, points, data)
         select id, n, n * 4096, n * 4096 + 4095, 4096, '\\x00' from series, generate_series(0, 18) n",
        "insert into series_summaries (series_id, level, number, first_step, last_step, data)
         select id, 0, n, n * 4096, n * 4096 + 4095, '\\x00' from series, generate_series(0, 18) n",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    // No statement may delete more rows than a batch has.
    for statement in [
        "create function bounded() returns trigger language plpgsql as $$
         begin
             if (select count(*) from gone) > tg_argv[0]::bigint then
                 raise exception '% rows of % at once', (select count(*) from gone), tg_table_name;
             end if;
             return null;
         end $$"
            .to_owned(),
        format!(
            "create trigger bounded after delete on series_chunks referencing old table as gone
                 for each statement execute function bounded({BATCH})"
        ),
        format!(
            "create trigger bounded after delete on series_summaries referencing old table as gone
                 for each statement execute function bounded({BATCH})"
        ),
        format!(
            "create trigger bounded after delete on events referencing old table as gone
                 for each statement execute function bounded({BATCH})"
        ),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&pool)
            .await
            .unwrap();
    }
    let claim: Claim = app.running().await;
    assert_eq!(delete_many(&app, &runs).await.status, StatusCode::ACCEPTED);
    let list: RunList = other.get("/api/v1/runs").await.expect(StatusCode::OK);
    assert_eq!(list.runs.len(), 1);
    let mut sequence = 0;
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let step = sequence + 1;
        app.store_metrics(&claim, sequence, &[("loss/total", &[(step, 0.5)])])
            .await;
        sequence += 1;
        let open: i64 = sqlx::query_scalar("select count(*) from deletions where finished_at is null")
            .fetch_one(&pool)
            .await
            .unwrap();
        if open == 0 {
            break;
        }
        assert!(Instant::now() < limit, "deleted runs are not swept");
    }
    assert!(sequence > 10, "points went on being stored: {sequence}");
    let left: (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from series where run_id <> $1), (select count(*) from series_chunks c
                 join series s on s.id = c.series_id where s.run_id <> $1), (select count(*) from deletions)",
    )
    .bind(claim.run.0)
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(left, (0, 0, RUNS));
}

/// A table that refers to runs and that the deletion does not know would keep every run from going.
#[tokio::test]
async fn every_table_that_refers_to_a_run_lets_it_go() {
    let app = App::start().await;
    let known = [
        "artifacts",
        "attempts",
        "checkpoints",
        "experiments",
        "runs",
        "uploads",
    ];
    let keeping: Vec<(String, String)> = sqlx::query_as(
        "select conrelid::regclass::text, conname::text from pg_constraint
         where contype = 'f' and confdeltype not in ('c', 'n')
           and confrelid in ('runs'::regclass, 'attempts'::regclass, 'experiments'::regclass, 'checkpoints'::regclass)",
    )
    .fetch_all(&app.pool)
    .await
    .unwrap();
    assert!(!keeping.is_empty());
    for (table, constraint) in keeping {
        assert!(
            known.contains(&table.as_str()),
            "{constraint} of {table}: see store/deletions.rs"
        );
    }
}
