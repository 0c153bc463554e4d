//! Who may do what and who did what: tokens and the audit trail.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::Serialize;

use super::{Client, ClientError};
use crate::access::{AuditList, NewToken, TokenCreated, TokenInfo, TokenList};
use crate::id::TokenId;

/// Which entries of the audit trail are wanted; everything that is absent lets all through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditQuery {
    /// Only what was done to this: an id, or a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Only these deeds, such as `run.cancel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Only what the holders of this token did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenId>,
    /// Only what was done under this name: a token's, `local` or `console`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only what belongs to this project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Only from this time on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// Only before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<DateTime<Utc>>,
    /// Length of one page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl Client {
    /// The tokens, the newest first.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, ClientError> {
        Ok(self.get::<TokenList>(&["tokens"]).await?.tokens)
    }

    /// Makes a token. Its secret is in the answer and nowhere else.
    ///
    /// # Errors
    /// Problems with the codes `token_name_taken`, `unknown_project` and `invalid_body`.
    pub async fn create_token(&self, token: &NewToken) -> Result<TokenCreated, ClientError> {
        self.post(&["tokens"], token).await
    }

    /// Revokes a token and ends the sessions that began with it. Safe to repeat.
    ///
    /// # Errors
    /// A problem with status 404 where there is no such token.
    pub async fn revoke_token(&self, token: TokenId) -> Result<TokenInfo, ClientError> {
        self.json(self.request(Method::DELETE, &["tokens", &token.to_string()]))
            .await
    }

    /// A page of the record of who did what, the newest first.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub async fn audit(&self, query: &AuditQuery) -> Result<AuditList, ClientError> {
        self.json(self.request(Method::GET, &["audit"]).query(query))
            .await
    }
}
