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
    /// Only runs in this state; may be repeated
    #[arg(long, value_enum)]
    state: Vec<StateArg>,

    /// Only runs that do this; may be repeated
    #[arg(long, value_enum)]
    kind: Vec<KindArg>,

    /// Only runs of this project; may be repeated
    #[arg(long)]
    project: Vec<String>,

    /// Only runs of this preset; may be repeated
    #[arg(long)]
    preset: Vec<String>,

    /// Only runs with this tag; may be repeated, and then all are needed
    #[arg(long)]
    tag: Vec<String>,

    /// Only runs of this study: `latest`, an id, or at least 6 digits of one
    #[arg(long, value_name = "STUDY")]
    study: Option<StudyRef>,

    /// Only runs with this text in their name, preset or id
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,

    /// Only runs that this worker (its name or id) holds or held
    #[arg(long)]
    worker: Option<String>,

    /// Only runs that fulfil this, such as 'best_validation<0.05' or network.hidden=128; may be repeated
    #[arg(long = "where", value_name = "CONDITION")]
    conditions: Vec<String>,

    /// The order: created, updated, finished, name, priority, duration, best_validation, last_validation, last_loss,
    /// last:SERIES or min:SERIES; greatest first with `-` before it [default: -created]
    #[arg(long, value_name = "BY", allow_hyphen_values = true)]
    sort: Option<String>,

    /// How many runs to list
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Go on where a list ended that gave this cursor
    #[arg(long)]
    cursor: Option<String>,

    /// Say how many runs there are in all
    #[arg(long)]
    total: bool,

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
            return out.text(if self.is_filtered() {
                "No run matches."
            } else {
                "No runs. `motif submit --preset demo --watch` starts one."
            });
        }
        out.text(&table(out, &list.runs, Utc::now()))?;
        if let Some(total) = list.total {
            let about = if total.is_estimate { "about " } else { "" };
            out.text(&format!("{} of {about}{} runs.", list.runs.len(), total.count))?;
        }
        if list.next_cursor.is_some() {
            let more = self.limit.saturating_mul(5);
            out.text(&format!("There are more: list them with `-n {more}`."))?;
        }
        Ok(())
    }

    fn filter(&self) -> RunFilter {
        RunFilter {
            states: self.state.iter().copied().map(RunState::from).collect(),
            kinds: self.kind.iter().copied().map(ExperimentKind::from).collect(),
            projects: self.project.clone(),
            presets: self.preset.clone(),
            tags: self.tag.clone(),
            text: self.search.clone(),
            worker: self.worker.clone(),
            conditions: self.conditions.clone(),
            ..RunFilter::default()
        }
    }

    fn is_filtered(&self) -> bool {
        self.study.is_some() || self.filter() != RunFilter::default()
    }

    /// As many pages as the list needs.
    async fn fetch(&self, client: &Client) -> Result<RunList, CliError> {
        let study = match &self.study {
            Some(study) => Some(study.resolve(client).await?),
            None => None,
        };
        let mut filter = RunFilter {
            sort: self.sort.clone(),
            total: self.total,
            cursor: self.cursor.clone(),
            study,
            ..self.filter()
        };
        let mut list = RunList {
            runs: Vec::new(),
            next_cursor: None,
            total: None,
        };
        loop {
            let listed = u32::try_from(list.runs.len()).unwrap_or(u32::MAX);
            filter.limit = Some(self.limit.saturating_sub(listed).min(PAGE));
            let page = client.runs(&filter).await?;
            list.runs.extend(page.runs);
            list.total = list.total.or(page.total);
            list.next_cursor = page.next_cursor;
            if list.next_cursor.is_none() || list.runs.len() >= self.limit as usize {
                return Ok(list);
            }
            filter.cursor.clone_from(&list.next_cursor);
            filter.total = false;
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
