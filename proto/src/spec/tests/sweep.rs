//! Points of sweeps, and what is wrong with those that have none.

use serde_json::{Value, json};

use crate::problem::FieldProblem;
use crate::spec::read::Table;
use crate::spec::sweep::{Goal, Halving, SweepSpec};

fn read(document: &Value) -> Result<SweepSpec, Vec<FieldProblem>> {
    let mut problems = Vec::new();
    let sweep = Table::read(document, &mut problems, SweepSpec::read);
    if problems.is_empty() {
        Ok(sweep)
    } else {
        Err(problems)
    }
}

#[test]
fn a_grid_has_every_combination_once() {
    let sweep = read(&json!({
        "method": "grid",
        "parameters": { "network": { "hidden": [64, 128] }, "training.learning_rate": [0.1, 0.2, 0.3] },
    }))
    .expect("a sweep");
    assert_eq!(sweep.points, 6);
    let points: Vec<_> = (0..6).map(|k| sweep.point(k)).collect();
    assert_eq!(
        points[0],
        [
            ("network.hidden", json!(64)),
            ("training.learning_rate", json!(0.1))
        ]
    );
    assert_eq!(
        points[4],
        [
            ("network.hidden", json!(128)),
            ("training.learning_rate", json!(0.2))
        ]
    );
    for (i, point) in points.iter().enumerate() {
        assert!(!points[..i].contains(point));
    }
}

#[test]
fn a_draw_depends_on_the_seed_and_its_number_alone() {
    let sweep = |samples: u64, seed: u64| {
        read(&json!({
            "method": "random", "samples": samples, "seed": seed,
            "parameters": {
                "training.learning_rate": { "distribution": "log", "min": 1e-4, "max": 1e-1 },
                "training.batch_size": { "distribution": "int", "min": 8, "max": 11 },
                "network.noise": { "distribution": "linear", "min": -1.0, "max": 1.0 },
                "network.activation": ["softplus", "tanh"],
            },
        }))
        .expect("a sweep")
    };
    let (short, long, other) = (sweep(10, 1), sweep(400, 1), sweep(10, 2));
    for k in 0..10 {
        assert_eq!(short.point(k), long.point(k));
        assert_ne!(short.point(k), other.point(k));
    }
    // Fixed for ever: a sweep that is submitted again has the same points.
    let first: Vec<Value> = long.point(0).into_iter().map(|(_, value)| value).collect();
    assert_eq!(
        first,
        [json!("softplus"), json!(-0.22677), json!(9), json!(0.001_065_6)]
    );
    let all: Vec<_> = (0..400).map(|k| long.point(k)).collect();
    let column = |i: usize| all.iter().map(move |point| point[i].1.clone());
    for (i, activation) in ["softplus", "tanh"].iter().enumerate() {
        let count = column(0).filter(|value| value == activation).count();
        assert!((150..=250).contains(&count), "{i}: {count}");
    }
    let below = column(3)
        .filter(|rate| rate.as_f64().is_some_and(|rate| rate < 1e-3))
        .count();
    assert!((90..=180).contains(&below), "a third below 1e-3: {below}");
    let sizes: std::collections::BTreeSet<_> = column(2).filter_map(|size| size.as_i64()).collect();
    assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [8, 9, 10, 11]);
    assert!(column(1).all(|noise| noise.as_f64().is_some_and(|noise| (-1.0..1.0).contains(&noise))));
}

#[test]
fn rungs_grow_by_the_reduction_and_end_before_the_training_does() {
    let halving = Halving {
        first_rung: 100,
        reduction: 3,
        metric: "validation/total".to_owned(),
        goal: Goal::Min,
    };
    assert_eq!(halving.rungs(900), [100, 300]);
    assert_eq!(halving.rungs(901), [100, 300, 900]);
    assert!(halving.rungs(100).is_empty());
}

#[test]
fn every_mistake_of_a_sweep_is_named_with_its_place() {
    let problems = read(&json!({
        "method": "asha", "reduction": 1, "sampels": 4,
        "parameters": {
            "seed": [1, 2], "network.hidden": { "distribution": "log", "min": 0, "max": 2 },
            "training": { "clip": 3, "batches": [] },
        },
    }))
    .expect_err("problems");
    let pointers: Vec<_> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/parameters/network.hidden",
            "/parameters/seed",
            "/parameters/training/batches",
            "/parameters/training/clip",
            "/samples",
            "/first_rung",
            "/reduction",
            "/sampels",
        ]
    );
    let problems = read(&json!({ "method": "grid" })).expect_err("problems");
    assert_eq!(problems[0].pointer, "/parameters");
    let many = vec![0; 500];
    let problems = read(&json!({
        "method": "grid", "parameters": { "network.hidden": many, "training.clip": many },
    }))
    .expect_err("problems");
    assert!(problems[0].detail.contains("250000"), "{problems:?}");
}
