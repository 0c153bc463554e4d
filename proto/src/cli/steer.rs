//! `motif cancel`, `motif pause`, `motif resume`, `motif retry`.

use clap::Args;
use comfy_table::Cell;

use super::output::{Output, left, short_id, standing};
use super::run_ref::RunRef;
use super::{CliError, problem};
use crate::client::{Client, ClientError};
use crate::id::RunId;
use crate::run::RunSummary;

/// Runs to ask something of.
#[derive(Debug, Args)]
pub(super) struct Runs {
    /// The runs: `latest`, an id, or at least 6 digits of one
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<RunRef>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Cancel,
    Pause,
    Resume,
    Retry,
}

impl Wish {
    async fn send(self, client: &Client, run: RunId) -> Result<RunSummary, ClientError> {
        match self {
            Self::Cancel => client.cancel(run).await,
            Self::Pause => client.pause(run).await,
            Self::Resume => client.resume(run).await,
            Self::Retry => client.retry(run).await,
        }
    }
}

impl Runs {
    /// Asks of every run, also after one refused.
    pub(super) async fn ask(self, wish: Wish, client: &Client, out: &Output) -> Result<(), CliError> {
        let mut ids = Vec::with_capacity(self.runs.len());
        for run in &self.runs {
            ids.push(run.resolve(client).await?);
        }
        let (mut answered, mut refused) = (Vec::new(), 0);
        for id in ids {
            match wish.send(client, id).await {
                Ok(run) => answered.push(run),
                Err(error) if error.code().is_some() => {
                    problem::report(&error.into());
                    refused += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if out.json {
            out.json(&answered)?;
        } else if !answered.is_empty() {
            out.text(&table(out, &answered))?;
        }
        match refused {
            0 => Ok(()),
            1 => Err(CliError::Failed("a run could not do as asked".to_owned())),
            several => Err(CliError::Failed(format!("{several} runs could not do as asked"))),
        }
    }
}

fn table(out: &Output, runs: &[RunSummary]) -> String {
    let rows = runs
        .iter()
        .map(|run| vec![Cell::new(short_id(run.id)), Cell::new(&run.name), standing(run)]);
    out.table(&[left("RUN"), left("NAME"), left("STATE")], rows.collect())
}
