//! Handlers: they parse and answer, one file per resource.

pub mod artifacts;
pub mod checkpoints;
pub mod content;
pub mod dashboard;
pub(crate) mod document;
pub mod encoding;
pub mod etag;
pub mod events;
pub mod experiments;
pub mod extract;
pub mod guard;
pub mod health;
pub mod idempotency;
pub mod metrics;
pub mod page;
pub mod presets;
mod principal;
pub mod problem;
pub mod problems;
pub mod rate;
pub mod run_list;
pub mod runs;
mod upload;
pub mod worker;
pub mod workers;
