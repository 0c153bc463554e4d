use serde_json::{Value, json};

use super::base::{Base, BaseRequest};
use super::network::Activation;
use super::network::{Feedback, NetworkSpec};
use super::read::Choice;
use super::task::TaskName;
use super::training::{FrozenPart, Objective};
use super::{ExperimentKind, ExperimentSpec, MAX_SEED};
use crate::problem::FieldProblem;

fn problems(document: &Value) -> Vec<FieldProblem> {
    ExperimentSpec::resolve(document, None).expect_err("the document has mistakes")
}

fn resolve(document: &Value) -> ExperimentSpec {
    ExperimentSpec::resolve(document, None).expect("a valid spec")
}

fn only_problem(document: &Value) -> FieldProblem {
    let mut problems = problems(document);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

#[test]
fn an_empty_spec_is_the_default_experiment() {
    let spec = resolve(&json!({}));
    let training = spec.training.unwrap();
    assert_eq!(
        (spec.network.hidden(), training.batches, training.batch_size),
        (512, 75_000, 32)
    );
    assert_eq!(training.tasks, TaskName::BASE);
    assert_eq!(training.losses.muscle, 1e-2);
}

#[test]
fn a_spec_is_laid_over_its_preset() {
    let spec = resolve(&json!({
        "preset": "run_train_subsets_cr_base_model", "network": { "hidden": 32 }, "seed": 7,
    }));
    assert_eq!(spec.name, "run_train_subsets_cr_base_model");
    assert_eq!((spec.network.hidden(), spec.seed), (32, 7));
    assert_eq!(
        spec.training.unwrap().tasks,
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
fn networks_without_a_dynamics_loss_refuse_its_weight() {
    for network in [
        json!({ "activation": "tanh" }),
        json!({ "activation": "sigmoid" }),
        json!({ "activation": "linear" }),
        json!({ "kind": "gru" }),
    ] {
        let spec = resolve(&json!({ "network": network }));
        assert_eq!(spec.training.unwrap().losses.dynamics, 0.0);
        let asked = json!({ "network": network, "training": { "losses": { "dynamics": 1e-3 } } });
        assert_eq!(
            only_problem(&asked).pointer,
            "/training/losses/dynamics",
            "{network}"
        );
    }
}

#[test]
fn a_resolved_spec_survives_the_wire_and_resolves_to_itself() {
    let base = trained(&json!({ "preset": "demo" }));
    for (document, base) in [
        (json!({ "preset": "demo", "seed": 3, "tags": ["a"] }), None),
        (
            json!({ "preset": "train_gru128", "network": { "feedback": ["vision"] } }),
            None,
        ),
        (
            json!({ "network": two_regions(), "training": { "frozen": ["input"] } }),
            None,
        ),
        (
            json!({ "kind": "continue", "base": "x", "training": { "batches": 900 } }),
            Some(&base),
        ),
        (
            json!({ "kind": "evaluate", "base": "x", "evaluation": { "mode": "train", "speeds": [2, 0],
                    "delays": [25, 75], "noise": false } }),
            Some(&base),
        ),
        (
            json!({ "kind": "transfer", "base": "x", "evaluation": { "delay": 50 } }),
            Some(&base),
        ),
    ] {
        let spec = ExperimentSpec::resolve(&document, base).unwrap();
        let json = spec.to_canonical_json();
        assert_eq!(serde_json::from_str::<ExperimentSpec>(&json).unwrap(), spec);
        let again = ExperimentSpec::resolve(&serde_json::from_str(&json).unwrap(), base).unwrap();
        assert_eq!(again.to_canonical_json(), json);
    }
}

#[test]
fn fields_that_came_later_change_no_spec_s_bytes() {
    let before = concat!(
        r#"{"kind":"train","name":"experiment","seed":0,"tags":[],"priority":0,"#,
        r#""network":{"kind":"rnn","hidden":512,"activation":"softplus","noise_hidden":0.1,"noise_input":0.01,"#,
        r#""dt_ms":10.0,"time_constant_ms":20.0},"training":{"batches":75000,"batch_size":32,"#,
        r#""learning_rate":0.001,"clip":1.0,"save_every":500,"tasks":["DlyFigure8"],"losses":{"rate":0.001,"#,
        r#""weight":0.001,"muscle":0.01,"dynamics":0.001}},"resources":{"device":"any","slots":1,"labels":{}}}"#,
    );
    let spec = resolve(&json!({ "training": { "tasks": ["DlyFigure8"] } }));
    assert_eq!(spec.to_canonical_json(), before);
}

#[test]
fn a_gru_has_no_field_of_a_leaky_network() {
    let found = problems(&json!({ "network": {
        "kind": "gru", "activation": "relu", "noise_hidden": 0.1, "regions": {}, "hiden": 3,
    } }));
    let pointers: Vec<_> = found.iter().map(|problem| problem.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/network/activation",
            "/network/noise_hidden",
            "/network/regions",
            "/network/hiden"
        ]
    );
    assert!(
        found[0].detail.contains("a gru has no `activation`"),
        "{:?}",
        found[0]
    );
}

#[test]
fn a_preset_s_leaky_fields_fall_away_under_a_gru() {
    let spec = resolve(&json!({ "preset": "train_rnn256_softplus", "network": { "kind": "gru" } }));
    assert!(matches!(spec.network, NetworkSpec::Gru(ref gru) if gru.hidden == 256));
}

#[test]
fn the_two_families_of_tasks_cannot_be_mixed() {
    let pair = TaskName::PAIRS[0].name();
    let mixed = json!({ "training": { "tasks": ["DlyFigure8", pair] } });
    let problem = only_problem(&mixed);
    assert_eq!(problem.pointer, "/training/tasks");
    assert!(problem.detail.contains(pair), "{}", problem.detail);
    let other = json!({ "evaluation": { "tasks": [pair] } });
    assert_eq!(only_problem(&other).pointer, "/evaluation/tasks");
}

#[test]
fn something_must_be_left_to_train() {
    let frozen = resolve(&json!({ "training": { "frozen": ["output", "recurrent"] } }))
        .training
        .unwrap()
        .frozen;
    assert_eq!(frozen, [FrozenPart::Recurrent, FrozenPart::Output]);
    let all = json!({ "training": { "frozen": ["recurrent", "input", "output", "base_firing"] } });
    assert_eq!(only_problem(&all).pointer, "/training/frozen");
    let gru = json!({ "network": { "kind": "gru" }, "training": { "frozen": ["base_firing", "recurrent"] } });
    let frozen = resolve(&gru).training.unwrap().frozen;
    assert_eq!(frozen, [FrozenPart::Recurrent, FrozenPart::BaseFiring]);
}

#[test]
fn bounds_are_two_magnitudes_of_a_constrained_network() {
    let network = |bounds: Value, constrained: bool| json!({ "network": { "constrained": constrained, "recurrent_bounds": bounds } });
    let spec = resolve(&network(json!([0, 1.5]), true));
    let NetworkSpec::Rnn(rnn) = &spec.network else {
        panic!("an rnn")
    };
    assert_eq!((rnn.recurrent_bounds, rnn.input_bounds), (Some([0.0, 1.5]), None));
    for bounds in [
        json!([1.5, 0]),
        json!([0, 0]),
        json!([-1, 1]),
        json!([1]),
        json!(2),
        json!(["a", 1]),
    ] {
        let problem = only_problem(&network(bounds.clone(), true));
        assert_eq!(problem.pointer, "/network/recurrent_bounds", "{bounds}");
    }
    let mut scaled = network(json!([0, 1]), true);
    scaled["network"]["spectral_radius"] = json!(0.9);
    assert_eq!(only_problem(&scaled).pointer, "/network/spectral_radius");
    let free = only_problem(&network(json!([0, 1]), false));
    assert_eq!(free.pointer, "/network/recurrent_bounds");
    assert!(free.detail.contains("constrained"), "{}", free.detail);
}

#[test]
fn speeds_and_directions_lie_within_their_mode() {
    let at = |evaluation: Value| only_problem(&json!({ "evaluation": evaluation })).pointer;
    assert_eq!(at(json!({ "speeds": [0, 10] })), "/evaluation/speeds/1");
    assert_eq!(
        at(json!({ "mode": "train", "directions": [8] })),
        "/evaluation/directions/0"
    );
    assert_eq!(at(json!({ "speeds": [1, 1] })), "/evaluation/speeds/1");
    assert_eq!(at(json!({ "directions": [] })), "/evaluation/directions");
    assert_eq!(at(json!({ "delay": 30 })), "/evaluation/delay");
    assert_eq!(at(json!({ "delays": [25] })), "/evaluation/delays");
    let all: Vec<u32> = (0..10).rev().collect();
    let evaluation = resolve(&json!({ "evaluation": { "speeds": all, "directions": [9, 3] } })).evaluation;
    assert_eq!(
        (evaluation.speeds, evaluation.directions),
        (None, Some(vec![3, 9]))
    );
}

/// What an experiment leaves for others to start from.
fn trained(document: &Value) -> Base {
    Base::of(&resolve(document)).unwrap()
}

fn problems_on(base: &Base, document: &Value) -> Vec<FieldProblem> {
    ExperimentSpec::resolve(document, Some(base)).expect_err("the document has mistakes")
}

#[test]
fn what_needs_a_base_says_which() {
    for kind in ["continue", "transfer", "evaluate"] {
        assert_eq!(only_problem(&json!({ "kind": kind })).pointer, "/base");
    }
    let transfer = only_problem(&json!({ "preset": "run_train_subsets_cr_held_out_base_model" }));
    assert!(
        transfer.detail.contains("run_train_subsets_cr_base_model"),
        "{}",
        transfer.detail
    );
    assert_eq!(only_problem(&json!({ "base": "x" })).pointer, "/base");
    assert_eq!(
        only_problem(&json!({ "base_checkpoint": "best" })).pointer,
        "/base_checkpoint"
    );
    let pupil = json!({ "training": { "objective": "muscle_activity" } });
    assert_eq!(only_problem(&pupil).pointer, "/base");
}

#[test]
fn a_pupil_s_network_is_its_own() {
    let teacher = trained(&json!({ "network": { "kind": "gru", "hidden": 64 } }));
    let document =
        json!({ "base": "x", "network": { "hidden": 16 }, "training": { "objective": "muscle_activity" } });
    let spec = ExperimentSpec::resolve(&document, Some(&teacher)).unwrap();
    assert_eq!(
        (spec.network.hidden(), spec.network.activation()),
        (16, Some(Activation::Softplus))
    );
}

#[test]
fn a_continued_run_has_all_settings_of_its_base() {
    let document = json!({ "preset": "demo", "seed": 9, "network": { "noise_input": 0.02 },
        "training": { "clip": 2.0, "frozen": ["input"] }, "evaluation": { "noise": false },
        "compatibility": { "ignore_masks": true } });
    let base = trained(&document);
    let continued = json!({ "kind": "continue", "base": "x", "training": { "batches": 1200 } });
    let spec = ExperimentSpec::resolve(&continued, Some(&base)).unwrap();
    let mut expected = resolve(&document);
    expected.training.as_mut().unwrap().batches = 1200;
    assert_eq!(spec.base_checkpoint, Some(crate::run::CheckpointKind::Last));
    assert_eq!(
        (
            spec.seed,
            spec.network,
            spec.training,
            spec.evaluation,
            spec.compatibility
        ),
        (
            9,
            expected.network,
            expected.training,
            expected.evaluation,
            expected.compatibility
        )
    );
}

#[test]
fn a_transfer_takes_its_network_from_the_base_and_trains_on_position_alone() {
    let base = trained(&json!({ "preset": "demo", "seed": 9 }));
    let document = json!({ "preset": "run_train_compositional_env_base_model", "base": "x" });
    let spec = ExperimentSpec::resolve(&document, Some(&base)).unwrap();
    assert_eq!(spec.network, base.network);
    assert_eq!(spec.seed, 0);
    let training = spec.training.unwrap();
    assert_eq!(training.tasks, TaskName::PAIRS);
    let losses = training.losses;
    assert_eq!(
        (losses.rate, losses.weight, losses.muscle, losses.dynamics),
        (0.0, 0.0, 0.0, 0.0)
    );
    let frozen = json!({ "kind": "transfer", "base": "x", "training": { "frozen": ["output"] } });
    assert_eq!(problems_on(&base, &frozen)[0].pointer, "/training/frozen");
}

#[test]
fn a_network_that_does_not_fit_its_base_is_refused_with_both_shapes() {
    let base = trained(&json!({ "preset": "demo" }));
    let on_base = |network: Value| json!({ "kind": "evaluate", "base": "x", "network": network });
    let found = problems_on(&base, &on_base(json!({ "hidden": 128 })));
    assert_eq!((found.len(), found[0].pointer.as_str()), (1, "/network/hidden"));
    assert!(found[0].detail.contains("[128, 128]") && found[0].detail.contains("[64, 64]"));
    let found = problems_on(&base, &on_base(json!({ "kind": "gru" })));
    assert_eq!((found.len(), found[0].pointer.as_str()), (1, "/network/kind"));
    let found = problems_on(&base, &on_base(two_regions()));
    assert_eq!((found.len(), found[0].pointer.as_str()), (1, "/network/regions"));
    assert!(
        found[0].detail.contains("one region of 64 units"),
        "{}",
        found[0].detail
    );
    assert!(ExperimentSpec::resolve(&on_base(json!({ "noise_hidden": 0.0 })), Some(&base)).is_ok());
}

#[test]
fn an_evaluation_has_no_training_and_the_tasks_of_its_base() {
    let base = trained(&json!({ "preset": "run_train_subsets_reach_base_model" }));
    let document = json!({ "kind": "evaluate", "base": "x" });
    let spec = ExperimentSpec::resolve(&document, Some(&base)).unwrap();
    assert_eq!(spec.training, None);
    assert_eq!(
        spec.evaluated_tasks(),
        [TaskName::DlyHalfReach, TaskName::DlyFullReach]
    );
    let training = json!({ "kind": "evaluate", "base": "x", "training": { "batches": 3 } });
    assert_eq!(problems_on(&base, &training)[0].pointer, "/training");
    let pairs = json!({ "kind": "evaluate", "base": "x", "evaluation": { "tasks": [TaskName::PAIRS[3]] } });
    let found = problems_on(&base, &pairs);
    assert_eq!(found[0].pointer, "/evaluation/tasks");
    assert!(
        found[0].detail.contains("28") && found[0].detail.contains("38"),
        "{}",
        found[0].detail
    );
}

#[test]
fn a_network_of_several_regions_cannot_be_transferred() {
    let base = trained(&json!({ "network": two_regions() }));
    let found = problems_on(&base, &json!({ "kind": "transfer", "base": "x" }));
    assert_eq!((found.len(), found[0].pointer.as_str()), (1, "/base"));
}

#[test]
fn a_base_request_knows_the_preset_s_kind() {
    let asked = |document: Value| BaseRequest::of(&document);
    let transfer = json!({ "preset": "run_train_subsets_cr_held_out_base_model", "base": "b" });
    let request = asked(transfer).unwrap();
    assert_eq!(
        (request.kind, request.checkpoint),
        (ExperimentKind::Transfer, crate::run::CheckpointKind::Best)
    );
    let continued = asked(json!({ "preset": "continue_training", "base": "b" })).unwrap();
    assert_eq!(continued.checkpoint, crate::run::CheckpointKind::Last);
    assert_eq!(asked(json!({ "preset": "demo" })), None);
}

/// A network of two regions and two inputs.
fn two_regions() -> Value {
    json!({ "regions": {
        "recurrent": [
            { "name": "m1", "units": 20, "learnable_base_firing": true, "parent": "cortex" },
            { "name": "str", "units": 12, "sign": "neg", "base_firing": 0.5 },
        ],
        "inputs": [{ "name": "rules", "units": 10 }, { "name": "senses", "units": 18 }],
        "recurrent_connections": [
            { "src": "m1", "dst": "m1" }, { "src": "m1", "dst": "str", "sparsity": 0.25 },
        ],
        "input_connections": [{ "src": "rules", "dst": "m1" }, { "src": "senses", "dst": "str" }],
    } })
}

mod presets;
mod regions;
mod sweep;
