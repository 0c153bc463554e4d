//! Who works.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use motif_proto::id::{RunId, WorkerId};
use motif_proto::worker::{RegisterWorker, WorkerInfo, WorkerList};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Result, Store, signed, word};
use crate::domain::access::Projects;
use crate::error::Error;

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
    runs: Vec<Uuid>,
    registered_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
}

/// What the claim asks of a worker.
#[derive(FromRow)]
pub(super) struct Capacity {
    pub(super) device: String,
    pub(super) slots: i32,
    pub(super) memory_bytes: Option<i64>,
    pub(super) labels: Json<BTreeMap<String, String>>,
    pub(super) projects: Option<Vec<String>>,
}

/// Notes that the worker was heard of and says what it has.
pub(super) async fn hear_of(connection: &mut PgConnection, worker: WorkerId) -> Result<Capacity> {
    sqlx::query_as(
        "update workers set last_seen_at = now() where id = $1
         returning device, slots, memory_bytes, labels, projects",
    )
    .bind(worker.0)
    .fetch_optional(connection)
    .await?
    .ok_or(Error::UnknownWorker(worker))
}

impl Store {
    /// Adds a worker under a new id, which works for these projects.
    ///
    /// # Errors
    /// Storage.
    #[tracing::instrument(name = "register", skip_all, fields(worker.name = %worker.name))]
    pub async fn register_worker(&self, worker: &RegisterWorker, projects: &Projects) -> Result<WorkerId> {
        let id = WorkerId::new();
        sqlx::query(
            "insert into workers (id, name, version, device, device_name, slots, memory_bytes, labels, projects)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(id.0)
        .bind(&worker.name)
        .bind(&worker.version)
        .bind(worker.device.as_str())
        .bind(&worker.device_name)
        .bind(i32::try_from(worker.slots).unwrap_or(i32::MAX))
        .bind(worker.memory_bytes.map(signed))
        .bind(Json(&worker.labels))
        .bind(projects.filter())
        .execute(&self.pool)
        .await?;
        tracing::info!(worker.id = %id, "registered");
        Ok(id)
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
