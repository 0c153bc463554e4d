//! `motif-worker bench`: how long a training batch takes, with the flags and keys of the PyTorch peer's benchmark;
//! the products in it; an evaluation; trainings side by side.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use motif_motor::bench::{BenchNetwork, BenchOptions, BenchReport};
use motif_motor::device::{Device, Precision};
use motif_motor::engine::Engine;

/// Measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    Train(Arguments),
    Evaluate(EvaluateArguments),
    Products(ProductsArguments),
    Packed(PackedArguments),
}

impl Command {
    /// Runs the measurement.
    ///
    /// # Errors
    /// When the options are impossible or the device cannot be used.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        match self {
            Command::Train(arguments) => train(arguments),
            Command::Evaluate(arguments) => evaluate(arguments),
            Command::Products(arguments) => products(arguments),
            Command::Packed(arguments) => packed(arguments),
        }
    }
}

/// Time whole evaluations: ten tasks at ten speeds in 32 directions, with noise.
#[derive(Debug, Args)]
pub struct EvaluateArguments {
    /// Hidden units
    #[arg(long, default_value_t = 256)]
    hidden: usize,
    /// Threads within an episode
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// Timed evaluations
    #[arg(long, default_value_t = 3)]
    n: usize,
    /// Program that runs the episodes: fused or reference
    #[arg(long, default_value = "fused")]
    engine: Engine,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Time the matrix products of a training batch alone, by libtorch: the floor under it.
#[derive(Debug, Args)]
pub struct ProductsArguments {
    /// Hidden units
    #[arg(long, default_value_t = 256)]
    hidden: usize,
    /// Trials in a batch
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Length of an episode
    #[arg(long, default_value_t = 200)]
    steps: usize,
    /// Threads within a product
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Timed repetitions
    #[arg(long, default_value_t = 20)]
    n: usize,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Time trainings side by side, as the slots of a worker run them: the base tasks, without evaluations.
#[derive(Debug, Args)]
pub struct PackedArguments {
    /// Trainings at once, each on a thread of its own
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Hidden units
    #[arg(long, default_value_t = 256)]
    hidden: usize,
    /// Trials in a batch
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Timed batches of each training
    #[arg(long, default_value_t = 20)]
    n: usize,
    /// Batches before the timed ones
    #[arg(long, default_value_t = 2)]
    warmup: usize,
    /// Program that runs the episodes: fused or reference
    #[arg(long, default_value = "fused")]
    engine: Engine,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// Trials that a block of the card's threads has: 16, 8, 4, 2 or 1. No number but time depends on it
    #[arg(long)]
    rows_per_block: Option<usize>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Time training batches of half reaches: roll-out, losses, backward pass, clipping, Adam.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Kind of network: rnn (softplus) or gru
    #[arg(long, value_enum, default_value = "rnn")]
    network: Network,
    /// Hidden units
    #[arg(long, default_value_t = 256)]
    hidden: usize,
    /// Trials in a batch
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Length of an episode, at least 102; the movement takes steps − 100
    #[arg(long, default_value_t = 200)]
    steps: usize,
    /// Threads within an episode
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Timed batches
    #[arg(long, default_value_t = 20)]
    n: usize,
    /// Batches before the timed ones
    #[arg(long, default_value_t = 1)]
    warmup: usize,
    /// Seed of all randomness
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Program that runs the episodes: fused or reference
    #[arg(long, default_value = "fused")]
    engine: Engine,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// f32 or f64
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Trials that a block of the card's threads has: 16, 8, 4, 2 or 1. No number but time depends on it
    #[arg(long)]
    rows_per_block: Option<usize>,
    /// One JSON object, with the keys of the peer's
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Network {
    Rnn,
    Gru,
}

impl Network {
    const fn timed(self) -> BenchNetwork {
        match self {
            Self::Rnn => BenchNetwork::Rnn,
            Self::Gru => BenchNetwork::Gru,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Rnn => "rnn",
            Self::Gru => "gru",
        }
    }
}

fn evaluate(arguments: &EvaluateArguments) -> anyhow::Result<ExitCode> {
    let report = motif_motor::bench::evaluation(
        arguments.hidden,
        arguments.threads,
        arguments.engine,
        arguments.device,
        arguments.n,
    )?;
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!(
            "{} units, {} conditions, {} trial steps, {} engine on {}, threads: {}: {:.0} ms (median of {})",
            report.hidden,
            report.conditions,
            report.trial_steps,
            report.engine,
            report.device,
            report.threads,
            report.total_ms,
            report.n
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn products(arguments: &ProductsArguments) -> anyhow::Result<ExitCode> {
    let report = motif_motor::bench::products(
        arguments.hidden,
        arguments.batch,
        arguments.steps,
        arguments.threads,
        arguments.n,
    )?;
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!(
            "{} units: {:.2} GFLOP a batch; {:.1} ms as calls, {:.1} ms at the {:.0} GFLOP/s of a large product",
            report.hidden, report.gflop, report.calls_ms, report.floor_ms, report.gflop_per_s
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn packed(arguments: &PackedArguments) -> anyhow::Result<ExitCode> {
    let options = BenchOptions {
        hidden: arguments.hidden,
        batch: arguments.batch,
        device: arguments.device,
        engine: arguments.engine,
        n: arguments.n,
        warmup: arguments.warmup,
        rows_per_block: arguments.rows_per_block,
        ..BenchOptions::default()
    };
    let report = motif_motor::bench::packed(&options, arguments.runs)?;
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!(
            "{} units, {} trainings on {}, {} engine: {:.0} batches a second in all, {:.1} ms a batch in each",
            report.hidden, report.runs, report.device, report.engine, report.batches_per_s, report.batch_ms
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn train(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let report = motif_motor::bench::train(&BenchOptions {
        network: arguments.network.timed(),
        hidden: arguments.hidden,
        batch: arguments.batch,
        steps: arguments.steps,
        threads: arguments.threads,
        device: arguments.device,
        precision: arguments.precision,
        engine: arguments.engine,
        n: arguments.n,
        warmup: arguments.warmup,
        seed: arguments.seed,
        rows_per_block: arguments.rows_per_block,
    })?;
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report, arguments.network);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(report: &BenchReport, network: Network) {
    println!(
        "{} with {} units, {} trials of {} steps, {} engine on {}, threads: {}",
        network.name(),
        report.hidden,
        report.batch,
        report.steps,
        report.engine,
        report.device,
        report.threads
    );
    for (part, milliseconds) in [
        ("roll-out", report.forward_ms),
        ("losses, backward pass, update", report.backward_ms),
        ("both", report.total_ms),
        ("set-up of the trials", report.setup_ms),
        ("whole batch", report.wall_ms),
    ] {
        println!("  {part:30} {milliseconds:10.2} ms");
    }
    println!(
        "  {:30} {:10.0}   (medians of {} batches)",
        "environment steps per second", report.env_steps_per_s, report.n
    );
}
