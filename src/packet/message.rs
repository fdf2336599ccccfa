use std::time::Instant;

use bytes::Bytes;

use super::{ForwardedProperties, MessageView, QoS, TopicName, UserPropertiesBuf};

/// An Application Message that is kept beyond the packet it came in: retained, queued, inflight, a will. Topic, properties and
/// payload lie in one allocation, copied out of the read buffer (a slice would pin all of it).
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    body: Bytes,
    topic_length: u16,
    properties_length: u32,
    /// The QoS it was published with; each receiver gets the lower of this and its subscription's.
    pub qos: QoS,
    /// The RETAIN flag it was published with.
    pub retain: bool,
    /// When its Message Expiry Interval has passed.
    pub expires_at: Option<Instant>,
}

impl Message {
    pub fn new(view: MessageView<'_>, qos: QoS, retain: bool, expires_at: Option<Instant>) -> Self {
        let topic = view.topic.as_str();
        let mut body = Vec::with_capacity(topic.len() + view.properties.len() + view.payload.len());
        body.extend_from_slice(topic.as_bytes());
        view.properties.copy_to(&mut body);
        let properties_length = body.len() - topic.len();
        body.extend_from_slice(view.payload);
        Self {
            body: Bytes::from(body),
            topic_length: topic.len() as u16,
            properties_length: properties_length as u32,
            qos,
            retain,
            expires_at,
        }
    }

    /// The same with further properties behind those of the view. `scratch` is memory to put it together in.
    pub fn extended(
        view: MessageView<'_>,
        more: &UserPropertiesBuf,
        (qos, retain, expires_at): (QoS, bool, Option<Instant>),
        scratch: &mut Vec<u8>,
    ) -> Self {
        let topic = view.topic.as_str();
        scratch.clear();
        scratch.extend_from_slice(topic.as_bytes());
        view.properties.copy_to(scratch);
        more.copy_to(scratch);
        let properties_length = scratch.len() - topic.len();
        scratch.extend_from_slice(view.payload);
        Self {
            body: Bytes::copy_from_slice(scratch),
            topic_length: topic.len() as u16,
            properties_length: properties_length as u32,
            qos,
            retain,
            expires_at,
        }
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
        Some(Self { body: Bytes::copy_from_slice(bytes), topic_length, properties_length, qos, retain, expires_at })
    }

    /// How many bytes of topic and of properties, and both with the payload behind them: what is to be stored.
    pub fn parts(&self) -> (u16, u32, &[u8]) {
        (self.topic_length, self.properties_length, &self.body)
    }

    pub fn topic(&self) -> TopicName<'_> {
        let bytes = &self.body[..usize::from(self.topic_length)];
        TopicName::trusted(std::str::from_utf8(bytes).expect("the topic was copied from a str"))
    }

    pub fn view(&self) -> MessageView<'_> {
        let properties = usize::from(self.topic_length)..self.payload_start();
        MessageView {
            topic: self.topic(),
            properties: ForwardedProperties { section: &self.body[properties], mixed: false },
            payload: &self.body[self.payload_start()..],
        }
    }

    /// The payload without a copy, for a vectored write.
    pub fn payload(&self) -> Bytes {
        self.body.slice(self.payload_start()..)
    }

    /// Bytes of topic, properties and payload: what limits on memory count.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
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
