//! `motif delete`.

use clap::Args;
use serde_json::json;

use super::CliError;
use super::output::{Output, short_id};
use super::run_ref::RunRef;
use crate::client::Client;
use crate::id::RunId;
use crate::run::MAX_DELETED;

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// The runs: each `latest`, an id, or at least 6 digits of one. All go or none
    #[arg(required = true)]
    runs: Vec<RunRef>,

    /// Cancel those that have not ended
    #[arg(long)]
    cancel: bool,
}

impl Delete {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        if self.runs.len() > MAX_DELETED {
            return Err(CliError::Usage(format!("at most {MAX_DELETED} runs go at once")));
        }
        let mut ids: Vec<RunId> = Vec::with_capacity(self.runs.len());
        for run in self.runs {
            ids.push(run.resolve(client).await?);
        }
        if self.cancel {
            for &id in &ids {
                if !client.run(id).await?.summary.state.is_final() {
                    client.cancel(id).await?;
                }
            }
        }
        client.delete_runs(&ids).await?;
        if out.json {
            return out.json(&json!({ "deleted": ids }));
        }
        let names: Vec<String> = ids.iter().map(|&id| short_id(id)).collect();
        out.text(&format!("deleted {}", names.join(", ")))
    }
}
