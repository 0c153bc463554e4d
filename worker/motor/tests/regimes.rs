//! What can be done with a network beside training it: going on, new rules, parts kept, muscles imitated, measured.

use std::ops::ControlFlow;

use motif_motor::checkpoint::{Checkpoint, CheckpointError};
use motif_motor::config::{CompatibilityConfig, EvaluationConfig, Objective, TrainingConfig};
use motif_motor::device::{Numerics, Precision};
use motif_motor::error::Error;
use motif_motor::evaluation::{Evaluation, Examiner};
use motif_motor::host_tensor::TensorTable;
use motif_motor::loss::LossWeights;
use motif_motor::policy::{Activation, Effective, Feedback, Group, NetworkConfig};
use motif_motor::tasks::{Family, Mode, Task};
use motif_motor::training::{BatchReport, Trainer, draw_conditions};

fn numerics() -> Numerics {
    Numerics::cpu(Precision::F32)
}

fn config(network: NetworkConfig) -> TrainingConfig {
    TrainingConfig {
        network,
        tasks: vec![Task::DlyHalfReach, Task::DlySinusoid],
        batches: 4,
        batch_size: 3,
        save_every: 3,
        seed: 21,
        evaluation: EvaluationConfig {
            speeds: Some(vec![0]),
            directions: Some(vec![0, 8]),
            ..EvaluationConfig::default()
        },
        ..TrainingConfig::default()
    }
}

fn of_batches(batches: u64, config: TrainingConfig) -> TrainingConfig {
    TrainingConfig { batches, ..config }
}

fn rnn() -> NetworkConfig {
    NetworkConfig::leaky(6, Activation::Softplus)
}

fn train(trainer: &mut Trainer, batches: usize) -> Vec<BatchReport> {
    (0..batches)
        .map(|_| trainer.train_batch().expect("trains"))
        .collect()
}

fn evaluate(trainer: &mut Trainer) -> Evaluation {
    trainer
        .evaluate(&mut |_| ControlFlow::Continue(()))
        .expect("evaluates")
}

/// A network trained for four batches.
fn base(network: NetworkConfig) -> Checkpoint {
    let mut trainer = Trainer::new(config(network), numerics()).expect("valid");
    train(&mut trainer, 4);
    evaluate(&mut trainer);
    trainer.checkpoint()
}

fn transfer(network: NetworkConfig, family: Family) -> TrainingConfig {
    let mut network = network;
    network.inputs_mut().new_rules = Some(family.rules());
    TrainingConfig {
        tasks: match family {
            Family::Base => vec![Task::DlyHalfCircleCClk, Task::DlyFullCircleCClk],
            Family::Composed => family.tasks(),
        },
        loss_weights: LossWeights::POSITION_ONLY,
        seed: 5,
        ..config(network)
    }
}

fn changed(before: &TensorTable, after: &TensorTable) -> Vec<String> {
    let differs = |name: &&String| before.get(*name) != after.get(*name);
    after.keys().filter(differs).cloned().collect()
}

#[test]
fn a_continued_run_is_the_uninterrupted_one_bit_for_bit() {
    for network in [rnn(), NetworkConfig::gru(4)] {
        let longer = of_batches(7, config(network.clone()));
        let mut whole = Trainer::new(longer.clone(), numerics()).expect("valid");
        let reports = train(&mut whole, 7);
        let finished = base(network);
        assert_eq!(finished.next_batch, 4);
        let mut continued = Trainer::continuing(longer, numerics(), &finished).expect("fits");
        assert_eq!(continued.best(), finished.best);
        assert_eq!(train(&mut continued, 3), reports[4..]);
        let (one, other) = (continued.checkpoint(), whole.checkpoint());
        assert_eq!(
            (one.state, one.moments, one.adam_step),
            (other.state, other.moments, 7)
        );
    }
}

