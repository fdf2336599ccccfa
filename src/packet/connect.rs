use super::decoder::Rules;
use super::forwarded::read_forwarded;
use super::properties::{NOT_ALLOWED, PropertyId, PropertyReader, put_binary, put_bool, put_string, put_u16, put_u32};
use super::reader::Reader;
use super::writer::{Sink, put_section};
use super::{ForwardedProperties, Malformed, MalformedPacket, MessageView, ProtocolVersion, QoS, TopicName, UserProperties};

/// CONNECT (3.1): the first packet of a client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Connect<'a> {
    pub version: ProtocolVersion,
    /// Clean Start, which older clients call Clean Session.
    pub clean_start: bool,
    /// In seconds; zero turns it off.
    pub keep_alive: u16,
    /// May be empty: the server makes one up `[MQTT-3.1.3-6]`.
    pub client_id: &'a str,
    pub will: Option<Will<'a>>,
    pub username: Option<&'a str>,
    pub password: Option<&'a [u8]>,
    pub properties: ConnectProperties<'a>,
}

/// What CONNECT may carry besides (3.1.2.11); defaults are those of the specification.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnectProperties<'a> {
    /// In seconds; 0 ends the session with the connection, `u32::MAX` never.
    pub session_expiry_interval: u32,
    /// 1 to 65,535.
    pub receive_maximum: u16,
    /// In bytes; `None` is no limit.
    pub maximum_packet_size: Option<u32>,
    pub topic_alias_maximum: u16,
    pub request_response_information: bool,
    pub request_problem_information: bool,
    pub user_properties: UserProperties<'a>,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
}

impl Default for ConnectProperties<'_> {
    fn default() -> Self {
        Self {
            session_expiry_interval: 0,
            receive_maximum: u16::MAX,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            user_properties: UserProperties::default(),
            authentication_method: None,
            authentication_data: None,
        }
    }
}

/// The message that the server publishes for a client that goes without saying goodbye (3.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Will<'a> {
    pub topic: TopicName<'a>,
    pub payload: &'a [u8],
    pub qos: QoS,
    pub retain: bool,
    /// In seconds.
    pub delay_interval: u32,
    /// In seconds.
    pub message_expiry_interval: Option<u32>,
    /// The properties that go on to subscribers, encoded, in the client's order.
    pub properties: ForwardedProperties<'a>,
}

impl<'a> Connect<'a> {
    pub(super) fn read(mut reader: Reader<'a>, rules: Rules) -> Result<Self, MalformedPacket> {
        let version = read_version(&mut reader)?;
        let rules = Rules { version, ..rules };
        let flags = Flags::read(reader.u8()?, version)?;
        let keep_alive = reader.u16()?;
        let properties = ConnectProperties::read(&mut reader, rules)?;
        // [MQTT-3.1.3-1]: in this order.
        let client_id = reader.string()?;
        let will = if flags.will { Some(Will::read(&mut reader, flags, rules)?) } else { None };
        // 3.1 allows a packet that ends here although the flags tell of more (3.1 §3.1).
        let ends_early = |reader: &Reader<'_>| version == ProtocolVersion::V31 && reader.is_empty();
        let username = if flags.username && !ends_early(&reader) { Some(reader.string()?) } else { None };
        let password = if flags.password && !ends_early(&reader) { Some(reader.binary()?) } else { None };
        reader.finish()?;
        Ok(Self { version, clean_start: flags.clean_start, keep_alive, client_id, will, username, password, properties })
    }

    /// Writes all after the fixed header, in the version that the packet names.
    pub(super) fn write(&self, sink: &mut dyn Sink) {
        sink.string(if self.version == ProtocolVersion::V31 { "MQIsdp" } else { "MQTT" });
        sink.u8(self.version as u8);
        sink.u8(Flags::of(self).to_byte());
        sink.u16(self.keep_alive);
        put_section(sink, self.version, |sink| self.properties.write(sink));
        sink.string(self.client_id);
        if let Some(will) = &self.will {
            will.write(sink, self.version);
        }
        if let Some(username) = self.username {
            sink.string(username);
        }
        if let Some(password) = self.password {
            sink.binary(password);
        }
    }
}

