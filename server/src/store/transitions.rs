//! Every change of a run's state but the claim's, which is a statement of its own in [`queue`](super::queue).
//!
//! All functions expect the run's row to be locked by the transaction that is handed to them, and record the change
//! for the streams. A run ends in [`succeed`], [`fail`] and [`cancel`]; it comes back in [`enter_anew`]; it goes into
//! the queue in [`enter`] and [`give_back`].

use std::time::Duration;

use motif_proto::id::{AttemptId, RunId};
use motif_proto::run::{Failure, FailureClass, RunState, RunSummary};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::audit::{self, Entry};
use super::dependants::{self, Admission};
use super::{Result, Store, events, needs, runs, unsigned, word};
use crate::domain::access::Actor;
use crate::domain::retry::{self, AVOIDS_FOR, History, Next, Place, Room};
use crate::domain::steering::{self, Step, Wish};
use crate::error::Error;
use crate::signals::Signal;

impl Store {
    /// Does what a person asks of a run, if its state allows it. Safe to repeat.
    ///
    /// # Errors
    /// [`Error::UnknownRun`], [`Error::NotAsItStands`], storage.
    #[tracing::instrument(name = "steer", skip_all, fields(run.id = %run, wish = wish.as_str()))]
    pub async fn steer_run(&self, run: RunId, wish: Wish, actor: &Actor) -> Result<RunSummary> {
        let mut tx = self.begin().await?;
        let state = lock(&mut tx, run).await?;
        let step = steering::step(wish, state).map_err(|refused| Error::NotAsItStands {
            run,
            state,
            instead: refused.instead,
        })?;
        let holder = match step {
            Step::Nothing => None,
            Step::End => cancel(&mut tx, run).await?,
            Step::Hold => hold(&mut tx, run).await.map(|()| None)?,
            Step::AskForHold => ask_for_hold(&mut tx, run).await?,
            Step::WithdrawHold => withdraw_hold(&mut tx, run).await.map(|()| None)?,
            Step::Enter | Step::EndWait => enter(&mut tx, run).await.map(|()| None)?,
            Step::EnterAnew => enter_anew(&mut tx, run).await.map(|()| None)?,
        };
        let others = match step {
            Step::End => dependants::follow(&mut tx, run).await?,
            Step::EnterAnew => dependants::revive_dependants(&mut tx, run).await?,
            Step::Nothing
            | Step::Hold
            | Step::AskForHold
            | Step::WithdrawHold
            | Step::Enter
            | Step::EndWait => Vec::new(),
        };
        let summary = runs::summary(&mut tx, run).await?;
        let deed = format!("run.{}", wish.as_str());
        audit::record(&mut tx, actor, Entry::of_run(&deed, &summary)).await?;
        tx.commit().await?;

        self.tell(Signal::Run(run));
        self.tell_changed(&others);
        if let Some(attempt) = holder {
            self.tell(Signal::Asked(attempt));
        }
        if summary.state == RunState::Queued {
            self.tell(Signal::Queue);
        }
        tracing::info!(before = %state, after = %summary.state, "steered");
        Ok(summary)
    }
}

/// Locks a run and says how it stands.
async fn lock(connection: &mut PgConnection, run: RunId) -> Result<RunState> {
    let state: Option<String> = sqlx::query_scalar("select state from runs where id = $1 for update")
        .bind(run.0)
        .fetch_optional(connection)
        .await?;
    word(&state.ok_or(Error::UnknownRun(run))?)
}

/// Puts a run that nobody works on where it belongs: into the queue, to be claimed at once, or to wait for the runs
/// before it.
///
/// # Errors
/// [`Error::Blocked`] by a run that ended badly.
pub(super) async fn enter(connection: &mut PgConnection, run: RunId) -> Result<()> {
    let state = match dependants::admit(connection, run).await? {
        Admission::Queued => RunState::Queued,
        Admission::Waiting => RunState::Waiting,
        Admission::Blocked(parent) => return Err(Error::Blocked { run, parent }),
    };
    sqlx::query(
        "update runs set state = $2, not_before = null, finished_at = null, failure_class = null,
             failure_message = null, reason = null, stopped_by_sweep = false,
             stop_at = case when stopped_by_sweep then null else stop_at end
         where id = $1",
    )
    .bind(run.0)
    .bind(state.as_str())
    .execute(&mut *connection)
    .await?;
    events::record_change(connection, run).await
}

