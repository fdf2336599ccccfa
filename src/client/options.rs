use super::MessageProperties;
use crate::packet::{
    Connect, ConnectProperties, ForwardedProperties, Packet, ProtocolVersion, QoS, TopicName, UserPropertiesBuf, Will, encode,
};

/// What a client says in its CONNECT (3.1).
#[derive(Clone, Debug)]
pub struct Options {
    pub version: ProtocolVersion,
    /// May be empty: the server makes one up.
    pub client_id: String,
    pub clean_start: bool,
    /// In seconds; zero turns it off.
    pub keep_alive: u16,
    pub username: Option<String>,
    pub password: Option<Vec<u8>>,
    pub will: Option<WillOptions>,
    /// In seconds; 0 ends the session with the connection, `u32::MAX` never.
    pub session_expiry_interval: u32,
    /// How many messages of QoS 1 and 2 may be on their way to us.
    pub receive_maximum: u16,
    /// The largest packet that we take, in bytes. MQTT 5.0 servers are told if it is below what MQTT can say.
    pub maximum_packet_size: u32,
    pub topic_alias_maximum: u16,
    pub request_problem_information: bool,
    pub request_response_information: bool,
    pub authentication_method: Option<String>,
    pub authentication_data: Option<Vec<u8>>,
    pub user_properties: UserPropertiesBuf,
    /// Tells a mosquitto by the high bit of the protocol level that this is a bridge: it then sends nothing back that came
    /// from here, and keeps the RETAIN flag. Older versions only; other brokers refuse the level.
    pub is_bridge: bool,
}

/// The message that the server publishes for a client that goes without saying goodbye (3.1.2.5).
#[derive(Clone, Debug, Default)]
pub struct WillOptions {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: QoS,
    pub retain: bool,
    /// In seconds.
    pub delay_interval: u32,
    pub properties: MessageProperties,
}

/// The largest packet that MQTT can say: Remaining Length and fixed header (2.1.4).
const LARGEST_PACKET: u32 = 268_435_455 + 5;

impl Default for Options {
    fn default() -> Self {
        Self {
            version: ProtocolVersion::V5,
            client_id: String::new(),
            clean_start: true,
            keep_alive: 60,
            username: None,
            password: None,
            will: None,
            session_expiry_interval: 0,
            receive_maximum: u16::MAX,
            maximum_packet_size: LARGEST_PACKET,
            topic_alias_maximum: 0,
            request_problem_information: true,
            request_response_information: false,
            authentication_method: None,
            authentication_data: None,
            user_properties: UserPropertiesBuf::new(),
            is_bridge: false,
        }
    }
}

impl Options {
    /// Appends the CONNECT. A will whose topic is none is left out: callers check it where people give it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let mut run = Vec::new();
        let will = self.will.as_ref().and_then(|will| will.packet(self.version, &mut run));
        let connect = Connect {
            version: self.version,
            clean_start: self.clean_start,
            keep_alive: self.keep_alive,
            client_id: &self.client_id,
            will,
            username: self.username.as_deref(),
            password: self.password.as_deref(),
            properties: ConnectProperties {
                session_expiry_interval: self.session_expiry_interval,
                receive_maximum: self.receive_maximum,
                maximum_packet_size: (self.maximum_packet_size < LARGEST_PACKET).then_some(self.maximum_packet_size),
                topic_alias_maximum: self.topic_alias_maximum,
                request_response_information: self.request_response_information,
                request_problem_information: self.request_problem_information,
                user_properties: self.user_properties.as_ref(),
                authentication_method: self.authentication_method.as_deref(),
                authentication_data: self.authentication_data.as_deref(),
            },
        };
        encode(&Packet::Connect(connect), self.version, out);
        if self.is_bridge && !self.version.has_properties() {
            mark_as_bridge(self.version, &mut out[start..]);
        }
    }
}

/// Sets the high bit of the protocol level, which stands behind the protocol's name.
fn mark_as_bridge(version: ProtocolVersion, connect: &mut [u8]) {
    let name: &[u8] = if version == ProtocolVersion::V31 { b"\0\x06MQIsdp" } else { b"\0\x04MQTT" };
    let at = connect.windows(name.len()).position(|window| window == name).map(|at| at + name.len());
    if let Some(level) = at.and_then(|at| connect.get_mut(at)) {
        *level |= 0x80;
    }
}

impl WillOptions {
    fn packet<'a>(&'a self, version: ProtocolVersion, run: &'a mut Vec<u8>) -> Option<Will<'a>> {
        let user_properties = self.properties.user_properties_buf();
        if version.has_properties() {
            self.properties.borrowed(&user_properties).write_forwarded(run);
        }
        Some(Will {
            topic: TopicName::new(&self.topic).ok()?,
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            delay_interval: self.delay_interval,
            message_expiry_interval: self.properties.message_expiry_interval,
            properties: ForwardedProperties::read(run).ok()?,
        })
    }
}
