//! `motif bench`: what a coordinator can take, measured through the real protocol.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use comfy_table::Cell;
use futures::future::try_join_all;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::CliError;
use super::output::{Output, right};
use super::pretend::{self, Fleet};
use crate::client::{Client, MetricsQuery};
use crate::metrics::{MAX_POINTS_PER_BATCH, MAX_SERIES_PER_BATCH};
use crate::worker::{Claim, Outcome};

/// Longest wait for a run that was just submitted.
const CLAIM_SECONDS: u32 = 10;

#[derive(Debug, Args)]
pub(super) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Points a second that the coordinator stores, durable when answered
    Ingest(Ingest),
}

impl Bench {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        match self.what {
            What::Ingest(ingest) => ingest.run(client, out).await,
        }
    }
}

#[derive(Debug, Args)]
struct Ingest {
    /// Workers that send side by side, each for a run of its own
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    workers: u16,

    /// Series of each run
    #[arg(long, default_value_t = 10, value_name = "N")]
    series: usize,

    /// Steps in one request: it has so many points of every series
    #[arg(long, default_value_t = 100, value_name = "N")]
    steps: u64,

    /// How long to send
    #[arg(long, default_value_t = 10.0, value_name = "S")]
    seconds: f64,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measurement {
    workers: u16,
    series: usize,
    points_per_request: u64,
    seconds: f64,
    points: u64,
    requests: u64,
    points_per_s: f64,
    requests_per_s: f64,
    request_ms_p50: f64,
    request_ms_p99: f64,
}

/// What one worker sent.
struct Sent {
    claim: Claim,
    sequence: u64,
    latencies: Vec<Duration>,
}

impl Ingest {
    async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        self.check()?;
        let fleet = Fleet::submit(client, "bench-ingest", self.workers.into(), 1_000_000, 0).await?;
        let measured = tokio::select! {
            measured = self.measure(client, &fleet) => measured,
            signal = tokio::signal::ctrl_c() => {
                signal.map_err(|error| CliError::Failed(format!("cannot listen for Ctrl-C: {error}")))?;
                Err(CliError::Failed("interrupted; the bench's runs were cancelled".to_owned()))
            }
        };
        match measured {
            Ok(measured) if out.json => out.json(&measured),
            Ok(measured) => out.text(&table(out, &measured)),
            Err(error) => {
                fleet.cancel().await;
                Err(error)
            }
        }
    }

    fn check(&self) -> Result<(), CliError> {
        if !(1..=MAX_SERIES_PER_BATCH).contains(&self.series) {
            return Err(CliError::Usage(format!(
                "--series is from 1 to {MAX_SERIES_PER_BATCH}"
            )));
        }
        if !(1..=MAX_POINTS_PER_BATCH as u64).contains(&(self.steps.saturating_mul(self.series as u64))) {
            return Err(CliError::Usage(format!(
                "a request has 1 to {MAX_POINTS_PER_BATCH} points: --steps times --series is too many or none"
            )));
        }
        if !(self.seconds > 0.0 && self.seconds <= 3600.0) {
            return Err(CliError::Usage(
                "--seconds is above 0 and at most 3600".to_owned(),
            ));
        }
        Ok(())
    }

    async fn measure(&self, client: &Client, fleet: &Fleet) -> Result<Measurement, CliError> {
        let claims = try_join_all((0..self.workers.into()).map(|number| async move {
            let worker = fleet.register(number).await?.worker;
            fleet
                .claim(worker, CLAIM_SECONDS)
                .await?
                .ok_or_else(|| CliError::Failed("a run of the bench was not handed out".to_owned()))
        }))
        .await?;

        let bar = ProgressBar::new((self.seconds * 1000.0) as u64)
            .with_style(style())
            .with_message("sending");
        let begin = Instant::now();
        let sent = try_join_all(
            claims
                .into_iter()
                .map(|claim| self.send(client, claim, begin, &bar)),
        )
        .await?;
        let seconds = begin.elapsed().as_secs_f64();
        bar.finish_and_clear();

        for sent in &sent {
            self.compare(client, sent).await?;
            fleet
                .finish(&sent.claim, sent.sequence, Outcome::Succeeded)
                .await?;
        }
        Ok(self.evaluate(&sent, seconds))
    }

    /// Sends one request after the other until the time is over.
    async fn send(
        &self,
        client: &Client,
        claim: Claim,
        begin: Instant,
        bar: &ProgressBar,
    ) -> Result<Sent, CliError> {
        let mut sent = Sent {
            claim,
            sequence: 0,
            latencies: Vec::new(),
        };
        while begin.elapsed().as_secs_f64() < self.seconds {
            let first = sent.sequence * self.steps;
            let batch = pretend::batch(&sent.claim, sent.sequence, self.series, first..first + self.steps);
            let asked = Instant::now();
            sent.sequence = client.send_metrics(&batch).await?.next_sequence;
            sent.latencies.push(asked.elapsed());
            bar.set_position(begin.elapsed().as_millis() as u64);
        }
        Ok(sent)
    }

    /// Sees to it that what was sent is there.
    async fn compare(&self, client: &Client, sent: &Sent) -> Result<(), CliError> {
        let query = MetricsQuery {
            points: Some(10),
            ..MetricsQuery::default()
        };
        let curves = client.metrics(sent.claim.run, &query).await?.series;
        let expected = sent.sequence * self.steps;
        if curves.len() == self.series && curves.iter().all(|curve| curve.count == expected) {
            return Ok(());
        }
        let found: u64 = curves.iter().map(|curve| curve.count).sum();
        Err(CliError::Failed(format!(
            "{found} points of run {} are there, not the {} sent",
            sent.claim.run,
            expected * self.series as u64
        )))
    }

    fn evaluate(&self, sent: &[Sent], seconds: f64) -> Measurement {
        let mut latencies: Vec<Duration> = sent
            .iter()
            .flat_map(|sent| sent.latencies.iter().copied())
            .collect();
        latencies.sort_unstable();
        let quantile = |share: f64| {
            let place = (latencies.len().saturating_sub(1)) as f64 * share;
            latencies
                .get(place as usize)
                .map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
        };
        let requests = latencies.len() as u64;
        let points_per_request = self.steps * self.series as u64;
        Measurement {
            workers: self.workers,
            series: self.series,
            points_per_request,
            seconds,
            points: requests * points_per_request,
            requests,
            points_per_s: (requests * points_per_request) as f64 / seconds,
            requests_per_s: requests as f64 / seconds,
            request_ms_p50: quantile(0.5),
            request_ms_p99: quantile(0.99),
        }
    }
}

/// A bar that says how much of its time is over; nothing where nobody looks.
pub(super) fn style() -> ProgressStyle {
    ProgressStyle::with_template("{msg} {wide_bar} {percent} %")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn table(out: &Output, measured: &Measurement) -> String {
    let columns = [
        right("workers"),
        right("series"),
        right("points/request"),
        right("points"),
        right("points/s"),
        right("requests/s"),
        right("p50 ms"),
        right("p99 ms"),
    ];
    let row = vec![
        Cell::new(measured.workers),
        Cell::new(measured.series),
        Cell::new(measured.points_per_request),
        Cell::new(measured.points),
        Cell::new(format!("{:.0}", measured.points_per_s)),
        Cell::new(format!("{:.0}", measured.requests_per_s)),
        Cell::new(format!("{:.1}", measured.request_ms_p50)),
        Cell::new(format!("{:.1}", measured.request_ms_p99)),
    ];
    out.table(&columns, vec![row])
}
