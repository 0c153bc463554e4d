//! Studies: submission, lists, details, cancellation; and the lineage of runs.

#![allow(unused_qualifications, reason = "a macro names the query type in full")]

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use motif_proto::id::{RunId, StudyId};
use motif_proto::problem::Problem;
use motif_proto::study::{Lineage, StudyDetail, StudyList};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Document, Id, Query};
use super::problem::ApiError;
use crate::domain::access::{Actor, Principal, Projects};
use crate::store::Store;
use crate::store::studies::StudyFilter;
use crate::submission::{self, Refusal};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// Which studies to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only studies of this project.
    project: Option<String>,
    /// Only studies with this tag; may be repeated, and then all are needed.
    #[serde(default)]
    tag: Vec<String>,
    /// At most so many, 50 where not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl ListQuery {
    fn into_filter(self, projects: Projects) -> Result<StudyFilter, ApiError> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(ApiError::invalid_query(format!(
                "`limit` is from 1 to {MAX_LIMIT}, not {limit}"
            )));
        }
        if self
            .project
            .iter()
            .chain(&self.tag)
            .any(|text| text.contains('\0'))
        {
            return Err(ApiError::invalid_query(
                "`project` and `tag` cannot have a NUL character",
            ));
        }
        let cursor = self.cursor.map(|cursor| cursor.parse());
        let before = cursor.transpose().map_err(|_| {
            ApiError::invalid_query("`cursor` is the `next_cursor` of the page before, given as it is")
        })?;
        Ok(StudyFilter {
            project: self.project,
            projects,
            tags: self.tag,
            before,
            limit,
        })
    }
}

/// Submit a study: experiments that hang together, as one.
///
/// The body is JSON or, as `application/toml`, TOML: a `name`, and `experiments`, each an `id` and the fields of a
/// spec. `base = "ID"` starts from the network of another of them, `after = ["ID"]` only waits for it; `seeds` makes
/// a run for each seed, `sweep` for each point of a search. It is accepted whole, or refused whole with every
/// mistake of every experiment.
#[utoipa::path(
    post, path = "/studies", tag = "studies", operation_id = "submit_study",
    request_body(content(
        (serde_json::Value = "application/json"),
        (String = "application/toml"),
    )),
    responses(
        (status = CREATED, body = StudyDetail, description = "Its runs are queued, or wait for others of it"),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = PAYLOAD_TOO_LARGE, body = Problem, content_type = "application/problem+json"),
        (status = UNSUPPORTED_MEDIA_TYPE, body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json",
         description = "`errors` names every field that is wrong, such as `/experiments/3/training/batches`"),
    ),
)]
pub async fn submit(
    State(store): State<Store>,
    actor: Actor,
    Document(document): Document,
) -> Result<(StatusCode, Json<StudyDetail>), ApiError> {
    match submission::submit_study(&store, document, &actor).await {
        Ok(study) => Ok((StatusCode::CREATED, Json(study))),
        Err(Refusal::Invalid(problems)) => Err(ApiError::invalid_spec(problems)),
        Err(Refusal::Failed(error)) => Err(error.into()),
    }
}

/// List studies, newest first.
#[utoipa::path(
    get, path = "/studies", tag = "studies", operation_id = "list_studies", params(ListQuery),
    responses(
        (status = OK, body = StudyList),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    State(store): State<Store>,
    principal: Principal,
    Query(query): Query<ListQuery>,
) -> Result<Json<StudyList>, ApiError> {
    Ok(Json(
        store
            .list_studies(&query.into_filter(principal.projects.clone())?)
            .await?,
    ))
}

/// A study with its experiments and their runs.
#[utoipa::path(
    get, path = "/studies/{id}", tag = "studies", operation_id = "show_study",
    params(("id" = StudyId, Path, description = "The study")),
    responses(
        (status = OK, body = StudyDetail),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn show(State(store): State<Store>, Id(study): Id<StudyId>) -> Result<Json<StudyDetail>, ApiError> {
    Ok(Json(store.study_detail(study).await?))
}

/// Cancel every run of a study that has not ended.
///
/// Safe to repeat. Runs that ended stay as they are.
#[utoipa::path(
    post, path = "/studies/{id}/cancel", tag = "studies", operation_id = "cancel_study",
    params(("id" = StudyId, Path, description = "The study")),
    responses(
        (status = OK, body = StudyDetail),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn cancel(
    State(store): State<Store>,
    actor: Actor,
    Id(study): Id<StudyId>,
) -> Result<Json<StudyDetail>, ApiError> {
    Ok(Json(store.cancel_study(study, &actor).await?))
}

/// Delete a study with all its runs, or nothing of it.
///
/// Study and runs are gone when the answer comes; points, files and logs go in the background. Its runs have to have
/// ended (409, `run_not_ended`), and no run outside may start from them (409, `run_in_use`, naming some). Safe to repeat.
#[utoipa::path(
    delete, path = "/studies/{id}", tag = "studies", operation_id = "delete_study",
    params(("id" = StudyId, Path, description = "The study")),
    responses(
        (status = ACCEPTED, description = "It is gone, and its data goes"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
         description = "`run_not_ended` or `run_in_use`"),
    ),
)]
pub async fn delete(
    State(store): State<Store>,
    actor: Actor,
    Id(study): Id<StudyId>,
) -> Result<StatusCode, ApiError> {
    store.delete_study(study, &actor).await?;
    Ok(StatusCode::ACCEPTED)
}

/// What a run came from and what came from it, with the checkpoints in between.
#[utoipa::path(
    get, path = "/runs/{id}/lineage", tag = "runs", operation_id = "run_lineage",
    params(("id" = RunId, Path, description = "The run")),
    responses(
        (status = OK, body = Lineage),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn lineage(
    State(store): State<Store>,
    principal: Principal,
    Id(run): Id<RunId>,
) -> Result<Json<Lineage>, ApiError> {
    Ok(Json(store.lineage(run, &principal.projects).await?))
}
