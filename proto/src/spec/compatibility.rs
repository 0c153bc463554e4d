//! `[compatibility]`: what the original program did otherwise, brought back where published results depend on it.

use serde::{Deserialize, Serialize};

use super::is_default;
use super::read::Table;

/// Quirks of the original that an experiment may ask for; all off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CompatibilitySpec {
    /// The two motifs of a composable pair get directions of their own, so that the path jumps in the middle.
    #[serde(default, skip_serializing_if = "is_default")]
    pub independent_composable_directions: bool,
    /// Masks, sparsity and signs act only where the network is constrained.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ignore_masks: bool,
}

impl CompatibilitySpec {
    pub(super) fn read(table: &mut Table<'_>) -> Self {
        Self {
            independent_composable_directions: table.flag("independent_composable_directions", false),
            ignore_masks: table.flag("ignore_masks", false),
        }
    }
}
