//! What a call of the API can meet.

use std::error::Error as StdError;
use std::path::PathBuf;

use crate::problem::Problem;

/// Why a call did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address given is no address of a coordinator.
    #[error("`{given}` is not the address of a coordinator: {reason}")]
    InvalidServer {
        /// The address.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The token cannot be sent. It is not repeated here: errors end up in logs.
    #[error("the token holds characters that a token cannot have")]
    InvalidToken,
    /// The coordinator refused, and said why.
    #[error("{}", .problem.detail)]
    Problem {
        /// The HTTP status.
        status: u16,
        /// What it said.
        problem: Box<Problem>,
    },
    /// No answer came, or it broke off.
    #[error("cannot reach the coordinator at {server}: {reason}")]
    Unreachable {
        /// Where it should be.
        server: String,
        /// What happened, down to the system's own words.
        reason: String,
        /// The error beneath, where there is one.
        #[source]
        source: Option<reqwest::Error>,
    },
    /// An answer came that Motif's coordinator does not give.
    #[error("{server} does not answer like a Motif coordinator (status {status}): {reason}")]
    UnexpectedAnswer {
        /// Who answered.
        server: String,
        /// The HTTP status.
        status: u16,
        /// What was not as it should be.
        reason: String,
    },
    /// What was to be sent cannot be written down.
    #[error("cannot be sent: {0}")]
    Unsendable(String),
    /// A file that was to be sent cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl ClientError {
    /// Whether the same call may succeed later: the coordinator is away, overloaded or had a fault of its own.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Problem { status, .. } | Self::UnexpectedAnswer { status, .. } => {
                matches!(status, 408 | 425 | 429 | 500..=599)
            }
            Self::InvalidServer { .. } | Self::InvalidToken | Self::Unsendable(_) | Self::File { .. } => {
                false
            }
        }
    }

    /// The stable word of a problem document, such as `stale_lease`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Problem { problem, .. } => Some(&problem.code),
            Self::InvalidServer { .. }
            | Self::InvalidToken
            | Self::Unreachable { .. }
            | Self::UnexpectedAnswer { .. }
            | Self::Unsendable(_)
            | Self::File { .. } => None,
        }
    }

    pub(super) fn unreachable(server: &str, source: reqwest::Error) -> Self {
        let source = source.without_url();
        let reason = if source.is_timeout() {
            "it did not answer in time".to_owned()
        } else if source.is_body() || source.is_decode() {
            "its answer broke off".to_owned()
        } else {
            root_cause(&source)
        };
        Self::Unreachable {
            server: server.to_owned(),
            reason,
            source: Some(source),
        }
    }

    pub(super) fn silent(server: &str, reason: &str) -> Self {
        Self::Unreachable {
            server: server.to_owned(),
            reason: reason.to_owned(),
            source: None,
        }
    }
}

/// The words of the innermost error: the outer ones only say that a request failed.
fn root_cause(error: &dyn StdError) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
