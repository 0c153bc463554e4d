//! All SQL. One file per table or aggregate; functions are named by intent and hold whole transactions.
//!
//! - [`experiments`], [`runs`]: what was asked for and how it stands; [`run_list`]: filtered and sorted, in pages, with
//!   `run_filter`'s conditions
//! - [`queue`]: the claim, by what runs need (`needs`); [`attempts`] and `heartbeats`: leases and ends;
//!   [`transitions`]: all other changes of a run's state
//! - `desk`: what many workers send at a time is stored together: `appends`, `successes`, `heartbeats`
//! - [`journal`], `remembered`, [`settle`] and `rewind`: curves as they are written; [`series`]: as they are read;
//!   [`notes`]: their newest and least values; [`statistics`]: the values of groups of runs
//! - [`events`]: what streams tell; [`logs`]: what attempts wrote
//! - [`checkpoints`], [`artifacts`], [`blobs`] and [`uploads`]: what the artifact store holds; [`bases`]: what starts
//!   from it
//! - [`deletions`]: how runs go
//! - [`studies`]: experiments that hang together, `dependants`: what follows for runs that wait, [`sweeps`]: the
//!   rungs of successive halving, [`lineage`]: which bytes came from which run
//! - [`workers`]: who works; [`standing`]: who is trusted with runs; [`census`]: how many there are, for monitoring
//! - [`tokens`], [`projects`]: who may do what; [`audit`]: who did what; [`webhooks`]: who is told
//! - [`idempotency`]: requests that may come again; [`room`]: whether anything more can be stored
//!
//! Transactions begin by `Store::begin`, never by the pool: `transaction` says why.
//!
//! Whoever changes a run locks its row first, then reads the attempt: so every change of a run has its place in
//! one order, and a lease that was judged valid stays valid until the commit.

mod appends;
pub mod artifacts;
pub mod attempts;
pub mod audit;
pub mod bases;
pub mod blobs;
pub mod census;
pub mod checkpoints;
pub mod deletions;
mod dependants;
mod desk;
pub mod events;
pub mod experiments;
mod heartbeats;
pub mod idempotency;
pub mod journal;
pub mod lineage;
pub mod logs;
mod needs;
pub mod notes;
pub mod projects;
pub mod queue;
mod remembered;
mod rewind;
pub mod room;
mod run_filter;
pub mod run_list;
pub mod runs;
pub mod series;
pub mod settle;
pub mod standing;
pub mod statistics;
pub mod studies;
mod successes;
pub mod sweeps;
pub mod tokens;
mod transaction;
pub mod transitions;
pub mod uploads;
pub mod webhooks;
pub mod workers;

use std::sync::Arc;

use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, Error as WordError};
use sqlx::PgPool;

use self::desk::Desk;
use crate::domain::chunk::Point;
use crate::error::Error;
use crate::glance::Glance;
use crate::signals::{Signal, Signals};

/// What a store function answers.
pub type Result<T> = std::result::Result<T, Error>;

/// The database and the way to tell others about changes; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
    signals: Signals,
    open_journals: remembered::OpenJournals,
    desks: Desks,
    room: Arc<Glance<bool>>,
}

/// Where what workers send waits to be stored together.
#[derive(Clone, Debug, Default)]
struct Desks {
    appends: Desk<appends::Append>,
    successes: Desk<successes::Success>,
    heartbeats: Desk<heartbeats::Beat>,
}

impl Store {
    /// A store over a migrated database.
    #[must_use]
    pub fn new(pool: PgPool, signals: Signals) -> Self {
        Self {
            pool,
            signals,
            open_journals: remembered::OpenJournals::default(),
            desks: Desks::default(),
            room: Arc::default(),
        }
    }

    /// The newest migration that the database has; whether it answers.
    ///
    /// # Errors
    /// [`Error::Storage`] if it does not.
    pub async fn newest_migration(&self) -> Result<Option<i64>> {
        Ok(
            sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
                .fetch_one(&self.pool)
                .await?,
        )
    }

    fn tell(&self, signal: Signal) {
        self.signals.send(signal);
    }
}

/// Whether a statement failed because it would break the constraint or unique index of this name.
fn is_violation(error: &sqlx::Error, constraint: &str) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.constraint() == Some(constraint))
}

/// Reads a word of a closed set, as constraints of the tables allow no other.
fn word<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T> {
    T::deserialize(BorrowedStrDeserializer::<WordError>::new(text))
        .map_err(|_| Error::Damaged(format!("`{text}` is not a known word")))
}

/// The step of a point that there may be, for a column.
fn step_of(point: Option<Point>) -> Option<i64> {
    point.map(|(step, _)| signed(step))
}

/// The value of a point that there may be, for a column.
fn value_of(point: Option<Point>) -> Option<f64> {
    point.map(|(_, value)| value)
}

/// A count, step or size from a column of signed integers.
fn unsigned(value: i64) -> u64 {
    value.try_into().unwrap_or(0)
}

/// A count, step or size for a column of signed integers.
fn signed(value: u64) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

/// A pattern for `ilike` that finds the text anywhere.
fn like_pattern(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}
