//! The OpenAPI document: what every address has in common is said here once, so that none can forget it.

use axum::http::StatusCode;
use motif_proto::problem::PROBLEM_JSON;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder};

/// The answer of every refusal.
const PROBLEM: &str = "Problem";
const EVENT_STREAM: &str = "text/event-stream";
/// The answer to whoever has the content already.
const NOT_MODIFIED: &str = "NotModified";

/// Adds what holds everywhere: refusals that any request can meet, keys of requests that may come again, tags of
/// answers that may be known already, and of what a change is meant for.
pub(crate) fn complete(document: &mut OpenApi) {
    let responses = &mut document.components.get_or_insert_default().responses;
    responses.insert(PROBLEM.to_owned(), problem().into());
    responses.insert(
        NOT_MODIFIED.to_owned(),
        Response::new("The answer is the one that `If-None-Match` names").into(),
    );
    for (path, item) in &mut document.paths.paths {
        let changes = [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for operation in changes.into_iter().flatten() {
            complete_change(path, operation);
        }
        if let Some(operation) = &mut item.post
            && is_for_people(path)
        {
            let described = "Makes the request safe to send again: with the same key and body it is carried out once \
                             and answered alike for 24 hours";
            add_header(operation, "Idempotency-Key", described);
            refuse(operation, &["400", "409", "422"]);
        }
        if let Some(operation) = &mut item.patch {
            let described = "The `ETag` of an answer to `GET`, or `*`: the change is made only where what it could \
                             overwrite is as it was then";
            add_header(operation, "If-Match", described);
            refuse(operation, &["412"]);
        }
        if let Some(operation) = &mut item.get {
            complete_reading(path, operation);
        }
    }
}

fn is_api(path: &str) -> bool {
    path.starts_with("/api/")
}

fn is_for_people(path: &str) -> bool {
    is_api(path) && !path.starts_with("/api/v1/worker/")
}

fn complete_change(path: &str, operation: &mut Operation) {
    refuse(operation, &["403", "507"]);
    if operation.request_body.is_some() {
        refuse(operation, &["400", "413", "415", "422"]);
    }
    complete_any(path, operation);
}

fn complete_reading(path: &str, operation: &mut Operation) {
    let is_json = operation
        .responses
        .responses
        .get("200")
        .is_some_and(|answer| match answer {
            RefOr::T(answer) => answer.content.contains_key("application/json"),
            RefOr::Ref(_) => false,
        });
    if is_api(path) && is_json {
        add_header(
            operation,
            "If-None-Match",
            "The `ETag` of the answer that the client has",
        );
        let responses = &mut operation.responses.responses;
        responses
            .entry("304".to_owned())
            .or_insert_with(|| Ref::from_response_name(NOT_MODIFIED).into());
    }
    complete_any(path, operation);
}

fn complete_any(path: &str, operation: &mut Operation) {
    for (status, answer) in &mut operation.responses.responses {
        if let RefOr::T(answer) = answer {
            complete_answer(status, answer);
        }
    }
    if operation
        .parameters
        .as_ref()
        .is_some_and(|all| all.iter().any(is_checked))
    {
        refuse(operation, &["400"]);
    }
    // Under a name that is not the coordinator's.
    refuse(operation, &["421", "500", "503"]);
    if is_for_people(path) {
        refuse(operation, &["429"]);
    }
}

fn complete_answer(status: &str, answer: &mut Response) {
    if let Some(RefOr::T(content)) = answer.content.get_mut(EVENT_STREAM) {
        // A schema would be one of the whole stream, which OpenAPI 3.1 cannot have.
        content.schema = None;
        answer.description =
            "Server-sent events: `event` is the name of an `Event`, `data` its data as JSON, `id` what \
                              to come back with as `Last-Event-ID`"
                .to_owned();
    }
    if answer.description.is_empty() {
        answer.description = describe(status).to_owned();
    }
}

/// An answer in words, where its address has none of its own.
fn describe(status: &str) -> &'static str {
    let status = status
        .parse()
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok());
    status
        .and_then(|status| status.canonical_reason())
        .unwrap_or("An answer")
}

/// Whether a value can be refused: headers that cannot be read are as good as absent.
fn is_checked(parameter: &RefOr<Parameter>) -> bool {
    match parameter {
        RefOr::T(parameter) => matches!(parameter.parameter_in, ParameterIn::Path | ParameterIn::Query),
        RefOr::Ref(_) => true,
    }
}

fn refuse(operation: &mut Operation, statuses: &[&str]) {
    for status in statuses {
        operation
            .responses
            .responses
            .entry((*status).to_owned())
            .or_insert_with(|| Ref::from_response_name(PROBLEM).into());
    }
}

fn add_header(operation: &mut Operation, name: &str, description: &str) {
    let header = ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(Schema::from(
            ObjectBuilder::new().schema_type(Type::String).build(),
        )))
        .build();
    operation.parameters.get_or_insert_default().push(header.into());
}

fn problem() -> Response {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(PROBLEM)))
        .build();
    ResponseBuilder::new()
        .description("A refusal: branch on `code`, show `detail`; `/api/v1/problems` lists the codes")
        .content(PROBLEM_JSON, content)
        .build()
}
