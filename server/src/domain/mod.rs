//! Decisions without I/O: what the store and the handlers ask, and what tests can ask without a database.

pub mod chunk;
pub mod curve;
pub mod journal;
pub mod lease;
pub mod metrics;
pub mod pack;
pub mod retention;
pub mod retry;
pub mod standing;
pub mod steering;
pub mod summary;
