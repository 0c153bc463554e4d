//! Databases of every earlier schema, with rows as their coordinators wrote them, come up to date and read well.
//!
//! `migrations/NNNN.sql` beside this file adds rows right after migration `NNNN`, in the terms of that schema. Every
//! version of the schema is tried, new ones too: nothing here has to be changed for a new migration, and one that adds
//! what is worth trying brings a file of rows.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::common::{App, fresh_database};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use motif_proto::id::RunId;
use motif_proto::log::RunLogs;
use motif_proto::run::{CheckpointKind, CheckpointList, RunList, RunState};
use motif_proto::study::StudyDetail;
use motif_server::MIGRATOR;
use sqlx::PgPool;
use sqlx::migrate::{Migration, Migrator};

/// The study of `0020.sql`.
const STUDY: &str = "01900000-0000-7000-8000-000000005001";
/// The run of `0005.sql` that was trained.
const TRAINED: &str = "01900000-0000-7000-8000-00000000b001";
/// The run of `0005.sql` that a worker held.
const RUNNING: &str = "01900000-0000-7000-8000-00000000b002";
/// Its attempt.
const ATTEMPT: &str = "01900000-0000-7000-8000-00000000d002";

fn fixtures() -> BTreeMap<i64, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/migrations");
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let version = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            (version, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The migrations up to this one, with the rows of each.
async fn build(pool: &PgPool, version: i64) {
    let fixtures = fixtures();
    for migration in MIGRATOR.iter().filter(|m| m.version <= version) {
        up_to(pool, migration.version).await;
        if let Some(rows) = fixtures.get(&migration.version) {
            let added = sqlx::raw_sql(sqlx::AssertSqlSafe(rows.clone()))
                .execute(pool)
                .await;
            added.unwrap_or_else(|error| panic!("{:04}.sql: {error}", migration.version));
        }
    }
}

async fn up_to(pool: &PgPool, version: i64) {
    let migrations: Vec<Migration> = MIGRATOR
        .iter()
        .filter(|m| m.version <= version)
        .cloned()
        .collect();
    let mut migrator = Migrator::DEFAULT;
    migrator.migrations = Cow::Owned(migrations);
    migrator.run(pool).await.unwrap();
}

/// What has to be there at every version, whatever came after it.
async fn reads_well(app: &App, version: i64) {
    let list: RunList = app.get("/api/v1/runs").await.expect(StatusCode::OK);
    let (trained, running): (RunId, RunId) = (TRAINED.parse().unwrap(), RUNNING.parse().unwrap());
    for run in [trained, running] {
        assert!(
            list.runs.iter().any(|summary| summary.id == run),
            "{version}: {run}"
        );
    }
    let detail = app.detail(trained).await;
    assert_eq!(
        (detail.summary.state, detail.summary.name.as_str()),
        (RunState::Succeeded, "old")
    );
    assert_eq!(detail.summary.best_validation.unwrap().value.0, 0.25);
    assert_eq!(detail.attempt_history.len(), 1);
    let checkpoints = app.get(&format!("/api/v1/runs/{trained}/checkpoints")).await;
    let checkpoints: CheckpointList = checkpoints.expect(StatusCode::OK);
    let kinds: Vec<CheckpointKind> = checkpoints.checkpoints.iter().map(|c| c.kind).collect();
    assert!(
        kinds.contains(&CheckpointKind::Best) && kinds.contains(&CheckpointKind::Last),
        "{version}"
    );
    app.state.store.settle(trained).await.unwrap();
    let points = app.points(trained, "loss/total").await;
    assert_eq!(points, [(0, 1.0), (1, 0.5), (5, 0.25)], "{version}");
    assert_eq!(app.curves(trained, "").await.series.len(), 1);

    if version >= 20 {
        study_reads_well(app, version).await;
    }
    if version >= 60 {
        let logs: RunLogs = app
            .get(&format!("/api/v1/runs/{trained}/logs"))
            .await
            .expect(StatusCode::OK);
        assert_eq!(logs.lines[0].line.message, "an old line", "{version}");
    }

    // The worker of then is gone: the run goes on where its checkpoint says.
    app.lose(ATTEMPT.parse().unwrap()).await;
    assert_eq!(app.run_state(running).await, RunState::Queued, "{version}");
    let worker = app.register().await;
    let claim = app.claim(worker).await.unwrap();
    assert_eq!(
        (claim.run, claim.resume.map(|point| point.next_batch)),
        (running, Some(3)),
        "{version}"
    );
}

/// The study of `0020.sql`, which goes with all its rows.
async fn study_reads_well(app: &App, version: i64) {
    let path = format!("/api/v1/studies/{STUDY}");
    let study: StudyDetail = app.get(&path).await.expect(StatusCode::OK);
    let counts = study.summary.counts.runs;
    assert_eq!((counts.cancelled, counts.skipped), (1, 1), "{version}");
    let request = Request::delete(&path).body(Body::empty()).unwrap();
    assert_eq!(
        app.answer(request).await.status,
        StatusCode::ACCEPTED,
        "{version}"
    );
}

#[tokio::test]
async fn every_earlier_schema_comes_up_to_date_with_its_rows() {
    let fixtures = fixtures();
    let first = *fixtures.keys().next().unwrap();
    for version in fixtures.keys() {
        assert!(
            MIGRATOR.iter().any(|m| m.version == *version),
            "{version:04}.sql is of no migration"
        );
    }
    let versions: Vec<i64> = MIGRATOR
        .iter()
        .map(|m| m.version)
        .filter(|v| *v >= first)
        .collect();
    assert!(versions.len() >= 3);
    for version in versions {
        let pool = fresh_database().await;
        build(&pool, version).await;
        let app = App::on(pool, Duration::from_secs(60)).await;
        reads_well(&app, version).await;
        app.state.stopping.0.cancel();
    }
}

/// The files of a released migration are never changed: databases know them by their hash.
#[tokio::test]
async fn migrations_come_in_the_order_of_their_numbers_and_only_go_forward() {
    let versions: Vec<i64> = MIGRATOR.iter().map(|m| m.version).collect();
    assert!(versions.is_sorted());
    assert!(!MIGRATOR.iter().any(|m| m.migration_type.is_down_migration()));
}

/// What the coordinator before the newest migrations says goes on being understood while two of them serve: the
/// statements of the worker's side, which lose work where they fail.
#[tokio::test]
async fn statements_of_the_first_schema_still_run_on_the_newest() {
    let app = App::start().await;
    let claim = app.running().await;
    let statements = [
        "select id from runs where id = (select run_id from attempts where id = $1) for update",
        "select a.state, a.fencing_token, a.next_sequence, r.state as run_state, r.fencing_token as run_token
         from attempts a join runs r on r.id = a.run_id where a.id = $1",
        "update attempts set lease_expires_at = now() + make_interval(secs => 30) where id = $1",
        "update attempts set next_sequence = next_sequence + 0 where id = $1",
        "insert into blobs (sha256, size_bytes) select repeat('a', 64), 1 from attempts where id = $1",
        "insert into checkpoints (id, run_id, attempt_id, kind, next_batch, validation, sha256)
         select gen_random_uuid(), run_id, id, 'last', 1, null, repeat('a', 64) from attempts where id = $1",
        "insert into artifacts (id, run_id, attempt_id, name, sha256)
         select gen_random_uuid(), run_id, id, 'a.csv', repeat('a', 64) from attempts where id = $1",
        "with numbered as (
             update runs set last_event = last_event + 1, updated_at = clock_timestamp()
             where id = (select run_id from attempts where id = $1) returning id, last_event
         )
         insert into events (run_id, id, kind, payload)
         select id, last_event, 'changed', '{\"event\": \"changed\"}' from numbered",
        "insert into journals (run_id, names, last_steps, batches, bytes)
         select run_id, '{loss/total}', '{1}', 1, 0 from attempts where id = $1",
        "update attempts set state = 'succeeded', finished_at = now() where id = $1",
        "update runs set state = 'succeeded', finished_at = now()
         where id = (select run_id from attempts where id = $1)",
    ];
    for statement in statements {
        let run = sqlx::query(statement)
            .bind(claim.attempt.0)
            .execute(&app.pool)
            .await;
        run.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}
