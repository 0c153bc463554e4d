//! Whether what is about to be changed still is what whoever changes it saw.
//!
//! Most of what is said of a run moves with every batch, and no change overwrites any of that. So it is the fields
//! that a change sets which are compared, by their hash.

use motif_proto::access::{ChangeProject, ProjectInfo};
use motif_proto::run::{RunChange, RunDetail};
use motif_proto::webhook::{ChangeWebhook, WebhookInfo};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::Error;

/// Bytes of the hash.
const BYTES: usize = 8;

/// The fields that a change can set, as a word: the same as long as they are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(String);

impl Revision {
    /// The revision that a word names.
    #[must_use]
    pub fn named(word: &str) -> Self {
        Self(word.to_owned())
    }

    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hash of the change that would set all fields as they are.
    fn of(change: &impl Serialize) -> Self {
        let text = serde_json::to_vec(change)
            .unwrap_or_else(|error| unreachable!("a change has only JSON values: {error}"));
        let hash = Sha256::digest(text);
        Self(
            hash.iter()
                .take(BYTES)
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        )
    }
}

/// Something that clients change.
pub trait Editable {
    /// The fields of it that a change can set.
    fn revision(&self) -> Revision;
}

/// The change that sets every field.
impl Editable for RunChange {
    fn revision(&self) -> Revision {
        Revision::of(self)
    }
}

impl Editable for RunDetail {
    fn revision(&self) -> Revision {
        let change = RunChange {
            name: Some(self.summary.name.clone()),
            tags: Some(self.summary.tags.clone()),
            notes: Some(self.notes.clone()),
            priority: Some(self.summary.priority),
        };
        change.revision()
    }
}

impl Editable for ProjectInfo {
    fn revision(&self) -> Revision {
        Revision::of(&ChangeProject { weight: self.weight })
    }
}

impl Editable for WebhookInfo {
    fn revision(&self) -> Revision {
        Revision::of(&ChangeWebhook {
            url: Some(self.url.clone()),
            events: Some(self.events.clone()),
            active: Some(self.active),
        })
    }
}

/// What a change is meant for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is there.
    #[default]
    Anything,
    /// One of these revisions.
    OneOf(Vec<Revision>),
}

impl Expected {
    /// Sees to it that this is what the change is meant for.
    ///
    /// # Errors
    /// [`Error::ChangedMeanwhile`].
    pub fn require(&self, found: &impl Editable) -> Result<(), Error> {
        match self {
            Self::OneOf(revisions) if !revisions.contains(&found.revision()) => Err(Error::ChangedMeanwhile),
            Self::OneOf(_) | Self::Anything => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_made_to_what_it_is_meant_for() {
        let seen = ChangeProject { weight: 1.0 };
        let (first, other) = (Revision::of(&seen), Revision::of(&ChangeProject { weight: 2.0 }));
        assert_ne!(first, other);
        let found = RunChange {
            name: Some("arm".to_owned()),
            ..RunChange::default()
        };
        let expected = |revisions| Expected::OneOf(revisions).require(&found);
        assert!(Expected::Anything.require(&found).is_ok());
        assert!(expected(vec![first.clone(), found.revision()]).is_ok());
        assert!(matches!(expected(vec![first]), Err(Error::ChangedMeanwhile)));
        assert!(matches!(expected(Vec::new()), Err(Error::ChangedMeanwhile)));
    }
}
