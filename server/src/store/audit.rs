//! Who did what to what. An entry is added by the transaction that makes the change.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use motif_proto::access::{AuditEntry, AuditList};
use motif_proto::id::{SessionId, TokenId};
use motif_proto::run::RunSummary;
use serde_json::{Value, json};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Result, Store, unsigned, word};
use crate::domain::access::{Actor, Projects};
use crate::error::Error;

/// What was done.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// The thing and the deed, such as `run.cancel`.
    pub action: &'a str,
    /// To what: an id or a name.
    pub subject: Cow<'a, str>,
    /// The project that it belongs to.
    pub project: Option<&'a str>,
    /// What else there is to know. No secrets.
    pub details: Value,
}

impl<'a> Entry<'a> {
    /// Something done to a run.
    #[must_use]
    pub fn of_run(action: &'a str, run: &'a RunSummary) -> Self {
        Self {
            action,
            subject: run.id.to_string().into(),
            project: Some(&run.project),
            details: json!({ "name": run.name, "state": run.state }),
        }
    }
}

/// Adds an entry. For whoever changes something by a person's will: call it in the transaction of the change.
///
/// # Errors
/// Storage.
pub async fn record(connection: &mut PgConnection, actor: &Actor, entry: Entry<'_>) -> Result<()> {
    let who = &actor.principal;
    sqlx::query(
        "insert into audit (actor, name, token_id, session_id, action, subject, project, request_id, details)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(who.kind.as_str())
    .bind(&who.name)
    .bind(who.token.map(|token| token.0))
    .bind(who.session.map(|session| session.0))
    .bind(entry.action)
    .bind(entry.subject.as_ref())
    .bind(entry.project)
    .bind(&actor.request_id)
    .bind(Json(entry.details))
    .execute(connection)
    .await?;
    actor.set_recorded();
    Ok(())
}

/// Adds entries about many things that went through one deed.
///
/// # Errors
/// Storage.
pub async fn record_all(connection: &mut PgConnection, actor: &Actor, entries: Vec<Entry<'_>>) -> Result<()> {
    let who = &actor.principal;
    sqlx::query(
        "insert into audit (actor, name, token_id, session_id, action, subject, project, request_id, details)
         select $1, $2, $3, $4, action, subject, project, $8, details
         from unnest($5::text[], $6::text[], $7::text[], $9::jsonb[]) as e (action, subject, project, details)",
    )
    .bind(who.kind.as_str())
    .bind(&who.name)
    .bind(who.token.map(|token| token.0))
    .bind(who.session.map(|session| session.0))
    .bind(entries.iter().map(|entry| entry.action).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.subject.as_ref()).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.project).collect::<Vec<_>>())
    .bind(&actor.request_id)
    .bind(entries.iter().map(|entry| Json(&entry.details)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    actor.set_recorded();
    Ok(())
}

/// Which entries to list; everything that is absent lets all through.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Only what was done to this.
    pub subject: Option<String>,
    /// Only these deeds.
    pub action: Option<String>,
    /// Only what was done by holders of the token with this id.
    pub token: Option<TokenId>,
    /// Only what was done by somebody of this name.
    pub name: Option<String>,
    /// Only what belongs to this project.
    pub project: Option<String>,
    /// Only from this time on.
    pub from: Option<DateTime<Utc>>,
    /// Only before this time.
    pub to: Option<DateTime<Utc>>,
    /// Only entries before this one.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

#[derive(FromRow)]
struct AuditRow {
    id: i64,
    at: DateTime<Utc>,
    actor: String,
    name: String,
    token_id: Option<Uuid>,
    session_id: Option<Uuid>,
    action: String,
    subject: String,
    project: Option<String>,
    request_id: Option<String>,
    details: Json<Value>,
}

impl TryFrom<AuditRow> for AuditEntry {
    type Error = Error;

    fn try_from(row: AuditRow) -> Result<Self> {
        Ok(Self {
            id: unsigned(row.id),
            at: row.at,
            actor: word(&row.actor)?,
            name: row.name,
            token: row.token_id.map(TokenId),
            session: row.session_id.map(SessionId),
            action: row.action,
            subject: row.subject,
            project: row.project,
            request_id: row.request_id,
            details: row.details.0,
        })
    }
}

impl Store {
    /// Adds an entry by itself, for a change whose own transaction is over.
    ///
    /// # Errors
    /// Storage.
    pub async fn record(&self, actor: &Actor, entry: Entry<'_>) -> Result<()> {
        let mut connection = self.pool.acquire().await?;
        record(&mut connection, actor, entry).await
    }

    /// A page of the entries about the projects that are visible, the newest first.
    ///
    /// # Errors
    /// Storage.
    pub async fn list_audit(&self, filter: &AuditFilter, visible: &Projects) -> Result<AuditList> {
        let rows: Vec<AuditRow> = sqlx::query_as(
            "select id, at, actor, name, token_id, session_id, action, subject, project, request_id, details
             from audit
             where ($1::text is null or subject = $1)
               and ($2::text is null or action = $2)
               and ($3::uuid is null or token_id = $3)
               and ($4::text is null or name = $4)
               and ($5::text is null or project = $5)
               and ($6::timestamptz is null or at >= $6)
               and ($7::timestamptz is null or at < $7)
               and ($8::bigint is null or id < $8)
               and ($9::text[] is null or project = any($9))
             order by id desc limit $10",
        )
        .bind(&filter.subject)
        .bind(&filter.action)
        .bind(filter.token.map(|token| token.0))
        .bind(&filter.name)
        .bind(&filter.project)
        .bind(filter.from)
        .bind(filter.to)
        .bind(filter.before)
        .bind(visible.filter())
        .bind(i64::from(filter.limit) + 1)
        .fetch_all(&self.pool)
        .await?;
        let limit = filter.limit as usize;
        let more = rows.len() > limit;
        let entries = rows
            .into_iter()
            .take(limit)
            .map(AuditEntry::try_from)
            .collect::<Result<Vec<_>>>()?;
        let next_cursor = entries.last().filter(|_| more).map(|entry| entry.id.to_string());
        Ok(AuditList { entries, next_cursor })
    }
}
