//! Which workers are trusted with runs: what speaks against them, and who was set aside.

use std::time::Duration;

use motif_proto::canary::CanaryReport;
use motif_proto::id::{RunId, WorkerId};
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Result, Store};
use crate::domain::standing::{self, Ended, Evidence, How, LOOKED_AT};
use crate::error::Error;
use crate::signals::Signal;

/// The newest ends of a worker's attempts since it is trusted. A failure that may be the worker's fault counts as its
/// own alone where a later attempt elsewhere succeeded or left a checkpoint.
const ENDED: &str = "
    select a.run_id,
        case
            when a.state = 'succeeded' or exists (select from checkpoints c where c.attempt_id = a.id) then 'well'
            when a.state = 'failed' and a.failure_class in ('internal', 'out_of_memory') then
                case when exists (
                    select from attempts o
                    where o.run_id = a.run_id and o.number > a.number and o.worker_id <> a.worker_id
                      and (o.state = 'succeeded' or exists (select from checkpoints c where c.attempt_id = o.id))
                ) then 'here_alone' else 'badly' end
            else 'neither'
        end as how
    from attempts a join workers w on w.id = a.worker_id
    where a.worker_id = $1 and a.finished_at is not null and a.finished_at > w.trusted_since
    order by a.finished_at desc limit $2";

#[derive(FromRow)]
struct EndedRow {
    run_id: Uuid,
    how: String,
}

impl Store {
    /// Sets a worker aside if what happened to its runs speaks against it. Returns the reason.
    ///
    /// # Errors
    /// Storage.
    pub async fn judge_worker(&self, worker: WorkerId) -> Result<Option<String>> {
        let rows: Vec<EndedRow> = sqlx::query_as(ENDED)
            .bind(worker.0)
            .bind(LOOKED_AT)
            .fetch_all(&self.pool)
            .await?;
        let ended: Vec<Ended> = rows
            .into_iter()
            .map(|row| Ended {
                run: RunId(row.run_id),
                how: match row.how.as_str() {
                    "well" => How::Well,
                    "here_alone" => How::BadlyHereAlone,
                    "badly" => How::Badly,
                    _ => How::Neither,
                },
            })
            .collect();
        let in_row = standing::failures_in_row(&ended);
        let succeeded_elsewhere = match in_row.as_slice() {
            [] => return Ok(None),
            runs => self.succeeded_elsewhere(worker, runs).await?,
        };
        let reason = standing::judge(&Evidence {
            ended,
            succeeded_elsewhere,
        });
        if let Some(reason) = &reason {
            self.set_aside(worker, reason, By::Evidence).await?;
            self.forgive(worker).await?;
        }
        Ok(reason)
    }

