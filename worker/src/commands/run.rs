//! `motif-worker run`: the daemon.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use motif_motor::arm::MUSCLES;
use motif_motor::config::TrainingConfig;
use motif_motor::device::{Device, Precision};
use motif_motor::engine::cuda::{Shape, driver};
use motif_proto::client::Client;
use motif_proto::otlp::{self, Exporter, OtlpError};
use motif_proto::worker::RegisterWorker;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::daemon::{self, Options};
use crate::engine::Motor;
use crate::logs;
use crate::machine;
use crate::outbox::Limits;

/// Carry out runs for a coordinator. SIGTERM: checkpoint, hand runs back, exit 0.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The coordinator's address, such as http://127.0.0.1:8080; of several over one database, with commas between,
    /// the next is asked when one is away
    #[arg(long, env = "MOTIF_SERVER", value_name = "URL")]
    server: String,
    /// A token with the scope `worker`
    #[arg(long, env = "MOTIF_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Runs at once; for a card 1, for processors half their number when not given
    #[arg(long, env = "MOTIF_SLOTS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    slots: Option<u32>,
    /// cpu, cuda or cuda:N
    #[arg(long, env = "MOTIF_DEVICE", default_value = "cpu")]
    device: Device,
    /// Words that specs can ask for
    #[arg(long, env = "MOTIF_LABELS", value_name = "k=v,…", value_delimiter = ',', value_parser = label)]
    labels: Vec<(String, String)>,
    /// Where to keep what is not sent yet
    #[arg(long, env = "MOTIF_WORK_DIR", value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// A name for people; the machine's when not given
    #[arg(long)]
    name: Option<String>,
    /// Let Prometheus read what is measured at this address, such as 127.0.0.1:9101
    #[arg(long, env = "MOTIF_WORKER_METRICS", value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// Send spans to an OpenTelemetry collector at this address (OTLP over HTTP), such as http://127.0.0.1:4318
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// Log JSON objects
    #[arg(long)]
    log_json: bool,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is written key=value".to_owned()),
    }
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// When the address, the device or the work folder cannot be used, or the coordinator refuses the worker.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let exporter = start_logging(arguments.log_json, arguments.otlp_endpoint.as_deref())?;
    let client = Client::new(&arguments.server, arguments.token)?;
    let slots = arguments
        .slots
        .unwrap_or_else(|| machine::default_slots(arguments.device));
    let engine = Arc::new(Motor::new(arguments.device)?.with_slots(slots));
    let device = machine::facts(arguments.device);
    if let Device::Cuda(index) = arguments.device {
        tell_room(index, slots);
    }
    let options = Options {
        about: RegisterWorker {
            name: arguments.name.unwrap_or_else(machine::name),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device: device.kind,
            device_name: device.name,
            slots,
            memory_bytes: device.memory_bytes,
            labels: arguments.labels.into_iter().collect::<BTreeMap<_, _>>(),
            canary: None,
        },
        work_dir: arguments.work_dir.unwrap_or_else(default_work_dir),
        limits: Limits::default(),
        metrics: arguments.metrics,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let worked = runtime.block_on(async {
        let shutdown = asked_to_stop().context("cannot listen for signals")?;
        if let Some(exporter) = exporter {
            tokio::spawn(exporter.run());
        }
        daemon::run(client, engine, options, shutdown)
            .await
            .map_err(anyhow::Error::from)
    });
    // Threads that still train are not waited for: their runs were handed back or their time is up.
    runtime.shutdown_background();
    worked.map(|()| ExitCode::SUCCESS)
}

/// Says how many runs of the family's base network a card has room for.
fn tell_room(index: usize, slots: u32) {
    const UNITS: usize = 256;
    let Ok((free, _)) = driver::memory(index) else {
        return;
    };
    let config = TrainingConfig::default();
    let inputs = config.network.inputs().observations();
    let parameters = UNITS * (UNITS + inputs + 1) + MUSCLES * (UNITS + 1);
    let (rows, steps) = (config.batch_size, config.longest_steps());
    let a_run = Shape::new(UNITS, inputs).memory(Precision::F32, parameters, rows, steps);
    let runs = free / a_run;
    tracing::info!(
        runs,
        free_bytes = free,
        "the card has room for so many runs of {UNITS} units"
    );
    if runs < slots as usize {
        tracing::warn!("that is fewer than the {slots} slots: runs that find no memory fail");
    }
}

/// Ready at the first SIGTERM or Ctrl-C; the second ends the process at once.
fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: runs are checkpointed and handed back; a second signal stops at once");
        tokio::spawn(async move {
            let code = tokio::select! {
                _ = terminate.recv() => 143,
                _ = interrupt.recv() => 130,
            };
            std::process::exit(code);
        });
    })
}

fn default_work_dir() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir);
    cache.join("motif").join("worker")
}

/// Logs to stderr, where `RUST_LOG` chooses what, and for the coordinator. Panics of a training become its failure, and a line here.
fn start_logging(json: bool, otlp_endpoint: Option<&str>) -> Result<Option<Exporter>, OtlpError> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines = if json { lines.json().boxed() } else { lines.boxed() };
    let export =
        otlp_endpoint.map(|endpoint| otlp::export(endpoint, "motif-worker", env!("CARGO_PKG_VERSION")));
    let (spans, exporter) = export.transpose()?.unzip();
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(logs::layer())
        .with(spans)
        .init();
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(
            location,
            "panic: {}",
            panic.payload_as_str().unwrap_or("no words")
        );
    }));
    Ok(exporter)
}
