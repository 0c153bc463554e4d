//! What was seen a moment ago serves whoever asks next.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// A look is good for so long.
const FRESH: Duration = Duration::from_secs(2);

/// The last look at something that is dear to look at.
#[derive(Debug)]
pub(crate) struct Glance<T>(Mutex<Option<(Instant, T)>>);

impl<T: Clone> Glance<T> {
    /// What was seen of late, else what `look` sees now. Of those who ask at a time one looks, for all.
    ///
    /// # Errors
    /// Those of `look`; they are not kept.
    pub(crate) async fn or_look<E>(&self, look: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let mut seen = self.0.lock().await;
        if let Some((when, what)) = &*seen
            && when.elapsed() < FRESH
        {
            return Ok(what.clone());
        }
        let what = look.await?;
        *seen = Some((Instant::now(), what.clone()));
        Ok(what)
    }
}

impl<T> Default for Glance<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}