/// Lets a run that ended come back: what failed before does not count, and it goes behind those that wait already.
pub(super) async fn enter_anew(connection: &mut PgConnection, run: RunId) -> Result<()> {
    sqlx::query(
        "update runs set lost_in_row = 0, internal_failures = 0, out_of_memory_failures = 0, queued_at = now()
         where id = $1",
    )
    .bind(run.0)
    .execute(&mut *connection)
    .await?;
    needs::take_asked_room(connection, run).await?;
    enter(connection, run).await
}

/// Holds back a run that nobody works on.
pub(super) async fn hold(connection: &mut PgConnection, run: RunId) -> Result<()> {
    sqlx::query("update runs set state = 'paused', not_before = null where id = $1")
        .bind(run.0)
        .execute(&mut *connection)
        .await?;
    events::record_change(connection, run).await
}

/// Notes that the worker that holds the run is to hand it back. Returns its attempt.
pub(super) async fn ask_for_hold(connection: &mut PgConnection, run: RunId) -> Result<Option<AttemptId>> {
    sqlx::query("update runs set pause_asked_at = coalesce(pause_asked_at, now()) where id = $1")
        .bind(run.0)
        .execute(&mut *connection)
        .await?;
    events::record_change(&mut *connection, run).await?;
    let holder: Option<Uuid> =
        sqlx::query_scalar("select id from attempts where run_id = $1 and state = 'running'")
            .bind(run.0)
            .fetch_optional(connection)
            .await?;
    Ok(holder.map(AttemptId))
}

async fn withdraw_hold(connection: &mut PgConnection, run: RunId) -> Result<()> {
    sqlx::query("update runs set pause_asked_at = null where id = $1")
        .bind(run.0)
        .execute(&mut *connection)
        .await?;
    events::record_change(connection, run).await
}

/// Ends a run by a person's will, and the attempt that holds it, which is returned.
pub(super) async fn cancel(connection: &mut PgConnection, run: RunId) -> Result<Option<AttemptId>> {
    let holder: Option<Uuid> = sqlx::query_scalar(
        "update attempts set state = 'cancelled', finished_at = now()
         where run_id = $1 and state = 'running' returning id",
    )
    .bind(run.0)
    .fetch_optional(&mut *connection)
    .await?;
    sqlx::query(
        "update runs set state = 'cancelled', finished_at = now(), pause_asked_at = null, not_before = null
         where id = $1",
    )
    .bind(run.0)
    .execute(&mut *connection)
    .await?;
    events::record_change(connection, run).await?;
    Ok(holder.map(AttemptId))
}

/// Ends a run as it was asked for.
pub(super) async fn succeed(connection: &mut PgConnection, run: RunId) -> Result<()> {
    sqlx::query(
        "update runs set state = 'succeeded', finished_at = now(), pause_asked_at = null where id = $1",
    )
    .bind(run.0)
    .execute(&mut *connection)
    .await?;
    events::record_change(connection, run).await
}

/// Ends a run that cannot go on.
pub(super) async fn fail(connection: &mut PgConnection, run: RunId, failure: &Failure) -> Result<()> {
    sqlx::query(
        "update runs set state = 'failed', finished_at = now(), pause_asked_at = null, failure_class = $2,
             failure_message = $3
         where id = $1",
    )
    .bind(run.0)
    .bind(failure.class.as_str())
    .bind(&failure.message)
    .execute(&mut *connection)
    .await?;
    events::record_change(connection, run).await
}

/// Puts a run whose attempt ended back into the queue, to be claimed after `wait`; or holds it back where somebody
/// asked for that. Says how it stands now.
pub(super) async fn give_back(connection: &mut PgConnection, run: RunId, wait: Duration) -> Result<RunState> {
    let state: String = sqlx::query_scalar(
        "update runs set
             state = case when pause_asked_at is null then 'queued' else 'paused' end,
             not_before = case when pause_asked_at is null and $2 > 0 then now() + make_interval(secs => $2) end,
             pause_asked_at = null
         where id = $1 returning state",
    )
    .bind(run.0)
    .bind(wait.as_secs_f64())
    .fetch_one(&mut *connection)
    .await?;
    events::record_change(connection, run).await?;
    word(&state)
}

/// Gives a lease that ran out back to its attempt. A run that was held back meanwhile is handed back soon.
pub(super) async fn revive(connection: &mut PgConnection, run: RunId, attempt: AttemptId) -> Result<()> {
    sqlx::query(
        "with revived as (
             update attempts set state = 'running', finished_at = null where id = $2
         )
         update runs set state = 'running', not_before = null, lost_in_row = greatest(lost_in_row - 1, 0),
             pause_asked_at = case when state = 'paused' then now() end
         where id = $1",
    )
    .bind(run.0)
    .bind(attempt.0)
    .execute(&mut *connection)
    .await?;
    events::record_change(connection, run).await?;
    tracing::info!(run.id = %run, attempt.id = %attempt, "a lease that ran out was taken up again");
    Ok(())
}

