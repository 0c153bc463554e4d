//! Runs, attempts and checkpoints as clients see them.

use std::fmt;
use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{AttemptId, CheckpointId, ExperimentId, RunId, WorkerId};
use crate::metrics::StepValue;
use crate::problem::FieldProblem;
use crate::spec::{ExperimentKind, ExperimentSpec};
use crate::study::StudyPlace;

/// Where a run stands.
///
/// ```text
/// waiting → queued → running → succeeded | failed | cancelled
///    │        ↑ ↕       │
///    │     paused ←─────┤  pause; resume puts it back into the queue
///    │        ↑         │
///    │        └─────────┘  lease lost or handed back: queued again
///    └→ skipped            what it waited for did not succeed
/// ```
/// A retry puts a run that ended otherwise than it should back to `waiting` or `queued`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for other runs of its study to succeed.
    Waiting,
    /// Waits for a worker.
    Queued,
    /// A worker holds its lease.
    Running,
    /// Held back by a person or a sweep until it is resumed.
    Paused,
    /// Ended as asked.
    Succeeded,
    /// Ended with an error; see `failure`.
    Failed,
    /// Ended by a person, or by a sweep that had seen enough of it.
    Cancelled,
    /// Never began, because what it waited for did not succeed.
    Skipped,
}

impl RunState {
    /// All states, in the order of a run's life.
    pub const ALL: [Self; 8] = [
        Self::Waiting,
        Self::Queued,
        Self::Running,
        Self::Paused,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Skipped,
    ];

    /// The word used in SQL, on the wire and on pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    /// Whether the run has ended: it changes only if somebody retries it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Waiting | Self::Queued | Self::Running | Self::Paused => false,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Skipped => true,
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How one worker's try at a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    /// Holds the run's lease.
    Running,
    /// Brought the run to its end.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Stopped sending heartbeats; the run went back to the queue or failed.
    Lost,
    /// Handed the run back: its worker shut down, or the run was to be paused.
    Released,
    /// Ended because the run was cancelled.
    Cancelled,
}

impl AttemptState {
    /// The word used in SQL, on the wire and on pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Released => "released",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why an attempt or a run failed, as far as it decides what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The spec cannot be carried out, on any worker.
    BadSpec,
    /// Memory of the device or the machine ran out.
    OutOfMemory,
    /// A loss or a gradient was not finite.
    Diverged,
    /// Too many attempts in a row were lost.
    Lost,
    /// Anything else: a fault of the worker or its machine.
    Internal,
}

impl FailureClass {
    /// The word used in SQL, on the wire and on pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadSpec => "bad_spec",
            Self::OutOfMemory => "out_of_memory",
            Self::Diverged => "diverged",
            Self::Lost => "lost",
            Self::Internal => "internal",
        }
    }
}

/// An error that ended an attempt or a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Failure {
    /// What kind of error.
    pub class: FailureClass,
    /// What happened, for a person.
    pub message: String,
}

/// How far a training run has come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// Batches whose metrics are stored.
    pub batches_done: u64,
    /// Batches that the spec asks for; 0 where nothing is trained.
    pub batches_total: u64,
    /// Newest training speed, evaluations left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches_per_second: Option<f64>,
}

/// A run as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunSummary {
    /// The run.
    pub id: RunId,
    /// The experiment that it executes.
    pub experiment: ExperimentId,
    /// The project that it belongs to.
    pub project: String,
    /// The experiment's name.
    pub name: String,
    /// What is done.
    pub kind: ExperimentKind,
    /// The preset that filled in what the spec left open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Seed of all randomness.
    pub seed: u64,
    /// The experiment's tags.
    pub tags: Vec<String>,
    /// Higher goes first.
    pub priority: i32,
    /// Where it stands.
    pub state: RunState,
    /// Whether its worker was asked to hand it back: it will be paused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pausing: bool,
    /// When it may be tried again after a failure, where that is not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<DateTime<Utc>>,
    /// How far it has come.
    pub progress: Progress,
    /// Newest `loss/total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_loss: Option<StepValue>,
    /// Newest `validation/total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_validation: Option<StepValue>,
    /// Least `validation/total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_validation: Option<StepValue>,
    /// How many attempts were made.
    pub attempts: u32,
    /// Name of the worker that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Why it was skipped, or cancelled by a sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its place in a study.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub study: Option<StudyPlace>,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// When its first attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<DateTime<Utc>>,
}

