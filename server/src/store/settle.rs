//! Puts the points of a journal into the chunks of their series, and builds the pyramid over the chunks that are
//! complete. Every chunk of a series but the last has [`chunk::POINTS`] points; only the last is ever written anew.

use std::collections::HashMap;

use motif_proto::id::RunId;
use sqlx::{FromRow, PgConnection};

use super::journal::Journals;
use super::{Result, Store, signed, unsigned};
use crate::domain::chunk::{self, Point};
use crate::domain::summary::{self, Bucket, FAN_OUT};

/// A series before the journal's points are added.
#[derive(FromRow)]
struct SeriesRow {
    id: i64,
    name: String,
    points: i64,
    /// The last chunk, where it has room.
    open_chunk: Option<Vec<u8>>,
}

/// A row of chunks, to be written.
#[derive(Default)]
pub(super) struct Chunks {
    series: Vec<i64>,
    number: Vec<i64>,
    first_step: Vec<i64>,
    last_step: Vec<i64>,
    points: Vec<i32>,
    data: Vec<Vec<u8>>,
}

impl Chunks {
    pub(super) fn push(&mut self, series: i64, number: u64, points: &[Point]) {
        let (Some(first), Some(last)) = (points.first(), points.last()) else {
            return;
        };
        self.series.push(series);
        self.number.push(signed(number));
        self.first_step.push(signed(first.0));
        self.last_step.push(signed(last.0));
        self.points.push(i32::try_from(points.len()).unwrap_or(i32::MAX));
        self.data.push(chunk::encode(points));
    }

