//! Starts real coordinators and workers as processes, and does to them what happens in a year of use.
//!
//! The programs are taken from `MOTIF_PROGRAMS`, else from the folder that holds this test's own program,
//! where `cargo build` puts them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::TryStreamExt as _;
use motif_proto::client::{Client, Content, MetricsQuery};
use motif_proto::id::RunId;
use motif_proto::metrics::series;
use motif_proto::run::{CheckpointKind, RunDetail, RunState};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use safetensors::SafeTensors;
use serde_json::Value;

/// Longest wait for anything, on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Leases in tests end soon, so that a dead worker's run is taken back within seconds.
const LEASE_SECONDS: &str = "3";

/// Where a program of Motif is.
pub fn program(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("MOTIF_PROGRAMS") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::current_exe()?
            .ancestors()
            .nth(2)
            .context("a test lies in target/*/deps")?
            .to_owned(),
    };
    let path = folder.join(name);
    ensure!(
        path.exists(),
        "{} is missing: build the programs first (deploy/test does)",
        path.display()
    );
    Ok(path)
}

/// A process that ends with its owner.
#[derive(Debug)]
struct Process {
    child: Child,
}

impl Process {
    fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let child = command.stdin(Stdio::null()).stderr(log).spawn()?;
        Ok(Self { child })
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    /// As `kill -9` does it: the process gets no chance to do anything.
    fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "the process did not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The coordinator must be let to stop its own Postgres; whoever does not end is made to.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.signal(Signal::SIGCONT);
            let _ = self.signal(Signal::SIGTERM);
            if self.wait().is_err() {
                let _ = self.kill();
            }
        }
    }
}

/// A coordinator with its own Postgres.
#[derive(Debug)]
pub struct Coordinator {
    process: Process,
    data: PathBuf,
    address: String,
}

impl Coordinator {
    /// Starts one on a free port, with its data below `data`.
    pub fn start(data: &Path) -> Result<Self> {
        Self::start_at(data, "127.0.0.1:0")
    }

    /// A token that allows everything.
    pub fn token(&self) -> Result<String> {
        let output = Command::new(program("motif-server")?)
            .args([
                "token",
                "create",
                "--name",
                "e2e",
                "--scope",
                "admin,submit,read,worker",
                "--data-dir",
            ])
            .arg(&self.data)
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let said = String::from_utf8(output.stdout)?;
        let token = said.split_whitespace().find(|word| word.starts_with("motif_"));
        Ok(token.context("a token was made and not shown")?.to_owned())
    }

    /// One more on the database and the artifacts of this one, with a folder of its own below `data`.
    pub fn start_beside(&self, data: &Path) -> Result<Self> {
        let database = fs::canonicalize(self.data.join("postgres"))?;
        let artifacts = fs::canonicalize(self.data.join("artifacts"))?;
        let url = format!("postgres:///motif?host={}&user=motif", database.display());
        let more = [
            OsStr::new("--database-url"),
            OsStr::new(&url),
            OsStr::new("--artifacts"),
            artifacts.as_os_str(),
        ];
        Self::start_with(data, "127.0.0.1:0", &more)
    }

    fn start_at(data: &Path, listen: &str) -> Result<Self> {
        Self::start_with(data, listen, &[])
    }

    fn start_with(data: &Path, listen: &str, more: &[&OsStr]) -> Result<Self> {
        fs::create_dir_all(data)?;
        let announcement = data.join("address");
        let mut command = Command::new(program("motif-server")?);
        command
            .args([
                "serve",
                "--listen",
                listen,
                "--lease-seconds",
                LEASE_SECONDS,
                "--data-dir",
            ])
            .arg(data)
            .args(more);
        command.stdout(File::create(&announcement)?);
        let mut process = Process::start(&mut command, &data.join("coordinator.log"))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = fs::read_to_string(&announcement)?;
            if let Some(url) = said
                .strip_prefix("Motif listens on http://")
                .and_then(|rest| rest.split_once('\n'))
            {
                return Ok(Self {
                    process,
                    data: data.to_owned(),
                    address: url.0.to_owned(),
                });
            }
            let log = || fs::read_to_string(data.join("coordinator.log")).unwrap_or_default();
            if process.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("the coordinator did not start: {}", log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client of it.
    pub fn client(&self) -> Result<Client> {
        Ok(Client::new(&self.url(), None)?)
    }

    /// Ends it with `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Ends it with `kill -9`, and starts another at the same address on the same data after `outage`.
    pub fn crash_and_restart(&mut self, outage: Duration) -> Result<()> {
        self.process.kill()?;
        std::thread::sleep(outage);
        let fresh = Self::start_at(&self.data, &self.address.clone())?;
        *self = fresh;
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait()
    }
}

/// A fleet of pretend workers, `motif simulate`.
#[derive(Debug)]
pub struct Fleet {
    process: Process,
    account: PathBuf,
}

impl Fleet {
    /// Starts one for the coordinators at `urls`, with commas between.
    pub fn start(urls: &str, token: &str, folder: &Path, arguments: &[&str]) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let account = folder.join("account.json");
        let mut command = Command::new(program("motif")?);
        command
            .env("MOTIF_TOKEN", token)
            .args(["simulate", "--json", "--server", urls])
            .args(arguments)
            .stdout(File::create(&account)?);
        let process = Process::start(&mut command, &folder.join("fleet.log"))?;
        Ok(Self { process, account })
    }

    /// Waits until all its runs have ended, and answers what it says of them.
    pub fn wait(mut self) -> Result<Value> {
        let status = self.process.wait()?;
        ensure!(status.success(), "the fleet ended with {status}");
        Ok(serde_json::from_slice(&fs::read(&self.account)?)?)
    }
}

/// A worker with one slot.
#[derive(Debug)]
pub struct Worker {
    process: Process,
}

impl Worker {
    /// Starts one that works for the coordinator at `url`.
    pub fn start(url: &str, work_dir: &Path) -> Result<Self> {
        Self::start_with(url, None, work_dir)
    }

