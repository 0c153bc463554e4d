//! A coordinator's router on a fresh database of a real Postgres, and requests to it.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "a test ends where something is not as it should be, and uses a part"
)]

pub mod stores;
pub mod study;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use motif_proto::artifact::Artifact;
use motif_proto::id::{AttemptId, RunId, WorkerId};
use motif_proto::metrics::{Measured, MetricsAccepted, MetricsBatch, RunMetrics, SeriesPoints};
use motif_proto::problem::{PROBLEM_JSON, Problem};
use motif_proto::run::{Checkpoint, CheckpointKind, ExperimentAccepted, RunDetail, RunState};
use motif_proto::worker::{
    Claim, DeviceKind, FinishAttempt, Heartbeat, HeartbeatAnswer, HeldLease, Outcome, RegisterWorker,
    UploadArtifact, UploadCheckpoint, Verdict, WorkerRegistered,
};
use motif_server::app::AppState;
use motif_server::artifacts::Artifacts;
use motif_server::domain::webhook::Private;
use motif_server::postgres::Postgres;
use motif_server::router::{Reach, router};
use motif_server::store::events::Range;
use motif_server::webhooks::Webhooks;
use motif_server::{MIGRATOR, serve};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::OnceCell;
use tower::ServiceExt;

/// One server for all tests of a program; it stops with the program.
static POSTGRES: OnceCell<Server> = OnceCell::const_new();

struct Server {
    options: PgConnectOptions,
    _postgres: Postgres,
}

async fn server() -> &'static Server {
    POSTGRES
        .get_or_init(|| async {
            // The process that waits for the server needs a runtime that outlives each test's own.
            static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
            let runtime = RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().unwrap());
            let start = async {
                let postgres = Postgres::start(&data_dir(), false).await.unwrap();
                Server {
                    options: postgres.options("motif"),
                    _postgres: postgres,
                }
            };
            runtime.spawn(start).await.unwrap()
        })
        .await
}

