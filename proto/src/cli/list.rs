//! `motif list`.

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use comfy_table::Cell;

use super::CliError;
use super::output::{Output, age, left, loss, progress, short_id, standing};
use super::study::StudyRef;
use crate::client::{Client, RunFilter};
use crate::run::{RunList, RunState, RunSummary};
use crate::spec::ExperimentKind;

/// Longest page that is asked for at once.
const PAGE: u32 = 100;

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only runs in this state
    #[arg(long, value_enum)]
    state: Option<StateArg>,

    /// Only runs that do this
    #[arg(long, value_enum)]
    kind: Option<KindArg>,

    /// Only runs with this tag
    #[arg(long)]
    tag: Option<String>,

    /// Only runs of this study: `latest`, an id, or at least 6 digits of one
    #[arg(long, value_name = "STUDY")]
    study: Option<StudyRef>,

    /// Only runs with this text in their name
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,

    /// How many runs to list
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Only the ids, one a line, for scripts
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StateArg {
    Waiting,
    Queued,
    Running,
    Paused,
    Succeeded,
    Failed,
    Cancelled,
    Skipped,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KindArg {
    Train,
    Continue,
    Transfer,
    Evaluate,
}

impl From<KindArg> for ExperimentKind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Train => Self::Train,
            KindArg::Continue => Self::Continue,
            KindArg::Transfer => Self::Transfer,
            KindArg::Evaluate => Self::Evaluate,
        }
    }
}

impl From<StateArg> for RunState {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Waiting => Self::Waiting,
            StateArg::Queued => Self::Queued,
            StateArg::Running => Self::Running,
            StateArg::Paused => Self::Paused,
            StateArg::Succeeded => Self::Succeeded,
            StateArg::Failed => Self::Failed,
            StateArg::Cancelled => Self::Cancelled,
            StateArg::Skipped => Self::Skipped,
        }
    }
}

impl List {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        let list = self.fetch(client).await?;
        if out.json {
            return out.json(&list);
        }
        if self.quiet {
            return list.runs.iter().try_for_each(|run| out.text(&run.id.to_string()));
        }
        if list.runs.is_empty() {
            return out.text("No runs. `motif submit --preset demo --watch` starts one.");
        }
        out.text(&table(out, &list.runs, Utc::now()))?;
        if list.next_cursor.is_some() {
            out.text(&format!(
                "There are more: `motif list -n {}`.",
                self.limit.saturating_mul(5)
            ))?;
        }
        Ok(())
    }

    /// As many pages as the list needs.
    async fn fetch(&self, client: &Client) -> Result<RunList, CliError> {
        let study = match &self.study {
            Some(study) => Some(study.resolve(client).await?),
            None => None,
        };
        let mut runs = Vec::new();
        let mut cursor = None;
        loop {
            let missing = self
                .limit
                .saturating_sub(u32::try_from(runs.len()).unwrap_or(u32::MAX));
            let filter = RunFilter {
                state: self.state.map(RunState::from),
                kind: self.kind.map(ExperimentKind::from),
                text: self.search.clone(),
                tag: self.tag.clone(),
                study,
                limit: Some(missing.min(PAGE)),
                cursor,
            };
            let page = client.runs(&filter).await?;
            let empty = page.runs.is_empty();
            runs.extend(page.runs);
            cursor = page.next_cursor;
            if empty || cursor.is_none() || runs.len() >= self.limit as usize {
                return Ok(RunList {
                    runs,
                    next_cursor: cursor,
                });
            }
        }
    }
}

/// The table of runs.
pub(super) fn table(out: &Output, runs: &[RunSummary], now: DateTime<Utc>) -> String {
    let rows = runs.iter().map(|run| {
        vec![
            Cell::new(short_id(run.id)),
            Cell::new(&run.name),
            Cell::new(run.kind.as_str()),
            standing(run),
            Cell::new(progress(run)),
            Cell::new(loss(run.last_loss)),
            Cell::new(loss(run.best_validation)),
            Cell::new(run.worker.as_deref().unwrap_or("-")),
            Cell::new(age(run.created_at, now)),
        ]
    });
    out.table(
        &[
            left("RUN"),
            left("NAME"),
            left("KIND"),
            left("STATE"),
            left("BATCHES"),
            left("LOSS"),
            left("BEST VALIDATION"),
            left("WORKER"),
            left("SUBMITTED"),
        ],
        rows.collect(),
    )
}
