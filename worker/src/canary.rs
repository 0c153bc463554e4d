//! Runs the [canary](motif_proto::canary): on the worker's own engine and device, anew each time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use motif_proto::canary::{self, CanaryReport};
use motif_proto::metrics::Measured;
use motif_proto::run::Failure;

use crate::engine::{Engine, failure_of_panic};

/// A device that has not answered after this time will not do.
const LIMIT: Duration = Duration::from_secs(20);

/// Trains the canary on a thread of its own and says what it gave.
pub async fn report(engine: Arc<dyn Engine>) -> CanaryReport {
    let begun = Instant::now();
    let (tell, told) = tokio::sync::oneshot::channel();
    let spawned = std::thread::Builder::new()
        .name("canary".to_owned())
        .spawn(move || {
            let trained = catch_unwind(AssertUnwindSafe(|| train(engine.as_ref())))
                .unwrap_or_else(|panic| Err(failure_of_panic(panic.as_ref())));
            // Nobody may wait any more.
            let _ = tell.send(trained);
        });
    let trained = match spawned {
        Err(error) => Err(format!("cannot start a thread: {error}")),
        Ok(_) => match tokio::time::timeout(LIMIT, told).await {
            Ok(Ok(trained)) => trained.map_err(|failure| failure.message),
            Ok(Err(_)) => Err("its thread ended without a word".to_owned()),
            Err(_) => Err(format!("it did not end within {LIMIT:?}")),
        },
    };
    let seconds = begun.elapsed().as_secs_f64();
    let (batches, error) = match trained {
        Ok(batches) => (batches, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let (losses, grad_norms) = batches.into_iter().unzip();
    let report = CanaryReport {
        version: canary::VERSION,
        losses,
        grad_norms,
        seconds,
        error,
    };
    match report.check() {
        Ok(()) => tracing::info!(seconds, "the canary gave what it should"),
        Err(reason) => tracing::error!(seconds, "this worker should not be trusted: {reason}"),
    }
    report
}

/// Loss and gradient norm of each batch.
fn train(engine: &dyn Engine) -> Result<Vec<(Measured, Measured)>, Failure> {
    let mut training = engine.open(&canary::spec(), None, None)?;
    let mut batches = Vec::new();
    while !training.is_finished() {
        let report = training.train_batch()?;
        batches.push((Measured(report.losses.total), Measured(report.grad_norm)));
    }
    Ok(batches)
}
