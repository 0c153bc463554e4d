//! Webhooks: what is told when runs end, to receivers that answer well, badly or not at all.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{App, fresh_database, study};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use motif_proto::access::AuditList;
use motif_proto::run::{Failure, FailureClass};
use motif_proto::webhook::{Delivery, DeliveryList, DeliveryState, WebhookCreated, WebhookInfo, WebhookList};
use motif_proto::worker::Outcome;
use motif_server::domain::webhook::{Private, signature};
use motif_server::store::webhooks::Due;
use motif_server::webhooks::Webhooks;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const WEBHOOKS: &str = "/api/v1/webhooks";
const PATIENCE: Duration = Duration::from_secs(15);

/// What came to a receiver.
#[derive(Clone, Debug)]
struct Received {
    headers: HeaderMap,
    body: String,
}

/// A receiver on this machine that keeps what it gets.
#[derive(Clone, Debug, Default)]
struct Receiver {
    received: Arc<Mutex<Vec<Received>>>,
    /// Answers 500 so often first.
    failures: Arc<Mutex<u32>>,
}

impl Receiver {
    async fn start(&self) -> String {
        let take = |State(receiver): State<Self>, headers: HeaderMap, body: String| async move {
            receiver.received.lock().unwrap().push(Received { headers, body });
            let mut failures = receiver.failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return (StatusCode::INTERNAL_SERVER_ERROR, "not today".repeat(1000));
            }
            (StatusCode::OK, "thanks".to_owned())
        };
        let elsewhere = |State(receiver): State<Self>| async move {
            receiver.received.lock().unwrap().push(Received {
                headers: HeaderMap::new(),
                body: "followed".to_owned(),
            });
        };
        let router = Router::new()
            .route("/take", post(take))
            .route("/moved", post(|| async { Redirect::temporary("/elsewhere") }))
            .route("/elsewhere", post(elsewhere))
            .route("/never", post(never))
            .with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        format!("http://{address}")
    }

    async fn wait_for(&self, count: usize) -> Vec<Received> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let received = self.received.lock().unwrap().clone();
            if received.len() >= count {
                return received;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{} of {count} came",
                received.len()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn never() -> Response {
    std::future::pending::<()>().await;
    StatusCode::OK.into_response()
}

async fn webhook(app: &App, body: Value) -> WebhookCreated {
    app.post(WEBHOOKS, &body).await.expect(StatusCode::CREATED)
}

/// A webhook at an address where nobody listens, so that its deliveries stay to be seen.
async fn webhook_to_nowhere(app: &App, events: Value) -> WebhookCreated {
    webhook(app, json!({ "url": "http://127.0.0.1:9/", "events": events })).await
}

async fn deliveries(app: &App, webhook: &WebhookCreated) -> Vec<Delivery> {
    let path = format!("{WEBHOOKS}/{}/deliveries", webhook.webhook.id);
    let list: DeliveryList = app.get(&path).await.expect(StatusCode::OK);
    list.deliveries
}

/// Waits until each delivery of a webhook is as wanted.
async fn settled(app: &App, webhook: &WebhookCreated, wanted: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let list = deliveries(app, webhook).await;
        if list.iter().all(&wanted) {
            return list;
        }
        assert!(tokio::time::Instant::now() < deadline, "{list:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn fail(app: &App) -> motif_proto::id::RunId {
    let claim = app.running().await;
    let failure = Failure {
        class: FailureClass::BadSpec,
        message: "no such muscle".to_owned(),
    };
    let ended = app.finish(&claim, 0, Outcome::Failed { failure }).await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    claim.run
}

#[tokio::test]
async fn the_end_of_a_run_is_told_once_and_signed() {
    let app = App::start().await;
    let receiver = Receiver::default();
    let url = receiver.start().await;
    let hook = webhook(
        &app,
        json!({ "url": format!("{url}/take"), "events": ["run.failed", "run.cancelled"] }),
    )
    .await;
    let run = fail(&app).await;
    // It did not ask for this one.
    app.trained(json!({ "preset": "demo" }), 5).await;
    let received = receiver.wait_for(1).await.remove(0);
    let told: Value = serde_json::from_str(&received.body).unwrap();
    assert_eq!(told["type"], "run.failed");
    assert_eq!(told["data"]["run"], run.to_string());
    assert_eq!(told["data"]["project"], "default");
    assert_eq!(told["data"]["failure"]["message"], "no such muscle");
    chrono::DateTime::parse_from_rfc3339(told["timestamp"].as_str().unwrap()).unwrap();

    let header = |name: &str| received.headers[name].to_str().unwrap().to_owned();
    let timestamp: i64 = header("webhook-timestamp").parse().unwrap();
    assert!((chrono::Utc::now().timestamp() - timestamp).abs() < 60);
    let expected = signature(&hook.secret, &header("webhook-id"), timestamp, &received.body);
    assert_eq!(Some(header("webhook-signature")), expected);
    assert_eq!(received.headers[header::CONTENT_TYPE], "application/json");

    let list = settled(&app, &hook, |delivery| delivery.state == DeliveryState::Delivered).await;
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].id.to_string(), header("webhook-id"));
    assert_eq!(
        (list[0].last_status, list[0].last_answer.as_deref()),
        (Some(200), Some("thanks"))
    );
    assert_eq!(receiver.received.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_rolled_back_transaction_did_is_not_told() {
    let app = App::start().await;
    let hook = webhook_to_nowhere(&app, json!(["run.cancelled"])).await;
    let run = app.submit(json!({ "preset": "demo" })).await;
    let mut tx = app.pool.begin().await.unwrap();
    sqlx::query("update runs set state = 'cancelled', finished_at = now() where id = $1")
        .bind(run.0)
        .execute(&mut *tx)
        .await
        .unwrap();
    let count = "select count(*) from webhook_deliveries";
    let within: i64 = sqlx::query_scalar(count).fetch_one(&mut *tx).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(within, 1);
    assert!(deliveries(&app, &hook).await.is_empty());
    // Changes that end nothing are told to nobody.
    app.running().await;
    assert!(deliveries(&app, &hook).await.is_empty());
}

#[tokio::test]
async fn a_receiver_that_fails_gets_the_same_delivery_again() {
    let app = App::start().await;
    let receiver = Receiver::default();
    *receiver.failures.lock().unwrap() = 1;
    let url = receiver.start().await;
    let hook = webhook(
        &app,
        json!({ "url": format!("{url}/take"), "events": ["run.failed"] }),
    )
    .await;
    fail(&app).await;
    let list = settled(&app, &hook, |delivery| delivery.last_status == Some(500)).await;
    assert_eq!((list[0].state, list[0].attempts), (DeliveryState::Pending, 1));
    assert!(list[0].next_attempt_at.unwrap() > chrono::Utc::now());
    let kept = list[0].last_answer.as_deref().unwrap();
    assert!(kept.starts_with("not today") && kept.len() <= 2048);
    sqlx::query("update webhook_deliveries set next_attempt_at = now()")
        .execute(&app.pool)
        .await
        .unwrap();
    let received = receiver.wait_for(2).await;
    assert_eq!(
        received[0].headers["webhook-id"],
        received[1].headers["webhook-id"]
    );
    assert_eq!(received[0].body, received[1].body);
    settled(&app, &hook, |delivery| delivery.state == DeliveryState::Delivered).await;
}

#[tokio::test]
async fn a_delivery_is_given_up_after_its_last_attempt_and_when_its_webhook_is_switched_off() {
    let app = App::start().await;
    let hook = webhook_to_nowhere(&app, json!(["run.failed"])).await;
    fail(&app).await;
    settled(&app, &hook, |delivery| delivery.last_error.is_some()).await;
    sqlx::query("update webhook_deliveries set attempts = 9, next_attempt_at = now()")
        .execute(&app.pool)
        .await
        .unwrap();
    let list = settled(&app, &hook, |delivery| delivery.state == DeliveryState::GivenUp).await;
    assert_eq!(list[0].attempts, 10);
    assert!(list[0].finished_at.is_some());

    fail(&app).await;
    let off = json!({ "active": false }).to_string();
    let path = format!("{WEBHOOKS}/{}", hook.webhook.id);
    let changed: WebhookInfo = app
        .request(Method::PATCH, &path, "application/json", off)
        .await
        .expect(StatusCode::OK);
    assert!(!changed.active);
    fail(&app).await;
    let list = settled(&app, &hook, |delivery| delivery.state == DeliveryState::GivenUp).await;
    assert_eq!(list.len(), 2, "one that is off is told nothing new");
}

#[tokio::test]
async fn redirects_are_not_followed_and_a_dead_receiver_holds_up_no_other() {
    let app = App::start().await;
    let receiver = Receiver::default();
    let url = receiver.start().await;
    for _ in 0..2 {
        webhook(
            &app,
            json!({ "url": format!("{url}/never"), "events": ["run.failed"] }),
        )
        .await;
    }
    let moved = webhook(
        &app,
        json!({ "url": format!("{url}/moved"), "events": ["run.failed"] }),
    )
    .await;
    let good = webhook(
        &app,
        json!({ "url": format!("{url}/take"), "events": ["run.failed"] }),
    )
    .await;
    for _ in 0..6 {
        fail(&app).await;
    }
    settled(&app, &good, |delivery| delivery.state == DeliveryState::Delivered).await;
    let list = settled(&app, &moved, |delivery| delivery.attempts > 0).await;
    assert_eq!(list.len(), 6);
    settled(&app, &moved, |delivery| delivery.last_status == Some(307)).await;
    let received = receiver.received.lock().unwrap().clone();
    assert!(received.iter().all(|received| received.body != "followed"));
}

#[tokio::test]
async fn two_coordinators_share_the_deliveries_and_send_each_once() {
    let pool = fresh_database().await;
    let one = App::on(pool.clone(), Duration::from_secs(60)).await;
    let _two = App::on(pool, Duration::from_secs(60)).await;
    let receiver = Receiver::default();
    let url = receiver.start().await;
    let hook = webhook(
        &one,
        json!({ "url": format!("{url}/take"), "events": ["run.cancelled"] }),
    )
    .await;
    for _ in 0..20 {
        let run = one.submit(json!({ "preset": "demo" })).await;
        one.post(&format!("/api/v1/runs/{run}/cancel"), &()).await;
    }
    let list = settled(&one, &hook, |delivery| delivery.state == DeliveryState::Delivered).await;
    assert_eq!(list.len(), 20);
    assert!(list.iter().all(|delivery| delivery.attempts == 1));
    let mut ids: Vec<String> = receiver
        .received
        .lock()
        .unwrap()
        .iter()
        .map(|received| received.headers["webhook-id"].to_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 20);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
}

#[tokio::test]
async fn private_addresses_are_refused_however_they_are_written() {
    let receiver = Receiver::default();
    let url = receiver.start().await;
    let port = url.rsplit(':').next().unwrap();
    let careful = Webhooks::new(Private::Refused);
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        let due = Due {
            id: uuid::Uuid::now_v7(),
            webhook_id: uuid::Uuid::now_v7(),
            url: format!("http://{host}:{port}/take"),
            secret: "whsec_AAAA".to_owned(),
            payload: sqlx::types::Json(json!({})),
            attempts: 1,
        };
        let sent = careful.send(&due).await;
        assert!(!sent.is_success(), "{host}");
        assert!(sent.error.unwrap().contains("private network"), "{host}");
    }
    assert!(receiver.received.lock().unwrap().is_empty());
}

#[tokio::test]
async fn webhooks_are_made_tried_listed_and_removed() {
    let app = App::start().await;
    let wrong = json!({ "url": "ftp://x", "events": [] });
    let problem = app
        .post(WEBHOOKS, &wrong)
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body");
    let named: Vec<&str> = problem
        .errors
        .iter()
        .map(|error| error.pointer.as_str())
        .collect();
    assert_eq!(named, ["/url", "/events"]);
    let nowhere = json!({ "url": "https://hooks.example", "events": ["run.failed"], "project": "nowhere" });
    app.post(WEBHOOKS, &nowhere)
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_project");

    let receiver = Receiver::default();
    let url = receiver.start().await;
    let hook = webhook(
        &app,
        json!({ "url": format!("{url}/take"), "events": ["run.failed"], "project": "default" }),
    )
    .await;
    assert!(hook.secret.starts_with("whsec_"));
    let path = format!("{WEBHOOKS}/{}", hook.webhook.id);
    let tried: Delivery = app
        .post(&format!("{path}/test"), &())
        .await
        .expect(StatusCode::ACCEPTED);
    let received = receiver.wait_for(1).await.remove(0);
    assert_eq!(received.headers["webhook-id"], tried.id.to_string().as_str());
    let told: Value = serde_json::from_str(&received.body).unwrap();
    assert_eq!(told["type"], "test");

    let listed = app.get(WEBHOOKS).await;
    assert!(!String::from_utf8_lossy(&listed.body).contains("whsec_"));
    let list: WebhookList = listed.expect(StatusCode::OK);
    assert_eq!(list.webhooks, std::slice::from_ref(&hook.webhook));
    let gone = app.request(Method::DELETE, &path, "application/json", "").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    app.get(&format!("{path}/deliveries"))
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_webhook");
    let audit: AuditList = app
        .get(&format!("/api/v1/audit?subject={}", hook.webhook.id))
        .await
        .expect(StatusCode::OK);
    let actions: Vec<&str> = audit.entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["webhook.delete", "webhook.test", "webhook.create"]);
}

