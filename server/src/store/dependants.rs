//! What follows for runs that wait for others, in the transaction in which those end or are revived.
//!
//! Ids of runs rise along every edge, and whoever follows an edge holds the lock of the run that it begins with and
//! takes those behind it in the order of their ids. So no two such transactions wait for each other in a circle,
//! and of two parents that end at once the second sees what the first did: it waits for the dependant's lock and
//! looks at the parents in a statement after it.

use motif_proto::id::RunId;
use motif_proto::run::RunState;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Result, Store, events, word};
use crate::domain::revival;
use crate::signals::Signal;

/// An edge whose run `d.run_id` need wait no longer for its parent `p`. What a sweep ended early counts as done for
/// whoever only comes after it.
macro_rules! fulfilled {
    () => {
        "(p.state = 'succeeded' or (d.checkpoint is null and p.stopped_by_sweep))"
    };
}

/// Longest reason that is kept, in characters.
const MAX_REASON: usize = 500;

/// What a run that is to be tried again can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Nothing keeps it: what it starts from is fixed.
    Queued,
    /// It waits for runs that have not ended.
    Waiting,
    /// This run, on which it depends, ended badly and would have to be tried again first.
    Blocked(RunId),
}

impl Store {
    /// Tells the streams, and claims that wait, about runs that changed.
    pub(super) fn tell_changed(&self, runs: &[RunId]) {
        for &run in runs {
            self.tell(Signal::Run(run));
        }
        if !runs.is_empty() {
            self.tell(Signal::Queue);
        }
    }
}

/// Whatever follows for the dependants of a run that is locked and whose state was just written. Returns the
/// runs that changed: to be told after the commit.
pub(super) async fn follow(connection: &mut PgConnection, run: RunId) -> Result<Vec<RunId>> {
    let state: Option<String> = sqlx::query_scalar(
        "select state from runs where id = $1 and exists (select from dependencies where on_run_id = $1)",
    )
    .bind(run.0)
    .fetch_optional(&mut *connection)
    .await?;
    match state.as_deref().map(word).transpose()? {
        Some(RunState::Succeeded) => release_dependants(connection, &[run.0]).await,
        Some(RunState::Failed | RunState::Cancelled | RunState::Skipped) => {
            skip_dependants(connection, run).await
        }
        Some(RunState::Waiting | RunState::Queued | RunState::Running | RunState::Paused) | None => {
            Ok(Vec::new())
        }
    }
}

/// Queues the runs that waited for nothing but these, which succeeded, and fixes what they start from.
pub(super) async fn release_dependants(
    connection: &mut PgConnection,
    parents: &[Uuid],
) -> Result<Vec<RunId>> {
    let children: Vec<Uuid> = sqlx::query_scalar(
        "select id from runs where id in (select run_id from dependencies where on_run_id = any($1))
         order by id for update",
    )
    .bind(parents)
    .fetch_all(&mut *connection)
    .await?;
    if children.is_empty() {
        return Ok(Vec::new());
    }
    let ready: Vec<Uuid> = sqlx::query_scalar(concat!(
        "select r.id from runs r
         where r.id = any($1) and r.attempts = 0 and r.state in ('waiting', 'paused') and not exists (
             select from dependencies d join runs p on p.id = d.on_run_id
             where d.run_id = r.id and not ",
        fulfilled!(),
        ") order by r.id"
    ))
    .bind(&children)
    .fetch_all(&mut *connection)
    .await?;
    let lacking = fix_bases(connection, &ready).await?;
    let ready: Vec<Uuid> = ready.into_iter().filter(|run| !lacking.contains(run)).collect();
    sqlx::query(
        "update runs set state = 'queued', queued_at = now() where id = any($1) and state = 'waiting'",
    )
    .bind(&ready)
    .execute(&mut *connection)
    .await?;
    let mut changed: Vec<RunId> = ready.into_iter().map(RunId).collect();
    events::record_changes(connection, &changed).await?;
    for run in lacking {
        let reason = "what it starts from succeeded, but left no such checkpoint";
        skip(connection, &[run], reason, false).await?;
        changed.push(RunId(run));
        changed.extend(Box::pin(skip_dependants(connection, RunId(run))).await?);
    }
    Ok(changed)
}

/// Fixes the checkpoints that these runs start from, which are there now. Returns those that have none.
async fn fix_bases(connection: &mut PgConnection, runs: &[Uuid]) -> Result<Vec<Uuid>> {
    Ok(sqlx::query_scalar(
        "with wanted as (
             select r.id, r.experiment_id, c.id as checkpoint, c.next_batch
             from runs r
             join dependencies d on d.run_id = r.id and d.checkpoint is not null
             left join checkpoints c
                 on c.run_id = d.on_run_id and c.kind = d.checkpoint and c.superseded_at is null
             where r.id = any($1)
         ), fixed as (
             update experiments e set base_checkpoint_id = w.checkpoint
             from wanted w where e.id = w.experiment_id and w.checkpoint is not null
             returning e.id, e.kind, w.next_batch
         ), begun as (
             update runs set first_batch = fixed.next_batch, batches_done = fixed.next_batch
             from fixed where runs.experiment_id = fixed.id and fixed.kind = 'continue'
         )
         select id from wanted where checkpoint is null order by id",
    )
    .bind(runs)
    .fetch_all(connection)
    .await?)
}

