//! The scientist's side: experiments, runs, curves, checkpoints, presets, workers, the queue.

use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use super::http::Content;
use super::{Client, ClientError};
use crate::artifact::{Artifact, ArtifactList};
use crate::id::{ArtifactId, CheckpointId, RunId, StudyId, WorkerId};
use crate::log::{LogCursor, LogLevel, RunLogs};
use crate::metrics::RunMetrics;
use crate::run::{
    Checkpoint, CheckpointList, DeleteRuns, ExperimentAccepted, Queue, RunChange, RunDetail, RunList,
    RunState, RunSummary,
};
use crate::spec::ExperimentKind;
use crate::spec::preset::{PresetInfo, PresetList};
use crate::worker::{SetWorkerAside, WorkerInfo, WorkerList};
use serde::Serialize;

/// Which runs a list holds, and in which order; everything that is absent or empty lets all through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only runs in one of these states.
    pub states: Vec<RunState>,
    /// Only runs that do one of these.
    pub kinds: Vec<ExperimentKind>,
    /// Only runs of one of these projects.
    pub projects: Vec<String>,
    /// Only runs of one of these presets.
    pub presets: Vec<String>,
    /// Only runs with all of these tags.
    pub tags: Vec<String>,
    /// Only runs with this text in their name, preset or id.
    pub text: Option<String>,
    /// Only runs of this study.
    pub study: Option<StudyId>,
    /// Only runs that the worker of this name or id holds or held.
    pub worker: Option<String>,
    /// Only runs that fulfil all of these, such as `best_validation<0.05`.
    pub conditions: Vec<String>,
    /// The order, such as `best_validation` or `-created`, which is what it is where absent.
    pub sort: Option<String>,
    /// Whether to say how many runs all pages have together.
    pub total: bool,
    /// Length of one page.
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

impl RunFilter {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        let mut all = |name, values: Vec<String>| pairs.extend(values.into_iter().map(|value| (name, value)));
        all("state", self.states.iter().map(ToString::to_string).collect());
        all(
            "kind",
            self.kinds.iter().map(|kind| kind.as_str().to_owned()).collect(),
        );
        all("project", self.projects.clone());
        all("preset", self.presets.clone());
        all("tag", self.tags.clone());
        all("study", self.study.iter().map(ToString::to_string).collect());
        all("q", self.text.iter().cloned().collect());
        all("worker", self.worker.iter().cloned().collect());
        all("where", self.conditions.clone());
        all("sort", self.sort.iter().cloned().collect());
        all(
            "total",
            self.total.then(|| "true".to_owned()).into_iter().collect(),
        );
        all("limit", self.limit.iter().map(ToString::to_string).collect());
        all("cursor", self.cursor.iter().cloned().collect());
        pairs
    }
}

/// What part of a run's curves is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsQuery {
    /// Names of series; none means all.
    pub series: Vec<String>,
    /// Reduce every series to about this many points.
    pub points: Option<u32>,
    /// First step.
    pub from: Option<u64>,
    /// Last step.
    pub to: Option<u64>,
}

/// What part of a run's log is wanted; everything that is absent lets all through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogsQuery {
    /// Only lines of this attempt, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Only lines of this level and above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
    /// Only lines with this text in them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// Lines behind this place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<LogCursor>,
    /// Lines before this place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<LogCursor>,
    /// Length of one page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl MetricsQuery {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        if !self.series.is_empty() {
            pairs.push(("series", self.series.join(",")));
        }
        pairs.extend(self.points.map(|points| ("points", points.to_string())));
        pairs.extend(self.from.map(|from| ("from", from.to_string())));
        pairs.extend(self.to.map(|to| ("to", to.to_string())));
        pairs
    }
}

impl Client {
    /// Submits an experiment: a JSON document with the fields of a spec.
    ///
    /// # Errors
    /// A problem with the code `invalid_spec` names every field that is wrong.
    pub async fn submit(&self, spec: &Value) -> Result<ExperimentAccepted, ClientError> {
        self.submit_once(spec, &Uuid::now_v7().to_string()).await
    }

    /// Submits an experiment under a key: however often it is sent with the same key, there is one experiment, and the
    /// answer is the first one's. So it may be sent again where the answer got lost.
    ///
    /// # Errors
    /// As [`Client::submit`], and a problem with the code `request_running` while an earlier one is being carried out.
    pub async fn submit_once(&self, spec: &Value, key: &str) -> Result<ExperimentAccepted, ClientError> {
        let request = self.request(Method::POST, &["experiments"]);
        self.json(request.header("idempotency-key", key).json(spec)).await
    }

    /// One page of the list of runs.
    ///
    /// # Errors
    /// A problem with the code `invalid_query` says what a condition or an order should be.
    pub async fn runs(&self, filter: &RunFilter) -> Result<RunList, ClientError> {
        self.json(self.request(Method::GET, &["runs"]).query(&filter.pairs()))
            .await
    }

    /// Everything about one run but its curves and checkpoints.
    ///
    /// # Errors
    /// A problem with status 404 where there is no such run.
    pub async fn run(&self, run: RunId) -> Result<RunDetail, ClientError> {
        self.get(&["runs", &run.to_string()]).await
    }

