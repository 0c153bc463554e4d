//! `motif edit`.

use clap::Args;

use super::CliError;
use super::output::{Output, short_id};
use super::run_ref::RunRef;
use crate::client::Client;
use crate::run::RunChange;

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true)
    .args(["name", "tags", "untagged", "notes", "priority"])))]
pub(super) struct Edit {
    /// The run: `latest`, an id, or at least 6 digits of one
    run: RunRef,

    /// Its new name
    #[arg(long)]
    name: Option<String>,

    /// A tag; all that are given take the place of those it has
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,

    /// Take away its tags
    #[arg(long, conflicts_with = "tags")]
    untagged: bool,

    /// Words about it, in place of those it has
    #[arg(long)]
    notes: Option<String>,

    /// From -1000 to 1000; higher goes first
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<i32>,
}

impl Edit {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        let id = self.run.resolve(client).await?;
        let change = RunChange {
            name: self.name,
            tags: (self.untagged || !self.tags.is_empty()).then_some(self.tags),
            notes: self.notes,
            priority: self.priority,
        };
        let run = client.change(id, &change).await?;
        if out.json {
            return out.json(&run);
        }
        out.text(&format!("{} ({}) was changed", run.summary.name, short_id(id)))
    }
}
