//! Log lines as they are kept: checked, without secrets, and compressed in chunks.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use motif_proto::log::{
    LogBatch, LogLevel, LogLine, MAX_FIELDS_BYTES, MAX_LINES_PER_BATCH, MAX_MESSAGE_BYTES, MAX_TARGET_BYTES,
    shortened,
};
use motif_proto::mask::{masked, masked_field};

/// Bytes of text from which a chunk is full. Small enough to write anew with every batch, large enough to compress.
pub const CHUNK_BYTES: usize = 16 * 1024;
/// Bytes of text that a run keeps; the oldest chunks go first.
pub const RUN_BYTES: i64 = 8 * 1024 * 1024;
/// What a chunk's text cannot be longer than: a full one with one more line.
const MAX_CHUNK_BYTES: u64 = 2 * CHUNK_BYTES as u64 + 64 * 1024;
/// Most fields of a line.
const MAX_FIELDS: usize = 32;

/// A chunk that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("a chunk of log lines is damaged: {0}")]
pub struct Damaged(String);

/// Refuses what can be no batch.
///
/// # Errors
/// What is wrong and what would be right.
pub fn check(batch: &LogBatch) -> Result<(), String> {
    if batch.lines.len() > MAX_LINES_PER_BATCH {
        let lines = batch.lines.len();
        return Err(format!(
            "`lines` has at most {MAX_LINES_PER_BATCH} entries, not {lines}"
        ));
    }
    for pair in batch.lines.windows(2) {
        if pair[1].sequence <= pair[0].sequence {
            return Err(format!(
                "`sequence` rises from line to line, but {} follows {}",
                pair[1].sequence, pair[0].sequence
            ));
        }
    }
    let countable = |line: &LogLine| line.sequence < i64::MAX as u64;
    if batch.lines.last().is_some_and(|last| !countable(last)) {
        return Err("`sequence` counts the lines of the attempt from 0".to_owned());
    }
    Ok(())
}

/// A line without secrets, and no longer than lines may be.
#[must_use]
pub fn presentable(line: &LogLine) -> LogLine {
    let mut room = MAX_FIELDS_BYTES;
    let fields = line.fields.iter().take(MAX_FIELDS).map_while(|(name, value)| {
        let name = shortened(name, MAX_TARGET_BYTES);
        room = room.checked_sub(name.len())?;
        let value = shortened(&masked_field(&name, value), room);
        room = room.saturating_sub(value.len());
        Some((name, value))
    });
    LogLine {
        sequence: line.sequence,
        time: line.time,
        level: line.level,
        fields: fields.collect(),
        target: shortened(&line.target, MAX_TARGET_BYTES),
        message: shortened(&masked(&line.message), MAX_MESSAGE_BYTES),
    }
}

/// Lines that lie together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chunk {
    /// The lines, a JSON object each.
    pub text: Vec<u8>,
    /// How many they are.
    pub lines: i32,
    /// The number of the first.
    pub first_sequence: u64,
    /// The number behind the last.
    pub next_sequence: u64,
    /// The highest level among them.
    pub highest_level: u8,
}

impl Chunk {
    /// Whether the next line begins another chunk.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.text.len() >= CHUNK_BYTES
    }

    /// Adds a line.
    pub fn push(&mut self, line: &LogLine) {
        if self.lines == 0 {
            self.first_sequence = line.sequence;
        }
        // Into memory, of a type that JSON can always say.
        if serde_json::to_writer(&mut self.text, line).is_ok() {
            self.text.push(b'\n');
            self.lines += 1;
            self.next_sequence = line.sequence + 1;
            self.highest_level = self.highest_level.max(line.level as u8);
        }
    }

    /// The text, compressed.
    ///
    /// # Errors
    /// None that memory can cause.
    pub fn packed(&self) -> std::io::Result<Vec<u8>> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&self.text)?;
        encoder.finish()
    }
}

/// The text of a packed chunk.
///
/// # Errors
/// [`Damaged`].
pub fn unpack(data: &[u8]) -> Result<Vec<u8>, Damaged> {
    let mut text = Vec::new();
    DeflateDecoder::new(data)
        .take(MAX_CHUNK_BYTES)
        .read_to_end(&mut text)
        .map_err(|error| Damaged(error.to_string()))?;
    Ok(text)
}

/// Which lines are wanted.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The least level.
    pub level: LogLevel,
    /// In lower case; somewhere in the message, the target or a field.
    search: Option<String>,
    /// The same as it stands in JSON, where it can only stand there as it is.
    needle: Option<String>,
}

