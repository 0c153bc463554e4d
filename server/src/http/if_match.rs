//! `If-Match`: a change is made only to what its sender saw.

use std::convert::Infallible;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::revision::{Editable, Expected, Revision};

/// What stands between the hash of an answer and the revision in its tag.
const SEPARATOR: char = '.';

/// An answer about something that clients change: its tag ends with the revision.
pub struct Revised<T>(pub T);

impl<T: Editable + Serialize> IntoResponse for Revised<T> {
    fn into_response(self) -> Response {
        let revision = self.0.revision();
        let mut response = Json(self.0).into_response();
        response.extensions_mut().insert(revision);
        response
    }
}

/// The tag, without its quotes, of an answer with this hash.
pub(super) fn with_revision(hash: &str, revision: &Revision) -> String {
    format!("{hash}{SEPARATOR}{}", revision.as_str())
}

impl<S: Sync> FromRequestParts<S> for Expected {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        if !parts.headers.contains_key(header::IF_MATCH) {
            return Ok(Self::Anything);
        }
        let lists = parts.headers.get_all(header::IF_MATCH).iter();
        let tags: Vec<&str> = lists
            .filter_map(|list| list.to_str().ok())
            .flat_map(|list| list.split(',').map(str::trim))
            .collect();
        if tags.contains(&"*") {
            return Ok(Self::Anything);
        }
        Ok(Self::OneOf(tags.into_iter().filter_map(revision_in).collect()))
    }
}

/// What a tag says of the fields that a change sets. A weak tag says too little.
fn revision_in(tag: &str) -> Option<Revision> {
    let tag = tag.strip_prefix('"')?.strip_suffix('"')?;
    let (_, revision) = tag.rsplit_once(SEPARATOR)?;
    Some(Revision::named(revision))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    async fn expected(headers: &[&str]) -> Expected {
        let mut request = Request::patch("/");
        for value in headers {
            request = request.header(header::IF_MATCH, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        Expected::from_request_parts(&mut parts, &()).await.unwrap()
    }

    #[tokio::test]
    async fn tags_name_the_revisions_that_a_change_is_meant_for() {
        let one_of =
            |words: &[&str]| Expected::OneOf(words.iter().map(|word| Revision::named(word)).collect());
        assert_eq!(expected(&[]).await, Expected::Anything);
        assert_eq!(expected(&["*"]).await, Expected::Anything);
        assert_eq!(expected(&["\"a.b\""]).await, one_of(&["b"]));
        assert_eq!(
            expected(&["\"a.b\", \"c.d\"", "\"e.f\""]).await,
            one_of(&["b", "d", "f"])
        );
        for nothing in ["", "a.b", "W/\"a.b\"", "\"a\"", "\""] {
            assert_eq!(expected(&[nothing]).await, one_of(&[]), "{nothing}");
        }
    }
}
