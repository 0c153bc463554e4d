//! Whether the database's disk has room.

use super::{Result, Store};

/// Writes 1 MB, gone with the transaction, beside what the database keeps: only a file that grows finds a full disk,
/// as what is stored goes into gaps until there are none.
const LOOK: &str =
    "create temporary table look_for_room on commit drop as select generate_series(1, 30000) as number";

impl Store {
    /// Whether the database's disk has room left. A role that may not make temporary tables cannot tell, and takes it
    /// that there is.
    ///
    /// # Errors
    /// [`Error::Storage`](crate::error::Error::Storage) if the database does not answer.
    pub async fn has_room(&self) -> Result<bool> {
        self.room.or_look(self.look_for_room()).await
    }

    async fn look_for_room(&self) -> Result<bool> {
        match sqlx::query(LOOK).execute(&self.pool).await {
            Ok(_) => Ok(true),
            Err(error) if is_full(&error) => {
                tracing::error!(%error, "the database's disk is full");
                Ok(false)
            }
            Err(error) if may_not(&error) => Ok(true),
            Err(error) => Err(error.into()),
        }
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
