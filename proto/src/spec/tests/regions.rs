use serde_json::{Value, json};

use super::super::regions::{RegionsSpec, Sign};
use super::{only_problem, problems, resolve, two_regions};

/// The two regions with one field replaced.
fn changed(pointer: &str, value: Value) -> Value {
    let mut network = two_regions();
    *network.pointer_mut(pointer).expect("the field is there") = value;
    json!({ "network": network })
}

#[test]
fn hidden_units_are_the_sum_of_the_regions() {
    let spec = resolve(&json!({ "network": two_regions() }));
    assert_eq!(spec.network.hidden(), 32);
    let over_preset = resolve(&json!({ "preset": "train_rnn256_softplus", "network": two_regions() }));
    assert_eq!(over_preset.network.hidden(), 32);
    let mut network = two_regions();
    network["hidden"] = json!(33);
    assert_eq!(
        only_problem(&json!({ "network": network })).pointer,
        "/network/hidden"
    );
}

#[test]
fn an_unknown_region_in_a_connection_is_named_with_the_known_ones() {
    let problem = only_problem(&changed("/regions/recurrent_connections/1/dst", json!("srt")));
    assert_eq!(problem.pointer, "/network/regions/recurrent_connections/1/dst");
    assert_eq!(problem.nearest.as_deref(), Some("str"));
    assert_eq!(problem.allowed.as_deref(), Some("one of m1, str"));
    let problem = only_problem(&changed("/regions/input_connections/0/src", json!("m1")));
    assert_eq!(problem.pointer, "/network/regions/input_connections/0/src");
    assert_eq!(problem.allowed.as_deref(), Some("one of rules, senses"));
}

#[test]
fn input_regions_take_every_observed_number() {
    let problem = only_problem(&changed("/regions/inputs/1/units", json!(17)));
    assert_eq!(problem.pointer, "/network/regions/inputs");
    assert!(
        problem.detail.contains("27") && problem.detail.contains("28"),
        "{}",
        problem.detail
    );
}

#[test]
fn names_of_regions_and_tensors_are_unique() {
    let at = |pointer: &str, value: &str| only_problem(&changed(pointer, json!(value))).pointer;
    assert_eq!(
        at("/regions/recurrent/0/parent", "str"),
        "/network/regions/recurrent/0/parent"
    );
    let dotted = problems(&changed("/regions/inputs/1/name", json!("sen.ses")));
    assert_eq!(dotted[0].pointer, "/network/regions/inputs/1/name");
    let twice = problems(&changed("/regions/inputs/0/name", json!("m1")));
    assert!(
        twice
            .iter()
            .any(|problem| problem.pointer == "/network/regions/inputs/0/name")
    );
    let connection = json!({ "src": "m1", "dst": "m1", "sparsity": 0.5 });
    let problem = only_problem(&changed("/regions/recurrent_connections/1", connection));
    assert_eq!(problem.pointer, "/network/regions/recurrent_connections/1");
    assert!(problem.detail.contains("twice"), "{}", problem.detail);
}

#[test]
fn different_connections_may_not_share_a_tensor_s_name() {
    let region = |name: &str| json!({ "name": name, "units": 4 });
    let network = json!({ "regions": {
        "recurrent": [region("a"), region("b_c"), region("a_b"), region("c")],
        "inputs": [{ "name": "i", "units": 28 }],
        "recurrent_connections": [{ "src": "a", "dst": "b_c" }, { "src": "a_b", "dst": "c" }],
    } });
    let found = problems(&json!({ "network": network }));
    assert_eq!(found[0].pointer, "/network/regions/recurrent_connections/1");
    assert!(
        found[0].detail.contains("`a_b_c_weight_mask`"),
        "{}",
        found[0].detail
    );
}

#[test]
fn a_region_needs_units_and_a_network_regions() {
    let found = problems(&json!({ "network": { "regions": { "recurrent": [{ "name": "a" }] } } }));
    let pointers: Vec<_> = found.iter().map(|problem| problem.pointer.as_str()).collect();
    assert!(
        pointers.contains(&"/network/regions/recurrent/0/units"),
        "{pointers:?}"
    );
    assert!(pointers.contains(&"/network/regions/inputs"), "{pointers:?}");
}

#[test]
fn a_configuration_file_has_the_family_s_words_and_defaults() {
    let regions = RegionsSpec::from_configuration(&json!({
        "recurrent_regions": [
            { "num_units": 3, "parent_region": null, "device": "cuda" },
            { "name": "stn", "num_units": 2, "sign": "neg", "base_firing": 1, "learnable_bias": true, "init": 0.5 },
        ],
        "input_regions": [{ "num_units": 28 }],
        "recurrent_connections": [{ "src_region": "region_0", "dst_region": "stn", "sparsity": null }],
        "input_connections": [{ "src_region": "inp_0", "dst_region": "stn", "sparsity": 0.5 }],
    }))
    .unwrap();
    assert_eq!(regions.recurrent_names().collect::<Vec<_>>(), ["region_0", "stn"]);
    assert_eq!((regions.hidden(), regions.observed()), (5, 28));
    let stn = &regions.recurrent[1];
    assert_eq!((stn.sign, stn.base_firing, stn.initial_x), (Sign::Neg, 1.0, 0.5));
    assert!(stn.learnable_base_firing && !regions.recurrent[0].learnable_base_firing);
    assert_eq!(regions.recurrent_connections[0].sparsity, 0.0);
    // What was read is a table of a spec as it stands.
    let spec = resolve(&json!({ "network": { "regions": regions } }));
    assert_eq!(spec.network.regions(), Some(&regions));
}

#[test]
fn an_unknown_region_in_a_configuration_file_is_named_in_the_file_s_words() {
    let found = RegionsSpec::from_configuration(&json!({
        "recurrent_regions": [{ "name": "m1", "num_units": 3 }],
        "input_regions": [{ "num_units": 28 }],
        "recurrent_connections": [{ "src_region": "m2", "dst_region": "m1" }],
    }))
    .expect_err("m2 is unknown");
    assert_eq!(
        (found.len(), found[0].pointer.as_str()),
        (1, "/recurrent_connections/0/src_region")
    );
    assert_eq!(found[0].allowed.as_deref(), Some("one of m1"));
}
