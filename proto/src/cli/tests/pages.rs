//! How results and problems look.

use std::collections::HashMap;

use axum::extract::Query;
use axum::routing::get;
use axum::{Json, Router};
use chrono::TimeDelta;

use crate::cli::output::{Output, age, duration, short_id, significant};
use crate::cli::{list, metrics, problem, watch};
use crate::client::MetricsQuery;
use crate::client::stub::{invalid_spec, noon, problem as plain_problem, run, serve};
use crate::id::RunId;
use crate::metrics::{Curve, Measured, RunMetrics, StepValue};
use crate::run::{Failure, FailureClass, RunState, RunSummary};
use crate::spec::ExperimentKind;

fn trained() -> RunSummary {
    let point = |step, value| {
        Some(StepValue {
            step,
            value: Measured(value),
        })
    };
    RunSummary {
        last_loss: point(499, 0.043_21),
        best_validation: point(400, 0.031),
        last_validation: point(400, 0.031),
        worker: Some("lab-1".to_owned()),
        ..run("beef0001", RunState::Running)
    }
}

#[test]
fn the_table_of_runs_is_aligned_and_plain_in_a_pipe() {
    let mut waiting = run("beef0002", RunState::Queued);
    waiting.name = "rnn256-softplus".to_owned();
    waiting.progress.batches_done = 0;
    let table = list::table(
        &Output::plain(),
        &[trained(), waiting],
        noon() + TimeDelta::minutes(3),
    );
    assert_eq!(
        table,
        "\
RUN       NAME             KIND   STATE    BATCHES         LOSS     BEST VALIDATION  WORKER  SUBMITTED
beef0001  demo             train  running  500/2000 (25%)  0.04321  0.03100          lab-1   3 min ago
beef0002  rnn256-softplus  train  queued   0/2000 (0%)     -        -                -       3 min ago"
    );
}

#[test]
fn a_problem_names_each_field_what_was_given_and_what_would_be_right() {
    assert_eq!(
        problem::in_words(&invalid_spec()),
        "\
The spec has 2 problems
  /network/hidden: 0 is out of range
      given: 0
      allowed: an integer from 1 to 4096
  /network/activaton: there is no such field; did you mean `activation`?
      given: \"relu\""
    );
}

#[test]
fn the_sentence_of_a_single_field_is_not_said_twice() {
    let mut single = invalid_spec();
    single.errors.truncate(1);
    single.detail = "/network/hidden: 0 is out of range".to_owned();
    let text = problem::in_words(&single);
    assert!(
        text.starts_with("Invalid spec\n  /network/hidden: 0 is out of range\n"),
        "{text}"
    );
}

#[test]
fn a_fault_of_the_coordinator_names_the_request_for_its_log() {
    let mut fault = plain_problem(500, "internal", "Something went wrong");
    fault.request_id = Some("r-1".to_owned());
    assert_eq!(
        problem::in_words(&fault),
        "Something went wrong (request r-1 in the coordinator's log)"
    );
}

#[test]
fn short_ids_are_the_tail_because_the_head_is_time() {
    let (a, b) = (RunId::new(), RunId::new());
    assert_ne!(short_id(a), short_id(b));
    assert!(a.to_string().ends_with(&short_id(a)));
}

#[test]
fn ages_and_durations_read_like_speech() {
    let ago = |seconds| age(noon(), noon() + TimeDelta::seconds(seconds));
    assert_eq!(ago(-30), "just now");
    assert_eq!(ago(4), "just now");
    assert_eq!(ago(59), "59 s ago");
    assert_eq!(ago(200), "3 min ago");
    assert_eq!(ago(7200), "2 h ago");
    assert_eq!(ago(90_000), "1 day ago");
    assert_eq!(ago(200_000), "2 days ago");
    assert_eq!(duration(59), "59 s");
    assert_eq!(duration(130), "2 min 10 s");
    assert_eq!(duration(3 * 3600 + 61), "3 h 1 min");
    assert_eq!(duration(90_000), "1 d 1 h");
}

