//! Curves: what is stored once, what is cut back, what is read.

use crate::common::{App, batch};
use axum::http::{Method, StatusCode};
use motif_proto::id::RunId;
use motif_proto::metrics::{Curve, Measured, MetricsAccepted, MetricsOfRuns, POSTCARD};
use motif_proto::run::CheckpointKind;
use motif_proto::worker::{Claim, Outcome};
use motif_server::MIGRATOR;
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
    let path = format!("/api/v1/runs/{}/metrics", RunId::new());
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

/// What a curve of these points says of each of its entries, worked out from the points themselves.
fn expect_faithful(curve: &Curve, points: &[(u64, f64)]) {
    assert_eq!(curve.count, points.len() as u64);
    assert!(curve.reduced && curve.steps.is_sorted_by(|a, b| a < b));
    assert_eq!(curve.steps[0], points[0].0);
    let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
    for (i, &first) in curve.steps.iter().enumerate() {
        let end = curve.steps.get(i + 1).copied().unwrap_or(u64::MAX);
        let place = |step: u64| points.partition_point(|&(other, _)| other < step);
        let values = || points[place(first)..place(end)].iter().map(|&(_, value)| value);
        let numbers = values().filter(|value| !value.is_nan());
        let mean = numbers.clone().sum::<f64>() / numbers.clone().count() as f64;
        assert!(same(
            curve.min.as_ref().unwrap()[i].0,
            numbers.clone().fold(f64::NAN, f64::min)
        ));
        assert!(same(
            curve.max.as_ref().unwrap()[i].0,
            numbers.fold(f64::NAN, f64::max)
        ));
        assert!(same(curve.values[i].0, mean) || (curve.values[i].0 - mean).abs() < 1e-9);
        let nan = values().filter(|value| value.is_nan()).count() as u64;
        assert_eq!(curve.nan.as_ref().map_or(0, |nan| nan[i]), nan);
    }
}

/// A curve with noise, spikes, and values that are not numbers; every step but each 7th.
fn rough(steps: std::ops::Range<u64>) -> Vec<(u64, f64)> {
    let value = |step: u64| match step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40 {
        noise if noise % 3001 == 0 => f64::NAN,
        noise if noise % 5003 == 0 => 1e6,
        noise => f64::from((noise as f64 / f64::from(1 << 24)) as f32),
    };
    steps
        .filter(|step| step % 7 != 6)
        .map(|step| (step, value(step)))
        .collect()
}

async fn store_all(app: &App, claim: &Claim, sequence: &mut u64, points: &[(u64, f64)], size: usize) {
    for part in points.chunks(size) {
        let body = postcard::to_stdvec(&batch(claim, *sequence, &[(LOSS, part)])).unwrap();
        let answer = app
            .request(Method::POST, "/api/v1/worker/metrics", POSTCARD, body)
            .await;
        answer.expect::<MetricsAccepted>(StatusCode::OK);
        *sequence += 1;
    }
}

#[tokio::test]
async fn any_range_at_any_width_says_what_its_points_say() {
    let app = App::start().await;
    let claim = app.running().await;
    let points = rough(0..400_000);
    store_all(&app, &claim, &mut 0, &points, 37_003).await;
    for (from, to, most) in [
        (0, 400_000, 1000),
        (0, 400_000, 1),
        (0, 400_000, 37),
        (3, 399_990, 200),
        (4_777, 333_333, 10),
        (200_001, 200_900, 5),
        (28_672, 57_343, 64),
    ] {
        let query = format!("from={from}&to={to}&points={most}");
        let curve = &app.curves(claim.run, &query).await.series[0];
        let inside: Vec<_> = points
            .iter()
            .copied()
            .filter(|(step, _)| (from..=to).contains(step))
            .collect();
        assert!(curve.steps.len() <= most, "{query}");
        expect_faithful(curve, &inside);
    }
}

