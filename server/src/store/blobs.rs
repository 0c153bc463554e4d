//! Which bytes of the artifact store are kept: those that a checkpoint or an artifact names, or an upload promises.
//!
//! Bytes come after their row and go before it, and go only under the row's lock, for which a new upload of the same
//! bytes waits. So there is no name without bytes, and every byte has a row by which it is found.

use std::time::Duration;

use super::{Result, Store};
use crate::artifacts::Artifacts;
use crate::error::Error;

/// Blobs that are looked for at once.
const BATCH: i64 = 200;
/// Rests between two deletions, so that a great collection leaves room for what is urgent.
const REST: Duration = Duration::from_millis(2);
/// The advisory lock that a backup holds while it reads: what it names is not collected meanwhile.
pub const BACKUP_LOCK: i64 = 0x6d6f_7469_665f_0001;

impl Store {
    /// Deletes all bytes that nothing names. Returns how many blobs.
    ///
    /// # Errors
    /// Storage, the artifact store.
    pub async fn collect_blobs(&self, artifacts: &Artifacts) -> Result<usize> {
        let mut after = String::new();
        let mut count = 0;
        loop {
            let unnamed: Vec<String> = sqlx::query_scalar(
                "select sha256 from blobs b
                 where sha256 > $1
                   and not exists (select from checkpoints c where c.sha256 = b.sha256)
                   and not exists (select from artifacts a where a.sha256 = b.sha256)
                   and not exists (select from uploads u where u.sha256 = b.sha256)
                 order by sha256 limit $2",
            )
            .bind(&after)
            .bind(BATCH)
            .fetch_all(&self.pool)
            .await?;
            let Some(last) = unnamed.last() else {
                return Ok(count);
            };
            after.clone_from(last);
            for sha256 in &unnamed {
                count += usize::from(self.collect_blob(sha256, artifacts).await?);
                tokio::time::sleep(REST).await;
            }
        }
    }

    /// Deletes bytes that were just replaced, unless something else names them. What fails here the collection of
    /// the retention task makes up for.
    pub(super) async fn let_go(&self, sha256: &str, artifacts: &Artifacts) {
        if let Err(error) = self.collect_blob(sha256, artifacts).await {
            tracing::warn!(error = %crate::error::chain(&error), "replaced bytes were not deleted");
        }
    }

    async fn collect_blob(&self, sha256: &str, artifacts: &Artifacts) -> Result<bool> {
        let mut tx = self.begin().await?;
        let free: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock_shared($1)")
            .bind(BACKUP_LOCK)
            .fetch_one(&mut *tx)
            .await?;
        if !free {
            return Ok(false);
        }
        let locked: Option<String> =
            sqlx::query_scalar("select sha256 from blobs where sha256 = $1 for update skip locked")
                .bind(sha256)
                .fetch_optional(&mut *tx)
                .await?;
        // A statement of its own: it sees what was committed before the lock was taken.
        let named: bool = sqlx::query_scalar(
            "select exists (select from checkpoints where sha256 = $1)
                 or exists (select from artifacts where sha256 = $1)
                 or exists (select from uploads where sha256 = $1)",
        )
        .bind(sha256)
        .fetch_one(&mut *tx)
        .await?;
        let unnamed = locked.is_some() && !named;
        if unnamed {
            artifacts.delete(sha256).await?;
            sqlx::query("delete from blobs where sha256 = $1")
                .bind(sha256)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(unnamed)
    }

    /// The length of the blob with this hash, where something names it.
    ///
    /// # Errors
    /// Storage.
    pub async fn named_blobs(&self, after: &str, limit: i64) -> Result<Vec<(String, u64)>> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "select sha256, size_bytes from blobs b
             where sha256 > $1
               and (exists (select from checkpoints c where c.sha256 = b.sha256)
                    or exists (select from artifacts a where a.sha256 = b.sha256))
             order by sha256 limit $2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|(sha256, size)| (sha256, super::unsigned(size)))
            .collect())
    }

    /// Whether the blob has a row.
    ///
    /// # Errors
    /// Storage.
    pub async fn has_blob(&self, sha256: &str) -> std::result::Result<bool, Error> {
        Ok(
            sqlx::query_scalar("select exists (select from blobs where sha256 = $1)")
                .bind(sha256)
                .fetch_one(&self.pool)
                .await?,
        )
    }
}
