//! Logs: to standard error, for people or as JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// What is logged where MOTIF_LOG says nothing.
const DEFAULT_FILTER: &str = "info,sqlx=warn,tower_http=info";

/// Starts logging. A filter that cannot be read gives way to the default.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env("MOTIF_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_ansi(colours)
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
