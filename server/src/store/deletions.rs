//! Deletes runs: at once what is small and what names them, bit by bit what may be much.
//!
//! A run that is gone has no row any more, so no list, no claim and no late worker finds it. Its points, log lines and
//! events are found by its id alone, in batches that are small enough never to be in anybody's way. A batch is taken under
//! the lock of its deletion, which another coordinator skips.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use motif_proto::id::{RunId, StudyId};
use motif_proto::run::RunState;
use serde_json::json;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::audit::{self, Entry};
use super::{Result, Store, signed, word};
use crate::domain::access::{Actor, Projects};
use crate::error::Error;
use crate::signals::Signal;

/// Most rows of a table that one statement deletes.
pub const BATCH: i64 = 200;
/// Runs that are named to whoever may not delete what they need.
const NAMED: usize = 5;

/// What may be much of a run, each statement at most [`BATCH`] rows, in the order in which it goes: rows that others
/// refer to come after those.
const SWEEP: [&str; 7] = [
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
    "delete from log_chunks c using (
         select run_id, attempt_number, first_sequence from log_chunks where run_id = $1 limit $2
     ) d where c.run_id = d.run_id and c.attempt_number = d.attempt_number
           and c.first_sequence = d.first_sequence",
    "delete from events e using (
         select run_id, id from events where run_id = $1 limit $2
     ) d where e.run_id = d.run_id and e.id = d.id",
];

/// What goes with a run in the same transaction, in an order that every reference allows.
const REMOVE: [&str; 5] = [
    "insert into deletions (run_id, project, study_id)
     select r.id, r.project, e.study_id from runs r join experiments e on e.id = r.experiment_id
     where r.id = any($1)",
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
    project: String,
    name: String,
}

/// A run that needs another one.
#[derive(FromRow)]
struct UserRow {
    needed: Uuid,
    id: Uuid,
    name: String,
    state: String,
    visible: bool,
}

impl Store {
    /// Deletes runs that have ended and that no other run needs, all or none. Their names are gone when this returns;
    /// the rest follows in the background. Safe to repeat.
    ///
    /// # Errors
    /// [`Error::UnknownRun`] where one is not there, or not for this actor, [`Error::RunNotEnded`],
    /// [`Error::RunInUse`]: then nothing is deleted; storage.
    #[tracing::instrument(name = "delete", skip_all, fields(runs = runs.len()))]
    pub async fn delete_runs(&self, runs: &[RunId], actor: &Actor) -> Result<()> {
        let visible = &actor.principal.projects;
        let mut ids: Vec<Uuid> = runs.iter().map(|run| run.0).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut tx = self.begin().await?;
        let found = lock(&mut tx, &ids, visible).await?;
        require_deleted(&mut tx, &ids, &found, visible).await?;
        delete(&mut tx, &found, actor).await?;
        tx.commit().await?;
        self.tell_deleted(&found);
        Ok(())
    }

    /// Deletes a study with all its runs, which have ended and which no run of another study needs, or nothing of it.
    /// As with runs, what is much follows in the background. Safe to repeat.
    ///
    /// # Errors
    /// [`Error::UnknownStudy`], [`Error::RunNotEnded`], [`Error::RunInUse`]: then nothing is deleted; storage.
    #[tracing::instrument(name = "delete_study", skip_all, fields(study.id = %study))]
    pub async fn delete_study(&self, study: StudyId, actor: &Actor) -> Result<()> {
        let visible = &actor.principal.projects;
        let mut tx = self.begin().await?;
        let found: Option<(String, String)> = sqlx::query_as(
            "select name, project from studies
             where id = $1 and ($2::text[] is null or project = any($2))",
        )
        .bind(study.0)
        .bind(visible.filter())
        .fetch_optional(&mut *tx)
        .await?;
        let Some((name, project)) = found else {
            return require_deleted_study(&mut tx, study, visible).await;
        };
        // Whoever decides about a sweep holds its row and takes those of its runs then; whoever ends a run holds that
        // one's and takes the study's then, at last.
        sqlx::query("select from sweeps where study_id = $1 order by study_key for update")
            .bind(study.0)
            .execute(&mut *tx)
            .await?;
        let members: Vec<Uuid> = sqlx::query_scalar(
            "select id from runs where experiment_id in (select id from experiments where study_id = $1)
             order by id",
        )
        .bind(study.0)
        .fetch_all(&mut *tx)
        .await?;
        let runs = lock(&mut tx, &members, &Projects::default()).await?;
        delete(&mut tx, &runs, actor).await?;
        let gone = sqlx::query("delete from studies where id = $1")
            .bind(study.0)
            .execute(&mut *tx)
            .await?;
        if gone.rows_affected() == 0 {
            // Somebody else was first.
            return Ok(());
        }
        let entry = Entry {
            action: "study.delete",
            subject: study.to_string().into(),
            project: Some(&project),
            details: json!({ "name": name, "runs": runs.len() }),
        };
        audit::record(&mut tx, actor, entry).await?;
        tx.commit().await?;
        self.tell_deleted(&runs);
        Ok(())
    }

    fn tell_deleted(&self, runs: &[RunRow]) {
        for run in runs {
            self.tell(Signal::Run(RunId(run.id)));
        }
        tracing::info!(runs = runs.len(), "deleted; what is left goes in the background");
    }

