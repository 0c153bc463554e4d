//! Tokens: made, listed, revoked.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use motif_proto::access::{NewToken, TokenCreated, TokenInfo, TokenList};
use motif_proto::id::TokenId;
use motif_proto::problem::Problem;

use super::extract::{Id, Json};
use super::problem::ApiError;
use crate::access::Access;
use crate::domain::access::{Actor, Principal};
use crate::store::Store;
use crate::tokens;

/// Make a token.
///
/// Its secret is in the answer and is never shown again. Nobody grants more scopes or projects than they have.
#[utoipa::path(
    post, path = "/tokens", tag = "access", operation_id = "create_token", request_body = NewToken,
    responses(
        (status = CREATED, body = TokenCreated),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json",
         description = "`unknown_project`"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
         description = "`token_name_taken`"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn create(
    State(store): State<Store>,
    actor: Actor,
    Json(token): Json<NewToken>,
) -> Result<Response, ApiError> {
    let created: TokenCreated = tokens::create(&store, token, &actor).await?;
    // Not into anybody's cache: it holds the secret.
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, Answer(created)).into_response())
}

/// List the tokens, the newest first.
///
/// Those that open other projects than your own token are left out.
#[utoipa::path(
    get, path = "/tokens", tag = "access", operation_id = "list_tokens",
    responses((status = OK, body = TokenList)),
)]
pub async fn list(State(store): State<Store>, principal: Principal) -> Result<Answer<TokenList>, ApiError> {
    Ok(Answer(store.list_tokens(&principal.projects).await?))
}

/// Revoke a token, and end the sessions that began with it.
///
/// Safe to repeat. It stays in the list.
#[utoipa::path(
    delete, path = "/tokens/{id}", tag = "access", operation_id = "revoke_token",
    params(("id" = TokenId, Path, description = "The token")),
    responses(
        (status = OK, body = TokenInfo),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn revoke(
    State(store): State<Store>,
    State(access): State<Access>,
    actor: Actor,
    Id(token): Id<TokenId>,
) -> Result<Answer<TokenInfo>, ApiError> {
    let revoked = store.revoke_token(token, &actor).await?;
    access.forget();
    Ok(Answer(revoked))
}
