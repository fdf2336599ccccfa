use super::{ProtocolVersion, QoS, TopicName, UserProperties};

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

/// A run of encoded properties that a PUBLISH hands on unaltered: Payload Format Indicator, Content Type, Response Topic,
/// Correlation Data, User Properties `[MQTT-3.3.2-4, -15, -16, -17, -20]`. Other valid properties in the run (Topic Alias,
/// Message Expiry Interval, Will Delay Interval) are skipped when it is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ForwardedProperties<'a> {
    pub(super) section: &'a [u8],
    /// Whether the run holds something that must be skipped when copied.
    pub(super) mixed: bool,
}

impl ForwardedProperties<'_> {
    /// Appends the run without what must be skipped.
    pub fn copy_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.section);
    }
}
