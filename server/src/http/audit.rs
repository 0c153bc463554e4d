//! The audit trail.

#![allow(unused_qualifications, reason = "a macro names the query type in full")]

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use motif_proto::access::AuditList;
use motif_proto::id::TokenId;
use motif_proto::problem::Problem;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::Query;
use super::problem::ApiError;
use crate::domain::access::Principal;
use crate::store::Store;
use crate::store::audit::AuditFilter;

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 500;

/// Which entries to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Only what was done to this: an id, or a project's name.
    subject: Option<String>,
    /// Only these deeds, such as `run.cancel`.
    action: Option<String>,
    /// Only what the holders of this token did.
    token: Option<TokenId>,
    /// Only what was done under this name: a token's, `local` or `console`.
    name: Option<String>,
    /// Only what belongs to this project.
    project: Option<String>,
    /// Only from this time on.
    from: Option<DateTime<Utc>>,
    /// Only before this time.
    to: Option<DateTime<Utc>>,
    /// At most so many entries, 50 where not given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl AuditQuery {
    fn into_filter(self) -> Result<AuditFilter, ApiError> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(ApiError::invalid_query(format!(
                "`limit` is from 1 to {MAX_LIMIT}, not {limit}"
            )));
        }
        let texts = [&self.subject, &self.action, &self.name, &self.project];
        if texts.into_iter().flatten().any(|text| text.contains('\0')) {
            return Err(ApiError::invalid_query("a text cannot have a NUL character"));
        }
        let before = self
            .cursor
            .map(|cursor| cursor.parse())
            .transpose()
            .map_err(|_| {
                ApiError::invalid_query("`cursor` is the `next_cursor` of the page before, given as it is")
            })?;
        Ok(AuditFilter {
            subject: self.subject,
            action: self.action,
            token: self.token,
            name: self.name,
            project: self.project,
            from: self.from,
            to: self.to,
            before,
            limit,
        })
    }
}

/// Who did what, the newest first.
///
/// A token that is limited to projects sees what belongs to them.
#[utoipa::path(
    get, path = "/audit", tag = "access", operation_id = "list_audit", params(AuditQuery),
    responses(
        (status = OK, body = AuditList),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    State(store): State<Store>,
    principal: Principal,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditList>, ApiError> {
    let filter = query.into_filter()?;
    Ok(Json(store.list_audit(&filter, &principal.projects).await?))
}
