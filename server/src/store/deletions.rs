//! Deletes runs: at once what is small and what names them, bit by bit what may be much.
//!
//! A run that is gone has no row any more, so no list, no claim and no late worker finds it. Its points and events
//! are found by its id alone, in batches that are small enough never to be in anybody's way. A batch is taken under
//! the lock of its deletion, which another coordinator skips.

use chrono::{DateTime, Utc};
use motif_proto::id::RunId;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Result, Store, word};
use crate::error::Error;
use crate::signals::Signal;

/// Most rows of a table that one statement deletes.
pub const BATCH: i64 = 200;
/// Most runs that one transaction takes away.
const RUNS_AT_ONCE: usize = 50;
/// Runs that are named to whoever may not delete what they start from.
const NAMED: i64 = 5;

/// What may be much of a run, each statement at most [`BATCH`] rows, in the order in which it goes: rows that others
/// refer to come after those.
const SWEEP: [&str; 6] = [
    "delete from journal_batches b using (
         select run_id, number from journal_batches where run_id = $1 limit $2
     ) d where b.run_id = d.run_id and b.number = d.number",
    "delete from journals where run_id in (select run_id from journals where run_id = $1 limit $2)",
    "delete from series_chunks c using (
         select c.series_id, c.first_step from series s join series_chunks c on c.series_id = s.id
         where s.run_id = $1 limit $2
     ) d where c.series_id = d.series_id and c.first_step = d.first_step",
    "delete from series_summaries c using (
         select c.series_id, c.level, c.first_step from series s join series_summaries c on c.series_id = s.id
         where s.run_id = $1 limit $2
     ) d where c.series_id = d.series_id and c.level = d.level and c.first_step = d.first_step",
    "delete from series where id in (select id from series where run_id = $1 limit $2)",
    "delete from events e using (
         select run_id, id from events where run_id = $1 limit $2
     ) d where e.run_id = d.run_id and e.id = d.id",
];

/// What goes with a run in the same transaction, in an order that every reference allows.
const REMOVE: [&str; 5] = [
    "insert into deletions (run_id) select unnest($1::uuid[]) on conflict do nothing",
    "update experiments e set base_checkpoint_id = null
     from runs r where r.id = any($1) and e.id = r.experiment_id and e.base_checkpoint_id is not null",
    "delete from artifacts where run_id = any($1)",
    "delete from checkpoints where run_id = any($1)",
    // Their uploads go with them.
    "delete from attempts where run_id = any($1)",
];

#[derive(FromRow)]
struct RunRow {
    id: Uuid,
    state: String,
}

impl Store {
    /// Deletes runs that have ended and from which no other run starts. Their names are gone when this returns; the
    /// rest follows in the background. Safe to repeat.
    ///
    /// # Errors
    /// [`Error::UnknownRun`], [`Error::RunNotEnded`], [`Error::RunInUse`]: then nothing is deleted; storage.
    #[tracing::instrument(name = "delete", skip_all, fields(runs = runs.len()))]
    pub async fn delete_runs(&self, runs: &[RunId]) -> Result<()> {
        let mut ids: Vec<Uuid> = runs.iter().map(|run| run.0).collect();
        // Whatever starts from a run is younger: so it goes before, and locks are taken in one order.
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.dedup();
        let mut tx = self.pool.begin().await?;
        check(&mut tx, &ids, &ids).await?;
        tx.rollback().await?;
        for some in ids.chunks(RUNS_AT_ONCE) {
            let mut tx = self.pool.begin().await?;
            check(&mut tx, some, &ids).await?;
            remove(&mut tx, some).await?;
            tx.commit().await?;
            for run in some {
                self.tell(Signal::Run(RunId(*run)));
            }
        }
        tracing::info!("deleted; what is left goes in the background");
        Ok(())
    }

