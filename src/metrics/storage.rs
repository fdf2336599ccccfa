use ::metrics::Histogram;

use super::{Counter, Gauge};

/// What the journal costs and holds.
#[derive(Debug, Default)]
pub struct StorageMetrics {
    pub histograms: StorageHistograms,
    /// Files of the journal.
    pub segments: Gauge,
    /// Bytes written to them.
    pub segment_bytes: Gauge,
    /// Bytes of message bodies in them that somebody waits for.
    pub live_bytes: Gauge,
    /// Bytes of memory for messages that are on disk too.
    pub recent_bytes: Gauge,
    pub checkpoint_bytes: Gauge,
    /// Messages refused because the disk was full.
    pub refused: Counter,
    /// Milliseconds that reading the journal took at the start.
    pub recovery_milliseconds: Gauge,
    /// Bodies read back from disk.
    pub bodies_read: Counter,
}

#[derive(Clone, Debug)]
pub struct StorageHistograms {
    /// Seconds that one sync took.
    pub sync: Histogram,
    /// Records of one batch.
    pub batch_records: Histogram,
    /// Bytes of one batch.
    pub batch_bytes: Histogram,
}

impl Default for StorageHistograms {
    /// Records nowhere.
    fn default() -> Self {
        Self { sync: Histogram::noop(), batch_records: Histogram::noop(), batch_bytes: Histogram::noop() }
    }
}
