//! One attempt, from its claim to its end: fetch the checkpoints, train on a thread of its own, deliver.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::StreamExt;
use motif_proto::client::{Client, ClientError};
use motif_proto::id::CheckpointId;
use motif_proto::run::{BaseCheckpoint, Failure, FailureClass};
use motif_proto::worker::{Claim, HeldLease, Outcome, RegisterWorker, ResumePoint};
use sha2::{Digest, Sha256};

use crate::backoff::Backoff;
use crate::driver::{Asked, Ended, Error, Stop, drive};
use crate::engine::{Engine, failure_of_panic};
use crate::lease::{Handle, Leases};
use crate::outbox::{Closed, Limits, Outbox, hex};
use crate::report::Reporter;
use crate::sender::deliver;
use crate::spool::Spool;
use crate::{logs, monitoring};

/// What all attempts of a daemon share.
pub struct Shared {
    /// The coordinator.
    pub client: Client,
    /// Builds the trainings.
    pub engine: Arc<dyn Engine>,
    /// The leases held.
    pub leases: Leases,
    /// Where what is not sent yet is kept.
    pub spool: Spool,
    /// How much of it.
    pub limits: Limits,
    /// What the coordinator was told about this worker.
    pub about: RegisterWorker,
}

/// Checkpoints above this are refused: no network's is larger.
const MAX_CHECKPOINT_BYTES: u64 = 2 << 30;
/// Transfers of a checkpoint that arrive spoilt before the attempt fails.
const SPOILT_TRANSFERS: u32 = 3;

/// Carries out one claim. Ends when the coordinator knows how it ended, or said that it is over.
#[tracing::instrument(name = "attempt", skip_all, fields(run.id = %claim.run, attempt.id = %claim.attempt))]
pub async fn carry_out(shared: &Shared, claim: Claim, stopping: bool) {
    let folder = match shared.spool.attempt(claim.attempt) {
        Ok(folder) => folder,
        Err(error) => {
            // Without a place for what it measures nothing can begin; the lease expires and another worker takes it.
            tracing::error!(%error, "cannot make a folder for the attempt");
            return;
        }
    };
    let outbox = Arc::new(Outbox::new(
        claim.attempt,
        claim.token,
        folder.path(),
        shared.limits,
    ));
    logs::lead(&tracing::Span::current(), &outbox);
    tracing::info!(
        worker = shared.about.name,
        device = shared.about.device_name,
        version = shared.about.version,
        "attempt started"
    );
    let stop = Stop::default();
    if stopping {
        stop.hand_back();
    }
    let lease = HeldLease {
        attempt: claim.attempt,
        token: claim.token,
    };
    let handle = Handle {
        stop: stop.clone(),
        outbox: outbox.clone(),
    };
    let _held = shared.leases.hold(lease, handle);
    let lease_lost = || stop.abandon();
    let delivery = deliver(&shared.client, &outbox, &lease_lost);
    let work = async {
        let outcome = execute(shared, &claim, &stop, &outbox).await;
        monitoring::ended(outcome.as_ref());
        if let Some(outcome) = outcome {
            log(&outcome);
            // A closed outbox has nobody left to tell.
            let _ = outbox.finish(outcome);
        } else {
            outbox.close();
        }
    };
    tokio::join!(work, delivery);
}

fn log(outcome: &Outcome) {
    match outcome {
        Outcome::Succeeded => tracing::info!("succeeded"),
        Outcome::Released => tracing::info!("handed back"),
        Outcome::Reached { batch } => tracing::info!(batch, "stopped where the sweep compares"),
        Outcome::Failed { failure } => {
            tracing::error!(class = failure.class.as_str(), "failed: {}", failure.message);
        }
    }
}

/// Trains; `None` when the run is no longer this worker's.
async fn execute(shared: &Shared, claim: &Claim, stop: &Stop, outbox: &Arc<Outbox>) -> Option<Outcome> {
    let base = claim.base.as_ref().map(Stored::from);
    let resume = claim.resume.as_ref().map(Stored::from);
    let (base, resume) = match fetch_both(&shared.client, base, resume, stop).await {
        Ok(Some(fetched)) => fetched,
        Ok(None) => return (stop.asked() == Asked::HandBack).then_some(Outcome::Released),
        Err(failure) => return Some(Outcome::Failed { failure }),
    };
    tracing::info!(
        name = claim.spec.name,
        first_batch = claim.resume.as_ref().map_or(0, |point| point.next_batch),
        "training"
    );
    let (engine, spec, stop) = (shared.engine.clone(), claim.spec.clone(), stop.clone());
    let stop_before = claim.stop_before;
    let outbox = outbox.clone();
    let (tell, told) = tokio::sync::oneshot::channel();
    let span = tracing::Span::current();
    let spawned = std::thread::Builder::new()
        .name(format!("train-{}", claim.run))
        .spawn(move || {
            let _entered = span.enter();
            let train = || {
                let mut training = engine.open(&spec, base.as_deref(), resume.as_deref())?;
                drop((base, resume));
                let mut reporter = Reporter::new(outbox, &spec);
                drive(training.as_mut(), &stop, stop_before, &mut reporter)
            };
            let ended = catch_unwind(AssertUnwindSafe(train))
                .unwrap_or_else(|panic| Err(failure_of_panic(panic.as_ref()).into()));
            // The attempt may be gone; then nobody waits for this.
            let _ = tell.send(ended);
        });
    if let Err(error) = spawned {
        return Some(failed(format!("cannot start a thread: {error}")));
    }
    match told.await {
        Ok(Ok(Ended::Finished)) => Some(Outcome::Succeeded),
        Ok(Ok(Ended::HandedBack)) => Some(Outcome::Released),
        Ok(Ok(Ended::Reached)) => stop_before.map(|batch| Outcome::Reached { batch }),
        Ok(Ok(Ended::Abandoned) | Err(Error::Recording(Closed))) => None,
        Ok(Err(Error::Training(failure))) => Some(Outcome::Failed { failure }),
        Err(_) => Some(failed("the training's thread ended without a word".to_owned())),
    }
}

