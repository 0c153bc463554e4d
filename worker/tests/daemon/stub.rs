//! A coordinator in memory: it keeps the protocol's rules and can be made to misbehave.

#![allow(
    clippy::result_large_err,
    reason = "answers and refusals are both whole responses"
)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use motif_proto::id::{AttemptId, CheckpointId, FencingToken, RunId, WorkerId};
use motif_proto::log::{LogBatch, LogLine, LogsAccepted};
use motif_proto::metrics::{MetricsAccepted, MetricsBatch};
use motif_proto::problem::Problem;
use motif_proto::run::{BaseCheckpoint, CheckpointKind};
use motif_proto::spec::ExperimentSpec;
use motif_proto::worker::{
    Claim, ClaimRequest, FinishAttempt, Heartbeat, HeartbeatAnswer, LeaseVerdict, RegisterWorker,
    ResumePoint, UploadArtifact, UploadCheckpoint, Verdict, WorkerRegistered,
};
use sha2::{Digest, Sha256};

#[derive(Clone, Default)]
pub(crate) struct Stub(Arc<Mutex<World>>);

#[derive(Default)]
pub(crate) struct World {
    pub(crate) workers: Vec<WorkerId>,
    pub(crate) claims: VecDeque<Claim>,
    pub(crate) metrics: BTreeMap<AttemptId, Vec<MetricsBatch>>,
    pub(crate) logs: BTreeMap<AttemptId, Vec<LogLine>>,
    /// Answers log lines as a coordinator that does not know them.
    pub(crate) takes_no_logs: bool,
    pub(crate) checkpoints: Vec<(UploadCheckpoint, Vec<u8>)>,
    pub(crate) contents: BTreeMap<CheckpointId, Vec<u8>>,
    pub(crate) artifacts: BTreeMap<String, Vec<u8>>,
    pub(crate) finishes: Vec<FinishAttempt>,
    /// Answers everything with 503.
    pub(crate) away: bool,
    /// Answers uploads with 507.
    pub(crate) full: bool,
    /// Uploads for which there was no room.
    pub(crate) found_no_room: u32,
    /// Requests that were turned away.
    pub(crate) turned_away: u32,
    /// Does what it is asked, and then answers every other call with 500.
    pub(crate) forgets_to_answer: bool,
    answers: u64,
    /// Refuses every write with `stale_lease`.
    pub(crate) stale: bool,
    /// What heartbeats are answered; to go on when there is none.
    pub(crate) verdict: Option<Verdict>,
    /// Heartbeats of workers that are known.
    pub(crate) heartbeats: u64,
}

pub(crate) type Answer = Result<Response, Response>;

fn problem(status: StatusCode, code: &str) -> Response {
    let body = Problem {
        kind: "about:blank".to_owned(),
        title: code.to_owned(),
        status: status.as_u16(),
        detail: code.to_owned(),
        code: code.to_owned(),
        request_id: None,
        errors: Vec::new(),
    };
    (status, Json(body)).into_response()
}

impl Stub {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("not poisoned")
    }

    /// Serves at an address of its own.
    pub(crate) async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let worker = Router::new()
            .route("/register", post(register))
            .route("/claim", post(claim))
            .route("/heartbeat", post(heartbeat))
            .route("/metrics", post(metrics))
            .route("/logs", post(logs))
            .route("/checkpoints", post(checkpoint))
            .route("/artifacts", post(artifact))
            .route("/finish", post(finish));
        let app = Router::new()
            .nest("/api/v1/worker", worker)
            .route("/api/v1/checkpoints/{id}/content", get(content))
            .layer(from_fn_with_state(self.clone(), misbehave))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}")
    }

    /// Puts a run into the queue.
    pub(crate) fn submit(&self, spec: &serde_json::Value, resume: Option<(u64, &[u8])>) -> AttemptId {
        self.submit_on(spec, None, resume)
    }

    /// Puts a run into the queue that is to stop before a batch.
    pub(crate) fn submit_until(
        &self,
        spec: &serde_json::Value,
        resume: Option<(u64, &[u8])>,
        stop_before: u64,
    ) -> AttemptId {
        let mut world = self.world();
        // Under the lock, so that nobody claims it before it says where to stop.
        let attempt = world.queue(spec, None, resume);
        if let Some(claim) = world.claims.back_mut() {
            claim.stop_before = Some(stop_before);
        }
        attempt
    }

    /// Puts a run into the queue that starts from a base.
    pub(crate) fn submit_on(
        &self,
        spec: &serde_json::Value,
        base: Option<(u64, &[u8])>,
        resume: Option<(u64, &[u8])>,
    ) -> AttemptId {
        self.world().queue(spec, base, resume)
    }
}

