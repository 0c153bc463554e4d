use serde_json::json;

use super::super::ExperimentKind;
use super::super::network::Activation;
use super::super::preset::{Preset, PresetGroup, PresetInfo};
use super::super::read::Choice;
use super::super::task::TaskName;
use super::{Feedback, FrozenPart, Objective, resolve};

/// The table of the model family: id, kind of network, units, tasks' rules, folder.
const FAMILY: [(&str, &str, u32, &[usize], &str); 20] = [
    ("train_rnn128_softplus", "softplus", 128, ALL, "rnn128_softplus"),
    (
        "train_rnn256_softplus",
        "softplus",
        256,
        ALL,
        "rnn256_softplus_sd1e-3_ma1e-2",
    ),
    (
        "train_rnn256_softplus_noreg",
        "softplus",
        256,
        ALL,
        "rnn256_softplus_noreg",
    ),
    ("train_rnn512_softplus", "softplus", 512, ALL, "rnn512_softplus"),
    ("train_rnn128_relu", "relu", 128, ALL, "rnn128_relu"),
    ("train_rnn256_relu", "relu", 256, ALL, "rnn256_relu"),
    ("train_rnn512_relu", "relu", 512, ALL, "rnn512_relu"),
    ("train_rnn128_tanh", "tanh", 128, ALL, "rnn128_tanh"),
    ("train_rnn256_tanh", "tanh", 256, ALL, "rnn256_tanh"),
    ("train_rnn256_tanh_noreg", "tanh", 256, ALL, "rnn256_tanh_noreg"),
    ("train_rnn512_tanh", "tanh", 512, ALL, "rnn512_tanh"),
    ("train_gru256", "gru", 256, ALL, "gru256"),
    ("train_gru512", "gru", 512, ALL, "gru512"),
    ("train_gru1024", "gru", 1024, ALL, "gru1024"),
    (
        "run_train_subsets_all_base_model",
        "softplus",
        256,
        &[0, 1, 3, 4, 5, 6, 8, 9],
        "rnn256_softplus_heldout",
    ),
    (
        "run_train_subsets_nocr_base_model",
        "softplus",
        256,
        &[0, 3, 4, 5, 8, 9],
        "rnn256_softplus_heldout_nocr",
    ),
    (
        "run_train_subsets_nosin_base_model",
        "softplus",
        256,
        &[0, 1, 5, 6],
        "rnn256_softplus_heldout_nosin",
    ),
    (
        "run_train_subsets_reach_base_model",
        "softplus",
        256,
        &[0, 5],
        "rnn256_softplus_heldout_reach",
    ),
    (
        "run_train_subsets_cr_base_model",
        "softplus",
        256,
        &[1, 6],
        "rnn256_softplus_heldout_cr",
    ),
    (
        "run_train_subsets_sin_base_model",
        "softplus",
        256,
        &[3, 4, 8, 9],
        "rnn256_softplus_heldout_sin",
    ),
];

const ALL: &[usize] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/// The held-out transfers: id, base, folder.
const TRANSFERS: [(&str, &str, &str); 6] = [
    (
        "run_train_subsets_held_out_base_model",
        "rnn256_softplus_heldout",
        "rnn256_softplus_heldout_transfer",
    ),
    (
        "run_train_subsets_nocr_held_out_base_model",
        "rnn256_softplus_heldout_nocr",
        "rnn256_softplus_heldout_nocr_transfer",
    ),
    (
        "run_train_subsets_nosin_held_out_base_model",
        "rnn256_softplus_heldout_nosin",
        "rnn256_softplus_heldout_nosin_transfer",
    ),
    (
        "run_train_subsets_reach_held_out_base_model",
        "rnn256_softplus_heldout_reach",
        "rnn256_softplus_heldout_reach_transfer",
    ),
    (
        "run_train_subsets_cr_held_out_base_model",
        "rnn256_softplus_heldout_cr",
        "rnn256_softplus_heldout_cr_transfer",
    ),
    (
        "run_train_subsets_sin_held_out_base_model",
        "rnn256_softplus_heldout_sin",
        "rnn256_softplus_heldout_sin_transfer",
    ),
];

fn info(id: &str) -> PresetInfo {
    let mut presets = PresetInfo::all();
    let place = presets.iter().position(|preset| preset.id == id);
    presets.swap_remove(place.unwrap_or_else(|| panic!("no preset {id}")))
}

