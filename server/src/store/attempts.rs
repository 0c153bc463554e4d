//! Leases: who holds a run, ends, and what becomes of a run whose worker fell silent.

use std::time::Duration;

use motif_proto::id::{AttemptId, FencingToken, RunId, WorkerId};
use motif_proto::run::{AttemptState, Failure, FailureClass, RunState};
use motif_proto::worker::{FinishAttempt, HeldLease, Outcome};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::successes::Success;
use super::{Result, Store, dependants, signed, sweeps, transitions, unsigned, word};
use crate::domain::lease::{Holding, Standing};
use crate::error::{Error, chain};
use crate::monitoring::outcomes;
use crate::signals::Signal;

/// Longest message of a failure that is kept, in characters.
const MAX_MESSAGE: usize = 4000;

/// An attempt and its run, the run's row locked.
pub(super) struct Locked {
    pub(super) run: RunId,
    worker: WorkerId,
    pub(super) next_sequence: u64,
    pub(super) holding: Holding,
    /// Somebody asked for the run to be paused.
    pub(super) pausing: bool,
}

#[derive(FromRow)]
struct AttemptRow {
    worker_id: Uuid,
    state: String,
    fencing_token: i64,
    next_sequence: i64,
    run_state: String,
    run_token: i64,
    pausing: bool,
}

/// Locks the attempt's run and judges the token.
pub(super) async fn lock(connection: &mut PgConnection, lease: HeldLease) -> Result<Locked> {
    let run: Option<Uuid> = sqlx::query_scalar(
        "select id from runs where id = (select run_id from attempts where id = $1) for update",
    )
    .bind(lease.attempt.0)
    .fetch_optional(&mut *connection)
    .await?;
    let run = run.ok_or(Error::UnknownAttempt(lease.attempt))?;
    // A statement of its own: it sees what was committed while the lock was waited for.
    let row: AttemptRow = sqlx::query_as(
        "select a.worker_id, a.state, a.fencing_token, a.next_sequence, r.state as run_state, r.fencing_token as run_token,
                r.pause_asked_at is not null or r.state = 'paused' as pausing
         from attempts a join runs r on r.id = a.run_id where a.id = $1",
    )
    .bind(lease.attempt.0)
    .fetch_one(connection)
    .await?;
    let standing = Standing {
        attempt: word(&row.state)?,
        attempt_token: FencingToken(row.fencing_token),
        run: word(&row.run_state)?,
        run_token: FencingToken(row.run_token),
    };
    Ok(Locked {
        run: RunId(run),
        worker: WorkerId(row.worker_id),
        next_sequence: unsigned(row.next_sequence),
        holding: standing.judge(lease.token),
        pausing: row.pausing,
    })
}

/// Locks the run of an attempt that holds it, or gives back a lease that ran out and that nobody took over.
///
/// # Errors
/// [`Error::UnknownAttempt`], [`Error::StaleLease`].
pub(super) async fn lock_live(connection: &mut PgConnection, lease: HeldLease) -> Result<Locked> {
    let locked = lock(connection, lease).await?;
    match locked.holding {
        Holding::Live => {}
        Holding::Revivable => transitions::revive(connection, locked.run, lease.attempt).await?,
        Holding::Cancelled | Holding::Over(_) | Holding::Stale => {
            return Err(Error::StaleLease {
                attempt: lease.attempt,
                held: lease.token,
            });
        }
    }
    Ok(locked)
}

/// Locks the run of an attempt that holds it or ended it itself: what it has left to say is welcome even then.
///
/// # Errors
/// [`Error::UnknownAttempt`], [`Error::StaleLease`].
pub(super) async fn lock_to_tell(connection: &mut PgConnection, lease: HeldLease) -> Result<RunId> {
    let locked = lock(connection, lease).await?;
    match locked.holding {
        Holding::Over(_) => Ok(locked.run),
        Holding::Live | Holding::Revivable | Holding::Cancelled | Holding::Stale => {
            Ok(lock_live(connection, lease).await?.run)
        }
    }
}

/// Sees to it that every batch of metrics before `wanted` is stored.
pub(super) fn require_sequence(locked: &Locked, wanted: u64) -> Result<()> {
    if wanted > locked.next_sequence {
        return Err(Error::SequenceGap {
            expected: locked.next_sequence,
            given: wanted,
        });
    }
    Ok(())
}

