//! `motif simulate`: a fleet of pretend workers that speaks the whole protocol, for load tests.
//!
//! The curves follow from each run's seed, series and step alone, so that another program can say what must be
//! stored. A fault of the coordinator is waited out, as real workers do; a lost lease ends the attempt.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use comfy_table::Cell;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use indicatif::ProgressBar;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;

use super::output::{Output, right};
use super::pretend::{self, Fleet};
use super::{CliError, bench};
use crate::client::{Client, ClientError};
use crate::id::WorkerId;
use crate::run::CheckpointKind;
use crate::worker::{Claim, Heartbeat, HeldLease, Outcome, UploadCheckpoint, Verdict};

/// Exit code of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;
/// How long to wait before a call that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// Bytes of a pretend checkpoint.
const CHECKPOINT_BYTES: usize = 4096;
/// Metrics batches between two checkpoints.
const CHECKPOINT_EVERY: u64 = 20;
/// How long one claim waits: short, so that the fleet notices its end.
const CLAIM_SECONDS: u32 = 2;

#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// How many workers to pretend
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    workers: u16,

    /// Runs to submit for them [default: one each]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    runs: Option<u16>,

    /// Length of a run
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    batches: u64,

    /// Batches that a worker trains in a second
    #[arg(long, default_value_t = 20.0, value_name = "N")]
    speed: f64,

    /// Milliseconds between two reports of metrics
    #[arg(long, default_value_t = 250, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    every: u64,

    /// Seed of the first run; the others follow
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// What the fleet did.
#[derive(Debug, Default, Serialize)]
struct Account {
    seconds: f64,
    runs: u64,
    points: u64,
    checkpoints: u64,
    heartbeats: u64,
    retries: u64,
    lost_leases: u64,
    log_lines: u64,
}

#[derive(Debug, Default)]
struct Counters {
    runs: AtomicU64,
    points: AtomicU64,
    checkpoints: AtomicU64,
    heartbeats: AtomicU64,
    retries: AtomicU64,
    lost_leases: AtomicU64,
    log_lines: AtomicU64,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// How an attempt ended for its worker.
enum Ended {
    Succeeded,
    Stopped,
    Lost,
}

struct Simulation<'a> {
    arguments: &'a Simulate,
    client: &'a Client,
    fleet: &'a Fleet,
    counters: Counters,
    bar: ProgressBar,
    stop: CancellationToken,
}

impl Simulate {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<ExitCode, CliError> {
        if !(self.speed > 0.0 && self.speed <= 1e6) {
            return Err(CliError::Usage(
                "--speed is above 0 and at most 1000000".to_owned(),
            ));
        }
        let runs = self.runs.unwrap_or(self.workers);
        let fleet = Fleet::submit(client, "simulated", runs.into(), self.batches, self.seed).await?;
        let simulation = Simulation {
            arguments: &self,
            client,
            fleet: &fleet,
            counters: Counters::default(),
            bar: ProgressBar::new(u64::from(runs) * self.batches)
                .with_style(bench::style())
                .with_message("training, so to speak"),
            stop: CancellationToken::new(),
        };
        let begin = Instant::now();
        let mut work = std::pin::pin!(simulation.work());
        let (result, interrupted) = tokio::select! {
            result = &mut work => (result, false),
            signal = tokio::signal::ctrl_c() => {
                signal.map_err(|error| CliError::Failed(format!("cannot listen for Ctrl-C: {error}")))?;
                // Workers hand their runs back before they end.
                simulation.stop.cancel();
                (work.await, true)
            }
        };
        simulation.bar.finish_and_clear();
        if interrupted || result.is_err() {
            fleet.cancel().await;
        }
        result?;
        let account = simulation.account(begin.elapsed());
        if out.json {
            out.json(&account)?;
        } else {
            out.text(&table(out, &account))?;
        }
        Ok(if interrupted {
            ExitCode::from(INTERRUPTED)
        } else {
            ExitCode::SUCCESS
        })
    }
}

