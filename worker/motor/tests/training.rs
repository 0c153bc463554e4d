//! Training runs: reproducible, resumable, and never left half-changed.

use std::ops::ControlFlow;

use motif_motor::arm::Effector;
use motif_motor::checkpoint::{Checkpoint, CheckpointError};
use motif_motor::config::{EvaluationConfig, TrainingConfig};
use motif_motor::device::{Numerics, Precision};
use motif_motor::engine::Engine;
use motif_motor::error::Error;
use motif_motor::evaluation::{Evaluation, Evaluator};
use motif_motor::host_tensor::HostTensor;
use motif_motor::policy::{Activation, NetworkConfig};
use motif_motor::tasks::Task;
use motif_motor::training::{BatchReport, Trainer};
use tch::{Kind, Tensor};

const F32: Precision = Precision::F32;

fn config(hidden: usize) -> TrainingConfig {
    TrainingConfig {
        network: NetworkConfig::leaky(hidden, Activation::Softplus),
        tasks: vec![Task::DlyHalfReach, Task::DlySinusoid],
        batches: 6,
        batch_size: 4,
        save_every: 3,
        seed: 11,
        ..TrainingConfig::default()
    }
}

fn trainer(config: TrainingConfig) -> Trainer {
    Trainer::new(config, Numerics::cpu(F32)).expect("a valid configuration")
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

#[test]
fn a_resumed_run_gives_the_same_losses_bit_for_bit() {
    let mut undisturbed = trainer(config(9));
    let mut reports = train(&mut undisturbed, 3);
    let score = evaluate(&mut undisturbed);
    reports.extend(train(&mut undisturbed, 3));

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("new/checkpoint-last.safetensors");
    let mut killed = trainer(config(9));
    train(&mut killed, 3);
    evaluate(&mut killed);
    killed.checkpoint().write_to(&path).expect("written");
    drop(killed);
    let checkpoint = Checkpoint::read_from(&path).expect("read");
    let mut resumed = Trainer::resume(config(9), Numerics::cpu(F32), &checkpoint).expect("resumed");
    assert_eq!(resumed.next_batch(), 3);
    assert_eq!(resumed.best().map(|best| best.value), Some(score.total));
    assert_eq!(train(&mut resumed, 3), reports[3..]);
    assert_eq!(resumed.checkpoint(), undisturbed.checkpoint());
    assert_eq!(evaluate(&mut resumed), evaluate(&mut undisturbed));
}

#[test]
fn evaluating_does_not_change_training() {
    let mut plain = trainer(config(6));
    let mut evaluated = trainer(config(6));
    train(&mut plain, 1);
    train(&mut evaluated, 1);
    evaluate(&mut evaluated);
    assert_eq!(train(&mut plain, 2), train(&mut evaluated, 2));
}

#[test]
fn seeds_give_different_runs_and_the_same_seed_the_same() {
    let first = train(&mut trainer(config(6)), 2);
    assert_eq!(first, train(&mut trainer(config(6)), 2));
    assert_ne!(
        first,
        train(
            &mut trainer(TrainingConfig {
                seed: 12,
                ..config(6)
            }),
            2
        )
    );
}

#[test]
fn training_lowers_the_loss() {
    let mut trainer = trainer(TrainingConfig {
        batches: 60,
        learning_rate: 3e-3,
        ..config(16)
    });
    let mean = |reports: &[BatchReport]| {
        reports.iter().map(|report| report.losses.position).sum::<f64>() / reports.len() as f64
    };
    let reports = train(&mut trainer, 60);
    assert!(
        mean(&reports[45..]) < 0.8 * mean(&reports[..15]),
        "{} {}",
        mean(&reports[45..]),
        mean(&reports[..15])
    );
}

#[test]
fn a_run_ends_after_its_last_batch() {
    let mut trainer = trainer(TrainingConfig {
        batches: 2,
        ..config(3)
    });
    train(&mut trainer, 2);
    assert!(trainer.is_finished());
    assert!(matches!(
        trainer.train_batch(),
        Err(Error::Finished { batches: 2 })
    ));
}

#[test]
fn evaluations_follow_batch_0_every_few_batches_and_the_last() {
    let trainer = trainer(TrainingConfig {
        batches: 9,
        save_every: 4,
        ..config(3)
    });
    let due: Vec<u64> = (0..9).filter(|&batch| trainer.evaluation_due(batch)).collect();
    assert_eq!(due, [0, 4, 8]);
    let trainer = self::trainer(TrainingConfig {
        batches: 7,
        save_every: 4,
        ..config(3)
    });
    let due: Vec<u64> = (0..7).filter(|&batch| trainer.evaluation_due(batch)).collect();
    assert_eq!(due, [0, 4, 6]);
}

#[test]
fn a_batch_that_diverges_is_not_applied() {
    let mut checkpoint = trainer(config(5)).checkpoint();
    let huge = Tensor::full([6, 5], f64::from(f32::MAX), (Kind::Float, tch::Device::Cpu));
    checkpoint
        .state
        .insert("fc.weight".to_owned(), HostTensor::from_tensor(&huge));
    let mut trainer = Trainer::resume(config(5), Numerics::cpu(F32), &checkpoint).expect("finite weights");
    let Err(Error::Diverged {
        batch,
        conditions,
        quantity,
    }) = trainer.train_batch()
    else {
        panic!("an infinite loss was accepted")
    };
    assert_eq!((batch, quantity.as_str()), (0, "loss/weight"));
    assert!(config(5).tasks.contains(&conditions.task));
    assert_eq!(trainer.checkpoint(), checkpoint);
}

#[test]
fn an_interrupted_evaluation_leaves_no_trace() {
    let mut trainer = trainer(config(4));
    train(&mut trainer, 1);
    let mut calls = 0;
    let outcome = trainer.evaluate(&mut |fraction| {
        calls += 1;
        assert!(fraction > 0.0 && fraction < 1.0);
        if calls < 10 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    assert!(matches!(outcome, Err(Error::Interrupted)));
    assert_eq!((calls, trainer.best()), (10, None));
    assert!(evaluate(&mut trainer).is_best);
}

#[test]
fn a_checkpoint_knows_whether_its_evaluation_is_still_to_come() {
    let mut trainer = trainer(config(4));
    assert!(!trainer.evaluation_pending());
    train(&mut trainer, 1);
    let resume = |checkpoint: &Checkpoint| {
        Trainer::resume(config(4), Numerics::cpu(F32), checkpoint).expect("resumed")
    };
    let interrupted = resume(&trainer.checkpoint());
    assert!(trainer.evaluation_pending() && interrupted.evaluation_pending());
    evaluate(&mut trainer);
    let evaluated = resume(&trainer.checkpoint());
    assert!(!trainer.evaluation_pending() && !evaluated.evaluation_pending());
    train(&mut trainer, 1);
    assert!(!trainer.evaluation_pending());
}

#[test]
fn the_best_evaluation_counts_ties_as_better() {
    let mut trainer = trainer(config(4));
    train(&mut trainer, 1);
    let first = evaluate(&mut trainer);
    assert_eq!(first, evaluate(&mut trainer));
    assert!(first.is_best);
    assert_eq!(first.conditions.len(), 20);
    let mean = first.per_task.iter().map(|(_, score)| score).sum::<f64>() / 2.0;
    assert!((first.total - mean).abs() < 1e-15);
}

#[test]
fn scores_do_not_depend_on_which_conditions_run_side_by_side() {
    let numerics = Numerics::cpu(Precision::F64);
    let trainer = Trainer::new(config(5), numerics).expect("valid");
    let effector = Effector::new(numerics);
    let run = |engine, conditions_per_chunk, tasks: &[Task]| {
        let evaluator = Evaluator {
            effector: &effector,
            policy: trainer.policy(),
            numerics,
            protocol: EvaluationConfig::default(),
            seed: 5,
            batch: 2,
            conditions_per_chunk,
            engine,
            card: None,
        };
        evaluator
            .run(tasks, &mut |_| ControlFlow::Continue(()))
            .expect("nobody interrupts")
    };
    let alone = run(Engine::Reference, 1, &[Task::DlyHalfCircleClk]);
    let together = run(
        Engine::Reference,
        7,
        &[Task::DlyHalfReach, Task::DlyHalfCircleClk],
    );
    let fused = run(Engine::Fused, 1, &[Task::DlyHalfReach, Task::DlyHalfCircleClk]);
    for ((alone, together), fused) in alone.iter().zip(&together[10..]).zip(&fused[10..]) {
        assert_eq!(alone.score.delay_steps, together.score.delay_steps);
        assert!((alone.score.position - together.score.position).abs() < 1e-10);
        assert!((alone.score.position - fused.score.position).abs() < 1e-10);
    }
    let delays: std::collections::BTreeSet<usize> =
        together.iter().map(|outcome| outcome.score.delay_steps).collect();
    assert_eq!(delays.len(), 3, "delays are drawn for each condition");
}

#[test]
fn checkpoints_come_back_as_they_were_in_both_precisions() {
    for precision in [F32, Precision::F64] {
        let mut trainer = Trainer::new(config(7), Numerics::cpu(precision)).expect("valid");
        train(&mut trainer, 1);
        let checkpoint = trainer.checkpoint();
        let bytes = checkpoint.to_bytes().expect("encoded");
        assert_eq!(Checkpoint::from_bytes(&bytes).expect("decoded"), checkpoint);
    }
}

#[test]
fn a_checkpoint_holds_the_state_dict_and_nothing_else() {
    let bytes = trainer(config(7)).checkpoint().to_bytes().expect("encoded");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let mut names = file.names();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "fc.bias",
            "fc.weight",
            "mrnn.input_region",
            "mrnn.input_region_sign_matrix",
            "mrnn.input_region_weight_mask",
            "mrnn.region_base_firing",
            "mrnn.region_region",
            "mrnn.region_region_sign_matrix",
            "mrnn.region_region_weight_mask",
        ]
    );
    assert_eq!(file.tensor("mrnn.input_region").expect("there").shape(), [7, 28]);
    assert_eq!(file.tensor("fc.weight").expect("there").shape(), [6, 7]);
}

#[test]
fn moments_too_large_for_the_metadata_become_tensors() {
    let checkpoint = trainer(config(3000)).checkpoint();
    let bytes = checkpoint.to_bytes().expect("encoded");
    let (header, _) = safetensors::SafeTensors::read_metadata(&bytes).expect("a header that readers accept");
    assert!(header < 1_000_000);
    assert_eq!(Checkpoint::from_bytes(&bytes).expect("decoded"), checkpoint);
}

#[test]
fn damaged_files_are_errors_and_never_panics() {
    let bytes = trainer(config(3)).checkpoint().to_bytes().expect("encoded");
    for length in [0, 1, 7, 8, 9, 100, bytes.len() / 2, bytes.len() - 1] {
        assert!(
            Checkpoint::from_bytes(&bytes[..length]).is_err(),
            "cut to {length} bytes"
        );
    }
    let header_length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    for position in (0..8 + header_length).step_by(13) {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x41;
        // Some changes leave a valid file; whatever is read must still be refused or fit.
        if let Ok(checkpoint) = Checkpoint::from_bytes(&damaged) {
            let _ = Trainer::resume(config(3), Numerics::cpu(F32), &checkpoint);
        }
    }
    let claims_to_be_huge = u64::MAX.to_le_bytes();
    assert!(Checkpoint::from_bytes(&claims_to_be_huge).is_err());
    assert!(matches!(
        Checkpoint::read_from(std::path::Path::new("/nonexistent/checkpoint")),
        Err(CheckpointError::Read { .. })
    ));
}

#[test]
fn a_checkpoint_that_does_not_fit_says_where() {
    let good = trainer(config(4)).checkpoint();
    let resume =
        |config, checkpoint: &Checkpoint| match Trainer::resume(config, Numerics::cpu(F32), checkpoint) {
            Err(Error::Checkpoint(error)) => error,
            other => panic!("accepted: {:?}", other.map(|trainer| trainer.next_batch())),
        };
    assert!(matches!(
        resume(config(5), &good),
        CheckpointError::OtherTraining { field: "network" }
    ));
    let other_seed = TrainingConfig { seed: 1, ..config(4) };
    assert!(matches!(
        resume(other_seed, &good),
        CheckpointError::OtherTraining { field: "seed" }
    ));

    let stored = |tensor: Tensor| HostTensor::from_tensor(&tensor);
    let zeros = |shape: &[i64], kind| Tensor::zeros(shape, (kind, tch::Device::Cpu));
    let with = |name: &str, tensor| {
        let mut changed = good.clone();
        changed.state.insert(name.to_owned(), tensor);
        changed
    };
    let wrong_shape = with("fc.bias", stored(zeros(&[7], Kind::Float)));
    assert!(matches!(
        resume(config(4), &wrong_shape),
        CheckpointError::Shape { .. }
    ));
    let wrong_kind = with("fc.bias", stored(zeros(&[6], Kind::Double)));
    assert!(matches!(
        resume(config(4), &wrong_kind),
        CheckpointError::Precision { .. }
    ));
    let not_finite = with("fc.bias", stored(zeros(&[6], Kind::Float) / 0.0));
    assert!(matches!(
        resume(config(4), &not_finite),
        CheckpointError::NotFinite { .. }
    ));
    let unknown = with("fc.gain", stored(zeros(&[6], Kind::Float)));
    assert!(matches!(
        resume(config(4), &unknown),
        CheckpointError::UnknownTensor { .. }
    ));
    let mut missing = good.clone();
    missing.state.remove("mrnn.region_region");
    assert!(matches!(
        resume(config(4), &missing),
        CheckpointError::MissingTensor { .. }
    ));
    let mut missing = good.clone();
    missing.moments.remove("first.fc.bias");
    assert!(matches!(
        resume(config(4), &missing),
        CheckpointError::MissingTensor { .. }
    ));
}
