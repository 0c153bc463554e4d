//! What happened to a run, for the streams that tell it.

use std::time::Duration;

use motif_proto::artifact::Artifact;
use motif_proto::event::{Event, LogAppended, MetricsAppended, Rewind};
use motif_proto::id::RunId;
use motif_proto::log::LogCursor;
use motif_proto::metrics::SeriesPoints;
use motif_proto::run::Checkpoint;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::{Result, Store};

/// Old events that one statement deletes.
const PRUNED_AT_ONCE: i64 = 2000;
/// Events that are read at once.
const PAGE: i64 = 256;

/// The steps of a series that a batch of metrics brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Name of the series.
    pub name: String,
    /// First step.
    pub first: u64,
    /// Last step.
    pub last: u64,
}

impl Range {
    /// The range of these points; none if there are none.
    #[must_use]
    pub fn of(series: &SeriesPoints) -> Option<Self> {
        Some(Self {
            name: series.name.clone(),
            first: *series.steps.first()?,
            last: *series.steps.last()?,
        })
    }

    /// Whether a step lies in the range.
    #[must_use]
    pub fn contains(&self, step: u64) -> bool {
        (self.first..=self.last).contains(&step)
    }
}

/// An event as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub(super) enum Stored {
    Metrics { ranges: Vec<Range> },
    Rewind { next_batch: u64 },
    Checkpoint(Box<Checkpoint>),
    Artifact(Box<Artifact>),
    Log { attempt: u32, lines: u64 },
    Changed {},
}

impl Stored {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Metrics { .. } => "metrics",
            Self::Rewind { .. } => "rewind",
            Self::Checkpoint(_) => "checkpoint",
            Self::Artifact(_) => "artifact",
            Self::Log { .. } => "log",
            Self::Changed {} => "changed",
        }
    }
}

/// Where a stream of one run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Everything after this event is still there.
    After(i64),
    /// Events in between are gone, or the number never was.
    Lost,
}

/// Records that the run's state, progress or best value changed.
pub(super) async fn record_change(connection: &mut PgConnection, run: RunId) -> Result<()> {
    record(connection, run, &Stored::Changed {}).await
}

/// The same of many runs, whose rows are locked or new.
pub(super) async fn record_changes(connection: &mut PgConnection, runs: &[RunId]) -> Result<()> {
    if runs.is_empty() {
        return Ok(());
    }
    let event = Stored::Changed {};
    sqlx::query(
        "with numbered as (
             update runs set last_event = last_event + 1, updated_at = clock_timestamp(),
                 touched_at = clock_timestamp()
             where id = any($1) returning id, last_event
         )
         insert into events (run_id, id, kind, payload) select id, last_event, $2, $3 from numbered",
    )
    .bind(runs.iter().map(|run| run.0).collect::<Vec<_>>())
    .bind(event.kind())
    .bind(Json(event))
    .execute(connection)
    .await?;
    Ok(())
}

/// What is stored of a change; for statements that number it like [`record`].
pub(super) const fn of_change() -> Json<Stored> {
    Json(Stored::Changed {})
}

/// What is stored of points that were appended; the journal's statement numbers it like [`record`].
pub(super) const fn of_metrics(ranges: Vec<Range>) -> Json<Stored> {
    Json(Stored::Metrics { ranges })
}

/// Records that points were dropped.
pub(super) async fn record_rewind(connection: &mut PgConnection, run: RunId, next_batch: u64) -> Result<()> {
    record(connection, run, &Stored::Rewind { next_batch }).await
}

/// Records a new checkpoint.
pub(super) async fn record_checkpoint(connection: &mut PgConnection, checkpoint: &Checkpoint) -> Result<()> {
    record(
        connection,
        checkpoint.run,
        &Stored::Checkpoint(Box::new(checkpoint.clone())),
    )
    .await
}

