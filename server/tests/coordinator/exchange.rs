//! What every exchange has: tags, encodings, limits, and what the document says of it.

use std::io::Write;

use crate::common::{Answer, App};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use motif_proto::problem::ProblemList;
use motif_proto::run::ExperimentAccepted;
use motif_server::http::rate::Rates;
use motif_server::router::{Reach, router};
use serde_json::{Value, json};

async fn get(app: &App, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.answer(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn an_answer_that_the_client_has_is_not_sent_again() {
    let app = App::start().await;
    let run = app.submit(json!({ "preset": "demo" })).await;
    for path in [
        "/api/v1/runs".to_owned(),
        format!("/api/v1/runs/{run}"),
        "/api/v1/presets".to_owned(),
    ] {
        let first = get(&app, &path, &[]).await;
        let tag = first.headers[header::ETAG].to_str().unwrap().to_owned();
        let again = get(&app, &path, &[("if-none-match", &tag)]).await;
        assert_eq!(
            (again.status, again.body.len()),
            (StatusCode::NOT_MODIFIED, 0),
            "{path}"
        );
        assert_eq!(again.headers[header::ETAG], tag);
    }
    let path = format!("/api/v1/runs/{run}");
    let before = get(&app, &path, &[]).await.headers[header::ETAG].clone();
    app.post(&format!("{path}/cancel"), &()).await;
    let after = get(&app, &path, &[("if-none-match", before.to_str().unwrap())]).await;
    assert_eq!(after.status, StatusCode::OK);
    assert_ne!(after.headers[header::ETAG], before);
    let refused = get(&app, "/api/v1/runs?limit=0", &[]).await;
    assert!(!refused.headers.contains_key(header::ETAG));
}

#[tokio::test]
async fn answers_are_compressed_and_their_tags_say_so() {
    let app = App::start().await;
    let plain = get(&app, "/api/v1/presets", &[]).await;
    let plain_tag = plain.headers[header::ETAG]
        .to_str()
        .unwrap()
        .trim_matches('"')
        .to_owned();
    for encoding in ["gzip", "zstd"] {
        let answer = get(&app, "/api/v1/presets", &[("accept-encoding", encoding)]).await;
        assert_eq!(answer.headers[header::CONTENT_ENCODING], encoding);
        assert!(answer.body.len() < plain.body.len() / 2);
        let tag = format!("\"{plain_tag}-{encoding}\"");
        assert_eq!(answer.headers[header::ETAG], tag.as_str());
        let headers = [("accept-encoding", encoding), ("if-none-match", &tag)];
        let again = get(&app, "/api/v1/presets", &headers).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED);
        assert_eq!(again.headers[header::ETAG], tag.as_str());
    }
}

async fn submit(app: &App, encoding: &str, body: Vec<u8>) -> Answer {
    let request = Request::post("/api/v1/experiments")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_ENCODING, encoding);
    app.answer(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn bodies_may_be_compressed_and_are_limited_by_what_comes_out() {
    let app = App::start().await;
    let gzip = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let spec = br#"{"preset":"demo"}"#;
    submit(&app, "gzip", gzip(spec))
        .await
        .expect::<ExperimentAccepted>(StatusCode::CREATED);
    submit(&app, "identity", spec.to_vec())
        .await
        .expect::<ExperimentAccepted>(StatusCode::CREATED);
    submit(&app, "br", spec.to_vec())
        .await
        .problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding");
    submit(&app, "zstd", spec.to_vec())
        .await
        .problem(StatusCode::BAD_REQUEST, "upload_cut");
    let bomb = gzip(&vec![b' '; 50 << 20]);
    assert!(bomb.len() < 100_000);
    submit(&app, "gzip", bomb)
        .await
        .problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large");
}

#[tokio::test]
async fn who_asks_too_often_is_told_to_wait_and_workers_are_not() {
    let mut app = App::start().await;
    app.state.rates = Rates::new(1);
    app.router = router(app.state.clone(), Reach::ThisMachine);
    for left in [1, 0] {
        let answer = app.get("/api/v1/queue").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.headers["ratelimit-policy"], "\"requests\";q=2;w=2");
        let limit = answer.headers["ratelimit"].to_str().unwrap();
        assert!(limit.starts_with(&format!("\"requests\";r={left};t=")), "{limit}");
    }
    let refused = app.get("/api/v1/queue").await;
    refused.problem(StatusCode::TOO_MANY_REQUESTS, "rate_limited");
    assert_eq!(refused.headers[header::RETRY_AFTER], "1");
    app.register().await;
    assert_eq!(app.get("/healthz").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn every_refusal_leads_to_where_its_code_is_explained() {
    let app = App::start().await;
    let listed: ProblemList = app.get("/api/v1/problems").await.expect(StatusCode::OK);
    let refused = app.get("/api/v1/runs/seven").await;
    let problem = refused.problem(StatusCode::BAD_REQUEST, "invalid_id");
    assert_eq!(problem.kind, "/docs/problems#invalid_id");
    let kind = listed
        .problems
        .iter()
        .find(|kind| kind.code == problem.code)
        .unwrap();
    assert_eq!((kind.status, &kind.title), (problem.status, &problem.title));
    assert_eq!(app.get("/docs/problems").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_document_says_what_any_request_can_meet() {
    let app = App::start().await;
    let document: Value = app.get("/api/v1/openapi.json").await.expect(StatusCode::OK);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let answers = operation["responses"].as_object().unwrap();
            assert!(
                answers.contains_key("500") && answers.contains_key("503"),
                "{method} {path}"
            );
            let is_for_people = path.starts_with("/api/") && !path.starts_with("/api/v1/worker/");
            assert_eq!(answers.contains_key("429"), is_for_people, "{method} {path}");
            let keyed = operation["parameters"]
                .as_array()
                .is_some_and(|all| all.iter().any(|parameter| parameter["name"] == "Idempotency-Key"));
            assert_eq!(keyed, method == "post" && is_for_people, "{method} {path}");
        }
    }
    assert_eq!(
        document["components"]["schemas"]["Measured"]["oneOf"][1]["enum"][0],
        "NaN"
    );
}
