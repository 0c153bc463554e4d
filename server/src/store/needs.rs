//! What runs need of their workers: asked for by the spec, and more where an attempt ran out of memory. Runs that
//! need the same wait in the same lane.

use std::collections::BTreeMap;

use motif_proto::id::RunId;
use motif_proto::spec::ExperimentSpec;
use motif_proto::spec::resources::ResourcesSpec;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::{Result, runs, signed};
use crate::domain::retry::Room;

/// Bytes in a megabyte, as specs count memory.
const MEGABYTE: u64 = 1_000_000;

/// The lane of runs that need this, made where there is none.
pub(super) async fn lane(connection: &mut PgConnection, project: &str, needs: &Needs<'_>) -> Result<i64> {
    let id: i64 = sqlx::query_scalar(
        "with found as (
             select id from lanes
             where project = $1 and device_need = $2 and slots = $3 and memory_bytes is not distinct from $4
               and labels = $5
         ), made as (
             insert into lanes (project, device_need, slots, memory_bytes, labels)
             select $1, $2, $3, $4, $5 where not exists (select from found)
             on conflict on constraint lanes_once do update set slots = excluded.slots
             returning id
         )
         select id from found union all select id from made limit 1",
    )
    .bind(project)
    .bind(needs.device)
    .bind(needs.slots)
    .bind(needs.memory_bytes)
    .bind(Json(needs.labels))
    .fetch_one(connection)
    .await?;
    Ok(id)
}

/// What a run needs, as the columns hold it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs<'a> {
    pub(super) device: &'a str,
    pub(super) slots: i32,
    pub(super) memory_bytes: Option<i64>,
    pub(super) labels: &'a BTreeMap<String, String>,
}

impl<'a> Needs<'a> {
    pub(super) fn of(spec: &'a ResourcesSpec) -> Self {
        Self {
            device: spec.device.as_str(),
            slots: i32::try_from(spec.slots).unwrap_or(i32::MAX),
            memory_bytes: spec
                .memory_mb
                .map(|megabytes| signed(megabytes.saturating_mul(MEGABYTE))),
            labels: &spec.labels,
        }
    }
}

/// Lets a run ask for this room from now on.
pub(super) async fn take_room(connection: &mut PgConnection, run: RunId, room: Room) -> Result<()> {
    let asked = asked(connection, run).await?;
    let needs = Needs {
        slots: i32::try_from(room.slots).unwrap_or(i32::MAX),
        memory_bytes: room.memory_bytes.map(signed),
        ..Needs::of(&asked.resources)
    };
    change(connection, run, &asked.project, &needs).await
}

/// Lets a run ask for no more than its spec does, of any worker.
pub(super) async fn take_asked_room(connection: &mut PgConnection, run: RunId) -> Result<()> {
    let asked = asked(connection, run).await?;
    change(connection, run, &asked.project, &Needs::of(&asked.resources)).await?;
    sqlx::query("update runs set avoid_worker_id = null, avoid_until = null where id = $1")
        .bind(run.0)
        .execute(connection)
        .await?;
    Ok(())
}

async fn asked(connection: &mut PgConnection, run: RunId) -> Result<ExperimentSpec> {
    let spec: String = sqlx::query_scalar(
        "select e.spec from runs r join experiments e on e.id = r.experiment_id where r.id = $1",
    )
    .bind(run.0)
    .fetch_one(connection)
    .await?;
    runs::read_spec(&spec)
}

async fn change(connection: &mut PgConnection, run: RunId, project: &str, needs: &Needs<'_>) -> Result<()> {
    let lane = lane(&mut *connection, project, needs).await?;
    sqlx::query("update runs set slots = $2, memory_bytes = $3, lane_id = $4 where id = $1")
        .bind(run.0)
        .bind(needs.slots)
        .bind(needs.memory_bytes)
        .bind(lane)
        .execute(connection)
        .await?;
    Ok(())
}
