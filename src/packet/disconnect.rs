use super::decoder::Rules;
use super::properties::{NOT_ALLOWED, PropertyId, PropertyReader, put_string, put_u32};
use super::reader::Reader;
use super::reason_code::DisconnectReason;
use super::writer::{Sink, put_section};
use super::{MalformedPacket, Peer, ProtocolVersion, UserProperties};

/// DISCONNECT (3.14). Only MQTT 5 servers send it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Disconnect<'a> {
    pub reason: DisconnectReason,
    /// In seconds; only from a client.
    pub session_expiry_interval: Option<u32>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    pub server_reference: Option<&'a str>,
}

impl<'a> Disconnect<'a> {
    pub fn new(reason: DisconnectReason) -> Self {
        Self {
            reason,
            session_expiry_interval: None,
            reason_string: None,
            user_properties: UserProperties::default(),
            server_reference: None,
        }
    }

    pub(super) fn read(mut reader: Reader<'a>, rules: Rules) -> Result<Self, MalformedPacket> {
        let mut disconnect = Self::new(DisconnectReason::NormalDisconnection);
        if rules.version.has_properties() && !reader.is_empty() {
            disconnect.reason = read_reason(&mut reader, rules)?;
            // A Remaining Length below 2 leaves the property length out (3.14.2.2.1).
            if !reader.is_empty() {
                disconnect.read_properties(reader.section()?, rules)?;
            }
        }
        reader.finish()?;
        Ok(disconnect)
    }

    fn read_properties(&mut self, section: &'a [u8], rules: Rules) -> Result<(), MalformedPacket> {
        let mut properties = PropertyReader::new(section, rules.user_properties_max);
        while let Some(id) = properties.next()? {
            match id {
                PropertyId::SessionExpiryInterval if rules.peer == Peer::Server => {
                    return Err(MalformedPacket::protocol("a session expiry interval from a server")); // [MQTT-3.14.2-2]
                }
                PropertyId::SessionExpiryInterval => self.session_expiry_interval = Some(properties.u32()?),
                PropertyId::ReasonString => self.reason_string = Some(properties.string()?),
                PropertyId::UserProperty => properties.user_property()?,
                PropertyId::ServerReference => self.server_reference = Some(properties.string()?),
                _ => return Err(NOT_ALLOWED),
            }
        }
        self.user_properties = properties.user_properties();
        Ok(())
    }

    /// Writes all after the fixed header; older versions have nothing there.
    pub(super) fn write(&self, sink: &mut dyn Sink, version: ProtocolVersion) {
        let bare = *self == Self::new(self.reason);
        if !version.has_properties() || (bare && self.reason == DisconnectReason::NormalDisconnection) {
            return;
        }
        sink.u8(self.reason.code().0);
        if !bare {
            put_section(sink, version, |sink| self.write_properties(sink));
        }
    }

    fn write_properties(&self, sink: &mut dyn Sink) {
        if let Some(interval) = self.session_expiry_interval {
            put_u32(sink, PropertyId::SessionExpiryInterval, interval);
        }
        put_string(sink, PropertyId::ServerReference, self.server_reference);
        put_string(sink, PropertyId::ReasonString, self.reason_string);
        self.user_properties.write(sink);
    }
}

fn read_reason(reader: &mut Reader<'_>, rules: Rules) -> Result<DisconnectReason, MalformedPacket> {
    let reason = DisconnectReason::from_byte(reader.u8()?).filter(|reason| match rules.peer {
        Peer::Client => reason.is_for_client(),
        Peer::Server => reason.is_for_server(),
    });
    reason.ok_or(MalformedPacket::protocol("a reason code that this end may not put into DISCONNECT")) // [MQTT-3.14.2-1]
}
