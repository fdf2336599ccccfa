use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What the ordering key of a message is: `"none"`, `"topic"`, `"topic-level:2"`, `"client-id"`, `"property:q-key"` (the default).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum KeyMode {
    /// No message has one.
    None,
    /// Its whole topic.
    Topic,
    /// One level of its topic, counted from 1; a topic with fewer levels has no key.
    TopicLevel(u16),
    /// The client that published it.
    ClientId,
    /// A user property of it; a message without has no key.
    Property(Box<str>),
}

/// What stands for an ordering key: a keyed hash of it. Two keys with one hash, should that happen, wait for each other, which is
/// slower and no less right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(pub u64);

/// What a publish says of itself, as far as keys are made of it.
#[derive(Clone, Copy, Debug)]
pub struct KeySource<'a, P> {
    pub topic: &'a str,
    pub client_id: &'a str,
    /// Looks up a user property by name.
    pub property: P,
}

impl Default for KeyMode {
    fn default() -> Self {
        Self::Property(super::properties::KEY.into())
    }
}

impl KeyMode {
    /// The key of a message, as text. `q-key` may also be written `mq-key`, as EMQX has it.
    pub fn key_of<'a>(&self, source: KeySource<'a, impl Fn(&str) -> Option<&'a str>>) -> Option<&'a str> {
        match self {
            Self::None => None,
            Self::Topic => Some(source.topic),
            Self::TopicLevel(level) => source.topic.split('/').nth(usize::from(*level).checked_sub(1)?),
            Self::ClientId => Some(source.client_id),
            Self::Property(name) => {
                let alias = || (&**name == super::properties::KEY).then(|| (source.property)(super::properties::KEY_ALIAS));
                (source.property)(name).or_else(|| alias().flatten())
            }
        }
    }
}

impl FromStr for KeyMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.split_once(':')) {
            ("none", _) => Ok(Self::None),
            ("topic", _) => Ok(Self::Topic),
            ("client-id", _) => Ok(Self::ClientId),
            (_, Some(("property", name))) if !name.is_empty() => Ok(Self::Property(name.into())),
            (_, Some(("topic-level", level))) => match level.parse() {
                Ok(level) if level > 0 => Ok(Self::TopicLevel(level)),
                _ => Err(format!("{level:?} is no level of a topic; the first is 1")),
            },
            _ => Err(format!(
                "{text:?} is no key; write \"property:q-key\", \"topic\", \"topic-level:1\", \"client-id\" or \"none\""
            )),
        }
    }
}

impl TryFrom<String> for KeyMode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<KeyMode> for String {
    fn from(mode: KeyMode) -> Self {
        mode.to_string()
    }
}

impl fmt::Display for KeyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Topic => f.write_str("topic"),
            Self::TopicLevel(level) => write!(f, "topic-level:{level}"),
            Self::ClientId => f.write_str("client-id"),
            Self::Property(name) => write!(f, "property:{name}"),
        }
    }
}
