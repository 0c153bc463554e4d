//! Sends what webhooks are to be told.
//!
//! Each coordinator takes what is due for itself, so any number of them share the work. A receiver that is slow or
//! away holds up none but its own deliveries.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::webhook;
use crate::error::chain;
use crate::monitoring::tasks::turn;
use crate::store::Store;
use crate::webhooks::{ANSWER_LIMIT, Webhooks};

/// How often to look for what is due.
const PERIOD: Duration = Duration::from_secs(1);
/// Deliveries on their way at once.
const MOST: usize = 32;
/// Of them to one webhook.
const EACH: u32 = 4;
/// How long a delivery is ours: longer than the longest answer takes.
const LEASE: Duration = Duration::from_secs(60);
const _: () = assert!(LEASE.as_secs() > 2 * ANSWER_LIMIT.as_secs());
/// How long deliveries are remembered.
const AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Looks between two clean-ups.
const CLEAN_EVERY: u32 = 600;

/// Sends until `stop`.
pub async fn run(store: Store, webhooks: Webhooks, stop: CancellationToken) {
    let mut on_their_way = JoinSet::new();
    // The webhook that each of them is for.
    let mut busy: HashMap<task::Id, Uuid> = HashMap::new();
    let mut looks = 0u32;
    loop {
        if looks.is_multiple_of(CLEAN_EVERY)
            && let Err(error) = store.prune_deliveries(AGE).await
        {
            tracing::warn!(error = %chain(&error), "old deliveries were not cleared away");
        }
        looks = looks.wrapping_add(1);
        let room = MOST.saturating_sub(on_their_way.len());
        let occupied: Vec<Uuid> = busy.values().copied().collect();
        let due = if room == 0 {
            Vec::new()
        } else {
            match turn("webhooks", store.take_deliveries(&occupied, EACH, room, LEASE)).await {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "deliveries could not be looked for");
                    Vec::new()
                }
            }
        };
        for due in due {
            let (webhook, store, webhooks) = (due.webhook_id, store.clone(), webhooks.clone());
            let task = on_their_way.spawn(async move {
                let sent = webhooks.send(&due).await;
                let next = webhook::wait_after(due.attempts.unsigned_abs());
                if let Err(error) = store.settle_delivery(&due, &sent, next).await {
                    // It is due again when its lease ends: the receiver gets it twice and knows it by its id.
                    tracing::warn!(delivery.id = %due.id, error = %chain(&error), "a delivery's fate was not recorded");
                }
            });
            busy.insert(task.id(), webhook);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            Some(done) = on_their_way.join_next_with_id() => {
                let id = done.map_or_else(|error| error.id(), |(id, ())| id);
                busy.remove(&id);
            }
            () = webhooks.hurried() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}