/// A directory for this program, after clearing away those of programs that ended.
fn data_dir() -> PathBuf {
    const PREFIX: &str = "motif-test-";
    let temp = std::env::temp_dir();
    for entry in std::fs::read_dir(&temp).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(process) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let runs = PathBuf::from("/proc").join(process).exists();
        if !runs && !entry.path().join("postgres/data/postmaster.pid").exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let dir = temp.join(format!("{PREFIX}{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

pub struct App {
    pub router: Router,
    pub state: AppState,
    pub pool: PgPool,
    kept: Arc<Kept>,
    _tasks: tokio::task::JoinSet<()>,
}

/// What goes when the last coordinator on it is gone.
struct Kept {
    artifacts: tempfile::TempDir,
    database: Option<String>,
}

/// The databases that nobody uses any more.
static ENDED: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Kept {
    fn store(&self) -> Artifacts {
        Artifacts::open(self.artifacts.path().to_str().unwrap()).unwrap()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        ENDED.lock().unwrap().extend(self.database.take());
    }
}

impl App {
    /// A coordinator with leases of a minute.
    pub async fn start() -> Self {
        Self::with_lease(Duration::from_secs(60)).await
    }

    /// A coordinator with leases of the length given, on a database of its own.
    pub async fn with_lease(lease: Duration) -> Self {
        Self::on_its_own(lease, Reach::ThisMachine).await
    }

    /// A coordinator that asks everybody for a token.
    pub async fn guarded() -> Self {
        Self::on_its_own(Duration::from_secs(60), Reach::Network).await
    }

    async fn on_its_own(lease: Duration, reach: Reach) -> Self {
        let (pool, name) = migrated_database().await;
        let kept = keep(Some(name));
        let store = kept.store();
        Self::with(pool, store, lease, reach, kept)
    }

    /// A coordinator on a database that may hold something already.
    pub async fn on(pool: PgPool, lease: Duration) -> Self {
        MIGRATOR.run(&pool).await.unwrap();
        let kept = keep(None);
        let store = kept.store();
        Self::with(pool, store, lease, Reach::ThisMachine, kept)
    }

    /// One more coordinator on the same database and artifacts, with connections of its own.
    pub async fn beside(&self) -> Self {
        let options = self.pool.connect_options().as_ref().clone();
        let pool = serve::pool(options).await.unwrap();
        let lease = self.state.leases.length;
        let store = self.kept.store();
        Self::with(pool, store, lease, Reach::ThisMachine, self.kept.clone())
    }

    /// A coordinator over an artifact store that may hold something already.
    pub async fn over(pool: PgPool, store: Artifacts, lease: Duration) -> Self {
        MIGRATOR.run(&pool).await.unwrap();
        Self::with(pool, store, lease, Reach::ThisMachine, keep(None))
    }

    fn with(pool: PgPool, store: Artifacts, lease: Duration, reach: Reach, kept: Arc<Kept>) -> Self {
        let state = AppState {
            // Receivers in tests are on this machine.
            webhooks: Webhooks::new(Private::Allowed),
            ..serve::state(pool.clone(), store, lease)
        };
        let tasks = serve::start_tasks(&state, &pool);
        let router = router(state.clone(), reach);
        Self {
            router,
            state,
            pool,
            kept,
            _tasks: tasks,
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.answer(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// The coordinator says that this has no room, and nothing else is amiss.
    pub async fn assert_full(&self, pointer: &str) {
        let answer = self.get("/readyz").await;
        let readiness = answer.problem(StatusCode::SERVICE_UNAVAILABLE, "not_ready");
        assert_eq!(readiness.errors.len(), 1);
        assert_eq!(readiness.errors[0].pointer, pointer);
        assert_eq!(readiness.errors[0].given, Some("full".into()));
    }

    pub async fn post(&self, path: &str, body: &impl Serialize) -> Answer {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        self.answer(request.body(serde_json::to_vec(body).unwrap().into()).unwrap())
            .await
    }

    pub async fn request(&self, method: Method, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, kind);
        self.answer(request.body(body.into()).unwrap()).await
    }

    pub async fn answer(&self, request: Request<Body>) -> Answer {
        let response = self.send(request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub async fn submit(&self, spec: Value) -> RunId {
        let answer = self.post("/api/v1/experiments", &spec).await;
        answer.expect::<ExperimentAccepted>(StatusCode::CREATED).run.id
    }

    pub async fn register(&self) -> WorkerId {
        self.register_as(&worker()).await
    }

    pub async fn register_as(&self, worker: &RegisterWorker) -> WorkerId {
        let answer = self.post("/api/v1/worker/register", worker).await;
        answer.expect::<WorkerRegistered>(StatusCode::OK).worker
    }

    /// Claims without waiting.
    pub async fn claim(&self, worker: WorkerId) -> Option<Claim> {
        let body = json!({ "worker": worker, "free_slots": 8, "wait_seconds": 0 });
        let answer = self.post("/api/v1/worker/claim", &body).await;
        (answer.status != StatusCode::NO_CONTENT).then(|| answer.expect(StatusCode::OK))
    }

    /// A run in the hands of a new worker.
    pub async fn running(&self) -> Claim {
        self.submit(json!({ "preset": "demo" })).await;
        let worker = self.register().await;
        self.claim(worker).await.unwrap()
    }

    pub async fn metrics(&self, claim: &Claim, sequence: u64, series: &[(&str, &[(u64, f64)])]) -> Answer {
        self.post("/api/v1/worker/metrics", &batch(claim, sequence, series))
            .await
    }

    /// Stores metrics that must be accepted.
    pub async fn store_metrics(&self, claim: &Claim, sequence: u64, series: &[(&str, &[(u64, f64)])]) {
        let answer = self.metrics(claim, sequence, series).await;
        let accepted = answer.expect::<MetricsAccepted>(StatusCode::OK);
        assert_eq!(accepted.next_sequence, sequence + 1);
    }

    pub async fn finish(&self, claim: &Claim, metrics_sequence: u64, outcome: Outcome) -> Answer {
        let (attempt, token) = (claim.attempt, claim.token);
        let body = FinishAttempt {
            attempt,
            token,
            metrics_sequence,
            outcome,
        };
        self.post("/api/v1/worker/finish", &body).await
    }

    pub async fn heartbeat(&self, worker: WorkerId, claim: &Claim) -> Verdict {
        let lease = HeldLease {
            attempt: claim.attempt,
            token: claim.token,
        };
        let body = Heartbeat {
            worker,
            leases: vec![lease],
            wait_seconds: 0,
        };
        let answer = self.post("/api/v1/worker/heartbeat", &body).await;
        answer.expect::<HeartbeatAnswer>(StatusCode::OK).leases[0].verdict
    }

    /// Uploads content that may differ from what the query announces.
    pub async fn upload_as(&self, upload: &UploadCheckpoint, content: &[u8]) -> Answer {
        let query = serde_html_form::to_string(upload).unwrap();
        let path = format!("/api/v1/worker/checkpoints?{query}");
        self.request(Method::POST, &path, "application/octet-stream", content.to_vec())
            .await
    }

    pub async fn upload(
        &self,
        claim: &Claim,
        kind: CheckpointKind,
        next_batch: u64,
        content: &[u8],
    ) -> Checkpoint {
        let answer = self
            .upload_as(&upload(claim, kind, next_batch, content), content)
            .await;
        answer.expect(StatusCode::CREATED)
    }

    /// Uploads content that may differ from what the query announces.
    pub async fn upload_artifact_as(&self, upload: &UploadArtifact, content: &[u8]) -> Answer {
        let query = serde_html_form::to_string(upload).unwrap();
        let path = format!("/api/v1/worker/artifacts?{query}");
        self.request(Method::POST, &path, "application/octet-stream", content.to_vec())
            .await
    }

    pub async fn upload_artifact(&self, claim: &Claim, name: &str, content: &[u8]) -> Artifact {
        let upload = artifact_upload(claim, name, content);
        self.upload_artifact_as(&upload, content)
            .await
            .expect(StatusCode::CREATED)
    }

    /// A run that succeeded and left both checkpoints after the batches given.
    pub async fn trained(&self, spec: Value, next_batch: u64) -> Trained {
        let run = self.submit(spec).await;
        let worker = self.register().await;
        let claim = self.claim(worker).await.unwrap();
        assert_eq!(claim.run, run);
        let best = self
            .upload(&claim, CheckpointKind::Best, next_batch, b"the best")
            .await;
        let last = self
            .upload(&claim, CheckpointKind::Last, next_batch, b"the last")
            .await;
        let ended = self.finish(&claim, 0, Outcome::Succeeded).await;
        assert_eq!(ended.status, StatusCode::NO_CONTENT);
        Trained { run, best, last }
    }

    pub async fn detail(&self, run: RunId) -> RunDetail {
        self.get(&format!("/api/v1/runs/{run}"))
            .await
            .expect(StatusCode::OK)
    }

    pub async fn run_state(&self, run: RunId) -> RunState {
        self.detail(run).await.summary.state
    }

    pub async fn curves(&self, run: RunId, query: &str) -> RunMetrics {
        self.get(&format!("/api/v1/runs/{run}/metrics?{query}"))
            .await
            .expect(StatusCode::OK)
    }

    /// The points of a series as they are stored, past what JSON can say.
    pub async fn points(&self, run: RunId, name: &str) -> Vec<(u64, f64)> {
        let range = Range {
            name: name.to_owned(),
            first: 0,
            last: u64::MAX >> 1,
        };
        let series = self.state.store.points_in(run, &[range]).await.unwrap().remove(0);
        let values = series.values.iter().map(|value| value.0);
        series.steps.iter().copied().zip(values).collect()
    }

    /// Ends the wait of a run before its next try, as if its time were over.
    pub async fn end_wait(&self, run: RunId) {
        sqlx::query(
            "update runs set avoid_until = case when avoid_until is not null then now() - interval '1 second' end,
                 not_before = case when not_before is not null then now() end
             where id = $1",
        )
        .bind(run.0)
        .execute(&self.pool)
        .await
        .unwrap();
        self.state.store.end_waits().await.unwrap();
    }

    /// Makes the lease of an attempt run out, as if its worker had been silent, and takes the run back.
    pub async fn lose(&self, attempt: AttemptId) {
        sqlx::query("update attempts set lease_expires_at = now() - interval '1 second' where id = $1")
            .bind(attempt.0)
            .execute(&self.pool)
            .await
            .unwrap();
        self.state.store.requeue_lost().await.unwrap();
    }
}

/// A database that nobody used before, without a table.
pub async fn fresh_database() -> PgPool {
    let server = server().await;
    let name = create_database(server, "template1").await;
    serve::pool(server.options.clone().database(&name)).await.unwrap()
}

/// A database that nobody used before, with the coordinator's tables: a copy of one that was migrated once.
async fn migrated_database() -> (PgPool, String) {
    static MIGRATED: OnceCell<String> = OnceCell::const_new();
    let server = server().await;
    let migrate = async || {
        let name = create_database(server, "template1").await;
        let mut connection = PgConnection::connect_with(&server.options.clone().database(&name))
            .await
            .unwrap();
        MIGRATOR.run(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        name
    };
    let template = MIGRATED.get_or_init(migrate).await;
    let name = create_database(server, template).await;
    let pool = serve::pool(server.options.clone().database(&name)).await.unwrap();
    (pool, name)
}

fn keep(database: Option<String>) -> Arc<Kept> {
    let artifacts = tempfile::tempdir().unwrap();
    Arc::new(Kept { artifacts, database })
}

/// Creates a database, and drops those of tests that ended: all of them together would need gigabytes.
async fn create_database(server: &Server, template: &str) -> String {
    let mut admin = PgConnection::connect_with(&server.options).await.unwrap();
    let ended: Vec<String> = std::mem::take(&mut *ENDED.lock().unwrap());
    for name in ended {
        let statement = sqlx::AssertSqlSafe(format!("drop database if exists {name} with (force)"));
        sqlx::query(statement).execute(&mut admin).await.unwrap();
    }
    let name = format!("test_{}", uuid::Uuid::now_v7().simple());
    let statement = sqlx::AssertSqlSafe(format!("create database {name} template {template}"));
    sqlx::query(statement).execute(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    name
}

pub fn worker() -> RegisterWorker {
    RegisterWorker {
        name: "bench".to_owned(),
        version: "0.1.0".to_owned(),
        device: DeviceKind::Cpu,
        device_name: "two cores".to_owned(),
        slots: 8,
        memory_bytes: None,
        labels: std::collections::BTreeMap::new(),
        canary: None,
    }
}

pub fn batch(claim: &Claim, sequence: u64, series: &[(&str, &[(u64, f64)])]) -> MetricsBatch {
    let series = series.iter().map(|(name, points)| SeriesPoints {
        name: (*name).to_owned(),
        steps: points.iter().map(|(step, _)| *step).collect(),
        values: points.iter().map(|(_, value)| Measured(*value)).collect(),
    });
    MetricsBatch {
        attempt: claim.attempt,
        token: claim.token,
        sequence,
        series: series.collect(),
    }
}

pub fn upload(claim: &Claim, kind: CheckpointKind, next_batch: u64, content: &[u8]) -> UploadCheckpoint {
    UploadCheckpoint {
        attempt: claim.attempt,
        token: claim.token,
        kind,
        next_batch,
        metrics_sequence: 0,
        sha256: format!("{:x}", Sha256::digest(content)),
        size_bytes: content.len() as u64,
        validation: Some(0.25),
    }
}

pub fn artifact_upload(claim: &Claim, name: &str, content: &[u8]) -> UploadArtifact {
    UploadArtifact {
        attempt: claim.attempt,
        token: claim.token,
        name: name.to_owned(),
        sha256: format!("{:x}", Sha256::digest(content)),
        size_bytes: content.len() as u64,
    }
}

/// A run that was trained, and what it left.
pub struct Trained {
    pub run: RunId,
    pub best: Checkpoint,
    pub last: Checkpoint,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: axum::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body of an answer that must have this status.
    pub fn expect<T: DeserializeOwned>(&self, status: StatusCode) -> T {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The problem of an answer that must be one, with its status repeated and its request named.
    pub fn problem(&self, status: StatusCode, code: &str) -> Problem {
        let problem: Problem = self.expect(status);
        assert_eq!(problem.code, code, "{}", problem.detail);
        assert_eq!(self.headers[header::CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(problem.status, status.as_u16());
        assert_eq!(
            problem.request_id.as_deref(),
            self.headers["x-request-id"].to_str().ok()
        );
        problem
    }
}
