//! What an attempt has to tell the coordinator, in the order in which it happened, on disk until it was told.
//!
//! The training's thread puts in, the [`sender`](crate::sender) takes out. Points gather in memory and are
//! sealed into numbered batches; a checkpoint seals what happened before it, so that it never outruns its curve.
//! Of checkpoints that wait, only the newest of each kind is kept. Artifacts all go. While the coordinator has no room for
//! uploads they are put off, and points go past them. When the outbox is full, or the disk is, whoever puts in waits;
//! unless the attempt is to end.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use motif_proto::id::{AttemptId, FencingToken};
use motif_proto::log::{LogBatch, LogLine};
use motif_proto::metrics::{Measured, MetricsBatch, SeriesPoints};
use motif_proto::run::Failure;
use motif_proto::worker::{FinishAttempt, HeldLease, Outcome, UploadArtifact, UploadCheckpoint};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::driver::State;

mod contents;
mod letter;
mod log;

use contents::Contents;
pub use letter::{Content, Letter};
use log::Log;
pub use log::Said;

/// How much an outbox may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes on disk above which the training waits.
    pub bytes: u64,
    /// Points that one batch of metrics holds at most.
    pub points_per_batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 1 << 30,
            points_per_batch: 20_000,
        }
    }
}

/// How long points gather before they are sent.
pub const GATHER: Duration = Duration::from_millis(250);
/// How long to wait before a file that could not be written is tried again.
const DISK_RETRY: Duration = Duration::from_secs(1);

/// The attempt was given up: nothing is taken in any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed;

/// The outbox of one attempt.
#[derive(Debug)]
pub struct Outbox {
    lease: HeldLease,
    folder: PathBuf,
    limits: Limits,
    contents: Mutex<Contents>,
    log: Log,
    /// Something was taken out.
    room: Condvar,
    /// Something was put in.
    pub(crate) filled: Notify,
    /// The attempt is to end soon.
    hurried: Notify,
    /// What was being sent was dropped.
    dropped: Notify,
}

/// One measured value.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Name of the series.
    pub series: String,
    /// Batch number.
    pub step: u64,
    /// The value.
    pub value: f64,
}

impl Outbox {
    /// An empty outbox that keeps its files in `folder`.
    #[must_use]
    pub fn new(attempt: AttemptId, token: FencingToken, folder: &Path, limits: Limits) -> Self {
        Self {
            lease: HeldLease { attempt, token },
            folder: folder.to_owned(),
            limits,
            contents: Mutex::default(),
            log: Log::default(),
            room: Condvar::new(),
            filled: Notify::new(),
            hurried: Notify::new(),
            dropped: Notify::new(),
        }
    }

