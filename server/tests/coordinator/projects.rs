//! What a token sees: its own projects, and nothing of the others.

use crate::common::{Answer, App};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use futures::StreamExt;
use motif_proto::access::{AuditList, NewToken, ProjectInfo, ProjectList, Scope};
use motif_proto::id::RunId;
use motif_proto::run::{CheckpointKind, ExperimentAccepted, Queue, RunList};
use motif_proto::study::StudyDetail;
use motif_proto::upload::UploadProgress;
use motif_proto::worker::{Claim, Outcome, WorkerRegistered};
use motif_server::domain::access::Actor;
use motif_server::tokens;
use serde_json::{Value, json};

const EXPERIMENTS: &str = "/api/v1/experiments";

struct Holder<'a> {
    app: &'a App,
    secret: String,
}

impl<'a> Holder<'a> {
    async fn new(app: &'a App, scope: Scope, projects: &[&str]) -> Self {
        let projects = projects.iter().map(|&name| name.to_owned()).collect();
        let wanted = NewToken {
            name: uuid::Uuid::now_v7().to_string(),
            scopes: vec![scope],
            projects: Some(projects),
            expires_at: None,
        };
        let created = tokens::create(&app.state.store, wanted, &Actor::console())
            .await
            .unwrap();
        Self {
            app,
            secret: created.secret,
        }
    }

    fn request(&self, method: Method, path: &str, body: Body) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.secret))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .unwrap()
    }

    async fn get(&self, path: &str) -> Answer {
        self.app
            .answer(self.request(Method::GET, path, Body::empty()))
            .await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.app
            .answer(self.request(Method::DELETE, path, Body::empty()))
            .await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        let body = body.to_string().into();
        self.app.answer(self.request(Method::POST, path, body)).await
    }

    async fn submit(&self, spec: Value) -> RunId {
        let answer = self.post(EXPERIMENTS, &spec).await;
        answer.expect::<ExperimentAccepted>(StatusCode::CREATED).run.id
    }
}

/// A coordinator with the projects `arm` and `leg`, whose programs of this machine see both.
async fn two_projects() -> App {
    let app = App::start().await;
    for name in ["arm", "leg"] {
        let answer = app.post("/api/v1/projects", &json!({ "name": name })).await;
        answer.expect::<ProjectInfo>(StatusCode::CREATED);
    }
    app
}

#[tokio::test]
async fn a_run_of_another_project_is_not_there() {
    let app = two_projects().await;
    let arm = Holder::new(&app, Scope::Submit, &["arm"]).await;
    let leg = Holder::new(&app, Scope::Submit, &["leg"]).await;
    let trained = app
        .trained(json!({ "preset": "demo", "project": "leg" }), 10)
        .await;
    let own = arm.submit(json!({ "preset": "demo" })).await;

    let run = trained.run;
    for end in ["", "/metrics", "/checkpoints", "/artifacts", "/events"] {
        let path = format!("/api/v1/runs/{run}{end}");
        arm.get(&path).await.problem(StatusCode::NOT_FOUND, "unknown_run");
    }
    arm.get(&format!("/api/v1/metrics?runs={own},{run}"))
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_run");
    arm.post(&format!("/api/v1/runs/{run}/cancel"), &Value::Null)
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_run");
    let content = format!("/api/v1/checkpoints/{}/content", trained.best.id);
    arm.get(&content)
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_checkpoint");
    assert_eq!(leg.get(&content).await.status, StatusCode::OK);
    for base in [run.to_string(), trained.best.id.to_string()] {
        let spec = json!({ "preset": "demo", "kind": "continue", "base": base });
        let problem = arm
            .post(EXPERIMENTS, &spec)
            .await
            .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_spec");
        assert!(problem.errors.iter().any(|error| error.pointer == "/base"));
    }
    let listed = |answer: Answer| -> Vec<RunId> {
        let list: RunList = answer.expect(StatusCode::OK);
        list.runs.iter().map(|run| run.id).collect()
    };
    assert_eq!(listed(arm.get("/api/v1/runs").await), [own]);
    assert_eq!(listed(leg.get("/api/v1/runs").await), [run]);
    assert_eq!(listed(app.get("/api/v1/runs").await), [own, run]);
    let queue: Queue = arm.get("/api/v1/queue").await.expect(StatusCode::OK);
    assert_eq!((queue.queued, queue.succeeded), (1, 0));
    let projects: ProjectList = arm.get("/api/v1/projects").await.expect(StatusCode::OK);
    assert_eq!(projects.projects.len(), 1);
}

