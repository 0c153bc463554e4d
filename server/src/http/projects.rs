//! Projects: made, weighed, listed.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use motif_proto::access::{ChangeProject, NewProject, ProjectInfo, ProjectList};
use motif_proto::problem::{FieldProblem, Problem};
use serde_json::json;

use super::extract::{Json, Name};
use super::if_match::Revised;
use super::problem::ApiError;
use crate::domain::access::{Actor, Principal};
use crate::domain::revision::Expected;
use crate::error::Error;
use crate::store::Store;

const MAX_WEIGHT: f64 = 1e6;
const MIN_WEIGHT: f64 = 1e-6;

/// List the projects that your token opens.
#[utoipa::path(
    get, path = "/projects", tag = "access", operation_id = "list_projects",
    responses((status = OK, body = ProjectList)),
)]
pub async fn list(State(store): State<Store>, principal: Principal) -> Result<Answer<ProjectList>, ApiError> {
    Ok(Answer(store.list_projects(&principal.projects).await?))
}

/// Make a project.
#[utoipa::path(
    post, path = "/projects", tag = "access", operation_id = "create_project", request_body = NewProject,
    responses(
        (status = CREATED, body = ProjectInfo),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
         description = "`project_exists`"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn create(
    State(store): State<Store>,
    actor: Actor,
    Json(project): Json<NewProject>,
) -> Result<(StatusCode, Answer<ProjectInfo>), ApiError> {
    require_all(&actor.principal)?;
    let mut problems = Vec::new();
    let sound = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if !(1..=64).contains(&project.name.len()) || !project.name.chars().all(sound) {
        problems.push(FieldProblem {
            pointer: "/name".to_owned(),
            detail: format!("`{}` cannot name a project", project.name),
            given: Some(json!(project.name)),
            allowed: Some("1 to 64 letters, digits, dots, underscores and hyphens".to_owned()),
            nearest: None,
        });
    }
    problems.extend(project.weight.and_then(wrong_weight));
    if !problems.is_empty() {
        return Err(ApiError::invalid_fields(problems));
    }
    let created = store.create_project(&project, &actor).await?;
    Ok((StatusCode::CREATED, Answer(created)))
}

/// Show a project.
#[utoipa::path(
    get, path = "/projects/{name}", tag = "access", operation_id = "show_project",
    params(("name" = String, Path, description = "The project")),
    responses(
        (status = OK, body = ProjectInfo),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn show(
    State(store): State<Store>,
    principal: Principal,
    Name(name): Name,
) -> Result<Revised<ProjectInfo>, ApiError> {
    if !principal.projects.contains(&name) {
        return Err(Error::UnknownProject(name).into());
    }
    Ok(Revised(store.find_project(&name).await?))
}

/// Give a project another share of the workers.
#[utoipa::path(
    patch, path = "/projects/{name}", tag = "access", operation_id = "change_project",
    request_body = ChangeProject, params(("name" = String, Path, description = "The project")),
    responses(
        (status = OK, body = ProjectInfo),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn change(
    State(store): State<Store>,
    actor: Actor,
    Name(name): Name,
    expected: Expected,
    Json(change): Json<ChangeProject>,
) -> Result<Revised<ProjectInfo>, ApiError> {
    require_all(&actor.principal)?;
    if let Some(problem) = wrong_weight(change.weight) {
        return Err(ApiError::invalid_fields(vec![problem]));
    }
    let changed = store
        .weigh_project(&name, change.weight, &expected, &actor)
        .await?;
    Ok(Revised(changed))
}

/// Projects share the workers: who sees only some of them has no say in that.
fn require_all(principal: &Principal) -> Result<(), ApiError> {
    if principal.is_admin_of_all() {
        return Ok(());
    }
    let detail = format!(
        "The token `{}` is limited to some projects: this needs one of all",
        principal.name
    );
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "limited_to_projects",
        "Not allowed",
        detail,
    ))
}

fn wrong_weight(weight: f64) -> Option<FieldProblem> {
    (!(MIN_WEIGHT..=MAX_WEIGHT).contains(&weight)).then(|| FieldProblem {
        pointer: "/weight".to_owned(),
        detail: "a project cannot have this share of the workers".to_owned(),
        given: Some(json!(weight)),
        allowed: Some(format!("a number from {MIN_WEIGHT} to {MAX_WEIGHT}")),
        nearest: None,
    })
}
