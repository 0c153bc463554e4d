//! Webhooks, and what they are told: rows that the transaction adds which ends a run (a trigger of migration 0042).

use std::time::Duration;

use chrono::{DateTime, Utc};
use motif_proto::id::{DeliveryId, WebhookId};
use motif_proto::webhook::{
    ChangeWebhook, Delivery, DeliveryList, DeliveryState, NewWebhook, WebhookEvent, WebhookInfo, WebhookList,
};
use serde_json::{Value, json};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::audit::{self, Entry};
use super::{Result, Store, projects, word};
use crate::domain::access::{Actor, Projects};
use crate::domain::revision::Expected;
use crate::error::Error;

/// Most webhooks that there can be.
const MOST: i64 = 1000;

#[derive(FromRow)]
struct WebhookRow {
    id: Uuid,
    project: Option<String>,
    url: String,
    events: Vec<String>,
    active: bool,
    created_at: DateTime<Utc>,
    created_by: String,
}

impl TryFrom<WebhookRow> for WebhookInfo {
    type Error = Error;

    fn try_from(row: WebhookRow) -> Result<Self> {
        Ok(Self {
            id: WebhookId(row.id),
            url: row.url,
            events: row
                .events
                .iter()
                .map(|event| word(event))
                .collect::<Result<_>>()?,
            project: row.project,
            active: row.active,
            created_at: row.created_at,
            created_by: row.created_by,
        })
    }
}

#[derive(FromRow)]
struct DeliveryRow {
    id: Uuid,
    event: String,
    payload: Json<Value>,
    state: String,
    attempts: i32,
    created_at: DateTime<Utc>,
    next_attempt_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    last_status: Option<i32>,
    last_answer: Option<String>,
    last_error: Option<String>,
}

impl TryFrom<DeliveryRow> for Delivery {
    type Error = Error;

    fn try_from(row: DeliveryRow) -> Result<Self> {
        let state: DeliveryState = word(&row.state)?;
        Ok(Self {
            id: DeliveryId(row.id),
            event: word(&row.event)?,
            payload: row.payload.0,
            state,
            attempts: row.attempts.unsigned_abs(),
            created_at: row.created_at,
            next_attempt_at: (state == DeliveryState::Pending).then_some(row.next_attempt_at),
            finished_at: row.finished_at,
            last_status: row.last_status.and_then(|status| status.try_into().ok()),
            last_answer: row.last_answer,
            last_error: row.last_error,
        })
    }
}

/// A delivery to be sent now, by whoever was given it.
#[derive(Clone, Debug, FromRow)]
pub struct Due {
    /// Which.
    pub id: Uuid,
    /// Whose.
    pub webhook_id: Uuid,
    /// Where it goes.
    pub url: String,
    /// What it is signed with.
    pub secret: String,
    /// What it says.
    pub payload: Json<Value>,
    /// How often it was sent, this time included.
    pub attempts: i32,
}

/// What became of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The status of the answer; none where there was no answer.
    pub status: Option<u16>,
    /// The beginning of the answer.
    pub answer: Option<String>,
    /// Why there was none.
    pub error: Option<String>,
}

impl Sent {
    /// Whether the receiver took it.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// A query for [`WebhookRow`]s that ends as given.
macro_rules! select_webhooks {
    ($end:literal) => {
        concat!(
            "select id, project, url, events, active, created_at, created_by from webhooks ",
            $end
        )
    };
}

fn words(events: &[WebhookEvent]) -> Vec<&'static str> {
    events.iter().map(|event| event.as_str()).collect()
}

impl Store {
    /// Adds a webhook.
    ///
    /// # Errors
    /// [`Error::UnknownProject`], [`Error::TooManyWebhooks`], storage.
    pub async fn create_webhook(
        &self,
        wanted: &NewWebhook,
        secret: &str,
        actor: &Actor,
    ) -> Result<WebhookInfo> {
        let mut tx = self.begin().await?;
        if let Some(project) = &wanted.project {
            projects::require(&mut tx, std::slice::from_ref(project)).await?;
        }
        let id = WebhookId::new();
        let added = sqlx::query(
            "insert into webhooks (id, project, url, events, secret, created_by)
             select $1, $2, $3, $4, $5, $6 where (select count(*) from webhooks) < $7",
        )
        .bind(id.0)
        .bind(&wanted.project)
        .bind(&wanted.url)
        .bind(words(&wanted.events))
        .bind(secret)
        .bind(&actor.principal.name)
        .bind(MOST)
        .execute(&mut *tx)
        .await?;
        if added.rows_affected() == 0 {
            return Err(Error::TooManyWebhooks);
        }
        let created = find(&mut tx, id).await?;
        record(&mut tx, actor, "webhook.create", &created).await?;
        tx.commit().await?;
        Ok(created)
    }

