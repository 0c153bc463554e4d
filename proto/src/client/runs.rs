//! The scientist's side: experiments, runs, curves, checkpoints, presets, workers, the queue.

use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

use super::http::Content;
use super::{Client, ClientError};
use crate::artifact::{Artifact, ArtifactList};
use crate::id::{ArtifactId, CheckpointId, RunId, StudyId, WorkerId};
use crate::metrics::RunMetrics;
use crate::run::{
    Checkpoint, CheckpointList, DeleteRuns, ExperimentAccepted, Queue, RunChange, RunDetail, RunList,
    RunState, RunSummary,
};
use crate::spec::ExperimentKind;
use crate::spec::preset::{PresetInfo, PresetList};
use crate::worker::{SetWorkerAside, WorkerInfo, WorkerList};

/// Which runs a list holds; everything that is absent lets all through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunFilter {
    /// Only runs in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<RunState>,
    /// Only runs that do this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ExperimentKind>,
    /// Only runs whose name has this text in it.
    #[serde(rename = "q", skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Only runs with this tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Only runs of this study.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub study: Option<StudyId>,
    /// Length of one page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
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
        self.post(&["experiments"], spec).await
    }

    /// One page of the list of runs, newest first.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub async fn runs(&self, filter: &RunFilter) -> Result<RunList, ClientError> {
        self.json(self.request(Method::GET, &["runs"]).query(filter))
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
