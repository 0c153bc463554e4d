//! Checkpoints, and which bytes of the artifact store they name.

use chrono::{DateTime, Utc};
use motif_proto::id::{AttemptId, CheckpointId, RunId};
use motif_proto::run::{Checkpoint, CheckpointKind, CheckpointList};
use motif_proto::worker::{HeldLease, UploadCheckpoint};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Result, Store, attempts, events, signed, unsigned, word};
use crate::artifacts::{Artifacts, Staged};
use crate::error::Error;
use crate::signals::Signal;

#[derive(FromRow)]
struct CheckpointRow {
    id: Uuid,
    run_id: Uuid,
    attempt_id: Uuid,
    kind: String,
    next_batch: i64,
    validation: Option<f64>,
    sha256: String,
    size_bytes: i64,
    created_at: DateTime<Utc>,
}

impl TryFrom<CheckpointRow> for Checkpoint {
    type Error = Error;

    fn try_from(row: CheckpointRow) -> Result<Self> {
        Ok(Self {
            id: CheckpointId(row.id),
            run: RunId(row.run_id),
            attempt: AttemptId(row.attempt_id),
            kind: word(&row.kind)?,
            next_batch: unsigned(row.next_batch),
            validation: row.validation,
            sha256: row.sha256,
            size_bytes: unsigned(row.size_bytes),
            created_at: row.created_at,
        })
    }
}

/// A query for [`CheckpointRow`]s that ends as given.
macro_rules! select_checkpoints {
    ($end:literal) => {
        concat!(
            "select c.id, c.run_id, c.attempt_id, c.kind, c.next_batch, c.validation, c.sha256, b.size_bytes,
                    c.created_at
             from checkpoints c join blobs b on b.sha256 = c.sha256 ",
            $end
        )
    };
}

const fn lease_of(upload: &UploadCheckpoint) -> HeldLease {
    HeldLease {
        attempt: upload.attempt,
        token: upload.token,
    }
}