    /// Starts one that shows a token.
    pub fn start_with(url: &str, token: Option<&str>, work_dir: &Path) -> Result<Self> {
        fs::create_dir_all(work_dir)?;
        let mut command = Command::new(program("motif-worker")?);
        command.envs(token.map(|token| ("MOTIF_TOKEN", token)));
        command
            .args([
                "run",
                "--server",
                url,
                "--slots",
                "1",
                "--device",
                "cpu",
                "--work-dir",
            ])
            .arg(work_dir);
        command.stdout(Stdio::null());
        Ok(Self {
            process: Process::start(&mut command, &work_dir.join("worker.log"))?,
        })
    }

    /// As `kill -9` does it.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait()
    }

    /// Stops it as a debugger or a frozen machine would (SIGSTOP).
    pub fn freeze(&self) -> Result<()> {
        self.process.signal(Signal::SIGSTOP)
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) -> Result<()> {
        self.process.signal(Signal::SIGCONT)
    }
}

/// Waits until a run is as `wanted` says, and answers how it then is.
pub async fn wait_for(client: &Client, run: RunId, wanted: impl Fn(&RunDetail) -> bool) -> Result<RunDetail> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // A coordinator that was killed is away for a while.
        match client.run(run).await {
            Ok(detail) if wanted(&detail) => return Ok(detail),
            Ok(detail) if Instant::now() > deadline => bail!("the run stayed as it is: {:?}", detail.summary),
            Err(error) if Instant::now() > deadline || !error.is_transient() => return Err(error.into()),
            Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Waits until a run has ended well.
pub async fn wait_for_success(client: &Client, run: RunId) -> Result<RunDetail> {
    let detail = wait_for(client, run, |detail| detail.summary.state.is_final()).await?;
    ensure!(
        detail.summary.state == RunState::Succeeded,
        "the run ended otherwise: {:?}",
        detail.summary
    );
    Ok(detail)
}

/// All curves of a run but its speed, point by point, the values as bits.
pub async fn curves(client: &Client, run: RunId) -> Result<BTreeMap<String, Vec<(u64, u64)>>> {
    let metrics = client.metrics(run, &MetricsQuery::default()).await?;
    let mut curves = BTreeMap::new();
    for curve in metrics.series {
        ensure!(!curve.reduced, "{} came reduced", curve.name);
        if curve.name == series::BATCHES_PER_SECOND {
            continue;
        }
        let points = curve
            .steps
            .iter()
            .copied()
            .zip(curve.values.iter().map(|value| value.0.to_bits()));
        curves.insert(curve.name, points.collect());
    }
    Ok(curves)
}

/// The bytes of a run's checkpoint.
pub async fn checkpoint(client: &Client, run: RunId, kind: CheckpointKind) -> Result<Vec<u8>> {
    let checkpoints = client.checkpoints(run).await?;
    let found = checkpoints.iter().find(|checkpoint| checkpoint.kind == kind);
    let id = found
        .with_context(|| format!("run {run} has no checkpoint {kind}"))?
        .id;
    all_bytes(client.checkpoint_content(id).await?).await
}

/// The bytes of an artifact of a run.
pub async fn artifact(client: &Client, run: RunId, name: &str) -> Result<Vec<u8>> {
    let artifacts = client.artifacts(run).await?;
    let found = artifacts.iter().find(|artifact| artifact.name == name);
    let id = found.with_context(|| format!("run {run} has made no {name}"))?.id;
    all_bytes(client.artifact_content(id).await?).await
}

async fn all_bytes(content: Content) -> Result<Vec<u8>> {
    let pieces: Vec<_> = content.stream().try_collect().await?;
    Ok(pieces.concat())
}

/// The tensors of a checkpoint, their values as bytes.
pub fn tensors(checkpoint: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
    let tensors = SafeTensors::deserialize(checkpoint)?;
    Ok(tensors
        .iter()
        .map(|(name, tensor)| (name.to_owned(), tensor.data().to_vec()))
        .collect())
}

/// What `motif-worker train` writes for the same spec, without any coordinator: total losses and evaluations.
pub fn train_alone(spec: &Value, folder: &Path) -> Result<(Vec<f64>, Vec<f64>)> {
    fs::create_dir_all(folder)?;
    let file = folder.join("spec.json");
    fs::write(&file, spec.to_string())?;
    let out = folder.join("out");
    let mut command = Command::new(program("motif-worker")?);
    command
        .args(["train", "--spec"])
        .arg(&file)
        .arg("--out")
        .arg(&out)
        .stdout(Stdio::null());
    let status = Process::start(&mut command, &folder.join("train.log"))?.wait()?;
    ensure!(status.success(), "motif-worker train ended with {status}");
    let numbers = |name: &str| -> Result<Vec<f64>> {
        let text = fs::read_to_string(out.join(name))?;
        text.lines()
            .map(|line| line.trim().parse().with_context(|| format!("{name}: {line}")))
            .collect()
    };
    Ok((numbers("losses.txt")?, numbers("test_losses.txt")?))
}
