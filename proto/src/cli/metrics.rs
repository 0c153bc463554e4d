//! `motif metrics`: a run's curves as a table, as CSV or as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use comfy_table::Cell;

use super::CliError;
use super::output::{Output, left, right, significant};
use super::run_ref::RunRef;
use crate::client::{Client, MetricsQuery};
use crate::id::RunId;
use crate::metrics::{Curve, Measured, RunMetrics};

/// Points per series from which a summary is computed.
const SUMMARY_POINTS: u32 = 1000;
/// Rows of a table of points, where no other number is asked for.
const TABLE_POINTS: u32 = 40;
/// Steps of a curve that are fetched at once for an export. A step has at most one point, and the coordinator
/// reduces no curve that has so few.
const EXPORT_STEPS: u64 = 20_000;
/// Width of a curve drawn in one line.
const SPARK_WIDTH: usize = 24;

#[derive(Debug, Args)]
pub(super) struct Metrics {
    /// The run: `latest`, an id, or at least 6 digits of one
    run: RunRef,

    /// Only these series, such as loss/total; may be repeated. The table then lists points
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    series: Vec<String>,

    /// How to print them
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// Reduce every series to about this many points; CSV and JSON hold all points otherwise
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    points: Option<u32>,

    /// First step
    #[arg(long, value_name = "STEP")]
    from: Option<u64>,

    /// Last step
    #[arg(long, value_name = "STEP")]
    to: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A summary per series; points where series are named
    Table,
    /// One line per point: series, step, value, min, max
    Csv,
    /// The same columns as the coordinator's API
    Json,
}

impl Metrics {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        let format = if out.json { Format::Json } else { self.format };
        let default_points = match format {
            Format::Table if self.series.is_empty() => Some(SUMMARY_POINTS),
            Format::Table => Some(TABLE_POINTS),
            Format::Csv | Format::Json => None,
        };
        let query = MetricsQuery {
            series: self.series,
            points: self.points.or(default_points),
            from: self.from,
            to: self.to,
        };
        let run = self.run.resolve(client).await?;
        let metrics = match query.points {
            Some(_) => client.metrics(run, &query).await?,
            None => all_points(client, run, &query).await?,
        };
        match format {
            Format::Json => out.json(&metrics),
            Format::Csv => out.text(&csv(&metrics)),
            Format::Table if metrics.series.iter().all(|curve| curve.steps.is_empty()) => {
                out.text("No points yet.")
            }
            Format::Table if query.series.is_empty() => out.text(&summary(out, &metrics)),
            Format::Table => out.text(&points(out, &metrics)),
        }
    }
}

/// The curves as they were measured, fetched range by range.
pub(super) async fn all_points(
    client: &Client,
    run: RunId,
    query: &MetricsQuery,
) -> Result<RunMetrics, CliError> {
    let mut whole: Option<RunMetrics> = None;
    let mut from = query.from.unwrap_or(0);
    loop {
        let range_end = from.saturating_add(EXPORT_STEPS - 1);
        let to = query.to.map_or(range_end, |to| to.min(range_end));
        let part = MetricsQuery {
            series: query.series.clone(),
            points: u32::try_from(EXPORT_STEPS).ok(),
            from: Some(from),
            to: Some(to),
        };
        let part = client.metrics(run, &part).await?;
        let last_step = part.series.iter().filter_map(|curve| curve.last_step).max();
        match &mut whole {
            None => whole = Some(part),
            Some(whole) => append(whole, part),
        }
        let end = last_step.unwrap_or(0).min(query.to.unwrap_or(u64::MAX));
        match whole {
            Some(whole) if to >= end => return Ok(whole),
            _ => from = to + 1,
        }
    }
}

/// Puts the points of a later range behind those of an earlier one.
fn append(whole: &mut RunMetrics, part: RunMetrics) {
    for later in part.series {
        match whole.series.iter_mut().find(|curve| curve.name == later.name) {
            Some(curve) => {
                curve.steps.extend(later.steps);
                curve.values.extend(later.values);
                curve.count += later.count;
                curve.last_step = later.last_step;
            }
            None => whole.series.push(later),
        }
    }
}

