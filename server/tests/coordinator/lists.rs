//! Lists of runs: what they let through, in which order, page by page, and what they cost.

use crate::common::App;
use axum::http::StatusCode;
use motif_proto::id::RunId;
use motif_proto::run::RunList;
use motif_proto::worker::Outcome;
use serde_json::{Value, json};

const LOSS: &str = "loss/total";
const VALIDATION: &str = "validation/total";

async fn list(app: &App, query: &str) -> RunList {
    app.get(&format!("/api/v1/runs?{query}"))
        .await
        .expect(StatusCode::OK)
}

async fn names(app: &App, query: &str) -> Vec<String> {
    let runs = list(app, query).await.runs;
    runs.into_iter().map(|run| run.name).collect()
}

/// A run with these points, ended.
async fn measured(app: &App, name: &str, spec: Value, series: &[(&str, &[(u64, f64)])]) -> RunId {
    let mut spec = spec;
    spec["preset"] = json!("demo");
    spec["name"] = json!(name);
    app.submit(spec).await;
    let worker = app.register().await;
    let claim = app.claim(worker).await.unwrap();
    app.store_metrics(&claim, 0, series).await;
    let ended = app.finish(&claim, 1, Outcome::Succeeded).await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    claim.run
}

/// Four runs with values, and one that waits.
async fn laboratory() -> App {
    let app = App::start().await;
    for (name, hidden, validation, loss) in [
        ("b", 64, [0.5, 0.2, 0.4], 0.3),
        ("a", 128, [0.9, 0.1, 0.8], 0.7),
        ("d", 128, [0.3, 0.3, f64::NAN], f64::INFINITY),
        ("c", 256, [0.7, 0.6, 0.5], 0.1),
    ] {
        let validation: Vec<_> = (0..).zip(validation).collect();
        let series = [
            (VALIDATION, validation.as_slice()),
            (LOSS, &[(0, 1.0), (1, loss)]),
        ];
        let spec = json!({ "network": { "hidden": hidden }, "seed": hidden, "tags": [format!("h{hidden}")] });
        measured(&app, name, spec, &series).await;
    }
    app.submit(json!({ "preset": "demo", "name": "waits", "priority": 3, "project": "other" }))
        .await;
    app
}

#[tokio::test]
async fn runs_are_sorted_by_any_series_and_those_without_a_value_come_last() {
    let app = laboratory().await;
    for (sort, expected) in [
        ("best_validation", ["a", "b", "d", "c", "waits"]),
        ("-best_validation", ["c", "d", "b", "a", "waits"]),
        // What is not a number has no place in an order.
        ("last_validation", ["b", "c", "a", "waits", "d"]),
        ("-last_loss", ["d", "a", "b", "c", "waits"]),
        ("last:loss/total", ["c", "b", "a", "d", "waits"]),
        ("min:loss/total", ["c", "b", "a", "d", "waits"]),
        ("name", ["a", "b", "c", "d", "waits"]),
        ("-name", ["waits", "d", "c", "b", "a"]),
        ("created", ["b", "a", "d", "c", "waits"]),
        ("-created", ["waits", "c", "d", "a", "b"]),
        ("updated", ["b", "a", "d", "c", "waits"]),
        ("finished", ["b", "a", "d", "c", "waits"]),
        ("-finished", ["c", "d", "a", "b", "waits"]),
        ("-priority", ["waits", "c", "d", "a", "b"]),
    ] {
        assert_eq!(names(&app, &format!("sort={sort}")).await, expected, "{sort}");
        // The same in pages of one and two.
        for limit in [1, 2] {
            let (mut paged, mut query) = (Vec::new(), format!("sort={sort}&limit={limit}"));
            loop {
                let page = list(&app, &query).await;
                paged.extend(page.runs.into_iter().map(|run| run.name));
                let Some(cursor) = page.next_cursor else { break };
                query = format!("sort={sort}&limit={limit}&cursor={cursor}");
            }
            assert_eq!(paged, expected, "{sort} in pages of {limit}");
        }
    }
    let durations = names(&app, "sort=duration").await;
    assert_eq!((durations.len(), durations[4].as_str()), (5, "waits"));
}

