//! The leases that a daemon holds, and the heartbeats that renew them.
//!
//! A heartbeat that does not arrive stops nothing: only the coordinator's word that a run was cancelled or is in
//! other hands does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use motif_proto::client::Client;
use motif_proto::id::{AttemptId, WorkerId};
use motif_proto::worker::{Heartbeat, HeldLease, Verdict};

use crate::claim::Registration;
use crate::driver::Stop;
use crate::outbox::Outbox;

/// What is needed to end an attempt from outside.
#[derive(Clone, Debug)]
pub struct Handle {
    /// Ends its training.
    pub stop: Stop,
    /// Ends its sending.
    pub outbox: Arc<Outbox>,
}

impl Handle {
    fn end(&self) {
        self.stop.abandon();
        self.outbox.close();
    }
}

/// The leases held now.
#[derive(Clone, Debug, Default)]
pub struct Leases(Arc<Mutex<BTreeMap<AttemptId, (HeldLease, Handle)>>>);

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
        Held {
            leases: self.clone(),
            attempt: lease.attempt,
        }
    }

    /// Asks every attempt to stop at the next batch, leave a checkpoint and hand its run back.
    pub fn hand_back_all(&self) {
        for (_, handle) in self.lock().values() {
            handle.stop.hand_back();
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends heartbeats for as long as it is polled.
pub async fn keep_alive(client: &Client, registration: &Registration, leases: &Leases) {
    loop {
        let known_as = registration.current();
        tokio::time::sleep(Duration::from_secs(u64::from(known_as.heartbeat_seconds.max(1)))).await;
        beat(client, registration, known_as.worker, leases).await;
    }
}

async fn beat(client: &Client, registration: &Registration, worker: WorkerId, leases: &Leases) {
    let heartbeat = Heartbeat {
        worker,
        leases: leases.all(),
    };
    match client.heartbeat(&heartbeat).await {
        Ok(answer) => {
            for lease in answer.leases {
                leases.decide(lease.attempt, lease.verdict);
            }
        }
        Err(error) if error.code() == Some("unknown_worker") => {
            registration.renew(client, worker).await;
        }
        Err(error) => tracing::warn!(%error, "the heartbeat did not arrive; training goes on"),
    }
}
