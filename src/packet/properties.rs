//! Properties of MQTT 5 packets (2.2.2). Each packet keeps its own in a struct of its own; this file reads and writes single ones.

use super::reader::Reader;
use super::writer::Sink;
use super::{MalformedPacket, TopicName, UserProperties};

/// The identifiers of table 2-4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum PropertyId {
    PayloadFormatIndicator = 0x01,
    MessageExpiryInterval = 0x02,
    ContentType = 0x03,
    ResponseTopic = 0x08,
    CorrelationData = 0x09,
    SubscriptionIdentifier = 0x0B,
    SessionExpiryInterval = 0x11,
    AssignedClientIdentifier = 0x12,
    ServerKeepAlive = 0x13,
    AuthenticationMethod = 0x15,
    AuthenticationData = 0x16,
    RequestProblemInformation = 0x17,
    WillDelayInterval = 0x18,
    RequestResponseInformation = 0x19,
    ResponseInformation = 0x1A,
    ServerReference = 0x1C,
    ReasonString = 0x1F,
    ReceiveMaximum = 0x21,
    TopicAliasMaximum = 0x22,
    TopicAlias = 0x23,
    MaximumQoS = 0x24,
    RetainAvailable = 0x25,
    UserProperty = 0x26,
    MaximumPacketSize = 0x27,
    WildcardSubscriptionAvailable = 0x28,
    SubscriptionIdentifierAvailable = 0x29,
    SharedSubscriptionAvailable = 0x2A,
}

/// A packet that may not carry a property is malformed by it (2.2.2.2).
pub(super) const NOT_ALLOWED: MalformedPacket = MalformedPacket::packet("a property that this packet may not carry");

/// Reads the properties of one section in turn. The caller asks for each property's value by its type.
pub(super) struct PropertyReader<'a> {
    section: &'a [u8],
    reader: Reader<'a>,
    /// Where the property at hand begins.
    start: usize,
    /// One bit per identifier: all but two may be there once.
    seen: u64,
    user_properties: Run,
    user_properties_left: usize,
    forwarded: Run,
}

/// Some properties of a section: those between the first and the last of their kind.
#[derive(Clone, Copy, Default)]
struct Run {
    start: usize,
    end: usize,
    /// Bytes that belong; fewer than `end - start` where others lie between.
    length: usize,
}

impl<'a> PropertyReader<'a> {
    /// `user_properties_max` bounds how many User Properties are read.
    #[inline]
    pub(super) fn new(section: &'a [u8], user_properties_max: usize) -> Self {
        Self {
            section,
            reader: Reader::new(section),
            start: 0,
            seen: 0,
            user_properties: Run::default(),
            user_properties_left: user_properties_max,
            forwarded: Run::default(),
        }
    }

    /// The next property's identifier; its value must be read before the next call. A second one of the same kind is a protocol
    /// error, save for User Properties and Subscription Identifiers.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<PropertyId>, MalformedPacket> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        self.start = self.position();
        let id = PropertyId::from_byte(self.reader.u8()?).ok_or(UNKNOWN)?;
        let bit = 1 << id as u8;
        let repeatable = matches!(id, PropertyId::UserProperty | PropertyId::SubscriptionIdentifier);
        if self.seen & bit != 0 && !repeatable {
            return Err(MalformedPacket::protocol("a property is there twice"));
        }
        self.seen |= bit;
        Ok(Some(id))
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16, MalformedPacket> {
        self.reader.u16()
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Result<u32, MalformedPacket> {
        self.reader.u32()
    }

    #[inline]
    pub(super) fn string(&mut self) -> Result<&'a str, MalformedPacket> {
        self.reader.string()
    }

