//! Desks: errands of one kind that arrive at about the same time are done together.
//!
//! An errand that finds nobody at the desk is done at once, alone. What arrives while a clerk works collects, and goes
//! together: one statement and one wait for the disk do for many. So that it is many, a clerk who finds few waiting of
//! those who come lets more arrive for a moment, and a second clerk comes only when many wait. A lone errand pays
//! nothing for that, nor do a few senders who wait for their answers.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

use super::Result;
use crate::error::{Error, chain};

/// Most errands that wait at a desk.
pub(super) const MAX_WAITING: usize = 4096;
/// Most errands that are done together.
const MAX_TOGETHER: usize = 256;
/// Bytes of errands from which on no further one is done with them.
const MAX_BYTES: usize = 1024 * 1024;
/// What makes a lot worth a statement at once: so many errands, those of half the senders, or so many bytes.
const WORTH_ERRANDS: usize = 32;
const WORTH_BYTES: usize = 32 * 1024;
/// Whoever came within this time, or the one before, is expected again.
const EXPECTED: Duration = Duration::from_secs(2);
/// Longest time for one lot: more than a statement may take, should the connection hang.
const LIMIT: Duration = Duration::from_secs(18);

/// Something that can be done together with others of its kind.
pub(super) trait Errand: Send + Sized + 'static {
    /// With what it is done.
    type Means: Clone + Send + Sync + 'static;
    /// What whoever asked is told.
    type Answer: Send + 'static;
    /// Most lots that are done at a time.
    const CLERKS: usize;
    /// How long a clerk who has just done a lot lets errands collect where few wait; zero for not at all.
    const GATHERING: Duration;

    /// Whom it is for, as senders are told apart by.
    fn sender(&self) -> Uuid;

    /// Bytes that it brings along.
    fn bytes(&self) -> usize;

    /// Does all of them, and says of each in their order what came of it; `None` where it was left undone because it
    /// needs more than the others. What fails was not done for anybody, or may have been done for all.
    fn do_together(
        means: &Self::Means,
        errands: Vec<Self>,
    ) -> impl Future<Output = Result<Vec<Option<Self::Answer>>>> + Send;
}

/// Where errands wait; cheap to clone.
pub(super) struct Desk<E: Errand>(Arc<Hall<E>>);

struct Hall<E: Errand> {
    waiting: Mutex<Waiting<E>>,
    /// Told when what waits is worth a statement, where a clerk lets it collect.
    is_worth_it: Notify,
}

struct Waiting<E: Errand> {
    queue: VecDeque<Asked<E>>,
    /// Of all that wait.
    bytes: usize,
    senders: Senders,
    /// Clerks at the desk.
    clerks: usize,
    /// Those of them who let errands collect.
    gathering: usize,
}

impl<E: Errand> Waiting<E> {
    fn is_worth_a_statement(&self) -> bool {
        let half = self.senders.count().div_ceil(2);
        self.queue.len() >= WORTH_ERRANDS.min(half) || self.bytes >= WORTH_BYTES
    }

    fn push(&mut self, asked: Asked<E>) {
        self.bytes += asked.errand.bytes();
        self.senders.note(asked.errand.sender());
        self.queue.push_back(asked);
    }

    fn pop(&mut self) -> Option<Asked<E>> {
        let asked = self.queue.pop_front()?;
        self.bytes -= asked.errand.bytes();
        Some(asked)
    }
}

/// Those who came of late, counted as far as it matters.
struct Senders {
    since: Instant,
    seen: HashSet<Uuid>,
    before: usize,
}

impl Senders {
    const MOST: usize = 2 * WORTH_ERRANDS;

    fn note(&mut self, sender: Uuid) {
        let elapsed = self.since.elapsed();
        if elapsed >= EXPECTED {
            let is_recent = elapsed < 2 * EXPECTED;
            self.before = if is_recent { self.seen.len() } else { 0 };
            self.seen.clear();
            self.since = Instant::now();
        }
        if self.seen.len() < Self::MOST {
            self.seen.insert(sender);
        }
    }

    fn count(&self) -> usize {
        self.seen.len().max(self.before)
    }
}

