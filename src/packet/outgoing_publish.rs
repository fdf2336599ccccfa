use super::properties::PropertyId;
use super::publish::publish_first_byte;
use super::varint::{VARINT_MAX, varint_bytes, varint_length};
use super::writer::packet_length;
use super::{Delivery, MessageView, PacketTooLarge, ProtocolVersion};

/// The parts of an outgoing PUBLISH that differ from one receiver to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutgoingPublish<'a> {
    pub dup: bool,
    pub retain: bool,
    pub delivery: Delivery,
    /// What is left of the message's lifetime, in seconds.
    pub message_expiry_interval: Option<u32>,
    pub subscription_identifiers: &'a [u32],
    /// The alias, and whether the topic is written beside it (it is the first time).
    pub topic_alias: Option<(u16, AliasUse)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasUse {
    /// The alias is given its meaning: the topic goes with it.
    Define,
    /// The alias stands for the topic, which is left out.
    Refer,
}

/// Where a PUBLISH was written, for patching copies of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedPublish {
    /// Bytes of the whole packet, payload and fixed header included.
    pub length: usize,
    /// Where the two bytes of the Packet Identifier are, counted from the packet's first byte; `None` at QoS 0.
    pub packet_id_at: Option<usize>,
}

/// Appends a whole PUBLISH. Fails, and writes nothing, where the packet would pass what a Remaining Length can tell.
///
/// Properties in this order: Message Expiry Interval, Topic Alias, Subscription Identifiers, then those of the message. Older
/// versions get none of them, and the topic always.
#[inline(always)] // Most callers know most of `publish`: what is never there costs nothing then.
pub fn encode_publish(
    message: &MessageView<'_>,
    publish: &OutgoingPublish<'_>,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) -> Result<EncodedPublish, PacketTooLarge> {
    let lengths = Lengths::of(message, publish, version)?;
    out.reserve(lengths.packet());
    let encoded = write_head(message, publish, version, lengths, out);
    out.extend_from_slice(message.payload);
    Ok(encoded)
}

/// As [`encode_publish`], but stops before the payload, which the caller sends itself; the lengths include it.
#[inline]
pub fn encode_publish_head(
    message: &MessageView<'_>,
    publish: &OutgoingPublish<'_>,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) -> Result<EncodedPublish, PacketTooLarge> {
    let lengths = Lengths::of(message, publish, version)?;
    out.reserve(lengths.packet() - message.payload.len());
    Ok(write_head(message, publish, version, lengths, out))
}

/// How many bytes [`encode_publish`] would write, or would have to write where it fails.
#[inline]
pub fn encoded_publish_length(message: &MessageView<'_>, publish: &OutgoingPublish<'_>, version: ProtocolVersion) -> usize {
    Lengths::unchecked(message, publish, version).packet()
}

/// The two lengths that a PUBLISH has in it.
#[derive(Clone, Copy)]
struct Lengths {
    remaining: usize,
    properties: usize,
}

impl Lengths {
    #[inline(always)]
    fn of(message: &MessageView<'_>, publish: &OutgoingPublish<'_>, version: ProtocolVersion) -> Result<Self, PacketTooLarge> {
        let lengths = Self::unchecked(message, publish, version);
        if lengths.remaining > VARINT_MAX as usize { Err(PacketTooLarge) } else { Ok(lengths) }
    }

    #[inline(always)]
    fn unchecked(message: &MessageView<'_>, publish: &OutgoingPublish<'_>, version: ProtocolVersion) -> Self {
        let topic = 2 + written_topic(message, publish, version).len();
        let packet_id = if publish.delivery == Delivery::AtMostOnce { 0 } else { 2 };
        let mut remaining = topic + packet_id + message.payload.len();
        let mut properties = 0;
        if version.has_properties() {
            properties = properties_length(message, publish);
            remaining += varint_length(properties) + properties;
        }
        Self { remaining, properties }
    }

    #[inline]
    fn packet(self) -> usize {
        packet_length(self.remaining)
    }
}

#[inline(always)]
fn properties_length(message: &MessageView<'_>, publish: &OutgoingPublish<'_>) -> usize {
    let expiry = if publish.message_expiry_interval.is_some() { 5 } else { 0 };
    let alias = if publish.topic_alias.is_some() { 3 } else { 0 };
    let identifiers: usize = publish.subscription_identifiers.iter().map(|id| 1 + varint_length(*id as usize)).sum();
    expiry + alias + identifiers + message.properties.len()
}

/// The topic, or nothing where an alias stands for it.
#[inline(always)]
fn written_topic<'a>(message: &MessageView<'a>, publish: &OutgoingPublish<'_>, version: ProtocolVersion) -> &'a str {
    match publish.topic_alias {
        Some((_, AliasUse::Refer)) if version.has_properties() => "",
        _ => message.topic.as_str(),
    }
}

#[inline(always)]
fn write_head(
    message: &MessageView<'_>,
    publish: &OutgoingPublish<'_>,
    version: ProtocolVersion,
    lengths: Lengths,
    out: &mut Vec<u8>,
) -> EncodedPublish {
    let start = out.len();
    let topic = written_topic(message, publish, version);
    out.push(publish_first_byte(publish.dup, publish.delivery.qos(), publish.retain));
    put_varint(lengths.remaining, out);
    out.extend_from_slice(&(topic.len() as u16).to_be_bytes());
    out.extend_from_slice(topic.as_bytes());
    let packet_id_at = publish.delivery.packet_id().map(|packet_id| {
        let at = out.len() - start;
        out.extend_from_slice(&packet_id.get().to_be_bytes());
        at
    });
    if version.has_properties() {
        put_varint(lengths.properties, out);
        write_properties(message, publish, out);
    }
    EncodedPublish { length: lengths.packet(), packet_id_at }
}

#[inline(always)]
fn write_properties(message: &MessageView<'_>, publish: &OutgoingPublish<'_>, out: &mut Vec<u8>) {
    if let Some(interval) = publish.message_expiry_interval {
        out.push(PropertyId::MessageExpiryInterval as u8);
        out.extend_from_slice(&interval.to_be_bytes());
    }
    if let Some((alias, _)) = publish.topic_alias {
        out.push(PropertyId::TopicAlias as u8);
        out.extend_from_slice(&alias.to_be_bytes());
    }
    for identifier in publish.subscription_identifiers {
        out.push(PropertyId::SubscriptionIdentifier as u8);
        put_varint(*identifier as usize, out);
    }
    message.properties.copy_to(out);
}

#[inline(always)]
fn put_varint(value: usize, out: &mut Vec<u8>) {
    let (bytes, length) = varint_bytes(value as u32);
    out.extend_from_slice(&bytes[..length]);
}
