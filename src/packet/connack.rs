use super::decoder::Rules;
use super::properties::{NOT_ALLOWED, PropertyId, PropertyReader, put_binary, put_bool, put_string, put_u16, put_u32};
use super::reader::Reader;
use super::reason_code::ConnectReason;
use super::writer::{Sink, put_section};
use super::{MalformedPacket, ProtocolVersion, QoS, UserProperties};

/// CONNACK (3.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnAck<'a> {
    pub session_present: bool,
    pub reason: ConnectReason,
    pub properties: ConnAckProperties<'a>,
}

/// What CONNACK may carry (3.2.2.3); `None`, `true` and the maxima are "as the specification's default", and are not written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnAckProperties<'a> {
    pub session_expiry_interval: Option<u32>,
    pub receive_maximum: u16,
    pub maximum_qos: QoS,
    pub retain_available: bool,
    pub maximum_packet_size: Option<u32>,
    pub assigned_client_identifier: Option<&'a str>,
    pub topic_alias_maximum: u16,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    pub wildcard_subscription_available: bool,
    pub subscription_identifiers_available: bool,
    pub shared_subscription_available: bool,
    pub server_keep_alive: Option<u16>,
    pub response_information: Option<&'a str>,
    pub server_reference: Option<&'a str>,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
}

impl Default for ConnAckProperties<'_> {
    fn default() -> Self {
        Self {
            session_expiry_interval: None,
            receive_maximum: u16::MAX,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            maximum_packet_size: None,
            assigned_client_identifier: None,
            topic_alias_maximum: 0,
            reason_string: None,
            user_properties: UserProperties::default(),
            wildcard_subscription_available: true,
            subscription_identifiers_available: true,
            shared_subscription_available: true,
            server_keep_alive: None,
            response_information: None,
            server_reference: None,
            authentication_method: None,
            authentication_data: None,
        }
    }
}

impl<'a> ConnAck<'a> {
    pub(super) fn read(mut reader: Reader<'a>, rules: Rules) -> Result<Self, MalformedPacket> {
        let session_present = match (reader.u8()?, rules.version) {
            (0, _) => false,
            (1, ProtocolVersion::V311 | ProtocolVersion::V5) => true,
            _ => return Err(MalformedPacket::packet("reserved connect acknowledge flags are set")), // 3.2.2.1
        };
        let code = reader.u8()?;
        let (reason, properties) = if rules.version.has_properties() {
            (ConnectReason::from_byte(code), ConnAckProperties::read(reader.section()?, rules)?)
        } else {
            (ConnectReason::from_v3(code), ConnAckProperties::default())
        };
        let reason = reason.ok_or(MalformedPacket::protocol("a reason code that CONNACK does not have"))?; // [MQTT-3.2.2-8]
        if session_present && reason.is_error() {
            return Err(MalformedPacket::protocol("a refusal with a session present")); // [MQTT-3.2.2-6]
        }
        reader.finish()?;
        Ok(Self { session_present, reason, properties })
    }

    /// Writes all after the fixed header. 3.1 does not know Session Present.
    pub(super) fn write(&self, sink: &mut dyn Sink, version: ProtocolVersion) {
        sink.u8(u8::from(self.session_present && version != ProtocolVersion::V31));
        sink.u8(if version.has_properties() { self.reason.code().0 } else { self.reason.to_v3() });
        put_section(sink, version, |sink| self.properties.write(sink));
    }
}

impl<'a> ConnAckProperties<'a> {
    fn read(section: &'a [u8], rules: Rules) -> Result<Self, MalformedPacket> {
        let mut read = Self::default();
        let mut properties = PropertyReader::new(section, rules.user_properties_max);
        while let Some(id) = properties.next()? {
            match id {
                PropertyId::SessionExpiryInterval => read.session_expiry_interval = Some(properties.u32()?),
                PropertyId::ReceiveMaximum => read.receive_maximum = properties.receive_maximum()?,
                PropertyId::MaximumQoS => {
                    read.maximum_qos = if properties.bool()? { QoS::AtLeastOnce } else { QoS::AtMostOnce };
                }
                PropertyId::RetainAvailable => read.retain_available = properties.bool()?,
                PropertyId::MaximumPacketSize => read.maximum_packet_size = Some(properties.maximum_packet_size()?),
                PropertyId::AssignedClientIdentifier => read.assigned_client_identifier = Some(properties.string()?),
                PropertyId::TopicAliasMaximum => read.topic_alias_maximum = properties.u16()?,
                PropertyId::ReasonString => read.reason_string = Some(properties.string()?),
                PropertyId::UserProperty => properties.user_property()?,
                PropertyId::WildcardSubscriptionAvailable => read.wildcard_subscription_available = properties.bool()?,
                PropertyId::SubscriptionIdentifierAvailable => read.subscription_identifiers_available = properties.bool()?,
                PropertyId::SharedSubscriptionAvailable => read.shared_subscription_available = properties.bool()?,
                PropertyId::ServerKeepAlive => read.server_keep_alive = Some(properties.u16()?),
                PropertyId::ResponseInformation => read.response_information = Some(properties.string()?),
                PropertyId::ServerReference => read.server_reference = Some(properties.string()?),
                PropertyId::AuthenticationMethod => read.authentication_method = Some(properties.string()?),
                PropertyId::AuthenticationData => read.authentication_data = Some(properties.binary()?),
                _ => return Err(NOT_ALLOWED),
            }
        }
        read.user_properties = properties.user_properties();
        Ok(read)
    }

    fn write(&self, sink: &mut dyn Sink) {
        self.write_limits(sink);
        put_string(sink, PropertyId::AssignedClientIdentifier, self.assigned_client_identifier);
        put_string(sink, PropertyId::ResponseInformation, self.response_information);
        put_string(sink, PropertyId::ServerReference, self.server_reference);
        put_string(sink, PropertyId::AuthenticationMethod, self.authentication_method);
        put_binary(sink, PropertyId::AuthenticationData, self.authentication_data);
        put_string(sink, PropertyId::ReasonString, self.reason_string);
        self.user_properties.write(sink);
    }

    /// What the server allows.
    fn write_limits(&self, sink: &mut dyn Sink) {
        if let Some(interval) = self.session_expiry_interval {
            put_u32(sink, PropertyId::SessionExpiryInterval, interval);
        }
        if self.receive_maximum != u16::MAX {
            put_u16(sink, PropertyId::ReceiveMaximum, self.receive_maximum);
        }
        if self.maximum_qos != QoS::ExactlyOnce {
            put_bool(sink, PropertyId::MaximumQoS, self.maximum_qos == QoS::AtLeastOnce);
        }
        if let Some(size) = self.maximum_packet_size {
            put_u32(sink, PropertyId::MaximumPacketSize, size);
        }
        if self.topic_alias_maximum != 0 {
            put_u16(sink, PropertyId::TopicAliasMaximum, self.topic_alias_maximum);
        }
        if let Some(seconds) = self.server_keep_alive {
            put_u16(sink, PropertyId::ServerKeepAlive, seconds);
        }
        for (id, available) in [
            (PropertyId::RetainAvailable, self.retain_available),
            (PropertyId::WildcardSubscriptionAvailable, self.wildcard_subscription_available),
            (PropertyId::SubscriptionIdentifierAvailable, self.subscription_identifiers_available),
            (PropertyId::SharedSubscriptionAvailable, self.shared_subscription_available),
        ] {
            if !available {
                put_bool(sink, id, false);
            }
        }
    }
}
