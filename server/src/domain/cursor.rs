//! Cursors: where a page of a list ended, opaque to clients, and bound to the list that it was made for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Longest cursor that is read.
const MAX_CURSOR: usize = 2048;

/// Why a cursor cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCursor {
    /// It was not made here.
    #[error("`cursor` is the `next_cursor` of the page before, given as it is")]
    Unreadable,
    /// It was made for a list of other filters or in another order.
    #[error(
        "`cursor` belongs to a list with other filters or another sort: ask for that list, or begin without a cursor"
    )]
    OtherList,
}

/// What makes a list the one that a cursor belongs to: its name, filters and order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListId([u8; 8]);

impl ListId {
    /// The identity of a list with this name, asked for so.
    #[must_use]
    pub fn of(name: &str, query: &impl Serialize) -> Self {
        // What has no JSON form has the one of null; a query is always plain data.
        let text = serde_json::to_vec(&(name, query)).unwrap_or_default();
        let digest: [u8; 32] = Sha256::digest(text).into();
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        Self(id)
    }
}

/// Writes down a place in the list.
#[must_use]
pub fn write(list: ListId, place: &impl Serialize) -> String {
    let bytes = postcard::to_stdvec(&(list, place)).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a place in this list.
///
/// # Errors
/// [`InvalidCursor`].
pub fn read<P: DeserializeOwned>(list: ListId, cursor: &str) -> Result<P, InvalidCursor> {
    if cursor.len() > MAX_CURSOR {
        return Err(InvalidCursor::Unreadable);
    }
    let bytes = URL_SAFE_NO_PAD
        .decode(cursor)
        .map_err(|_| InvalidCursor::Unreadable)?;
    let (made_for, place) =
        postcard::take_from_bytes::<ListId>(&bytes).map_err(|_| InvalidCursor::Unreadable)?;
    if made_for != list {
        return Err(InvalidCursor::OtherList);
    }
    match postcard::take_from_bytes(place) {
        Ok((place, [])) => Ok(place),
        Ok(_) | Err(_) => Err(InvalidCursor::Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place_in_its_own_list_only() {
        let (list, other) = (ListId::of("runs", &["a"]), ListId::of("runs", &["b"]));
        let cursor = write(list, &(7_i64, "x"));
        assert_eq!(read::<(i64, String)>(list, &cursor), Ok((7, "x".to_owned())));
        assert_eq!(
            read::<(i64, String)>(other, &cursor),
            Err(InvalidCursor::OtherList)
        );
        for wrong in [
            "",
            "x",
            "ä",
            "AAAA",
            &cursor[..cursor.len() - 1],
            &"A".repeat(5000),
        ] {
            assert!(read::<(i64, String)>(list, wrong).is_err(), "{wrong}");
        }
        let longer = write(list, &(7_i64, "x", 1_u8));
        assert_eq!(
            read::<(i64, String)>(list, &longer),
            Err(InvalidCursor::Unreadable)
        );
    }
}
