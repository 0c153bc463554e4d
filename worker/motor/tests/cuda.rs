//! The kernels of the card, built for this processor, against the reference engine: same losses, same gradients.

mod common;

use std::sync::Arc;

use common::cases::{Case, cases, conditioning, reach, reference, relative_difference};
use common::host_card::{HostCard, Turns};
use motif_motor::arm::Effector;
use motif_motor::device::{Numerics, Precision, set_intra_op_threads};
use motif_motor::engine::cuda::{Card, CardEngine, CardError, Shape, Update};
use motif_motor::engine::{Recording, roll_out};
use motif_motor::loss::{LossWeights, Losses};
use motif_motor::policy::{Activation, Bounds, Group, LeakyConfig, LeakyPolicy, NetworkConfig, Policy};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tch::Tensor;

fn leaky(policy: &Policy) -> &LeakyPolicy {
    match policy {
        Policy::Leaky(policy) => policy,
        Policy::Gru(_) => panic!("a leaky network"),
    }
}

fn first_update(weights: LossWeights, clip: Option<f64>) -> Update {
    Update {
        weights,
        clip,
        step_size: 1e-3 / (1.0 - 0.9),
        second_scale: 1.0 / (1.0_f64 - 0.999).sqrt(),
    }
}

/// Losses, gradients and updated parameters of a case by the kernels.
fn learnt(case: &Case, policy: &Policy, card: Arc<dyn Card>) -> (Losses, Vec<Tensor>, Vec<Tensor>) {
    let numerics = policy.numerics();
    let mut engine = CardEngine::new(leaky(policy), card, numerics.precision()).expect("an engine");
    engine
        .roll_out(&case.episode(numerics), case.noise().as_ref(), true)
        .expect("run");
    engine
        .learn(&first_update(case.weights, Some(1.0)))
        .expect("learnt");
    let report = engine.learnt(&case.weights).expect("a report");
    assert!(report.applied);
    (
        report.losses,
        engine.gradients().expect("gradients"),
        engine.parameter_values().expect("parameters"),
    )
}

/// Errors of the kernels' losses, relative to the total, and of their gradients, relative to their norm.
fn compare(case: &Case, policy: &Policy, card: Arc<dyn Card>) -> (f64, f64) {
    set_intra_op_threads(1);
    let numerics = policy.numerics();
    let expected = reference(case, policy, numerics);
    let (losses, gradients, _) = learnt(case, policy, card);
    let theirs = expected.losses;
    let loss_error: f64 = [
        (losses.position, theirs.position),
        (losses.rate, theirs.rate),
        (losses.muscle, theirs.muscle),
        (losses.dynamics, theirs.dynamics),
        (losses.weight, expected.weight),
        (losses.total, theirs.total),
    ]
    .iter()
    .map(|(ours, value)| (ours - value).abs() / theirs.total)
    .sum();
    // The term of the weights' own size is apart in the reference: λ sign(p)/n.
    let without_size: Vec<Tensor> = policy
        .trainable()
        .zip(&gradients)
        .map(|((_, parameter), gradient)| {
            gradient - parameter.detach().sign() * (case.weights.weight / parameter.numel() as f64)
        })
        .collect();
    (
        loss_error,
        relative_difference(&without_size, &expected.gradients),
    )
}

fn host_card(precision: Precision) -> Arc<dyn Card> {
    // Each number of rows that a block can have is tried by some test.
    match precision {
        Precision::F32 => HostCard::new(precision, 16, Turns::ALONE),
        Precision::F64 => HostCard::new(precision, 4, Turns::ALONE),
    }
}

proptest! {
    // The same cases every time: a verdict is the tree's, not the draw's.
    #![proptest_config(ProptestConfig {
        cases: 10,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_kernels_agree_with_the_reference_in_double_precision(case in cases()) {
        let policy = case.policy(Numerics::cpu(Precision::F64));
        let (loss, gradient) = compare(&case, &policy, host_card(Precision::F64));
        prop_assert!(loss < 1e-9 && gradient < 1e-9, "loss {loss:e}, gradient {gradient:e}");
    }

    #[test]
    fn the_kernels_agree_with_the_reference_in_single_precision(case in cases()) {
        // Where rounding alone decides, no two programs agree in single precision; double precision covers those.
        prop_assume!(conditioning(&case) < 2e-5);
        let policy = case.policy(Numerics::cpu(Precision::F32));
        let (loss, gradient) = compare(&case, &policy, host_card(Precision::F32));
        prop_assert!(loss < 5e-6 && gradient < 1e-4, "loss {loss:e}, gradient {gradient:e}");
    }
}

fn case(config: LeakyConfig, rows: usize) -> Case {
    Case {
        config: NetworkConfig::Leaky(config),
        new_rules: None,
        trial: reach(rows),
        weights: LossWeights::default(),
        seed: 4,
        noisy: true,
    }
}

#[test]
fn regions_bounds_and_frozen_parts_reach_the_kernels() {
    let bounded = LeakyConfig {
        hidden: 33,
        constrained: true,
        recurrent_bounds: Some(Bounds {
            lower: 0.05,
            upper: 0.2,
        }),
        input_bounds: Some(Bounds {
            lower: 0.0,
            upper: 0.1,
        }),
        ..LeakyConfig::default()
    };
    for (config, frozen) in [
        (common::three_regions(), vec![]),
        (bounded, vec![Group::Output]),
        (
            LeakyConfig {
                hidden: 20,
                ..LeakyConfig::default()
            },
            vec![Group::Recurrent, Group::BaseFiring],
        ),
    ] {
        let case = case(config, 7);
        let policy = case.policy(Numerics::cpu(Precision::F64)).frozen(&frozen);
        let (loss, gradient) = compare(&case, &policy, host_card(Precision::F64));
        assert!(
            loss < 1e-9 && gradient < 1e-9,
            "{frozen:?}: loss {loss:e}, gradient {gradient:e}"
        );
    }
}

