use smallvec::SmallVec;

use super::decoder::Rules;
use super::properties::{NOT_ALLOWED, PropertyId, PropertyReader, put_binary, put_bool, put_string, put_u16, put_u32};
use super::reader::Reader;
use super::writer::{Sink, put_section};
use super::{
    Delivery, ForwardedProperties, Malformed, MalformedPacket, PacketId, PacketType, Peer, ProtocolVersion, QoS, TopicName,
    UserProperties,
};

/// PUBLISH (3.3) as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish<'a> {
    pub dup: bool,
    pub retain: bool,
    pub delivery: Delivery,
    /// `None` where a Topic Alias stands for it: the wire's empty string.
    pub topic: Option<TopicName<'a>>,
    pub properties: PublishProperties<'a>,
    pub payload: &'a [u8],
}

/// What PUBLISH may carry (3.3.2.3).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublishProperties<'a> {
    /// `Some(true)`: the payload is UTF-8 text.
    pub payload_format_indicator: Option<bool>,
    /// In seconds.
    pub message_expiry_interval: Option<u32>,
    pub topic_alias: Option<u16>,
    pub response_topic: Option<&'a str>,
    pub correlation_data: Option<&'a [u8]>,
    pub content_type: Option<&'a str>,
    /// Only from server to client; a client that sends one commits a protocol error `[MQTT-3.3.4-6]`.
    pub subscription_identifiers: SmallVec<[u32; 1]>,
    pub user_properties: UserProperties<'a>,
    /// Those of them that are handed on once more, as bytes. Filled where a packet is read; [`super::encode`] writes from the fields above.
    pub forwarded: ForwardedProperties<'a>,
}

/// The parts of a message that every copy of it shares, borrowed from the read buffer or from a stored [`super::Message`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MessageView<'a> {
    pub topic: TopicName<'a>,
    pub properties: ForwardedProperties<'a>,
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    /// The message in it, under the topic that it names or that its alias stands for.
    #[inline]
    pub const fn view(&self, topic: TopicName<'a>) -> MessageView<'a> {
        MessageView { topic, properties: self.properties.forwarded, payload: self.payload }
    }

    #[inline(always)]
    pub(super) fn read(first_byte: u8, mut reader: Reader<'a>, rules: Rules) -> Result<Self, MalformedPacket> {
        let topic = reader.utf8()?;
        let delivery = read_delivery(first_byte, &mut reader)?;
        let properties = if rules.version.has_properties() {
            PublishProperties::read(reader.section()?, rules)?
        } else {
            PublishProperties::default()
        };
        let topic = if topic.is_empty() && properties.topic_alias.is_some() { None } else { Some(read_topic(topic)?) };
        let (dup, retain) = (first_byte & 0b1000 != 0, first_byte & 1 != 0);
        Ok(Self { dup, retain, delivery, topic, properties, payload: reader.take_rest() })
    }

    /// The first byte of the packet (3.3.1).
    pub(super) fn first_byte(&self) -> u8 {
        publish_first_byte(self.dup, self.delivery.qos(), self.retain)
    }

    /// Writes all after the fixed header.
    pub(super) fn write(&self, sink: &mut dyn Sink, version: ProtocolVersion) {
        sink.string(self.topic.map_or("", TopicName::as_str));
        if let Some(packet_id) = self.delivery.packet_id() {
            sink.packet_id(packet_id);
        }
        put_section(sink, version, |sink| self.properties.write(sink));
        sink.put(self.payload);
    }
}

/// Type, DUP, QoS and RETAIN (3.3.1).
#[inline]
pub(super) const fn publish_first_byte(dup: bool, qos: QoS, retain: bool) -> u8 {
    PacketType::Publish.first_byte() | (dup as u8) << 3 | (qos as u8) << 1 | retain as u8
}

/// The QoS of the first byte, which was checked before, and the identifier that goes with it `[MQTT-2.2.1-2]`.
#[inline]
fn read_delivery(first_byte: u8, reader: &mut Reader<'_>) -> Result<Delivery, MalformedPacket> {
    Ok(match first_byte >> 1 & 0b11 {
        0 => Delivery::AtMostOnce,
        1 => Delivery::AtLeastOnce(PacketId::read(reader)?),
        _ => Delivery::ExactlyOnce(PacketId::read(reader)?),
    })
}

