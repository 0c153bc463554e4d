//! Identifiers. Every one is a UUID of version 7, so ids sort by the time they were made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new identifier, later than every one made before it.
            #[must_use]
            #[allow(clippy::new_without_default, reason = "an id has no natural default value")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

id! {
    /// What was asked for: a spec, its seed and its place in a study.
    ExperimentId
}
id! {
    /// The execution of an experiment: one curve.
    RunId
}
id! {
    /// One worker's try at a run.
    AttemptId
}
id! {
    /// A daemon that runs attempts.
    WorkerId
}
id! {
    /// A stored state of a network.
    CheckpointId
}
id! {
    /// A file that a run made.
    ArtifactId
}
id! {
    /// A large file that comes in parts.
    UploadId
}
id! {
    /// A token, not its secret.
    TokenId
}
id! {
    /// A browser that signed in with a token.
    SessionId
}
id! {
    /// Somebody who wants to be told.
    WebhookId
}
id! {
    /// Something that a webhook is told.
    DeliveryId
}
id! {
    /// Experiments that were submitted together.
    StudyId
}

/// Grows with every attempt at a run. A write with any but the newest is refused and changes nothing, so a
/// worker that was thought dead can do no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct FencingToken(pub i64);

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
