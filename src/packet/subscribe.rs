use super::decoder::Rules;
use super::properties::{AnswerProperties, NOT_ALLOWED, PropertyId, PropertyReader};
use super::reader::Reader;
use super::reason_code::{SubscribeReason, UnsubscribeReason};
use super::writer::{Sink, put_section};
use super::{MalformedPacket, PacketId, ProtocolVersion, QoS, TopicFilter, UserProperties};

/// SUBSCRIBE (3.8). At least one filter `[MQTT-3.8.3-2]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe<'a> {
    pub packet_id: PacketId,
    /// 1 to 268,435,455.
    pub subscription_identifier: Option<u32>,
    pub user_properties: UserProperties<'a>,
    pub filters: Vec<(TopicFilter, SubscriptionOptions)>,
}

/// How a subscription wants its messages (3.8.3.1). Older clients only have the QoS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionOptions {
    pub qos: QoS,
    /// Messages of the subscriber itself do not come back to it.
    pub no_local: bool,
    /// The RETAIN flag is handed on as it was published.
    pub retain_as_published: bool,
    pub retain_handling: RetainHandling,
}

/// Whether retained messages are sent when the subscription is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum RetainHandling {
    #[default]
    Send = 0,
    SendIfNew = 1,
    DoNotSend = 2,
}

/// SUBACK (3.9): one code per filter, in their order `[MQTT-3.9.3-1]`.
#[derive(Clone, Debug, PartialEq)]
pub struct SubAck<'a> {
    pub packet_id: PacketId,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    pub reasons: Vec<SubscribeReason>,
}

/// UNSUBSCRIBE (3.10). At least one filter `[MQTT-3.10.3-2]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsubscribe<'a> {
    pub packet_id: PacketId,
    pub user_properties: UserProperties<'a>,
    pub filters: Vec<TopicFilter>,
}

/// UNSUBACK (3.11): one code per filter for 5.0, none on the wire for older clients.
#[derive(Clone, Debug, PartialEq)]
pub struct UnsubAck<'a> {
    pub packet_id: PacketId,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    pub reasons: Vec<UnsubscribeReason>,
}

impl<'a> Subscribe<'a> {
    pub(super) fn read(mut reader: Reader<'a>, rules: Rules) -> Result<Self, MalformedPacket> {
        let packet_id = PacketId::read(&mut reader)?;
        let (subscription_identifier, user_properties) = read_subscribe_properties(&mut reader, rules)?;
        let mut filters = Vec::new();
        while !reader.is_empty() {
            if filters.len() == rules.filters_max {
                return Err(TOO_MANY_FILTERS);
            }
            filters.push(read_subscription(&mut reader, rules.version)?);
        }
        if filters.is_empty() {
            return Err(MalformedPacket::protocol("SUBSCRIBE without a topic filter")); // [MQTT-3.8.3-2]
        }
        Ok(Self { packet_id, subscription_identifier, user_properties, filters })
    }

    /// Writes all after the fixed header.
    pub(super) fn write(&self, sink: &mut dyn Sink, version: ProtocolVersion) {
        sink.packet_id(self.packet_id);
        put_section(sink, version, |sink| {
            if let Some(identifier) = self.subscription_identifier {
                sink.u8(PropertyId::SubscriptionIdentifier as u8);
                sink.varint(identifier);
            }
            self.user_properties.write(sink);
        });
        for (filter, options) in &self.filters {
            sink.string(filter.as_str());
            sink.u8(options.to_byte(version));
        }
    }
}

fn read_subscribe_properties<'a>(
    reader: &mut Reader<'a>,
    rules: Rules,
) -> Result<(Option<u32>, UserProperties<'a>), MalformedPacket> {
    let section = if rules.version.has_properties() { reader.section()? } else { &[] };
    let mut properties = PropertyReader::new(section, rules.user_properties_max);
    let mut identifier = None;
    while let Some(id) = properties.next()? {
        match id {
            PropertyId::SubscriptionIdentifier if identifier.is_some() => {
                return Err(MalformedPacket::protocol("two subscription identifiers in one SUBSCRIBE")); // 3.8.2.1.2
            }
            PropertyId::SubscriptionIdentifier => identifier = Some(properties.subscription_identifier()?),
            PropertyId::UserProperty => properties.user_property()?,
            _ => return Err(NOT_ALLOWED),
        }
    }
    Ok((identifier, properties.user_properties()))
}

fn read_subscription(
    reader: &mut Reader<'_>,
    version: ProtocolVersion,
) -> Result<(TopicFilter, SubscriptionOptions), MalformedPacket> {
    let filter = TopicFilter::read(reader.utf8()?, version.has_properties())?;
    let options = SubscriptionOptions::read(reader.u8()?, version)?;
    if options.no_local && filter.is_shared() {
        return Err(MalformedPacket::protocol("no local on a shared subscription")); // [MQTT-3.8.3-4]
    }
    Ok((filter, options))
}

