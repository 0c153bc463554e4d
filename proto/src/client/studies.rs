//! Studies, lineage, and statistics over seeds.

use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

use super::{Client, ClientError};
use crate::id::{RunId, StudyId};
use crate::statistics::{Difference, Statistics};
use crate::study::{Lineage, StudyDetail, StudyList};

/// Which studies a list holds; everything that is absent lets all through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StudyFilter {
    /// Only studies of this project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Only studies with this tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Length of one page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Which series, and where: at a step, over a range in parts, or every run's newest value.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StatisticsQuery {
    /// The series.
    pub series: String,
    /// At or before this step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// First step of a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Last step of a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// Most parts of a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<u32>,
    /// How sure the intervals are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
}

impl Client {
    /// Submits a study: a JSON document with a list of experiments.
    ///
    /// # Errors
    /// A problem with the code `invalid_spec` names every field of every experiment that is wrong.
    pub async fn submit_study(&self, study: &Value) -> Result<StudyDetail, ClientError> {
        self.post(&["studies"], study).await
    }

    /// One page of the list of studies, newest first.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub async fn studies(&self, filter: &StudyFilter) -> Result<StudyList, ClientError> {
        self.json(self.request(Method::GET, &["studies"]).query(filter))
            .await
    }

    /// A study with its experiments and their runs.
    ///
    /// # Errors
    /// A problem with status 404 where there is no such study.
    pub async fn study(&self, study: StudyId) -> Result<StudyDetail, ClientError> {
        self.get(&["studies", &study.to_string()]).await
    }

    /// Cancels every run of a study that has not ended.
    ///
    /// # Errors
    /// A problem with status 404 where there is no such study.
    pub async fn cancel_study(&self, study: StudyId) -> Result<StudyDetail, ClientError> {
        self.json(self.request(Method::POST, &["studies", &study.to_string(), "cancel"]))
            .await
    }

    /// Deletes a study whose runs have ended, with all of them, or nothing. Its data goes in the background. Safe to
    /// repeat.
    ///
    /// # Errors
    /// Problems with the codes `unknown_study`, `run_not_ended` and `run_in_use`.
    pub async fn delete_study(&self, study: StudyId) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, &["studies", &study.to_string()]);
        self.send(request).await.map(drop)
    }

    /// What a run came from and what came from it.
    ///
    /// # Errors
    /// A problem with status 404 where there is no such run.
    pub async fn lineage(&self, run: RunId) -> Result<Lineage, ClientError> {
        self.get(&["runs", &run.to_string(), "lineage"]).await
    }

    /// Mean and spread of a series over a group of runs, written as [`crate::statistics::Group`] is.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub async fn statistics(&self, group: &str, query: &StatisticsQuery) -> Result<Statistics, ClientError> {
        let request = self.request(Method::GET, &["statistics"]);
        self.json(request.query(&[("group", group)]).query(query)).await
    }

    /// The first group less the second, seed by seed.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub async fn difference(
        &self,
        a: &str,
        b: &str,
        query: &StatisticsQuery,
    ) -> Result<Difference, ClientError> {
        let request = self.request(Method::GET, &["statistics", "difference"]);
        self.json(request.query(&[("a", a), ("b", b)]).query(query)).await
    }
}
