//! `motif watch`: a run's progress until it ends.
//!
//! On a terminal a bar, elsewhere a line at every twentieth of the run and at every change of its state. The
//! coordinator may go away meanwhile: that is said, and watching goes on when it is back.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;
use futures::StreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::CliError;
use super::output::{Output, duration, loss, progress, short_id, significant};
use super::run_ref::RunRef;
use crate::client::{Client, StreamItem};
use crate::event::{Event, MetricsAppended};
use crate::id::RunId;
use crate::metrics::{StepValue, series};
use crate::run::{RunState, RunSummary};
use crate::spec::ExperimentKind;

/// Exit code of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

#[derive(Debug, Args)]
pub(super) struct Watch {
    /// The run: `latest`, an id, or at least 6 digits of one
    run: RunRef,
}

impl Watch {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<ExitCode, CliError> {
        let id = self.run.resolve(client).await?;
        follow(client, out, id).await
    }
}

/// Shows a run's progress until it ends, and how it ended as the exit code.
pub(super) async fn follow(client: &Client, out: &Output, run: RunId) -> Result<ExitCode, CliError> {
    let mut view = View::new(out.json);
    let ended = tokio::select! {
        ended = until_the_end(client, out, run, &mut view) => ended?,
        signal = tokio::signal::ctrl_c() => {
            view.finish();
            signal.map_err(|error| CliError::Failed(format!("cannot listen for Ctrl-C: {error}")))?;
            view.say(&format!(
                "Stopped watching. The run goes on; `motif watch {id}` shows it again, `motif cancel {id}` ends it.",
                id = short_id(run),
            ));
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    view.finish();
    if !out.json {
        out.text(&last_words(&ended))?;
    }
    Ok(exit_code(ended.state))
}

/// Follows the run's events until one says that it has ended.
async fn until_the_end(
    client: &Client,
    out: &Output,
    run: RunId,
    view: &mut View,
) -> Result<RunSummary, CliError> {
    let mut events = client.run_events(run, None);
    let mut interrupted = false;
    while let Some(item) = events.next().await {
        let event = match item? {
            StreamItem::Event { event, .. } => event,
            StreamItem::Interrupted { error, .. } => {
                if !interrupted {
                    view.say(&format!("{error}. Trying again; the run goes on meanwhile."));
                }
                interrupted = true;
                continue;
            }
        };
        if std::mem::take(&mut interrupted) {
            view.say("The coordinator is back.");
        }
        if out.json {
            out.json_line(&event)?;
        }
        match event {
            Event::Run(summary) => {
                view.run(&summary);
                if summary.state.is_final() {
                    return Ok(*summary);
                }
            }
            Event::Metrics(appended) => view.metrics(&appended),
            Event::Rewind(rewind) => {
                view.say(&format!(
                    "A new attempt goes on from batch {}.",
                    rewind.next_batch
                ));
            }
            Event::Reset(_) => {
                let summary = client.run(run).await?.summary;
                view.run(&summary);
                if summary.state.is_final() {
                    return Ok(summary);
                }
            }
            Event::Checkpoint(_) | Event::Artifact(_) | Event::Log(_) => {}
        }
    }
    Err(CliError::Failed(
        "the stream of events ended before the run did".to_owned(),
    ))
}

fn exit_code(state: RunState) -> ExitCode {
    match state {
        RunState::Succeeded => ExitCode::SUCCESS,
        RunState::Waiting
        | RunState::Queued
        | RunState::Running
        | RunState::Paused
        | RunState::Failed
        | RunState::Cancelled
        | RunState::Skipped => ExitCode::FAILURE,
    }
}

/// How a run ended, in one line.
pub(super) fn last_words(run: &RunSummary) -> String {
    let mut words = format!("{} ({}) {}", run.name, short_id(run.id), run.state);
    if let Some(reason) = &run.reason {
        words.push_str(&format!(": {reason}"));
    } else if let Some(failure) = &run.failure {
        words.push_str(&format!(": {} ({})", failure.message, failure.class.as_str()));
    } else if run.kind != ExperimentKind::Evaluate {
        words.push_str(&format!(" after {} batches", run.progress.batches_done));
    }
    if let (Some(start), Some(end)) = (run.started_at, run.finished_at) {
        let seconds = u64::try_from((end - start).num_seconds()).unwrap_or(0);
        words.push_str(&format!(", {}", duration(seconds)));
    }
    if run.best_validation.is_some() {
        // An evaluation has but one.
        let best = if run.kind == ExperimentKind::Evaluate {
            ""
        } else {
            "best "
        };
        words.push_str(&format!(", {best}validation {}", loss(run.best_validation)));
    }
    words
}

/// What a run's progress is drawn on.
struct View {
    bar: ProgressBar,
    /// Whether there is no terminal to draw a bar on.
    plain: bool,
    silent: bool,
    last: Option<RunSummary>,
    printed: Option<Milestone>,
}

/// What makes a new line of plain progress worth printing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Milestone {
    state: RunState,
    twentieth: u64,
    validated_at: Option<u64>,
}

impl Milestone {
    pub(super) fn of(run: &RunSummary) -> Self {
        let Progress { done, total } = Progress::of(run);
        Self {
            state: run.state,
            twentieth: (done * 20).checked_div(total).unwrap_or(0),
            validated_at: run.last_validation.map(|point| point.step),
        }
    }
}

struct Progress {
    done: u64,
    total: u64,
}

impl Progress {
    fn of(run: &RunSummary) -> Self {
        Self {
            done: run.progress.batches_done,
            total: run.progress.batches_total,
        }
    }
}

impl View {
    fn new(silent: bool) -> Self {
        let plain = !io::IsTerminal::is_terminal(&io::stderr());
        let target = if plain || silent {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(None, target).with_style(style());
        Self {
            bar,
            plain,
            silent,
            last: None,
            printed: None,
        }
    }

    /// Shows the run as it stands now.
    fn run(&mut self, run: &RunSummary) {
        if self.plain && !self.silent {
            let milestone = Milestone::of(run);
            if self.printed != Some(milestone) {
                self.printed = Some(milestone);
                self.say(&line(run));
            }
        } else {
            let Progress { done, total } = Progress::of(run);
            self.bar.set_length(total);
            self.bar.set_position(done);
            self.bar.set_message(status(run));
        }
        self.last = Some(run.clone());
    }

    /// Shows the newest loss between two events about the run itself.
    fn metrics(&mut self, appended: &MetricsAppended) {
        let Some(run) = &mut self.last else {
            return;
        };
        for points in &appended.series {
            let (Some(&step), Some(&value)) = (points.steps.last(), points.values.last()) else {
                continue;
            };
            match points.name.as_str() {
                series::LOSS_TOTAL => {
                    run.last_loss = Some(StepValue { step, value });
                    run.progress.batches_done = step + 1;
                }
                series::BATCHES_PER_SECOND => run.progress.batches_per_second = Some(value.0),
                _ => {}
            }
        }
        if !self.plain {
            self.bar.set_position(run.progress.batches_done);
            self.bar.set_message(status(run));
        }
    }

    /// A line for the reader, above the bar.
    fn say(&self, text: &str) {
        if self.silent || self.plain || self.bar.is_finished() {
            // Nobody reads a standard error that is closed.
            let _ = writeln!(io::stderr(), "{text}");
        } else {
            self.bar.println(text);
        }
    }

    fn finish(&self) {
        self.bar.finish();
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30.cyan/dim} {pos}/{len} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━━╌")
}

/// What stands behind the bar.
pub(super) fn status(run: &RunSummary) -> String {
    match run.state {
        RunState::Waiting => "waits for other runs".to_owned(),
        RunState::Paused => "paused".to_owned(),
        RunState::Queued if run.attempts == 0 => "waits for a worker".to_owned(),
        RunState::Queued => "waits for another worker".to_owned(),
        RunState::Running if run.kind == ExperimentKind::Evaluate => "measures".to_owned(),
        RunState::Running => {
            let parts = [
                run.progress
                    .batches_per_second
                    .map(|speed| format!("{} batches/s", significant(speed))),
                seconds_left(run).map(|seconds| format!("{} left", duration(seconds))),
                run.last_loss.map(|_| format!("loss {}", loss(run.last_loss))),
                run.best_validation
                    .map(|_| format!("best validation {}", loss(run.best_validation))),
            ];
            parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
        }
        RunState::Succeeded | RunState::Failed | RunState::Cancelled | RunState::Skipped => {
            run.state.to_string()
        }
    }
}

/// A line of plain progress.
fn line(run: &RunSummary) -> String {
    match run.kind {
        ExperimentKind::Evaluate => format!("{}: {}", short_id(run.id), status(run)),
        _ => format!("{} {}: {}", short_id(run.id), progress(run), status(run)),
    }
}

/// How long the rest takes at the present speed, evaluations left out.
pub(super) fn seconds_left(run: &RunSummary) -> Option<u64> {
    let speed = run.progress.batches_per_second.filter(|speed| *speed > 0.0)?;
    let Progress { done, total } = Progress::of(run);
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate; the cast saturates"
    )]
    let seconds = (total.saturating_sub(done) as f64 / speed).ceil() as u64;
    Some(seconds)
}
