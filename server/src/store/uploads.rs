//! Uploads under way: what keeps bytes that nothing names yet, and how far those are that come in parts.

use std::time::Duration;

use motif_proto::id::{AttemptId, UploadId};
use motif_proto::upload::{BeginUpload, MAX_OPEN_UPLOADS, UPLOAD_PART_BYTES, UploadProgress};
use motif_proto::worker::HeldLease;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Result, Store, attempts, signed, unsigned};
use crate::artifacts::Artifacts;
use crate::error::{Error, chain};

/// Age from which nobody goes on with an upload. Shorter than that from which its parts are discarded.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// Abandoned uploads that are looked at in one transaction.
const BATCH: i64 = 50;

/// An upload that may begin, or that was received in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promised {
    /// The upload.
    pub id: UploadId,
    /// Whose bytes.
    pub sha256: String,
    /// How many.
    pub size_bytes: u64,
}

#[derive(FromRow)]
struct AbandonedRow {
    id: Uuid,
    sha256: String,
    multipart_id: Option<String>,
}

/// Keeps bytes from being collected, before they are there.
pub(super) async fn promise(
    connection: &mut PgConnection,
    attempt: AttemptId,
    sha256: &str,
    size_bytes: u64,
    resumable: bool,
) -> Result<Promised> {
    // Waits for a collection that is deleting the same bytes.
    sqlx::query(
        "insert into blobs (sha256, size_bytes) values ($1, $2)
         on conflict (sha256) do update set created_at = now()",
    )
    .bind(sha256)
    .bind(signed(size_bytes))
    .execute(&mut *connection)
    .await?;
    let id = UploadId::new();
    sqlx::query(
        "insert into uploads (id, attempt_id, sha256, size_bytes, resumable) values ($1, $2, $3, $4, $5)",
    )
    .bind(id.0)
    .bind(attempt.0)
    .bind(sha256)
    .bind(signed(size_bytes))
    .bind(resumable)
    .execute(connection)
    .await?;
    Ok(Promised {
        id,
        sha256: sha256.to_owned(),
        size_bytes,
    })
}

/// The upload in parts that a request refers to, which must be that of the content announced.
pub(super) async fn find_promised(
    connection: &mut PgConnection,
    upload: UploadId,
    attempt: AttemptId,
    sha256: &str,
    size_bytes: u64,
) -> Result<Promised> {
    let promised = Promised {
        id: upload,
        sha256: sha256.to_owned(),
        size_bytes,
    };
    let found: Option<Uuid> = sqlx::query_scalar(
        "select id from uploads
         where id = $1 and attempt_id = $2 and sha256 = $3 and size_bytes = $4 and resumable",
    )
    .bind(upload.0)
    .bind(attempt.0)
    .bind(sha256)
    .bind(signed(size_bytes))
    .fetch_optional(connection)
    .await?;
    found.map(|_| promised).ok_or(Error::UnknownUpload(upload))
}

/// Ends an upload whose bytes are verified and in their place, for what is named in the same transaction.
pub(super) async fn redeem(connection: &mut PgConnection, promised: &Promised) -> Result<()> {
    let ended = sqlx::query("delete from uploads where id = $1")
        .bind(promised.id.0)
        .execute(&mut *connection)
        .await?;
    if ended.rows_affected() == 0 {
        return Err(Error::UnknownUpload(promised.id));
    }
    // The length that was announced first may have been another one, of an upload that was refused.
    sqlx::query("update blobs set size_bytes = $2, created_at = now() where sha256 = $1")
        .bind(&promised.sha256)
        .bind(signed(promised.size_bytes))
        .execute(connection)
        .await?;
    Ok(())
}

impl Store {
    /// Notes what the bucket calls an upload.
    ///
    /// # Errors
    /// Storage.
    pub async fn note_multipart(&self, promised: &Promised, multipart_id: &str) -> Result<()> {
        sqlx::query("update uploads set multipart_id = $2 where id = $1")
            .bind(promised.id.0)
            .bind(multipart_id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Ends an upload that came to nothing. What fails here is made up for when the upload counts as abandoned.
    pub async fn give_up(&self, promised: &Promised, artifacts: &Artifacts) {
        let ended = sqlx::query("delete from uploads where id = $1")
            .bind(promised.id.0)
            .execute(&self.pool)
            .await;
        match ended {
            Ok(_) => self.let_go(&promised.sha256, artifacts).await,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "an upload that failed was not forgotten yet");
            }
        }
    }

    /// Begins an upload in parts, or says how far one of the same content is.
    ///
    /// # Errors
    /// [`Error::UnknownAttempt`], [`Error::StaleLease`], [`Error::TooManyUploads`], storage.
    pub async fn begin_upload(&self, begin: &BeginUpload) -> Result<UploadProgress> {
        let mut tx = self.begin().await?;
        let lease = HeldLease {
            attempt: begin.attempt,
            token: begin.token,
        };
        attempts::lock_live(&mut tx, lease).await?;
        let open: Vec<(Uuid, String, i64)> =
            sqlx::query_as("select id, sha256, size_bytes from uploads where attempt_id = $1 and resumable")
                .bind(begin.attempt.0)
                .fetch_all(&mut *tx)
                .await?;
        let same = open
            .iter()
            .find(|(_, sha256, size)| *sha256 == begin.sha256 && unsigned(*size) == begin.size_bytes);
        let upload = match same {
            Some((id, _, _)) => UploadId(*id),
            None if open.len() >= MAX_OPEN_UPLOADS => return Err(Error::TooManyUploads(begin.attempt)),
            None => {
                promise(&mut tx, begin.attempt, &begin.sha256, begin.size_bytes, true)
                    .await?
                    .id
            }
        };
        let offset = offset(&mut tx, upload).await?;
        tx.commit().await?;
        Ok(UploadProgress {
            upload,
            offset,
            part_bytes: UPLOAD_PART_BYTES,
        })
    }

