//! How long a training batch takes, measured as the PyTorch peer's benchmark does; the products in it alone; and an
//! evaluation; trainings side by side.

mod evaluation;
mod packed;
mod products;

use std::time::Instant;

use serde::Serialize;

pub use self::evaluation::{EvaluationReport, evaluation};
pub use self::packed::{PackedReport, packed};
pub use self::products::{ProductsReport, products};

use crate::config::{TrainingConfig, check};
use crate::device::{Device, Numerics, Precision, set_intra_op_threads};
use crate::engine::{Engine, NoiseSource};
use crate::environment::Episode;
use crate::error::Error;
use crate::learner::Learner;
use crate::policy::{Activation, NetworkConfig, Policy};
use crate::random::{Purpose, Stream};
use crate::tasks::{HOLD_STEPS, Mode, STABLE_STEPS, Task, Trial, TrialConditions};

#[derive(Clone, Debug)]
pub struct BenchOptions {
    pub network: BenchNetwork,
    pub hidden: usize,
    pub batch: usize,
    /// Steps of an episode, at least 102; the movement takes `steps − 100`.
    pub steps: usize,
    pub threads: usize,
    pub device: Device,
    pub precision: Precision,
    pub engine: Engine,
    /// Timed batches.
    pub n: usize,
    pub warmup: usize,
    pub seed: u64,
    /// Rows of a block on a card; `None` for what trainings have.
    pub rows_per_block: Option<usize>,
}

/// The kind of network that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BenchNetwork {
    /// Leaky softplus units.
    Rnn,
    /// Gated units.
    Gru,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self {
            network: BenchNetwork::Rnn,
            hidden: 256,
            batch: 32,
            steps: 200,
            threads: 1,
            device: Device::Cpu,
            precision: Precision::F32,
            engine: Engine::Fused,
            n: 20,
            warmup: 1,
            seed: 0,
            rows_per_block: None,
        }
    }
}

/// Medians over the timed batches.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    pub network: BenchNetwork,
    pub hidden: usize,
    pub batch: usize,
    pub steps: usize,
    pub threads: usize,
    pub device: String,
    pub engine: String,
    pub n: usize,
    /// The roll-out.
    pub forward_ms: f64,
    /// Losses, backward pass, clipping, Adam.
    pub backward_ms: f64,
    pub total_ms: f64,
    /// Drawing and building the trials.
    pub setup_ms: f64,
    pub wall_ms: f64,
    /// batch × steps / total.
    pub env_steps_per_s: f64,
    pub last_loss: f64,
}

/// Times training batches of half reaches: one roll-out with noise and one update each, as in training.
///
/// # Errors
/// [`Error::InvalidConfig`] for impossible options, [`Error::Device`].
pub fn train(options: &BenchOptions) -> Result<BenchReport, Error> {
    let config = TrainingConfig {
        network: match options.network {
            BenchNetwork::Rnn => NetworkConfig::leaky(options.hidden, Activation::Softplus),
            BenchNetwork::Gru => NetworkConfig::gru(options.hidden),
        },
        batch_size: options.batch,
        seed: options.seed,
        ..TrainingConfig::default()
    };
    config.validate()?;
    check(
        "steps",
        (MIN_STEPS..=MAX_STEPS).contains(&options.steps),
        "must be 102 to 10000",
    )?;
    check("n", options.n > 0, "must be at least 1")?;
    let config = TrainingConfig {
        engine: options.engine,
        ..config
    };
    let numerics = Numerics::new(options.precision, options.device)?
        .with_threads(options.threads)
        .with_rows_per_block(options.rows_per_block)
        .for_training(&config)?;
    // The fused engine has threads of its own.
    set_intra_op_threads(match options.engine {
        Engine::Reference => options.threads,
        Engine::Fused => 1,
    });
    let policy = Policy::new(&config.network, config.seed, numerics);
    let mut learner = Learner::new(
        policy,
        config.learning_rate,
        config.loss_weights,
        config.clip,
        numerics,
    )
    .with_engine(options.engine)?;
    let mut timings = Vec::with_capacity(options.n);
    for batch in 0..options.warmup + options.n {
        let timing = time_batch(&mut learner, options, batch as u64)?;
        if batch >= options.warmup {
            timings.push(timing);
        }
    }
    Ok(report(options, learner.engine(), &timings))
}

/// Stable, delay and hold of the benchmark's trials.
const RESTING_STEPS: usize = STABLE_STEPS + DELAY + HOLD_STEPS;
const DELAY: usize = 50;
const MIN_STEPS: usize = RESTING_STEPS + 2;
const MAX_STEPS: usize = 10_000;

/// Seconds of the parts of one batch, and its loss.
struct Timing {
    setup: f64,
    forward: f64,
    backward: f64,
    loss: f64,
}

