//! `motif lineage`: which bytes came from which run.

use clap::Args;
use comfy_table::Cell;

use super::CliError;
use super::output::{Output, left, right, short_id, state};
use super::run_ref::RunRef;
use crate::client::Client;
use crate::id::RunId;
use crate::study::{Lineage, LineageRun};

/// Digits of a hash that a table shows.
const DIGITS: usize = 16;

#[derive(Debug, Args)]
pub(super) struct LineageOf {
    /// The run: `latest`, an id, or at least 6 digits of one
    run: RunRef,
}

impl LineageOf {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        let run = self.run.resolve(client).await?;
        let lineage = client.lineage(run).await?;
        if out.json {
            return out.json(&lineage);
        }
        let mut text = tree(out, &lineage);
        if lineage.truncated {
            text.push_str("\n\nThere are more relatives than one answer can have.");
        }
        out.text(&text)
    }
}

/// Every run under the one that it starts from, with the checkpoint in between.
pub(super) fn tree(out: &Output, lineage: &Lineage) -> String {
    let mut rows = Vec::new();
    let is_root = |run: &&LineageRun| !lineage.edges.iter().any(|edge| edge.to == run.run);
    for root in lineage.runs.iter().filter(is_root) {
        add_branch(lineage, root, "", "", &mut rows);
    }
    let columns = [
        left("RUN"),
        left("NAME"),
        left("KIND"),
        right("SEED"),
        left("STATE"),
        left("FROM CHECKPOINT"),
        left("SHA-256"),
    ];
    out.table(&columns, rows)
}

fn add_branch(lineage: &Lineage, run: &LineageRun, lead: &str, below: &str, rows: &mut Vec<Vec<Cell>>) {
    let edge = lineage.edges.iter().find(|edge| edge.to == run.run);
    let (checkpoint, sha256) = match edge {
        None => ("-".to_owned(), "-".to_owned()),
        Some(edge) => match &edge.checkpoint {
            None => (format!("{} to come", edge.kind), "-".to_owned()),
            Some(bytes) => (
                format!("{} after {} batches", edge.kind, bytes.next_batch),
                bytes.sha256.chars().take(DIGITS).collect(),
            ),
        },
    };
    let mark = if run.run == lineage.run { " ←" } else { "" };
    rows.push(vec![
        Cell::new(format!("{lead}{}{mark}", short_id(run.run))),
        Cell::new(&run.name),
        Cell::new(run.kind.as_str()),
        Cell::new(run.seed),
        state(run.state),
        Cell::new(checkpoint),
        Cell::new(sha256),
    ]);
    let children: Vec<RunId> = lineage
        .edges
        .iter()
        .filter(|edge| edge.from == run.run)
        .map(|edge| edge.to)
        .collect();
    let children: Vec<&LineageRun> = lineage
        .runs
        .iter()
        .filter(|other| children.contains(&other.run))
        .collect();
    for (i, child) in children.iter().enumerate() {
        let (corner, line) = if i + 1 == children.len() {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        add_branch(
            lineage,
            child,
            &format!("{below}{corner}"),
            &format!("{below}{line}"),
            rows,
        );
    }
}