/// Skips every run that can no longer begin because this one failed, was cancelled or skipped.
pub(super) async fn skip_dependants(connection: &mut PgConnection, run: RunId) -> Result<Vec<RunId>> {
    let runs = descendants(connection, &[run.0], false).await?;
    let (name, state, why): (String, String, Option<String>) = sqlx::query_as(
        "select coalesce(e.study_key, e.name), r.state, coalesce(r.failure_message, r.reason)
         from runs r join experiments e on e.id = r.experiment_id where r.id = $1",
    )
    .bind(run.0)
    .fetch_one(&mut *connection)
    .await?;
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    let verb = if state == "failed" { "failed" } else { "was " };
    let state = if state == "failed" { "" } else { &state };
    let reason = format!("it depends on `{name}` (run {run}), which {verb}{state}{why}");
    skip(connection, &runs, &reason, false).await
}

/// What follows where a sweep ended runs early: what would start from them is skipped, what comes after them is not
/// kept from it.
pub(super) async fn follow_stopped(connection: &mut PgConnection, stopped: &[Uuid]) -> Result<Vec<RunId>> {
    let runs = descendants(connection, stopped, true).await?;
    let reason = "what it starts from was ended early by its sweep";
    let mut changed = skip(connection, &runs, reason, true).await?;
    let ended: Vec<Uuid> = stopped
        .iter()
        .copied()
        .chain(changed.iter().map(|run| run.0))
        .collect();
    changed.extend(release_dependants(connection, &ended).await?);
    Ok(changed)
}

/// Everything behind these runs, locked in the order of the ids; along base edges only, where that is asked.
async fn descendants(connection: &mut PgConnection, of: &[Uuid], bases_only: bool) -> Result<Vec<Uuid>> {
    Ok(sqlx::query_scalar(
        "with recursive behind as (
             select run_id from dependencies where on_run_id = any($1) and (checkpoint is not null or not $2)
             union
             select d.run_id from behind b
             join dependencies d on d.on_run_id = b.run_id and (d.checkpoint is not null or not $2)
         )
         select id from runs where id in (select run_id from behind) order by id for update",
    )
    .bind(of)
    .bind(bases_only)
    .fetch_all(connection)
    .await?)
}

/// Skips those of the runs that have not begun.
async fn skip(
    connection: &mut PgConnection,
    runs: &[Uuid],
    reason: &str,
    by_sweep: bool,
) -> Result<Vec<RunId>> {
    let reason: String = reason.chars().take(MAX_REASON).collect();
    let skipped: Vec<Uuid> = sqlx::query_scalar(
        "update runs set state = 'skipped', finished_at = now(), reason = $2, stopped_by_sweep = $3
         where id = any($1) and state in ('waiting', 'paused') and attempts = 0
         returning id",
    )
    .bind(runs)
    .bind(reason)
    .bind(by_sweep)
    .fetch_all(&mut *connection)
    .await?;
    let skipped: Vec<RunId> = skipped.into_iter().map(RunId).collect();
    events::record_changes(connection, &skipped).await?;
    Ok(skipped)
}

/// Says what a run that ended and is to be tried again can do; its row is locked. What it starts from is fixed
/// where it is there.
///
/// # Errors
/// Storage.
pub(super) async fn admit(connection: &mut PgConnection, run: RunId) -> Result<Admission> {
    let parents: Vec<(Uuid, String, bool)> = sqlx::query_as(concat!(
        "select p.id, p.state, ",
        fulfilled!(),
        " from dependencies d join runs p on p.id = d.on_run_id where d.run_id = $1 order by p.id"
    ))
    .bind(run.0)
    .fetch_all(&mut *connection)
    .await?;
    let mut admission = Admission::Queued;
    for (parent, state, fulfilled) in parents {
        if fulfilled {
            continue;
        }
        if word::<RunState>(&state)?.is_final() {
            return Ok(Admission::Blocked(RunId(parent)));
        }
        admission = Admission::Waiting;
    }
    let begun: bool = sqlx::query_scalar("select attempts > 0 from runs where id = $1")
        .bind(run.0)
        .fetch_one(&mut *connection)
        .await?;
    if admission == Admission::Queued && !begun {
        fix_bases(connection, &[run.0]).await?;
    }
    Ok(admission)
}

/// Lets the runs wait again that were skipped because of this one, which is locked and tried again; not those that
/// another run keeps from beginning. Returns the runs that changed: to be told after the commit.
///
/// # Errors
/// Storage.
pub(super) async fn revive_dependants(connection: &mut PgConnection, run: RunId) -> Result<Vec<RunId>> {
    let behind = descendants(connection, &[run.0], false).await?;
    if behind.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(Uuid, String, Uuid, String, bool)> = sqlx::query_as(concat!(
        "select d.run_id, r.state, p.id, p.state, ",
        fulfilled!(),
        " from dependencies d
          join runs r on r.id = d.run_id
          join runs p on p.id = d.on_run_id
          where d.run_id = any($1) order by d.run_id"
    ))
    .bind(&behind)
    .fetch_all(&mut *connection)
    .await?;
    let edges = rows
        .into_iter()
        .map(|(child, child_state, parent, parent_state, fulfilled)| {
            Ok(revival::Edge {
                child: RunId(child),
                child_state: word(&child_state)?,
                parent: RunId(parent),
                parent_state: word(&parent_state)?,
                fulfilled,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let revived: Vec<RunId> = revival::revived(&edges);
    let ids: Vec<Uuid> = revived.iter().map(|run| run.0).collect();
    sqlx::query(
        "update runs set state = 'waiting', finished_at = null, reason = null, stopped_by_sweep = false
         where id = any($1) and state = 'skipped'",
    )
    .bind(&ids)
    .execute(&mut *connection)
    .await?;
    events::record_changes(connection, &revived).await?;
    Ok(revived)
}
