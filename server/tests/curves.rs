//! Curves: what is stored once, what is cut back, what is read.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

mod common;

use axum::http::StatusCode;
use common::{App, batch};
use motif_proto::metrics::{Measured, MetricsAccepted};
use motif_proto::run::CheckpointKind;
use serde_json::Value;

const LOSS: &str = "loss/total";
const VALIDATION: &str = "validation/total";

fn points(steps: std::ops::Range<u64>, value: impl Fn(u64) -> f64) -> Vec<(u64, f64)> {
    steps.map(|step| (step, value(step))).collect()
}

#[tokio::test]
async fn metrics_sent_twice_are_stored_once() {
    let app = App::start().await;
    let claim = app.running().await;
    for _ in 0..2 {
        let answer = app.metrics(&claim, 0, &[(LOSS, &[(0, 1.0), (1, 0.5)])]).await;
        assert_eq!(answer.expect::<MetricsAccepted>(StatusCode::OK).next_sequence, 1);
    }
    let curve = &app.curves(claim.run, "").await.series[0];
    assert_eq!((curve.count, curve.steps.as_slice()), (2, &[0, 1][..]));
}

#[tokio::test]
async fn metrics_that_leave_a_gap_are_refused() {
    let app = App::start().await;
    let claim = app.running().await;
    app.store_metrics(&claim, 0, &[(LOSS, &[(0, 1.0)])]).await;
    app.metrics(&claim, 2, &[(LOSS, &[(2, 1.0)])])
        .await
        .problem(StatusCode::CONFLICT, "sequence_gap");
    assert_eq!(app.curves(claim.run, "").await.series[0].count, 1);
}

#[tokio::test]
async fn a_step_that_is_there_already_is_refused_and_nothing_of_the_batch_stored() {
    let app = App::start().await;
    let claim = app.running().await;
    app.store_metrics(&claim, 0, &[(LOSS, &[(0, 1.0), (1, 1.0)])])
        .await;
    let answer = app
        .metrics(&claim, 1, &[("grad_norm", &[(1, 1.0)]), (LOSS, &[(1, 2.0)])])
        .await;
    answer.problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_metrics");
    let series = app.curves(claim.run, "").await.series;
    assert_eq!(series.len(), 1);
    assert_eq!(series[0].count, 2);
}

#[tokio::test]
async fn many_small_appends_and_one_large_read_back_the_same() {
    let app = App::start().await;
    let claim = app.running().await;
    let value = |step: u64| (step as f64).sin();
    let mut step = 0;
    for (sequence, length) in [1, 7, 1000, 500, 3000, 20, 1].into_iter().enumerate() {
        app.store_metrics(
            &claim,
            sequence as u64,
            &[(LOSS, &points(step..step + length, value))],
        )
        .await;
        step += length;
    }
    let curve = &app.curves(claim.run, "points=20000").await.series[0];
    assert_eq!(curve.steps, (0..step).collect::<Vec<_>>());
    assert!(
        curve
            .steps
            .iter()
            .zip(&curve.values)
            .all(|(&step, v)| v.0.to_bits() == value(step).to_bits())
    );
    let part = &app
        .curves(claim.run, "from=1005&to=1510&points=2000")
        .await
        .series[0];
    assert_eq!(part.steps, (1005..=1510).collect::<Vec<_>>());
    assert_eq!((part.count, part.last_step), (506, Some(step - 1)));
}

#[tokio::test]
async fn a_reduced_curve_keeps_its_spike() {
    let app = App::start().await;
    let claim = app.running().await;
    let spiky = points(0..5000, |step| if step == 3333 { 99.0 } else { 1.0 });
    app.store_metrics(&claim, 0, &[(LOSS, &spiky)]).await;
    let curve = &app.curves(claim.run, "points=50").await.series[0];
    assert!(curve.reduced);
    assert_eq!((curve.steps.len(), curve.count), (50, 5000));
    assert!(curve.max.as_ref().unwrap().contains(&Measured(99.0)));
}

#[tokio::test]
async fn values_that_are_not_finite_survive() {
    let app = App::start().await;
    let claim = app.running().await;
    let odd = [
        (0, f64::NAN),
        (1, f64::INFINITY),
        (2, f64::NEG_INFINITY),
        (3, -0.0),
    ];
    app.store_metrics(&claim, 0, &[(LOSS, &odd), (VALIDATION, &odd)])
        .await;
    let curve = &app.curves(claim.run, "series=loss/total").await.series[0];
    for (value, (_, sent)) in curve.values.iter().zip(odd) {
        assert!(value.0 == sent || (value.0.is_nan() && sent.is_nan()));
    }
    let summary = app.detail(claim.run).await.summary;
    assert_eq!(summary.best_validation.unwrap().step, 3);
}

