//! What an outbox holds, and in which order it goes.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use motif_proto::metrics::Measured;
use motif_proto::run::CheckpointKind;

use super::letter::{Content, Letter};

/// What gathers, and what waits in its order.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) gathered: BTreeMap<String, (Vec<u64>, Vec<Measured>)>,
    pub(super) gathered_points: usize,
    pub(super) gathering_since: Option<Instant>,
    pub(super) next_sequence: u64,
    /// Every batch of metrics before this one was acknowledged.
    pub(super) acknowledged: u64,
    next_number: u64,
    pub(super) waiting: VecDeque<Letter>,
    pub(super) in_flight: Option<u64>,
    /// When uploads are sent again that were put off.
    pub(super) uploads_from: Option<Instant>,
    pub(super) bytes: u64,
    pub(super) hurried: bool,
    pub(super) closed: bool,
}

impl Contents {
    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    pub(super) fn put(&mut self, number: u64, bytes: u64, content: Content) {
        self.bytes += bytes;
        self.waiting.push_back(Letter {
            number,
            bytes,
            content,
        });
    }

    /// The first that waits; while uploads are put off, the first batch of metrics behind them.
    pub(super) fn next(&self) -> Option<&Letter> {
        let first = self.waiting.front()?;
        if !first.content.is_upload() || self.uploads_left().is_none() {
            return Some(first);
        }
        self.waiting
            .iter()
            .find(|letter| matches!(letter.content, Content::Metrics { .. }))
    }

    /// How long uploads are put off yet.
    pub(super) fn uploads_left(&self) -> Option<Duration> {
        let left = self.uploads_from?.checked_duration_since(Instant::now())?;
        (!self.hurried && !left.is_zero()).then_some(left)
    }

    pub(super) fn drop_waiting_checkpoint(&mut self, newer: CheckpointKind) {
        let in_flight = self.in_flight;
        let (mut freed, waiting) = (0, &mut self.waiting);
        waiting.retain(|letter| {
            let replaced = matches!(&letter.content, Content::Checkpoint { upload, .. } if upload.kind == newer)
                && in_flight != Some(letter.number);
            if replaced {
                freed += letter.bytes;
                letter.content.remove();
            }
            !replaced
        });
        self.bytes -= freed;
    }

    /// Has an effect once: what [`Outbox::fail`](super::Outbox::fail) leaves is not dropped by a later [`Outbox::close`](super::Outbox::close).
    pub(super) fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        for letter in self.waiting.drain(..) {
            letter.content.remove();
        }
        self.bytes = 0;
        self.forget_gathered();
    }

    /// What gathered is in a batch, or not wanted any more.
    pub(super) fn forget_gathered(&mut self) {
        self.gathered.clear();
        self.gathered_points = 0;
        self.gathering_since = None;
    }
}
