//! The newest points of a run: batch after batch, as they arrive, until [`settle`](super::settle) puts them into
//! chunks. Storing a batch costs one row, whatever its series.

use std::time::Duration;

use motif_proto::id::RunId;
use motif_proto::metrics::series::VALIDATION_TOTAL;
use motif_proto::metrics::{MetricsAccepted, MetricsBatch, SeriesPoints};
use motif_proto::worker::HeldLease;
use sqlx::postgres::PgArguments;
use sqlx::{FromRow, PgConnection, Postgres};

use super::appends::Append;
use super::events::Range;
use super::remembered::Remembered;
use super::{Result, Store, attempts, events, notes, settle, signed, step_of, unsigned, value_of};
use crate::domain::chunk::Point;
use crate::domain::{journal, metrics};
use crate::error::Error;
use crate::signals::Signal;

/// Batches in a journal before it is settled: what a read has to go through.
const MAX_BATCHES: i32 = 512;
/// Bytes in a journal before it is settled.
const MAX_BYTES: i64 = 256 * 1024;

type Statement<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// Appends a batch to the run's journal. The run's row must be locked.
///
/// The batch's row, the attempt, the run's row, and an event that is numbered under the run's lock, follow from the
/// journal.
const APPEND: &str = "
with journal as (
    insert into journals (run_id, names, last_steps, batches, bytes, newest, least, noted_at)
    values ($1, $2, $3, 1, octet_length($6), $18, $19, clock_timestamp())
    on conflict (run_id) do update
    set names = excluded.names, last_steps = excluded.last_steps,
        batches = journals.batches + 1, bytes = journals.bytes + excluded.bytes,
        newest = excluded.newest, least = excluded.least,
        noted_at = case when $20 then excluded.noted_at else journals.noted_at end
    returning run_id, batches
), batch as (
    insert into journal_batches (run_id, number, first_step, last_step, data)
    select run_id, batches, $4, $5, $6 from journal
), attempt as (
    update attempts set next_sequence = $8, lease_expires_at = now() + make_interval(secs => $9)
    where id = $7 and exists (select from journal)
), run as (
    update runs set
        batches_done = coalesce($10 + 1, batches_done),
        last_loss_step = coalesce($10, last_loss_step), last_loss = coalesce($11, last_loss),
        last_validation_step = coalesce($12, last_validation_step),
        last_validation = coalesce($13, last_validation),
        best_validation_step =
            case when $15 < coalesce(best_validation, 'infinity') then $14 else best_validation_step end,
        best_validation = least(best_validation, $15),
        batches_per_second = coalesce($16, batches_per_second),
        last_event = last_event + 1, updated_at = clock_timestamp(),
        touched_at = case when touched_at < clock_timestamp() - interval '2 seconds'
                          then clock_timestamp() else touched_at end
    where id = $1 and exists (select from journal) returning id, last_event
)
insert into events (run_id, id, kind, payload) select id, last_event, 'metrics', $17 from run";

/// What is known of a run's journal beside its batches.
#[derive(Debug, Default, FromRow)]
pub(super) struct Journal {
    /// Every series of the run; batches refer to them by their place.
    names: Vec<String>,
    /// The newest step of each.
    last_steps: Vec<i64>,
    batches: i32,
    bytes: i64,
    /// The newest value of each in the journal, NaN included.
    newest: Vec<Option<f64>>,
    /// The least finite value of each in the journal.
    least: Vec<Option<f64>>,
    /// Whether it is time to note these for lists.
    is_due: bool,
}

