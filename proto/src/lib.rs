//! What goes over Motif's wire, shared by the coordinator, the workers and every client.
//!
//! In reading order:
//!
//! - [`id`]: a type per kind of identifier, so that a run's id cannot stand where an attempt's is wanted
//! - [`spec`]: what an experiment may ask for, its validation and its presets
//! - [`run`]: runs, attempts and checkpoints as clients see them
//! - [`access`]: tokens, projects, sign-in, and who did what
//! - [`statistics`]: means, spreads and differences over seeds
//! - [`study`]: experiments that were submitted together, and which bytes came from which run
//! - [`artifact`]: the files that a run makes
//! - [`metrics`]: series names, batches of points and what a curve query answers
//! - [`worker`]: the worker's side of the protocol: register, claim, heartbeat, metrics, checkpoints, finish
//! - [`upload`]: large files in parts
//! - [`log`]: log lines of attempts; `mask` (feature `mask`): hides secrets in them
//! - [`monitoring`]: names of what Prometheus can read
//! - `otlp` (feature `otlp`): spans for an OpenTelemetry collector
//! - [`canary`]: by which a worker shows that it computes rightly
//! - [`event`]: what the server-sent event streams carry
//! - [`length`]: lengths of time as people write them
//! - [`problem`]: the error document of RFC 9457; [`health`]: whether a coordinator can work
//! - [`webhook`]: who is told when runs end, and how that is signed
//! - `client` (feature `client`): the typed client of the API
//! - `cli` (feature `cli`): the command `motif`
//!
//! This crate knows neither libtorch nor SQL, so a client builds in seconds.

pub mod access;
pub mod artifact;
pub mod canary;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod event;
pub mod health;
pub mod id;
pub mod length;
pub mod log;
#[cfg(feature = "mask")]
pub mod mask;
pub mod metrics;
pub mod monitoring;
#[cfg(feature = "otlp")]
pub mod otlp;
pub mod problem;
pub mod run;
pub mod spec;
pub mod statistics;
pub mod study;
pub mod upload;
pub mod webhook;
pub mod worker;
