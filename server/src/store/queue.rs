//! The queue: which runs the workers get that wait for one.
//!
//! Runs lie in lanes: those of one project that need the same of a worker. A claim finds the lanes that have runs by
//! stepping through an index, leaves out those that do not fit, and looks at the heads of the others. Its cost
//! follows the number of such lanes and of workers that ask, not the number of runs that wait.

use std::collections::BTreeMap;
use std::time::Duration;

use motif_proto::id::{AttemptId, CheckpointId, ExperimentId, FencingToken, RunId, WorkerId};
use motif_proto::run::{Failure, FailureClass};
use motif_proto::worker::{Claim, FinishAttempt, HeldLease, Outcome, ResumePoint};
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Result, Store, attempts, bases, events, rewind, runs, unsigned};
use crate::error::{Error, chain};
use crate::signals::Signal;

/// Heads of a lane beyond the number asked for, should other coordinators be looking at the first ones.
const SPARE_HEADS: i64 = 16;

/// The lanes that have runs to claim, each found by one step through the index.
macro_rules! open_lanes {
    () => {
        "open_lanes (lane_id) as (
             (select lane_id from runs where state = 'queued' and not_before is null order by lane_id limit 1)
             union all
             select (select r.lane_id from runs r
                     where r.state = 'queued' and r.not_before is null and r.lane_id > o.lane_id
                     order by r.lane_id limit 1)
             from open_lanes o where o.lane_id is not null
         )"
    };
}

/// Gives runs to workers that are alike: by priority, then to the project that has the least of the workers for its
/// weight, then by age. Each further run of a project counts as if those before it were running already. Runs that
/// another coordinator is looking at are skipped; a run does not go to a worker that it is to avoid, and nothing goes
/// to a worker that was set aside.
///
/// Rows of the large tables are looked up one by one (`lateral`, `any`): no estimate of the planner can make it read a
/// whole table.
const CLAIM: &str = concat!(
    "with recursive ",
    open_lanes!(),
    ", takers as (
        select t.attempt, t.worker, row_number() over (order by t.place) as place
        from unnest($1::uuid[], $2::uuid[]) with ordinality as t (attempt, worker, place)
        join workers w on w.id = t.worker and w.set_aside_at is null
    ), used as materialized (
        select project, sum(slots)::float8 as slots from runs where state = 'running' group by project
    ), heads as (
        select h.id, h.priority, h.queued_at, l.project, l.slots
        from open_lanes o
        cross join lateral (
            select id, project, slots from lanes
            where id = o.lane_id
              and slots <= $4
              and device_need in ('any', $5)
              and (memory_bytes is null or memory_bytes <= $6)
              and labels <@ $7
              and ($10::text[] is null or project = any($10))
            limit 1
        ) l
        cross join lateral (
            select r.id, r.priority, r.queued_at from runs r
            where r.lane_id = l.id and r.state = 'queued' and r.not_before is null
            order by r.priority desc, r.queued_at, r.id limit $8
        ) h
    ), shared as (
        select h.*,
               (coalesce(u.slots, 0) - h.slots
                + sum(h.slots) over (partition by h.project order by h.priority desc, h.queued_at, h.id))
               / p.weight as share
        from heads h join projects p on p.name = h.project left join used u on u.project = h.project
    ), ranked as (
        select id, row_number() over (order by priority desc, share, queued_at, id) as place
        from shared order by place limit $8
    ), picked as (
        select r.id, r.avoid_worker_id, r.avoid_until, k.place
        from ranked k
        cross join lateral (
            select id, avoid_worker_id, avoid_until from runs
            where runs.id = k.id and state = 'queued' and not_before is null
            for update skip locked
        ) r
        limit (select count(*) from takers)
    ), paired as (
        select p.id, t.attempt, t.worker
        from (select *, row_number() over (order by place) as turn from picked) p
        join takers t on t.place = p.turn
        where p.avoid_worker_id is distinct from t.worker or p.avoid_until < now()
    ), claimed as (
        update runs
        set state = 'running', fencing_token = fencing_token + 1, attempts = attempts + 1,
            started_at = coalesce(started_at, now()), last_event = last_event + 1, updated_at = clock_timestamp(),
            touched_at = clock_timestamp()
        where id = any (array(select id from paired))
        returning id, experiment_id, fencing_token, attempts, first_batch, stop_at, slots, last_event
    ), given as (
        select c.*, p.attempt, p.worker, e.spec, e.base_checkpoint_id is not null as has_base,
               k.checkpoint, k.next_batch, k.sha256, k.size_bytes
        from claimed c
        join paired p on p.id = c.id
        cross join lateral (
            select spec, base_checkpoint_id from experiments where id = c.experiment_id limit 1
        ) e
        left join lateral (
            select k.id as checkpoint, k.next_batch, k.sha256, b.size_bytes
            from checkpoints k join blobs b on b.sha256 = k.sha256
            where k.run_id = c.id and k.kind = 'last' and k.superseded_at is null limit 1
        ) k on true
    ), attempted as (
        insert into attempts (id, run_id, number, worker_id, fencing_token, lease_expires_at, first_batch)
        select attempt, id, attempts, worker, fencing_token, now() + make_interval(secs => $3),
               coalesce(next_batch, first_batch)
        from given
    ), told as (
        insert into events (run_id, id, kind, payload) select id, last_event, 'changed', $9 from given
    )
    select attempt, id as run, experiment_id, fencing_token, attempts, first_batch, stop_at, slots, spec, has_base,
           checkpoint, next_batch, sha256, size_bytes
    from given"
);

