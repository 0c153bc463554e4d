//! `motif queue`.

use comfy_table::Cell;

use super::CliError;
use super::output::{Output, left, right, state};
use crate::client::Client;
use crate::run::{Queue, RunState};

pub(super) async fn run(client: &Client, out: &Output) -> Result<(), CliError> {
    let queue = client.queue().await?;
    if out.json {
        return out.json(&queue);
    }
    out.text(&table(out, &queue))
}

/// How many runs there are in each state.
pub(super) fn table(out: &Output, queue: &Queue) -> String {
    let rows = RunState::ALL.map(|each| vec![state(each), Cell::new(queue.count(each))]);
    out.table(&[left("STATE"), right("RUNS")], rows.into())
}
