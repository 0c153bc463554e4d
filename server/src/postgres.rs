//! The private Postgres of a coordinator that was given no database.
//!
//! The distribution's own programs make a cluster in the data directory and serve it on a unix socket, never on
//! TCP. Postgres refuses to run as root, so a root coordinator runs it as another user; where that user cannot
//! reach the data directory, the cluster lies under `/var/lib/motif` and the data directory links to it.
//!
//! A small shell stands between: it waits for the end of its input, which comes when the coordinator ends in
//! whatever way, even killed, and then stops Postgres. So no server is left behind.

use std::convert::Infallible;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep, timeout};

/// Where clusters of root coordinators lie whose data directory others cannot enter.
const ROOT_CLUSTERS: &str = "/var/lib/motif";
/// Users that a root coordinator runs Postgres as, the first that exists.
const USERS: [&str; 2] = ["postgres", "nobody"];
/// The database's superuser and owner.
const OWNER: &str = "motif";
/// Longest directory of a unix socket: the kernel takes 107 bytes, `/.s.PGSQL.5432` is 14.
const MAX_SOCKET_DIR: usize = 90;
/// Recovery after a power cut may take its time.
const START_LIMIT: Duration = Duration::from_secs(120);
const INITDB_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// Waits between starts that fail grow from the first to the last.
const FIRST_RESTART: Duration = Duration::from_millis(500);
const LAST_RESTART: Duration = Duration::from_secs(15);
/// What lies in the directory of the private Postgres.
const HOME: &str = "postgres";
const CLUSTER: &str = "data";
/// Where a running server writes its socket's directory in `postmaster.pid`, from 0.
const SOCKET_LINE: usize = 4;
const LOG: &str = "postgres.log";

/// Serves until its input ends, then stops Postgres and waits for it; ends with it when it ends by itself.
const KEEPER: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
{ read -r _ <&3; kill -INT "$server" 2>/dev/null; } &
exec 3<&-
wait "$server"
"#;

/// Why the private Postgres does not run.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The programs are not installed.
    #[error(
        "Postgres is not installed: install the package `postgresql`, or give a database with --database-url"
    )]
    NotInstalled,
    /// The cluster was made by a version that is not installed.
    #[error("the database in {} was made by Postgres {version}, which is not installed", dir.display())]
    OtherVersion {
        /// The cluster.
        dir: PathBuf,
        /// The version that made it.
        version: String,
    },
    /// Root has nobody to run it as.
    #[error("Postgres cannot run as root, and there is no user `postgres` or `nobody`")]
    NoUser,
    /// A directory or file cannot be used.
    #[error("{} cannot be used: {source}", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program cannot be started.
    #[error("{} cannot be started: {source}", program.display())]
    NotStarted {
        /// Which.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cluster could not be made.
    #[error("the database could not be made: {0}")]
    Initdb(String),
    /// It ended or did not answer.
    #[error("the private Postgres does not come up: {0}")]
    Dead(String),
}

/// How to connect to a database of the private Postgres that another process runs under `data_dir`, as far as its
/// own note says that it does.
#[must_use]
pub fn running(data_dir: &Path, database: &str) -> Option<PgConnectOptions> {
    let note = fs::read_to_string(data_dir.join("postgres/data/postmaster.pid")).ok()?;
    // Process, directory, start, port, directory of the socket, listen address, shared memory, state.
    let mut lines = note.lines();
    let socket_dir = lines.nth(4)?.trim();
    (!socket_dir.is_empty() && lines.nth(2)?.trim() == "ready")
        .then(|| options(Path::new(socket_dir), database))
}

fn options(socket_dir: &Path, database: &str) -> PgConnectOptions {
    PgConnectOptions::new()
        .socket(socket_dir)
        .port(5432)
        .username(OWNER)
        .database(database)
}

/// A private Postgres that runs as long as this value lives.
#[derive(Debug)]
pub struct Postgres {
    keeper: Child,
    /// Its closing says to stop. Held apart, because waiting for a child closes what the child still has.
    line: Option<ChildStdin>,
    programs: PathBuf,
    user: Option<User>,
    home: PathBuf,
    durable: bool,
    socket_dir: PathBuf,
    /// Holds the socket where the cluster's own path is too long for one.
    _short_dir: Option<tempfile::TempDir>,
}

