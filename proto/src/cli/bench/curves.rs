//! `motif bench curves`: the time that a long curve takes to read, at the width of a picture.

use std::time::{Duration, Instant};

use clap::Args;
use comfy_table::Cell;
use indicatif::ProgressBar;
use serde::Serialize;

use super::super::CliError;
use super::super::output::{Output, right};
use super::super::pretend::{self, Fleet};
use super::{or_ctrl_c, quantile_ms, style};
use crate::client::{Client, MetricsQuery};
use crate::id::RunId;
use crate::metrics::MAX_POINTS_PER_BATCH;
use crate::worker::Outcome;

#[derive(Debug, Args)]
pub(super) struct Curves {
    /// Points of the curve
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    points: u64,

    /// Width of the picture
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pixels: u32,

    /// How often to read
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    reads: u16,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measurement {
    points: u64,
    pixels: u32,
    reads: u16,
    /// Of the whole curve.
    whole_ms_p50: f64,
    whole_ms_p99: f64,
    /// Of a tenth of it, somewhere.
    part_ms_p50: f64,
    part_ms_p99: f64,
}

impl Curves {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        let fleet = Fleet::submit(client, "bench-curves", 1, self.points, 0).await?;
        match or_ctrl_c(self.measure(client, &fleet)).await {
            Ok(measured) if out.json => out.json(&measured),
            Ok(measured) => out.text(&table(out, &measured)),
            Err(error) => {
                fleet.cancel().await;
                Err(error)
            }
        }
    }

    async fn measure(&self, client: &Client, fleet: &Fleet) -> Result<Measurement, CliError> {
        let worker = fleet.register(0).await?.worker;
        let claim = fleet.claim_now(worker).await?;
        let bar = ProgressBar::new(self.points)
            .with_style(style())
            .with_message("storing");
        let (mut step, mut sequence) = (0, 0);
        while step < self.points {
            let end = (step + MAX_POINTS_PER_BATCH as u64).min(self.points);
            let batch = pretend::batch(&claim, sequence, 1, step..end);
            sequence = client.send_metrics(&batch).await?.next_sequence;
            step = end;
            bar.set_position(step);
        }
        bar.finish_and_clear();

        let tenth = self.points / 10;
        let whole = self.read(client, claim.run, |_| (0, self.points)).await?;
        let part = self
            .read(client, claim.run, |i| {
                let from = tenth * (i % 9) + i;
                (from, from + tenth)
            })
            .await?;
        fleet.finish(&claim, sequence, Outcome::Succeeded).await?;
        Ok(Measurement {
            points: self.points,
            pixels: self.pixels,
            reads: self.reads,
            whole_ms_p50: quantile_ms(&whole, 0.5),
            whole_ms_p99: quantile_ms(&whole, 0.99),
            part_ms_p50: quantile_ms(&part, 0.5),
            part_ms_p99: quantile_ms(&part, 0.99),
        })
    }

    /// Times of so many reads of the range that `range` gives, sorted. One read before them warms up.
    async fn read(
        &self,
        client: &Client,
        run: RunId,
        range: impl Fn(u64) -> (u64, u64),
    ) -> Result<Vec<Duration>, CliError> {
        let mut times = Vec::with_capacity(self.reads.into());
        for i in 0..=u64::from(self.reads) {
            let (from, to) = range(i);
            let query = MetricsQuery {
                points: Some(self.pixels),
                from: Some(from),
                to: Some(to),
                ..MetricsQuery::default()
            };
            let asked = Instant::now();
            let curves = client.metrics(run, &query).await?.series;
            times.push(asked.elapsed());
            if curves.iter().all(|curve| curve.steps.is_empty()) {
                return Err(CliError::Failed(format!(
                    "run {run} has no points from {from} to {to}"
                )));
            }
        }
        times.remove(0);
        times.sort_unstable();
        Ok(times)
    }
}

fn table(out: &Output, measured: &Measurement) -> String {
    let columns = [
        right("points"),
        right("pixels"),
        right("reads"),
        right("whole p50 ms"),
        right("p99"),
        right("tenth p50 ms"),
        right("p99"),
    ];
    let milliseconds = |time: f64| Cell::new(format!("{time:.1}"));
    let row = vec![
        Cell::new(measured.points),
        Cell::new(measured.pixels),
        Cell::new(measured.reads),
        milliseconds(measured.whole_ms_p50),
        milliseconds(measured.whole_ms_p99),
        milliseconds(measured.part_ms_p50),
        milliseconds(measured.part_ms_p99),
    ];
    out.table(&columns, vec![row])
}
