//! Trainings side by side, each on a thread of its own, as a worker's slots are: what a device gets done in all.

use std::sync::Barrier;
use std::time::Instant;

use serde::Serialize;

use super::BenchOptions;
use crate::config::{TrainingConfig, check};
use crate::device::Numerics;
use crate::error::Error;
use crate::policy::{Activation, NetworkConfig};
use crate::training::Trainer;

/// What the runs did together.
#[derive(Clone, Debug, Serialize)]
pub struct PackedReport {
    pub hidden: usize,
    pub batch: usize,
    pub device: String,
    pub engine: String,
    pub runs: usize,
    /// Timed batches of each run, of the ten tasks at all speeds and delays.
    pub n: usize,
    pub wall_s: f64,
    pub batches_per_s: f64,
    /// Mean time of a batch as its run sees it.
    pub batch_ms: f64,
    /// Time of 75,000 batches of every run at this rate, without evaluations.
    pub hours_of_75000: f64,
}

/// Times `runs` trainings of the base tasks, with seeds one after the other.
///
/// # Errors
/// [`Error::InvalidConfig`] for impossible options, [`Error::Device`], [`Error::Card`].
pub fn packed(options: &BenchOptions, runs: usize) -> Result<PackedReport, Error> {
    check("runs", (1..=1024).contains(&runs), "must be 1 to 1024")?;
    check("n", options.n > 0, "must be at least 1")?;
    let numerics = Numerics::new(options.precision, options.device)?
        .with_threads(options.threads)
        .with_rows_per_block(options.rows_per_block);
    let begin = Barrier::new(runs);
    let timed: Vec<Result<(Instant, Instant), Error>> = std::thread::scope(|scope| {
        let of_run = |run: usize| {
            let begin = &begin;
            scope.spawn(move || {
                let mut trainer = built(options, run, numerics);
                // Everyone gets here, also who failed.
                begin.wait();
                let trainer = trainer
                    .as_mut()
                    .map_err(|error| std::mem::replace(error, Error::Interrupted))?;
                let started = Instant::now();
                for _ in 0..options.n {
                    trainer.train_batch()?;
                }
                Ok((started, Instant::now()))
            })
        };
        let threads: Vec<_> = (0..runs).map(of_run).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });
    let timed: Vec<(Instant, Instant)> = timed.into_iter().collect::<Result<_, _>>()?;
    let seconds = |from: Instant, to: Instant| (to - from).as_secs_f64();
    let first = timed.iter().map(|(started, _)| *started).min();
    let last = timed.iter().map(|(_, ended)| *ended).max();
    let wall_s = first.zip(last).map_or(0.0, |(first, last)| seconds(first, last));
    let in_runs: f64 = timed
        .iter()
        .map(|(started, ended)| seconds(*started, *ended))
        .sum();
    let batches_per_s = (runs * options.n) as f64 / wall_s;
    Ok(PackedReport {
        hidden: options.hidden,
        batch: options.batch,
        device: options.device.to_string(),
        engine: options.engine.to_string(),
        runs,
        n: options.n,
        wall_s,
        batches_per_s,
        batch_ms: 1e3 * in_runs / (runs * options.n) as f64,
        hours_of_75000: 75_000.0 * runs as f64 / batches_per_s / 3600.0,
    })
}

/// A training past its first batches.
fn built(options: &BenchOptions, run: usize, numerics: Numerics) -> Result<Trainer, Error> {
    let config = TrainingConfig {
        network: NetworkConfig::leaky(options.hidden, Activation::Softplus),
        batch_size: options.batch,
        seed: options.seed + run as u64,
        engine: options.engine,
        ..TrainingConfig::default()
    };
    let mut trainer = Trainer::new(config, numerics)?;
    for _ in 0..options.warmup {
        trainer.train_batch()?;
    }
    Ok(trainer)
}
