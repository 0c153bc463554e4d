//! Takes away what deleted runs left, in small batches with rests between them.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::chain;
use crate::monitoring::tasks::turn;
use crate::store::Store;

/// How often to look for new deletions.
const PERIOD: Duration = Duration::from_secs(1);
/// How long others have the database for themselves between two batches.
const REST: Duration = Duration::from_millis(10);
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Sweeps until `stop`.
pub async fn run(store: Store, stop: CancellationToken) {
    loop {
        let rest = match turn("deletion", store.sweep_deleted()).await {
            Ok(Some(_)) => REST,
            Ok(None) => PERIOD,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "deleted runs could not be swept");
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(rest) => {}
        }
    }
}
