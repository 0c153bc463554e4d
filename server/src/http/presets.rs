//! The named experiments.

use axum::Json;
use motif_proto::spec::preset::{PresetInfo, PresetList};

/// List the named experiments, each with its whole spec.
#[utoipa::path(
    get, path = "/presets", tag = "runs", operation_id = "list_presets",
    responses((status = OK, body = PresetList)),
)]
pub async fn list() -> Json<PresetList> {
    Json(PresetList {
        presets: PresetInfo::all(),
    })
}
