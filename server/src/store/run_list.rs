//! Lists of runs: filtered, sorted and read page by page, each page by an index.
//!
//! A page begins behind the place where the one before ended (its sort value and its id), so it costs the same
//! wherever it is, and runs that come meanwhile shift nothing. Runs without a value to sort by come last, newest
//! first, in either direction.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use motif_proto::id::RunId;
use motif_proto::run::{RunList, RunTotal};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::{Result, Store, like_pattern, unsigned};
use crate::domain::cursor::{self, ListId};
use crate::domain::listing::{Condition, Number, RunFilter, Sort, SortBy, Which, Word};

/// Runs of a list that are looked at for a page, before those that the filter lets through are looked for by
/// themselves.
const WALK: i64 = 2000;
/// Runs that are counted one by one; beyond these, the number is Postgres' estimate.
const COUNTED: i64 = 10_000;

/// Which page of which list.
#[derive(Clone, Debug, Default)]
pub struct RunQuery {
    /// Which runs.
    pub filter: RunFilter,
    /// In which order.
    pub sort: Sort,
    /// At most so many.
    pub limit: u32,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Whether to count the runs of all pages.
    pub total: bool,
}

/// Where a page ends: what its last run is sorted by, and what decides among equals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Place {
    value: Option<Value>,
    tie: Uuid,
}

/// What runs are sorted by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Value {
    /// Its id alone, which holds the time of its submission.
    Id,
    /// Microseconds since 1970.
    Time(i64),
    Whole(i32),
    Real(f64),
    Text(String),
}

/// The columns that a list is sorted by: what decides, and what decides among equals. One index has both.
struct Key {
    value: &'static str,
    tie: &'static str,
    /// Whether there are runs without it.
    may_be_absent: bool,
}

const fn key(by: &SortBy) -> Key {
    let (value, tie, may_be_absent) = match by {
        SortBy::Created => ("r.id", "r.id", false),
        SortBy::Updated => ("r.touched_at", "r.id", false),
        SortBy::Finished => ("r.finished_at", "r.id", true),
        SortBy::Duration => ("r.duration_seconds", "r.id", true),
        // An experiment has one run.
        SortBy::Name => ("e.name", "e.id", false),
        SortBy::Priority => ("r.priority", "r.id", false),
        SortBy::Metric(metric) => (column(metric.which), "s.run_id", true),
    };
    Key {
        value,
        tie,
        may_be_absent,
    }
}

const fn column(which: Which) -> &'static str {
    match which {
        Which::Newest => "s.newest",
        Which::Least => "s.least",
    }
}

/// A run of a page, and where it stands in the list.
struct Listed {
    run: RunId,
    place: Place,
}

type Sql = QueryBuilder<Postgres>;

impl RunQuery {
    fn id(&self) -> ListId {
        ListId::of("runs", &(&self.filter, &self.sort))
    }

    fn place(&self) -> Result<Option<Place>> {
        let cursor = self.cursor.as_deref();
        Ok(cursor.map(|cursor| cursor::read(self.id(), cursor)).transpose()?)
    }

    /// The filter without the conditions on the series that the list is sorted by: its index serves these.
    fn other_filter(&self) -> RunFilter {
        let mut filter = self.filter.clone();
        if let SortBy::Metric(sorted) = &self.sort.by {
            filter.conditions.retain(|condition| match condition {
                Condition::Metric(metric, ..) => metric.series != sorted.series,
                Condition::Number(..) | Condition::Word(..) => true,
            });
        }
        filter
    }

    fn is_filtered(&self) -> bool {
        self.other_filter() != RunFilter::default()
    }

    /// Whether there may be runs without a value to sort by that the filter lets through.
    fn has_rest(&self) -> bool {
        let filter = &self.filter;
        key(&self.sort.by).may_be_absent
            && match &self.sort.by {
                SortBy::Finished => filter.finished_from.is_none() && filter.finished_to.is_none(),
                SortBy::Metric(sorted) => !filter.conditions.iter().any(|condition| {
                    matches!(condition, Condition::Metric(metric, ..) if metric.series == sorted.series)
                }),
                _ => true,
            }
    }
}

