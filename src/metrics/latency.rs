use ::metrics::Histogram;

/// Where latencies are recorded, in seconds: `metrics.latency.publish_to_ack.record(0.0007)`.
///
/// Each sample is kept until the exporter folds it in (`admin::Exporter::upkeep`), so a busy caller records one of many.
#[derive(Clone, Debug)]
pub struct Latency {
    /// From a QoS 1 or 2 PUBLISH being read to its PUBACK or PUBREC being written.
    pub publish_to_ack: Histogram,
    /// From a PUBLISH being read to its being written to a subscriber that is online.
    pub publish_to_delivery: Histogram,
}

impl Default for Latency {
    /// Records nowhere.
    fn default() -> Self {
        Self { publish_to_ack: Histogram::noop(), publish_to_delivery: Histogram::noop() }
    }
}
