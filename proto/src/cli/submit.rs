//! `motif submit`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use uuid::Uuid;

use super::output::{Output, short_id, short_uuid};
use super::pull::KindArg;
use super::run_ref::BaseRef;
use super::spec_file::{self, Assignment, Document};
use super::{CliError, study, watch};
use crate::client::Client;
use crate::run::{CheckpointKind, ExperimentAccepted};
use crate::spec::study::is_study;

/// How often a submission is sent until it is answered: for some seconds, as a restart of the coordinator takes.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true).multiple(true).args(["file", "preset", "base"]))]
pub(super) struct Submit {
    /// Spec or study in TOML or JSON; `-` reads the standard input. A study has a list of `experiments`
    #[arg(conflicts_with = "preset")]
    file: Option<PathBuf>,

    /// Take everything that is not set from this preset (see `motif presets`)
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,

    /// Start from this run: `latest`, an id, or at least 6 digits of one; or from a checkpoint, by its id
    #[arg(long, value_name = "RUN")]
    base: Option<BaseRef>,

    /// Which checkpoint of that run: the one with the least validation loss, or the newest
    #[arg(long, value_enum, requires = "base")]
    base_checkpoint: Option<KindArg>,

    /// Set a field of the spec, such as network.hidden=128; may be repeated
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    assignments: Vec<Assignment>,

    /// Seed of all randomness
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Name of the experiment
    #[arg(long)]
    name: Option<String>,

    /// Watch the run, or the study, until it ends
    #[arg(long)]
    watch: bool,
}

/// Submits under a key of its own, and again where no answer comes: it is one experiment however often it is sent.
async fn submit(client: &Client, spec: &Value) -> Result<ExperimentAccepted, CliError> {
    let key = Uuid::now_v7().to_string();
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match client.submit_once(spec, &key).await {
            Err(error) if error.is_transient() || error.code() == Some("request_running") => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            answer => return Ok(answer?),
        }
    }
    Ok(client.submit_once(spec, &key).await?)
}

impl Submit {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<ExitCode, CliError> {
        let mut document = self.document()?;
        if let Some(base) = &self.base {
            document.insert("base".to_owned(), base.resolve(client).await?.into());
        }
        let document = Value::Object(document);
        if is_study(&document) {
            return self.submit_study(client, out, &document).await;
        }
        let accepted = submit(client, &document).await?;
        let run = accepted.run.id;
        if out.json && self.watch {
            out.json_line(&accepted)?;
        } else if out.json {
            out.json(&accepted)?;
        } else {
            out.text(&format!(
                "Submitted {} as run {} ({run})",
                accepted.run.name,
                short_id(run)
            ))?;
        }
        if self.watch {
            return watch::follow(client, out, run).await;
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn submit_study(
        &self,
        client: &Client,
        out: &Output,
        document: &Value,
    ) -> Result<ExitCode, CliError> {
        if self.base.is_some() || self.base_checkpoint.is_some() || self.seed.is_some() {
            return Err(CliError::Usage(
                "--base, --base-checkpoint and --seed are for one experiment; a study says them for each of its own"
                    .to_owned(),
            ));
        }
        let study = client.submit_study(document).await?;
        let id = study.summary.id;
        if out.json && self.watch {
            out.json_line(&study)?;
        } else if out.json {
            out.json(&study)?;
        } else {
            out.text(&format!(
                "Submitted {} as study {} ({id}): {} runs",
                study.summary.name,
                short_uuid(id.0),
                study.summary.counts.total()
            ))?;
        }
        if self.watch {
            return study::follow(client, out, id).await;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The spec to send, but for its base: the file or the preset, then `--set` in the order given, then the other
    /// options.
    fn document(&self) -> Result<Document, CliError> {
        let mut document = match &self.file {
            Some(path) => spec_file::read(path)?,
            None => Document::new(),
        };
        if let Some(preset) = &self.preset {
            document.insert("preset".to_owned(), preset.as_str().into());
        }
        for assignment in &self.assignments {
            assignment.apply(&mut document)?;
        }
        if let Some(seed) = self.seed {
            document.insert("seed".to_owned(), seed.into());
        }
        if let Some(kind) = self.base_checkpoint {
            let kind = CheckpointKind::from(kind);
            document.insert("base_checkpoint".to_owned(), kind.as_str().into());
        }
        if let Some(name) = &self.name {
            document.insert("name".to_owned(), name.as_str().into());
        }
        Ok(document)
    }
}
