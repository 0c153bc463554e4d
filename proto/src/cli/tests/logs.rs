//! How log lines look.

use std::collections::BTreeMap;

use crate::cli::logs::in_words;
use crate::cli::output::Output;
use crate::client::stub::noon;
use crate::log::{LogLevel, LogLine, RunLogLine};

fn line(level: LogLevel, message: &str, fields: &[(&str, &str)]) -> RunLogLine {
    let fields = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    RunLogLine {
        attempt: 2,
        line: LogLine {
            sequence: 17,
            time: noon(),
            level,
            target: "motif_worker::report".to_owned(),
            message: message.to_owned(),
            fields: fields.collect::<BTreeMap<_, _>>(),
        },
    }
}

#[test]
fn a_line_in_a_pipe_has_time_attempt_level_message_and_fields() {
    let kept = line(
        LogLevel::Info,
        "checkpoint kept",
        &[("kind", "best"), ("batches", "50")],
    );
    assert_eq!(
        in_words(&Output::plain(), &kept),
        "2026-01-01T12:00:00.000Z #2 INFO  checkpoint kept  batches=50  kind=best"
    );
}

#[test]
fn a_line_cannot_make_the_terminal_do_anything() {
    let hostile = line(
        LogLevel::Error,
        "red \u{1b}[31m\u{7}\nsecond",
        &[("x", "\u{9b}2J")],
    );
    assert_eq!(
        in_words(&Output::plain(), &hostile),
        "2026-01-01T12:00:00.000Z #2 ERROR red \\u{1b}[31m\\u{7}\n    second  x=\\u{9b}2J"
    );
}
