use super::UserProperties;
use super::reason_code::DisconnectReason;

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

impl Disconnect<'_> {
    pub fn new(reason: DisconnectReason) -> Self {
        Self {
            reason,
            session_expiry_interval: None,
            reason_string: None,
            user_properties: UserProperties::default(),
            server_reference: None,
        }
    }
}
