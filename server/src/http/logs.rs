//! Log lines of runs.

#![allow(unused_qualifications, reason = "a macro names the query type in full")]

use axum::Json;
use axum::extract::State;
use motif_proto::id::RunId;
use motif_proto::log::{LogCursor, LogLevel, RunLogs};
use motif_proto::problem::Problem;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Id, Query};
use super::problem::ApiError;
use crate::domain::log::Filter;
use crate::store::Store;
use crate::store::logs::{LogQuery, Place};

const DEFAULT_LIMIT: usize = 500;
const MAX_LIMIT: usize = 2000;
/// Longest text to search for, in bytes.
const MAX_SEARCH: usize = 200;
/// What stands for the place behind all lines.
const END: &str = "end";

/// Which part of a run's log.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct LogsQuery {
    /// Only lines of this attempt, counted from 1.
    #[param(minimum = 1)]
    attempt: Option<u32>,
    /// Only lines of this level and above.
    level: Option<LogLevel>,
    /// Only lines with this text in them, in whatever case.
    #[param(max_length = 200)]
    search: Option<String>,
    /// Lines behind this place: `after` of an earlier answer.
    after: Option<String>,
    /// Lines before this place: `before` of an earlier answer, or `end` for the newest.
    before: Option<String>,
    /// At most so many lines, 500 where not given.
    #[param(minimum = 1, maximum = 2000)]
    limit: Option<usize>,
}

impl LogsQuery {
    fn into_query(self) -> Result<LogQuery, ApiError> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            let detail = format!("`limit` is from 1 to {MAX_LIMIT}, not {limit}");
            return Err(ApiError::invalid_query(detail));
        }
        if self.attempt == Some(0) {
            return Err(ApiError::invalid_query("`attempt` counts from 1"));
        }
        if self.search.as_ref().is_some_and(|text| text.len() > MAX_SEARCH) {
            let detail = format!("`search` has at most {MAX_SEARCH} bytes");
            return Err(ApiError::invalid_query(detail));
        }
        let cursor = |name: &str, text: &str| -> Result<LogCursor, ApiError> {
            text.parse()
                .map_err(|problem| ApiError::invalid_query(format!("`{name}`: {problem}")))
        };
        let place = match (self.after.as_deref(), self.before.as_deref()) {
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid_query("`after` and `before` exclude each other"));
            }
            (None, Some(END)) => Place::Before(LogCursor::END),
            (None, Some(text)) => Place::Before(cursor("before", text)?),
            (Some(text), None) => Place::After(cursor("after", text)?),
            (None, None) => Place::After(LogCursor::START),
        };
        Ok(LogQuery {
            attempt: self.attempt,
            filter: Filter::new(self.level, self.search.as_deref()),
            place,
            limit,
        })
    }
}

/// The log of a run: what its attempts wrote, in their order.
///
/// Without a place the first page comes; `before=end` gives the newest lines. To follow a log, go on with `after`
/// whenever the run's stream of events tells of `log`. A run keeps 8 MiB of text, and says where older lines are gone.
#[utoipa::path(
    get, path = "/runs/{id}/logs", tag = "runs", operation_id = "run_logs",
    params(("id" = RunId, Path, description = "The run"), LogsQuery),
    responses(
        (status = OK, body = RunLogs),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn of_run(
    State(store): State<Store>,
    Id(run): Id<RunId>,
    Query(query): Query<LogsQuery>,
) -> Result<Json<RunLogs>, ApiError> {
    Ok(Json(store.read_logs(run, &query.into_query()?).await?))
}
