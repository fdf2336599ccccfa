//! What the broker counts. The figures live here, in atomics of our own; Prometheus and `$SYS` both read them.
//! Nothing here knows a socket, a clock or a packet: codes and levels come as the numbers on the wire.

mod batch;
mod bridge;
mod cells;
mod kinds;
mod latency;
mod listener;
mod queues;
mod shards;
mod storage;

use std::sync::Arc;

use parking_lot::RwLock;

pub use batch::Batch;
pub use bridge::{BridgeDrop, BridgeMetrics};
pub use cells::{Counter, Family, Gauge, Kind, Reasons};
pub use kinds::{Authentication, Denied, DropReason, HookResult, KeyFetch, Limit, MalformedKind, PacketType};
pub use latency::Latency;
pub use listener::{ListenerMetrics, OpenConnection, VERSIONS};
pub use queues::QueueFigures;
pub use storage::{StorageHistograms, StorageMetrics};

use shards::Shards;

/// Every figure of one broker. Shared by reference; every method can be called from any thread.
#[derive(Debug, Default)]
pub struct Metrics {
    traffic: Shards,
    listeners: RwLock<Vec<Arc<ListenerMetrics>>>,
    bridges: RwLock<Vec<Arc<BridgeMetrics>>>,
    pub sessions: Sessions,
    /// Subscriptions in all, shared ones too.
    pub subscriptions: Gauge,
    /// Subscriptions under `$share`.
    pub shared_subscriptions: Gauge,
    pub retained_messages: Gauge,
    /// Bytes of topic, properties and payload of the retained messages.
    pub retained_bytes: Gauge,
    /// CONNACKs sent; to older clients too under the 5.0 code of the same meaning.
    pub connacks_sent: Reasons,
    /// Why the broker ended connections; also where an older client could not be told.
    pub disconnects_sent: Reasons,
    /// DISCONNECTs that clients sent; older ones count as 0x00.
    pub disconnects_received: Reasons,
    pub authentications: Family<Authentication>,
    pub authorization_denied: Family<Denied>,
    pub hook_requests: Family<HookResult>,
    pub key_fetches: Family<KeyFetch>,
    pub limit_hits: Family<Limit>,
    pub malformed_packets: Family<MalformedKind>,
    pub wills_published: Counter,
    /// Publishes and subscriptions to topics of work queues that asked for what is not, or not theirs.
    pub queue_refusals: Counter,
    /// Messages that wait for the time of their `$delayed/SECONDS/…`.
    pub delayed_messages: Gauge,
    /// Bytes of topic, properties and payload of those.
    pub delayed_bytes: Gauge,
    pub queues: Queues,
    pub latency: Latency,
    pub storage: StorageMetrics,
}

/// The work queues as they were when somebody last looked.
#[derive(Debug, Default)]
pub struct Queues(RwLock<Arc<[QueueFigures]>>);

impl Queues {
    pub fn set(&self, figures: Vec<QueueFigures>) {
        *self.0.write() = figures.into();
    }

    pub fn get(&self) -> Arc<[QueueFigures]> {
        self.0.read().clone()
    }
}

/// Sessions, by whether a connection holds them.
#[derive(Debug, Default)]
pub struct Sessions {
    pub online: Gauge,
    pub offline: Gauge,
    /// CONNECTs that found their session.
    pub resumed: Counter,
    /// Connections that ended because their client identifier connected again.
    pub taken_over: Counter,
    /// Sessions that ended because their expiry interval had passed.
    pub expired: Counter,
}

impl Metrics {
    /// Figures with histograms that record; `Metrics::default()` drops those and keeps the rest.
    pub fn new(latency: Latency, histograms: StorageHistograms) -> Self {
        let storage = StorageMetrics { histograms, ..StorageMetrics::default() };
        Self { latency, storage, ..Self::default() }
    }

    /// Adds what a connection gathered over one read batch, and empties it. Free if nothing was gathered.
    pub fn add(&self, batch: &mut Batch) {
        for (limit, times) in batch.limit_hits.drain(..) {
            self.limit_hits.add(limit, times);
        }
        self.traffic.add(batch);
    }

    /// The sum of all batches. Not one instant's: adds may come in while it is read.
    pub fn traffic(&self) -> Batch {
        self.traffic.sum()
    }

    /// Counts `messages` dropped, for callers without a batch at hand.
    pub fn dropped(&self, reason: DropReason, messages: u64) {
        let mut batch = Batch::default();
        batch.dropped(reason, messages);
        self.add(&mut batch);
    }

    /// The figures of the listener of that name, made at its first call. Call it once per listener and keep what it gives.
    pub fn listener(&self, name: &str) -> Arc<ListenerMetrics> {
        let mut listeners = self.listeners.write();
        if let Some(known) = listeners.iter().find(|listener| listener.name() == name) {
            return known.clone();
        }
        let listener = Arc::new(ListenerMetrics::new(name));
        listeners.push(listener.clone());
        listener
    }

    /// All listeners so far, in the order of their first mention; none ever leaves.
    pub fn listeners(&self) -> Vec<Arc<ListenerMetrics>> {
        self.listeners.read().clone()
    }

    /// The figures of the bridge of that name, made at its first call.
    pub fn bridge(&self, name: &str) -> Arc<BridgeMetrics> {
        let mut bridges = self.bridges.write();
        if let Some(known) = bridges.iter().find(|bridge| bridge.name() == name) {
            return known.clone();
        }
        let bridge = Arc::new(BridgeMetrics::new(name));
        bridges.push(bridge.clone());
        bridge
    }

    /// All bridges so far, in the order of their first mention; none ever leaves.
    pub fn bridges(&self) -> Vec<Arc<BridgeMetrics>> {
        self.bridges.read().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_one_name_is_counted_once() {
        let metrics = Metrics::default();
        let first = metrics.listener("tcp");
        let again = metrics.listener("tcp");
        assert!(Arc::ptr_eq(&first, &again));
        metrics.listener("tls");
        assert_eq!(metrics.listeners().iter().map(|listener| listener.name().to_owned()).collect::<Vec<_>>(), ["tcp", "tls"]);
    }

    #[test]
    fn drops_without_a_batch_reach_the_same_sum() {
        let metrics = Metrics::default();
        let mut batch = Batch::default();
        batch.dropped(DropReason::Expired, 2);
        metrics.add(&mut batch);
        metrics.dropped(DropReason::Expired, 3);
        assert_eq!(metrics.traffic().messages_dropped(DropReason::Expired), 5);
    }

    #[test]
    fn a_limit_that_drops_messages_is_counted_with_them() {
        let metrics = Metrics::default();
        metrics.dropped(DropReason::QueueFull, 2);
        metrics.dropped(DropReason::Expired, 7);
        assert_eq!(metrics.limit_hits.get(Limit::MaxQueuedMessages), 2);
        assert_eq!(Limit::ALL.iter().map(|limit| metrics.limit_hits.get(*limit)).sum::<u64>(), 2);
    }

    #[test]
    fn a_broker_without_an_exporter_drops_latency() {
        let metrics = Metrics::default();
        metrics.latency.publish_to_ack.record(0.001);
    }
}
