//! Statistics over seeds.

use crate::common::App;
use crate::common::study::{experiment, submit};
use axum::http::StatusCode;
use motif_proto::id::RunId;
use motif_proto::statistics::{Difference, Statistics};
use motif_proto::study::StudyDetail;
use motif_proto::worker::Outcome;
use serde_json::json;

/// Half the width of a 95 % interval of five values with standard deviation 1.
const HALF_OF_FIVE: f64 = 2.776_445_105_198_793 / 2.236_067_977_499_79;

fn close(found: Option<f64>, expected: f64) {
    assert!((found.unwrap() - expected).abs() < 1e-9, "{found:?} {expected}");
}

/// Two experiments of five seeds: the losses of `b` are those of `a` and the seed's number.
async fn two_groups(app: &App) -> StudyDetail {
    let study = submit(
        app,
        json!({ "name": "groups", "experiments": [
            { "id": "a", "preset": "demo", "seeds": 5, "tags": ["first"] },
            { "id": "b", "preset": "demo", "seeds": 6 },
        ] }),
    )
    .await;
    let worker = app.register().await;
    while let Some(claim) = app.claim(worker).await {
        let seed = claim.spec.seed as f64;
        let shift = if experiment(&study, "b")
            .runs
            .iter()
            .any(|run| run.run == claim.run)
        {
            seed
        } else {
            0.0
        };
        let points: Vec<(u64, f64)> = [0, 10, 20]
            .into_iter()
            .map(|step| (step, step as f64 + 10.0 * seed + shift))
            .collect();
        app.store_metrics(&claim, 0, &[("validation/total", &points)])
            .await;
        app.finish(&claim, 1, Outcome::Succeeded).await;
    }
    study
}

async fn statistics(app: &App, query: &str) -> Statistics {
    app.get(&format!("/api/v1/statistics?series=validation/total&{query}"))
        .await
        .expect(StatusCode::OK)
}

#[tokio::test]
async fn a_group_has_its_mean_spread_and_interval_at_a_step() {
    let app = App::start().await;
    let study = two_groups(&app).await;
    let id = study.summary.id;
    let newest = statistics(&app, &format!("group=study:{id}/a")).await;
    let spread = newest.spreads[0];
    assert_eq!((newest.runs, spread.n, spread.from), (5, 5, None));
    // Values 20, 30, 40, 50, 60: standard deviation √250.
    close(spread.mean, 40.0);
    close(spread.sd, 250.0_f64.sqrt());
    close(spread.low, 40.0 - HALF_OF_FIVE * 250.0_f64.sqrt());
    assert_eq!(
        newest.values.iter().map(|value| value.seed).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4]
    );
    // Between two steps the older counts; where nobody got to, nobody counts.
    let between = statistics(&app, &format!("group=study:{id}/a&step=15")).await;
    close(between.spreads[0].mean, 30.0);
    assert_eq!(between.values[0].step, 10);
    assert_eq!(statistics(&app, "group=tag:first&step=21").await.spreads[0].n, 0);
    let one = experiment(&study, "a").runs[3].run;
    let alone = statistics(&app, &format!("group=runs:{one}")).await.spreads[0];
    assert_eq!(
        (alone.n, alone.mean, alone.sd, alone.low),
        (1, Some(50.0), None, None)
    );
}

#[tokio::test]
async fn a_range_has_a_spread_for_each_step_or_part() {
    let app = App::start().await;
    let id = two_groups(&app).await.summary.id;
    let steps = statistics(&app, &format!("group=study:{id}/a&points=100")).await;
    let places: Vec<_> = steps
        .spreads
        .iter()
        .map(|spread| (spread.from, spread.to, spread.n))
        .collect();
    assert_eq!(places, [0, 10, 20].map(|step| (Some(step), Some(step), 5)));
    close(steps.spreads[1].mean, 30.0);
    let parts = statistics(&app, &format!("group=study:{id}/a&points=2")).await;
    assert_eq!(parts.spreads.len(), 2);
    close(parts.spreads[0].mean, 25.0);
    let some = statistics(&app, &format!("group=study:{id}/a&from=5&to=10")).await;
    assert_eq!(some.spreads.len(), 1);
    assert!(steps.values.is_empty());
}

#[tokio::test]
async fn two_groups_are_compared_seed_by_seed() {
    let app = App::start().await;
    let study = two_groups(&app).await;
    let id = study.summary.id;
    let path = format!("/api/v1/statistics/difference?series=validation/total&a=study:{id}/b&b=study:{id}/a");
    let difference: Difference = app.get(&path).await.expect(StatusCode::OK);
    // The differences are the seeds 0 to 4: mean 2, standard deviation √2.5.
    let spread = difference.spreads[0];
    assert_eq!(
        (spread.n, difference.pairs.len(), &difference.unpaired),
        (5, 5, &vec![5])
    );
    close(spread.mean, 2.0);
    close(spread.sd, 2.5_f64.sqrt());
    close(spread.high, 2.0 + HALF_OF_FIVE * 2.5_f64.sqrt());
    assert_eq!(difference.pairs[3].difference.0, 3.0);
    let wide: Difference = app
        .get(&format!("{path}&confidence=0.99"))
        .await
        .expect(StatusCode::OK);
    assert!(wide.spreads[0].high > spread.high);
    let range: Difference = app.get(&format!("{path}&points=10")).await.expect(StatusCode::OK);
    assert_eq!(range.spreads.len(), 3);
    for part in range.spreads {
        close(part.mean, 2.0);
    }
    let ambiguous =
        format!("/api/v1/statistics/difference?series=validation/total&a=study:{id}&b=study:{id}/a");
    app.get(&ambiguous)
        .await
        .problem(StatusCode::BAD_REQUEST, "ambiguous_seed");
}

#[tokio::test]
async fn questions_that_cannot_be_answered_say_why() {
    let app = App::start().await;
    for (query, status, code) in [
        ("group=seeds:3", StatusCode::BAD_REQUEST, "invalid_query"),
        (
            "group=tag:a&step=1&from=2",
            StatusCode::BAD_REQUEST,
            "invalid_query",
        ),
        (
            "group=tag:a&confidence=1",
            StatusCode::BAD_REQUEST,
            "invalid_query",
        ),
        ("group=tag:a&points=0", StatusCode::BAD_REQUEST, "invalid_query"),
    ] {
        let path = format!("/api/v1/statistics?series=loss/total&{query}");
        app.get(&path).await.problem(status, code);
    }
    let nobody = RunId::new();
    let path = format!("/api/v1/statistics?series=loss/total&group=runs:{nobody}");
    app.get(&path).await.problem(StatusCode::NOT_FOUND, "unknown_run");
    let path = format!("/api/v1/statistics?series=loss/total&group=study:{nobody}");
    app.get(&path)
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_study");
}
