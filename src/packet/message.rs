use std::cell::RefCell;
use std::ops::Deref;
use std::time::Instant;

use bytes::Bytes;
use triomphe::ThinArc;

use super::{ForwardedProperties, MessageView, QoS, TopicName, UserPropertiesBuf};

/// An Application Message that is kept beyond the packet it came in: retained, queued, inflight, a will. All of it lies in one allocation,
/// copied out of the read buffer (a slice would pin all of it); a clone is the same one.
#[derive(Clone, Debug, PartialEq)]
pub struct Message(ThinArc<MessageHead, u8>);

/// What a message has besides topic, properties and payload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MessageHead {
    /// When its Message Expiry Interval has passed.
    pub expires_at: Option<Instant>,
    properties_length: u32,
    topic_length: u16,
    /// The QoS it was published with; each receiver gets the lower of this and its subscription's.
    pub qos: QoS,
    /// The RETAIN flag it was published with.
    pub retain: bool,
}

impl Deref for Message {
    type Target = MessageHead;

    fn deref(&self) -> &MessageHead {
        &self.0.header.header
    }
}

thread_local! {
    /// Where messages are put together: an allocation of their length must be filled at one go.
    static PARTS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// So much memory of [`PARTS`] stays for the next message.
const PARTS_KEPT: usize = 64 * 1024;

impl Message {
    pub fn new(view: MessageView<'_>, qos: QoS, retain: bool, expires_at: Option<Instant>) -> Self {
        Self::put_together(view, |parts| view.properties.copy_to(parts), (qos, retain, expires_at))
    }

    /// The same with further User Properties, and without those of the view whose names `is_out` picks.
    pub fn extended(
        view: MessageView<'_>,
        is_out: impl Fn(&str) -> bool,
        more: &UserPropertiesBuf,
        how: (QoS, bool, Option<Instant>),
    ) -> Self {
        let properties = |parts: &mut Vec<u8>| {
            view.properties.copy_without(is_out, parts);
            more.copy_to(parts);
        };
        Self::put_together(view, properties, how)
    }

    fn put_together(
        view: MessageView<'_>,
        properties: impl FnOnce(&mut Vec<u8>),
        (qos, retain, expires_at): (QoS, bool, Option<Instant>),
    ) -> Self {
        PARTS.with_borrow_mut(|parts| {
            let topic = view.topic.as_str();
            parts.clear();
            parts.reserve(topic.len() + view.properties.len() + view.payload.len());
            parts.extend_from_slice(topic.as_bytes());
            properties(parts);
            let properties_length = (parts.len() - topic.len()) as u32;
            parts.extend_from_slice(view.payload);
            let head = MessageHead { expires_at, properties_length, topic_length: topic.len() as u16, qos, retain };
            let message = ThinArc::from_header_and_slice(head, parts);
            if parts.capacity() > PARTS_KEPT {
                *parts = Vec::new();
            }
            Self(message)
        })
    }

    /// The same message with another lifetime.
    #[must_use]
    pub fn with_expiry(&self, expires_at: Option<Instant>) -> Self {
        Self(ThinArc::from_header_and_slice(MessageHead { expires_at, ..**self }, self.body()))
    }

    /// A message from what [`Self::parts`] gave; `None` if the bytes make none.
    pub fn from_parts(
        topic_length: u16,
        properties_length: u32,
        bytes: &[u8],
        qos: QoS,
        retain: bool,
        expires_at: Option<Instant>,
    ) -> Option<Self> {
        let (topic, rest) = bytes.split_at_checked(usize::from(topic_length))?;
        TopicName::new(std::str::from_utf8(topic).ok()?).ok()?;
        ForwardedProperties::read(rest.get(..properties_length as usize)?).ok()?;
        let head = MessageHead { expires_at, properties_length, topic_length, qos, retain };
        Some(Self(ThinArc::from_header_and_slice(head, bytes)))
    }

    /// How many bytes of topic and of properties, and both with the payload behind them: what is to be stored.
    pub fn parts(&self) -> (u16, u32, &[u8]) {
        (self.topic_length, self.properties_length, self.body())
    }

    /// Whether both are one message, and not only equal.
    pub fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(&**self, &**other)
    }

    fn body(&self) -> &[u8] {
        &self.0.slice
    }

    pub fn topic(&self) -> TopicName<'_> {
        let bytes = &self.body()[..usize::from(self.topic_length)];
        TopicName::trusted(std::str::from_utf8(bytes).expect("the topic was copied from a str"))
    }

    pub fn view(&self) -> MessageView<'_> {
        let properties = usize::from(self.topic_length)..self.payload_start();
        MessageView {
            topic: self.topic(),
            properties: ForwardedProperties { section: &self.body()[properties], mixed: false },
            payload: &self.body()[self.payload_start()..],
        }
    }

    /// The payload without a copy, for a vectored write.
    pub fn payload(&self) -> Bytes {
        Bytes::from_owner(Payload(self.clone()))
    }

    /// Bytes of topic, properties and payload: what limits on memory count.
    pub fn len(&self) -> usize {
        self.body().len()
    }

    pub fn is_empty(&self) -> bool {
        self.body().is_empty()
    }

    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|expiry| expiry <= now)
    }

    /// What is left of the Message Expiry Interval in whole seconds, rounded up `[MQTT-3.3.2-6]`.
    pub fn remaining_expiry(&self, now: Instant) -> Option<u32> {
        let left = self.expires_at?.saturating_duration_since(now);
        Some(u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX))
    }

    fn payload_start(&self) -> usize {
        usize::from(self.topic_length) + self.properties_length as usize
    }
}

/// The payload as bytes that keep their message.
struct Payload(Message);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.0.body()[self.0.payload_start()..]
    }
}
