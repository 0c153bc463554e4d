//! Who is let in: tokens, scopes, sessions, and the record of who did what.

use std::time::Duration;

use crate::common::{Answer, App};
use axum::body::Body;
use axum::http::request::Builder;
use axum::http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use motif_proto::access::{ActorKind, AuditList, Me, NewToken, Scope, TokenCreated, TokenList};
use motif_proto::run::{ExperimentAccepted, RunList};
use motif_server::domain::access::Actor;
use motif_server::router::openapi_json;
use motif_server::tokens;
use serde_json::{Value, json};

const TOKENS: &str = "/api/v1/tokens";
const RUNS: &str = "/api/v1/runs";

/// A token made on the database itself.
async fn token(app: &App, scope: Scope, projects: Option<&[&str]>) -> TokenCreated {
    let wanted = NewToken {
        name: format!("{scope} {}", uuid::Uuid::now_v7()),
        scopes: vec![scope],
        projects: projects.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
        expires_at: None,
    };
    tokens::create(&app.state.store, wanted, &Actor::console())
        .await
        .unwrap()
}

fn request(method: Method, path: &str) -> Builder {
    Request::builder().method(method).uri(path)
}

fn shown(request: Builder, secret: &str) -> Builder {
    request.header(header::AUTHORIZATION, format!("Bearer {secret}"))
}

fn with_json(request: Builder, body: &Value) -> Request<Body> {
    request
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into())
        .unwrap()
}

async fn get(app: &App, path: &str, secret: &str) -> Answer {
    let request = shown(request(Method::GET, path), secret);
    app.answer(request.body(Body::empty()).unwrap()).await
}

async fn post(app: &App, path: &str, secret: &str, body: &Value) -> Answer {
    app.answer(with_json(shown(request(Method::POST, path), secret), body))
        .await
}

/// Every operation of the document: method, path with ids in it, and the scopes it asks for; none where it asks
/// for nothing, an empty list where anybody known will do.
fn operations() -> Vec<(Method, String, Option<Vec<String>>)> {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else {
                continue;
            };
            let security = operation["security"].as_array().unwrap();
            let scopes = security.first().map(|first| {
                let scopes = first["token"].as_array().unwrap();
                scopes
                    .iter()
                    .map(|scope| scope.as_str().unwrap().to_owned())
                    .collect()
            });
            let id = uuid::Uuid::now_v7().to_string();
            let path: Vec<&str> = path
                .split('/')
                .map(|part| if part.starts_with('{') { id.as_str() } else { part })
                .collect();
            operations.push((method, path.join("/"), scopes));
        }
    }
    operations
}

#[tokio::test]
async fn every_endpoint_refuses_strangers_and_those_who_lack_the_scope() {
    let app = App::guarded().await;
    let mut secrets = Vec::new();
    for scope in Scope::ALL {
        secrets.push((scope, token(&app, scope, None).await.secret));
    }
    let operations = operations();
    assert!(operations.len() > 20);
    let mut open = Vec::new();
    for (method, path, scopes) in operations {
        let plain = || request(method.clone(), &path);
        let Some(scopes) = scopes else {
            open.push(format!("{method} {path}"));
            continue;
        };
        let anonymous = app.answer(plain().body(Body::empty()).unwrap()).await;
        anonymous.problem(StatusCode::UNAUTHORIZED, "token_required");
        assert!(anonymous.headers.contains_key(header::WWW_AUTHENTICATE));
        for (scope, secret) in &secrets {
            // Streams have no end: the head is enough.
            let answer = app
                .send(shown(plain(), secret).body(Body::empty()).unwrap())
                .await;
            let allowed = scopes.is_empty()
                || scopes
                    .iter()
                    .any(|wanted| scope.includes(wanted.parse().unwrap()));
            if allowed {
                let refusals = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
                assert!(!refusals.contains(&answer.status()), "{method} {path} as {scope}");
            } else {
                assert_eq!(
                    answer.status(),
                    StatusCode::FORBIDDEN,
                    "{method} {path} as {scope}"
                );
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                let problem: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(problem["code"], "missing_scope");
                assert!(problem["detail"].as_str().unwrap().contains(&scopes[0]));
            }
        }
    }
    assert_eq!(open, ["POST /api/v1/session", "GET /healthz", "GET /readyz"]);
}

