//! `motif stats` and `motif compare`: a series over seeds.

use clap::Args;
use comfy_table::Cell;

use super::CliError;
use super::output::{Output, left, right, short_id, significant, state};
use super::study::StudyRef;
use crate::client::{Client, StatisticsQuery};
use crate::metrics::series;
use crate::statistics::{Difference, Spread, Statistics};

/// Which series, and where.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// The series
    #[arg(long, default_value = series::VALIDATION_TOTAL, value_name = "SERIES")]
    series: String,

    /// The newest value at or before this step, of runs that have got there; else every run's newest
    #[arg(long, conflicts_with_all = ["from", "to", "points"])]
    step: Option<u64>,

    /// Many steps, from this one
    #[arg(long)]
    from: Option<u64>,

    /// Many steps, to this one
    #[arg(long)]
    to: Option<u64>,

    /// Many steps, in at most so many parts
    #[arg(long)]
    points: Option<u32>,

    /// How sure the intervals are
    #[arg(long, default_value_t = 0.95)]
    confidence: f64,
}

impl Where {
    fn query(self) -> StatisticsQuery {
        StatisticsQuery {
            series: self.series,
            step: self.step,
            from: self.from,
            to: self.to,
            points: self.points,
            confidence: Some(self.confidence),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Stats {
    /// The runs: study:STUDY, study:STUDY/EXPERIMENT, study:STUDY/EXPERIMENT/POINT, tag:WORD or runs:ID,ID
    group: String,

    #[command(flatten)]
    place: Where,
}

impl Stats {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        let group = whole(client, &self.group).await?;
        let statistics = client.statistics(&group, &self.place.query()).await?;
        if out.json {
            return out.json(&statistics);
        }
        out.text(&of_group(out, &statistics))
    }
}

#[derive(Debug, Args)]
pub(super) struct Compare {
    /// The first group of runs, written as for `motif stats`
    a: String,

    /// The second group, which is subtracted, seed by seed
    b: String,

    #[command(flatten)]
    place: Where,
}

impl Compare {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        let (a, b) = (whole(client, &self.a).await?, whole(client, &self.b).await?);
        let difference = client.difference(&a, &b, &self.place.query()).await?;
        if out.json {
            return out.json(&difference);
        }
        out.text(&of_difference(out, &difference))
    }
}

/// The group with the whole id of a study that was named by a part of it.
async fn whole(client: &Client, group: &str) -> Result<String, CliError> {
    let Some(rest) = group.strip_prefix("study:") else {
        return Ok(group.to_owned());
    };
    let (study, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let study: StudyRef = study.parse().map_err(CliError::Usage)?;
    Ok(format!("study:{}{path}", study.resolve(client).await?))
}

fn of_group(out: &Output, statistics: &Statistics) -> String {
    let table = spreads(out, &statistics.spreads, statistics.confidence);
    let head = format!("{} of {} runs", statistics.series, statistics.runs);
    if statistics.values.is_empty() {
        return format!("{head}\n\n{table}");
    }
    let rows = statistics.values.iter().map(|value| {
        vec![
            Cell::new(value.seed),
            Cell::new(short_id(value.run)),
            Cell::new(&value.name),
            state(value.state),
            Cell::new(value.step),
            Cell::new(significant(value.value.0)),
        ]
    });
    let columns = [
        right("SEED"),
        left("RUN"),
        left("NAME"),
        left("STATE"),
        right("STEP"),
        left("VALUE"),
    ];
    format!("{head}\n\n{table}\n\n{}", out.table(&columns, rows.collect()))
}

fn of_difference(out: &Output, difference: &Difference) -> String {
    let table = spreads(out, &difference.spreads, difference.confidence);
    let mut text = format!(
        "{}: {} less {}\n\n{table}",
        difference.series, difference.a, difference.b
    );
    if !difference.pairs.is_empty() {
        let rows = difference.pairs.iter().map(|pair| {
            vec![
                Cell::new(pair.seed),
                Cell::new(short_id(pair.a.run)),
                Cell::new(significant(pair.a.value.0)),
                Cell::new(short_id(pair.b.run)),
                Cell::new(significant(pair.b.value.0)),
                Cell::new(significant(pair.difference.0)),
            ]
        });
        let columns = [
            right("SEED"),
            left("FIRST"),
            left("VALUE"),
            left("SECOND"),
            left("VALUE"),
            left("DIFFERENCE"),
        ];
        text.push_str(&format!("\n\n{}", out.table(&columns, rows.collect())));
    }
    if !difference.unpaired.is_empty() {
        let seeds: Vec<String> = difference.unpaired.iter().map(u64::to_string).collect();
        text.push_str(&format!("\n\nWithout a partner: seeds {}", seeds.join(", ")));
    }
    text
}

fn spreads(out: &Output, spreads: &[Spread], confidence: f64) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), significant);
    let rows = spreads.iter().map(|spread| {
        let steps = match (spread.from, spread.to) {
            (Some(from), Some(to)) if from == to => from.to_string(),
            (Some(from), Some(to)) => format!("{from}–{to}"),
            _ => "newest".to_owned(),
        };
        let interval = match (spread.low, spread.high) {
            (Some(low), Some(high)) => format!("{} to {}", significant(low), significant(high)),
            _ => "-".to_owned(),
        };
        let n = match spread.not_finite {
            0 => spread.n.to_string(),
            more => format!("{} (+{more} not finite)", spread.n),
        };
        vec![
            Cell::new(steps),
            Cell::new(n),
            Cell::new(number(spread.mean)),
            Cell::new(number(spread.sd)),
            Cell::new(interval),
            Cell::new(number(spread.min)),
            Cell::new(number(spread.max)),
        ]
    });
    let interval = format!("{}% INTERVAL", significant_percent(confidence));
    let columns = [
        left("STEP"),
        right("N"),
        left("MEAN"),
        left("SD"),
        left(&interval),
        left("MIN"),
        left("MAX"),
    ];
    out.table(&columns, rows.collect())
}

/// A share as a percentage, such as 95 or 99.9.
fn significant_percent(share: f64) -> f64 {
    (share * 100_000.0).round() / 1_000.0
}
