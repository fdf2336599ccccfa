use std::fmt;

use super::{Malformed, MalformedPacket};

/// A topic that a message is published to: at least one character, no wildcard, no NUL (4.7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName<'a>(&'a str);

/// Why a string is no topic name or no topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidTopic {
    Empty,
    TooLong,
    Nul,
    WildcardInName,
    MisplacedMultiLevelWildcard,
    MisplacedSingleLevelWildcard,
    Shared,
}

impl<'a> TopicName<'a> {
    /// Checks a string. `[MQTT-4.7.1-1]`, `[MQTT-4.7.3-1]` to `-3`; UTF-8 is the type's own promise.
    pub fn new(topic: &'a str) -> Result<Self, InvalidTopic> {
        check_length(topic)?;
        // Without a way out of the loop it is done on many bytes at once.
        if topic.bytes().fold(false, |found, byte| found | matches!(byte, 0 | b'+' | b'#')) {
            return Err(if topic.contains('\0') { InvalidTopic::Nul } else { InvalidTopic::WildcardInName });
        }
        Ok(Self(topic))
    }

    /// Checks a string of a packet, NUL included.
    #[inline]
    pub(super) fn read(topic: &'a str) -> Result<Self, MalformedPacket> {
        Self::new(topic).map_err(|invalid| invalid.malformed(Malformed::TopicName))
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

impl InvalidTopic {
    /// What is wrong with it, for a log or an answer.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Empty => "a topic is empty",
            Self::TooLong => "a topic is longer than 65535 bytes",
            Self::Nul => "a topic contains a NUL character",
            Self::WildcardInName => "a topic name must not contain + or #",
            Self::MisplacedMultiLevelWildcard => "# must be the last character and a level of its own",
            Self::MisplacedSingleLevelWildcard => "+ must be a level of its own",
            Self::Shared => "a shared subscription is $share/NAME/FILTER, with a name without / + #",
        }
    }

    /// The error of a packet that holds it; a NUL makes any string malformed `[MQTT-1.5.4-2]`.
    #[cold]
    pub(super) fn malformed(self, kind: Malformed) -> MalformedPacket {
        let kind = if self == Self::Nul { Malformed::Packet } else { kind };
        MalformedPacket { kind, detail: self.detail() }
    }
}

impl std::error::Error for InvalidTopic {}

impl fmt::Display for InvalidTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
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
