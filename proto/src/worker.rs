//! The worker's side of the protocol, under `/api/v1/worker`.
//!
//! ```text
//! register → claim (long poll) → heartbeat …
//!                              → metrics, logs, checkpoints, artifacts … → finish
//! ```
//!
//! Everything after the claim carries the attempt's id and its fencing token. When the lease has passed to
//! another attempt, the answer is 409 with the code `stale_lease`, and nothing was written.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::canary::CanaryReport;
use crate::id::{AttemptId, CheckpointId, FencingToken, RunId, WorkerId};
use crate::run::{BaseCheckpoint, CheckpointKind, Failure};
use crate::spec::ExperimentSpec;

/// Longest time that a claim may wait for work, in seconds.
pub const MAX_CLAIM_WAIT_SECONDS: u32 = 30;

/// What a worker computes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// Processor cores.
    Cpu,
    /// An NVIDIA card.
    Cuda,
}

impl DeviceKind {
    /// The word used in SQL, on the wire and on pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

/// Body of `POST /worker/register`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegisterWorker {
    /// A name for people, such as the machine's.
    pub name: String,
    /// Version of the worker's program.
    pub version: String,
    /// What it computes on.
    pub device: DeviceKind,
    /// The device in words, such as a card's name.
    pub device_name: String,
    /// How many runs it takes at once.
    pub slots: u32,
    /// Memory of the device in bytes, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Free words that specs can ask for.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What its canary gave just now. A worker whose canary is wrong is set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryReport>,
}

/// Answer to [`RegisterWorker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerRegistered {
    /// Names the worker from now on. A worker that the coordinator does not know any more (404,
    /// `unknown_worker`) registers again.
    pub worker: WorkerId,
    /// How often to send heartbeats.
    pub heartbeat_seconds: u32,
    /// How long a lease lasts without one.
    pub lease_seconds: u32,
}

/// Body of `POST /worker/claim`. The call waits until there is work or `wait_seconds` are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClaimRequest {
    /// Who asks.
    pub worker: WorkerId,
    /// Slots without work now; at least 1.
    pub free_slots: u32,
    /// How long to wait, at most [`MAX_CLAIM_WAIT_SECONDS`].
    pub wait_seconds: u32,
}

/// Answer to [`ClaimRequest`] with status 200; 204 says that there was no work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Claim {
    /// The run to carry out.
    pub run: RunId,
    /// This try at it.
    pub attempt: AttemptId,
    /// To be sent with every later call.
    pub token: FencingToken,
    /// What to do, every field filled in.
    pub spec: ExperimentSpec,
    /// The checkpoint that the spec's `base` stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseCheckpoint>,
    /// Where to go on, if an earlier attempt left a checkpoint; else begin with batch 0, or
    /// where the base of a continued run left off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<ResumePoint>,
    /// The batch before which to stop, if that comes before the end: what is due at the newest batch is still done,
    /// then the state is left as the checkpoint `last` and the attempt ends with [`Outcome::Reached`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_before: Option<u64>,
    /// Slots that it takes: as the spec asks, or more after an attempt that ran out of memory.
    #[serde(default = "one_slot")]
    pub slots: u32,
    /// How long the lease lasts without a heartbeat.
    pub lease_seconds: u32,
}

const fn one_slot() -> u32 {
    1
}

/// The checkpoint that a run goes on from. Its bytes are at `GET /checkpoints/{id}/content`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResumePoint {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// The first batch that is not in it. Points of the curve from this batch on were dropped.
    pub next_batch: u64,
    /// SHA-256 of its content, in hex.
    pub sha256: String,
    /// Length of its content.
    pub size_bytes: u64,
}

/// Body of `POST /worker/heartbeat`: keeps the leases of all attempts that the worker holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Heartbeat {
    /// Who lives.
    pub worker: WorkerId,
    /// The attempts that it works on; may be empty.
    pub leases: Vec<HeldLease>,
    /// How long the answer may wait, in seconds, while there is nothing to say: so a worker hears at once what is
    /// asked of it. The leases are renewed at the beginning of the wait.
    #[serde(default)]
    pub wait_seconds: u32,
}

/// An attempt and the token that proves that it is the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeldLease {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its fencing token.
    pub token: FencingToken,
}

/// Answer to [`Heartbeat`]: one verdict per lease, in the order asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeartbeatAnswer {
    /// The verdicts.
    pub leases: Vec<LeaseVerdict>,
    /// Whether the worker, which was set aside, is to run its canary and report it to `POST /worker/canary`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub canary: bool,
}

