//! Batches of metrics of several attempts, appended to their journals by one statement.

use std::collections::HashSet;
use std::time::Duration;

use motif_proto::id::{AttemptId, FencingToken, RunId};
use sqlx::types::Json;
use uuid::Uuid;

use super::desk::Errand;
use super::events::{self, Stored};
use super::notes::note_series;
use super::{Result, Store, signed, step_of, value_of};
use crate::domain::metrics::Newest;

/// Appends those batches whose attempt (with its token) holds the run and has come as far as the batch before, and
/// whose journal is as it is remembered: with so many batches and these newest steps. Of the others it changes nothing.
///
/// The rows of attempts and runs are locked, so they are looked at again should they have changed since the statement
/// began. Rows that are locked already are passed over: nobody waits for what somebody else does with one run.
/// `given` has the batches; what belongs to one of them in the lists over all series is from `series_from` to
/// `series_to`.
const APPEND_TOGETHER: &str = concat!(
    "
with held as (
    select h.attempt_id, r.id as run_id
    from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[]) as h (run_id, attempt_id, token, next_sequence)
    join attempts a on a.id = h.attempt_id
    join runs r on r.id = h.run_id and r.id = a.run_id
    where a.fencing_token = h.token and a.state = 'running' and a.next_sequence = h.next_sequence - 1
    for update of r, a skip locked
), given as (
    select * from unnest(
        $2::uuid[], $4::bigint[], $5::int[], $6::int[], $7::int[], $8::bigint[], $9::bigint[], $10::bytea[],
        $11::bigint[], $12::float8[], $13::bigint[], $14::float8[], $15::bigint[], $16::float8[], $17::float8[],
        $18::jsonb[], $24::bool[])
    as g (attempt_id, next_sequence, batches, series_from, series_to, first_step, last_step, data,
          loss_step, loss, validation_step, validation, best_step, best, batches_per_second, payload, is_noted)
), journal as (
    update journals j set
        last_steps = ($20::bigint[])[g.series_from:g.series_to], batches = j.batches + 1,
        bytes = j.bytes + octet_length(g.data), newest = ($21::float8[])[g.series_from:g.series_to],
        least = ($22::float8[])[g.series_from:g.series_to],
        noted_at = case when g.is_noted then clock_timestamp() else j.noted_at end
    from held h join given g on g.attempt_id = h.attempt_id
    where j.run_id = h.run_id and j.batches = g.batches
      and j.last_steps = ($19::bigint[])[g.series_from:g.series_to]
    returning j.run_id, j.batches, g.attempt_id, case when g.is_noted then j.names end as names,
              case when g.is_noted then j.newest end as newest, case when g.is_noted then j.least end as least
), batch as (
    insert into journal_batches (run_id, number, first_step, last_step, data)
    select j.run_id, j.batches, g.first_step, g.last_step, g.data
    from journal j join given g on g.attempt_id = j.attempt_id
), attempt as (
    update attempts a set next_sequence = g.next_sequence, lease_expires_at = now() + make_interval(secs => $23)
    from journal j join given g on g.attempt_id = j.attempt_id
    where a.id = j.attempt_id
), run as (
    update runs r set
        batches_done = coalesce(g.loss_step + 1, r.batches_done),
        last_loss_step = coalesce(g.loss_step, r.last_loss_step), last_loss = coalesce(g.loss, r.last_loss),
        last_validation_step = coalesce(g.validation_step, r.last_validation_step),
        last_validation = coalesce(g.validation, r.last_validation),
        best_validation_step =
            case when g.best < coalesce(r.best_validation, 'infinity') then g.best_step else r.best_validation_step end,
        best_validation = least(r.best_validation, g.best),
        batches_per_second = coalesce(g.batches_per_second, r.batches_per_second),
        last_event = r.last_event + 1, updated_at = clock_timestamp(),
        touched_at = case when r.touched_at < clock_timestamp() - interval '2 seconds'
                          then clock_timestamp() else r.touched_at end
    from journal j join given g on g.attempt_id = j.attempt_id
    where r.id = j.run_id
    returning r.id, r.last_event, g.attempt_id, g.payload
), event as (
    insert into events (run_id, id, kind, payload) select id, last_event, 'metrics', payload from run
), note as (",
    note_series!("journal j cross join lateral unnest(j.names, j.newest, j.least) as n (name, newest, least)"),
    ")
select attempt_id from run"
);

/// A batch that is to be appended to a journal which this coordinator remembers, and brings no new series.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) run: RunId,
    pub(super) attempt: AttemptId,
    pub(super) token: FencingToken,
    pub(super) next_sequence: u64,
    pub(super) lease: Duration,
    /// Batches of the journal before.
    pub(super) batches: i32,
    /// Of every series of the run: its newest step before and after, its newest and its least value after.
    pub(super) steps_before: Vec<i64>,
    pub(super) steps_after: Vec<i64>,
    pub(super) newest: Vec<Option<f64>>,
    pub(super) least: Vec<Option<f64>>,
    pub(super) data: Vec<u8>,
    /// What is newest of what a run's row says.
    pub(super) of_run: Newest,
    /// Whether the values of the series are noted for lists.
    pub(super) is_noted: bool,
    pub(super) ranges: Vec<events::Range>,
}

