//! Tokens, and the browsers that signed in with one.

use std::time::Duration;

use chrono::{DateTime, Utc};
use motif_proto::access::{ActorKind, NewToken, TokenInfo, TokenList};
use motif_proto::id::{SessionId, TokenId};
use serde_json::json;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::audit::{self, Entry};
use super::{Result, Store, is_violation, projects, word};
use crate::domain::access::{Actor, Identity, Principal, Projects};
use crate::domain::secret::Hash;
use crate::error::Error;
use crate::signals;

#[derive(FromRow)]
struct TokenRow {
    id: Uuid,
    name: String,
    scopes: Vec<String>,
    projects: Option<Vec<String>>,
    created_at: DateTime<Utc>,
    created_by: String,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl TryFrom<TokenRow> for TokenInfo {
    type Error = Error;

    fn try_from(row: TokenRow) -> Result<Self> {
        Ok(Self {
            id: TokenId(row.id),
            name: row.name,
            scopes: row
                .scopes
                .iter()
                .map(|scope| word(scope))
                .collect::<Result<_>>()?,
            projects: row.projects,
            created_at: row.created_at,
            created_by: row.created_by,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
        })
    }
}

/// A query for [`TokenRow`]s that ends as given.
macro_rules! select_tokens {
    ($end:literal) => {
        concat!(
            "select id, name, scopes, projects, created_at, created_by, expires_at, revoked_at, last_used_at
             from tokens ",
            $end
        )
    };
}

/// Whoever a secret belongs to.
#[derive(FromRow)]
struct HolderRow {
    token_id: Uuid,
    session_id: Option<Uuid>,
    name: String,
    scopes: Vec<String>,
    projects: Option<Vec<String>>,
    expires_at: Option<DateTime<Utc>>,
}

impl TryFrom<HolderRow> for Principal {
    type Error = Error;