impl Postgres {
    /// Starts the cluster under `data_dir`, made anew where there is none.
    ///
    /// `durable: false` leaves out the waits for the disk; for tests.
    ///
    /// # Errors
    /// [`PostgresError`].
    pub async fn start(data_dir: &Path, durable: bool) -> Result<Self, PostgresError> {
        let user = unprivileged_user()?;
        let home = home(data_dir, user.as_ref())?;
        let cluster = home.join(CLUSTER);
        let bin = programs(&cluster)?;
        if !cluster.join("PG_VERSION").exists() {
            initdb(&bin, &home, &cluster, user.as_ref(), durable).await?;
        }
        let short_dir = short_dir(&home, user.as_ref())?;
        let socket_dir = short_dir
            .as_ref()
            .map_or(home.clone(), |dir| dir.path().to_path_buf());
        stop_leftover(&cluster).await;
        let mut keeper = launch(&bin, user.as_ref(), &home, &socket_dir, durable)?;
        let mut postgres = Self {
            line: keeper.stdin.take(),
            keeper,
            programs: bin,
            user,
            home,
            durable,
            socket_dir,
            _short_dir: short_dir,
        };
        postgres.wait_until_ready().await?;
        Ok(postgres)
    }

    /// Starts the server anew whenever it ends by itself, for ever: a full disk is emptied, memory comes back, and
    /// until then the coordinator answers that it is not ready.
    pub async fn keep_up(&mut self) -> Infallible {
        loop {
            // An error of the wait says that the process is not there either.
            let _ = self.keeper.wait().await;
            // What still reads from it is about to tell a process that is gone.
            drop(self.line.take());
            let log = self.home.join(LOG);
            tracing::error!(
                last_words = last_line(&log),
                "the private Postgres ended; it is started anew"
            );
            let mut wait = FIRST_RESTART;
            while let Err(error) = self.restart().await {
                tracing::error!(%error, retry_in = ?wait, "the private Postgres could not be started");
                sleep(wait).await;
                wait = (wait * 2).min(LAST_RESTART);
            }
            tracing::info!("the private Postgres is back");
        }
    }

    async fn restart(&mut self) -> Result<(), PostgresError> {
        stop_leftover(&self.home.join(CLUSTER)).await;
        let user = self.user.as_ref();
        let mut keeper = launch(&self.programs, user, &self.home, &self.socket_dir, self.durable)?;
        self.line = keeper.stdin.take();
        self.keeper = keeper;
        self.wait_until_ready().await
    }

    /// How to connect to a database of this server.
    #[must_use]
    pub fn options(&self, database: &str) -> PgConnectOptions {
        options(&self.socket_dir, database)
    }

    /// Where its programs are.
    #[must_use]
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// The process that serves, for tests that end it.
    #[must_use]
    pub fn server_process(data_dir: &Path) -> Option<Pid> {
        leftover(&data_dir.join(HOME).join(CLUSTER).canonicalize().ok()?)
    }

    /// How to connect to the server that another process runs under `data_dir`, and where its programs are.
    ///
    /// # Errors
    /// [`PostgresError::Dead`] where none runs.
    pub fn of_another(data_dir: &Path, database: &str) -> Result<(PgConnectOptions, PathBuf), PostgresError> {
        let cluster = data_dir.join(HOME).join(CLUSTER);
        let file = cluster.join("postmaster.pid");
        let text = fs::read_to_string(&file).map_err(unusable(&file))?;
        let socket_dir = text
            .lines()
            .nth(SOCKET_LINE)
            .filter(|line| !line.is_empty())
            .ok_or_else(|| PostgresError::Dead("it is just starting".to_owned()))?;
        Ok((options(Path::new(socket_dir), database), programs(&cluster)?))
    }

    /// Stops the server: sessions are cut off, everything committed is on disk.
    pub async fn stop(mut self) {
        drop(self.line.take());
        if timeout(STOP_LIMIT, self.keeper.wait()).await.is_err() {
            tracing::warn!("the private Postgres did not stop in time; it recovers at the next start");
            let _ = self.keeper.start_kill();
        }
    }

    async fn wait_until_ready(&mut self) -> Result<(), PostgresError> {
        let options = self.options("postgres").disable_statement_logging();
        let limit = Instant::now() + START_LIMIT;
        loop {
            if let Ok(Ok(mut connection)) = timeout(Duration::from_secs(5), options.connect()).await {
                ensure_database(&mut connection)
                    .await
                    .map_err(|error| PostgresError::Dead(crate::error::chain(&error)))?;
                let _ = connection.close().await;
                return Ok(());
            }
            if matches!(self.keeper.try_wait(), Ok(Some(_))) || Instant::now() > limit {
                return Err(PostgresError::Dead(last_line(&self.home.join(LOG))));
            }
            sleep(POLL).await;
        }
    }
}

