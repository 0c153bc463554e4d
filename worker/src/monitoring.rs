//! What Prometheus can read of a daemon that was given `--metrics`. Names and meanings are in
//! [`motif_proto::monitoring::worker`].

use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use motif_proto::monitoring::Recorder;
use motif_proto::monitoring::worker::{
    ALL, ATTEMPTS_ENDED, BATCH_DURATION, BUILD_INFO, EVALUATION_DURATION, SEND_FAILURES, SLOTS, SPOOL_BYTES,
};
use motif_proto::worker::Outcome;
use tokio::net::TcpListener;

use crate::lease::Leases;

/// The version of the text format that is written.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

static RECORDER: LazyLock<Recorder> = LazyLock::new(|| {
    let recorder = Recorder::new(ALL).unwrap_or_else(|error| unreachable!("the table is sound: {error}"));
    recorder.set(BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
    recorder
});

/// What the process computes on.
static DEVICE: OnceLock<&'static str> = OnceLock::new();

fn device() -> &'static str {
    DEVICE.get().copied().unwrap_or("cpu")
}

/// Answers every request at an address with what was measured, for as long as it is polled.
pub async fn serve(listener: TcpListener, leases: Leases) {
    let text = move || async move {
        #[allow(clippy::cast_precision_loss, reason = "disks are smaller")]
        RECORDER.set(SPOOL_BYTES, &[], leases.spooled_bytes() as f64);
        ([(header::CONTENT_TYPE, TEXT_FORMAT)], RECORDER.render())
    };
    let app = Router::new().route("/metrics", get(text));
    if let Err(error) = axum::serve(listener, app).await {
        tracing::error!(%error, "metrics are no longer served");
    }
}

/// Says what the process computes on, and how many slots it has.
pub fn begin(device: &'static str, slots: u32) {
    let _ = DEVICE.set(device);
    RECORDER.set(SLOTS, &["free"], slots.into());
    RECORDER.set(SLOTS, &["used"], 0.0);
}

/// Slots in use, until it is dropped.
#[derive(Debug)]
pub struct Busy(f64);

impl Busy {
    /// So many more.
    #[must_use]
    pub fn slots(count: u32) -> Self {
        let busy = Self(count.into());
        RECORDER.add(SLOTS, &["used"], busy.0);
        RECORDER.add(SLOTS, &["free"], -busy.0);
        busy
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        RECORDER.add(SLOTS, &["used"], -self.0);
        RECORDER.add(SLOTS, &["free"], self.0);
    }
}

/// A batch was trained.
pub fn trained(engine: &str, duration: Duration) {
    RECORDER.observe(BATCH_DURATION, &[engine, device()], duration);
}

/// A whole evaluation was made.
pub fn evaluated(duration: Duration) {
    RECORDER.observe(EVALUATION_DURATION, &[device()], duration);
}

/// An attempt ended; without an outcome it was given up.
pub fn ended(outcome: Option<&Outcome>) {
    let word = match outcome {
        Some(Outcome::Succeeded) => "succeeded",
        Some(Outcome::Released) => "released",
        Some(Outcome::Reached { .. }) => "reached",
        Some(Outcome::Failed { failure }) => failure.class.as_str(),
        None => "abandoned",
    };
    RECORDER.count(ATTEMPTS_ENDED, &[word], 1);
}

/// Something could not be sent.
pub fn send_failed() {
    RECORDER.count(SEND_FAILURES, &[], 1);
}
