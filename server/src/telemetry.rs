//! Logs: to standard error, for people or as JSON; and the listeners of spans beside them.

use std::io::IsTerminal;

use motif_proto::otlp::{self, Exporter, OtlpError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::config::LogFormat;
use crate::monitoring::queries;

/// What is logged where MOTIF_LOG says nothing.
const DEFAULT_FILTER: &str = "info,sqlx=warn,tower_http=info";

/// Starts logging, and hands over what sends spans to a collector where one is named. A filter that cannot be read
/// gives way to the default.
///
/// # Errors
/// The collector's address is none.
pub fn start(format: LogFormat, collector: Option<&str>) -> Result<Option<Exporter>, OtlpError> {
    let filter = EnvFilter::try_from_env("MOTIF_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let colours = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_ansi(colours).with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let export = collector.map(|address| otlp::export(address, "motif-server", env!("CARGO_PKG_VERSION")));
    let (spans, exporter) = export.transpose()?.unzip();
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(queries::layer())
        .with(spans)
        .init();
    Ok(exporter)
}