/// Starts the shell that starts the server.
fn launch(
    programs: &Path,
    user: Option<&User>,
    home: &Path,
    socket_dir: &Path,
    durable: bool,
) -> Result<Child, PostgresError> {
    let log_path = home.join(LOG);
    let log = File::create(&log_path).map_err(unusable(&log_path))?;
    let mut keeper = command(Path::new("/bin/sh"), user);
    keeper
        .args(["-c", KEEPER, "motif-postgres"])
        .arg(programs.join("postgres"))
        .arg("-D")
        .arg(home.join(CLUSTER))
        .arg("-k")
        .arg(socket_dir)
        .args(settings(durable).iter().flat_map(|setting| ["-c", setting]))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        // Ctrl-C in a terminal is for the coordinator, which stops Postgres last.
        .process_group(0);
    keeper.spawn().map_err(not_started(Path::new("/bin/sh")))
}

async fn ensure_database(connection: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = 'motif')")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        connection.execute("create database motif").await?;
    }
    Ok(())
}

fn settings(durable: bool) -> Vec<&'static str> {
    let mut settings = vec![
        "listen_addresses=",
        "unix_socket_permissions=0700",
        "port=5432",
        "max_connections=100",
        "shared_buffers=128MB",
        "jit=off",
        // Journals of curves are emptied all the time; their room is to be used again soon.
        "autovacuum_naptime=10s",
        "log_min_messages=warning",
        "log_checkpoints=off",
        "timezone=UTC",
    ];
    if !durable {
        settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"]);
    }
    settings
}

/// Whom to run Postgres as: nobody else, unless we are root.
fn unprivileged_user() -> Result<Option<User>, PostgresError> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    USERS
        .iter()
        .find_map(|name| User::from_name(name).ok().flatten())
        .map(Some)
        .ok_or(PostgresError::NoUser)
}

/// The directory of the cluster and its log, made where there is none, private to whoever runs Postgres.
fn home(data_dir: &Path, user: Option<&User>) -> Result<PathBuf, PostgresError> {
    let link = data_dir.join(HOME);
    fs::create_dir_all(data_dir).map_err(unusable(data_dir))?;
    if let Some(user) = user
        && !link.exists()
        && !can_enter(&data_dir.canonicalize().map_err(unusable(data_dir))?, user)
    {
        let name = uuid::Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext)).to_string();
        let elsewhere = Path::new(ROOT_CLUSTERS).join(name);
        fs::create_dir_all(&elsewhere).map_err(unusable(&elsewhere))?;
        // A link that points to a cluster that somebody deleted gives way.
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&elsewhere, &link).map_err(unusable(&link))?;
    }
    fs::create_dir_all(&link).map_err(unusable(&link))?;
    let home = link.canonicalize().map_err(unusable(&link))?;
    make_private(&home, user)?;
    Ok(home)
}

fn make_private(dir: &Path, user: Option<&User>) -> Result<(), PostgresError> {
    if let Some(user) = user {
        chown(dir, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map_err(unusable(dir))?;
    }
    fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(unusable(dir))
}

/// Whether the user may pass through every directory of the path.
fn can_enter(path: &Path, user: &User) -> bool {
    path.ancestors().all(|dir| {
        fs::metadata(dir).is_ok_and(|dir| {
            let enter = if dir.uid() == user.uid.as_raw() {
                0o100
            } else if dir.gid() == user.gid.as_raw() {
                0o010
            } else {
                0o001
            };
            dir.mode() & enter != 0
        })
    })
}

/// A directory for the socket, where the cluster's own path is too long for one.
fn short_dir(home: &Path, user: Option<&User>) -> Result<Option<tempfile::TempDir>, PostgresError> {
    if home.as_os_str().len() <= MAX_SOCKET_DIR {
        return Ok(None);
    }
    let dir = tempfile::Builder::new()
        .prefix("motif-")
        .tempdir_in("/tmp")
        .map_err(unusable(Path::new("/tmp")))?;
    make_private(dir.path(), user)?;
    Ok(Some(dir))
}

/// The directory of the newest installed programs, or of those that made the cluster.
fn programs(cluster: &Path) -> Result<PathBuf, PostgresError> {
    let made_by = fs::read_to_string(cluster.join("PG_VERSION"))
        .ok()
        .map(|text| text.trim().to_owned());
    let mut installed: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .filter(|(_, bin)| has_programs(bin))
        .collect();
    installed.sort();
    let of_debian = match &made_by {
        Some(made_by) => installed
            .into_iter()
            .find(|(version, _)| *made_by == version.to_string()),
        None => installed.pop(),
    };
    if let Some((_, bin)) = of_debian {
        return Ok(bin);
    }
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&search_path)
        .find(|bin| has_programs(bin))
        .ok_or_else(|| match made_by {
            Some(version) => PostgresError::OtherVersion {
                dir: cluster.to_path_buf(),
                version,
            },
            None => PostgresError::NotInstalled,
        })
}

