use smallvec::SmallVec;

use crate::packet::{Delivery, Packet, PacketId, Publish, PublishProperties, QoS, TopicName, UserPropertiesBuf};

/// An Application Message on its way out or in, in memory of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: QoS,
    pub retain: bool,
    /// Of a message that came: it may have come before.
    pub dup: bool,
    /// Of a message that came with QoS 1 or 2.
    pub packet_id: Option<PacketId>,
    pub properties: MessageProperties,
}

/// What MQTT 5.0 says of a message besides (3.3.2.3). Older versions neither send nor get it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MessageProperties {
    /// `Some(true)`: the payload is UTF-8 text.
    pub payload_format_indicator: Option<bool>,
    /// In seconds.
    pub message_expiry_interval: Option<u32>,
    pub topic_alias: Option<u16>,
    pub content_type: Option<String>,
    pub response_topic: Option<String>,
    pub correlation_data: Option<Vec<u8>>,
    /// Only of a message that came.
    pub subscription_identifiers: Vec<u32>,
    pub user_properties: Vec<(String, String)>,
}

impl MessageProperties {
    fn of(properties: &PublishProperties<'_>) -> Self {
        let owned = |text: &str| text.to_owned();
        Self {
            payload_format_indicator: properties.payload_format_indicator,
            message_expiry_interval: properties.message_expiry_interval,
            topic_alias: properties.topic_alias,
            content_type: properties.content_type.map(owned),
            response_topic: properties.response_topic.map(owned),
            correlation_data: properties.correlation_data.map(<[u8]>::to_vec),
            subscription_identifiers: properties.subscription_identifiers.to_vec(),
            user_properties: properties.user_properties.iter().map(|(name, value)| (owned(name), owned(value))).collect(),
        }
    }

    /// The User Properties as packets carry them.
    pub fn user_properties_buf(&self) -> UserPropertiesBuf {
        let mut buf = UserPropertiesBuf::new();
        self.user_properties.iter().for_each(|(name, value)| buf.push(name, value));
        buf
    }

    /// As packets carry them, without subscription identifiers, which a client must not send `[MQTT-3.3.4-6]`.
    pub fn borrowed<'a>(&'a self, user_properties: &'a UserPropertiesBuf) -> PublishProperties<'a> {
        PublishProperties {
            payload_format_indicator: self.payload_format_indicator,
            message_expiry_interval: self.message_expiry_interval,
            topic_alias: self.topic_alias,
            response_topic: self.response_topic.as_deref(),
            correlation_data: self.correlation_data.as_deref(),
            content_type: self.content_type.as_deref(),
            subscription_identifiers: SmallVec::new(),
            user_properties: user_properties.as_ref(),
            forwarded: Default::default(),
        }
    }
}

impl Message {
    /// A message that came. `topic` is what its alias stands for, or what it names.
    pub fn of(publish: &Publish<'_>, topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            payload: publish.payload.to_vec(),
            qos: publish.delivery.qos(),
            retain: publish.retain,
            dup: publish.dup,
            packet_id: publish.delivery.packet_id(),
            properties: MessageProperties::of(&publish.properties),
        }
    }

    /// Gives its PUBLISH to `write`; `false` if the topic is none.
    pub(super) fn with_packet(&self, delivery: Delivery, dup: bool, write: impl FnOnce(&Packet<'_>)) -> bool {
        let user_properties = self.properties.user_properties_buf();
        let Ok(topic) = TopicName::new(&self.topic) else { return false };
        let properties = self.properties.borrowed(&user_properties);
        write(&Packet::Publish(Publish {
            dup,
            retain: self.retain,
            delivery,
            topic: Some(topic),
            properties,
            payload: &self.payload,
        }));
        true
    }
}
