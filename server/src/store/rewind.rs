//! Cuts a run's curves back to where an attempt resumes.

use motif_proto::id::RunId;
use motif_proto::metrics::series;
use sqlx::{FromRow, PgConnection};

use super::journal::bind_newest;
use super::settle::{self, Chunks};
use super::{Result, events, signed, unsigned};
use crate::domain::chunk::{self, Point};
use crate::domain::metrics::Newest;

/// A chunk that begins before the cut and ends behind it.
#[derive(FromRow)]
struct StraddlingRow {
    series_id: i64,
    number: i64,
    data: Vec<u8>,
}

/// Drops the points at `next_batch` and later, sets the run's row right and tells the streams.
pub(super) async fn rewind(connection: &mut PgConnection, run: RunId, next_batch: u64) -> Result<()> {
    settle::settle(connection, run).await?;
    shorten_straddling(connection, run, next_batch).await?;
    for statement in [
        "delete from series_chunks c using series s
         where s.run_id = $1 and c.series_id = s.id and c.first_step >= $2",
        // Rows of the pyramid over fewer points than they say; they come back when their points are complete.
        "delete from series_summaries c using series s
         where s.run_id = $1 and c.series_id = s.id and c.last_step >= $2",
    ] {
        sqlx::query(statement)
            .bind(run.0)
            .bind(signed(next_batch))
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(
        "update series s set points = n.points, last_step = n.last_step,
             newest = null, least = null, noted = (n.points = 0)
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

/// Cuts the chunks that begin before `next_batch` and end after it.
async fn shorten_straddling(connection: &mut PgConnection, run: RunId, next_batch: u64) -> Result<()> {
    let straddling: Vec<StraddlingRow> = sqlx::query_as(
        "select c.series_id, c.number, c.data
         from series s join series_chunks c on c.series_id = s.id
         where s.run_id = $1 and c.first_step < $2 and c.last_step >= $2",
    )
    .bind(run.0)
    .bind(signed(next_batch))
    .fetch_all(&mut *connection)
    .await?;
    let mut shorter = Chunks::default();
    for row in straddling {
        let mut points = chunk::decode(&row.data)?;
        points.retain(|&(step, _)| step < next_batch);
        shorter.push(row.series_id, unsigned(row.number), &points);
    }
    shorter.store(connection).await
}

/// Works out the run's row anew from the points that are left.
async fn note_rewound(connection: &mut PgConnection, run: RunId) -> Result<()> {
    let speed = points_at_end(connection, run, series::BATCHES_PER_SECOND, Some(1)).await?;
    let losses = points_at_end(connection, run, series::LOSS_TOTAL, Some(1)).await?;
    // Of the evaluations, which are few, every point is needed.
    let validations = points_at_end(connection, run, series::VALIDATION_TOTAL, None).await?;
    let newest = Newest::of(|name| match name {
        series::BATCHES_PER_SECOND => speed.clone(),
        series::LOSS_TOTAL => losses.clone(),
        _ => validations.clone(),
    });
    let update = sqlx::query(
        "update runs set batches_done = coalesce($2 + 1, first_batch), last_loss_step = $2, last_loss = $3,
             last_validation_step = $4, last_validation = $5,
             best_validation_step = $6, best_validation = $7, batches_per_second = $8
         where id = $1",
    )
    .bind(run.0);
    bind_newest(update, &newest).execute(connection).await?;
    Ok(())
}

/// The points of the last chunks of a series, or of all.
async fn points_at_end(
    connection: &mut PgConnection,
    run: RunId,
    name: &str,
    chunks: Option<i64>,
) -> Result<Vec<Point>> {
    let mut chunks: Vec<Vec<u8>> = sqlx::query_scalar(
        "select c.data from series s join series_chunks c on c.series_id = s.id
         where s.run_id = $1 and s.name = $2 order by c.first_step desc limit $3",
    )
    .bind(run.0)
    .bind(name)
    .bind(chunks)
    .fetch_all(connection)
    .await?;
    chunks.reverse();
    let mut points = Vec::new();
    for chunk in chunks {
        points.extend(chunk::decode(&chunk)?);
    }
    Ok(points)
}