/// The workers among those given for which there is a run that fits.
const SERVEABLE: &str = concat!(
    "with recursive ",
    open_lanes!(),
    "select t.worker from unnest($1::uuid[], $2::int[]) as t (worker, free_slots)
     join workers w on w.id = t.worker and w.set_aside_at is null
     where exists (
         select from open_lanes o join lanes l on l.id = o.lane_id
         where l.slots <= t.free_slots
           and l.device_need in ('any', w.device)
           and (l.memory_bytes is null or l.memory_bytes <= w.memory_bytes)
           and l.labels <@ w.labels
           and (w.projects is null or l.project = any(w.projects))
     )"
);

/// What workers have to offer. Workers that have the same are served together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offer {
    /// What they compute on.
    pub device: String,
    /// Slots that are free.
    pub free_slots: i32,
    /// Memory of the device, where it is known.
    pub memory_bytes: Option<i64>,
    /// Words that runs can ask for.
    pub labels: BTreeMap<String, String>,
    /// The projects whose runs they get; none where all are.
    pub projects: Option<Vec<String>>,
}

/// A worker that waits for a run, and the attempt that it would make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taker {
    /// The worker.
    pub worker: WorkerId,
    /// A new id.
    pub attempt: AttemptId,
}

#[derive(FromRow)]
struct ClaimedRow {
    attempt: Uuid,
    run: Uuid,
    experiment_id: Uuid,
    fencing_token: i64,
    attempts: i32,
    first_batch: i64,
    stop_at: Option<i64>,
    slots: i32,
    spec: String,
    has_base: bool,
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

/// A run that a worker gets, before its curves are cut back to where it goes on.
#[derive(Debug)]
pub struct Claimed {
    /// What the worker is told.
    pub claim: Claim,
    /// The batch from which on the curves of earlier attempts do not count; none where there were no attempts.
    pub rewind_to: Option<u64>,
}

impl Store {
    /// Gives runs to workers that have the same to offer: to each at most one, in the order given.
    ///
    /// # Errors
    /// Storage; then nobody got anything.
    #[tracing::instrument(name = "claim", level = "debug", skip_all, fields(takers = takers.len()))]
    pub async fn claim_runs(&self, offer: &Offer, takers: &[Taker], lease: Duration) -> Result<Vec<Claimed>> {
        let attempts: Vec<Uuid> = takers.iter().map(|taker| taker.attempt.0).collect();
        let workers: Vec<Uuid> = takers.iter().map(|taker| taker.worker.0).collect();
        let lease_seconds = u32::try_from(lease.as_secs()).unwrap_or(u32::MAX);
        let rows: Vec<ClaimedRow> = sqlx::query_as(CLAIM)
            .bind(attempts)
            .bind(workers)
            .bind(lease.as_secs_f64())
            .bind(offer.free_slots)
            .bind(&offer.device)
            .bind(offer.memory_bytes)
            .bind(Json(&offer.labels))
            .bind(
                i64::try_from(takers.len())
                    .unwrap_or(i64::MAX)
                    .saturating_add(SPARE_HEADS),
            )
            .bind(events::of_change())
            .bind(&offer.projects)
            .fetch_all(&self.pool)
            .await?;
        let mut claimed = Vec::with_capacity(rows.len());
        for row in rows {
            let (run, attempt) = (RunId(row.run), AttemptId(row.attempt));
            let lease = HeldLease {
                attempt,
                token: FencingToken(row.fencing_token),
            };
            self.tell(Signal::Run(run));
            tracing::info!(run.id = %run, attempt.id = %attempt, attempt.number = row.attempts, "claimed");
            match self.describe(row, lease_seconds).await {
                Ok(run) => claimed.push(run),
                // One that cannot be told does not keep the others from their workers.
                Err(error) => self.abandon(lease, &error).await,
            }
        }
        Ok(claimed)
    }

