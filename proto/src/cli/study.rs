//! `motif study` and `motif studies`: experiments that were submitted together.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use comfy_table::{Cell, Color};

use super::CliError;
use super::output::{Output, age, left, loss, right, short_id, short_uuid, significant, state};
use crate::client::{Client, StudyFilter};
use crate::id::StudyId;
use crate::run::{Queue, RunState};
use crate::study::{
    StudyCounts, StudyDetail, StudyExperiment, StudyList, StudyRun, StudyState, StudySummary,
};

/// Fewest hex digits that may stand for an id.
const FEWEST_DIGITS: usize = 6;
/// How often a study that is watched is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longest page that is asked for at once.
const PAGE: u32 = 100;
/// How many pages are looked through for a study at most.
const MOST_PAGES: usize = 50;
/// Exit code of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// A word that names a study: `latest`, an id, or at least six hex digits from the head or the tail of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StudyRef {
    Latest,
    Id(StudyId),
    Digits(String),
}

impl FromStr for StudyRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let digits = text.replace('-', "").to_lowercase();
        let sound =
            (FEWEST_DIGITS..=32).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit());
        if sound {
            return Ok(Self::Digits(digits));
        }
        Err(format!(
            "a study is `latest`, an id, or at least {FEWEST_DIGITS} hex digits from an id's head or tail"
        ))
    }
}

