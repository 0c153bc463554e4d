//! Handlers: they parse and answer, one file per resource.

pub mod artifacts;
pub mod checkpoints;
pub mod content;
pub mod dashboard;
pub mod events;
pub mod experiments;
pub mod extract;
pub mod guard;
pub mod health;
pub mod metrics;
pub mod presets;
pub mod problem;
pub mod runs;
mod upload;
pub mod uploads;
pub mod worker;
pub mod workers;
