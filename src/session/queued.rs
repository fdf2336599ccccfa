use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::grant::Grant;
use super::work::Work;
use crate::packet::{Message, QoS, TopicFilter};
use crate::storage::{Body, Notes, Recipient};

/// A message that waits for one session, with what that session's subscription makes of it. Small, since there may be millions: one that
/// is stored has its body on disk.
#[derive(Clone, Debug)]
pub struct Queued(Kind);

/// Each with its stamp inside, beside the tag: so it is two words.
#[derive(Clone, Debug)]
enum Kind {
    Memory(Stamp, Message),
    Stored(Stamp, Arc<Body>),
    Work(Stamp, Arc<Work>),
    Noted(Stamp, Arc<Noted>),
}

/// One with what few have.
#[derive(Debug)]
struct Noted {
    content: Content,
    notes: Arc<Notes>,
}

#[derive(Clone, Debug)]
enum Content {
    Memory(Message),
    Stored(Arc<Body>),
    /// Lent by a work queue, which keeps it itself.
    Work(Arc<Work>),
}

/// A content where it lies.
enum Either<'a> {
    Message(&'a Message),
    Body(&'a Arc<Body>),
}

/// The lower seven bytes of `sequence << 8 | own << 3 | retain << 2 | QoS`; of one in memory the place of its notes is where the
/// sequence would be.
#[derive(Clone, Copy)]
struct Stamp([u8; 7]);

impl Queued {
    /// One that ends with the process.
    pub fn in_memory(message: Message, grant: Grant<'_>) -> Self {
        let stamp = Stamp::new(0, grant.qos, grant.retain);
        Self::new(stamp, Content::Memory(message), grant.notes())
    }

    /// The same, with its notes at this place of what its session knows.
    pub(super) fn noted_at(place: u64, message: Message, grant: Grant<'_>) -> Self {
        Self(Kind::Memory(Stamp::new(place, grant.qos, grant.retain), message))
    }

    /// One that outlives it, at this place in the session's order.
    pub fn stored(body: Arc<Body>, sequence: u64, grant: Grant<'_>) -> Self {
        let stamp = Stamp::new(sequence, grant.qos, grant.retain);
        Self::new(stamp, Content::Stored(body), grant.notes())
    }

    /// One that a work queue has lent.
    pub fn work_of(work: Arc<Work>, grant: Grant<'_>) -> Self {
        Self::new(Stamp::new(0, grant.qos, grant.retain), Content::Work(work), grant.notes())
    }

    /// One that was read back from the journal.
    pub fn recovered(body: Arc<Body>, recipient: Recipient) -> Self {
        let stamp = Stamp::new(recipient.sequence, recipient.qos, recipient.retain);
        Self::new(stamp, Content::Stored(body), recipient.notes)
    }

    fn new(stamp: Stamp, content: Content, notes: Option<Arc<Notes>>) -> Self {
        Self(match (notes, content) {
            (Some(notes), content) => Kind::Noted(stamp, Arc::new(Noted { content, notes })),
            (None, Content::Memory(message)) => Kind::Memory(stamp, message),
            (None, Content::Stored(body)) => Kind::Stored(stamp, body),
            (None, Content::Work(work)) => Kind::Work(stamp, work),
        })
    }

    const fn stamp(&self) -> u64 {
        match &self.0 {
            Kind::Memory(stamp, _) | Kind::Stored(stamp, _) | Kind::Work(stamp, _) | Kind::Noted(stamp, _) => stamp.get(),
        }
    }

    fn content(&self) -> Either<'_> {
        match &self.0 {
            Kind::Memory(_, message) => Either::Message(message),
            Kind::Stored(_, body) => Either::Body(body),
            Kind::Work(_, work) => Either::Message(work.message()),
            Kind::Noted(_, noted) => match &noted.content {
                Content::Memory(message) => Either::Message(message),
                Content::Stored(body) => Either::Body(body),
                Content::Work(work) => Either::Message(work.message()),
            },
        }
    }

    /// Where its session has its notes, if it does not carry them itself.
    pub(super) fn place(&self) -> Option<u64> {
        match &self.0 {
            Kind::Memory(stamp, _) => Some(stamp.get() >> 8).filter(|place| *place > 0),
            Kind::Stored(..) | Kind::Work(..) | Kind::Noted(..) => None,
        }
    }

    /// From now on it carries these notes itself: it leaves the session that knows their place.
    pub(super) fn carry(&mut self, notes: Arc<Notes>) {
        if let Kind::Memory(stamp, message) = &self.0 {
            let noted = Noted { content: Content::Memory(message.clone()), notes };
            self.0 = Kind::Noted(Stamp::of(stamp.get() & 0xFF), Arc::new(noted));
        }
    }

    /// What few have, and it carries itself.
    pub fn notes(&self) -> Option<&Arc<Notes>> {
        match &self.0 {
            Kind::Noted(_, noted) => Some(&noted.notes),
            Kind::Memory(..) | Kind::Stored(..) | Kind::Work(..) => None,
        }
    }

    /// The lower of the message's and the subscription's.
    pub const fn qos(&self) -> QoS {
        match self.stamp() & 3 {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        }
    }

    /// The RETAIN flag that this receiver sees.
    pub const fn retain(&self) -> bool {
        self.stamp() & 4 != 0
    }

    /// The session's own message, which comes behind its acknowledgement.
    #[must_use]
    pub const fn own(mut self) -> Self {
        let own = Stamp::of(self.stamp() | OWN);
        match &mut self.0 {
            Kind::Memory(stamp, _) | Kind::Stored(stamp, _) | Kind::Work(stamp, _) | Kind::Noted(stamp, _) => *stamp = own,
        }
        self
    }

    pub const fn is_own(&self) -> bool {
        self.stamp() & OWN != 0
    }

    /// The whole filter of the shared subscription that chose this session, if one did; of one that was taken out of its session.
    pub fn share(&self) -> Option<&TopicFilter> {
        self.notes()?.share.as_ref()
    }

    /// Its place in the session's order, if it outlives the process.
    pub fn sequence(&self) -> Option<u64> {
        self.body().map(|_| self.stamp() >> 8)
    }

    /// What a work queue has lent.
    pub fn work(&self) -> Option<&Arc<Work>> {
        match &self.0 {
            Kind::Work(_, work) => Some(work),
            Kind::Noted(_, noted) => match &noted.content {
                Content::Work(work) => Some(work),
                Content::Memory(_) | Content::Stored(_) => None,
            },
            Kind::Memory(..) | Kind::Stored(..) => None,
        }
    }

    /// What it outlives the process by.
    pub fn body(&self) -> Option<&Arc<Body>> {
        match self.content() {
            Either::Message(_) => None,
            Either::Body(body) => Some(body),
        }
    }

    /// The message, unless it must be read from disk first.
    pub fn message(&self) -> Option<Message> {
        match self.content() {
            Either::Message(message) => Some(message.clone()),
            Either::Body(body) => body.message(),
        }
    }

    /// Bytes of topic, properties and payload.
    pub fn size(&self) -> usize {
        match self.content() {
            Either::Message(message) => message.len(),
            Either::Body(body) => body.size(),
        }
    }

    /// The QoS that the message was published with.
    pub fn published_qos(&self) -> QoS {
        match self.content() {
            Either::Message(message) => message.qos,
            Either::Body(body) => body.qos(),
        }
    }

    pub fn is_expired(&self, now: Instant) -> bool {
        match self.content() {
            Either::Message(message) => message.is_expired(now),
            Either::Body(body) => body.is_expired(now),
        }
    }

    /// What the journal is told of it, for a session that it knows under this number; `None` for one that is in memory only.
    pub fn recipient(&self, session: u64) -> Option<Recipient> {
        let sequence = self.sequence()?;
        Some(Recipient { session, sequence, qos: self.qos(), retain: self.retain(), notes: self.notes().cloned() })
    }
}

const OWN: u64 = 8;

impl Stamp {
    fn new(sequence: u64, qos: QoS, retain: bool) -> Self {
        debug_assert!(sequence < 1 << 48, "no session lives for so long");
        Self::of(sequence << 8 | u64::from(retain) << 2 | qos as u64)
    }

    const fn of(value: u64) -> Self {
        let [a, b, c, d, e, f, g, _] = value.to_le_bytes();
        Self([a, b, c, d, e, f, g])
    }

    const fn get(self) -> u64 {
        let [a, b, c, d, e, f, g] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, 0])
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:x}", self.get() >> 8, self.get() & 0xFF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_waits_costs_little_memory() {
        assert_eq!(size_of::<Queued>(), 16);
    }
}
