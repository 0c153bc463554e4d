//! Networks made from trained ones: new rule inputs, and networks side by side.

// libtorch counts in i64.
#![allow(clippy::cast_possible_wrap)]

mod common;

use common::{rolled_out, short_episode, steps, three_regions, train};
use motif_motor::checkpoint::Checkpoint;
use motif_motor::config::TrainingConfig;
use motif_motor::device::{Numerics, Precision};
use motif_motor::error::Error;
use motif_motor::host_tensor::HostTensor;
use motif_motor::policy::{
    Activation, Feedback, GruConfig, InputBlocks, InputLayout, LeakyConfig, LeakyPolicy, Member,
    NetworkConfig, Policy, SideBySide, SideBySideFile, StitchError,
};
use motif_motor::tasks::Task;
use motif_motor::training::Trainer;
use tch::{Kind, Tensor};

const KINDS: [(&str, &str, &str); 2] = [
    (
        "mrnn.input_region",
        "mrnn.input_new_rules_region",
        "mrnn.condition_region",
    ),
    (
        "gru.weight_ih_l0",
        "gru.weight_ih_new_rules",
        "gru.weight_ih_condition",
    ),
];

fn configs(hidden: usize) -> [NetworkConfig; 2] {
    [
        NetworkConfig::leaky(hidden, Activation::Softplus),
        NetworkConfig::gru(hidden),
    ]
}

fn numerics() -> Numerics {
    Numerics::cpu(Precision::F32)
}

fn same(a: &Tensor, b: &Tensor) -> bool {
    a.equal(b)
}

#[test]
fn a_transfer_copies_the_columns_behind_the_rules_and_keeps_the_rest() {
    for (config, (input, new_rules, condition)) in configs(6).iter().zip(KINDS) {
        let base = Policy::new(config, 3, numerics()).state();
        for rules in [10, 20] {
            let policy = Policy::from_state(config, &base, numerics()).expect("its state");
            let transferred = policy.into_transfer(rules, 9).expect("one region");
            assert_eq!(transferred.observations(), rules + 18);
            let state = transferred.state();
            for (name, tensor) in &base {
                assert_eq!(state[name], *tensor, "{name}");
            }
            let columns = base[input].to_tensor().narrow(1, 10, 18);
            assert!(same(&state[condition].to_tensor(), &columns));
            let rows = columns.size()[0];
            assert_eq!(state[new_rules].shape_i64(), [rows, rules as i64]);
            let trained: Vec<&str> = transferred.trainable().map(|(name, _)| name).collect();
            assert_eq!(trained, [new_rules]);
        }
    }
}

#[test]
fn the_copied_columns_are_the_networks_own() {
    let config = &configs(6)[0];
    let base = Policy::new(config, 3, numerics());
    let mut state = base.into_transfer(10, 9).expect("one region").state();
    let transferred = NetworkConfig::Leaky(LeakyConfig {
        hidden: 6,
        inputs: InputLayout {
            new_rules: Some(10),
            ..InputLayout::default()
        },
        ..LeakyConfig::default()
    });
    let old = HostTensor::from_tensor(&Tensor::zeros([6, 28], (Kind::Float, tch::Device::Cpu)));
    let before = Policy::from_state(&transferred, &state, numerics())
        .expect("its state")
        .effective();
    state.insert("mrnn.input_region".to_owned(), old);
    let after = Policy::from_state(&transferred, &state, numerics())
        .expect("its state")
        .effective();
    for (before, after) in before.tensors().into_iter().zip(after.tensors()) {
        assert!(same(before, after), "the old input block is not used");
    }
}

#[test]
fn with_its_old_rules_a_transferred_network_moves_as_before() {
    let episode = short_episode(Task::DlyFullReach, numerics());
    for (config, (input, new_rules, _)) in configs(6).iter().zip(KINDS) {
        let base = Policy::new(config, 3, numerics());
        let expected = rolled_out(&base, &episode, numerics()).fingertip;
        let rules = base.state()[input].to_tensor().narrow(1, 0, 10);
        let transferred = base.into_transfer(10, 9).expect("one region");
        let differently = rolled_out(&transferred, &episode, numerics()).fingertip;
        assert!(!same(&differently, &expected));
        let mut state = transferred.state();
        state.insert(new_rules.to_owned(), HostTensor::from_tensor(&rules));
        let again = Policy::from_state(&transferred.config(), &state, numerics()).expect("its state");
        assert!(same(
            &rolled_out(&again, &episode, numerics()).fingertip,
            &expected
        ));
    }
}

