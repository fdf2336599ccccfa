use super::decoder::Rules;
use super::properties::AnswerProperties;
use super::reader::Reader;
use super::reason_code::{PublishReason, ReleaseReason};
use super::writer::{Sink, put_section};
use super::{MalformedPacket, PacketId, ProtocolVersion, UserProperties};

/// PUBACK (3.4) and PUBREC (3.5): the answer to a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PublishAck<'a> {
    pub packet_id: PacketId,
    pub reason: PublishReason,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

/// PUBREL (3.6) and PUBCOMP (3.7): the second half of QoS 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Release<'a> {
    pub packet_id: PacketId,
    pub reason: ReleaseReason,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

impl<'a> PublishAck<'a> {
    pub fn new(packet_id: PacketId, reason: PublishReason) -> Self {
        Self { packet_id, reason, reason_string: None, user_properties: UserProperties::default() }
    }

    #[inline]
    pub(super) fn read(reader: Reader<'a>, rules: Rules) -> Result<Self, MalformedPacket> {
        let (packet_id, code, properties) = read_ack(reader, rules)?;
        let reason = PublishReason::from_byte(code).ok_or(UNKNOWN_REASON)?; // [MQTT-3.4.2-1], [MQTT-3.5.2-1]
        let AnswerProperties { reason_string, user_properties } = properties;
        Ok(Self { packet_id, reason, reason_string, user_properties })
    }

    /// Writes all after the fixed header.
    #[inline]
    pub(super) fn write(&self, sink: &mut dyn Sink, version: ProtocolVersion) {
        write_ack(sink, version, self.packet_id, self.reason.code().0, self.properties());
    }

    /// Whether the identifier alone says it all.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.reason == PublishReason::Success && self.properties().is_empty()
    }

    fn properties(&self) -> AnswerProperties<'a> {
        AnswerProperties { reason_string: self.reason_string, user_properties: self.user_properties }
    }
}

impl<'a> Release<'a> {
    pub fn new(packet_id: PacketId, reason: ReleaseReason) -> Self {
        Self { packet_id, reason, reason_string: None, user_properties: UserProperties::default() }
    }

    #[inline]
    pub(super) fn read(reader: Reader<'a>, rules: Rules) -> Result<Self, MalformedPacket> {
        let (packet_id, code, properties) = read_ack(reader, rules)?;
        let reason = ReleaseReason::from_byte(code).ok_or(UNKNOWN_REASON)?; // [MQTT-3.6.2-1], [MQTT-3.7.2-1]
        let AnswerProperties { reason_string, user_properties } = properties;
        Ok(Self { packet_id, reason, reason_string, user_properties })
    }

    /// Writes all after the fixed header.
    #[inline]
    pub(super) fn write(&self, sink: &mut dyn Sink, version: ProtocolVersion) {
        write_ack(sink, version, self.packet_id, self.reason.code().0, self.properties());
    }

    /// Whether the identifier alone says it all.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.reason == ReleaseReason::Success && self.properties().is_empty()
    }

    fn properties(&self) -> AnswerProperties<'a> {
        AnswerProperties { reason_string: self.reason_string, user_properties: self.user_properties }
    }
}

/// The part that PUBACK, PUBREC, PUBREL and PUBCOMP share. Older versions end after the identifier; 5.0 may end there for a
/// success, and after the reason code where there are no properties (3.4.2.1, 3.4.2.2.1).
#[inline]
fn read_ack<'a>(mut reader: Reader<'a>, rules: Rules) -> Result<(PacketId, u8, AnswerProperties<'a>), MalformedPacket> {
    let packet_id = PacketId::read(&mut reader)?;
    if reader.is_empty() {
        return Ok((packet_id, 0, AnswerProperties::default()));
    }
    let (code, properties) = read_reason(reader, rules)?;
    Ok((packet_id, code, properties))
}

/// What follows the identifier; kept apart from the common case, in which nothing does.
#[inline(never)]
fn read_reason<'a>(mut reader: Reader<'a>, rules: Rules) -> Result<(u8, AnswerProperties<'a>), MalformedPacket> {
    if !rules.version.has_properties() {
        return reader.finish().map(|()| (0, AnswerProperties::default()));
    }
    let code = reader.u8()?;
    let section = if reader.is_empty() { &[] } else { reader.section()? };
    reader.finish()?;
    Ok((code, AnswerProperties::read(section, rules.user_properties_max)?))
}

fn write_ack(sink: &mut dyn Sink, version: ProtocolVersion, packet_id: PacketId, code: u8, properties: AnswerProperties<'_>) {
    sink.packet_id(packet_id);
    if !version.has_properties() || (code == 0 && properties.is_empty()) {
        return;
    }
    sink.u8(code);
    if !properties.is_empty() {
        put_section(sink, version, |sink| properties.write(sink));
    }
}

const UNKNOWN_REASON: MalformedPacket = MalformedPacket::protocol("a reason code that this packet does not have");