    #[inline]
    pub(super) fn binary(&mut self) -> Result<&'a [u8], MalformedPacket> {
        self.reader.binary()
    }

    /// A byte that must be 0 or 1; each property with one says that others are a protocol error.
    #[inline]
    pub(super) fn bool(&mut self) -> Result<bool, MalformedPacket> {
        match self.reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(MalformedPacket::protocol("a property of 0 or 1 has another value")),
        }
    }

    /// Receive Maximum: zero is a protocol error (3.1.2.11.3, 3.2.2.3.3).
    pub(super) fn receive_maximum(&mut self) -> Result<u16, MalformedPacket> {
        match self.u16()? {
            0 => Err(MalformedPacket::protocol("a receive maximum of zero")),
            value => Ok(value),
        }
    }

    /// Maximum Packet Size: zero is a protocol error (3.1.2.11.4, 3.2.2.3.6).
    pub(super) fn maximum_packet_size(&mut self) -> Result<u32, MalformedPacket> {
        match self.u32()? {
            0 => Err(MalformedPacket::protocol("a maximum packet size of zero")),
            value => Ok(value),
        }
    }

    /// Subscription Identifier: zero is a protocol error (3.3.2.3.8, 3.8.2.1.2).
    #[inline]
    pub(super) fn subscription_identifier(&mut self) -> Result<u32, MalformedPacket> {
        match self.reader.varint()? {
            0 => Err(MalformedPacket::protocol("a subscription identifier of zero")),
            value => Ok(value),
        }
    }

    /// Response Topic: a topic name, so without wildcards `[MQTT-3.3.2-14]`.
    pub(super) fn response_topic(&mut self) -> Result<&'a str, MalformedPacket> {
        Ok(TopicName::read(self.reader.utf8()?)?.as_str())
    }

    /// Checks a User Property and takes it into the run of them.
    #[inline]
    pub(super) fn user_property(&mut self) -> Result<(), MalformedPacket> {
        self.user_properties_left = self.user_properties_left.checked_sub(1).ok_or(TOO_MANY)?;
        self.reader.string()?;
        self.reader.string()?;
        self.user_properties.add(self.start, self.position());
        Ok(())
    }

    /// Takes the property that was just read into the run of those handed on.
    #[inline]
    pub(super) fn forward(&mut self) {
        self.forwarded.add(self.start, self.position());
    }

    /// The User Properties read so far.
    #[inline]
    pub(super) fn user_properties(&self) -> UserProperties<'a> {
        UserProperties::trusted(self.user_properties.of(self.section))
    }

    /// The run of those handed on, and whether others lie in it.
    #[inline]
    pub(super) fn forwarded(&self) -> (&'a [u8], bool) {
        let run = self.forwarded;
        (run.of(self.section), run.length != run.end - run.start)
    }

    #[inline]
    fn position(&self) -> usize {
        self.section.len() - self.reader.left()
    }
}

impl Run {
    #[inline]
    fn add(&mut self, start: usize, end: usize) {
        if self.length == 0 {
            self.start = start;
        }
        self.end = end;
        self.length += end - start;
    }

    #[inline]
    fn of(self, section: &[u8]) -> &[u8] {
        &section[self.start..self.end]
    }
}

impl PropertyId {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::PayloadFormatIndicator,
            0x02 => Self::MessageExpiryInterval,
            0x03 => Self::ContentType,
            0x08 => Self::ResponseTopic,
            0x09 => Self::CorrelationData,
            0x0B => Self::SubscriptionIdentifier,
            0x11 => Self::SessionExpiryInterval,
            0x12 => Self::AssignedClientIdentifier,
            0x13 => Self::ServerKeepAlive,
            0x15 => Self::AuthenticationMethod,
            0x16 => Self::AuthenticationData,
            0x17 => Self::RequestProblemInformation,
            0x18 => Self::WillDelayInterval,
            0x19 => Self::RequestResponseInformation,
            0x1A => Self::ResponseInformation,
            0x1C => Self::ServerReference,
            0x1F => Self::ReasonString,
            0x21 => Self::ReceiveMaximum,
            0x22 => Self::TopicAliasMaximum,
            0x23 => Self::TopicAlias,
            0x24 => Self::MaximumQoS,
            0x25 => Self::RetainAvailable,
            0x26 => Self::UserProperty,
            0x27 => Self::MaximumPacketSize,
            0x28 => Self::WildcardSubscriptionAvailable,
            0x29 => Self::SubscriptionIdentifierAvailable,
            0x2A => Self::SharedSubscriptionAvailable,
            _ => return None,
        })
    }

    /// Passes over a value of this property (the types of table 2-4).
    fn skip(self, reader: &mut Reader<'_>) -> Result<(), MalformedPacket> {
        match self {
            Self::PayloadFormatIndicator
            | Self::RequestProblemInformation
            | Self::RequestResponseInformation
            | Self::MaximumQoS
            | Self::RetainAvailable
            | Self::WildcardSubscriptionAvailable
            | Self::SubscriptionIdentifierAvailable
            | Self::SharedSubscriptionAvailable => reader.take(1).map(drop),
            Self::ServerKeepAlive | Self::ReceiveMaximum | Self::TopicAliasMaximum | Self::TopicAlias => {
                reader.take(2).map(drop)
            }
            Self::MessageExpiryInterval | Self::SessionExpiryInterval | Self::WillDelayInterval | Self::MaximumPacketSize => {
                reader.take(4).map(drop)
            }
            Self::SubscriptionIdentifier => reader.varint().map(drop),
            Self::ContentType
            | Self::ResponseTopic
            | Self::CorrelationData
            | Self::AssignedClientIdentifier
            | Self::AuthenticationMethod
            | Self::AuthenticationData
            | Self::ResponseInformation
            | Self::ServerReference
            | Self::ReasonString => reader.binary().map(drop),
            Self::UserProperty => {
                reader.binary()?;
                reader.binary().map(drop)
            }
        }
    }
}