struct Asked<E: Errand> {
    errand: E,
    answer: oneshot::Sender<Option<E::Answer>>,
}

impl<E: Errand> Desk<E> {
    /// Has the errand done. `None` says that it was left undone, or may have been: whoever asks does it alone, in a
    /// way that is safe to repeat.
    ///
    /// # Errors
    /// [`Error::Crowded`] where too many wait.
    pub(super) async fn ask(&self, means: &E::Means, errand: E) -> Result<Option<E::Answer>> {
        let (answer, answered) = oneshot::channel();
        let clerk = {
            let mut waiting = self.waiting();
            if waiting.queue.len() >= MAX_WAITING {
                return Err(Error::Crowded);
            }
            waiting.push(Asked { errand, answer });
            let is_worth_it = waiting.is_worth_a_statement();
            if is_worth_it && waiting.gathering > 0 {
                self.0.is_worth_it.notify_one();
            }
            let is_needed = waiting.clerks == 0 || (is_worth_it && waiting.gathering == 0);
            let one_more = is_needed && waiting.clerks < E::CLERKS;
            waiting.clerks += usize::from(one_more);
            one_more.then(|| Clerk(self.clone()))
        };
        if let Some(clerk) = clerk {
            tokio::spawn(clerk.work(means.clone()));
        }
        Ok(answered.await.unwrap_or_default())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<E>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does what waits at the desk until nothing does.
struct Clerk<E: Errand>(Desk<E>);

impl<E: Errand> Clerk<E> {
    async fn work(self, means: E::Means) {
        while let Some((errands, answers)) = self.next_lot() {
            let count = errands.len();
            match timeout(LIMIT, E::do_together(&means, errands)).await {
                Ok(Ok(results)) => {
                    for (answer, result) in answers.into_iter().zip(results) {
                        // Whoever asked may be gone.
                        let _ = answer.send(result);
                    }
                }
                // Those that asked see that no answer comes, and do it alone.
                Ok(Err(error)) => tracing::warn!(count, error = %chain(&error), "not done together"),
                Err(_) => tracing::warn!(count, "not done together within {LIMIT:?}"),
            }
            self.gather().await;
        }
    }

    /// Lets what waits become worth a statement, for a moment; does not wait for a first one.
    async fn gather(&self) {
        {
            let mut waiting = self.0.waiting();
            if E::GATHERING.is_zero() || waiting.queue.is_empty() || waiting.is_worth_a_statement() {
                return;
            }
            waiting.gathering += 1;
        }
        let _ = timeout(E::GATHERING, self.0.0.is_worth_it.notified()).await;
        self.0.waiting().gathering -= 1;
    }

    /// What is done together next. Where there is nothing the clerk leaves, before anybody can ask again.
    #[allow(clippy::type_complexity, reason = "two lists that belong together")]
    fn next_lot(&self) -> Option<(Vec<E>, Vec<oneshot::Sender<Option<E::Answer>>>)> {
        let mut waiting = self.0.waiting();
        let (mut errands, mut answers, mut bytes) = (Vec::new(), Vec::new(), 0);
        while errands.len() < MAX_TOGETHER
            && bytes < MAX_BYTES
            && let Some(Asked { errand, answer }) = waiting.pop()
        {
            if !answer.is_closed() {
                bytes += errand.bytes();
                errands.push(errand);
                answers.push(answer);
            }
        }
        if errands.is_empty() {
            waiting.clerks -= 1;
            return None;
        }
        Some((errands, answers))
    }
}

impl<E: Errand> Drop for Clerk<E> {
    /// After a panic, nobody is to wait for a clerk that does not come back.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut waiting = self.0.waiting();
            waiting.clerks -= 1;
            waiting.queue.clear();
            waiting.bytes = 0;
        }
    }
}

impl<E: Errand> Default for Desk<E> {
    fn default() -> Self {
        Self(Arc::new(Hall {
            waiting: Mutex::new(Waiting {
                queue: VecDeque::new(),
                bytes: 0,
                senders: Senders {
                    since: Instant::now(),
                    seen: HashSet::new(),
                    before: 0,
                },
                clerks: 0,
                gathering: 0,
            }),
            is_worth_it: Notify::new(),
        }))
    }
}

