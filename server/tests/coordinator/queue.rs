//! The queue: who gets which run.

use std::collections::HashSet;

use crate::common::{App, worker};
use axum::http::StatusCode;
use motif_proto::run::{Failure, FailureClass, Queue, RunState};
use motif_proto::worker::{ClaimRequest, DeviceKind, Outcome, RegisterWorker};
use serde_json::json;

#[tokio::test]
async fn fifty_claimers_for_forty_runs_get_forty_different_ones() {
    let app = App::start().await;
    for seed in 0..40 {
        app.submit(json!({ "preset": "demo", "seed": seed })).await;
    }
    let mut workers = Vec::new();
    for _ in 0..50 {
        workers.push(app.register().await);
    }
    let claims = futures::future::join_all(workers.iter().map(|&worker| app.claim(worker))).await;
    let mut runs: HashSet<_> = claims.iter().flatten().map(|claim| claim.run).collect();
    // A claim skips a run that another one is still looking at, so some may go away empty-handed at first.
    let given = claims.iter().flatten().count();
    assert_eq!(runs.len(), given);
    for &worker in &workers {
        runs.extend(app.claim(worker).await.map(|claim| claim.run));
    }
    assert_eq!(runs.len(), 40);
    let queue: Queue = app.get("/api/v1/queue").await.expect(StatusCode::OK);
    assert_eq!((queue.queued, queue.running), (0, 40));
}

#[tokio::test]
async fn priority_goes_first_and_then_age() {
    let app = App::start().await;
    let old = app.submit(json!({ "preset": "demo" })).await;
    let new = app.submit(json!({ "preset": "demo" })).await;
    let urgent = app.submit(json!({ "preset": "demo", "priority": 5 })).await;
    let worker = app.register().await;
    for expected in [urgent, old, new] {
        assert_eq!(app.claim(worker).await.unwrap().run, expected);
    }
    assert!(app.claim(worker).await.is_none());
}

