//! Background tasks: how long a turn takes, and when one last succeeded.

use std::time::{Instant, SystemTime};

use motif_proto::monitoring::coordinator::{TASK_DURATION, TASK_LAST_SUCCESS, TASK_TURNS};
use tracing::Instrument;

use super::{count, observe, set};

/// Carries out one turn of a task, measured and within a span of its own.
///
/// # Errors
/// Those of the turn.
pub async fn turn<T, E>(task: &'static str, turn: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let begun = Instant::now();
    let done = turn.instrument(tracing::debug_span!("task", task)).await;
    observe(TASK_DURATION, &[task], begun.elapsed());
    let outcome = if done.is_ok() { "ok" } else { "failed" };
    count(TASK_TURNS, &[task, outcome], 1);
    if done.is_ok() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        set(TASK_LAST_SUCCESS, &[task], now.unwrap_or_default().as_secs_f64());
    }
    done
}
