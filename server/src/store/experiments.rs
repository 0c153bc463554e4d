//! What was asked for.

use std::collections::BTreeMap;

use motif_proto::id::{CheckpointId, ExperimentId, RunId, StudyId};
use motif_proto::run::{BaseCheckpoint, ExperimentAccepted, RunState};
use motif_proto::spec::{ExperimentKind, ExperimentSpec};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::audit::{self, Entry};
use super::needs::{self, Needs};
use super::{Result, Store, events, idempotency, runs, signed};
use crate::domain::access::Actor;
use crate::error::Error;
use crate::signals::Signal;

/// An experiment to store, and its run.
#[derive(Debug)]
pub(super) struct New {
    pub(super) run: RunId,
    pub(super) spec: ExperimentSpec,
    /// The checkpoint that it starts from, where that is there already.
    pub(super) base: Option<BaseCheckpoint>,
    /// `waiting` or `queued`.
    pub(super) state: RunState,
    pub(super) place: Option<Place>,
    /// The batch at which it is to stop for its sweep.
    pub(super) stop_at: Option<u64>,
}

/// The place of an experiment in its study.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) study: StudyId,
    pub(super) key: String,
    pub(super) point: Option<u32>,
    pub(super) parameters: BTreeMap<String, Value>,
}

/// An experiment that was stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) experiment: ExperimentId,
    pub(super) spec_sha256: String,
}

impl Store {
    /// Stores an experiment with the checkpoint that it starts from, and queues its run.
    ///
    /// # Errors
    /// [`Error::UnknownCheckpoint`] when that checkpoint was replaced meanwhile; storage.
    #[tracing::instrument(name = "submit", skip_all, fields(run.id))]
    pub async fn submit_experiment(
        &self,
        spec: ExperimentSpec,
        base: Option<&BaseCheckpoint>,
        actor: &Actor,
    ) -> Result<ExperimentAccepted> {
        let run = RunId::new();
        tracing::Span::current().record("run.id", tracing::field::display(run));
        let new = New {
            run,
            spec,
            base: base.cloned(),
            state: RunState::Queued,
            place: None,
            stop_at: None,
        };
        let mut tx = self.begin().await?;
        ensure_project(&mut tx, &new.spec.project).await?;
        let stored = insert(&mut tx, std::slice::from_ref(&new)).await?.remove(0);
        let summary = runs::summary(&mut tx, run).await?;
        let accepted = ExperimentAccepted {
            experiment: stored.experiment,
            run: summary,
            spec: new.spec,
            spec_sha256: stored.spec_sha256,
        };
        audit::record(&mut tx, actor, Entry::of_run("run.submit", &accepted.run)).await?;
        idempotency::record(&mut tx, 201, &accepted).await?;
        tx.commit().await?;

        self.tell(Signal::Queue);
        self.tell(Signal::Run(run));
        tracing::info!(experiment.name = %accepted.spec.name, "queued");
        Ok(accepted)
    }
}

