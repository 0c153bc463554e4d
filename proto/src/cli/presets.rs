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
    out.text(&listing(out, &presets))
}

/// A table for each group, under its heading. A group is what stands together under one heading.
fn listing(out: &Output, presets: &[PresetInfo]) -> String {
    let groups = presets.chunk_by(|a, b| a.group == b.group);
    let tables = groups.map(|group| format!("{}\n\n{}\n", group[0].group.heading(), table(out, group)));
    tables.collect::<Vec<_>>().join("\n")
}

fn table(out: &Output, presets: &[PresetInfo]) -> String {
    let rows = presets.iter().map(|preset| {
        let network = preset.spec.as_ref().map(|spec| {
            let network = &spec.network;
            format!("{} {}", network.kind().as_str(), network.hidden())
        });
        let training = preset.spec.as_ref().and_then(|spec| spec.training.as_ref());
        let batches = training.map(|training| training.batches.to_string());
        let of_base = || "its base's".to_owned();
        vec![
            Cell::new(&preset.id),
            Cell::new(network.unwrap_or_else(of_base)),
            Cell::new(batches.unwrap_or_else(of_base)),
            Cell::new(description(preset)),
        ]
    });
    out.table(
        &[
            left("PRESET"),
            left("NETWORK"),
            right("BATCHES"),
            left("WHAT IT IS FOR"),
        ],
        rows.collect(),
    )
}

fn description(preset: &PresetInfo) -> String {
    match &preset.base_preset {
        Some(base) => format!("{}; base: {base}", preset.description),
        None => preset.description.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_listed_under_the_headings_of_their_groups() {
        let listing = listing(&Output::plain(), &PresetInfo::all());
        let at = |text: &str| {
            listing
                .find(text)
                .unwrap_or_else(|| panic!("no {text} in {listing}"))
        };
        assert!(at("All ten tasks\n") < at("train_gru1024"));
        assert!(at("train_gru1024") < at("Transfers"));
        assert!(at("Transfers") < at("run_train_compositional_env_base_model"));
        let continued = listing
            .lines()
            .find(|line| line.starts_with("continue_training"))
            .unwrap();
        assert!(continued.contains("its base's"), "{continued}");
    }
}
