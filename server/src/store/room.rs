//! Whether the database's disk has room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::{Result, Store};

/// A look at the disk is good for so long, whoever asks.
const FRESH: Duration = Duration::from_secs(2);

/// Writes 1 MB, gone with the transaction, beside what the database keeps: only a file that grows finds a full disk,
/// as what is stored goes into gaps until there are none.
const LOOK: &str =
    "create temporary table look_for_room on commit drop as select generate_series(1, 30000) as number";

/// What was seen last; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Room(Arc<Mutex<Option<(Instant, bool)>>>);

impl Store {
    /// Whether the database's disk has room left. A role that may not make temporary tables cannot tell, and takes it
    /// that there is.
    ///
    /// # Errors
    /// [`Error::Storage`](crate::error::Error::Storage) if the database does not answer.
    pub async fn has_room(&self) -> Result<bool> {
        let mut seen = self.room.0.lock().await;
        if let Some((when, has_room)) = *seen
            && when.elapsed() < FRESH
        {
            return Ok(has_room);
        }
        let has_room = match sqlx::query(LOOK).execute(&self.pool).await {
            Ok(_) => true,
            Err(error) if is_full(&error) => {
                tracing::error!(%error, "the database's disk is full");
                false
            }
            Err(error) if may_not(&error) => true,
            Err(error) => return Err(error.into()),
        };
        *seen = Some((Instant::now(), has_room));
        Ok(has_room)
    }
}

/// Whether the disk of the database is full.
#[must_use]
pub fn is_full(error: &sqlx::Error) -> bool {
    has_code(error, "53100")
}

fn may_not(error: &sqlx::Error) -> bool {
    has_code(error, "42501")
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some(code))
}
