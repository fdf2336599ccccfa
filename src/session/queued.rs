use std::sync::Arc;
use std::time::Instant;

use super::outbound::Grant;
use super::work::Work;
use crate::packet::{Message, QoS, TopicFilter};
use crate::storage::{Body, Notes, Recipient};

/// A message that waits for one session, with what that session's subscription makes of it. Small, since there may be millions: one that
/// is stored has its body on disk.
#[derive(Clone, Debug)]
pub struct Queued {
    content: Content,
    notes: Option<Arc<Notes>>,
    /// `sequence << 8 | own << 3 | retain << 2 | QoS`.
    stamp: u64,
}

#[derive(Clone, Debug)]
enum Content {
    Memory(Arc<Message>),
    Stored(Arc<Body>),
    /// Lent by a work queue, which keeps it itself.
    Work(Arc<Work>),
}

impl Queued {
    /// One that ends with the process.
    pub fn in_memory(message: Arc<Message>, grant: Grant) -> Self {
        Self::new(Content::Memory(message), 0, grant)
    }

    /// One that outlives it, at this place in the session's order.
    pub fn stored(body: Arc<Body>, sequence: u64, grant: Grant) -> Self {
        Self::new(Content::Stored(body), sequence, grant)
    }

    /// One that a work queue has lent.
    pub fn work_of(work: Arc<Work>, grant: Grant) -> Self {
        Self::new(Content::Work(work), 0, grant)
    }

    /// One that was read back from the journal.
    pub fn recovered(body: Arc<Body>, recipient: Recipient) -> Self {
        let stamp = stamp(recipient.sequence, recipient.qos, recipient.retain);
        Self { content: Content::Stored(body), notes: recipient.notes, stamp }
    }

    fn new(content: Content, sequence: u64, grant: Grant) -> Self {
        let stamp = stamp(sequence, grant.qos, grant.retain);
        let is_plain = grant.identifiers.is_empty() && grant.share.is_none();
        let notes = (!is_plain).then(|| Arc::new(Notes { identifiers: grant.identifiers, share: grant.share }));
        Self { content, notes, stamp }
    }

    /// The lower of the message's and the subscription's.
    pub const fn qos(&self) -> QoS {
        match self.stamp & 3 {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        }
    }

    /// The RETAIN flag that this receiver sees.
    pub const fn retain(&self) -> bool {
        self.stamp & 4 != 0
    }

    /// The session's own message, which comes behind its acknowledgement.
    #[must_use]
    pub const fn own(mut self) -> Self {
        self.stamp |= OWN;
        self
    }

    pub const fn is_own(&self) -> bool {
        self.stamp & OWN != 0
    }

    pub fn identifiers(&self) -> &[u32] {
        self.notes.as_ref().map_or(&[], |notes| &notes.identifiers)
    }

    /// The whole filter of the shared subscription that chose this session, if one did.
    pub fn share(&self) -> Option<&TopicFilter> {
        self.notes.as_ref()?.share.as_ref()
    }

    /// Its place in the session's order, if it outlives the process.
    pub fn sequence(&self) -> Option<u64> {
        self.body().map(|_| self.stamp >> 8)
    }

    /// What a work queue has lent.
    pub fn work(&self) -> Option<&Arc<Work>> {
        match &self.content {
            Content::Work(work) => Some(work),
            Content::Memory(_) | Content::Stored(_) => None,
        }
    }

    /// What it outlives the process by.
    pub fn body(&self) -> Option<&Arc<Body>> {
        match &self.content {
            Content::Memory(_) | Content::Work(_) => None,
            Content::Stored(body) => Some(body),
        }
    }

    /// The message, unless it must be read from disk first.
    pub fn message(&self) -> Option<Arc<Message>> {
        match &self.content {
            Content::Memory(message) => Some(message.clone()),
            Content::Stored(body) => body.message(),
            Content::Work(work) => Some(work.message().clone()),
        }
    }

    /// Bytes of topic, properties and payload.
    pub fn size(&self) -> usize {
        match &self.content {
            Content::Memory(message) => message.len(),
            Content::Stored(body) => body.size(),
            Content::Work(work) => work.message().len(),
        }
    }

    /// The QoS that the message was published with.
    pub fn published_qos(&self) -> QoS {
        match &self.content {
            Content::Memory(message) => message.qos,
            Content::Stored(body) => body.qos(),
            Content::Work(work) => work.message().qos,
        }
    }

    pub fn is_expired(&self, now: Instant) -> bool {
        match &self.content {
            Content::Memory(message) => message.is_expired(now),
            Content::Stored(body) => body.is_expired(now),
            Content::Work(work) => work.message().is_expired(now),
        }
    }

    /// What the journal is told of it, for a session that it knows under this number; `None` for one that is in memory only.
    pub fn recipient(&self, session: u64) -> Option<Recipient> {
        let sequence = self.sequence()?;
        Some(Recipient { session, sequence, qos: self.qos(), retain: self.retain(), notes: self.notes.clone() })
    }
}

const OWN: u64 = 8;

fn stamp(sequence: u64, qos: QoS, retain: bool) -> u64 {
    debug_assert!(sequence < 1 << 56, "no session lives for so long");
    sequence << 8 | u64::from(retain) << 2 | qos as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_waits_costs_little_memory() {
        assert_eq!(size_of::<Queued>(), 32);
    }
}
