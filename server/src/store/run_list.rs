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
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::run_filter::{Sql, column, push_filter};
use super::{Result, Store, unsigned};
use crate::domain::cursor::{self, ListId};
use crate::domain::listing::{Condition, RunFilter, Sort, SortBy};

/// Runs of a list that are looked at first for a page. Enough wherever the filter lets through every fourth or so.
const GLANCE: i64 = 500;
/// Runs of a list that are looked at for a page, before those that the filter lets through are looked for by
/// themselves.
const WALK: i64 = 2000;
/// So few runs are looked for by themselves after a glance, because that takes no longer than to walk on.
const FEW: u64 = 2000;
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

/// A run of a page, and where it stands in the list.
struct Listed {
    run: RunId,
    place: Place,
}

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
            let is_full = |listed: &[Listed]| listed.len() > query.limit as usize;
            let read = |way| self.listed(query, statement("", way, query, after.as_ref(), wanted));
            listed = read(Way::Walk(GLANCE.max(wanted))).await?;
            if query.is_filtered() && !is_full(&listed) {
                if !self.lets_few_through(&query.other_filter()).await? {
                    listed = read(Way::Walk(WALK)).await?;
                }
                if !is_full(&listed) {
                    listed = read(Way::Find).await?;
                }
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
        let mut sql = counted("select count(*) from (", filter);
        sql.push(" limit ").push_bind(COUNTED + 1).push(") as counted");
        let rows = self.rows(&mut sql).await?;
        let count = rows.first().map_or(Ok(0), |row| row.try_get::<i64, _>(0))?;
        if count <= COUNTED {
            return Ok(RunTotal {
                count: unsigned(count),
                is_estimate: false,
            });
        }
        Ok(RunTotal {
            count: self.estimate(filter).await?.max(unsigned(count)),
            is_estimate: true,
        })
    }

    /// Whether Postgres expects the filter to let few runs through.
    async fn lets_few_through(&self, filter: &RunFilter) -> Result<bool> {
        Ok(self.estimate(filter).await? <= FEW)
    }

    /// How many runs Postgres expects the filter to let through, without looking at any.
    async fn estimate(&self, filter: &RunFilter) -> Result<u64> {
        let plan = self.plan(counted("explain (format json) ", filter)).await?;
        Ok(plan[0]["Plan"]["Plan Rows"].as_u64().unwrap_or(0))
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
        let walk = Way::Walk(WALK);
        let ways: &[Way] = if query.is_filtered() {
            &[walk, Way::Find]
        } else {
            &[walk]
        };
        for &way in ways {
            let sql = statement(EXPLAIN, way, query, after.as_ref(), wanted);
            plans.push(self.plan(sql).await?);
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
    /// In the order of the list: of so many of its next runs, those that the filter lets through. Costs the same
    /// whatever the filter is, and finds a page unless the filter lets few through.
    Walk(i64),
    /// First all runs that the filter lets through, then the page's among these. For filters that let few through.
    Find,
}

fn statement(start: &str, way: Way, query: &RunQuery, after: Option<&Place>, limit: i64) -> Sql {
    let by = &query.sort.by;
    let Key { value, tie, .. } = key(by);
    let mut sql = Sql::new(start);
    match way {
        Way::Walk(most) => {
            let table = match by {
                SortBy::Metric(_) => "series s",
                SortBy::Name => "experiments e",
                _ => "runs r",
            };
            sql.push(format_args!(
                "select r.id, next.tie, next.value from (select {tie} as tie, {value} as value from {table} where "
            ));
            push_part(&mut sql, query, after);
            let looked_at = if query.is_filtered() { most } else { limit };
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
            // Ids alone where these do: they stand in the indexes, and no row need be read for them.
            let (found, join) = match by {
                SortBy::Metric(_) => ("r.id", "series s on s.run_id = found.id"),
                SortBy::Name => (
                    "r.id, r.experiment_id",
                    "experiments e on e.id = found.experiment_id",
                ),
                _ => ("r.id", "runs r on r.id = found.id"),
            };
            sql.push(format_args!(
                "with found as materialized (select {found} from runs r"
            ));
            push_filter(&mut sql, &query.other_filter());
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

/// The runs that the filter lets through, to be counted or estimated.
fn counted(start: &str, filter: &RunFilter) -> Sql {
    let mut sql = Sql::new(start);
    sql.push("select 1 from runs r");
    push_filter(&mut sql, filter);
    sql
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
