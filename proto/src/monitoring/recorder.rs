//! Records a table of metrics, and writes them down in Prometheus' text format.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
};

use super::{Kind, Metric};

/// From a statement that hits its index to a request that is about to be given up.
const BUCKETS: [f64; 15] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// Ticks of the processor's clock in a second, as Linux has told them to programs for thirty years.
const TICKS_PER_SECOND: f64 = 100.0;
/// Bytes of a page of memory.
const PAGE_BYTES: f64 = 4096.0;

/// What is recorded of a table of metrics.
pub struct Recorder {
    registry: Registry,
    series: HashMap<&'static str, Series>,
}

enum Series {
    Counter(IntCounterVec),
    Gauge(GaugeVec),
    Histogram(HistogramVec),
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("metrics", &self.series.len())
            .finish()
    }
}

impl Recorder {
    /// Records nothing yet but zeros of what has no labels.
    ///
    /// # Errors
    /// Names or labels that Prometheus does not take, or a name twice.
    pub fn new(metrics: &[Metric]) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let mut series = HashMap::with_capacity(metrics.len());
        for metric in metrics {
            let one = Series::new(metric)?;
            match &one {
                Series::Counter(counters) => registry.register(Box::new(counters.clone()))?,
                Series::Gauge(gauges) => registry.register(Box::new(gauges.clone()))?,
                Series::Histogram(histograms) => registry.register(Box::new(histograms.clone()))?,
            }
            if metric.labels.is_empty() {
                one.touch();
            }
            series.insert(metric.name, one);
        }
        Ok(Self { registry, series })
    }

    /// Adds to a counter. What is not in the table, or has other labels, is passed over.
    pub fn count(&self, metric: Metric, labels: &[&str], more: u64) {
        if let Some(Series::Counter(counters)) = self.series.get(metric.name)
            && let Ok(counter) = counters.get_metric_with_label_values(labels)
        {
            counter.inc_by(more);
        }
    }

    /// Sets a gauge.
    pub fn set(&self, metric: Metric, labels: &[&str], value: f64) {
        if let Some(Series::Gauge(gauges)) = self.series.get(metric.name)
            && let Ok(gauge) = gauges.get_metric_with_label_values(labels)
        {
            gauge.set(value);
        }
    }

    /// Adds to a gauge.
    pub fn add(&self, metric: Metric, labels: &[&str], more: f64) {
        if let Some(Series::Gauge(gauges)) = self.series.get(metric.name)
            && let Ok(gauge) = gauges.get_metric_with_label_values(labels)
        {
            gauge.add(more);
        }
    }

    /// Puts a duration into its bucket.
    pub fn observe(&self, metric: Metric, labels: &[&str], duration: Duration) {
        if let Some(Series::Histogram(histograms)) = self.series.get(metric.name)
            && let Ok(histogram) = histograms.get_metric_with_label_values(labels)
        {
            histogram.observe(duration.as_secs_f64());
        }
    }

    /// Everything recorded, and what the system says about this process.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Into memory, of families that were registered: nothing can fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        let mut text = String::from_utf8(text).unwrap_or_default();
        for (name, kind, help, value) in process() {
            text.push_str(&format!(
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
            ));
        }
        text
    }
}

impl Series {
    fn new(metric: &Metric) -> Result<Self, prometheus::Error> {
        Ok(match metric.kind {
            Kind::Counter => Self::Counter(IntCounterVec::new(
                Opts::new(metric.name, metric.help),
                metric.labels,
            )?),
            Kind::Gauge => Self::Gauge(GaugeVec::new(Opts::new(metric.name, metric.help), metric.labels)?),
            Kind::Histogram => {
                let options = HistogramOpts::new(metric.name, metric.help).buckets(BUCKETS.to_vec());
                Self::Histogram(HistogramVec::new(options, metric.labels)?)
            }
        })
    }

    /// Makes the sample that has no labels.
    fn touch(&self) {
        const NONE: [&str; 0] = [];
        match self {
            Self::Counter(counters) => drop(counters.get_metric_with_label_values(&NONE)),
            Self::Gauge(gauges) => drop(gauges.get_metric_with_label_values(&NONE)),
            Self::Histogram(histograms) => drop(histograms.get_metric_with_label_values(&NONE)),
        }
    }
}

type Sample = (&'static str, &'static str, &'static str, f64);

/// What Linux says about this process; what it does not say is left out.
fn process() -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut say = |name, kind, help, value: Option<f64>| {
        samples.extend(value.map(|value| (name, kind, help, value)));
    };
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The program's name, in brackets, may hold anything; what follows it does not.
    let fields: Vec<f64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| {
            rest.split_whitespace()
                .skip(1)
                .map(|field| field.parse().unwrap_or(0.0))
                .collect()
        })
        .unwrap_or_default();
    // Numbered as in proc(5), from 4 on.
    let field = |number: usize| fields.get(number - 4).copied();
    let cpu = field(14)
        .zip(field(15))
        .map(|(user, system)| (user + system) / TICKS_PER_SECOND);
    say(
        "process_cpu_seconds_total",
        "counter",
        "Processor time used, in seconds.",
        cpu,
    );
    say("process_threads", "gauge", "Threads.", field(20));
    let started = field(22)
        .zip(boot_time())
        .map(|(ticks, boot)| boot + ticks / TICKS_PER_SECOND);
    say(
        "process_start_time_seconds",
        "gauge",
        "When the process began, in seconds since 1970.",
        started,
    );
    say(
        "process_virtual_memory_bytes",
        "gauge",
        "Size of the address space.",
        field(23),
    );
    let resident = field(24).map(|pages| pages * PAGE_BYTES);
    say(
        "process_resident_memory_bytes",
        "gauge",
        "Memory in use.",
        resident,
    );
    let open = fs::read_dir("/proc/self/fd")
        .ok()
        .map(|files| files.count() as f64);
    say(
        "process_open_fds",
        "gauge",
        "Files and connections that are open.",
        open,
    );
    say(
        "process_max_fds",
        "gauge",
        "Most files and connections that may be open.",
        max_files(),
    );
    samples
}

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines()
        .find_map(|line| line.strip_prefix("btime ")?.parse().ok())
}

fn max_files() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::{PROCESS, coordinator, worker};
    use super::*;

    #[test]
    fn both_tables_are_taken_and_what_is_recorded_is_written_down() {
        Recorder::new(worker::ALL).expect("a sound table");
        let recorder = Recorder::new(coordinator::ALL).expect("a sound table");
        recorder.count(coordinator::CLAIMS, &["run"], 2);
        recorder.count(coordinator::CLAIMS, &["run", "one label too many"], 1);
        recorder.set(coordinator::RUNS, &["queued"], 7.0);
        recorder.observe(coordinator::CLAIM_DURATION, &[], Duration::from_millis(3));
        let text = recorder.render();
        for line in [
            "motif_claims_total{outcome=\"run\"} 2",
            "motif_runs{state=\"queued\"} 7",
            "motif_claim_duration_seconds_bucket{le=\"0.0025\"} 0",
            "motif_claim_duration_seconds_bucket{le=\"0.005\"} 1",
            "motif_leases_lost_total 0",
        ] {
            assert!(
                text.lines().any(|written| written == line),
                "{line} is missing in\n{text}"
            );
        }
        for name in PROCESS {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let value: f64 = value.expect(name).parse().expect("a number");
            assert!(value > 0.0, "{name} {value}");
        }
    }
}
