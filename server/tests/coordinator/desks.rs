//! What many workers send at a time is stored together, and each is answered for its own.

use std::time::Duration;

use crate::common::study::{self, experiment};
use crate::common::{Answer, App};
use axum::http::{StatusCode, header};
use futures::future::join_all;
use motif_proto::id::{FencingToken, RunId, WorkerId};
use motif_proto::metrics::MetricsAccepted;
use motif_proto::run::RunState;
use motif_proto::worker::{Claim, HeartbeatAnswer, Outcome, Verdict};
use serde_json::json;

const LOSS: &str = "loss/total";
const CONFLICT: StatusCode = StatusCode::CONFLICT;
/// Time for what is asked to arrive. Without it the tests pass, too, with less put together.
const ARRIVAL: Duration = Duration::from_millis(200);

/// Does `work` while the table is locked: what is asked at first waits, and all that arrives later collects behind it.
async fn while_locked<T>(app: &App, table: &'static str, work: impl Future<Output = T>) -> T {
    let mut lock = app.pool.begin().await.unwrap();
    let statement = format!("lock table {table} in access exclusive mode");
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .execute(&mut *lock)
        .await
        .unwrap();
    let release = async {
        let waits = "select exists (select from pg_locks l join pg_database d on d.oid = l.database
                                    where d.datname = current_database() and not l.granted)";
        while !sqlx::query_scalar::<_, bool>(waits)
            .fetch_one(&app.pool)
            .await
            .unwrap()
        {}
        tokio::time::sleep(ARRIVAL).await;
        lock.commit().await.unwrap();
    };
    tokio::join!(work, release).0
}

/// A run in a worker's hands whose first batch of metrics is stored.
async fn begun(app: &App) -> Claim {
    let claim = app.running().await;
    app.store_metrics(&claim, 0, &[(LOSS, &[(0, 1.0)])]).await;
    claim
}

async fn several(app: &App, count: usize) -> Vec<Claim> {
    let mut claims = Vec::new();
    for _ in 0..count {
        claims.push(begun(app).await);
    }
    claims
}

/// The second batch of an attempt.
async fn second(app: &App, claim: &Claim, step: u64, value: f64) -> Answer {
    app.metrics(claim, 1, &[(LOSS, &[(step, value)])]).await
}

fn next_sequence(answer: &Answer) -> u64 {
    answer.expect::<MetricsAccepted>(StatusCode::OK).next_sequence
}

async fn events_of(app: &App, run: RunId) -> Vec<(i64, String)> {
    sqlx::query_as("select id, kind from events where run_id = $1 order by id")
        .bind(run.0)
        .fetch_all(&app.pool)
        .await
        .unwrap()
}

/// From 1 without a gap.
fn assert_numbered(events: &[(i64, String)]) {
    assert!(!events.is_empty());
    assert!(
        (1..).zip(events).all(|(number, event)| event.0 == number),
        "{events:?}"
    );
}

#[tokio::test]
async fn bad_batches_among_good_ones_are_refused_alone() {
    let app = App::start().await;
    let first = several(&app, 2).await;
    let good = several(&app, 8).await;
    let (gap, overlap, forged, silent) = (
        begun(&app).await,
        begun(&app).await,
        begun(&app).await,
        begun(&app).await,
    );
    let forged = Claim {
        token: FencingToken(forged.token.0 + 1),
        ..forged
    };
    let answers = while_locked(&app, "journals", async {
        tokio::join!(
            join_all(first.iter().map(|claim| second(&app, claim, 1, 2.0))),
            join_all(good.iter().map(|claim| second(&app, claim, 1, 2.0))),
            app.metrics(&gap, 5, &[(LOSS, &[(1, 2.0)])]),
            second(&app, &overlap, 0, 2.0),
            second(&app, &forged, 1, 2.0),
            app.metrics(&silent, 1, &[(LOSS, &[])]),
        )
    })
    .await;
    assert!(
        answers
            .0
            .iter()
            .chain(&answers.1)
            .all(|answer| next_sequence(answer) == 2)
    );
    answers.2.problem(CONFLICT, "sequence_gap");
    answers
        .3
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_metrics");
    answers.4.problem(CONFLICT, "stale_lease");
    assert_eq!(next_sequence(&answers.5), 2);
    for claim in first.iter().chain(&good) {
        assert_eq!(app.points(claim.run, LOSS).await, [(0, 1.0), (1, 2.0)]);
        assert_numbered(&events_of(&app, claim.run).await);
        let summary = app.detail(claim.run).await.summary;
        assert_eq!(summary.progress.batches_done, 2);
    }
    for claim in [&gap, &overlap, &forged, &silent] {
        assert_eq!(app.points(claim.run, LOSS).await, [(0, 1.0)]);
    }
    // And each of them goes on as if nothing had been.
    assert_eq!(next_sequence(&second(&app, &gap, 1, 3.0).await), 2);
    assert_eq!(next_sequence(&second(&app, &overlap, 1, 3.0).await), 2);
}

