//! Gradients against central differences in double precision, through arm and network in closed loop.

// libtorch counts in i64.
#![allow(clippy::cast_possible_wrap)]

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
fn total_loss(policy: &Policy, numerics: Numerics) -> Tensor {
    let conditions = TrialConditions {
        task: Task::DlySinusoid,
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
    for activation in [
        Activation::Softplus,
        Activation::Relu,
        Activation::Tanh,
        Activation::Sigmoid,
    ] {
        let config = LeakyConfig {
            hidden: 6,
            activation,
            ..LeakyConfig::default()
        };
        let policy = Policy::new(&NetworkConfig::Leaky(config), 21, numerics);
        let analytic = gradients(&total_loss(&policy, numerics), &policy, false);
        let _no_grad = tch::no_grad_guard();
        for ((name, parameter), (_, gradient)) in policy.trainable().zip(&analytic) {
            let scale = gradient.abs().max().double_value(&[]);
            assert!(scale > 1e-7, "{activation} {name} has no gradient to test");
            let flat = parameter.view([-1]);
            let gradient = gradient.reshape([-1]);
            let stride = (flat.numel() / 4).max(1);
            for index in (0..flat.numel() as i64).step_by(stride) {
                let shifted = |by: f64| {
                    let _ = flat.get(index).g_add_scalar_(by);
                    let loss = total_loss(&policy, numerics).double_value(&[]);
                    let _ = flat.get(index).g_sub_scalar_(by);
                    loss
                };
                let step = 1e-6;
                let slope = (shifted(step) - shifted(-step)) / (2.0 * step);
                let error = (slope - gradient.double_value(&[index])).abs();
                assert!(
                    error < 1e-5 * scale.max(slope.abs()) + 1e-9,
                    "{activation} {name}[{index}]: {error:e} of {scale:e}"
                );
            }
        }
    }
}
