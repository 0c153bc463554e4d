//! Runs as clients see them.

use chrono::{DateTime, Utc};
use motif_proto::id::{AttemptId, ExperimentId, RunId, StudyId, WorkerId};
use motif_proto::metrics::{Measured, StepValue};
use motif_proto::run::{Attempt, Failure, Progress, Queue, RunChange, RunDetail, RunState, RunSummary};
use motif_proto::spec::ExperimentSpec;
use motif_proto::study::StudyPlace;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Result, Store, bases, events, series, unsigned, word};
use crate::domain::access::Projects;
use crate::domain::revision::Expected;
use crate::error::Error;
use crate::signals::Signal;

/// A query for [`SummaryRow`]s that ends as given.
macro_rules! select_summaries {
    ($end:literal) => {
        concat!(
            "select r.id, r.experiment_id, r.state, r.priority, r.attempts, r.failure_class, r.failure_message,
                r.batches_total, r.batches_done, r.batches_per_second, r.last_loss_step, r.last_loss,
                r.last_validation_step, r.last_validation, r.best_validation_step, r.best_validation,
                r.created_at, r.started_at, r.finished_at, r.updated_at, r.last_event,
                r.project, r.pause_asked_at is not null as pausing, r.not_before, r.reason, e.name, e.kind, e.preset,
                e.seed, e.tags, w.name as worker, e.study_id, s.name as study_name, e.study_key, e.study_point
             from runs r
             join experiments e on e.id = r.experiment_id
             left join studies s on s.id = e.study_id
             left join attempts a on a.run_id = r.id and a.state = 'running'
             left join workers w on w.id = a.worker_id ",
            $end
        )
    };
}

#[derive(FromRow)]
struct SummaryRow {
    id: Uuid,
    experiment_id: Uuid,
    state: String,
    priority: i32,
    attempts: i32,
    failure_class: Option<String>,
    failure_message: Option<String>,
    batches_total: i64,
    batches_done: i64,
    batches_per_second: Option<f64>,
    last_loss_step: Option<i64>,
    last_loss: Option<f64>,
    last_validation_step: Option<i64>,
    last_validation: Option<f64>,
    best_validation_step: Option<i64>,
    best_validation: Option<f64>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    updated_at: DateTime<Utc>,
    last_event: i64,
    project: String,
    pausing: bool,
    not_before: Option<DateTime<Utc>>,
    name: String,
    kind: String,
    preset: Option<String>,
    seed: i64,
    tags: Vec<String>,
    worker: Option<String>,
    reason: Option<String>,
    #[sqlx(flatten)]
    place: PlaceRow,
}

/// Where an experiment stands in a study, if it does.
#[derive(FromRow)]
pub(super) struct PlaceRow {
    study_id: Option<Uuid>,
    study_name: Option<String>,
    study_key: Option<String>,
    study_point: Option<i32>,
}

impl PlaceRow {
    pub(super) fn into_place(self) -> Option<StudyPlace> {
        Some(StudyPlace {
            id: StudyId(self.study_id?),
            name: self.study_name?,
            key: self.study_key?,
            point: self.study_point.map(i32::unsigned_abs),
        })
    }
}

impl SummaryRow {
    fn into_summary(self) -> Result<RunSummary> {
        Ok(RunSummary {
            id: RunId(self.id),
            experiment: ExperimentId(self.experiment_id),
            project: self.project,
            name: self.name,
            kind: word(&self.kind)?,
            preset: self.preset,
            seed: unsigned(self.seed),
            tags: self.tags,
            priority: self.priority,
            state: word(&self.state)?,
            pausing: self.pausing,
            not_before: self.not_before,
            progress: Progress {
                batches_done: unsigned(self.batches_done),
                batches_total: unsigned(self.batches_total),
                batches_per_second: self.batches_per_second.filter(|speed| speed.is_finite()),
            },
            last_loss: step_value(self.last_loss_step, self.last_loss),
            last_validation: step_value(self.last_validation_step, self.last_validation),
            best_validation: step_value(self.best_validation_step, self.best_validation),
            attempts: self.attempts.unsigned_abs(),
            worker: self.worker,
            failure: failure(self.failure_class.as_deref(), self.failure_message)?,
            reason: self.reason,
            study: self.place.into_place(),
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
        })
    }
}

fn step_value(step: Option<i64>, value: Option<f64>) -> Option<StepValue> {
    Some(StepValue {
        step: unsigned(step?),
        value: Measured(value?),
    })
}

