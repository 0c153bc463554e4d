//! `motif bench lists`: the time that a page of runs takes, filtered and sorted, among those that are there.

use std::time::Instant;

use clap::Args;
use comfy_table::Cell;
use serde::Serialize;

use super::super::CliError;
use super::super::output::{Output, left, right};
use super::{or_ctrl_c, quantile_ms};
use crate::client::{Client, RunFilter};
use crate::run::RunState;

#[derive(Debug, Args)]
pub(super) struct Lists {
    /// How often to read each list
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    reads: u16,

    /// Runs on a page
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    page: u32,
}

/// What was measured of one list.
#[derive(Debug, Serialize)]
struct Measurement {
    list: &'static str,
    /// Runs on the page.
    runs: usize,
    /// Runs in the database.
    among: u64,
    page_ms_p50: f64,
    page_ms_p99: f64,
}

/// The lists that people look at, and some that are hard.
fn lists() -> Vec<(&'static str, RunFilter)> {
    let sorted = |sort: &str| RunFilter {
        sort: Some(sort.to_owned()),
        ..RunFilter::default()
    };
    let by_validation = || sorted("best_validation");
    vec![
        ("newest", RunFilter::default()),
        ("best validation", by_validation()),
        (
            "newest value of a series, greatest first",
            sorted("-last:validation/task-3"),
        ),
        (
            "succeeded, by best validation",
            RunFilter {
                states: vec![RunState::Succeeded],
                ..by_validation()
            },
        ),
        (
            "queued, by best validation (none has one)",
            RunFilter {
                states: vec![RunState::Queued],
                ..by_validation()
            },
        ),
        (
            "a tag of 5 %, 128 units, by best validation",
            RunFilter {
                tags: vec!["paper".to_owned()],
                conditions: vec!["network.hidden=128".to_owned()],
                ..by_validation()
            },
        ),
        (
            "a sweep of 100, by last loss",
            RunFilter {
                tags: vec!["sweep-77".to_owned()],
                ..sorted("last_loss")
            },
        ),
        (
            "text in a name, by best validation",
            RunFilter {
                text: Some("run a1".to_owned()),
                ..by_validation()
            },
        ),
        (
            "best validation under 0.05 in a project, by loss",
            RunFilter {
                projects: vec!["project-3".to_owned()],
                conditions: vec!["best_validation<0.05".to_owned()],
                ..sorted("-last_loss")
            },
        ),
        (
            "failed, by duration",
            RunFilter {
                states: vec![RunState::Failed],
                ..sorted("-duration")
            },
        ),
        ("name", sorted("name")),
    ]
}

impl Lists {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        let measured = or_ctrl_c(self.measure(client)).await?;
        if out.json {
            return out.json(&measured);
        }
        out.text(&table(out, &measured))
    }

    async fn measure(&self, client: &Client) -> Result<Vec<Measurement>, CliError> {
        let queue = client.queue().await?;
        let among = queue.waiting
            + queue.queued
            + queue.running
            + queue.paused
            + queue.succeeded
            + queue.failed
            + queue.cancelled
            + queue.skipped;
        let mut measured = Vec::new();
        for (list, filter) in lists() {
            let filter = RunFilter {
                limit: Some(self.page),
                ..filter
            };
            let mut times = Vec::new();
            let mut runs = 0;
            // One read before the others warms up.
            for _ in 0..=self.reads {
                let asked = Instant::now();
                runs = client.runs(&filter).await?.runs.len();
                times.push(asked.elapsed());
            }
            times.remove(0);
            times.sort_unstable();
            measured.push(Measurement {
                list,
                runs,
                among,
                page_ms_p50: quantile_ms(&times, 0.5),
                page_ms_p99: quantile_ms(&times, 0.99),
            });
        }
        Ok(measured)
    }
}

fn table(out: &Output, measured: &[Measurement]) -> String {
    let columns = [
        left("list"),
        right("runs"),
        right("among"),
        right("p50 ms"),
        right("p99"),
    ];
    let milliseconds = |time: f64| Cell::new(format!("{time:.1}"));
    let rows = measured.iter().map(|row| {
        vec![
            Cell::new(row.list),
            Cell::new(row.runs),
            Cell::new(row.among),
            milliseconds(row.page_ms_p50),
            milliseconds(row.page_ms_p99),
        ]
    });
    out.table(&columns, rows.collect())
}
