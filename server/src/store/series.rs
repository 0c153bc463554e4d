//! Curves: appended in chunks, read reduced.

use std::collections::HashMap;
use std::time::Duration;

use motif_proto::id::RunId;
use motif_proto::metrics::{Curve, MetricsAccepted, MetricsBatch, RunMetrics, SeriesPoints, series};
use motif_proto::worker::HeldLease;
use sqlx::{FromRow, PgConnection};

use super::events::Range;
use super::{Result, Store, attempts, events, signed, unsigned};
use crate::domain::{chunk, curve, metrics};
use crate::error::Error;
use crate::signals::Signal;

/// A series and the chunk at its end.
#[derive(FromRow)]
struct TailRow {
    id: i64,
    name: String,
    last_step: Option<i64>,
    chunk_first_step: Option<i64>,
    chunk_points: Option<i32>,
}

/// A chunk and the name of its series.
#[derive(FromRow)]
pub(super) struct ChunkRow {
    pub(super) name: String,
    pub(super) first_step: i64,
    points: i32,
    steps: Vec<u8>,
    values: Vec<u8>,
}

impl ChunkRow {
    pub(super) fn decode(&self) -> Result<Vec<(u64, f64)>> {
        let points = self.points.unsigned_abs() as usize;
        Ok(chunk::decode(
            unsigned(self.first_step),
            points,
            &self.steps,
            &self.values,
        )?)
    }
}

/// Which part of a run's curves is asked for.
#[derive(Clone, Debug)]
pub struct CurveQuery {
    /// Names of the series; none means all.
    pub series: Option<Vec<String>>,
    /// First step.
    pub from: u64,
    /// Last step.
    pub to: u64,
    /// Most points of each curve.
    pub points: usize,
}

impl Store {
    /// Appends a batch of metrics to the curves of the attempt's run. Safe to repeat.
    ///
    /// # Errors
    /// [`Error::InvalidMetrics`], [`Error::UnknownAttempt`], [`Error::StaleLease`], [`Error::SequenceGap`],
    /// storage.
    #[tracing::instrument(name = "ingest", level = "debug", skip_all, fields(attempt.id = %batch.attempt))]
    pub async fn append_metrics(&self, batch: &MetricsBatch, lease: Duration) -> Result<MetricsAccepted> {
        metrics::check(batch).map_err(Error::InvalidMetrics)?;
        let mut tx = self.pool.begin().await?;
        let held = HeldLease {
            attempt: batch.attempt,
            token: batch.token,
        };
        let locked = attempts::lock_live(&mut tx, held).await?;
        attempts::require_sequence(&locked, batch.sequence)?;
        if batch.sequence < locked.next_sequence {
            tx.commit().await?;
            return Ok(MetricsAccepted {
                next_sequence: locked.next_sequence,
            });
        }
        let given: Vec<&SeriesPoints> = batch
            .series
            .iter()
            .filter(|series| !series.steps.is_empty())
            .collect();
        append(&mut tx, locked.run, &given).await?;
        note_newest(&mut tx, locked.run, &given).await?;
        let next_sequence = batch.sequence + 1;
        attempts::advance(&mut tx, batch.attempt, next_sequence, lease).await?;
        if !given.is_empty() {
            let ranges = given.iter().filter_map(|series| Range::of(series)).collect();
            events::record_metrics(&mut tx, locked.run, ranges).await?;
        }
        tx.commit().await?;
        self.tell(Signal::Run(locked.run));
        Ok(MetricsAccepted { next_sequence })
    }

    /// The curves of a run, each reduced to the points asked for.
    ///
    /// # Errors
    /// [`Error::UnknownRun`], storage.
    #[tracing::instrument(name = "curves", level = "debug", skip_all, fields(run.id = %run))]
    pub async fn curves(&self, run: RunId, query: &CurveQuery) -> Result<RunMetrics> {
        let mut connection = self.pool.acquire().await?;
        let known: bool = sqlx::query_scalar("select exists (select from runs where id = $1)")
            .bind(run.0)
            .fetch_one(&mut *connection)
            .await?;
        if !known {
            return Err(Error::UnknownRun(run));
        }
        let series: Vec<(i64, String, Option<i64>)> = sqlx::query_as(
            "select id, name, last_step from series
             where run_id = $1 and ($2::text[] is null or name = any($2)) and points > 0 order by name",
        )
        .bind(run.0)
        .bind(&query.series)
        .fetch_all(&mut *connection)
        .await?;
        let mut curves = Vec::with_capacity(series.len());
        for (id, name, last_step) in series {
            let points = points_between(&mut connection, id, query.from, query.to).await?;
            curves.push(reduce(name, points, query.points, last_step.map(unsigned)).await?);
        }
        Ok(RunMetrics { run, series: curves })
    }

