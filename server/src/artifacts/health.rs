//! Whether the store takes bytes.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use uuid::Uuid;

use super::{Artifacts, limited_to};
use crate::glance::Glance;

const LIMIT: Duration = Duration::from_secs(2);
/// Bytes of a look. One after an upload that found no room has as many as that had, up to the greatest.
const LOOK_BYTES: u64 = 1024;
const MAX_LOOK_BYTES: u64 = 8 << 20;

/// How the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It takes bytes.
    Good,
    /// It has no room.
    Full,
    /// It does not answer, or refuses us.
    Away,
}

/// What was seen of the store.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Bytes for which there was no room of late; 0 where there is no such news.
    found_no_room_for: AtomicU64,
    looked: Glance<Health>,
}

impl Artifacts {
    /// Notes what a write says about the room that is left.
    pub(super) fn seen<T>(
        &self,
        written: Result<T, object_store::Error>,
        bytes: u64,
    ) -> Result<T, object_store::Error> {
        let watch = &self.watch.found_no_room_for;
        match &written {
            Ok(_) if bytes >= watch.load(Ordering::Relaxed) => watch.store(0, Ordering::Relaxed),
            Err(error) if is_full(error) => {
                tracing::error!(%error, "the artifact store is full");
                watch.store(bytes.max(1), Ordering::Relaxed);
            }
            Ok(_) | Err(_) => {}
        }
        written
    }

    /// Looks whether the store takes bytes, by writing some and deleting them.
    pub async fn health(&self) -> Health {
        let look = async { Ok::<_, Infallible>(self.look().await) };
        let Ok(health) = self.watch.looked.or_look(look).await;
        health
    }

    async fn look(&self) -> Health {
        let wanted = self.watch.found_no_room_for.load(Ordering::Relaxed);
        let bytes = wanted.clamp(LOOK_BYTES, MAX_LOOK_BYTES);
        // Not zeros, which file systems and buckets may pack to nothing; of its own name, as others look too.
        let pattern: Vec<u8> = (0..bytes)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 7) as u8)
            .collect();
        let place = Path::from_iter(["health", &Uuid::now_v7().to_string()]);
        let put = self.store.put(&place, Bytes::from(pattern).into());
        let written = limited_to(LIMIT, put).await;
        let health = match &written {
            Ok(_) => Health::Good,
            Err(error) if is_full(error) => Health::Full,
            Err(error) => {
                tracing::warn!(%error, "the artifact store cannot be used");
                Health::Away
            }
        };
        // Also after a failure, which may have left a part.
        let _ = limited_to(LIMIT, self.store.delete(&place)).await;
        if health == Health::Good {
            self.watch.found_no_room_for.store(0, Ordering::Relaxed);
        }
        health
    }
}

/// Whether the store says that it has no room, in whatever way: the file system's own errors, or what servers of
/// buckets answer.
#[must_use]
pub fn is_full(error: &object_store::Error) -> bool {
    const WORDS: [&str; 4] = [
        "507 Insufficient Storage",
        "XMinioStorageFull",
        "QuotaExceeded",
        "InsufficientCapacity",
    ];
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        let of_disk = error.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        });
        let text = error.to_string();
        if of_disk || WORDS.iter().any(|word| text.contains(word)) {
            return true;
        }
        cause = error.source();
    }
    false
}