/// Body of `POST /worker/canary`. Safe to repeat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerCanary {
    /// Whose.
    pub worker: WorkerId,
    /// What it gave.
    pub canary: CanaryReport,
}

/// What became of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeaseVerdict {
    /// The attempt.
    pub attempt: AttemptId,
    /// What to do.
    pub verdict: Verdict,
}

/// What a worker does with an attempt after a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The lease is renewed: go on.
    Continue,
    /// The lease is renewed, and the run is to be paused: leave a checkpoint at the next batch and hand it back.
    Pause,
    /// The run was cancelled: stop at the next batch, send nothing more.
    Cancelled,
    /// The run is in other hands or ended: stop at once, send nothing more.
    Lost,
}

/// Query of `POST /worker/checkpoints`; the body is the file itself, `application/octet-stream`, streamed.
///
/// It is refused (422, `checksum_mismatch`) unless the bytes have the length and the hash given, and (409,
/// `sequence_gap`) while metrics before `metrics_sequence` are missing: a checkpoint never outruns its curve.
/// Sending the same one again is harmless.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema, utoipa::IntoParams))]
pub struct UploadCheckpoint {
    /// The attempt that made it.
    pub attempt: AttemptId,
    /// Its fencing token.
    pub token: FencingToken,
    /// What it is kept for. A newer one of the same kind replaces it.
    pub kind: CheckpointKind,
    /// The first batch that is not in it.
    pub next_batch: u64,
    /// Every batch of metrics before this sequence number must have been stored.
    pub metrics_sequence: u64,
    /// SHA-256 of the content, 64 hex digits.
    pub sha256: String,
    /// Length of the content.
    pub size_bytes: u64,
    /// `validation/total` of this state, where it was evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<f64>,
}

/// Query of `POST /worker/artifacts`; the body is the file itself, `application/octet-stream`, streamed.
///
/// It is refused (422, `checksum_mismatch`) unless the bytes have the length and the hash given. A newer file of
/// the same name replaces the older. Sending the same one again is harmless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema, utoipa::IntoParams))]
pub struct UploadArtifact {
    /// The attempt that made it.
    pub attempt: AttemptId,
    /// Its fencing token.
    pub token: FencingToken,
    /// The file's name: letters, digits, `.`, `_`, `-`; it does not begin with a dot.
    pub name: String,
    /// SHA-256 of the content, 64 hex digits.
    pub sha256: String,
    /// Length of the content.
    pub size_bytes: u64,
}

/// Body of `POST /worker/finish`. Safe to repeat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FinishAttempt {
    /// The attempt that ends.
    pub attempt: AttemptId,
    /// Its fencing token.
    pub token: FencingToken,
    /// Every batch of metrics before this sequence number must have been stored (409, `sequence_gap`).
    pub metrics_sequence: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Outcome {
    /// The run is complete.
    Succeeded,
    /// The run cannot go on, or not here.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// The worker hands the run back, as it shuts down or was asked to; another one resumes it from the last
    /// checkpoint.
    Released,
    /// The batch before which the claim asks to stop was reached, and the state is left as the last checkpoint.
    Reached {
        /// That batch.
        batch: u64,
    },
}

/// A worker as `GET /workers` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerInfo {
    /// The worker.
    pub id: WorkerId,
    /// Its name for people.
    pub name: String,
    /// Version of its program.
    pub version: String,
    /// What it computes on.
    pub device: DeviceKind,
    /// The device in words.
    pub device_name: String,
    /// How many runs it takes at once.
    pub slots: u32,
    /// Free words that specs can ask for.
    pub labels: BTreeMap<String, String>,
    /// Whether it was heard of within a lease's time.
    pub alive: bool,
    /// Why it gets no runs for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<SetAside>,
    /// What its newest canary gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryReport>,
    /// The runs that it holds.
    pub runs: Vec<RunId>,
    /// When it registered.
    pub registered_at: DateTime<Utc>,
    /// When it was last heard of.
    pub last_seen_at: DateTime<Utc>,
}

/// That a worker gets no runs for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetAside {
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// When it may prove itself by its canary; absent where only a person puts it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial_at: Option<DateTime<Utc>>,
}

/// Body of `POST /workers/{id}/set-aside`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SetWorkerAside {
    /// Why, in 1 to 500 characters.
    pub reason: String,
}

/// Answer of `GET /workers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerList {
    /// Those alive first, then by name.
    pub workers: Vec<WorkerInfo>,
}