    async fn describe(&self, row: ClaimedRow, lease_seconds: u32) -> Result<Claimed> {
        let resume = row.resume();
        let base = if row.has_base {
            let mut connection = self.pool.acquire().await?;
            bases::of_experiment(&mut connection, ExperimentId(row.experiment_id)).await?
        } else {
            None
        };
        let begin = resume
            .as_ref()
            .map_or(unsigned(row.first_batch), |point| point.next_batch);
        Ok(Claimed {
            rewind_to: (row.attempts > 1).then_some(begin),
            claim: Claim {
                run: RunId(row.run),
                attempt: AttemptId(row.attempt),
                token: FencingToken(row.fencing_token),
                spec: runs::read_spec(&row.spec)?,
                base,
                resume,
                stop_before: row.stop_at.map(unsigned),
                slots: row.slots.unsigned_abs(),
                lease_seconds,
            },
        })
    }

    /// Ends an attempt that could not begin; its run is tried again as after any fault.
    async fn abandon(&self, lease: HeldLease, error: &Error) {
        tracing::error!(attempt.id = %lease.attempt, error = %chain(error), "an attempt could not begin");
        let finish = FinishAttempt {
            attempt: lease.attempt,
            token: lease.token,
            metrics_sequence: 0,
            outcome: Outcome::Failed {
                failure: Failure {
                    class: FailureClass::Internal,
                    message: "the coordinator could not hand the run out; its log says why".to_owned(),
                },
            },
        };
        if let Err(error) = self.finish_attempt(&finish).await {
            tracing::error!(attempt.id = %lease.attempt, error = %chain(&error), "its lease will run out");
        }
    }

    /// Takes back a run that its worker did not hear of.
    pub async fn take_back(&self, lease: HeldLease) {
        let finish = FinishAttempt {
            attempt: lease.attempt,
            token: lease.token,
            metrics_sequence: 0,
            outcome: Outcome::Released,
        };
        if let Err(error) = self.finish_attempt(&finish).await {
            tracing::warn!(attempt.id = %lease.attempt, error = %chain(&error), "its lease will run out");
        }
    }

    /// Drops what earlier attempts wrote past the checkpoint from which the run goes on.
    ///
    /// # Errors
    /// [`Error::StaleLease`], storage; then the attempt has ended.
    pub async fn rewind_for(&self, lease: HeldLease, next_batch: u64) -> Result<()> {
        let rewound = self.rewind_held(lease, next_batch).await;
        if let Err(error) = &rewound {
            self.abandon(lease, error).await;
        }
        rewound
    }

    async fn rewind_held(&self, lease: HeldLease, next_batch: u64) -> Result<()> {
        let mut tx = self.begin().await?;
        let locked = attempts::lock_live(&mut tx, lease).await?;
        rewind::rewind(&mut tx, locked.run, next_batch).await?;
        tx.commit().await?;
        self.tell(Signal::Run(locked.run));
        Ok(())
    }

    /// The workers among those given, with their free slots, for which there is a run that fits.
    ///
    /// # Errors
    /// Storage.
    pub async fn serveable(&self, workers: &[(WorkerId, i32)]) -> Result<Vec<WorkerId>> {
        let (ids, free_slots): (Vec<Uuid>, Vec<i32>) =
            workers.iter().map(|(worker, free)| (worker.0, *free)).unzip();
        let serveable: Vec<Uuid> = sqlx::query_scalar(SERVEABLE)
            .bind(ids)
            .bind(free_slots)
            .fetch_all(&self.pool)
            .await?;
        Ok(serveable.into_iter().map(WorkerId).collect())
    }

    /// Lets runs be claimed whose wait before another try is over. Returns how many.
    ///
    /// # Errors
    /// Storage.
    pub async fn end_waits(&self) -> Result<u64> {
        let ended = sqlx::query(
            "update runs set not_before = null where id in
                 (select id from runs where not_before <= now() order by not_before limit 1000
                  for update skip locked)",
        )
        .execute(&self.pool)
        .await?
        .rows_affected();
        if ended > 0 {
            self.tell(Signal::Queue);
        }
        Ok(ended)
    }
}