    /// The webhooks that are limited to visible projects, the newest first.
    ///
    /// # Errors
    /// Storage.
    pub async fn list_webhooks(&self, visible: &Projects) -> Result<WebhookList> {
        let rows: Vec<WebhookRow> = sqlx::query_as(select_webhooks!(
            "where $1::text[] is null or project = any($1) order by id desc"
        ))
        .bind(visible.filter())
        .fetch_all(&self.pool)
        .await?;
        let webhooks = rows
            .into_iter()
            .map(WebhookInfo::try_from)
            .collect::<Result<_>>()?;
        Ok(WebhookList { webhooks })
    }

    /// A webhook.
    ///
    /// # Errors
    /// [`Error::UnknownWebhook`], storage.
    pub async fn find_webhook(&self, id: WebhookId) -> Result<WebhookInfo> {
        let mut connection = self.pool.acquire().await?;
        find(&mut connection, id).await
    }

    /// Whether a webhook is limited to one of these projects.
    ///
    /// # Errors
    /// Storage.
    pub async fn is_webhook_in(&self, webhook: WebhookId, projects: &[String]) -> Result<bool> {
        Ok(
            sqlx::query_scalar("select exists (select from webhooks where id = $1 and project = any($2))")
                .bind(webhook.0)
                .bind(projects)
                .fetch_one(&self.pool)
                .await?,
        )
    }

