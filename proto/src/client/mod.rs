//! The typed client of the coordinator's API: one method per endpoint.
//!
//! - [`Client::new`] and what every request has in common: `http`
//! - what a request can meet: [`ClientError`]
//! - the scientist's side: `runs`, `studies`; live streams that survive a restart of the coordinator: [`EventStream`]
//! - the admin's side: `access`, `webhooks`
//! - the worker's side: `worker`
//!
//! Every call has a time limit, and none retries by itself: whoever calls knows whether repeating is wanted and
//! asks [`ClientError::is_transient`]. Event streams are the exception: they reconnect where they left off.

mod access;
mod error;
mod events;
mod http;
mod runs;
mod servers;
#[cfg(test)]
pub(crate) mod stub;
mod studies;
#[cfg(test)]
mod tests;
mod webhooks;
mod worker;

pub use access::AuditQuery;
pub use error::ClientError;
pub use events::{EventStream, StreamItem};
pub use http::{Client, Content};
pub use runs::{LogsQuery, MetricsQuery, RunFilter};
pub use studies::{StatisticsQuery, StudyFilter};