impl StudyRef {
    /// Asks the coordinator which study is meant.
    pub(super) async fn resolve(&self, client: &Client) -> Result<StudyId, CliError> {
        let digits = match self {
            Self::Id(id) => return Ok(*id),
            Self::Latest => "",
            Self::Digits(digits) => digits,
        };
        let mut filter = StudyFilter {
            limit: Some(if digits.is_empty() { 1 } else { PAGE }),
            ..StudyFilter::default()
        };
        let mut found: Vec<StudyId> = Vec::new();
        for _ in 0..MOST_PAGES {
            let page = client.studies(&filter).await?;
            found.extend(page.studies.iter().map(|study| study.id).filter(|id| {
                let id = id.0.simple().to_string();
                id.starts_with(digits) || id.ends_with(digits)
            }));
            filter.cursor = page.next_cursor;
            if filter.cursor.is_none() || digits.is_empty() {
                break;
            }
        }
        match found.as_slice() {
            [only] => Ok(*only),
            [] if digits.is_empty() => Err(CliError::Usage("there is no study yet".to_owned())),
            [] => Err(CliError::Usage(format!(
                "no study's id begins or ends with {digits}"
            ))),
            several => Err(CliError::Usage(format!(
                "{} studies' ids begin or end with {digits}; give more digits",
                several.len()
            ))),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Studies {
    /// Only studies of this project
    #[arg(long)]
    project: Option<String>,

    /// Only studies with this tag
    #[arg(long)]
    tag: Option<String>,

    /// How many studies to list
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
}

impl Studies {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        let filter = StudyFilter {
            project: self.project,
            tag: self.tag,
            limit: Some(self.limit),
            cursor: None,
        };
        let list = client.studies(&filter).await?;
        if out.json {
            return out.json(&list);
        }
        if list.studies.is_empty() {
            return out.text("No studies. `motif submit STUDY.toml` submits one.");
        }
        out.text(&table(out, &list, Utc::now()))
    }
}

fn table(out: &Output, list: &StudyList, now: DateTime<Utc>) -> String {
    let rows = list.studies.iter().map(|study| {
        vec![
            Cell::new(short_uuid(study.id.0)),
            Cell::new(&study.name),
            study_state(study.state),
            Cell::new(study.counts.total()),
            Cell::new(in_words(&study.counts)),
            Cell::new(age(study.created_at, now)),
        ]
    });
    let columns = [
        left("STUDY"),
        left("NAME"),
        left("STATE"),
        right("RUNS"),
        left("OF WHICH"),
        left("SUBMITTED"),
    ];
    out.table(&columns, rows.collect())
}

#[derive(Debug, Args)]
pub(super) struct Study {
    /// The study: `latest`, an id, or at least 6 digits of one
    study: StudyRef,

    /// List its runs too
    #[arg(long)]
    runs: bool,

    /// Watch it until its last run ends
    #[arg(long, conflicts_with = "cancel")]
    watch: bool,

    /// Cancel every run of it that has not ended
    #[arg(long)]
    cancel: bool,
}

impl Study {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<ExitCode, CliError> {
        let id = self.study.resolve(client).await?;
        if self.watch {
            return follow(client, out, id).await;
        }
        let study = if self.cancel {
            client.cancel_study(id).await?
        } else {
            client.study(id).await?
        };
        if out.json {
            out.json(&study)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = page(out, &study);
        if self.runs {
            text.push_str("\n\n");
            text.push_str(&runs(out, &study));
        }
        out.text(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Says whenever a study's runs change their states, until all have ended, and how it ended as the exit code.
pub(super) async fn follow(client: &Client, out: &Output, id: StudyId) -> Result<ExitCode, CliError> {
    let study = tokio::select! {
        study = until_the_end(client, out, id) => study?,
        signal = tokio::signal::ctrl_c() => {
            signal.map_err(|error| CliError::Failed(format!("cannot listen for Ctrl-C: {error}")))?;
            let id = short_uuid(id.0);
            eprintln!("Stopped watching. The study goes on; `motif study {id} --watch` shows it again.");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    if out.json {
        out.json_line(&study.summary)?;
    } else {
        out.text(&page(out, &study))?;
    }
    Ok(match study.summary.state {
        StudyState::Succeeded => ExitCode::SUCCESS,
        StudyState::Active | StudyState::Failed | StudyState::Cancelled => ExitCode::FAILURE,
    })
}

async fn until_the_end(client: &Client, out: &Output, id: StudyId) -> Result<StudyDetail, CliError> {
    let mut said: BTreeMap<String, StudyCounts> = BTreeMap::new();
    let mut away = false;
    loop {
        match client.study(id).await {
            Ok(study) => {
                if std::mem::take(&mut away) {
                    eprintln!("The coordinator is back.");
                }
                for experiment in &study.experiments {
                    let counts = experiment.counts;
                    if said.insert(experiment.key.clone(), counts) != Some(counts) && !out.json {
                        eprintln!("{}: {}", experiment.key, in_words(&counts));
                    }
                }
                if study.summary.state != StudyState::Active {
                    return Ok(study);
                }
            }
            Err(error) if error.is_transient() => {
                if !std::mem::replace(&mut away, true) {
                    eprintln!("{error}. Trying again; the study goes on meanwhile.");
                }
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A study and its experiments, each under the one that it starts from.
pub(super) fn page(out: &Output, study: &StudyDetail) -> String {
    let StudySummary {
        id,
        name,
        state,
        counts,
        ..
    } = &study.summary;
    let mut facts = vec![
        ("Study", Cell::new(format!("{} ({id})", short_uuid(id.0)))),
        ("Name", Cell::new(name)),
        ("State", study_state(*state)),
        (
            "Runs",
            Cell::new(format!("{}: {}", counts.total(), in_words(counts))),
        ),
    ];
    if let Some(notes) = &study.notes {
        facts.push(("Notes", Cell::new(notes)));
    }
    let mut rows = Vec::new();
    for experiment in &study.experiments {
        if parent(study, experiment).is_none() {
            add_branch(study, experiment, "", "", &mut rows);
        }
    }
    let columns = [
        left("EXPERIMENT"),
        left("KIND"),
        right("RUNS"),
        left("STATES"),
        left("BEST VALIDATION"),
        left("AFTER"),
    ];
    format!("{}\n\n{}", out.facts(facts), out.table(&columns, rows))
}

fn parent<'a>(study: &'a StudyDetail, experiment: &StudyExperiment) -> Option<&'a StudyExperiment> {
    let base = experiment.base.as_deref()?;
    study.experiments.iter().find(|other| other.key == base)
}

/// A row for an experiment and those below it; `lead` stands before its name, `below` before those of the others.
fn add_branch(
    study: &StudyDetail,
    experiment: &StudyExperiment,
    lead: &str,
    below: &str,
    rows: &mut Vec<Vec<Cell>>,
) {
    rows.push(vec![
        Cell::new(format!("{lead}{}", experiment.key)),
        Cell::new(experiment.kind.as_str()),
        Cell::new(experiment.counts.total()),
        Cell::new(in_words(&experiment.counts)),
        Cell::new(best(&experiment.runs)),
        Cell::new(if experiment.after.is_empty() {
            "-".to_owned()
        } else {
            experiment.after.join(", ")
        }),
    ]);
    let children: Vec<&StudyExperiment> = study
        .experiments
        .iter()
        .filter(|other| other.base.as_deref() == Some(experiment.key.as_str()))
        .collect();
    for (i, child) in children.iter().enumerate() {
        let (corner, line) = if i + 1 == children.len() {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        add_branch(
            study,
            child,
            &format!("{below}{corner}"),
            &format!("{below}{line}"),
            rows,
        );
    }
}

/// The best validation of runs in the mean, and how it spreads.
#[allow(clippy::cast_precision_loss, reason = "few runs")]
fn best(runs: &[StudyRun]) -> String {
    let values: Vec<f64> = runs
        .iter()
        .filter_map(|run| Some(run.best_validation?.value.0))
        .collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    match values.as_slice() {
        [] => "-".to_owned(),
        [only] => significant(*only),
        several => {
            let sum: f64 = several.iter().map(|value| (value - mean).powi(2)).sum();
            let sd = (sum / (n - 1.0)).sqrt();
            format!(
                "{} ± {} (n = {})",
                significant(mean),
                significant(sd),
                several.len()
            )
        }
    }
}

/// The runs of a study, one a line.
pub(super) fn runs(out: &Output, study: &StudyDetail) -> String {
    let rows = study.experiments.iter().flat_map(|experiment| {
        experiment.runs.iter().map(|run| {
            let parameters: Vec<String> = run
                .parameters
                .iter()
                .map(|(field, value)| format!("{}={value}", field.rsplit('.').next().unwrap_or(field)))
                .collect();
            let parameters = match run.point {
                Some(point) => format!("{point}: {}", parameters.join(" ")),
                None => "-".to_owned(),
            };
            vec![
                Cell::new(short_id(run.run)),
                Cell::new(&experiment.key),
                Cell::new(run.seed),
                Cell::new(parameters),
                state(run.state),
                Cell::new(format!("{}/{}", run.batches_done, run.batches_total)),
                Cell::new(loss(run.best_validation)),
                Cell::new(run.reason.as_deref().unwrap_or("-")),
            ]
        })
    });
    let columns = [
        left("RUN"),
        left("EXPERIMENT"),
        right("SEED"),
        left("POINT"),
        left("STATE"),
        right("BATCHES"),
        left("BEST VALIDATION"),
        left("REASON"),
    ];
    out.table(&columns, rows.collect())
}

/// A study's state in its colour.
fn study_state(state: StudyState) -> Cell {
    let cell = Cell::new(state);
    match state {
        StudyState::Active => cell.fg(Color::Blue),
        StudyState::Succeeded => cell.fg(Color::Green),
        StudyState::Failed => cell.fg(Color::Red),
        StudyState::Cancelled => cell.fg(Color::DarkGrey),
    }
}

/// How many runs are in which state, such as `2 running, 4 waiting`.
fn in_words(counts: &StudyCounts) -> String {
    let Queue {
        waiting,
        queued,
        running,
        paused,
        succeeded,
        failed,
        cancelled,
        skipped,
    } = counts.runs;
    let states = [
        (succeeded, RunState::Succeeded.as_str()),
        (running, RunState::Running.as_str()),
        (queued, RunState::Queued.as_str()),
        (waiting, RunState::Waiting.as_str()),
        (paused, RunState::Paused.as_str()),
        (failed, RunState::Failed.as_str()),
        (
            cancelled - counts.stopped.min(cancelled),
            RunState::Cancelled.as_str(),
        ),
        (counts.stopped, "stopped by the sweep"),
        (skipped, RunState::Skipped.as_str()),
    ];
    let words: Vec<String> = states
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    }
}
