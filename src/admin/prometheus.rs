use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::time::Duration;

use ::metrics::{Counter, Gauge, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use parking_lot::Mutex;

use super::Process;
use super::{queue_series, series};
use crate::metrics::{Batch, Latency, Metrics, StorageHistograms};
use crate::packet::ReasonCode;

/// How often `upkeep` should run: it bounds the latency samples that wait in memory.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Bounds of the latency histograms, in seconds.
const BUCKETS: [f64; 15] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Bounds of the histograms of batches: records, and bytes.
const RECORDS: [f64; 9] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0];
const BYTES: [f64; 8] = [256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 16_777_216.0];

static METADATA: Metadata<'static> = Metadata::new("dunlin", Level::INFO, None);

/// Writes `Metrics` in the text format of Prometheus. One for each broker; it installs nothing global.
///
/// Every series has a handle that is kept from its registration on; a scrape reads the figures, sets the handles and renders.
pub struct Exporter {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    latency: Latency,
    storage: StorageHistograms,
    kept: Mutex<Kept>,
}

/// The handles, each beside what tells its value.
struct Kept {
    counters: Vec<(Counter, Read<u64>)>,
    gauges: Vec<(Gauge, Read<f64>)>,
    /// How many of the listeners have their series.
    listeners: usize,
    /// How many of the bridges have their series.
    bridges: usize,
    /// Reason codes have a series from their first count on.
    reasons: HashMap<(&'static str, String), Counter>,
}

/// Where in a reading the value of one series is.
type Read<T> = Box<dyn Fn(&Reading<'_>) -> T + Send>;

/// Everything that one scrape tells, read once.
pub(super) struct Reading<'a> {
    pub(super) metrics: &'a Metrics,
    pub(super) traffic: Batch,
    pub(super) process: Process,
    pub(super) runtime: Runtime,
}

/// The figures of the tokio runtime that the scrape runs on; all zero outside of one.
#[derive(Default)]
pub(super) struct Runtime {
    pub(super) workers: usize,
    pub(super) tasks: usize,
    pub(super) queued: usize,
    busy: Duration,
}

impl Default for Exporter {
    fn default() -> Self {
        Self::new()
    }
}

impl Exporter {
    pub fn new() -> Self {
        let builder = PrometheusBuilder::new()
            .set_buckets(&BUCKETS)
            .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("batch_records".into()), &RECORDS))
            .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("batch_bytes".into()), &BYTES))
            .expect("there are buckets");
        let recorder = builder.build_recorder();
        let latency = Latency {
            publish_to_ack: histogram(
                &recorder,
                "dunlin_publish_to_ack_seconds",
                "Time from a QoS 1 or 2 PUBLISH being read to its PUBACK or PUBREC being written; one of many is measured.",
            ),
            publish_to_delivery: histogram(
                &recorder,
                "dunlin_publish_to_delivery_seconds",
                "Time from a PUBLISH being read to its being written to a subscriber; one of many is measured.",
            ),
        };
        let storage = StorageHistograms {
            sync: histogram(&recorder, "dunlin_storage_sync_seconds", "Time that one sync of the journal took."),
            batch_records: histogram(&recorder, "dunlin_storage_batch_records", "Records of one batch of the journal."),
            batch_bytes: histogram(&recorder, "dunlin_storage_batch_bytes", "Bytes of one batch of the journal."),
        };
        let kept = Kept { counters: Vec::new(), gauges: Vec::new(), listeners: 0, bridges: 0, reasons: HashMap::new() };
        let exporter = Self { handle: recorder.handle(), recorder, latency, storage, kept: Mutex::new(kept) };
        series::register(&mut Registration { recorder: &exporter.recorder, kept: &mut exporter.kept.lock() });
        exporter
    }

    /// Figures whose histograms this exporter shows.
    pub fn metrics(&self) -> Metrics {
        Metrics::new(self.latency.clone(), self.storage.clone())
    }

    /// The figures as of now, in the text format 0.0.4.
    pub fn render(&self, metrics: &Metrics) -> String {
        let reading = Reading { metrics, traffic: metrics.traffic(), process: Process::read(), runtime: Runtime::read() };
        self.update(&reading);
        let mut text = self.handle.render();
        let (cpu, busy) = (reading.process.cpu_seconds, reading.runtime.busy.as_secs_f64());
        write_seconds(&mut text, "process_cpu_seconds_total", "User and system CPU time spent, in seconds.", cpu);
        write_seconds(&mut text, "dunlin_runtime_busy_seconds_total", "Time that the runtime's workers were not parked.", busy);
        queue_series::render(&metrics.queues.get(), &mut text);
        text
    }

    /// Folds the latency samples into their histograms. To be called every `UPKEEP_INTERVAL`; `admin::serve` does.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    fn update(&self, reading: &Reading<'_>) {
        let mut kept = self.kept.lock();
        let listeners = reading.metrics.listeners();
        for listener in &listeners[kept.listeners..] {
            series::register_listener(&mut Registration { recorder: &self.recorder, kept: &mut kept }, listener);
        }
        kept.listeners = listeners.len();
        let bridges = reading.metrics.bridges();
        for bridge in &bridges[kept.bridges..] {
            series::register_bridge(&mut Registration { recorder: &self.recorder, kept: &mut kept }, bridge);
        }
        kept.bridges = bridges.len();
        for (name, reasons, name_of) in series::reasons(reading.metrics) {
            self.update_reasons(&mut kept, name, reasons.seen(), name_of);
        }
        for (counter, value) in &kept.counters {
            counter.absolute(value(reading));
        }
        for (gauge, value) in &kept.gauges {
            gauge.set(value(reading));
        }
    }

    /// Codes without a name of their own share one series.
    fn update_reasons(
        &self,
        kept: &mut Kept,
        name: &'static str,
        seen: impl Iterator<Item = (u8, u64)>,
        name_of: fn(ReasonCode) -> &'static str,
    ) {
        let mut by_reason = BTreeMap::<&str, u64>::new();
        for (code, count) in seen {
            *by_reason.entry(name_of(ReasonCode(code))).or_default() += count;
        }
        for (reason, count) in by_reason {
            let reason = reason.replace(' ', "_");
            let register = || self.recorder.register_counter(&key(name, &[("reason", &reason)]), &METADATA);
            kept.reasons.entry((name, reason.clone())).or_insert_with(register).absolute(count);
        }
    }
}

