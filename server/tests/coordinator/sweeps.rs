//! Sweeps: their points, and successive halving that pauses and promotes real runs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::common::App;
use crate::common::study::{detail, experiment, submit};
use axum::http::StatusCode;
use motif_proto::id::RunId;
use motif_proto::run::{CheckpointKind, RunState};
use motif_proto::study::{StudyDetail, StudyState};
use motif_proto::worker::{Claim, Outcome};
use serde_json::{Value, json};

/// Longest wait for a study to end.
const PATIENCE: Duration = Duration::from_secs(120);

fn asha(samples: u64, seeds: u64) -> Value {
    json!({ "name": "halving", "experiments": [
        {
            "id": "search", "preset": "demo", "seeds": seeds, "training": { "batches": 90 },
            "sweep": {
                "method": "asha", "samples": samples, "seed": 5, "first_rung": 10, "reduction": 3,
                "metric": "loss/total",
                "parameters": { "training.learning_rate": { "distribution": "log", "min": 1e-4, "max": 1e-2 } },
            },
        },
        { "id": "look", "kind": "evaluate", "base": "search" },
        { "id": "report", "preset": "demo", "after": ["search"] },
    ] })
}

/// Trains a claimed run to where it is to stop; its losses are its quality.
async fn train(app: &App, claim: &Claim, quality: f64) {
    let begin = claim.resume.as_ref().map_or(0, |point| point.next_batch);
    let end = claim.stop_before.unwrap_or(90);
    let points: Vec<(u64, f64)> = (begin..end)
        .map(|step| (step, quality + 1.0 / (step + 1) as f64))
        .collect();
    app.store_metrics(claim, 0, &[("loss/total", &points)]).await;
    for kind in [CheckpointKind::Best, CheckpointKind::Last] {
        let content = format!("{} {end}", claim.run);
        app.upload(claim, kind, end, content.as_bytes()).await;
    }
    let outcome = match claim.stop_before {
        Some(batch) => Outcome::Reached { batch },
        None => Outcome::Succeeded,
    };
    let answer = app.finish(claim, 1, outcome).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
}

/// Waits until no run of the search rests undecided: the coordinator decides by itself too, and may be at it.
async fn decided(app: &App, study: &StudyDetail, runs: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        app.state.store.decide_sweeps().await.unwrap();
        let now = detail(app, study.summary.id).await;
        let counts = experiment(&now, "search").counts;
        if counts.runs.paused == 0 && counts.total() == runs {
            return;
        }
        assert!(Instant::now() < deadline, "{now:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Which point a run is.
fn points(study: &StudyDetail) -> BTreeMap<RunId, u32> {
    let runs = experiment(study, "search").runs.iter();
    runs.map(|run| (run.run, run.point.unwrap())).collect()
}

#[tokio::test]
async fn a_grid_makes_a_run_for_every_combination_and_seed() {
    let app = App::start().await;
    let study = submit(
        &app,
        json!({ "name": "grid", "experiments": [
            { "id": "g", "preset": "demo", "seeds": 2,
              "sweep": { "method": "grid", "parameters": {
                  "network": { "hidden": [32, 64, 128] }, "training.learning_rate": [1e-3, 1e-4] } } },
            { "id": "t", "kind": "transfer", "base": "g" },
        ] }),
    )
    .await;
    assert_eq!(
        (
            study.summary.counts.runs.queued,
            study.summary.counts.runs.waiting
        ),
        (12, 12)
    );
    for (i, run) in experiment(&study, "g").runs.iter().enumerate() {
        let detail = app.detail(run.run).await;
        assert_eq!(run.point, Some(i as u32 / 2));
        assert_eq!(detail.spec.network.hidden(), [32, 64, 128][i / 4]);
        assert_eq!(run.parameters["network.hidden"], json!([32, 64, 128][i / 4]));
        let rate = detail.spec.training.unwrap().learning_rate;
        assert_eq!((rate, run.seed), ([1e-3, 1e-4][i / 2 % 2], i as u64 % 2));
    }
    // What starts from it is made for every point, with the network of that point.
    for (i, run) in experiment(&study, "t").runs.iter().enumerate() {
        let detail = app.detail(run.run).await;
        let base = experiment(&study, "g").runs[i].run;
        assert_eq!(detail.spec.base, Some(base.to_string()));
        assert_eq!(detail.spec.network.hidden(), [32, 64, 128][i / 4]);
    }
}

#[tokio::test]
async fn draws_are_the_same_again_and_mistakes_name_the_parameter() {
    let app = App::start().await;
    let random = |samples: u64| {
        json!({ "name": "random", "experiments": [
            { "id": "r", "preset": "demo", "sweep": { "method": "random", "samples": samples, "seed": 3,
              "parameters": { "training.learning_rate": { "distribution": "log", "min": 1e-4, "max": 1e-2 } } } },
        ] })
    };
    let (short, long) = (submit(&app, random(3)).await, submit(&app, random(6)).await);
    let drawn = |study: &StudyDetail| -> Vec<Value> {
        let runs = experiment(study, "r").runs.iter();
        runs.map(|run| run.parameters["training.learning_rate"].clone())
            .collect()
    };
    assert_eq!(drawn(&short), drawn(&long)[..3]);

    let wrong = json!({ "name": "wrong", "experiments": [
        { "id": "a", "preset": "demo", "sweep": { "method": "grid", "parameters": {
            "network.hidden": [64, 0], "training": { "clipp": [1] } } } },
        { "id": "b", "preset": "demo", "sweep": { "method": "asha", "samples": 3, "first_rung": 600,
            "parameters": { "network.hidden": [64] } } },
        { "id": "c", "kind": "transfer", "base": "a", "sweep": { "method": "grid", "parameters": {
            "training.learning_rate": [1e-3] } } },
    ] });
    let refused = app.post("/api/v1/studies", &wrong).await;
    let problem = refused.problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_spec");
    let mut found: Vec<&str> = problem
        .errors
        .iter()
        .map(|problem| problem.pointer.as_str())
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "/experiments/0/sweep/parameters/network.hidden",
            "/experiments/0/sweep/parameters/training/clipp",
            "/experiments/1/sweep/first_rung",
            "/experiments/2/sweep",
        ]
    );
}

