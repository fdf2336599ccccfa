use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::out_buffer::OutBuffer;
use super::topic_aliases::OutboundAliases;
use crate::packet::{
    AliasUse, Delivery, EncodedPublish, Message, MessageView, OutgoingPublish, PacketId, PacketTooLarge, ProtocolVersion, QoS,
    TopicName, VARINT_MAX, encode_publish, encode_publish_head, encoded_publish_length,
};
use crate::storage::Body;

/// Payloads from here on are written by reference: one copy in memory, however many receivers.
const SHARED_PAYLOAD: usize = 4096;
/// The largest packet that there can be: first byte, four bytes of Remaining Length, and what that can tell.
const PACKET_SIZE_MAX: usize = 5 + VARINT_MAX as usize;

/// One message on its way to any number of receivers: encoded once per shape, stored at most once.
#[derive(Debug)]
pub struct Publication<'a> {
    view: MessageView<'a>,
    pub qos: QoS,
    /// The RETAIN flag that it was published with.
    pub retain: bool,
    pub expires_at: Option<Instant>,
    stored: Option<Message>,
    /// The payload, for those that write it by reference.
    shared: Option<Bytes>,
    /// What sessions that outlive the process keep.
    body: Option<Arc<Body>>,
    /// It is to survive, for those who keep it.
    is_lasting: bool,
    /// A bit for each shape (version, QoS, RETAIN flag) that was written once, without a copy: most messages have one receiver.
    once: u16,
    /// And for each that there is a copy of.
    copied: u16,
    scratch: Option<Box<Scratch>>,
}

/// Encoded copies of one message, in memory that the next one uses again.
#[derive(Debug, Default)]
pub struct Scratch {
    bytes: Vec<u8>,
    copies: [Template; SHAPES],
}

const SHAPES: usize = 12;

/// Where a copy lies: only payloads that are small are copied. No Packet Identifier lies at zero.
#[derive(Clone, Copy, Debug, Default)]
struct Template {
    start: u32,
    end: u32,
    packet_id_at: u32,
}

impl Scratch {
    fn bytes_of(&self, copy: Template) -> &[u8] {
        &self.bytes[copy.start as usize..copy.end as usize]
    }
}

impl<'a> Publication<'a> {
    /// A message in the read buffer. `scratch` is memory to encode in, if there is some; [`Self::into_scratch`] gives it back.
    #[inline]
    pub fn new(
        view: MessageView<'a>,
        qos: QoS,
        retain: bool,
        expires_at: Option<Instant>,
        scratch: Option<Box<Scratch>>,
    ) -> Self {
        Self {
            view,
            qos,
            retain,
            expires_at,
            stored: None,
            shared: None,
            body: None,
            is_lasting: false,
            once: 0,
            copied: 0,
            scratch,
        }
    }

    /// A message that is stored already.
    pub fn stored(message: &'a Message) -> Self {
        Self {
            view: message.view(),
            qos: message.qos,
            retain: message.retain,
            expires_at: message.expires_at,
            stored: Some(message.clone()),
            shared: None,
            body: None,
            is_lasting: false,
            once: 0,
            copied: 0,
            scratch: None,
        }
    }

    /// Whether it is to survive with the sessions that it waits for. Before it is given to any.
    pub fn set_lasting(&mut self, is_lasting: bool) {
        self.is_lasting = is_lasting;
    }

    /// It is stored already, in this body.
    #[must_use]
    pub fn in_body(mut self, body: Option<Arc<Body>>) -> Self {
        self.is_lasting = body.is_some();
        self.body = body;
        self
    }

    /// What keeps it alive over a crash, made the first time; `None` if it is not to survive.
    pub fn body(&mut self) -> Option<&Arc<Body>> {
        if !self.is_lasting {
            return None;
        }
        if self.body.is_none() {
            self.body = Some(Body::new(self.message().clone()));
        }
        self.body.as_ref()
    }

    /// Whether it is to survive for whoever keeps it.
    pub const fn is_lasting(&self) -> bool {
        self.is_lasting
    }

