//! Studies: stored whole, read with their runs, cancelled whole.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use motif_proto::id::{RunId, StudyId};
use motif_proto::metrics::{Measured, StepValue};
use motif_proto::run::RunState;
use motif_proto::spec::study::StudyDocument;
use motif_proto::study::{
    RungReached, StudyCounts, StudyDetail, StudyExperiment, StudyList, StudyRun, StudyState, StudySummary,
};
use serde_json::{Value, json};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::audit::{self, Entry};
use super::experiments::{self, New, Place};
use super::{Result, Store, events, idempotency, signed, unsigned, word};
use crate::domain::access::{Actor, Projects};
use crate::domain::plan::{Plan, PlannedRun, Start};
use crate::error::Error;
use crate::signals::Signal;

/// Which studies a list shows.
#[derive(Clone, Debug, Default)]
pub struct StudyFilter {
    /// Only those of this project.
    pub project: Option<String>,
    /// Only those of these projects.
    pub projects: Projects,
    /// Only those with all of these tags.
    pub tags: Vec<String>,
    /// Only those made before this one.
    pub before: Option<StudyId>,
    /// At most so many.
    pub limit: u32,
}

#[derive(FromRow)]
struct StudyRow {
    id: Uuid,
    name: String,
    project: String,
    tags: Vec<String>,
    created_at: DateTime<Utc>,
}

impl StudyRow {
    fn into_summary(self, counts: StudyCounts) -> StudySummary {
        StudySummary {
            id: StudyId(self.id),
            name: self.name,
            project: self.project,
            tags: self.tags,
            state: StudyState::of(&counts),
            counts,
            created_at: self.created_at,
        }
    }
}

#[derive(FromRow)]
struct MemberRow {
    id: Uuid,
    name: String,
    kind: String,
    seed: i64,
    study_key: String,
    study_point: Option<i32>,
    study_parameters: Option<Json<BTreeMap<String, Value>>>,
    state: String,
    stopped_by_sweep: bool,
    reason: Option<String>,
    batches_done: i64,
    batches_total: i64,
    best_validation_step: Option<i64>,
    best_validation: Option<f64>,
}

impl Store {
    /// Stores a study with all its experiments, and queues those of its runs that wait for nothing.
    ///
    /// # Errors
    /// [`Error::UnknownCheckpoint`] when one from which the study starts was replaced meanwhile; storage.
    #[tracing::instrument(name = "submit_study", skip_all, fields(study.id))]
    pub async fn submit_study(&self, plan: Plan, document: &Value, actor: &Actor) -> Result<StudyDetail> {
        let id = StudyId::new();
        tracing::Span::current().record("study.id", tracing::field::display(id));
        let Plan { study, runs, rungs } = plan;
        let mut tx = self.begin().await?;
        experiments::ensure_project(&mut tx, &study.project).await?;
        sqlx::query(
            "insert into studies (id, name, project, tags, notes, document) values ($1, $2, $3, $4, $5, $6)",
        )
        .bind(id.0)
        .bind(&study.name)
        .bind(&study.project)
        .bind(&study.tags)
        .bind(&study.notes)
        .bind(Json(document))
        .execute(&mut *tx)
        .await?;
        for (&entry, rungs) in &rungs {
            let halving = study.experiments[entry]
                .sweep
                .as_ref()
                .and_then(|sweep| sweep.halving.as_ref());
            if let Some(halving) = halving {
                super::sweeps::insert(&mut tx, id, &study.experiments[entry].id, halving, rungs).await?;
            }
        }
        let (new, edges) = members(id, &study, runs, &rungs);
        experiments::insert(&mut tx, &new).await?;
        insert_edges(&mut tx, &edges).await?;
        let details = json!({ "name": study.name, "runs": new.len() });
        let entry = of_study("study.submit", id, &study.project, details);
        audit::record(&mut tx, actor, entry).await?;
        let accepted = detail(&mut tx, id).await?;
        idempotency::record(&mut tx, 201, &accepted).await?;
        tx.commit().await?;

        self.tell(Signal::Queue);
        for new in &new {
            self.tell(Signal::Run(new.run));
        }
        tracing::info!(study.name = %study.name, runs = new.len(), "study accepted");
        Ok(accepted)
    }

    /// A page of studies, newest first.
    ///
    /// # Errors
    /// Storage.
    pub async fn list_studies(&self, filter: &StudyFilter) -> Result<StudyList> {
        let rows: Vec<StudyRow> = sqlx::query_as(
            "select id, name, project, tags, created_at from studies
             where ($1::text is null or project = $1) and tags @> $2 and ($3::uuid is null or id < $3)
               and ($5::text[] is null or project = any($5))
             order by id desc limit $4",
        )
        .bind(&filter.project)
        .bind(&filter.tags)
        .bind(filter.before.map(|study| study.0))
        .bind(i64::from(filter.limit) + 1)
        .bind(filter.projects.filter())
        .fetch_all(&self.pool)
        .await?;
        let limit = filter.limit as usize;
        let more = rows.len() > limit;
        let ids: Vec<Uuid> = rows.iter().take(limit).map(|row| row.id).collect();
        let mut counts = self.counts(&ids).await?;
        let studies: Vec<StudySummary> = rows
            .into_iter()
            .take(limit)
            .map(|row| {
                let counts = counts.remove(&row.id).unwrap_or_default();
                row.into_summary(counts)
            })
            .collect();
        let next_cursor = studies.last().filter(|_| more).map(|study| study.id.to_string());
        Ok(StudyList { studies, next_cursor })
    }

