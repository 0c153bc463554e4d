//! Trials: paths, targets, cues, and what the network sees of them.

use std::collections::BTreeSet;

use tch::{Kind, Tensor};

use super::FileError;
use super::comparison::{Comparison, Quantity};
use super::file::GoldenFile;
use crate::arm::Effector;
use crate::device::Numerics;
use crate::environment::{Episode, feedback};
use crate::tasks::{Family, Mode, Point, STABLE_STEPS, Task, Trial, TrialConditions, delay_steps};

/// `task_trials` and `composable_trials`: groups `<task>/<mode>/s<speed>_d<delay index>`, `…_c<delay steps>` and
/// `<task>/<mode>/knots`. A composed task is written `<rule>.<forward>+<backward>`.
pub(super) fn trials(
    file: &GoldenFile,
    numerics: Numerics,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    require_same_order(file)?;
    let groups: BTreeSet<&str> = file
        .names()
        .filter_map(|name| Some(name.rsplit_once('/')?.0))
        .collect();
    for group in groups {
        let not_understood = || FileError::Metadata {
            key: "name of a group of tensors".to_owned(),
            value: group.to_owned(),
        };
        let mut parts = group.splitn(3, '/');
        let (task, mode, which) = (
            parts.next().unwrap_or(""),
            parts.next().unwrap_or(""),
            parts.next().unwrap_or(""),
        );
        let task = named(task)?;
        let mode = match mode {
            "train" => Mode::Train,
            "test" => Mode::Test,
            _ => return Err(not_understood()),
        };
        if which == "knots" {
            knots(file, group, task, mode, numerics, comparison)?;
        } else {
            let (speed, delay_steps) = speed_and_delay(which).ok_or_else(not_understood)?;
            let directions = file.integers(&format!("{group}/reach_conds"))?;
            let conditions = TrialConditions {
                task,
                mode,
                speed,
                delay_steps,
                directions,
                backward_directions: None,
            };
            whole_trial(file, group, conditions, numerics, comparison)?;
        }
    }
    Ok(())
}

/// The composed tasks in the metadata, if there are any, stand in the order of our rules.
fn require_same_order(file: &GoldenFile) -> Result<(), FileError> {
    let Ok(order) = file.metadata("order") else {
        return Ok(());
    };
    let ours: Vec<&str> = Family::Composed.tasks().into_iter().map(Task::name).collect();
    if order.split(';').eq(ours) {
        Ok(())
    } else {
        Err(FileError::Metadata {
            key: "order".to_owned(),
            value: order.to_owned(),
        })
    }
}

/// Reads a task's name, or a composed task with its rule before it and without the words `forward_`, `backward_`.
fn named(name: &str) -> Result<Task, FileError> {
    let Some((rule, motifs)) = name.split_once('.') else {
        return Ok(name.parse()?);
    };
    let not_understood = || FileError::Metadata {
        key: "name of a composed task".to_owned(),
        value: name.to_owned(),
    };
    let (forward, backward) = motifs.split_once('+').ok_or_else(not_understood)?;
    let task: Task = format!("forward_{forward}+backward_{backward}").parse()?;
    // The number is part of the reference: which input stands for which pair.
    if rule.parse() == Ok(task.rule()) {
        Ok(task)
    } else {
        Err(not_understood())
    }
}

/// Reads `s<speed index>_d<delay index>` and `s<speed index>_c<delay steps>`.
fn speed_and_delay(which: &str) -> Option<(usize, usize)> {
    let (speed, delay) = which.strip_prefix('s')?.split_once('_')?;
    let delay_steps = match delay.strip_prefix('d') {
        Some(index) => delay_steps(index.parse().ok()?).ok()?,
        None => delay.strip_prefix('c')?.parse().ok()?,
    };
    Some((speed.parse().ok()?, delay_steps))
}

fn whole_trial(
    file: &GoldenFile,
    group: &str,
    conditions: TrialConditions,
    numerics: Numerics,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let trial = Trial::new(conditions)?;
    let episode = Episode::new(std::slice::from_ref(&trial), numerics);
    let steps = trial.steps() as i64;
    let layout = episode.layout;
    let rules = layout.rules();
    // Time index k is what is seen after step k.
    let seen = episode.known.narrow(0, 1, steps);
    let start = Effector::new(numerics).start(trial.rows() as i64);
    let reset = Tensor::cat(
        &[episode.known.get(0).narrow(1, 0, layout.known), feedback(&start)],
        1,
    );
    let bounds: Vec<i64> = trial
        .epochs
        .bounds()
        .as_flattened()
        .iter()
        .map(|&bound| bound as i64)
        .collect();
    let ours = [
        ("traj", table(&trial.paths, numerics)),
        ("vis_inp", seen.narrow(2, rules + 2, 2).transpose(0, 1)),
        ("vis_inp_last", seen.get(-1).narrow(1, rules + 2, 2)),
        ("goal", episode.goal.shallow_clone()),
        ("go_cue", seen.select(1, 0).select(1, rules + 1)),
        ("speed_scalar", seen.select(1, 0).select(1, rules)),
        ("rule_input", episode.known.get(0).get(0).narrow(0, 0, rules)),
        ("epoch_bounds", Tensor::from_slice(&bounds).reshape([4, 2])),
        ("obs_reset", reset),
    ];
    for (name, ours) in ours {
        comparison.stored(Quantity::TrialDefinition, file, &format!("{group}/{name}"), &ours)?;
    }
    Ok(())
}

/// All directions at one speed, which the last sample's index tells, and a delay of 25.
fn knots(
    file: &GoldenFile,
    group: &str,
    task: Task,
    mode: Mode,
    numerics: Numerics,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let index = file.integers(&format!("{group}/index"))?;
    let movement = index.last().map_or(0, |last| last + 1);
    let speed = task
        .movement_steps(mode)
        .iter()
        .position(|&steps| steps == movement);
    let speed = speed.ok_or_else(|| FileError::Shape {
        name: format!("{group}/index"),
        shape: index.iter().map(|&i| i as i64).collect(),
    })?;
    let directions = (0..mode.directions()).collect();
    let trial = Trial::new(TrialConditions {
        task,
        mode,
        speed,
        delay_steps: 25,
        directions,
        backward_directions: None,
    })?;
    let paths: Vec<Vec<Point>> = trial
        .paths
        .iter()
        .map(|path| index.iter().map(|&i| path[i.min(movement - 1)]).collect())
        .collect();
    let targets = (0..trial.rows())
        .map(|row| vec![trial.target(row, STABLE_STEPS)])
        .collect::<Vec<_>>();
    let ours = [
        ("traj", table(&paths, numerics)),
        ("vis_inp_last", table(&targets, numerics).squeeze_dim(1)),
    ];
    for (name, ours) in ours {
        comparison.stored(Quantity::TrialDefinition, file, &format!("{group}/{name}"), &ours)?;
    }
    Ok(())
}

/// `[row, point, 2]`.
fn table(paths: &[Vec<Point>], numerics: Numerics) -> Tensor {
    let values: Vec<f64> = paths.iter().flatten().flatten().copied().collect();
    numerics
        .tensor(&values, &[paths.len() as i64, -1, 2])
        .to_kind(Kind::Double)
}
