//! `motif workers`.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use comfy_table::{Cell, Color};

use super::CliError;
use super::output::{Output, age, duration, left, right};
use super::word::{self, Kind};
use crate::client::Client;
use crate::id::WorkerId;
use crate::worker::{SetAside, SetWorkerAside, WorkerInfo, WorkerList};

#[derive(Debug, Args)]
pub(super) struct Workers {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Give a worker no runs until it is put back; what it holds goes on
    SetAside {
        /// Its name, or its id or at least 6 digits of that
        worker: String,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Give a worker runs again that was set aside
    PutBack {
        /// Its name, or its id or at least 6 digits of that
        worker: String,
    },
}

impl Workers {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        match self.what {
            None => list(client, out).await,
            Some(What::SetAside { worker, reason }) => {
                let worker = find(&worker, &client.workers().await?)?;
                client
                    .set_worker_aside(worker, &SetWorkerAside { reason })
                    .await?;
                say(client, out, worker).await
            }
            Some(What::PutBack { worker }) => {
                let worker = find(&worker, &client.workers().await?)?;
                client.put_worker_back(worker).await?;
                say(client, out, worker).await
            }
        }
    }
}

const WORKERS: Kind = Kind {
    one: "worker",
    called_by: "name",
    listed_by: "motif workers",
};

/// The worker that a word means.
pub(super) fn find(word: &str, workers: &[WorkerInfo]) -> Result<WorkerId, CliError> {
    let mut found: Vec<&WorkerInfo> = workers.iter().filter(|worker| worker.name == word).collect();
    if found.is_empty() {
        found = workers
            .iter()
            .filter(|worker| word::is_id(word, worker.id.0))
            .collect();
    }
    // Of workers with the same name, those that are away are seldom meant.
    if found.len() > 1 && found.iter().filter(|worker| worker.alive).count() == 1 {
        found.retain(|worker| worker.alive);
    }
    word::only(WORKERS, word, &found, |worker| worker.id.0).map(|worker| worker.id)
}

async fn say(client: &Client, out: &Output, id: WorkerId) -> Result<(), CliError> {
    let mut workers = client.workers().await?;
    workers.retain(|worker| worker.id == id);
    if out.json {
        return out.json(&WorkerList { workers });
    }
    out.text(&table(out, &workers, Utc::now()))
}

async fn list(client: &Client, out: &Output) -> Result<(), CliError> {
    let workers = client.workers().await?;
    if out.json {
        return out.json(&WorkerList { workers });
    }
    if workers.is_empty() {
        let server = client.server();
        return out.text(&format!(
            "No workers. `motif-worker run --server {server}` starts one."
        ));
    }
    out.text(&table(out, &workers, Utc::now()))
}

/// The table of workers.
pub(super) fn table(out: &Output, workers: &[WorkerInfo], now: DateTime<Utc>) -> String {
    let rows = workers.iter().map(|worker| {
        let labels: Vec<String> = worker
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        vec![
            Cell::new(&worker.name),
            if worker.set_aside.is_some() {
                Cell::new("set aside").fg(Color::Red)
            } else if worker.alive {
                Cell::new("alive").fg(Color::Green)
            } else {
                Cell::new("away").fg(Color::DarkGrey)
            },
            Cell::new(format!("{} ({})", worker.device.as_str(), worker.device_name)),
            Cell::new(format!("{}/{}", worker.runs.len(), worker.slots)),
            Cell::new(if labels.is_empty() {
                "-".to_owned()
            } else {
                labels.join(" ")
            }),
            Cell::new(&worker.version),
            Cell::new(age(worker.last_seen_at, now)),
        ]
    });
    let table = out.table(
        &[
            left("WORKER"),
            left("STATE"),
            left("DEVICE"),
            right("BUSY"),
            left("LABELS"),
            left("VERSION"),
            left("SEEN"),
        ],
        rows.collect(),
    );
    let reasons: Vec<String> = workers
        .iter()
        .filter_map(|worker| Some((worker, worker.set_aside.as_ref()?)))
        .map(|(worker, aside)| reason(worker, aside, now))
        .collect();
    if reasons.is_empty() {
        return table;
    }
    format!("{table}\n\n{}", reasons.join("\n"))
}

/// Why a worker was set aside, and what puts it back.
fn reason(worker: &WorkerInfo, aside: &SetAside, now: DateTime<Utc>) -> String {
    let id = worker.id.0.simple().to_string();
    let back = match aside.trial_at {
        Some(trial) if trial > now => {
            let seconds = u64::try_from((trial - now).num_seconds()).unwrap_or(0);
            format!("may prove itself in {}, or", duration(seconds))
        }
        Some(_) => "is to prove itself, or".to_owned(),
        None => "until".to_owned(),
    };
    format!(
        "{} was set aside {}: {}\n  {back} `motif workers put-back {}`",
        worker.name,
        age(aside.since, now),
        aside.reason,
        &id[id.len() - 8..]
    )
}
