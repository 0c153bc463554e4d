//! Wakes whoever waits: claims for work, heartbeats for what is asked of their runs, event streams for news.
//!
//! Whoever waits here hears at once. Other coordinators hear through Postgres' `NOTIFY`: gathered and packed, because
//! a transaction that notifies commits under a lock of the whole server. A notice that gets lost costs a delay and
//! nothing else: whoever waits also looks by itself every few seconds.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use motif_proto::id::{AttemptId, RunId};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::error::chain;

const CHANNEL: &str = "motif_news";
/// Signals that a slow listener may fall behind before it is told that it missed some.
const BACKLOG: usize = 1024;
/// How long notices are gathered before the next go out.
const GATHER: Duration = Duration::from_millis(20);
/// Bytes of one notice; Postgres takes less than 8000.
const NOTICE_BYTES: usize = 7_500;
/// How long to wait before a lost connection is tried again.
const RECONNECT: Duration = Duration::from_secs(1);

/// Something changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// A run has new events.
    Run(RunId),
    /// A run is waiting for a worker.
    Queue,
    /// A token or a session ended.
    Access,
    /// Somebody asked something of the worker that makes an attempt.
    Asked(AttemptId),
    /// A run rests where its sweep compares, or will never get there.
    Sweep,
}

/// Sends and receives signals; cheap to clone.
#[derive(Clone, Debug)]
pub struct Signals {
    /// Tells our own notices from those of other coordinators.
    own: Uuid,
    runs: broadcast::Sender<RunId>,
    asked: broadcast::Sender<AttemptId>,
    queue: watch::Sender<u64>,
    access: watch::Sender<u64>,
    sweeps: watch::Sender<u64>,
    outgoing: Arc<Outgoing>,
}

#[derive(Debug, Default)]
struct Outgoing {
    gathered: Mutex<HashSet<Signal>>,
    some: Notify,
}

impl Signals {
    /// Signals that reach this process alone until [`Signals::run`] carries them.
    #[must_use]
    pub fn new() -> Self {
        Self {
            own: Uuid::now_v7(),
            runs: broadcast::Sender::new(BACKLOG),
            asked: broadcast::Sender::new(BACKLOG),
            queue: watch::Sender::new(0),
            access: watch::Sender::new(0),
            sweeps: watch::Sender::new(0),
            outgoing: Arc::default(),
        }
    }

    /// Tells everybody, here and at other coordinators.
    pub fn send(&self, signal: Signal) {
        self.deliver(signal);
        let mut gathered = self
            .outgoing
            .gathered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        gathered.insert(signal);
        self.outgoing.some.notify_one();
    }

    /// Hears of every run that has news from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<RunId> {
        self.runs.subscribe()
    }

    /// Hears of every attempt of whose worker something is asked from now on.
    #[must_use]
    pub fn asked(&self) -> broadcast::Receiver<AttemptId> {
        self.asked.subscribe()
    }

    /// Changes whenever a run begins to wait for a worker.
    #[must_use]
    pub fn queue(&self) -> watch::Receiver<u64> {
        self.queue.subscribe()
    }

    /// Changes whenever a token or a session ends.
    #[must_use]
    pub fn access(&self) -> watch::Receiver<u64> {
        self.access.subscribe()
    }

    /// Changes whenever a run rests where its sweep compares.
    #[must_use]
    pub fn sweeps(&self) -> watch::Receiver<u64> {
        self.sweeps.subscribe()
    }

    fn deliver(&self, signal: Signal) {
        // No listener is no error.
        match signal {
            Signal::Run(run) => drop(self.runs.send(run)),
            Signal::Asked(attempt) => drop(self.asked.send(attempt)),
            Signal::Queue => self.queue.send_modify(|count| *count = count.wrapping_add(1)),
            Signal::Access => self.access.send_modify(|count| *count = count.wrapping_add(1)),
            Signal::Sweep => self.sweeps.send_modify(|count| *count = count.wrapping_add(1)),
        }
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
            let sent = sqlx::query("select pg_notify($1, notice) from unnest($2::text[]) as notice")
                .bind(CHANNEL)
                .bind(pack(self.own, &signals))
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
        listener.listen(CHANNEL).await?;
        loop {
            let notice = listener.recv().await?;
            if let Some(signals) = unpack(self.own, notice.payload()) {
                signals.for_each(|signal| self.deliver(signal));
            }
        }
    }
}