/// Protocol Name and Protocol Level (3.1.2.1, 3.1.2.2).
fn read_version(reader: &mut Reader<'_>) -> Result<ProtocolVersion, MalformedPacket> {
    let name = reader.binary()?;
    let level = reader.u8()?;
    match (name, level) {
        (b"MQTT", 5) => Ok(ProtocolVersion::V5),
        (b"MQTT", 4) => Ok(ProtocolVersion::V311),
        (b"MQIsdp", 3) => Ok(ProtocolVersion::V31),
        (b"MQTT" | b"MQIsdp", _) => {
            Err(MalformedPacket { kind: Malformed::Version, detail: "a protocol level that is not spoken here" }) // [MQTT-3.1.2-2]
        }
        _ => Err(MalformedPacket::packet("a protocol name that is not MQTT")), // [MQTT-3.1.2-1]
    }
}

/// The Connect Flags (3.1.2.3).
#[derive(Clone, Copy)]
struct Flags {
    username: bool,
    password: bool,
    will_retain: bool,
    will_qos: QoS,
    will: bool,
    clean_start: bool,
}

impl Flags {
    fn read(byte: u8, version: ProtocolVersion) -> Result<Self, MalformedPacket> {
        let bit = |number: u8| byte >> number & 1 == 1;
        // 3.1 disregards what is said of a will that is not there.
        let byte = if version == ProtocolVersion::V31 && !bit(2) { byte & 0b1100_0011 } else { byte };
        let bit = |number: u8| byte >> number & 1 == 1;
        let will_qos = QoS::from_bits(byte >> 3 & 0b11).ok_or(MalformedPacket::packet("a will with QoS 3"))?; // [MQTT-3.1.2-12]
        let flags =
            Self { username: bit(7), password: bit(6), will_retain: bit(5), will_qos, will: bit(2), clean_start: bit(1) };
        // 3.1 does not say that its unused bit is zero.
        if bit(0) && version != ProtocolVersion::V31 {
            return Err(MalformedPacket::packet("the reserved connect flag is set")); // [MQTT-3.1.2-3]
        }
        if !flags.will && (will_qos != QoS::AtMostOnce || flags.will_retain) {
            return Err(MalformedPacket::packet("will flags without a will")); // [MQTT-3.1.2-11], [MQTT-3.1.2-13]
        }
        if flags.password && !flags.username && version != ProtocolVersion::V5 {
            return Err(MalformedPacket::packet("a password without a user name")); // [MQTT3-3.1.2-22]
        }
        Ok(flags)
    }

    fn of(connect: &Connect<'_>) -> Self {
        let will = connect.will.as_ref();
        Self {
            username: connect.username.is_some(),
            password: connect.password.is_some(),
            will_retain: will.is_some_and(|will| will.retain),
            will_qos: will.map_or(QoS::AtMostOnce, |will| will.qos),
            will: will.is_some(),
            clean_start: connect.clean_start,
        }
    }

    fn to_byte(self) -> u8 {
        u8::from(self.username) << 7
            | u8::from(self.password) << 6
            | u8::from(self.will_retain) << 5
            | (self.will_qos as u8) << 3
            | u8::from(self.will) << 2
            | u8::from(self.clean_start) << 1
    }
}

