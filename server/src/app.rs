//! What every handler may need.

use std::time::Duration;

use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::artifacts::Artifacts;
use crate::dispatch::Dispatcher;
use crate::http::rate::Rates;
use crate::monitoring::Monitoring;
use crate::signals::Signals;
use crate::store::Store;
use crate::webhooks::Webhooks;

/// The state behind the router; cheap to clone.
#[derive(Clone, Debug, FromRef)]
pub struct AppState {
    /// The database.
    pub store: Store,
    /// The bytes of checkpoints.
    pub artifacts: Artifacts,
    /// Where claims wait.
    pub dispatcher: Dispatcher,
    /// News for whoever waits.
    pub signals: Signals,
    /// Who is behind a secret.
    pub access: Access,
    /// The way to those who want to be told.
    pub webhooks: Webhooks,
    /// What a lease is.
    pub leases: Leases,
    /// How many requests each sender may make.
    pub rates: Rates,
    /// What this process measures.
    pub monitoring: Monitoring,
    /// Ends what would wait for long.
    pub stopping: Stopping,
}

/// What a lease is.
#[derive(Clone, Copy, Debug)]
pub struct Leases {
    /// How long it lasts.
    pub length: Duration,
}

/// Says that the coordinator shuts down.
#[derive(Clone, Debug, Default)]
pub struct Stopping(pub CancellationToken);