/// A run with everything about it but its curves and checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunDetail {
    /// What lists show.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// The spec with every field filled in.
    pub spec: ExperimentSpec,
    /// SHA-256 of the normalised spec's JSON, in hex.
    pub spec_sha256: String,
    /// A person's words about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// What it starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseCheckpoint>,
    /// Names of the series that it has written.
    pub series: Vec<String>,
    /// Its attempts, oldest first.
    pub attempt_history: Vec<Attempt>,
}

/// Most characters of a run's notes.
pub const MAX_NOTES: usize = 10_000;

/// Body of `PATCH /runs/{id}`: what is given takes the place of what was; the rest stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RunChange {
    /// A name for people, of 1 to 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Words to find it by: at most 32, of 1 to 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Words about it, of at most 10,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// From −1000 to 1000; higher goes first. What runs already goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

impl RunChange {
    /// What is wrong with it; nothing where it can be made.
    #[must_use]
    pub fn problems(&self) -> Vec<FieldProblem> {
        let mut problems = Vec::new();
        let mut text = |pointer: String, text: &str, length: RangeInclusive<usize>, lines: bool| {
            let sound = |c: char| !c.is_control() || (lines && matches!(c, '\n' | '\t'));
            let characters = text.chars().count();
            if length.contains(&characters) && text.chars().all(sound) {
                return;
            }
            let (least, most) = (length.start(), length.end());
            problems.push(FieldProblem {
                pointer,
                detail: format!(
                    "a text of {characters} characters, or one with control characters, cannot be taken"
                ),
                given: None,
                allowed: Some(format!(
                    "a text of {least} to {most} characters without control characters"
                )),
                nearest: None,
            });
        };
        if let Some(name) = &self.name {
            text("/name".to_owned(), name, 1..=200, false);
        }
        for (place, tag) in self.tags.iter().flatten().enumerate().take(MAX_TAGS) {
            text(format!("/tags/{place}"), tag, 1..=64, false);
        }
        if let Some(notes) = &self.notes {
            text("/notes".to_owned(), notes, 0..=MAX_NOTES, true);
        }
        if let Some(tags) = self.tags.as_ref().filter(|tags| tags.len() > MAX_TAGS) {
            problems.push(FieldProblem {
                pointer: "/tags".to_owned(),
                detail: format!("{} tags are too many", tags.len()),
                given: None,
                allowed: Some(format!("at most {MAX_TAGS} texts")),
                nearest: None,
            });
        }
        if let Some(priority) = self.priority.filter(|priority| !PRIORITIES.contains(priority)) {
            problems.push(FieldProblem {
                pointer: "/priority".to_owned(),
                detail: format!("{priority} is out of range"),
                given: Some(priority.into()),
                allowed: Some("a whole number from -1000 to 1000".to_owned()),
                nearest: None,
            });
        }
        problems
    }
}

/// Most tags of a run.
const MAX_TAGS: usize = 32;
/// The priorities that a run can have.
const PRIORITIES: RangeInclusive<i32> = -1000..=1000;

/// One worker's try at a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Attempt {
    /// The attempt.
    pub id: AttemptId,
    /// 1 for the first.
    pub number: u32,
    /// The worker that made it.
    pub worker: WorkerId,
    /// That worker's name.
    pub worker_name: String,
    /// How it went.
    pub state: AttemptState,
    /// The batch that it began with: 0, or where its checkpoint left off.
    pub first_batch: u64,
    /// When it was claimed.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<DateTime<Utc>>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Answer of `GET /runs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunList {
    /// In the order asked for; newest first where none was.
    pub runs: Vec<RunSummary>,
    /// Give it as `cursor` to get what follows; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// How many runs all pages have together, where `total=true` asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<RunTotal>,
}

