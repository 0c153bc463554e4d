//! Clients that hang up in the middle of a request.

use std::ops::RangeInclusive;
use std::pin::pin;
use std::time::{Duration, Instant};

use crate::common::App;
use futures::poll;
use serde_json::json;
use sqlx::{Connection, PgConnection};

/// A transaction begins within the first waits of a submission.
const WAITS: RangeInclusive<usize> = 1..=6;
/// Whether an answer is there at once is a matter of chance.
const ROUNDS: usize = 25;

#[tokio::test]
async fn whoever_hangs_up_while_a_transaction_begins_leaves_no_connection_inside_one() {
    let app = App::start().await;
    let spec = json!({ "preset": "demo" });
    // Not one of the app's, which would be looked at with itself.
    let mut watch = PgConnection::connect_with(&app.pool.connect_options())
        .await
        .unwrap();
    for waits in (0..ROUNDS).flat_map(|_| WAITS) {
        {
            let mut request = pin!(app.post("/api/v1/experiments", &spec));
            for _ in 0..waits {
                if poll!(request.as_mut()).is_ready() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        // What was begun for those who are gone is rolled back as soon as its connection is given back.
        let limit = Instant::now() + Duration::from_secs(10);
        while left_inside(&mut watch).await > 0 {
            assert!(
                Instant::now() < limit,
                "after {waits} waits a connection is left inside a transaction"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Connections to this database that are inside a transaction and do nothing.
async fn left_inside(watch: &mut PgConnection) -> i64 {
    let count = "select count(*) from pg_stat_activity
                 where datname = current_database() and state like 'idle in transaction%'";
    sqlx::query_scalar(count).fetch_one(watch).await.unwrap()
}