impl Filter {
    /// Lines of a level and above that have the text in them, in whatever case.
    #[must_use]
    pub fn new(level: Option<LogLevel>, search: Option<&str>) -> Self {
        let search = search.filter(|text| !text.is_empty()).map(str::to_lowercase);
        // A field's name and value are two words there.
        let plain = search.as_ref().filter(|text| !text.contains('='));
        let needle = plain.map(|text| {
            let json = serde_json::Value::from(text.as_str()).to_string();
            json[1..json.len() - 1].to_owned()
        });
        Self {
            level: level.unwrap_or(LogLevel::Trace),
            search,
            needle,
        }
    }

    /// Whether every line is wanted.
    #[must_use]
    pub fn lets_all_through(&self) -> bool {
        self.level == LogLevel::Trace && self.search.is_none()
    }

    /// The wanted lines of a chunk's text.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn lines_of(&self, text: &[u8]) -> Result<Vec<LogLine>, Damaged> {
        let text = std::str::from_utf8(text).map_err(|error| Damaged(error.to_string()))?;
        let mut wanted = Vec::new();
        for json in text.lines() {
            // Most lines need not be read further to see that they are not wanted.
            let needle = self.needle.as_ref();
            if needle.is_some_and(|needle| !json.to_lowercase().contains(needle)) {
                continue;
            }
            let line: LogLine = serde_json::from_str(json).map_err(|error| Damaged(error.to_string()))?;
            if self.wants(&line) {
                wanted.push(line);
            }
        }
        Ok(wanted)
    }

    fn wants(&self, line: &LogLine) -> bool {
        let Some(search) = &self.search else {
            return line.level >= self.level;
        };
        let texts = [&line.message, &line.target];
        let fields = line.fields.iter().map(|(name, value)| format!("{name}={value}"));
        line.level >= self.level
            && texts
                .into_iter()
                .cloned()
                .chain(fields)
                .any(|text| text.to_lowercase().contains(search))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn line(sequence: u64, level: LogLevel, message: &str) -> LogLine {
        LogLine {
            sequence,
            time: "2026-01-01T12:00:00.5Z".parse().expect("an instant"),
            level,
            target: "motif_worker::driver".to_owned(),
            message: message.to_owned(),
            fields: BTreeMap::from([("batch".to_owned(), sequence.to_string())]),
        }
    }

    #[test]
    fn a_chunk_gives_back_its_lines_in_a_fraction_of_their_length() {
        let lines: Vec<LogLine> = (0..100)
            .map(|i| line(i, LogLevel::Info, &format!("evaluated after batch {i}: 0.0{i} m")))
            .collect();
        let mut chunk = Chunk::default();
        lines.iter().for_each(|line| chunk.push(line));
        let packed = chunk.packed().expect("packed");
        assert!(
            packed.len() * 8 < chunk.text.len(),
            "{} of {}",
            packed.len(),
            chunk.text.len()
        );
        let text = unpack(&packed).expect("unpacked");
        assert_eq!(Filter::new(None, None).lines_of(&text).expect("lines"), lines);
        assert!(unpack(b"no deflate").is_err());
    }

    #[test]
    fn filters_look_at_level_message_target_and_fields_in_any_case() {
        let mut chunk = Chunk::default();
        chunk.push(&line(0, LogLevel::Info, "Training \"begins\""));
        chunk.push(&line(1, LogLevel::Error, "diverged: GRÖSSE is not finite"));
        let found = |level, search| -> Vec<u64> {
            let lines = Filter::new(level, search).lines_of(&chunk.text).expect("lines");
            lines.iter().map(|line| line.sequence).collect()
        };
        assert_eq!(found(None, Some("TRAINING")), [0]);
        assert_eq!(found(None, Some("\"begins\"")), [0]);
        assert_eq!(found(None, Some("grösse")), [1]);
        assert_eq!(found(None, Some("worker::driver")), [0, 1]);
        assert_eq!(found(None, Some("batch=1")), [1]);
        assert_eq!(found(Some(LogLevel::Warn), None), [1]);
        assert_eq!(found(Some(LogLevel::Warn), Some("training")), Vec::<u64>::new());
        // A word of the chunk's own form is no word of a line.
        assert_eq!(found(None, Some("sequence")), Vec::<u64>::new());
    }

    #[test]
    fn lines_are_kept_without_secrets_and_within_their_bounds() {
        let mut long = line(
            0,
            LogLevel::Info,
            &format!("token=abcdefgh {}", "x".repeat(10_000)),
        );
        long.fields.insert("api_key".to_owned(), "12345".to_owned());
        long.fields.insert("long".to_owned(), "y".repeat(10_000));
        let kept = presentable(&long);
        assert!(kept.message.starts_with("token=••• x") && kept.message.len() <= MAX_MESSAGE_BYTES);
        assert_eq!(kept.fields["api_key"], "•••");
        let fields: usize = kept
            .fields
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        assert!(fields <= MAX_FIELDS_BYTES);
    }
}
