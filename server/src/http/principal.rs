//! Who sends a request, as far as what is kept per sender needs to know.

use axum::http::Extensions;

/// The name under which keys are kept and requests are counted.
pub(super) fn name(_: &Extensions) -> String {
    "local".to_owned()
}
