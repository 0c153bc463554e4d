//! Handlers: they parse and answer, one file per resource.

pub mod access;
pub mod artifacts;
pub mod audit;
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
pub mod projects;
pub mod runs;
pub mod session;
pub mod statistics;
pub mod studies;
pub mod tokens;
mod upload;
pub mod uploads;
pub mod visible;
pub mod webhooks;
pub mod worker;
pub mod workers;