/// Stores experiments and their runs, whose project is there, in two statements however many they are.
///
/// # Errors
/// [`Error::UnknownCheckpoint`] when one that an experiment starts from was replaced meanwhile; storage.
pub(super) async fn insert(connection: &mut PgConnection, all: &[New]) -> Result<Vec<Stored>> {
    let bases: Vec<CheckpointId> = all
        .iter()
        .filter_map(|new| Some(new.base.as_ref()?.checkpoint))
        .collect();
    hold(connection, &bases).await?;
    let mut stored = Vec::with_capacity(all.len());
    let mut experiments = Vec::with_capacity(all.len());
    let mut runs = Vec::with_capacity(all.len());
    let mut lanes: Vec<(&str, Needs<'_>, i64)> = Vec::new();
    for new in all {
        let text = new.spec.to_canonical_json();
        let one = Stored {
            experiment: ExperimentId::new(),
            spec_sha256: format!("{:x}", Sha256::digest(&text)),
        };
        experiments.push(experiment_row(new, &one, &text));
        let (project, needs) = (new.spec.project.as_str(), Needs::of(&new.spec.resources));
        let known = lanes
            .iter()
            .find(|(of, needed, _)| *of == project && *needed == needs);
        let lane = match known {
            Some((_, _, lane)) => *lane,
            None => {
                let lane = needs::lane(connection, project, &needs).await?;
                lanes.push((project, needs, lane));
                lane
            }
        };
        runs.push(run_row(new, &one, &needs, lane));
        stored.push(one);
    }
    sqlx::query(
        "insert into experiments (id, name, kind, preset, seed, tags, spec, spec_sha256, base_checkpoint_id,
                                  study_id, study_key, study_point, study_parameters)
         select id, name, kind, preset, seed, tags, spec, spec_sha256, base_checkpoint_id,
                study_id, study_key, study_point, study_parameters
         from jsonb_to_recordset($1) as row (
             id uuid, name text, kind text, preset text, seed bigint, tags text[], spec text, spec_sha256 text,
             base_checkpoint_id uuid, study_id uuid, study_key text, study_point integer, study_parameters jsonb)",
    )
    .bind(Json(experiments))
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "insert into runs (id, experiment_id, state, priority, device_need, slots, memory_bytes, labels,
                           batches_total, first_batch, batches_done, project, lane_id, stop_at)
         select id, experiment_id, state, priority, device_need, slots, memory_bytes, labels,
                batches_total, first_batch, first_batch, project, lane_id, stop_at
         from jsonb_to_recordset($1) as row (
             id uuid, experiment_id uuid, state text, priority integer, device_need text, slots integer,
             memory_bytes bigint, labels jsonb, batches_total bigint, first_batch bigint, project text,
             lane_id bigint, stop_at bigint)",
    )
    .bind(Json(runs))
    .execute(&mut *connection)
    .await?;
    let ids: Vec<RunId> = all.iter().map(|new| new.run).collect();
    events::record_changes(connection, &ids).await?;
    Ok(stored)
}

fn experiment_row(new: &New, stored: &Stored, text: &str) -> Value {
    let (spec, place) = (&new.spec, new.place.as_ref());
    json!({
        "id": stored.experiment,
        "name": spec.name,
        "kind": spec.kind,
        "preset": spec.preset,
        "seed": signed(spec.seed),
        "tags": spec.tags,
        "spec": text,
        "spec_sha256": stored.spec_sha256,
        "base_checkpoint_id": new.base.as_ref().map(|base| base.checkpoint),
        "study_id": place.map(|place| place.study),
        "study_key": place.map(|place| &place.key),
        "study_point": place.and_then(|place| place.point),
        "study_parameters": place.map(|place| &place.parameters).filter(|parameters| !parameters.is_empty()),
    })
}

fn run_row(new: &New, stored: &Stored, needs: &Needs<'_>, lane: i64) -> Value {
    let spec = &new.spec;
    let first_batch = match (spec.kind, &new.base) {
        (ExperimentKind::Continue, Some(base)) => base.next_batch,
        _ => 0,
    };
    json!({
        "id": new.run,
        "experiment_id": stored.experiment,
        "state": new.state,
        "priority": spec.priority,
        "device_need": needs.device,
        "slots": needs.slots,
        "memory_bytes": needs.memory_bytes,
        "labels": needs.labels,
        "lane_id": lane,
        "batches_total": signed(spec.training.as_ref().map_or(0, |training| training.batches)),
        "first_batch": signed(first_batch),
        "project": spec.project,
        "stop_at": new.stop_at.map(signed),
    })
}

/// A project is there from its first experiment on.
pub(super) async fn ensure_project(connection: &mut PgConnection, name: &str) -> Result<()> {
    sqlx::query("insert into projects (name) values ($1) on conflict do nothing")
        .bind(name)
        .execute(connection)
        .await?;
    Ok(())
}

/// Keeps checkpoints from being replaced until the experiments that name them are stored.
async fn hold(connection: &mut PgConnection, checkpoints: &[CheckpointId]) -> Result<()> {
    if checkpoints.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = checkpoints.iter().map(|checkpoint| checkpoint.0).collect();
    let held: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from checkpoints where id = any($1) order by id for key share")
            .bind(&ids)
            .fetch_all(connection)
            .await?;
    match checkpoints
        .iter()
        .find(|checkpoint| !held.contains(&checkpoint.0))
    {
        Some(&gone) => Err(Error::UnknownCheckpoint(gone)),
        None => Ok(()),
    }
}
