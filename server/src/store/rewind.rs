//! Cuts a run's curves back to where an attempt resumes.

use motif_proto::id::RunId;
use motif_proto::metrics::{Measured, SeriesPoints, series};
use sqlx::{FromRow, PgConnection};

use super::series::{ChunkRow, note_newest};
use super::{Result, events, signed};
use crate::domain::chunk;

#[derive(FromRow)]
struct StraddlingRow {
    series_id: i64,
    #[sqlx(flatten)]
    chunk: ChunkRow,
}

/// Drops the points at `next_batch` and later, sets the run's row right and tells the streams.
pub(super) async fn rewind(connection: &mut PgConnection, run: RunId, next_batch: u64) -> Result<()> {
    shorten_straddling(connection, run, next_batch).await?;
    sqlx::query(
        "delete from series_chunks c using series s
         where s.run_id = $1 and c.series_id = s.id and c.first_step >= $2",
    )
    .bind(run.0)
    .bind(signed(next_batch))
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "update series s set points = n.points, last_step = n.last_step
         from (
             select s.id, coalesce(sum(c.points), 0) as points, max(c.last_step) as last_step
             from series s left join series_chunks c on c.series_id = s.id
             where s.run_id = $1 group by s.id
         ) n where s.id = n.id",
    )
    .bind(run.0)
    .execute(&mut *connection)
    .await?;
    note_rewound(connection, run).await?;
    events::record_rewind(connection, run, next_batch).await
}

/// Works out the run's row anew from the points that are left.
async fn note_rewound(connection: &mut PgConnection, run: RunId) -> Result<()> {
    sqlx::query(
        "update runs set batches_done = first_batch, batches_per_second = null, last_loss_step = null, last_loss = null,
             last_validation_step = null, last_validation = null,
             best_validation_step = null, best_validation = null
         where id = $1",
    )
    .bind(run.0)
    .execute(&mut *connection)
    .await?;
    let mut left = Vec::new();
    for name in [
        series::LOSS_TOTAL,
        series::BATCHES_PER_SECOND,
        series::VALIDATION_TOTAL,
    ] {
        // Only of the evaluations, which are few, is every point needed.
        let chunks = if name == series::VALIDATION_TOTAL {
            None
        } else {
            Some(1i64)
        };
        let mut rows: Vec<ChunkRow> = sqlx::query_as(
            "select s.name, c.first_step, c.points, c.steps, c.values
             from series s join series_chunks c on c.series_id = s.id
             where s.run_id = $1 and s.name = $2 order by c.first_step desc limit $3",
        )
        .bind(run.0)
        .bind(name)
        .bind(chunks)
        .fetch_all(&mut *connection)
        .await?;
        rows.reverse();
        let mut points = SeriesPoints {
            name: name.to_owned(),
            steps: Vec::new(),
            values: Vec::new(),
        };
        for row in rows {
            for (step, value) in row.decode()? {
                points.steps.push(step);
                points.values.push(Measured(value));
            }
        }
        if !points.steps.is_empty() {
            left.push(points);
        }
    }
    note_newest(connection, run, &left.iter().collect::<Vec<_>>()).await
}

/// Cuts the chunks that begin before `next_batch` and end after it.
async fn shorten_straddling(connection: &mut PgConnection, run: RunId, next_batch: u64) -> Result<()> {
    let straddling: Vec<StraddlingRow> = sqlx::query_as(
        "select c.series_id, s.name, c.first_step, c.points, c.steps, c.values
         from series s join series_chunks c on c.series_id = s.id
         where s.run_id = $1 and c.first_step < $2 and c.last_step >= $2",
    )
    .bind(run.0)
    .bind(signed(next_batch))
    .fetch_all(&mut *connection)
    .await?;
    for row in straddling {
        let points = row.chunk.decode()?;
        let (steps, values): (Vec<u64>, Vec<f64>) =
            points.into_iter().filter(|(step, _)| *step < next_batch).unzip();
        let first = steps.first().copied().unwrap_or(next_batch);
        let shorter = chunk::encode(first, &steps, &values);
        sqlx::query(
            "update series_chunks set last_step = $3, points = $4, steps = $5, values = $6
             where series_id = $1 and first_step = $2",
        )
        .bind(row.series_id)
        .bind(row.chunk.first_step)
        .bind(signed(steps.last().copied().unwrap_or(first)))
        .bind(i32::try_from(steps.len()).unwrap_or(i32::MAX))
        .bind(shorter.steps)
        .bind(shorter.values)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
