//! What a folder says of a run's batches, and whether it says the same everywhere.

use std::path::Path;

use motif_motor::checkpoint::Checkpoint;

use super::{Check, VerifyError};
use crate::local::history::{Began, evaluations_between, read_numbers};
use crate::local::hyperparameters::Stored;
use crate::local::{BATCHES, LOSSES, TEST_LOSSES, record};

/// The numbers of both files, and the record of the batches.
pub(super) struct History {
    losses: Vec<f64>,
    test_losses: Vec<f64>,
    batches: Vec<(u64, String)>,
    began: Began,
    save_every: u64,
}

impl History {
    pub(super) fn read(folder: &Path, stored: &Stored) -> Result<Self, VerifyError> {
        let numbers = |name: &str| {
            let path = folder.join(name);
            read_numbers(&path).map_err(|source| VerifyError::Read { path, source })
        };
        Ok(Self {
            losses: numbers(LOSSES)?,
            test_losses: numbers(TEST_LOSSES)?,
            batches: {
                let path = folder.join(BATCHES);
                record::read(&path).map_err(|source| VerifyError::Read { path, source })?
            },
            began: stored.began,
            save_every: stored
                .spec
                .training
                .as_ref()
                .map_or(1, |training| training.save_every),
        })
    }

    /// The recorded loss of a batch.
    pub(super) fn loss(&self, batch: u64) -> Option<f64> {
        let line = self
            .began
            .losses
            .checked_add(batch)?
            .checked_sub(self.began.batch)?;
        self.losses.get(usize::try_from(line).ok()?).copied()
    }

    /// The recorded result of the evaluation after a batch.
    pub(super) fn evaluation(&self, batch: u64) -> Option<f64> {
        let since = evaluations_between(self.began.evaluated, Some(batch), self.save_every);
        let line = self.began.test_losses.checked_add(since)?.checked_sub(1)?;
        self.test_losses.get(usize::try_from(line).ok()?).copied()
    }

    /// The record of a batch.
    pub(super) fn record(&self, batch: u64) -> Option<&str> {
        let (first, _) = self.batches.first()?;
        let place = usize::try_from(batch.checked_sub(*first)?).ok()?;
        self.batches.get(place).map(|(_, line)| line.as_str())
    }

    /// Whether the record has one line a batch up to the last state, with the losses of the history. Folders of before
    /// there was a record begin late, or have none.
    pub(super) fn records(&self, last: &Checkpoint) -> Check {
        let mut check = Check::of("record of the batches", BATCHES);
        let Some(&(first, _)) = self.batches.first() else {
            check.skipped = Some("there is none".to_owned());
            return check;
        };
        let finished = last.next_batch >= last.config.batches;
        let end = first.saturating_add(self.batches.len() as u64);
        if end < last.next_batch || (finished && end > last.next_batch) {
            let last = last.next_batch;
            check.mismatch = Some(format!(
                "it ends before batch {end}, the last state before batch {last}"
            ));
        }
        for (expected, (batch, line)) in (first..).zip(&self.batches) {
            check.compared += 1;
            if *batch != expected {
                check.mismatch = Some(format!(
                    "a line is about batch {batch}, where {expected} should be"
                ));
                break;
            }
            let (recorded, loss) = (record::total_of(line), self.loss(*batch));
            if recorded.map(f64::to_bits) != loss.map(f64::to_bits) {
                let words =
                    |loss: Option<f64>| loss.map_or_else(|| "none".to_owned(), |loss| loss.to_string());
                let [recorded, loss] = [recorded, loss].map(words);
                check.mismatch = Some(format!("batch {batch}: total is {recorded}, in {LOSSES} {loss}"));
                break;
            }
        }
        check
    }

    /// Whether both files have the lines that the last state presumes; more only where the run is not finished.
    pub(super) fn lengths(&self, last: &Checkpoint) -> Check {
        let expected = self.began.lines(Some(last), self.save_every);
        let finished = last.next_batch >= last.config.batches;
        let files = [
            (LOSSES, self.losses.len() as u64, expected.losses),
            (TEST_LOSSES, self.test_losses.len() as u64, expected.test_losses),
        ];
        let wrong =
            |&(_, found, expected): &(&str, u64, u64)| found < expected || (finished && found > expected);
        let words = |(file, found, expected)| {
            format!("{file} has {found} lines, where the last state presumes {expected}")
        };
        Check {
            compared: files.len() as u64,
            mismatch: files.into_iter().find(wrong).map(words),
            ..Check::of("length of the histories", LOSSES)
        }
    }
}