#[inline]
fn read_topic(topic: &str) -> Result<TopicName<'_>, MalformedPacket> {
    if topic.is_empty() {
        return Err(MalformedPacket::protocol("an empty topic name without a topic alias")); // 3.3.2.1
    }
    TopicName::read(topic)
}

impl<'a> PublishProperties<'a> {
    #[inline(always)]
    fn read(section: &'a [u8], rules: Rules) -> Result<Self, MalformedPacket> {
        let mut read = Self::default();
        if !section.is_empty() {
            read.read_section(section, rules)?;
        }
        Ok(read)
    }

    #[inline(never)] // Most messages have none.
    fn read_section(&mut self, section: &'a [u8], rules: Rules) -> Result<(), MalformedPacket> {
        let mut properties = PropertyReader::new(section, rules.user_properties_max);
        while let Some(id) = properties.next()? {
            match id {
                PropertyId::MessageExpiryInterval => self.message_expiry_interval = Some(properties.u32()?),
                PropertyId::TopicAlias => self.topic_alias = Some(read_topic_alias(&mut properties)?),
                PropertyId::SubscriptionIdentifier if rules.peer == Peer::Client => {
                    return Err(MalformedPacket::protocol("a subscription identifier from a client")); // [MQTT-3.3.4-6]
                }
                PropertyId::SubscriptionIdentifier => {
                    self.subscription_identifiers.push(properties.subscription_identifier()?);
                }
                _ => self.read_forwarded(&mut properties, id)?,
            }
        }
        self.user_properties = properties.user_properties();
        self.forwarded = ForwardedProperties::of(&properties);
        Ok(())
    }

    #[inline]
    fn read_forwarded(&mut self, properties: &mut PropertyReader<'a>, id: PropertyId) -> Result<(), MalformedPacket> {
        match id {
            PropertyId::PayloadFormatIndicator => self.payload_format_indicator = Some(properties.bool()?),
            PropertyId::ContentType => self.content_type = Some(properties.string()?),
            PropertyId::ResponseTopic => self.response_topic = Some(properties.response_topic()?),
            PropertyId::CorrelationData => self.correlation_data = Some(properties.binary()?),
            PropertyId::UserProperty => properties.user_property()?,
            _ => return Err(NOT_ALLOWED),
        }
        properties.forward();
        Ok(())
    }

    fn write(&self, sink: &mut dyn Sink) {
        if let Some(interval) = self.message_expiry_interval {
            put_u32(sink, PropertyId::MessageExpiryInterval, interval);
        }
        if let Some(alias) = self.topic_alias {
            put_u16(sink, PropertyId::TopicAlias, alias);
        }
        for identifier in &self.subscription_identifiers {
            sink.u8(PropertyId::SubscriptionIdentifier as u8);
            sink.varint(*identifier);
        }
        self.write_run(sink);
    }

    /// Appends those that are handed on, as [`ForwardedProperties::read`] takes them.
    pub fn write_forwarded(&self, out: &mut Vec<u8>) {
        self.write_run(out);
    }

    fn write_run(&self, sink: &mut dyn Sink) {
        if let Some(is_text) = self.payload_format_indicator {
            put_bool(sink, PropertyId::PayloadFormatIndicator, is_text);
        }
        put_string(sink, PropertyId::ContentType, self.content_type);
        put_string(sink, PropertyId::ResponseTopic, self.response_topic);
        put_binary(sink, PropertyId::CorrelationData, self.correlation_data);
        self.user_properties.write(sink);
    }
}

fn read_topic_alias(properties: &mut PropertyReader<'_>) -> Result<u16, MalformedPacket> {
    match properties.u16()? {
        0 => Err(MalformedPacket { kind: Malformed::TopicAlias, detail: "topic alias 0" }), // [MQTT-3.3.2-8]
        alias => Ok(alias),
    }
}
