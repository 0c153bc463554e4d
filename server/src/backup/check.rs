//! Compares what the database names with what the artifact store has.

use std::collections::HashMap;

use futures::TryStreamExt;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::BackupError;
use crate::artifacts::Artifacts;
use crate::store::Store;

/// Named blobs that are read from the database at once.
const PAGE: i64 = 1000;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// How many blobs are named.
    pub named: usize,
    /// Blobs that are named and not there.
    pub missing: Vec<String>,
    /// Blobs that are named and have other bytes than they should.
    pub damaged: Vec<String>,
    /// Bytes that are there and of which the database knows nothing.
    pub orphans: Vec<String>,
    /// Bytes of the orphans.
    pub orphan_bytes: u64,
    /// Orphans that were deleted.
    pub deleted: usize,
}

/// Looks for names without bytes and for bytes without a name. With `content`, every byte is read and hashed; with
/// `repair`, bytes that the database knows nothing of are deleted. Names without bytes are for a person to decide.
///
/// # Errors
/// [`BackupError::Failed`].
pub async fn check(
    store: &Store,
    artifacts: &Artifacts,
    content: bool,
    repair: bool,
) -> Result<Findings, BackupError> {
    // In this order, so that what is uploaded meanwhile is no finding: its row comes before its bytes.
    let mut there = HashMap::new();
    let mut listed = artifacts.list();
    while let Some(found) = listed.try_next().await.map_err(crate::error::Error::from)? {
        there.insert(found.sha256, found.size_bytes);
    }
    let mut findings = Findings::default();
    let mut after = String::new();
    loop {
        let named = store.named_blobs(&after, PAGE).await?;
        let Some((last, _)) = named.last() else { break };
        after.clone_from(last);
        for (sha256, size) in named {
            findings.named += 1;
            let listed = there.remove(&sha256);
            let found = match listed {
                Some(found) => Some(found),
                None => artifacts.size(&sha256).await?,
            };
            match found {
                // Replaced and collected since it was read.
                None if !store.has_blob(&sha256).await? => {}
                None => findings.missing.push(sha256),
                Some(found) if found != size => findings.damaged.push(sha256),
                Some(_) if content && !is_sound(artifacts, &sha256).await? => findings.damaged.push(sha256),
                Some(_) => {}
            }
        }
    }
    for (sha256, size) in there {
        // One that has a row is promised or about to be collected.
        if store.has_blob(&sha256).await? {
            continue;
        }
        if repair {
            artifacts.delete(&sha256).await?;
            findings.deleted += 1;
        }
        findings.orphans.push(sha256);
        findings.orphan_bytes += size;
    }
    findings.orphans.sort_unstable();
    Ok(findings)
}

async fn is_sound(artifacts: &Artifacts, sha256: &str) -> Result<bool, BackupError> {
    let mut content = artifacts.read(sha256, None).await?;
    let mut hash = Sha256::new();
    while let Some(piece) = content.try_next().await.map_err(crate::error::Error::from)? {
        hash.update(&piece);
    }
    Ok(format!("{:x}", hash.finalize()) == sha256)
}
