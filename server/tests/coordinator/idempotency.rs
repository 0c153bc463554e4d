//! Requests that come again: one effect, one answer.

use crate::common::{Answer, App};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use motif_proto::run::{ExperimentAccepted, RunList};
use motif_proto::study::StudyDetail;
use motif_server::domain::access::Actor;
use motif_server::error::Error;
use motif_server::store::idempotency::{Begun, KeyedRequest};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

const EXPERIMENTS: &str = "/api/v1/experiments";
const SPEC: &str = r#"{"preset":"demo"}"#;

async fn submit(app: &App, key: &str, spec: &'static str) -> Answer {
    post(app, EXPERIMENTS, key, spec).await
}

async fn post(app: &App, address: &str, key: &str, spec: &'static str) -> Answer {
    let request = Request::post(address)
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", key);
    app.answer(request.body(Body::from(spec)).unwrap()).await
}

async fn runs(app: &App) -> usize {
    let list: RunList = app.get("/api/v1/runs").await.expect(StatusCode::OK);
    list.runs.len()
}

#[tokio::test]
async fn a_submission_that_comes_again_is_answered_alike_and_has_no_second_effect() {
    let app = App::start().await;
    let first = submit(&app, "k1", SPEC).await;
    first.expect::<ExperimentAccepted>(StatusCode::CREATED);
    assert!(!first.headers.contains_key("idempotent-replayed"));
    let again = submit(&app, "k1", SPEC).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(
        again.headers[header::CONTENT_TYPE],
        first.headers[header::CONTENT_TYPE]
    );
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(runs(&app).await, 1);
    submit(&app, "k2", SPEC)
        .await
        .expect::<ExperimentAccepted>(StatusCode::CREATED);
    assert_eq!(runs(&app).await, 2);
}

#[tokio::test]
async fn a_study_that_comes_again_is_answered_alike_and_stored_once() {
    const STUDY: &str = r#"{"name":"s","experiments":[{"id":"a","preset":"demo","seeds":2}]}"#;
    let app = App::start().await;
    let first = post(&app, "/api/v1/studies", "k", STUDY).await;
    first.expect::<StudyDetail>(StatusCode::CREATED);
    let again = post(&app, "/api/v1/studies", "k", STUDY).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(runs(&app).await, 2);
}

#[tokio::test]
async fn a_secret_is_not_kept_to_be_told_again() {
    const TOKEN: &str = r#"{"name":"worker","scopes":["worker"]}"#;
    let app = App::start().await;
    let first = post(&app, "/api/v1/tokens", "k", TOKEN).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let again = post(&app, "/api/v1/tokens", "k", TOKEN).await;
    again.problem(StatusCode::CONFLICT, "token_name_taken");
    let kept: i64 = sqlx::query_scalar("select count(*) from idempotency_keys")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn a_key_stands_for_one_request_and_a_refused_one_leaves_it_free() {
    let app = App::start().await;
    submit(&app, "k", r#"{"preset":"none"}"#)
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_spec");
    submit(&app, "k", SPEC)
        .await
        .expect::<ExperimentAccepted>(StatusCode::CREATED);
    submit(&app, "k", r#"{"preset":"demo","seed":1}"#)
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused");
    for key in ["", "two words", &"x".repeat(256)] {
        submit(&app, key, SPEC)
            .await
            .problem(StatusCode::BAD_REQUEST, "invalid_idempotency_key");
    }
    assert_eq!(runs(&app).await, 1);
}

#[tokio::test]
async fn many_at_once_have_one_effect() {
    let app = App::start().await;
    let answers = futures::future::join_all((0..8).map(|_| submit(&app, "k", SPEC))).await;
    let mut bodies: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::CREATED)
        .collect();
    assert!(!bodies.is_empty());
    bodies.dedup_by(|a, b| a.body == b.body);
    assert_eq!(bodies.len(), 1);
    for refused in answers
        .iter()
        .filter(|answer| answer.status != StatusCode::CREATED)
    {
        refused.problem(StatusCode::CONFLICT, "request_running");
        assert_eq!(refused.headers[header::RETRY_AFTER], "1");
    }
    assert_eq!(runs(&app).await, 1);
}

#[tokio::test]
async fn an_answer_that_got_lost_with_its_connection_is_given_again() {
    let app = App::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(axum::serve(listener, app.router.clone()).into_future());
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {EXPERIMENTS} HTTP/1.1\r\nhost: localhost\r\nidempotency-key: k\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{SPEC}",
        SPEC.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    // The request has arrived when its key is there; then nobody waits for the answer any more.
    for _ in 0..500 {
        let begun: bool = sqlx::query_scalar("select exists (select from idempotency_keys)")
            .fetch_one(&app.pool)
            .await
            .unwrap();
        if begun {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    drop(connection);
    let mut answer = submit(&app, "k", SPEC).await;
    for _ in 0..500 {
        if answer.status == StatusCode::CREATED {
            break;
        }
        answer.problem(StatusCode::CONFLICT, "request_running");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        answer = submit(&app, "k", SPEC).await;
    }
    answer.expect::<ExperimentAccepted>(StatusCode::CREATED);
    assert_eq!(answer.headers["idempotent-replayed"], "true");
    assert_eq!(runs(&app).await, 1);
    served.abort();
}

#[tokio::test]
async fn a_try_that_was_taken_for_dead_has_no_effect() {
    let app = App::start().await;
    let request = KeyedRequest {
        principal: "somebody".to_owned(),
        key: "k".to_owned(),
        sha256: [7; 32],
    };
    let store = &app.state.store;
    let Begun::New(first) = store.begin_request(&request).await.unwrap() else {
        panic!("the key was new");
    };
    assert!(matches!(
        store.begin_request(&request).await.unwrap(),
        Begun::Running
    ));
    sqlx::query("update idempotency_keys set begun_at = now() - interval '61 seconds'")
        .execute(&app.pool)
        .await
        .unwrap();
    let Begun::New(second) = store.begin_request(&request).await.unwrap() else {
        panic!("the first one was taken for dead");
    };
    let submit = || async {
        let document = json!({ "preset": "demo" });
        motif_server::submission::submit(store, document, &Actor::console()).await
    };
    let late = first.carry_out(submit()).await;
    assert!(
        matches!(
            late,
            Err(motif_server::submission::Refusal::Failed(Error::KeyTakenOver))
        ),
        "{late:?}"
    );
    assert_eq!(runs(&app).await, 0);
    second.carry_out(submit()).await.unwrap();
    assert_eq!(runs(&app).await, 1);
    // Its answer is durable with its effect, whoever keeps it afterwards.
    assert!(matches!(
        store.begin_request(&request).await.unwrap(),
        Begun::Answered(_)
    ));
}

#[tokio::test]
async fn keys_are_kept_for_a_day() {
    let app = App::start().await;
    submit(&app, "old", SPEC).await;
    submit(&app, "new", SPEC).await;
    sqlx::query("update idempotency_keys set begun_at = now() - interval '25 hours' where key = 'old'")
        .execute(&app.pool)
        .await
        .unwrap();
    assert_eq!(app.state.store.prune_keys().await.unwrap(), 1);
    assert!(
        submit(&app, "new", SPEC)
            .await
            .headers
            .contains_key("idempotent-replayed")
    );
    assert!(
        !submit(&app, "old", SPEC)
            .await
            .headers
            .contains_key("idempotent-replayed")
    );
}