impl World {
    fn queue(
        &mut self,
        spec: &serde_json::Value,
        base: Option<(u64, &[u8])>,
        resume: Option<(u64, &[u8])>,
    ) -> AttemptId {
        let attempt = AttemptId::new();
        let resume = resume.map(|(next_batch, bytes)| {
            let checkpoint = CheckpointId::new();
            self.contents.insert(checkpoint, bytes.to_vec());
            ResumePoint {
                checkpoint,
                next_batch,
                sha256: sha256(bytes),
                size_bytes: bytes.len() as u64,
            }
        });
        let base = base.map(|(next_batch, bytes)| {
            let checkpoint = CheckpointId::new();
            self.contents.insert(checkpoint, bytes.to_vec());
            BaseCheckpoint {
                checkpoint,
                run: RunId::new(),
                run_name: "base".to_owned(),
                kind: CheckpointKind::Last,
                next_batch,
                sha256: sha256(bytes),
                size_bytes: bytes.len() as u64,
            }
        });
        self.claims.push_back(Claim {
            run: RunId::new(),
            attempt,
            token: FencingToken(3),
            spec: ExperimentSpec::resolve(spec, None).expect("a valid spec"),
            base,
            resume,
            stop_before: None,
            slots: 1,
            lease_seconds: 30,
        });
        attempt
    }

    /// Steps of a series of an attempt, in the order of their arrival.
    pub(crate) fn steps(&self, attempt: AttemptId, series: &str) -> Vec<u64> {
        let batches = self.metrics.get(&attempt).into_iter().flatten();
        let of_series = batches
            .flat_map(|batch| &batch.series)
            .filter(|points| points.name == series);
        of_series.flat_map(|points| points.steps.clone()).collect()
    }

    /// What an attempt logged, in words.
    pub(crate) fn log(&self, attempt: AttemptId) -> Vec<&str> {
        let lines = self.logs.get(&attempt).into_iter().flatten();
        lines.map(|line| line.message.as_str()).collect()
    }

    fn stored(&self, attempt: AttemptId) -> u64 {
        self.metrics.get(&attempt).map_or(0, Vec::len) as u64
    }

    fn check_room(&mut self) -> Result<(), Response> {
        if self.full {
            self.found_no_room += 1;
            return Err(problem(StatusCode::INSUFFICIENT_STORAGE, "storage_full"));
        }
        Ok(())
    }

