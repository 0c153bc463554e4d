//! Desks: errands of one kind that arrive at about the same time are done together.
//!
//! An errand that finds a clerk free is done at once, alone. While all clerks are busy, what arrives collects, and the
//! first clerk that is free takes all of it: one statement and one wait for the disk then do for many, and for the
//! more the longer they take. Nobody waits for others to come.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Result;
use crate::error::{Error, chain};

/// Most errands that wait at a desk.
pub(super) const MAX_WAITING: usize = 4096;
/// Most errands that are done together.
const MAX_TOGETHER: usize = 256;
/// Bytes of errands from which on no further one is done with them.
const MAX_BYTES: usize = 1024 * 1024;
/// Longest time for one lot: more than a statement may take, should the connection hang.
const LIMIT: Duration = Duration::from_secs(18);

/// Something that can be done together with others of its kind.
pub(super) trait Errand: Send + Sized + 'static {
    /// With what it is done.
    type Means: Clone + Send + Sync + 'static;
    /// What whoever asked is told.
    type Answer: Send + 'static;
    /// Lots that are done at a time.
    const CLERKS: usize;

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
pub(super) struct Desk<E: Errand>(Arc<Mutex<Waiting<E>>>);

struct Waiting<E: Errand> {
    queue: VecDeque<Asked<E>>,
    /// Clerks at work.
    clerks: usize,
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
            waiting.queue.push_back(Asked { errand, answer });
            let one_more = waiting.clerks < E::CLERKS;
            waiting.clerks += usize::from(one_more);
            one_more.then(|| Clerk(self.clone()))
        };
        if let Some(clerk) = clerk {
            tokio::spawn(clerk.work(means.clone()));
        }
        Ok(answered.await.unwrap_or_default())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<E>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        }
    }

    /// What is done together next. Where there is nothing the clerk leaves, before anybody can ask again.
    #[allow(clippy::type_complexity, reason = "two lists that belong together")]
    fn next_lot(&self) -> Option<(Vec<E>, Vec<oneshot::Sender<Option<E::Answer>>>)> {
        let mut waiting = self.0.waiting();
        let (mut errands, mut answers, mut bytes) = (Vec::new(), Vec::new(), 0);
        while errands.len() < MAX_TOGETHER
            && bytes < MAX_BYTES
            && let Some(Asked { errand, answer }) = waiting.queue.pop_front()
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
        }
    }
}

impl<E: Errand> Default for Desk<E> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Waiting {
            queue: VecDeque::new(),
            clerks: 0,
        })))
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;
    use tokio::task::JoinHandle;

    use super::*;

    /// Doubles a number, when it may.
    struct Double(u32);

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

    impl Errand for Double {
        type Means = Arc<Office>;
        type Answer = u32;
        const CLERKS: usize = 1;

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

    fn ask(desk: &Desk<Double>, office: &Arc<Office>, number: u32) -> JoinHandle<Result<Option<u32>>> {
        let (desk, office) = (desk.clone(), office.clone());
        tokio::spawn(async move { desk.ask(&office, Double(number)).await })
    }

    /// Asks for all of them; the first keeps the clerk busy until the others wait.
    async fn ask_all(desk: &Desk<Double>, office: &Arc<Office>, numbers: &[u32]) -> Vec<Option<u32>> {
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

    fn waits(desk: &Desk<Double>) -> usize {
        desk.waiting().queue.len()
    }

    #[tokio::test]
    async fn one_is_served_alone_and_what_arrives_meanwhile_together() {
        let (desk, office) = (Desk::default(), office());
        let answers = ask_all(&desk, &office, &[1, 2, ODD_ONE_OUT, 4]).await;
        assert_eq!(answers, [Some(2), Some(4), None, Some(8)]);
        assert_eq!(*office.lots.lock().unwrap(), [1, 3]);
        assert_eq!(desk.ask(&office, Double(5)).await.unwrap(), Some(10));
        assert_eq!(*office.lots.lock().unwrap(), [1, 3, 1]);
    }

    #[tokio::test]
    async fn what_fails_together_is_left_to_those_who_asked_and_harms_no_later_one() {
        for bad in [POISON, PANIC] {
            let (desk, office) = (Desk::default(), office());
            let answers = ask_all(&desk, &office, &[1, bad, 3]).await;
            assert_eq!(answers, [Some(2), None, None]);
            assert_eq!(desk.ask(&office, Double(4)).await.unwrap(), Some(8));
        }
    }

    #[tokio::test]
    async fn a_full_desk_turns_away_and_a_lot_has_a_bound() {
        let (desk, office) = (Desk::default(), office());
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
        let (desk, office) = (Desk::default(), office());
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
