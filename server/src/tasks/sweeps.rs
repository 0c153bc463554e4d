//! Lets the best runs of sweeps go on, and stops the others.

use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::error::chain;
use crate::signals::{Signal, Signals};
use crate::store::Store;

/// How often it looks by itself: a notice may get lost, and runs end in ways that notify nobody.
const PERIOD: Duration = Duration::from_secs(3);

/// Decides whenever a run reaches a rung, until `stop`. Any number of coordinators may do so at once.
pub async fn run(store: Store, signals: Signals, stop: CancellationToken) {
    let mut news = signals.subscribe();
    loop {
        if let Err(error) = store.decide_sweeps().await {
            tracing::warn!(error = %chain(&error), "sweeps were not decided; the next try is in {PERIOD:?}");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
            () = reached(&mut news) => {}
        }
    }
}

async fn reached(news: &mut broadcast::Receiver<Signal>) {
    loop {
        match news.recv().await {
            Ok(Signal::Sweep) | Err(RecvError::Lagged(_)) => return,
            Ok(Signal::Run(_) | Signal::Queue) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