    /// The points of a run that lie in the ranges, as they are stored now.
    ///
    /// # Errors
    /// Storage.
    pub async fn points_in(&self, run: RunId, ranges: &[Range]) -> Result<Vec<SeriesPoints>> {
        let rows: Vec<ChunkRow> = sqlx::query_as(
            "select s.name, c.first_step, c.points, c.steps, c.values
             from unnest($2::text[], $3::bigint[], $4::bigint[]) as r (name, first_step, last_step)
             join series s on s.run_id = $1 and s.name = r.name
             join series_chunks c
               on c.series_id = s.id and c.first_step <= r.last_step and c.last_step >= r.first_step
             order by s.name, c.first_step",
        )
        .bind(run.0)
        .bind(ranges.iter().map(|range| range.name.as_str()).collect::<Vec<_>>())
        .bind(ranges.iter().map(|range| signed(range.first)).collect::<Vec<_>>())
        .bind(ranges.iter().map(|range| signed(range.last)).collect::<Vec<_>>())
        .fetch_all(&self.pool)
        .await?;
        let mut series: Vec<SeriesPoints> = Vec::new();
        for row in rows {
            let Some(range) = ranges.iter().find(|range| range.name == row.name) else {
                continue;
            };
            let points = row
                .decode()?
                .into_iter()
                .filter(|(step, _)| range.contains(*step));
            if series.last().is_none_or(|last| last.name != row.name) {
                series.push(SeriesPoints {
                    name: row.name.clone(),
                    steps: Vec::new(),
                    values: Vec::new(),
                });
            }
            if let Some(last) = series.last_mut() {
                for (step, value) in points {
                    last.steps.push(step);
                    last.values.push(motif_proto::metrics::Measured(value));
                }
            }
        }
        series.retain(|series| !series.steps.is_empty());
        Ok(series)
    }
}

/// Reduces long curves off the async threads.
async fn reduce(name: String, points: Vec<(u64, f64)>, most: usize, last_step: Option<u64>) -> Result<Curve> {
    const AT_ONCE: usize = 20_000;
    if points.len() <= AT_ONCE {
        return Ok(curve::reduce(name, &points, most, last_step));
    }
    tokio::task::spawn_blocking(move || curve::reduce(name, &points, most, last_step))
        .await
        .map_err(|error| Error::Damaged(format!("a curve could not be reduced: {error}")))
}

async fn points_between(
    connection: &mut PgConnection,
    series: i64,
    from: u64,
    to: u64,
) -> Result<Vec<(u64, f64)>> {
    let rows: Vec<ChunkRow> = sqlx::query_as(
        "select '' as name, first_step, points, steps, values from series_chunks
         where series_id = $1 and last_step >= $2 and first_step <= $3 order by first_step",
    )
    .bind(series)
    .bind(signed(from))
    .bind(signed(to))
    .fetch_all(connection)
    .await?;
    let mut points = Vec::new();
    for row in rows {
        points.extend(
            row.decode()?
                .into_iter()
                .filter(|(step, _)| (from..=to).contains(step)),
        );
    }
    Ok(points)
}

/// Rows for `unnest`, column by column.
#[derive(Default)]
struct Pieces {
    series: Vec<i64>,
    first_step: Vec<i64>,
    last_step: Vec<i64>,
    points: Vec<i32>,
    steps: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
}

impl Pieces {
    /// Adds points that follow `previous` to the chunk that begins at `first_step`.
    fn push(&mut self, series: i64, first_step: u64, previous: u64, steps: &[u64], values: &[f64]) {
        let encoded = chunk::encode(previous, steps, values);
        self.series.push(series);
        self.first_step.push(signed(first_step));
        self.last_step
            .push(signed(steps.last().copied().unwrap_or(previous)));
        self.points.push(i32::try_from(steps.len()).unwrap_or(i32::MAX));
        self.steps.push(encoded.steps);
        self.values.push(encoded.values);
    }
}