    fn try_from(row: HolderRow) -> Result<Self> {
        Ok(Self::from(Identity {
            kind: if row.session_id.is_some() {
                ActorKind::Session
            } else {
                ActorKind::Token
            },
            name: row.name,
            token: Some(TokenId(row.token_id)),
            session: row.session_id.map(SessionId),
            scopes: row
                .scopes
                .iter()
                .map(|scope| word(scope))
                .collect::<Result<_>>()?,
            projects: Projects::from(row.projects),
            expires_at: row.expires_at,
        }))
    }
}

impl Store {
    /// Adds a token whose secret has this hash.
    ///
    /// # Errors
    /// [`Error::TokenNameTaken`], [`Error::UnknownProject`], storage.
    pub async fn create_token(&self, token: &NewToken, secret: &Hash, actor: &Actor) -> Result<TokenInfo> {
        let mut tx = self.begin().await?;
        if let Some(names) = &token.projects {
            projects::require(&mut tx, names).await?;
        }
        let id = TokenId::new();
        let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
        sqlx::query(
            "insert into tokens (id, name, secret_sha256, scopes, projects, created_by, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(id.0)
        .bind(&token.name)
        .bind(secret.as_slice())
        .bind(&scopes)
        .bind(&token.projects)
        .bind(&actor.principal.name)
        .bind(token.expires_at)
        .execute(&mut *tx)
        .await
        .map_err(|error| {
            if is_violation(&error, "tokens_name_once") {
                Error::TokenNameTaken(token.name.clone())
            } else {
                error.into()
            }
        })?;
        let entry = Entry {
            action: "token.create",
            subject: id.to_string().into(),
            project: None,
            details: json!({ "name": token.name, "scopes": token.scopes, "projects": token.projects,
                             "expires_at": token.expires_at }),
        };
        audit::record(&mut tx, actor, entry).await?;
        let created = find(&mut tx, id).await?;
        tx.commit().await?;
        Ok(created)
    }

    /// The tokens that open these projects and no others, the newest first.
    ///
    /// # Errors
    /// Storage.
    pub async fn list_tokens(&self, visible: &Projects) -> Result<TokenList> {
        let rows: Vec<TokenRow> = sqlx::query_as(select_tokens!(
            "where $1::text[] is null or projects <@ $1 order by id desc limit 10000"
        ))
        .bind(visible.filter())
        .fetch_all(&self.pool)
        .await?;
        let tokens = rows.into_iter().map(TokenInfo::try_from).collect::<Result<_>>()?;
        Ok(TokenList { tokens })
    }

    /// Ends a token and the sessions that began with it. Safe to repeat. Tokens that open other projects than
    /// these are not seen.
    ///
    /// # Errors
    /// [`Error::UnknownToken`], storage.
    pub async fn revoke_token(&self, token: TokenId, actor: &Actor) -> Result<TokenInfo> {
        let mut tx = self.begin().await?;
        let revoked = sqlx::query(
            "update tokens set revoked_at = now()
             where id = $1 and revoked_at is null and ($2::text[] is null or projects <@ $2)",
        )
        .bind(token.0)
        .bind(actor.principal.projects.filter())
        .execute(&mut *tx)
        .await?
        .rows_affected();
        let info = find(&mut tx, token).await?;
        if !actor
            .principal
            .projects
            .include(&Projects::from(info.projects.clone()))
        {
            return Err(Error::UnknownToken(token.to_string()));
        }
        if revoked == 1 {
            sqlx::query("delete from sessions where token_id = $1")
                .bind(token.0)
                .execute(&mut *tx)
                .await?;
            let entry = Entry {
                action: "token.revoke",
                subject: token.to_string().into(),
                project: None,
                details: json!({ "name": info.name }),
            };
            audit::record(&mut tx, actor, entry).await?;
            tell_all(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(info)
    }

    /// Whether a token with the scope `admin` opens anything.
    ///
    /// # Errors
    /// Storage.
    pub async fn has_admin_token(&self) -> Result<bool> {
        Ok(sqlx::query_scalar(
            "select exists (select from tokens where 'admin' = any(scopes) and revoked_at is null
                              and (expires_at is null or expires_at > now()))",
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// Whose token has a secret with this hash, if it opens anything; notes that it was used.
    ///
    /// # Errors
    /// Storage.
    pub async fn holder_of_token(&self, secret: &Hash) -> Result<Option<Principal>> {
        let row: Option<HolderRow> = sqlx::query_as(
            "with found as (
                 select id, name, scopes, projects, expires_at, last_used_at from tokens
                 where secret_sha256 = $1 and revoked_at is null and (expires_at is null or expires_at > now())
             ), used as (
                 update tokens set last_used_at = now() from found
                 where tokens.id = found.id
                   and (found.last_used_at is null or found.last_used_at < now() - interval '1 minute')
             )
             select id as token_id, null::uuid as session_id, name, scopes, projects, expires_at from found",
        )
        .bind(secret.as_slice())
        .fetch_optional(&self.pool)
        .await?;
        row.map(Principal::try_from).transpose()
    }

    /// Whose session has a secret with this hash, if it and its token open anything; notes that the token was used.
    ///
    /// # Errors
    /// Storage.
    pub async fn holder_of_session(&self, secret: &Hash) -> Result<Option<Principal>> {
        let row: Option<HolderRow> = sqlx::query_as(
            "with found as (
                 select t.id, s.id as session_id, t.name, t.scopes, t.projects, t.last_used_at,
                        least(s.expires_at, t.expires_at) as expires_at
                 from sessions s join tokens t on t.id = s.token_id
                 where s.secret_sha256 = $1 and s.expires_at > now()
                   and t.revoked_at is null and (t.expires_at is null or t.expires_at > now())
             ), used as (
                 update tokens set last_used_at = now() from found
                 where tokens.id = found.id
                   and (found.last_used_at is null or found.last_used_at < now() - interval '1 minute')
             )
             select id as token_id, session_id, name, scopes, projects, expires_at from found",
        )
        .bind(secret.as_slice())
        .fetch_optional(&self.pool)
        .await?;
        row.map(Principal::try_from).transpose()
    }

    /// Whether a token, and a session of it, still open anything.
    ///
    /// # Errors
    /// Storage.
    pub async fn is_valid(&self, token: TokenId, session: Option<SessionId>) -> Result<bool> {
        Ok(sqlx::query_scalar(
            "select exists (select from tokens where id = $1 and revoked_at is null
                              and (expires_at is null or expires_at > now()))
                and ($2::uuid is null or exists (select from sessions where id = $2 and expires_at > now()))",
        )
        .bind(token.0)
        .bind(session.map(|session| session.0))
        .fetch_one(&self.pool)
        .await?)
    }

    /// Begins a session of a browser whose secret has the hash `session`, for the token that `holder` showed.
    /// Clears away sessions that ended.
    ///
    /// # Errors
    /// [`Error::UnknownToken`] where the token was revoked meanwhile, storage.
    pub async fn begin_session(
        &self,
        holder: &Principal,
        session: &Hash,
        length: Duration,
        request_id: Option<String>,
    ) -> Result<Principal> {
        let mut tx = self.begin().await?;
        sqlx::query("delete from sessions where expires_at < now()")
            .execute(&mut *tx)
            .await?;
        let row: Option<HolderRow> = sqlx::query_as(
            "with begun as (
                 insert into sessions (id, token_id, secret_sha256, expires_at)
                 select $1, id, $3, now() + make_interval(secs => $4) from tokens
                 where id = $2 and revoked_at is null and (expires_at is null or expires_at > now())
                 returning id, token_id, expires_at
             )
             select t.id as token_id, b.id as session_id, t.name, t.scopes, t.projects,
                    least(b.expires_at, t.expires_at) as expires_at
             from begun b join tokens t on t.id = b.token_id",
        )
        .bind(SessionId::new().0)
        .bind(holder.token.map(|token| token.0))
        .bind(session.as_slice())
        .bind(length.as_secs_f64())
        .fetch_optional(&mut *tx)
        .await?;
        let principal: Principal = row
            .ok_or_else(|| Error::UnknownToken(holder.name.clone()))?
            .try_into()?;
        record_session(&mut tx, "session.begin", &principal, request_id).await?;
        tx.commit().await?;
        Ok(principal)
    }

    /// Ends the session of a browser. Safe to repeat.
    ///
    /// # Errors
    /// Storage.
    pub async fn end_session(&self, actor: &Actor) -> Result<()> {
        let Some(session) = actor.principal.session else {
            return Ok(());
        };
        let mut tx = self.begin().await?;
        sqlx::query("delete from sessions where id = $1")
            .bind(session.0)
            .execute(&mut *tx)
            .await?;
        record_session(&mut tx, "session.end", &actor.principal, actor.request_id.clone()).await?;
        actor.set_recorded();
        tell_all(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Tells every coordinator with the commit that somebody may do less than before. Such changes are seldom, and a
/// command that works on the database itself has no other way to tell.
async fn tell_all(connection: &mut PgConnection) -> Result<()> {
    let (channel, notice) = signals::access_notice();
    sqlx::query("select pg_notify($1, $2)")
        .bind(channel)
        .bind(notice)
        .execute(connection)
        .await?;
    Ok(())
}

async fn record_session(
    connection: &mut PgConnection,
    action: &'static str,
    principal: &Principal,
    request_id: Option<String>,
) -> Result<()> {
    let subject = principal
        .session
        .map_or_else(String::new, |session| session.to_string());
    let entry = Entry {
        action,
        subject: subject.into(),
        project: None,
        details: json!({}),
    };
    audit::record(connection, &Actor::new(principal.clone(), request_id), entry).await
}

async fn find(connection: &mut PgConnection, token: TokenId) -> Result<TokenInfo> {
    let row: Option<TokenRow> = sqlx::query_as(select_tokens!("where id = $1"))
        .bind(token.0)
        .fetch_optional(connection)
        .await?;
    row.ok_or_else(|| Error::UnknownToken(token.to_string()))?
        .try_into()
}
