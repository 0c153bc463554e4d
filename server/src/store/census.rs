//! How many runs and workers there are, for monitoring.

use std::time::Duration;

use motif_proto::monitoring::coordinator::{DB_CONNECTIONS, DB_CONNECTIONS_MAX};
use motif_proto::run::Queue;
use sqlx::FromRow;

use super::{Result, Store};
use crate::domain::access::Projects;
use crate::monitoring::set;

/// Counts of a moment.
#[derive(Clone, Debug)]
pub struct Census {
    /// Runs in each state.
    pub queue: Queue,
    /// How long the oldest queued run has waited; 0 when none waits.
    pub oldest_queued_seconds: f64,
    /// Workers heard of within a day.
    pub fleets: Vec<Fleet>,
}

/// The workers of a kind.
#[derive(Clone, Debug, Default, FromRow)]
pub struct Fleet {
    /// What they compute on.
    pub device: String,
    /// Whether they were heard of within a lease's time.
    pub alive: bool,
    /// How many they are.
    pub workers: i64,
    /// How many runs they take at once.
    pub slots: i64,
    /// Slots of the runs that they hold.
    pub used_slots: i64,
}

impl Store {
    /// Counts runs and workers.
    ///
    /// # Errors
    /// Storage.
    #[tracing::instrument(name = "census", level = "debug", skip_all)]
    pub async fn census(&self, lease: Duration) -> Result<Census> {
        let queue = self.queue_counts(&Projects::All).await?;
        let oldest: Option<f64> = sqlx::query_scalar(
            "select extract(epoch from now() - min(queued_at))::double precision from runs where state = 'queued'",
        )
        .fetch_one(&self.pool)
        .await?;
        let fleets = sqlx::query_as(
            "select w.device, w.last_seen_at > now() - make_interval(secs => $1) as alive, count(*) as workers,
                    sum(w.slots) as slots, coalesce(sum(held.slots), 0)::bigint as used_slots
             from workers w
             left join (
                 select a.worker_id, sum(r.slots) as slots
                 from attempts a join runs r on r.id = a.run_id where a.state = 'running' group by a.worker_id
             ) held on held.worker_id = w.id
             where w.last_seen_at > now() - interval '1 day' group by 1, 2",
        )
        .bind(lease.as_secs_f64())
        .fetch_all(&self.pool)
        .await?;
        Ok(Census {
            queue,
            oldest_queued_seconds: oldest.unwrap_or(0.0),
            fleets,
        })
    }

    /// Measures the pool of connections.
    #[allow(clippy::cast_precision_loss, reason = "there are few connections")]
    pub fn measure_pool(&self) {
        let (size, idle) = (self.pool.size(), self.pool.num_idle());
        let used = (size as usize).saturating_sub(idle);
        set(DB_CONNECTIONS, &["used"], used as f64);
        set(DB_CONNECTIONS, &["idle"], idle as f64);
        set(
            DB_CONNECTIONS_MAX,
            &[],
            f64::from(self.pool.options().get_max_connections()),
        );
    }
}
