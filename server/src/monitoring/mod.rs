//! What Prometheus can read of a coordinator, and where it is measured: around requests ([`http`]), background tasks
//! ([`tasks`]), statements ([`queries`]) and the artifact store ([`storage`]), by what handlers find ([`outcomes`]), and
//! by counting in the database ([`gauges`]).
//!
//! Names and meanings are in [`motif_proto::monitoring`]. Measurements are the process' own, so that whatever measures
//! needs no handle: a line in the right place is all it takes. Only the counts from the database belong to one
//! coordinator.

pub mod gauges;
pub mod http;
pub mod outcomes;
pub mod queries;
pub mod storage;
pub mod tasks;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use motif_proto::monitoring::coordinator::{ALL, BUILD_INFO};
use motif_proto::monitoring::{Metric, Recorder};

use crate::store::Store;

static RECORDER: LazyLock<Recorder> = LazyLock::new(|| {
    let recorder = Recorder::new(ALL).unwrap_or_else(|error| unreachable!("the table is sound: {error}"));
    recorder.set(BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
    recorder
});

/// Adds to a counter.
pub fn count(metric: Metric, labels: &[&str], more: u64) {
    RECORDER.count(metric, labels, more);
}

/// Sets a gauge.
pub fn set(metric: Metric, labels: &[&str], value: f64) {
    RECORDER.set(metric, labels, value);
}

/// Adds to a gauge.
pub fn add(metric: Metric, labels: &[&str], more: f64) {
    RECORDER.add(metric, labels, more);
}

/// Puts a duration into its bucket.
pub fn observe(metric: Metric, labels: &[&str], duration: Duration) {
    RECORDER.observe(metric, labels, duration);
}

/// What a coordinator tells Prometheus; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Monitoring(Arc<gauges::Gauges>);

impl Monitoring {
    /// Everything measured, in the text format of Prometheus. Counts from the database are a few seconds old at most.
    pub async fn render(&self, store: &Store, lease: Duration) -> String {
        self.0.refresh(store, lease).await;
        store.measure_pool();
        RECORDER.render()
    }
}
