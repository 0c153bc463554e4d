//! The log lines of an attempt that wait for the coordinator: numbered, few enough, and the newest of them.
//!
//! They lie in memory, as they are for people and the training must not wait for them. Where lines are left out, a
//! line in their place says how many.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use motif_proto::log::{LogLevel, LogLine, MAX_FIELDS_BYTES, MAX_MESSAGE_BYTES, MAX_TARGET_BYTES, shortened};
use motif_proto::mask::{masked, masked_field};

/// How long lines gather before they are sent.
const GATHER: Duration = Duration::from_millis(500);
/// Lines of one batch.
const BATCH_LINES: usize = 200;
/// Bytes that may wait; the oldest lines go first.
const MAX_BYTES: usize = 1 << 20;
/// Lines that may come at once.
const BURST: f64 = 500.0;
/// Lines a second that may come for long.
const PER_SECOND: f64 = 50.0;
/// What a line takes beside its texts.
const OVERHEAD: usize = 100;

/// What somebody had to say, without its place in the log.
#[derive(Clone, Debug)]
pub struct Said {
    /// How much it matters.
    pub level: LogLevel,
    /// Where in the program it comes from.
    pub target: String,
    /// What it says.
    pub message: String,
    /// What else it says, by names.
    pub fields: BTreeMap<String, String>,
}

/// The lines that wait.
#[derive(Debug)]
pub(super) struct Log(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    lines: VecDeque<LogLine>,
    bytes: usize,
    next_sequence: u64,
    sealed: bool,
    gathering_since: Option<Instant>,
    /// Lines that came too fast, since the newest that was taken in.
    too_fast: u64,
    /// Lines that made room for newer ones, since a batch was last sent; and the number of the newest of them.
    too_old: Option<(u64, u64)>,
    /// Lines that may come now.
    allowance: f64,
    allowed_at: Instant,
}

impl Default for Log {
    fn default() -> Self {
        Self(Mutex::new(Waiting {
            lines: VecDeque::new(),
            bytes: 0,
            next_sequence: 0,
            sealed: false,
            gathering_since: None,
            too_fast: 0,
            too_old: None,
            allowance: BURST,
            allowed_at: Instant::now(),
        }))
    }
}

impl Log {
    /// Takes in a line, without its secrets. Never waits.
    pub(super) fn say(&self, said: &Said) {
        self.lock().say(said, Instant::now());
    }

    /// Takes in nothing more: what is said about the sending of the last lines has no end of its own.
    pub(super) fn seal(&self) {
        self.lock().sealed = true;
    }

    /// The next lines to send, where they have gathered for long enough or `at_once`; `Err` says how long that takes,
    /// where there are any.
    pub(super) fn due(&self, at_once: bool) -> Result<Vec<LogLine>, Option<Duration>> {
        let mut waiting = self.lock();
        waiting.say_what_came_too_fast();
        let Some(since) = waiting.gathering_since else {
            return Err(None);
        };
        let left = GATHER.saturating_sub(since.elapsed());
        if !at_once && !left.is_zero() && waiting.lines.len() < BATCH_LINES {
            return Err(Some(left));
        }
        let gone = waiting.too_old.map(|(count, sequence)| {
            left_out(count, sequence, "they waited for the coordinator for too long")
        });
        let lines = waiting.lines.iter().take(BATCH_LINES).cloned();
        Ok(gone.into_iter().chain(lines).collect())
    }