fn time_batch(learner: &mut Learner, options: &BenchOptions, batch: u64) -> Result<Timing, Error> {
    let numerics = learner.numerics;
    let now = |learner: &Learner| learner.wait().map(|()| Instant::now());
    let begin = now(learner)?;
    let trial = half_reach(options, batch);
    let episode = Episode::new(std::slice::from_ref(&trial), numerics);
    let noise = NoiseSource::training(options.seed, batch, trial.rows());
    let ready = now(learner)?;
    let played = learner.roll_out(&episode, Some(&noise));
    let rolled_out = now(learner)?;
    let learnt = learner.learn(&played, &episode.goal);
    let learnt_at = now(learner)?;
    let (losses, _) = learnt.map_err(|error| Error::of_batch(error, batch, trial.conditions))?;
    Ok(Timing {
        setup: (ready - begin).as_secs_f64(),
        forward: (rolled_out - ready).as_secs_f64(),
        backward: (learnt_at - rolled_out).as_secs_f64(),
        loss: losses.total,
    })
}

fn half_reach(options: &BenchOptions, batch: u64) -> Trial {
    let mode = Mode::Train;
    let stream = Stream {
        seed: options.seed,
        purpose: Purpose::Directions,
        batch,
        step: 0,
    };
    let directions = (0..options.batch as u32)
        .map(|trial| stream.index(trial, mode.directions()))
        .collect();
    let conditions = TrialConditions {
        task: Task::DlyHalfReach,
        mode,
        speed: 0,
        delay_steps: DELAY,
        directions,
        backward_directions: None,
    };
    Trial::with_movement(conditions, options.steps - RESTING_STEPS)
        .unwrap_or_else(|error| unreachable!("directions are drawn from those there are: {error}"))
}

fn report(options: &BenchOptions, engine: Engine, timings: &[Timing]) -> BenchReport {
    let median_ms = |part: fn(&Timing) -> f64| median_ms(timings.iter().map(part).collect());
    let total_ms = median_ms(|timing| timing.forward + timing.backward);
    BenchReport {
        network: options.network,
        hidden: options.hidden,
        batch: options.batch,
        steps: options.steps,
        threads: options.threads,
        device: options.device.to_string(),
        // Where the one asked for does not cover the network, another ran.
        engine: engine.to_string(),
        n: options.n,
        forward_ms: median_ms(|timing| timing.forward),
        backward_ms: median_ms(|timing| timing.backward),
        total_ms,
        setup_ms: median_ms(|timing| timing.setup),
        wall_ms: median_ms(|timing| timing.setup + timing.forward + timing.backward),
        env_steps_per_s: 1e3 * (options.batch * options.steps) as f64 / total_ms,
        last_loss: timings.last().map_or(0.0, |timing| timing.loss),
    }
}

/// Median of some seconds, in milliseconds.
fn median_ms(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    let middle = seconds.len() / 2;
    let median = match seconds.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => seconds[middle],
        _ => (seconds[middle - 1] + seconds[middle]) / 2.0,
    };
    1e3 * median
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_benchmark_reports_what_it_was_asked_for() {
        for network in [BenchNetwork::Rnn, BenchNetwork::Gru] {
            let options = BenchOptions {
                network,
                hidden: 8,
                batch: 3,
                steps: 104,
                n: 2,
                ..BenchOptions::default()
            };
            let report = train(&options).expect("runs");
            assert_eq!(
                (report.hidden, report.batch, report.steps, report.n),
                (8, 3, 104, 2)
            );
            assert_eq!((report.network, report.engine.as_str()), (network, "fused"));
            assert!(report.last_loss.is_finite() && report.last_loss > 0.0);
            assert!(report.wall_ms >= report.total_ms && report.total_ms > 0.0);
        }
    }

    #[test]
    fn trainings_side_by_side_are_timed_together() {
        let options = BenchOptions {
            hidden: 8,
            batch: 2,
            n: 2,
            ..BenchOptions::default()
        };
        let report = packed(&options, 3).expect("runs");
        assert_eq!((report.runs, report.n), (3, 2));
        assert!((report.batches_per_s * report.wall_s - 6.0).abs() < 1e-9);
        assert!(matches!(packed(&options, 0), Err(Error::InvalidConfig { .. })));
    }

    #[test]
    fn an_evaluation_and_the_products_are_timed_whole() {
        let report = evaluation(4, 2, Engine::Fused, Device::Cpu, 1).expect("runs");
        assert_eq!(report.conditions, 100);
        assert!(report.trial_steps > 100 * 32 * 125 && report.total_ms > 0.0);
        let report = products(16, 2, 3, 1, 2).expect("runs");
        let expected = 2e-9 * (6 * 16) as f64 * (44 + 22 + 44) as f64;
        assert!((report.gflop - expected).abs() < 1e-12);
        assert!(report.calls_ms > 0.0 && report.floor_ms > 0.0);
    }

    #[test]
    fn impossible_options_are_refused() {
        for options in [
            BenchOptions {
                steps: 101,
                ..BenchOptions::default()
            },
            BenchOptions {
                hidden: 0,
                ..BenchOptions::default()
            },
            BenchOptions {
                batch: 0,
                ..BenchOptions::default()
            },
            BenchOptions {
                n: 0,
                ..BenchOptions::default()
            },
        ] {
            assert!(
                matches!(train(&options), Err(Error::InvalidConfig { .. })),
                "{options:?}"
            );
        }
    }
}
