//! Getting work: registration, and the long poll for runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use motif_proto::client::{Client, ClientError};
use motif_proto::id::WorkerId;
use motif_proto::worker::{Claim, ClaimRequest, RegisterWorker, WorkerCanary, WorkerRegistered};

use crate::backoff::Backoff;
use crate::canary;
use crate::engine::Engine;

/// How long one claim waits for work, in seconds.
const WAIT_SECONDS: u32 = 20;

/// What the coordinator knows this daemon as. A coordinator that has forgotten it is told again.
pub struct Registration {
    about: RegisterWorker,
    /// Makes the canary anew for each registration.
    engine: Arc<dyn Engine>,
    registered: Mutex<WorkerRegistered>,
    /// Only one renews at a time.
    renewing: tokio::sync::Mutex<()>,
}

impl Registration {
    /// Registers, for as long as it takes until the coordinator can be reached.
    ///
    /// # Errors
    /// When the coordinator refuses the worker: its token, say.
    pub async fn new(
        client: &Client,
        about: RegisterWorker,
        engine: Arc<dyn Engine>,
    ) -> Result<Self, ClientError> {
        let registered = register(client, &about, &engine).await?;
        Ok(Self {
            about,
            engine,
            registered: Mutex::new(registered),
            renewing: tokio::sync::Mutex::default(),
        })
    }

    /// What it is known as now.
    pub fn current(&self) -> WorkerRegistered {
        *self.lock()
    }

    /// Registers again, unless another task has done so since the coordinator said that it does not know
    /// `unknown`.
    pub async fn renew(&self, client: &Client, unknown: WorkerId) {
        let _renewing = self.renewing.lock().await;
        if self.current().worker != unknown {
            return;
        }
        match register(client, &self.about, &self.engine).await {
            Ok(registered) => *self.lock() = registered,
            Err(error) => tracing::error!(%error, "the coordinator refuses this worker"),
        }
    }

    /// Runs the canary and reports it, as the coordinator asked. One that does not arrive is asked for again.
    pub async fn prove(&self, client: &Client) {
        let worker = self.current().worker;
        let canary = canary::report(self.engine.clone()).await;
        if let Err(error) = client.report_canary(&WorkerCanary { worker, canary }).await {
            tracing::warn!(%error, "the canary was not reported");
        }
    }

    fn lock(&self) -> MutexGuard<'_, WorkerRegistered> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn register(
    client: &Client,
    about: &RegisterWorker,
    engine: &Arc<dyn Engine>,
) -> Result<WorkerRegistered, ClientError> {
    let about = RegisterWorker {
        canary: Some(canary::report(engine.clone()).await),
        ..about.clone()
    };
    let mut backoff = Backoff::default();
    loop {
        match client.register(&about).await {
            Ok(registered) => {
                tracing::info!(worker = %registered.worker, server = client.server(), "registered");
                return Ok(registered);
            }
            Err(error) if error.is_transient() => {
                let wait = backoff.after_failure();
                tracing::warn!(%error, retry_in = ?wait, "cannot register yet");
                tokio::time::sleep(wait).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Waits for a run to carry out, for as long as it takes.
pub async fn next(client: &Client, registration: &Registration, free_slots: u32) -> Claim {
    let mut backoff = Backoff::default();
    loop {
        let worker = registration.current().worker;
        let request = ClaimRequest {
            worker,
            free_slots,
            wait_seconds: WAIT_SECONDS,
        };
        match client.claim(&request).await {
            Ok(Some(claim)) => return claim,
            Ok(None) => backoff.reset(),
            Err(error) => {
                let wait = backoff.after_failure();
                if error.code() == Some("unknown_worker") {
                    registration.renew(client, worker).await;
                    tokio::time::sleep(wait.min(Duration::from_secs(1))).await;
                } else {
                    tracing::warn!(%error, retry_in = ?wait, "cannot ask for work");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}
