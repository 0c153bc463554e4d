//! Arguments, one command, and its exit code: 0, or 1 after one plain sentence.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use motif_worker::commands::{bench, export, golden, import, run, stitch, train, verify};

/// Trains networks that control a muscle-driven arm.
#[derive(Parser)]
#[command(name = "motif-worker", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Arguments),
    Train(train::Arguments),
    Stitch(stitch::Arguments),
    Verify(verify::Arguments),
    Import(import::Arguments),
    Export(export::Arguments),
    Golden(golden::Arguments),
    #[command(subcommand)]
    Bench(bench::Command),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(arguments) => run::run(arguments),
        Command::Train(arguments) => train::run(&arguments),
        Command::Stitch(arguments) => stitch::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Golden(arguments) => golden::run(&arguments),
        Command::Bench(command) => command.run(),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("motif-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}