impl SubscriptionOptions {
    fn read(byte: u8, version: ProtocolVersion) -> Result<Self, MalformedPacket> {
        // 3.1 does not use them.
        let byte = if version == ProtocolVersion::V31 { byte & 0b11 } else { byte };
        let reserved = if version.has_properties() { 0b1100_0000 } else { 0b1111_1100 };
        if byte & reserved != 0 {
            return Err(MalformedPacket::packet("reserved bits of the subscription options are set")); // [MQTT-3.8.3-5]
        }
        let retain_handling = match byte >> 4 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(MalformedPacket::protocol("retain handling 3")), // 3.8.3.1
        };
        let qos = match QoS::from_bits(byte & 0b11) {
            Some(qos) => qos,
            None if version.has_properties() => return Err(MalformedPacket::protocol("a subscription with QoS 3")), // 3.8.3.1
            None => return Err(MalformedPacket::packet("a subscription with QoS 3")), // [MQTT3-3.8.3-4]
        };
        Ok(Self { qos, no_local: byte & 0b100 != 0, retain_as_published: byte & 0b1000 != 0, retain_handling })
    }

    fn to_byte(self, version: ProtocolVersion) -> u8 {
        let qos = self.qos as u8;
        if version.has_properties() {
            (self.retain_handling as u8) << 4 | u8::from(self.retain_as_published) << 3 | u8::from(self.no_local) << 2 | qos
        } else {
            qos
        }
    }
}

impl<'a> SubAck<'a> {
    pub(super) fn read(mut reader: Reader<'a>, rules: Rules) -> Result<Self, MalformedPacket> {
        let (packet_id, AnswerProperties { reason_string, user_properties }) = read_answer_head(&mut reader, rules)?;
        let read = if rules.version.has_properties() { SubscribeReason::from_byte } else { SubscribeReason::from_v3 };
        let reasons = read_reasons(&mut reader, read)?; // [MQTT-3.9.3-2]
        Ok(Self { packet_id, reason_string, user_properties, reasons })
    }

    /// Writes all after the fixed header.
    pub(super) fn write(&self, sink: &mut dyn Sink, version: ProtocolVersion) {
        write_answer_head(sink, version, self.packet_id, self.reason_string, self.user_properties);
        for reason in &self.reasons {
            sink.u8(if version.has_properties() { reason.code().0 } else { reason.to_v3() });
        }
    }
}

impl<'a> Unsubscribe<'a> {
    pub(super) fn read(mut reader: Reader<'a>, rules: Rules) -> Result<Self, MalformedPacket> {
        let packet_id = PacketId::read(&mut reader)?;
        let section = if rules.version.has_properties() { reader.section()? } else { &[] };
        let mut properties = PropertyReader::new(section, rules.user_properties_max);
        while let Some(id) = properties.next()? {
            match id {
                PropertyId::UserProperty => properties.user_property()?,
                _ => return Err(NOT_ALLOWED),
            }
        }
        let mut filters = Vec::new();
        while !reader.is_empty() {
            if filters.len() == rules.filters_max {
                return Err(TOO_MANY_FILTERS);
            }
            filters.push(TopicFilter::read(reader.utf8()?, rules.version.has_properties())?);
        }
        if filters.is_empty() {
            return Err(MalformedPacket::protocol("UNSUBSCRIBE without a topic filter")); // [MQTT-3.10.3-2]
        }
        Ok(Self { packet_id, user_properties: properties.user_properties(), filters })
    }

    /// Writes all after the fixed header.
    pub(super) fn write(&self, sink: &mut dyn Sink, version: ProtocolVersion) {
        sink.packet_id(self.packet_id);
        put_section(sink, version, |sink| self.user_properties.write(sink));
        self.filters.iter().for_each(|filter| sink.string(filter.as_str()));
    }
}

impl<'a> UnsubAck<'a> {
    pub(super) fn read(mut reader: Reader<'a>, rules: Rules) -> Result<Self, MalformedPacket> {
        let (packet_id, AnswerProperties { reason_string, user_properties }) = read_answer_head(&mut reader, rules)?;
        let reasons = if rules.version.has_properties() {
            read_reasons(&mut reader, UnsubscribeReason::from_byte)? // [MQTT-3.11.3-2]
        } else {
            reader.finish()?;
            Vec::new()
        };
        Ok(Self { packet_id, reason_string, user_properties, reasons })
    }

    /// Writes all after the fixed header.
    pub(super) fn write(&self, sink: &mut dyn Sink, version: ProtocolVersion) {
        write_answer_head(sink, version, self.packet_id, self.reason_string, self.user_properties);
        if version.has_properties() {
            self.reasons.iter().for_each(|reason| sink.u8(reason.code().0));
        }
    }
}

/// What SUBACK and UNSUBACK have before their codes.
fn read_answer_head<'a>(reader: &mut Reader<'a>, rules: Rules) -> Result<(PacketId, AnswerProperties<'a>), MalformedPacket> {
    let packet_id = PacketId::read(reader)?;
    let section = if rules.version.has_properties() { reader.section()? } else { &[] };
    Ok((packet_id, AnswerProperties::read(section, rules.user_properties_max)?))
}

fn write_answer_head(
    sink: &mut dyn Sink,
    version: ProtocolVersion,
    packet_id: PacketId,
    reason_string: Option<&str>,
    user_properties: UserProperties<'_>,
) {
    sink.packet_id(packet_id);
    put_section(sink, version, |sink| AnswerProperties { reason_string, user_properties }.write(sink));
}

/// One code per filter; a request has at least one filter, so an answer has at least one code.
fn read_reasons<T>(reader: &mut Reader<'_>, read: impl Fn(u8) -> Option<T>) -> Result<Vec<T>, MalformedPacket> {
    let codes = reader.take_rest();
    if codes.is_empty() {
        return Err(MalformedPacket::protocol("an answer without a reason code"));
    }
    let unknown = MalformedPacket::protocol("a reason code that this packet does not have");
    codes.iter().map(|code| read(*code).ok_or(unknown)).collect()
}

const TOO_MANY_FILTERS: MalformedPacket =
    MalformedPacket { kind: super::Malformed::Filters, detail: "more filters in one packet than this server takes" };
