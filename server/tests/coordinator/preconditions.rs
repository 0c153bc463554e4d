//! `If-Match`: nobody's change is overwritten unseen.

use crate::common::{Answer, App};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use motif_proto::access::ProjectInfo;
use motif_proto::id::RunId;
use motif_proto::run::RunDetail;
use motif_proto::webhook::{WebhookCreated, WebhookInfo};
use serde_json::{Value, json};

async fn patch(app: &App, path: &str, tag: Option<&str>, change: Value) -> Answer {
    let mut request = Request::patch(path).header(header::CONTENT_TYPE, "application/json");
    if let Some(tag) = tag {
        request = request.header(header::IF_MATCH, tag);
    }
    let body = Body::from(change.to_string());
    app.answer(request.body(body).unwrap()).await
}

fn tag(answer: &Answer) -> String {
    answer.headers[header::ETAG].to_str().unwrap().to_owned()
}

async fn seen(app: &App, path: &str) -> String {
    tag(&app.get(path).await)
}

fn of_run(run: RunId) -> String {
    format!("/api/v1/runs/{run}")
}

#[tokio::test]
async fn of_two_who_saw_the_same_run_the_second_looks_again() {
    let app = App::start().await;
    let path = of_run(app.submit(json!({ "preset": "demo" })).await);
    let (first, second) = (seen(&app, &path).await, seen(&app, &path).await);
    let changed = patch(&app, &path, Some(&first), json!({ "notes": "looks fine" })).await;
    changed.expect::<RunDetail>(StatusCode::OK);
    let refused = patch(&app, &path, Some(&second), json!({ "notes": "diverges" })).await;
    refused.problem(StatusCode::PRECONDITION_FAILED, "changed_meanwhile");
    assert!(!refused.headers.contains_key(header::ETAG));
    let again = app.get(&path).await;
    assert_eq!(again.expect::<RunDetail>(StatusCode::OK).notes, "looks fine");
    assert_eq!(tag(&changed), tag(&again), "a change answers with the new tag");
    for field in [
        json!({ "name": "renamed" }),
        json!({ "tags": ["paper"] }),
        json!({ "priority": 7 }),
    ] {
        let before = seen(&app, &path).await;
        patch(&app, &path, Some(&before), field.clone())
            .await
            .expect::<RunDetail>(StatusCode::OK);
        let late = patch(&app, &path, Some(&before), field).await;
        late.problem(StatusCode::PRECONDITION_FAILED, "changed_meanwhile");
    }
}

#[tokio::test]
async fn what_a_run_does_meanwhile_hinders_no_change() {
    let app = App::start().await;
    let run = app.submit(json!({ "preset": "demo" })).await;
    let path = of_run(run);
    let before = seen(&app, &path).await;
    let claim = app.running().await;
    assert_eq!(claim.run, run);
    app.store_metrics(&claim, 0, &[("loss/total", &[(0, 0.5)])]).await;
    let after = seen(&app, &path).await;
    assert_ne!(before, after, "readers are told that the run has come on");
    patch(&app, &path, Some(&before), json!({ "notes": "at work" }))
        .await
        .expect::<RunDetail>(StatusCode::OK);
}

#[tokio::test]
async fn of_many_who_add_a_line_at_once_every_line_stays() {
    const WRITERS: usize = 8;
    let app = App::start().await;
    let path = of_run(app.submit(json!({ "preset": "demo" })).await);
    let write = |writer: usize| {
        let (app, path) = (&app, &path);
        async move {
            loop {
                let answer = app.get(path).await;
                let notes = answer.expect::<RunDetail>(StatusCode::OK).notes;
                let change = json!({ "notes": format!("{notes}line {writer}\n") });
                let answer = patch(app, path, Some(&tag(&answer)), change).await;
                if answer.status == StatusCode::OK {
                    break;
                }
                answer.problem(StatusCode::PRECONDITION_FAILED, "changed_meanwhile");
            }
        }
    };
    futures::future::join_all((0..WRITERS).map(write)).await;
    let notes = app.get(&path).await.expect::<RunDetail>(StatusCode::OK).notes;
    let mut lines: Vec<&str> = notes.lines().collect();
    lines.sort_unstable();
    let all: Vec<String> = (0..WRITERS).map(|writer| format!("line {writer}")).collect();
    assert_eq!(lines, all);
}

#[tokio::test]
async fn projects_and_webhooks_are_changed_as_they_were_seen() {
    let app = App::start().await;
    app.post("/api/v1/projects", &json!({ "name": "arm" }))
        .await
        .expect::<ProjectInfo>(StatusCode::CREATED);
    let hook = json!({ "url": "https://hooks.example/motif", "events": ["run.failed"] });
    let hook = app.post("/api/v1/webhooks", &hook).await;
    let hook: WebhookCreated = hook.expect(StatusCode::CREATED);
    let hook_path = format!("/api/v1/webhooks/{}", hook.webhook.id);
    let shown: WebhookInfo = app.get(&hook_path).await.expect(StatusCode::OK);
    assert_eq!(shown, hook.webhook);
    for (path, change) in [
        ("/api/v1/projects/arm", json!({ "weight": 2.0 })),
        (hook_path.as_str(), json!({ "events": ["run.succeeded"] })),
        (hook_path.as_str(), json!({ "active": false })),
    ] {
        let before = seen(&app, path).await;
        let changed = patch(&app, path, Some(&before), change.clone()).await;
        changed.expect::<Value>(StatusCode::OK);
        let late = patch(&app, path, Some(&before), change.clone()).await;
        late.problem(StatusCode::PRECONDITION_FAILED, "changed_meanwhile");
        let next = patch(&app, path, Some(&tag(&changed)), change).await;
        next.expect::<Value>(StatusCode::OK);
    }
    app.get("/api/v1/projects/nowhere")
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_project");
}

#[tokio::test]
async fn a_change_may_be_meant_for_anything_or_for_one_of_several_tags() {
    let app = App::start().await;
    let path = of_run(app.submit(json!({ "preset": "demo" })).await);
    let change = || json!({ "notes": "seen" });
    let first = seen(&app, &path).await;
    let compressed = format!("{}-gzip\"", first.strip_suffix('"').unwrap());
    for tag in [
        None,
        Some("*".to_owned()),
        Some(format!("\"other\", {}", seen(&app, &path).await)),
    ] {
        let answer = patch(&app, &path, tag.as_deref(), json!({})).await;
        answer.expect::<RunDetail>(StatusCode::OK);
    }
    let answer = patch(&app, &path, Some(&compressed), change()).await;
    answer.expect::<RunDetail>(StatusCode::OK);
    for tag in ["\"other\"", "", &format!("W/{}", seen(&app, &path).await)] {
        let answer = patch(&app, &path, Some(tag), change()).await;
        answer.problem(StatusCode::PRECONDITION_FAILED, "changed_meanwhile");
    }
    let nowhere = patch(&app, &of_run(RunId::new()), Some("*"), change()).await;
    nowhere.problem(StatusCode::NOT_FOUND, "unknown_run");
}
