//! The error document of RFC 9457, `application/problem+json`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was refused. Branch on `code`, show `detail`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Where the kind of problem is explained: `/docs/problems#` and its code.
    #[serde(rename = "type", default = "about_blank")]
    pub kind: String,
    /// The kind of problem in a few words; the same for every occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time and what would be right.
    pub detail: String,
    /// A stable word to branch on, such as `invalid_spec` or `stale_lease`.
    pub code: String,
    /// Names the request in the coordinator's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Every field that is wrong, for a document that was refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
}

fn about_blank() -> String {
    "about:blank".to_owned()
}

/// A kind of problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProblemKind {
    /// The word to branch on.
    pub code: String,
    /// The HTTP status that it comes with.
    pub status: u16,
    /// The kind in a few words.
    pub title: String,
    /// When it happens and what to do.
    pub meaning: String,
}

/// Answer of `GET /problems`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProblemList {
    /// By status, then by code.
    pub problems: Vec<ProblemKind>,
}

/// One field of a document that cannot be accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldProblem {
    /// JSON pointer (RFC 6901) to the field, such as `/network/hidden`.
    pub pointer: String,
    /// What is wrong, as a sentence.
    pub detail: String,
    /// What was given; absent where something is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Value>,
    /// What would be accepted, such as `an integer from 1 to 4096`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
    /// The known name nearest to the one given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
}
