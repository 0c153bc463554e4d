//! The leases that a daemon holds, and the heartbeats that renew them.
//!
//! A heartbeat that does not arrive stops nothing: only the coordinator's word that a run was cancelled or is in
//! other hands does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use motif_proto::client::Client;
use motif_proto::id::AttemptId;
use motif_proto::worker::{Heartbeat, HeldLease, Verdict, WorkerRegistered};
use tokio::sync::Notify;

use crate::claim::Registration;
use crate::driver::{Asked, Stop};
use crate::outbox::Outbox;

/// The least time between the answer to a heartbeat and the next one.
const AFTER_AN_ANSWER: Duration = Duration::from_secs(1);

/// What is needed to end an attempt from outside.
#[derive(Clone, Debug)]
pub struct Handle {
    /// Ends its training.
    pub stop: Stop,
    /// Ends its sending.
    pub outbox: Arc<Outbox>,
}

impl Handle {
    fn hand_back(&self) {
        self.stop.hand_back();
        self.outbox.hurry();
    }

    fn end(&self) {
        self.stop.abandon();
        self.outbox.close();
    }
}

/// The leases held now.
#[derive(Clone, Debug, Default)]
pub struct Leases(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    held: Mutex<BTreeMap<AttemptId, (HeldLease, Handle)>>,
    /// A lease was added.
    more: Notify,
}

/// Keeps a lease in the table.
#[derive(Debug)]
pub struct Held {
    leases: Leases,
    attempt: AttemptId,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.leases.lock().remove(&self.attempt);
    }
}

impl Leases {
    /// Holds a lease until the answer is dropped.
    pub fn hold(&self, lease: HeldLease, handle: Handle) -> Held {
        self.lock().insert(lease.attempt, (lease, handle));
        self.0.more.notify_one();
        Held {
            leases: self.clone(),
            attempt: lease.attempt,
        }
    }

    /// Asks every attempt to stop at the next batch, leave a checkpoint and hand its run back.
    pub fn hand_back_all(&self) {
        for (_, handle) in self.lock().values() {
            handle.hand_back();
        }
    }

    /// Bytes that wait on disk for the coordinator, over all attempts.
    #[must_use]
    pub fn spooled_bytes(&self) -> u64 {
        let held = self.lock();
        held.values()
            .map(|(_, handle)| handle.outbox.spooled_bytes())
            .sum()
    }

    /// Hands every run back as the coordinator knows it: what it was not told is dropped.
    pub fn let_go_of_all(&self) {
        for (_, handle) in self.lock().values() {
            handle.stop.abandon();
            handle.outbox.hand_back();
        }
    }

    /// Waits for a lease that is held since.
    async fn more(&self) {
        self.0.more.notified().await;
    }

    fn all(&self) -> Vec<HeldLease> {
        self.lock().values().map(|(lease, _)| *lease).collect()
    }

    fn decide(&self, attempt: AttemptId, verdict: Verdict) {
        let handle = self.lock().get(&attempt).map(|(_, handle)| handle.clone());
        let Some(handle) = handle else {
            return;
        };
        match verdict {
            Verdict::Continue => {}
            Verdict::Pause => {
                if handle.stop.asked() == Asked::GoOn {
                    tracing::info!(%attempt, "the run is to be paused");
                }
                handle.hand_back();
            }
            Verdict::Cancelled => {
                tracing::info!(%attempt, "the run was cancelled");
                handle.end();
            }
            Verdict::Lost => {
                tracing::warn!(%attempt, "the run is in other hands");
                handle.end();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AttemptId, (HeldLease, Handle)>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends heartbeats for as long as it is polled. Each waits at the coordinator for what may be asked, so that a
/// cancellation or a pause is heard of at once; a lease that is new since begins another.
pub async fn keep_alive(client: &Client, registration: &Registration, leases: &Leases) {
    loop {
        let known_as = registration.current();
        let interval = Duration::from_secs(u64::from(known_as.heartbeat_seconds.max(1)));
        let begun = Instant::now();
        let more = leases.more();
        let mut more = std::pin::pin!(more);
        let answered = tokio::select! {
            answered = beat(client, registration, &known_as, leases) => answered,
            () = &mut more => continue,
        };
        let mut left = interval.saturating_sub(begun.elapsed());
        if answered {
            // One that came early said something.
            left = left.min(AFTER_AN_ANSWER);
        }
        let _ = tokio::time::timeout(left, more).await;
    }
}

/// Says whether there was an answer.
async fn beat(
    client: &Client,
    registration: &Registration,
    known_as: &WorkerRegistered,
    leases: &Leases,
) -> bool {
    let worker = known_as.worker;
    let heartbeat = Heartbeat {
        worker,
        leases: leases.all(),
        wait_seconds: known_as.heartbeat_seconds,
    };
    match client.heartbeat(&heartbeat).await {
        Ok(answer) => {
            for lease in answer.leases {
                leases.decide(lease.attempt, lease.verdict);
            }
            if answer.canary {
                registration.prove(client).await;
            }
            return true;
        }
        Err(error) if error.code() == Some("unknown_worker") => {
            registration.renew(client, worker).await;
        }
        Err(error) => tracing::warn!(%error, "the heartbeat did not arrive; training goes on"),
    }
    false
}
