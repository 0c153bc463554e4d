//! What handlers of the worker's side count: claims, batches of metrics and ends of attempts.

use std::time::Instant;

use axum::http::{HeaderMap, header};
use motif_proto::log::LogBatch;
use motif_proto::metrics::MetricsBatch;
use motif_proto::monitoring::coordinator::{
    ATTEMPTS_ENDED, CLAIM_DURATION, CLAIMS, INGEST_BYTES, INGEST_POINTS, INGEST_REQUESTS, LOG_LINES,
};
use motif_proto::worker::Outcome;

use super::{count, observe};
use crate::error::Error;

/// Counts what became of a worker's claim.
///
/// # Errors
/// Those of the claim.
pub async fn claim<T>(claim: impl Future<Output = Result<Option<T>, Error>>) -> Result<Option<T>, Error> {
    let claimed = claim.await;
    let outcome = match &claimed {
        Ok(Some(_)) => "run",
        Ok(None) => "none",
        Err(error) => refusal(error),
    };
    count(CLAIMS, &[outcome], 1);
    claimed
}

/// Measures one look into the queue, for however many workers.
pub async fn look<T>(look: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let found = look.await;
    observe(CLAIM_DURATION, &[], begun.elapsed());
    found
}

/// Measures the storing of a batch of metrics.
///
/// # Errors
/// Those of the storing.
pub async fn ingest<T>(
    batch: &MetricsBatch,
    headers: &HeaderMap,
    store: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let stored = store.await;
    let outcome = match &stored {
        Ok(_) => "stored",
        Err(error) => refusal(error),
    };
    count(INGEST_REQUESTS, &[outcome], 1);
    if stored.is_ok() {
        let points: usize = batch.series.iter().map(|series| series.steps.len()).sum();
        count(INGEST_POINTS, &[], points as u64);
        let length = headers.get(header::CONTENT_LENGTH);
        let bytes = length.and_then(|length| length.to_str().ok()?.parse().ok());
        count(INGEST_BYTES, &[], bytes.unwrap_or(0));
    }
    stored
}

/// Counts log lines that were taken in.
pub fn logged(batch: &LogBatch) {
    count(LOG_LINES, &[], batch.lines.len() as u64);
}

/// Counts an end that a worker reported.
pub fn attempt_ended(outcome: &Outcome) {
    let outcome = match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Released => "released",
        Outcome::Reached { .. } => "reached",
        Outcome::Failed { failure } => failure.class.as_str(),
    };
    count(ATTEMPTS_ENDED, &[outcome], 1);
}

/// Whose fault it is that something was not done.
fn refusal(error: &Error) -> &'static str {
    match error {
        Error::Storage(_) | Error::Artifacts(_) | Error::Damaged(_) => "failed",
        Error::Shared(error) => refusal(error),
        _ => "refused",
    }
}
