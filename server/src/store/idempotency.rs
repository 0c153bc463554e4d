//! Requests with an `Idempotency-Key`: carried out once, answered alike however often they come.
//!
//! A request begins by writing its key down. The transaction that has the effect writes the answer beside it with
//! [`record`], so there is no moment in which one is durable without the other. A key whose request never came to an
//! answer is taken over after a while by the next request that has it; should the first one still live, its
//! transaction finds the key in other hands and has no effect.

use std::time::Duration;

use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Result, Store};
use crate::error::Error;

/// How long answers are kept.
pub const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How long a request may take before its key may be taken over: longer than any request lives.
const TAKEN_FOR_DEAD: Duration = Duration::from_secs(60);
/// Rows that are deleted at once.
const BATCH: i64 = 5000;

/// A request that a client may send again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedRequest {
    /// Who sends it: keys of different people are different keys.
    pub principal: String,
    /// The key.
    pub key: String,
    /// Hash of its method, address and body.
    pub sha256: [u8; 32],
}

/// This try at a request with a key.
#[derive(Clone, Debug)]
pub struct Attempt {
    principal: String,
    key: String,
    id: Uuid,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Its media type.
    pub content_type: Option<String>,
    /// Its body.
    pub body: Vec<u8>,
}

/// What to do with a request that has a key.
#[derive(Clone, Debug)]
pub enum Begun {
    /// Carry it out.
    New(Attempt),
    /// It was carried out: answer this.
    Answered(StoredAnswer),
    /// It is being carried out.
    Running,
    /// The key belongs to another request.
    OtherRequest,
}

tokio::task_local! {
    /// The request that is being carried out, where it has a key.
    static CURRENT: Attempt;
}

#[derive(FromRow)]
struct Row {
    request_sha256: Vec<u8>,
    status: Option<i16>,
    content_type: Option<String>,
    body: Option<Vec<u8>>,
}

impl Attempt {
    /// Carries the request out as this try: [`record`] knows it.
    pub async fn carry_out<F: Future>(self, request: F) -> F::Output {
        CURRENT.scope(self, request).await
    }
}

/// Writes the answer beside the key of the request that is being carried out, in the transaction that has its effect.
/// Without a key, nothing happens.
///
/// # Errors
/// [`Error::KeyTakenOver`]: somebody else carries the request out, so the transaction must have no effect.
pub(super) async fn record(
    connection: &mut PgConnection,
    status: u16,
    answer: &impl Serialize,
) -> Result<()> {
    let Ok(attempt) = CURRENT.try_with(Clone::clone) else {
        return Ok(());
    };
    let answer = StoredAnswer {
        status,
        content_type: Some("application/json".to_owned()),
        body: serde_json::to_vec(answer).map_err(|error| Error::Damaged(error.to_string()))?,
    };
    if write(connection, &attempt, &answer).await? {
        Ok(())
    } else {
        Err(Error::KeyTakenOver)
    }
}

/// Whether the key was still in the hands of this try, without an answer.
async fn write(connection: &mut PgConnection, attempt: &Attempt, answer: &StoredAnswer) -> Result<bool> {
    let written = sqlx::query(
        "update idempotency_keys set status = $4, content_type = $5, body = $6
         where principal = $1 and key = $2 and attempt = $3 and status is null",
    )
    .bind(&attempt.principal)
    .bind(&attempt.key)
    .bind(attempt.id)
    .bind(i16::try_from(answer.status).unwrap_or(i16::MAX))
    .bind(&answer.content_type)
    .bind(&answer.body)
    .execute(connection)
    .await?;
    Ok(written.rows_affected() == 1)
}

impl Store {
    /// Begins a request with a key, or says what became of it.
    ///
    /// # Errors
    /// Storage.
    pub async fn begin_request(&self, request: &KeyedRequest) -> Result<Begun> {
        let id = Uuid::now_v7();
        let begun = sqlx::query(
            "insert into idempotency_keys as k (principal, key, request_sha256, attempt) values ($1, $2, $3, $4)
             on conflict on constraint idempotency_keys_pkey do update
             set request_sha256 = excluded.request_sha256, attempt = excluded.attempt, begun_at = now(),
                 status = null, content_type = null, body = null
             where k.begun_at < now() - make_interval(secs => $6)
                or (k.status is null and k.request_sha256 = excluded.request_sha256
                    and k.begun_at < now() - make_interval(secs => $5))",
        )
        .bind(&request.principal)
        .bind(&request.key)
        .bind(request.sha256.as_slice())
        .bind(id)
        .bind(TAKEN_FOR_DEAD.as_secs_f64())
        .bind(KEPT.as_secs_f64())
        .execute(&self.pool)
        .await?;
        if begun.rows_affected() == 1 {
            return Ok(Begun::New(Attempt {
                principal: request.principal.clone(),
                key: request.key.clone(),
                id,
            }));
        }
        let row: Option<Row> = sqlx::query_as(
            "select request_sha256, status, content_type, body from idempotency_keys
             where principal = $1 and key = $2",
        )
        .bind(&request.principal)
        .bind(&request.key)
        .fetch_optional(&self.pool)
        .await?;
        Ok(match row {
            Some(row) if row.request_sha256 != request.sha256 => Begun::OtherRequest,
            Some(Row {
                status: Some(status),
                content_type,
                body: Some(body),
                ..
            }) => Begun::Answered(StoredAnswer {
                status: status.unsigned_abs(),
                content_type,
                body,
            }),
            // Refused in this very moment: the next try carries it out.
            Some(_) | None => Begun::Running,
        })
    }

    /// Keeps the answer of a request that ended, unless the transaction that had its effect did.
    ///
    /// # Errors
    /// Storage.
    pub async fn keep_answer(&self, attempt: &Attempt, answer: &StoredAnswer) -> Result<()> {
        let mut connection = self.pool.acquire().await?;
        write(&mut connection, attempt, answer).await.map(drop)
    }

    /// Forgets a request that had no effect, so that its key is free again.
    ///
    /// # Errors
    /// Storage.
    pub async fn forget_request(&self, attempt: &Attempt) -> Result<()> {
        sqlx::query(
            "delete from idempotency_keys
             where principal = $1 and key = $2 and attempt = $3 and status is null",
        )
        .bind(&attempt.principal)
        .bind(&attempt.key)
        .bind(attempt.id)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Deletes keys that are older than answers are kept. Returns how many, some thousands at most.
    ///
    /// # Errors
    /// Storage.
    pub async fn prune_keys(&self) -> Result<u64> {
        let deleted = sqlx::query(
            "delete from idempotency_keys where (principal, key) in (
                 select principal, key from idempotency_keys
                 where begun_at < now() - make_interval(secs => $1) order by begun_at limit $2)",
        )
        .bind(KEPT.as_secs_f64())
        .bind(BATCH)
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected())
    }
}