    /// Runs that other workers brought to success since the first of these failed on this one.
    async fn succeeded_elsewhere(&self, worker: WorkerId, failed: &[RunId]) -> Result<u64> {
        let runs: Vec<Uuid> = failed.iter().map(|run| run.0).collect();
        let count: i64 = sqlx::query_scalar(
            "select count(*) from (
                 select from attempts o join workers w on w.id = o.worker_id
                 where o.worker_id <> $1 and o.state = 'succeeded'
                   and o.finished_at > (select min(a.started_at) from attempts a
                                        where a.worker_id = $1 and a.run_id = any ($2) and a.state = 'failed')
                   and w.device = (select device from workers where id = $1)
                 limit 10
             ) others",
        )
        .bind(worker.0)
        .bind(runs)
        .fetch_one(&self.pool)
        .await?;
        Ok(super::unsigned(count))
    }

    /// Gives a worker no runs for now. The runs that it holds go on. Safe to repeat; the first reason stays.
    ///
    /// # Errors
    /// [`Error::UnknownWorker`], storage.
    pub async fn set_aside(&self, worker: WorkerId, reason: &str, by: By) -> Result<()> {
        let times: Option<(i32, bool)> =
            sqlx::query_as("select times_set_aside, set_aside_at is not null from workers where id = $1")
                .bind(worker.0)
                .fetch_optional(&self.pool)
                .await?;
        let (times, already) = times.ok_or(Error::UnknownWorker(worker))?;
        if already {
            return Ok(());
        }
        let until_trial = match by {
            By::Evidence => Some(standing::until_trial(times.unsigned_abs() + 1)),
            By::Person => None,
        };
        sqlx::query(
            "update workers set set_aside_at = now(), set_aside_reason = $2, times_set_aside = times_set_aside + 1,
                 trial_at = now() + make_interval(secs => $3)
             where id = $1 and set_aside_at is null",
        )
        .bind(worker.0)
        .bind(reason)
        .bind(until_trial.map(|length: Duration| length.as_secs_f64()))
        .execute(&self.pool)
        .await?;
        tracing::warn!(worker.id = %worker, reason, "the worker was set aside");
        Ok(())
    }

    /// Trusts a worker again, whatever happened on it before. Safe to repeat.
    ///
    /// # Errors
    /// [`Error::UnknownWorker`], storage.
    pub async fn put_back(&self, worker: WorkerId) -> Result<()> {
        let put_back = sqlx::query(
            "update workers set set_aside_at = null, set_aside_reason = null, trial_at = null,
                 trusted_since = case when set_aside_at is null then trusted_since else now() end
             where id = $1",
        )
        .bind(worker.0)
        .execute(&self.pool)
        .await?;
        if put_back.rows_affected() == 0 {
            return Err(Error::UnknownWorker(worker));
        }
        tracing::info!(worker.id = %worker, "the worker gets runs");
        self.tell(Signal::Queue);
        Ok(())
    }

    /// Takes in what a worker's canary gave: one that gave what it should puts a worker back that was to prove itself,
    /// any other sets it aside.
    ///
    /// # Errors
    /// [`Error::UnknownWorker`], storage.
    #[tracing::instrument(name = "canary", skip_all, fields(worker.id = %worker))]
    pub async fn judge_canary(&self, worker: WorkerId, report: &CanaryReport) -> Result<()> {
        let on_trial: Option<bool> = sqlx::query_scalar(
            "update workers set canary = $2 where id = $1 returning coalesce(trial_at <= now(), false)",
        )
        .bind(worker.0)
        .bind(Json(report))
        .fetch_optional(&self.pool)
        .await?;
        let on_trial = on_trial.ok_or(Error::UnknownWorker(worker))?;
        match report.check() {
            Ok(()) if on_trial => self.put_back(worker).await,
            Ok(()) => Ok(()),
            Err(reason) => {
                if on_trial {
                    self.put_off_trial(worker).await?;
                }
                self.set_aside(worker, &reason, By::Evidence).await
            }
        }
    }

    async fn put_off_trial(&self, worker: WorkerId) -> Result<()> {
        let times: i32 = sqlx::query_scalar(
            "update workers set times_set_aside = times_set_aside + 1 where id = $1 returning times_set_aside",
        )
        .bind(worker.0)
        .fetch_one(&self.pool)
        .await?;
        sqlx::query("update workers set trial_at = now() + make_interval(secs => $2) where id = $1")
            .bind(worker.0)
            .bind(standing::until_trial(times.unsigned_abs()).as_secs_f64())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Takes the failures on a worker that was set aside off the runs that had them and have not ended.
    async fn forgive(&self, worker: WorkerId) -> Result<()> {
        sqlx::query(
            "update runs set internal_failures = greatest(internal_failures - f.failures, 0)
             from (select a.run_id, count(*)::int as failures from attempts a join workers w on w.id = a.worker_id
                   where a.worker_id = $1 and a.failure_class = 'internal' and a.finished_at > w.trusted_since
                   group by a.run_id) f
             where runs.id = f.run_id and runs.finished_at is null and runs.internal_failures > 0",
        )
        .bind(worker.0)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The workers that get runs and on which some failed within the last hour.
    ///
    /// # Errors
    /// Storage.
    pub async fn suspects(&self) -> Result<Vec<WorkerId>> {
        let workers: Vec<Uuid> = sqlx::query_scalar(
            "select distinct a.worker_id from attempts a join workers w on w.id = a.worker_id
             where a.state = 'failed' and a.finished_at > now() - interval '1 hour'
               and a.failure_class in ('internal', 'out_of_memory') and w.set_aside_at is null",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(workers.into_iter().map(WorkerId).collect())
    }
}

/// Who sets a worker aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// What happened to its runs, or its canary: it may prove itself later.
    Evidence,
    /// A person: until a person puts it back.
    Person,
}