impl<'a> ConnectProperties<'a> {
    fn read(reader: &mut Reader<'a>, rules: Rules) -> Result<Self, MalformedPacket> {
        let mut read = Self::default();
        if !rules.version.has_properties() {
            return Ok(read);
        }
        let mut properties = PropertyReader::new(reader.section()?, rules.user_properties_max);
        while let Some(id) = properties.next()? {
            match id {
                PropertyId::SessionExpiryInterval => read.session_expiry_interval = properties.u32()?,
                PropertyId::ReceiveMaximum => read.receive_maximum = properties.receive_maximum()?,
                PropertyId::MaximumPacketSize => read.maximum_packet_size = Some(properties.maximum_packet_size()?),
                PropertyId::TopicAliasMaximum => read.topic_alias_maximum = properties.u16()?,
                PropertyId::RequestResponseInformation => read.request_response_information = properties.bool()?,
                PropertyId::RequestProblemInformation => read.request_problem_information = properties.bool()?,
                PropertyId::UserProperty => properties.user_property()?,
                PropertyId::AuthenticationMethod => read.authentication_method = Some(properties.string()?),
                PropertyId::AuthenticationData => read.authentication_data = Some(properties.binary()?),
                _ => return Err(NOT_ALLOWED),
            }
        }
        read.user_properties = properties.user_properties();
        if read.authentication_data.is_some() && read.authentication_method.is_none() {
            return Err(MalformedPacket::protocol("authentication data without a method")); // 3.1.2.11.10
        }
        Ok(read)
    }

    fn write(&self, sink: &mut dyn Sink) {
        if self.session_expiry_interval != 0 {
            put_u32(sink, PropertyId::SessionExpiryInterval, self.session_expiry_interval);
        }
        if self.receive_maximum != u16::MAX {
            put_u16(sink, PropertyId::ReceiveMaximum, self.receive_maximum);
        }
        if let Some(size) = self.maximum_packet_size {
            put_u32(sink, PropertyId::MaximumPacketSize, size);
        }
        if self.topic_alias_maximum != 0 {
            put_u16(sink, PropertyId::TopicAliasMaximum, self.topic_alias_maximum);
        }
        if self.request_response_information {
            put_bool(sink, PropertyId::RequestResponseInformation, true);
        }
        if !self.request_problem_information {
            put_bool(sink, PropertyId::RequestProblemInformation, false);
        }
        put_string(sink, PropertyId::AuthenticationMethod, self.authentication_method);
        put_binary(sink, PropertyId::AuthenticationData, self.authentication_data);
        self.user_properties.write(sink);
    }
}

impl<'a> Will<'a> {
    fn read(reader: &mut Reader<'a>, flags: Flags, rules: Rules) -> Result<Self, MalformedPacket> {
        let section = if rules.version.has_properties() { reader.section()? } else { &[] };
        let mut properties = PropertyReader::new(section, rules.user_properties_max);
        let mut delay_interval = 0;
        let mut message_expiry_interval = None;
        while let Some(id) = properties.next()? {
            match id {
                PropertyId::WillDelayInterval => delay_interval = properties.u32()?,
                PropertyId::MessageExpiryInterval => message_expiry_interval = Some(properties.u32()?),
                _ if read_forwarded(&mut properties, id)? => {}
                _ => return Err(NOT_ALLOWED),
            }
        }
        Ok(Self {
            topic: TopicName::read(reader.utf8()?)?,
            payload: reader.binary()?,
            qos: flags.will_qos,
            retain: flags.will_retain,
            delay_interval,
            message_expiry_interval,
            properties: ForwardedProperties::of(&properties),
        })
    }

    fn write(&self, sink: &mut dyn Sink, version: ProtocolVersion) {
        put_section(sink, version, |sink| {
            if self.delay_interval != 0 {
                put_u32(sink, PropertyId::WillDelayInterval, self.delay_interval);
            }
            if let Some(interval) = self.message_expiry_interval {
                put_u32(sink, PropertyId::MessageExpiryInterval, interval);
            }
            self.properties.parts().for_each(|part| sink.put(part));
        });
        sink.string(self.topic.as_str());
        sink.binary(self.payload);
    }

    /// The message that is published when the will is due.
    pub const fn view(&self) -> MessageView<'a> {
        MessageView { topic: self.topic, properties: self.properties, payload: self.payload }
    }
}
