//! Curves, read reduced: from the pyramid where it is fine enough, from the points at the ends of the range and
//! where there are few, and from the journal.

use std::collections::HashMap;

use motif_proto::id::RunId;
use motif_proto::metrics::{Curve, Measured, MetricsOfRuns, RunMetrics, SeriesPoints};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::events::Range;
use super::journal::Journals;
use super::{Result, Store, signed, unsigned};
use crate::domain::chunk::{self, Point};
use crate::domain::curve;
use crate::domain::summary::{self, Bucket};
use crate::error::Error;

/// Most points of all curves of one answer.
const MAX_POINTS: usize = 2_000_000;

/// Which part of the curves is asked for.
#[derive(Clone, Debug)]
pub struct CurveQuery {
    /// Names of the series; none means all.
    pub series: Option<Vec<String>>,
    /// First step.
    pub from: u64,
    /// Last step.
    pub to: u64,
    /// Most points of each curve.
    pub points: usize,
}

impl CurveQuery {
    fn wants(&self, name: &str) -> bool {
        self.series
            .as_ref()
            .is_none_or(|series| series.iter().any(|wanted| wanted == name))
    }
}

/// What is in chunks of a series, as far as it lies in the range asked for.
#[derive(FromRow)]
struct SettledRow {
    run_id: Uuid,
    id: i64,
    name: String,
    last_step: i64,
    /// Numbers of the chunks in which the range begins and ends.
    from_chunk: i64,
    to_chunk: Option<i64>,
}

/// Steps of a series that are wanted from some level; none means the points themselves.
#[derive(Clone, Copy)]
struct Span {
    /// Place of the curve in the answer.
    curve: usize,
    series: i64,
    level: Option<u32>,
    from: u64,
    to: u64,
}

impl Span {
    fn holds(&self, first: u64, last: u64) -> bool {
        self.from <= first && last <= self.to
    }

    /// The same steps or a part of them from the level below, if it has any.
    fn below(self, from: u64, to: u64) -> Option<Self> {
        let level = self.level.and_then(|level| level.checked_sub(1));
        (from <= to).then_some(Self {
            level,
            from,
            to,
            ..self
        })
    }
}

/// One curve while it is put together.
struct Part {
    run: RunId,
    name: String,
    last_step: u64,
    buckets: Vec<Bucket>,
    /// Points that follow the chunks.
    newest: Vec<Point>,
}

/// A row of the pyramid or a chunk, and the span that it is for.
#[derive(FromRow)]
struct PieceRow {
    /// Counted from 1.
    span: i64,
    data: Vec<u8>,
}

impl PieceRow {
    fn place(&self) -> usize {
        usize::try_from(self.span - 1).unwrap_or(usize::MAX)
    }
}

impl Store {
    /// The curves of a run, each reduced to the points asked for.
    ///
    /// # Errors
    /// [`Error::UnknownRun`], [`Error::TooManyCurves`], storage.
    pub async fn curves(&self, run: RunId, query: &CurveQuery) -> Result<RunMetrics> {
        let mut runs = self.curves_of(&[run], query).await?.runs;
        runs.pop().ok_or(Error::UnknownRun(run))
    }

