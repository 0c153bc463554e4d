//! Networks of every kind: their matrices, their state dicts, what is trained of them.

// libtorch counts in i64.
#![allow(clippy::cast_possible_wrap)]

mod common;

use common::{f64_table, rolled_out, short_episode, steps, three_regions};
use motif_motor::checkpoint::CheckpointError;
use motif_motor::device::{Numerics, Precision};
use motif_motor::policy::{
    Activation, Feedback, Group, GruConfig, InputLayout, LeakyConfig, LeakyPolicy, NetworkConfig, Policy,
};
use motif_motor::tasks::Task;
use tch::{Kind, Tensor};

fn numerics() -> Numerics {
    Numerics::cpu(Precision::F64)
}

fn leaky(config: LeakyConfig) -> LeakyPolicy {
    NetworkConfig::Leaky(config.clone()).validate().expect("valid");
    LeakyPolicy::new(config, 3, numerics())
}

fn multi(change: impl FnOnce(&mut LeakyConfig)) -> LeakyConfig {
    let mut config = three_regions();
    change(&mut config);
    config
}

/// How many entries are not the same.
fn differing(a: &Tensor, b: &Tensor) -> i64 {
    a.not_equal_tensor(b).sum(Kind::Int64).int64_value(&[])
}

fn count(condition: &Tensor) -> i64 {
    condition.to_kind(Kind::Int64).sum(Kind::Int64).int64_value(&[])
}

#[test]
fn the_gated_network_is_pytorchs() {
    let policy = Policy::new(&NetworkConfig::gru(9), 4, numerics());
    let input = numerics().tensor(
        &(0..5 * 3 * 28).map(|i| f64::from(i).sin()).collect::<Vec<_>>(),
        &[5, 3, 28],
    );
    let parameters: Vec<&Tensor> = policy.named_parameters().map(|(_, p)| p).take(4).collect();
    let start = numerics().zeros(&[1, 3, 9]);
    let (theirs, _) = input.gru(&start, &parameters, true, 1, 0.0, false, false, false);
    let ours = steps(&policy.prepare(), &input);
    assert!((ours - theirs).abs().max().double_value(&[]) < 1e-14);
}

