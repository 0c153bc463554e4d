//! What can go wrong in the coordinator, in terms that no transport knows.

use std::sync::Arc;

use motif_proto::id::{
    ArtifactId, AttemptId, CheckpointId, FencingToken, RunId, StudyId, UploadId, WebhookId, WorkerId,
};
use motif_proto::run::{CheckpointKind, RunState};

use crate::domain::cursor::InvalidCursor;
use crate::domain::steering::Wish;

/// Why a request could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such run.
    #[error("there is no run {0}")]
    UnknownRun(RunId),
    /// There is no such study.
    #[error("there is no study {0}")]
    UnknownStudy(StudyId),
    /// There is no such attempt.
    #[error("there is no attempt {0}")]
    UnknownAttempt(AttemptId),
    /// There is no such checkpoint; a newer one may have replaced it.
    #[error("there is no checkpoint {0}; a newer one may have replaced it")]
    UnknownCheckpoint(CheckpointId),
    /// The run has no checkpoint of this kind, or none yet.
    #[error("run {run} has no `{kind}` checkpoint, or none yet")]
    NoCheckpoint {
        /// The run.
        run: RunId,
        /// What the checkpoint would be kept for.
        kind: CheckpointKind,
    },
    /// There is no such artifact; a newer one may have replaced it.
    #[error("there is no artifact {0}; a newer one may have replaced it")]
    UnknownArtifact(ArtifactId),
    /// The run has as many artifacts as it may have.
    #[error("run {0} has as many artifacts as a run may have")]
    TooManyArtifacts(RunId),
    /// The worker is not known, or not any more: it registers again.
    #[error("there is no worker {0}; register again")]
    UnknownWorker(WorkerId),
    /// More requests wait than one coordinator takes.
    #[error("more requests of this kind wait here than one coordinator takes; ask again later")]
    Crowded,
    /// What went wrong for several who waited together.
    #[error(transparent)]
    Shared(Arc<Self>),
    /// The lease ran out and the run is in other hands, or ended: nothing was changed.
    #[error(
        "fencing token {held} of attempt {attempt} is no longer valid: the run is in other hands or ended"
    )]
    StaleLease {
        /// Who asked.
        attempt: AttemptId,
        /// With which token.
        held: FencingToken,
    },
    /// Metrics before the sequence number given are missing.
    #[error("sequence number {given} leaves a gap: the next one is {expected}")]
    SequenceGap {
        /// The number that comes next.
        expected: u64,
        /// The number that came.
        given: u64,
    },
    /// A batch of metrics that cannot be stored.
    #[error("{0}")]
    InvalidMetrics(String),
    /// A batch of log lines that cannot be stored.
    #[error("{0}")]
    InvalidLogs(String),
    /// More curves than one answer can have.
    #[error("{curves} curves of up to {points} points are more than one answer can have; ask for fewer")]
    TooManyCurves {
        /// How many there are.
        curves: usize,
        /// Points of each.
        points: usize,
    },
    /// A cursor that does not lead anywhere in this list.
    #[error(transparent)]
    InvalidCursor(#[from] InvalidCursor),
    /// The same key as another request.
    #[error("the Idempotency-Key stands for another request: a new request needs a new key")]
    KeyReused,
    /// The request with this key is being carried out.
    #[error("the request with this Idempotency-Key is being carried out; ask again for its answer")]
    RequestRunning,
    /// Another try carries the request out, so this one had no effect.
    #[error(
        "another request with this Idempotency-Key was taken up in place of this one, which had no effect"
    )]
    KeyTakenOver,
    /// More runs than statistics are made of.
    #[error("`{group}` has more than {most} runs; narrow it down")]
    TooManyRuns {
        /// The group.
        group: String,
        /// How many it may have.
        most: usize,
    },
    /// Runs that cannot be paired by their seeds.
    #[error("`{group}` has several runs with the seed {seed}, so they do not pair; narrow it down")]
    AmbiguousSeed {
        /// The group.
        group: String,
        /// The seed.
        seed: u64,
    },
    /// A run that depends on one that ended badly cannot be tried again.
    #[error("run {run} depends on run {parent}, which did not succeed; try that one again first")]
    Blocked {
        /// The run.
        run: RunId,
        /// What it depends on.
        parent: RunId,
    },
    /// What was asked of a run is not possible as it stands.
    #[error("run {run} {}", standing(*state, *instead))]
    NotAsItStands {
        /// The run.
        run: RunId,
        /// How it stands.
        state: RunState,
        /// What to ask instead.
        instead: Option<Wish>,
    },
    /// A run that has not ended cannot be deleted.
    #[error("run {run} is {state}: cancel it before it is deleted")]
    RunNotEnded {
        /// The run.
        run: RunId,
        /// How it stands.
        state: RunState,
    },
    /// A run that others need cannot be deleted without them.
    #[error(
        "run {run} cannot be deleted while others need it: {by}; delete those before or in the same request"
    )]
    RunInUse {
        /// The run.
        run: RunId,
        /// Some of what starts from it or comes after it.
        by: String,
    },
    /// What a change was meant for is not there any more.
    #[error("this was changed since the answer that `If-Match` names: read it again, then decide anew")]
    ChangedMeanwhile,
    /// There is no such token.
    #[error("there is no token {0}")]
    UnknownToken(String),
    /// Another token has the name.
    #[error("there is a token named `{0}` already: revoke it first, or choose another name")]
    TokenNameTaken(String),
    /// There is no such project.
    #[error("there is no project `{0}`: an admin can make it")]
    UnknownProject(String),
    /// There is such a project already.
    #[error("there is a project `{0}` already")]
    ProjectExists(String),
    /// There is no such webhook.
    #[error("there is no webhook {0}")]
    UnknownWebhook(WebhookId),
    /// There are as many webhooks as there can be.
    #[error("there are as many webhooks as there can be: remove one first")]
    TooManyWebhooks,
    /// The system gave no randomness.
    #[error("no secret could be made")]
    NoRandomness(#[from] getrandom::Error),
    /// The bytes of an upload are not those announced.
    #[error("the content has {found}, not {announced}")]
    ChecksumMismatch {
        /// What came.
        found: String,
        /// What the request promised.
        announced: String,
    },
    /// The connection of an upload ended before its content.
    #[error("the content could not be read to its end")]
    UploadCut(#[from] axum::Error),
    /// There is no such upload.
    #[error("there is no upload {0} of this content by this attempt; begin anew")]
    UnknownUpload(UploadId),
    /// An attempt has as many uploads in parts open as it may have.
    #[error("attempt {0} has as many uploads open as an attempt may have; finish one of them first")]
    TooManyUploads(AttemptId),
    /// A part that does not begin where the last one ended, or an end before all parts are there.
    #[error("{expected} bytes are there, so the next part begins with byte {expected}, not {given}")]
    OffsetMismatch {
        /// How far the upload is.
        expected: u64,
        /// What came.
        given: u64,
    },
    /// A part that reaches past the end of its upload, or that is empty.
    #[error("a part that ends with byte {given} does not fit into an upload of {size} bytes, or is empty")]
    UploadTooLong {
        /// What was announced.
        size: u64,
        /// Where the part would end.
        given: u64,
    },
    /// The database refused or could not be reached.
    #[error("a storage operation failed")]
    Storage(#[from] sqlx::Error),
    /// The artifact store refused or could not be reached.
    #[error("an operation of the artifact store failed")]
    Artifacts(#[from] object_store::Error),
    /// Stored data cannot be read.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
}

fn standing(state: RunState, instead: Option<Wish>) -> String {
    let stands = match state {
        RunState::Succeeded | RunState::Failed => format!("has already {state}"),
        RunState::Cancelled => "was cancelled".to_owned(),
        RunState::Skipped => "was skipped".to_owned(),
        RunState::Waiting | RunState::Queued | RunState::Running | RunState::Paused => format!("is {state}"),
    };
    match instead {
        Some(wish) => format!("{stands}: {} it instead", wish.as_str()),
        None => stands,
    }
}

impl From<crate::domain::chunk::Damaged> for Error {
    fn from(damaged: crate::domain::chunk::Damaged) -> Self {
        Self::Damaged(damaged.to_string())
    }
}

impl From<crate::domain::log::Damaged> for Error {
    fn from(damaged: crate::domain::log::Damaged) -> Self {
        Self::Damaged(damaged.to_string())
    }
}

/// An error with everything that caused it, for the log.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
