//! Attempts that end well, several by one statement.

use std::collections::HashMap;
use std::time::Duration;

use motif_proto::id::{AttemptId, FencingToken, RunId};
use uuid::Uuid;

use super::desk::Errand;
use super::{Result, Store, events, signed};

/// Ends those attempts, and their runs, that hold the run with their token, whose metrics are all stored and for whose
/// run no other waits. Of the others it changes nothing.
///
/// The rows of attempts and runs are locked, so they are looked at again should they have changed since the statement
/// began; then those of their studies, which the end of a run locks in any case. Rows that are locked already are
/// passed over: nobody waits for what somebody else does with one run or study.
const SUCCEED_TOGETHER: &str = "
with held as (
    select r.id, r.experiment_id, a.id as attempt_id
    from unnest($1::uuid[], $2::bigint[], $3::bigint[]) as h (attempt_id, token, metrics_sequence)
    join attempts a on a.id = h.attempt_id
    join runs r on r.id = a.run_id
    where a.fencing_token = h.token and a.state = 'running' and a.next_sequence >= h.metrics_sequence
      and not exists (select from dependencies d where d.on_run_id = r.id)
    for update of r, a skip locked
), placed as (
    select h.id, h.attempt_id, e.study_id from held h join experiments e on e.id = h.experiment_id
), study as (
    select id from studies where id = any(array(select study_id from placed where study_id is not null))
    for no key update skip locked
), free as (
    select id, attempt_id from placed where study_id is null or study_id in (select id from study)
), attempt as (
    update attempts set state = 'succeeded', finished_at = now()
    where id = any(array(select attempt_id from free))
), run as (
    update runs set state = 'succeeded', finished_at = now(), pause_asked_at = null, last_event = last_event + 1,
        updated_at = clock_timestamp(), touched_at = clock_timestamp()
    where id = any(array(select id from free)) returning id, last_event
), event as (
    insert into events (run_id, id, kind, payload) select id, last_event, 'changed', $4 from run
)
select f.attempt_id, f.id from free f join run r on r.id = f.id";

/// A report that an attempt ended well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Success {
    pub(super) attempt: AttemptId,
    pub(super) token: FencingToken,
    /// Every batch of metrics before this one has to be stored.
    pub(super) metrics_sequence: u64,
}

impl Errand for Success {
    type Means = Store;
    /// The run that ended.
    type Answer = RunId;
    const CLERKS: usize = 1;
    const GATHERING: Duration = Duration::ZERO;

    fn sender(&self) -> Uuid {
        self.attempt.0
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
    }

    async fn do_together(store: &Store, reports: Vec<Self>) -> Result<Vec<Option<RunId>>> {
        let attempts: Vec<Uuid> = reports.iter().map(|report| report.attempt.0).collect();
        let tokens: Vec<i64> = reports.iter().map(|report| report.token.0).collect();
        let sequences: Vec<i64> = reports
            .iter()
            .map(|report| signed(report.metrics_sequence))
            .collect();
        let ended: HashMap<Uuid, Uuid> = sqlx::query_as(SUCCEED_TOGETHER)
            .bind(&attempts)
            .bind(tokens)
            .bind(sequences)
            .bind(events::of_change())
            .fetch_all(&store.pool)
            .await?
            .into_iter()
            .collect();
        // Who reports one end twice at a time is told of it twice.
        Ok(attempts
            .iter()
            .map(|attempt| ended.get(attempt).copied().map(RunId))
            .collect())
    }
}