async fn append(connection: &mut PgConnection, run: RunId, given: &[&SeriesPoints]) -> Result<()> {
    let tails = tails(connection, run, given).await?;
    let mut longer = Pieces::default();
    let mut new = Pieces::default();
    let (mut ids, mut counts, mut last_steps) = (Vec::new(), Vec::new(), Vec::new());
    for series in given {
        let tail = tails
            .get(series.name.as_str())
            .ok_or_else(|| Error::Damaged(format!("series `{}` has no row", series.name)))?;
        let first = series.steps[0];
        let values: Vec<f64> = series.values.iter().map(|value| value.0).collect();
        let last_step = tail.last_step.map(unsigned);
        if let Some(last) = last_step.filter(|&last| first <= last) {
            let name = &series.name;
            return Err(Error::InvalidMetrics(format!(
                "series `{name}` goes on from step {last}, so it cannot have step {first} again"
            )));
        }
        let room = match (tail.chunk_points, tail.chunk_first_step, last_step) {
            (Some(points), Some(chunk_first), Some(last))
                if points.unsigned_abs() as usize + series.steps.len() <= chunk::MAX_POINTS =>
            {
                Some((unsigned(chunk_first), last))
            }
            _ => None,
        };
        if let Some((chunk_first, last)) = room {
            longer.push(tail.id, chunk_first, last, &series.steps, &values);
        } else {
            for (steps, values) in series
                .steps
                .chunks(chunk::MAX_POINTS)
                .zip(values.chunks(chunk::MAX_POINTS))
            {
                new.push(tail.id, steps[0], steps[0], steps, values);
            }
        }
        ids.push(tail.id);
        counts.push(i64::try_from(series.steps.len()).unwrap_or(i64::MAX));
        last_steps.push(signed(series.steps[series.steps.len() - 1]));
    }
    if !longer.series.is_empty() {
        sqlx::query(
            "update series_chunks c
             set last_step = p.last_step, points = c.points + p.points,
                 steps = c.steps || p.steps, values = c.values || p.values
             from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::int[], $5::bytea[], $6::bytea[])
                  as p (series_id, first_step, last_step, points, steps, values)
             where c.series_id = p.series_id and c.first_step = p.first_step",
        )
        .bind(longer.series)
        .bind(longer.first_step)
        .bind(longer.last_step)
        .bind(longer.points)
        .bind(longer.steps)
        .bind(longer.values)
        .execute(&mut *connection)
        .await?;
    }
    if !new.series.is_empty() {
        sqlx::query(
            "insert into series_chunks (series_id, first_step, last_step, points, steps, values)
             select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::int[], $5::bytea[], $6::bytea[])",
        )
        .bind(new.series)
        .bind(new.first_step)
        .bind(new.last_step)
        .bind(new.points)
        .bind(new.steps)
        .bind(new.values)
        .execute(&mut *connection)
        .await?;
    }
    sqlx::query(
        "update series s set points = s.points + n.points, last_step = n.last_step
         from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as n (id, points, last_step) where s.id = n.id",
    )
    .bind(ids)
    .bind(counts)
    .bind(last_steps)
    .execute(connection)
    .await?;
    Ok(())
}

/// The ends of the series named, made where they are new.
async fn tails(
    connection: &mut PgConnection,
    run: RunId,
    given: &[&SeriesPoints],
) -> Result<HashMap<String, TailRow>> {
    const TAILS: &str = "
        select s.id, s.name, s.last_step, c.first_step as chunk_first_step, c.points as chunk_points
        from series s
        left join lateral (
            select first_step, points from series_chunks where series_id = s.id order by first_step desc limit 1
        ) c on true
        where s.run_id = $1 and s.name = any($2)";
    let names: Vec<&str> = given.iter().map(|series| series.name.as_str()).collect();
    let mut rows: Vec<TailRow> = sqlx::query_as(TAILS)
        .bind(run.0)
        .bind(&names)
        .fetch_all(&mut *connection)
        .await?;
    if rows.len() < names.len() {
        sqlx::query(
            "insert into series (run_id, name) select $1, unnest($2::text[])
             on conflict on constraint series_name_once do nothing",
        )
        .bind(run.0)
        .bind(&names)
        .execute(&mut *connection)
        .await?;
        rows = sqlx::query_as(TAILS)
            .bind(run.0)
            .bind(&names)
            .fetch_all(connection)
            .await?;
    }
    Ok(rows.into_iter().map(|row| (row.name.clone(), row)).collect())
}

/// Brings the run's row up to date with the points just stored.
pub(super) async fn note_newest(
    connection: &mut PgConnection,
    run: RunId,
    given: &[&SeriesPoints],
) -> Result<()> {
    let newest = |name: &str| {
        let series = given.iter().find(|series| series.name == name)?;
        Some((signed(*series.steps.last()?), series.values.last()?.0))
    };
    let loss = newest(series::LOSS_TOTAL);
    let validation = newest(series::VALIDATION_TOTAL);
    let best = given
        .iter()
        .find(|series| series.name == series::VALIDATION_TOTAL)
        .and_then(|series| {
            least(
                series
                    .steps
                    .iter()
                    .copied()
                    .zip(series.values.iter().map(|value| value.0)),
            )
        });
    sqlx::query(
        "update runs set
             batches_done = coalesce($2 + 1, batches_done),
             last_loss_step = coalesce($2, last_loss_step), last_loss = coalesce($3, last_loss),
             last_validation_step = coalesce($4, last_validation_step),
             last_validation = coalesce($5, last_validation),
             best_validation_step =
                 case when $7 < coalesce(best_validation, 'infinity') then $6 else best_validation_step end,
             best_validation = least(best_validation, $7),
             batches_per_second = coalesce($8, batches_per_second)
         where id = $1",
    )
    .bind(run.0)
    .bind(loss.map(|(step, _)| step))
    .bind(loss.map(|(_, value)| value))
    .bind(validation.map(|(step, _)| step))
    .bind(validation.map(|(_, value)| value))
    .bind(best.map(|(step, _)| step))
    .bind(best.map(|(_, value)| value))
    .bind(newest(series::BATCHES_PER_SECOND).map(|(_, value)| value))
    .execute(connection)
    .await?;
    Ok(())
}

/// The first point with the least finite value.
fn least(points: impl Iterator<Item = (u64, f64)>) -> Option<(i64, f64)> {
    points
        .filter(|(_, value)| value.is_finite())
        .min_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(step, value)| (signed(step), value))
}
