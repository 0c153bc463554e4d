//! What all lists have in common: the length of a page, and texts to look for.

use super::problem::ApiError;

/// Most entries of a page of any list.
pub const MAX_LIMIT: u32 = 500;

/// The length of a page.
///
/// # Errors
/// It is out of range.
pub fn limit(given: Option<u32>, default: u32) -> Result<u32, ApiError> {
    let limit = given.unwrap_or(default);
    if (1..=MAX_LIMIT).contains(&limit) {
        return Ok(limit);
    }
    let detail = format!("`limit` is from 1 to {MAX_LIMIT}, not {limit}");
    Err(ApiError::invalid_query(detail))
}

/// Sees to it that a text can be compared with what is stored.
///
/// # Errors
/// It has a NUL character, which Postgres cannot hold.
pub fn text_without_nul(text: &str) -> Result<(), ApiError> {
    if text.contains('\0') {
        return Err(ApiError::invalid_query(
            "a text to look for cannot have a NUL character",
        ));
    }
    Ok(())
}
