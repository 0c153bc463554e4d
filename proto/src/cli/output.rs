//! How results look: tables, colours, times and numbers.
//!
//! On a terminal tables are coloured and fit its width. Piped, they are plain and nothing is wrapped. `NO_COLOR` is honoured.

use std::io::{self, Write};

use anstream::ColorChoice;
use chrono::{DateTime, Utc};
use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table};
use serde::Serialize;
use uuid::Uuid;

use super::CliError;
use crate::id::RunId;
use crate::metrics::StepValue;
use crate::run::{RunState, RunSummary};

/// One column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column<'a> {
    heading: &'a str,
    alignment: CellAlignment,
}

/// A column of words.
pub(super) const fn left(heading: &str) -> Column<'_> {
    Column {
        heading,
        alignment: CellAlignment::Left,
    }
}

/// A column of numbers.
pub(super) const fn right(heading: &str) -> Column<'_> {
    Column {
        heading,
        alignment: CellAlignment::Right,
    }
}

/// Colours of running text, by their codes (SGR).
#[derive(Clone, Copy, Debug)]
pub(super) enum Ink {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Grey = 90,
}

/// Where results go, and in which form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// Print JSON.
    pub(super) json: bool,
    coloured: bool,
    /// Tables may fold their cells to fit.
    fitted: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            coloured: anstream::AutoStream::choice(&io::stdout()) != ColorChoice::Never,
            fitted: io::IsTerminal::is_terminal(&io::stdout()),
        }
    }

    /// What a pipe gets.
    #[cfg(test)]
    pub(super) const fn plain() -> Self {
        Self {
            json: false,
            coloured: false,
            fitted: false,
        }
    }

    /// A text in colour, where colours are wanted.
    pub(super) fn painted(&self, text: &str, ink: Ink) -> String {
        if self.coloured {
            format!("\x1b[{}m{text}\x1b[0m", ink as u8)
        } else {
            text.to_owned()
        }
    }

    /// Prints text and ends its line.
    pub(super) fn text(&self, text: &str) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            stdout.write_all(b"\n")?;
        }
        Ok(stdout.flush()?)
    }

    /// Prints a value as indented JSON.
    pub(super) fn json(&self, value: &impl Serialize) -> Result<(), CliError> {
        self.text(&serde_json::to_string_pretty(value).map_err(io::Error::from)?)
    }

    /// Prints a value as JSON on one line.
    pub(super) fn json_line(&self, value: &impl Serialize) -> Result<(), CliError> {
        self.text(&serde_json::to_string(value).map_err(io::Error::from)?)
    }

    /// The text of a table with these columns.
    pub(super) fn table(&self, columns: &[Column<'_>], rows: Vec<Vec<Cell>>) -> String {
        let mut table = self.frame(rows);
        table.set_header(
            columns
                .iter()
                .map(|column| Cell::new(column.heading).add_attribute(Attribute::Bold)),
        );
        for (laid_out, column) in table.column_iter_mut().zip(columns) {
            laid_out.set_cell_alignment(column.alignment);
        }
        self.lay_out(table)
    }

    /// The text of a table of names and what belongs to them.
    pub(super) fn facts(&self, facts: Vec<(&str, Cell)>) -> String {
        let dim = |name| Cell::new(name).add_attribute(Attribute::Dim);
        self.lay_out(
            self.frame(
                facts
                    .into_iter()
                    .map(|(name, value)| vec![dim(name), value])
                    .collect(),
            ),
        )
    }

    fn frame(&self, rows: Vec<Vec<Cell>>) -> Table {
        let mut table = Table::new();
        table.load_style(NOTHING).add_rows(rows);
        if self.fitted {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table.force_no_tty();
        }
        if self.coloured {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table
    }

    fn lay_out(&self, mut table: Table) -> String {
        table.discover_columns();
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.trim_fmt()
    }
}

/// A state in its colour; the word stands there anyway.
pub(super) fn state(state: RunState) -> Cell {
    let cell = Cell::new(state);
    match state {
        RunState::Waiting | RunState::Queued => cell.fg(Color::Yellow),
        RunState::Running => cell.fg(Color::Blue),
        RunState::Succeeded => cell.fg(Color::Green),
        RunState::Failed => cell.fg(Color::Red),
        RunState::Paused | RunState::Cancelled | RunState::Skipped => cell.fg(Color::DarkGrey),
    }
}

/// How a run stands: its state, and what is about to change it.
pub(super) fn standing(run: &RunSummary) -> Cell {
    if run.pausing {
        return Cell::new("pausing").fg(Color::DarkGrey);
    }
    state(run.state)
}

/// The short form of a run's id: its last eight hex digits. The head of the id is only the time of day.
pub(super) fn short_id(run: RunId) -> String {
    short_uuid(run.0)
}

/// The short form of any id.
pub(super) fn short_uuid(id: Uuid) -> String {
    let id = id.simple().to_string();
    id[id.len() - 8..].to_owned()
}

/// How far a run is, such as `500/2000 (25%)`; nothing where nothing is trained.
pub(super) fn progress(run: &RunSummary) -> String {
    let (done, total) = (run.progress.batches_done, run.progress.batches_total);
    match (done * 100).checked_div(total) {
        Some(percent) => format!("{done}/{total} ({percent}%)"),
        None => "-".to_owned(),
    }
}

/// A loss, with four significant digits.
pub(super) fn loss(value: Option<StepValue>) -> String {
    value.map_or_else(|| "-".to_owned(), |point| significant(point.value.0))
}

/// A number with four significant digits.
pub(super) fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor();
    if (-4.0..=6.0).contains(&magnitude) {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 7 by the check above"
        )]
        let decimals = (3.0 - magnitude).max(0.0) as usize;
        format!("{value:.decimals$}")
    } else {
        format!("{value:.3e}")
    }
}

/// The day of an instant.
pub(super) fn day(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%d").to_string()
}

/// How long ago an instant is, such as `3 min ago`.
pub(super) fn age(instant: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match (now - instant).num_seconds() {
        ..=4 => "just now".to_owned(),
        seconds => format!("{} ago", rough_duration(seconds.unsigned_abs())),
    }
}

/// A length of time in its largest unit, such as `3 min`.
fn rough_duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        86_400..172_800 => "1 day".to_owned(),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A length of time in its two largest units, such as `2 min 10 s`.
pub(super) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if days > 0 {
        format!("{days} d {} h", hours % 24)
    } else if hours > 0 {
        format!("{hours} h {} min", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes} min {} s", seconds % 60)
    } else {
        format!("{seconds} s")
    }
}

/// A size in words, such as `1.4 MB`.
pub(super) fn size(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}