#[tokio::test]
async fn a_token_is_shown_once_and_only_its_hash_is_kept() {
    let app = App::guarded().await;
    let admin = token(&app, Scope::Admin, None).await.secret;
    let wanted = json!({ "name": "ci", "scopes": ["submit"], "expires_at": "2999-01-01T00:00:00Z" });
    let answer = post(&app, TOKENS, &admin, &wanted).await;
    let created: TokenCreated = answer.expect(StatusCode::CREATED);
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    assert!(created.secret.starts_with("motif_"));
    let rows: String = sqlx::query_scalar("select string_agg(t::text, ' ') from tokens t")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert!(!rows.contains(&created.secret[6..]));
    let again = post(&app, TOKENS, &admin, &wanted).await;
    again.problem(StatusCode::CONFLICT, "token_name_taken");

    let me: Me = get(&app, "/api/v1/me", &created.secret)
        .await
        .expect(StatusCode::OK);
    assert_eq!((me.kind, me.name.as_str()), (ActorKind::Token, "ci"));
    assert_eq!(me.scopes, [Scope::Submit]);
    let listed = get(&app, TOKENS, &admin).await;
    assert!(!String::from_utf8_lossy(&listed.body).contains("motif_"));
    let list: TokenList = listed.expect(StatusCode::OK);
    let ci = list
        .tokens
        .iter()
        .find(|token| token.id == created.token.id)
        .unwrap();
    assert!(ci.last_used_at.is_some());
}