impl Errand for Append {
    type Means = Store;
    type Answer = ();
    const CLERKS: usize = 2;
    const GATHERING: Duration = Duration::from_millis(8);

    fn sender(&self) -> Uuid {
        self.attempt.0
    }

    fn bytes(&self) -> usize {
        self.data.len() + self.steps_after.len() * 64
    }

    async fn do_together(store: &Store, appends: Vec<Self>) -> Result<Vec<Option<()>>> {
        let mut columns = Columns::default();
        let mut asked = HashSet::new();
        let mut takes_part = Vec::with_capacity(appends.len());
        for append in appends {
            let attempt = append.attempt.0;
            // Of two batches of one attempt the second finds the journal changed.
            let is_first = asked.insert(attempt);
            takes_part.push(is_first.then_some(attempt));
            if is_first {
                columns.push(append);
            }
        }
        let appended = columns.append(store).await?;
        let of = |attempt: Option<Uuid>| appended.contains(&attempt?).then_some(());
        Ok(takes_part.into_iter().map(of).collect())
    }
}

/// What the statement is given: one entry of each column for each batch, and the lists of all of them in a row.
#[derive(Default)]
struct Columns {
    run: Vec<Uuid>,
    attempt: Vec<Uuid>,
    token: Vec<i64>,
    next_sequence: Vec<i64>,
    batches: Vec<i32>,
    series_from: Vec<i32>,
    series_to: Vec<i32>,
    first_step: Vec<Option<i64>>,
    last_step: Vec<Option<i64>>,
    data: Vec<Vec<u8>>,
    loss_step: Vec<Option<i64>>,
    loss: Vec<Option<f64>>,
    validation_step: Vec<Option<i64>>,
    validation: Vec<Option<f64>>,
    best_step: Vec<Option<i64>>,
    best: Vec<Option<f64>>,
    batches_per_second: Vec<Option<f64>>,
    payload: Vec<Json<Stored>>,
    steps_before: Vec<i64>,
    steps_after: Vec<i64>,
    newest: Vec<Option<f64>>,
    least: Vec<Option<f64>>,
    is_noted: Vec<bool>,
    lease: Duration,
}

impl Columns {
    fn push(&mut self, append: Append) {
        let place = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
        let Newest {
            loss,
            validation,
            best,
            batches_per_second,
        } = append.of_run;
        self.run.push(append.run.0);
        self.attempt.push(append.attempt.0);
        self.token.push(append.token.0);
        self.next_sequence.push(signed(append.next_sequence));
        self.batches.push(append.batches);
        self.series_from.push(place(self.steps_before.len() + 1));
        self.steps_before.extend(append.steps_before);
        self.steps_after.extend(append.steps_after);
        self.newest.extend(append.newest);
        self.least.extend(append.least);
        self.series_to.push(place(self.steps_before.len()));
        self.first_step
            .push(append.ranges.iter().map(|range| signed(range.first)).min());
        self.last_step
            .push(append.ranges.iter().map(|range| signed(range.last)).max());
        self.data.push(append.data);
        self.loss_step.push(step_of(loss));
        self.loss.push(value_of(loss));
        self.validation_step.push(step_of(validation));
        self.validation.push(value_of(validation));
        self.best_step.push(step_of(best));
        self.best.push(value_of(best));
        self.batches_per_second.push(batches_per_second);
        self.payload.push(events::of_metrics(append.ranges));
        self.is_noted.push(append.is_noted);
        self.lease = append.lease;
    }

    /// The attempts whose batch was appended.
    async fn append(self, store: &Store) -> Result<HashSet<Uuid>> {
        let appended: Vec<Uuid> = sqlx::query_scalar(APPEND_TOGETHER)
            .bind(self.run)
            .bind(self.attempt)
            .bind(self.token)
            .bind(self.next_sequence)
            .bind(self.batches)
            .bind(self.series_from)
            .bind(self.series_to)
            .bind(self.first_step)
            .bind(self.last_step)
            .bind(self.data)
            .bind(self.loss_step)
            .bind(self.loss)
            .bind(self.validation_step)
            .bind(self.validation)
            .bind(self.best_step)
            .bind(self.best)
            .bind(self.batches_per_second)
            .bind(self.payload)
            .bind(self.steps_before)
            .bind(self.steps_after)
            .bind(self.newest)
            .bind(self.least)
            .bind(self.lease.as_secs_f64())
            .bind(self.is_noted)
            .fetch_all(&store.pool)
            .await?;
        Ok(appended.into_iter().collect())
    }
}