    /// Changes a webhook. One that is switched off gives up what it was still to be told.
    ///
    /// # Errors
    /// [`Error::UnknownWebhook`], [`Error::ChangedMeanwhile`], storage.
    pub async fn change_webhook(
        &self,
        id: WebhookId,
        change: &ChangeWebhook,
        expected: &Expected,
        actor: &Actor,
    ) -> Result<WebhookInfo> {
        let mut tx = self.begin().await?;
        sqlx::query("select from webhooks where id = $1 for no key update")
            .bind(id.0)
            .execute(&mut *tx)
            .await?;
        expected.require(&find(&mut tx, id).await?)?;
        sqlx::query(
            "update webhooks set url = coalesce($2, url), events = coalesce($3, events),
                                 active = coalesce($4, active) where id = $1",
        )
        .bind(id.0)
        .bind(&change.url)
        .bind(change.events.as_deref().map(words))
        .bind(change.active)
        .execute(&mut *tx)
        .await?;
        let changed = find(&mut tx, id).await?;
        if !changed.active {
            sqlx::query(
                "update webhook_deliveries set state = 'given_up', finished_at = now(),
                                               last_error = 'the webhook was switched off'
                 where webhook_id = $1 and state = 'pending'",
            )
            .bind(id.0)
            .execute(&mut *tx)
            .await?;
        }
        record(&mut tx, actor, "webhook.change", &changed).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// Removes a webhook and everything that it was told or was still to be told.
    ///
    /// # Errors
    /// [`Error::UnknownWebhook`], storage.
    pub async fn delete_webhook(&self, id: WebhookId, actor: &Actor) -> Result<()> {
        let mut tx = self.begin().await?;
        let webhook = find(&mut tx, id).await?;
        sqlx::query("delete from webhooks where id = $1")
            .bind(id.0)
            .execute(&mut *tx)
            .await?;
        record(&mut tx, actor, "webhook.delete", &webhook).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Adds a delivery that only says that somebody tries the webhook.
    ///
    /// # Errors
    /// [`Error::UnknownWebhook`], storage.
    pub async fn test_webhook(&self, id: WebhookId, actor: &Actor) -> Result<Delivery> {
        let mut tx = self.begin().await?;
        let webhook = find(&mut tx, id).await?;
        let payload = json!({
            "type": WebhookEvent::Test,
            "timestamp": Utc::now(),
            "data": { "webhook": id, "by": actor.principal.name },
        });
        let row: DeliveryRow = sqlx::query_as(
            "insert into webhook_deliveries (webhook_id, event, payload) values ($1, $2, $3)
             returning id, event, payload, state, attempts, created_at, next_attempt_at, finished_at,
                       last_status, last_answer, last_error",
        )
        .bind(id.0)
        .bind(WebhookEvent::Test.as_str())
        .bind(Json(payload))
        .fetch_one(&mut *tx)
        .await?;
        record(&mut tx, actor, "webhook.test", &webhook).await?;
        tx.commit().await?;
        row.try_into()
    }

    /// The newest deliveries of a webhook, at most `limit`.
    ///
    /// # Errors
    /// Storage.
    pub async fn list_deliveries(&self, webhook: WebhookId, limit: u32) -> Result<DeliveryList> {
        let rows: Vec<DeliveryRow> = sqlx::query_as(
            "select id, event, payload, state, attempts, created_at, next_attempt_at, finished_at,
                    last_status, last_answer, last_error
             from webhook_deliveries where webhook_id = $1 order by created_at desc, id limit $2",
        )
        .bind(webhook.0)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        let deliveries = rows.into_iter().map(Delivery::try_from).collect::<Result<_>>()?;
        Ok(DeliveryList { deliveries })
    }

    /// Takes deliveries that are due, for `lease`: should this coordinator end before it says what became of them,
    /// they are due again. Of each webhook that is not `busy` come at most `each`, in all at most `limit`.
    ///
    /// # Errors
    /// Storage.
    pub async fn take_deliveries(
        &self,
        busy: &[Uuid],
        each: u32,
        limit: usize,
        lease: Duration,
    ) -> Result<Vec<Due>> {
        Ok(sqlx::query_as(
            "with due as (
                 select d.id, w.url, w.secret
                 from webhooks w cross join lateral (
                     select id from webhook_deliveries
                     where webhook_id = w.id and state = 'pending' and next_attempt_at <= now()
                     order by next_attempt_at limit $2 for update skip locked
                 ) d
                 where w.id <> all($1) limit $3
             )
             update webhook_deliveries d
             set attempts = d.attempts + 1, next_attempt_at = now() + make_interval(secs => $4)
             from due where d.id = due.id
             returning d.id, d.webhook_id, due.url, due.secret, d.payload, d.attempts",
        )
        .bind(busy)
        .bind(i64::from(each))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(lease.as_secs_f64())
        .fetch_all(&self.pool)
        .await?)
    }

    /// Records what became of an attempt, and when the next one is: none gives the delivery up.
    ///
    /// # Errors
    /// Storage.
    pub async fn settle_delivery(&self, due: &Due, sent: &Sent, next: Option<Duration>) -> Result<()> {
        let state = match (sent.is_success(), next) {
            (true, _) => "delivered",
            (false, Some(_)) => "pending",
            (false, None) => "given_up",
        };
        // Another coordinator may have it by now, if this one was stopped for long: then its word counts.
        sqlx::query(
            "update webhook_deliveries
             set state = $3, last_status = $4, last_answer = $5, last_error = $6,
                 finished_at = case when $3 <> 'pending' then now() end,
                 next_attempt_at = now() + make_interval(secs => $7)
             where id = $1 and attempts = $2 and state = 'pending'",
        )
        .bind(due.id)
        .bind(due.attempts)
        .bind(state)
        .bind(sent.status.map(i32::from))
        .bind(&sent.answer)
        .bind(&sent.error)
        .bind(next.unwrap_or_default().as_secs_f64())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets deliveries that were finished longer ago than `age`, a batch at most. Returns how many.
    ///
    /// # Errors
    /// Storage.
    pub async fn prune_deliveries(&self, age: Duration) -> Result<u64> {
        let deleted = sqlx::query(
            "delete from webhook_deliveries where id in (
                 select id from webhook_deliveries
                 where state <> 'pending' and finished_at < now() - make_interval(secs => $1) limit 5000)",
        )
        .bind(age.as_secs_f64())
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected())
    }
}

async fn find(connection: &mut PgConnection, id: WebhookId) -> Result<WebhookInfo> {
    let row: Option<WebhookRow> = sqlx::query_as(select_webhooks!("where id = $1"))
        .bind(id.0)
        .fetch_optional(connection)
        .await?;
    row.ok_or(Error::UnknownWebhook(id))?.try_into()
}

async fn record(
    connection: &mut PgConnection,
    actor: &Actor,
    action: &'static str,
    webhook: &WebhookInfo,
) -> Result<()> {
    let entry = Entry {
        action,
        subject: webhook.id.to_string().into(),
        project: webhook.project.as_deref(),
        details: json!({ "url": webhook.url, "events": webhook.events, "active": webhook.active }),
    };
    audit::record(connection, actor, entry).await
}