    /// The curves of several runs, in the order asked, each reduced to the points asked for.
    ///
    /// # Errors
    /// [`Error::UnknownRun`], [`Error::TooManyCurves`], storage.
    #[tracing::instrument(name = "curves", level = "debug", skip_all, fields(runs = runs.len()))]
    pub async fn curves_of(&self, runs: &[RunId], query: &CurveQuery) -> Result<MetricsOfRuns> {
        let ids: Vec<Uuid> = runs.iter().map(|run| run.0).collect();
        let mut tx = self.begin_snapshot().await?;
        let known: Vec<Uuid> = sqlx::query_scalar("select id from runs where id = any($1)")
            .bind(&ids)
            .fetch_all(&mut *tx)
            .await?;
        if let Some(&unknown) = runs.iter().find(|run| !known.contains(&run.0)) {
            return Err(Error::UnknownRun(unknown));
        }
        let settled = settled(&mut tx, &ids, query).await?;
        let journals = Journals::read(&mut tx, &ids, query.from, query.to).await?;

        let mut parts: Vec<Part> = Vec::new();
        let mut spans = Vec::new();
        let mut most = 0;
        for row in settled {
            most += row.points_in_range().min(query.points);
            spans.extend(row.span(parts.len(), query));
            parts.push(Part {
                run: RunId(row.run_id),
                name: row.name,
                last_step: unsigned(row.last_step),
                buckets: Vec::new(),
                newest: Vec::new(),
            });
        }
        add_journals(&mut parts, &journals, query)?;
        most += parts
            .iter()
            .map(|part| part.newest.len().min(query.points))
            .sum::<usize>();
        if most > MAX_POINTS {
            return Err(Error::TooManyCurves {
                curves: parts.len(),
                points: query.points,
            });
        }
        let spans = read_pyramid(&mut tx, spans, &mut parts).await?;
        let chunks = read_chunks(&mut tx, &spans).await?;
        tx.rollback().await?;

        let (asked, query) = (runs.to_vec(), query.clone());
        // Many points are decoded and reduced off the async threads.
        tokio::task::spawn_blocking(move || assemble(&asked, parts, &spans, &chunks, &query))
            .await
            .map_err(|error| Error::Damaged(format!("curves could not be reduced: {error}")))?
    }

    /// The points of a run that lie in the ranges, as they are stored now.
    ///
    /// # Errors
    /// Storage.
    pub async fn points_in(&self, run: RunId, ranges: &[Range]) -> Result<Vec<SeriesPoints>> {
        let Some(from) = ranges.iter().map(|range| range.first).min() else {
            return Ok(Vec::new());
        };
        let to = ranges.iter().map(|range| range.last).max().unwrap_or(from);
        let mut tx = self.begin_snapshot().await?;
        let ids: HashMap<String, i64> = sqlx::query_as(
            "select name, id from series where run_id = $1 and name = any($2) and last_step >= $3",
        )
        .bind(run.0)
        .bind(ranges.iter().map(|range| range.name.as_str()).collect::<Vec<_>>())
        .bind(signed(from))
        .fetch_all(&mut *tx)
        .await?
        .into_iter()
        .collect();
        let spans: Vec<Span> = (0..)
            .zip(ranges)
            .filter_map(|(curve, range)| {
                Some(Span {
                    curve,
                    series: *ids.get(&range.name)?,
                    level: None,
                    from: range.first,
                    to: range.last,
                })
            })
            .collect();
        let chunks = read_chunks(&mut tx, &spans).await?;
        let journals = Journals::read(&mut tx, &[run.0], from, to).await?;
        tx.rollback().await?;

        let mut points: Vec<Vec<Point>> = vec![Vec::new(); ranges.len()];
        for row in &chunks {
            points[spans[row.place()].curve].extend(chunk::decode(&row.data)?);
        }
        let newest = journals.points(run, |name| ranges.iter().any(|range| range.name == name))?;
        for ((name, _), newest) in journals.names(run).zip(newest) {
            if let Some(place) = ranges.iter().position(|range| range.name == name) {
                points[place].extend(newest);
            }
        }
        let series = ranges.iter().zip(points).map(|(range, mut points)| {
            points.retain(|&(step, _)| range.contains(step));
            SeriesPoints {
                name: range.name.clone(),
                steps: points.iter().map(|&(step, _)| step).collect(),
                values: points.iter().map(|&(_, value)| Measured(value)).collect(),
            }
        });
        Ok(series.filter(|series| !series.steps.is_empty()).collect())
    }
}

