use std::time::Instant;

use super::chunked_queue::ChunkedQueue;
use super::config::{Limits, QueuePolicy};
use super::queued::Queued;
use crate::packet::QoS;

/// What waits for a session, bounded in messages and bytes. Offline only means that nobody takes from it.
#[derive(Debug, Default)]
pub struct OutboundQueue {
    messages: ChunkedQueue<Queued>,
    bytes: usize,
    /// How many of them have QoS 0.
    at_most_once: u32,
    /// How many of them work queues have lent.
    lent: u32,
    /// How many of them are stored.
    stored: usize,
}

/// The bounds of one queue.
#[derive(Clone, Copy, Debug)]
pub struct QueueBounds {
    pub messages_max: usize,
    pub bytes_max: usize,
    pub policy: QueuePolicy,
}

impl QueueBounds {
    pub fn of(limits: &Limits) -> Self {
        Self {
            messages_max: limits.max_queued_messages,
            bytes_max: usize::try_from(limits.max_queued_bytes.0).unwrap_or(usize::MAX),
            policy: limits.queue_policy,
        }
    }
}

/// What a push did.
#[derive(Debug, Default)]
pub struct Pushed {
    /// The message, if it found no place.
    pub refused: Option<Queued>,
    /// Older messages that were dropped for it.
    pub dropped: Vec<Queued>,
    /// Messages that were found to have outlived their expiry.
    pub expired: Vec<Queued>,
}

impl OutboundQueue {
    pub fn push(&mut self, queued: Queued, bounds: &QueueBounds, now: Instant) -> Pushed {
        let size = queued.size();
        let mut pushed = Pushed::default();
        if !self.has_room(size, bounds) {
            pushed.expired = self.drop_expired(now);
        }
        while !self.has_room(size, bounds) {
            let may_drop = bounds.policy == QueuePolicy::DropOldest && size <= bounds.bytes_max;
            let Some(oldest) = may_drop.then(|| self.pop()).flatten() else {
                pushed.refused = Some(queued);
                return pushed;
            };
            pushed.dropped.push(oldest);
        }
        self.put(queued);
        pushed
    }

    /// Puts a message at the end, whatever the bounds say: it was within them before.
    pub fn put(&mut self, queued: Queued) {
        self.bytes += queued.size();
        self.at_most_once += u32::from(queued.qos() == QoS::AtMostOnce);
        self.lent += u32::from(queued.work().is_some());
        self.stored += usize::from(queued.body().is_some());
        self.messages.push_back(queued);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.messages.iter()
    }

    /// Stored messages from this number on, with their numbers, in whose order they lie.
    pub fn stored_from(&self, first: u64) -> impl Iterator<Item = (u64, &Queued)> {
        let is_passed = move |last: &Queued| last.sequence().is_some_and(|last| last < first);
        let messages = self.messages.iter_without(move |chunk| chunk.back().is_some_and(is_passed));
        messages.filter_map(|queued| Some((queued.sequence()?, queued))).filter(move |(sequence, _)| *sequence >= first)
    }

    pub fn front(&self) -> Option<&Queued> {
        self.messages.front()
    }

    pub fn pop(&mut self) -> Option<Queued> {
        let queued = self.messages.pop_front()?;
        self.forget(&queued);
        Some(queued)
    }

    /// Takes out what `keep` refuses, in order.
    pub fn extract(&mut self, mut keep: impl FnMut(&Queued) -> bool) -> Vec<Queued> {
        let mut taken = Vec::new();
        let mut all = std::mem::take(&mut self.messages);
        while let Some(queued) = all.pop_front() {
            if keep(&queued) {
                self.messages.push_back(queued);
            } else {
                self.forget(&queued);
                taken.push(queued);
            }
        }
        taken
    }

    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether a QoS 0 message waits, which no later one may pass `[MQTT-4.6.0-6]`.
    pub const fn has_at_most_once(&self) -> bool {
        self.at_most_once > 0
    }

    /// Whether what a work queue has lent waits.
    pub const fn has_work(&self) -> bool {
        self.lent > 0
    }

    /// How many are stored.
    pub const fn stored(&self) -> usize {
        self.stored
    }

    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn has_room(&self, size: usize, bounds: &QueueBounds) -> bool {
        self.messages.len() < bounds.messages_max && self.bytes + size <= bounds.bytes_max
    }

    /// Only tried when there is no room, and only when the oldest has expired: a full queue is not walked on every push.
    fn drop_expired(&mut self, now: Instant) -> Vec<Queued> {
        if !self.messages.front().is_some_and(|first| first.is_expired(now)) {
            return Vec::new();
        }
        self.extract(|queued| !queued.is_expired(now))
    }

    fn forget(&mut self, gone: &Queued) {
        self.bytes -= gone.size();
        self.at_most_once -= u32::from(gone.qos() == QoS::AtMostOnce);
        self.lent -= u32::from(gone.work().is_some());
        self.stored -= usize::from(gone.body().is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::packet::{ForwardedProperties, Message, MessageView, TopicName};
    use crate::session::Grant;

    fn queued(payload: &[u8], expires_at: Option<Instant>) -> Queued {
        let view = MessageView { topic: TopicName::new("t").unwrap(), properties: ForwardedProperties::default(), payload };
        let message = Message::new(view, QoS::AtLeastOnce, false, expires_at);
        Queued::in_memory(message, Grant { qos: QoS::AtLeastOnce, ..Grant::default() })
    }

    fn bounds(policy: QueuePolicy) -> QueueBounds {
        QueueBounds { messages_max: 3, bytes_max: 30, policy }
    }

    /// Whether it was queued, and how many were dropped and had expired.
    fn told(pushed: &Pushed) -> (bool, usize, usize) {
        (pushed.refused.is_none(), pushed.dropped.len(), pushed.expired.len())
    }

    #[test]
    fn a_full_queue_refuses_or_drops_its_oldest() {
        let now = Instant::now();
        for (policy, is_queued, dropped, first) in
            [(QueuePolicy::DropNew, false, 0, b"0"), (QueuePolicy::DropOldest, true, 1, b"1")]
        {
            let mut queue = OutboundQueue::default();
            for payload in [b"0", b"1", b"2"] {
                assert!(queue.push(queued(payload, None), &bounds(policy), now).refused.is_none());
            }
            assert_eq!(told(&queue.push(queued(b"3", None), &bounds(policy), now)), (is_queued, dropped, 0));
            assert_eq!(queue.len(), 3);
            assert_eq!(queue.pop().unwrap().message().unwrap().view().payload, first);
        }
    }

    #[test]
    fn bytes_are_bounded_too_and_one_that_never_fits_drops_nothing() {
        let now = Instant::now();
        let mut queue = OutboundQueue::default();
        let bounds = bounds(QueuePolicy::DropOldest);
        assert!(queue.push(queued(&[0; 20], None), &bounds, now).refused.is_none());
        assert_eq!(told(&queue.push(queued(&[0; 30], None), &bounds, now)), (false, 0, 0));
        assert_eq!(told(&queue.push(queued(&[0; 20], None), &bounds, now)), (true, 1, 0));
        assert_eq!((queue.len(), queue.bytes()), (1, 21));
        queue.pop();
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn expired_messages_make_room() {
        let now = Instant::now();
        let mut queue = OutboundQueue::default();
        let bounds = bounds(QueuePolicy::DropNew);
        for _ in 0..3 {
            queue.push(queued(b"x", Some(now)), &bounds, now);
        }
        assert_eq!(told(&queue.push(queued(b"y", None), &bounds, now)), (true, 0, 3));
        assert_eq!((queue.len(), queue.bytes()), (1, 2));
    }
}