    fn check_lease(&self) -> Result<(), Response> {
        if self.stale {
            return Err(problem(StatusCode::CONFLICT, "stale_lease"));
        }
        Ok(())
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

async fn misbehave(State(stub): State<Stub>, request: Request, next: Next) -> Response {
    {
        let mut world = stub.world();
        if world.away {
            world.turned_away += 1;
            return problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable");
        }
    }
    let write = !["/api/v1/worker/register", "/api/v1/worker/claim"].contains(&request.uri().path());
    let answer = next.run(request).await;
    let mut world = stub.world();
    world.answers += 1;
    if write && world.forgets_to_answer && world.answers % 2 == 0 {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "internal");
    }
    answer
}

async fn register(State(stub): State<Stub>, Json(_): Json<RegisterWorker>) -> Json<WorkerRegistered> {
    let worker = WorkerId::new();
    stub.world().workers.push(worker);
    Json(WorkerRegistered {
        worker,
        heartbeat_seconds: 1,
        lease_seconds: 30,
    })
}

async fn claim(State(stub): State<Stub>, Json(request): Json<ClaimRequest>) -> Answer {
    for _ in 0..100 {
        {
            let mut world = stub.world();
            if !world.workers.contains(&request.worker) {
                return Err(problem(StatusCode::NOT_FOUND, "unknown_worker"));
            }
            if let Some(claim) = world.claims.pop_front() {
                return Ok(Json(claim).into_response());
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn heartbeat(State(stub): State<Stub>, Json(request): Json<Heartbeat>) -> Answer {
    let mut world = stub.world();
    if !world.workers.contains(&request.worker) {
        return Err(problem(StatusCode::NOT_FOUND, "unknown_worker"));
    }
    world.heartbeats += 1;
    let verdict = world.verdict.unwrap_or(Verdict::Continue);
    let leases = request.leases.iter().map(|lease| LeaseVerdict {
        attempt: lease.attempt,
        verdict,
    });
    Ok(Json(HeartbeatAnswer {
        leases: leases.collect(),
        canary: false,
    })
    .into_response())
}

async fn metrics(State(stub): State<Stub>, body: Bytes) -> Answer {
    let batch: MetricsBatch =
        postcard::from_bytes(&body).map_err(|_| problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body"))?;
    let mut world = stub.world();
    world.check_lease()?;
    let stored = world.metrics.entry(batch.attempt).or_default();
    let next = stored.len() as u64;
    if batch.sequence > next {
        return Err(problem(StatusCode::CONFLICT, "sequence_gap"));
    }
    if batch.sequence < next {
        assert_eq!(
            stored[batch.sequence as usize], batch,
            "a repeated batch is the same"
        );
    } else {
        stored.push(batch);
    }
    let next_sequence = stored.len() as u64;
    Ok(Json(MetricsAccepted { next_sequence }).into_response())
}

async fn logs(State(stub): State<Stub>, Json(batch): Json<LogBatch>) -> Answer {
    let mut world = stub.world();
    if world.takes_no_logs {
        return Err(problem(StatusCode::NOT_FOUND, "not_found"));
    }
    world.check_lease()?;
    let stored = world.logs.entry(batch.attempt).or_default();
    let next = stored.last().map_or(0, |line| line.sequence + 1);
    stored.extend(batch.lines.into_iter().filter(|line| line.sequence >= next));
    let next_sequence = stored.last().map_or(0, |line| line.sequence + 1);
    Ok(Json(LogsAccepted { next_sequence }).into_response())
}

async fn checkpoint(State(stub): State<Stub>, Query(upload): Query<UploadCheckpoint>, body: Bytes) -> Answer {
    let mut world = stub.world();
    world.check_lease()?;
    world.check_room()?;
    if upload.metrics_sequence > world.stored(upload.attempt) {
        return Err(problem(StatusCode::CONFLICT, "sequence_gap"));
    }
    if sha256(&body) != upload.sha256 || body.len() as u64 != upload.size_bytes {
        return Err(problem(StatusCode::UNPROCESSABLE_ENTITY, "checksum_mismatch"));
    }
    world.checkpoints.push((upload, body.to_vec()));
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn artifact(State(stub): State<Stub>, Query(upload): Query<UploadArtifact>, body: Bytes) -> Answer {
    let mut world = stub.world();
    world.check_lease()?;
    world.check_room()?;
    if sha256(&body) != upload.sha256 || body.len() as u64 != upload.size_bytes {
        return Err(problem(StatusCode::UNPROCESSABLE_ENTITY, "checksum_mismatch"));
    }
    world.artifacts.insert(upload.name, body.to_vec());
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn finish(State(stub): State<Stub>, Json(finish): Json<FinishAttempt>) -> Answer {
    let mut world = stub.world();
    world.check_lease()?;
    if finish.metrics_sequence > world.stored(finish.attempt) {
        return Err(problem(StatusCode::CONFLICT, "sequence_gap"));
    }
    if !world.finishes.contains(&finish) {
        world.finishes.push(finish);
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn content(State(stub): State<Stub>, Path(id): Path<CheckpointId>) -> Answer {
    let world = stub.world();
    let bytes = world.contents.get(&id);
    bytes
        .map(|bytes| bytes.clone().into_response())
        .ok_or_else(|| problem(StatusCode::NOT_FOUND, "checkpoint_not_found"))
}
