//! The coordinator's tests against a real Postgres, in one program: it is linked once and starts one server.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]
#![expect(clippy::disallowed_methods, reason = "nothing here goes away in the middle")]

#[path = "../common/mod.rs"]
mod common;

mod access;
mod api;
mod artifacts;
mod backup;
mod bases;
mod checkpoints;
mod coordinators;
mod curves;
mod deletion;
mod deletion_of_studies;
mod dependants;
mod desks;
mod events;
mod exchange;
mod hang_ups;
mod idempotency;
mod leases;
mod list_plans;
mod lists;
mod logs;
mod migrations;
mod outage;
mod preconditions;
mod projects;
mod queue;
mod retries;
mod s3;
mod statistics;
mod steering;
mod stores;
mod studies;
mod sweeps;
mod uploads;
mod webhooks;
