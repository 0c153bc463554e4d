//! `motif workers`.

use chrono::{DateTime, Utc};
use comfy_table::{Cell, Color};

use super::CliError;
use super::output::{Output, age, left, right};
use crate::client::Client;
use crate::worker::{WorkerInfo, WorkerList};

pub(super) async fn run(client: &Client, out: &Output) -> Result<(), CliError> {
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
            if worker.alive {
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
    out.table(
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
    )
}
