//! Log lines of attempts: how workers send them and how readers get them.
//!
//! A worker numbers the lines of an attempt from 0. Lines that it had to leave out have numbers too, so that the
//! number of a line never depends on what arrived before; what was left out is said by a line in its place.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{AttemptId, FencingToken};

/// Most lines of one batch.
pub const MAX_LINES_PER_BATCH: usize = 1000;
/// Longest message of a line, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 4096;
/// Most bytes of a line's fields, names and values together.
pub const MAX_FIELDS_BYTES: usize = 4096;
/// Longest name of the place that a line comes from, in bytes.
pub const MAX_TARGET_BYTES: usize = 120;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// For those who look for a fault.
    Debug,
    /// The story of the run.
    Info,
    /// Something went wrong and was coped with.
    Warn,
    /// Somebody should look.
    Error,
}

impl LogLevel {
    /// All levels, the least first.
    pub const ALL: [Self; 5] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// The word used on the wire and on pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|level| level.as_str() == word);
        found.ok_or_else(|| "a level is trace, debug, info, warn or error".to_owned())
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogLine {
    /// Its number within the attempt, from 0. Order by it, not by time.
    pub sequence: u64,
    /// When, by the worker's clock.
    pub time: DateTime<Utc>,
    /// How much it matters.
    pub level: LogLevel,
    /// Where in the program it comes from.
    pub target: String,
    /// What it says.
    pub message: String,
    /// What else it says, by names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

/// Body of `POST /worker/logs`.
///
/// Lines whose number was stored already are passed over, so that sending a batch again is harmless.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogBatch {
    /// The attempt that wrote them.
    pub attempt: AttemptId,
    /// Its fencing token.
    pub token: FencingToken,
    /// The lines, their numbers rising; 1000 at most.
    pub lines: Vec<LogLine>,
}

/// Answer to [`LogBatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogsAccepted {
    /// Every line below this number is stored or will never be.
    pub next_sequence: u64,
}

/// A line of a run, as `GET /runs/{id}/logs` gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunLogLine {
    /// The number of the attempt that wrote it, from 1.
    pub attempt: u32,
    /// The line.
    #[serde(flatten)]
    pub line: LogLine,
}

/// Answer of `GET /runs/{id}/logs`, in the order in which the lines were written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunLogs {
    /// The lines of the page.
    pub lines: Vec<RunLogLine>,
    /// Give as `after` to go on behind this page, now or once there is more.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "1.42"))]
    pub after: LogCursor,
    /// Give as `before` to get the page before; absent at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "1.7"))]
    pub before: Option<LogCursor>,
    /// Whether there are lines behind this page already.
    pub more: bool,
}

/// A place between two lines of a run: behind the line of this attempt with this number. Written `attempt.sequence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogCursor {
    /// The attempt's number, from 1; 0 stands before all.
    pub attempt: u32,
    /// Lines of the attempt that lie before the place.
    pub lines: u64,
}

impl LogCursor {
    /// Before all lines.
    pub const START: Self = Self { attempt: 0, lines: 0 };
    /// Behind all lines.
    pub const END: Self = Self {
        attempt: i32::MAX as u32,
        lines: 0,
    };
}

impl fmt::Display for LogCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.attempt, self.lines)
    }
}

impl FromStr for LogCursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('.').and_then(|(attempt, lines)| {
            let (attempt, lines) = (attempt.parse().ok()?, lines.parse().ok()?);
            (attempt <= Self::END.attempt && lines <= i64::MAX as u64).then_some(Self { attempt, lines })
        });
        parts.ok_or_else(|| "a place in a log is written attempt.lines, such as 1.42".to_owned())
    }
}

impl Serialize for LogCursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LogCursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Cuts a text after at most so many bytes, and says so by an ellipsis.
#[must_use]
pub fn shortened(text: &str, most_bytes: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= most_bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most_bytes.saturating_sub(ELLIPSIS.len()));
    format!("{}{ELLIPSIS}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_they_are_written_and_sort_by_attempt_and_line() {
        let cursor = LogCursor {
            attempt: 2,
            lines: 17,
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert!(LogCursor::START < cursor && cursor < LogCursor::END);
        for wrong in [
            "",
            "1",
            "1.",
            ".1",
            "1.x",
            "-1.0",
            "1.99999999999999999999",
            "4294967295.0",
        ] {
            assert!(wrong.parse::<LogCursor>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(shortened("short", 5), "short");
        assert_eq!(shortened("größer", 6), "gr…");
        assert!(shortened(&"ä".repeat(100), 51).len() <= 51);
    }
}