#[tokio::test]
async fn one_batch_sent_twice_at_a_time_is_stored_once() {
    let app = App::start().await;
    let claims = several(&app, 6).await;
    let twice = claims.iter().chain(&claims).chain(&claims);
    let answers = while_locked(
        &app,
        "journals",
        join_all(twice.map(|claim| second(&app, claim, 1, 2.0))),
    )
    .await;
    assert!(answers.iter().all(|answer| next_sequence(answer) == 2));
    for claim in &claims {
        assert_eq!(app.points(claim.run, LOSS).await, [(0, 1.0), (1, 2.0)]);
        let events = events_of(&app, claim.run).await;
        assert_eq!(events.iter().filter(|event| event.1 == "metrics").count(), 2);
    }
}

#[tokio::test]
async fn of_two_attempts_at_one_run_only_the_one_that_holds_it_is_heard() {
    let app = App::start().await;
    let first = several(&app, 2).await;
    let old = begun(&app).await;
    app.lose(old.attempt).await;
    let worker = app.register().await;
    let new = app.claim(worker).await.unwrap();
    assert_eq!(new.run, old.run);
    app.store_metrics(&new, 0, &[(LOSS, &[(0, 7.0)])]).await;
    let answers = while_locked(&app, "journals", async {
        tokio::join!(
            join_all(first.iter().map(|claim| second(&app, claim, 1, 2.0))),
            second(&app, &old, 1, 2.0),
            second(&app, &new, 1, 8.0),
            app.finish(&old, 1, Outcome::Succeeded),
        )
    })
    .await;
    answers.1.problem(CONFLICT, "stale_lease");
    assert_eq!(next_sequence(&answers.2), 2);
    answers.3.problem(CONFLICT, "stale_lease");
    assert_eq!(app.points(new.run, LOSS).await, [(0, 7.0), (1, 8.0)]);
    assert_eq!(app.run_state(new.run).await, RunState::Running);
}

#[tokio::test]
async fn a_run_that_somebody_holds_up_holds_up_no_other() {
    let app = App::start().await;
    let (held, other) = (begun(&app).await, begun(&app).await);
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("select from runs where id = $1 for update")
        .bind(held.run.0)
        .execute(&mut *lock)
        .await
        .unwrap();
    let others = async {
        assert_eq!(next_sequence(&second(&app, &other, 1, 2.0).await), 2);
        let ended = app.finish(&other, 2, Outcome::Succeeded).await;
        assert_eq!(ended.status, StatusCode::NO_CONTENT);
        lock.commit().await.unwrap();
    };
    let (answer, ()) = tokio::join!(second(&app, &held, 1, 2.0), others);
    assert_eq!(next_sequence(&answer), 2);
    assert_eq!(app.points(held.run, LOSS).await, [(0, 1.0), (1, 2.0)]);
}

#[tokio::test]
async fn values_for_lists_are_noted_together_with_evaluations() {
    let app = App::start().await;
    let claims = several(&app, 4).await;
    let name = "validation/total";
    for claim in &claims {
        app.store_metrics(claim, 1, &[(LOSS, &[(1, 0.5)]), (name, &[(1, 0.25)])])
            .await;
    }
    let third = claims.iter().map(|claim| {
        let worse: [(u64, f64); 1] = [(2, f64::NAN)];
        let app = &app;
        async move {
            let series: [(&str, &[(u64, f64)]); 2] = [(LOSS, &[(2, 0.75)]), (name, &worse)];
            app.metrics(claim, 2, &series).await
        }
    });
    let answers = while_locked(&app, "journals", join_all(third)).await;
    assert!(answers.iter().all(|answer| next_sequence(answer) == 3));
    for claim in &claims {
        let noted: Vec<(String, Option<f64>, Option<f64>)> =
            sqlx::query_as("select name, newest, least from series where run_id = $1 order by name")
                .bind(claim.run.0)
                .fetch_all(&app.pool)
                .await
                .unwrap();
        let expected = [
            (LOSS.to_owned(), Some(0.75), Some(0.5)),
            (name.to_owned(), None, Some(0.25)),
        ];
        assert_eq!(noted, expected);
        let summary = app.detail(claim.run).await.summary;
        assert_eq!(summary.best_validation.unwrap().value.0, 0.25);
    }
}

