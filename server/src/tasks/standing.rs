//! Sets workers aside on which runs fail that go well elsewhere.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, chain};
use crate::monitoring::tasks::turn;
use crate::store::Store;

const PERIOD: Duration = Duration::from_secs(15);

/// Looks at the workers on which runs failed of late, every few seconds, until `stop`. What speaks against a worker at
/// once, a row of failures, is noticed when the newest of them is reported; this sees what others made of its runs.
pub async fn run(store: Store, stop: CancellationToken) {
    loop {
        if let Err(error) = turn("standing", judge(&store)).await {
            tracing::warn!(error = %chain(&error), "workers were not judged; the next look is in {PERIOD:?}");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

async fn judge(store: &Store) -> Result<(), Error> {
    for worker in store.suspects().await? {
        store.judge_worker(worker).await?;
    }
    Ok(())
}
