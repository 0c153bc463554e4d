//! Hands runs to the workers that wait for one.
//!
//! Workers wait here, not in the database: however many are idle, news of a run costs one look at the queue, and
//! those that ask at about the same time are served by one statement. Workers that have the same to offer form a
//! group; whoever asked first is served first. A coordinator that ends tells nobody anything: workers ask again.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use motif_proto::id::{AttemptId, WorkerId};
use motif_proto::worker::{Claim, ClaimRequest, HeldLease};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, chain};
use crate::monitoring::outcomes;
use crate::signals::Signals;
use crate::store::Store;
use crate::store::queue::{Claimed, Offer, Taker};

/// How often the queue is looked at for those that wait, should a notice be lost.
const LOOK_ANYWAY: Duration = Duration::from_secs(3);
/// Most workers that wait at one coordinator.
const MAX_WAITING: usize = 20_000;
/// Most workers that one statement serves.
const MAX_SERVED: usize = 128;
/// Groups up to which each is looked up in the queue without asking first which of them can be served.
const FEW_GROUPS: usize = 3;
/// Statements for one group until it waits for news: a run that another coordinator took first, or that is to avoid
/// its worker, is worth another.
const ROUNDS: usize = 3;

/// What became of a claim.
type Answer = Result<Option<Claim>, Arc<Error>>;

/// Where claims wait; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Dispatcher(Arc<Arrivals>);

#[derive(Debug, Default)]
struct Arrivals {
    asks: Mutex<Vec<Ask>>,
    some: Notify,
}

/// A worker that asks, as it arrives.
#[derive(Debug)]
struct Ask {
    request: ClaimRequest,
    until: Instant,
    answer: oneshot::Sender<Answer>,
}

/// A worker that waits.
#[derive(Debug)]
struct Waiting {
    worker: WorkerId,
    offer: Offer,
    until: Instant,
    answer: oneshot::Sender<Answer>,
}

impl Dispatcher {
    /// Waits for a run for a worker; `None` when there was none in the time given.
    ///
    /// # Errors
    /// [`Error::UnknownWorker`], [`Error::Crowded`], storage.
    pub async fn claim(&self, request: ClaimRequest, wait: Duration) -> Result<Option<Claim>, Error> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask {
            request,
            until: Instant::now() + wait,
            answer,
        };
        {
            let mut asks = self.0.asks.lock().unwrap_or_else(PoisonError::into_inner);
            if asks.len() >= MAX_WAITING {
                return Err(Error::Crowded);
            }
            asks.push(ask);
        }
        self.0.some.notify_one();
        match answered.await {
            Ok(answer) => answer.map_err(Error::Shared),
            // The coordinator shuts down.
            Err(_) => Ok(None),
        }
    }

    /// Serves those that wait, until `stop`.
    pub async fn run(self, store: Store, signals: Signals, lease: Duration, stop: CancellationToken) {
        let mut news = signals.queue();
        let mut desk = Desk {
            store,
            lease,
            waiting: Vec::new(),
        };
        let mut look_anyway = Instant::now() + LOOK_ANYWAY;
        loop {
            let next_end = desk.next_end().map_or(look_anyway, |end| end.min(look_anyway));
            let heard = tokio::select! {
                () = stop.cancelled() => break,
                heard = news.changed() => heard.is_ok(),
                () = self.0.some.notified() => false,
                () = sleep_until(next_end) => false,
            };
            // Marked as seen before the look, so that what is queued during it causes another.
            let heard = heard || news.has_changed().unwrap_or(false);
            news.borrow_and_update();
            let arrived = std::mem::take(&mut *self.0.asks.lock().unwrap_or_else(PoisonError::into_inner));
            if heard || Instant::now() >= look_anyway {
                look_anyway = Instant::now() + LOOK_ANYWAY;
                desk.admit(arrived).await;
                desk.serve_all().await;
            } else {
                // For those that wait already there was nothing, and nothing was queued since.
                let before = std::mem::take(&mut desk.waiting);
                desk.admit(arrived).await;
                desk.serve_all().await;
                desk.waiting.splice(0..0, before);
            }
            desk.send_away();
        }
    }
}

/// Those that wait, in the order in which they came.
struct Desk {
    store: Store,
    lease: Duration,
    waiting: Vec<Waiting>,
}

