//! `motif bench dispatch`: how fast runs come to workers.
//!
//! First a long queue is made: half of it asks for something that no worker has, is older and goes before all else;
//! the other half is for pretend workers. These claim and end runs as fast as they can; then they claim at a given
//! pace, however long the answers take; then they claim as fast as they can and end nothing. Then one idle worker
//! waits for single runs, each submitted when it waits. Last a whole fleet trains, so to speak: heartbeats, and a batch
//! of metrics every so often.
//!
//! What this program itself takes of the processors is said, too: on a machine of few it is a good part.

use std::time::{Duration, Instant};

use clap::Args;
use comfy_table::Cell;
use futures::StreamExt;
use futures::future::try_join_all;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::time::{interval, sleep, sleep_until};

use super::super::CliError;
use super::super::output::{Output, left, right};
use super::super::pretend::{self, Fleet, PRIORITY};
use super::{or_ctrl_c, processes, quantile_ms, style};
use crate::client::Client;
use crate::id::WorkerId;
use crate::worker::{Claim, Heartbeat, HeldLease, Outcome};

/// Series of a run of the fleet.
const SERIES: usize = 10;
/// How long the idle worker waits before a run is submitted for it.
const IDLE: Duration = Duration::from_millis(20);
/// Runs that are ended at a time.
const ENDS: usize = 64;
/// Longest wait of a claim.
const CLAIM_SECONDS: u32 = 10;

#[derive(Debug, Args)]
pub(super) struct Dispatch {
    /// Pretend workers that claim side by side
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=5000))]
    workers: u16,

    /// Runs in the queue at the beginning, half of them for nobody
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    queued: usize,

    /// How long they claim and end runs
    #[arg(long, default_value_t = 10.0, value_name = "S")]
    seconds: f64,

    /// How long they claim without ending anything, first at a pace and then as fast as they can
    #[arg(long, default_value_t = 5.0, value_name = "S")]
    claim_seconds: f64,

    /// Claims a second of the pace
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pace: u32,

    /// Runs that are submitted one by one for an idle worker
    #[arg(long, default_value_t = 200, value_name = "N")]
    submissions: usize,

    /// Workers of the fleet that trains; 0 leaves it out
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(0..=5000))]
    fleet: u16,

    /// How long it trains
    #[arg(long, default_value_t = 20.0, value_name = "S")]
    fleet_seconds: f64,

    /// Milliseconds between two batches of metrics of one run of the fleet
    #[arg(long, default_value_t = 1000, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=60_000))]
    every: u64,

    /// Process id of the coordinator on this machine, to say what it and its Postgres cost
    #[arg(long, value_name = "PID")]
    coordinator: Option<u32>,

    /// Leave the queue as it is at the end; for coordinators that are thrown away
    #[arg(long)]
    leave: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measurement {
    queued: usize,
    submissions_per_s: f64,
    workers: u16,
    /// Each worker claims a run and ends it, again and again.
    with_ends: Claims,
    /// All workers claim at a pace, counted from when a claim was due.
    paced: Claims,
    /// Each worker claims, again and again, and ends nothing.
    alone: Claims,
    submit_to_worker_ms_p50: f64,
    submit_to_worker_ms_p99: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<FleetCost>,
}

/// How claims went.
#[derive(Debug, Serialize)]
struct Claims {
    claims: usize,
    claims_per_s: f64,
    claim_ms_p50: f64,
    claim_ms_p99: f64,
    #[serde(flatten)]
    cores: Cores,
}

/// What a fleet costs.
#[derive(Debug, Serialize)]
struct FleetCost {
    workers: u16,
    batches_per_s: f64,
    points_per_s: f64,
    metrics_ms_p50: f64,
    metrics_ms_p99: f64,
    #[serde(flatten)]
    cores: Cores,
}

/// Cores that something took.
#[derive(Debug, Serialize)]
struct Cores {
    /// Coordinator and Postgres together.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<f64>,
    /// This program.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_cpu: Option<f64>,
}

/// Counts the processors' time from when it is made.
struct Meter {
    coordinator: Option<u32>,
    begin: Instant,
    coordinator_used: Option<f64>,
    client_used: Option<f64>,
}

impl Meter {
    fn start(coordinator: Option<u32>) -> Self {
        Self {
            coordinator,
            coordinator_used: coordinator.and_then(processes::cpu_seconds),
            client_used: processes::cpu_seconds(std::process::id()),
            begin: Instant::now(),
        }
    }

    fn cores(&self) -> Cores {
        let seconds = self.begin.elapsed().as_secs_f64();
        let since = |process: Option<u32>, before: Option<f64>| {
            let now = process.and_then(processes::cpu_seconds)?;
            Some((now - before?) / seconds)
        };
        Cores {
            cpu: since(self.coordinator, self.coordinator_used),
            client_cpu: since(Some(std::process::id()), self.client_used),
        }
    }
}

