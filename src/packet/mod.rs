//! What bytes mean: the fifteen control packets of MQTT 3.1, 3.1.1 and 5.0, read without copying and written into a caller's buffer.
//! No sockets, no clock, no session state: a packet is a value.

pub mod acks;
pub mod auth;
pub mod connack;
pub mod connect;
mod decoder;
pub mod disconnect;
mod encoder;
mod error;
mod forwarded;
pub mod message;
mod outgoing_publish;
mod packet_id;
mod packet_type;
mod properties;
pub mod publish;
mod qos;
mod reader;
pub mod reason_code;
pub mod subscribe;
#[cfg(test)]
mod tests;
mod topic_filter;
mod topic_name;
mod user_properties;
mod varint;
mod version;
mod writer;

pub use acks::{PublishAck, Release};
pub use auth::Auth;
pub use connack::{ConnAck, ConnAckProperties};
pub use connect::{Connect, ConnectProperties, Will};
pub use decoder::{Decoder, connect_version};
pub use disconnect::Disconnect;
pub use encoder::{encode, encode_within};
pub use error::{Malformed, MalformedPacket, PacketTooLarge};
pub use forwarded::ForwardedProperties;
pub use message::{Message, MessageHead};
pub use outgoing_publish::{
    AliasUse, EncodedPublish, OutgoingPublish, encode_publish, encode_publish_head, encoded_publish_length,
};
pub use packet_id::{Delivery, PacketId};
pub use packet_type::{PacketType, Peer};
pub use publish::{MessageView, Publish, PublishProperties};
pub use qos::QoS;
pub use reason_code::{
    AuthReason, ConnectReason, DisconnectReason, PublishReason, ReasonCode, ReleaseReason, SubscribeReason, UnsubscribeReason,
};
pub use subscribe::{RetainHandling, SubAck, Subscribe, SubscriptionOptions, UnsubAck, Unsubscribe};
pub use topic_filter::{SharedSubscription, TopicFilter};
pub use topic_name::{InvalidTopic, TopicName};
pub use user_properties::{UserProperties, UserPropertiesBuf};
pub use varint::VARINT_MAX;
pub use version::ProtocolVersion;

/// An MQTT Control Packet (2.1.2).
#[derive(Clone, Debug, PartialEq)]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    ConnAck(ConnAck<'a>),
    Publish(Publish<'a>),
    PubAck(PublishAck<'a>),
    PubRec(PublishAck<'a>),
    PubRel(Release<'a>),
    PubComp(Release<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(UnsubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}
