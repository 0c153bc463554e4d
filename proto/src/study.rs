//! Studies as clients see them, and lineage: which bytes came from which run.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{CheckpointId, RunId, StudyId};
use crate::metrics::StepValue;
use crate::run::{CheckpointKind, Queue, RunState};
use crate::spec::ExperimentKind;
use crate::spec::sweep::SweepSpec;

/// Where a study stands, as its runs tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StudyState {
    /// Some of its runs have not ended.
    Active,
    /// All that was to be done was done; a sweep may have ended some of its runs early.
    Succeeded,
    /// All have ended, and some failed.
    Failed,
    /// All have ended; none failed, and a person cancelled some.
    Cancelled,
}

impl StudyState {
    /// Where a study stands whose runs are in these states.
    #[must_use]
    pub const fn of(counts: &StudyCounts) -> Self {
        let runs = &counts.runs;
        if runs.waiting + runs.queued + runs.running + runs.paused > 0 {
            Self::Active
        } else if runs.failed > 0 {
            Self::Failed
        } else if runs.cancelled > counts.stopped {
            Self::Cancelled
        } else {
            Self::Succeeded
        }
    }

    /// The word used on the wire and on pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for StudyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How many runs of a study, or of one of its experiments, are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StudyCounts {
    /// By state.
    #[serde(flatten)]
    pub runs: Queue,
    /// How many of the cancelled ones a sweep ended early.
    pub stopped: u64,
}

impl StudyCounts {
    /// How many runs there are.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.live() + self.runs.succeeded + self.runs.failed + self.runs.cancelled + self.runs.skipped
    }

    /// How many of them have not ended.
    #[must_use]
    pub const fn live(&self) -> u64 {
        self.runs.waiting + self.runs.queued + self.runs.running + self.runs.paused
    }

    /// Counts one more run in this state.
    pub const fn add(&mut self, state: RunState, stopped_by_sweep: bool, count: u64) {
        let runs = &mut self.runs;
        let counter = match state {
            RunState::Waiting => &mut runs.waiting,
            RunState::Queued => &mut runs.queued,
            RunState::Running => &mut runs.running,
            RunState::Paused => &mut runs.paused,
            RunState::Succeeded => &mut runs.succeeded,
            RunState::Failed => &mut runs.failed,
            RunState::Cancelled => &mut runs.cancelled,
            RunState::Skipped => &mut runs.skipped,
        };
        *counter += count;
        if stopped_by_sweep {
            self.stopped += count;
        }
    }
}

/// A study as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StudySummary {
    /// The study.
    pub id: StudyId,
    /// Its name.
    pub name: String,
    /// The project that it belongs to.
    pub project: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Where it stands.
    pub state: StudyState,
    /// Its runs by their states.
    pub counts: StudyCounts,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
}

/// Answer of `GET /studies`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StudyList {
    /// Newest first.
    pub studies: Vec<StudySummary>,
    /// Give it as `cursor` to get what follows; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A study with its experiments and their runs: answer of `POST /studies` and `GET /studies/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StudyDetail {
    /// What lists show.
    #[serde(flatten)]
    pub summary: StudySummary,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// What was submitted, as JSON: submitting it again makes the same runs.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub document: Value,
    /// Its experiments, in the order of the document.
    pub experiments: Vec<StudyExperiment>,
}

/// An experiment of a study: one run for each seed and each point of its sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StudyExperiment {
    /// Its id within the study.
    pub key: String,
    /// What is done.
    pub kind: ExperimentKind,
    /// What it starts from: an experiment of the study, or a run or checkpoint outside of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The experiments of the study that it comes after.
    pub after: Vec<String>,
    /// How its values are searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<SweepSpec>,
    /// The batches at which a sweep by successive halving compares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rungs: Vec<u64>,
    /// Its runs by their states.
    pub counts: StudyCounts,
    /// Its runs, by point and then in the order of the seeds.
    pub runs: Vec<StudyRun>,
}

/// A run within its study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StudyRun {
    /// The run; `GET /runs/{id}` has everything about it.
    pub run: RunId,
    /// Its name.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// Which point of the sweep it is, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<u32>,
    /// The fields that the sweep set at that point.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub parameters: BTreeMap<String, Value>,
    /// Where it stands.
    pub state: RunState,
    /// Why it was skipped, or ended early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Batches whose metrics are stored.
    pub batches_done: u64,
    /// Batches that its spec asks for.
    pub batches_total: u64,
    /// Least `validation/total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_validation: Option<StepValue>,
    /// What a sweep by successive halving measured of it, rung by rung.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rungs: Vec<RungReached>,
}

/// A rung that a run has reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RungReached {
    /// The batch.
    pub batch: u64,
    /// The newest value of the metric there; absent where there was none that is a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

/// A run's place in its study.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StudyPlace {
    /// The study.
    pub id: StudyId,
    /// Its name.
    pub name: String,
    /// The id of the experiment within it.
    pub key: String,
    /// Which point of the experiment's sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<u32>,
}

/// Answer of `GET /runs/{id}/lineage`: what a run came from and what came from it, through all generations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Lineage {
    /// The run that was asked for.
    pub run: RunId,
    /// It and its relatives, oldest first.
    pub runs: Vec<LineageRun>,
    /// Which checkpoint went from which to which.
    pub edges: Vec<LineageEdge>,
    /// Whether there are more relatives than one answer can have.
    pub truncated: bool,
}

/// A run of a lineage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LineageRun {
    /// The run.
    pub run: RunId,
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: ExperimentKind,
    /// Its seed.
    pub seed: u64,
    /// Where it stands.
    pub state: RunState,
    /// Its place in a study.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub study: Option<StudyPlace>,
}

/// A checkpoint of one run from which another starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LineageEdge {
    /// The run that made it.
    pub from: RunId,
    /// The run that starts from it.
    pub to: RunId,
    /// What it was kept for.
    pub kind: CheckpointKind,
    /// The very bytes; absent while the first run has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<LineageCheckpoint>,
}

/// The bytes that went from one run to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LineageCheckpoint {
    /// The checkpoint; its bytes are at `GET /checkpoints/{id}/content`.
    pub id: CheckpointId,
    /// The batch that follows: everything before it has been applied.
    pub next_batch: u64,
    /// SHA-256 of its content, in hex.
    pub sha256: String,
}
