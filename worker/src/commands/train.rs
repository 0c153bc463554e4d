//! `motif-worker train`: one experiment of any kind without a coordinator.

use std::io::IsTerminal;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use motif_motor::device::Device;
use motif_motor::engine::Engine as EpisodeEngine;
use motif_motor::evaluation::Evaluation;
use motif_motor::training::BatchReport;
use motif_proto::run::Failure;
use motif_proto::spec::{ExperimentKind, ExperimentSpec};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::commands::progress;
use crate::driver::{self, Ended, Recorder, State, Stop, drive};
use crate::engine::{Engine, Motor, failure_of_panic};
use crate::local::{Folder, FolderError};
use crate::spec::device;
use crate::spec_file::{LocalSpec, SpecError, read_file};
use crate::table;

/// Carry out one experiment without a coordinator, into a folder. Started again, it goes on where it stopped.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The spec, TOML or JSON
    #[arg(long, value_name = "FILE")]
    spec: PathBuf,
    /// Folder for hp.json, losses.txt, test_losses.txt and checkpoints; for an evaluation its table
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What a continue, transfer or evaluate starts from, in place of the spec's base: a run's folder, a
    /// .safetensors checkpoint or a .pth file. A preset's base is looked for beside DIR when none is named
    #[arg(long, value_name = "PATH")]
    base: Option<PathBuf>,
    /// cpu, cuda or cuda:N; the spec's when not given
    #[arg(long)]
    device: Option<Device>,
    /// Program that runs the episodes, where it covers the network: fused or reference
    #[arg(long, default_value = "fused")]
    engine: EpisodeEngine,
    /// Threads within an episode; they change no result
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// One JSON object a line instead of progress for people
    #[arg(long)]
    json: bool,
}

/// Runs `train`.
///
/// # Errors
/// When the spec, the folder or the device cannot be used, or the training fails.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let beside = arguments.out.parent();
    let LocalSpec { spec, base } = match read_file(&arguments.spec, arguments.base.as_deref(), beside) {
        Ok(local) => local,
        Err(error) => {
            print_problems(&error);
            return Err(error.into());
        }
    };
    let stop = stop_on_signals().context("cannot listen for signals")?;
    let engine = Motor::new(arguments.device.unwrap_or_else(|| device(&spec)))?
        .with_episodes_by(arguments.engine)
        .with_threads(arguments.threads);
    let (folder, checkpoint) = Folder::open(&arguments.out, &spec, base.as_ref(), arguments.engine)?;
    let base = base.map(|base| base.checkpoint.to_bytes()).transpose()?;
    // libtorch reports from within an operation by panicking; it becomes one sentence below.
    std::panic::set_hook(Box::new(|_| {}));
    let trained = catch_unwind(AssertUnwindSafe(|| {
        let mut training = engine.open(&spec, base.as_deref(), checkpoint.as_deref())?;
        let telling = Telling::begin(arguments.json, &spec, training.next_batch());
        let mut recorder = Recording { folder, telling };
        let ended = drive(training.as_mut(), &stop, None, &mut recorder)?;
        recorder.telling.end(ended, training.next_batch());
        Ok(())
    }));
    drop(std::panic::take_hook());
    let trained: Result<(), driver::Error<FolderError>> = match trained {
        Ok(trained) => trained,
        Err(panic) => Err(failure_of_panic(panic.as_ref()).into()),
    };
    match trained {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(driver::Error::Recording(error)) => Err(error.into()),
        Err(driver::Error::Training(Failure { class, message })) => {
            anyhow::bail!("the training failed ({}): {message}", class.as_str())
        }
    }
}

fn print_problems(error: &SpecError) {
    let SpecError::Fields { problems, .. } = error else {
        return;
    };
    for problem in problems {
        let field = match problem.pointer.as_str() {
            "" => "the spec",
            pointer => pointer,
        };
        eprintln!("{field}: {}", problem.detail);
        if let Some(allowed) = &problem.allowed {
            eprintln!("    allowed: {allowed}");
        }
    }
}

/// The first signal asks for a checkpoint, the second ends the process at once.
fn stop_on_signals() -> std::io::Result<Stop> {
    let stop = Stop::default();
    let asked_before = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, asked_before.clone())?;
        signal_hook::flag::register(signal, asked_before.clone())?;
    }
    let asking = stop.clone();
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                asking.hand_back();
            }
        })?;
    Ok(stop)
}

/// Writes the folder and tells whoever watches.
struct Recording {
    folder: Folder,
    telling: Telling,
}

impl Recorder for Recording {
    type Error = FolderError;

    fn batch(&mut self, report: &BatchReport, batches_per_second: f64) -> Result<(), FolderError> {
        self.folder.batch(report, batches_per_second)?;
        self.telling.batch(report, batches_per_second);
        Ok(())
    }