fn failed(message: String) -> Outcome {
    Outcome::Failed {
        failure: internal(message),
    }
}

fn internal(message: String) -> Failure {
    Failure {
        class: FailureClass::Internal,
        message,
    }
}

/// A checkpoint to fetch.
struct Stored<'a> {
    checkpoint: CheckpointId,
    sha256: &'a str,
    size_bytes: u64,
}

impl<'a> From<&'a BaseCheckpoint> for Stored<'a> {
    fn from(base: &'a BaseCheckpoint) -> Self {
        Self {
            checkpoint: base.checkpoint,
            sha256: &base.sha256,
            size_bytes: base.size_bytes,
        }
    }
}

impl<'a> From<&'a ResumePoint> for Stored<'a> {
    fn from(point: &'a ResumePoint) -> Self {
        Self {
            checkpoint: point.checkpoint,
            sha256: &point.sha256,
            size_bytes: point.size_bytes,
        }
    }
}

/// The bytes of the base and of the checkpoint to go on from, where there are such.
type Fetched = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Fetches what an attempt begins with. `None` when asked to stop first.
async fn fetch_both(
    client: &Client,
    base: Option<Stored<'_>>,
    resume: Option<Stored<'_>>,
    stop: &Stop,
) -> Result<Option<Fetched>, Failure> {
    let mut fetched = [None, None];
    for (bytes, stored) in fetched.iter_mut().zip([base, resume]) {
        let Some(stored) = stored else { continue };
        *bytes = fetch(client, &stored, stop).await?;
        if bytes.is_none() {
            return Ok(None);
        }
    }
    let [base, resume] = fetched;
    Ok(Some((base, resume)))
}

/// Fetches a checkpoint, for as long as the coordinator is away. `None` when asked to stop first.
async fn fetch(client: &Client, point: &Stored<'_>, stop: &Stop) -> Result<Option<Vec<u8>>, Failure> {
    if point.size_bytes > MAX_CHECKPOINT_BYTES {
        let bytes = point.size_bytes;
        return Err(internal(format!("a checkpoint of {bytes} bytes is no network's")));
    }
    let (mut backoff, mut spoilt) = (Backoff::default(), 0);
    while stop.asked() == Asked::GoOn {
        match download(client, point).await {
            Ok(bytes) if hex(&Sha256::digest(&bytes)) == point.sha256.to_ascii_lowercase() => {
                return Ok(Some(bytes));
            }
            Ok(_) => {
                spoilt += 1;
                tracing::warn!(checkpoint = %point.checkpoint, "the checkpoint arrived spoilt");
                if spoilt == SPOILT_TRANSFERS {
                    return Err(internal(format!(
                        "checkpoint {} does not have the SHA-256 that it should have",
                        point.checkpoint
                    )));
                }
            }
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "cannot fetch the checkpoint yet");
            }
            Err(error) => {
                return Err(internal(format!(
                    "cannot fetch checkpoint {}: {error}",
                    point.checkpoint
                )));
            }
        }
        wait(&mut backoff, stop).await;
    }
    Ok(None)
}

async fn wait(backoff: &mut Backoff, stop: &Stop) {
    const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(100);
    let mut left = backoff.after_failure();
    while !left.is_zero() && stop.asked() == Asked::GoOn {
        let step = left.min(LOOK_EVERY);
        tokio::time::sleep(step).await;
        left -= step;
    }
}

/// A checkpoint's bytes; at most one byte more than it should have.
async fn download(client: &Client, point: &Stored<'_>) -> Result<Vec<u8>, ClientError> {
    let content = client.checkpoint_content(point.checkpoint).await?;
    let size = usize::try_from(point.size_bytes).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(size);
    let mut chunks = std::pin::pin!(content.stream());
    while let Some(chunk) = chunks.next().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() > size {
            break;
        }
    }
    Ok(bytes)
}