    /// Whether somebody keeps it who outlives the process.
    pub const fn is_kept(&self) -> bool {
        self.body.is_some()
    }

    pub fn into_scratch(self) -> Option<Box<Scratch>> {
        self.scratch
    }

    pub fn topic(&self) -> TopicName<'a> {
        self.view.topic
    }

    pub fn view(&self) -> &MessageView<'a> {
        &self.view
    }

    /// The message as it is kept, copied out of the read buffer the first time.
    pub fn message(&mut self) -> &Message {
        self.stored.get_or_insert_with(|| Message::new(self.view, self.qos, self.retain, self.expires_at))
    }

    /// The payload alone, in memory that the read buffer has no part in, made the first time.
    fn payload(&mut self) -> Bytes {
        let copy = || self.stored.as_ref().map_or_else(|| Bytes::copy_from_slice(self.view.payload), Message::payload);
        self.shared.get_or_insert_with(copy).clone()
    }

    fn remaining_expiry(&self, now: Instant) -> Option<u32> {
        let left = self.expires_at?.saturating_duration_since(now);
        Some(u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX))
    }

    /// Encodes it for a receiver who gets it as others of its shape do.
    fn encode_common(
        &self,
        version: ProtocolVersion,
        (delivery, retain): (Delivery, bool),
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<EncodedPublish, TooLarge> {
        let outgoing = OutgoingPublish {
            dup: false,
            retain,
            delivery,
            message_expiry_interval: self.remaining_expiry(now),
            subscription_identifiers: &[],
            topic_alias: None,
        };
        Ok(encode_publish(&self.view, &outgoing, version, out)?)
    }

    /// The copy for a shape; `None` for the first receiver that has it.
    fn template(
        &mut self,
        version: ProtocolVersion,
        delivery: Delivery,
        retain: bool,
        now: Instant,
    ) -> Result<Option<Template>, TooLarge> {
        let shape = usize::from(version.has_properties()) * 6 + delivery.qos() as usize * 2 + usize::from(retain);
        if self.copied & 1 << shape != 0 {
            return Ok(self.scratch.as_ref().map(|scratch| scratch.copies[shape]));
        }
        if self.once & 1 << shape == 0 {
            self.once |= 1 << shape;
            return Ok(None);
        }
        let mut scratch = self.scratch.take().unwrap_or_default();
        if self.copied == 0 {
            scratch.bytes.clear(); // Those of another message.
        }
        let start = scratch.bytes.len() as u32;
        let encoded = self.encode_common(version, (delivery, retain), now, &mut scratch.bytes);
        let end = scratch.bytes.len() as u32;
        if let Ok(encoded) = &encoded {
            scratch.copies[shape] = Template { start, end, packet_id_at: encoded.packet_id_at.unwrap_or(0) as u32 };
            self.copied |= 1 << shape;
        }
        let scratch = self.scratch.insert(scratch);
        encoded.map(|_| Some(scratch.copies[shape]))
    }
}

/// How one connection wants its PUBLISH packets.
#[derive(Debug)]
pub struct Writer {
    pub version: ProtocolVersion,
    /// The client's Maximum Packet Size; a larger packet is dropped `[MQTT-3.1.2-24]`, `[MQTT-3.1.2-25]`.
    pub maximum_packet_size: Option<u32>,
    pub aliases: Option<Box<OutboundAliases>>,
    /// Taken away from the front of every topic.
    pub mount_point: Option<Arc<str>>,
}

/// The parts of a PUBLISH that are this receiver's own.
#[derive(Clone, Copy, Debug)]
pub struct Receiver<'a> {
    pub delivery: Delivery,
    pub dup: bool,
    pub retain: bool,
    pub identifiers: &'a [u32],
}

/// The receiver does not take packets of this size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl From<PacketTooLarge> for TooLarge {
    fn from(_: PacketTooLarge) -> Self {
        Self
    }
}