impl Journal {
    /// The journal of the run, or an empty one over what is in chunks already.
    async fn open(connection: &mut PgConnection, run: RunId) -> Result<Self> {
        let journal: Option<Self> = sqlx::query_as(
            "select names, last_steps, batches, bytes, newest, least,
                        noted_at < clock_timestamp() - interval '5 seconds' as is_due
                 from journals where run_id = $1",
        )
        .bind(run.0)
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(journal) = journal {
            return Ok(journal);
        }
        let settled: Vec<(String, i64)> =
            sqlx::query_as("select name, last_step from series where run_id = $1 and points > 0 order by id")
                .bind(run.0)
                .fetch_all(connection)
                .await?;
        let is_due = settled.is_empty();
        let (names, last_steps) = settled.into_iter().unzip();
        Ok(Self {
            names,
            last_steps,
            is_due,
            ..Self::default()
        })
    }

    /// Takes in a batch, and says how its row holds it.
    fn take(&mut self, given: &[&SeriesPoints]) -> Result<Vec<u8>> {
        let mut data = Vec::new();
        for series in given {
            let place = self.place(&series.name)?;
            let (first, last) = (series.steps[0], series.steps[series.steps.len() - 1]);
            let newest = self.last_steps[place];
            if signed(first) <= newest {
                let name = &series.name;
                return Err(Error::InvalidMetrics(format!(
                    "series `{name}` goes on from step {newest}, so it cannot have step {first} again"
                )));
            }
            self.last_steps[place] = signed(last);
            self.note(place, series);
            journal::push(&mut data, place, &points(series));
        }
        self.batches += 1;
        self.bytes += signed(data.len() as u64);
        Ok(data)
    }

    fn note(&mut self, place: usize, series: &SeriesPoints) {
        self.newest.resize(self.names.len(), None);
        self.least.resize(self.names.len(), None);
        self.newest[place] = series.values.last().map(|value| value.0);
        let finite = series
            .values
            .iter()
            .map(|value| value.0)
            .filter(|value| value.is_finite());
        self.least[place] = finite.chain(self.least[place]).reduce(f64::min);
    }

    fn place(&mut self, name: &str) -> Result<usize> {
        if let Some(place) = self.names.iter().position(|known| known == name) {
            return Ok(place);
        }
        if self.names.len() == journal::MAX_SERIES {
            let most = journal::MAX_SERIES;
            return Err(Error::InvalidMetrics(format!(
                "series `{name}` would be one more than the {most} that a run can have"
            )));
        }
        self.names.push(name.to_owned());
        self.last_steps.push(-1);
        Ok(self.names.len() - 1)
    }

    async fn write_notes(&self, connection: &mut PgConnection, run: RunId) -> Result<()> {
        notes::note(connection, run, &self.names, &self.newest, &self.least).await
    }

    const fn is_full(&self) -> bool {
        self.batches >= MAX_BATCHES || self.bytes >= MAX_BYTES
    }
}

fn points(series: &SeriesPoints) -> Vec<Point> {
    let values = series.values.iter().map(|value| value.0);
    series.steps.iter().copied().zip(values).collect()
}

impl Store {
    /// Appends a batch of metrics to the curves of the attempt's run. Safe to repeat.
    ///
    /// # Errors
    /// [`Error::InvalidMetrics`], [`Error::UnknownAttempt`], [`Error::StaleLease`], [`Error::SequenceGap`],
    /// storage.
    #[tracing::instrument(name = "ingest", level = "debug", skip_all, fields(attempt.id = %batch.attempt))]
    pub async fn append_metrics(&self, batch: &MetricsBatch, lease: Duration) -> Result<MetricsAccepted> {
        metrics::check(batch).map_err(Error::InvalidMetrics)?;
        let given: Vec<&SeriesPoints> = batch
            .series
            .iter()
            .filter(|series| !series.steps.is_empty())
            .collect();
        if let Some(accepted) = self.append_at_once(batch, &given, lease).await? {
            return Ok(accepted);
        }
        let mut tx = self.begin().await?;
        let held = HeldLease {
            attempt: batch.attempt,
            token: batch.token,
        };
        let locked = attempts::lock_live(&mut tx, held).await?;
        attempts::require_sequence(&locked, batch.sequence)?;
        if batch.sequence < locked.next_sequence {
            tx.commit().await?;
            return Ok(MetricsAccepted {
                next_sequence: locked.next_sequence,
            });
        }
        let next_sequence = batch.sequence + 1;
        let mut open = None;
        if given.is_empty() {
            attempts::advance(&mut tx, batch.attempt, next_sequence, lease).await?;
        } else {
            open = append(&mut tx, locked.run, batch, &given, lease).await?;
        }
        tx.commit().await?;
        if let Some(journal) = open {
            let remembered = Remembered::new(locked.run, journal, next_sequence);
            self.open_journals.put(batch.attempt, remembered);
        }
        self.tell(Signal::Run(locked.run));
        Ok(MetricsAccepted { next_sequence })
    }