/// The directory of the newest installed tools for other people's servers.
///
/// # Errors
/// [`PostgresError::NotInstalled`].
pub fn tools() -> Result<PathBuf, PostgresError> {
    let has_tools = |bin: &PathBuf| bin.join("pg_dump").is_file() && bin.join("pg_restore").is_file();
    let version = |bin: &PathBuf| bin.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    let of_debian = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(has_tools)
        .max_by_key(version);
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    of_debian
        .or_else(|| std::env::split_paths(&search_path).find(has_tools))
        .ok_or(PostgresError::NotInstalled)
}

fn has_programs(bin: &Path) -> bool {
    bin.join("postgres").is_file() && bin.join("initdb").is_file()
}

/// Makes the cluster under another name and moves it, so that an interrupted start leaves nothing half-made.
async fn initdb(
    bin: &Path,
    home: &Path,
    cluster: &Path,
    user: Option<&User>,
    durable: bool,
) -> Result<(), PostgresError> {
    let new = home.join("data.new");
    if new.exists() {
        fs::remove_dir_all(&new).map_err(unusable(&new))?;
    }
    let program = bin.join("initdb");
    let mut initdb = command(&program, user);
    initdb
        .arg("-D")
        .arg(&new)
        .args([
            "-U",
            OWNER,
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
        ])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if !durable {
        initdb.arg("--no-sync");
    }
    let output = timeout(INITDB_LIMIT, initdb.output())
        .await
        .map_err(|_| PostgresError::Initdb(format!("initdb took more than {INITDB_LIMIT:?}")))?
        .map_err(not_started(&program))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(PostgresError::Initdb(
            message
                .trim()
                .lines()
                .last()
                .unwrap_or("no reason given")
                .to_owned(),
        ));
    }
    fs::rename(&new, cluster).map_err(unusable(cluster))
}

/// Stops a server that a killed coordinator left behind; the data directory's lock says that it is nobody's.
async fn stop_leftover(cluster: &Path) {
    let limit = Instant::now() + STOP_LIMIT;
    let mut asked = false;
    while let Some(pid) = leftover(cluster) {
        if Instant::now() > limit {
            // Shared memory keeps a second server out; its message says so.
            let _ = kill(pid, Signal::SIGQUIT);
            return;
        }
        if !asked {
            tracing::info!(process = pid.as_raw(), "stopping a Postgres that was left behind");
            let _ = kill(pid, Signal::SIGINT);
            asked = true;
        }
        sleep(POLL).await;
    }
}

fn leftover(cluster: &Path) -> Option<Pid> {
    let file = fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
    let pid: i32 = file.lines().next()?.trim().parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let serves_here = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == cluster);
    (name.trim() == "postgres" && serves_here).then(|| Pid::from_raw(pid))
}

fn command(program: &Path, user: Option<&User>) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir("/")
        .env_remove("PGDATA")
        .env_remove("PGPORT")
        .env("LC_ALL", "C");
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let telling = |line: &&str| line.contains("FATAL") || line.contains("ERROR") || line.contains("PANIC");
    let line = text.lines().rev().find(telling).or_else(|| text.lines().last());
    line.unwrap_or("it said nothing").trim().to_owned()
}

fn unusable(path: &Path) -> impl Fn(io::Error) -> PostgresError {
    let path = path.to_path_buf();
    move |source| PostgresError::Unusable {
        path: path.clone(),
        source,
    }
}

fn not_started(program: &Path) -> impl Fn(io::Error) -> PostgresError {
    let program = program.to_path_buf();
    move |source| PostgresError::NotStarted {
        program: program.clone(),
        source,
    }
}