    /// Takes a batch away of what deleted runs left. Returns how many rows of a table, none when nothing is left.
    ///
    /// # Errors
    /// Storage.
    pub async fn sweep_deleted(&self) -> Result<Option<u64>> {
        let mut tx = self.pool.begin().await?;
        let run: Option<Uuid> = sqlx::query_scalar(
            "select run_id from deletions where finished_at is null
             order by requested_at limit 1 for update skip locked",
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(run) = run else {
            return Ok(None);
        };
        let mut swept = 0;
        for statement in SWEEP {
            swept = sqlx::query(statement)
                .bind(run)
                .bind(BATCH)
                .execute(&mut *tx)
                .await?
                .rows_affected();
            if swept > 0 {
                break;
            }
        }
        if swept == 0 {
            sqlx::query("update deletions set finished_at = now() where run_id = $1")
                .bind(run)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(Some(swept))
    }

    /// When a run was deleted last.
    ///
    /// # Errors
    /// Storage.
    pub async fn newest_deletion(&self) -> Result<Option<DateTime<Utc>>> {
        Ok(
            sqlx::query_scalar("select requested_at from deletions order by requested_at desc limit 1")
                .fetch_optional(&self.pool)
                .await?,
        )
    }

    /// Forgets deletions that came to their end a day ago.
    ///
    /// # Errors
    /// Storage.
    pub async fn forget_deletions(&self) -> Result<u64> {
        let forgotten = sqlx::query(
            "delete from deletions where run_id in (
                 select run_id from deletions where finished_at < now() - interval '1 day' limit 1000
             )",
        )
        .execute(&self.pool)
        .await?;
        Ok(forgotten.rows_affected())
    }
}

/// Locks the runs and sees to it that they can go, together with `all`.
async fn check(connection: &mut PgConnection, runs: &[Uuid], all: &[Uuid]) -> Result<()> {
    let found: Vec<RunRow> =
        sqlx::query_as("select id, state from runs where id = any($1) order by id desc for update")
            .bind(runs)
            .fetch_all(&mut *connection)
            .await?;
    if found.len() < runs.len() {
        let deleted: Vec<Uuid> = sqlx::query_scalar("select run_id from deletions where run_id = any($1)")
            .bind(runs)
            .fetch_all(&mut *connection)
            .await?;
        let known = |run: &&Uuid| found.iter().any(|row| row.id == **run) || deleted.contains(run);
        if let Some(unknown) = runs.iter().find(|run| !known(run)) {
            return Err(Error::UnknownRun(RunId(*unknown)));
        }
    }
    for row in &found {
        let state: motif_proto::run::RunState = word(&row.state)?;
        if !state.is_final() {
            return Err(Error::RunNotEnded {
                run: RunId(row.id),
                state,
            });
        }
    }
    // A submission that is about to name one of them holds it: what follows sees its end.
    sqlx::query("select from checkpoints where run_id = any($1) order by id for update")
        .bind(runs)
        .execute(&mut *connection)
        .await?;
    let users: Vec<(Uuid, Uuid, String)> = sqlx::query_as(
        "select c.run_id, r.id, e.name from checkpoints c
         join experiments e on e.base_checkpoint_id = c.id
         join runs r on r.experiment_id = e.id
         where c.run_id = any($1) and r.id <> all($2)
         order by r.id limit $3",
    )
    .bind(runs)
    .bind(all)
    .bind(NAMED)
    .fetch_all(connection)
    .await?;
    if let Some((base, _, _)) = users.first() {
        let users = users.iter().filter(|(of, _, _)| of == base);
        return Err(Error::RunInUse {
            run: RunId(*base),
            by: users
                .map(|(_, id, name)| format!("{name} ({id})"))
                .collect::<Vec<_>>()
                .join(", "),
        });
    }
    Ok(())
}

async fn remove(connection: &mut PgConnection, runs: &[Uuid]) -> Result<()> {
    for statement in REMOVE {
        sqlx::query(statement)
            .bind(runs)
            .execute(&mut *connection)
            .await?;
    }
    // An experiment has one run.
    let experiments: Vec<Uuid> =
        sqlx::query_scalar("delete from runs where id = any($1) returning experiment_id")
            .bind(runs)
            .fetch_all(&mut *connection)
            .await?;
    sqlx::query("delete from experiments where id = any($1)")
        .bind(experiments)
        .execute(connection)
        .await?;
    Ok(())
}