impl Store {
    /// A page of runs.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`](crate::error::Error::InvalidCursor), storage.
    pub async fn list_runs(&self, query: &RunQuery) -> Result<RunList> {
        let mut listed = self.page(query).await?;
        let limit = query.limit as usize;
        let is_last = listed.len() <= limit;
        listed.truncate(limit);
        let next = listed.last().filter(|_| !is_last);
        let next_cursor = next.map(|run| cursor::write(query.id(), &run.place));
        let ids: Vec<RunId> = listed.iter().map(|listed| listed.run).collect();
        let summaries = self.run_summaries(&ids).await?;
        let mut summaries: HashMap<RunId, _> = summaries.into_iter().map(|run| (run.id, run)).collect();
        let total = match query.total {
            true => Some(self.count_runs(&query.filter).await?),
            false => None,
        };
        Ok(RunList {
            runs: ids.iter().filter_map(|id| summaries.remove(id)).collect(),
            next_cursor,
            total,
        })
    }

    /// The runs of a page and one more, where there is one: first those that have what the list is sorted by.
    async fn page(&self, query: &RunQuery) -> Result<Vec<Listed>> {
        let after = query.place()?;
        let wanted = i64::from(query.limit) + 1;
        let mut listed = Vec::new();
        if after.as_ref().is_none_or(|place| place.value.is_some()) {
            listed = self
                .listed(query, statement("", Way::Walk, query, after.as_ref(), wanted))
                .await?;
            if listed.len() < query.limit as usize + 1 && query.is_filtered() {
                listed = self
                    .listed(query, statement("", Way::Find, query, after.as_ref(), wanted))
                    .await?;
            }
        }
        let missing = wanted - i64::try_from(listed.len()).unwrap_or(i64::MAX);
        if missing > 0 && query.has_rest() {
            let after = after.filter(|place| place.value.is_none());
            let mut sql = rest("", query, after.as_ref(), missing);
            for row in self.rows(&mut sql).await? {
                let id: Uuid = row.try_get("id")?;
                let place = Place { value: None, tie: id };
                listed.push(Listed {
                    run: RunId(id),
                    place,
                });
            }
        }
        Ok(listed)
    }

    async fn listed(&self, query: &RunQuery, mut sql: Sql) -> Result<Vec<Listed>> {
        let rows = self.rows(&mut sql).await?;
        rows.iter()
            .map(|row| {
                let value = Some(value_of(row, &query.sort.by)?);
                let place = Place {
                    value,
                    tie: row.try_get("tie")?,
                };
                Ok(Listed {
                    run: RunId(row.try_get("id")?),
                    place,
                })
            })
            .collect()
    }

    /// How many runs the filter lets through: exactly where they are not too many, else as Postgres estimates.
    async fn count_runs(&self, filter: &RunFilter) -> Result<RunTotal> {
        let counted = |start: &str| {
            let mut sql = Sql::new(start);
            sql.push("select 1 from runs r");
            push_filter(&mut sql, filter);
            sql
        };
        let mut sql = counted("select count(*) from (");
        sql.push(" limit ").push_bind(COUNTED + 1).push(") as counted");
        let rows = self.rows(&mut sql).await?;
        let count = rows.first().map_or(Ok(0), |row| row.try_get::<i64, _>(0))?;
        if count <= COUNTED {
            return Ok(RunTotal {
                count: unsigned(count),
                is_estimate: false,
            });
        }
        let plan = self.plan(counted("explain (format json) ")).await?;
        let estimate = plan[0]["Plan"]["Plan Rows"].as_u64().unwrap_or(0);
        Ok(RunTotal {
            count: estimate.max(unsigned(count)),
            is_estimate: true,
        })
    }

    /// How Postgres finds a page, with what it went through: `EXPLAIN` as JSON, a plan for each of the statements that
    /// a page may take.
    ///
    /// # Errors
    /// As [`Store::list_runs`].
    pub async fn explain_list(&self, query: &RunQuery) -> Result<Vec<serde_json::Value>> {
        const EXPLAIN: &str = "explain (analyze, format json) ";
        let (after, wanted) = (query.place()?, i64::from(query.limit) + 1);
        let mut plans = Vec::new();
        for way in [Way::Walk, Way::Find] {
            if way == Way::Walk || query.is_filtered() {
                let sql = statement(EXPLAIN, way, query, after.as_ref(), wanted);
                plans.push(self.plan(sql).await?);
            }
        }
        if query.has_rest() {
            plans.push(self.plan(rest(EXPLAIN, query, None, wanted)).await?);
        }
        Ok(plans)
    }

    async fn plan(&self, mut sql: Sql) -> Result<serde_json::Value> {
        let rows = self.rows(&mut sql).await?;
        Ok(rows
            .first()
            .map_or(Ok(serde_json::Value::Null), |row| row.try_get(0))?)
    }

    /// Statements differ with every filter and are planned with their values in sight, so none is kept prepared.
    async fn rows(&self, sql: &mut Sql) -> Result<Vec<PgRow>> {
        Ok(sql.build().persistent(false).fetch_all(&self.pool).await?)
    }
}