#[test]
fn a_continued_run_may_change_its_settings() {
    let finished = base(rnn());
    let other = TrainingConfig {
        learning_rate: 1e-4,
        frozen: vec![Group::Output],
        tasks: vec![Task::DlyFigure8],
        ..of_batches(6, config(rnn()))
    };
    let mut continued = Trainer::continuing(other, numerics(), &finished).expect("fits");
    assert_eq!(train(&mut continued, 1)[0].batch, 4);
    let after = continued.checkpoint();
    assert!(
        !changed(&finished.state, &after.state)
            .iter()
            .any(|name| name.starts_with("fc."))
    );
    assert!(!after.moments.keys().any(|name| name.contains("fc.")));
}

#[test]
fn nothing_left_to_train_is_said() {
    let finished = base(rnn());
    let error = Trainer::continuing(config(rnn()), numerics(), &finished).expect_err("refused");
    let said = error.to_string();
    assert!(matches!(error, Error::InvalidConfig { field: "batches", .. }));
    assert!(said.contains("4, but the base has trained 4"), "{said}");
}

#[test]
fn a_base_of_another_shape_is_refused_with_both_shapes() {
    let finished = base(rnn());
    let wider = of_batches(9, config(NetworkConfig::leaky(9, Activation::Softplus)));
    let error = Trainer::continuing(wider, numerics(), &finished).expect_err("refused");
    let Error::Checkpoint(CheckpointError::Shape { found, expected, .. }) = error else {
        panic!("{error}")
    };
    assert_ne!(found, expected);
    assert!(found.contains(&6) && expected.contains(&9));
}

#[test]
fn a_transfer_moves_nothing_but_the_new_rules() {
    let cases = [
        (rnn(), Family::Base, "mrnn.input_new_rules_region", 20),
        (rnn(), Family::Composed, "mrnn.input_new_rules_region", 3),
        (NetworkConfig::gru(4), Family::Base, "gru.weight_ih_new_rules", 3),
    ];
    for (network, family, new_rules, batches) in cases {
        let finished = base(network.clone());
        let config = of_batches(20, transfer(network, family));
        let mut trainer = Trainer::transferring(config, numerics(), &finished).expect("fits");
        assert_eq!(trainer.next_batch(), 0);
        let begin = trainer.checkpoint();
        let reports = train(&mut trainer, batches);
        let after = trainer.checkpoint();
        assert_eq!(changed(&begin.state, &after.state), [new_rules]);
        for (name, tensor) in &finished.state {
            assert_eq!(after.state.get(name), Some(tensor), "{name}");
        }
        assert!(
            reports
                .iter()
                .all(|report| report.losses.total == report.losses.position)
        );
    }
}

#[test]
fn a_resumed_transfer_gives_the_same_losses_bit_for_bit() {
    let finished = base(rnn());
    let config = transfer(rnn(), Family::Composed);
    let mut whole = Trainer::transferring(config.clone(), numerics(), &finished).expect("fits");
    let reports = train(&mut whole, 4);
    let mut killed = Trainer::transferring(config.clone(), numerics(), &finished).expect("fits");
    train(&mut killed, 2);
    let mut resumed = Trainer::resume(config, numerics(), &killed.checkpoint()).expect("resumed");
    assert_eq!(train(&mut resumed, 2), reports[2..]);
    assert_eq!(resumed.checkpoint(), whole.checkpoint());
}

#[test]
fn a_transferred_network_can_be_transferred_and_continued_again() {
    let finished = base(rnn());
    let first = transfer(rnn(), Family::Base);
    let mut trainer = Trainer::transferring(first.clone(), numerics(), &finished).expect("fits");
    train(&mut trainer, 2);
    let transferred = trainer.checkpoint();
    let again = transfer(rnn(), Family::Composed);
    let mut trainer = Trainer::transferring(again, numerics(), &transferred).expect("fits");
    train(&mut trainer, 1);
    let mut continued = Trainer::continuing(first, numerics(), &transferred).expect("fits");
    assert_eq!(train(&mut continued, 1)[0].batch, 2);
}