impl Dispatch {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        let (mut nobody, mut queue) = (Fleet::new(client), Fleet::new(client));
        let measured = or_ctrl_c(self.measure(client, &mut nobody, &mut queue)).await;
        if !self.leave || measured.is_err() {
            nobody.cancel().await;
            queue.cancel().await;
        }
        let measured = measured?;
        if out.json {
            out.json(&measured)
        } else {
            out.text(&table(out, &measured))
        }
    }

    async fn measure(
        &self,
        client: &Client,
        nobody: &mut Fleet,
        queue: &mut Fleet,
    ) -> Result<Measurement, CliError> {
        let bar = ProgressBar::new_spinner().with_message("filling the queue");
        bar.enable_steady_tick(Duration::from_millis(200));
        let begin = Instant::now();
        let half = self.queued / 2;
        nobody
            .submit_more("bench-dispatch", half, 1000, 0, PRIORITY)
            .await?;
        queue
            .submit_more("bench-dispatch", self.queued - half, 1000, 0, PRIORITY - 1)
            .await?;
        let submissions_per_s = self.queued as f64 / begin.elapsed().as_secs_f64();
        bar.finish_and_clear();

        let workers = try_join_all((0..self.workers.into()).map(|number| queue.register(number))).await?;
        let workers: Vec<WorkerId> = workers.iter().map(|registered| registered.worker).collect();
        let with_ends = self.claim_and_end(queue, &workers).await?;
        let paced = self.claim_at_a_pace(queue, &workers).await?;
        let alone = self.claim_alone(queue, &workers).await?;
        let ways = self.ways_to_an_idle_worker(client).await?;
        let fleet = match self.fleet {
            0 => None,
            workers => Some(self.train(client, workers).await?),
        };
        Ok(Measurement {
            queued: self.queued,
            submissions_per_s,
            workers: self.workers,
            with_ends,
            paced,
            alone,
            submit_to_worker_ms_p50: quantile_ms(&ways, 0.5),
            submit_to_worker_ms_p99: quantile_ms(&ways, 0.99),
            fleet,
        })
    }

    /// Lets workers claim and end runs.
    async fn claim_and_end(&self, queue: &Fleet, workers: &[WorkerId]) -> Result<Claims, CliError> {
        let (bar, meter) = (
            bar(self.seconds, "claiming and ending"),
            Meter::start(self.coordinator),
        );
        let each = workers.iter().map(async |&worker| {
            let mut took = Vec::new();
            while meter.begin.elapsed().as_secs_f64() < self.seconds {
                let asked = Instant::now();
                let Some(claim) = queue.claim(worker, 1).await? else {
                    break;
                };
                took.push(asked.elapsed());
                bar.set_position(meter.begin.elapsed().as_millis() as u64);
                queue.finish(&claim, 0, Outcome::Succeeded).await?;
            }
            Ok::<_, CliError>(took)
        });
        let took = try_join_all(each).await?.concat();
        bar.finish_and_clear();
        Ok(Claims::of(took, &meter))
    }

    /// Lets workers claim one after another, and ends their runs when the time is over.
    async fn claim_alone(&self, queue: &Fleet, workers: &[WorkerId]) -> Result<Claims, CliError> {
        let (bar, meter) = (
            bar(self.claim_seconds, "claiming"),
            Meter::start(self.coordinator),
        );
        let each = workers.iter().map(async |&worker| {
            let (mut took, mut held) = (Vec::new(), Vec::new());
            while meter.begin.elapsed().as_secs_f64() < self.claim_seconds {
                let asked = Instant::now();
                let Some(claim) = queue.claim(worker, 1).await? else {
                    break;
                };
                took.push(asked.elapsed());
                held.push(claim);
                bar.set_position(meter.begin.elapsed().as_millis() as u64);
            }
            Ok::<_, CliError>((took, held))
        });
        let (took, held): (Vec<_>, Vec<_>) = try_join_all(each).await?.into_iter().unzip();
        bar.finish_and_clear();
        let claims = Claims::of(took.concat(), &meter);
        end_all(queue, &held.concat()).await?;
        Ok(claims)
    }

    /// Has claims come in at a pace, whether those before are answered or not, and ends their runs when the time is
    /// over. A worker whose turn comes again before its last claim was answered asks for one more run meanwhile.
    async fn claim_at_a_pace(&self, queue: &Fleet, workers: &[WorkerId]) -> Result<Claims, CliError> {
        let (bar, meter) = (
            bar(self.claim_seconds, "claiming at a pace"),
            Meter::start(self.coordinator),
        );
        let count = (f64::from(self.pace) * self.claim_seconds) as u32;
        let each = (0..count)
            .zip(workers.iter().cycle())
            .map(async |(number, &worker)| {
                let due = meter.begin + Duration::from_secs_f64(f64::from(number) / f64::from(self.pace));
                sleep_until(due.into()).await;
                let claim = queue.claim(worker, CLAIM_SECONDS).await?;
                bar.set_position(meter.begin.elapsed().as_millis() as u64);
                Ok::<_, CliError>(claim.map(|claim| (due.elapsed(), claim)))
            });
        let (took, held): (Vec<_>, Vec<_>) = try_join_all(each).await?.into_iter().flatten().unzip();
        bar.finish_and_clear();
        let claims = Claims::of(took, &meter);
        end_all(queue, &held).await?;
        Ok(claims)
    }

    /// From the submission of a run to its arrival at a worker that waits for it, sorted.
    async fn ways_to_an_idle_worker(&self, client: &Client) -> Result<Vec<Duration>, CliError> {
        let mut fleet = Fleet::new(client);
        let worker = fleet.register(0).await?.worker;
        let mut ways = Vec::with_capacity(self.submissions);
        for seed in (0..).take(self.submissions) {
            let idle = fleet.clone();
            let arrival = async {
                let claim = idle.claim_any(worker, CLAIM_SECONDS).await?;
                Ok::<_, CliError>((claim, Instant::now()))
            };
            let submission = async {
                sleep(IDLE).await;
                let begin = Instant::now();
                fleet
                    .submit_more("bench-dispatch", 1, 1000, seed, PRIORITY)
                    .await?;
                Ok::<_, CliError>(begin)
            };
            let ((claim, arrived), begun) = tokio::try_join!(arrival, submission)?;
            ways.push(arrived.duration_since(begun));
            fleet.finish(&claim, 0, Outcome::Succeeded).await?;
        }
        ways.sort_unstable();
        Ok(ways)
    }

    /// Lets a fleet train, and says what that costs.
    async fn train(&self, client: &Client, workers: u16) -> Result<FleetCost, CliError> {
        let fleet = Fleet::submit(client, "bench-dispatch", workers.into(), 1_000_000, 0).await?;
        let result = self.train_fleet(client, &fleet, workers).await;
        if !self.leave || result.is_err() {
            fleet.cancel().await;
        }
        result
    }

    async fn train_fleet(&self, client: &Client, fleet: &Fleet, workers: u16) -> Result<FleetCost, CliError> {
        let claims = try_join_all((0..workers.into()).map(|number| async move {
            let registered = fleet.register(number).await?;
            let claim = fleet.claim_now(registered.worker).await?;
            Ok::<_, CliError>((registered, claim))
        }))
        .await?;
        let (bar, meter) = (
            bar(self.fleet_seconds, "training, so to speak"),
            Meter::start(self.coordinator),
        );
        let begin = meter.begin;
        let end = begin + Duration::from_secs_f64(self.fleet_seconds);
        let count = claims.len().max(1) as u32;
        let each = claims.iter().enumerate().map(|(number, (registered, claim))| {
            let bar = &bar;
            async move {
                // Spread over the interval, as workers are that began at different times.
                let offset = Duration::from_millis(self.every) * number as u32 / count;
                let heartbeats = beat(
                    client,
                    registered.worker,
                    claim,
                    registered.heartbeat_seconds.max(1),
                );
                tokio::select! {
                    error = heartbeats => Err(error),
                    sent = self.send(client, claim, offset, end, bar) => sent,
                }
            }
        });
        let mut took: Vec<Duration> = try_join_all(each).await?.concat();
        let seconds = begin.elapsed().as_secs_f64();
        let cores = meter.cores();
        bar.finish_and_clear();
        took.sort_unstable();
        let batches_per_s = took.len() as f64 / seconds;
        Ok(FleetCost {
            workers,
            batches_per_s,
            points_per_s: batches_per_s * (SERIES as u64 * self.steps()) as f64,
            metrics_ms_p50: quantile_ms(&took, 0.5),
            metrics_ms_p99: quantile_ms(&took, 0.99),
            cores,
        })
    }

    /// Steps of one batch of metrics: twenty batches of training a second.
    fn steps(&self) -> u64 {
        (self.every / 50).max(1)
    }

    async fn send(
        &self,
        client: &Client,
        claim: &Claim,
        offset: Duration,
        end: Instant,
        bar: &ProgressBar,
    ) -> Result<Vec<Duration>, CliError> {
        let mut took = Vec::new();
        let mut sequence = 0;
        sleep(offset).await;
        let mut clock = interval(Duration::from_millis(self.every));
        loop {
            clock.tick().await;
            if Instant::now() >= end {
                return Ok(took);
            }
            let first = sequence * self.steps();
            let batch = pretend::batch(claim, sequence, SERIES, first..first + self.steps());
            let asked = Instant::now();
            sequence = client.send_metrics(&batch).await?.next_sequence;
            took.push(asked.elapsed());
            bar.set_position(self.position(end));
        }
    }

    fn position(&self, end: Instant) -> u64 {
        let left = end.saturating_duration_since(Instant::now());
        ((self.fleet_seconds - left.as_secs_f64()).max(0.0) * 1000.0) as u64
    }
}

