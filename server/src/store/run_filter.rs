//! The filter of a list of runs as conditions of a statement.

use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::like_pattern;
use crate::domain::listing::{Condition, Number, RunFilter, Which, Word};

pub(super) type Sql = QueryBuilder<Postgres>;

/// The column of a series `s` that has this value.
pub(super) const fn column(which: Which) -> &'static str {
    match which {
        Which::Newest => "s.newest",
        Which::Least => "s.least",
    }
}

/// Joins the experiment `e` of a run `r` where the filter asks for it, and the conditions on both.
pub(super) fn push_filter(sql: &mut Sql, filter: &RunFilter) {
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
