//! `motif presets`.

use comfy_table::Cell;

use super::CliError;
use super::output::{Output, left, right};
use crate::client::Client;
use crate::spec::preset::{PresetInfo, PresetList};

pub(super) async fn run(client: &Client, out: &Output) -> Result<(), CliError> {
    let presets = client.presets().await?;
    if out.json {
        return out.json(&PresetList { presets });
    }
    out.text(&table(out, &presets))
}

fn table(out: &Output, presets: &[PresetInfo]) -> String {
    let rows = presets.iter().map(|preset| {
        vec![
            Cell::new(&preset.id),
            Cell::new(preset.spec.network.hidden),
            Cell::new(preset.spec.training.batches),
            Cell::new(&preset.description),
        ]
    });
    out.table(
        &[
            left("PRESET"),
            right("UNITS"),
            right("BATCHES"),
            left("WHAT IT IS FOR"),
        ],
        rows.collect(),
    )
}
