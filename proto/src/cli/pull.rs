//! `motif pull`: a run's network, or the other files that it made, checked against their hashes.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::output::{Output, short_id, size};
use super::run_ref::RunRef;
use super::{CliError, download};
use crate::artifact::{Artifact, is_artifact_name};
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
    /// All other files that the run made, such as the table of an evaluation
    Artifacts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum KindArg {
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

/// An artifact, and where it was written.
#[derive(Debug, Serialize)]
pub(super) struct PulledArtifact {
    pub(super) path: PathBuf,
    artifact: Artifact,
}

impl Pull {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        let id = self.run.resolve(client).await?;
        let run = client.run(id).await?.summary;
        match self.what {
            What::Checkpoint => self.checkpoint(client, out, &run).await,
            What::Artifacts => self.artifacts(client, out, &run).await,
        }
    }

    async fn checkpoint(&self, client: &Client, out: &Output, run: &RunSummary) -> Result<(), CliError> {
        let (path, checkpoint) = fetch(client, run, self.kind.into(), &self.out).await?;
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

    async fn artifacts(&self, client: &Client, out: &Output, run: &RunSummary) -> Result<(), CliError> {
        let pulled = fetch_artifacts(client, run, &self.out).await?;
        if out.json {
            return out.json(&pulled);
        }
        if pulled.is_empty() {
            return out.text(&format!("Run {} has made no files.", short_id(run.id)));
        }
        pulled.iter().try_for_each(|pulled| {
            let (path, bytes) = (pulled.path.display(), size(pulled.artifact.size_bytes));
            out.text(&format!("{path} ({bytes})"))
        })
    }
}

/// Downloads all artifacts of a run into `directory`.
pub(super) async fn fetch_artifacts(
    client: &Client,
    run: &RunSummary,
    directory: &Path,
) -> Result<Vec<PulledArtifact>, CliError> {
    let mut pulled = Vec::new();
    for artifact in client.artifacts(run.id).await? {
        if !is_artifact_name(&artifact.name) {
            let detail = format!(
                "the coordinator names a file {:?}, which is no file's name",
                artifact.name
            );
            return Err(CliError::Failed(detail));
        }
        let path = directory.join(format!("{}-{}", stem(run), artifact.name));
        let content = client.artifact_content(artifact.id).await?;
        download::write(content, &artifact.sha256, artifact.size_bytes, &path).await?;
        pulled.push(PulledArtifact { path, artifact });
    }
    Ok(pulled)
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
        let content = client.checkpoint_content(checkpoint.id).await;
        let written = match content {
            Ok(content) => download::write(content, &checkpoint.sha256, checkpoint.size_bytes, &path).await,
            Err(error) => Err(error.into()),
        };
        match written {
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

/// The name that a checkpoint gets.
pub(super) fn file_name(run: &RunSummary, kind: CheckpointKind) -> String {
    format!("{}-{kind}.safetensors", stem(run))
}

/// What the names of a run's files begin with: its name, made safe for any file system, and its short id.
fn stem(run: &RunSummary) -> String {
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
    format!("{name}-{}", short_id(run.id))
}