fn failure(class: Option<&str>, message: Option<String>) -> Result<Option<Failure>> {
    class
        .map(|class| {
            Ok(Failure {
                class: word(class)?,
                message: message.unwrap_or_default(),
            })
        })
        .transpose()
}

/// A summary with the numbers that order it among others.
#[derive(Clone, Debug)]
pub struct Versioned {
    /// The run.
    pub summary: RunSummary,
    /// When it changed last, by the database's clock.
    pub updated_at: DateTime<Utc>,
    /// The newest of its events.
    pub last_event: i64,
}

impl TryFrom<SummaryRow> for Versioned {
    type Error = Error;

    fn try_from(row: SummaryRow) -> Result<Self> {
        let (updated_at, last_event) = (row.updated_at, row.last_event);
        Ok(Self {
            summary: row.into_summary()?,
            updated_at,
            last_event,
        })
    }
}

/// The run as the transaction sees it.
pub(super) async fn summary(connection: &mut PgConnection, run: RunId) -> Result<RunSummary> {
    Ok(versioned(connection, run).await?.summary)
}

async fn versioned(connection: &mut PgConnection, run: RunId) -> Result<Versioned> {
    sqlx::query_as::<_, SummaryRow>(select_summaries!("where r.id = $1"))
        .bind(run.0)
        .fetch_optional(connection)
        .await?
        .ok_or(Error::UnknownRun(run))?
        .try_into()
}

impl Store {
    /// A run's summary and its newest event, of one moment.
    ///
    /// # Errors
    /// [`Error::UnknownRun`], storage.
    pub async fn run_summary(&self, run: RunId) -> Result<Versioned> {
        let mut connection = self.pool.acquire().await?;
        versioned(&mut connection, run).await
    }

    /// Everything about a run but its curves and checkpoints.
    ///
    /// # Errors
    /// [`Error::UnknownRun`], storage.
    pub async fn run_detail(&self, run: RunId) -> Result<RunDetail> {
        let mut connection = self.pool.acquire().await?;
        let summary = summary(&mut connection, run).await?;
        let (spec, spec_sha256, notes): (String, String, String) = sqlx::query_as(
            "select e.spec, e.spec_sha256, r.notes from runs r join experiments e on e.id = r.experiment_id
             where r.id = $1",
        )
        .bind(run.0)
        .fetch_one(&mut *connection)
        .await?;
        let series = series::names(&mut connection, run).await?;
        let base = bases::of_experiment(&mut connection, summary.experiment).await?;
        let attempt_history = attempts_of(&mut connection, run).await?;
        Ok(RunDetail {
            summary,
            spec: read_spec(&spec)?,
            spec_sha256,
            notes,
            base,
            series,
            attempt_history,
        })
    }

    /// Changes what people say about a run. What it executes stays: the spec as it was hashed.
    ///
    /// # Errors
    /// [`Error::UnknownRun`], [`Error::ChangedMeanwhile`], storage.
    #[tracing::instrument(name = "change", skip_all, fields(run.id = %run))]
    pub async fn change_run(&self, run: RunId, change: &RunChange, expected: &Expected) -> Result<RunDetail> {
        let mut tx = self.begin().await?;
        if *expected != Expected::Anything {
            expected.require(&changeable(&mut tx, run).await?)?;
        }
        let experiment: Option<Uuid> = sqlx::query_scalar(
            "update runs set notes = coalesce($2, notes), priority = coalesce($3, priority) where id = $1
             returning experiment_id",
        )
        .bind(run.0)
        .bind(&change.notes)
        .bind(change.priority)
        .fetch_optional(&mut *tx)
        .await?;
        sqlx::query(
            "update experiments set name = coalesce($2, name), tags = coalesce($3, tags) where id = $1",
        )
        .bind(experiment.ok_or(Error::UnknownRun(run))?)
        .bind(&change.name)
        .bind(&change.tags)
        .execute(&mut *tx)
        .await?;
        events::record_change(&mut tx, run).await?;
        tx.commit().await?;
        self.tell(Signal::Run(run));
        self.run_detail(run).await
    }

    /// The runs with these ids that there are, in any order.
    ///
    /// # Errors
    /// Storage.
    pub async fn run_summaries(&self, runs: &[RunId]) -> Result<Vec<RunSummary>> {
        let rows: Vec<SummaryRow> = sqlx::query_as(select_summaries!("where r.id = any($1)"))
            .bind(runs.iter().map(|run| run.0).collect::<Vec<_>>())
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(SummaryRow::into_summary).collect()
    }

