use smallvec::SmallVec;

use super::connect::ForwardedProperties;
use super::{Delivery, TopicName, UserProperties};

/// PUBLISH (3.3) as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish<'a> {
    pub dup: bool,
    pub retain: bool,
    pub delivery: Delivery,
    /// `None` where a Topic Alias stands for it: the wire's empty string.
    pub topic: Option<TopicName<'a>>,
    pub properties: PublishProperties<'a>,
    pub payload: &'a [u8],
}

/// What PUBLISH may carry (3.3.2.3).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublishProperties<'a> {
    /// `Some(true)`: the payload is UTF-8 text.
    pub payload_format_indicator: Option<bool>,
    /// In seconds.
    pub message_expiry_interval: Option<u32>,
    pub topic_alias: Option<u16>,
    pub response_topic: Option<&'a str>,
    pub correlation_data: Option<&'a [u8]>,
    pub content_type: Option<&'a str>,
    /// Only from server to client; a client that sends one commits a protocol error `[MQTT-3.3.4-6]`.
    pub subscription_identifiers: SmallVec<[u32; 1]>,
    pub user_properties: UserProperties<'a>,
    /// The same once more, as bytes, for handing on.
    pub forwarded: ForwardedProperties<'a>,
}

/// The parts of a message that every copy of it shares, borrowed from the read buffer or from a stored [`super::Message`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MessageView<'a> {
    pub topic: TopicName<'a>,
    pub properties: ForwardedProperties<'a>,
    pub payload: &'a [u8],
}

/// The parts of an outgoing PUBLISH that differ from one receiver to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutgoingPublish<'a> {
    pub dup: bool,
    pub retain: bool,
    pub delivery: Delivery,
    /// What is left of the message's lifetime, in seconds.
    pub message_expiry_interval: Option<u32>,
    pub subscription_identifiers: &'a [u32],
    /// The alias, and whether the topic is written beside it (it is the first time).
    pub topic_alias: Option<(u16, AliasUse)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasUse {
    /// The alias is given its meaning: the topic goes with it.
    Define,
    /// The alias stands for the topic, which is left out.
    Refer,
}
