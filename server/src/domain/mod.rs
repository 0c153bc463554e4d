//! Decisions without I/O: what the store and the handlers ask, and what tests can ask without a database.

pub mod access;
pub mod chunk;
pub mod cursor;
pub mod curve;
pub mod halving;
pub mod journal;
pub mod lease;
pub mod listing;
pub mod log;
pub mod metrics;
pub mod pack;
pub mod plan;
pub mod retention;
pub mod retry;
pub mod revision;
pub mod revival;
pub mod secret;
pub mod standing;
pub mod statistics;
pub mod steering;
pub mod summary;
pub mod webhook;
