//! The command `motif`: submit experiments, watch them, take their curves and networks away.
//!
//! One module per command. What they share: `config` (which coordinator), `run_ref` (which run a word names),
//! `word` (which of other things), `confirm` (questions before what cannot be undone), `output` (tables, colours,
//! times), `problem` (errors in words).
//!
//! Results go to the standard output, progress and errors to the standard error. The exit code is 0 for success,
//! 1 for an error and for a watched run that did not succeed, 2 for a wrong command line, 130 after Ctrl-C.

mod audit;
mod bench;
mod config;
mod confirm;
mod delete;
mod download;
mod edit;
mod lineage;
mod list;
mod logs;
mod metrics;
mod output;
mod presets;
mod pretend;
mod problem;
mod pull;
mod queue;
mod run_ref;
mod show;
mod simulate;
mod spec_file;
mod statistics;
mod steer;
mod study;
mod submit;
#[cfg(test)]
mod tests;
mod tokens;
mod watch;
mod webhooks;
mod word;
mod workers;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::client::{Client, ClientError};
use output::Output;
use steer::Wish;

/// Submit Motif experiments, watch them, and take their curves and networks away.
#[derive(Debug, Parser)]
#[command(name = "motif", version, max_term_width = 100)]
struct Arguments {
    /// Address of the coordinator, or of several over one database with commas between
    /// [default: http://127.0.0.1:8080]
    #[arg(
        long,
        global = true,
        env = "MOTIF_SERVER",
        hide_env_values = true,
        value_name = "URL"
    )]
    server: Option<String>,

    /// Token to show to the coordinator
    #[arg(long, global = true, env = "MOTIF_TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Submit an experiment, or a study from a file with several
    Submit(submit::Submit),
    /// List the experiments that have a name
    Presets,
    /// List runs, newest first
    List(list::List),
    /// Show everything about a run
    Show(show::Show),
    /// Watch a run until it ends
    Watch(watch::Watch),
    /// Show what a run came from and what came from it
    Lineage(lineage::LineageOf),
    /// List studies, newest first
    Studies(study::Studies),
    /// Show a study with its experiments, watch it or cancel it
    Study(study::Study),
    /// Show mean and spread of a series over a group of runs
    Stats(statistics::Stats),
    /// Show how two groups of runs differ, seed by seed
    Compare(statistics::Compare),
    /// Print a run's curves
    Metrics(metrics::Metrics),
    /// Print what a run's workers logged
    Logs(logs::Logs),
    /// End runs that have not ended
    Cancel(steer::Runs),
    /// Hold runs back; one that a worker holds leaves a checkpoint first
    Pause(steer::Runs),
    /// Let paused runs go on
    Resume(steer::Runs),
    /// Let runs that failed, were cancelled or were skipped come back
    Retry(steer::Runs),
    /// Change a run's name, tags, notes or priority
    Edit(edit::Edit),
    /// Delete runs and studies that have ended, with their curves, files and logs
    Delete(delete::Delete),
    /// Download a run's network
    Pull(pull::Pull),
    /// List the workers, set them aside, put them back
    Workers(workers::Workers),
    /// Count the runs in each state
    Queue,
    /// List who may do what, make tokens, revoke them
    Tokens(tokens::Tokens),
    /// Show who did what, newest first
    Audit(audit::Audit),
    /// List who is told when runs end, add and remove them, try them
    Webhooks(webhooks::Webhooks),
    /// Measure what the coordinator can take; it should have no other work
    Bench(bench::Bench),
    /// Pretend to be many workers, for load tests; the coordinator should have no other work
    Simulate(simulate::Simulate),
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Something the user gave is wrong; the sentence says what would be right.
    #[error("{0}")]
    Usage(String),
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    #[error("{0}")]
    Failed(String),
}

/// Runs the command that the process was given.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            problem::report(&CliError::Failed(format!("cannot start: {error}")));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(arguments));
    // A read from the terminal cannot be interrupted; nothing that is left over is worth waiting for.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        // Whoever read the output has seen enough, as `head` does.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            problem::report(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode, CliError> {
    let settings = config::Settings::find(arguments.server, arguments.token)?;
    let client = Client::new(&settings.server, settings.token)?;
    run_command(arguments.command, &client, &Output::new(arguments.json)).await
}

async fn run_command(command: Command, client: &Client, out: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::Logs(command) => return command.run(client, out).await,
        Command::Submit(command) => return command.run(client, out).await,
        Command::Watch(command) => return command.run(client, out).await,
        Command::Study(command) => return command.run(client, out).await,
        Command::Simulate(command) => return command.run(client, out).await,
        Command::Bench(command) => command.run(client, out).await?,
        Command::Presets => presets::run(client, out).await?,
        Command::List(command) => command.run(client, out).await?,
        Command::Show(command) => command.run(client, out).await?,
        Command::Lineage(command) => command.run(client, out).await?,
        Command::Studies(command) => command.run(client, out).await?,
        Command::Stats(command) => command.run(client, out).await?,
        Command::Compare(command) => command.run(client, out).await?,
        Command::Metrics(command) => command.run(client, out).await?,
        Command::Cancel(runs) => runs.ask(Wish::Cancel, client, out).await?,
        Command::Pause(runs) => runs.ask(Wish::Pause, client, out).await?,
        Command::Resume(runs) => runs.ask(Wish::Resume, client, out).await?,
        Command::Retry(runs) => runs.ask(Wish::Retry, client, out).await?,
        Command::Edit(command) => command.run(client, out).await?,
        Command::Queue => queue::run(client, out).await?,
        Command::Delete(command) => command.run(client, out).await?,
        Command::Pull(command) => command.run(client, out).await?,
        Command::Workers(command) => command.run(client, out).await?,
        Command::Tokens(command) => command.run(client, out).await?,
        Command::Audit(command) => command.run(client, out).await?,
        Command::Webhooks(command) => command.run(client, out).await?,
    }
    Ok(ExitCode::SUCCESS)
}
