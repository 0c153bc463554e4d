//! The list of runs.

#![allow(unused_qualifications, reason = "a macro names the query type in full")]

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use motif_proto::id::StudyId;
use motif_proto::problem::Problem;
use motif_proto::run::{RunList, RunState};
use motif_proto::spec::ExperimentKind;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::Query;
use super::page::{self, text_without_nul};
use super::problem::ApiError;
use crate::domain::access::Principal;
use crate::domain::listing::{Condition, MAX_CONDITIONS, RunFilter, Sort};
use crate::store::Store;
use crate::store::run_list::RunQuery;

const DEFAULT_LIMIT: u32 = 50;

/// Which runs to list, and in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only runs in this state; may be repeated.
    #[serde(default)]
    state: Vec<RunState>,
    /// Only runs of this kind; may be repeated.
    #[serde(default)]
    kind: Vec<ExperimentKind>,
    /// Only runs of this project; may be repeated.
    #[serde(default)]
    project: Vec<String>,
    /// Only runs of this study.
    study: Option<StudyId>,
    /// Only runs of this preset; may be repeated.
    #[serde(default)]
    preset: Vec<String>,
    /// Only runs with this tag; may be repeated, and then all are needed.
    #[serde(default)]
    tag: Vec<String>,
    /// Only runs with this in their name, preset or id, whatever the case.
    q: Option<String>,
    /// Only runs that the worker of this name or id holds or held.
    worker: Option<String>,
    /// Only runs submitted at this time or later.
    created_from: Option<DateTime<Utc>>,
    /// Only runs submitted before this time.
    created_to: Option<DateTime<Utc>>,
    /// Only runs that ended at this time or later.
    finished_from: Option<DateTime<Utc>>,
    /// Only runs that ended before this time.
    finished_to: Option<DateTime<Utc>>,
    /// Only runs that fulfil this condition, such as `best_validation<0.05`, `network.hidden>=128` or
    /// `network.activation=relu`; may be repeated. Fields: `best_validation`, `last_validation`, `last_loss`,
    /// `last:SERIES` and `min:SERIES` of any series, `seed`, `priority`, `attempts`, `batches_done`, `duration` in
    /// seconds, `network.kind`, `network.hidden`, `network.activation`, `training.batches`, `training.batch_size`,
    /// `training.learning_rate`.
    #[serde(default)]
    #[param(example = json!(["best_validation<0.05"]))]
    r#where: Vec<String>,
    /// The order: `created`, `updated`, `finished`, `name`, `priority`, `duration`, `best_validation`,
    /// `last_validation`, `last_loss`, `last:SERIES` or `min:SERIES`; with `-` before it the greatest comes first.
    /// `-created` where not given. Runs without the value come last.
    #[param(example = "best_validation")]
    sort: Option<String>,
    /// Whether to say how many runs all pages have together.
    #[serde(default)]
    total: bool,
    /// At most so many runs, 50 where not given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl ListQuery {
    fn into_query(self, principal: &Principal) -> Result<RunQuery, ApiError> {
        if self.r#where.len() > MAX_CONDITIONS {
            let detail = format!("`where` may be repeated {MAX_CONDITIONS} times");
            return Err(ApiError::invalid_query(detail));
        }
        let texts = [&self.q, &self.worker].into_iter().flatten();
        let lists = self.tag.iter().chain(&self.project).chain(&self.preset);
        for text in texts.chain(lists) {
            text_without_nul(text)?;
        }
        let conditions = self.r#where.iter().map(|text| Condition::parse(text));
        let sort = self.sort.as_deref().map(Sort::parse).transpose();
        Ok(RunQuery {
            filter: RunFilter {
                states: self.state,
                kinds: self.kind,
                projects: self.project,
                visible: principal.projects.filter().map(<[String]>::to_vec),
                study: self.study,
                presets: self.preset,
                tags: self.tag,
                text: self.q.filter(|text| !text.is_empty()),
                worker: self.worker.filter(|worker| !worker.is_empty()),
                created_from: self.created_from,
                created_to: self.created_to,
                finished_from: self.finished_from,
                finished_to: self.finished_to,
                conditions: conditions
                    .collect::<Result<_, _>>()
                    .map_err(ApiError::invalid_query)?,
            },
            sort: sort.map_err(ApiError::invalid_query)?.unwrap_or_default(),
            limit: page::limit(self.limit, DEFAULT_LIMIT)?,
            cursor: self.cursor,
            total: self.total,
        })
    }
}

/// List runs, filtered and sorted, newest first where nothing else is asked for.
#[utoipa::path(
    get, path = "/runs", tag = "runs", operation_id = "list_runs", params(ListQuery),
    responses(
        (status = OK, body = RunList),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json",
         description = "`invalid_query`, or `invalid_cursor` where the cursor is of another list"),
    ),
)]
pub async fn list(
    State(store): State<Store>,
    principal: Principal,
    Query(query): Query<ListQuery>,
) -> Result<Json<RunList>, ApiError> {
    Ok(Json(store.list_runs(&query.into_query(&principal)?).await?))
}
