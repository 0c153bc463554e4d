//! Restores a backup into an empty database and an artifact store.

use std::path::Path;

use futures::StreamExt;
use sqlx::{Connection, PgConnection};
use tokio_util::io::ReaderStream;

use super::save::hash_of;
use super::{BackupError, Blob, DUMP, FORMAT, MANIFEST, Manifest, file, place_of, tools};
use crate::artifacts::Artifacts;
use crate::config::Database;
use crate::reached::Reached;
use crate::serve;

/// Restores a backup. The database must be empty; bytes that the artifact store has already are left as they are.
///
/// # Errors
/// [`BackupError`]. [`BackupError::Incomplete`] when all is restored but bytes that neither the backup nor the
/// artifact store has.
pub async fn restore(
    database: &Database,
    artifacts: &Artifacts,
    folder: &Path,
) -> Result<Manifest, BackupError> {
    let manifest = read_manifest(folder)?;
    let dump = folder.join(DUMP);
    if hash_of(&dump).await? != manifest.dump_sha256 {
        return Err(BackupError::Damaged(format!(
            "{DUMP} has another hash than {MANIFEST} says"
        )));
    }
    let private = Reached::new(database).await?;
    let restored = restore_into(&private, artifacts, folder, &manifest).await;
    private.close().await;
    restored?;
    Ok(manifest)
}

async fn restore_into(
    private: &Reached,
    artifacts: &Artifacts,
    folder: &Path,
    manifest: &Manifest,
) -> Result<(), BackupError> {
    let mut connection = private.connect().await?;
    if !is_empty(&mut connection).await? {
        return Err(BackupError::DatabaseInUse);
    }
    // The bytes first: no name is there before what it names.
    let mut missing = Vec::new();
    for blob in &manifest.blobs {
        if !restore_blob(artifacts, folder, manifest, blob).await? {
            missing.push(&blob.sha256);
        }
    }
    let mut pg_restore = tools::tool(&private.programs().join("pg_restore"), &private.target());
    pg_restore
        .args([
            "--no-owner",
            "--no-privileges",
            "--single-transaction",
            "--exit-on-error",
        ])
        .arg(folder.join(DUMP));
    tools::run("pg_restore", pg_restore).await?;
    // Of an earlier program: brought up to date as at any start.
    crate::MIGRATOR
        .run(&mut connection)
        .await
        .map_err(|error| serve::StartError::Migration(crate::error::chain(&error)))?;
    release(&mut connection).await?;
    connection.close().await?;
    match missing.first() {
        None => Ok(()),
        Some(first) => Err(BackupError::Incomplete {
            missing: missing.len(),
            named: manifest.blobs.len(),
            first: (*first).clone(),
        }),
    }
}

fn read_manifest(folder: &Path) -> Result<Manifest, BackupError> {
    let not_a_backup = |reason: String| BackupError::NotABackup {
        folder: folder.to_path_buf(),
        reason,
    };
    let path = folder.join(MANIFEST);
    let text = std::fs::read(&path).map_err(|error| not_a_backup(format!("{MANIFEST}: {error}")))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| not_a_backup(format!("{MANIFEST}: {error}")))?;
    if manifest.format != FORMAT {
        let format = manifest.format;
        return Err(not_a_backup(format!(
            "it has format {format}, this program knows {FORMAT}"
        )));
    }
    let newest = crate::MIGRATOR.iter().map(|migration| migration.version).max();
    if Some(manifest.schema) > newest {
        return Err(not_a_backup(format!(
            "its schema {} is newer than this program, {}",
            manifest.schema,
            env!("CARGO_PKG_VERSION")
        )));
    }
    Ok(manifest)
}

async fn is_empty(connection: &mut PgConnection) -> Result<bool, BackupError> {
    Ok(sqlx::query_scalar(
        "select not exists (
             select from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where n.nspname = 'public' and c.relkind in ('r', 'p', 'v', 'm', 'S')
         )",
    )
    .fetch_one(connection)
    .await?)
}

/// Whether the bytes are there now, with the hash that they should have.
async fn restore_blob(
    artifacts: &Artifacts,
    folder: &Path,
    manifest: &Manifest,
    blob: &Blob,
) -> Result<bool, BackupError> {
    if artifacts.size(&blob.sha256).await? == Some(blob.size_bytes) {
        return Ok(true);
    }
    if !manifest.with_artifacts {
        return Ok(false);
    }
    let place = place_of(folder, &blob.sha256);
    let content = match tokio::fs::File::open(&place).await {
        Ok(content) => content,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(file(&place)(error)),
    };
    let content = ReaderStream::new(content).map(|piece| piece.map_err(axum::Error::new));
    match artifacts
        .receive(Box::pin(content), &blob.sha256, blob.size_bytes)
        .await
    {
        Ok(()) => Ok(true),
        Err(crate::error::Error::ChecksumMismatch { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Ends what was under way when the backup was made: workers of then hold nothing now, uploads go on nowhere. A lease
/// that ran out is given back to the queue by the coordinator as ever.
async fn release(connection: &mut PgConnection) -> Result<(), BackupError> {
    sqlx::query("delete from uploads")
        .execute(&mut *connection)
        .await?;
    Ok(())
}
