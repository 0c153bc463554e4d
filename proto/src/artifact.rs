//! Artifacts: the files that a run makes beside its checkpoints, such as the table of an evaluation.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{ArtifactId, AttemptId, RunId};

/// Most artifacts of a run.
pub const MAX_ARTIFACTS: usize = 1000;
/// Longest name of an artifact, in bytes.
pub const MAX_ARTIFACT_NAME: usize = 120;

/// The table of an evaluation for programs: what `evaluate` makes.
pub const EVALUATION_JSON: &str = "evaluation.json";
/// The same table for spreadsheets.
pub const EVALUATION_CSV: &str = "evaluation.csv";

/// A file that a run made; its bytes are at `GET /artifacts/{id}/content`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Artifact {
    /// The artifact.
    pub id: ArtifactId,
    /// Whose file.
    pub run: RunId,
    /// The attempt that made it.
    pub attempt: AttemptId,
    /// The file's name, such as `evaluation.json`; unique within the run.
    pub name: String,
    /// SHA-256 of the content, in hex.
    pub sha256: String,
    /// Length of the content.
    pub size_bytes: u64,
    /// When it became durable.
    pub created_at: DateTime<Utc>,
}

/// Answer of `GET /runs/{id}/artifacts`: in the order of the names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ArtifactList {
    /// The artifacts.
    pub artifacts: Vec<Artifact>,
}

/// Whether a file can have this name on every system: letters, digits, `.`, `_`, `-`, no leading dot.
#[must_use]
pub fn is_artifact_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_ARTIFACT_NAME).contains(&name.len()) && name.bytes().all(fits) && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_artifacts_lead_out_of_no_folder() {
        for name in [EVALUATION_JSON, EVALUATION_CSV, "a", "fit-2_b.npz"] {
            assert!(is_artifact_name(name), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            ".hidden",
            "a/b",
            "a\\b",
            "ä",
            "a b",
            &"a".repeat(121),
        ] {
            assert!(!is_artifact_name(name), "{name}");
        }
    }
}