#[test]
fn every_preset_is_described_and_but_for_continue_training_a_whole_spec() {
    for preset in PresetInfo::all() {
        assert!(!preset.description.is_empty(), "{}", preset.id);
        match preset.spec {
            Some(spec) => assert_eq!(spec.preset.as_ref(), Some(&preset.id)),
            None => assert_eq!(preset.id, "continue_training"),
        }
    }
    let ids: std::collections::BTreeSet<_> = Preset::ids().collect();
    assert_eq!(ids.len(), Preset::all().len(), "ids are unique");
}

#[test]
fn presets_that_train_have_the_hyperparameters_of_the_family() {
    for (id, network, hidden, rules, stem) in FAMILY {
        let spec = resolve(&json!({ "preset": id }));
        assert_eq!(spec.kind, ExperimentKind::Train, "{id}");
        let activation = spec.network.activation().map_or("gru", Activation::name);
        assert_eq!((activation, spec.network.hidden()), (network, hidden), "{id}");
        let training = spec.training.unwrap();
        let tasks: Vec<_> = rules.iter().map(|&rule| TaskName::BASE[rule]).collect();
        assert_eq!(training.tasks, tasks, "{id}");
        assert_eq!(
            (training.batches, training.batch_size, training.save_every),
            (75_000, 32, 500),
            "{id}"
        );
        assert_eq!((training.learning_rate, training.clip), (1e-3, 1.0), "{id}");
        let losses = training.losses;
        let weights = [losses.rate, losses.weight, losses.muscle, losses.dynamics];
        let dynamics = if matches!(network, "softplus" | "relu") {
            1e-3
        } else {
            0.0
        };
        let expected = if id.ends_with("noreg") {
            [0.0; 4]
        } else {
            [1e-3, 1e-3, 1e-2, dynamics]
        };
        assert_eq!(weights, expected, "{id}");
        assert_eq!(Preset::find(id).unwrap().output_stem, Some(stem), "{id}");
    }
    let gru = resolve(&json!({ "preset": "train_gru128" }));
    assert_eq!(gru.network.hidden(), 128);
}

#[test]
fn held_out_transfers_learn_the_two_held_out_circles_on_their_bases() {
    for (id, base, stem) in TRANSFERS {
        let preset = Preset::find(id).unwrap();
        assert_eq!(
            (preset.base_stem(), preset.output_stem),
            (Some(base), Some(stem)),
            "{id}"
        );
        let spec = info(id).spec.unwrap();
        assert_eq!(
            (spec.kind, spec.network.hidden()),
            (ExperimentKind::Transfer, 256),
            "{id}"
        );
        let training = spec.training.unwrap();
        assert_eq!(training.tasks, [TaskName::BASE[2], TaskName::BASE[7]], "{id}");
        let losses = training.losses;
        assert_eq!(
            [losses.rate, losses.weight, losses.muscle, losses.dynamics],
            [0.0; 4],
            "{id}"
        );
        assert_eq!(training.batches, 75_000, "{id}");
    }
}

#[test]
fn the_composable_transfer_learns_all_pairs_on_the_base_network() {
    let preset = Preset::find("run_train_compositional_env_base_model").unwrap();
    assert_eq!(preset.base_stem(), Some("rnn256_softplus_sd1e-3_ma1e-2"));
    assert_eq!(preset.output_stem, Some("base_rnn_composable_env_trainloss"));
    assert_eq!(
        info(preset.id).spec.unwrap().training.unwrap().tasks,
        TaskName::PAIRS
    );
}

#[test]
fn presets_beyond_the_original_differ_in_what_they_say() {
    let spec = |id| info(id).spec.unwrap();
    let reservoir = spec("reservoir_rnn256_softplus").training.unwrap();
    assert_eq!(reservoir.frozen, [FrozenPart::Recurrent]);
    assert_eq!(
        spec("nofeedback_rnn256_softplus").network.feedback(),
        [] as [Feedback; 0]
    );
    assert_eq!(
        spec("muscles_rnn256_softplus").objective(),
        Some(Objective::MuscleActivity)
    );
    assert!(info("muscles_rnn256_softplus").needs_base);
    let beyond = PresetInfo::all()
        .into_iter()
        .filter(|preset| preset.group == PresetGroup::Beyond);
    let single = beyond
        .filter_map(|preset| preset.spec?.training)
        .filter(|training| training.tasks.len() == 1);
    let tasks: Vec<_> = single.map(|training| training.tasks[0]).collect();
    assert_eq!(tasks, TaskName::BASE, "one preset for each task alone");
}