    /// Changes a run's name, tags, notes or priority.
    ///
    /// # Errors
    /// A problem with the code `invalid_body` names every field that is wrong.
    pub async fn change(&self, run: RunId, change: &RunChange) -> Result<RunDetail, ClientError> {
        self.json(
            self.request(Method::PATCH, &["runs", &run.to_string()])
                .json(change),
        )
        .await
    }

    /// Ends a run that has not ended.
    ///
    /// # Errors
    /// A problem with status 409 where the run has ended otherwise.
    pub async fn cancel(&self, run: RunId) -> Result<RunSummary, ClientError> {
        self.steer(run, "cancel").await
    }

    /// Holds a run back: at once, or when its worker has handed it back.
    ///
    /// # Errors
    /// A problem with status 409 where the run has ended.
    pub async fn pause(&self, run: RunId) -> Result<RunSummary, ClientError> {
        self.steer(run, "pause").await
    }

    /// Lets a paused run go on.
    ///
    /// # Errors
    /// A problem with status 409 where the run has ended.
    pub async fn resume(&self, run: RunId) -> Result<RunSummary, ClientError> {
        self.steer(run, "resume").await
    }

    /// Lets a run that failed, was cancelled or was skipped come back.
    ///
    /// # Errors
    /// A problem with status 409 where the run has succeeded or is paused.
    pub async fn retry(&self, run: RunId) -> Result<RunSummary, ClientError> {
        self.steer(run, "retry").await
    }

    async fn steer(&self, run: RunId, wish: &str) -> Result<RunSummary, ClientError> {
        self.json(self.request(Method::POST, &["runs", &run.to_string(), wish]))
            .await
    }

    /// How many runs are in each state.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub async fn queue(&self) -> Result<Queue, ClientError> {
        self.get(&["queue"]).await
    }

    /// Deletes runs that have ended, all or none. Their data goes in the background. Safe to repeat.
    ///
    /// # Errors
    /// Problems with the codes `unknown_run`, `run_not_ended` and `run_in_use`.
    pub async fn delete_runs(&self, runs: &[RunId]) -> Result<(), ClientError> {
        let request = self.request(Method::POST, &["runs", "delete"]);
        let body = DeleteRuns { runs: runs.to_vec() };
        self.send(request.json(&body)).await.map(drop)
    }

    /// A run's curves.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub async fn metrics(&self, run: RunId, query: &MetricsQuery) -> Result<RunMetrics, ClientError> {
        let request = self.request(Method::GET, &["runs", &run.to_string(), "metrics"]);
        self.json(request.query(&query.pairs())).await
    }

    /// A page of a run's log.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub async fn logs(&self, run: RunId, query: &LogsQuery) -> Result<RunLogs, ClientError> {
        let request = self.request(Method::GET, &["runs", &run.to_string(), "logs"]);
        self.json(request.query(query)).await
    }

    /// A run's checkpoints, newest first.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub async fn checkpoints(&self, run: RunId) -> Result<Vec<Checkpoint>, ClientError> {
        let list: CheckpointList = self.get(&["runs", &run.to_string(), "checkpoints"]).await?;
        Ok(list.checkpoints)
    }

    /// A checkpoint's bytes. They are not compared with its hash here.
    ///
    /// # Errors
    /// A problem with status 404 where a newer checkpoint has replaced it.
    pub async fn checkpoint_content(&self, checkpoint: CheckpointId) -> Result<Content, ClientError> {
        self.content(&["checkpoints", &checkpoint.to_string(), "content"])
            .await
    }

    /// The files that a run made, by their names.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub async fn artifacts(&self, run: RunId) -> Result<Vec<Artifact>, ClientError> {
        let list: ArtifactList = self.get(&["runs", &run.to_string(), "artifacts"]).await?;
        Ok(list.artifacts)
    }

    /// An artifact's bytes. They are not compared with its hash here.
    ///
    /// # Errors
    /// A problem with status 404 where a newer one has replaced it.
    pub async fn artifact_content(&self, artifact: ArtifactId) -> Result<Content, ClientError> {
        self.content(&["artifacts", &artifact.to_string(), "content"])
            .await
    }

    /// The experiments that have a name.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub async fn presets(&self) -> Result<Vec<PresetInfo>, ClientError> {
        let list: PresetList = self.get(&["presets"]).await?;
        Ok(list.presets)
    }

    /// The workers, those alive first.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub async fn workers(&self) -> Result<Vec<WorkerInfo>, ClientError> {
        let list: WorkerList = self.get(&["workers"]).await?;
        Ok(list.workers)
    }

    /// Gives a worker no runs until it is put back.
    ///
    /// # Errors
    /// A problem with status 404 where there is no such worker.
    pub async fn set_worker_aside(&self, worker: WorkerId, wish: &SetWorkerAside) -> Result<(), ClientError> {
        let request = self.request(Method::POST, &["workers", &worker.to_string(), "set-aside"]);
        self.send(request.json(wish)).await.map(drop)
    }

    /// Gives a worker runs again.
    ///
    /// # Errors
    /// A problem with status 404 where there is no such worker.
    pub async fn put_worker_back(&self, worker: WorkerId) -> Result<(), ClientError> {
        let request = self.request(Method::POST, &["workers", &worker.to_string(), "put-back"]);
        self.send(request).await.map(drop)
    }
}