#[tokio::test]
async fn a_rewind_leaves_no_trace_in_the_pyramid() {
    let app = App::start().await;
    let mut claim = app.running().await;
    let mut expected: Vec<(u64, f64)> = Vec::new();
    let mut from = 0;
    for (end, resume) in [(200_000, 150_001), (170_000, 40_960), (300_000, 299_000)] {
        let spoilt: Vec<_> = rough(from..end)
            .iter()
            .map(|&(step, value)| (step, value * 2.0))
            .collect();
        let mut sequence = 0;
        store_all(&app, &claim, &mut sequence, &spoilt, 40_000).await;
        app.upload(
            &claim,
            CheckpointKind::Last,
            resume,
            format!("{resume}").as_bytes(),
        )
        .await;
        app.lose(claim.attempt).await;
        app.end_wait(claim.run).await;
        let worker = app.register().await;
        claim = app.claim(worker).await.unwrap();
        expected.extend(spoilt);
        expected.retain(|&(step, _)| step < resume);
        let curve = &app.curves(claim.run, "points=100").await.series[0];
        expect_faithful(curve, &expected);
        from = resume;
    }
    let rest = rough(from..420_000);
    store_all(&app, &claim, &mut 0, &rest, 40_000).await;
    expected.extend(rest);
    for points in [10, 100, 900] {
        let curve = &app.curves(claim.run, &format!("points={points}")).await.series[0];
        expect_faithful(curve, &expected);
    }
}

#[tokio::test]
async fn points_survive_bit_for_bit_from_the_journal_and_from_chunks() {
    let app = App::start().await;
    let claim = app.running().await;
    let mut odd: Vec<(u64, f64)> = rough(0..6000);
    odd[17].1 = f64::from_bits(0x7ff8_0000_0000_0bad);
    odd[16].1 = -0.0;
    odd[5000].1 = f64::NEG_INFINITY;
    store_all(&app, &claim, &mut 0, &odd, 9).await;
    for _ in 0..2 {
        let stored = app.points(claim.run, LOSS).await;
        assert_eq!(stored.len(), odd.len());
        for (stored, sent) in stored.iter().zip(&odd) {
            assert_eq!((stored.0, stored.1.to_bits()), (sent.0, sent.1.to_bits()));
        }
        app.state.store.settle(claim.run).await.unwrap();
    }
}

#[tokio::test]
async fn an_ended_run_is_settled() {
    let app = App::start().await;
    let claim = app.running().await;
    app.store_metrics(
        &claim,
        0,
        &[(LOSS, &points(0..10, |s| s as f64)), (VALIDATION, &[(9, 0.5)])],
    )
    .await;
    assert!(app.state.store.unsettled().await.unwrap().is_empty());
    app.finish(&claim, 1, Outcome::Succeeded).await;
    assert_eq!(app.state.store.unsettled().await.unwrap(), [claim.run]);
    app.state.store.settle(claim.run).await.unwrap();
    assert!(app.state.store.unsettled().await.unwrap().is_empty());
    let curves = app.curves(claim.run, "").await.series;
    assert_eq!(
        curves.iter().map(|curve| curve.count).collect::<Vec<_>>(),
        [10, 1]
    );
    assert_eq!(app.detail(claim.run).await.series, [LOSS, VALIDATION]);
}

#[tokio::test]
async fn the_compact_form_of_a_batch_is_the_same_batch() {
    let app = App::start().await;
    let claim = app.running().await;
    let values = [(0, 0.1), (1, f64::NAN), (300, f64::INFINITY), (1 << 40, -0.0)];
    let mut body = postcard::to_stdvec(&batch(&claim, 0, &[(LOSS, &values)])).unwrap();
    let send = |body: Vec<u8>| app.request(Method::POST, "/api/v1/worker/metrics", POSTCARD, body);
    let accepted = send(body.clone()).await.expect::<MetricsAccepted>(StatusCode::OK);
    assert_eq!(accepted.next_sequence, 1);
    let stored = app.points(claim.run, LOSS).await;
    for (stored, sent) in stored.iter().zip(values) {
        assert_eq!((stored.0, stored.1.to_bits()), (sent.0, sent.1.to_bits()));
    }
    body.push(0);
    send(body.clone())
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body");
    body.truncate(40);
    send(body)
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body");
    app.request(Method::POST, "/api/v1/worker/metrics", "text/csv", "1")
        .await
        .problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type");
}

