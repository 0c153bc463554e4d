//! The folder in which a daemon keeps what it has not sent yet.
//!
//! Every daemon has a folder of its own under the work folder, and holds a lock in it. It does not outlive the
//! process: a run whose worker died goes on from its last durable checkpoint, on whatever worker, and gives the
//! same numbers again. What dead processes left behind is removed at the next start.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use motif_proto::id::AttemptId;

const PREFIX: &str = "daemon-";
const LOCK: &str = "lock";

/// Why the work folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the work folder {path}: {source}")]
pub struct SpoolError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// A daemon's own folder, removed when dropped.
#[derive(Debug)]
pub struct Spool {
    folder: tempfile::TempDir,
    _lock: File,
}

impl Spool {
    /// Makes a folder under `work_dir`, and removes those of processes that are gone.
    ///
    /// # Errors
    /// When `work_dir` cannot be made or written to.
    pub fn open(work_dir: &Path) -> Result<Self, SpoolError> {
        let open = || -> io::Result<Self> {
            fs::create_dir_all(work_dir)?;
            remove_abandoned(work_dir)?;
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(work_dir)?;
            let lock = File::create(folder.path().join(LOCK))?;
            lock.lock()?;
            Ok(Self { folder, _lock: lock })
        };
        open().map_err(|source| SpoolError {
            path: work_dir.to_owned(),
            source,
        })
    }

    /// Makes the folder of an attempt, removed when dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn attempt(&self, attempt: AttemptId) -> io::Result<tempfile::TempDir> {
        tempfile::Builder::new()
            .prefix(&format!("{attempt}-"))
            .tempdir_in(self.folder.path())
    }
}

fn remove_abandoned(work_dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(work_dir)? {
        let entry = entry?;
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        // A folder without a lock is just being made, or was killed at that moment and is empty.
        let Ok(lock) = File::open(entry.path().join(LOCK)) else {
            continue;
        };
        if ours && lock.try_lock().is_ok() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_dead_processes_are_removed_and_of_living_ones_kept() {
        let work = tempfile::tempdir().expect("a folder");
        let living = Spool::open(work.path()).expect("opened");
        let dead = work.path().join("daemon-dead");
        fs::create_dir(&dead).expect("made");
        fs::write(dead.join(LOCK), "").expect("written");
        let foreign = work.path().join("notes");
        fs::create_dir(&foreign).expect("made");
        let second = Spool::open(work.path()).expect("opened");
        assert!(living.folder.path().exists() && second.folder.path().exists());
        assert!(!dead.exists() && foreign.exists());
        let gone = second.folder.path().to_owned();
        drop(second);
        assert!(!gone.exists());
    }
}
