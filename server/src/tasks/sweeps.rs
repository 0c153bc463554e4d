//! Lets the best runs of sweeps go on, and stops the others.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::chain;
use crate::monitoring::tasks::turn;
use crate::signals::Signals;
use crate::store::Store;

/// How often it looks by itself: a notice may get lost, and runs end in ways that notify nobody.
const PERIOD: Duration = Duration::from_secs(3);

/// Decides whenever a run reaches a rung, until `stop`. Any number of coordinators may do so at once.
pub async fn run(store: Store, signals: Signals, stop: CancellationToken) {
    let mut news = signals.sweeps();
    loop {
        if let Err(error) = turn("sweeps", store.decide_sweeps()).await {
            tracing::warn!(error = %chain(&error), "sweeps were not decided; the next try is in {PERIOD:?}");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
            // The sender lives as long as the signals that are held here.
            _ = news.changed() => {}
        }
    }
}
