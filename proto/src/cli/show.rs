//! `motif show`.

use chrono::{DateTime, Utc};
use clap::Args;
use comfy_table::Cell;
use serde::Serialize;

use super::CliError;
use super::output::{
    Output, age, duration, left, loss, progress, right, short_id, short_uuid, significant, size, standing,
};
use super::run_ref::RunRef;
use crate::artifact::Artifact;
use crate::client::Client;
use crate::metrics::StepValue;
use crate::run::{Attempt, BaseCheckpoint, Checkpoint, RunDetail, RunSummary};
use crate::spec::DEFAULT_PROJECT;

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The run: `latest`, an id, or at least 6 digits of one
    run: RunRef,
}

/// Everything about a run but its curves.
#[derive(Debug, Serialize)]
struct Everything {
    #[serde(flatten)]
    run: RunDetail,
    checkpoints: Vec<Checkpoint>,
    artifacts: Vec<Artifact>,
}

impl Show {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        let id = self.run.resolve(client).await?;
        let everything = Everything {
            run: client.run(id).await?,
            checkpoints: client.checkpoints(id).await?,
            artifacts: client.artifacts(id).await?,
        };
        if out.json {
            return out.json(&everything);
        }
        let now = Utc::now();
        let run = &everything.run;
        let mut lines = facts(&run.summary, now);
        if let Some(base) = &run.base {
            lines.push(("Base", Cell::new(lineage(base))));
        }
        if !run.notes.is_empty() {
            lines.push(("Notes", Cell::new(&run.notes)));
        }
        let mut text = out.facts(lines);
        if !run.attempt_history.is_empty() {
            text.push_str("\n\nAttempts\n");
            text.push_str(&attempts(out, &run.attempt_history, now));
        }
        if !everything.checkpoints.is_empty() {
            text.push_str("\n\nCheckpoints\n");
            text.push_str(&checkpoints(out, &everything.checkpoints, now));
        }
        if !everything.artifacts.is_empty() {
            text.push_str("\n\nArtifacts\n");
            text.push_str(&artifacts(out, &everything.artifacts, now));
        }
        let spec = toml::to_string(&run.spec)
            .map_err(|error| CliError::Failed(format!("the run's spec cannot be shown: {error}")))?;
        out.text(&format!("{text}\n\nSpec\n{spec}"))
    }
}

/// A run in a few lines.
pub(super) fn facts(run: &RunSummary, now: DateTime<Utc>) -> Vec<(&'static str, Cell)> {
    let at_batch = |point: Option<StepValue>| match point {
        Some(StepValue { step, .. }) => format!("{} at batch {step}", loss(point)),
        None => "-".to_owned(),
    };
    let mut facts = vec![
        ("Run", Cell::new(format!("{} ({})", short_id(run.id), run.id))),
        ("Name", Cell::new(&run.name)),
        ("Kind", Cell::new(run.kind.as_str())),
        ("State", standing(run)),
        ("Batches", Cell::new(progress(run))),
        ("Loss", Cell::new(at_batch(run.last_loss))),
        ("Validation", Cell::new(at_batch(run.last_validation))),
        ("Best validation", Cell::new(at_batch(run.best_validation))),
        ("Preset", Cell::new(run.preset.as_deref().unwrap_or("-"))),
        ("Seed", Cell::new(run.seed)),
        ("Submitted", Cell::new(age(run.created_at, now))),
    ];
    if let Some(speed) = run.progress.batches_per_second {
        facts.insert(
            5,
            ("Speed", Cell::new(format!("{} batches/s", significant(speed)))),
        );
    }
    if run.project != DEFAULT_PROJECT {
        facts.push(("Project", Cell::new(&run.project)));
    }
    if let Some(study) = &run.study {
        let point = study
            .point
            .map_or_else(String::new, |point| format!(", point {point}"));
        let place = format!(
            "{} ({}), {}{point}",
            study.name,
            short_uuid(study.id.0),
            study.key
        );
        facts.push(("Study", Cell::new(place)));
    }
    if !run.tags.is_empty() {
        facts.push(("Tags", Cell::new(run.tags.join(", "))));
    }
    if let Some(worker) = &run.worker {
        facts.push(("Worker", Cell::new(worker)));
    }
    if let Some(started) = run.started_at {
        let seconds = (run.finished_at.unwrap_or(now) - started).num_seconds();
        facts.push(("Took", Cell::new(duration(u64::try_from(seconds).unwrap_or(0)))));
    }
    if let Some(not_before) = run.not_before.filter(|instant| *instant > now) {
        let seconds = (not_before - now).num_seconds() + 1;
        let wait = duration(u64::try_from(seconds).unwrap_or(0));
        facts.push(("Next try", Cell::new(format!("in {wait}, after a failure"))));
    }
    if let Some(reason) = &run.reason {
        facts.push(("Reason", Cell::new(reason)));
    }
    if let Some(failure) = &run.failure {
        let why = format!("{} ({})", failure.message, failure.class.as_str());
        facts.push(("Failure", Cell::new(why).fg(comfy_table::Color::Red)));
    }
    facts
}

/// What a run starts from, such as `demo (a1b2c3d4), best after 600 batches`.
fn lineage(base: &BaseCheckpoint) -> String {
    let BaseCheckpoint {
        run_name, run, kind, ..
    } = base;
    format!(
        "{run_name} ({}), {kind} after {} batches",
        short_id(*run),
        base.next_batch
    )
}

fn attempts(out: &Output, attempts: &[Attempt], now: DateTime<Utc>) -> String {
    let rows = attempts.iter().map(|attempt| {
        vec![
            Cell::new(attempt.number),
            Cell::new(attempt.state.as_str()),
            Cell::new(&attempt.worker_name),
            Cell::new(attempt.first_batch),
            Cell::new(age(attempt.started_at, now)),
            Cell::new(
                attempt
                    .failure
                    .as_ref()
                    .map_or("-", |failure| failure.message.as_str()),
            ),
        ]
    });
    out.table(
        &[
            right("NO"),
            left("STATE"),
            left("WORKER"),
            right("FROM BATCH"),
            left("STARTED"),
            left("FAILURE"),
        ],
        rows.collect(),
    )
}

fn checkpoints(out: &Output, checkpoints: &[Checkpoint], now: DateTime<Utc>) -> String {
    let rows = checkpoints.iter().map(|checkpoint| {
        vec![
            Cell::new(checkpoint.kind),
            Cell::new(checkpoint.next_batch),
            Cell::new(checkpoint.validation.map_or_else(|| "-".to_owned(), significant)),
            Cell::new(size(checkpoint.size_bytes)),
            Cell::new(age(checkpoint.created_at, now)),
        ]
    });
    out.table(
        &[
            left("KIND"),
            right("BATCHES"),
            left("VALIDATION"),
            right("SIZE"),
            left("SAVED"),
        ],
        rows.collect(),
    )
}

fn artifacts(out: &Output, artifacts: &[Artifact], now: DateTime<Utc>) -> String {
    let rows = artifacts.iter().map(|artifact| {
        vec![
            Cell::new(&artifact.name),
            Cell::new(size(artifact.size_bytes)),
            Cell::new(age(artifact.created_at, now)),
        ]
    });
    out.table(&[left("NAME"), right("SIZE"), left("SAVED")], rows.collect())
}
