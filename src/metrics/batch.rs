use super::{DropReason, Kind, Limit, PacketType};

const RECEIVED: usize = 0;
const SENT: usize = RECEIVED + PacketType::ALL.len();
const QOS_RECEIVED: usize = SENT + PacketType::ALL.len();
const QOS_SENT: usize = QOS_RECEIVED + 3;
const BYTES_RECEIVED: usize = QOS_SENT + 3;
const BYTES_SENT: usize = BYTES_RECEIVED + 1;
const PAYLOAD_RECEIVED: usize = BYTES_SENT + 1;
const PAYLOAD_SENT: usize = PAYLOAD_RECEIVED + 1;
const QUEUED: usize = PAYLOAD_SENT + 1;
const QUEUED_BYTES: usize = QUEUED + 1;
const INFLIGHT: usize = QUEUED_BYTES + 1;
const DROPPED: usize = INFLIGHT + 1;
pub(super) const SLOTS: usize = DROPPED + DropReason::ALL.len();

/// What one thread counted since it last told `Metrics::add`: plain additions on the hot path. Also what `Metrics::traffic` gives.
///
/// Some figures go down as well as up (the queue depths): they are kept as wrapping sums, so that one connection's batch may hold
/// only the taking away.
#[derive(Clone, Debug)]
pub struct Batch {
    pub(super) slots: [u64; SLOTS],
    pub(super) touched: bool,
    /// Rare, so not worth slots that every batch is walked for.
    pub(super) limit_hits: Vec<(Limit, u64)>,
}

impl Default for Batch {
    fn default() -> Self {
        Self { slots: [0; SLOTS], touched: false, limit_hits: Vec::new() }
    }
}

/// Counting.
impl Batch {
    /// Counts a packet of any type, PUBLISH too.
    #[inline]
    pub fn packet_received(&mut self, kind: PacketType) {
        self.bump(RECEIVED + kind.index(), 1);
    }

    /// Counts a packet of any type, PUBLISH too.
    #[inline]
    pub fn packet_sent(&mut self, kind: PacketType) {
        self.bump(SENT + kind.index(), 1);
    }

    /// Counts what `packet_received` cannot see of a PUBLISH. `qos` is 0 to 2 as on the wire, `payload` its length in bytes.
    #[inline]
    pub fn publish_received(&mut self, qos: u8, payload: usize) {
        self.bump(QOS_RECEIVED + usize::from(qos.min(2)), 1);
        self.bump(PAYLOAD_RECEIVED, payload as u64);
    }

    /// As `publish_received`, for what goes out.
    #[inline]
    pub fn publish_sent(&mut self, qos: u8, payload: usize) {
        self.bump(QOS_SENT + usize::from(qos.min(2)), 1);
        self.bump(PAYLOAD_SENT, payload as u64);
    }

    /// Counts bytes of MQTT read from a connection, without what TLS or WebSocket adds.
    #[inline]
    pub fn bytes_received(&mut self, bytes: usize) {
        self.bump(BYTES_RECEIVED, bytes as u64);
    }

    /// Counts bytes of MQTT written for a connection.
    #[inline]
    pub fn bytes_sent(&mut self, bytes: usize) {
        self.bump(BYTES_SENT, bytes as u64);
    }

    /// Messages, and their bytes, that began to wait in a session's queue.
    #[inline]
    pub fn queued(&mut self, messages: usize, bytes: usize) {
        self.bump(QUEUED, messages as u64);
        self.bump(QUEUED_BYTES, bytes as u64);
    }

    /// Messages, and their bytes, that left a session's queue, however they did.
    #[inline]
    pub fn unqueued(&mut self, messages: usize, bytes: usize) {
        self.bump(QUEUED, (messages as u64).wrapping_neg());
        self.bump(QUEUED_BYTES, (bytes as u64).wrapping_neg());
    }

    /// QoS 1 and 2 messages on their way to clients: those sent count up, those acknowledged or given up count down.
    #[inline]
    pub fn inflight(&mut self, change: i64) {
        self.bump(INFLIGHT, change as u64);
    }

    /// Counts messages that did not reach a subscriber: once for each subscriber, `NoSubscriber` once for the message.
    #[inline]
    pub fn dropped(&mut self, reason: DropReason, messages: u64) {
        self.bump(DROPPED + reason.index(), messages);
        if let Some(limit) = reason.limit() {
            self.limit_hit(limit, messages);
        }
    }