/// Heartbeats, each of which waits at the coordinator, until one fails.
async fn beat(client: &Client, worker: WorkerId, claim: &Claim, every: u32) -> CliError {
    let lease = HeldLease {
        attempt: claim.attempt,
        token: claim.token,
    };
    let heartbeat = Heartbeat {
        worker,
        leases: vec![lease],
        wait_seconds: every,
    };
    loop {
        let next = tokio::time::Instant::now() + Duration::from_secs(every.into());
        if let Err(error) = client.heartbeat(&heartbeat).await {
            return error.into();
        }
        sleep_until(next).await;
    }
}

/// Ends these runs, a few at a time.
async fn end_all(queue: &Fleet, claims: &[Claim]) -> Result<(), CliError> {
    let ends = claims
        .iter()
        .map(|claim| queue.finish(claim, 0, Outcome::Succeeded));
    let mut ends = futures::stream::iter(ends).buffer_unordered(ENDS);
    while let Some(ended) = ends.next().await {
        ended?;
    }
    Ok(())
}

fn bar(seconds: f64, what: &'static str) -> ProgressBar {
    ProgressBar::new((seconds * 1000.0) as u64)
        .with_style(style())
        .with_message(what)
}

impl Claims {
    /// Of how long each took.
    fn of(mut took: Vec<Duration>, meter: &Meter) -> Self {
        let seconds = meter.begin.elapsed().as_secs_f64();
        took.sort_unstable();
        Self {
            claims: took.len(),
            claims_per_s: took.len() as f64 / seconds,
            claim_ms_p50: quantile_ms(&took, 0.5),
            claim_ms_p99: quantile_ms(&took, 0.99),
            cores: meter.cores(),
        }
    }

