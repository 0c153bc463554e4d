//! Statistics over seeds.

#![allow(unused_qualifications, reason = "a macro names the query type in full")]

use axum::Json;
use axum::extract::State;
use motif_proto::problem::Problem;
use motif_proto::statistics::{Difference, Group, Statistics};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::Query;
use super::problem::ApiError;
use crate::domain::access::{Principal, Projects};
use crate::domain::metrics::MAX_STEP;
use crate::store::Store;
use crate::store::statistics::{At, Question};

/// Ranges that an answer has where the query does not say.
const DEFAULT_POINTS: usize = 500;
/// Most ranges of an answer.
const MAX_POINTS: usize = 2_000;
const DEFAULT_CONFIDENCE: f64 = 0.95;

/// Which group, which series, and where.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct GroupQuery {
    /// The runs: `study:ID`, `study:ID/KEY`, `study:ID/KEY/POINT`, `tag:WORD` or `runs:ID,ID`.
    group: String,
    /// The series, such as `validation/total`.
    series: String,
    /// The newest value at or before this step, of runs that have got there. Without this and without a range it is
    /// every run's newest value.
    step: Option<u64>,
    /// First step of a range.
    from: Option<u64>,
    /// Last step of a range.
    to: Option<u64>,
    /// Makes it a range, in at most so many parts; 500 where only `from` or `to` is given.
    #[param(minimum = 1, maximum = 2000)]
    points: Option<usize>,
    /// How sure the intervals are, 0.95 where not given.
    #[param(exclusive_minimum = 0.0, exclusive_maximum = 1.0)]
    confidence: Option<f64>,
}

/// Which groups, which series, and where.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DifferenceQuery {
    /// The first group, written as in `GET /statistics`.
    a: String,
    /// The second group.
    b: String,
    /// The series, such as `validation/total`.
    series: String,
    /// The newest value at or before this step, of runs that have got there. Without this and without a range it is
    /// every run's newest value.
    step: Option<u64>,
    /// First step of a range.
    from: Option<u64>,
    /// Last step of a range.
    to: Option<u64>,
    /// Makes it a range, in at most so many parts; 500 where only `from` or `to` is given.
    #[param(minimum = 1, maximum = 2000)]
    points: Option<usize>,
    /// How sure the intervals are, 0.95 where not given.
    #[param(exclusive_minimum = 0.0, exclusive_maximum = 1.0)]
    confidence: Option<f64>,
}

impl DifferenceQuery {
    fn into_question(self, projects: Projects) -> Result<(Group, Group, Question), ApiError> {
        let b = group(&self.b)?;
        let query = GroupQuery {
            group: self.a,
            series: self.series,
            step: self.step,
            from: self.from,
            to: self.to,
            points: self.points,
            confidence: self.confidence,
        };
        let (a, question) = query.into_question(projects)?;
        Ok((a, b, question))
    }
}

impl GroupQuery {
    fn into_question(self, projects: Projects) -> Result<(Group, Question), ApiError> {
        let points = self.points.unwrap_or(DEFAULT_POINTS);
        if !(1..=MAX_POINTS).contains(&points) {
            let detail = format!("`points` is from 1 to {MAX_POINTS}, not {points}");
            return Err(ApiError::invalid_query(detail));
        }
        let confidence = self.confidence.unwrap_or(DEFAULT_CONFIDENCE);
        if !(confidence > 0.0 && confidence < 1.0) {
            let detail = format!("`confidence` lies between 0 and 1, such as 0.95, not {confidence}");
            return Err(ApiError::invalid_query(detail));
        }
        if self.series.contains('\0') {
            return Err(ApiError::invalid_query("`series` cannot have a NUL character"));
        }
        let is_range = self.from.is_some() || self.to.is_some() || self.points.is_some();
        let at = match self.step {
            Some(_) if is_range => {
                return Err(ApiError::invalid_query("give either `step` or a range of steps"));
            }
            Some(step) if step > MAX_STEP => {
                return Err(ApiError::invalid_query(format!("`step` is at most {MAX_STEP}")));
            }
            Some(step) => At::Step(step),
            None if is_range => At::Range {
                from: self.from.unwrap_or(0),
                to: self.to.unwrap_or(MAX_STEP),
                points,
            },
            None => At::Newest,
        };
        let question = Question {
            series: self.series,
            at,
            confidence,
            projects,
        };
        Ok((group(&self.group)?, question))
    }
}

fn group(text: &str) -> Result<Group, ApiError> {
    text.parse().map_err(ApiError::invalid_query)
}

/// Mean, spread and confidence interval of a series over a group of runs.
#[utoipa::path(
    get, path = "/statistics", tag = "studies", operation_id = "statistics", params(GroupQuery),
    responses(
        (status = OK, body = Statistics),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn of_group(
    State(store): State<Store>,
    principal: Principal,
    Query(query): Query<GroupQuery>,
) -> Result<Json<Statistics>, ApiError> {
    let (group, question) = query.into_question(principal.projects.clone())?;
    Ok(Json(store.statistics(&group, &question).await?))
}

/// How two groups differ, paired by their seeds, with confidence intervals.
#[utoipa::path(
    get, path = "/statistics/difference", tag = "studies", operation_id = "statistics_difference",
    params(DifferenceQuery),
    responses(
        (status = OK, body = Difference),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json",
         description = "`ambiguous_seed`: a group has several runs with one seed"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn difference(
    State(store): State<Store>,
    principal: Principal,
    Query(query): Query<DifferenceQuery>,
) -> Result<Json<Difference>, ApiError> {
    let (a, b, question) = query.into_question(principal.projects.clone())?;
    Ok(Json(store.difference(&a, &b, &question).await?))
}