    async fn counts(&self, studies: &[Uuid]) -> Result<HashMap<Uuid, StudyCounts>> {
        let rows: Vec<(Uuid, String, bool, i64)> = sqlx::query_as(
            "select e.study_id, r.state, r.stopped_by_sweep and r.state = 'cancelled', count(*)
             from experiments e join runs r on r.experiment_id = e.id
             where e.study_id = any($1) group by 1, 2, 3",
        )
        .bind(studies)
        .fetch_all(&self.pool)
        .await?;
        let mut counts: HashMap<Uuid, StudyCounts> = HashMap::new();
        for (study, state, stopped, count) in rows {
            counts
                .entry(study)
                .or_default()
                .add(word(&state)?, stopped, unsigned(count));
        }
        Ok(counts)
    }

    /// A study with its experiments and their runs.
    ///
    /// # Errors
    /// [`Error::UnknownStudy`], storage.
    pub async fn study_detail(&self, id: StudyId) -> Result<StudyDetail> {
        let mut tx = self.begin_snapshot().await?;
        let study = detail(&mut tx, id).await?;
        tx.rollback().await?;
        Ok(study)
    }

    /// Cancels every run of a study that has not ended. Safe to repeat.
    ///
    /// # Errors
    /// [`Error::UnknownStudy`], storage.
    #[tracing::instrument(name = "cancel_study", skip_all, fields(study.id = %study))]
    pub async fn cancel_study(&self, study: StudyId, actor: &Actor) -> Result<StudyDetail> {
        let mut tx = self.begin().await?;
        let project: Option<String> = sqlx::query_scalar("select project from studies where id = $1")
            .bind(study.0)
            .fetch_optional(&mut *tx)
            .await?;
        let project = project.ok_or(Error::UnknownStudy(study))?;
        let members: Vec<Uuid> = sqlx::query_scalar(
            "select id from runs where experiment_id in (select id from experiments where study_id = $1)
             order by id for update",
        )
        .bind(study.0)
        .fetch_all(&mut *tx)
        .await?;
        let cancelled: Vec<Uuid> = sqlx::query_scalar(
            "with ended as (
                 update attempts set state = 'cancelled', finished_at = now()
                 where run_id = any($1) and state = 'running'
             )
             update runs set state = 'cancelled', finished_at = now(), pause_asked_at = null, not_before = null
             where id = any($1) and state in ('waiting', 'queued', 'running', 'paused')
             returning id",
        )
        .bind(&members)
        .fetch_all(&mut *tx)
        .await?;
        let cancelled: Vec<RunId> = cancelled.into_iter().map(RunId).collect();
        events::record_changes(&mut tx, &cancelled).await?;
        let details = json!({ "runs": cancelled.len() });
        audit::record(&mut tx, actor, of_study("study.cancel", study, &project, details)).await?;
        tx.commit().await?;
        for &run in &cancelled {
            self.tell(Signal::Run(run));
        }
        self.study_detail(study).await
    }
}

/// The study as the transaction sees it.
async fn detail(connection: &mut PgConnection, id: StudyId) -> Result<StudyDetail> {
    let row: Option<StudyRow> =
        sqlx::query_as("select id, name, project, tags, created_at from studies where id = $1")
            .bind(id.0)
            .fetch_optional(&mut *connection)
            .await?;
    let row = row.ok_or(Error::UnknownStudy(id))?;
    let (notes, document): (Option<String>, Json<Value>) =
        sqlx::query_as("select notes, document from studies where id = $1")
            .bind(id.0)
            .fetch_one(&mut *connection)
            .await?;
    let members: Vec<MemberRow> = sqlx::query_as(
        "select r.id, e.name, e.kind, e.seed, e.study_key, e.study_point, e.study_parameters, r.state,
                r.stopped_by_sweep, r.reason, r.batches_done, r.batches_total, r.best_validation_step,
                r.best_validation
         from experiments e join runs r on r.experiment_id = e.id where e.study_id = $1 order by r.id",
    )
    .bind(id.0)
    .fetch_all(&mut *connection)
    .await?;
    let mut reached = super::sweeps::rungs_reached(&mut *connection, id).await?;
    let rungs = super::sweeps::rungs(&mut *connection, id).await?;

    let mut counts = StudyCounts::default();
    let mut experiments: Vec<StudyExperiment> = described(&document.0, rungs);
    let places: HashMap<String, usize> = (0..)
        .zip(&experiments)
        .map(|(place, experiment)| (experiment.key.clone(), place))
        .collect();
    for row in members {
        let state: RunState = word(&row.state)?;
        let stopped = row.stopped_by_sweep && state == RunState::Cancelled;
        counts.add(state, stopped, 1);
        let Some(experiment) = places.get(&row.study_key).map(|&place| &mut experiments[place]) else {
            continue;
        };
        experiment.kind = word(&row.kind)?;
        experiment.counts.add(state, stopped, 1);
        let rungs = reached.remove(&row.id).unwrap_or_default();
        experiment.runs.push(row.into_run(state, rungs));
    }
    Ok(StudyDetail {
        summary: row.into_summary(counts),
        notes,
        document: document.0,
        experiments,
    })
}