#[tokio::test]
async fn what_is_deleted_is_of_the_token_s_projects_and_nothing_else_is_told() {
    let app = two_projects().await;
    let arm = Holder::new(&app, Scope::Submit, &["arm"]).await;
    let leg = Holder::new(&app, Scope::Submit, &["leg"]).await;
    let base = app
        .trained(json!({ "preset": "demo", "project": "leg" }), 10)
        .await;
    let user = app
        .submit(
            json!({ "kind": "continue", "base": base.best.id, "project": "arm", "name": "the user",
                        "training": { "batches": 5000 } }),
        )
        .await;
    app.post(&format!("/api/v1/runs/{user}/cancel"), &Value::Null)
        .await;
    let study = json!({ "name": "s", "project": "leg", "experiments": [{ "id": "a", "preset": "demo" }] });
    let study: StudyDetail = app
        .post("/api/v1/studies", &study)
        .await
        .expect(StatusCode::CREATED);
    let (study, foreign) = (study.summary.id, base.run);

    for path in [
        format!("/api/v1/runs/{foreign}"),
        format!("/api/v1/studies/{study}"),
    ] {
        let answer = arm.delete(&path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    let both = json!({ "runs": [user, foreign] });
    let refused = arm.post("/api/v1/runs/delete", &both).await;
    let refused = refused.problem(StatusCode::NOT_FOUND, "unknown_run");
    assert!(refused.detail.contains(&foreign.to_string()));
    app.detail(user).await;

    // Whoever may delete the base is told that it is needed, not by whom.
    let needed = leg.delete(&format!("/api/v1/runs/{foreign}")).await;
    let needed = needed.problem(StatusCode::CONFLICT, "run_in_use");
    let tells = needed.detail.contains("the user") || needed.detail.contains(&user.to_string());
    assert!(!tells && needed.detail.contains("others"), "{}", needed.detail);

    let own = format!("/api/v1/runs/{user}");
    assert_eq!(arm.delete(&own).await.status, StatusCode::ACCEPTED);
    assert_eq!(arm.delete(&own).await.status, StatusCode::ACCEPTED, "again");
    assert_eq!(leg.delete(&own).await.status, StatusCode::NOT_FOUND);
    let foreign = leg.delete(&format!("/api/v1/runs/{foreign}")).await;
    assert_eq!(foreign.status, StatusCode::ACCEPTED);
    app.post(&format!("/api/v1/studies/{study}/cancel"), &Value::Null)
        .await;
    let study = format!("/api/v1/studies/{study}");
    assert_eq!(leg.delete(&study).await.status, StatusCode::ACCEPTED);
    assert_eq!(leg.delete(&study).await.status, StatusCode::ACCEPTED, "again");
    assert_eq!(arm.delete(&study).await.status, StatusCode::NOT_FOUND);
    let audit: AuditList = app
        .get("/api/v1/audit?action=run.delete&project=arm")
        .await
        .expect(StatusCode::OK);
    assert_eq!(audit.entries.len(), 1);
    assert_eq!(audit.entries[0].subject, user.to_string());
}

#[tokio::test]
async fn an_upload_of_another_project_is_not_there() {
    let app = two_projects().await;
    app.submit(json!({ "preset": "demo", "project": "leg" })).await;
    let worker = app.register().await;
    let claim = app.claim(worker).await.unwrap();
    let begin = json!({ "attempt": claim.attempt, "token": claim.token, "sha256": "0".repeat(64),
                        "size_bytes": 10 });
    let begun: UploadProgress = app
        .post("/api/v1/worker/uploads", &begin)
        .await
        .expect(StatusCode::OK);
    let path = format!(
        "/api/v1/worker/uploads/{}?attempt={}&token={}&first_byte=0",
        begun.upload, claim.attempt, claim.token
    );
    for (project, status) in [("arm", StatusCode::NOT_FOUND), ("leg", StatusCode::OK)] {
        let holder = Holder::new(&app, Scope::Worker, &[project]).await;
        let part = holder.request(Method::PATCH, &path, Body::from("0123456789"));
        assert_eq!(app.answer(part).await.status, status, "{project}");
    }
}

#[tokio::test]
async fn the_stream_of_all_runs_tells_of_visible_ones_alone() {
    let app = two_projects().await;
    let arm = Holder::new(&app, Scope::Submit, &["arm"]).await;
    app.submit(json!({ "preset": "demo", "project": "leg", "name": "before" }))
        .await;
    let stream = app
        .send(arm.request(Method::GET, "/api/v1/events", Body::empty()))
        .await;
    app.submit(json!({ "preset": "demo", "project": "leg", "name": "after" }))
        .await;
    app.submit(json!({ "preset": "demo", "project": "arm", "name": "own" }))
        .await;
    let mut pieces = stream.into_body().into_data_stream();
    let mut text = String::new();
    while !text.contains("own") {
        let piece = tokio::time::timeout(std::time::Duration::from_secs(10), pieces.next())
            .await
            .unwrap();
        text.push_str(&String::from_utf8_lossy(&piece.unwrap().unwrap()));
    }
    assert!(!text.contains("before") && !text.contains("after"), "{text}");
}

#[tokio::test]
async fn an_experiment_goes_into_a_project_of_its_token() {
    let app = two_projects().await;
    let several = Holder::new(&app, Scope::Submit, &["arm", "leg"]).await;
    let refused = |spec: Value| {
        let several = &several;
        async move {
            let answer = several.post(EXPERIMENTS, &spec).await;
            answer.problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_spec")
        }
    };
    assert_eq!(
        refused(json!({ "preset": "demo" })).await.errors[0].pointer,
        "/project"
    );
    let foreign = refused(json!({ "preset": "demo", "project": "default", "sed": 1 })).await;
    let named: Vec<&str> = foreign
        .errors
        .iter()
        .map(|error| error.pointer.as_str())
        .collect();
    assert_eq!(named, ["/project", "/sed"], "every mistake at once");
    let run = several
        .submit(json!({ "preset": "demo", "project": "leg" }))
        .await;
    assert_eq!(app.detail(run).await.summary.project, "leg");

    // A token of all projects that is no admin's makes none by a slip of the pen.
    let wanted = NewToken {
        name: "all".to_owned(),
        scopes: vec![Scope::Submit],
        projects: None,
        expires_at: None,
    };
    let created = tokens::create(&app.state.store, wanted, &Actor::console())
        .await
        .unwrap();
    let all = Holder {
        app: &app,
        secret: created.secret,
    };
    let answer = all
        .post(EXPERIMENTS, &json!({ "preset": "demo", "project": "lag" }))
        .await;
    answer.problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_spec");
}

#[tokio::test]
async fn a_worker_gets_runs_of_its_projects_and_what_they_start_from() {
    let app = two_projects().await;
    let base = app
        .trained(json!({ "preset": "demo", "project": "leg" }), 10)
        .await;
    app.submit(json!({ "preset": "demo", "project": "leg" })).await;
    let spec = json!({ "kind": "continue", "base": base.last.id.to_string(), "project": "arm",
                       "training": { "batches": 5000 } });
    let run = app.submit(spec).await;

    let worker = Holder::new(&app, Scope::Worker, &["arm"]).await;
    let registration = serde_json::to_value(crate::common::worker()).unwrap();
    let registered: WorkerRegistered = worker
        .post("/api/v1/worker/register", &registration)
        .await
        .expect(StatusCode::OK);
    let ask = json!({ "worker": registered.worker, "free_slots": 8, "wait_seconds": 0 });
    let claim: Claim = worker
        .post("/api/v1/worker/claim", &ask)
        .await
        .expect(StatusCode::OK);
    assert_eq!(claim.run, run);
    let none = worker.post("/api/v1/worker/claim", &ask).await;
    assert_eq!(
        none.status,
        StatusCode::NO_CONTENT,
        "the other run is of another project"
    );

    let content = |id| format!("/api/v1/checkpoints/{id}/content");
    let fetched = worker
        .get(&content(claim.base.as_ref().unwrap().checkpoint))
        .await;
    assert_eq!(fetched.status, StatusCode::OK);
    worker
        .get(&content(base.best.id))
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_checkpoint");
    let own = app.upload(&claim, CheckpointKind::Last, 20, b"further").await;
    assert_eq!(worker.get(&content(own.id)).await.status, StatusCode::OK);
    app.finish(&claim, 0, Outcome::Succeeded).await;
}

#[tokio::test]
async fn projects_are_made_and_weighed_by_admins() {
    let app = two_projects().await;
    let again = app.post("/api/v1/projects", &json!({ "name": "arm" })).await;
    again.problem(StatusCode::CONFLICT, "project_exists");
    let wrong = app
        .post("/api/v1/projects", &json!({ "name": "a b", "weight": 0.0 }))
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body");
    assert_eq!(wrong.errors.len(), 2);
    let weigh = |name: &str, weight: f64| {
        let path = format!("/api/v1/projects/{name}");
        let body = json!({ "weight": weight }).to_string();
        let app = &app;
        async move { app.request(Method::PATCH, &path, "application/json", body).await }
    };
    let changed: ProjectInfo = weigh("arm", 3.0).await.expect(StatusCode::OK);
    assert!((changed.weight - 3.0).abs() < f64::EPSILON);
    weigh("nowhere", 3.0)
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_project");
    weigh("arm", -1.0)
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body");
}