#[tokio::test]
async fn series_are_chosen_by_name_repeated_or_with_commas() {
    let app = App::start().await;
    let claim = app.running().await;
    app.store_metrics(
        &claim,
        0,
        &[("c", &[(0, 1.0)]), ("a", &[(0, 1.0)]), ("b", &[(0, 1.0)])],
    )
    .await;
    for (query, expected) in [
        ("", vec!["a", "b", "c"]),
        ("series=a,c", vec!["a", "c"]),
        ("series=a&series=b", vec!["a", "b"]),
        ("series=unknown", vec![]),
    ] {
        let curves = app.curves(claim.run, query).await;
        assert_eq!(
            curves.series.iter().map(|curve| &curve.name).collect::<Vec<_>>(),
            expected,
            "{query}"
        );
    }
    assert_eq!(app.detail(claim.run).await.series, ["a", "b", "c"]);
}

#[tokio::test]
async fn the_summary_follows_the_curves() {
    let app = App::start().await;
    let claim = app.running().await;
    let first = [
        (VALIDATION, &[(9, 0.5), (19, 0.2)][..]),
        (LOSS, &points(0..20, |s| 20.0 - s as f64)),
    ];
    app.store_metrics(&claim, 0, &first).await;
    app.store_metrics(
        &claim,
        1,
        &[
            (VALIDATION, &[(29, 0.3)]),
            ("throughput/batches_per_second", &[(29, 7.5)]),
        ],
    )
    .await;
    let summary = app.detail(claim.run).await.summary;
    assert_eq!(summary.progress.batches_done, 20);
    assert_eq!(summary.progress.batches_total, 600);
    assert_eq!(summary.progress.batches_per_second, Some(7.5));
    let pair = |value: Option<motif_proto::metrics::StepValue>| value.map(|v| (v.step, v.value.0));
    assert_eq!(pair(summary.last_loss), Some((19, 1.0)));
    assert_eq!(pair(summary.last_validation), Some((29, 0.3)));
    assert_eq!(pair(summary.best_validation), Some((19, 0.2)));
}

#[tokio::test]
async fn a_resumed_run_drops_what_lies_past_its_checkpoint() {
    let app = App::start().await;
    let first = app.running().await;
    let curves = [
        (LOSS, &points(0..3000, |s| s as f64)[..]),
        (VALIDATION, &[(999, 0.5), (1999, 0.1)]),
    ];
    app.store_metrics(&first, 0, &curves).await;
    app.upload(&first, CheckpointKind::Last, 1500, b"weights after 1500 batches")
        .await;
    app.lose(first.attempt).await;

    let worker = app.register().await;
    let second = app.claim(worker).await.unwrap();
    let resume = second.resume.clone().unwrap();
    assert_eq!((second.run, resume.next_batch), (first.run, 1500));
    let summary = app.detail(second.run).await.summary;
    assert_eq!(summary.progress.batches_done, 1500);
    assert_eq!(summary.best_validation.unwrap().step, 999);
    assert_eq!(summary.last_loss.unwrap().step, 1499);

    app.store_metrics(&second, 0, &[(LOSS, &points(1500..1600, |s| -(s as f64)))])
        .await;
    let curve = &app
        .curves(second.run, "series=loss/total&points=20000")
        .await
        .series[0];
    assert_eq!(curve.steps, (0..1600).collect::<Vec<_>>());
    assert_eq!((curve.values[1499].0, curve.values[1500].0), (1499.0, -1500.0));
    assert_eq!(app.detail(second.run).await.attempt_history[1].first_batch, 1500);
}

#[tokio::test]
async fn a_run_without_a_checkpoint_begins_anew_with_an_empty_curve() {
    let app = App::start().await;
    let first = app.running().await;
    app.store_metrics(&first, 0, &[(LOSS, &[(0, 1.0), (1, 1.0)])])
        .await;
    app.lose(first.attempt).await;
    let worker = app.register().await;
    let second = app.claim(worker).await.unwrap();
    assert!(second.resume.is_none());
    assert!(app.curves(second.run, "").await.series.is_empty());
    app.store_metrics(&second, 0, &[(LOSS, &[(0, 3.0)])]).await;
    assert_eq!(app.curves(second.run, "").await.series[0].values, [Measured(3.0)]);
}

#[tokio::test]
async fn a_batch_with_a_defect_is_refused_by_name() {
    let app = App::start().await;
    let claim = app.running().await;
    let mut unequal = batch(&claim, 0, &[(LOSS, &[(0, 1.0), (1, 1.0)])]);
    unequal.series[0].values.pop();
    let problem = app.post("/api/v1/worker/metrics", &unequal).await;
    let problem = problem.problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_metrics");
    assert!(problem.detail.contains("loss/total"), "{}", problem.detail);
}

#[tokio::test]
async fn curves_of_a_run_that_is_not_there_are_a_problem() {
    let app = App::start().await;
    let path = format!("/api/v1/runs/{}/metrics", motif_proto::id::RunId::new());
    app.get(&path).await.problem(StatusCode::NOT_FOUND, "unknown_run");
    let claim = app.running().await;
    for query in ["points=0", "points=1000000", "points=many", "from=-1", "poinst=3"] {
        let path = format!("/api/v1/runs/{}/metrics?{query}", claim.run);
        let answer = app.get(&path).await;
        answer.problem(StatusCode::BAD_REQUEST, "invalid_query");
    }
    let answer: Value = app
        .get(&format!("/api/v1/runs/{}/metrics", claim.run))
        .await
        .expect(StatusCode::OK);
    assert_eq!(answer["series"], serde_json::json!([]));
}