#[test]
fn a_hundred_batches_of_transfer_change_the_new_rules_and_nothing_else() {
    let composed: Task = "forward_halfreach+backward_fullcircleclk"
        .parse()
        .expect("a pair");
    let targets = [(10, Task::DlyHalfCircleCClk), (20, composed)];
    for ((config, (_, new_rules, _)), (rules, task)) in configs(6).iter().zip(KINDS).zip(targets) {
        let base = Policy::new(config, 3, numerics());
        let start = base.into_transfer(rules, 9).expect("one region");
        let before = start.state();
        let after = train(start, task, 100).state();
        assert_eq!(before.len(), after.len());
        for (name, tensor) in &before {
            assert_eq!(after[name] == *tensor, name != new_rules, "{name}");
        }
    }
}

#[test]
fn new_rules_are_drawn_afresh_for_every_seed_and_every_transfer() {
    for (config, (_, new_rules, condition)) in configs(40).iter().zip(KINDS) {
        let transfer = |policy: Policy, seed| policy.into_transfer(20, seed).expect("one region");
        let first = transfer(Policy::new(config, 3, numerics()), 1);
        let again = transfer(Policy::new(config, 3, numerics()), 1).state();
        let other = transfer(Policy::new(config, 3, numerics()), 2).state();
        let state = first.state();
        assert_eq!(state, again);
        assert_ne!(state[new_rules], other[new_rules]);
        let twice = transfer(first, 3).state();
        assert_ne!(state[new_rules], twice[new_rules]);
        assert_eq!(state[condition], twice[condition]);
    }
    let drawn = Policy::new(&configs(150)[0], 3, numerics())
        .into_transfer(10, 4)
        .expect("one region")
        .state();
    let drawn = drawn["mrnn.input_new_rules_region"].to_tensor();
    let spread = drawn.square().mean(Kind::Double).sqrt().double_value(&[]);
    assert!((spread / (2.0 / 160.0_f64).sqrt() - 1.0).abs() < 0.05, "{spread}");
}

#[test]
fn a_transfer_keeps_a_sense_cut() {
    let inputs = InputLayout {
        feedback: Feedback {
            vision: true,
            proprioception: false,
        },
        ..InputLayout::default()
    };
    let base = Policy::new(
        &NetworkConfig::Gru(GruConfig { hidden: 5, inputs }),
        3,
        numerics(),
    );
    let transferred = base.into_transfer(20, 1).expect("one region");
    let input = transferred.effective().tensors()[0].shallow_clone();
    let zero_columns = input.eq(0.0).all_dim(0, false).to_kind(Kind::Int64);
    let expected: Vec<i64> = (0..38).map(|column| i64::from(column >= 26)).collect();
    assert_eq!(Vec::<i64>::try_from(&zero_columns).expect("a row"), expected);
}

#[test]
fn a_network_of_several_regions_is_not_transferred_and_says_why() {
    let policy = Policy::new(&NetworkConfig::Leaky(three_regions()), 3, numerics());
    let Err(Error::InvalidConfig { field, problem }) = policy.into_transfer(10, 1) else {
        panic!("transferred")
    };
    assert_eq!(field, "network.regions");
    assert!(problem.contains("only networks of one region"), "{problem}");
}

fn members(constrained: bool) -> Vec<LeakyPolicy> {
    let member = |(hidden, seed)| {
        let config = LeakyConfig {
            hidden,
            constrained,
            ..LeakyConfig::default()
        };
        LeakyPolicy::new(config, seed, numerics())
    };
    [(4, 1), (7, 2), (3, 3)].into_iter().map(member).collect()
}

fn observations() -> Tensor {
    let numbers: Vec<f64> = (0..5 * 2 * 84).map(|i| (f64::from(i) * 0.37).sin()).collect();
    numerics().tensor(&numbers, &[5, 2, 84])
}

#[test]
fn side_by_side_every_network_does_what_it_does_alone() {
    for constrained in [false, true] {
        let members = members(constrained);
        let together =
            SideBySide::stitch(&members.iter().collect::<Vec<_>>(), InputBlocks::Copied).expect("alike");
        let sequence = together.sequence(&observations(), None);
        assert_eq!(sequence.action.size(), [5, 2, 18]);
        let mut first_unit = 0;
        for (index, member) in (0..).zip(members) {
            let own = observations().narrow(2, 28 * index, 28);
            let policy = Policy::Leaky(Box::new(member));
            let running = policy.prepare();
            let alone = steps(&running, &own);
            let hidden = policy.hidden() as i64;
            let difference = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
            assert!(difference(&sequence.h.narrow(2, first_unit, hidden), &alone) < 1e-6);
            for step in 0..5 {
                let action = running.action(&alone.get(step));
                let ours = sequence.action.get(step).narrow(1, 6 * index, 6);
                assert!(difference(&ours, &action) < 1e-6);
            }
            first_unit += hidden;
        }
    }
}

