//! Tokens, the audit trail and webhooks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::Query;
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use chrono::TimeDelta;
use clap::{CommandFactory, Parser};
use serde_json::{Value, json};

use crate::access::{ActorKind, AuditEntry, AuditList, Scope, TokenInfo, TokenList};
use crate::cli::output::Output;
use crate::cli::{Arguments, CliError, Command, audit, problem, run_command, tokens, webhooks};
use crate::client::stub::{answer, noon, problem as a_problem, serve};
use crate::client::{Client, ClientError};
use crate::problem::FieldProblem;
use crate::webhook::{Delivery, DeliveryList, DeliveryState, WebhookEvent, WebhookInfo, WebhookList};

fn id<T: From<uuid::Uuid>>(tail: &str) -> T {
    let id: uuid::Uuid = format!("01890000-0000-7000-8000-0000{tail:0>8}").parse().unwrap();
    id.into()
}

fn a_token(tail: &str, name: &str) -> TokenInfo {
    TokenInfo {
        id: id(tail),
        name: name.to_owned(),
        scopes: vec![Scope::Submit],
        projects: None,
        created_at: noon(),
        created_by: "local".to_owned(),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

fn a_webhook(tail: &str, url: &str) -> WebhookInfo {
    WebhookInfo {
        id: id(tail),
        url: url.to_owned(),
        events: vec![WebhookEvent::RunFailed, WebhookEvent::StudyFailed],
        project: None,
        active: true,
        created_at: noon(),
        created_by: "local".to_owned(),
    }
}

fn a_delivery(tail: &str, state: DeliveryState) -> Delivery {
    Delivery {
        id: id(tail),
        event: WebhookEvent::Test,
        payload: json!({}),
        state,
        attempts: 0,
        created_at: noon(),
        next_attempt_at: None,
        finished_at: None,
        last_status: None,
        last_answer: None,
        last_error: None,
    }
}

fn parse(line: &str) -> Result<Command, clap::Error> {
    let words = std::iter::once("motif").chain(line.split(' '));
    Arguments::try_parse_from(words).map(|arguments| arguments.command)
}

async fn asked(client: &Client, line: &str) -> Result<(), CliError> {
    let code = run_command(parse(line).unwrap(), client, &Output::plain()).await?;
    assert_eq!(
        format!("{code:?}"),
        format!("{:?}", std::process::ExitCode::SUCCESS)
    );
    Ok(())
}

/// Options that every command has are one value each: a command's own of the same name would take its place.
fn assert_own_names(command: &clap::Command, everywhere: &[String]) {
    for argument in command.get_arguments() {
        let name = argument.get_id().to_string();
        assert!(
            !everywhere.contains(&name),
            "`{}` has `{name}` of its own",
            command.get_name()
        );
    }
    for below in command.get_subcommands() {
        assert_own_names(below, everywhere);
    }
}

#[test]
fn no_command_has_an_argument_with_the_name_of_an_option_of_all() {
    let all = Arguments::command();
    let global = all.get_arguments().filter(|argument| argument.is_global_set());
    let everywhere: Vec<String> = global.map(|argument| argument.get_id().to_string()).collect();
    assert_eq!(everywhere, ["server", "token", "json"]);
    for command in all.get_subcommands() {
        assert_own_names(command, &everywhere);
    }
}

#[test]
fn the_table_of_tokens_says_what_each_opens_and_whether_it_still_does() {
    let mut limited = a_token("beef0002", "lab");
    limited.projects = Some(vec!["arm".to_owned(), "leg".to_owned()]);
    limited.expires_at = Some(noon() + TimeDelta::days(90));
    limited.last_used_at = Some(noon() - TimeDelta::minutes(3));
    let mut expired = a_token("beef0003", "guest");
    expired.expires_at = Some(noon());
    let mut revoked = a_token("beef0004", "left");
    revoked.revoked_at = Some(noon());
    let all = [a_token("beef0001", "you"), limited, expired, revoked];
    assert_eq!(
        tokens::table(&Output::plain(), &all, noon()),
        "\
TOKEN     NAME   SCOPES  PROJECTS      STATE               MADE BY  USED
beef0001  you    submit  all projects  valid               local    never
beef0002  lab    submit  arm leg       until 2026-04-01    local    3 min ago
beef0003  guest  submit  all projects  expired 2026-01-01  local    never
beef0004  left   submit  all projects  revoked 2026-01-01  local    never"
    );
}

#[test]
fn a_token_is_named_by_the_name_that_nobody_else_has_or_by_its_id() {
    let mut revoked = a_token("beef0001", "lab");
    revoked.revoked_at = Some(noon());
    let all = [a_token("beef0002", "lab"), revoked, a_token("beef0003", "you")];
    let found = |word: &str| tokens::find(word, &all).map(|token| token.id);
    assert_eq!(found("lab").unwrap(), all[0].id);
    assert_eq!(found("ef0001").unwrap(), all[1].id);
    assert_eq!(found(&all[2].id.to_string()).unwrap(), all[2].id);
    let none = found("ef01").unwrap_err().to_string();
    assert_eq!(
        none,
        "no token has the name `ef01` or an id that begins or ends so; `motif tokens` lists them"
    );
    let several = found("018900").unwrap_err().to_string();
    assert!(several.starts_with("`018900` stands for 3 tokens: "), "{several}");
}

#[tokio::test]
async fn a_token_is_revoked_by_its_name_without_a_question_where_the_answer_was_given() {
    let tokens = || TokenList {
        tokens: vec![a_token("beef0001", "you"), a_token("beef0002", "lab")],
    };
    let revoked = format!("/tokens/{}", a_token("beef0002", "lab").id);
    let routes = Router::new()
        .route("/tokens", get(move || async move { Json(tokens()) }))
        .route(&revoked, delete(|| async { Json(a_token("beef0002", "lab")) }));
    let client = serve(routes).await;
    asked(&client, "tokens revoke lab --yes").await.unwrap();
    let unknown = asked(&client, "tokens revoke guest --yes").await.unwrap_err();
    assert!(matches!(unknown, CliError::Usage(_)), "{unknown}");
}

#[tokio::test]
async fn what_the_coordinator_finds_wrong_is_said_of_the_flag_that_gave_it() {
    let refuse = |Json(token): Json<Value>| async move {
        assert_eq!(token["scopes"], json!(["read", "submit"]));
        let mut refusal = a_problem(
            422,
            "invalid_body",
            "/projects: nobody grants more; /name: too long",
        );
        refusal.title = "Invalid body".to_owned();
        refusal.errors = ["/projects", "/name"]
            .map(|pointer| FieldProblem {
                pointer: pointer.to_owned(),
                detail: "not so".to_owned(),
                given: None,
                allowed: None,
                nearest: None,
            })
            .into();
        answer(&refusal)
    };
    let client = serve(Router::new().route("/tokens", post(refuse))).await;
    let line = "tokens create --name x --scope read,submit --project arm --expires 90d";
    let error = asked(&client, line).await.unwrap_err();
    let CliError::Client(ClientError::Problem { problem, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(
        problem::in_words(&problem),
        "Invalid body\n  --project: not so\n  --name: not so"
    );
}

#[test]
fn a_wrong_command_line_names_the_flag_and_what_it_takes() {
    for (line, flag, right) in [
        ("tokens create --name x --scope root", "--scope", "submit"),
        ("tokens create --name x", "--scope", "--scope"),
        (
            "tokens create --name x --scope read --expires soon",
            "--expires",
            "90d",
        ),
        ("audit --since yesterday", "--since", "2h and 7d (ago)"),
        (
            "webhooks add https://a --event run.ended",
            "--event",
            "run.failed",
        ),
        ("webhooks add https://a", "--event", "--event"),
        ("webhooks change abcdef", "--url", "--off"),
        ("webhooks deliveries abcdef -n 0", "--limit", "1..=100"),
    ] {
        let error = parse(line).unwrap_err().to_string();
        assert!(error.contains(flag) && error.contains(right), "{line}: {error}");
    }
}

#[test]
fn the_table_of_deeds_has_one_line_for_each_with_its_details() {
    let entry = |id, actor, action: &str, details| AuditEntry {
        id,
        at: noon(),
        actor,
        name: "lab".to_owned(),
        token: None,
        session: None,
        action: action.to_owned(),
        subject: "arm".to_owned(),
        project: Some("arm".to_owned()),
        request_id: None,
        details,
    };
    let mut bare = entry(1, ActorKind::Token, "run.cancel", Value::Null);
    bare.project = None;
    let weighed = json!({ "by": "you", "weight": 2.0 });
    let entries = [entry(2, ActorKind::Session, "project.change", weighed), bare];
    assert_eq!(
        audit::table(&Output::plain(), &entries),
        "\
WHEN (UTC)           WHO            DID             TO   PROJECT  DETAILS
2026-01-01 12:00:00  lab (browser)  project.change  arm  arm      by=you weight=2.0
2026-01-01 12:00:00  lab            run.cancel      arm  -        -"
    );
}

#[test]
fn a_time_is_so_long_ago_a_day_or_an_instant() {
    let read = |text| audit::read_instant(text, noon());
    assert_eq!(read("2h"), Ok(noon() - TimeDelta::hours(2)));
    assert_eq!(read("2026-01-01"), Ok(noon() - TimeDelta::hours(12)));
    assert_eq!(read("2026-01-01T13:00:00+01:00"), Ok(noon()));
    for wrong in ["", "yesterday", "2026-13-01", "-2h"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn the_record_is_read_page_by_page_with_every_filter() {
    type Pairs = std::collections::HashMap<String, String>;
    let entry = |number: u64| AuditEntry {
        id: number,
        at: noon(),
        actor: ActorKind::Local,
        name: "local".to_owned(),
        token: None,
        session: None,
        action: "run.cancel".to_owned(),
        subject: "x".to_owned(),
        project: None,
        request_id: None,
        details: Value::Null,
    };
    let page = move |Query(query): Query<Pairs>| async move {
        assert_eq!(query["action"], "run.cancel");
        assert_eq!(query["name"], "local");
        assert_eq!(query["from"], "2026-01-01T00:00:00Z");
        let last = query.contains_key("cursor");
        let length = query["limit"].parse::<u64>().unwrap();
        assert_eq!(length, if last { 100 } else { 500 });
        Json(AuditList {
            entries: (0..length).map(entry).collect(),
            next_cursor: Some("next".to_owned()),
        })
    };
    let client = serve(Router::new().route("/audit", get(page))).await;
    let Ok(Command::Audit(command)) = parse("audit --since 2026-01-01 --action run.cancel --by local -n 600")
    else {
        panic!("not the command");
    };
    let list = command.fetch(&client).await.unwrap();
    assert_eq!(
        (list.entries.len(), list.next_cursor.as_deref()),
        (600, Some("next"))
    );
}

#[test]
fn the_tables_of_webhooks_and_deliveries_are_aligned_and_plain_in_a_pipe() {
    let mut off = a_webhook("beef0002", "https://b/hook");
    (off.active, off.project) = (false, Some("arm".to_owned()));
    let now = noon() + TimeDelta::minutes(3);
    assert_eq!(
        webhooks::table(&Output::plain(), &[a_webhook("beef0001", "https://a"), off], now),
        "\
WEBHOOK   URL             EVENTS                   PROJECT       STATE  MADE BY  MADE
beef0001  https://a       run.failed study.failed  all projects  on     local    3 min ago
beef0002  https://b/hook  run.failed study.failed  arm           off    local    3 min ago"
    );
    let mut pending = a_delivery("beef0001", DeliveryState::Pending);
    pending.attempts = 1;
    pending.next_attempt_at = Some(now + TimeDelta::seconds(70));
    (pending.last_status, pending.last_answer) = (Some(500), Some("not\n today".to_owned()));
    let mut given_up = a_delivery("beef0002", DeliveryState::GivenUp);
    given_up.attempts = 10;
    given_up.last_error = Some("x".repeat(100));
    let table = webhooks::deliveries_table(&Output::plain(), &[pending, given_up], now);
    assert_eq!(
        table,
        format!(
            "\
DELIVERY  EVENT  STATE     TRIES  ANSWER{gap}  HAPPENED   NEXT TRY
beef0001  test   pending       1  500 not today{gap2}  3 min ago  in 1 min 10 s
beef0002  test   given up     10  {long}…  3 min ago  -",
            gap = " ".repeat(54),
            gap2 = " ".repeat(47),
            long = "x".repeat(59),
        )
    );
}

#[test]
fn a_webhook_is_named_by_its_url_or_its_id() {
    let all = [
        a_webhook("beef0001", "https://a"),
        a_webhook("beef0002", "https://b"),
    ];
    let found = |word: &str| webhooks::find(word, &all).map(|webhook| webhook.id);
    assert_eq!(found("https://b").unwrap(), all[1].id);
    assert_eq!(found("beef0001").unwrap(), all[0].id);
    let none = found("https://c").unwrap_err().to_string();
    assert!(none.contains("no webhook has the URL `https://c`"), "{none}");
}

/// A coordinator with one webhook, whose receiver is asked at the second look.
async fn with_receiver(tried: Delivery) -> Client {
    let looks = Arc::new(AtomicU32::new(0));
    let webhook = a_webhook("beef0001", "https://a");
    let path = format!("/webhooks/{}", webhook.id);
    let list = WebhookList {
        webhooks: vec![webhook],
    };
    let look = move || async move {
        let waits = looks.fetch_add(1, Ordering::Relaxed) == 0;
        let untried = a_delivery("beef0009", DeliveryState::Pending);
        Json(DeliveryList {
            deliveries: vec![
                a_delivery("beef0008", DeliveryState::GivenUp),
                if waits { untried } else { tried },
            ],
        })
    };
    let test = || async {
        (
            StatusCode::ACCEPTED,
            Json(a_delivery("beef0009", DeliveryState::Pending)),
        )
    };
    let routes = Router::new()
        .route("/webhooks", get(move || async move { Json(list) }))
        .route(&path, delete(|| async { StatusCode::NO_CONTENT }))
        .route(&format!("{path}/test"), post(test))
        .route(&format!("{path}/deliveries"), get(look));
    serve(routes).await
}

#[tokio::test]
async fn a_try_says_what_the_receiver_answered_and_fails_where_it_did_not_take_it() {
    let mut taken = a_delivery("beef0009", DeliveryState::Delivered);
    (taken.attempts, taken.last_status) = (1, Some(204));
    asked(&with_receiver(taken).await, "webhooks test https://a")
        .await
        .unwrap();
    let mut refused = a_delivery("beef0009", DeliveryState::Pending);
    (refused.attempts, refused.last_error) = (1, Some("connection refused".to_owned()));
    let client = with_receiver(refused).await;
    let error = asked(&client, "webhooks test beef0001").await.unwrap_err();
    assert_eq!(error.to_string(), "https://a did not take it: connection refused");
    asked(&client, "webhooks remove https://a --yes").await.unwrap();
}