fn of_study<'a>(action: &'a str, study: StudyId, project: &'a str, details: Value) -> Entry<'a> {
    Entry {
        action,
        subject: study.to_string().into(),
        project: Some(project),
        details,
    }
}

impl MemberRow {
    fn into_run(self, state: RunState, rungs: Vec<RungReached>) -> StudyRun {
        let best = self.best_validation_step.zip(self.best_validation);
        StudyRun {
            run: RunId(self.id),
            name: self.name,
            seed: unsigned(self.seed),
            point: self.study_point.map(i32::unsigned_abs),
            parameters: self
                .study_parameters
                .map(|parameters| parameters.0)
                .unwrap_or_default(),
            state,
            reason: self.reason,
            batches_done: unsigned(self.batches_done),
            batches_total: unsigned(self.batches_total),
            best_validation: best.map(|(step, value)| StepValue {
                step: unsigned(step),
                value: Measured(value),
            }),
            rungs,
        }
    }
}

/// The experiments of a stored study as they were written, without their runs.
fn described(document: &Value, mut rungs: HashMap<String, Vec<u64>>) -> Vec<StudyExperiment> {
    let (study, _) = StudyDocument::read(document);
    let described = study.experiments.into_iter().map(|entry| StudyExperiment {
        rungs: rungs.remove(&entry.id).unwrap_or_default(),
        key: entry.id,
        kind: motif_proto::spec::ExperimentKind::Train,
        base: entry.base,
        after: entry.after,
        sweep: entry.sweep,
        counts: StudyCounts::default(),
        runs: Vec::new(),
    });
    described.collect()
}

/// An edge between two runs, and the checkpoint that flows along.
struct Edge {
    run: RunId,
    on: RunId,
    checkpoint: Option<&'static str>,
}

/// The experiments to store, and the edges between their runs. Ids rise along the plan's order.
fn members(
    study: StudyId,
    document: &StudyDocument,
    runs: Vec<PlannedRun>,
    rungs: &BTreeMap<usize, Vec<u64>>,
) -> (Vec<New>, Vec<Edge>) {
    let ids: Vec<RunId> = runs.iter().map(|_| RunId::new()).collect();
    let mut edges = Vec::new();
    let mut new = Vec::with_capacity(runs.len());
    for (&id, planned) in ids.iter().zip(runs) {
        let mut spec = planned.spec;
        let mut outside = None;
        let mut waits = !planned.after.is_empty();
        match planned.start {
            Start::Afresh => {}
            Start::Outside(checkpoint) => outside = Some(checkpoint),
            Start::Sibling { run, kind } => {
                waits = true;
                spec.base = Some(ids[run].to_string());
                edges.push(Edge {
                    run: id,
                    on: ids[run],
                    checkpoint: Some(kind.as_str()),
                });
            }
        }
        edges.extend(planned.after.into_iter().map(|other| Edge {
            run: id,
            on: ids[other],
            checkpoint: None,
        }));
        new.push(New {
            run: id,
            spec,
            base: outside,
            state: if waits {
                RunState::Waiting
            } else {
                RunState::Queued
            },
            place: Some(Place {
                study,
                key: document.experiments[planned.entry].id.clone(),
                point: planned.point,
                parameters: planned.parameters,
            }),
            stop_at: rungs.get(&planned.entry).and_then(|rungs| rungs.first().copied()),
        });
    }
    (new, edges)
}

async fn insert_edges(connection: &mut PgConnection, edges: &[Edge]) -> Result<()> {
    sqlx::query(
        "insert into dependencies (run_id, on_run_id, checkpoint)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[])",
    )
    .bind(edges.iter().map(|edge| edge.run.0).collect::<Vec<_>>())
    .bind(edges.iter().map(|edge| edge.on.0).collect::<Vec<_>>())
    .bind(edges.iter().map(|edge| edge.checkpoint).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Batches as columns hold them.
pub(super) fn columns(batches: &[u64]) -> Vec<i64> {
    batches.iter().copied().map(signed).collect()
}
