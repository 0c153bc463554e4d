//! `motif cancel`.

use clap::Args;

use super::CliError;
use super::output::{Output, short_id};
use super::run_ref::RunRef;
use crate::client::Client;

#[derive(Debug, Args)]
pub(super) struct Cancel {
    /// The run: `latest`, an id, or at least 6 digits of one
    run: RunRef,
}

impl Cancel {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        let id = self.run.resolve(client).await?;
        client.cancel(id).await?;
        let run = client.run(id).await?;
        if out.json {
            return out.json(&run);
        }
        out.text(&format!(
            "{} ({}) is {}",
            run.summary.name,
            short_id(id),
            run.summary.state
        ))
    }
}