impl Simulation<'_> {
    /// Lets all workers work until every run has ended.
    async fn work(&self) -> Result<(), CliError> {
        let mut workers: FuturesUnordered<_> = (0..self.arguments.workers.into())
            .map(|number| self.worker(number))
            .collect();
        while let Some(ended) = workers.next().await {
            if ended.is_err() {
                self.stop.cancel();
            }
            ended?;
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.stop.is_cancelled()
            || self.counters.runs.load(Ordering::Relaxed) == self.fleet.runs().len() as u64
    }

    async fn worker(&self, number: usize) -> Result<(), CliError> {
        let registered = self.insist(async || self.fleet.register(number).await).await?;
        let Some(registered) = registered else {
            return Ok(());
        };
        let heartbeat = registered.heartbeat_seconds.max(1);
        while !self.is_over() {
            let claim = match self.fleet.claim(registered.worker, CLAIM_SECONDS).await {
                Ok(Some(claim)) => claim,
                Ok(None) => continue,
                Err(CliError::Client(error)) if error.is_transient() => {
                    add(&self.counters.retries, 1);
                    sleep(RETRY).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let hand_back = self.stop.child_token();
            let ended = tokio::select! {
                ended = self.attempt(&claim, &hand_back) => ended?,
                () = self.keep_alive(registered.worker, &claim, heartbeat, &hand_back) => Ended::Lost,
            };
            match ended {
                Ended::Succeeded => add(&self.counters.runs, 1),
                Ended::Lost => add(&self.counters.lost_leases, 1),
                Ended::Stopped => {}
            }
        }
        Ok(())
    }

    /// Heartbeats until the run is no longer the worker's. Each waits for what may be asked, as those of workers do.
    async fn keep_alive(&self, worker: WorkerId, claim: &Claim, every: u32, hand_back: &CancellationToken) {
        let every_seconds = Duration::from_secs(every.into());
        loop {
            let begun = Instant::now();
            let lease = HeldLease {
                attempt: claim.attempt,
                token: claim.token,
            };
            let heartbeat = Heartbeat {
                worker,
                leases: vec![lease],
                wait_seconds: every,
            };
            let mut pause = every_seconds;
            match self.client.heartbeat(&heartbeat).await {
                Ok(answer) => {
                    add(&self.counters.heartbeats, 1);
                    match answer.leases.first().map(|lease| lease.verdict) {
                        Some(Verdict::Continue) => {}
                        Some(Verdict::Pause) => hand_back.cancel(),
                        Some(Verdict::Cancelled | Verdict::Lost) | None => return,
                    }
                    pause = RETRY;
                }
                // The coordinator is away: the attempt goes on, and notices itself if it must not.
                Err(_) => add(&self.counters.retries, 1),
            }
            sleep(every_seconds.saturating_sub(begun.elapsed()).min(pause)).await;
        }
    }

    /// Pretends to train, from the checkpoint on if there is one.
    async fn attempt(&self, claim: &Claim, hand_back: &CancellationToken) -> Result<Ended, CliError> {
        let mut step = claim.resume.as_ref().map_or(0, |resume| resume.next_batch);
        let mut sequence = 0;
        let mut log = pretend::Log::of(claim);
        log.say(format!("pretends to train from batch {step}"));
        let every = Duration::from_millis(self.arguments.every);
        let steps_each = ((self.arguments.speed * every.as_secs_f64()).round() as u64).clamp(1, 5000);
        let mut clock = interval(every);
        while step < self.arguments.batches {
            tokio::select! {
                _ = clock.tick() => {}
                () = hand_back.cancelled() => {
                    // What follows the newest checkpoint is pretended again.
                    // A coordinator that is away hears of it by the lease.
                    let _ = self.fleet.finish(claim, sequence, Outcome::Released).await;
                    return Ok(Ended::Stopped);
                }
            }
            let end = (step + steps_each).min(self.arguments.batches);
            let batch = pretend::batch(claim, sequence, 10, step..end);
            match self.insist(async || self.client.send_metrics(&batch).await).await {
                Ok(Some(accepted)) => sequence = accepted.next_sequence,
                Ok(None) => continue,
                Err(error) => return lost(error),
            }
            add(&self.counters.points, (end - step) * 10);
            self.bar.inc(end - step);
            step = end;
            if sequence % CHECKPOINT_EVERY == 0 || step == self.arguments.batches {
                match self.checkpoint(claim, sequence, step).await {
                    Ok(Some(())) => add(&self.counters.checkpoints, 1),
                    Ok(None) => continue,
                    Err(error) => return lost(error),
                }
                log.say(format!("pretends to keep a checkpoint after {step} batches"));
                match self.insist(async || log.send(self.client).await).await {
                    Ok(sent) => add(&self.counters.log_lines, sent.unwrap_or(0)),
                    Err(error) => return lost(error),
                }
                log.forget();
            }
        }
        let finish = self.insist(async || self.fleet.finish(claim, sequence, Outcome::Succeeded).await);
        match finish.await {
            Ok(Some(())) => Ok(Ended::Succeeded),
            Ok(None) => Ok(Ended::Stopped),
            Err(error) => lost(error),
        }
    }

    async fn checkpoint(
        &self,
        claim: &Claim,
        sequence: u64,
        next_batch: u64,
    ) -> Result<Option<()>, ClientError> {
        let head = format!("{} {next_batch} ", claim.run);
        let content: Vec<u8> = head.bytes().cycle().take(CHECKPOINT_BYTES).collect();
        let upload = UploadCheckpoint {
            attempt: claim.attempt,
            token: claim.token,
            kind: CheckpointKind::Last,
            next_batch,
            metrics_sequence: sequence,
            sha256: format!("{:x}", Sha256::digest(&content)),
            size_bytes: content.len() as u64,
            validation: None,
        };
        self.insist(async || self.client.upload_checkpoint_body(&upload, content.clone()).await)
            .await
    }

    /// Calls until there is an answer; `None` when the simulation ends first.
    async fn insist<T>(
        &self,
        call: impl AsyncFn() -> Result<T, ClientError>,
    ) -> Result<Option<T>, ClientError> {
        loop {
            match call().await {
                Err(error) if error.is_transient() => add(&self.counters.retries, 1),
                answer => return answer.map(Some),
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                () = self.stop.cancelled() => return Ok(None),
            }
        }
    }

    fn account(&self, elapsed: Duration) -> Account {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Account {
            seconds: elapsed.as_secs_f64(),
            runs: count(&self.counters.runs),
            points: count(&self.counters.points),
            checkpoints: count(&self.counters.checkpoints),
            heartbeats: count(&self.counters.heartbeats),
            retries: count(&self.counters.retries),
            lost_leases: count(&self.counters.lost_leases),
            log_lines: count(&self.counters.log_lines),
        }
    }
}

fn lost(error: ClientError) -> Result<Ended, CliError> {
    if error.code() == Some("stale_lease") {
        Ok(Ended::Lost)
    } else {
        Err(error.into())
    }
}

fn table(out: &Output, account: &Account) -> String {
    let columns = [
        right("seconds"),
        right("runs"),
        right("points"),
        right("points/s"),
        right("checkpoints"),
        right("heartbeats"),
        right("retries"),
        right("lost leases"),
        right("log lines"),
    ];
    let row = vec![
        Cell::new(format!("{:.1}", account.seconds)),
        Cell::new(account.runs),
        Cell::new(account.points),
        Cell::new(format!("{:.0}", account.points as f64 / account.seconds)),
        Cell::new(account.checkpoints),
        Cell::new(account.heartbeats),
        Cell::new(account.retries),
        Cell::new(account.lost_leases),
        Cell::new(account.log_lines),
    ];
    out.table(&columns, vec![row])
}