impl Desk {
    fn next_end(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.until).min()
    }

    /// Takes in those that arrived, with what their workers have to offer.
    async fn admit(&mut self, arrived: Vec<Ask>) {
        if arrived.is_empty() {
            return;
        }
        let workers: Vec<WorkerId> = arrived.iter().map(|ask| ask.request.worker).collect();
        let capacities = match self.store.hear_of(&workers).await {
            Ok(capacities) => capacities,
            Err(error) => {
                let error = Arc::new(error);
                for ask in arrived {
                    let _ = ask.answer.send(Err(error.clone()));
                }
                return;
            }
        };
        for ask in arrived {
            let worker = ask.request.worker;
            let Some(capacity) = capacities.get(&worker) else {
                let _ = ask.answer.send(Err(Arc::new(Error::UnknownWorker(worker))));
                continue;
            };
            self.waiting.push(Waiting {
                worker,
                offer: capacity.offer(ask.request.free_slots),
                until: ask.until,
                answer: ask.answer,
            });
        }
    }

    /// Gives everybody who waits a run, as far as there are runs that fit.
    async fn serve_all(&mut self) {
        self.waiting.retain(|waiting| !waiting.answer.is_closed());
        let mut groups: BTreeMap<Offer, Vec<Waiting>> = BTreeMap::new();
        let mut left = Vec::new();
        let hopeless = self.hopeless().await;
        for waiting in self.waiting.drain(..) {
            if hopeless.contains(&waiting.worker) {
                left.push(waiting);
            } else {
                groups.entry(waiting.offer.clone()).or_default().push(waiting);
            }
        }
        for (offer, group) in groups {
            left.extend(self.serve(&offer, group).await);
        }
        left.sort_by_key(|waiting| waiting.until);
        self.waiting = left;
    }

    /// Of many different workers, those for which there is nothing.
    async fn hopeless(&self) -> HashSet<WorkerId> {
        let offers: HashSet<&Offer> = self.waiting.iter().map(|waiting| &waiting.offer).collect();
        if offers.len() <= FEW_GROUPS {
            return HashSet::new();
        }
        let workers: Vec<(WorkerId, i32)> = self
            .waiting
            .iter()
            .map(|waiting| (waiting.worker, waiting.offer.free_slots))
            .collect();
        match self.store.serveable(&workers).await {
            Ok(serveable) => {
                let serveable: HashSet<WorkerId> = serveable.into_iter().collect();
                workers
                    .into_iter()
                    .map(|(worker, _)| worker)
                    .filter(|worker| !serveable.contains(worker))
                    .collect()
            }
            // The claims themselves will say what is wrong.
            Err(_) => HashSet::new(),
        }
    }

    /// Serves a group, and returns those for whom there was nothing.
    async fn serve(&self, offer: &Offer, group: Vec<Waiting>) -> Vec<Waiting> {
        let mut hungry = group;
        let mut rounds = 0;
        while !hungry.is_empty() && rounds < ROUNDS {
            rounds += 1;
            let takers: Vec<Taker> = hungry
                .iter()
                .take(MAX_SERVED)
                .map(|waiting| Taker {
                    worker: waiting.worker,
                    attempt: AttemptId::new(),
                })
                .collect();
            let claimed = match outcomes::look(self.store.claim_runs(offer, &takers, self.lease)).await {
                Ok(claimed) => claimed,
                Err(error) => {
                    tracing::error!(error = %chain(&error), "runs could not be claimed");
                    let error = Arc::new(error);
                    for waiting in hungry {
                        let _ = waiting.answer.send(Err(error.clone()));
                    }
                    return Vec::new();
                }
            };
            let (asked, found) = (takers.len(), claimed.len());
            let mut runs: BTreeMap<AttemptId, Claimed> =
                claimed.into_iter().map(|run| (run.claim.attempt, run)).collect();
            let mut still = Vec::with_capacity(hungry.len());
            let mut attempts = takers.into_iter().map(|taker| taker.attempt);
            for waiting in hungry {
                match attempts.next().and_then(|attempt| runs.remove(&attempt)) {
                    Some(run) => self.hand_out(run, waiting.answer),
                    None => still.push(waiting),
                }
            }
            hungry = still;
            if found == asked {
                // There may be more for those that were not asked for yet.
                rounds = 0;
            } else if found == 0 {
                break;
            } else {
                // Whoever got nothing while others did may be one that a run is to avoid: another one comes first.
                hungry.rotate_left(1);
            }
        }
        hungry
    }

    /// Cuts the run's curves back where an earlier attempt wrote, then tells the worker. If that is gone, the run is
    /// taken back.
    fn hand_out(&self, run: Claimed, answer: oneshot::Sender<Answer>) {
        let Claimed { claim, rewind_to } = run;
        let lease = HeldLease {
            attempt: claim.attempt,
            token: claim.token,
        };
        let Some(next_batch) = rewind_to else {
            let store = self.store.clone();
            if answer.send(Ok(Some(claim))).is_err() {
                tokio::spawn(async move { store.take_back(lease).await });
            }
            return;
        };
        let store = self.store.clone();
        tokio::spawn(async move {
            let told = match store.rewind_for(lease, next_batch).await {
                Ok(()) => answer.send(Ok(Some(claim))),
                // The attempt has ended; the worker asks again.
                Err(_) => answer.send(Ok(None)),
            };
            if let Err(Ok(Some(_))) = told {
                store.take_back(lease).await;
            }
        });
    }

    /// Tells those whose time is over that there was nothing.
    fn send_away(&mut self) {
        let now = Instant::now();
        let (over, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.until <= now);
        self.waiting = waiting;
        for waiting in over {
            let _ = waiting.answer.send(Ok(None));
        }
    }
}