    /// Takes in what was measured at one moment. Waits while the outbox is full.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn record(&self, points: Vec<Point>) -> Result<(), Closed> {
        let mut contents = self.wait_for_room(self.lock())?;
        for point in points {
            let (steps, values) = contents.gathered.entry(point.series).or_default();
            steps.push(point.step);
            values.push(Measured(point.value));
            contents.gathered_points += 1;
        }
        contents.gathering_since.get_or_insert_with(Instant::now);
        if contents.gathered_points >= self.limits.points_per_batch {
            contents = self.seal_patiently(contents)?;
        }
        drop(contents);
        self.filled.notify_one();
        Ok(())
    }

    /// Takes in a checkpoint, after everything recorded before. Replaces one of its kind that still waits.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn checkpoint(&self, state: &State) -> Result<(), Closed> {
        let sha256 = hex(&Sha256::digest(&state.bytes));
        let name = format!("{}.safetensors", state.kind);
        let (mut contents, number, file) = self.lay_down(&name, &state.bytes)?;
        contents.drop_waiting_checkpoint(state.kind);
        let upload = UploadCheckpoint {
            attempt: self.lease.attempt,
            token: self.lease.token,
            kind: state.kind,
            next_batch: state.next_batch,
            metrics_sequence: contents.next_sequence,
            sha256,
            size_bytes: state.bytes.len() as u64,
            validation: state.validation,
        };
        contents.put(
            number,
            state.bytes.len() as u64,
            Content::Checkpoint { upload, file },
        );
        drop(contents);
        self.filled.notify_one();
        Ok(())
    }

    /// Takes in a file that the run made, after everything recorded before.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn artifact(&self, name: &str, bytes: &[u8]) -> Result<(), Closed> {
        let upload = UploadArtifact {
            attempt: self.lease.attempt,
            token: self.lease.token,
            name: name.to_owned(),
            sha256: hex(&Sha256::digest(bytes)),
            size_bytes: bytes.len() as u64,
        };
        let (mut contents, number, file) = self.lay_down("artifact", bytes)?;
        contents.put(number, upload.size_bytes, Content::Artifact { upload, file });
        drop(contents);
        self.filled.notify_one();
        Ok(())
    }

    /// Seals what was recorded before, and writes bytes to a numbered file. Waits while there is no room.
    fn lay_down(&self, name: &str, bytes: &[u8]) -> Result<(MutexGuard<'_, Contents>, u64, PathBuf), Closed> {
        let mut contents = self.seal_patiently(self.wait_for_room(self.lock())?)?;
        let number = contents.number();
        drop(contents);
        // Written without the lock, so that sending goes on; only this thread puts in, so nothing can come between.
        let file = self.folder.join(format!("{number:08}-{name}"));
        while let Err(error) = write(&file, bytes) {
            drop(self.wait_for_disk(self.lock(), &error)?);
        }
        let contents = self.lock();
        if contents.closed {
            return Err(Closed);
        }
        Ok((contents, number, file))
    }

    /// Bytes that wait on disk.
    #[must_use]
    pub fn spooled_bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Takes in a log line. Never waits, and drops what is too much.
    pub fn say(&self, said: &Said) {
        self.log.say(said);
        self.filled.notify_one();
    }

    /// Takes in how the attempt ended; nothing follows.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn finish(&self, outcome: Outcome) -> Result<(), Closed> {
        let mut contents = self.seal_patiently(self.lock())?;
        self.log.seal();
        let finish = self.finish_after(contents.next_sequence, outcome);
        let number = contents.number();
        contents.put(number, 0, Content::Finish(finish));
        drop(contents);
        self.filled.notify_one();
        Ok(())
    }

    /// Drops everything that waits and takes in nothing more.
    pub fn close(&self) {
        let mut contents = self.lock();
        contents.close();
        drop(contents);
        self.room.notify_all();
        self.filled.notify_one();
    }

    /// The attempt is to end soon: whoever waits for room gets it, and whoever waits to send tries at once.
    pub fn hurry(&self) {
        self.lock().hurried = true;
        self.room.notify_all();
        self.filled.notify_one();
        self.hurried.notify_one();
    }

    /// Drops everything that waits, takes in nothing more, and leaves only the news that the attempt failed.
    pub fn fail(&self, failure: Failure) {
        self.leave(Outcome::Failed { failure });
    }

    /// Drops everything that waits, takes in nothing more, and leaves only the news that the run is handed back. It
    /// goes on from the last checkpoint that was told, so what is dropped is computed again.
    pub fn hand_back(&self) {
        self.leave(Outcome::Released);
        self.dropped.notify_one();
        self.hurried.notify_one();
    }

    fn leave(&self, outcome: Outcome) {
        let mut contents = self.lock();
        if contents.closed {
            return;
        }
        contents.close();
        self.log.seal();
        let finish = self.finish_after(contents.acknowledged, outcome);
        let number = contents.number();
        contents.put(number, 0, Content::Finish(finish));
        drop(contents);
        self.room.notify_all();
        self.filled.notify_one();
    }

    /// Whether the attempt is to end soon.
    pub(crate) fn is_hurried(&self) -> bool {
        self.lock().hurried
    }

    /// Waits until the attempt is to end soon.
    pub(crate) async fn hurries(&self) {
        self.hurried.notified().await;
    }

    /// Waits until what is being sent need not arrive any more.
    pub(crate) async fn drops(&self) {
        self.dropped.notified().await;
    }

    fn finish_after(&self, metrics_sequence: u64, outcome: Outcome) -> FinishAttempt {
        FinishAttempt {
            attempt: self.lease.attempt,
            token: self.lease.token,
            metrics_sequence,
            outcome,
        }
    }

    /// Uploads wait for so long, and what was measured goes past them; unless the attempt is to end soon.
    pub(crate) fn put_off_uploads(&self, wait: Duration) {
        let mut contents = self.lock();
        contents.in_flight = None;
        contents.uploads_from = Some(Instant::now() + wait);
    }

    /// What is to be sent next; it stays until [`sent`](Self::sent). Points that have gathered for long enough
    /// are sealed when nothing else is to be sent. Log lines go between, the last of them before the end. `Err` says how long
    /// it takes until something is to be sent, where there is anything.
    pub(crate) fn front(&self) -> Result<Letter, Option<Duration>> {
        let mut contents = self.lock();
        let ends =
            matches!(contents.waiting.front(), Some(letter) if matches!(letter.content, Content::Finish(_)));
        let log_left = match self.log.due(ends) {
            Ok(lines) => return Ok(self.log_letter(&mut contents, lines)),
            Err(left) => left,
        };
        if contents.next().is_none() {
            let left = sooner(log_left, contents.uploads_left());
            let Some(since) = contents.gathering_since else {
                return Err(left);
            };
            let gathering = GATHER.saturating_sub(since.elapsed());
            if !gathering.is_zero() {
                return Err(sooner(left, Some(gathering)));
            }
            if let Err(error) = self.seal(&mut contents) {
                tracing::warn!(%error, "cannot write to the work folder");
                contents.gathering_since = Some(Instant::now());
                return Err(Some(GATHER));
            }
        }
        let letter = contents.next().cloned().ok_or(None)?;
        contents.in_flight = Some(letter.number);
        Ok(letter)
    }

    fn log_letter(&self, contents: &mut Contents, lines: Vec<LogLine>) -> Letter {
        let batch = LogBatch {
            attempt: self.lease.attempt,
            token: self.lease.token,
            lines,
        };
        Letter {
            number: contents.number(),
            bytes: 0,
            content: Content::Logs(batch),
        }
    }

    /// The letter arrived.
    pub(crate) fn sent(&self, letter: &Letter) {
        let mut contents = self.lock();
        contents.in_flight = None;
        let place = contents
            .waiting
            .iter()
            .position(|waiting| waiting.number == letter.number);
        if place.and_then(|place| contents.waiting.remove(place)).is_some() {
            contents.bytes -= letter.bytes;
            letter.content.remove();
        }
        match &letter.content {
            Content::Metrics { sequence, .. } => {
                contents.acknowledged = contents.acknowledged.max(sequence + 1);
            }
            Content::Logs(batch) => self
                .log
                .sent(batch.lines.last().map_or(0, |line| line.sequence + 1)),
            Content::Checkpoint { .. } | Content::Artifact { .. } | Content::Finish(_) => {}
        }
        drop(contents);
        self.room.notify_all();
    }

    /// Whether it was [closed](Self::close), and nothing is left to be told.
    pub(crate) fn is_closed(&self) -> bool {
        let contents = self.lock();
        contents.closed && contents.waiting.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        // Nothing panics between two changes that belong together.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_room<'c>(
        &self,
        mut contents: MutexGuard<'c, Contents>,
    ) -> Result<MutexGuard<'c, Contents>, Closed> {
        let full = |contents: &mut Contents| {
            !contents.closed && !contents.hurried && contents.bytes >= self.limits.bytes
        };
        if full(&mut contents) {
            tracing::warn!(
                bytes = contents.bytes,
                "the outbox is full: training waits until the coordinator has taken something"
            );
            contents = self
                .room
                .wait_while(contents, full)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if contents.closed {
            Err(Closed)
        } else {
            Ok(contents)
        }
    }

    fn wait_for_disk<'c>(
        &self,
        contents: MutexGuard<'c, Contents>,
        error: &io::Error,
    ) -> Result<MutexGuard<'c, Contents>, Closed> {
        tracing::warn!(%error, "cannot write to the work folder: training waits");
        let (contents, _) = self
            .room
            .wait_timeout_while(contents, DISK_RETRY, |contents| !contents.closed)
            .unwrap_or_else(PoisonError::into_inner);
        if contents.closed {
            Err(Closed)
        } else {
            Ok(contents)
        }
    }

    fn seal_patiently<'c>(
        &self,
        mut contents: MutexGuard<'c, Contents>,
    ) -> Result<MutexGuard<'c, Contents>, Closed> {
        if contents.closed {
            return Err(Closed);
        }
        while let Err(error) = self.seal(&mut contents) {
            contents = self.wait_for_disk(contents, &error)?;
        }
        Ok(contents)
    }

    /// Makes a batch of metrics of what has gathered.
    fn seal(&self, contents: &mut Contents) -> io::Result<()> {
        if contents.gathered.is_empty() {
            return Ok(());
        }
        let series = contents
            .gathered
            .iter()
            .map(|(name, (steps, values))| SeriesPoints {
                name: name.clone(),
                steps: steps.clone(),
                values: values.clone(),
            });
        let batch = MetricsBatch {
            attempt: self.lease.attempt,
            token: self.lease.token,
            sequence: contents.next_sequence,
            series: series.collect(),
        };
        let bytes = serde_json::to_vec(&batch)?;
        let number = contents.number();
        let file = self.folder.join(format!("{number:08}-metrics.json"));
        write(&file, &bytes)?;
        contents.forget_gathered();
        contents.next_sequence += 1;
        let sequence = batch.sequence;
        contents.put(number, bytes.len() as u64, Content::Metrics { sequence, file });
        Ok(())
    }
}

/// The shorter of two waits.
fn sooner(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    a.into_iter().chain(b).min()
}

fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::File::create(file)?.write_all(bytes)
}

/// Bytes as lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
