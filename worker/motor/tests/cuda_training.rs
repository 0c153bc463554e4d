//! Whole trainings with the network on a card, the card being this processor: the same curves as without one, the
//! same after an interruption, and the same errors.

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;

use common::host_card::{HostCard, Turns};
use motif_motor::config::{EvaluationConfig, TrainingConfig};
use motif_motor::device::{Numerics, Precision};
use motif_motor::engine::Engine;
use motif_motor::engine::cuda::{Card, CardError};
use motif_motor::error::Error;
use motif_motor::learner::Learner;
use motif_motor::policy::{Activation, NetworkConfig, Policy};
use motif_motor::tasks::{Mode, Task};
use motif_motor::training::{BatchReport, Trainer};

fn config(batches: u64) -> TrainingConfig {
    TrainingConfig {
        network: NetworkConfig::leaky(14, Activation::Softplus),
        tasks: vec![Task::DlyHalfReach, Task::DlySinusoid],
        batches,
        batch_size: 3,
        save_every: 4,
        seed: 6,
        evaluation: EvaluationConfig {
            mode: Mode::Train,
            directions: Some(vec![0, 3]),
            ..EvaluationConfig::default()
        },
        ..TrainingConfig::default()
    }
}

fn on_processor(batches: u64, precision: Precision) -> Trainer {
    Trainer::new(config(batches), Numerics::cpu(precision)).expect("valid")
}

fn on_card(batches: u64, precision: Precision) -> Trainer {
    on_processor(batches, precision)
        .on_card(card(precision))
        .expect("room")
}

fn card(precision: Precision) -> Arc<dyn Card> {
    HostCard::new(
        precision,
        if precision == Precision::F64 { 4 } else { 16 },
        Turns::ALONE,
    )
}

/// Trains and evaluates to the end.
fn finish(trainer: &mut Trainer) -> (Vec<BatchReport>, Vec<f64>) {
    let (mut reports, mut scores) = (Vec::new(), Vec::new());
    while !trainer.is_finished() {
        reports.push(trainer.train_batch().expect("trained"));
        if trainer.evaluation_pending() {
            scores.push(
                trainer
                    .evaluate(&mut |_| ControlFlow::Continue(()))
                    .expect("evaluated")
                    .total,
            );
        }
    }
    (reports, scores)
}

#[test]
fn a_training_on_a_card_gives_the_curves_of_one_on_the_processor() {
    let (expected, expected_scores) = finish(&mut on_processor(12, Precision::F64));
    let mut trainer = on_card(12, Precision::F64);
    let (found, scores) = finish(&mut trainer);
    let close = |a: f64, b: f64| (a - b).abs() < 1e-8 * b.abs();
    assert_eq!((found.len(), scores.len()), (12, expected_scores.len()));
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found.conditions, expected.conditions);
        let losses = found.losses.named().into_iter().zip(expected.losses.named());
        for ((name, ours), (_, theirs)) in losses {
            assert!(
                close(ours, theirs),
                "batch {}: {name} {ours} {theirs}",
                found.batch
            );
        }
        assert!(
            close(found.grad_norm, expected.grad_norm),
            "batch {}",
            found.batch
        );
    }
    assert!(
        scores
            .iter()
            .zip(&expected_scores)
            .all(|(&ours, &theirs)| close(ours, theirs))
    );
    assert_eq!(trainer.checkpoint().adam_step, 12);
}

#[test]
fn a_training_that_goes_on_from_a_checkpoint_ends_with_the_same_bits() {
    let mut undisturbed = on_card(9, Precision::F32);
    let (reports, _) = finish(&mut undisturbed);
    let mut killed = on_card(9, Precision::F32);
    for _ in 0..5 {
        killed.train_batch().expect("trained");
        if killed.evaluation_pending() {
            killed
                .evaluate(&mut |_| ControlFlow::Continue(()))
                .expect("evaluated");
        }
    }
    let checkpoint = killed.checkpoint();
    drop(killed);
    let mut resumed = Trainer::resume(config(9), Numerics::cpu(Precision::F32), &checkpoint)
        .and_then(|trainer| trainer.on_card(card(Precision::F32)))
        .expect("resumed");
    let (after, _) = finish(&mut resumed);
    assert_eq!(after, reports[5..]);
    assert_eq!(resumed.checkpoint(), undisturbed.checkpoint());
}

#[test]
fn a_loss_that_is_not_finite_leaves_the_network_as_it_was() {
    let mut checkpoint = on_processor(4, Precision::F32).checkpoint();
    let huge = |name: &str| name == "mrnn.region_region";
    for (_, tensor) in checkpoint.state.iter_mut().filter(|(name, _)| huge(name)) {
        let spoilt = tensor.to_tensor() * 1e30;
        *tensor = motif_motor::host_tensor::HostTensor::from_tensor(&spoilt);
    }
    let mut trainer = Trainer::resume(config(4), Numerics::cpu(Precision::F32), &checkpoint)
        .and_then(|trainer| trainer.on_card(card(Precision::F32)))
        .expect("resumed");
    let before = trainer.checkpoint();
    assert!(matches!(
        trainer.train_batch(),
        Err(Error::Diverged { batch: 0, .. })
    ));
    assert_eq!(trainer.checkpoint(), before);
}

#[test]
fn a_card_without_room_for_the_longest_episode_refuses_the_training_at_once() {
    let small = HostCard::with_memory(Precision::F32, 16, Turns::ALONE, 200 << 10);
    let Err(refused) = on_processor(4, Precision::F32).on_card(small) else {
        panic!("there was room")
    };
    assert!(
        matches!(refused, Error::Card(CardError::OutOfMemory { .. })),
        "{refused}"
    );
}

#[test]
fn a_gated_network_never_goes_to_a_card_of_the_fused_engine() {
    let config = TrainingConfig {
        network: NetworkConfig::gru(6),
        ..config(4)
    };
    // On a machine with a card, its tensors go there, and the reference engine runs them.
    assert!(!config.has_kernels());
    let numerics = Numerics::cpu(Precision::F32);
    let card = HostCard::new(Precision::F32, 16, Turns::ALONE);
    let policy = Policy::new(&config.network, config.seed, numerics);
    let learner = Learner::new(policy, 1e-3, config.loss_weights, None, numerics);
    let learner = learner.on_card(card.clone()).expect("left alone");
    assert_eq!((learner.engine(), card.taken()), (Engine::Reference, 0));

    let trainer = || Trainer::new(config.clone(), numerics).expect("valid");
    let mut offered = trainer().on_card(card.clone()).expect("left alone");
    assert_eq!(finish(&mut offered), finish(&mut trainer()));
    assert_eq!(card.taken(), 0);
}
