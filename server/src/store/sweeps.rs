//! Sweeps by successive halving: their rungs, what their runs measured there, and what is decided about them.

use std::collections::HashMap;

use motif_proto::id::{RunId, StudyId};
use motif_proto::spec::sweep::{Goal, Halving};
use motif_proto::study::RungReached;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Result, Store, dependants, events, signed, statistics, studies, unsigned, word};
use crate::domain::halving::{self, Decision, Rules, Trial, TrialRun};
use crate::error::chain;

/// Stores a sweep whose runs are about to be stored.
pub(super) async fn insert(
    connection: &mut PgConnection,
    study: StudyId,
    key: &str,
    halving: &Halving,
    rungs: &[u64],
) -> Result<()> {
    sqlx::query(
        "insert into sweeps (study_id, study_key, rungs, reduction, metric, maximize)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(study.0)
    .bind(key)
    .bind(studies::columns(rungs))
    .bind(i32::try_from(halving.reduction).unwrap_or(i32::MAX))
    .bind(&halving.metric)
    .bind(halving.goal == Goal::Max)
    .execute(connection)
    .await?;
    Ok(())
}

/// The rungs of a study's sweeps, by the keys of the experiments.
pub(super) async fn rungs(
    connection: &mut PgConnection,
    study: StudyId,
) -> Result<HashMap<String, Vec<u64>>> {
    let rows: Vec<(String, Vec<i64>)> =
        sqlx::query_as("select study_key, rungs from sweeps where study_id = $1")
            .bind(study.0)
            .fetch_all(connection)
            .await?;
    let sweeps = rows
        .into_iter()
        .map(|(key, rungs)| (key, rungs.into_iter().map(unsigned).collect()));
    Ok(sweeps.collect())
}

/// What the runs of a study measured at rungs, in rising order.
pub(super) async fn rungs_reached(
    connection: &mut PgConnection,
    study: StudyId,
) -> Result<HashMap<Uuid, Vec<RungReached>>> {
    let rows: Vec<(Uuid, i64, Option<f64>)> = sqlx::query_as(
        "select g.run_id, g.batch, g.value
         from rungs_reached g
         join runs r on r.id = g.run_id join experiments e on e.id = r.experiment_id
         where e.study_id = $1 order by g.run_id, g.batch",
    )
    .bind(study.0)
    .fetch_all(connection)
    .await?;
    let mut reached: HashMap<Uuid, Vec<RungReached>> = HashMap::new();
    for (run, batch, value) in rows {
        reached.entry(run).or_default().push(RungReached {
            batch: unsigned(batch),
            value,
        });
    }
    Ok(reached)
}

/// Lets a run that is locked rest at the rung before whose batch it stopped, with what it measured there. Answers
/// whether it rests: not if it was to stop elsewhere or left no checkpoint there.
pub(super) async fn rest(connection: &mut PgConnection, run: RunId, batch: u64) -> Result<bool> {
    let sweep: Option<(String,)> = sqlx::query_as(
        "select s.metric
         from runs r
         join experiments e on e.id = r.experiment_id
         join sweeps s on s.study_id = e.study_id and s.study_key = e.study_key
         join checkpoints c on c.run_id = r.id and c.kind = 'last' and c.superseded_at is null
         where r.id = $1 and r.stop_at = $2 and c.next_batch = $2",
    )
    .bind(run.0)
    .bind(signed(batch))
    .fetch_optional(&mut *connection)
    .await?;
    let Some((metric,)) = sweep else {
        return Ok(false);
    };
    let newest = statistics::newest(connection, &[run.0], &metric, batch.saturating_sub(1)).await?;
    let value = newest.get(&run.0).map(|newest| newest.value);
    sqlx::query(
        "insert into rungs_reached (run_id, batch, value) values ($1, $2, $3) on conflict do nothing",
    )
    .bind(run.0)
    .bind(signed(batch))
    .bind(value.filter(|value| value.is_finite()))
    .execute(&mut *connection)
    .await?;
    // Whether a person asked for a pause too: the sweep's decision stands above it.
    sqlx::query("update runs set state = 'paused', pause_asked_at = null where id = $1")
        .bind(run.0)
        .execute(&mut *connection)
        .await?;
    events::record_change(connection, run).await?;
    Ok(true)
}

#[derive(FromRow)]
struct SweepRow {
    study_id: Uuid,
    study_key: String,
    rungs: Vec<i64>,
    reduction: i32,
    maximize: bool,
}

#[derive(FromRow)]
struct TrialRow {
    id: Uuid,
    study_point: Option<i32>,
    state: String,
    stop_at: Option<i64>,
    batches: Vec<i64>,
    values: Vec<Option<f64>>,
}

impl Store {
    /// Decides about every sweep of which a run rests at a rung. Safe to repeat, and to be done by several at once.
    ///
    /// # Errors
    /// Storage.
    pub async fn decide_sweeps(&self) -> Result<()> {
        let resting: Vec<(Uuid, String)> = sqlx::query_as(
            "select distinct e.study_id, e.study_key
             from runs r join experiments e on e.id = r.experiment_id
             where r.state = 'paused' and r.stop_at is not null and e.study_id is not null",
        )
        .fetch_all(&self.pool)
        .await?;
        for (study, key) in resting {
            // One that cannot be decided does not keep the others waiting.
            if let Err(error) = self.decide_sweep(study, &key).await {
                tracing::warn!(study.id = %study, study.key = key, error = %chain(&error), "a sweep was not decided");
            }
        }
        Ok(())
    }

    #[tracing::instrument(name = "decide_sweep", skip_all, fields(study.id = %study, study.key = key))]
    async fn decide_sweep(&self, study: Uuid, key: &str) -> Result<()> {
        let mut tx = self.begin().await?;
        // Whoever has it decides as well as we would.
        let row: Option<SweepRow> = sqlx::query_as(
            "select study_id, study_key, rungs, reduction, maximize from sweeps
             where study_id = $1 and study_key = $2 for update skip locked",
        )
        .bind(study)
        .bind(key)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else {
            return Ok(());
        };
        let rules = Rules {
            rungs: row.rungs.iter().copied().map(unsigned).collect(),
            reduction: row.reduction.unsigned_abs().max(2),
            maximize: row.maximize,
        };
        let mut changed = Vec::new();
        // A decision may make room for the next one, rung by rung.
        for _ in 0..=rules.rungs.len() {
            let trials = trials(&mut tx, &row).await?;
            let decisions = halving::decide(&rules, &trials);
            if decisions.is_empty() {
                break;
            }
            changed.extend(carry_out(&mut tx, decisions).await?);
        }
        tx.commit().await?;
        self.tell_changed(&changed);
        Ok(())
    }
}

/// The points of a sweep as they stand, their runs locked in the order of their ids.
async fn trials(connection: &mut PgConnection, sweep: &SweepRow) -> Result<Vec<Trial>> {
    sqlx::query(
        "select id from runs
         where experiment_id in (select id from experiments where study_id = $1 and study_key = $2)
           and state = 'paused'
         order by id for update",
    )
    .bind(sweep.study_id)
    .bind(&sweep.study_key)
    .execute(&mut *connection)
    .await?;
    let rows: Vec<TrialRow> = sqlx::query_as(
        "select r.id, e.study_point, r.state, r.stop_at,
                array_remove(array_agg(g.batch order by g.batch), null) as batches,
                array_agg(g.value order by g.batch) as values
         from experiments e
         join runs r on r.experiment_id = e.id
         left join rungs_reached g on g.run_id = r.id
         where e.study_id = $1 and e.study_key = $2
         group by r.id, e.study_point order by e.study_point, r.id",
    )
    .bind(sweep.study_id)
    .bind(&sweep.study_key)
    .fetch_all(connection)
    .await?;
    let mut trials: Vec<Trial> = Vec::new();
    for row in rows {
        let point = row.study_point.map_or(0, i32::unsigned_abs);
        let run = TrialRun {
            run: RunId(row.id),
            state: word(&row.state)?,
            stop_at: row.stop_at.map(unsigned),
            reached: row
                .batches
                .iter()
                .copied()
                .map(unsigned)
                .zip(row.values)
                .collect(),
        };
        match trials.last_mut().filter(|trial| trial.point == point) {
            Some(trial) => trial.runs.push(run),
            None => trials.push(Trial {
                point,
                runs: vec![run],
            }),
        }
    }
    Ok(trials)
}

/// Carries decisions out about runs that still rest. Returns the runs that changed, dependants included.
async fn carry_out(connection: &mut PgConnection, decisions: Vec<Decision>) -> Result<Vec<RunId>> {
    let mut changed = Vec::new();
    let mut stopped = Vec::new();
    for decision in decisions {
        let rows: Vec<Uuid> = match decision {
            Decision::Promote { runs, stop_at } => {
                tracing::info!(?runs, ?stop_at, "goes on");
                sqlx::query_scalar(
                    "update runs set state = 'queued', queued_at = now(), stop_at = $2
                     where id = any($1) and state = 'paused' returning id",
                )
                .bind(ids(&runs))
                .bind(stop_at.map(signed))
                .fetch_all(&mut *connection)
                .await?
            }
            Decision::Stop { runs, reason } => {
                tracing::info!(?runs, reason, "stopped");
                let rows: Vec<Uuid> = sqlx::query_scalar(
                    "update runs
                     set state = 'cancelled', finished_at = now(), reason = $2, stopped_by_sweep = true
                     where id = any($1) and state = 'paused' returning id",
                )
                .bind(ids(&runs))
                .bind(reason)
                .fetch_all(&mut *connection)
                .await?;
                stopped.extend_from_slice(&rows);
                rows
            }
        };
        changed.extend(rows.into_iter().map(RunId));
    }
    events::record_changes(connection, &changed).await?;
    if !stopped.is_empty() {
        changed.extend(dependants::follow_stopped(connection, &stopped).await?);
    }
    Ok(changed)
}

fn ids(runs: &[RunId]) -> Vec<Uuid> {
    runs.iter().map(|run| run.0).collect()
}
