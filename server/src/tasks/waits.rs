//! Lets runs be claimed whose wait before another try is over.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::chain;
use crate::monitoring::tasks::turn;
use crate::store::Store;

const PERIOD: Duration = Duration::from_millis(500);

/// Looks twice a second, until `stop`.
pub async fn run(store: Store, stop: CancellationToken) {
    loop {
        if let Err(error) = turn("waits", store.end_waits()).await {
            tracing::warn!(error = %chain(&error), "waits before another try were not ended; the next look is soon");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}