    fn rows(&self, what: &str) -> Vec<Vec<Cell>> {
        let mut rows = vec![
            row(&format!("claims {what}/s"), format!("{:.0}", self.claims_per_s)),
            row(
                &format!("claim {what} p50 ms"),
                format!("{:.1}", self.claim_ms_p50),
            ),
            row(
                &format!("claim {what} p99 ms"),
                format!("{:.1}", self.claim_ms_p99),
            ),
        ];
        rows.extend(self.cores.rows(what));
        rows
    }
}

impl Cores {
    fn rows(&self, what: &str) -> Vec<Vec<Cell>> {
        let figure = |who: &str, cores: Option<f64>| {
            cores.map(|cores| row(&format!("cores of {who}, {what}"), format!("{cores:.2}")))
        };
        let all = [
            figure("coordinator and Postgres", self.cpu),
            figure("this program", self.client_cpu),
        ];
        all.into_iter().flatten().collect()
    }
}

fn table(out: &Output, measured: &Measurement) -> String {
    let mut rows = vec![
        row("runs queued", format!("{}", measured.queued)),
        row("submissions/s", format!("{:.0}", measured.submissions_per_s)),
        row("workers that claim", format!("{}", measured.workers)),
    ];
    rows.extend(measured.with_ends.rows("with ends"));
    rows.extend(measured.paced.rows("at a pace"));
    rows.extend(measured.alone.rows("alone"));
    rows.push(row(
        "submission to idle worker p50 ms",
        format!("{:.1}", measured.submit_to_worker_ms_p50),
    ));
    rows.push(row(
        "submission to idle worker p99 ms",
        format!("{:.1}", measured.submit_to_worker_ms_p99),
    ));
    if let Some(fleet) = &measured.fleet {
        rows.push(row("workers that train", format!("{}", fleet.workers)));
        rows.push(row("batches of metrics/s", format!("{:.0}", fleet.batches_per_s)));
        rows.push(row("points/s", format!("{:.0}", fleet.points_per_s)));
        rows.push(row("metrics p50 ms", format!("{:.1}", fleet.metrics_ms_p50)));
        rows.push(row("metrics p99 ms", format!("{:.1}", fleet.metrics_ms_p99)));
        rows.extend(fleet.cores.rows("training"));
    }
    out.table(&[left("what"), right("figure")], rows)
}

fn row(what: &str, figure: String) -> Vec<Cell> {
    vec![Cell::new(what), Cell::new(figure)]
}
