//! Who works.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, Utc};
use motif_proto::canary::CanaryReport;
use motif_proto::id::{RunId, WorkerId};
use motif_proto::worker::{RegisterWorker, SetAside, WorkerInfo, WorkerList};
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::queue::Offer;
use super::{Result, Store, signed, word};
use crate::domain::access::Projects;
use crate::domain::standing;

#[derive(FromRow)]
struct WorkerRow {
    id: Uuid,
    name: String,
    version: String,
    device: String,
    device_name: String,
    slots: i32,
    labels: Json<BTreeMap<String, String>>,
    alive: bool,
    set_aside_at: Option<DateTime<Utc>>,
    set_aside_reason: Option<String>,
    trial_at: Option<DateTime<Utc>>,
    canary: Option<Json<CanaryReport>>,
    runs: Vec<Uuid>,
    registered_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
}

/// What a worker has.
#[derive(Clone, Debug, FromRow)]
pub struct Capacity {
    id: Uuid,
    device: String,
    slots: i32,
    memory_bytes: Option<i64>,
    labels: Json<BTreeMap<String, String>>,
    canary_due: bool,
    projects: Option<Vec<String>>,
}

impl Capacity {
    /// Whether the worker, which was set aside, may prove itself now.
    #[must_use]
    pub const fn canary_due(&self) -> bool {
        self.canary_due
    }

    /// What is left of it to be claimed for.
    #[must_use]
    pub fn offer(&self, free_slots: u32) -> Offer {
        Offer {
            device: self.device.clone(),
            free_slots: i32::try_from(free_slots).unwrap_or(i32::MAX).min(self.slots),
            memory_bytes: self.memory_bytes,
            labels: self.labels.0.clone(),
            projects: self.projects.clone(),
        }
    }
}

/// How old the note of a worker's last sign of life may become; writing it anew each time would cost more than it
/// says.
const NOTED_EVERY: Duration = Duration::from_secs(2);

impl Store {
    /// Adds a worker under a new id, which works for these projects; one whose canary gave something wrong gets no
    /// runs.
    ///
    /// # Errors
    /// Storage.
    #[tracing::instrument(name = "register", skip_all, fields(worker.name = %worker.name))]
    pub async fn register_worker(&self, worker: &RegisterWorker, projects: &Projects) -> Result<WorkerId> {
        let id = WorkerId::new();
        let wrong = worker.canary.as_ref().and_then(|report| report.check().err());
        sqlx::query(
            "insert into workers (id, name, version, device, device_name, slots, memory_bytes, labels, canary,
                                  set_aside_at, set_aside_reason, times_set_aside, trial_at, projects)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, case when $10::text is not null then now() end, $10,
                     case when $10::text is not null then 1 else 0 end,
                     case when $10::text is not null then now() + make_interval(secs => $11) end, $12)",
        )
        .bind(id.0)
        .bind(&worker.name)
        .bind(&worker.version)
        .bind(worker.device.as_str())
        .bind(&worker.device_name)
        .bind(i32::try_from(worker.slots).unwrap_or(i32::MAX))
        .bind(worker.memory_bytes.map(signed))
        .bind(Json(&worker.labels))
        .bind(worker.canary.as_ref().map(Json))
        .bind(&wrong)
        .bind(standing::until_trial(1).as_secs_f64())
        .bind(projects.filter())
        .execute(&self.pool)
        .await?;
        match wrong {
            None => tracing::info!(worker.id = %id, "registered"),
            Some(reason) => tracing::warn!(worker.id = %id, reason, "registered, and set aside"),
        }
        Ok(id)
    }

    /// Notes that workers were heard of, and says what those have that are known.
    ///
    /// # Errors
    /// Storage.
    pub async fn hear_of(&self, workers: &[WorkerId]) -> Result<HashMap<WorkerId, Capacity>> {
        let ids: Vec<Uuid> = workers.iter().map(|worker| worker.0).collect();
        let rows: Vec<Capacity> = sqlx::query_as(
            "with noted as (
                 update workers set last_seen_at = now()
                 where id in (select id from workers
                              where id = any ($1) and last_seen_at < now() - make_interval(secs => $2)
                              order by id for update skip locked)
             )
             select id, device, slots, memory_bytes, labels, coalesce(trial_at <= now(), false) as canary_due,
                    projects
             from workers where id = any ($1)",
        )
        .bind(ids)
        .bind(NOTED_EVERY.as_secs_f64())
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (WorkerId(row.id), row)).collect())
    }

    /// The workers that were heard of within a day or hold a run: those alive first, then by name. Of their runs
    /// only the visible ones are named.
    ///
    /// # Errors
    /// Storage.
    pub async fn list_workers(&self, visible: &Projects, lease: Duration) -> Result<WorkerList> {
        let rows: Vec<WorkerRow> = sqlx::query_as(
            "select w.id, w.name, w.version, w.device, w.device_name, w.slots, w.labels, w.registered_at,
                    w.last_seen_at, w.last_seen_at > now() - make_interval(secs => $1) as alive,
                    w.set_aside_at, w.set_aside_reason, w.trial_at, w.canary,
                    array(select a.run_id from attempts a join runs r on r.id = a.run_id
                          where a.worker_id = w.id and a.state = 'running'
                            and ($2::text[] is null or r.project = any($2)) order by a.run_id) as runs
             from workers w
             where w.last_seen_at > now() - interval '1 day'
                or exists (select from attempts a where a.worker_id = w.id and a.state = 'running')
             order by alive desc, w.name, w.id",
        )
        .bind(lease.as_secs_f64())
        .bind(visible.filter())
        .fetch_all(&self.pool)
        .await?;
        let workers = rows.into_iter().map(|row| {
            Ok(WorkerInfo {
                id: WorkerId(row.id),
                name: row.name,
                version: row.version,
                device: word(&row.device)?,
                device_name: row.device_name,
                slots: row.slots.unsigned_abs(),
                labels: row.labels.0,
                alive: row.alive,
                set_aside: row.set_aside_at.map(|since| SetAside {
                    reason: row.set_aside_reason.unwrap_or_default(),
                    since,
                    trial_at: row.trial_at,
                }),
                canary: row.canary.map(|Json(report)| report),
                runs: row.runs.into_iter().map(RunId).collect(),
                registered_at: row.registered_at,
                last_seen_at: row.last_seen_at,
            })
        });
        Ok(WorkerList {
            workers: workers.collect::<Result<_>>()?,
        })
    }
}
