//! What lists cost among many runs: how Postgres finds a page, not how long it takes here.

use crate::common::App;
use axum::http::StatusCode;
use motif_proto::run::{RunList, RunState};
use motif_server::domain::listing::{Condition, RunFilter, Sort};
use motif_server::store::run_list::RunQuery;
use serde_json::{Value, json};

const MANY_RUNS: &str = include_str!("../../../deploy/lib/many_runs.sql");
const RUNS: u64 = 20_000;

/// A laboratory with many runs.
async fn crowded() -> App {
    let app = App::start().await;
    app.submit(json!({ "preset": "demo" })).await;
    let mut connection = app.pool.acquire().await.unwrap();
    let settings = format!(
        "set motif.runs = {RUNS}; set motif.series = 1; set statement_timeout = '120s'; set lock_timeout = 0;"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("{settings}{MANY_RUNS}")))
        .execute(&mut *connection)
        .await
        .unwrap();
    app
}

fn query(sort: &str, filter: RunFilter) -> RunQuery {
    RunQuery {
        filter,
        sort: Sort::parse(sort).unwrap(),
        limit: 100,
        ..RunQuery::default()
    }
}

/// Every node of a plan.
fn nodes(plan: &Value) -> Vec<&Value> {
    let mut found = vec![plan];
    let mut place = 0;
    while let Some(node) = found.get(place) {
        let below = node["Plans"].as_array();
        found.extend(below.into_iter().flatten());
        place += 1;
    }
    found
}

/// The most rows that a node of the plan went through, those that it left out included.
fn rows_touched(plan: &Value) -> u64 {
    let of = |node: &Value| {
        let number = |key: &str| node[key].as_f64().unwrap_or(0.0);
        let rows =
            number("Actual Rows") + number("Rows Removed by Filter") + number("Rows Removed by Join Filter");
        (rows * number("Actual Loops")) as u64
    };
    nodes(plan).into_iter().map(of).max().unwrap_or(0)
}

#[tokio::test]
async fn a_page_looks_at_few_runs_however_many_there_are_and_is_complete() {
    let app = crowded().await;
    pages_look_at_few_runs(&app).await;
    what_few_fulfil_is_found_by_an_index_and_complete(&app).await;
}

async fn pages_look_at_few_runs(app: &App) {
    let condition = |text: &str| Condition::parse(text).unwrap();
    let all = RunFilter::default();
    let succeeded = RunFilter {
        states: vec![RunState::Succeeded],
        ..all.clone()
    };
    let queued = RunFilter {
        states: vec![RunState::Queued],
        ..all.clone()
    };
    let sweep = RunFilter {
        tags: vec!["sweep-77".to_owned()],
        ..all.clone()
    };
    let text = RunFilter {
        text: Some("run a1".to_owned()),
        ..all.clone()
    };
    let good = RunFilter {
        conditions: vec![condition("best_validation<0.05")],
        ..all.clone()
    };
    let wide = RunFilter {
        states: vec![RunState::Succeeded],
        projects: vec!["project-3".to_owned()],
        conditions: vec![condition("network.hidden=128")],
        ..all.clone()
    };
    let sorts = [
        "created",
        "-updated",
        "-finished",
        "name",
        "priority",
        "-duration",
        "best_validation",
        "-last_loss",
        "last:validation/task-1",
    ];
    for (name, filter) in [
        ("all", all),
        ("succeeded", succeeded),
        ("queued", queued),
        ("sweep", sweep),
        ("text", text),
        ("good", good),
        ("wide", wide),
    ] {
        for sort in sorts {
            let plans = app
                .state
                .store
                .explain_list(&query(sort, filter.clone()))
                .await
                .unwrap();
            // Of the ways that a page may be found, the first finds it wherever many fulfil the filter.
            let walk = &plans[0][0]["Plan"];
            for node in nodes(walk) {
                assert_ne!(node["Node Type"], "Seq Scan", "{name} by {sort}: {walk:#}");
            }
            let rows = rows_touched(walk);
            assert!(
                rows <= 8000,
                "{name} by {sort} goes through {rows} rows: {walk:#}"
            );
        }
    }
}

async fn what_few_fulfil_is_found_by_an_index_and_complete(app: &App) {
    for (filter, most) in [
        (
            RunFilter {
                tags: vec!["sweep-77".to_owned()],
                ..RunFilter::default()
            },
            100,
        ),
        (
            RunFilter {
                text: Some("run c4ca42 3".to_owned()),
                ..RunFilter::default()
            },
            1000,
        ),
    ] {
        let query = query("best_validation", filter);
        let plans = app.state.store.explain_list(&query).await.unwrap();
        let find = &plans[1][0]["Plan"];
        for node in nodes(find) {
            assert_ne!(node["Node Type"], "Seq Scan", "{find:#}");
        }
        assert!(rows_touched(find) <= most + 200, "{find:#}");
    }
    let list: RunList = app
        .get("/api/v1/runs?tag=sweep-77&sort=best_validation&limit=500&total=true")
        .await
        .expect(StatusCode::OK);
    assert_eq!(list.total.unwrap().count, 100);
    assert_eq!(list.runs.len(), 100);
    let values: Vec<f64> = list
        .runs
        .iter()
        .map(|run| run.best_validation.unwrap().value.0)
        .collect();
    assert!(values.is_sorted() && list.next_cursor.is_none());
    let list: RunList = app.get("/api/v1/runs?total=true").await.expect(StatusCode::OK);
    let total = list.total.unwrap();
    assert!(
        total.is_estimate && total.count.abs_diff(RUNS) < RUNS / 10,
        "{total:?}"
    );
}
