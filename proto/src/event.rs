//! What the server-sent event streams carry.
//!
//! `GET /runs/{id}/events` tells everything about one run, `GET /events` only the `run` events of all runs.
//! The event's name is the variant's (`run`, `metrics`, `rewind`, `checkpoint`, `artifact`,
//! `log`, `reset`), its data the JSON
//! of what the variant holds, its id what to send as `Last-Event-ID` to go on from there. Both streams
//! begin with the current state, so a page can subscribe first and fetch curves after.

use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::id::RunId;
use crate::log::LogCursor;
use crate::metrics::SeriesPoints;
use crate::run::{Checkpoint, RunSummary};

/// One event of a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// The run's state, progress or best value changed.
    Run(Box<RunSummary>),
    /// Points were appended to the run's curves.
    Metrics(MetricsAppended),
    /// A new attempt took over: drop all points from a batch on.
    Rewind(Rewind),
    /// A checkpoint became durable.
    Checkpoint(Checkpoint),
    /// A file that the run made became durable.
    Artifact(Artifact),
    /// The run's log has more lines.
    Log(LogAppended),
    /// Too much happened since `Last-Event-ID`, or runs were deleted: fetch everything anew.
    Reset(Reset),
}

impl Event {
    /// The event's name on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Metrics(_) => "metrics",
            Self::Rewind(_) => "rewind",
            Self::Checkpoint(_) => "checkpoint",
            Self::Artifact(_) => "artifact",
            Self::Log(_) => "log",
            Self::Reset(_) => "reset",
        }
    }
}

/// Points that were appended to a run's curves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MetricsAppended {
    /// Whose curves.
    pub run: RunId,
    /// The new points.
    pub series: Vec<SeriesPoints>,
}

/// The log of a run has grown. The lines are at `GET /runs/{id}/logs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogAppended {
    /// Whose log.
    pub run: RunId,
    /// The place behind the newest line.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "1.42"))]
    pub end: LogCursor,
}

/// A run goes on from an earlier batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rewind {
    /// Which run.
    pub run: RunId,
    /// Points at this batch and later are no longer part of the curves.
    pub next_batch: u64,
}

/// The stream cannot be continued from where the client left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reset {}