    /// Takes a batch away of what deleted runs left. Returns how many rows of a table, none when nothing is left.
    ///
    /// # Errors
    /// Storage.
    pub async fn sweep_deleted(&self) -> Result<Option<u64>> {
        let mut tx = self.begin().await?;
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

/// Locks those of the runs that are there for the caller, in the order of their ids, as whoever follows an edge does.
async fn lock(connection: &mut PgConnection, runs: &[Uuid], visible: &Projects) -> Result<Vec<RunRow>> {
    Ok(sqlx::query_as(
        "select r.id, r.state, r.project, e.name from runs r join experiments e on e.id = r.experiment_id
         where r.id = any($1) and ($2::text[] is null or r.project = any($2))
         order by r.id for update of r",
    )
    .bind(runs)
    .bind(visible.filter())
    .fetch_all(connection)
    .await?)
}

/// Sees to it that what was not found was deleted before.
async fn require_deleted(
    connection: &mut PgConnection,
    runs: &[Uuid],
    found: &[RunRow],
    visible: &Projects,
) -> Result<()> {
    let found: HashSet<Uuid> = found.iter().map(|run| run.id).collect();
    let missing: Vec<Uuid> = runs.iter().copied().filter(|run| !found.contains(run)).collect();
    let unknown: Option<Uuid> = sqlx::query_scalar(
        "select id from unnest($1::uuid[]) as missing (id)
         where not exists (
             select from deletions d
             where d.run_id = missing.id and ($2::text[] is null or d.project = any($2))
         ) limit 1",
    )
    .bind(&missing)
    .bind(visible.filter())
    .fetch_optional(connection)
    .await?;
    unknown.map_or(Ok(()), |run| Err(Error::UnknownRun(RunId(run))))
}

async fn require_deleted_study(
    connection: &mut PgConnection,
    study: StudyId,
    visible: &Projects,
) -> Result<()> {
    let deleted: bool = sqlx::query_scalar(
        "select exists (
             select from deletions where study_id = $1 and ($2::text[] is null or project = any($2))
         ) and not exists (select from studies where id = $1)",
    )
    .bind(study.0)
    .bind(visible.filter())
    .fetch_one(connection)
    .await?;
    if deleted {
        Ok(())
    } else {
        Err(Error::UnknownStudy(study))
    }
}

/// Deletes runs that are locked, and notes who did it.
async fn delete(connection: &mut PgConnection, runs: &[RunRow], actor: &Actor) -> Result<()> {
    let ids: Vec<Uuid> = runs.iter().map(|run| run.id).collect();
    for run in runs {
        let state: RunState = word(&run.state)?;
        if !state.is_final() {
            return Err(Error::RunNotEnded {
                run: RunId(run.id),
                state,
            });
        }
    }
    require_unneeded(connection, &ids, &actor.principal.projects).await?;
    remove(connection, &ids).await?;
    let entries = runs.iter().map(|run| Entry {
        action: "run.delete",
        subject: run.id.to_string().into(),
        project: Some(&run.project),
        details: json!({ "name": run.name, "state": run.state }),
    });
    audit::record_all(connection, actor, entries.collect()).await
}

/// Refuses to delete a run of which another one, that stays, has its first weights, or that another one has yet to
/// begin after: that one could never begin, or would begin as if it had never waited.
async fn require_unneeded(connection: &mut PgConnection, runs: &[Uuid], visible: &Projects) -> Result<()> {
    // A submission that is about to name one of them holds it: what follows sees its end.
    sqlx::query("select from checkpoints where run_id = any($1) order by id for update")
        .bind(runs)
        .execute(&mut *connection)
        .await?;
    let users: Vec<UserRow> = sqlx::query_as(
        "select u.needed, r.id, e.name, r.state, $3::text[] is null or r.project = any($3) as visible
         from (
             select c.run_id as needed, e.id as experiment_id
             from checkpoints c join experiments e on e.base_checkpoint_id = c.id
             where c.run_id = any($1)
             union
             select d.on_run_id, w.experiment_id from dependencies d join runs w on w.id = d.run_id
             where d.on_run_id = any($1) and w.attempts = 0
         ) u
         join experiments e on e.id = u.experiment_id
         join runs r on r.experiment_id = e.id
         where r.id <> all($1)
         order by u.needed, r.id limit $2",
    )
    .bind(runs)
    .bind(signed(NAMED as u64 + 1))
    .bind(visible.filter())
    .fetch_all(connection)
    .await?;
    match users.first() {
        None => Ok(()),
        Some(first) => Err(Error::RunInUse {
            run: RunId(first.needed),
            by: named(users.iter().filter(|user| user.needed == first.needed)),
        }),
    }
}

/// Who needs a run, in words. What the caller cannot see has no name.
fn named<'a>(users: impl Iterator<Item = &'a UserRow>) -> String {
    let (mut seen, mut others) = (Vec::new(), false);
    for user in users {
        if seen.len() == NAMED {
            others = true;
        } else if user.visible {
            seen.push(format!("`{}` (run {}, {})", user.name, user.id, user.state));
        } else {
            others = true;
        }
    }
    if others {
        seen.push("others".to_owned());
    }
    seen.join(", ")
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