#[test]
fn fresh_input_blocks_are_drawn_and_all_else_is_copied() {
    let members = members(false);
    let members: Vec<&LeakyPolicy> = members.iter().collect();
    let state = |inputs| SideBySide::stitch(&members, inputs).expect("alike").state();
    let (copied, fresh) = (state(InputBlocks::Copied), state(InputBlocks::Fresh { seed: 5 }));
    assert_eq!(fresh, state(InputBlocks::Fresh { seed: 5 }));
    for (name, tensor) in &copied {
        let drawn = [
            "mrnn.inp_0_region_0",
            "mrnn.inp_1_region_1",
            "mrnn.inp_2_region_2",
        ]
        .contains(&name.as_str());
        assert_eq!(fresh[name] != *tensor, drawn, "{name}");
    }
}

#[test]
fn the_state_of_networks_side_by_side_holds_the_output_and_comes_back() {
    let members = members(true);
    let together =
        SideBySide::stitch(&members.iter().collect::<Vec<_>>(), InputBlocks::Copied).expect("alike");
    let state = together.state();
    assert_eq!(state["fc.weight"].shape(), [18, 14]);
    assert_eq!(state["fc.bias"].shape(), [18]);
    let again = SideBySide::from_state(members[0].config(), &state, numerics()).expect("its state");
    let action = |network: &SideBySide| network.sequence(&observations(), None).action;
    assert!(same(&action(&again), &action(&together)));
}

#[test]
fn a_file_of_networks_side_by_side_says_what_they_were() {
    let checkpoint = |seed, network| {
        let config = TrainingConfig {
            network,
            seed,
            ..TrainingConfig::default()
        };
        Trainer::new(config, numerics()).expect("valid").checkpoint()
    };
    let member = |name: &str| Member {
        name: name.to_owned(),
        sha256: "ab".repeat(32),
        hidden: 0,
        batches: 0,
    };
    let leaky = |hidden| NetworkConfig::leaky(hidden, Activation::Softplus);
    let checkpoints = vec![
        (member("a"), checkpoint(1, leaky(4))),
        (member("b"), checkpoint(2, leaky(7))),
    ];
    let file =
        SideBySideFile::stitch(checkpoints, InputBlocks::Fresh { seed: 3 }, numerics()).expect("alike");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("both.safetensors");
    file.write_to(&path).expect("written");
    let again = SideBySideFile::read_from(&path, numerics()).expect("read");
    assert_eq!(again.network.state(), file.network.state());
    assert_eq!(again.input_blocks, InputBlocks::Fresh { seed: 3 });
    let members: Vec<(&str, usize)> = again
        .members
        .iter()
        .map(|m| (m.name.as_str(), m.hidden))
        .collect();
    assert_eq!(members, [("a", 4), ("b", 7)]);

    let gated = vec![
        (member("a"), checkpoint(1, leaky(4))),
        (member("g"), checkpoint(1, NetworkConfig::gru(4))),
    ];
    assert!(matches!(
        SideBySideFile::stitch(gated, InputBlocks::Copied, numerics()),
        Err(StitchError::NotPlain { member: 1 })
    ));
    let bytes = std::fs::read(&path).expect("read");
    assert!(SideBySideFile::from_bytes(&bytes[..bytes.len() - 1], numerics()).is_err());
    assert!(
        Checkpoint::from_bytes(&bytes).is_err(),
        "it is no checkpoint to train on from"
    );
}

#[test]
fn networks_that_do_not_go_together_are_refused_with_the_reason() {
    let plain = LeakyPolicy::new(
        LeakyConfig {
            hidden: 4,
            ..LeakyConfig::default()
        },
        1,
        numerics(),
    );
    let slower = LeakyConfig {
        hidden: 4,
        time_constant_ms: 40.0,
        ..LeakyConfig::default()
    };
    let stitch = |members: &[&LeakyPolicy]| {
        SideBySide::stitch(members, InputBlocks::Copied)
            .expect_err("refused")
            .to_string()
    };
    let slower = LeakyPolicy::new(slower, 1, numerics());
    assert_eq!(
        stitch(&[&plain, &slower]),
        "network 1 has another `time_constant_ms` than the first one"
    );
    let several = LeakyPolicy::new(three_regions(), 1, numerics());
    assert!(stitch(&[&several]).contains("network 0 is gated or has several regions"));
    assert!(matches!(
        SideBySide::stitch(&[], InputBlocks::Copied),
        Err(StitchError::NoMembers)
    ));
}
