//! The commands beside serving, and what they say.

use crate::artifacts::Artifacts;
use crate::backup::{self, BackupError, Findings};
use crate::config::{Backup, Check, Restore};
use crate::reached::Reached;
use crate::signals::Signals;
use crate::store::Store;

/// Saves what is stored.
///
/// # Errors
/// [`BackupError`].
pub async fn save(command: &Backup) -> Result<(), BackupError> {
    let artifacts = Artifacts::open(&command.place.or_in(&command.database))?;
    let manifest = backup::backup(&command.database, &artifacts, &command.folder, command.artifacts).await?;
    let bytes: u64 = manifest.blobs.iter().map(|blob| blob.size_bytes).sum();
    let what = if command.artifacts {
        "and"
    } else {
        "and the list of"
    };
    println!(
        "saved the database (schema {}) {what} {} blobs of {bytes} bytes in {}",
        manifest.schema,
        manifest.blobs.len(),
        command.folder.display()
    );
    Ok(())
}

/// Restores what was saved.
///
/// # Errors
/// [`BackupError`].
pub async fn restore(command: &Restore) -> Result<(), BackupError> {
    let artifacts = Artifacts::open(&command.place.or_in(&command.database))?;
    let manifest = backup::restore(&command.database, &artifacts, &command.folder).await?;
    println!(
        "restored the database and {} blobs as of {}",
        manifest.blobs.len(),
        manifest
            .created_at
            .to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    );
    Ok(())
}

/// Checks what is stored.
///
/// # Errors
/// [`BackupError`]; [`BackupError::Incomplete`] where bytes are missing or damaged.
pub async fn check(command: &Check) -> Result<(), BackupError> {
    let artifacts = Artifacts::open(&command.place.or_in(&command.database))?;
    let reached = Reached::new(&command.database).await?;
    let pool = reached.pool().await?;
    let store = Store::new(pool.clone(), Signals::new());
    let findings = backup::check(&store, &artifacts, command.content, command.repair).await;
    pool.close().await;
    reached.close().await;
    let findings = findings?;
    if command.json {
        println!("{}", serde_json::json!(findings));
    } else {
        print(&findings);
    }
    let broken = findings.missing.iter().chain(&findings.damaged);
    match broken.clone().next() {
        None => Ok(()),
        Some(first) => Err(BackupError::Incomplete {
            missing: broken.count(),
            named: findings.named,
            first: first.clone(),
        }),
    }
}

fn print(findings: &Findings) {
    println!("{:>8} blobs are named", findings.named);
    for (blobs, what) in [
        (&findings.missing, "are missing"),
        (&findings.damaged, "are damaged"),
        (&findings.orphans, "are there without a name"),
    ] {
        println!("{:>8} {what}", blobs.len());
        for sha256 in blobs {
            println!("         {sha256}");
        }
    }
    if findings.deleted > 0 {
        println!(
            "{:>8} without a name were deleted, {} bytes",
            findings.deleted, findings.orphan_bytes
        );
    }
}