impl Store {
    /// Ends an attempt and decides about its run. Safe to repeat: the same report is accepted again.
    ///
    /// # Errors
    /// [`Error::UnknownAttempt`], [`Error::StaleLease`], [`Error::SequenceGap`], storage.
    #[tracing::instrument(name = "finish", skip_all, fields(attempt.id = %finish.attempt))]
    pub async fn finish_attempt(&self, finish: &FinishAttempt) -> Result<()> {
        let lease = HeldLease {
            attempt: finish.attempt,
            token: finish.token,
        };
        if finish.outcome == Outcome::Succeeded && self.succeed_at_once(finish).await? {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        if let Holding::Over(state) = lock(&mut tx, lease).await?.holding
            && state == state_after(&finish.outcome)
        {
            return Ok(());
        }
        let locked = lock_live(&mut tx, lease).await?;
        require_sequence(&locked, finish.metrics_sequence)?;
        let state = end(&mut tx, locked.run, finish.attempt, &finish.outcome).await?;
        let others = dependants::follow(&mut tx, locked.run).await?;
        tx.commit().await?;

        self.tell_ended(locked.run, state, &finish.outcome);
        self.tell_changed(&others);
        if matches!(finish.outcome, Outcome::Reached { .. }) {
            self.tell(Signal::Sweep);
        }
        if state == RunState::Queued {
            self.tell(Signal::Queue);
        }
        if matches!(finish.outcome, Outcome::Failed { .. })
            && let Err(error) = self.judge_worker(locked.worker).await
        {
            // The reconciler looks again soon; the report is stored.
            tracing::warn!(worker.id = %locked.worker, error = %chain(&error), "the worker was not judged");
        }
        Ok(())
    }

    /// Ends an attempt and its run well together with others, where the attempt holds the run, all its metrics are
    /// stored and no run waits for it; does nothing elsewhere.
    async fn succeed_at_once(&self, finish: &FinishAttempt) -> Result<bool> {
        let success = Success {
            attempt: finish.attempt,
            token: finish.token,
            metrics_sequence: finish.metrics_sequence,
        };
        let Some(run) = self.desks.successes.ask(self, success).await? else {
            return Ok(false);
        };
        self.tell_ended(run, RunState::Succeeded, &finish.outcome);
        Ok(true)
    }

    fn tell_ended(&self, run: RunId, state: RunState, outcome: &Outcome) {
        self.tell(Signal::Run(run));
        outcomes::attempt_ended(outcome);
        tracing::info!(run.id = %run, run.state = %state, outcome = ?outcome, "attempt ended");
    }

    /// Takes runs back from workers that fell silent. Returns how many.
    ///
    /// # Errors
    /// Storage.
    pub async fn requeue_lost(&self) -> Result<usize> {
        let mut count = 0;
        while let Some(run) = self.requeue_one_lost().await? {
            count += 1;
            self.tell(Signal::Run(run));
            self.tell(Signal::Queue);
        }
        Ok(count)
    }

    async fn requeue_one_lost(&self) -> Result<Option<RunId>> {
        let mut tx = self.begin().await?;
        let expired: Option<(Uuid, Uuid)> = sqlx::query_as(
            "select r.id, a.id from attempts a join runs r on r.id = a.run_id
             where a.state = 'running' and a.lease_expires_at < now()
             order by a.lease_expires_at limit 1 for update of r skip locked",
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some((run, attempt)) = expired else {
            return Ok(None);
        };
        let lost = sqlx::query(
            "update attempts set state = 'lost', finished_at = now()
             where id = $1 and state = 'running' and lease_expires_at < now()",
        )
        .bind(attempt)
        .execute(&mut *tx)
        .await?;
        let mut others = Vec::new();
        if lost.rows_affected() == 1 {
            let failure = Failure {
                class: FailureClass::Lost,
                message: "the worker fell silent, again and again, without a newer checkpoint".to_owned(),
            };
            transitions::give_back_or_fail(&mut tx, RunId(run), AttemptId(attempt), &failure).await?;
            others = dependants::follow(&mut tx, RunId(run)).await?;
            tracing::warn!(run.id = %run, attempt.id = %attempt, "lease lost");
        }
        tx.commit().await?;
        self.tell_changed(&others);
        Ok(Some(RunId(run)))
    }

    /// Gives every live lease at least one whole length from now: after an outage of ours, silence says
    /// nothing about the workers.
    ///
    /// # Errors
    /// Storage.
    pub async fn grant_grace(&self, length: Duration) -> Result<u64> {
        let extended = sqlx::query(
            "update attempts set lease_expires_at = greatest(lease_expires_at, now() + make_interval(secs => $1))
             where state = 'running'",
        )
        .bind(length.as_secs_f64())
        .execute(&self.pool)
        .await?;
        Ok(extended.rows_affected())
    }
}

/// Advances the attempt past a batch of metrics; a write is a sign of life too.
pub(super) async fn advance(
    connection: &mut PgConnection,
    attempt: AttemptId,
    next_sequence: u64,
    length: Duration,
) -> Result<()> {
    sqlx::query(
        "update attempts
         set next_sequence = $2, lease_expires_at = now() + make_interval(secs => $3) where id = $1",
    )
    .bind(attempt.0)
    .bind(signed(next_sequence))
    .bind(length.as_secs_f64())
    .execute(connection)
    .await?;
    Ok(())
}

const fn state_after(outcome: &Outcome) -> AttemptState {
    match outcome {
        Outcome::Succeeded => AttemptState::Succeeded,
        Outcome::Failed { .. } => AttemptState::Failed,
        Outcome::Released | Outcome::Reached { .. } => AttemptState::Released,
    }
}

/// Ends the attempt, and says how its run stands now.
async fn end(
    connection: &mut PgConnection,
    run: RunId,
    attempt: AttemptId,
    outcome: &Outcome,
) -> Result<RunState> {
    let failure = match outcome {
        Outcome::Failed { failure } => Some(Failure {
            class: failure.class,
            message: failure
                .message
                .replace('\0', "")
                .chars()
                .take(MAX_MESSAGE)
                .collect(),
        }),
        Outcome::Succeeded | Outcome::Released | Outcome::Reached { .. } => None,
    };
    sqlx::query(
        "update attempts set state = $2, finished_at = now(), failure_class = $3, failure_message = $4
         where id = $1",
    )
    .bind(attempt.0)
    .bind(state_after(outcome).as_str())
    .bind(failure.as_ref().map(|failure| failure.class.as_str()))
    .bind(failure.as_ref().map(|failure| &failure.message))
    .execute(&mut *connection)
    .await?;
    match (outcome, failure) {
        (_, Some(failure)) => transitions::give_back_or_fail(connection, run, attempt, &failure).await,
        (Outcome::Reached { batch }, None) if sweeps::rest(connection, run, *batch).await? => {
            Ok(RunState::Paused)
        }
        (Outcome::Released | Outcome::Reached { .. }, None) => {
            transitions::give_back(connection, run, Duration::ZERO).await
        }
        (Outcome::Succeeded | Outcome::Failed { .. }, None) => {
            transitions::succeed(connection, run).await?;
            Ok(RunState::Succeeded)
        }
    }
}