#[test]
fn neither_turns_nor_rows_in_a_block_change_a_bit() {
    let mut case = case(
        LeakyConfig {
            hidden: 37,
            ..LeakyConfig::default()
        },
        11,
    );
    case.trial.delay_steps = 5;
    let policy = case.policy(Numerics::cpu(Precision::F32));
    let expected = learnt(&case, &policy, HostCard::new(Precision::F32, 16, Turns::ALONE));
    for (rows, lanes, order) in [(8, 1, 1), (16, 1, 2), (8, 5, 0), (16, 3, 1), (16, 19, 2)] {
        let card = HostCard::new(Precision::F32, rows, Turns { lanes, order });
        assert_eq!(
            learnt(&case, &policy, card),
            expected,
            "{rows} rows, {lanes} lanes, order {order}"
        );
    }
}

#[test]
fn sequences_are_those_of_the_reference() {
    for activation in [Activation::Tanh, Activation::Softplus] {
        let config = LeakyConfig {
            hidden: 21,
            activation,
            ..LeakyConfig::default()
        };
        let case = Case {
            noisy: false,
            ..case(config, 5)
        };
        let numerics = Numerics::cpu(Precision::F64);
        let policy = case.policy(numerics);
        let _no_grad = tch::no_grad_guard();
        let episode = case.episode(numerics);
        let expected = roll_out(
            &Effector::new(numerics),
            &policy,
            &episode,
            None,
            Recording::Everything,
            numerics,
        );
        let mut engine =
            CardEngine::new(leaky(&policy), host_card(Precision::F64), Precision::F64).expect("an engine");
        engine.roll_out(&episode, None, true).expect("run");
        let found = engine.rollout(numerics).expect("sequences");
        let (ours, theirs) = (
            found.details.expect("details"),
            expected.details.expect("details"),
        );
        for (name, ours, theirs) in [
            ("fingertip", &found.fingertip, &expected.fingertip),
            (
                "activation",
                &found.activation.expect("kept"),
                &expected.activation.expect("kept"),
            ),
            (
                "hidden",
                &found.hidden.expect("kept"),
                &expected.hidden.expect("kept"),
            ),
            ("observation", &ours.observation, &theirs.observation),
            ("x", &ours.x, &theirs.x),
            ("action", &ours.action, &theirs.action),
            ("joint", &ours.joint, &theirs.joint),
        ] {
            assert_eq!(ours.size(), theirs.size(), "{name}");
            let worst = (ours - theirs).abs().max().double_value(&[]);
            assert!(worst < 1e-11, "{name}: {worst:e}");
        }
        engine.roll_out(&episode, None, false).expect("run");
        assert_eq!(engine.fingertips().expect("kept"), found.fingertip);
    }
}

#[test]
fn noise_has_the_bits_of_every_other_engine_s() {
    let case = case(
        LeakyConfig {
            hidden: 9,
            ..LeakyConfig::default()
        },
        6,
    );
    let numerics = Numerics::cpu(Precision::F32);
    let policy = case.policy(numerics);
    let _no_grad = tch::no_grad_guard();
    let (episode, noise) = (case.episode(numerics), case.noise().expect("noisy"));
    let mut engine =
        CardEngine::new(leaky(&policy), host_card(Precision::F32), Precision::F32).expect("an engine");
    engine.roll_out(&episode, Some(&noise), true).expect("run");
    let rollout = engine.rollout(numerics).expect("sequences");
    let (found, known) = (rollout.details.expect("kept").observation, episode.layout.known);
    let instants = found.size()[0];
    let draws = noise.draw(0, instants as usize, 9, 28, numerics).input;
    let scale = (2.0 / leaky(&policy).config().alpha()).sqrt() * leaky(&policy).config().input_noise;
    let expected = &episode.known + draws * scale;
    assert_eq!(found.narrow(2, 0, known), expected.narrow(2, 0, known));
}

#[test]
fn a_run_takes_the_memory_that_was_estimated() {
    let case = case(
        LeakyConfig {
            hidden: 100,
            ..LeakyConfig::default()
        },
        8,
    );
    let policy = case.policy(Numerics::cpu(Precision::F32));
    let card = HostCard::new(Precision::F32, 16, Turns::ALONE);
    let mut engine = CardEngine::new(leaky(&policy), card.clone(), Precision::F32).expect("an engine");
    engine.reserve(32, 300, 28).expect("room");
    let parameters = policy.trainable().map(|(_, tensor)| tensor.numel()).sum();
    let estimate = Shape::new(100, 28).memory(Precision::F32, parameters, 32, 300) as f64;
    let ratio = card.taken() as f64 / estimate;
    assert!((0.95..1.05).contains(&ratio), "{ratio}");
}

#[test]
fn a_full_card_says_so_and_gives_its_memory_back() {
    let case = case(
        LeakyConfig {
            hidden: 16,
            ..LeakyConfig::default()
        },
        8,
    );
    let policy = case.policy(Numerics::cpu(Precision::F32));
    let card = HostCard::with_memory(Precision::F32, 16, Turns::ALONE, 200 << 10);
    let mut engine = CardEngine::new(leaky(&policy), card.clone(), Precision::F32).expect("small");
    let error = engine
        .roll_out(&case.episode(policy.numerics()), None, true)
        .expect_err("too long");
    assert!(matches!(error, CardError::OutOfMemory { .. }), "{error}");
    drop(engine);
    assert_eq!(card.taken(), 0);
}
