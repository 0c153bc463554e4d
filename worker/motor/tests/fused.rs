//! The fused engine against the reference engine: same losses, same gradients, whatever the network and the trials.

mod common;

use common::cases::{Case, cases, conditioning, gated_cases, reach, reference, relative_difference};
use motif_motor::arm::Effector;
use motif_motor::device::{Numerics, Precision, set_intra_op_threads};
use motif_motor::engine::{Engine, FusedEngine, NoiseSource, Recording, roll_out};
use motif_motor::environment::Episode;
use motif_motor::learner::Learner;
use motif_motor::loss::LossWeights;
use motif_motor::policy::{Activation, NetworkConfig, Policy};
use motif_motor::tasks::Trial;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tch::Tensor;

/// Errors of the fused engine's losses, relative to the total, and of its gradients, relative to their norm.
fn compare(case: &Case, precision: Precision) -> (f64, f64) {
    set_intra_op_threads(1);
    let numerics = Numerics::cpu(precision);
    let policy = case.policy(numerics);
    let (episode, noise) = (case.episode(numerics), case.noise());
    let expected = reference(case, &policy, numerics);
    let parameters: Vec<&Tensor> = policy.trainable().map(|(_, tensor)| tensor).collect();

    let mut engine = FusedEngine::new(&policy, numerics).expect("covered");
    let effective = policy.effective();
    engine.take(&effective);
    engine.roll_out(&episode, noise.as_ref());
    let losses = engine.losses(&case.weights, None);
    let slopes = engine.slopes(&case.weights);
    let found = Tensor::run_backward(&[&effective.dot(&slopes)], &parameters, false, false);

    let theirs = expected.losses;
    let loss_error: f64 = [
        (losses.position, theirs.position),
        (losses.rate, theirs.rate),
        (losses.muscle, theirs.muscle),
        (losses.dynamics, theirs.dynamics),
        (losses.total + expected.weight, theirs.total),
    ]
    .iter()
    .map(|(ours, value)| (ours - value).abs() / theirs.total)
    .sum();
    (loss_error, relative_difference(&found, &expected.gradients))
}

