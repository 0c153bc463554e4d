//! Heartbeats: workers that are heard of, and leases that are renewed, those of several workers by one statement.

use std::collections::HashMap;
use std::time::Duration;

use motif_proto::id::{AttemptId, FencingToken, WorkerId};
use motif_proto::worker::{HeartbeatAnswer, HeldLease, LeaseVerdict, Verdict};
use sqlx::PgConnection;
use uuid::Uuid;

use super::attempts::lock;
use super::desk::Errand;
use super::workers::Capacity;
use super::{Result, Store, transitions};
use crate::domain::lease::Holding;
use crate::error::Error;
use crate::signals::Signal;

/// Renews the leases among those given that are live. One that was renewed a moment ago, by a batch of metrics say, is
/// left alone. Whoever takes a lease away looks at its end again under its row's lock, so the run's row need not be
/// locked here; and a lease whose row somebody else has locked is passed over.
const RENEW: &str = "
with held as (
    select a.id, a.fencing_token as token, a.run_id, a.lease_expires_at
    from unnest($1::uuid[], $2::bigint[]) as h (attempt, token)
    join attempts a on a.id = h.attempt and a.fencing_token = h.token and a.state = 'running'
), due as (
    select id from attempts
    where id = any(array(select id from held where lease_expires_at < now() + make_interval(secs => $3 * 0.9)))
      and state = 'running'
    for update skip locked
), renewed as (
    update attempts set lease_expires_at = now() + make_interval(secs => $3)
    where id = any(array(select id from due)) returning id
)
select h.id, h.token, r.pause_asked_at is not null
from held h cross join lateral (select pause_asked_at from runs where id = h.run_id limit 1) r
where h.lease_expires_at >= now() + make_interval(secs => $3 * 0.9)
   or h.id in (select id from renewed)";

/// The leases that are live, and whether their runs are to be paused.
type Live = HashMap<(AttemptId, FencingToken), bool>;

/// A heartbeat, as it waits for others.
#[derive(Clone, Debug)]
pub(super) struct Beat {
    worker: WorkerId,
    leases: Vec<HeldLease>,
    length: Duration,
}

/// What is known at once about a heartbeat.
#[derive(Debug)]
pub(super) struct Heard {
    /// Whether the worker's canary is due; nothing where the worker is not known.
    canary: Option<bool>,
    live: Live,
}

impl Errand for Beat {
    type Means = Store;
    type Answer = Heard;
    const CLERKS: usize = 1;
    const GATHERING: Duration = Duration::from_millis(20);

    fn sender(&self) -> Uuid {
        self.worker.0
    }

    fn bytes(&self) -> usize {
        size_of_val(&self.leases[..])
    }

    async fn do_together(store: &Store, beats: Vec<Self>) -> Result<Vec<Option<Heard>>> {
        let workers: Vec<WorkerId> = beats.iter().map(|beat| beat.worker).collect();
        let known = store.hear_of(&workers).await?;
        // Who is not known holds nothing.
        let leases: Vec<HeldLease> = beats
            .iter()
            .filter(|beat| known.contains_key(&beat.worker))
            .flat_map(|beat| beat.leases.iter().copied())
            .collect();
        let length = beats.iter().map(|beat| beat.length).max().unwrap_or_default();
        let live = store.renew_live(&leases, length).await?;
        let heard = beats.iter().map(|beat| {
            Some(Heard {
                canary: known.get(&beat.worker).map(Capacity::canary_due),
                live: of(&beat.leases, &live),
            })
        });
        Ok(heard.collect())
    }
}

/// What is known of these leases.
fn of(leases: &[HeldLease], live: &Live) -> Live {
    let keys = leases.iter().map(|lease| (lease.attempt, lease.token));
    keys.filter_map(|key| Some((key, *live.get(&key)?))).collect()
}

impl Store {
    /// Renews the leases that a worker holds and says what became of each.
    ///
    /// # Errors
    /// [`Error::UnknownWorker`], [`Error::Crowded`], storage.
    #[tracing::instrument(name = "lease.renew", level = "debug", skip_all, fields(worker.id = %worker))]
    pub async fn heartbeat(
        &self,
        worker: WorkerId,
        leases: &[HeldLease],
        length: Duration,
    ) -> Result<HeartbeatAnswer> {
        let beat = Beat {
            worker,
            leases: leases.to_vec(),
            length,
        };
        let heard = match self.desks.heartbeats.ask(self, beat).await? {
            Some(heard) => heard,
            None => self.hear(worker, leases, length).await?,
        };
        let canary = heard.canary.ok_or(Error::UnknownWorker(worker))?;
        let mut verdicts = Vec::with_capacity(leases.len());
        for &lease in leases {
            let verdict = match heard.live.get(&(lease.attempt, lease.token)) {
                Some(true) => Verdict::Pause,
                Some(false) => Verdict::Continue,
                None => self.renew(lease, length).await?,
            };
            verdicts.push(LeaseVerdict {
                attempt: lease.attempt,
                verdict,
            });
        }
        Ok(HeartbeatAnswer {
            leases: verdicts,
            canary,
        })
    }

    /// Hears one worker alone.
    async fn hear(&self, worker: WorkerId, leases: &[HeldLease], length: Duration) -> Result<Heard> {
        let known = self.hear_of(&[worker]).await?;
        Ok(Heard {
            canary: known.get(&worker).map(Capacity::canary_due),
            live: self.renew_live(leases, length).await?,
        })
    }

    async fn renew_live(&self, leases: &[HeldLease], length: Duration) -> Result<Live> {
        if leases.is_empty() {
            return Ok(HashMap::new());
        }
        let (attempts, tokens): (Vec<Uuid>, Vec<i64>) = leases
            .iter()
            .map(|lease| (lease.attempt.0, lease.token.0))
            .unzip();
        let live: Vec<(Uuid, i64, bool)> = sqlx::query_as(RENEW)
            .bind(attempts)
            .bind(tokens)
            .bind(length.as_secs_f64())
            .fetch_all(&self.pool)
            .await?;
        Ok(live
            .into_iter()
            .map(|(attempt, token, pausing)| ((AttemptId(attempt), FencingToken(token)), pausing))
            .collect())
    }

    async fn renew(&self, lease: HeldLease, length: Duration) -> Result<Verdict> {
        let mut tx = self.begin().await?;
        let locked = match lock(&mut tx, lease).await {
            Ok(locked) => locked,
            Err(Error::UnknownAttempt(_)) => return Ok(Verdict::Lost),
            Err(error) => return Err(error),
        };
        match locked.holding {
            Holding::Live => {}
            Holding::Revivable => transitions::revive(&mut tx, locked.run, lease.attempt).await?,
            Holding::Cancelled => return Ok(Verdict::Cancelled),
            Holding::Over(_) | Holding::Stale => return Ok(Verdict::Lost),
        }
        extend(&mut tx, lease.attempt, length).await?;
        tx.commit().await?;
        if locked.holding == Holding::Revivable {
            self.tell(Signal::Run(locked.run));
        }
        Ok(if locked.pausing {
            Verdict::Pause
        } else {
            Verdict::Continue
        })
    }
}

async fn extend(connection: &mut PgConnection, attempt: AttemptId, length: Duration) -> Result<()> {
    sqlx::query("update attempts set lease_expires_at = now() + make_interval(secs => $2) where id = $1")
        .bind(attempt.0)
        .bind(length.as_secs_f64())
        .execute(connection)
        .await?;
    Ok(())
}
