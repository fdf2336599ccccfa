use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::config::{Limits, QueuePolicy};
use crate::packet::{Message, QoS, TopicFilter};

/// A message that waits for one session, with what that session's subscription makes of it.
#[derive(Clone, Debug)]
pub struct Queued {
    pub message: Arc<Message>,
    /// The lower of the message's and the subscription's.
    pub qos: QoS,
    /// The RETAIN flag that this receiver sees.
    pub retain: bool,
    pub identifiers: SmallVec<[u32; 1]>,
    /// The whole filter of the shared subscription that chose this session, if one did.
    pub share: Option<TopicFilter>,
}

/// What waits for a session, bounded in messages and bytes. Offline only means that nobody takes from it.
#[derive(Debug, Default)]
pub struct OutboundQueue {
    messages: VecDeque<Queued>,
    bytes: usize,
    /// How many of them have QoS 0.
    at_most_once: usize,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Whether the message found its place.
    pub is_queued: bool,
    /// Older messages that were dropped for it.
    pub dropped: usize,
    /// Messages that were found to have outlived their expiry.
    pub expired: usize,
}

impl OutboundQueue {
    pub fn push(&mut self, queued: Queued, bounds: &QueueBounds, now: Instant) -> Pushed {
        let size = queued.message.len();
        let mut pushed = Pushed::default();
        if !self.has_room(size, bounds) {
            pushed.expired = self.drop_expired(now);
        }
        while !self.has_room(size, bounds) {
            let may_drop = bounds.policy == QueuePolicy::DropOldest && size <= bounds.bytes_max;
            if !may_drop || self.pop().is_none() {
                return pushed;
            }
            pushed.dropped += 1;
        }
        self.bytes += size;
        self.at_most_once += usize::from(queued.qos == QoS::AtMostOnce);
        self.messages.push_back(queued);
        pushed.is_queued = true;
        pushed
    }

    pub fn front(&self) -> Option<&Queued> {
        self.messages.front()
    }

    pub fn pop(&mut self) -> Option<Queued> {
        let queued = self.messages.pop_front()?;
        self.forget(&queued);
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
        Some(queued)
    }

    /// Takes out what `keep` refuses, in order.
    pub fn extract(&mut self, mut keep: impl FnMut(&Queued) -> bool) -> Vec<Queued> {
        let mut taken = Vec::new();
        for queued in std::mem::take(&mut self.messages) {
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

    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn has_room(&self, size: usize, bounds: &QueueBounds) -> bool {
        self.messages.len() < bounds.messages_max && self.bytes + size <= bounds.bytes_max
    }

    /// Only tried when there is no room, and only when the oldest has expired: a full queue is not walked on every push.
    fn drop_expired(&mut self, now: Instant) -> usize {
        if !self.messages.front().is_some_and(|first| first.message.is_expired(now)) {
            return 0;
        }
        self.extract(|queued| !queued.message.is_expired(now)).len()
    }

    fn forget(&mut self, gone: &Queued) {
        self.bytes -= gone.message.len();
        self.at_most_once -= usize::from(gone.qos == QoS::AtMostOnce);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{ForwardedProperties, MessageView, TopicName};

    fn queued(payload: &[u8], expires_at: Option<Instant>) -> Queued {
        let view = MessageView { topic: TopicName::new("t").unwrap(), properties: ForwardedProperties::default(), payload };
        let message = Arc::new(Message::new(view, QoS::AtLeastOnce, false, expires_at));
        Queued { message, qos: QoS::AtLeastOnce, retain: false, identifiers: SmallVec::new(), share: None }
    }

    fn bounds(policy: QueuePolicy) -> QueueBounds {
        QueueBounds { messages_max: 3, bytes_max: 30, policy }
    }

    #[test]
    fn a_full_queue_refuses_or_drops_its_oldest() {
        let now = Instant::now();
        for (policy, is_queued, dropped, first) in
            [(QueuePolicy::DropNew, false, 0, b"0"), (QueuePolicy::DropOldest, true, 1, b"1")]
        {
            let mut queue = OutboundQueue::default();
            for payload in [b"0", b"1", b"2"] {
                assert!(queue.push(queued(payload, None), &bounds(policy), now).is_queued);
            }
            assert_eq!(queue.push(queued(b"3", None), &bounds(policy), now), Pushed { is_queued, dropped, expired: 0 });
            assert_eq!(queue.len(), 3);
            assert_eq!(queue.pop().unwrap().message.view().payload, first);
        }
    }

    #[test]
    fn bytes_are_bounded_too_and_one_that_never_fits_drops_nothing() {
        let now = Instant::now();
        let mut queue = OutboundQueue::default();
        let bounds = bounds(QueuePolicy::DropOldest);
        assert!(queue.push(queued(&[0; 20], None), &bounds, now).is_queued);
        assert_eq!(queue.push(queued(&[0; 30], None), &bounds, now), Pushed::default());
        assert_eq!(queue.push(queued(&[0; 20], None), &bounds, now), Pushed { is_queued: true, dropped: 1, expired: 0 });
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
        assert_eq!(queue.push(queued(b"y", None), &bounds, now), Pushed { is_queued: true, dropped: 0, expired: 3 });
        assert_eq!((queue.len(), queue.bytes()), (1, 2));
    }
}