/// Puts the run of an attempt that ended badly back into the queue, or gives it up, as [`retry::after_failure`]
/// says. Says how it stands now.
pub(super) async fn give_back_or_fail(
    connection: &mut PgConnection,
    run: RunId,
    attempt: AttemptId,
    failure: &Failure,
) -> Result<RunState> {
    let history = count_failure(connection, run, failure.class).await?;
    match retry::after_failure(failure.class, history) {
        Next::Requeue(wait) => {
            if retry::rather_elsewhere(failure.class) {
                avoid_worker(connection, run, attempt, wait + AVOIDS_FOR).await?;
            }
            give_back(connection, run, wait).await
        }
        Next::MoreRoom => match more_room(connection, run, attempt).await? {
            Some(room) => {
                needs::take_room(connection, run, room).await?;
                give_back(connection, run, Duration::ZERO).await
            }
            None => fail(connection, run, failure).await.map(|()| RunState::Failed),
        },
        Next::Fail => fail(connection, run, failure).await.map(|()| RunState::Failed),
    }
}

/// Keeps the run from the attempt's worker for a while, if another worker like it is there.
async fn avoid_worker(
    connection: &mut PgConnection,
    run: RunId,
    attempt: AttemptId,
    length: Duration,
) -> Result<()> {
    sqlx::query(
        "update runs set avoid_worker_id = w.id, avoid_until = now() + make_interval(secs => $3)
         from attempts a join workers w on w.id = a.worker_id
         where runs.id = $1 and a.id = $2
           and exists (select from workers o
                       where o.id <> w.id and o.device = w.device and o.labels @> runs.labels
                         and o.last_seen_at > now() - interval '1 minute')",
    )
    .bind(run.0)
    .bind(attempt.0)
    .bind(length.as_secs_f64())
    .execute(connection)
    .await?;
    Ok(())
}

async fn count_failure(connection: &mut PgConnection, run: RunId, class: FailureClass) -> Result<History> {
    let (lost, internal, out_of_memory): (i32, i32, i32) = sqlx::query_as(
        "update runs
         set lost_in_row = lost_in_row + ($2 = 'lost')::int,
             internal_failures = internal_failures + ($2 = 'internal')::int,
             out_of_memory_failures = out_of_memory_failures + ($2 = 'out_of_memory')::int
         where id = $1 returning lost_in_row, internal_failures, out_of_memory_failures",
    )
    .bind(run.0)
    .bind(class.as_str())
    .fetch_one(connection)
    .await?;
    Ok(History {
        lost_in_row: lost.unsigned_abs(),
        internal_failures: internal.unsigned_abs(),
        out_of_memory_failures: out_of_memory.unsigned_abs(),
    })
}

#[derive(FromRow)]
struct PlaceRow {
    run_slots: i32,
    run_memory_bytes: Option<i64>,
    slots: i32,
    memory_bytes: Option<i64>,
    shared: bool,
    largest_elsewhere: Option<i64>,
}

/// Where a run that ran out of memory may find more of it.
async fn more_room(connection: &mut PgConnection, run: RunId, attempt: AttemptId) -> Result<Option<Room>> {
    let row: PlaceRow = sqlx::query_as(
        "select r.slots as run_slots, r.memory_bytes as run_memory_bytes, w.slots, w.memory_bytes,
                exists (select from attempts o
                        where o.worker_id = w.id and o.id <> a.id
                          and (o.state = 'running' or o.finished_at > now() - interval '30 seconds')) as shared,
                (select max(e.memory_bytes) from workers e
                 where e.device = w.device and e.id <> w.id
                   and e.last_seen_at > now() - interval '5 minutes') as largest_elsewhere
         from attempts a join workers w on w.id = a.worker_id join runs r on r.id = $1
         where a.id = $2",
    )
    .bind(run.0)
    .bind(attempt.0)
    .fetch_one(connection)
    .await?;
    let taken = Room {
        slots: row.run_slots.unsigned_abs(),
        memory_bytes: row.run_memory_bytes.map(unsigned),
    };
    let place = Place {
        slots: row.slots.unsigned_abs(),
        memory_bytes: row.memory_bytes.map(unsigned),
        shared: row.shared,
        largest_elsewhere: row.largest_elsewhere.map(unsigned),
    };
    Ok(retry::more_room(taken, place))
}
