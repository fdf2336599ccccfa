use super::reason_code::{SubscribeReason, UnsubscribeReason};
use super::{PacketId, QoS, TopicFilter, UserProperties};

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
