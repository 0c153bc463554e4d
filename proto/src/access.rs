//! Who may do what: tokens, their scopes and projects, sign-in, and the record of who did what.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{SessionId, TokenId};

/// Most characters of a token's name.
pub const MAX_TOKEN_NAME: usize = 100;

/// What a token lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything, tokens and projects included.
    Admin,
    /// Submit, change and cancel, and whatever `read` allows.
    Submit,
    /// Look at runs, curves, checkpoints and workers.
    Read,
    /// The worker's side: claim runs and report on them.
    Worker,
}

impl Scope {
    /// All of them, the strongest first.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Submit, Self::Read, Self::Worker];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Worker => "worker",
        }
    }

    /// Whether this scope allows what `wanted` allows.
    #[must_use]
    pub const fn includes(self, wanted: Self) -> bool {
        match self {
            Self::Admin => true,
            Self::Submit => matches!(wanted, Self::Submit | Self::Read),
            Self::Read => matches!(wanted, Self::Read),
            Self::Worker => matches!(wanted, Self::Worker),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

/// A word that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no scope: admin, submit, read and worker are")]
pub struct UnknownScope(pub String);

/// What a new token is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it is for; people tell tokens apart by it.
    pub name: String,
    /// What it allows; one scope at least.
    pub scopes: Vec<Scope>,
    /// The projects it is limited to; all where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projects: Option<Vec<String>>,
    /// When it ends; never where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenInfo {
    /// Its id, which is no secret.
    pub id: TokenId,
    /// What it is for.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// The projects it is limited to; absent where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projects: Option<Vec<String>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: String,
    /// When it ends, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was used last, to a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<DateTime<Utc>>,
}

impl TokenInfo {
    /// What it allows, in words.
    #[must_use]
    pub fn scopes_in_words(&self) -> String {
        let words: Vec<&str> = self.scopes.iter().map(|scope| scope.as_str()).collect();
        words.join(" ")
    }

    /// The projects that it is limited to, in words.
    #[must_use]
    pub fn projects_in_words(&self) -> String {
        self.projects
            .as_ref()
            .map_or_else(|| "all projects".to_owned(), |names| names.join(" "))
    }

    /// Whether it opens anything, and until when, in words.
    #[must_use]
    pub fn state_in_words(&self, now: DateTime<Utc>) -> String {
        let on = |word: &str, end: DateTime<Utc>| format!("{word} {}", end.format("%Y-%m-%d"));
        match (self.revoked_at, self.expires_at) {
            (Some(end), _) => on("revoked", end),
            (None, Some(end)) if self.is_valid(now) => on("until", end),
            (None, Some(end)) => on("expired", end),
            (None, None) => "valid".to_owned(),
        }
    }

    /// Whether it opens anything at this time.
    #[must_use]
    pub fn is_valid(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| end > now)
    }
}

/// A new token with its secret, which is never shown again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenCreated {
    /// The token.
    #[serde(flatten)]
    pub token: TokenInfo,
    /// What its holder shows: `Authorization: Bearer SECRET`. Only its hash is kept here.
    pub secret: String,
}

impl fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCreated")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// Tokens, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenList {
    /// The tokens.
    pub tokens: Vec<TokenInfo>,
}

/// A token's secret, to sign in a browser with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The secret.
    pub token: String,
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn").finish_non_exhaustive()
    }
}

/// How a request was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// It came from this machine, to a coordinator that serves this machine alone.
    Local,
    /// It showed a token.
    Token,
    /// It came from a browser that had signed in.
    Session,
    /// A command on the coordinator's own machine, directly on the database.
    Console,
}

impl ActorKind {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Token => "token",
            Self::Session => "session",
            Self::Console => "console",
        }
    }
}

/// Who asks, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Me {
    /// How the request was let in.
    pub kind: ActorKind,
    /// Name of the token; `local` without one.
    pub name: String,
    /// The token, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenId>,
    /// What is allowed.
    pub scopes: Vec<Scope>,
    /// The projects that are visible; absent where all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projects: Option<Vec<String>>,
    /// When the session or the token ends, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// What a new project is to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewProject {
    /// 1 to 64 letters, digits, dots, underscores and hyphens.
    pub name: String,
    /// Its share of the workers against the others' weights; 1 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

/// What is to change in a project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeProject {
    /// Its new share of the workers against the others' weights.
    pub weight: f64,
}

/// A project: experiments belong to one, workers are shared fairly between them, tokens can be limited to some.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProjectInfo {
    /// Its name.
    pub name: String,
    /// Its share of the workers against the others' weights.
    pub weight: f64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Projects, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProjectList {
    /// The projects.
    pub projects: Vec<ProjectInfo>,
}

/// One line of the record of who did what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// Its number; later entries have greater ones.
    pub id: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// How whoever did it was let in.
    pub actor: ActorKind,
    /// Name of their token; `local` and `console` without one.
    pub name: String,
    /// Their token, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenId>,
    /// Their browser's session, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// What they did, such as `run.cancel`.
    pub action: String,
    /// What they did it to: an id or a name.
    pub subject: String,
    /// The project it belongs to, where it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Names the request in the coordinator's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What else there is to know.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub details: serde_json::Value,
}

/// A page of the record, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditList {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
