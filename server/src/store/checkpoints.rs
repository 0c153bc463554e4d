//! Checkpoints, and which bytes of the artifact store they name.

use chrono::{DateTime, Utc};
use motif_proto::id::{AttemptId, CheckpointId, RunId, UploadId};
use motif_proto::run::{Checkpoint, CheckpointKind, CheckpointList};
use motif_proto::worker::{HeldLease, UploadCheckpoint};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::uploads::{self, Promised};
use super::{Result, Store, attempts, events, signed, unsigned, word};
use crate::artifacts::Artifacts;
use crate::domain::retention;
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
    /// Whether an upload may begin; spares the transfer of what would be refused at its end. `received` is one that
    /// came in parts.
    ///
    /// # Errors
    /// [`Error::UnknownAttempt`], [`Error::StaleLease`], [`Error::SequenceGap`], [`Error::UnknownUpload`], storage.
    pub async fn admit_checkpoint(
        &self,
        upload: &UploadCheckpoint,
        received: Option<UploadId>,
    ) -> Result<Promised> {
        let mut tx = self.begin().await?;
        let locked = attempts::lock_live(&mut tx, lease_of(upload)).await?;
        attempts::require_sequence(&locked, upload.metrics_sequence)?;
        let (attempt, sha256, size) = (upload.attempt, &upload.sha256, upload.size_bytes);
        let promised = match received {
            Some(id) => uploads::find_promised(&mut tx, id, attempt, sha256, size).await?,
            None => uploads::promise(&mut tx, attempt, sha256, size, false).await?,
        };
        tx.commit().await?;
        Ok(promised)
    }

    /// Names bytes that were received and verified, in place of an older checkpoint of the same kind. Safe to
    /// repeat: the same content for the same batch is the same checkpoint.
    ///
    /// # Errors
    /// [`Error::StaleLease`], [`Error::SequenceGap`], [`Error::UnknownUpload`] after a day, storage.
    #[tracing::instrument(name = "checkpoint.write", skip_all,
        fields(attempt.id = %upload.attempt, size_bytes = upload.size_bytes))]
    pub async fn name_checkpoint(
        &self,
        upload: &UploadCheckpoint,
        promised: &Promised,
        artifacts: &Artifacts,
    ) -> Result<Checkpoint> {
        let mut tx = self.begin().await?;
        let locked = attempts::lock_live(&mut tx, lease_of(upload)).await?;
        attempts::require_sequence(&locked, upload.metrics_sequence)?;
        let old = current(&mut tx, locked.run, upload.kind).await?;
        if let Some(old) = &old
            && old.sha256 == upload.sha256
            && old.next_batch == upload.next_batch
            && old.attempt == upload.attempt
        {
            uploads::redeem(&mut tx, promised).await?;
            tx.commit().await?;
            return Ok(old.clone());
        }
        uploads::redeem(&mut tx, promised).await?;
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
        if let Some(old) = old {
            self.let_go(&old.sha256, artifacts).await;
        }
        Ok(checkpoint)
    }

    /// The checkpoints of a run, newest first, without those that are kept for others alone.
    ///
    /// # Errors
    /// [`Error::UnknownRun`], storage.
    pub async fn list_checkpoints(&self, run: RunId) -> Result<CheckpointList> {
        let rows: Vec<CheckpointRow> = sqlx::query_as(select_checkpoints!(
            "where c.run_id = $1 and (c.superseded_at is null or c.kind = 'kept')
             order by c.created_at desc, c.id desc"
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
        let name = self.experiment_name(checkpoint.run).await?;
        Ok((checkpoint, name))
    }

    /// The checkpoint of a kind that a run has now, and the name of its experiment.
    ///
    /// # Errors
    /// [`Error::UnknownRun`], [`Error::NoCheckpoint`], storage.
    pub async fn current_checkpoint(&self, run: RunId, kind: CheckpointKind) -> Result<(Checkpoint, String)> {
        let name = self.experiment_name(run).await?;
        let checkpoint = current(&mut *self.pool.acquire().await?, run, kind).await?;
        let checkpoint = checkpoint.ok_or(Error::NoCheckpoint { run, kind })?;
        Ok((checkpoint, name))
    }

    async fn experiment_name(&self, run: RunId) -> Result<String> {
        let name: Option<String> = sqlx::query_scalar(
            "select e.name from runs r join experiments e on e.id = r.experiment_id where r.id = $1",
        )
        .bind(run.0)
        .fetch_optional(&self.pool)
        .await?;
        name.ok_or(Error::UnknownRun(run))
    }
}

async fn current(
    connection: &mut PgConnection,
    run: RunId,
    kind: CheckpointKind,
) -> Result<Option<Checkpoint>> {
    let row: Option<CheckpointRow> = sqlx::query_as(select_checkpoints!(
        "where c.run_id = $1 and c.kind = $2 and c.superseded_at is null"
    ))
    .bind(run.0)
    .bind(kind.as_str())
    .fetch_optional(connection)
    .await?;
    row.map(Checkpoint::try_from).transpose()
}

/// Keeps the newest checkpoint of the run, which is about to be replaced, where its turn has come.
async fn keep_nth(connection: &mut PgConnection, run: RunId) -> Result<()> {
    let newest: Option<(Uuid, i64, i64, i64)> = sqlx::query_as(
        "select c.id, c.next_batch, (e.spec::jsonb #>> '{training,keep_every}')::bigint,
                greatest(r.first_batch, (
                    select max(k.next_batch) from checkpoints k where k.run_id = r.id and k.kind = 'kept'
                ))
         from checkpoints c
         join runs r on r.id = c.run_id
         join experiments e on e.id = r.experiment_id
         where r.id = $1 and c.kind = 'last' and c.superseded_at is null
           and e.spec::jsonb #> '{training,keep_every}' is not null",
    )
    .bind(run.0)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((checkpoint, next_batch, every, kept)) = newest else {
        return Ok(());
    };
    if retention::is_kept(unsigned(next_batch), unsigned(kept), unsigned(every)) {
        sqlx::query("update checkpoints set kind = 'kept', superseded_at = now() where id = $1")
            .bind(checkpoint)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Puts the new checkpoint in the place of the older of its kind, which stays where an experiment starts from it or the
/// spec wants it kept.
async fn replace(connection: &mut PgConnection, run: RunId, upload: &UploadCheckpoint) -> Result<Checkpoint> {
    // A submission that is about to name the older one holds its row: what follows sees its end.
    sqlx::query(
        "select from checkpoints where run_id = $1 and kind = $2 and superseded_at is null for update",
    )
    .bind(run.0)
    .bind(upload.kind.as_str())
    .execute(&mut *connection)
    .await?;
    if upload.kind == CheckpointKind::Last {
        keep_nth(connection, run).await?;
    }
    sqlx::query(
        "update checkpoints set superseded_at = now()
         where run_id = $1 and kind = $2 and superseded_at is null
           and exists (select from experiments e where e.base_checkpoint_id = checkpoints.id)",
    )
    .bind(run.0)
    .bind(upload.kind.as_str())
    .execute(&mut *connection)
    .await?;
    sqlx::query("delete from checkpoints where run_id = $1 and kind = $2 and superseded_at is null")
        .bind(run.0)
        .bind(upload.kind.as_str())
        .execute(&mut *connection)
        .await?;
    let id = CheckpointId::new();
    sqlx::query(
        "insert into checkpoints (id, run_id, attempt_id, kind, next_batch, validation, sha256)
         values ($1, $2, $3, $4, $5, $6, $7)",
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