#[tokio::test]
async fn runs_are_filtered_by_spec_place_time_and_values() {
    let app = laboratory().await;
    let worker = app.get("/api/v1/workers").await.expect::<Value>(StatusCode::OK)["workers"][0].clone();
    let all = ["a", "b", "c", "d", "waits"].as_slice();
    for (query, expected) in [
        ("where=best_validation%3C0.3", ["a", "b"].as_slice()),
        ("where=best_validation%3C%3D0.3&where=last_loss%3C1", &["a", "b"]),
        ("where=best_validation%3C1&where=last_loss%3E1", &["d"]),
        ("where=min:validation/total%3E%3D0.5", &["c"]),
        ("where=network.hidden%3D128", &["a", "d"]),
        ("where=network.hidden%3E64&where=seed%21%3D256", &["a", "d"]),
        ("where=network.hidden%3C64.5", &["b", "waits"]),
        ("where=network.kind%3Drnn", all),
        (
            "where=network.activation%21%3Drelu&where=training.batch_size%3E0",
            all,
        ),
        ("where=training.learning_rate%3E1", &[]),
        ("where=attempts%3D0", &["waits"]),
        ("where=duration%3E%3D0", &["a", "b", "c", "d"]),
        ("project=other", &["waits"]),
        (
            "project=other&project=default&state=succeeded",
            &["a", "b", "c", "d"],
        ),
        ("preset=demo&tag=h128", &["a", "d"]),
        ("preset=none", &[]),
        ("worker=bench", &["a", "b", "c", "d"]),
        (&format!("worker={}", worker["id"].as_str().unwrap()), &["b"]),
        ("worker=nobody", &[]),
        (
            "created_from=2020-01-01T00:00:00Z&finished_to=2100-01-01T00:00:00Z",
            &["a", "b", "c", "d"],
        ),
        ("created_to=2020-01-01T00:00:00Z", &[]),
        ("finished_from=2100-01-01T00:00:00Z", &[]),
    ] {
        for sort in ["name", "-best_validation", "duration", "created"] {
            let mut found = names(&app, &format!("{query}&sort={sort}")).await;
            found.sort();
            assert_eq!(found, expected, "{query} by {sort}");
        }
    }
}

#[tokio::test]
async fn a_cursor_of_another_list_is_refused() {
    let app = laboratory().await;
    let cursor = list(&app, "sort=name&limit=2").await.next_cursor.unwrap();
    for query in ["sort=-name", "sort=name&state=failed", "", "sort=name&q=a"] {
        let problem = app
            .get(&format!("/api/v1/runs?{query}&cursor={cursor}"))
            .await
            .problem(StatusCode::BAD_REQUEST, "invalid_cursor");
        assert!(problem.detail.contains("other filters"), "{}", problem.detail);
    }
    // Neither the length of a page nor the wish for a total makes it another list.
    assert_eq!(
        names(&app, &format!("sort=name&limit=1&total=true&cursor={cursor}")).await,
        ["c"]
    );
}

#[tokio::test]
async fn the_total_is_counted_where_it_is_asked_for() {
    let app = laboratory().await;
    assert_eq!(list(&app, "limit=1").await.total, None);
    let total = list(&app, "limit=1&total=true&where=network.hidden%3D128")
        .await
        .total
        .unwrap();
    assert_eq!((total.count, total.is_estimate), (2, false));
}

#[tokio::test]
async fn values_are_noted_while_a_run_is_at_work_and_again_after_a_rewind() {
    let app = App::start().await;
    let claim = app.running().await;
    app.store_metrics(&claim, 0, &[(LOSS, &[(0, 1.0)])]).await;
    let noted = async |query: &str| names(&app, &format!("where={query}")).await.len();
    assert_eq!(
        noted("last_loss%3D1").await,
        1,
        "the first points are noted at once"
    );
    app.store_metrics(&claim, 1, &[(LOSS, &[(1, 0.5)]), (VALIDATION, &[(1, 0.25)])])
        .await;
    assert_eq!(
        noted("last_loss%3D0.5").await,
        1,
        "so are those that come with an evaluation"
    );
    app.lose(claim.attempt).await;
    let worker = app.register().await;
    let again = app.claim(worker).await.unwrap();
    assert_eq!(
        noted("last_loss%3C9").await,
        0,
        "the points are gone, and so are their values"
    );
    app.store_metrics(
        &again,
        0,
        &[(LOSS, &[(0, 2.0), (1, 3.0)]), (VALIDATION, &[(1, 4.0)])],
    )
    .await;
    assert_eq!(noted("last_loss%3D3").await, 1);
    // Read again from the points, as the coordinator does of those of earlier versions.
    sqlx::query("update series set newest = null, least = null, noted = false")
        .execute(&app.pool)
        .await
        .unwrap();
    for run in app.state.store.unnoted().await.unwrap() {
        app.state.store.renote(run).await.unwrap();
    }
    assert_eq!(
        noted("last_loss%3D3&where=min:loss/total%3D2&where=best_validation%3D4").await,
        1
    );
    assert!(app.state.store.unnoted().await.unwrap().is_empty());
}
