//! Gradients against central differences in double precision, through arm and network in closed loop.

// libtorch counts in i64.
#![allow(clippy::cast_possible_wrap)]

mod common;

use common::three_regions;
use motif_motor::arm::Effector;
use motif_motor::device::{Numerics, Precision, set_intra_op_threads};
use motif_motor::engine::{NoiseSource, Recording, roll_out};
use motif_motor::environment::Episode;
use motif_motor::loss::{LossTerms, LossWeights};
use motif_motor::optimizer::gradients;
use motif_motor::policy::{Activation, LeakyConfig, NetworkConfig, Policy};
use motif_motor::tasks::{Mode, Task, Trial, TrialConditions};
use tch::Tensor;

/// The total loss of two short trials with noise.
fn total_loss(policy: &Policy, task: Task, numerics: Numerics) -> Tensor {
    let conditions = TrialConditions {
        task,
        mode: Mode::Train,
        speed: 0,
        delay_steps: 5,
        directions: vec![1, 6],
        backward_directions: None,
    };
    let episode = Episode::new(&[Trial::new(conditions).expect("known")], numerics);
    let noise = NoiseSource::training(3, 4, 2);
    let effector = Effector::new(numerics);
    let rollout = roll_out(
        &effector,
        policy,
        &episode,
        Some(&noise),
        Recording::Losses,
        numerics,
    );
    // Weights that let every term count.
    let weights = LossWeights {
        rate: 0.3,
        weight: 0.2,
        muscle: 0.1,
        dynamics: 0.4,
    };
    LossTerms::new(policy, &rollout, &episode.goal, &weights).total
}

#[test]
fn every_parameters_gradient_is_the_slope_of_the_loss() {
    set_intra_op_threads(1);
    let numerics = Numerics::cpu(Precision::F64);
    let leaky = [
        Activation::Softplus,
        Activation::Relu,
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Linear,
    ]
    .map(|activation| NetworkConfig::leaky(6, activation));
    let constrained = NetworkConfig::Leaky(LeakyConfig {
        constrained: true,
        ..three_regions()
    });
    for config in leaky.into_iter().chain([NetworkConfig::gru(5), constrained]) {
        let policy = Policy::new(&config, 21, numerics);
        check_gradients(&policy, |policy| total_loss(policy, Task::DlySinusoid, numerics));
    }
}

#[test]
fn new_rules_gradients_are_the_slope_of_the_loss() {
    set_intra_op_threads(1);
    let numerics = Numerics::cpu(Precision::F64);
    let task: Task = "forward_sinusoid+backward_fullreach".parse().expect("a pair");
    for config in [
        NetworkConfig::leaky(5, Activation::Softplus),
        NetworkConfig::gru(5),
    ] {
        let policy = Policy::new(&config, 21, numerics)
            .into_transfer(20, 4)
            .expect("one region");
        check_gradients(&policy, |policy| total_loss(policy, task, numerics));
    }
}

/// An engine's gradients with respect to the matrices as they act arrive at the parameters.
#[test]
fn gradients_of_effective_matrices_reach_the_parameters() {
    let numerics = Numerics::cpu(Precision::F64);
    let constrained = NetworkConfig::Leaky(LeakyConfig {
        constrained: true,
        ..three_regions()
    });
    let transferred = Policy::new(&NetworkConfig::gru(5), 1, numerics)
        .into_transfer(10, 2)
        .expect("one region");
    for policy in [Policy::new(&constrained, 21, numerics), transferred] {
        let gradients_of = |scalar: &Tensor| gradients(scalar, &policy, false);
        // Σ eʷ over all entries, whose gradient is eʷ.
        let effective = policy.effective();
        let sums = effective.tensors().into_iter().map(|w| w.exp().sum(w.kind()));
        let direct = gradients_of(&sums.sum());
        let effective = policy.effective();
        let of_matrices: Vec<Tensor> = effective
            .tensors()
            .into_iter()
            .map(|w| w.detach().exp())
            .collect();
        let carried = gradients_of(&effective.dot(&of_matrices));
        for ((name, ours), (_, expected)) in carried.iter().zip(direct) {
            assert!(ours.abs().max().double_value(&[]) > 0.0, "{name}");
            assert!((ours - expected).abs().max().double_value(&[]) < 1e-13, "{name}");
        }
    }
}

/// Compares some entries of every trained tensor with central differences.
fn check_gradients(policy: &Policy, loss: impl Fn(&Policy) -> Tensor) {
    let analytic = gradients(&loss(policy), policy, false);
    let _no_grad = tch::no_grad_guard();
    for ((name, parameter), (_, gradient)) in policy.trainable().zip(&analytic) {
        let scale = gradient.abs().max().double_value(&[]);
        assert!(
            scale > 1e-7,
            "{:?} {name} has no gradient to test",
            policy.config()
        );
        let flat = parameter.view([-1]);
        let gradient = gradient.reshape([-1]);
        let stride = (flat.numel() / 4).max(1);
        for index in (0..flat.numel() as i64).step_by(stride) {
            let shifted = |by: f64| {
                let _ = flat.get(index).g_add_scalar_(by);
                let loss = loss(policy).double_value(&[]);
                let _ = flat.get(index).g_sub_scalar_(by);
                loss
            };
            let step = 1e-6;
            let slope = (shifted(step) - shifted(-step)) / (2.0 * step);
            let error = (slope - gradient.double_value(&[index])).abs();
            assert!(
                error < 1e-5 * scale.max(slope.abs()) + 1e-9,
                "{:?} {name}[{index}]: {error:e} of {scale:e}",
                policy.config()
            );
        }
    }
}
