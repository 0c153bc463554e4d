//! Artifacts: the files that runs make, and which bytes of the artifact store they name.

use chrono::{DateTime, Utc};
use motif_proto::artifact::{Artifact, ArtifactList, MAX_ARTIFACTS};
use motif_proto::id::{ArtifactId, AttemptId, RunId, UploadId};
use motif_proto::worker::{HeldLease, UploadArtifact};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::uploads::{self, Promised};
use super::{Result, Store, attempts, events, unsigned};
use crate::artifacts::Artifacts;
use crate::error::Error;
use crate::signals::Signal;

#[derive(FromRow)]
struct ArtifactRow {
    id: Uuid,
    run_id: Uuid,
    attempt_id: Uuid,
    name: String,
    sha256: String,
    size_bytes: i64,
    created_at: DateTime<Utc>,
}

impl From<ArtifactRow> for Artifact {
    fn from(row: ArtifactRow) -> Self {
        Self {
            id: ArtifactId(row.id),
            run: RunId(row.run_id),
            attempt: AttemptId(row.attempt_id),
            name: row.name,
            sha256: row.sha256,
            size_bytes: unsigned(row.size_bytes),
            created_at: row.created_at,
        }
    }
}

/// A query for [`ArtifactRow`]s that ends as given.
macro_rules! select_artifacts {
    ($end:literal) => {
        concat!(
            "select a.id, a.run_id, a.attempt_id, a.name, a.sha256, b.size_bytes, a.created_at
             from artifacts a join blobs b on b.sha256 = a.sha256 ",
            $end
        )
    };
}

const fn lease_of(upload: &UploadArtifact) -> HeldLease {
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
    /// [`Error::UnknownAttempt`], [`Error::StaleLease`], [`Error::TooManyArtifacts`], [`Error::UnknownUpload`],
    /// storage.
    pub async fn admit_artifact(
        &self,
        upload: &UploadArtifact,
        received: Option<UploadId>,
    ) -> Result<Promised> {
        let mut tx = self.begin().await?;
        let locked = attempts::lock_live(&mut tx, lease_of(upload)).await?;
        require_room(&mut tx, locked.run, &upload.name).await?;
        let (attempt, sha256, size) = (upload.attempt, &upload.sha256, upload.size_bytes);
        let promised = match received {
            Some(id) => uploads::find_promised(&mut tx, id, attempt, sha256, size).await?,
            None => uploads::promise(&mut tx, attempt, sha256, size, false).await?,
        };
        tx.commit().await?;
        Ok(promised)
    }

    /// Names bytes that were received and verified, in place of an older file of the same name. Safe to repeat: the
    /// same content from the same attempt is the same artifact.
    ///
    /// # Errors
    /// [`Error::StaleLease`], [`Error::TooManyArtifacts`], [`Error::UnknownUpload`] after a day, storage.
    #[tracing::instrument(name = "artifact.write", skip_all,
        fields(attempt.id = %upload.attempt, artifact.name = upload.name, size_bytes = upload.size_bytes))]
    pub async fn name_artifact(
        &self,
        upload: &UploadArtifact,
        promised: &Promised,
        artifacts: &Artifacts,
    ) -> Result<Artifact> {
        let mut tx = self.begin().await?;
        let locked = attempts::lock_live(&mut tx, lease_of(upload)).await?;
        let old = named(&mut tx, locked.run, &upload.name).await?;
        if let Some(old) = &old
            && old.sha256 == upload.sha256
            && old.attempt == upload.attempt
        {
            uploads::redeem(&mut tx, promised).await?;
            tx.commit().await?;
            return Ok(old.clone());
        }
        require_room(&mut tx, locked.run, &upload.name).await?;
        uploads::redeem(&mut tx, promised).await?;
        let id = ArtifactId::new();
        sqlx::query(
            "insert into artifacts (id, run_id, attempt_id, name, sha256) values ($1, $2, $3, $4, $5)
             on conflict on constraint artifacts_name_once do update
             set id = excluded.id, attempt_id = excluded.attempt_id, sha256 = excluded.sha256, created_at = now()",
        )
        .bind(id.0)
        .bind(locked.run.0)
        .bind(upload.attempt.0)
        .bind(&upload.name)
        .bind(&upload.sha256)
        .execute(&mut *tx)
        .await?;
        let artifact = named(&mut tx, locked.run, &upload.name)
            .await?
            .ok_or(Error::UnknownArtifact(id))?;
        events::record_artifact(&mut tx, &artifact).await?;
        tx.commit().await?;

        self.tell(Signal::Run(locked.run));
        if let Some(old) = old {
            self.let_go(&old.sha256, artifacts).await;
        }
        Ok(artifact)
    }

    /// The artifacts of a run, in the order of their names.
    ///
    /// # Errors
    /// [`Error::UnknownRun`], storage.
    pub async fn list_artifacts(&self, run: RunId) -> Result<ArtifactList> {
        let rows: Vec<ArtifactRow> = sqlx::query_as(select_artifacts!("where a.run_id = $1 order by a.name"))
            .bind(run.0)
            .fetch_all(&self.pool)
            .await?;
        if rows.is_empty() {
            self.run_summary(run).await?;
        }
        let artifacts = rows.into_iter().map(Artifact::from).collect();
        Ok(ArtifactList { artifacts })
    }

    /// An artifact.
    ///
    /// # Errors
    /// [`Error::UnknownArtifact`], storage.
    pub async fn find_artifact(&self, id: ArtifactId) -> Result<Artifact> {
        let row: Option<ArtifactRow> = sqlx::query_as(select_artifacts!("where a.id = $1"))
            .bind(id.0)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.ok_or(Error::UnknownArtifact(id))?.into())
    }
}

async fn named(connection: &mut PgConnection, run: RunId, name: &str) -> Result<Option<Artifact>> {
    let row: Option<ArtifactRow> = sqlx::query_as(select_artifacts!("where a.run_id = $1 and a.name = $2"))
        .bind(run.0)
        .bind(name)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(Artifact::from))
}

/// A run has a bounded number of artifacts; one of a name that is there already needs no room.
async fn require_room(connection: &mut PgConnection, run: RunId, name: &str) -> Result<()> {
    let others: i64 = sqlx::query_scalar("select count(*) from artifacts where run_id = $1 and name <> $2")
        .bind(run.0)
        .bind(name)
        .fetch_one(connection)
        .await?;
    if unsigned(others) >= MAX_ARTIFACTS as u64 {
        return Err(Error::TooManyArtifacts(run));
    }
    Ok(())
}
