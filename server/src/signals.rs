//! Wakes whoever waits: claims for work, event streams for news.
//!
//! Every coordinator hears of every change through Postgres' `NOTIFY`. Notices go out after the commit and
//! gathered, because a transaction that notifies commits under a lock of the whole server. A notice that gets
//! lost costs a delay and nothing else: whoever waits also looks by itself every few seconds.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use motif_proto::id::RunId;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use crate::error::chain;

const RUN_CHANNEL: &str = "motif_run";
const QUEUE_CHANNEL: &str = "motif_queue";
const SWEEP_CHANNEL: &str = "motif_sweep";
/// Signals that a slow listener may fall behind before it is told that it missed some.
const BACKLOG: usize = 1024;
/// How long notices are gathered before the next go out.
const GATHER: Duration = Duration::from_millis(20);
/// How long to wait before a lost connection is tried again.
const RECONNECT: Duration = Duration::from_secs(1);

/// Something changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// A run has new events.
    Run(RunId),
    /// A run is waiting for a worker.
    Queue,
    /// A run rests where its sweep compares, or will never get there.
    Sweep,
}

/// Sends and receives signals; cheap to clone.
#[derive(Clone, Debug)]
pub struct Signals {
    listeners: broadcast::Sender<Signal>,
    outgoing: Arc<Outgoing>,
}

#[derive(Debug, Default)]
struct Outgoing {
    gathered: Mutex<HashSet<Signal>>,
    some: Notify,
}

impl Signals {
    /// Signals that go nowhere until [`Signals::run`] carries them.
    #[must_use]
    pub fn new() -> Self {
        Self {
            listeners: broadcast::Sender::new(BACKLOG),
            outgoing: Arc::default(),
        }
    }

    /// Tells every coordinator.
    pub fn send(&self, signal: Signal) {
        let mut gathered = self
            .outgoing
            .gathered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        gathered.insert(signal);
        self.outgoing.some.notify_one();
    }

    /// Hears everything that is sent from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Signal> {
        self.listeners.subscribe()
    }

    /// Carries signals between this process and Postgres until `stop`.
    pub async fn run(self, pool: PgPool, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.carry_out(&pool) => {}
            () = self.carry_in(&pool) => {}
        }
    }

    async fn carry_out(&self, pool: &PgPool) {
        loop {
            self.outgoing.some.notified().await;
            let signals = std::mem::take(
                &mut *self
                    .outgoing
                    .gathered
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner),
            );
            let (channels, payloads): (Vec<_>, Vec<_>) = signals.iter().map(wire).unzip();
            let sent = sqlx::query("select pg_notify(channel, payload) from unnest($1::text[], $2::text[]) as n (channel, payload)")
                .bind(channels)
                .bind(payloads)
                .execute(pool)
                .await;
            if let Err(error) = sent {
                tracing::warn!(error = %chain(&error), "notices were not sent; listeners look by themselves");
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    async fn carry_in(&self, pool: &PgPool) {
        loop {
            if let Err(error) = self.listen(pool).await {
                tracing::warn!(error = %chain(&error), "the connection for notices was lost");
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn listen(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener
            .listen_all([RUN_CHANNEL, QUEUE_CHANNEL, SWEEP_CHANNEL])
            .await?;
        loop {
            let notice = listener.recv().await?;
            let signal = match notice.channel() {
                QUEUE_CHANNEL => Some(Signal::Queue),
                SWEEP_CHANNEL => Some(Signal::Sweep),
                _ => notice.payload().parse().ok().map(Signal::Run),
            };
            if let Some(signal) = signal {
                // No listener is no error.
                let _ = self.listeners.send(signal);
            }
        }
    }
}

impl Default for Signals {
    fn default() -> Self {
        Self::new()
    }
}

fn wire(signal: &Signal) -> (&'static str, String) {
    match signal {
        Signal::Run(run) => (RUN_CHANNEL, run.to_string()),
        Signal::Queue => (QUEUE_CHANNEL, String::new()),
        Signal::Sweep => (SWEEP_CHANNEL, String::new()),
    }
}
