//! Takes runs back from workers that fell silent.

use std::time::{Duration, Instant};

use motif_proto::monitoring::coordinator::LEASES_LOST;
use tokio_util::sync::CancellationToken;

use crate::error::chain;
use crate::monitoring::count;
use crate::monitoring::tasks::turn;
use crate::store::Store;

/// Looks for leases that ran out, several times in a lease's length, until `stop`.
///
/// Silence counts against a worker only while we could have heard it: after a start, and after a time without
/// the database or the processor, every lease gets a whole length anew.
pub async fn run(store: Store, lease: Duration, stop: CancellationToken) {
    let period = (lease / 6).clamp(Duration::from_millis(200), Duration::from_secs(5));
    let mut listening_since: Option<Instant> = None;
    loop {
        let deaf = listening_since.is_none_or(|last| last.elapsed() > period + lease / 2);
        let looked = if deaf {
            turn("lost_leases", store.grant_grace(lease)).await.map(|_| 0)
        } else {
            turn("lost_leases", store.requeue_lost()).await
        };
        match looked {
            Ok(lost) => {
                count(LEASES_LOST, &[], lost as u64);
                listening_since = Some(Instant::now());
            }
            Err(error) => {
                listening_since = None;
                tracing::error!(error = %chain(&error), "lost leases could not be looked for");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
    }
}
