use crate::client::{MessageProperties, Options};
use crate::packet::{TopicName, UserPropertiesBuf};

/// The properties that `-D` gives, by the packet that they go into.
#[derive(Debug, Default)]
pub(super) struct Properties {
    connect: Vec<(String, String)>,
    connect_user: UserPropertiesBuf,
    pub(super) publish: MessageProperties,
    pub(super) will: MessageProperties,
    pub(super) will_delay_interval: u32,
    pub(super) subscription_identifier: Option<u32>,
    pub(super) subscribe_user: UserPropertiesBuf,
    pub(super) unsubscribe_user: UserPropertiesBuf,
    pub(super) disconnect_expiry: Option<u32>,
    pub(super) disconnect_user: UserPropertiesBuf,
}

const CONNECT: [&str; 8] = [
    "session-expiry-interval",
    "receive-maximum",
    "maximum-packet-size",
    "topic-alias-maximum",
    "request-problem-information",
    "request-response-information",
    "authentication-method",
    "authentication-data",
];

impl Properties {
    /// Reads the words of all `-D`, one after the other: each has three, or four for a user property.
    pub(super) fn parse(words: &[String]) -> Result<Self, String> {
        let mut all = Self::default();
        let mut words = words.iter();
        while let Some(packet) = words.next() {
            let missing = || format!("-D {packet} …: a packet, a property and its value are needed");
            let (property, value) = (words.next().ok_or_else(missing)?, words.next().ok_or_else(missing)?);
            let second = (property == "user-property").then(|| words.next().ok_or_else(missing)).transpose()?;
            let done = match second {
                _ if is_too_long(value.as_bytes()) || second.is_some_and(|second| is_too_long(second.as_bytes())) => {
                    Err(TOO_LONG.into())
                }
                Some(second) => all.user(packet, value, second),
                None => all.set(packet, property, value),
            };
            done.map_err(|error| format!("-D {packet} {property}: {error}"))?;
        }
        Ok(all)
    }

    fn user(&mut self, packet: &str, name: &str, value: &str) -> Result<(), String> {
        match packet {
            "connect" => self.connect_user.push(name, value),
            "publish" => self.publish.user_properties.push((name.into(), value.into())),
            "will" => self.will.user_properties.push((name.into(), value.into())),
            "subscribe" => self.subscribe_user.push(name, value),
            "unsubscribe" => self.unsubscribe_user.push(name, value),
            "disconnect" => self.disconnect_user.push(name, value),
            _ => return Err(NO_PACKET.into()),
        }
        Ok(())
    }

    fn set(&mut self, packet: &str, property: &str, value: &str) -> Result<(), String> {
        match (packet, property) {
            ("connect", property) if CONNECT.contains(&property) => {
                set_connect(&mut Options::default(), property, value)?;
                self.connect.push((property.into(), value.into()));
            }
            ("publish", property) => set_message(&mut self.publish, property, value)?,
            ("will", "will-delay-interval") => self.will_delay_interval = number(value)?,
            ("will", property) => set_message(&mut self.will, property, value)?,
            ("subscribe", "subscription-identifier") => {
                let identifier = number(value)?;
                if !(1..=268_435_455).contains(&identifier) {
                    return Err("it must be 1 to 268435455".into());
                }
                self.subscription_identifier = Some(identifier);
            }
            ("disconnect", "session-expiry-interval") => self.disconnect_expiry = Some(number(value)?),
            ("connect" | "subscribe" | "unsubscribe" | "disconnect", _) => return Err(NOT_IN_PACKET.into()),
            _ => return Err(NO_PACKET.into()),
        }
        Ok(())
    }

    pub(super) fn connect(&self, options: &mut Options) {
        for (property, value) in &self.connect {
            let _ = set_connect(options, property, value); // tried before
        }
        options.user_properties = self.connect_user.clone();
    }
}

const NO_PACKET: &str = "the packet is none of connect, publish, subscribe, unsubscribe, disconnect, will";
pub(super) const TOO_LONG: &str = "it is longer than 65535 bytes";
const NOT_IN_PACKET: &str = "that packet has no such property";

/// Packets have two bytes for its length (1.5.4).
pub(super) const fn is_too_long(bytes: &[u8]) -> bool {
    bytes.len() > u16::MAX as usize
}

fn set_connect(options: &mut Options, property: &str, value: &str) -> Result<(), String> {
    match property {
        "session-expiry-interval" => options.session_expiry_interval = number(value)?,
        "receive-maximum" => options.receive_maximum = positive(value)?,
        "maximum-packet-size" => options.maximum_packet_size = positive::<u32>(value)?,
        "topic-alias-maximum" => options.topic_alias_maximum = number(value)?,
        "request-problem-information" => options.request_problem_information = flag(value)?,
        "request-response-information" => options.request_response_information = flag(value)?,
        "authentication-method" => options.authentication_method = Some(value.into()),
        _ => options.authentication_data = Some(value.as_bytes().to_vec()),
    }
    Ok(())
}

fn set_message(message: &mut MessageProperties, property: &str, value: &str) -> Result<(), String> {
    match property {
        "payload-format-indicator" => message.payload_format_indicator = Some(flag(value)?),
        "message-expiry-interval" => message.message_expiry_interval = Some(number(value)?),
        "topic-alias" => message.topic_alias = Some(positive(value)?),
        "content-type" => message.content_type = Some(value.into()),
        "response-topic" => {
            TopicName::new(value).map_err(|error| error.to_string())?;
            message.response_topic = Some(value.into());
        }
        "correlation-data" => message.correlation_data = Some(value.as_bytes().to_vec()),
        _ => return Err(NOT_IN_PACKET.into()),
    }
    Ok(())
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{value:?} is no number that fits"))
}

fn positive<T: std::str::FromStr + Default + PartialEq>(value: &str) -> Result<T, String> {
    number(value).and_then(|number: T| if number == T::default() { Err("it must not be 0".into()) } else { Ok(number) })
}

fn flag(value: &str) -> Result<bool, String> {
    match value {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err("it must be 0 or 1".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Properties, String> {
        Properties::parse(&text.split(' ').map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn each_property_goes_into_its_packet() {
        let properties = parse(
            "publish user-property a 1 publish content-type text publish user-property a 2 connect receive-maximum 7 \
             will will-delay-interval 5 subscribe subscription-identifier 9",
        )
        .unwrap();
        assert_eq!(properties.publish.user_properties, [("a".into(), "1".into()), ("a".into(), "2".into())]);
        assert_eq!(properties.publish.content_type.as_deref(), Some("text"));
        assert_eq!((properties.will_delay_interval, properties.subscription_identifier), (5, Some(9)));
        let mut options = Options::default();
        properties.connect(&mut options);
        assert_eq!(options.receive_maximum, 7);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        for wrong in [
            "publish",
            "publish content-type",
            "publish user-property a",
            "publish receive-maximum 1",
            "connect receive-maximum 0",
            "connect content-type x",
            "publish message-expiry-interval soon",
            "publish payload-format-indicator 2",
            "subscribe subscription-identifier 0",
            "nothing content-type x",
            "publish response-topic a/#",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
