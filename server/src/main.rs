//! The coordinator's program: arguments, logs, and the one sentence that says why it does not run.

use std::process::ExitCode;

use clap::Parser;
use motif_server::config::{Cli, Command};
use motif_server::console::CommandError;
use motif_server::{commands, console, router, serve, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match telemetry::start(cli.log_format, cli.otlp_endpoint.as_deref()) {
        Ok(exporter) => drop(exporter.map(|exporter| tokio::spawn(exporter.run()))),
        Err(error) => {
            eprintln!("motif-server: {error}");
            return ExitCode::FAILURE;
        }
    }
    let result = match cli.command {
        Command::Serve(config) => serve::serve(config).await.map_err(CommandError::from),
        Command::Migrate(database) => serve::migrate(&database).await.map_err(CommandError::from),
        Command::Backup(command) => commands::save(&command).await.map_err(CommandError::from),
        Command::Restore(command) => commands::restore(&command).await.map_err(CommandError::from),
        Command::Check(command) => commands::check(&command).await.map_err(CommandError::from),
        Command::Token(command) => console::token(command).await,
        Command::Openapi => {
            println!("{}", router::openapi_json());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("motif-server: {error}");
            ExitCode::FAILURE
        }
    }
}
