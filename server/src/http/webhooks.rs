//! Webhooks: who is told when runs end.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use motif_proto::id::WebhookId;
use motif_proto::problem::{FieldProblem, Problem};
use motif_proto::webhook::{
    ChangeWebhook, Delivery, DeliveryList, NewWebhook, WebhookCreated, WebhookEvent, WebhookInfo, WebhookList,
};
use serde_json::json;

use super::extract::{Id, Json};
use super::if_match::Revised;
use super::problem::ApiError;
use crate::domain::access::{Actor, Principal, Projects};
use crate::domain::revision::Expected;
use crate::domain::webhook;
use crate::error::Error;
use crate::store::Store;
use crate::webhooks::Webhooks;

/// Deliveries that a list shows.
const DELIVERIES: u32 = 100;

/// Add a webhook.
///
/// Its secret is in the answer and is never shown again. Deliveries are signed as Standard Webhooks has it: headers
/// `webhook-id`, `webhook-timestamp` and `webhook-signature`, which is `v1,` and the base64 of the HMAC-SHA256 of
/// `{id}.{timestamp}.{body}` under the key in the secret. A delivery that is not answered with success within ten
/// seconds is repeated nine times within a day. Redirects are not followed.
#[utoipa::path(
    post, path = "/webhooks", tag = "webhooks", operation_id = "create_webhook", request_body = NewWebhook,
    responses(
        (status = CREATED, body = WebhookCreated),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json",
         description = "`unknown_project`"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
         description = "`too_many_webhooks`"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn create(
    State(store): State<Store>,
    State(webhooks): State<Webhooks>,
    actor: Actor,
    Json(mut wanted): Json<NewWebhook>,
) -> Result<Response, ApiError> {
    wanted.events.sort_unstable();
    wanted.events.dedup();
    let mut problems = Vec::new();
    problems.extend(wrong_url(&wanted.url, &webhooks));
    problems.extend(wrong_events(&wanted.events));
    problems.extend(wrong_project(wanted.project.as_deref(), &actor.principal));
    if !problems.is_empty() {
        return Err(ApiError::invalid_fields(problems));
    }
    let secret = webhook::new_secret().map_err(Error::from)?;
    let webhook = store.create_webhook(&wanted, &secret, &actor).await?;
    let created = WebhookCreated { webhook, secret };
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, Answer(created)).into_response())
}

/// List the webhooks, the newest first.
#[utoipa::path(
    get, path = "/webhooks", tag = "webhooks", operation_id = "list_webhooks",
    responses((status = OK, body = WebhookList)),
)]
pub async fn list(State(store): State<Store>, principal: Principal) -> Result<Answer<WebhookList>, ApiError> {
    Ok(Answer(store.list_webhooks(&principal.projects).await?))
}

/// Show a webhook.
#[utoipa::path(
    get, path = "/webhooks/{id}", tag = "webhooks", operation_id = "show_webhook",
    params(("id" = WebhookId, Path, description = "The webhook")),
    responses(
        (status = OK, body = WebhookInfo),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn show(
    State(store): State<Store>,
    Id(id): Id<WebhookId>,
) -> Result<Revised<WebhookInfo>, ApiError> {
    Ok(Revised(store.find_webhook(id).await?))
}

/// Change a webhook.
#[utoipa::path(
    patch, path = "/webhooks/{id}", tag = "webhooks", operation_id = "change_webhook",
    request_body = ChangeWebhook, params(("id" = WebhookId, Path, description = "The webhook")),
    responses(
        (status = OK, body = WebhookInfo),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn change(
    State(store): State<Store>,
    State(webhooks): State<Webhooks>,
    actor: Actor,
    Id(id): Id<WebhookId>,
    expected: Expected,
    Json(mut change): Json<ChangeWebhook>,
) -> Result<Revised<WebhookInfo>, ApiError> {
    if let Some(events) = &mut change.events {
        events.sort_unstable();
        events.dedup();
    }
    let mut problems = Vec::new();
    problems.extend(change.url.as_deref().and_then(|url| wrong_url(url, &webhooks)));
    problems.extend(change.events.as_deref().and_then(wrong_events));
    if !problems.is_empty() {
        return Err(ApiError::invalid_fields(problems));
    }
    let changed = store.change_webhook(id, &change, &expected, &actor).await?;
    Ok(Revised(changed))
}

/// Remove a webhook; what it was still to be told is not told.
#[utoipa::path(
    delete, path = "/webhooks/{id}", tag = "webhooks", operation_id = "delete_webhook",
    params(("id" = WebhookId, Path, description = "The webhook")),
    responses(
        (status = NO_CONTENT, description = "It is gone"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn delete(
    State(store): State<Store>,
    actor: Actor,
    Id(id): Id<WebhookId>,
) -> Result<StatusCode, ApiError> {
    store.delete_webhook(id, &actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The newest hundred deliveries of a webhook, with the receiver's last answers. They are kept for a week.
#[utoipa::path(
    get, path = "/webhooks/{id}/deliveries", tag = "webhooks", operation_id = "list_deliveries",
    params(("id" = WebhookId, Path, description = "The webhook")),
    responses(
        (status = OK, body = DeliveryList),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn deliveries(
    State(store): State<Store>,
    Id(id): Id<WebhookId>,
) -> Result<Answer<DeliveryList>, ApiError> {
    store.find_webhook(id).await?;
    Ok(Answer(store.list_deliveries(id, DELIVERIES).await?))
}

/// Try a webhook: a delivery that says nothing but that.
///
/// It is sent like any other; its fate is in the list of deliveries.
#[utoipa::path(
    post, path = "/webhooks/{id}/test", tag = "webhooks", operation_id = "test_webhook",
    params(("id" = WebhookId, Path, description = "The webhook")),
    responses(
        (status = ACCEPTED, body = Delivery),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn test(
    State(store): State<Store>,
    State(webhooks): State<Webhooks>,
    actor: Actor,
    Id(id): Id<WebhookId>,
) -> Result<(StatusCode, Answer<Delivery>), ApiError> {
    let delivery = store.test_webhook(id, &actor).await?;
    webhooks.hurry();
    Ok((StatusCode::ACCEPTED, Answer(delivery)))
}

fn wrong_url(url: &str, webhooks: &Webhooks) -> Option<FieldProblem> {
    let reason = webhook::read_url(url, webhooks.private()).err()?;
    Some(FieldProblem {
        pointer: "/url".to_owned(),
        detail: format!("deliveries cannot go there: {reason}"),
        given: Some(json!(url)),
        allowed: Some("an address such as https://hooks.example/motif".to_owned()),
        nearest: None,
    })
}

fn wrong_events(events: &[WebhookEvent]) -> Option<FieldProblem> {
    events.is_empty().then(|| FieldProblem {
        pointer: "/events".to_owned(),
        detail: "a webhook that is told nothing is of no use".to_owned(),
        given: Some(json!([])),
        allowed: Some(WebhookEvent::OFFERED.map(WebhookEvent::as_str).join(", ")),
        nearest: None,
    })
}

fn wrong_project(project: Option<&str>, principal: &Principal) -> Option<FieldProblem> {
    let wanted = Projects::from(project.map(|name| vec![name.to_owned()]));
    (!principal.projects.include(&wanted)).then(|| FieldProblem {
        pointer: "/project".to_owned(),
        detail: "nobody is told more than the token of whoever wants it opens".to_owned(),
        given: Some(json!(project)),
        allowed: principal.projects.filter().map(|names| names.join(", ")),
        nearest: None,
    })
}