    /// Whether the next part may come: it begins where the last one ended, and does not reach past the whole.
    ///
    /// # Errors
    /// [`Error::UnknownAttempt`], [`Error::StaleLease`], [`Error::UnknownUpload`], [`Error::OffsetMismatch`],
    /// [`Error::UploadTooLong`], storage.
    pub async fn admit_part(
        &self,
        lease: HeldLease,
        upload: UploadId,
        first_byte: u64,
        bytes: u64,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        attempts::lock_live(&mut tx, lease).await?;
        check_part(&mut tx, lease, upload, first_byte, bytes).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Notes a part that lies in the artifact store.
    ///
    /// # Errors
    /// As [`admit_part`](Self::admit_part).
    pub async fn note_part(
        &self,
        lease: HeldLease,
        upload: UploadId,
        first_byte: u64,
        bytes: u64,
    ) -> Result<UploadProgress> {
        let mut tx = self.begin().await?;
        // Under the lock of the run, so that of two parts with the same place one is refused.
        attempts::lock_live(&mut tx, lease).await?;
        check_part(&mut tx, lease, upload, first_byte, bytes).await?;
        sqlx::query("insert into upload_parts (upload_id, first_byte, size_bytes) values ($1, $2, $3)")
            .bind(upload.0)
            .bind(signed(first_byte))
            .bind(signed(bytes))
            .execute(&mut *tx)
            .await?;
        sqlx::query("update uploads set touched_at = now() where id = $1")
            .bind(upload.0)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(UploadProgress {
            upload,
            offset: first_byte + bytes,
            part_bytes: UPLOAD_PART_BYTES,
        })
    }

    /// Where the parts of an upload begin, which must be complete.
    ///
    /// # Errors
    /// [`Error::OffsetMismatch`] while parts are missing, storage.
    pub async fn parts(&self, promised: &Promised) -> Result<Vec<u64>> {
        let parts: Vec<(i64, i64)> = sqlx::query_as(
            "select first_byte, size_bytes from upload_parts where upload_id = $1 order by first_byte",
        )
        .bind(promised.id.0)
        .fetch_all(&self.pool)
        .await?;
        let there: u64 = parts.iter().map(|(_, size)| unsigned(*size)).sum();
        if there != promised.size_bytes {
            return Err(Error::OffsetMismatch {
                expected: there,
                given: promised.size_bytes,
            });
        }
        Ok(parts.into_iter().map(|(first, _)| unsigned(first)).collect())
    }

    /// Takes back uploads with which nobody went on for a day. Returns how many.
    ///
    /// # Errors
    /// Storage, the artifact store.
    pub async fn discard_abandoned_uploads(&self, artifacts: &Artifacts) -> Result<usize> {
        let mut tx = self.begin().await?;
        let abandoned: Vec<AbandonedRow> = sqlx::query_as(
            "delete from uploads where id in (
                 select id from uploads where touched_at < now() - make_interval(secs => $1)
                 order by touched_at limit $2 for update skip locked
             ) returning id, sha256, multipart_id",
        )
        .bind(ABANDONED.as_secs_f64())
        .bind(BATCH)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        for row in &abandoned {
            tracing::info!(upload.id = %row.id, "an upload was abandoned");
            if let Some(multipart_id) = &row.multipart_id {
                artifacts.abort(&row.sha256, multipart_id).await?;
            }
        }
        Ok(abandoned.len())
    }
}

async fn offset(connection: &mut PgConnection, upload: UploadId) -> Result<u64> {
    let offset: i64 = sqlx::query_scalar(
        "select coalesce(sum(size_bytes), 0)::bigint from upload_parts where upload_id = $1",
    )
    .bind(upload.0)
    .fetch_one(connection)
    .await?;
    Ok(unsigned(offset))
}

async fn check_part(
    connection: &mut PgConnection,
    lease: HeldLease,
    upload: UploadId,
    first_byte: u64,
    bytes: u64,
) -> Result<()> {
    let size: Option<i64> =
        sqlx::query_scalar("select size_bytes from uploads where id = $1 and attempt_id = $2 and resumable")
            .bind(upload.0)
            .bind(lease.attempt.0)
            .fetch_optional(&mut *connection)
            .await?;
    let size = unsigned(size.ok_or(Error::UnknownUpload(upload))?);
    let expected = offset(connection, upload).await?;
    if first_byte != expected {
        return Err(Error::OffsetMismatch {
            expected,
            given: first_byte,
        });
    }
    if bytes == 0 || first_byte + bytes > size {
        return Err(Error::UploadTooLong {
            size,
            given: first_byte + bytes,
        });
    }
    Ok(())
}
