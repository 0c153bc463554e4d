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
use crate::error::Error;

/// Bytes in a megabyte, as specs count memory.
const MEGABYTE: u64 = 1_000_000;

/// The lane of runs that need this, made where there is none.
pub(super) async fn lane(connection: &mut PgConnection, project: &str, needs: &Needs<'_>) -> Result<i64> {
    if let Some(lane) = find_lane(&mut *connection, project, needs).await? {
        return Ok(lane);
    }
    // Waits for another submission that is just making it, and then leaves it to that one.
    sqlx::query(
        "insert into lanes (project, device_need, slots, memory_bytes, labels) values ($1, $2, $3, $4, $5)
         on conflict on constraint lanes_once do nothing",
    )
    .bind(project)
    .bind(needs.device)
    .bind(needs.slots)
    .bind(needs.memory_bytes)
    .bind(Json(needs.labels))
    .execute(&mut *connection)
    .await?;
    find_lane(connection, project, needs)
        .await?
        .ok_or_else(|| Error::Damaged("a lane is not there that was just made".to_owned()))
}

async fn find_lane(connection: &mut PgConnection, project: &str, needs: &Needs<'_>) -> Result<Option<i64>> {
    let id = sqlx::query_scalar(
        "select id from lanes
         where project = $1 and device_need = $2 and slots = $3 and memory_bytes is not distinct from $4
           and labels_md5 = md5($5::jsonb::text)",
    )
    .bind(project)
    .bind(needs.device)
    .bind(needs.slots)
    .bind(needs.memory_bytes)
    .bind(Json(needs.labels))
    .fetch_optional(connection)
    .await?;
    Ok(id)
}

/// What a run needs, as the columns hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