/// Walks over a section that was checked before: each property's identifier and all its bytes.
pub(super) fn properties_of(section: &[u8]) -> impl Iterator<Item = (PropertyId, &[u8])> {
    let mut reader = Reader::new(section);
    std::iter::from_fn(move || {
        let start = section.len() - reader.left();
        let id = PropertyId::from_byte(reader.u8().ok()?)?;
        id.skip(&mut reader).ok()?;
        Some((id, &section[start..section.len() - reader.left()]))
    })
}

pub(super) fn put_bool(sink: &mut dyn Sink, id: PropertyId, value: bool) {
    sink.put(&[id as u8, u8::from(value)]);
}

pub(super) fn put_u16(sink: &mut dyn Sink, id: PropertyId, value: u16) {
    sink.u8(id as u8);
    sink.u16(value);
}

pub(super) fn put_u32(sink: &mut dyn Sink, id: PropertyId, value: u32) {
    sink.u8(id as u8);
    sink.u32(value);
}

pub(super) fn put_string(sink: &mut dyn Sink, id: PropertyId, value: Option<&str>) {
    if let Some(value) = value {
        sink.u8(id as u8);
        sink.string(value);
    }
}

pub(super) fn put_binary(sink: &mut dyn Sink, id: PropertyId, value: Option<&[u8]>) {
    if let Some(value) = value {
        sink.u8(id as u8);
        sink.binary(value);
    }
}

/// Reason String and User Properties: what most answers carry, and nothing else.
#[derive(Clone, Copy, Default)]
pub(super) struct AnswerProperties<'a> {
    pub(super) reason_string: Option<&'a str>,
    pub(super) user_properties: UserProperties<'a>,
}

impl<'a> AnswerProperties<'a> {
    pub(super) fn read(section: &'a [u8], user_properties_max: usize) -> Result<Self, MalformedPacket> {
        let mut properties = PropertyReader::new(section, user_properties_max);
        let mut reason_string = None;
        while let Some(id) = properties.next()? {
            match id {
                PropertyId::ReasonString => reason_string = Some(properties.string()?),
                PropertyId::UserProperty => properties.user_property()?,
                _ => return Err(NOT_ALLOWED),
            }
        }
        Ok(Self { reason_string, user_properties: properties.user_properties() })
    }

    pub(super) fn write(&self, sink: &mut dyn Sink) {
        put_string(sink, PropertyId::ReasonString, self.reason_string);
        self.user_properties.write(sink);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.reason_string.is_none() && self.user_properties.is_empty()
    }
}

const UNKNOWN: MalformedPacket = MalformedPacket::packet("an unknown property");
const TOO_MANY: MalformedPacket =
    MalformedPacket { kind: super::Malformed::UserProperties, detail: "more user properties than this server takes" };
