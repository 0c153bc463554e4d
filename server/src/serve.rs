//! Start and shutdown.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::access::Access;
use crate::app::{AppState, Leases, Stopping};
use crate::artifacts::{Artifacts, OpenError};
use crate::config::{DEFAULT_RATE_LIMIT, Database, Serve};
use crate::dispatch::Dispatcher;
use crate::error::chain;
use crate::http::rate::Rates;
use crate::monitoring::Monitoring;
use crate::postgres::{self, Postgres, PostgresError};
use crate::router::{self, Reach};
use crate::signals::Signals;
use crate::store::Store;
use crate::webhooks::Webhooks;
use crate::{MIGRATOR, tasks};

/// The database of a private Postgres.
pub(crate) const DATABASE: &str = "motif";
const MAX_CONNECTIONS: u32 = 24;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const ACQUIRE_LIMIT: Duration = Duration::from_secs(5);
/// How long requests may take to finish after SIGTERM.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Why the coordinator does not run, as one sentence for a person.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Two coordinators would share a private Postgres.
    #[error("the data directory {} is held by another coordinator", .0.display())]
    Held(PathBuf),
    /// The data directory cannot be made or written.
    #[error("the data directory {} cannot be used: {source}", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The private Postgres does not run.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The database URL cannot be read.
    #[error("the database URL cannot be read: {0}")]
    DatabaseUrl(String),
    /// The database does not answer.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The schema cannot be brought up to date.
    #[error("the database cannot be brought up to date: {0}")]
    Migration(String),
    /// The artifact store cannot be opened.
    #[error(transparent)]
    Artifacts(#[from] OpenError),
    /// The machine refuses something basic.
    #[error("the coordinator cannot go on: {0}")]
    Io(#[from] io::Error),
}

/// A database that is up to date, and the server behind it where it is ours.
#[derive(Debug)]
pub struct Connected {
    pool: PgPool,
    postgres: Option<Postgres>,
    /// Keeps others out of the data directory.
    _lock: Option<Flock<File>>,
}

impl Connected {
    /// Its connections.
    #[must_use]
    pub fn pool(&self) -> PgPool {
        self.pool.clone()
    }

    /// Lets go of it, and stops the server behind it where it is ours.
    pub async fn close(self) {
        // Connections that are in use are cut off by the shutdown of the private server.
        let _ = timeout(Duration::from_secs(1), self.pool.close()).await;
        if let Some(postgres) = self.postgres {
            postgres.stop().await;
        }
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// [`StartError`].
pub async fn serve(config: Serve) -> Result<(), StartError> {
    // First of all, so that a port in use is noticed before a database is started.
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| StartError::Listen {
            address: config.listen,
            source,
        })?;
    let address = listener.local_addr()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let mut connected = tokio::select! {
        connected = connect(&config.database) => connected?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let artifacts = match Artifacts::open(&config.artifacts_place()) {
        Ok(artifacts) => artifacts,
        Err(error) => {
            connected.close().await;
            return Err(error.into());
        }
    };

    let state = AppState {
        webhooks: Webhooks::new(config.private_receivers()),
        rates: Rates::new(config.rate_limit),
        ..state(connected.pool.clone(), artifacts, config.lease())
    };
    let stop = state.stopping.0.clone();
    let mut background = start_tasks(&state, &connected.pool);
    background.spawn(tasks::log_retention::run(
        state.store.clone(),
        config.log_age(),
        stop.clone(),
    ));
    let reach = config.reach();
    let store = state.store.clone();
    let app = router::router(state, reach);
    let drained = stop.clone();
    let mut server = tokio::spawn(
        axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
            .with_graceful_shutdown(async move { drained.cancelled().await })
            .into_future(),
    );
    announce(address)?;
    if reach == Reach::Network {
        tell_about_tokens(&store, &config.database).await;
    }

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        never = keep_up(&mut connected.postgres) => match never {},
    };
    tracing::info!("shutting down");
    stop.cancel();
    if timeout(DRAIN_LIMIT, &mut server).await.is_err() {
        tracing::warn!("requests were cut off: they took longer than {DRAIN_LIMIT:?} to finish");
        server.abort();
    }
    background.shutdown().await;
    connected.close().await;
    Ok(())
}

/// Brings the database up to date.
///
/// # Errors
/// [`StartError`].
pub async fn migrate(database: &Database) -> Result<(), StartError> {
    connect(database).await?.close().await;
    Ok(())
}

/// The database for a command: the one that a coordinator has at hand where there is one.
///
/// # Errors
/// [`StartError`].
pub async fn attach(database: &Database) -> Result<Connected, StartError> {
    match connect(database).await {
        Err(StartError::Held(dir)) => share(&dir).await,
        connected => connected,
    }
}

/// Connects to the private Postgres that a coordinator runs in its data directory.
async fn share(data_dir: &Path) -> Result<Connected, StartError> {
    let limit = Instant::now() + CONNECT_LIMIT;
    let pool = loop {
        // The coordinator may just be starting.
        let tried = match postgres::running(data_dir, "motif") {
            Some(options) => pool(options).await.map_err(|error| chain(&error)),
            None => Err(format!("nothing serves the database in {}", data_dir.display())),
        };
        match tried {
            Ok(pool) => break pool,
            Err(reason) if Instant::now() > limit => return Err(StartError::Unreachable(reason)),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    };
    up_to_date(Connected {
        pool,
        postgres: None,
        _lock: None,
    })
    .await
}

/// The state of a coordinator over a migrated database.
#[must_use]
pub fn state(pool: PgPool, artifacts: Artifacts, lease: Duration) -> AppState {
    let signals = Signals::new();
    let store = Store::new(pool, signals.clone());
    AppState {
        access: Access::new(store.clone(), signals.clone()),
        store,
        artifacts,
        dispatcher: Dispatcher::default(),
        signals,
        webhooks: Webhooks::default(),
        leases: Leases { length: lease },
        rates: Rates::new(DEFAULT_RATE_LIMIT),
        monitoring: Monitoring::default(),
        stopping: Stopping::default(),
    }
}

/// Starts what happens by itself.
#[must_use]
pub fn start_tasks(state: &AppState, pool: &PgPool) -> JoinSet<()> {
    let stop = &state.stopping.0;
    let mut tasks = JoinSet::new();
    tasks.spawn(state.signals.clone().run(pool.clone(), stop.clone()));
    tasks.spawn(state.access.clone().run(stop.clone()));
    tasks.spawn(state.dispatcher.clone().run(
        state.store.clone(),
        state.signals.clone(),
        state.leases.length,
        stop.clone(),
    ));
    tasks.spawn(tasks::lost_leases::run(
        state.store.clone(),
        state.leases.length,
        stop.clone(),
    ));
    tasks.spawn(tasks::webhooks::run(
        state.store.clone(),
        state.webhooks.clone(),
        stop.clone(),
    ));
    tasks.spawn(tasks::standing::run(state.store.clone(), stop.clone()));
    tasks.spawn(tasks::waits::run(state.store.clone(), stop.clone()));
    tasks.spawn(tasks::sweeps::run(
        state.store.clone(),
        state.signals.clone(),
        stop.clone(),
    ));
    tasks.spawn(tasks::settling::run(state.store.clone(), stop.clone()));
    tasks.spawn(tasks::deletion::run(state.store.clone(), stop.clone()));
    tasks.spawn(tasks::retention::run(
        state.store.clone(),
        state.artifacts.clone(),
        stop.clone(),
    ));
    tasks
}

/// A pool of connections that never wait without end.
///
/// # Errors
/// The database cannot be reached.
pub async fn pool(options: PgConnectOptions) -> Result<PgPool, sqlx::Error> {
    pool_within(options, ACQUIRE_LIMIT).await
}

/// A pool whose requests wait so long for a connection, also while the database is away.
///
/// # Errors
/// The database cannot be reached.
pub async fn pool_within(options: PgConnectOptions, acquire_limit: Duration) -> Result<PgPool, sqlx::Error> {
    let options = options.application_name("motif-server").options([
        ("jit", "off"),
        ("statement_timeout", "15s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "60s"),
        // Of disks without moving heads, and of what is in memory anyway: indexes are worth walking.
        ("random_page_cost", "1.1"),
    ]);
    PgPoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(acquire_limit)
        .connect_with(options)
        .await
}

async fn connect(database: &Database) -> Result<Connected, StartError> {
    let (options, postgres, lock) = match &database.database_url {
        Some(url) => {
            let options = parse_options(url)?;
            reach(&options).await?;
            (options, None, None)
        }
        None => {
            let lock = hold(database)?;
            let data_dir = database.data_dir.canonicalize()?;
            let postgres = Postgres::start(&data_dir, true).await?;
            (postgres.options(DATABASE), Some(postgres), Some(lock))
        }
    };
    let pool = timeout(CONNECT_LIMIT, pool(options))
        .await
        .map_err(|_| StartError::Unreachable(format!("no answer within {CONNECT_LIMIT:?}")))?
        .map_err(|error| StartError::Unreachable(chain(&error)))?;
    up_to_date(Connected {
        pool,
        postgres,
        _lock: lock,
    })
    .await
}

/// Brings the schema up to date.
async fn up_to_date(connected: Connected) -> Result<Connected, StartError> {
    if let Err(error) = MIGRATOR.run(&connected.pool).await {
        connected.close().await;
        return Err(StartError::Migration(chain(&error)));
    }
    Ok(connected)
}

/// Connects once, because a pool tries on until its limit and then does not say why.
async fn reach(options: &PgConnectOptions) -> Result<(), StartError> {
    let connection = timeout(CONNECT_LIMIT, options.connect())
        .await
        .map_err(|_| StartError::Unreachable(format!("no answer within {CONNECT_LIMIT:?}")))?
        .map_err(|error| StartError::Unreachable(chain(&error)))?;
    // That it was there is all we wanted to know.
    let _ = connection.close().await;
    Ok(())
}

pub(crate) fn parse_options(url: &str) -> Result<PgConnectOptions, StartError> {
    url.parse()
        .map_err(|error: sqlx::Error| StartError::DatabaseUrl(chain(&error)))
}

/// Takes the data directory for this process alone, until it ends in whatever way.
pub(crate) fn hold(database: &Database) -> Result<Flock<File>, StartError> {
    let dir = &database.data_dir;
    let unusable = |source| StartError::DataDir {
        path: dir.clone(),
        source,
    };
    std::fs::create_dir_all(dir).map_err(unusable)?;
    let file = File::create(dir.join("lock")).map_err(unusable)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, _)| StartError::Held(dir.clone()))
}

/// A private Postgres that ends by itself is started anew; somebody else's is somebody else's to start.
async fn keep_up(postgres: &mut Option<Postgres>) -> Infallible {
    match postgres {
        Some(postgres) => postgres.keep_up().await,
        None => std::future::pending().await,
    }
}

/// Says how the first token is made, where there is none to let anybody in.
async fn tell_about_tokens(store: &Store, database: &Database) {
    if !matches!(store.has_admin_token().await, Ok(false)) {
        return;
    }
    let place = match &database.database_url {
        // The address may hold a password.
        Some(_) => "with MOTIF_DATABASE_URL set as here".to_owned(),
        None => format!("with --data-dir {}", database.data_dir.display()),
    };
    tracing::warn!(
        "everybody has to show a token and there is none for an admin yet: \
         `motif-server token create --scope admin --name NAME`, {place}, makes one"
    );
}

fn announce(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout().lock();
    // Nobody may be listening to our output any more; that is no reason not to serve.
    match writeln!(out, "Motif listens on http://{address}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