#[test]
fn names_and_their_order_are_pytorchs() {
    let names = |policy: &Policy| -> Vec<String> {
        policy
            .named_parameters()
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    let single = Policy::new(&NetworkConfig::leaky(4, Activation::Relu), 1, numerics());
    let of_block =
        |block: &str| ["", "_weight_mask", "_sign_matrix"].map(|suffix| format!("mrnn.{block}{suffix}"));
    let fc = || ["fc.weight", "fc.bias"].map(str::to_owned);
    let firing = |region: &str| format!("mrnn.{region}_base_firing");
    let expected: Vec<String> = [firing("region")]
        .into_iter()
        .chain(of_block("region_region"))
        .chain(of_block("input_region"))
        .chain(fc())
        .collect();
    assert_eq!(names(&single), expected);

    let transferred = single.into_transfer(20, 2).expect("one region");
    let expected: Vec<String> = expected[..7]
        .iter()
        .cloned()
        .chain(of_block("input_new_rules_region"))
        .chain(of_block("condition_region"))
        .chain(fc())
        .collect();
    assert_eq!(names(&transferred), expected);

    let several = Policy::Leaky(Box::new(leaky(three_regions())));
    // The middle region's base firing is fixed, so it is no parameter.
    let blocks = [
        "exc_exc", "exc_inh", "inh_exc", "exc_mid", "mid_exc", "ctx_exc", "ctx_mid", "drv_inh",
    ];
    let expected: Vec<String> = [firing("exc"), firing("inh")]
        .into_iter()
        .chain(blocks.into_iter().flat_map(of_block))
        .chain(fc())
        .collect();
    assert_eq!(names(&several), expected);

    let gru = Policy::new(&NetworkConfig::gru(4), 1, numerics());
    let gates =
        ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"].map(|name| format!("gru.{name}"));
    let expected: Vec<String> = gates.into_iter().chain(fc()).collect();
    assert_eq!(names(&gru), expected);
}

#[test]
fn initial_weights_have_the_spread_of_their_kind() {
    let spread = |tensor: &Tensor| tensor.square().mean(Kind::Double).sqrt().double_value(&[]);
    let close = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.05;
    let weights = |policy: &Policy, wanted: &str| -> Tensor {
        let found = policy.named_parameters().find(|(name, _)| *name == wanted);
        found.expect(wanted).1.detach()
    };
    let single = Policy::new(&NetworkConfig::leaky(150, Activation::Tanh), 5, numerics());
    assert!(close(
        spread(&weights(&single, "mrnn.region_region")),
        (2.0 / 300.0_f64).sqrt()
    ));
    assert!(close(
        spread(&weights(&single, "mrnn.input_region")),
        (2.0 / 178.0_f64).sqrt()
    ));
    assert_eq!(spread(&weights(&single, "mrnn.region_base_firing")), 0.0);
    let bound = 1.0 / 150.0_f64.sqrt();
    assert!(weights(&single, "fc.weight").abs().max().double_value(&[]) <= bound);
    assert!(close(
        spread(&weights(&single, "fc.weight")),
        bound / 3.0_f64.sqrt()
    ));

    let constrained = LeakyConfig {
        hidden: 150,
        constrained: true,
        ..LeakyConfig::default()
    };
    let constrained = Policy::new(&NetworkConfig::Leaky(constrained), 5, numerics());
    assert!(close(
        spread(&weights(&constrained, "mrnn.region_region")),
        (1.0 / 300.0_f64).sqrt()
    ));
    assert!(close(
        spread(&weights(&constrained, "mrnn.input_region")),
        (1.0 / 178.0_f64).sqrt()
    ));
    assert!(
        weights(&constrained, "mrnn.region_region")
            .min()
            .double_value(&[])
            >= 0.0
    );

    let gru = Policy::new(&NetworkConfig::gru(50), 5, numerics());
    for (name, tensor) in gru.named_parameters() {
        assert!(
            tensor.abs().max().double_value(&[]) <= 1.0 / 50.0_f64.sqrt(),
            "{name}"
        );
    }
}

#[test]
fn a_missing_sense_reaches_the_network_in_no_way() {
    let senses = |vision, proprioception| InputLayout {
        feedback: Feedback {
            vision,
            proprioception,
        },
        ..InputLayout::default()
    };
    let configs = |inputs: InputLayout| {
        let leaky = LeakyConfig {
            hidden: 6,
            inputs,
            ..LeakyConfig::default()
        };
        [
            NetworkConfig::Leaky(leaky),
            NetworkConfig::Gru(GruConfig { hidden: 6, inputs }),
        ]
    };
    for ((vision, proprioception), cut) in [
        ((true, false), 16..28),
        ((false, true), 14..16),
        ((false, false), 14..28),
    ] {
        for (config, whole) in configs(senses(vision, proprioception))
            .iter()
            .zip(configs(senses(true, true)))
        {
            let policy = Policy::new(config, 8, numerics());
            let whole = Policy::new(&whole, 8, numerics());
            assert_eq!(policy.state(), whole.state(), "weights and shapes are the same");
            let (input, all) = (policy.effective(), whole.effective());
            let index = usize::from(matches!(config, NetworkConfig::Leaky(_)));
            let (input, all) = (
                input.tensors()[index].shallow_clone(),
                all.tensors()[index].shallow_clone(),
            );
            for column in 0..28 {
                let (ours, theirs) = (input.select(1, column), all.select(1, column));
                if cut.contains(&column) {
                    assert_eq!(count(&ours.not_equal(0.0)), 0, "column {column}");
                } else {
                    assert_eq!(differing(&ours, &theirs), 0, "column {column}");
                }
            }
        }
    }
}

#[test]
fn a_network_without_feedback_does_the_same_wherever_the_arm_is() {
    let inputs = InputLayout {
        feedback: Feedback {
            vision: false,
            proprioception: false,
        },
        ..InputLayout::default()
    };
    let config = NetworkConfig::Leaky(LeakyConfig {
        hidden: 6,
        inputs,
        ..LeakyConfig::default()
    });
    let running = Policy::new(&config, 8, numerics()).prepare();
    let drive = running.drive(&numerics().ones(&[1, 2, 28]), None).get(0);
    let after = |feedback: f64| {
        let feedback = numerics().ones(&[2, 14]) * feedback;
        running.step(&running.start(2), &drive, &feedback).x
    };
    assert_eq!(differing(&after(0.3), &after(-7.0)), 0);
}

#[test]
fn state_dicts_come_back_as_they_were() {
    let configs = [
        NetworkConfig::leaky(5, Activation::Linear),
        NetworkConfig::gru(5),
        NetworkConfig::Leaky(multi(|config| config.constrained = true)),
    ];
    for config in configs {
        let policy = Policy::new(&config, 6, numerics());
        let again = Policy::from_state(&config, &policy.state(), numerics()).expect("its own state");
        assert_eq!(policy.state(), again.state());
        let text = serde_json::to_string(&config).expect("written");
        assert_eq!(
            serde_json::from_str::<NetworkConfig>(&text).expect("read"),
            config
        );
    }
}

#[test]
fn full_masks_and_signs_may_be_left_out_of_a_state_but_sparse_masks_not() {
    let config = NetworkConfig::Leaky(multi(|config| config.constrained = true));
    let policy = Policy::new(&config, 6, numerics());
    let mut state = policy.state();
    state.retain(|name, _| !name.ends_with("_sign_matrix"));
    for full in ["exc_inh", "inh_exc", "exc_mid", "ctx_exc", "drv_inh"] {
        state.remove(&format!("mrnn.{full}_weight_mask"));
    }
    let again = Policy::from_state(&config, &state, numerics()).expect("all that is needed");
    assert_eq!(again.state(), policy.state());
    state.remove("mrnn.exc_exc_weight_mask");
    let error = Policy::from_state(&config, &state, numerics()).expect_err("sparse");
    assert!(matches!(error, CheckpointError::MissingTensor { name } if name == "mrnn.exc_exc_weight_mask"));
}

#[test]
fn a_state_of_another_shape_is_refused_with_both_shapes() {
    let small = Policy::new(&NetworkConfig::leaky(4, Activation::Tanh), 1, numerics());
    let error = Policy::from_state(
        &NetworkConfig::leaky(5, Activation::Tanh),
        &small.state(),
        numerics(),
    )
    .expect_err("another size");
    assert_eq!(
        error.to_string(),
        "tensor `mrnn.region_base_firing` has shape [4], the network needs [5]"
    );
    let error =
        Policy::from_state(&NetworkConfig::gru(4), &small.state(), numerics()).expect_err("another kind");
    assert!(matches!(error, CheckpointError::UnknownTensor { .. }));
    let unfinished = f64_table(&[("fc.bias", &[6])]);
    assert!(Policy::from_state(&NetworkConfig::gru(4), &unfinished, numerics()).is_err());
}

#[test]
fn a_configuration_of_before_regions_still_reads() {
    let old = r#"{"kind":"rnn","hidden":7,"activation":"relu","hidden_noise":0.1,"input_noise":0.01,
                  "dt_ms":10.0,"time_constant_ms":20.0}"#;
    let config: NetworkConfig = serde_json::from_str(old).expect("read");
    assert_eq!(config, NetworkConfig::leaky(7, Activation::Relu));
}