    /// Counts limits that were met; those that drop messages are counted with them.
    pub fn limit_hit(&mut self, limit: Limit, times: u64) {
        match self.limit_hits.last_mut() {
            Some((last, count)) if *last == limit => *count += times,
            _ if times > 0 => self.limit_hits.push((limit, times)),
            _ => {}
        }
        self.touched = true;
    }

    #[inline]
    fn bump(&mut self, slot: usize, by: u64) {
        self.slots[slot] = self.slots[slot].wrapping_add(by);
        self.touched = true;
    }
}

/// Reading.
impl Batch {
    pub fn packets_received(&self, kind: PacketType) -> u64 {
        self.slots[RECEIVED + kind.index()]
    }

    pub fn packets_sent(&self, kind: PacketType) -> u64 {
        self.slots[SENT + kind.index()]
    }

    /// Packets of all types.
    pub fn all_packets_received(&self) -> u64 {
        self.slots[RECEIVED..SENT].iter().sum()
    }

    /// Packets of all types.
    pub fn all_packets_sent(&self) -> u64 {
        self.slots[SENT..QOS_RECEIVED].iter().sum()
    }

    pub fn publishes_received(&self, qos: u8) -> u64 {
        self.slots[QOS_RECEIVED + usize::from(qos.min(2))]
    }

    pub fn publishes_sent(&self, qos: u8) -> u64 {
        self.slots[QOS_SENT + usize::from(qos.min(2))]
    }

    pub fn total_bytes_received(&self) -> u64 {
        self.slots[BYTES_RECEIVED]
    }

    pub fn total_bytes_sent(&self) -> u64 {
        self.slots[BYTES_SENT]
    }

    pub fn payload_bytes_received(&self) -> u64 {
        self.slots[PAYLOAD_RECEIVED]
    }

    pub fn payload_bytes_sent(&self) -> u64 {
        self.slots[PAYLOAD_SENT]
    }

    /// Messages that wait in queues now.
    pub fn queued_messages(&self) -> u64 {
        self.level(QUEUED)
    }

    /// Bytes that wait in queues now.
    pub fn queued_bytes(&self) -> u64 {
        self.level(QUEUED_BYTES)
    }

    /// QoS 1 and 2 messages that clients have not acknowledged yet.
    pub fn inflight_messages(&self) -> u64 {
        self.level(INFLIGHT)
    }

    pub fn messages_dropped(&self, reason: DropReason) -> u64 {
        self.slots[DROPPED + reason.index()]
    }

    /// Messages dropped because a bound was reached (`DropReason::is_loss`).
    pub fn messages_lost(&self) -> u64 {
        DropReason::ALL.iter().filter(|reason| reason.is_loss()).map(|reason| self.messages_dropped(*reason)).sum()
    }

    fn level(&self, slot: usize) -> u64 {
        u64::try_from(self.slots[slot] as i64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_its_own_slot() {
        let mut batch = Batch::default();
        batch.packet_received(PacketType::Publish);
        batch.publish_received(1, 10);
        batch.bytes_received(20);
        batch.packet_sent(PacketType::Auth);
        batch.publish_sent(2, 30);
        batch.bytes_sent(40);
        batch.queued(2, 50);
        batch.inflight(3);
        batch.dropped(DropReason::QueueFull, 4);
        batch.dropped(DropReason::NoSubscriber, 5);

        assert_eq!(batch.packets_received(PacketType::Publish), 1);
        assert_eq!(batch.all_packets_received(), 1);
        assert_eq!(batch.packets_sent(PacketType::Auth), 1);
        assert_eq!(batch.all_packets_sent(), 1);
        assert_eq!([0, 1, 2].map(|qos| batch.publishes_received(qos)), [0, 1, 0]);
        assert_eq!([0, 1, 2].map(|qos| batch.publishes_sent(qos)), [0, 0, 1]);
        assert_eq!((batch.payload_bytes_received(), batch.payload_bytes_sent()), (10, 30));
        assert_eq!((batch.total_bytes_received(), batch.total_bytes_sent()), (20, 40));
        assert_eq!((batch.queued_messages(), batch.queued_bytes(), batch.inflight_messages()), (2, 50, 3));
        assert_eq!(batch.messages_lost(), 4);
        assert_eq!(batch.messages_dropped(DropReason::NoSubscriber), 5);
    }

    #[test]
    fn a_level_below_zero_reads_as_zero() {
        let mut batch = Batch::default();
        batch.unqueued(1, 100);
        batch.inflight(-1);
        assert_eq!((batch.queued_messages(), batch.queued_bytes(), batch.inflight_messages()), (0, 0, 0));
    }
}
