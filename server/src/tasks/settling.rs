//! Puts what ended runs left in their journals into chunks, and reads again what lists need of series.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, chain};
use crate::monitoring::tasks::turn;
use crate::store::Store;

const PERIOD: Duration = Duration::from_secs(20);

/// Settles every few seconds, until `stop`. A journal is as good to read as chunks are, so there is no hurry.
pub async fn run(store: Store, stop: CancellationToken) {
    loop {
        if let Err(error) = turn("settling", settle(&store)).await {
            tracing::warn!(error = %chain(&error), "journals were not settled; the next try is in {PERIOD:?}");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

async fn settle(store: &Store) -> Result<(), Error> {
    for run in store.unsettled().await? {
        // One that cannot be settled does not keep the others waiting.
        if let Err(error) = store.settle(run).await {
            tracing::warn!(run.id = %run, error = %chain(&error), "a journal was not settled");
        }
    }
    for run in store.unnoted().await? {
        if let Err(error) = store.renote(run).await {
            tracing::warn!(run.id = %run, error = %chain(&error), "a run's series were not noted");
        }
    }
    Ok(())
}