#[test]
fn frozen_groups_are_neither_trained_nor_changed() {
    let groups = [Group::Recurrent, Group::BaseFiring];
    let cases = [
        (
            NetworkConfig::leaky(5, Activation::Softplus),
            vec!["mrnn.input_region", "fc.weight", "fc.bias"],
        ),
        (
            NetworkConfig::gru(5),
            vec!["gru.weight_ih_l0", "fc.weight", "fc.bias"],
        ),
    ];
    for (config, expected) in cases {
        let policy = Policy::new(&config, 9, numerics()).frozen(&groups);
        let trained: Vec<&str> = policy.trainable().map(|(name, _)| name).collect();
        assert_eq!(trained, expected);
        let before = policy.state();
        let after = common::train(policy, Task::DlyHalfReach, 2).state();
        for (name, tensor) in &before {
            assert_eq!(
                after[name] != *tensor,
                expected.contains(&name.as_str()),
                "{name}"
            );
        }
    }
}

#[test]
fn all_weights_of_all_kinds_act_in_closed_loop() {
    let episode = short_episode(Task::DlyHalfReach, numerics());
    for config in [
        NetworkConfig::gru(5),
        NetworkConfig::leaky(5, Activation::Linear),
        NetworkConfig::Leaky(three_regions()),
    ] {
        let policy = Policy::new(&config, 2, numerics());
        let rollout = rolled_out(&policy, &episode, numerics());
        let hidden = rollout.hidden.expect("recorded");
        assert_eq!(
            hidden.size(),
            [episode.longest() as i64 + 1, 2, policy.hidden() as i64]
        );
        assert_eq!(count(&hidden.get(0).not_equal(0.0)), 0);
        assert!(count(&hidden.get(-1).not_equal(0.0)) > 0);
    }
}
