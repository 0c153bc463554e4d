//! Curves.

#![allow(unused_qualifications, reason = "a macro names the query type in full")]

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use motif_proto::id::RunId;
use motif_proto::metrics::{MetricsOfRuns, RunMetrics};
use motif_proto::problem::Problem;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Id, Query};
use super::problem::ApiError;
use crate::domain::access::Principal;
use crate::domain::curve::{DEFAULT_POINTS, MAX_POINTS};
use crate::domain::metrics::MAX_STEP;
use crate::error::Error;
use crate::store::Store;
use crate::store::series::CurveQuery;

/// Most runs of one answer.
const MAX_RUNS: usize = 200;

/// Which part of a run's curves.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct MetricsQuery {
    /// Names of series, several with commas between or repeated; all where not given.
    #[serde(default)]
    series: Vec<String>,
    /// Most points of each curve, 1000 where not given.
    #[param(minimum = 1, maximum = 20000)]
    points: Option<usize>,
    /// First step.
    from: Option<u64>,
    /// Last step.
    to: Option<u64>,
}

/// Which part of which runs' curves.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct MetricsOfRunsQuery {
    /// Ids of runs, several with commas between or repeated; 200 at most.
    #[serde(default)]
    #[param(required = true)]
    runs: Vec<String>,
    /// Names of series, several with commas between or repeated; all where not given.
    #[serde(default)]
    series: Vec<String>,
    /// Most points of each curve, 1000 where not given.
    #[param(minimum = 1, maximum = 20000)]
    points: Option<usize>,
    /// First step.
    from: Option<u64>,
    /// Last step.
    to: Option<u64>,
}

impl MetricsQuery {
    fn into_query(self) -> Result<CurveQuery, ApiError> {
        let points = self.points.unwrap_or(DEFAULT_POINTS);
        if !(1..=MAX_POINTS).contains(&points) {
            return Err(ApiError::invalid_query(format!(
                "`points` is from 1 to {MAX_POINTS}, not {points}"
            )));
        }
        let names: Vec<String> = words(&self.series).map(ToOwned::to_owned).collect();
        if names.iter().any(|name| name.contains('\0')) {
            return Err(ApiError::invalid_query("`series` cannot have a NUL character"));
        }
        let series = if self.series.is_empty() { None } else { Some(names) };
        Ok(CurveQuery {
            series,
            from: self.from.unwrap_or(0),
            to: self.to.unwrap_or(MAX_STEP),
            points,
        })
    }
}

impl MetricsOfRunsQuery {
    fn into_query(self) -> Result<(Vec<RunId>, CurveQuery), ApiError> {
        let mut runs = Vec::new();
        let mut known = HashSet::new();
        for word in words(&self.runs) {
            let run: RunId = word
                .parse()
                .map_err(|_| ApiError::invalid_query(format!("`runs` has `{word}`, which is not an id")))?;
            if known.insert(run) {
                runs.push(run);
            }
        }
        if !(1..=MAX_RUNS).contains(&runs.len()) {
            let detail = format!("`runs` has 1 to {MAX_RUNS} ids, not {}", runs.len());
            return Err(ApiError::invalid_query(detail));
        }
        let part = MetricsQuery {
            series: self.series,
            points: self.points,
            from: self.from,
            to: self.to,
        };
        Ok((runs, part.into_query()?))
    }
}

/// The words of a list that is repeated or has commas.
fn words(list: &[String]) -> impl Iterator<Item = &str> {
    list.iter()
        .flat_map(|words| words.split(','))
        .filter(|word| !word.is_empty())
}

/// The curves of a run.
///
/// Where a curve has more points than asked for, neighbours are joined, and their extremes kept.
#[utoipa::path(
    get, path = "/runs/{id}/metrics", tag = "runs", operation_id = "run_metrics",
    params(("id" = RunId, Path, description = "The run"), MetricsQuery),
    responses(
        (status = OK, body = RunMetrics),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn curves(
    State(store): State<Store>,
    Id(run): Id<RunId>,
    Query(query): Query<MetricsQuery>,
) -> Result<Json<RunMetrics>, ApiError> {
    Ok(Json(store.curves(run, &query.into_query()?).await?))
}

/// The curves of many runs.
///
/// As of one run; two million points in all at most.
#[utoipa::path(
    get, path = "/metrics", tag = "runs", operation_id = "metrics_of_runs",
    params(MetricsOfRunsQuery),
    responses(
        (status = OK, body = MetricsOfRuns),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn curves_of_runs(
    State(store): State<Store>,
    principal: Principal,
    Query(query): Query<MetricsOfRunsQuery>,
) -> Result<Json<MetricsOfRuns>, ApiError> {
    let (runs, query) = query.into_query()?;
    if let Some(projects) = principal.projects.filter()
        && let Some(run) = store.run_outside(&runs, projects).await?
    {
        return Err(Error::UnknownRun(run).into());
    }
    Ok(Json(store.curves_of(&runs, &query).await?))
}