    /// The lines below this number arrived, or never will.
    pub(super) fn sent(&self, next_sequence: u64) {
        let mut waiting = self.lock();
        while waiting
            .lines
            .front()
            .is_some_and(|line| line.sequence < next_sequence)
        {
            waiting.drop_oldest();
        }
        waiting.too_old = waiting.too_old.filter(|(_, newest)| *newest >= next_sequence);
        waiting.gathering_since = (!waiting.lines.is_empty()).then(Instant::now);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn say(&mut self, said: &Said, now: Instant) {
        if self.sealed {
            return;
        }
        let earned = now.saturating_duration_since(self.allowed_at).as_secs_f64() * PER_SECOND;
        self.allowance = (self.allowance + earned).min(BURST);
        self.allowed_at = now;
        if self.allowance < 1.0 {
            self.too_fast += 1;
            self.next_sequence += 1;
            return;
        }
        self.allowance -= 1.0;
        self.say_what_came_too_fast();
        let line = line(self.next_sequence, said);
        self.next_sequence += 1;
        self.push(line);
    }

    /// One line stands for all that came too fast, under the number of the last of them.
    fn say_what_came_too_fast(&mut self) {
        let count = std::mem::take(&mut self.too_fast);
        if count > 0 {
            self.push(left_out(count, self.next_sequence - 1, "they came too fast"));
        }
    }

    fn push(&mut self, line: LogLine) {
        self.bytes += size(&line);
        self.lines.push_back(line);
        self.gathering_since.get_or_insert_with(Instant::now);
        while self.bytes > MAX_BYTES {
            let (before, _) = self.too_old.unwrap_or_default();
            match self.drop_oldest() {
                Some(sequence) => self.too_old = Some((before + 1, sequence)),
                None => return,
            }
        }
    }

    fn drop_oldest(&mut self) -> Option<u64> {
        let oldest = self.lines.pop_front()?;
        self.bytes -= size(&oldest);
        Some(oldest.sequence)
    }
}

fn size(line: &LogLine) -> usize {
    let fields: usize = line
        .fields
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    line.message.len() + line.target.len() + fields + OVERHEAD
}

fn line(sequence: u64, said: &Said) -> LogLine {
    let mut room = MAX_FIELDS_BYTES;
    let fields = said.fields.iter().map_while(|(name, value)| {
        room = room.checked_sub(name.len())?;
        let value = shortened(&masked_field(name, value), room);
        room -= value.len();
        Some((name.clone(), value))
    });
    LogLine {
        sequence,
        time: now(),
        level: said.level,
        fields: fields.collect(),
        target: shortened(&said.target, MAX_TARGET_BYTES),
        message: shortened(&masked(&said.message), MAX_MESSAGE_BYTES),
    }
}

fn left_out(count: u64, sequence: u64, why: &str) -> LogLine {
    let lines = if count == 1 { "line was" } else { "lines were" };
    LogLine {
        sequence,
        time: now(),
        level: LogLevel::Warn,
        target: module_path!().to_owned(),
        message: format!("{count} {lines} left out here: {why}"),
        fields: BTreeMap::new(),
    }
}

fn now() -> DateTime<Utc> {
    Utc::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str) -> Said {
        Said {
            level: LogLevel::Info,
            target: "test".to_owned(),
            message: message.to_owned(),
            fields: BTreeMap::new(),
        }
    }

    fn numbers(lines: &[LogLine]) -> Vec<u64> {
        lines.iter().map(|line| line.sequence).collect()
    }

    #[test]
    fn lines_gather_and_stay_until_they_arrived() {
        let log = Log::default();
        assert_eq!(log.due(true), Err(None));
        log.say(&said("one"));
        log.say(&said("two"));
        assert!(log.due(false).is_err_and(|left| left.is_some()));
        assert_eq!(numbers(&log.due(true).expect("due")), [0, 1]);
        assert_eq!(numbers(&log.due(true).expect("still there")), [0, 1]);
        log.sent(1);
        assert_eq!(log.due(true).expect("due")[0].message, "two");
        log.sent(2);
        assert_eq!(log.due(true), Err(None));
    }

    #[test]
    fn a_flood_is_cut_and_says_so_where_it_was() {
        let mut waiting = Log::default().0.into_inner().expect("not poisoned");
        let begin = Instant::now();
        for i in 0..600 {
            waiting.say(&said(&i.to_string()), begin);
        }
        waiting.say(&said("later"), begin + Duration::from_secs(1));
        let lines: Vec<LogLine> = waiting.lines.into();
        assert_eq!(lines.len(), 502);
        let [.., cut, last] = lines.as_slice() else {
            panic!("there are lines")
        };
        assert_eq!(cut.message, "100 lines were left out here: they came too fast");
        assert_eq!((cut.sequence, last.sequence), (599, 600));
    }

    #[test]
    fn what_waits_too_long_makes_room_and_is_counted() {
        let mut waiting = Log::default().0.into_inner().expect("not poisoned");
        let mut now = Instant::now();
        for _ in 0..400 {
            now += Duration::from_secs(1);
            waiting.say(&said(&"x".repeat(10_000)), now);
        }
        assert!(waiting.bytes <= MAX_BYTES);
        let log = Log(Mutex::new(waiting));
        let lines = log.due(true).expect("due");
        let gone = lines[0].sequence + 1;
        assert!(
            lines[0]
                .message
                .starts_with(&format!("{gone} lines were left out here"))
        );
        assert_eq!(lines[1].sequence, gone);
        log.sent(lines[lines.len() - 1].sequence + 1);
        let rest = log.due(true).expect("due");
        assert!(!rest[0].message.contains("left out"), "{}", rest[0].message);
    }

    #[test]
    fn secrets_do_not_leave_the_machine() {
        let log = Log::default();
        let mut secret = said("cannot read http://me:hunter2@store/x");
        secret.fields.insert("token".to_owned(), "abc".to_owned());
        log.say(&secret);
        let line = &log.due(true).expect("due")[0];
        assert_eq!(line.message, "cannot read http://me:•••@store/x");
        assert_eq!(line.fields["token"], "•••");
    }
}