    /// Appends a batch together with those of other attempts, where this coordinator knows the journal and nothing but
    /// the append is to be done; does nothing elsewhere.
    async fn append_at_once(
        &self,
        batch: &MetricsBatch,
        given: &[&SeriesPoints],
        lease: Duration,
    ) -> Result<Option<MetricsAccepted>> {
        if given.is_empty() {
            return Ok(None);
        }
        let Some(mut remembered) = self.open_journals.take(batch) else {
            return Ok(None);
        };
        let is_noted = remembered.is_due() || is_evaluation(given);
        let journal = &mut remembered.journal;
        let (batches, steps_before) = (journal.batches, journal.last_steps.clone());
        let Ok(data) = journal.take(given) else {
            return Ok(None);
        };
        let brings_series = journal.last_steps.len() > steps_before.len();
        if journal.is_full() || brings_series {
            return Ok(None);
        }
        let next_sequence = batch.sequence + 1;
        let append = Append {
            run: remembered.run,
            attempt: batch.attempt,
            token: batch.token,
            next_sequence,
            lease,
            batches,
            steps_before,
            steps_after: journal.last_steps.clone(),
            newest: journal.newest.clone(),
            least: journal.least.clone(),
            data,
            of_run: newest(given),
            is_noted,
            ranges: ranges(given),
        };
        if self.desks.appends.ask(self, append).await?.is_none() {
            return Ok(None);
        }
        self.tell(Signal::Run(remembered.run));
        remembered.next_sequence = next_sequence;
        if is_noted {
            remembered.set_noted();
        }
        self.open_journals.put(batch.attempt, remembered);
        Ok(Some(MetricsAccepted { next_sequence }))
    }
}

fn newest(given: &[&SeriesPoints]) -> metrics::Newest {
    metrics::Newest::of(|name| {
        let series = given.iter().find(|series| series.name == name);
        series.map_or_else(Vec::new, |series| points(series))
    })
}

fn ranges(given: &[&SeriesPoints]) -> Vec<Range> {
    given.iter().filter_map(|series| Range::of(series)).collect()
}

fn is_evaluation(given: &[&SeriesPoints]) -> bool {
    given.iter().any(|series| series.name == VALIDATION_TOTAL)
}

/// Appends a batch to the run's journal, and returns that where it is still open.
async fn append(
    connection: &mut PgConnection,
    run: RunId,
    batch: &MetricsBatch,
    given: &[&SeriesPoints],
    lease: Duration,
) -> Result<Option<Journal>> {
    let mut journal = Journal::open(connection, run).await?;
    let data = journal.take(given)?;
    let is_noted = journal.is_due || is_evaluation(given);
    let (newest, ranges) = (newest(given), ranges(given));
    let append = sqlx::query(APPEND)
        .bind(run.0)
        .bind(&journal.names)
        .bind(&journal.last_steps)
        .bind(ranges.iter().map(|range| signed(range.first)).min())
        .bind(ranges.iter().map(|range| signed(range.last)).max())
        .bind(data)
        .bind(batch.attempt.0)
        .bind(signed(batch.sequence + 1))
        .bind(lease.as_secs_f64());
    bind_newest(append, &newest)
        .bind(events::of_metrics(ranges))
        .bind(&journal.newest)
        .bind(&journal.least)
        .bind(is_noted)
        .execute(&mut *connection)
        .await?;
    if journal.is_full() {
        settle::settle(connection, run).await?;
        return Ok(None);
    }
    if is_noted {
        journal.write_notes(connection, run).await?;
    }
    Ok(Some(journal))
}