#[tokio::test]
async fn the_best_third_goes_on_from_every_rung_exactly_where_it_rested() {
    let app = App::start().await;
    let study = submit(&app, asha(9, 1)).await;
    assert_eq!(experiment(&study, "search").rungs, [10, 30]);
    let points = points(&study);
    let worker = app.register().await;
    let mut stops: BTreeMap<u32, Vec<(u64, Option<u64>)>> = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    // The lower the number of a point, the better it is. Whatever the order, nothing is left over in the end.
    loop {
        app.state.store.decide_sweeps().await.unwrap();
        let Some(claim) = app.claim(worker).await else {
            // The coordinator decides by itself too, and may be at it.
            if detail(&app, study.summary.id).await.summary.state != StudyState::Active {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{:#?}",
                detail(&app, study.summary.id).await
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Some(&point) = points.get(&claim.run) else {
            app.finish(&claim, 0, Outcome::Succeeded).await;
            continue;
        };
        let begin = claim.resume.as_ref().map_or(0, |resume| resume.next_batch);
        stops.entry(point).or_default().push((begin, claim.stop_before));
        train(&app, &claim, f64::from(point)).await;
    }
    let study = detail(&app, study.summary.id).await;
    assert_eq!(stops[&0], [(0, Some(10)), (10, Some(30)), (30, None)]);
    assert!(stops.values().all(|stops| stops[0] == (0, Some(10))));
    let second: Vec<u32> = stops
        .iter()
        .filter(|(_, stops)| stops.len() > 1)
        .map(|(point, _)| *point)
        .collect();
    // Point 0 came first, so nobody worse was ever among the best third of those that had got there.
    assert_eq!(second, [0, 1, 2]);
    let search = experiment(&study, "search");
    assert_eq!((search.counts.runs.succeeded, search.counts.stopped), (1, 8));
    let best = search
        .runs
        .iter()
        .find(|run| run.state == RunState::Succeeded)
        .unwrap();
    assert_eq!(
        (best.point, best.rungs.len(), best.batches_done),
        (Some(0), 2, 90)
    );
    assert!((best.rungs[1].value.unwrap() - 1.0 / 30.0).abs() < 1e-12);
    let curve = app.points(best.run, "loss/total").await;
    assert_eq!(
        curve.iter().map(|(step, _)| *step).collect::<Vec<_>>(),
        (0..90).collect::<Vec<_>>()
    );
    let stopped = search.runs.iter().find(|run| run.point == Some(8)).unwrap();
    assert!(
        stopped.reason.as_ref().unwrap().contains("batch 10"),
        "{stopped:?}"
    );
    // What starts from stopped points is skipped; what comes after the search had only to wait for its end.
    let look = experiment(&study, "look");
    assert_eq!((look.counts.runs.succeeded, look.counts.runs.skipped), (1, 8));
    assert_eq!(experiment(&study, "report").runs[0].state, RunState::Succeeded);
    assert_eq!(study.summary.state, StudyState::Succeeded);
}

#[tokio::test]
async fn several_coordinators_deciding_at_once_decide_once() {
    let app = App::start().await;
    let study = submit(&app, asha(6, 1)).await;
    let points = points(&study);
    let worker = app.register().await;
    let mut claims = Vec::new();
    while let Some(claim) = app.claim(worker).await {
        if points.contains_key(&claim.run) {
            claims.push(claim);
        }
    }
    futures::future::join_all(
        claims
            .iter()
            .map(|claim| train(&app, claim, f64::from(points[&claim.run]))),
    )
    .await;
    let decisions = (0..8).map(|_| app.state.store.decide_sweeps());
    for decided in futures::future::join_all(decisions).await {
        decided.unwrap();
    }
    decided(&app, &study, 6).await;
    let mut promoted = Vec::new();
    while let Some(claim) = app.claim(worker).await {
        promoted.extend(points.get(&claim.run).map(|&point| (point, claim.stop_before)));
    }
    promoted.sort_unstable();
    let search = detail(&app, study.summary.id).await;
    let search = experiment(&search, "search");
    // Six have two places; who got there first may have taken one of them, never more.
    assert!((2..=3).contains(&promoted.len()), "{promoted:?}");
    assert!(
        promoted.contains(&(0, Some(30))) && promoted.contains(&(1, Some(30))),
        "{promoted:?}"
    );
    assert_eq!(search.counts.stopped, 6 - promoted.len() as u64);
}

#[tokio::test]
async fn points_with_several_seeds_are_compared_by_their_mean() {
    let app = App::start().await;
    let study = submit(&app, asha(3, 2)).await;
    let runs = experiment(&study, "search").runs.clone();
    let worker = app.register().await;
    // Point 1 is best in the mean, though point 0 has the best seed.
    let quality = |point: u32, seed: u64| match (point, seed) {
        (0, 0) => 0.1,
        (0, _) => 0.9,
        (1, _) => 0.3,
        _ => 0.6,
    };
    for _ in 0..6 {
        let claim = app.claim(worker).await.unwrap();
        let run = runs.iter().find(|run| run.run == claim.run).unwrap();
        train(&app, &claim, quality(run.point.unwrap(), run.seed)).await;
    }
    decided(&app, &study, 6).await;
    let now = detail(&app, study.summary.id).await;
    for run in &experiment(&now, "search").runs {
        let expected = if run.point == Some(1) {
            RunState::Queued
        } else {
            RunState::Cancelled
        };
        assert_eq!(run.state, expected, "{run:?}");
    }
}

#[tokio::test]
async fn a_run_that_did_not_stop_where_it_should_goes_back_to_the_queue() {
    let app = App::start().await;
    submit(&app, asha(3, 1)).await;
    let worker = app.register().await;
    let claim = app.claim(worker).await.unwrap();
    app.upload(&claim, CheckpointKind::Last, 7, b"seven").await;
    app.finish(&claim, 0, Outcome::Reached { batch: 10 }).await;
    assert_eq!(
        app.run_state(claim.run).await,
        RunState::Queued,
        "no checkpoint at batch 10"
    );
}

#[tokio::test]
async fn a_finish_that_is_repeated_rests_once() {
    let app = App::start().await;
    let study = submit(&app, asha(3, 1)).await;
    let worker = app.register().await;
    let claim = app.claim(worker).await.unwrap();
    train(&app, &claim, 0.5).await;
    let again = app.finish(&claim, 1, Outcome::Reached { batch: 10 }).await;
    assert_eq!(again.status, StatusCode::NO_CONTENT);
    let now = detail(&app, study.summary.id).await;
    let run = experiment(&now, "search")
        .runs
        .iter()
        .find(|run| run.run == claim.run)
        .unwrap();
    assert_eq!((run.state, run.rungs.len()), (RunState::Paused, 1));
}
