use serde_json::{Value, json};

use super::network::Activation;
use super::preset::{Preset, PresetInfo};
use super::read::Choice;
use super::training::TaskName;
use super::{ExperimentSpec, MAX_SEED};
use crate::problem::FieldProblem;

fn problems(document: &Value) -> Vec<FieldProblem> {
    ExperimentSpec::resolve(document).expect_err("the document has mistakes")
}

fn only_problem(document: &Value) -> FieldProblem {
    let mut problems = problems(document);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

#[test]
fn an_empty_spec_is_the_default_experiment() {
    let spec = ExperimentSpec::resolve(&json!({})).unwrap();
    assert_eq!(
        (
            spec.network.hidden,
            spec.training.batches,
            spec.training.batch_size
        ),
        (512, 75_000, 32)
    );
    assert_eq!(spec.training.tasks.len(), 10);
    assert_eq!(spec.training.losses.muscle, 1e-2);
}

#[test]
fn a_spec_is_laid_over_its_preset() {
    let spec = ExperimentSpec::resolve(&json!({
        "preset": "run_train_subsets_cr_base_model", "network": { "hidden": 32 }, "seed": 7,
    }))
    .unwrap();
    assert_eq!(spec.name, "run_train_subsets_cr_base_model");
    assert_eq!((spec.network.hidden, spec.seed), (32, 7));
    assert_eq!(
        spec.training.tasks,
        [TaskName::DlyHalfCircleClk, TaskName::DlyFullCircleClk]
    );
}

#[test]
fn an_unknown_field_is_named_with_the_nearest_known_one() {
    let problem = only_problem(&json!({ "network": { "hiden": 64 } }));
    assert_eq!(problem.pointer, "/network/hiden");
    assert_eq!(problem.given, Some(json!(64)));
    assert_eq!(problem.nearest.as_deref(), Some("hidden"));
    assert!(problem.allowed.unwrap().contains("activation"));
}

#[test]
fn an_unknown_field_is_escaped_in_its_pointer() {
    assert_eq!(only_problem(&json!({ "a/b~c": 1 })).pointer, "/a~1b~0c");
}

#[test]
fn every_mistake_is_reported_at_once() {
    let found = problems(&json!({
        "seed": -1,
        "network": { "hidden": 0, "activation": "softmax" },
        "training": { "batches": "many", "tasks": ["DlyHalfReech", 3] },
        "resources": { "device": "tpu" },
    }));
    let pointers: Vec<_> = found.iter().map(|problem| problem.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/seed",
            "/network/hidden",
            "/network/activation",
            "/training/batches",
            "/training/tasks/0",
            "/training/tasks/1",
            "/resources/device"
        ]
    );
    assert_eq!(found[1].allowed.as_deref(), Some("an integer from 1 to 4096"));
    assert_eq!(found[4].nearest.as_deref(), Some("DlyHalfReach"));
}

#[test]
fn an_unknown_preset_is_named_with_the_nearest_known_one() {
    let problem = only_problem(&json!({ "preset": "train_rnn256_softplu" }));
    assert_eq!(problem.pointer, "/preset");
    assert_eq!(problem.nearest.as_deref(), Some("train_rnn256_softplus"));
}

#[test]
fn a_document_that_is_no_table_is_refused() {
    for document in [json!([]), json!("x"), json!(null), json!(3)] {
        assert_eq!(only_problem(&document).pointer, "");
    }
    assert_eq!(only_problem(&json!({ "network": [] })).pointer, "/network");
}

#[test]
fn numbers_must_have_the_right_type_and_range() {
    for (document, pointer) in [
        (json!({ "seed": 1.5 }), "/seed"),
        (json!({ "seed": MAX_SEED + 1 }), "/seed"),
        (json!({ "priority": 1001 }), "/priority"),
        (
            json!({ "training": { "learning_rate": 0 } }),
            "/training/learning_rate",
        ),
        (
            json!({ "training": { "learning_rate": true } }),
            "/training/learning_rate",
        ),
        (
            json!({ "network": { "time_constant_ms": 5 } }),
            "/network/time_constant_ms",
        ),
        (json!({ "name": "" }), "/name"),
        (json!({ "name": "a\u{0}b" }), "/name"),
        (json!({ "tags": ["ok", 1] }), "/tags/1"),
    ] {
        assert_eq!(only_problem(&document).pointer, pointer, "{document}");
    }
}

#[test]
fn tasks_must_be_named_once_and_at_least_one() {
    assert_eq!(
        only_problem(&json!({ "training": { "tasks": [] } })).pointer,
        "/training/tasks"
    );
    let twice = json!({ "training": { "tasks": ["DlyFigure8", "DlyFigure8"] } });
    assert_eq!(only_problem(&twice).pointer, "/training/tasks/1");
}

#[test]
fn tanh_has_no_dynamics_loss() {
    let spec = ExperimentSpec::resolve(&json!({ "network": { "activation": "tanh" } })).unwrap();
    assert_eq!(spec.training.losses.dynamics, 0.0);
    let asked =
        json!({ "network": { "activation": "tanh" }, "training": { "losses": { "dynamics": 1e-3 } } });
    assert_eq!(only_problem(&asked).pointer, "/training/losses/dynamics");
}

#[test]
fn every_preset_is_a_valid_spec_and_described() {
    for preset in PresetInfo::all() {
        assert!(!preset.description.is_empty(), "{}", preset.id);
        assert_eq!(preset.spec.preset.as_deref(), Some(preset.id.as_str()));
    }
    let ids: std::collections::BTreeSet<_> = Preset::ids().collect();
    assert_eq!(ids.len(), Preset::all().len(), "ids are unique");
}

#[test]
fn presets_have_the_hyperparameters_of_the_family() {
    let of = |id: &str| ExperimentSpec::resolve(&json!({ "preset": id })).unwrap();
    let base = of("train_rnn256_softplus");
    assert_eq!(
        (base.network.hidden, base.network.activation),
        (256, Activation::Softplus)
    );
    assert_eq!((base.training.batches, base.training.save_every), (75_000, 500));
    assert_eq!(base.training.losses.dynamics, 1e-3);
    let bare = of("train_rnn256_tanh_noreg").training.losses;
    assert_eq!(
        (bare.rate, bare.weight, bare.muscle, bare.dynamics),
        (0.0, 0.0, 0.0, 0.0)
    );
    let sinusoids = of("run_train_subsets_sin_base_model").training.tasks;
    assert_eq!(
        sinusoids.iter().map(|task| task.name()).collect::<Vec<_>>(),
        ["DlySinusoid", "DlySinusoidInv", "DlyFigure8", "DlyFigure8Inv"]
    );
}

#[test]
fn a_resolved_spec_survives_the_wire_and_resolves_to_itself() {
    let spec = ExperimentSpec::resolve(&json!({ "preset": "demo", "seed": 3, "tags": ["a"] })).unwrap();
    let json = spec.to_canonical_json();
    assert_eq!(serde_json::from_str::<ExperimentSpec>(&json).unwrap(), spec);
    let again = ExperimentSpec::resolve(&serde_json::from_str(&json).unwrap()).unwrap();
    assert_eq!(again.to_canonical_json(), json);
}