/// Two runs side by side and one that follows the second.
fn small_study() -> Value {
    json!({
        "name": "small",
        "experiments": [
            { "id": "left", "preset": "demo" },
            { "id": "right", "preset": "demo" },
            { "id": "later", "preset": "demo", "after": ["right"] },
        ],
    })
}

#[tokio::test]
async fn the_end_of_a_study_is_told_once_when_its_last_run_ends_and_again_after_a_retry() {
    let app = App::start().await;
    let events = json!(["study.succeeded", "study.failed", "study.cancelled"]);
    let hook = webhook_to_nowhere(&app, events).await;
    let study = study::submit(&app, small_study()).await;
    study::carry_out(&app, &study, "left").await;
    assert_eq!(deliveries(&app, &hook).await.len(), 0);
    // Its failure skips the one that follows, in the same transaction.
    study::fail(&app, &study, "right", FailureClass::BadSpec).await;
    let told = deliveries(&app, &hook).await;
    assert_eq!(told.len(), 1);
    let data = &told[0].payload["data"];
    assert_eq!(told[0].payload["type"], "study.failed");
    assert_eq!(data["study"], study.summary.id.to_string());
    assert_eq!(data["state"], "failed");
    assert_eq!(
        data["counts"],
        json!({ "succeeded": 1, "failed": 1, "skipped": 1, "cancelled": 0, "stopped": 0 })
    );

    let right = study::experiment(&study, "right").runs[0].run;
    let path = format!("/api/v1/runs/{right}/retry");
    assert_eq!(app.post(&path, &json!({})).await.status, StatusCode::OK);
    study::carry_out(&app, &study, "right").await;
    assert_eq!(deliveries(&app, &hook).await.len(), 1);
    study::carry_out(&app, &study, "later").await;
    let told = deliveries(&app, &hook).await;
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].payload["type"], "study.succeeded");
}

#[tokio::test]
async fn of_two_transactions_that_end_the_last_runs_of_a_study_one_tells_of_its_end() {
    let app = App::start().await;
    let hook = webhook_to_nowhere(&app, json!(["study.cancelled"])).await;
    let study = study::submit(&app, small_study()).await;
    let end = async |key: &str| {
        let run = study::experiment(&study, key).runs[0].run;
        let mut tx = app.pool.begin().await.unwrap();
        sqlx::query("update runs set state = 'cancelled', finished_at = now() where id = $1")
            .bind(run.0)
            .execute(&mut *tx)
            .await
            .unwrap();
        tx
    };
    let (left, right, later) = (end("left").await, end("right").await, end("later").await);
    let (left, right, later) = tokio::join!(left.commit(), right.commit(), later.commit());
    left.and(right).and(later).unwrap();
    let told = deliveries(&app, &hook).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].payload["data"]["counts"]["cancelled"], 3);
}
