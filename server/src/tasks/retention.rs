//! Deletes what is no longer needed: old events and answers, bytes that nothing names, uploads that nobody goes on
//! with.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::artifacts::Artifacts;
use crate::error::{Error, chain};
use crate::monitoring::tasks::turn;
use crate::store::Store;

/// How long a stream can be away and go on without a gap.
const EVENT_AGE: Duration = Duration::from_secs(3600);
const PERIOD: Duration = Duration::from_secs(60);
/// How often the artifact store is searched for what uploads left behind.
const SEARCH_PERIOD: Duration = Duration::from_secs(6 * 3600);

/// Cleans up every minute, until `stop`.
pub async fn run(store: Store, artifacts: Artifacts, stop: CancellationToken) {
    let mut searched: Option<Instant> = None;
    loop {
        if let Err(error) = turn("retention", clean(&store, &artifacts)).await {
            tracing::warn!(error = %chain(&error), "the clean-up failed; the next one is in a minute");
        }
        if searched.is_none_or(|last| last.elapsed() > SEARCH_PERIOD) {
            searched = Some(Instant::now());
            if let Err(error) = turn("artifact_search", artifacts.discard_abandoned()).await {
                tracing::warn!(error = %chain(&error), "the artifact store could not be searched");
            }
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
    store.forget_deletions().await?;
    store.discard_abandoned_uploads(artifacts).await?;
    store.collect_blobs(artifacts).await?;
    Ok(())
}