/// Takes new series into a recorder.
pub(super) struct Registration<'a> {
    recorder: &'a PrometheusRecorder,
    kept: &'a mut Kept,
}

impl Registration<'_> {
    /// What the metric of that name tells; once for each name.
    pub(super) fn describe_counter(&self, name: &'static str, help: &'static str) {
        self.recorder.describe_counter(name.into(), None, help.into());
    }

    /// As `describe_counter`.
    pub(super) fn describe_gauge(&self, name: &'static str, help: &'static str) {
        self.recorder.describe_gauge(name.into(), None, help.into());
    }

    /// A series that shows what `read` gives.
    pub(super) fn counter(
        &mut self,
        name: &'static str,
        labels: &[(&'static str, &str)],
        read: impl Fn(&Reading<'_>) -> u64 + Send + 'static,
    ) {
        let counter = self.recorder.register_counter(&key(name, labels), &METADATA);
        self.kept.counters.push((counter, Box::new(read)));
    }

    /// A series that shows what `read` gives.
    pub(super) fn gauge(
        &mut self,
        name: &'static str,
        labels: &[(&'static str, &str)],
        read: impl Fn(&Reading<'_>) -> f64 + Send + 'static,
    ) {
        let gauge = self.recorder.register_gauge(&key(name, labels), &METADATA);
        self.kept.gauges.push((gauge, Box::new(read)));
    }
}

impl Runtime {
    fn read() -> Self {
        let Ok(handle) = tokio::runtime::Handle::try_current() else { return Self::default() };
        let figures = handle.metrics();
        let workers = figures.num_workers();
        Self {
            workers,
            tasks: figures.num_alive_tasks(),
            queued: figures.global_queue_depth(),
            busy: (0..workers).map(|worker| figures.worker_total_busy_duration(worker)).sum(),
        }
    }
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    Key::from_parts(name, labels.iter().map(|(label, value)| Label::new(*label, (*value).to_owned())).collect::<Vec<_>>())
}

fn histogram(recorder: &PrometheusRecorder, name: &'static str, help: &'static str) -> ::metrics::Histogram {
    recorder.describe_histogram(name.into(), None, help.into());
    recorder.register_histogram(&key(name, &[]), &METADATA)
}

/// The `metrics` crate knows whole counters only, too coarse for seconds.
fn write_seconds(text: &mut String, name: &str, help: &str, seconds: f64) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {seconds}"); // a String takes everything
}

#[cfg(test)]
mod tests;
