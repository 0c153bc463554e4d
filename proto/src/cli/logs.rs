//! `motif logs`: what a run's workers logged, now or as it comes.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use tokio::time::sleep;

use super::CliError;
use super::output::{Ink, Output};
use super::run_ref::RunRef;
use crate::client::{Client, EventStream, LogsQuery, StreamItem};
use crate::event::Event;
use crate::id::RunId;
use crate::log::{LogCursor, LogLevel, RunLogLine, RunLogs};

/// Exit code of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;
/// Lines that are fetched at once.
const PAGE: usize = 2000;
/// How long to wait before a page that could not be had is asked for again.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The run: `latest`, an id, or at least 6 digits of one
    run: RunRef,

    /// Print new lines as they come, until the run ends
    #[arg(short, long)]
    follow: bool,

    /// Only lines of this level and above: trace, debug, info, warn, error
    #[arg(long)]
    level: Option<LogLevel>,

    /// Only lines with this text in them, in whatever case
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,

    /// Only lines of this attempt, counted from 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,

    /// Only the newest lines
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=PAGE as i64))]
    lines: Option<u16>,
}

impl Logs {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<ExitCode, CliError> {
        let run = self.run.resolve(client).await?;
        if !self.follow {
            self.print_all(client, out, run).await?;
            return Ok(ExitCode::SUCCESS);
        }
        tokio::select! {
            followed = self.print_and_follow(client, out, run) => followed.map(|()| ExitCode::SUCCESS),
            signal = tokio::signal::ctrl_c() => {
                signal.map_err(|error| CliError::Failed(format!("cannot listen for Ctrl-C: {error}")))?;
                Ok(ExitCode::from(INTERRUPTED))
            }
        }
    }

    fn query(&self) -> LogsQuery {
        LogsQuery {
            attempt: self.attempt,
            level: self.level,
            search: self.grep.clone(),
            limit: Some(PAGE),
            ..LogsQuery::default()
        }
    }

    /// Prints what there is, and says where it ends.
    async fn print_all(&self, client: &Client, out: &Output, run: RunId) -> Result<LogCursor, CliError> {
        let Some(lines) = self.lines else {
            return self.print_after(client, out, run, None).await;
        };
        let query = LogsQuery {
            before: Some(LogCursor::END),
            limit: Some(lines.into()),
            ..self.query()
        };
        let logs = client.logs(run, &query).await?;
        print(out, &logs)?;
        Ok(logs.after)
    }

    async fn print_after(
        &self,
        client: &Client,
        out: &Output,
        run: RunId,
        mut after: Option<LogCursor>,
    ) -> Result<LogCursor, CliError> {
        loop {
            let query = LogsQuery {
                after,
                ..self.query()
            };
            let logs = client.logs(run, &query).await?;
            print(out, &logs)?;
            if !logs.more {
                return Ok(logs.after);
            }
            after = Some(logs.after);
        }
    }

    async fn print_and_follow(&self, client: &Client, out: &Output, run: RunId) -> Result<(), CliError> {
        // Listened to before the first look, so that nothing in between is missed.
        let mut events = client.run_events(run, None);
        let mut over = begins_over(&mut events).await?;
        let mut seen = self.print_all(client, out, run).await?;
        while !over {
            over = until_more(&mut events).await?;
            seen = loop {
                match self.print_after(client, out, run, Some(seen)).await {
                    Ok(seen) => break seen,
                    Err(CliError::Client(error)) if error.is_transient() => sleep(RETRY).await,
                    Err(error) => return Err(error),
                }
            };
        }
        Ok(())
    }
}

/// Whether the run has ended already: a stream begins with the run's state.
async fn begins_over(events: &mut EventStream) -> Result<bool, CliError> {
    while let Some(item) = events.next().await {
        if let StreamItem::Event {
            event: Event::Run(run),
            ..
        } = item?
        {
            return Ok(run.state.is_final());
        }
    }
    Ok(true)
}

/// Waits until there may be more lines, and says whether they are the last.
async fn until_more(events: &mut EventStream) -> Result<bool, CliError> {
    while let Some(item) = events.next().await {
        let StreamItem::Event { event, .. } = item? else {
            continue;
        };
        match event {
            Event::Log(_) | Event::Reset(_) => return Ok(false),
            Event::Run(run) if run.state.is_final() => return Ok(true),
            Event::Run(_)
            | Event::Metrics(_)
            | Event::Rewind(_)
            | Event::Checkpoint(_)
            | Event::Artifact(_) => {}
        }
    }
    Ok(true)
}

fn print(out: &Output, logs: &RunLogs) -> Result<(), CliError> {
    if out.json {
        return logs.lines.iter().try_for_each(|line| out.json_line(line));
    }
    if logs.lines.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = logs.lines.iter().map(|line| in_words(out, line)).collect();
    out.text(&lines.join("\n"))
}

/// A line as people read it: time, attempt, level, message, and the fields behind.
pub(super) fn in_words(out: &Output, line: &RunLogLine) -> String {
    let RunLogLine { attempt, line } = line;
    let colour = match line.level {
        LogLevel::Trace | LogLevel::Debug => Ink::Grey,
        LogLevel::Info => Ink::Green,
        LogLevel::Warn => Ink::Yellow,
        LogLevel::Error => Ink::Red,
    };
    let time = line.time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    let level = format!("{:<5}", line.level.as_str().to_uppercase());
    let mut words = format!(
        "{} #{attempt} {} {}",
        out.painted(&time, Ink::Grey),
        out.painted(&level, colour),
        harmless(&line.message)
    );
    for (name, value) in &line.fields {
        let name = out.painted(&format!("{}=", harmless(name)), Ink::Grey);
        words.push_str(&format!("  {name}{}", harmless(value)));
    }
    words
}

/// A text that cannot make the terminal do anything; further lines are indented.
fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => safe.push_str("\n    "),
            '\t' => safe.push(letter),
            letter if letter.is_control() => safe.extend(letter.escape_default()),
            letter => safe.push(letter),
        }
    }
    safe
}
