//! Empties an attempt's outbox: one thing after the other, each until the coordinator has it. Only uploads that it has
//! no room for do not hold up what was measured.

use std::time::Duration;

use motif_proto::client::{Client, ClientError};
use motif_proto::metrics::MetricsBatch;
use motif_proto::run::{Failure, FailureClass};

use crate::backoff::Backoff;
use crate::monitoring;
use crate::outbox::{Content, Letter, Outbox};

/// How the sending ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Delivered {
    /// The coordinator knows everything, the attempt's end included.
    Everything,
    /// The run is in other hands, or the outbox was closed: nothing more is sent.
    Nothing,
}

/// Tries of something that the coordinator refuses. A refusal that is not about the lease is a fault of one of
/// the two; bytes spoilt on the way are worth another try.
const REFUSALS: u32 = 5;

/// Longest wait before another try when the attempt is to end soon.
const HURRIED_RETRY: Duration = Duration::from_millis(500);

/// Sends until the attempt's end was told. While the coordinator is away it waits, as long as that takes.
///
/// `lease_lost` is called when the coordinator says that the run is in other hands.
pub async fn deliver(client: &Client, outbox: &Outbox, lease_lost: &(dyn Fn() + Sync)) -> Delivered {
    let (mut backoff, mut room) = (Backoff::default(), Backoff::default());
    let mut refusals = 0;
    loop {
        if outbox.is_closed() {
            return Delivered::Nothing;
        }
        let letter = match outbox.front() {
            Ok(letter) => letter,
            Err(gathering) => {
                wait_for_more(outbox, gathering).await;
                continue;
            }
        };
        let sent = tokio::select! {
            sent = send(client, &letter) => sent,
            () = outbox.drops() => continue,
        };
        match sent {
            Ok(()) => {
                if backoff.failures() > 0 {
                    tracing::info!("the coordinator is back");
                }
                backoff.reset();
                if letter.content.is_upload() {
                    room.reset();
                }
                refusals = 0;
                outbox.sent(&letter);
                if let Content::Finish(_) = letter.content {
                    return Delivered::Everything;
                }
            }
            Err(error) if error.code() == Some("stale_lease") => {
                tracing::warn!("the run is in other hands: nothing more is sent");
                lease_lost();
                outbox.close();
                return Delivered::Nothing;
            }
            // Log lines are for people; nothing fails because somebody does not take them.
            Err(error) if matches!(letter.content, Content::Logs(_)) && !is_mended_by_waiting(&error) => {
                tracing::debug!(%error, "the coordinator does not take log lines");
                outbox.sent(&letter);
            }
            // What is to end soon has nothing to measure meanwhile.
            Err(error) if letter.content.is_upload() && has_no_room(&error) && !outbox.is_hurried() => {
                monitoring::send_failed();
                let wait = room.after_failure();
                tracing::warn!(%error, retry_in = ?wait, "there is no room; training and its curves go on");
                outbox.put_off_uploads(wait);
            }
            Err(error) => {
                if !is_mended_by_waiting(&error) {
                    refusals += 1;
                }
                if refusals == REFUSALS {
                    tracing::error!(%error, "the coordinator refuses what this attempt sends: giving up");
                    lease_lost();
                    if let Content::Finish(_) = letter.content {
                        outbox.close();
                        return Delivered::Nothing;
                    }
                    refusals = 0;
                    outbox.fail(refused(&error));
                    continue;
                }
                monitoring::send_failed();
                let mut wait = backoff.after_failure();
                if outbox.is_hurried() {
                    wait = wait.min(HURRIED_RETRY);
                }
                tracing::warn!(%error, retry_in = ?wait, "cannot send; training goes on");
                let _ = tokio::time::timeout(wait, outbox.hurries()).await;
            }
        }
    }
}

/// The coordinator may come back, and a token that was revoked by mistake can be given back.
fn is_mended_by_waiting(error: &ClientError) -> bool {
    error.is_transient()
        || matches!(
            error,
            ClientError::Problem {
                status: 401 | 403,
                ..
            }
        )
}

/// Whether the coordinator has no room for what was sent.
fn has_no_room(error: &ClientError) -> bool {
    matches!(error, ClientError::Problem { status: 507, .. })
}

fn refused(error: &ClientError) -> Failure {
    Failure {
        class: FailureClass::Internal,
        message: format!("the coordinator refused what the worker sent: {error}"),
    }
}

async fn wait_for_more(outbox: &Outbox, gathering: Option<Duration>) {
    let filled = outbox.filled.notified();
    match gathering {
        None => filled.await,
        // More points do not hurry what has gathered; a checkpoint or the end does.
        Some(left) => {
            let _ = tokio::time::timeout(left, filled).await;
        }
    }
}

async fn send(client: &Client, letter: &Letter) -> Result<(), ClientError> {
    match &letter.content {
        Content::Metrics { file, .. } => {
            let unreadable = |source| ClientError::File {
                path: file.clone(),
                source,
            };
            let bytes = tokio::fs::read(file).await.map_err(unreadable)?;
            let batch: MetricsBatch =
                serde_json::from_slice(&bytes).map_err(|error| unreadable(error.into()))?;
            client.send_metrics(&batch).await.map(drop)
        }
        Content::Checkpoint { upload, file } => client.upload_checkpoint(upload, file).await,
        Content::Artifact { upload, file } => client.upload_artifact(upload, file).await,
        Content::Logs(batch) => client.send_logs(batch).await.map(drop),
        Content::Finish(finish) => client.finish(finish).await,
    }
}
