//! What bytes mean: the fifteen control packets of MQTT 3.1, 3.1.1 and 5.0, read without copying and written into a caller's buffer.
//! No sockets, no clock, no session state: a packet is a value.

pub mod acks;
pub mod auth;
pub mod connack;
pub mod connect;
pub mod disconnect;
mod error;
pub mod message;
mod packet_id;
pub mod properties;
pub mod publish;
mod qos;
pub mod reason_code;
pub mod subscribe;
mod topic_filter;
mod topic_name;
mod version;

pub use acks::{PublishAck, Release};
pub use auth::Auth;
pub use connack::{ConnAck, ConnAckProperties};
pub use connect::{Connect, ConnectProperties, ForwardedProperties, Will};
pub use disconnect::Disconnect;
pub use error::{Malformed, MalformedPacket};
pub use message::Message;
pub use packet_id::{Delivery, PacketId};
pub use properties::UserProperties;
pub use publish::{AliasUse, MessageView, OutgoingPublish, Publish, PublishProperties};
pub use qos::QoS;
pub use reason_code::{
    AuthReason, ConnectReason, DisconnectReason, PublishReason, ReasonCode, ReleaseReason, SubscribeReason, UnsubscribeReason,
};
pub use subscribe::{RetainHandling, SubAck, Subscribe, SubscriptionOptions, UnsubAck, Unsubscribe};
pub use topic_filter::{SharedSubscription, TopicFilter};
pub use topic_name::{InvalidTopic, TopicName};
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
