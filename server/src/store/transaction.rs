//! Transactions that leave no connection behind in the middle of one.

#![expect(clippy::disallowed_methods, reason = "this is the one place")]

use sqlx::Postgres;

use super::{Result, Store};

/// A transaction on a connection of the pool: rolled back where it is dropped.
pub(super) type Transaction = sqlx::Transaction<'static, Postgres>;

/// What is read is of one moment, whatever is stored meanwhile.
const SNAPSHOT: &str = "begin isolation level repeatable read read only";

impl Store {
    /// Begins a transaction.
    ///
    /// # Errors
    /// [`Error::Storage`](crate::error::Error::Storage).
    pub(super) async fn begin(&self) -> Result<Transaction> {
        let pool = self.pool.clone();
        undisturbed(async move { pool.begin().await }).await
    }

    /// Begins a transaction that only reads, and sees what there was at its first statement.
    ///
    /// # Errors
    /// [`Error::Storage`](crate::error::Error::Storage).
    pub(super) async fn begin_snapshot(&self) -> Result<Transaction> {
        let pool = self.pool.clone();
        undisturbed(async move { pool.begin_with(SNAPSHOT).await }).await
    }
}

/// Lets a transaction begin to the end, also where whoever asks is gone meanwhile: a client that hangs up, a limit of
/// time.
///
/// A `BEGIN` whose answer is not waited for is forgotten by sqlx 0.9.0 (its issue 4393): the connection goes back to
/// the pool inside a transaction, and what others store on it then is acknowledged and never committed.
async fn undisturbed(
    begin: impl Future<Output = sqlx::Result<Transaction>> + Send + 'static,
) -> Result<Transaction> {
    let begun = tokio::spawn(begin).await;
    // A runtime that shuts down begins nothing.
    Ok(begun.map_err(|_| sqlx::Error::PoolClosed)??)
}