#[tokio::test]
async fn ends_are_recorded_together_and_each_by_its_own_merits() {
    let app = App::start().await;
    let first = begun(&app).await;
    let good = several(&app, 5).await;
    let (gap, forged) = (begun(&app).await, begun(&app).await);
    let forged = Claim {
        token: FencingToken(forged.token.0 + 1),
        ..forged
    };
    let document = json!({ "name": "two after another", "experiments": [
        { "id": "a", "preset": "demo", "seeds": [1, 2] },
        { "id": "b", "preset": "demo", "after": ["a"] },
    ] });
    let chain = study::submit(&app, document).await;
    let apart =
        json!({ "name": "apart", "experiments": [{ "id": "a", "preset": "demo", "seeds": [1, 2, 3] }] });
    let apart = study::submit(&app, apart).await;
    let mut of_studies = Vec::new();
    for _ in 0..5 {
        let worker = app.register().await;
        of_studies.push(app.claim(worker).await.unwrap());
    }
    let answers = while_locked(&app, "dependencies", async {
        tokio::join!(
            app.finish(&first, 1, Outcome::Succeeded),
            join_all(
                good.iter()
                    .chain(&good)
                    .map(|claim| app.finish(claim, 1, Outcome::Succeeded))
            ),
            join_all(
                of_studies
                    .iter()
                    .map(|claim| app.finish(claim, 0, Outcome::Succeeded))
            ),
            app.finish(&gap, 9, Outcome::Succeeded),
            app.finish(&forged, 1, Outcome::Succeeded),
        )
    })
    .await;
    let well = [answers.0].into_iter().chain(answers.1).chain(answers.2);
    for answer in well {
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
    }
    answers.3.problem(CONFLICT, "sequence_gap");
    answers.4.problem(CONFLICT, "stale_lease");
    for claim in good.iter().chain([&first]).chain(&of_studies) {
        assert_eq!(app.run_state(claim.run).await, RunState::Succeeded);
        assert_numbered(&events_of(&app, claim.run).await);
    }
    for claim in [&gap, &forged] {
        assert_eq!(app.run_state(claim.run).await, RunState::Running);
    }
    let dependant = experiment(&chain, "b").runs[0].run;
    assert_eq!(app.run_state(dependant).await, RunState::Queued);
    let ended: Vec<(uuid::Uuid, bool)> =
        sqlx::query_as("select id, finished_at is not null from studies order by id")
            .fetch_all(&app.pool)
            .await
            .unwrap();
    assert_eq!(ended, [(chain.summary.id.0, false), (apart.summary.id.0, true)]);
}

#[tokio::test]
async fn heartbeats_of_many_workers_are_answered_each_for_its_own_leases() {
    let app = App::start().await;
    let mut held = Vec::new();
    for _ in 0..4 {
        app.submit(json!({ "preset": "demo" })).await;
        let worker = app.register().await;
        held.push((worker, app.claim(worker).await.unwrap()));
    }
    // So that they are to be renewed.
    sqlx::query("update attempts set lease_expires_at = now() + interval '5 seconds'")
        .execute(&app.pool)
        .await
        .unwrap();
    let paused = held[3].1.run;
    let asked = app
        .post(&format!("/api/v1/runs/{paused}/pause"), &json!({}))
        .await;
    assert!(asked.status.is_success());
    let beat = async |worker: WorkerId, claim: &Claim, token: i64| {
        let lease = json!({ "attempt": claim.attempt, "token": token });
        let body = json!({ "worker": worker, "leases": [lease], "wait_seconds": 0 });
        app.post("/api/v1/worker/heartbeat", &body).await
    };
    let strange = app.register().await;
    let answers = while_locked(&app, "workers", async {
        tokio::join!(
            join_all(
                held.iter()
                    .map(|(worker, claim)| beat(*worker, claim, claim.token.0))
            ),
            // The right attempt and not its token, while another says the right one.
            beat(strange, &held[0].1, held[0].1.token.0 + 1),
            beat(WorkerId::new(), &held[1].1, held[1].1.token.0),
        )
    })
    .await;
    let verdict = |answer: &Answer| answer.expect::<HeartbeatAnswer>(StatusCode::OK).leases[0].verdict;
    let verdicts: Vec<Verdict> = answers.0.iter().map(verdict).collect();
    assert_eq!(
        verdicts,
        [
            Verdict::Continue,
            Verdict::Continue,
            Verdict::Continue,
            Verdict::Pause
        ]
    );
    assert_eq!(verdict(&answers.1), Verdict::Lost);
    answers.2.problem(StatusCode::NOT_FOUND, "unknown_worker");
    let renewed: i64 = sqlx::query_scalar(
        "select count(*) from attempts where lease_expires_at > now() + interval '30 seconds'",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!(renewed, 4);
}

#[tokio::test]
async fn who_comes_when_too_many_wait_is_told_to_come_again() {
    let app = App::start().await;
    let body = json!({ "worker": WorkerId::new(), "leases": [], "wait_seconds": 0 });
    // What waits at most, what is being done, and one more.
    let beats = (0..=4096 + 256).map(|_| app.post("/api/v1/worker/heartbeat", &body));
    let answers = while_locked(&app, "workers", join_all(beats)).await;
    let (crowded, heard): (Vec<_>, Vec<_>) = answers
        .iter()
        .partition(|answer| answer.status == StatusCode::SERVICE_UNAVAILABLE);
    assert!(!crowded.is_empty());
    for answer in crowded {
        answer.problem(StatusCode::SERVICE_UNAVAILABLE, "crowded");
        assert!(answer.headers.contains_key(header::RETRY_AFTER));
    }
    for answer in heard {
        answer.problem(StatusCode::NOT_FOUND, "unknown_worker");
    }
}
