//! Which bytes of the artifact store are kept: those that a checkpoint or an artifact names.

use sqlx::PgConnection;

use super::{Result, Store, signed};
use crate::artifacts::{Artifacts, Staged};

/// Moves verified bytes to their place, for what is named in the same transaction. Takes the blob's row lock before
/// the bytes are there, as the collection takes it before they go.
pub(super) async fn keep(
    connection: &mut PgConnection,
    sha256: &str,
    size_bytes: u64,
    staged: &Staged,
    artifacts: &Artifacts,
) -> Result<()> {
    sqlx::query(
        "insert into blobs (sha256, size_bytes) values ($1, $2)
         on conflict (sha256) do update set created_at = now()",
    )
    .bind(sha256)
    .bind(signed(size_bytes))
    .execute(connection)
    .await?;
    staged.commit(artifacts).await
}

impl Store {
    /// Deletes all bytes that nothing names. Returns how many blobs.
    ///
    /// # Errors
    /// Storage, the artifact store.
    pub async fn collect_blobs(&self, artifacts: &Artifacts) -> Result<usize> {
        let unnamed: Vec<String> = sqlx::query_scalar(
            "select sha256 from blobs b
             where not exists (select from checkpoints c where c.sha256 = b.sha256)
               and not exists (select from artifacts a where a.sha256 = b.sha256)
             limit 1000",
        )
        .fetch_all(&self.pool)
        .await?;
        for sha256 in &unnamed {
            self.collect_blob(sha256, artifacts).await?;
        }
        Ok(unnamed.len())
    }

    /// Deletes bytes that were just replaced, unless something else names them. What fails here the collection of
    /// the retention task makes up for.
    pub(super) async fn let_go(&self, sha256: &str, artifacts: &Artifacts) {
        if let Err(error) = self.collect_blob(sha256, artifacts).await {
            tracing::warn!(error = %crate::error::chain(&error), "replaced bytes were not deleted");
        }
    }

    async fn collect_blob(&self, sha256: &str, artifacts: &Artifacts) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        let locked: Option<String> =
            sqlx::query_scalar("select sha256 from blobs where sha256 = $1 for update")
                .bind(sha256)
                .fetch_optional(&mut *tx)
                .await?;
        // A statement of its own: it sees what was committed while the lock was waited for.
        let named: bool = sqlx::query_scalar(
            "select exists (select from checkpoints where sha256 = $1)
                 or exists (select from artifacts where sha256 = $1)",
        )
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
