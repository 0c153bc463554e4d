//! Postgres dies or has no room: what is asked meanwhile, and that it comes back.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::common::App;
use axum::http::{StatusCode, header};
use motif_proto::metrics::MetricsAccepted;
use motif_proto::problem::Problem;
use motif_server::postgres::Postgres;
use motif_server::serve;
use nix::sys::signal::{Signal, kill};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A folder that the user of Postgres can enter, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("motif-outage-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A Postgres that is started anew whenever it dies.
struct Kept {
    stop: oneshot::Sender<()>,
    keeper: JoinHandle<()>,
}

impl Kept {
    fn up(mut postgres: Postgres) -> Self {
        let (stop, stopped) = oneshot::channel();
        let keeper = tokio::spawn(async move {
            tokio::select! {
                never = postgres.keep_up() => match never {},
                _ = stopped => {}
            }
            postgres.stop().await;
        });
        Self { stop, keeper }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.keeper.await.unwrap();
    }
}

async fn until(app: &App, path: &str, status: StatusCode) {
    let limit = Instant::now() + Duration::from_secs(60);
    while app.get(path).await.status != status {
        assert!(Instant::now() < limit, "{path} does not answer {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_postgres_that_is_killed_costs_refusals_that_say_when_to_come_back_and_nothing_else() {
    let folder = Folder::new();
    let postgres = Postgres::start(&folder.0, true).await.unwrap();
    let pool = serve::pool_within(postgres.options("motif"), Duration::from_millis(500))
        .await
        .unwrap();
    let app = App::on(pool, Duration::from_secs(60)).await;
    let claim = app.running().await;
    app.store_metrics(&claim, 0, &[("loss/total", &[(1, 0.5)])]).await;

    // Nobody starts it anew yet.
    kill(Postgres::server_process(&folder.0).unwrap(), Signal::SIGKILL).unwrap();
    until(&app, "/readyz", StatusCode::SERVICE_UNAVAILABLE).await;
    let readiness = app
        .get("/readyz")
        .await
        .problem(StatusCode::SERVICE_UNAVAILABLE, "not_ready");
    assert_eq!(readiness.errors[0].pointer, "/database");
    assert_eq!(app.get("/healthz").await.status, StatusCode::NO_CONTENT);
    let spec = json!({ "preset": "demo" });
    let points: [(u64, f64); 1] = [(2, 0.25)];
    let curve = [("loss/total", points.as_slice())];
    let answers = tokio::join!(
        app.get("/api/v1/runs"),
        app.post("/api/v1/experiments", &spec),
        app.metrics(&claim, 1, &curve),
    );
    for answer in [answers.0, answers.1, answers.2] {
        let problem: Problem = answer.problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable");
        assert!(!problem.detail.contains("sql"), "{}", problem.detail);
        assert!(answer.headers.contains_key(header::RETRY_AFTER));
    }

    let kept = Kept::up(postgres);
    until(&app, "/readyz", StatusCode::OK).await;
    // What was acknowledged is there, what was not is sent again.
    app.store_metrics(&claim, 1, &[("loss/total", &[(2, 0.25)])])
        .await;
    assert_eq!(app.points(claim.run, "loss/total").await, [(1, 0.5), (2, 0.25)]);
    kept.stop().await;
}

#[tokio::test]
async fn what_waits_to_be_stored_together_when_postgres_is_killed_is_stored_once_when_it_is_sent_again() {
    let folder = Folder::new();
    let postgres = Postgres::start(&folder.0, true).await.unwrap();
    let pool = serve::pool_within(postgres.options("motif"), Duration::from_millis(500))
        .await
        .unwrap();
    let app = App::on(pool, Duration::from_secs(60)).await;
    let mut claims = Vec::new();
    for _ in 0..6 {
        let claim = app.running().await;
        app.store_metrics(&claim, 0, &[("loss/total", &[(1, 0.5)])]).await;
        claims.push(claim);
    }
    let points: [(u64, f64); 1] = [(2, 0.25)];
    let curve = [("loss/total", points.as_slice())];
    let send_all = || futures::future::join_all(claims.iter().map(|claim| app.metrics(claim, 1, &curve)));

    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("lock table journals in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let kill_it = async {
        let waits = "select exists (select from pg_locks where not granted)";
        while !sqlx::query_scalar::<_, bool>(waits)
            .fetch_one(&app.pool)
            .await
            .unwrap()
        {}
        kill(Postgres::server_process(&folder.0).unwrap(), Signal::SIGKILL).unwrap();
    };
    let (answers, ()) = tokio::join!(send_all(), kill_it);
    drop(lock);
    for answer in answers {
        answer.problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable");
        assert!(answer.headers.contains_key(header::RETRY_AFTER));
    }

    let kept = Kept::up(postgres);
    until(&app, "/readyz", StatusCode::OK).await;
    for answer in send_all().await.into_iter().chain(send_all().await) {
        assert_eq!(answer.expect::<MetricsAccepted>(StatusCode::OK).next_sequence, 2);
    }
    for claim in &claims {
        assert_eq!(app.points(claim.run, "loss/total").await, [(1, 0.5), (2, 0.25)]);
    }
    kept.stop().await;
}

#[tokio::test]
async fn a_full_disk_of_the_database_is_named_and_what_found_no_room_is_stored_when_there_is_some() {
    let app = App::start().await;
    let claim = app.running().await;
    app.store_metrics(&claim, 0, &[("loss/total", &[(1, 0.5)])]).await;
    // Whatever would grow fails as it does on a full disk.
    let fill = "
        create function find_no_room() returns event_trigger language plpgsql as
            $$ begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$;
        create function find_no_room_for_row() returns trigger language plpgsql as
            $$ begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$;
        create trigger full_disk before insert on journal_batches for each row execute function find_no_room_for_row();
        create event trigger full_disk on ddl_command_start when tag in ('CREATE TABLE AS')
            execute function find_no_room()";
    sqlx::raw_sql(fill).execute(&app.pool).await.unwrap();

    let points: [(u64, f64); 1] = [(2, 0.25)];
    let answer = app.metrics(&claim, 1, &[("loss/total", points.as_slice())]).await;
    answer.problem(StatusCode::INSUFFICIENT_STORAGE, "storage_full");
    assert!(answer.headers.contains_key(header::RETRY_AFTER));
    app.assert_full("/database").await;
    assert_eq!(app.points(claim.run, "loss/total").await, [(1, 0.5)]);

    let make_room = "drop event trigger full_disk; drop trigger full_disk on journal_batches";
    sqlx::raw_sql(make_room).execute(&app.pool).await.unwrap();
    until(&app, "/readyz", StatusCode::OK).await;
    app.store_metrics(&claim, 1, &[("loss/total", &[(2, 0.25)])])
        .await;
    assert_eq!(app.points(claim.run, "loss/total").await, [(1, 0.5), (2, 0.25)]);
}
