//! The checkpoints that experiments start from.

use motif_proto::id::{CheckpointId, ExperimentId, RunId};
use motif_proto::run::{BaseCheckpoint, CheckpointKind};
use motif_proto::spec::ExperimentSpec;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Result, Store, runs, unsigned, word};
use crate::domain::access::Projects;

/// A checkpoint and the spec of the run that made it.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundBase {
    /// The checkpoint.
    pub checkpoint: BaseCheckpoint,
    /// What its run was asked to do.
    pub spec: ExperimentSpec,
}

#[derive(FromRow)]
struct BaseRow {
    id: Uuid,
    run_id: Uuid,
    name: String,
    kind: String,
    next_batch: i64,
    sha256: String,
    size_bytes: i64,
    spec: String,
}

impl BaseRow {
    fn into_checkpoint(self) -> Result<BaseCheckpoint> {
        Ok(BaseCheckpoint {
            checkpoint: CheckpointId(self.id),
            run: RunId(self.run_id),
            run_name: self.name,
            kind: word(&self.kind)?,
            next_batch: unsigned(self.next_batch),
            sha256: self.sha256,
            size_bytes: unsigned(self.size_bytes),
        })
    }
}

impl TryFrom<BaseRow> for FoundBase {
    type Error = crate::error::Error;

    fn try_from(row: BaseRow) -> Result<Self> {
        let spec = runs::read_spec(&row.spec)?;
        Ok(Self {
            checkpoint: row.into_checkpoint()?,
            spec,
        })
    }
}

/// A query for [`BaseRow`]s that ends as given.
macro_rules! select_bases {
    ($end:literal) => {
        concat!(
            "select c.id, c.run_id, e.name, c.kind, c.next_batch, c.sha256, b.size_bytes, e.spec
             from checkpoints c
             join blobs b on b.sha256 = c.sha256
             join runs r on r.id = c.run_id
             join experiments e on e.id = r.experiment_id ",
            $end
        )
    };
}

impl Store {
    /// A visible checkpoint by its id, also one that is kept for an experiment alone.
    ///
    /// # Errors
    /// Storage.
    pub async fn base_by_checkpoint(
        &self,
        visible: &Projects,
        id: CheckpointId,
    ) -> Result<Option<FoundBase>> {
        let row: Option<BaseRow> = sqlx::query_as(select_bases!(
            "where c.id = $1 and ($2::text[] is null or r.project = any($2))"
        ))
        .bind(id.0)
        .bind(visible.filter())
        .fetch_optional(&self.pool)
        .await?;
        row.map(FoundBase::try_from).transpose()
    }

    /// The checkpoint of a visible run that is kept for this.
    ///
    /// # Errors
    /// Storage.
    pub async fn base_by_run(
        &self,
        visible: &Projects,
        run: RunId,
        kind: CheckpointKind,
    ) -> Result<Option<FoundBase>> {
        let row: Option<BaseRow> = sqlx::query_as(select_bases!(
            "where c.run_id = $1 and c.kind = $2 and c.superseded_at is null
               and ($3::text[] is null or r.project = any($3))"
        ))
        .bind(run.0)
        .bind(kind.as_str())
        .bind(visible.filter())
        .fetch_optional(&self.pool)
        .await?;
        row.map(FoundBase::try_from).transpose()
    }

    /// Whether there is such a visible run.
    ///
    /// # Errors
    /// Storage.
    pub async fn has_run(&self, visible: &Projects, run: RunId) -> Result<bool> {
        Ok(sqlx::query_scalar(
            "select exists (select from runs where id = $1 and ($2::text[] is null or project = any($2)))",
        )
        .bind(run.0)
        .bind(visible.filter())
        .fetch_one(&self.pool)
        .await?)
    }
}

/// The checkpoint that an experiment starts from.
pub(super) async fn of_experiment(
    connection: &mut PgConnection,
    experiment: ExperimentId,
) -> Result<Option<BaseCheckpoint>> {
    let row: Option<BaseRow> = sqlx::query_as(select_bases!(
        "where c.id = (select base_checkpoint_id from experiments where id = $1)"
    ))
    .bind(experiment.0)
    .fetch_optional(connection)
    .await?;
    row.map(BaseRow::into_checkpoint).transpose()
}
