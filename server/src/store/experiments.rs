//! What was asked for.

use motif_proto::id::{ExperimentId, RunId};
use motif_proto::run::ExperimentAccepted;
use motif_proto::spec::ExperimentSpec;
use sha2::{Digest, Sha256};
use sqlx::types::Json;

use super::{Result, Store, runs, signed};
use crate::signals::Signal;

/// Bytes in a megabyte, as specs count memory.
const MEGABYTE: u64 = 1_000_000;

impl Store {
    /// Stores an experiment and queues its run.
    ///
    /// # Errors
    /// Storage.
    #[tracing::instrument(name = "submit", skip_all, fields(run.id))]
    pub async fn submit_experiment(&self, spec: ExperimentSpec) -> Result<ExperimentAccepted> {
        let text = spec.to_canonical_json();
        let spec_sha256 = format!("{:x}", Sha256::digest(&text));
        let (experiment, run) = (ExperimentId::new(), RunId::new());
        tracing::Span::current().record("run.id", tracing::field::display(run));

        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "insert into experiments (id, name, kind, preset, seed, tags, spec, spec_sha256)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(experiment.0)
        .bind(&spec.name)
        .bind(spec.kind.as_str())
        .bind(&spec.preset)
        .bind(signed(spec.seed))
        .bind(&spec.tags)
        .bind(text)
        .bind(&spec_sha256)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "insert into runs (id, experiment_id, priority, device_need, slots, memory_bytes, labels, batches_total)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(run.0)
        .bind(experiment.0)
        .bind(spec.priority)
        .bind(spec.resources.device.as_str())
        .bind(i32::try_from(spec.resources.slots).unwrap_or(i32::MAX))
        .bind(spec.resources.memory_mb.map(|megabytes| signed(megabytes.saturating_mul(MEGABYTE))))
        .bind(Json(&spec.resources.labels))
        .bind(signed(spec.training.as_ref().map_or(0, |training| training.batches)))
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