#[test]
fn numbers_have_four_significant_digits() {
    for (value, text) in [
        (0.0, "0"),
        (0.043_214, "0.04321"),
        (1.0, "1.000"),
        (-12.345_6, "-12.35"),
        (54_321.9, "54322"),
        (1.5e-7, "1.500e-7"),
        (2e9, "2.000e9"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(significant(value), text);
    }
}

#[test]
fn progress_tells_speed_time_left_loss_and_best_validation() {
    let mut run = trained();
    assert_eq!(
        watch::status(&run),
        "25.00 batches/s · 1 min 0 s left · loss 0.04321 · best validation 0.03100"
    );
    run.progress.batches_per_second = Some(0.0);
    assert_eq!(watch::seconds_left(&run), None);
    run.state = RunState::Queued;
    assert_eq!(watch::status(&run), "waits for another worker");
    run.attempts = 0;
    assert_eq!(watch::status(&run), "waits for a worker");
}

#[test]
fn plain_progress_is_printed_at_every_twentieth_and_every_change_of_state() {
    let at = |done, state| {
        let mut run = run("1", state);
        run.progress.batches_done = done;
        watch::Milestone::of(&run)
    };
    assert_eq!(at(100, RunState::Running), at(199, RunState::Running));
    assert_ne!(at(199, RunState::Running), at(200, RunState::Running));
    assert_ne!(at(199, RunState::Running), at(199, RunState::Queued));
}

#[test]
fn the_last_line_says_how_a_run_ended_and_why() {
    let mut run = trained();
    run.state = RunState::Succeeded;
    run.started_at = Some(noon());
    run.finished_at = Some(noon() + TimeDelta::seconds(61));
    assert_eq!(
        watch::last_words(&run),
        "demo (beef0001) succeeded after 500 batches, 1 min 1 s, best validation 0.03100"
    );
    run.kind = ExperimentKind::Evaluate;
    assert_eq!(
        watch::last_words(&run),
        "demo (beef0001) succeeded, 1 min 1 s, validation 0.03100"
    );
    run.state = RunState::Failed;
    run.failure = Some(Failure {
        class: FailureClass::Diverged,
        message: "the loss of batch 500 is NaN".to_owned(),
    });
    assert!(
        watch::last_words(&run)
            .starts_with("demo (beef0001) failed: the loss of batch 500 is NaN (diverged)")
    );
}

fn curves() -> RunMetrics {
    let measured = |values: &[f64]| values.iter().copied().map(Measured).collect::<Vec<_>>();
    RunMetrics {
        run: RunId::new(),
        series: vec![
            Curve {
                name: "loss/total".to_owned(),
                steps: vec![0, 2],
                values: measured(&[0.5, 0.25]),
                min: Some(measured(&[0.4, 0.1])),
                max: Some(measured(&[0.6, 0.3])),
                nan: None,
                reduced: true,
                count: 4,
                last_step: Some(3),
            },
            Curve {
                name: "validation/a,b".to_owned(),
                steps: vec![2],
                values: measured(&[f64::NAN]),
                min: None,
                max: None,
                nan: None,
                reduced: false,
                count: 1,
                last_step: Some(2),
            },
        ],
    }
}

#[test]
fn csv_has_a_line_per_point_and_quotes_names_that_need_it() {
    assert_eq!(
        metrics::csv(&curves()),
        "series,step,value,min,max\nloss/total,0,0.5,0.4,0.6\nloss/total,2,0.25,0.1,0.3\n\"validation/a,b\",2,NaN,,\n"
    );
}

#[tokio::test]
async fn an_export_fetches_every_point_range_by_range() {
    let routes = Router::new().route(
        "/runs/{id}/metrics",
        get(|Query(query): Query<HashMap<String, u64>>| async move {
            let in_range = |step: &u64| (query["from"]..=query["to"]).contains(step);
            let steps: Vec<u64> = [5, 19_999, 20_000, 45_000].into_iter().filter(in_range).collect();
            let curve = Curve {
                name: "loss/total".to_owned(),
                values: steps.iter().map(|&step| Measured(step as f64)).collect(),
                count: steps.len() as u64,
                steps,
                min: None,
                max: None,
                nan: None,
                reduced: false,
                last_step: Some(45_000),
            };
            Json(RunMetrics {
                run: RunId::new(),
                series: vec![curve],
            })
        }),
    );
    let client = serve(routes).await;
    let steps = async |from, to| {
        let query = MetricsQuery {
            from,
            to,
            ..MetricsQuery::default()
        };
        let whole = metrics::all_points(&client, RunId::new(), &query).await.unwrap();
        assert_eq!(whole.series[0].count, whole.series[0].values.len() as u64);
        whole.series[0].steps.clone()
    };
    assert_eq!(steps(None, None).await, [5, 19_999, 20_000, 45_000]);
    assert_eq!(steps(Some(6), Some(30_000)).await, [19_999, 20_000]);
    assert!(steps(Some(50_000), None).await.is_empty());
}

#[test]
fn the_summary_takes_extremes_from_the_buckets() {
    assert_eq!(
        metrics::summary(&Output::plain(), &curves()),
        "\
SERIES          POINTS  LAST STEP     LAST     MIN     MAX  CURVE
loss/total           4          3  ≈0.2500  0.1000  0.6000  █▁
validation/a,b       1          2      NaN       -       -"
    );
}

#[test]
fn points_of_several_series_share_the_rows_of_their_steps() {
    assert_eq!(
        metrics::points(&Output::plain(), &curves()),
        "\
STEP  loss/total  validation/a,b
   0      0.5000
   2      0.2500             NaN
Rows are means over neighbouring steps; --points N shows more of them."
    );
}
