//! Whether a coordinator can work.

use serde::{Deserialize, Serialize};

/// Answer of `GET /readyz` with status 200.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Readiness {
    /// What a coordinator needs: `database`, `migrations`, `artifacts`.
    pub components: Vec<Component>,
}

/// One thing that a coordinator needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Component {
    /// Which.
    pub name: String,
    /// How it is.
    pub state: ComponentState,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// How a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ComponentState {
    /// It works.
    Good,
    /// It has no room left.
    Full,
    /// It does not answer, or not as it should.
    Away,
    /// Nobody can tell while another one is away.
    Unknown,
}

impl Readiness {
    /// Whether everything works.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.components
            .iter()
            .all(|component| component.state == ComponentState::Good)
    }
}
