//! `motif pull`: a run's network as a file, checked against its hash.
//!
//! The bytes go to a temporary file beside their place and take their name only when they are whole and right, so
//! a download that breaks off leaves nothing.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use futures::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::CliError;
use super::output::{Output, short_id, size};
use super::run_ref::RunRef;
use crate::client::{Client, ClientError};
use crate::id::RunId;
use crate::run::{Checkpoint, CheckpointKind, RunSummary};

/// How often a checkpoint may be replaced by a newer one while it is being asked for.
const MOST_REPLACEMENTS: u32 = 3;

#[derive(Debug, Args)]
pub(super) struct Pull {
    /// The run: `latest`, an id, or at least 6 digits of one
    run: RunRef,

    /// What to download
    #[arg(long, value_enum, default_value_t = What::Checkpoint)]
    what: What,

    /// Which checkpoint: the one with the least validation loss, or the newest
    #[arg(long, value_enum, default_value_t = KindArg::Best)]
    kind: KindArg,

    /// Directory to write to; made where there is none
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// A trained network, as safetensors
    Checkpoint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KindArg {
    Best,
    Last,
}

impl From<KindArg> for CheckpointKind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Best => Self::Best,
            KindArg::Last => Self::Last,
        }
    }
}

/// What was written where.
#[derive(Debug, Serialize)]
struct Pulled {
    path: PathBuf,
    checkpoint: Checkpoint,
}

impl Pull {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        let What::Checkpoint = self.what;
        let id = self.run.resolve(client).await?;
        let run = client.run(id).await?.summary;
        let (path, checkpoint) = fetch(client, &run, self.kind.into(), &self.out).await?;
        if out.json {
            return out.json(&Pulled { path, checkpoint });
        }
        out.text(&format!(
            "{} ({}, {} batches)",
            path.display(),
            size(checkpoint.size_bytes),
            checkpoint.next_batch
        ))
    }
}

/// Downloads a run's checkpoint into `directory`, following it when a newer one takes its place meanwhile.
pub(super) async fn fetch(
    client: &Client,
    run: &RunSummary,
    kind: CheckpointKind,
    directory: &Path,
) -> Result<(PathBuf, Checkpoint), CliError> {
    let mut replacements = 0;
    loop {
        let checkpoint = choose(client, run.id, kind).await?;
        let path = directory.join(file_name(run, kind));
        match download(client, &checkpoint, &path).await {
            Ok(()) => return Ok((path, checkpoint)),
            Err(CliError::Client(ClientError::Problem { status: 404, .. }))
                if replacements < MOST_REPLACEMENTS =>
            {
                replacements += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The newest checkpoint of a kind.
async fn choose(client: &Client, run: RunId, kind: CheckpointKind) -> Result<Checkpoint, CliError> {
    let checkpoints = client.checkpoints(run).await?;
    let others = if checkpoints.is_empty() {
        "and no other".to_owned()
    } else {
        let kinds: Vec<&str> = checkpoints
            .iter()
            .map(|checkpoint| checkpoint.kind.as_str())
            .collect();
        format!("but these: {}", kinds.join(", "))
    };
    checkpoints
        .into_iter()
        .find(|checkpoint| checkpoint.kind == kind)
        .ok_or_else(|| {
            CliError::Usage(format!(
                "run {} has no `{kind}` checkpoint yet, {others}",
                short_id(run)
            ))
        })
}

/// Writes a checkpoint's bytes to `path`, all of them or nothing.
async fn download(client: &Client, checkpoint: &Checkpoint, path: &Path) -> Result<(), CliError> {
    let failed = |source: io::Error| CliError::File {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let content = client.checkpoint_content(checkpoint.id).await?;
    let mut file = temporary_beside(path).map_err(failed)?;
    let bar = bar(checkpoint.size_bytes);
    let mut hash = Sha256::new();
    let mut length = 0;
    let mut stream = std::pin::pin!(content.stream());
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        length += chunk.len() as u64;
        if length > checkpoint.size_bytes {
            break;
        }
        hash.update(&chunk);
        file.write_all(&chunk).map_err(failed)?;
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    if length != checkpoint.size_bytes || !hex(&hash.finalize()).eq_ignore_ascii_case(&checkpoint.sha256) {
        return Err(CliError::Failed(format!(
            "the checkpoint arrived damaged ({length} of {} bytes, or the wrong SHA-256); nothing was written",
            checkpoint.size_bytes
        )));
    }
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// A file in the same directory that vanishes unless it gets its name.
fn temporary_beside(path: &Path) -> io::Result<NamedTempFile> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".motif-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any new file: the process's umask decides who may read it.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(directory)
}

/// The name that a checkpoint gets: the run's name, made safe for any file system, its short id and the kind.
pub(super) fn file_name(run: &RunSummary, kind: CheckpointKind) -> String {
    const LONGEST: usize = 100;
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
            c
        } else {
            '_'
        }
    };
    let name: String = run.name.chars().map(safe).take(LONGEST).collect();
    let name = name.trim_start_matches('.');
    format!("{name}-{}-{kind}.safetensors", short_id(run.id))
}

fn bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{bar:30.cyan/dim} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(bytes).with_style(style.progress_chars("━━╌"))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
