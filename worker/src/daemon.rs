//! The daemon: claims runs for its free slots and carries them out until it is told to stop.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use motif_proto::client::{Client, ClientError};
use motif_proto::worker::RegisterWorker;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::attempt::{Shared, carry_out};
use crate::claim::{self, Registration};
use crate::engine::Engine;
use crate::lease::{Leases, keep_alive};
use crate::monitoring::{self, Busy};
use crate::outbox::Limits;
use crate::spool::{Spool, SpoolError};

/// How long a daemon that is to stop waits for its runs to be handed back.
pub const HAND_BACK_LIMIT: Duration = Duration::from_secs(20);
/// After how much of it runs are handed back as the coordinator knows them: without the checkpoint that it could not
/// be told, but at once instead of when their leases run out.
const PATIENCE: Duration = Duration::from_secs(14);

/// What a daemon is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the coordinator is told about it.
    pub about: RegisterWorker,
    /// Where it keeps what it has not sent yet.
    pub work_dir: PathBuf,
    /// How much of that.
    pub limits: Limits,
    /// Where Prometheus can read what it measures.
    pub metrics: Option<SocketAddr>,
}

/// Why a daemon cannot work.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("cannot serve metrics at {address}: {source}")]
    Metrics {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("the coordinator does not take this worker: {0}")]
    Refused(#[source] ClientError),
}

/// Works until `shutdown` is ready; then every run is checkpointed and handed back, for
/// [`HAND_BACK_LIMIT`] at most.
///
/// # Errors
/// When it cannot begin. Later nothing ends it but `shutdown`.
pub async fn run(
    client: Client,
    engine: Arc<dyn Engine>,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let slots = options.about.slots.max(1);
    let shared = Arc::new(Shared {
        client: client.clone(),
        engine,
        leases: Leases::default(),
        spool: Spool::open(&options.work_dir)?,
        limits: options.limits,
        about: options.about.clone(),
    });
    monitoring::begin(options.about.device.as_str(), slots);
    // Its task ends with the runtime.
    if let Some(address) = options.metrics {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| DaemonError::Metrics { address, source })?;
        tokio::spawn(monitoring::serve(listener, shared.leases.clone()));
    }
    let mut shutdown = std::pin::pin!(shutdown);
    let registration = tokio::select! {
        registration = Registration::new(&client, options.about, shared.engine.clone()) => {
            registration.map_err(DaemonError::Refused)?
        }
        () = &mut shutdown => return Ok(()),
    };
    let stopping = Arc::new(AtomicBool::new(false));
    let mut attempts = JoinSet::new();
    let heartbeats = keep_alive(&client, &registration, &shared.leases);
    let mut heartbeats = std::pin::pin!(heartbeats);
    tokio::select! {
        () = &mut heartbeats => {}
        () = work(&shared, &registration, slots, &stopping, &mut attempts) => {}
        () = &mut shutdown => {}
    }
    stopping.store(true, Ordering::Relaxed);
    shared.leases.hand_back_all();
    let handed_back = async { while attempts.join_next().await.is_some() {} };
    tokio::select! {
        () = heartbeats => {}
        () = hand_back(handed_back, &shared.leases) => {}
    }
    Ok(())
}

/// Waits until everything is handed back, for [`HAND_BACK_LIMIT`] at most.
async fn hand_back(handed_back: impl Future<Output = ()>, leases: &Leases) {
    let mut handed_back = std::pin::pin!(handed_back);
    if timeout(PATIENCE, &mut handed_back).await.is_ok() {
        return;
    }
    tracing::warn!(
        "the coordinator was not told everything: the rest is dropped, and computed again elsewhere"
    );
    leases.let_go_of_all();
    if timeout(HAND_BACK_LIMIT - PATIENCE, handed_back).await.is_err() {
        tracing::warn!("not everything could be handed back in time: leases will expire");
    }
}

/// Claims and starts runs, for ever.
async fn work(
    shared: &Arc<Shared>,
    registration: &Registration,
    slots: u32,
    stopping: &Arc<AtomicBool>,
    attempts: &mut JoinSet<()>,
) {
    let free = Arc::new(Semaphore::new(slots as usize));
    loop {
        // Never closed, so this never fails.
        let Ok(slot) = free.clone().acquire_owned().await else {
            return;
        };
        while attempts.try_join_next().is_some() {}
        let free_slots = u32::try_from(free.available_permits() + 1).unwrap_or(u32::MAX);
        let claim = claim::next(&shared.client, registration, free_slots).await;
        // Only this loop takes slots, so those that were offered are still free.
        let more = claim.slots.saturating_sub(1).min(free_slots - 1);
        let more_slots = free.clone().acquire_many_owned(more).await.ok();
        let (shared, stopping) = (shared.clone(), stopping.clone());
        attempts.spawn(async move {
            let _slots = (slot, more_slots, Busy::slots(1 + more));
            carry_out(&shared, claim, stopping.load(Ordering::Relaxed)).await;
        });
    }
}