#[tokio::test]
async fn a_token_that_was_revoked_or_expired_opens_nothing() {
    let app = App::guarded().await;
    let admin = token(&app, Scope::Admin, None).await.secret;
    let reader = token(&app, Scope::Read, None).await;
    let revoke = request(Method::DELETE, &format!("{TOKENS}/{}", reader.token.id));
    get(&app, RUNS, &reader.secret)
        .await
        .expect::<RunList>(StatusCode::OK);
    for _ in 0..2 {
        let path = format!("{TOKENS}/{}", reader.token.id);
        let again = shown(request(Method::DELETE, &path), &admin);
        let answer = app.answer(again.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    drop(revoke);
    let refused = get(&app, RUNS, &reader.secret).await;
    refused.problem(StatusCode::UNAUTHORIZED, "invalid_token");
    let challenge = refused.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
    assert!(challenge.contains("invalid_token"));

    let passing = token(&app, Scope::Read, None).await;
    sqlx::query("update tokens set expires_at = now() - interval '1 second' where id = $1")
        .bind(passing.token.id.0)
        .execute(&app.pool)
        .await
        .unwrap();
    get(&app, RUNS, &passing.secret)
        .await
        .problem(StatusCode::UNAUTHORIZED, "invalid_token");
    for nonsense in ["", "motif_", "Bearer", &"motif_".repeat(1000)] {
        get(&app, RUNS, nonsense)
            .await
            .problem(StatusCode::UNAUTHORIZED, "invalid_token");
    }
}

#[tokio::test]
async fn a_token_revoked_on_the_database_itself_is_forgotten_by_the_coordinator_and_its_streams_end() {
    let app = App::guarded().await;
    let reader = token(&app, Scope::Read, None).await;
    let request = shown(request(Method::GET, "/api/v1/events"), &reader.secret);
    let stream = app.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(stream.status(), StatusCode::OK);
    app.state
        .store
        .revoke_token(reader.token.id, &Actor::console())
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_secs(10), stream.into_body().collect())
        .await
        .expect("the stream ends with its token")
        .unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while get(&app, RUNS, &reader.secret).await.status == StatusCode::OK {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn mistakes_in_a_token_are_named_and_nobody_grants_more_than_they_have() {
    let app = App::guarded().await;
    let admin = token(&app, Scope::Admin, None).await.secret;
    let wrong = json!({ "name": " ", "scopes": [], "projects": [], "expires_at": "2001-01-01T00:00:00Z" });
    let problem = post(&app, TOKENS, &admin, &wrong)
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body");
    let named: Vec<&str> = problem
        .errors
        .iter()
        .map(|error| error.pointer.as_str())
        .collect();
    assert_eq!(named, ["/name", "/scopes", "/projects", "/expires_at"]);
    let unknown = json!({ "name": "x", "scopes": ["read"], "projects": ["nowhere"] });
    post(&app, TOKENS, &admin, &unknown)
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_project");

    let limited = token(&app, Scope::Admin, Some(&["default"])).await.secret;
    for projects in [Value::Null, json!(["other"])] {
        let wanted = json!({ "name": "more", "scopes": ["read"], "projects": projects });
        post(&app, TOKENS, &limited, &wanted)
            .await
            .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body");
    }
    let wanted = json!({ "name": "less", "scopes": ["read"], "projects": ["default"] });
    let less: TokenCreated = post(&app, TOKENS, &limited, &wanted)
        .await
        .expect(StatusCode::CREATED);
    let list: TokenList = get(&app, TOKENS, &limited).await.expect(StatusCode::OK);
    let seen: Vec<_> = list.tokens.iter().map(|token| token.id).collect();
    assert!(seen.contains(&less.token.id));
    assert_eq!(seen.len(), 2, "tokens of all projects are not its business");
    post(&app, "/api/v1/projects", &limited, &json!({ "name": "mine" }))
        .await
        .problem(StatusCode::FORBIDDEN, "limited_to_projects");
}

#[tokio::test]
async fn programs_of_this_machine_need_no_token_unless_they_come_through_a_proxy() {
    let app = App::start().await;
    let me: Me = app.get("/api/v1/me").await.expect(StatusCode::OK);
    assert_eq!((me.kind, me.scopes), (ActorKind::Local, vec![Scope::Admin]));
    let forwarded = request(Method::GET, "/api/v1/me").header("x-forwarded-for", "203.0.113.9");
    app.answer(forwarded.body(Body::empty()).unwrap())
        .await
        .problem(StatusCode::UNAUTHORIZED, "token_required");
    // A token that is shown counts, with its limits.
    let reader = token(&app, Scope::Read, None).await.secret;
    post(&app, "/api/v1/experiments", &reader, &json!({ "preset": "demo" }))
        .await
        .problem(StatusCode::FORBIDDEN, "missing_scope");
    get(&app, RUNS, "motif_wrong")
        .await
        .problem(StatusCode::UNAUTHORIZED, "invalid_token");
}

#[tokio::test]
async fn a_browser_signs_in_with_a_cookie_that_other_sites_cannot_use() {
    let app = App::guarded().await;
    let submitter = token(&app, Scope::Submit, None).await;
    let sign_in = |secret: &str| {
        let request = request(Method::POST, "/api/v1/session")
            .header(header::HOST, "motif.lab")
            .header(header::ORIGIN, "https://motif.lab");
        let body = json!({ "token": secret });
        (request, body)
    };
    let (request_, body) = sign_in(&submitter.secret);
    app.answer(with_json(request_, &body))
        .await
        .problem(StatusCode::FORBIDDEN, "cross_site_request");
    let (request_, body) = sign_in("motif_nobody");
    app.answer(with_json(request_.header("x-motif-request", "1"), &body))
        .await
        .problem(StatusCode::UNAUTHORIZED, "invalid_token");
    let (request_, body) = sign_in(&submitter.secret);
    let answer = app
        .answer(with_json(request_.header("x-motif-request", "1"), &body))
        .await;
    let me: Me = answer.expect(StatusCode::CREATED);
    assert_eq!(me.kind, ActorKind::Session);
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(&submitter.secret));
    let pair = cookie.split(';').next().unwrap().to_owned();
    let with_cookie = |method, path: &str| request(method, path).header(header::COOKIE, &pair);

    let read = with_cookie(Method::GET, RUNS).body(Body::empty()).unwrap();
    app.answer(read).await.expect::<RunList>(StatusCode::OK);
    let spec = json!({ "preset": "demo" });
    let forged = with_json(with_cookie(Method::POST, "/api/v1/experiments"), &spec);
    app.answer(forged)
        .await
        .problem(StatusCode::FORBIDDEN, "cross_site_request");
    let own = with_cookie(Method::POST, "/api/v1/experiments").header("x-motif-request", "1");
    let accepted: ExperimentAccepted = app
        .answer(with_json(own, &spec))
        .await
        .expect(StatusCode::CREATED);

    let out = with_cookie(Method::DELETE, "/api/v1/session").header("x-motif-request", "1");
    let out = app.answer(out.body(Body::empty()).unwrap()).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(
        out.headers[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    let after = with_cookie(Method::GET, RUNS).body(Body::empty()).unwrap();
    app.answer(after)
        .await
        .problem(StatusCode::UNAUTHORIZED, "invalid_token");

    let admin = token(&app, Scope::Admin, None).await.secret;
    let audit: AuditList = get(&app, "/api/v1/audit", &admin).await.expect(StatusCode::OK);
    let actions: Vec<&str> = audit.entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "token.create",
            "session.end",
            "run.submit",
            "session.begin",
            "token.create"
        ]
    );
    let submitted = &audit.entries[2];
    assert_eq!(submitted.actor, ActorKind::Session);
    assert_eq!(submitted.token, Some(submitter.token.id));
    assert!(submitted.session.is_some() && submitted.request_id.is_some());
    assert_eq!(submitted.subject, accepted.run.id.to_string());
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let app = App::guarded().await;
    let reader = token(&app, Scope::Read, None).await;
    let sign_in = request(Method::POST, "/api/v1/session").header("x-motif-request", "1");
    let answer = app
        .answer(with_json(sign_in, &json!({ "token": reader.secret })))
        .await;
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(
        !cookie.contains("Secure"),
        "a browser would drop it over plain HTTP"
    );
    let admin = token(&app, Scope::Admin, None).await.secret;
    let revoke = shown(
        request(Method::DELETE, &format!("{TOKENS}/{}", reader.token.id)),
        &admin,
    );
    app.answer(revoke.body(Body::empty()).unwrap())
        .await
        .expect::<Value>(StatusCode::OK);
    let after = request(Method::GET, RUNS).header(header::COOKIE, cookie);
    app.answer(after.body(Body::empty()).unwrap())
        .await
        .problem(StatusCode::UNAUTHORIZED, "invalid_token");
}

#[tokio::test]
async fn the_audit_trail_is_filtered_page_by_page_and_only_ever_added_to() {
    let app = App::start().await;
    let mut runs = Vec::new();
    for seed in 0..3 {
        runs.push(app.submit(json!({ "preset": "demo", "seed": seed })).await);
    }
    app.post(&format!("{RUNS}/{}/cancel", runs[0]), &()).await;
    let first: AuditList = app
        .get("/api/v1/audit?action=run.submit&limit=2")
        .await
        .expect(StatusCode::OK);
    let subjects = |list: &AuditList| -> Vec<String> {
        list.entries.iter().map(|entry| entry.subject.clone()).collect()
    };
    assert_eq!(subjects(&first), [runs[2].to_string(), runs[1].to_string()]);
    let cursor = first.next_cursor.unwrap();
    let second: AuditList = app
        .get(&format!(
            "/api/v1/audit?action=run.submit&limit=2&cursor={cursor}"
        ))
        .await
        .expect(StatusCode::OK);
    assert_eq!(subjects(&second), [runs[0].to_string()]);
    assert_eq!(second.next_cursor, None);
    let about: AuditList = app
        .get(&format!(
            "/api/v1/audit?subject={}&name=local&project=default",
            runs[0]
        ))
        .await
        .expect(StatusCode::OK);
    let actions: Vec<&str> = about.entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["run.cancel", "run.submit"]);
    for query in ["limit=0", "cursor=x", "subject=%00", "from=yesterday", "who=me"] {
        app.get(&format!("/api/v1/audit?{query}"))
            .await
            .problem(StatusCode::BAD_REQUEST, "invalid_query");
    }
    for statement in [
        "update audit set name = 'nobody'",
        "delete from audit",
        "truncate audit",
    ] {
        let refused = sqlx::query(statement).execute(&app.pool).await.unwrap_err();
        assert!(refused.to_string().contains("only ever added to"));
    }
}