#[tokio::test]
async fn a_run_goes_only_to_a_worker_that_has_what_it_needs() {
    let app = App::start().await;
    let needs = json!({ "device": "cuda", "slots": 2, "memory_mb": 1000, "labels": { "site": "north" } });
    let run = app.submit(json!({ "preset": "demo", "resources": needs })).await;
    let fitting = RegisterWorker {
        device: DeviceKind::Cuda,
        slots: 2,
        memory_bytes: Some(1_000_000_000),
        labels: [("site", "north"), ("rack", "3")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        ..worker()
    };
    let lacking = [
        RegisterWorker {
            device: DeviceKind::Cpu,
            ..fitting.clone()
        },
        RegisterWorker {
            slots: 1,
            ..fitting.clone()
        },
        RegisterWorker {
            memory_bytes: Some(999_999_999),
            ..fitting.clone()
        },
        RegisterWorker {
            memory_bytes: None,
            ..fitting.clone()
        },
        RegisterWorker {
            labels: [("site".to_owned(), "south".to_owned())].into(),
            ..fitting.clone()
        },
    ];
    for worker in lacking {
        let id = app.register_as(&worker).await;
        assert!(app.claim(id).await.is_none(), "{worker:?}");
    }
    let id = app.register_as(&fitting).await;
    assert_eq!(app.claim(id).await.unwrap().run, run);
}

#[tokio::test]
async fn a_waiting_claim_is_woken_by_a_submission() {
    let app = App::start().await;
    let worker = app.register().await;
    let request = ClaimRequest {
        worker,
        free_slots: 1,
        wait_seconds: 30,
    };
    let (answer, run) = tokio::join!(app.post("/api/v1/worker/claim", &request), async {
        app.submit(json!({ "preset": "demo" })).await
    });
    assert_eq!(
        answer.expect::<motif_proto::worker::Claim>(StatusCode::OK).run,
        run
    );
}

#[tokio::test]
async fn a_worker_that_nobody_knows_is_told_to_register() {
    let app = App::start().await;
    let request = ClaimRequest {
        worker: motif_proto::id::WorkerId::new(),
        free_slots: 1,
        wait_seconds: 0,
    };
    app.post("/api/v1/worker/claim", &request)
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_worker");
}

#[tokio::test]
async fn a_run_that_was_handed_back_is_claimed_again_with_a_new_token() {
    let app = App::start().await;
    let first = app.running().await;
    assert_eq!(
        app.finish(&first, 0, Outcome::Released).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(app.run_state(first.run).await, RunState::Queued);
    let worker = app.register().await;
    let second = app.claim(worker).await.unwrap();
    assert_eq!(second.run, first.run);
    assert!(second.token > first.token);
}

#[tokio::test]
async fn the_class_of_a_failure_decides_about_another_try() {
    let app = App::start().await;
    let fail = |class| Outcome::Failed {
        failure: Failure {
            class,
            message: "why".to_owned(),
        },
    };
    let diverged = app.running().await;
    app.finish(&diverged, 0, fail(FailureClass::Diverged)).await;
    let detail = app.detail(diverged.run).await;
    assert_eq!(detail.summary.state, RunState::Failed);
    assert_eq!(detail.summary.failure.unwrap().class, FailureClass::Diverged);

    let run = app.submit(json!({ "preset": "demo" })).await;
    let worker = app.register().await;
    for expected in [RunState::Queued, RunState::Queued, RunState::Failed] {
        let claim = app.claim(worker).await.unwrap();
        app.finish(&claim, 0, fail(FailureClass::Internal)).await;
        assert_eq!(app.run_state(run).await, expected);
        assert!(app.claim(worker).await.is_none());
        app.end_wait(run).await;
    }
    assert_eq!(app.detail(run).await.attempt_history.len(), 3);
}

/// The projects of the next runs that a worker gets, in their order.
async fn projects_of_claims(app: &App, count: usize) -> Vec<String> {
    let worker = app.register().await;
    let mut projects = Vec::new();
    for _ in 0..count {
        projects.push(app.claim(worker).await.unwrap().spec.project);
    }
    projects
}

#[tokio::test]
async fn projects_share_the_workers_by_what_they_have_of_them_now() {
    let app = App::start().await;
    for seed in 0..6 {
        app.submit(json!({ "preset": "demo", "project": "early", "seed": seed }))
            .await;
    }
    for seed in 0..3 {
        app.submit(json!({ "preset": "demo", "project": "late", "seed": seed }))
            .await;
    }
    let first = projects_of_claims(&app, 4).await;
    assert_eq!(first, ["early", "late", "early", "late"]);
    // One that is alone takes what is free, and priority goes before a fair share.
    app.submit(json!({ "preset": "demo", "project": "early", "priority": 1 }))
        .await;
    assert_eq!(projects_of_claims(&app, 2).await, ["early", "late"]);
    assert_eq!(projects_of_claims(&app, 4).await, ["early"; 4]);
}

#[tokio::test]
async fn a_project_with_twice_the_weight_gets_twice_the_slots() {
    let app = App::start().await;
    for seed in 0..8 {
        for project in ["heavy", "light"] {
            app.submit(json!({ "preset": "demo", "project": project, "seed": seed }))
                .await;
        }
    }
    sqlx::query("update projects set weight = 2 where name = 'heavy'")
        .execute(&app.pool)
        .await
        .unwrap();
    let heavy = projects_of_claims(&app, 9)
        .await
        .iter()
        .filter(|project| *project == "heavy")
        .count();
    assert_eq!(heavy, 6);
}

#[tokio::test]
async fn one_statement_that_serves_many_workers_shares_fairly_too() {
    let app = App::start().await;
    for (project, count) in [("early", 8), ("late", 8)] {
        for seed in 0..count {
            app.submit(json!({ "preset": "demo", "project": project, "seed": seed }))
                .await;
        }
    }
    let mut workers = Vec::new();
    for _ in 0..8 {
        workers.push(app.register().await);
    }
    let claims = futures::future::join_all(workers.iter().map(|&worker| app.claim(worker))).await;
    let late = claims
        .iter()
        .flatten()
        .filter(|claim| claim.spec.project == "late")
        .count();
    assert_eq!((claims.iter().flatten().count(), late), (8, 4));
}

#[tokio::test]
async fn what_does_not_fit_is_in_nobody_s_way_however_much_of_it_waits() {
    let app = App::start().await;
    let needs = json!({ "labels": { "site": "nowhere" } });
    let unfit = app
        .submit(json!({ "preset": "demo", "priority": 1000, "resources": needs }))
        .await;
    // As many more of the same kind as would take long to go through.
    sqlx::query(
        "insert into runs (id, experiment_id, priority, device_need, slots, labels, batches_total, lane_id, queued_at)
         select gen_random_uuid(), experiment_id, priority, device_need, slots, labels, 1, lane_id, queued_at
         from runs, generate_series(1, 20000) where id = $1",
    )
    .bind(unfit.0)
    .execute(&app.pool)
    .await
    .unwrap();
    let fitting = app.submit(json!({ "preset": "demo", "priority": -1000 })).await;
    let worker = app.register().await;
    assert_eq!(app.claim(worker).await.unwrap().run, fitting);
    assert!(app.claim(worker).await.is_none());
}

#[tokio::test]
async fn workers_of_many_kinds_that_wait_get_the_one_run_that_fits_one_of_them() {
    let app = App::start().await;
    let mut waiting = Vec::new();
    for node in 0..8 {
        let about = RegisterWorker {
            labels: [("node".to_owned(), node.to_string())].into(),
            ..worker()
        };
        waiting.push(ClaimRequest {
            worker: app.register_as(&about).await,
            free_slots: 1,
            wait_seconds: 2,
        });
    }
    let answers = futures::future::join_all(
        waiting
            .iter()
            .map(|request| app.post("/api/v1/worker/claim", request)),
    );
    let needs = json!({ "labels": { "node": "5" } });
    let (answers, run) = tokio::join!(
        answers,
        app.submit(json!({ "preset": "demo", "resources": needs }))
    );
    for (node, answer) in answers.iter().enumerate() {
        if node == 5 {
            let claim: motif_proto::worker::Claim = answer.expect(StatusCode::OK);
            assert_eq!(claim.run, run);
        } else {
            assert_eq!(answer.status, StatusCode::NO_CONTENT, "{node}");
        }
    }
}

#[tokio::test]
async fn a_run_whose_worker_went_away_while_it_waited_is_taken_back_at_once() {
    let app = App::start().await;
    let gone = app.register().await;
    let request = ClaimRequest {
        worker: gone,
        free_slots: 1,
        wait_seconds: 30,
    };
    let waiting = app
        .state
        .dispatcher
        .claim(request, std::time::Duration::from_secs(30));
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(100), waiting)
            .await
            .is_err()
    );
    let run = app.submit(json!({ "preset": "demo" })).await;
    let worker = app.register().await;
    let taken = ClaimRequest {
        worker,
        free_slots: 1,
        wait_seconds: 30,
    };
    let answer = app.post("/api/v1/worker/claim", &taken).await;
    assert_eq!(
        answer.expect::<motif_proto::worker::Claim>(StatusCode::OK).run,
        run
    );
}
