use std::fmt;

/// A topic that a message is published to: at least one character, no wildcard, no NUL (4.7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName<'a>(&'a str);

/// Why a string is no topic name or no topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopic {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than 65535 bytes")]
    TooLong,
    #[error("it contains a NUL character")]
    Nul,
    #[error("a topic name must not contain + or #")]
    WildcardInName,
    #[error("# must be the last character and a level of its own")]
    MisplacedMultiLevelWildcard,
    #[error("+ must be a level of its own")]
    MisplacedSingleLevelWildcard,
    #[error("a shared subscription is $share/NAME/FILTER, with a name without / + #")]
    Shared,
}

impl<'a> TopicName<'a> {
    /// Checks a string. `[MQTT-4.7.1-1]`, `[MQTT-4.7.3-1]` to `-3`; UTF-8 is the type's own promise.
    pub fn new(topic: &'a str) -> Result<Self, InvalidTopic> {
        check_length(topic)?;
        for byte in topic.bytes() {
            match byte {
                0 => return Err(InvalidTopic::Nul),
                b'+' | b'#' => return Err(InvalidTopic::WildcardInName),
                _ => {}
            }
        }
        Ok(Self(topic))
    }

    /// A name that was checked before and has been kept since.
    pub(crate) fn trusted(topic: &'a str) -> Self {
        debug_assert!(Self::new(topic).is_ok());
        Self(topic)
    }

    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Starts with `$`: no wildcard at the first level of a filter reaches it `[MQTT-4.7.2-1]`.
    pub fn is_dollar(self) -> bool {
        self.0.as_bytes()[0] == b'$'
    }

    pub fn levels(self) -> std::str::Split<'a, char> {
        self.0.split('/')
    }
}

pub(super) fn check_length(topic: &str) -> Result<(), InvalidTopic> {
    match topic.len() {
        0 => Err(InvalidTopic::Empty),
        1..=0xFFFF => Ok(()),
        _ => Err(InvalidTopic::TooLong),
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
