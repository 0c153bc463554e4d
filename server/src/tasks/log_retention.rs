//! Deletes log lines that have grown old.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, chain};
use crate::monitoring::tasks::turn;
use crate::store::Store;

const PERIOD: Duration = Duration::from_secs(300);
/// Between two batches, so that others get their turn.
const PAUSE: Duration = Duration::from_millis(100);

/// Deletes what is older than `age`, in batches, until `stop`. Several coordinators may: each skips what another has
/// locked.
pub async fn run(store: Store, age: Duration, stop: CancellationToken) {
    loop {
        if let Err(error) = turn("log_retention", clean(&store, age)).await {
            tracing::warn!(error = %chain(&error), "old log lines were not deleted; the next try is in {PERIOD:?}");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

async fn clean(store: &Store, age: Duration) -> Result<(), Error> {
    while store.prune_logs(age).await? > 0 {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
