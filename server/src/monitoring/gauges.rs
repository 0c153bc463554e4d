//! Counts of runs and workers, read from the database when somebody asks and the last ones are old.
//!
//! A coordinator that nobody reads counts nothing; one that is read often counts no more than a hundredth of the time.

use std::time::{Duration, Instant};

use motif_proto::monitoring::coordinator::{DATABASE_UP, QUEUE_OLDEST, RUNS, WORKER_SLOTS, WORKERS};
use motif_proto::run::RunState;
use tokio::sync::Mutex;

use super::set;
use crate::error::chain;
use crate::store::Store;
use crate::store::census::{Census, Fleet};

/// How long counts are good for at least.
const FRESH: Duration = Duration::from_secs(5);
/// How long counts are good for, in times of what counting took.
const WORTH: u32 = 100;
/// How long counting may take.
const LIMIT: Duration = Duration::from_secs(4);

/// When to count again. Whoever asks meanwhile waits for the one who counts.
#[derive(Debug, Default)]
pub struct Gauges(Mutex<Option<Instant>>);

impl Gauges {
    /// Counts again where that is due.
    pub async fn refresh(&self, store: &Store, lease: Duration) {
        let mut next = self.0.lock().await;
        if next.is_some_and(|next| Instant::now() < next) {
            return;
        }
        let begun = Instant::now();
        let counted = match tokio::time::timeout(LIMIT, store.census(lease)).await {
            Ok(Ok(census)) => {
                show(&census);
                true
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %chain(&error), "runs and workers could not be counted");
                false
            }
            Err(_) => {
                tracing::warn!("runs and workers could not be counted within {LIMIT:?}");
                false
            }
        };
        set(DATABASE_UP, &[], f64::from(u8::from(counted)));
        *next = Some(Instant::now() + FRESH.max(begun.elapsed() * WORTH));
    }
}

#[allow(clippy::cast_precision_loss, reason = "nobody has so many runs")]
fn show(census: &Census) {
    for state in RunState::ALL {
        set(RUNS, &[state.as_str()], census.queue.count(state) as f64);
    }
    set(QUEUE_OLDEST, &[], census.oldest_queued_seconds);
    for device in ["cpu", "cuda"] {
        let fleet = |alive| {
            let found = census
                .fleets
                .iter()
                .find(|fleet| fleet.device == device && fleet.alive == alive);
            found.cloned().unwrap_or_default()
        };
        let (alive, away): (Fleet, Fleet) = (fleet(true), fleet(false));
        set(WORKERS, &[device, "alive"], alive.workers as f64);
        set(WORKERS, &[device, "away"], away.workers as f64);
        let free = (alive.slots - alive.used_slots).max(0);
        set(WORKER_SLOTS, &[device, "used"], alive.used_slots as f64);
        set(WORKER_SLOTS, &[device, "free"], free as f64);
    }
}