impl Default for Signals {
    fn default() -> Self {
        Self::new()
    }
}

/// The channel and the notice by which a transaction itself says that a token or a session ended: every coordinator
/// takes it for another's.
pub(crate) fn access_notice() -> (&'static str, String) {
    let notices = pack(Uuid::now_v7(), &HashSet::from([Signal::Access]));
    (CHANNEL, notices.concat())
}

/// Notices as they travel: who sends, then a word for each signal.
fn pack(own: Uuid, signals: &HashSet<Signal>) -> Vec<String> {
    let begin = own.simple().to_string();
    let mut notices = vec![begin.clone()];
    for signal in signals {
        let mut word = String::from(" ");
        // Writing to a string cannot fail.
        let _ = match signal {
            Signal::Queue => write!(word, "q"),
            Signal::Access => write!(word, "t"),
            Signal::Sweep => write!(word, "s"),
            Signal::Run(run) => write!(word, "r{}", run.0.simple()),
            Signal::Asked(attempt) => write!(word, "a{}", attempt.0.simple()),
        };
        match notices.last_mut() {
            Some(notice) if notice.len() + word.len() <= NOTICE_BYTES => notice.push_str(&word),
            _ => notices.push(begin.clone() + &word),
        }
    }
    notices
}

/// The signals of a notice, unless it is one of our own. Words that cannot be read are left out.
fn unpack(own: Uuid, notice: &str) -> Option<impl Iterator<Item = Signal>> {
    let mut words = notice.split(' ');
    let sender: Uuid = words.next()?.parse().ok()?;
    (sender != own).then(|| {
        words.filter_map(|word| {
            match word {
                "q" => return Some(Signal::Queue),
                "t" => return Some(Signal::Access),
                "s" => return Some(Signal::Sweep),
                _ => {}
            }
            let (kind, id) = word.split_at_checked(1)?;
            let id: Uuid = id.parse().ok()?;
            match kind {
                "r" => Some(Signal::Run(RunId(id))),
                "a" => Some(Signal::Asked(AttemptId(id))),
                _ => None,
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_signals_travel_in_notices_that_postgres_takes() {
        let signals: HashSet<Signal> = (0..1000)
            .map(|_| Signal::Run(RunId::new()))
            .chain([
                Signal::Queue,
                Signal::Access,
                Signal::Sweep,
                Signal::Asked(AttemptId::new()),
            ])
            .collect();
        let (own, other) = (Uuid::now_v7(), Uuid::now_v7());
        let notices = pack(own, &signals);
        assert!(notices.len() > 1 && notices.iter().all(|notice| notice.len() < 8000));
        let arrived: HashSet<Signal> = notices
            .iter()
            .flat_map(|notice| unpack(other, notice).into_iter().flatten())
            .collect();
        assert_eq!(arrived, signals);
    }

    #[test]
    fn our_own_notices_and_strange_words_are_left_out() {
        let own = Uuid::now_v7();
        let notices = pack(own, &HashSet::from([Signal::Queue]));
        assert!(unpack(own, &notices[0]).is_none());
        let strange = format!("{} q x1 rnobody \u{e4}", Uuid::now_v7());
        let read: Vec<Signal> = unpack(own, &strange).into_iter().flatten().collect();
        assert_eq!(read, [Signal::Queue]);
        assert!(unpack(own, "").is_none());
    }
}