    /// Visible runs for a stream that begins: those that run and the newest of all, oldest change first.
    ///
    /// # Errors
    /// Storage.
    pub async fn current_runs(&self, visible: &Projects, newest: u32) -> Result<Vec<Versioned>> {
        let rows: Vec<SummaryRow> = sqlx::query_as(select_summaries!(
            "where ($2::text[] is null or r.project = any($2))
               and (r.state = 'running' or r.id in (
                   select id from runs where $2::text[] is null or project = any($2) order by id desc limit $1))
             order by r.updated_at"
        ))
        .bind(i64::from(newest))
        .bind(visible.filter())
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Versioned::try_from).collect()
    }

    /// Visible runs that changed at `since` or later, oldest change first, at most `limit`.
    ///
    /// # Errors
    /// Storage.
    pub async fn changed_runs(
        &self,
        visible: &Projects,
        since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Versioned>> {
        let rows: Vec<SummaryRow> = sqlx::query_as(select_summaries!(
            "where r.touched_at >= $1 - interval '2 seconds' and r.updated_at >= $1
               and ($3::text[] is null or r.project = any($3))
             order by r.updated_at limit $2"
        ))
        .bind(since)
        .bind(i64::from(limit))
        .bind(visible.filter())
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Versioned::try_from).collect()
    }

    /// How many visible runs are in each state.
    ///
    /// # Errors
    /// Storage.
    pub async fn queue_counts(&self, visible: &Projects) -> Result<Queue> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "select state, count(*) from runs where $1::text[] is null or project = any($1) group by state",
        )
        .bind(visible.filter())
        .fetch_all(&self.pool)
        .await?;
        let mut queue = Queue::default();
        for (state, count) in rows {
            *match word(&state)? {
                RunState::Waiting => &mut queue.waiting,
                RunState::Queued => &mut queue.queued,
                RunState::Running => &mut queue.running,
                RunState::Paused => &mut queue.paused,
                RunState::Succeeded => &mut queue.succeeded,
                RunState::Failed => &mut queue.failed,
                RunState::Cancelled => &mut queue.cancelled,
                RunState::Skipped => &mut queue.skipped,
            } = unsigned(count);
        }
        Ok(queue)
    }
}

pub(super) fn read_spec(text: &str) -> Result<ExperimentSpec> {
    serde_json::from_str(text).map_err(|error| Error::Damaged(format!("a spec cannot be read: {error}")))
}

#[derive(FromRow)]
struct AttemptRow {
    id: Uuid,
    number: i32,
    worker_id: Uuid,
    worker_name: String,
    state: String,
    first_batch: i64,
    started_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    failure_class: Option<String>,
    failure_message: Option<String>,
}

/// What people can change of a run, which nobody else changes until the transaction ends.
async fn changeable(connection: &mut PgConnection, run: RunId) -> Result<RunChange> {
    let locked: Option<(Uuid, String, i32)> =
        sqlx::query_as("select experiment_id, notes, priority from runs where id = $1 for update")
            .bind(run.0)
            .fetch_optional(&mut *connection)
            .await?;
    let (experiment, notes, priority) = locked.ok_or(Error::UnknownRun(run))?;
    // In a statement that begins with the lock held, or it could read what was there before.
    let (name, tags) = sqlx::query_as("select name, tags from experiments where id = $1")
        .bind(experiment)
        .fetch_one(connection)
        .await?;
    Ok(RunChange {
        name: Some(name),
        tags: Some(tags),
        notes: Some(notes),
        priority: Some(priority),
    })
}

async fn attempts_of(connection: &mut PgConnection, run: RunId) -> Result<Vec<Attempt>> {
    let rows: Vec<AttemptRow> = sqlx::query_as(
        "select a.id, a.number, a.worker_id, w.name as worker_name, a.state, a.first_batch, a.started_at,
                a.finished_at, a.failure_class, a.failure_message
         from attempts a join workers w on w.id = a.worker_id
         where a.run_id = $1 order by a.number",
    )
    .bind(run.0)
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Attempt {
                id: AttemptId(row.id),
                number: row.number.unsigned_abs(),
                worker: WorkerId(row.worker_id),
                worker_name: row.worker_name,
                state: word(&row.state)?,
                first_batch: unsigned(row.first_batch),
                started_at: row.started_at,
                finished_at: row.finished_at,
                failure: failure(row.failure_class.as_deref(), row.failure_message)?,
            })
        })
        .collect()
}