#[test]
fn frozen_parts_keep_their_values() {
    let parts = [
        (Group::Recurrent, "mrnn.region_region"),
        (Group::Input, "mrnn.input_region"),
        (Group::Output, "fc.weight"),
        (Group::BaseFiring, "mrnn.region_base_firing"),
    ];
    for (group, name) in parts {
        let config = TrainingConfig {
            frozen: vec![group],
            ..config(rnn())
        };
        let mut trainer = Trainer::new(config, numerics()).expect("valid");
        let before = trainer.checkpoint().state;
        train(&mut trainer, 2);
        let moved = changed(&before, &trainer.checkpoint().state);
        assert!(!moved.iter().any(|moved| moved == name), "{name}");
        assert!(moved.len() >= 3, "{moved:?}");
    }
}

#[test]
fn without_feedback_the_arm_is_not_sensed() {
    let mut network = rnn();
    network.inputs_mut().feedback = Feedback {
        vision: false,
        proprioception: false,
    };
    let mut trainer = Trainer::new(config(network), numerics()).expect("valid");
    let before = trainer.checkpoint().state;
    train(&mut trainer, 2);
    let after = trainer.checkpoint().state;
    let input = |state: &TensorTable| state["mrnn.input_region"].to_tensor();
    // What is cut out takes part in the weight penalty alone, whose every step has the same size.
    let change = (input(&after) - input(&before)).abs();
    assert!(change.narrow(1, 0, 14).max().double_value(&[]) > 0.0);
    let Effective::Leaky(effective) = trainer.policy().effective() else {
        unreachable!("an rnn")
    };
    assert_eq!(
        effective.input.narrow(1, 14, 14).abs().max().double_value(&[]),
        0.0
    );
}

#[test]
fn muscle_activity_is_learnt_from_a_teacher() {
    let teacher = base(rnn());
    let pupil = TrainingConfig {
        objective: Objective::MuscleActivity,
        learning_rate: 1e-2,
        seed: 77,
        loss_weights: LossWeights::POSITION_ONLY,
        tasks: vec![Task::DlyHalfReach],
        ..of_batches(60, config(NetworkConfig::leaky(12, Activation::Tanh)))
    };
    let untaught = Trainer::new(pupil.clone(), numerics())
        .expect("valid")
        .train_batch();
    assert!(matches!(untaught, Err(Error::NoTeacher)));
    let start = || {
        Trainer::new(pupil.clone(), numerics())
            .expect("valid")
            .taught_by(&teacher)
            .expect("fits")
    };
    let mut trainer = start();
    let reports = train(&mut trainer, 60);
    let imitation = |report: &BatchReport| report.losses.imitation.expect("reported");
    for report in &reports {
        assert_eq!(report.losses.position, 0.0);
        assert_eq!(report.losses.total, imitation(report));
    }
    let mean = |reports: &[BatchReport]| reports.iter().map(imitation).sum::<f64>() / reports.len() as f64;
    assert!(
        mean(&reports[50..]) < 0.5 * mean(&reports[..5]),
        "{} {}",
        mean(&reports[50..]),
        mean(&reports[..5])
    );
    let mut killed = start();
    train(&mut killed, 3);
    let resumed = Trainer::resume(pupil, numerics(), &killed.checkpoint()).expect("resumed");
    let mut resumed = resumed.taught_by(&teacher).expect("fits");
    assert_eq!(train(&mut resumed, 2), reports[3..5]);
}

#[test]
fn a_teacher_that_imitates_itself_without_noise_has_nothing_to_learn() {
    let teacher = base(rnn());
    let NetworkConfig::Leaky(mut silent) = rnn() else {
        unreachable!("an rnn")
    };
    (silent.hidden_noise, silent.input_noise) = (0.0, 0.0);
    let config = TrainingConfig {
        objective: Objective::MuscleActivity,
        loss_weights: LossWeights::POSITION_ONLY,
        ..of_batches(9, config(NetworkConfig::Leaky(silent)))
    };
    let pupil = Trainer::continuing(config, numerics(), &teacher).expect("fits");
    let report = pupil
        .taught_by(&teacher)
        .expect("fits")
        .train_batch()
        .expect("trains");
    let imitation = report.losses.imitation.expect("reported");
    assert!(imitation < 1e-4, "{imitation}");
}