/// Binds what a run's row says of its curves: step and value of the newest loss, of the newest evaluation and of the
/// best, and the speed.
pub(super) fn bind_newest<'q>(statement: Statement<'q>, newest: &metrics::Newest) -> Statement<'q> {
    statement
        .bind(step_of(newest.loss))
        .bind(value_of(newest.loss))
        .bind(step_of(newest.validation))
        .bind(value_of(newest.validation))
        .bind(step_of(newest.best))
        .bind(value_of(newest.best))
        .bind(newest.batches_per_second)
}

/// The journals of runs, for reading.
pub(super) struct Journals {
    of: Vec<(RunId, Journal)>,
    batches: Vec<BatchRow>,
}

#[derive(FromRow)]
struct BatchRow {
    run_id: uuid::Uuid,
    data: Vec<u8>,
}

impl Journals {
    /// The journals of the runs, with the batches that have steps from `from` to `to`.
    pub(super) async fn read(
        connection: &mut PgConnection,
        runs: &[uuid::Uuid],
        from: u64,
        to: u64,
    ) -> Result<Self> {
        #[derive(FromRow)]
        struct Row {
            run_id: uuid::Uuid,
            #[sqlx(flatten)]
            journal: Journal,
        }
        let rows: Vec<Row> = sqlx::query_as(
            "select run_id, names, last_steps, batches, bytes, newest, least, false as is_due
             from journals where run_id = any($1)",
        )
        .bind(runs)
        .fetch_all(&mut *connection)
        .await?;
        let batches = sqlx::query_as(
            "select run_id, data from journal_batches
             where run_id = any($1) and first_step <= $3 and last_step >= $2 order by run_id, number",
        )
        .bind(runs)
        .bind(signed(from))
        .bind(signed(to))
        .fetch_all(connection)
        .await?;
        Ok(Self {
            of: rows
                .into_iter()
                .map(|row| (RunId(row.run_id), row.journal))
                .collect(),
            batches,
        })
    }

    /// The runs that have a journal.
    pub(super) fn runs(&self) -> impl Iterator<Item = RunId> {
        self.of.iter().map(|(run, _)| *run)
    }

    /// Notes for lists what the journal of the run says.
    pub(super) async fn write_notes(&self, connection: &mut PgConnection, run: RunId) -> Result<()> {
        for (_, journal) in self.of.iter().filter(|(of, _)| *of == run) {
            journal.write_notes(connection, run).await?;
        }
        Ok(())
    }

    /// The names and newest steps of a run's series.
    pub(super) fn names(&self, run: RunId) -> impl Iterator<Item = (&str, u64)> {
        let journal = self
            .of
            .iter()
            .find(|(of, _)| *of == run)
            .map(|(_, journal)| journal);
        journal.into_iter().flat_map(|journal| {
            let steps = journal.last_steps.iter().map(|&step| unsigned(step));
            journal.names.iter().map(String::as_str).zip(steps)
        })
    }

    /// The points of a run's series, in the order of [`names`](Self::names), where `wanted` asks for them.
    pub(super) fn points(&self, run: RunId, wanted: impl Fn(&str) -> bool) -> Result<Vec<Vec<Point>>> {
        let wanted: Vec<bool> = self.names(run).map(|(name, _)| wanted(name)).collect();
        let mut points = vec![Vec::new(); wanted.len()];
        for batch in self.batches.iter().filter(|batch| batch.run_id == run.0) {
            let is_wanted = |place: usize| wanted.get(place).copied().unwrap_or(false);
            for (place, mut more) in journal::read(&batch.data, is_wanted)? {
                points[place].append(&mut more);
            }
        }
        Ok(points)
    }
}
