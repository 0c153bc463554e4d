//! Deletes what is no longer needed: old events and answers, and bytes that no checkpoint names.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::artifacts::Artifacts;
use crate::error::{Error, chain};
use crate::monitoring::tasks::turn;
use crate::store::Store;

/// How long a stream can be away and go on without a gap.
const EVENT_AGE: Duration = Duration::from_secs(3600);
const PERIOD: Duration = Duration::from_secs(60);

/// Cleans up every minute, until `stop`.
pub async fn run(store: Store, artifacts: Artifacts, stop: CancellationToken) {
    loop {
        if let Err(error) = turn("retention", clean(&store, &artifacts)).await {
            tracing::warn!(error = %chain(&error), "the clean-up failed; the next one is in a minute");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

async fn clean(store: &Store, artifacts: &Artifacts) -> Result<(), Error> {
    store.prune_events(EVENT_AGE).await?;
    store.prune_keys().await?;
    store.collect_blobs(artifacts).await?;
    Ok(())
}