/// How the runs of a page are found that have a value to sort by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// In the order of the list: of its next runs, so many as [`WALK`] says, those that the filter lets through. Costs
    /// the same whatever the filter is, and finds a page unless the filter lets few through.
    Walk,
    /// First all runs that the filter lets through, then the page's among these. For filters that let few through.
    Find,
}

fn statement(start: &str, way: Way, query: &RunQuery, after: Option<&Place>, limit: i64) -> Sql {
    let by = &query.sort.by;
    let Key { value, tie, .. } = key(by);
    let mut sql = Sql::new(start);
    match way {
        Way::Walk => {
            let table = match by {
                SortBy::Metric(_) => "series s",
                SortBy::Name => "experiments e",
                _ => "runs r",
            };
            sql.push(format_args!(
                "select r.id, next.tie, next.value from (select {tie} as tie, {value} as value from {table} where "
            ));
            push_part(&mut sql, query, after);
            let looked_at = if query.is_filtered() { WALK } else { limit };
            // A row at a time, whatever the planner expects of the filter: the first ones may be enough.
            sql.push(" limit ")
                .push_bind(looked_at)
                .push(") next cross join lateral (select r.id from runs r");
            push_filter(&mut sql, &query.other_filter());
            sql.push(match by {
                SortBy::Name => " and r.experiment_id = next.tie offset 0) r",
                _ => " and r.id = next.tie offset 0) r",
            });
            push_order(&mut sql, query, "next.value", "next.tie");
        }
        Way::Find => {
            sql.push("with found as materialized (select r.id, r.experiment_id from runs r");
            push_filter(&mut sql, &query.other_filter());
            let join = match by {
                SortBy::Metric(_) => "series s on s.run_id = found.id",
                SortBy::Name => "experiments e on e.id = found.experiment_id",
                _ => "runs r on r.id = found.id",
            };
            sql.push(format_args!(
                ") select found.id, {tie} as tie, {value} as value from found join {join} where "
            ));
            push_part(&mut sql, query, after);
        }
    }
    sql.push(" limit ").push_bind(limit);
    sql
}

/// The part of the list that follows the place, in its order.
fn push_part(sql: &mut Sql, query: &RunQuery, after: Option<&Place>) {
    let Key { value, tie, .. } = key(&query.sort.by);
    if let SortBy::Metric(metric) = &query.sort.by {
        sql.push("s.name = ")
            .push_bind(metric.series.clone())
            .push(" and ");
        for condition in &query.filter.conditions {
            if let Condition::Metric(other, comparison, bound) = condition
                && other.series == metric.series
            {
                let (column, comparison) = (column(other.which), comparison.sql());
                sql.push(format_args!("{column} {comparison} "))
                    .push_bind(*bound)
                    .push(" and ");
            }
        }
    }
    // Also for the index, which leaves out the others.
    sql.push(format_args!("{value} is not null"));
    let beyond = if query.sort.descending { "<" } else { ">" };
    if let Some(Place {
        value: Some(last),
        tie: id,
    }) = after
    {
        sql.push(format_args!(" and ({value}, {tie}) {beyond} ("));
        match last {
            Value::Id => sql.push_bind(*id),
            Value::Time(micros) => sql.push_bind(DateTime::<Utc>::from_timestamp_micros(*micros)),
            Value::Whole(number) => sql.push_bind(*number),
            Value::Real(number) => sql.push_bind(*number),
            Value::Text(text) => sql.push_bind(text.clone()),
        };
        sql.push(", ").push_bind(*id).push(")");
    }
    push_order(sql, query, value, tie);
}

fn push_order(sql: &mut Sql, query: &RunQuery, value: &str, tie: &str) {
    let direction = if query.sort.descending { "desc" } else { "asc" };
    sql.push(format_args!(" order by {value} {direction}, {tie} {direction}"));
}

/// The runs that have no value to sort by, newest first.
fn rest(start: &str, query: &RunQuery, after: Option<&Place>, limit: i64) -> Sql {
    let mut sql = Sql::new(format!("{start}select r.id from runs r"));
    push_filter(&mut sql, &query.filter);
    match &query.sort.by {
        SortBy::Metric(metric) => sql
            .push(" and not exists (select from series s where s.run_id = r.id and s.name = ")
            .push_bind(metric.series.clone())
            .push(format_args!(" and {} is not null)", column(metric.which))),
        by => sql.push(format_args!(" and {} is null", key(by).value)),
    };
    if let Some(place) = after {
        sql.push(" and r.id < ").push_bind(place.tie);
    }
    sql.push(" order by r.id desc limit ").push_bind(limit);
    sql
}

