//! Makes a backup.

use std::path::Path;

use futures::TryStreamExt;
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};
use tokio::io::AsyncWriteExt;

use super::tools::{self, Target};
use super::{BackupError, Blob, DUMP, FORMAT, MANIFEST, Manifest, file, place_of};
use crate::artifacts::Artifacts;
use crate::config::Database;
use crate::reached::Reached;
use crate::store::blobs::BACKUP_LOCK;

/// Writes a backup into a folder that is not there yet, or is empty. Returns what it holds.
///
/// # Errors
/// [`BackupError`]; what was written stays beside the folder, under the name with `.partial`.
pub async fn backup(
    database: &Database,
    artifacts: &Artifacts,
    folder: &Path,
    with_artifacts: bool,
) -> Result<Manifest, BackupError> {
    if folder.exists() && std::fs::read_dir(folder).map_err(file(folder))?.next().is_some() {
        return Err(BackupError::FolderInUse(folder.to_path_buf()));
    }
    let mut partial = folder.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    if partial.exists() {
        std::fs::remove_dir_all(partial).map_err(file(partial))?;
    }
    std::fs::create_dir_all(partial).map_err(file(partial))?;
    let private = Reached::new(database).await?;
    let saved = save(&private, artifacts, partial, with_artifacts).await;
    private.close().await;
    let manifest = saved?;
    let text =
        serde_json::to_vec_pretty(&manifest).map_err(|error| BackupError::Damaged(error.to_string()))?;
    write(&partial.join(MANIFEST), &text).await?;
    sync_folder(partial)?;
    std::fs::rename(partial, folder).map_err(file(folder))?;
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync_folder(parent)?;
    }
    Ok(manifest)
}

async fn save(
    private: &Reached,
    artifacts: &Artifacts,
    folder: &Path,
    with_artifacts: bool,
) -> Result<Manifest, BackupError> {
    let mut keeper = private.connect().await?;
    // Collections go on when this connection ends, in whatever way.
    sqlx::query("select pg_advisory_lock($1)")
        .bind(BACKUP_LOCK)
        .execute(&mut keeper)
        .await?;
    let mut reader = private.connect().await?;
    let snapshot = begin(&mut reader).await?;
    let schema: i64 = sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
        .fetch_one(&mut reader)
        .await?;
    let blobs: Vec<(String, i64)> = sqlx::query_as(
        "select sha256, size_bytes from blobs b
         where exists (select from checkpoints c where c.sha256 = b.sha256)
            or exists (select from artifacts a where a.sha256 = b.sha256)
         order by sha256",
    )
    .fetch_all(&mut reader)
    .await?;
    let dump = folder.join(DUMP);
    let mut pg_dump = tools::tool(&private.programs().join("pg_dump"), &private.target());
    pg_dump
        .args([
            "--format=custom",
            "--no-owner",
            "--no-privileges",
            "--snapshot",
            &snapshot,
            "--file",
        ])
        .arg(&dump);
    tools::run("pg_dump", pg_dump).await?;
    reader.close().await?;

    let blobs: Vec<Blob> = blobs
        .into_iter()
        .map(|(sha256, size)| Blob {
            sha256,
            size_bytes: size.try_into().unwrap_or(0),
        })
        .collect();
    if with_artifacts {
        for blob in &blobs {
            save_blob(artifacts, folder, blob).await?;
        }
    }
    keeper.close().await?;
    Ok(Manifest {
        format: FORMAT,
        created_at: chrono::Utc::now(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        schema,
        dump_sha256: hash_of(&dump).await?,
        with_artifacts,
        blobs,
    })
}

/// Begins to read one moment, and says how others can read the same.
async fn begin(reader: &mut PgConnection) -> Result<String, BackupError> {
    for statement in [
        "set statement_timeout = 0",
        "set idle_in_transaction_session_timeout = 0",
        "begin transaction isolation level repeatable read, read only",
    ] {
        sqlx::query(statement).execute(&mut *reader).await?;
    }
    Ok(sqlx::query_scalar("select pg_export_snapshot()")
        .fetch_one(reader)
        .await?)
}

async fn save_blob(artifacts: &Artifacts, folder: &Path, blob: &Blob) -> Result<(), BackupError> {
    let place = place_of(folder, &blob.sha256);
    if let Some(parent) = place.parent() {
        std::fs::create_dir_all(parent).map_err(file(parent))?;
    }
    let mut out = tokio::fs::File::create(&place).await.map_err(file(&place))?;
    let mut content = artifacts.read(&blob.sha256, None).await?;
    let mut hash = Sha256::new();
    while let Some(piece) = content.try_next().await.map_err(crate::error::Error::from)? {
        hash.update(&piece);
        out.write_all(&piece).await.map_err(file(&place))?;
    }
    out.sync_all().await.map_err(file(&place))?;
    if format!("{:x}", hash.finalize()) != blob.sha256 {
        return Err(BackupError::Damaged(format!(
            "the artifact store's {} has other bytes than its name says",
            blob.sha256
        )));
    }
    Ok(())
}

async fn write(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let mut out = tokio::fs::File::create(path).await.map_err(file(path))?;
    out.write_all(bytes).await.map_err(file(path))?;
    out.sync_all().await.map_err(file(path))
}

fn sync_folder(folder: &Path) -> Result<(), BackupError> {
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(file(folder))
}

pub(super) async fn hash_of(path: &Path) -> Result<String, BackupError> {
    let path = path.to_path_buf();
    tokio::task::spawn_blocking(move || {
        let mut hash = Sha256::new();
        let mut content = std::fs::File::open(&path).map_err(file(&path))?;
        std::io::copy(&mut content, &mut hash).map_err(file(&path))?;
        Ok(format!("{:x}", hash.finalize()))
    })
    .await
    .map_err(|error| BackupError::Damaged(error.to_string()))?
}

impl Reached {
    /// The database, as Postgres' tools are told of it.
    pub(super) fn target(&self) -> Target {
        match self.url() {
            Some(url) => Target::Url(url.clone()),
            None => Target::Options(Box::new(self.options().clone())),
        }
    }
}