    /// Writes the chunks; one that is there already is written anew.
    pub(super) async fn store(self, connection: &mut PgConnection) -> Result<()> {
        sqlx::query(
            "insert into series_chunks (series_id, number, first_step, last_step, points, data)
             select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::int[], $6::bytea[])
             on conflict (series_id, first_step) do update
             set last_step = excluded.last_step, points = excluded.points, data = excluded.data",
        )
        .bind(self.series)
        .bind(self.number)
        .bind(self.first_step)
        .bind(self.last_step)
        .bind(self.points)
        .bind(self.data)
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// Rows of one level of the pyramid, to be written: series, number, buckets.
type Summaries = Vec<(i64, u64, Vec<Bucket>)>;

/// Moves everything that is in the run's journal into chunks. The run's row must be locked.
pub(super) async fn settle(connection: &mut PgConnection, run: RunId) -> Result<()> {
    let journals = Journals::read(connection, &[run.0], 0, u64::MAX).await?;
    let names: Vec<&str> = journals.names(run).map(|(name, _)| name).collect();
    if names.is_empty() {
        return Ok(());
    }
    let mut newest: HashMap<&str, Vec<Point>> = names
        .iter()
        .copied()
        .zip(journals.points(run, |_| true)?)
        .filter(|(_, points)| !points.is_empty())
        .collect();
    let series = ensure_series(connection, run, &newest.keys().copied().collect::<Vec<_>>()).await?;

    let mut chunks = Chunks::default();
    let mut complete = Summaries::new();
    let (mut ids, mut counts, mut last_steps) = (Vec::new(), Vec::new(), Vec::new());
    for row in series {
        let Some(more) = newest.remove(row.name.as_str()) else {
            continue;
        };
        let count = unsigned(row.points) + more.len() as u64;
        let mut points = match &row.open_chunk {
            Some(open) => chunk::decode(open)?,
            None => Vec::new(),
        };
        points.extend(more);
        for (number, points) in
            (unsigned(row.points) / chunk::POINTS as u64..).zip(points.chunks(chunk::POINTS))
        {
            chunks.push(row.id, number, points);
            if points.len() == chunk::POINTS {
                complete.push((row.id, number, summary::of_chunk(points)));
            }
        }
        ids.push(row.id);
        counts.push(signed(count));
        last_steps.push(points.last().map(|&(step, _)| signed(step)));
    }
    chunks.store(connection).await?;
    build_pyramid(connection, complete).await?;
    sqlx::query(
        "update series s set points = n.points, last_step = n.last_step
         from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as n (id, points, last_step) where s.id = n.id",
    )
    .bind(ids)
    .bind(counts)
    .bind(last_steps)
    .execute(&mut *connection)
    .await?;
    journals.write_notes(connection, run).await?;
    // Its batches go with it.
    sqlx::query("delete from journals where run_id = $1")
        .bind(run.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// The rows of the series named, made where they are new.
async fn ensure_series(connection: &mut PgConnection, run: RunId, names: &[&str]) -> Result<Vec<SeriesRow>> {
    sqlx::query(
        "insert into series (run_id, name) select $1, unnest($2::text[])
         on conflict on constraint series_name_once do nothing",
    )
    .bind(run.0)
    .bind(names)
    .execute(&mut *connection)
    .await?;
    Ok(sqlx::query_as(
        "select s.id, s.name, s.points, c.data as open_chunk
         from series s
         left join lateral (
             select points, data from series_chunks where series_id = s.id order by first_step desc limit 1
         ) c on c.points < $3
         where s.run_id = $1 and s.name = any($2)",
    )
    .bind(run.0)
    .bind(names)
    .bind(i32::try_from(chunk::POINTS).unwrap_or(i32::MAX))
    .fetch_all(connection)
    .await?)
}

/// Writes the rows of the chunks that were completed, and every row above that this completes.
async fn build_pyramid(connection: &mut PgConnection, mut rows: Summaries) -> Result<()> {
    let mut level = 0i16;
    while !rows.is_empty() {
        store_summaries(connection, level, &rows).await?;
        rows = completed_above(connection, level, &rows).await?;
        level += 1;
    }
    Ok(())
}

async fn store_summaries(connection: &mut PgConnection, level: i16, rows: &Summaries) -> Result<()> {
    let step =
        |bucket: Option<&Bucket>, step: fn(&Bucket) -> u64| bucket.map_or(0, |bucket| signed(step(bucket)));
    sqlx::query(
        "insert into series_summaries (series_id, level, number, first_step, last_step, data)
         select series_id, $2, number, first_step, last_step, data
         from unnest($1::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[])
              as r (series_id, number, first_step, last_step, data)",
    )
    .bind(rows.iter().map(|(series, _, _)| *series).collect::<Vec<_>>())
    .bind(level)
    .bind(
        rows.iter()
            .map(|(_, number, _)| signed(*number))
            .collect::<Vec<_>>(),
    )
    .bind(
        rows.iter()
            .map(|(_, _, row)| step(row.first(), |b| b.first))
            .collect::<Vec<_>>(),
    )
    .bind(
        rows.iter()
            .map(|(_, _, row)| step(row.last(), |b| b.last))
            .collect::<Vec<_>>(),
    )
    .bind(
        rows.iter()
            .map(|(_, _, row)| summary::encode(row))
            .collect::<Vec<_>>(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The rows of the level above that `rows`, just written, complete.
async fn completed_above(connection: &mut PgConnection, level: i16, rows: &Summaries) -> Result<Summaries> {
    let fan_out = FAN_OUT as u64;
    let parents: Vec<(i64, u64)> = rows
        .iter()
        .filter(|(_, number, _)| (number + 1).is_multiple_of(fan_out))
        .map(|&(series, number, _)| (series, number / fan_out))
        .collect();
    if parents.is_empty() {
        return Ok(Summaries::new());
    }
    let below: Vec<(i64, i64, Vec<u8>)> = sqlx::query_as(
        "select p.series_id, p.number, s.data
         from unnest($1::bigint[], $2::bigint[]) as p (series_id, number)
         join series_summaries s
           on s.series_id = p.series_id and s.level = $3
              and s.number between p.number * $4 and p.number * $4 + $4 - 1
         order by p.series_id, p.number, s.number",
    )
    .bind(parents.iter().map(|(series, _)| *series).collect::<Vec<_>>())
    .bind(
        parents
            .iter()
            .map(|(_, number)| signed(*number))
            .collect::<Vec<_>>(),
    )
    .bind(level)
    .bind(signed(fan_out))
    .fetch_all(connection)
    .await?;
    let mut above = Summaries::new();
    for group in below.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let rows = group
            .iter()
            .map(|(_, _, data)| summary::decode(data))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        above.push((group[0].0, unsigned(group[0].1), summary::of_rows(rows)));
    }
    Ok(above)
}

impl Store {
    /// Runs that nobody works on and that still have a journal.
    ///
    /// # Errors
    /// Storage.
    pub async fn unsettled(&self) -> Result<Vec<RunId>> {
        let runs: Vec<uuid::Uuid> = sqlx::query_scalar(
            "select r.id from journals j join runs r on r.id = j.run_id where r.state <> 'running' limit 1000",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(runs.into_iter().map(RunId).collect())
    }

    /// Settles a run's journal, unless somebody is changing the run: then it is not the time.
    ///
    /// # Errors
    /// Storage, damaged data.
    pub async fn settle(&self, run: RunId) -> Result<()> {
        let mut tx = self.begin().await?;
        let locked: Option<uuid::Uuid> =
            sqlx::query_scalar("select id from runs where id = $1 for update skip locked")
                .bind(run.0)
                .fetch_optional(&mut *tx)
                .await?;
        if locked.is_some() {
            settle(&mut tx, run).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
