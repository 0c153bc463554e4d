//! What was asked for.

use motif_proto::id::{CheckpointId, ExperimentId, RunId};
use motif_proto::run::{BaseCheckpoint, ExperimentAccepted};
use motif_proto::spec::{ExperimentKind, ExperimentSpec};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::needs::{self, Needs};
use super::{Result, Store, runs, signed};
use crate::error::Error;
use crate::signals::Signal;

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
    ) -> Result<ExperimentAccepted> {
        let text = spec.to_canonical_json();
        let spec_sha256 = format!("{:x}", Sha256::digest(&text));
        let (experiment, run) = (ExperimentId::new(), RunId::new());
        tracing::Span::current().record("run.id", tracing::field::display(run));

        let first_batch = match (spec.kind, base) {
            (ExperimentKind::Continue, Some(base)) => base.next_batch,
            _ => 0,
        };
        let mut tx = self.pool.begin().await?;
        if let Some(base) = base {
            hold(&mut tx, base.checkpoint).await?;
        }
        sqlx::query(
            "insert into experiments (id, name, kind, preset, seed, tags, spec, spec_sha256, base_checkpoint_id)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(experiment.0)
        .bind(&spec.name)
        .bind(spec.kind.as_str())
        .bind(&spec.preset)
        .bind(signed(spec.seed))
        .bind(&spec.tags)
        .bind(text)
        .bind(&spec_sha256)
        .bind(base.map(|base| base.checkpoint.0))
        .execute(&mut *tx)
        .await?;
        ensure_project(&mut tx, &spec.project).await?;
        let needs = Needs::of(&spec.resources);
        let lane = needs::lane(&mut tx, &spec.project, &needs).await?;
        sqlx::query(
            "insert into runs (id, experiment_id, priority, device_need, slots, memory_bytes, labels, batches_total,
                               first_batch, batches_done, project, lane_id)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11)",
        )
        .bind(run.0)
        .bind(experiment.0)
        .bind(spec.priority)
        .bind(needs.device)
        .bind(needs.slots)
        .bind(needs.memory_bytes)
        .bind(Json(needs.labels))
        .bind(signed(spec.training.as_ref().map_or(0, |training| training.batches)))
        .bind(signed(first_batch))
        .bind(&spec.project)
        .bind(lane)
        .execute(&mut *tx)
        .await?;
        super::events::record_change(&mut tx, run).await?;
        let summary = runs::summary(&mut tx, run).await?;
        tx.commit().await?;

        self.tell(Signal::Queue);
        self.tell(Signal::Run(run));
        tracing::info!(experiment.name = %spec.name, "queued");
        Ok(ExperimentAccepted {
            experiment,
            run: summary,
            spec,
            spec_sha256,
        })
    }
}

/// A project is there from its first experiment on.
async fn ensure_project(connection: &mut PgConnection, name: &str) -> Result<()> {
    sqlx::query("insert into projects (name) values ($1) on conflict do nothing")
        .bind(name)
        .execute(connection)
        .await?;
    Ok(())
}

/// Keeps a checkpoint from being replaced until the experiment that names it is stored.
async fn hold(connection: &mut PgConnection, checkpoint: CheckpointId) -> Result<()> {
    let held = sqlx::query("select from checkpoints where id = $1 for key share")
        .bind(checkpoint.0)
        .fetch_optional(connection)
        .await?;
    held.map(drop).ok_or(Error::UnknownCheckpoint(checkpoint))
}
