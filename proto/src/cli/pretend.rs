//! What benches and simulations have in common: runs that only pretend workers take, workers that take them, and
//! curves that look like losses.
//!
//! Such a run asks for a label that only the fleet that submitted it has, and goes before all others, so that
//! real workers leave it alone. A fleet that gets a run of somebody else hands it back and gives up: pretend
//! workers must not touch what people wait for.

use std::collections::{BTreeMap, HashSet};

use chrono::Utc;
use futures::StreamExt;
use serde_json::json;

use super::CliError;
use crate::canary::CanaryReport;
use crate::client::{Client, ClientError};
use crate::id::{RunId, WorkerId};
use crate::log::{LogBatch, LogLevel, LogLine};
use crate::metrics::{Measured, MetricsBatch, SeriesPoints, series};
use crate::worker::{
    Claim, ClaimRequest, DeviceKind, FinishAttempt, MAX_CLAIM_WAIT_SECONDS, Outcome, RegisterWorker,
    WorkerRegistered,
};

/// The label that ties runs and workers of a fleet together.
const LABEL: &str = "pretend-fleet";
/// The highest that a spec can ask for.
pub(super) const PRIORITY: i32 = 1000;
/// Submissions at a time.
const SUBMISSIONS: usize = 16;

/// Longest wait for a run that was just submitted.
const CLAIM_SECONDS: u32 = 10;

/// The series of a training run, as its worker sends them.
const SERIES: [&str; 10] = [
    series::LOSS_TOTAL,
    series::LOSS_POSITION,
    series::LOSS_RATE,
    series::LOSS_WEIGHT,
    series::LOSS_MUSCLE,
    series::LOSS_DYNAMICS,
    series::GRAD_NORM,
    series::BATCHES_PER_SECOND,
    "pretend/first",
    "pretend/second",
];

/// Runs and workers that belong together.
#[derive(Clone, Debug)]
pub(super) struct Fleet {
    client: Client,
    labels: BTreeMap<String, String>,
    runs: HashSet<RunId>,
}

impl Fleet {
    /// Submits `count` runs of so many batches, with seeds from `seed` on.
    pub(super) async fn submit(
        client: &Client,
        purpose: &str,
        count: usize,
        batches: u64,
        seed: u64,
    ) -> Result<Self, CliError> {
        let mut fleet = Self::new(client);
        match fleet.submit_more(purpose, count, batches, seed, PRIORITY).await {
            Ok(()) => Ok(fleet),
            Err(error) => {
                fleet.cancel().await;
                Err(error)
            }
        }
    }

    /// A fleet without runs.
    pub(super) fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            labels: BTreeMap::from([(LABEL.to_owned(), RunId::new().to_string())]),
            runs: HashSet::new(),
        }
    }

    /// Submits further runs, several at a time. Those submitted before an error belong to the fleet.
    pub(super) async fn submit_more(
        &mut self,
        purpose: &str,
        count: usize,
        batches: u64,
        seed: u64,
        priority: i32,
    ) -> Result<(), CliError> {
        let (client, labels) = (self.client.clone(), self.labels.clone());
        let mut submissions = futures::stream::iter((seed..).take(count))
            .map(|seed| {
                let spec = json!({
                    "preset": "demo",
                    "name": format!("{purpose} {seed}"),
                    "tags": [purpose],
                    "seed": seed,
                    "priority": priority,
                    "training": { "batches": batches },
                    "resources": { "labels": labels },
                });
                let client = client.clone();
                async move { client.submit(&spec).await }
            })
            .buffer_unordered(SUBMISSIONS);
        let mut result = Ok(());
        while let Some(submitted) = submissions.next().await {
            match submitted {
                Ok(accepted) => {
                    self.runs.insert(accepted.run.id);
                }
                Err(error) => {
                    result = Err(error.into());
                    break;
                }
            }
        }
        result
    }

    pub(super) fn runs(&self) -> &HashSet<RunId> {
        &self.runs
    }

    /// Registers a worker that can take the fleet's runs.
    pub(super) async fn register(&self, number: usize) -> Result<WorkerRegistered, ClientError> {
        let worker = RegisterWorker {
            name: format!("pretend-{number}"),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device: DeviceKind::Cpu,
            device_name: "pretended".to_owned(),
            slots: 1,
            memory_bytes: None,
            labels: self.labels.clone(),
            canary: Some(CanaryReport::expected()),
        };
        self.client.register(&worker).await
    }

    /// Waits for a run of the fleet; `None` when there was none for a while.
    pub(super) async fn claim(&self, worker: WorkerId, wait_seconds: u32) -> Result<Option<Claim>, CliError> {
        let request = ClaimRequest {
            worker,
            free_slots: 1,
            wait_seconds: wait_seconds.min(MAX_CLAIM_WAIT_SECONDS),
        };
        let Some(claim) = self.client.claim(&request).await? else {
            return Ok(None);
        };
        if self.runs.contains(&claim.run) {
            return Ok(Some(claim));
        }
        self.finish(&claim, 0, Outcome::Released).await?;
        Err(CliError::Usage(format!(
            "the coordinator has work of somebody else waiting (run {}); pretend workers need one to themselves",
            claim.run
        )))
    }

    /// Waits for whatever has the fleet's label, also what is only being submitted.
    pub(super) async fn claim_any(&self, worker: WorkerId, wait_seconds: u32) -> Result<Claim, CliError> {
        let request = ClaimRequest {
            worker,
            free_slots: 1,
            wait_seconds,
        };
        let claim = self.client.claim(&request).await?;
        let claim = claim
            .ok_or_else(|| CliError::Failed("a run that was just submitted was not handed out".to_owned()))?;
        if claim.spec.resources.labels == self.labels {
            return Ok(claim);
        }
        self.finish(&claim, 0, Outcome::Released).await?;
        Err(CliError::Usage(
            "the coordinator has work of somebody else waiting; pretend workers need one to themselves"
                .to_owned(),
        ))
    }

    /// A run of the fleet, all of which were just submitted.
    pub(super) async fn claim_now(&self, worker: WorkerId) -> Result<Claim, CliError> {
        let claim = self.claim(worker, CLAIM_SECONDS).await?;
        claim.ok_or_else(|| CliError::Failed("a run that was just submitted was not handed out".to_owned()))
    }

    pub(super) async fn finish(
        &self,
        claim: &Claim,
        metrics_sequence: u64,
        outcome: Outcome,
    ) -> Result<(), ClientError> {
        let finish = FinishAttempt {
            attempt: claim.attempt,
            token: claim.token,
            metrics_sequence,
            outcome,
        };
        self.client.finish(&finish).await
    }

    /// Cancels what has not ended, several at a time; what cannot be cancelled has.
    pub(super) async fn cancel(&self) {
        futures::stream::iter(&self.runs)
            .for_each_concurrent(SUBMISSIONS, async |&run| drop(self.client.cancel(run).await))
            .await;
    }
}

