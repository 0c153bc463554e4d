//! Consecutive updates, and a table of an evaluation.

use tch::Tensor;

use super::FileError;
use super::comparison::{Comparison, Quantity};
use super::file::GoldenFile;
use super::network::{CLIP, LEARNING_RATE};
use crate::arm::Effector;
use crate::config::EvaluationConfig;
use crate::device::Numerics;
use crate::engine::Engine;
use crate::engine::cuda::card_for;
use crate::environment::Episode;
use crate::evaluation::{CONDITIONS_PER_CHUNK, ConditionOutcome, Evaluation, Evaluator};
use crate::learner::{LearnError, Learner};
use crate::loss::{LossWeights, Losses};
use crate::tasks::{Mode, Task, Trial, TrialConditions, delay_steps};

/// (task, test mode, speed index, delay index, directions)
type StoredTrial = (String, bool, usize, usize, Vec<usize>);

/// `train_steps`: one update per trial, with noise off; losses, norms, parameters in between, moments at the end.
pub(super) fn updates(
    file: &GoldenFile,
    numerics: Numerics,
    engine: Engine,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let policy = file.policy(numerics)?;
    let mut learner = Learner::new(
        policy,
        LEARNING_RATE,
        LossWeights::default(),
        Some(CLIP),
        numerics,
    )
    .with_engine(engine)?;
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for (trial, update) in file.literal::<Vec<StoredTrial>>("trials")?.into_iter().zip(1..) {
        let episode = Episode::new(&[stored_trial(trial)?], numerics);
        let played = learner.roll_out(&episode, None);
        let learnt = learner.learn(&played, &episode.goal);
        let (loss, norm) = learnt.map_err(|error| match error {
            LearnError::NotFinite(error) => FileError::NotFinite(error.quantity),
            LearnError::Card(error) => FileError::Card(error),
        })?;
        losses.push(loss);
        norms.push(norm);
        for (name, parameter) in learner.policy().trainable() {
            let name = format!("after{update}/{name}");
            comparison.stored(Quantity::Training, file, &name, parameter)?;
        }
    }
    comparison.stored(Quantity::Training, file, "grad_norm", &Tensor::from_slice(&norms))?;
    if file.has("loss") {
        compare_losses(file, &losses, comparison)?;
    }
    let moments = learner.adam.state();
    for (stored, which) in [("moment1", "first"), ("moment2", "second")] {
        for (name, _) in learner.policy.trainable() {
            let ours = moments[&format!("{which}.{name}")].to_tensor();
            comparison.stored(Quantity::Training, file, &format!("{stored}/{name}"), &ours)?;
        }
    }
    Ok(())
}

/// Row by row an update, column by column a term.
fn compare_losses(
    file: &GoldenFile,
    losses: &[Losses],
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let reference = file.reference("loss")?;
    for (name, column) in file.metadata("loss_columns")?.split(',').zip(0..) {
        let ours: Vec<f64> = losses
            .iter()
            .map(|losses| loss_named(losses, name))
            .collect::<Result<_, _>>()?;
        let reference = reference.select(1, column);
        comparison.tensor(
            Quantity::Loss,
            &format!("loss/{name}"),
            &Tensor::from_slice(&ours),
            &reference,
        );
    }
    Ok(())
}

fn stored_trial((task, testing, speed, delay, directions): StoredTrial) -> Result<Trial, FileError> {
    let mode = if testing { Mode::Test } else { Mode::Train };
    let conditions = TrialConditions {
        task: task.parse()?,
        mode,
        speed,
        delay_steps: delay_steps(delay)?,
        directions,
        backward_directions: None,
    };
    Ok(Trial::new(conditions)?)
}

fn loss_named(losses: &Losses, name: &str) -> Result<f64, FileError> {
    match name {
        "l1_dist" => Ok(losses.position),
        "l1_rate" => Ok(losses.rate),
        "l1_weight" => Ok(losses.weight),
        "l1_muscle_act" => Ok(losses.muscle),
        "simple_dynamics" => Ok(losses.dynamics),
        "total" => Ok(losses.total),
        _ => Err(FileError::Metadata {
            key: "loss_columns".to_owned(),
            value: name.to_owned(),
        }),
    }
}

/// `eval_table`: every task, test speed and direction at one delay, with noise off.
pub(super) fn evaluation(
    file: &GoldenFile,
    numerics: Numerics,
    engine: Engine,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let noise: bool = file.literal("noise")?;
    if noise {
        return Err(FileError::Metadata {
            key: "noise".to_owned(),
            value: "True".to_owned(),
        });
    }
    let delay = delay_steps(file.literal("delay_cond")?)?;
    let tasks = file
        .metadata("tasks")?
        .split(',')
        .map(str::parse)
        .collect::<Result<Vec<Task>, _>>()?;
    let policy = file.policy(numerics)?;
    let evaluator = Evaluator {
        effector: &Effector::new(numerics),
        card: card_for(&policy, numerics)?,
        policy: &policy,
        numerics,
        protocol: EvaluationConfig {
            noise: false,
            delays: vec![delay],
            ..EvaluationConfig::default()
        },
        seed: 0,
        batch: 0,
        conditions_per_chunk: CONDITIONS_PER_CHUNK,
        engine,
    };
    let outcomes = evaluator.run(&tasks, &mut |_| std::ops::ControlFlow::Continue(()))?;
    compare_table(file, &tasks, &outcomes, comparison)
}

fn compare_table(
    file: &GoldenFile,
    tasks: &[Task],
    outcomes: &[ConditionOutcome],
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let per_task = tasks.len() as i64;
    let scores: Vec<f64> = outcomes.iter().map(|outcome| outcome.score.position).collect();
    let finals: Vec<f64> = outcomes
        .iter()
        .flat_map(|outcome| outcome.final_fingertips.as_flattened())
        .copied()
        .collect();
    let summary = Evaluation::new(0, outcomes);
    let means: Vec<f64> = summary.per_task.iter().map(|(_, score)| *score).collect();
    let directions = Mode::Test.directions() as i64;
    let finals = Tensor::from_slice(&finals).reshape([per_task, -1, directions, 2]);
    let scores = Tensor::from_slice(&scores).reshape([per_task, -1]);
    comparison.stored(Quantity::Loss, file, "l1_dist", &scores)?;
    comparison.stored(Quantity::Fingertip, file, "final_xy", &finals)?;
    comparison.stored(Quantity::Loss, file, "task_mean", &Tensor::from_slice(&means))?;
    comparison.stored(
        Quantity::Loss,
        file,
        "overall",
        &Tensor::from_slice(&[summary.total]),
    )
}