/// The names of a run's series.
pub(super) async fn names(connection: &mut PgConnection, run: RunId) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(
        "select name from series where run_id = $1 and points > 0
         union select unnest(names) from journals where run_id = $1 order by 1",
    )
    .bind(run.0)
    .fetch_all(connection)
    .await?)
}

async fn settled(
    connection: &mut PgConnection,
    runs: &[Uuid],
    query: &CurveQuery,
) -> Result<Vec<SettledRow>> {
    Ok(sqlx::query_as(
        "select s.run_id, s.id, s.name, s.last_step,
             coalesce((select number from series_chunks c where c.series_id = s.id and c.first_step <= $3
                       order by c.first_step desc limit 1), 0) as from_chunk,
             (select number from series_chunks c where c.series_id = s.id and c.first_step <= $4
              order by c.first_step desc limit 1) as to_chunk
         from series s
         where s.run_id = any($1) and ($2::text[] is null or s.name = any($2)) and s.points > 0",
    )
    .bind(runs)
    .bind(&query.series)
    .bind(signed(query.from))
    .bind(signed(query.to))
    .fetch_all(connection)
    .await?)
}

impl SettledRow {
    /// About how many points the range has: those of whole chunks.
    fn points_in_range(&self) -> usize {
        let chunks = self.to_chunk.map_or(0, |to| to - self.from_chunk + 1);
        usize::try_from(chunks).unwrap_or(0) * chunk::POINTS
    }

    /// What to read of the series for the query, if it has steps there.
    fn span(&self, curve: usize, query: &CurveQuery) -> Option<Span> {
        let to = query.to.min(unsigned(self.last_step));
        (self.to_chunk.is_some() && query.from <= to).then_some(Span {
            curve,
            series: self.id,
            level: summary::level_for(self.points_in_range() as u64, query.points as u64),
            from: query.from,
            to,
        })
    }
}

/// Adds what the journals know to the parts of their series, or as new parts.
fn add_journals(parts: &mut Vec<Part>, journals: &Journals, query: &CurveQuery) -> Result<()> {
    let places: HashMap<(RunId, String), usize> = (0..)
        .zip(parts.iter())
        .map(|(place, part)| ((part.run, part.name.clone()), place))
        .collect();
    for run in journals.runs() {
        let points = journals.points(run, |name| query.wants(name))?;
        for ((name, last_step), mut newest) in journals.names(run).zip(points) {
            if !query.wants(name) {
                continue;
            }
            newest.retain(|(step, _)| (query.from..=query.to).contains(step));
            if let Some(&place) = places.get(&(run, name.to_owned())) {
                parts[place].last_step = last_step;
                parts[place].newest = newest;
            } else {
                parts.push(Part {
                    run,
                    name: name.to_owned(),
                    last_step,
                    buckets: Vec::new(),
                    newest,
                });
            }
        }
    }
    Ok(())
}

/// Reads the pyramid, level by level downwards, and answers the spans that only the points themselves can fill.
async fn read_pyramid(
    connection: &mut PgConnection,
    mut spans: Vec<Span>,
    parts: &mut [Part],
) -> Result<Vec<Span>> {
    let mut points = Vec::new();
    loop {
        points.extend(spans.extract_if(.., |span| span.level.is_none()));
        if spans.is_empty() {
            return Ok(points);
        }
        let rows = read_summaries(connection, &spans).await?;
        let mut found: Vec<Vec<Bucket>> = vec![Vec::new(); spans.len()];
        for row in rows {
            let place = row.place();
            let buckets = summary::decode(&row.data)?;
            let inside = buckets
                .into_iter()
                .filter(|bucket| spans[place].holds(bucket.first, bucket.last));
            found[place].extend(inside);
        }
        let mut finer = Vec::new();
        for (span, buckets) in spans.into_iter().zip(found) {
            // Rows follow each other without a gap, so what is missing lies before and behind.
            if let (Some(first), Some(last)) = (buckets.first(), buckets.last()) {
                if first.first > span.from {
                    finer.extend(span.below(span.from, first.first - 1));
                }
                finer.extend(span.below(last.last + 1, span.to));
            } else {
                finer.extend(span.below(span.from, span.to));
            }
            parts[span.curve].buckets.extend(buckets);
        }
        spans = finer;
    }
}