#[test]
fn an_examination_repeats_the_evaluation_that_followed_the_batch() {
    let mut trainer = Trainer::new(config(rnn()), numerics()).expect("valid");
    train(&mut trainer, 3);
    let checkpoint = trainer.checkpoint();
    let evaluation = evaluate(&mut trainer);
    let examiner = Examiner::new(config(rnn()), numerics(), &checkpoint).expect("fits");
    let again = examiner
        .evaluate(&mut |_| ControlFlow::Continue(()))
        .expect("evaluates");
    assert_eq!(again.conditions, evaluation.conditions);
    assert_eq!(again.total, evaluation.total);
}

#[test]
fn an_evaluation_has_a_score_for_every_condition_asked_for() {
    let protocol = EvaluationConfig {
        tasks: Some(vec![Task::DlyFigure8, Task::DlyHalfReach]),
        mode: Mode::Train,
        speeds: Some(vec![0, 2]),
        directions: Some(vec![1, 2, 7]),
        delays: vec![25, 60],
        noise: true,
    };
    let examine = |evaluation: EvaluationConfig| {
        let config = TrainingConfig {
            evaluation,
            ..config(rnn())
        };
        let examiner = Examiner::new(config, numerics(), &base(rnn())).expect("fits");
        examiner
            .evaluate(&mut |_| ControlFlow::Continue(()))
            .expect("evaluates")
    };
    let all = examine(protocol.clone());
    let conditions: Vec<_> = all
        .conditions
        .iter()
        .map(|score| (score.task, score.speed, score.delay_steps, score.movement_steps))
        .collect();
    assert_eq!(conditions.len(), 8);
    assert_eq!(
        conditions[..3],
        [
            (Task::DlyFigure8, 0, 25, 100),
            (Task::DlyFigure8, 0, 60, 100),
            (Task::DlyFigure8, 2, 25, 300),
        ]
    );
    for score in &all.conditions {
        let directions: Vec<usize> = score.directions.iter().map(|trial| trial.direction).collect();
        assert_eq!(directions, [1, 2, 7]);
        let mean = score.directions.iter().map(|trial| trial.position).sum::<f64>() / 3.0;
        assert!((mean - score.position).abs() < 1e-12);
        assert!(
            score
                .directions
                .iter()
                .all(|trial| trial.endpoint > 0.0 && trial.endpoint < 1.5)
        );
    }
    // A condition's noise does not depend on which others are asked for.
    let one = examine(EvaluationConfig {
        tasks: Some(vec![Task::DlyHalfReach]),
        speeds: Some(vec![2]),
        directions: Some(vec![7]),
        delays: vec![60],
        ..protocol
    });
    let within = &all.conditions[7].directions[2];
    assert!((one.conditions[0].directions[0].position - within.position).abs() < 1e-5);
}

#[test]
fn composed_tasks_draw_one_direction_or_two_as_asked() {
    let mut network = rnn();
    network.inputs_mut().rules = Family::Composed.rules();
    let one = TrainingConfig {
        tasks: Family::Composed.tasks(),
        batch_size: 64,
        ..config(network)
    };
    let two = TrainingConfig {
        compatibility: CompatibilityConfig {
            independent_composable_directions: true,
        },
        ..one.clone()
    };
    let together = draw_conditions(&one, 0);
    let apart = draw_conditions(&two, 0);
    assert_eq!(together.backward_directions, None);
    assert_eq!(together.directions, apart.directions);
    let backward = apart.backward_directions.expect("drawn");
    let same = backward
        .iter()
        .zip(&apart.directions)
        .filter(|(back, there)| back == there)
        .count();
    assert!(
        (1..24).contains(&same),
        "{same} of 64 equal, where 8 are expected"
    );
    let mut trainer = Trainer::new(two, numerics()).expect("valid");
    train(&mut trainer, 1);
}