impl Store {
    /// Whether an upload may begin; spares the transfer of what would be refused at its end.
    ///
    /// # Errors
    /// [`Error::UnknownAttempt`], [`Error::StaleLease`], [`Error::SequenceGap`], storage.
    pub async fn admit_checkpoint(&self, upload: &UploadCheckpoint) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        let locked = attempts::lock_live(&mut tx, lease_of(upload)).await?;
        attempts::require_sequence(&locked, upload.metrics_sequence)?;
        tx.commit().await?;
        Ok(())
    }

    /// Names bytes that were received and verified, in place of an older checkpoint of the same kind. Safe to
    /// repeat: the same content for the same batch is the same checkpoint.
    ///
    /// # Errors
    /// [`Error::StaleLease`], [`Error::SequenceGap`], storage, the artifact store.
    #[tracing::instrument(name = "checkpoint.write", skip_all,
        fields(attempt.id = %upload.attempt, size_bytes = upload.size_bytes))]
    pub async fn name_checkpoint(
        &self,
        upload: &UploadCheckpoint,
        staged: &Staged,
        artifacts: &Artifacts,
    ) -> Result<Checkpoint> {
        let mut tx = self.pool.begin().await?;
        let locked = attempts::lock_live(&mut tx, lease_of(upload)).await?;
        attempts::require_sequence(&locked, upload.metrics_sequence)?;
        let old = current(&mut tx, locked.run, upload.kind).await?;
        if let Some(old) = &old
            && old.sha256 == upload.sha256
            && old.next_batch == upload.next_batch
            && old.attempt == upload.attempt
        {
            return Ok(old.clone());
        }
        // Takes the blob's row lock before the bytes are there, as the collection takes it before they go.
        sqlx::query(
            "insert into blobs (sha256, size_bytes) values ($1, $2)
             on conflict (sha256) do update set created_at = now()",
        )
        .bind(&upload.sha256)
        .bind(signed(upload.size_bytes))
        .execute(&mut *tx)
        .await?;
        staged.commit(artifacts).await?;
        let checkpoint = replace(&mut tx, locked.run, upload).await?;
        if upload.kind == CheckpointKind::Last
            && old.as_ref().is_none_or(|old| upload.next_batch > old.next_batch)
        {
            sqlx::query("update runs set lost_in_row = 0 where id = $1")
                .bind(locked.run.0)
                .execute(&mut *tx)
                .await?;
        }
        events::record_checkpoint(&mut tx, &checkpoint).await?;
        tx.commit().await?;

        self.tell(Signal::Run(locked.run));
        if let Some(old) = old.filter(|old| old.sha256 != checkpoint.sha256)
            && let Err(error) = self.collect_blob(&old.sha256, artifacts).await
        {
            // The collection of the retention task comes by again.
            tracing::warn!(error = %crate::error::chain(&error), "a replaced checkpoint's bytes were not deleted");
        }
        Ok(checkpoint)
    }

    /// The checkpoints of a run, newest first.
    ///
    /// # Errors
    /// [`Error::UnknownRun`], storage.
    pub async fn list_checkpoints(&self, run: RunId) -> Result<CheckpointList> {
        let rows: Vec<CheckpointRow> = sqlx::query_as(select_checkpoints!(
            "where c.run_id = $1 order by c.created_at desc, c.id desc"
        ))
        .bind(run.0)
        .fetch_all(&self.pool)
        .await?;
        if rows.is_empty() {
            self.run_summary(run).await?;
        }
        let checkpoints = rows
            .into_iter()
            .map(Checkpoint::try_from)
            .collect::<Result<_>>()?;
        Ok(CheckpointList { checkpoints })
    }

    /// A checkpoint and the name of its experiment.
    ///
    /// # Errors
    /// [`Error::UnknownCheckpoint`], storage.
    pub async fn find_checkpoint(&self, id: CheckpointId) -> Result<(Checkpoint, String)> {
        let row: Option<CheckpointRow> = sqlx::query_as(select_checkpoints!("where c.id = $1"))
            .bind(id.0)
            .fetch_optional(&self.pool)
            .await?;
        let checkpoint: Checkpoint = row.ok_or(Error::UnknownCheckpoint(id))?.try_into()?;
        let name = sqlx::query_scalar(
            "select e.name from runs r join experiments e on e.id = r.experiment_id where r.id = $1",
        )
        .bind(checkpoint.run.0)
        .fetch_one(&self.pool)
        .await?;
        Ok((checkpoint, name))
    }

    /// Deletes all bytes that no checkpoint names. Returns how many blobs.
    ///
    /// # Errors
    /// Storage, the artifact store.
    pub async fn collect_blobs(&self, artifacts: &Artifacts) -> Result<usize> {
        let unnamed: Vec<String> = sqlx::query_scalar(
            "select sha256 from blobs b
             where not exists (select from checkpoints c where c.sha256 = b.sha256) limit 1000",
        )
        .fetch_all(&self.pool)
        .await?;
        for sha256 in &unnamed {
            self.collect_blob(sha256, artifacts).await?;
        }
        Ok(unnamed.len())
    }

    async fn collect_blob(&self, sha256: &str, artifacts: &Artifacts) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        let locked: Option<String> =
            sqlx::query_scalar("select sha256 from blobs where sha256 = $1 for update")
                .bind(sha256)
                .fetch_optional(&mut *tx)
                .await?;
        // A statement of its own: it sees a checkpoint that was committed while the lock was waited for.
        let named: bool = sqlx::query_scalar("select exists (select from checkpoints where sha256 = $1)")
            .bind(sha256)
            .fetch_one(&mut *tx)
            .await?;
        if locked.is_some() && !named {
            artifacts.delete(sha256).await?;
            sqlx::query("delete from blobs where sha256 = $1")
                .bind(sha256)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

async fn current(
    connection: &mut PgConnection,
    run: RunId,
    kind: CheckpointKind,
) -> Result<Option<Checkpoint>> {
    let row: Option<CheckpointRow> =
        sqlx::query_as(select_checkpoints!("where c.run_id = $1 and c.kind = $2"))
            .bind(run.0)
            .bind(kind.as_str())
            .fetch_optional(connection)
            .await?;
    row.map(Checkpoint::try_from).transpose()
}

async fn replace(connection: &mut PgConnection, run: RunId, upload: &UploadCheckpoint) -> Result<Checkpoint> {
    let id = CheckpointId::new();
    sqlx::query(
        "insert into checkpoints (id, run_id, attempt_id, kind, next_batch, validation, sha256)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict on constraint checkpoints_kind_once do update
         set id = excluded.id, attempt_id = excluded.attempt_id, next_batch = excluded.next_batch,
             validation = excluded.validation, sha256 = excluded.sha256, created_at = now()",
    )
    .bind(id.0)
    .bind(run.0)
    .bind(upload.attempt.0)
    .bind(upload.kind.as_str())
    .bind(signed(upload.next_batch))
    .bind(upload.validation.filter(|value| value.is_finite()))
    .bind(&upload.sha256)
    .execute(&mut *connection)
    .await?;
    current(connection, run, upload.kind)
        .await?
        .ok_or(Error::UnknownCheckpoint(id))
}
