//! Finds out who is behind the secret that a request shows.
//!
//! What was found is kept for a few seconds, so that a worker's stream of reports costs no look-up each. A token
//! or session that ends is told to every coordinator through `NOTIFY`, and is forgotten here at once; should a
//! notice get lost, it is forgotten within [`KEPT`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::Utc;
use tokio_util::sync::CancellationToken;

use crate::domain::access::Principal;
use crate::domain::secret::{self, Hash};
use crate::error::Error;
use crate::signals::Signals;
use crate::store::Store;

/// How long what was found is kept.
pub const KEPT: Duration = Duration::from_secs(5);
/// Most holders that are kept at once.
const MOST_KEPT: usize = 10_000;
/// How often a stream asks whether its holder may still see it, should a notice be lost.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// The way from secrets to their holders; cheap to clone.
#[derive(Clone, Debug)]
pub struct Access {
    store: Store,
    signals: Signals,
    known: Arc<Mutex<HashMap<Hash, Known>>>,
}

#[derive(Debug)]
struct Known {
    holder: Principal,
    secret: Shown,
    until: Instant,
}

/// A secret that somebody showed, as its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A token.
    Token(Hash),
    /// A session's secret.
    Session(Hash),
}

impl Shown {
    /// What was shown as a token, if it can be one.
    #[must_use]
    pub fn token(text: &str) -> Option<Self> {
        secret::recognise(text, secret::TOKEN).map(Self::Token)
    }

    /// What was shown as a session's secret, if it can be one.
    #[must_use]
    pub fn session(text: &str) -> Option<Self> {
        secret::recognise(text, secret::SESSION).map(Self::Session)
    }

    const fn hash(self) -> Hash {
        match self {
            Self::Token(hash) | Self::Session(hash) => hash,
        }
    }
}

impl Access {
    /// Over this store.
    #[must_use]
    pub fn new(store: Store, signals: Signals) -> Self {
        Self {
            store,
            signals,
            known: Arc::default(),
        }
    }

    /// Whose secret this is, if it opens anything.
    ///
    /// # Errors
    /// Storage.
    pub async fn holder(&self, shown: Shown) -> Result<Option<Principal>, Error> {
        if let Some(holder) = self.remembered(shown) {
            return Ok(Some(holder));
        }
        let holder = match shown {
            Shown::Token(hash) => self.store.holder_of_token(&hash).await?,
            Shown::Session(hash) => self.store.holder_of_session(&hash).await?,
        };
        if let Some(holder) = &holder {
            self.remember(shown, holder);
        }
        Ok(holder)
    }

    fn remembered(&self, shown: Shown) -> Option<Principal> {
        let known = self.known();
        let known = known.get(&shown.hash())?;
        let ended = known.holder.expires_at.is_some_and(|end| end <= Utc::now());
        (known.secret == shown && known.until > Instant::now() && !ended).then(|| known.holder.clone())
    }

    fn remember(&self, shown: Shown, holder: &Principal) {
        let mut known = self.known();
        if known.len() >= MOST_KEPT {
            let now = Instant::now();
            known.retain(|_, known| known.until > now);
            if known.len() >= MOST_KEPT {
                known.clear();
            }
        }
        let entry = Known {
            holder: holder.clone(),
            secret: shown,
            until: Instant::now() + KEPT,
        };
        known.insert(shown.hash(), entry);
    }

    /// Forgets everybody, as somebody may do less than before.
    pub fn forget(&self) {
        self.known().clear();
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Hash, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everybody whenever a token or a session ends, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut news = self.signals.access();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                heard = news.changed() => if heard.is_err() {
                    return;
                },
            }
            self.forget();
        }
    }

    /// Waits until what this holder showed opens nothing any more: their streams end then.
    pub async fn ended(&self, holder: &Principal) {
        let Some(token) = holder.token else {
            return std::future::pending().await;
        };
        let mut news = self.signals.access();
        loop {
            // Whether there is news or not, the next look tells.
            let _ = tokio::time::timeout(ASK_AGAIN, news.changed()).await;
            // While the database is away nobody learns anything from the stream either.
            if matches!(self.store.is_valid(token, holder.session).await, Ok(false)) {
                return;
            }
        }
    }
}