/// Records a new artifact.
pub(super) async fn record_artifact(connection: &mut PgConnection, artifact: &Artifact) -> Result<()> {
    record(
        connection,
        artifact.run,
        &Stored::Artifact(Box::new(artifact.clone())),
    )
    .await
}

/// Records that an attempt's log has grown to so many lines.
pub(super) async fn record_log(
    connection: &mut PgConnection,
    run: RunId,
    attempt: u32,
    lines: u64,
) -> Result<()> {
    record(connection, run, &Stored::Log { attempt, lines }).await
}

/// Numbers the event under the run's lock, so that a reader that saw one number saw all below it.
async fn record(connection: &mut PgConnection, run: RunId, event: &Stored) -> Result<()> {
    sqlx::query(
        "with numbered as (
             update runs set last_event = last_event + 1, updated_at = clock_timestamp(), touched_at = clock_timestamp()
             where id = $1 returning id, last_event
         )
         insert into events (run_id, id, kind, payload) select id, last_event, $2, $3 from numbered",
    )
    .bind(run.0)
    .bind(event.kind())
    .bind(Json(event))
    .execute(connection)
    .await?;
    Ok(())
}

impl Store {
    /// Whether a stream can go on after the event with this number.
    ///
    /// # Errors
    /// Storage.
    pub async fn resume_events(&self, run: RunId, seen: i64) -> Result<Resume> {
        let unbroken: bool = sqlx::query_scalar(
            "select exists (select from runs where id = $1 and last_event = $2)
                 or exists (select from events where run_id = $1 and id = $2 + 1 and $2 >= 0)",
        )
        .bind(run.0)
        .bind(seen)
        .fetch_one(&self.pool)
        .await?;
        Ok(if unbroken {
            Resume::After(seen)
        } else {
            Resume::Lost
        })
    }

    /// The events of a run after the one given, a page at most. Changes of the run itself have a number and no
    /// event: the reader sends the current summary after each page.
    ///
    /// # Errors
    /// Storage.
    pub async fn events_after(&self, run: RunId, seen: i64) -> Result<Vec<(i64, Option<Event>)>> {
        let rows: Vec<(i64, Json<Stored>)> = sqlx::query_as(
            "select id, payload from events where run_id = $1 and id > $2 order by id limit $3",
        )
        .bind(run.0)
        .bind(seen)
        .bind(PAGE)
        .fetch_all(&self.pool)
        .await?;
        let mut events = Vec::with_capacity(rows.len());
        for (id, Json(stored)) in rows {
            let event = match stored {
                Stored::Changed {} => None,
                Stored::Rewind { next_batch } => Some(Event::Rewind(Rewind { run, next_batch })),
                Stored::Checkpoint(checkpoint) => Some(Event::Checkpoint(*checkpoint)),
                Stored::Artifact(artifact) => Some(Event::Artifact(*artifact)),
                Stored::Log { attempt, lines } => {
                    let end = LogCursor { attempt, lines };
                    Some(Event::Log(LogAppended { run, end }))
                }
                Stored::Metrics { ranges } => {
                    let series = self.points_in(run, &ranges).await?;
                    Some(Event::Metrics(MetricsAppended { run, series }))
                }
            };
            events.push((id, event));
        }
        Ok(events)
    }

    /// Deletes events older than `age`. Returns how many.
    ///
    /// # Errors
    /// Storage.
    pub async fn prune_events(&self, age: Duration) -> Result<u64> {
        let mut count = 0;
        loop {
            let deleted = sqlx::query(
                "delete from events e using (
                     select run_id, id from events
                     where created_at < now() - make_interval(secs => $1) limit $2
                 ) old where e.run_id = old.run_id and e.id = old.id",
            )
            .bind(age.as_secs_f64())
            .bind(PRUNED_AT_ONCE)
            .execute(&self.pool)
            .await?
            .rows_affected();
            count += deleted;
            if deleted < PRUNED_AT_ONCE.unsigned_abs() {
                return Ok(count);
            }
        }
    }
}
