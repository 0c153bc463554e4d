//! Makes tokens, for the API and for the command alike.

use chrono::Utc;
use motif_proto::access::{MAX_TOKEN_NAME, NewToken, TokenCreated};
use motif_proto::problem::FieldProblem;
use serde_json::json;

use crate::domain::access::{Actor, Projects};
use crate::domain::secret::{self, Secret};
use crate::error::Error;
use crate::store::Store;

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// What was asked for is wrong in these places.
    #[error("the token cannot be made")]
    Invalid(Vec<FieldProblem>),
    /// It could not be stored.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Makes a token; the secret in the answer is not kept anywhere.
///
/// # Errors
/// [`Refusal`].
pub async fn create(store: &Store, mut token: NewToken, actor: &Actor) -> Result<TokenCreated, Refusal> {
    token.name = token.name.trim().to_owned();
    token.scopes.sort_unstable();
    token.scopes.dedup();
    let problems = problems(&token, actor);
    if !problems.is_empty() {
        return Err(Refusal::Invalid(problems));
    }
    let secret = Secret::new(secret::TOKEN).map_err(Error::from)?;
    let info = store.create_token(&token, &secret.hash(), actor).await?;
    tracing::info!(token.id = %info.id, token.name = %info.name, "a token was made");
    Ok(TokenCreated {
        token: info,
        secret: secret.expose().to_owned(),
    })
}

fn problems(token: &NewToken, actor: &Actor) -> Vec<FieldProblem> {
    let mut problems = Vec::new();
    let mut add = |pointer: &str, detail: &str, given: serde_json::Value, allowed: &str| {
        problems.push(FieldProblem {
            pointer: pointer.to_owned(),
            detail: detail.to_owned(),
            given: Some(given),
            allowed: Some(allowed.to_owned()),
            nearest: None,
        });
    };
    let length = token.name.chars().count();
    if !(1..=MAX_TOKEN_NAME).contains(&length) || token.name.chars().any(char::is_control) {
        let allowed = format!("1 to {MAX_TOKEN_NAME} characters, no control characters");
        add(
            "/name",
            "a token needs a name that tells it from others",
            json!(token.name),
            &allowed,
        );
    }
    if token.scopes.is_empty() {
        add(
            "/scopes",
            "a token needs a scope",
            json!([]),
            "admin, submit, read, worker",
        );
    }
    if let Some(projects) = &token.projects
        && !(1..=100).contains(&projects.len())
    {
        let detail = "leave `projects` out for a token of all projects";
        add("/projects", detail, json!(projects), "1 to 100 projects");
    }
    if let Some(end) = token.expires_at.filter(|end| *end <= Utc::now()) {
        add(
            "/expires_at",
            "a token cannot end before it begins",
            json!(end),
            "a time to come",
        );
    }
    let projects = Projects::from(token.projects.clone());
    if !actor.principal.may_grant(&token.scopes, &projects) {
        let detail = "nobody grants more than they have";
        let allowed = actor
            .principal
            .projects
            .filter()
            .map_or_else(String::new, |names| names.join(", "));
        add("/projects", detail, json!(token.projects), &allowed);
    }
    problems
}