#[tokio::test]
async fn curves_of_many_runs_come_in_one_answer() {
    let app = App::start().await;
    let (first, second) = (app.running().await, app.running().await);
    app.store_metrics(
        &first,
        0,
        &[(LOSS, &points(0..100, |s| s as f64)), ("a", &[(0, 1.0)])],
    )
    .await;
    app.store_metrics(&second, 0, &[(LOSS, &points(0..9, |s| s as f64))])
        .await;
    app.state.store.settle(second.run).await.unwrap();
    let path = |query: &str| format!("/api/v1/metrics?{query}");
    let query = format!("runs={},{}&series=loss/total&points=10", second.run, first.run);
    let answer: MetricsOfRuns = app.get(&path(&query)).await.expect(StatusCode::OK);
    let counts = answer
        .runs
        .iter()
        .map(|run| (run.run, run.series.len(), run.series[0].count));
    assert_eq!(
        counts.collect::<Vec<_>>(),
        [(second.run, 1, 9), (first.run, 1, 100)]
    );
    assert_eq!(
        answer.runs[1].series[0],
        app.curves(first.run, "series=loss/total&points=10").await.series[0]
    );

    for query in ["", "runs=", "runs=one", "points=3"] {
        app.get(&path(query))
            .await
            .problem(StatusCode::BAD_REQUEST, "invalid_query");
    }
    let many = RunId::new();
    app.get(&path(&format!("runs={many}")))
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_run");
    let many: Vec<_> = (0..201).map(|_| RunId::new().to_string()).collect();
    app.get(&path(&format!("runs={}", many.join(","))))
        .await
        .problem(StatusCode::BAD_REQUEST, "invalid_query");
}

#[tokio::test]
async fn curves_of_earlier_versions_are_kept() {
    let pool = crate::common::fresh_database().await;
    let is_curves = |migration: &sqlx::migrate::Migration| migration.version >= 10;
    let mut before = sqlx::migrate::Migrator::DEFAULT;
    before.migrations = MIGRATOR
        .iter()
        .filter(|m| !is_curves(m))
        .cloned()
        .collect::<Vec<_>>()
        .into();
    before.run(&pool).await.unwrap();
    let (experiment, run) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
    sqlx::query("insert into experiments (id, name, kind, seed, tags, spec, spec_sha256) values ($1, 'old', 'train', 0, '{}', '{}', repeat('0', 64))")
        .bind(experiment).execute(&pool).await.unwrap();
    sqlx::query("insert into runs (id, experiment_id, priority, device_need, slots, labels, batches_total) values ($1, $2, 0, 'any', 1, '{}', 1)")
        .bind(run).bind(experiment).execute(&pool).await.unwrap();
    sqlx::query("insert into series (run_id, name, points, last_step) values ($1, 'b', 3000, 2999), ($1, 'a', 2, 300)")
        .bind(run).execute(&pool).await.unwrap();
    let chunk = async |name: &str, steps: &[u64], value: fn(u64) -> f64| {
        let (mut differences, mut before) = (Vec::new(), steps[0]);
        for &step in steps {
            motif_server::domain::pack::push_varint(&mut differences, step - before);
            before = step;
        }
        let values: Vec<u8> = steps.iter().flat_map(|&step| value(step).to_le_bytes()).collect();
        sqlx::query("insert into series_chunks select id, $2, $3, $4, $5, $6 from series where name = $1")
            .bind(name)
            .bind(steps[0].cast_signed())
            .bind(before.cast_signed())
            .bind(i32::try_from(steps.len()).unwrap())
            .bind(differences)
            .bind(values)
            .execute(&pool)
            .await
            .unwrap();
    };
    let value = |step: u64| (step as f64).sqrt();
    for start in [0, 1000, 2000] {
        chunk("b", &(start..start + 1000).collect::<Vec<_>>(), value).await;
    }
    chunk("a", &[7, 300], |_| -0.0).await;

    let app = App::on(pool, std::time::Duration::from_secs(60)).await;
    let run = RunId(run);
    app.state.store.settle(run).await.unwrap();
    let curves = app.curves(run, "points=5000").await.series;
    assert_eq!(
        curves.iter().map(|curve| curve.name.as_str()).collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(
        (curves[0].steps.as_slice(), curves[0].last_step),
        (&[7, 300][..], Some(300))
    );
    assert_eq!(curves[1].steps, (0..3000).collect::<Vec<_>>());
    assert!(
        curves[1]
            .steps
            .iter()
            .zip(&curves[1].values)
            .all(|(&step, v)| v.0 == value(step))
    );
}
