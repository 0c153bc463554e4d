//! Names of everything that coordinators and workers let Prometheus read, so that boards and alerts can be checked
//! against them; and, with the feature `monitoring`, the [`Recorder`] that records it.
//!
//! `motif_<thing>_<unit>` in seconds and bytes, `_total` for counters. Labels have few values: never an id.

#[cfg(feature = "monitoring")]
mod recorder;

#[cfg(feature = "monitoring")]
pub use recorder::Recorder;

/// What Prometheus does with a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
}

/// A metric, as its help text explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// One sentence.
    pub help: &'static str,
    /// What samples are told apart by.
    pub labels: &'static [&'static str],
}

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Metric =
                Metric { name: $name, kind: Kind::$kind, help: $help, labels: &[$($label),*] };
        )*
        /// All of them.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

/// What a coordinator measures. Gauges about runs and workers come from the database, so every coordinator of a
/// database says the same: take the maximum over them, not the sum.
pub mod coordinator {
    use super::{Kind, Metric};

    metrics! {
        BUILD_INFO = Gauge "motif_build_info" ["version"] "Always 1; the label `version` is the coordinator's.";
        DATABASE_UP = Gauge "motif_database_up" []
            "Whether the gauges about runs and workers could be read last time, 1 or 0.";
        RUNS = Gauge "motif_runs" ["state"] "Runs by `state`.";
        QUEUE_OLDEST = Gauge "motif_queue_oldest_seconds" []
            "How long the oldest queued run has waited; 0 when none waits.";
        WORKERS = Gauge "motif_workers" ["device", "state"] "Workers heard of within a day, by `device` and `state` (alive, away).";
        WORKER_SLOTS = Gauge "motif_worker_slots" ["device", "state"]
            "Slots of living workers, by `device` and `state` (used, free).";
        CLAIMS = Counter "motif_claims_total" ["outcome"]
            "Claims of workers, by `outcome` (run, none, refused, failed).";
        CLAIM_DURATION = Histogram "motif_claim_duration_seconds" []
            "How long one look into the queue took, for however many workers.";
        LEASES_LOST = Counter "motif_leases_lost_total" [] "Runs taken back from workers that fell silent.";
        ATTEMPTS_ENDED = Counter "motif_attempts_ended_total" ["outcome"]
            "Reports of workers that an attempt ended, by `outcome` (succeeded, released, reached a rung, or the failure's class).";
        INGEST_REQUESTS = Counter "motif_ingest_requests_total" ["outcome"]
            "Batches of metrics that workers sent, by `outcome` (stored, refused, failed).";
        INGEST_POINTS = Counter "motif_ingest_points_total" [] "Points of the batches that were stored.";
        INGEST_BYTES = Counter "motif_ingest_bytes_total" [] "Bytes of the bodies that those points came in.";
        LOG_LINES = Counter "motif_log_lines_total" [] "Log lines that workers sent and that were taken in.";
        HTTP_DURATION = Histogram "motif_http_request_duration_seconds" ["method", "route", "status"]
            "Time to the head of an answer, by `method`, `route` and `status`. Claims wait for work within it.";
        HTTP_IN_FLIGHT = Gauge "motif_http_requests_in_flight" [] "Requests whose answer has not begun.";
        EVENT_STREAMS = Gauge "motif_event_streams" ["kind"] "Streams of events that are open, by `kind` (run, all).";
        DB_QUERY_DURATION = Histogram "motif_db_query_duration_seconds" ["op"]
            "How long statements took in the database, by the `op` that they belong to.";
        DB_CONNECTIONS = Gauge "motif_db_connections" ["state"]
            "Connections of this coordinator's pool, by `state` (used, idle).";
        DB_CONNECTIONS_MAX = Gauge "motif_db_connections_max" [] "Most connections that the pool opens.";
        STORAGE_DURATION = Histogram "motif_storage_operation_duration_seconds" ["op", "outcome"]
            "How long operations of the artifact store took, by `op` and `outcome` (ok, failed).";
        STORAGE_BYTES = Counter "motif_storage_bytes_total" ["direction"]
            "Bytes written to and read from the artifact store, by `direction` (in, out).";
        TASK_DURATION = Histogram "motif_task_duration_seconds" ["task"] "How long one turn of a background `task` took.";
        TASK_TURNS = Counter "motif_task_turns_total" ["task", "outcome"]
            "Turns of background tasks, by `task` and `outcome` (ok, failed).";
        TASK_LAST_SUCCESS = Gauge "motif_task_last_success_timestamp_seconds" ["task"]
            "When a background `task` last succeeded here, in seconds since 1970.";
    }
}

/// What a worker measures.
pub mod worker {
    use super::{Kind, Metric};

    metrics! {
        BUILD_INFO = Gauge "motif_worker_build_info" ["version"] "Always 1; the label `version` is the worker's.";
        BATCH_DURATION = Histogram "motif_worker_batch_duration_seconds" ["engine", "device"]
            "How long training a batch took, by `engine` and `device`.";
        EVALUATION_DURATION = Histogram "motif_worker_evaluation_duration_seconds" ["device"]
            "How long a whole evaluation took, by `device`.";
        ATTEMPTS_ENDED = Counter "motif_worker_attempts_ended_total" ["outcome"]
            "Attempts that ended here, by `outcome` (succeeded, released, reached a rung, abandoned, or the failure's class).";
        SPOOL_BYTES = Gauge "motif_worker_spool_size_bytes" []
            "Bytes that wait on disk for the coordinator, over all attempts.";
        SLOTS = Gauge "motif_worker_runs_slots" ["state"] "Slots by `state` (used, free).";
        SEND_FAILURES = Counter "motif_worker_send_failures_total" []
            "Sendings to the coordinator that failed and are tried again.";
    }
}

/// What both say about their process, named by Prometheus' own conventions.
pub const PROCESS: &[&str] = &[
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
    "process_virtual_memory_bytes",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        for metric in coordinator::ALL.iter().chain(worker::ALL) {
            let Metric { name, kind, help, .. } = metric;
            assert!(name.starts_with("motif_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(
                *kind != Kind::Histogram || name.ends_with("_seconds") || name.ends_with("_bytes"),
                "{name}"
            );
            assert!(help.ends_with('.'), "{name}: {help}");
        }
    }
}