    fn evaluating(&mut self, done: f64) {
        self.telling.evaluating(done);
    }

    fn evaluation(&mut self, evaluation: &Evaluation) -> Result<(), FolderError> {
        self.folder.evaluation(evaluation)?;
        self.telling.evaluation(evaluation);
        Ok(())
    }

    fn checkpoint(&mut self, state: State) -> Result<(), FolderError> {
        self.folder.checkpoint(state)
    }

    fn artifact(&mut self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        self.folder.artifact(name, bytes)
    }
}

/// How progress is told.
enum Telling {
    /// A bar on a terminal.
    Bar(ProgressBar),
    /// A line every hundred batches and every evaluation.
    Lines { total: u64, losses: Vec<f64> },
    /// A JSON object for everything.
    Json,
    /// A table, when the evaluation of a network that is not trained is done; until then a bar on a terminal.
    Table(ProgressBar),
}

/// Batches that a line is about.
const LINE_EVERY: usize = 100;

impl Telling {
    fn begin(json: bool, spec: &ExperimentSpec, first_batch: u64) -> Self {
        let total = spec.training.as_ref().map_or(0, |training| training.batches);
        if json {
            println!(
                "{}",
                json!({ "event": "begin", "name": spec.name, "first_batch": first_batch, "batches": total })
            );
            return Self::Json;
        }
        if spec.kind == ExperimentKind::Evaluate {
            return Self::Table(progress::of_whole("evaluating"));
        }
        if first_batch > 0 {
            eprintln!("going on with batch {first_batch} of {total}");
        }
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(total).with_position(first_batch);
            let style = ProgressStyle::with_template(
                "{bar:32} {pos}/{len} batches, {elapsed} gone, {eta} to go  {msg}",
            )
            .unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style);
            bar.reset_eta();
            return Self::Bar(bar);
        }
        Self::Lines {
            total,
            losses: Vec::with_capacity(LINE_EVERY),
        }
    }

    fn batch(&mut self, report: &BatchReport, batches_per_second: f64) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(report.batch + 1);
                bar.set_message(format!(
                    "loss {:.4}, {batches_per_second:.1} batches/s",
                    report.losses.total
                ));
            }
            Self::Lines { total, losses } => {
                losses.push(report.losses.total);
                if losses.len() == LINE_EVERY {
                    let mean = losses.iter().sum::<f64>() / LINE_EVERY as f64;
                    println!(
                        "batch {}/{total}: mean loss of the last {LINE_EVERY} {mean:.6}, {batches_per_second:.1} batches/s",
                        report.batch + 1
                    );
                    losses.clear();
                }
            }
            Self::Table(_) => {}
            Self::Json => println!(
                "{}",
                json!({ "event": "batch", "batch": report.batch, "task": report.conditions.task.name(),
                        "losses": report.losses, "grad_norm": report.grad_norm,
                        "batches_per_second": batches_per_second })
            ),
        }
    }

    fn evaluating(&mut self, done: f64) {
        match self {
            Self::Bar(bar) => progress::say(bar, &format!("evaluating, {:.0} %", 100.0 * done)),
            Self::Table(bar) => progress::set(bar, done),
            Self::Lines { .. } | Self::Json => {}
        }
    }

    fn evaluation(&mut self, evaluation: &Evaluation) {
        let best = if evaluation.is_best {
            ", the best so far"
        } else {
            ""
        };
        let line = format!(
            "evaluation after batch {}: {:.6} m{best}",
            evaluation.batch, evaluation.total
        );
        match self {
            Self::Bar(bar) => bar.println(line),
            Self::Lines { .. } => println!("{line}"),
            Self::Table(bar) => {
                bar.finish_and_clear();
                print!("{}", table::for_people(evaluation));
            }
            Self::Json => {
                let tasks: serde_json::Map<_, _> = evaluation
                    .per_task
                    .iter()
                    .map(|(task, score)| (task.name().to_owned(), json!(score)))
                    .collect();
                println!(
                    "{}",
                    json!({ "event": "evaluation", "batch": evaluation.batch, "total": evaluation.total,
                            "tasks": tasks, "is_best": evaluation.is_best })
                );
            }
        }
    }

    fn end(&self, ended: Ended, next_batch: u64) {
        let finished = ended == Ended::Finished;
        let line = if finished {
            format!("done: {next_batch} batches")
        } else {
            format!("stopped before batch {next_batch}; start again to go on")
        };
        match self {
            Self::Bar(bar) => {
                bar.abandon();
                eprintln!("{line}");
            }
            Self::Lines { .. } => println!("{line}"),
            Self::Table(_) if finished => {}
            Self::Table(bar) => {
                bar.finish_and_clear();
                eprintln!("stopped before the evaluation was done");
            }
            Self::Json => println!(
                "{}",
                json!({ "event": "end", "finished": finished, "next_batch": next_batch })
            ),
        }
    }
}