/// Joins the experiment `e` of a run `r` where the filter asks for it, and the conditions on both.
fn push_filter(sql: &mut Sql, filter: &RunFilter) {
    if filter.asks_for_the_experiment() {
        sql.push(" join experiments e on e.id = r.experiment_id");
    }
    sql.push(" where true");
    let any = |sql: &mut Sql, column: &str, words: Vec<String>| {
        if !words.is_empty() {
            sql.push(format_args!(" and {column} = any("))
                .push_bind(words)
                .push(")");
        }
    };
    any(
        sql,
        "r.state",
        filter.states.iter().map(ToString::to_string).collect(),
    );
    any(
        sql,
        "e.kind",
        filter.kinds.iter().map(|kind| kind.as_str().to_owned()).collect(),
    );
    any(sql, "r.project", filter.projects.clone());
    if let Some(visible) = &filter.visible {
        sql.push(" and r.project = any(")
            .push_bind(visible.clone())
            .push(")");
    }
    if let Some(study) = filter.study {
        sql.push(" and e.study_id = ").push_bind(study.0);
    }
    any(sql, "e.preset", filter.presets.clone());
    if !filter.tags.is_empty() {
        sql.push(" and e.tags @> ").push_bind(filter.tags.clone());
    }
    if let Some(text) = &filter.text {
        let pattern = like_pattern(text);
        sql.push(" and ((e.name || ' ' || coalesce(e.preset, '')) ilike ")
            .push_bind(pattern.clone());
        // Only what can be a part of an id is looked for in ids, for which there is no index.
        if text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
            sql.push(" or r.id::text ilike ").push_bind(pattern);
        }
        sql.push(")");
    }
    if let Some(worker) = &filter.worker {
        sql.push(
            " and r.id in (select a.run_id from attempts a join workers w on w.id = a.worker_id where w.name = ",
        );
        sql.push_bind(worker.clone());
        if let Ok(id) = worker.parse::<Uuid>() {
            sql.push(" or w.id = ").push_bind(id);
        }
        sql.push(")");
    }
    for (column, comparison, time) in [
        ("r.created_at", ">=", filter.created_from),
        ("r.created_at", "<", filter.created_to),
        ("r.finished_at", ">=", filter.finished_from),
        ("r.finished_at", "<", filter.finished_to),
    ] {
        if let Some(time) = time {
            sql.push(format_args!(" and {column} {comparison} "))
                .push_bind(time);
        }
    }
    for condition in &filter.conditions {
        push_condition(sql, condition);
    }
}

fn push_condition(sql: &mut Sql, condition: &Condition) {
    match condition {
        Condition::Metric(metric, comparison, value) => {
            let (column, comparison) = (column(metric.which), comparison.sql());
            sql.push(" and r.id in (select s.run_id from series s where s.name = ")
                .push_bind(metric.series.clone())
                .push(format_args!(" and {column} {comparison} "))
                .push_bind(*value)
                .push(")");
        }
        Condition::Number(number, comparison, value) => {
            let column = match number {
                Number::Seed => "e.seed",
                Number::Priority => "r.priority",
                Number::Attempts => "r.attempts",
                Number::BatchesDone => "r.batches_done",
                Number::Duration => "r.duration_seconds",
                Number::Hidden => "e.hidden",
                Number::Batches => "e.batches",
                Number::BatchSize => "e.batch_size",
                Number::LearningRate => "e.learning_rate",
            };
            sql.push(format_args!(" and {column} {} ", comparison.sql()));
            match whole(*value) {
                // Of the type that columns of whole numbers have, so that an index serves.
                Some(value) => sql.push_bind(value),
                None => sql.push_bind(*value),
            };
        }
        Condition::Word(word, comparison, value) => {
            let column = match word {
                Word::NetworkKind => "e.network_kind",
                Word::Activation => "e.activation",
            };
            sql.push(format_args!(" and {column} {} ", comparison.sql()))
                .push_bind(value.clone());
        }
    }
}

/// The number as a whole one, if it is one.
fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "whole and small enough by the check"
    )]
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
}

fn value_of(row: &PgRow, by: &SortBy) -> Result<Value> {
    Ok(match by {
        SortBy::Created => Value::Id,
        SortBy::Updated | SortBy::Finished => {
            Value::Time(row.try_get::<DateTime<Utc>, _>("value")?.timestamp_micros())
        }
        SortBy::Name => Value::Text(row.try_get("value")?),
        SortBy::Priority => Value::Whole(row.try_get("value")?),
        SortBy::Duration | SortBy::Metric(_) => Value::Real(row.try_get("value")?),
    })
}
