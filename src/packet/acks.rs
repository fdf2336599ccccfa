use super::reason_code::{PublishReason, ReleaseReason};
use super::{PacketId, UserProperties};

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

impl PublishAck<'_> {
    pub fn new(packet_id: PacketId, reason: PublishReason) -> Self {
        Self { packet_id, reason, reason_string: None, user_properties: UserProperties::default() }
    }
}

impl Release<'_> {
    pub fn new(packet_id: PacketId, reason: ReleaseReason) -> Self {
        Self { packet_id, reason, reason_string: None, user_properties: UserProperties::default() }
    }
}
