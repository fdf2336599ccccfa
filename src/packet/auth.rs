use super::decoder::Rules;
use super::properties::{NOT_ALLOWED, PropertyId, PropertyReader, put_binary, put_string};
use super::reader::Reader;
use super::reason_code::AuthReason;
use super::writer::{Sink, put_section};
use super::{MalformedPacket, Peer, ProtocolVersion, UserProperties};

/// AUTH (3.15), MQTT 5 only: one step of an authentication that takes several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Auth<'a> {
    pub reason: AuthReason,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

impl<'a> Auth<'a> {
    pub const fn new(reason: AuthReason) -> Self {
        Self {
            reason,
            authentication_method: None,
            authentication_data: None,
            reason_string: None,
            user_properties: UserProperties::trusted(&[]),
        }
    }

    pub(super) fn read(mut reader: Reader<'a>, rules: Rules) -> Result<Self, MalformedPacket> {
        // Success without properties may be left out altogether (3.15.2.1).
        let code = if reader.is_empty() { 0 } else { reader.u8()? };
        let reason = AuthReason::from_byte(code).filter(|reason| match rules.peer {
            Peer::Client => reason.is_for_client(),
            Peer::Server => reason.is_for_server(),
        });
        let mut auth = Self::new(reason.ok_or(UNKNOWN_REASON)?);
        let section = if reader.is_empty() { &[] } else { reader.section()? };
        auth.read_properties(section, rules)?;
        reader.finish()?;
        if auth.authentication_method.is_none() && !auth.is_plain() {
            return Err(MalformedPacket::protocol("AUTH without an authentication method")); // 3.15.2.2.2
        }
        Ok(auth)
    }

    fn read_properties(&mut self, section: &'a [u8], rules: Rules) -> Result<(), MalformedPacket> {
        let mut properties = PropertyReader::new(section, rules.user_properties_max);
        while let Some(id) = properties.next()? {
            match id {
                PropertyId::AuthenticationMethod => self.authentication_method = Some(properties.string()?),
                PropertyId::AuthenticationData => self.authentication_data = Some(properties.binary()?),
                PropertyId::ReasonString => self.reason_string = Some(properties.string()?),
                PropertyId::UserProperty => properties.user_property()?,
                _ => return Err(NOT_ALLOWED),
            }
        }
        self.user_properties = properties.user_properties();
        Ok(())
    }

    /// Writes all after the fixed header.
    pub(super) fn write(&self, sink: &mut dyn Sink) {
        if self.is_plain() {
            return;
        }
        sink.u8(self.reason.code().0);
        put_section(sink, ProtocolVersion::V5, |sink| {
            put_string(sink, PropertyId::AuthenticationMethod, self.authentication_method);
            put_binary(sink, PropertyId::AuthenticationData, self.authentication_data);
            put_string(sink, PropertyId::ReasonString, self.reason_string);
            self.user_properties.write(sink);
        });
    }

    fn is_plain(&self) -> bool {
        *self == Self::new(AuthReason::Success)
    }
}

const UNKNOWN_REASON: MalformedPacket = MalformedPacket::protocol("a reason code that this end may not put into AUTH"); // [MQTT-3.15.2-1]
