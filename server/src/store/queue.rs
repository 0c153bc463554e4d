//! The queue: which run a free worker gets.

use std::time::Duration;

use motif_proto::id::{AttemptId, CheckpointId, ExperimentId, FencingToken, RunId};
use motif_proto::worker::{Claim, ClaimRequest, ResumePoint};
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Result, Store, bases, events, rewind, runs, unsigned, workers};
use crate::signals::Signal;

/// Takes the best run that fits: by priority, then by age. Runs that another claim is looking at are skipped,
/// so any number of workers may ask at once.
const CLAIM: &str = "
with next as (
    select id from runs
    where state = 'queued'
      and slots <= $4
      and device_need in ('any', $5)
      and (memory_bytes is null or memory_bytes <= $6)
      and labels <@ $7
    order by priority desc, queued_at, id
    limit 1
    for update skip locked
), claimed as (
    update runs
    set state = 'running', fencing_token = fencing_token + 1, attempts = attempts + 1,
        started_at = coalesce(started_at, now())
    from next where runs.id = next.id
    returning runs.id, runs.experiment_id, runs.fencing_token, runs.attempts, runs.first_batch,
              runs.stop_at
), resume as (
    select c.id, c.next_batch, c.sha256, b.size_bytes
    from claimed
    join checkpoints c on c.run_id = claimed.id and c.kind = 'last' and c.superseded_at is null
    join blobs b on b.sha256 = c.sha256
), attempted as (
    insert into attempts (id, run_id, number, worker_id, fencing_token, lease_expires_at, first_batch)
    select $1, id, attempts, $2, fencing_token, now() + make_interval(secs => $3),
           coalesce((select next_batch from resume), first_batch)
    from claimed
)
select claimed.id as run, claimed.experiment_id, claimed.fencing_token, claimed.attempts, claimed.first_batch,
       claimed.stop_at, e.spec,
       resume.id as checkpoint, resume.next_batch, resume.sha256, resume.size_bytes
from claimed
join experiments e on e.id = claimed.experiment_id
left join resume on true";

#[derive(FromRow)]
struct ClaimedRow {
    run: Uuid,
    experiment_id: Uuid,
    fencing_token: i64,
    attempts: i32,
    first_batch: i64,
    stop_at: Option<i64>,
    spec: String,
    checkpoint: Option<Uuid>,
    next_batch: Option<i64>,
    sha256: Option<String>,
    size_bytes: Option<i64>,
}

impl ClaimedRow {
    fn resume(&self) -> Option<ResumePoint> {
        Some(ResumePoint {
            checkpoint: CheckpointId(self.checkpoint?),
            next_batch: unsigned(self.next_batch?),
            sha256: self.sha256.clone()?,
            size_bytes: unsigned(self.size_bytes?),
        })
    }
}

impl Store {
    /// Gives the worker a run, if one fits, and drops what an earlier attempt wrote past its checkpoint.
    ///
    /// # Errors
    /// [`crate::error::Error::UnknownWorker`], storage.
    #[tracing::instrument(name = "claim", skip_all, fields(worker.id = %request.worker))]
    pub async fn claim_run(&self, request: &ClaimRequest, lease: Duration) -> Result<Option<Claim>> {
        let attempt = AttemptId::new();
        let mut tx = self.pool.begin().await?;
        let worker = workers::hear_of(&mut tx, request.worker).await?;
        let free_slots = i32::try_from(request.free_slots)
            .unwrap_or(i32::MAX)
            .min(worker.slots);
        let claimed: Option<ClaimedRow> = sqlx::query_as(CLAIM)
            .bind(attempt.0)
            .bind(request.worker.0)
            .bind(lease.as_secs_f64())
            .bind(free_slots)
            .bind(worker.device)
            .bind(worker.memory_bytes)
            .bind(Json(worker.labels.0))
            .fetch_optional(&mut *tx)
            .await?;
        let Some(row) = claimed else {
            tx.commit().await?;
            return Ok(None);
        };
        let (run, resume) = (RunId(row.run), row.resume());
        if row.attempts > 1 {
            let next_batch = resume
                .as_ref()
                .map_or(unsigned(row.first_batch), |point| point.next_batch);
            rewind::rewind(&mut tx, run, next_batch).await?;
        }
        events::record_change(&mut tx, run).await?;
        let spec = runs::read_spec(&row.spec)?;
        let base = bases::of_experiment(&mut tx, ExperimentId(row.experiment_id)).await?;
        tx.commit().await?;

        self.tell(Signal::Run(run));
        tracing::info!(run.id = %run, attempt.id = %attempt, attempt.number = row.attempts, "claimed");
        Ok(Some(Claim {
            run,
            attempt,
            token: FencingToken(row.fencing_token),
            spec,
            base,
            resume,
            stop_before: row.stop_at.map(unsigned),
            lease_seconds: u32::try_from(lease.as_secs()).unwrap_or(u32::MAX),
        }))
    }
}