impl<E: Errand> Clone for Desk<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E: Errand> fmt::Debug for Desk<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::ops::Range;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;
    use tokio::task::JoinHandle;

    use super::*;

    /// Doubles a number, when it may; the clerk lets errands collect for so many milliseconds.
    struct Double<const GATHERING: u64>(u32);

    const HASTY: u64 = 1;
    /// For ever, as a test sees it.
    const PATIENT: u64 = 3_600_000;

    /// Where doubling needs a permit for each lot.
    struct Office {
        permits: Semaphore,
        lots: Mutex<Vec<usize>>,
        begun: AtomicUsize,
    }

    /// Left undone.
    const ODD_ONE_OUT: u32 = 13;
    /// Fails for all.
    const POISON: u32 = 666;
    /// Takes the clerk down.
    const PANIC: u32 = 999;

    impl<const GATHERING: u64> Errand for Double<GATHERING> {
        type Means = Arc<Office>;
        type Answer = u32;
        const CLERKS: usize = 1;
        const GATHERING: Duration = Duration::from_millis(GATHERING);

        fn sender(&self) -> Uuid {
            Uuid::from_u128(self.0.into())
        }

        fn bytes(&self) -> usize {
            1
        }

        async fn do_together(office: &Arc<Office>, errands: Vec<Self>) -> Result<Vec<Option<u32>>> {
            office.begun.fetch_add(1, Ordering::SeqCst);
            office.permits.acquire().await.unwrap().forget();
            office.lots.lock().unwrap().push(errands.len());
            assert!(
                errands.iter().all(|errand| errand.0 != PANIC),
                "the clerk breaks down"
            );
            if errands.iter().any(|errand| errand.0 == POISON) {
                return Err(Error::Damaged("poison".to_owned()));
            }
            let double = |errand: &Self| (errand.0 != ODD_ONE_OUT).then_some(errand.0 * 2);
            Ok(errands.iter().map(double).collect())
        }
    }

    fn office() -> Arc<Office> {
        Arc::new(Office {
            permits: Semaphore::new(0),
            lots: Mutex::new(Vec::new()),
            begun: AtomicUsize::new(0),
        })
    }

    fn ask<const GATHERING: u64>(
        desk: &Desk<Double<GATHERING>>,
        office: &Arc<Office>,
        number: u32,
    ) -> JoinHandle<Result<Option<u32>>> {
        let (desk, office) = (desk.clone(), office.clone());
        tokio::spawn(async move { desk.ask(&office, Double(number)).await })
    }

    /// Asks for all of them; the first keeps the clerk busy until the others wait.
    async fn ask_all(desk: &Desk<Double<HASTY>>, office: &Arc<Office>, numbers: &[u32]) -> Vec<Option<u32>> {
        let mut asked = vec![ask(desk, office, numbers[0])];
        until(|| office.begun.load(Ordering::SeqCst) == 1).await;
        asked.extend(numbers[1..].iter().map(|&number| ask(desk, office, number)));
        until(|| waits(desk) == numbers.len() - 1).await;
        office.permits.add_permits(numbers.len());
        let mut answers = Vec::new();
        for asked in asked {
            answers.push(asked.await.unwrap().unwrap());
        }
        answers
    }

    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            tokio::task::yield_now().await;
        }
    }

    fn waits<const GATHERING: u64>(desk: &Desk<Double<GATHERING>>) -> usize {
        desk.waiting().queue.len()
    }

    #[tokio::test]
    async fn one_is_served_alone_and_what_arrives_meanwhile_together() {
        let (desk, office) = (Desk::<Double<HASTY>>::default(), office());
        let answers = ask_all(&desk, &office, &[1, 2, ODD_ONE_OUT, 4]).await;
        assert_eq!(answers, [Some(2), Some(4), None, Some(8)]);
        assert_eq!(*office.lots.lock().unwrap(), [1, 3]);
        assert_eq!(desk.ask(&office, Double(5)).await.unwrap(), Some(10));
        assert_eq!(*office.lots.lock().unwrap(), [1, 3, 1]);
    }

    /// A clerk who has served 1 and lets the others wait for company.
    async fn gathering(
        desk: &Desk<Double<PATIENT>>,
        office: &Arc<Office>,
        others: Range<u32>,
    ) -> Vec<JoinHandle<Result<Option<u32>>>> {
        let mut asked = vec![ask(desk, office, 1)];
        until(|| office.begun.load(Ordering::SeqCst) == 1).await;
        let count = others.len();
        asked.extend(others.map(|number| ask(desk, office, number)));
        until(|| waits(desk) == count).await;
        office.permits.add_permits(2);
        until(|| desk.waiting().gathering == 1).await;
        asked
    }

    async fn all(asked: Vec<JoinHandle<Result<Option<u32>>>>) {
        for asked in asked {
            asked.await.unwrap().unwrap();
        }
    }

    /// Has `count` senders known, as if they came a moment ago.
    fn know(desk: &Desk<Double<PATIENT>>, count: u128) {
        let mut waiting = desk.waiting();
        (1..=count).for_each(|sender| waiting.senders.note(Uuid::from_u128(sender)));
    }

    #[tokio::test]
    async fn few_that_wait_are_joined_by_others_until_the_lot_is_full() {
        let (desk, office) = (Desk::default(), office());
        know(&desk, 1000);
        let mut asked = gathering(&desk, &office, 2..3).await;
        asked.extend((1..WORTH_ERRANDS).map(|_| ask(&desk, &office, 3)));
        all(asked).await;
        assert_eq!(*office.lots.lock().unwrap(), [1, WORTH_ERRANDS]);
    }

    #[tokio::test]
    async fn nobody_waits_for_senders_that_are_not_there() {
        let (desk, office) = (Desk::default(), office());
        know(&desk, 8);
        let mut asked = gathering(&desk, &office, 2..5).await;
        asked.push(ask(&desk, &office, 5));
        all(asked).await;
        assert_eq!(*office.lots.lock().unwrap(), [1, 4]);
    }

    #[tokio::test]
    async fn what_fails_together_is_left_to_those_who_asked_and_harms_no_later_one() {
        for bad in [POISON, PANIC] {
            let (desk, office) = (Desk::<Double<HASTY>>::default(), office());
            let answers = ask_all(&desk, &office, &[1, bad, 3]).await;
            assert_eq!(answers, [Some(2), None, None]);
            assert_eq!(desk.ask(&office, Double(4)).await.unwrap(), Some(8));
        }
    }

    #[tokio::test]
    async fn a_full_desk_turns_away_and_a_lot_has_a_bound() {
        let (desk, office) = (Desk::<Double<HASTY>>::default(), office());
        let first = ask(&desk, &office, 1);
        until(|| office.begun.load(Ordering::SeqCst) == 1).await;
        let others: Vec<_> = (0..MAX_WAITING).map(|_| ask(&desk, &office, 1)).collect();
        until(|| waits(&desk) == MAX_WAITING).await;
        let turned_away = desk.ask(&office, Double(1)).await;
        assert!(matches!(turned_away, Err(Error::Crowded)));
        office.permits.add_permits(MAX_WAITING);
        for asked in others.into_iter().chain([first]) {
            assert_eq!(asked.await.unwrap().unwrap(), Some(2));
        }
        assert!(office.lots.lock().unwrap().iter().all(|&lot| lot <= MAX_TOGETHER));
    }

    #[tokio::test]
    async fn nothing_is_done_for_whoever_is_gone() {
        let (desk, office) = (Desk::<Double<HASTY>>::default(), office());
        let first = ask(&desk, &office, 1);
        until(|| office.begun.load(Ordering::SeqCst) == 1).await;
        let gone = ask(&desk, &office, 2);
        until(|| waits(&desk) == 1).await;
        gone.abort();
        assert!(gone.await.is_err());
        office.permits.add_permits(2);
        assert_eq!(first.await.unwrap().unwrap(), Some(2));
        until(|| desk.waiting().clerks == 0).await;
        assert_eq!(*office.lots.lock().unwrap(), [1]);
    }
}