proptest! {
    // The same cases every time: a verdict is the tree's, not the draw's.
    #![proptest_config(ProptestConfig {
        cases: 20,
        rng_seed: RngSeed::Fixed(4),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn both_engines_agree_in_double_precision(case in cases()) {
        let (loss, gradient) = compare(&case, Precision::F64);
        prop_assert!(loss < 1e-9 && gradient < 1e-9, "loss {loss:e}, gradient {gradient:e}");
    }

    #[test]
    fn both_engines_agree_in_single_precision(case in cases()) {
        // Where rounding alone decides, no two programs agree in single precision; double precision covers those.
        prop_assume!(conditioning(&case) < 2e-5);
        let (loss, gradient) = compare(&case, Precision::F32);
        prop_assert!(loss < 5e-6 && gradient < 1e-4, "loss {loss:e}, gradient {gradient:e}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12,
        rng_seed: RngSeed::Fixed(5),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn both_engines_agree_on_gated_networks_in_double_precision(case in gated_cases()) {
        let (loss, gradient) = compare(&case, Precision::F64);
        prop_assert!(loss < 1e-9 && gradient < 1e-9, "loss {loss:e}, gradient {gradient:e}");
    }

    #[test]
    fn both_engines_agree_on_gated_networks_in_single_precision(case in gated_cases()) {
        prop_assume!(conditioning(&case) < 2e-5);
        let (loss, gradient) = compare(&case, Precision::F32);
        prop_assert!(loss < 5e-6 && gradient < 1e-4, "loss {loss:e}, gradient {gradient:e}");
    }
}

#[test]
fn both_engines_agree_on_networks_of_several_regions() {
    let case = Case {
        config: NetworkConfig::Leaky(common::three_regions()),
        new_rules: None,
        trial: reach(20),
        weights: LossWeights::default(),
        seed: 4,
        noisy: true,
    };
    let (loss, gradient) = compare(&case, Precision::F64);
    assert!(
        loss < 1e-9 && gradient < 1e-9,
        "loss {loss:e}, gradient {gradient:e}"
    );
    let (loss, gradient) = compare(&case, Precision::F32);
    assert!(
        loss < 5e-6 && gradient < 1e-4,
        "loss {loss:e}, gradient {gradient:e}"
    );
}

/// Bits of the parameters after three updates.
fn trained(network: &NetworkConfig, threads: usize, rows: usize) -> Vec<Tensor> {
    set_intra_op_threads(1);
    let numerics = Numerics::cpu(Precision::F32).with_threads(threads);
    let policy = Policy::new(network, 2, numerics);
    let mut learner = Learner::new(policy, 1e-3, LossWeights::default(), Some(1.0), numerics)
        .with_engine(Engine::Fused)
        .expect("no card");
    assert_eq!(learner.engine(), Engine::Fused);
    for batch in 0..3 {
        let episode = Episode::new(&[Trial::new(reach(rows)).expect("known")], numerics);
        let noise = NoiseSource::training(2, batch, rows);
        let played = learner.roll_out(&episode, Some(&noise));
        learner.learn(&played, &episode.goal).expect("finite");
    }
    learner
        .policy()
        .trainable()
        .map(|(_, tensor)| tensor.detach().copy())
        .collect()
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let (leaky, gated) = (
        NetworkConfig::leaky(50, Activation::Softplus),
        NetworkConfig::gru(50),
    );
    for (network, rows) in [(&leaky, 5), (&leaky, 32), (&leaky, 70), (&gated, 37)] {
        let alone = trained(network, 1, rows);
        for threads in [2, 3, 4] {
            assert_eq!(
                trained(network, threads, rows),
                alone,
                "{threads} threads, {rows} rows"
            );
        }
    }
}

#[test]
fn sequences_of_gated_networks_are_those_of_the_reference() {
    let case = Case {
        config: NetworkConfig::gru(21),
        new_rules: None,
        trial: reach(19),
        weights: LossWeights::default(),
        seed: 4,
        // A source of noise changes nothing: gated networks take none.
        noisy: true,
    };
    let numerics = Numerics::cpu(Precision::F64);
    let (policy, episode, noise) = (case.policy(numerics), case.episode(numerics), case.noise());
    let _no_grad = tch::no_grad_guard();
    let expected = roll_out(
        &Effector::new(numerics),
        &policy,
        &episode,
        noise.as_ref(),
        Recording::Everything,
        numerics,
    );
    let mut engine = FusedEngine::new(&policy, numerics).expect("covered");
    engine.take(&policy.effective());
    engine.roll_out(&episode, noise.as_ref());
    let found = engine.rollout(numerics);
    let (ours, theirs) = (found.details.expect("kept"), expected.details.expect("kept"));
    for (name, ours, theirs) in [
        ("fingertip", Some(found.fingertip), Some(expected.fingertip)),
        ("activation", found.activation, expected.activation),
        ("hidden", found.hidden, expected.hidden),
        ("observation", Some(ours.observation), Some(theirs.observation)),
        ("x", Some(ours.x), Some(theirs.x)),
        ("action", Some(ours.action), Some(theirs.action)),
        ("joint", Some(ours.joint), Some(theirs.joint)),
    ] {
        let (ours, theirs) = (ours.expect(name), theirs.expect(name));
        assert_eq!(ours.size(), theirs.size(), "{name}");
        let worst = (ours - theirs).abs().max().double_value(&[]);
        assert!(worst < 1e-11, "{name}: {worst:e}");
    }
}

#[test]
fn an_episode_that_is_only_played_has_the_bits_of_one_that_is_kept() {
    for config in [
        NetworkConfig::leaky(21, Activation::Softplus),
        NetworkConfig::gru(21),
    ] {
        let case = Case {
            config,
            new_rules: None,
            trial: reach(19),
            weights: LossWeights::default(),
            seed: 4,
            noisy: true,
        };
        let numerics = Numerics::cpu(Precision::F32);
        let (policy, episode, noise) = (case.policy(numerics), case.episode(numerics), case.noise());
        let mut engine = FusedEngine::new(&policy, numerics).expect("covered");
        engine.take(&policy.effective());
        let kept = |engine: &mut FusedEngine| {
            engine.roll_out(&episode, noise.as_ref());
            let losses = engine.losses(&case.weights, None);
            (losses, engine.fingertips(), engine.slopes(&case.weights))
        };
        let (losses, fingertips, slopes) = kept(&mut engine);
        engine.play(&episode, noise.as_ref());
        assert_eq!(engine.losses(&case.weights, None), losses);
        assert_eq!(engine.fingertips(), fingertips);
        // What playing left behind is nothing to the next episode.
        assert_eq!(kept(&mut engine), (losses, fingertips, slopes));
    }
}