/// A batch with the points of the first `count` series over these steps.
pub(super) fn batch(claim: &Claim, sequence: u64, count: usize, steps: std::ops::Range<u64>) -> MetricsBatch {
    let seed = claim.spec.seed;
    let series = (0..count).map(|i| SeriesPoints {
        name: series_name(i),
        steps: steps.clone().collect(),
        values: steps.clone().map(|step| Measured(value(seed, i, step))).collect(),
    });
    MetricsBatch {
        attempt: claim.attempt,
        token: claim.token,
        sequence,
        series: series.collect(),
    }
}

/// The log of a pretended attempt.
pub(super) struct Log(LogBatch);

impl Log {
    pub(super) fn of(claim: &Claim) -> Self {
        Self(LogBatch {
            attempt: claim.attempt,
            token: claim.token,
            lines: Vec::new(),
        })
    }

    pub(super) fn say(&mut self, message: String) {
        let sequence = self.0.lines.last().map_or(0, |line| line.sequence + 1);
        self.0.lines.push(LogLine {
            sequence,
            time: Utc::now(),
            level: LogLevel::Info,
            target: "motif::simulate".to_owned(),
            message,
            fields: BTreeMap::new(),
        });
    }

    /// Sends what was said, and says how many lines that was. They stay, for another try.
    pub(super) async fn send(&self, client: &Client) -> Result<u64, ClientError> {
        client.send_logs(&self.0).await?;
        Ok(self.0.lines.len() as u64)
    }

    /// Lets go of what was sent, but for the line that numbers go on from.
    pub(super) fn forget(&mut self) {
        let all_but_last = self.0.lines.len().saturating_sub(1);
        self.0.lines.drain(..all_but_last);
    }
}

fn series_name(i: usize) -> String {
    SERIES
        .get(i)
        .map_or_else(|| format!("pretend/{i}"), |name| (*name).to_owned())
}

/// A value that falls with the steps under noise of a tenth, in single precision as a network computes it; the
/// same for the same run, series and step.
#[allow(clippy::cast_precision_loss, reason = "noise needs few bits")]
pub(super) fn value(seed: u64, series: usize, step: u64) -> f64 {
    let mut bits = seed ^ (series as u64) << 48 ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    let noise = ((bits ^ bits >> 31) >> 40) as f32 / (1 << 24) as f32;
    let decay = 1.0 / (1.0 + step as f32 / 500.0);
    f64::from((0.02 + decay) * (0.95 + 0.1 * noise) * (series + 1) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_reproducible_noisy_single_precision_numbers() {
        assert_eq!(value(3, 1, 70), value(3, 1, 70));
        assert_ne!(value(3, 1, 70), value(4, 1, 70));
        for step in 0..1000 {
            let value = value(0, 0, step);
            assert!(value > 0.0 && f64::from(value as f32) == value);
        }
        assert!(value(0, 0, 5000) < value(0, 0, 0) / 2.0);
    }
}
