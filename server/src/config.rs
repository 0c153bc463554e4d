//! What the coordinator can be told: flags, and `MOTIF_…` in the environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::console::TokenCommand;
use crate::domain::webhook::Private;
use crate::router::Reach;

/// Requests a second of one sender where nothing else is said: far more than a person, a page or a script needs.
pub const DEFAULT_RATE_LIMIT: u32 = 1000;

/// Motif's coordinator.
#[derive(Debug, Parser)]
#[command(name = "motif-server", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How log lines look; what is logged is set by MOTIF_LOG, such as `debug` or `motif_server=trace`.
    #[arg(long, env = "MOTIF_LOG_FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,
    /// Send spans to an OpenTelemetry collector at this address (OTLP over HTTP), such as http://127.0.0.1:4318.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", global = true)]
    pub otlp_endpoint: Option<String>,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the API and the dashboard.
    Serve(Serve),
    /// Bring the database up to date and end.
    Migrate(Database),
    /// Save the database, and with --artifacts the bytes that it names; the coordinator may run meanwhile.
    Backup(Backup),
    /// Restore a backup into an empty database and an artifact store; no coordinator may run.
    Restore(Restore),
    /// Compare what the database names with what the artifact store has.
    Check(Check),
    /// Make, list and revoke tokens, on the database itself.
    Token(TokenCommand),
    /// Print the OpenAPI document.
    Openapi,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where the database is.
#[derive(Clone, Debug, Args)]
pub struct Database {
    /// Directory of the private Postgres and of the artifacts.
    #[arg(long, env = "MOTIF_DATA_DIR", default_value = ".motif", global = true)]
    pub data_dir: PathBuf,
    /// A Postgres to use instead of a private one: postgres://user:password@host/database.
    #[arg(long, env = "MOTIF_DATABASE_URL", hide_env_values = true, global = true)]
    pub database_url: Option<String>,
}

/// Where the bytes are.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// Where checkpoints and artifacts lie: a directory, file:///…, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or
    /// az://CONTAINER/PREFIX; in the data directory where not given. Credentials and a server of one's own come from
    /// the usual variables, such as AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS,
    /// AZURE_STORAGE_ACCOUNT_NAME.
    #[arg(
        id = "place",
        long = "artifacts-url",
        env = "MOTIF_ARTIFACTS",
        value_name = "URL"
    )]
    pub url: Option<String>,
}

impl Place {
    /// The place, in words for [`crate::artifacts::Artifacts::open`].
    #[must_use]
    pub fn or_in(&self, database: &Database) -> String {
        artifacts_place(self.url.as_deref(), database)
    }
}

/// What to save.
#[derive(Clone, Debug, Args)]
pub struct Backup {
    /// A folder that is not there yet.
    pub folder: PathBuf,
    /// Save the bytes of checkpoints and artifacts too, not only their list.
    #[arg(long)]
    pub artifacts: bool,
    /// Where the database is.
    #[command(flatten)]
    pub database: Database,
    /// Where the bytes are.
    #[command(flatten)]
    pub place: Place,
}

/// What to restore, and where.
#[derive(Clone, Debug, Args)]
pub struct Restore {
    /// The folder of a backup.
    pub folder: PathBuf,
    /// Where the database is.
    #[command(flatten)]
    pub database: Database,
    /// Where the bytes are.
    #[command(flatten)]
    pub place: Place,
}

/// What to check.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// Read and hash every byte, not only the lengths.
    #[arg(long)]
    pub content: bool,
    /// Delete bytes that the database knows nothing of.
    #[arg(long)]
    pub repair: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the database is.
    #[command(flatten)]
    pub database: Database,
    /// Where the bytes are.
    #[command(flatten)]
    pub place: Place,
}

/// How to serve.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, env = "MOTIF_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where the database is.
    #[command(flatten)]
    pub database: Database,
    /// Where checkpoints and artifacts lie: a directory, file:///…, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or
    /// az://CONTAINER/PREFIX; in the data directory where not given. Credentials and a server of one's own come from
    /// the usual variables, such as AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS,
    /// AZURE_STORAGE_ACCOUNT_NAME.
    #[arg(long, env = "MOTIF_ARTIFACTS")]
    pub artifacts: Option<String>,
    /// How long a worker may be silent before its runs go to others.
    #[arg(long, env = "MOTIF_LEASE_SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(2..=3600))]
    pub lease_seconds: u32,
    /// Requests a second that one person or address may make, in the long run; 0 sets no limit. What workers send in
    /// the service of runs is not counted.
    #[arg(long, env = "MOTIF_RATE_LIMIT", default_value_t = DEFAULT_RATE_LIMIT)]
    pub rate_limit: u32,
    /// How many days log lines of runs are kept.
    #[arg(long, env = "MOTIF_LOG_RETENTION_DAYS", default_value_t = 90,
          value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub log_retention_days: u32,
    /// Who has to show a token. `auto`: everybody, unless the address is this machine's own and the database the
    /// private one; then programs of this machine need none. `tokens`: everybody; say so behind a proxy that runs on
    /// this machine.
    #[arg(long, env = "MOTIF_AUTH", default_value = "auto")]
    pub auth: Auth,
    /// Let webhooks reach addresses of this machine and of private networks.
    #[arg(long, env = "MOTIF_WEBHOOKS_PRIVATE")]
    pub webhooks_private: bool,
}

/// Who has to show a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// Everybody, unless only this machine can reach a coordinator with a private database.
    Auto,
    /// Everybody.
    Tokens,
}

impl Serve {
    /// Whom it answers, and whether they need tokens.
    #[must_use]
    pub fn reach(&self) -> Reach {
        let private = self.database.database_url.is_none() && self.listen.ip().is_loopback();
        match self.auth {
            Auth::Auto if private => Reach::ThisMachine,
            Auth::Auto | Auth::Tokens => Reach::Network,
        }
    }

    /// Whether webhooks may reach private addresses.
    #[must_use]
    pub fn private_receivers(&self) -> Private {
        if self.webhooks_private {
            Private::Allowed
        } else {
            Private::Refused
        }
    }

    /// How long a lease lasts.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds.into())
    }

    /// How long log lines are kept.
    #[must_use]
    pub fn log_age(&self) -> Duration {
        Duration::from_secs(u64::from(self.log_retention_days) * 24 * 3600)
    }

    /// Where checkpoints lie.
    #[must_use]
    pub fn artifacts_place(&self) -> String {
        artifacts_place(self.artifacts.as_deref(), &self.database)
    }
}

fn artifacts_place(given: Option<&str>, database: &Database) -> String {
    match given {
        Some(place) => place.to_owned(),
        None => database.data_dir.join("artifacts").to_string_lossy().into_owned(),
    }
}

/// How often a worker sends heartbeats: several fit into a lease, so that one lost is no harm.
#[must_use]
pub fn heartbeat_seconds(lease: Duration) -> u32 {
    u32::try_from(lease.as_secs() / 6).unwrap_or(u32::MAX).max(1)
}