/// Every point on a line of its own; `min` and `max` are empty where points are as they were measured.
pub(super) fn csv(metrics: &RunMetrics) -> String {
    let mut text = "series,step,value,min,max\n".to_owned();
    for curve in &metrics.series {
        let extreme = |values: &Option<Vec<Measured>>, i: usize| {
            let value = values.as_ref().and_then(|values| values.get(i));
            value.map_or_else(String::new, |value| value.0.to_string())
        };
        for (i, (step, value)) in curve.steps.iter().zip(&curve.values).enumerate() {
            let (min, max) = (extreme(&curve.min, i), extreme(&curve.max, i));
            let _ = writeln!(text, "{},{step},{},{min},{max}", quoted(&curve.name), value.0);
        }
    }
    text
}

/// A text as a field of CSV (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// One line per series.
pub(super) fn summary(out: &Output, metrics: &RunMetrics) -> String {
    let rows = metrics.series.iter().map(|curve| {
        let last = match curve.values.last() {
            // The last entry of a reduced curve is the mean of a bucket.
            Some(value) if curve.reduced => format!("≈{}", significant(value.0)),
            Some(value) => significant(value.0),
            None => "-".to_owned(),
        };
        vec![
            Cell::new(&curve.name),
            Cell::new(curve.count),
            Cell::new(
                curve
                    .last_step
                    .map_or_else(|| "-".to_owned(), |step| step.to_string()),
            ),
            Cell::new(last),
            Cell::new(extreme(curve.min.as_ref().unwrap_or(&curve.values), f64::min)),
            Cell::new(extreme(curve.max.as_ref().unwrap_or(&curve.values), f64::max)),
            Cell::new(sparkline(curve, SPARK_WIDTH)),
        ]
    });
    out.table(
        &[
            left("SERIES"),
            right("POINTS"),
            right("LAST STEP"),
            right("LAST"),
            right("MIN"),
            right("MAX"),
            left("CURVE"),
        ],
        rows.collect(),
    )
}

/// The least or greatest of the values that are numbers.
fn extreme(values: &[Measured], pick: fn(f64, f64) -> f64) -> String {
    let numbers = values.iter().map(|value| value.0).filter(|value| !value.is_nan());
    numbers.reduce(pick).map_or_else(|| "-".to_owned(), significant)
}

/// One row per step, one column per series.
pub(super) fn points(out: &Output, metrics: &RunMetrics) -> String {
    let mut rows: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (column, curve) in metrics.series.iter().enumerate() {
        for (step, value) in curve.steps.iter().zip(&curve.values) {
            let row = rows
                .entry(*step)
                .or_insert_with(|| vec![String::new(); metrics.series.len()]);
            row[column] = significant(value.0);
        }
    }
    let mut columns = vec![right("STEP")];
    columns.extend(metrics.series.iter().map(|curve| right(&curve.name)));
    let rows = rows.into_iter().map(|(step, values)| {
        std::iter::once(Cell::new(step))
            .chain(values.into_iter().map(Cell::new))
            .collect()
    });
    let mut text = out.table(&columns, rows.collect());
    if metrics.series.iter().any(|curve| curve.reduced) {
        text.push_str("\nRows are means over neighbouring steps; --points N shows more of them.");
    }
    text
}

/// A curve's shape in one line: means over equal ranges of its points, from its least value to its greatest.
pub(super) fn sparkline(curve: &Curve, width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let values: Vec<f64> = curve
        .values
        .iter()
        .map(|value| value.0)
        .filter(|value| value.is_finite())
        .collect();
    if values.is_empty() {
        return String::new();
    }
    let buckets: Vec<f64> = values
        .chunks(values.len().div_ceil(width))
        .map(|chunk| chunk.iter().sum::<f64>() / chunk.len() as f64)
        .collect();
    let least = buckets.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = buckets.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let range = if greatest > least { greatest - least } else { 1.0 };
    buckets
        .into_iter()
        .map(|value| BARS[((value - least) / range * 7.0).round() as usize])
        .collect()
}
