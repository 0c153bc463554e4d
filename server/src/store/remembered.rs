//! The journals that this coordinator appended to last.
//!
//! With one of them at hand the attempt's next batch is stored by one statement, together with those of others, which
//! sees for itself whether the attempt still holds the run and the journal is as remembered. Where it is not, nothing
//! is stored and the batch goes the long way, so what is remembered may be old or missing but never does harm.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use motif_proto::id::{AttemptId, RunId};
use motif_proto::metrics::MetricsBatch;

use super::journal::Journal;

/// Most attempts that are remembered; with one more, all are forgotten.
const MOST: usize = 4096;
/// How long a journal goes unnoted for lists.
const NOTE_EVERY: Duration = Duration::from_secs(5);

/// The journal of a run as the batch before left it.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) run: RunId,
    pub(super) journal: Journal,
    /// The sequence number that comes next.
    pub(super) next_sequence: u64,
    /// When the journal is to be noted for lists.
    note_at: Instant,
}

impl Remembered {
    pub(super) fn new(run: RunId, journal: Journal, next_sequence: u64) -> Self {
        let note_at = Instant::now() + NOTE_EVERY;
        Self {
            run,
            journal,
            next_sequence,
            note_at,
        }
    }

    /// Whether it is time to note the journal for lists.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.note_at
    }

    /// It was noted.
    pub(super) fn set_noted(&mut self) {
        self.note_at = Instant::now() + NOTE_EVERY;
    }
}

/// What is remembered of each attempt; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenJournals(Arc<Mutex<HashMap<AttemptId, Remembered>>>);

impl OpenJournals {
    /// The journal to which the batch can be appended by one statement. Forgets it: whoever succeeds remembers it
    /// again.
    pub(super) fn take(&self, batch: &MetricsBatch) -> Option<Remembered> {
        let remembered = self.lock().remove(&batch.attempt)?;
        (remembered.next_sequence == batch.sequence).then_some(remembered)
    }

    pub(super) fn put(&self, attempt: AttemptId, remembered: Remembered) {
        let mut all = self.lock();
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(attempt, remembered);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<AttemptId, Remembered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
