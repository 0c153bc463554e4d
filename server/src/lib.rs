//! Motif's coordinator, in reading order:
//!
//! - [`config`]: what it can be told; [`commands`]: what it does beside serving; [`router`]: the API's table of contents
//! - [`table`]: what each endpoint asks of its callers; [`access`]: who they are
//! - [`http`]: parses and answers, one file per resource; [`app`]: what handlers share
//! - [`domain`]: decides, without I/O
//! - [`store`]: all SQL; [`artifacts`]: the bytes of checkpoints
//! - [`dispatch`]: hands out runs; [`signals`]: wakes whoever waits; [`webhooks`]: tells receivers;
//!   [`tasks`]: what happens by itself
//! - [`console`]: commands on the database itself; [`tokens`]: how tokens are made
//! - [`postgres`]: the private database; [`serve`]: start and shutdown; [`telemetry`]: logs
//! - [`backup`]: saves, restores and checks what is stored; [`reached`]: a database that may be in use
//! - [`monitoring`]: what Prometheus can read
//! - [`error`]: what can go wrong; `glance`: looks that serve whoever asks next
//!
//! Handlers hold no SQL, store functions no policy. Decisions that a newcomer would question are in
//! `docs/decisions`.

pub mod access;
pub mod app;
pub mod artifacts;
pub mod backup;
pub mod commands;
pub mod config;
pub mod console;
pub mod dispatch;
pub mod domain;
pub mod error;
mod glance;
pub mod http;
pub mod monitoring;
pub mod postgres;
pub mod reached;
pub mod router;
pub mod serve;
pub mod signals;
pub mod store;
pub mod submission;
pub mod table;
pub mod tasks;
pub mod telemetry;
pub mod tokens;
pub mod webhooks;

/// The schema's steps, forward only, applied at every start.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");