/// A number of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunTotal {
    /// How many.
    pub count: u64,
    /// Whether they were estimated, because they are too many to count for every page.
    pub is_estimate: bool,
}

/// Answer of `POST /experiments`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExperimentAccepted {
    /// The experiment.
    pub experiment: ExperimentId,
    /// Its run, queued.
    pub run: RunSummary,
    /// The spec with every field filled in.
    pub spec: ExperimentSpec,
    /// SHA-256 of the normalised spec's JSON, in hex.
    pub spec_sha256: String,
}

/// The checkpoint that an experiment starts from, as it was when the experiment was submitted. It is kept for
/// as long as the experiment is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BaseCheckpoint {
    /// The checkpoint; its bytes are at `GET /checkpoints/{id}/content`.
    pub checkpoint: CheckpointId,
    /// The run that made it.
    pub run: RunId,
    /// That run's name.
    pub run_name: String,
    /// What it was kept for.
    pub kind: CheckpointKind,
    /// The batch that follows: everything before it has been applied.
    pub next_batch: u64,
    /// SHA-256 of its content, in hex.
    pub sha256: String,
    /// Length of its content.
    pub size_bytes: u64,
}

/// What a checkpoint is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CheckpointKind {
    /// Least validation loss so far.
    Best,
    /// The newest: what a taken-back run resumes from.
    Last,
    /// One that was the newest, and stays because the spec's `training.keep_every` says so.
    Kept,
}

impl CheckpointKind {
    /// The word used in SQL, on the wire and on pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Best => "best",
            Self::Last => "last",
            Self::Kept => "kept",
        }
    }
}

impl fmt::Display for CheckpointKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A stored state of a network; its bytes are at `GET /checkpoints/{id}/content`, as safetensors, until a newer one of
/// its kind takes its place; at `GET /runs/{id}/checkpoints/{kind}/content` are always those of the newest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Checkpoint {
    /// The checkpoint.
    pub id: CheckpointId,
    /// Whose network.
    pub run: RunId,
    /// The attempt that made it.
    pub attempt: AttemptId,
    /// What it is kept for.
    pub kind: CheckpointKind,
    /// The batch that follows: everything before it has been applied.
    pub next_batch: u64,
    /// `validation/total` of this state, where it was evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<f64>,
    /// SHA-256 of the content, in hex.
    pub sha256: String,
    /// Length of the content.
    pub size_bytes: u64,
    /// When it became durable.
    pub created_at: DateTime<Utc>,
}

/// Answer of `GET /runs/{id}/checkpoints`: newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckpointList {
    /// The checkpoints.
    pub checkpoints: Vec<Checkpoint>,
}

/// Most runs of one [`DeleteRuns`].
pub const MAX_DELETED: usize = 1000;

/// Body of `POST /runs/delete`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeleteRuns {
    /// The runs, at most [`MAX_DELETED`].
    pub runs: Vec<RunId>,
}

/// Answer of `GET /queue`: how many runs are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Queue {
    /// Wait for other runs.
    pub waiting: u64,
    /// Wait for a worker.
    pub queued: u64,
    /// Held by a worker.
    pub running: u64,
    /// Held back until they are resumed.
    pub paused: u64,
    /// Ended as asked.
    pub succeeded: u64,
    /// Ended with an error.
    pub failed: u64,
    /// Ended by a person.
    pub cancelled: u64,
    /// Never began, because what they waited for did not succeed.
    pub skipped: u64,
}

impl Queue {
    /// How many runs are in this state.
    #[must_use]
    pub const fn count(&self, state: RunState) -> u64 {
        match state {
            RunState::Waiting => self.waiting,
            RunState::Queued => self.queued,
            RunState::Running => self.running,
            RunState::Paused => self.paused,
            RunState::Succeeded => self.succeeded,
            RunState::Failed => self.failed,
            RunState::Cancelled => self.cancelled,
            RunState::Skipped => self.skipped,
        }
    }
}