async fn read_summaries(connection: &mut PgConnection, spans: &[Span]) -> Result<Vec<PieceRow>> {
    let level = |span: &Span| span.level.map(|level| i16::try_from(level).unwrap_or(i16::MAX));
    Ok(sqlx::query_as(
        "select q.span, t.data
         from unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[])
              with ordinality as q (series_id, level, first, last, span)
         cross join lateral (
             select first_step, data from series_summaries t
             where t.series_id = q.series_id and t.level = q.level and t.first_step <= q.last
               and t.first_step >= coalesce((
                   select b.first_step from series_summaries b
                   where b.series_id = q.series_id and b.level = q.level and b.first_step <= q.first
                   order by b.first_step desc limit 1), q.first)
         ) t
         order by q.span, t.first_step",
    )
    .bind(spans.iter().map(|span| span.series).collect::<Vec<_>>())
    .bind(spans.iter().map(level).collect::<Vec<_>>())
    .bind(spans.iter().map(|span| signed(span.from)).collect::<Vec<_>>())
    .bind(spans.iter().map(|span| signed(span.to)).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?)
}

async fn read_chunks(connection: &mut PgConnection, spans: &[Span]) -> Result<Vec<PieceRow>> {
    if spans.is_empty() {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_as(
        "select q.span, c.data
         from unnest($1::bigint[], $2::bigint[], $3::bigint[]) with ordinality as q (series_id, first, last, span)
         cross join lateral (
             select first_step, data from series_chunks c
             where c.series_id = q.series_id and c.first_step <= q.last and c.last_step >= q.first
               and c.first_step >= coalesce((
                   select b.first_step from series_chunks b
                   where b.series_id = q.series_id and b.first_step <= q.first
                   order by b.first_step desc limit 1), q.first)
         ) c
         order by q.span, c.first_step",
    )
    .bind(spans.iter().map(|span| span.series).collect::<Vec<_>>())
    .bind(spans.iter().map(|span| signed(span.from)).collect::<Vec<_>>())
    .bind(spans.iter().map(|span| signed(span.to)).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?)
}

fn assemble(
    runs: &[RunId],
    parts: Vec<Part>,
    spans: &[Span],
    chunks: &[PieceRow],
    query: &CurveQuery,
) -> Result<MetricsOfRuns> {
    let mut chunks_of: Vec<Vec<&PieceRow>> = Vec::new();
    chunks_of.resize_with(parts.len(), Vec::new);
    for row in chunks {
        chunks_of[spans[row.place()].curve].push(row);
    }
    let mut curves: HashMap<RunId, Vec<Curve>> = HashMap::new();
    for (mut part, chunks) in parts.into_iter().zip(chunks_of) {
        for row in chunks {
            let span = &spans[row.place()];
            let points = chunk::decode(&row.data)?.into_iter();
            let inside = points.filter(|&(step, _)| span.holds(step, step));
            part.buckets.extend(inside.map(Bucket::of));
        }
        // Pieces came level by level; each has steps of its own.
        part.buckets.sort_unstable_by_key(|bucket| bucket.first);
        part.buckets.extend(part.newest.into_iter().map(Bucket::of));
        let curve = curve::reduce(part.name, &part.buckets, query.points, Some(part.last_step));
        curves.entry(part.run).or_default().push(curve);
    }
    let runs = runs.iter().map(|run| {
        let mut series = curves.remove(run).unwrap_or_default();
        series.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        RunMetrics { run: *run, series }
    });
    Ok(MetricsOfRuns { runs: runs.collect() })
}