impl Writer {
    /// Appends one PUBLISH and returns its length in bytes.
    pub fn write(
        &mut self,
        out: &mut OutBuffer,
        publication: &mut Publication<'_>,
        receiver: Receiver<'_>,
        now: Instant,
    ) -> Result<usize, TooLarge> {
        let is_small = publication.view.payload.len() < SHARED_PAYLOAD;
        let is_common =
            self.aliases.is_none() && self.mount_point.is_none() && receiver.identifiers.is_empty() && !receiver.dup;
        if is_small && is_common {
            return self.write_copy(out, publication, receiver, now);
        }
        let mut view = publication.view;
        if let Some(mount_point) = &self.mount_point {
            view.topic = strip(view.topic, mount_point);
        }
        let mut outgoing = OutgoingPublish {
            dup: receiver.dup,
            retain: receiver.retain,
            delivery: receiver.delivery,
            message_expiry_interval: publication.remaining_expiry(now),
            subscription_identifiers: receiver.identifiers,
            topic_alias: None,
        };
        self.check_size(encoded_publish_length(&view, &outgoing, self.version))?;
        outgoing.topic_alias = self.alias(&view, &outgoing);
        if is_small {
            return Ok(out.append_with(|bytes| encode_publish(&view, &outgoing, self.version, bytes))?.length);
        }
        let length = out.append_with(|bytes| encode_publish_head(&view, &outgoing, self.version, bytes))?.length;
        out.append_shared(publication.payload());
        Ok(length)
    }

    /// The alias for a packet that fits without one. It is asked for only where the packet fits with topic and alias too: once
    /// given out, it counts as known.
    fn alias(&mut self, view: &MessageView<'_>, outgoing: &OutgoingPublish<'_>) -> Option<(u16, AliasUse)> {
        self.aliases.as_ref()?;
        if outgoing.delivery.qos() == QoS::ExactlyOnce {
            return None; // MQTT.js 5 gives the application an empty topic for an aliased QoS 2 message.
        }
        let longest = OutgoingPublish { topic_alias: Some((u16::MAX, AliasUse::Define)), ..*outgoing };
        self.check_size(encoded_publish_length(view, &longest, self.version)).ok()?;
        self.aliases.as_mut()?.alias_for(view.topic)
    }

    fn write_copy(
        &self,
        out: &mut OutBuffer,
        publication: &mut Publication<'_>,
        receiver: Receiver<'_>,
        now: Instant,
    ) -> Result<usize, TooLarge> {
        let Some(template) = publication.template(self.version, receiver.delivery, receiver.retain, now)? else {
            return self.write_first(out, publication, receiver, now);
        };
        let bytes = publication.scratch.as_ref().map_or(&[][..], |scratch| scratch.bytes_of(template));
        self.check_size(bytes.len())?;
        out.append_with(|out| {
            let start = out.len();
            out.extend_from_slice(bytes);
            if let Some(id) = receiver.delivery.packet_id() {
                let at = template.packet_id_at as usize;
                out[start + at..start + at + 2].copy_from_slice(&PacketId::get(id).to_be_bytes());
            }
        });
        Ok(bytes.len())
    }

    fn write_first(
        &self,
        out: &mut OutBuffer,
        publication: &Publication<'_>,
        receiver: Receiver<'_>,
        now: Instant,
    ) -> Result<usize, TooLarge> {
        out.append_with(|out| {
            let start = out.len();
            let length = publication.encode_common(self.version, (receiver.delivery, receiver.retain), now, out)?.length;
            self.check_size(length).inspect_err(|TooLarge| out.truncate(start))?;
            Ok(length)
        })
    }

    fn check_size(&self, length: usize) -> Result<(), TooLarge> {
        let maximum = self.maximum_packet_size.map_or(PACKET_SIZE_MAX, |maximum| PACKET_SIZE_MAX.min(maximum as usize));
        if length > maximum { Err(TooLarge) } else { Ok(()) }
    }
}

fn strip<'a>(topic: TopicName<'a>, mount_point: &str) -> TopicName<'a> {
    match topic.as_str().strip_prefix(mount_point) {
        Some(rest) if !rest.is_empty() => TopicName::trusted(rest),
        _ => topic,
    }
}
