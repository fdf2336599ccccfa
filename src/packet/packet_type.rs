use std::fmt;

use super::{MalformedPacket, Packet, ProtocolVersion, QoS};

/// The type in the high four bits of a packet's first byte (2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

/// Who sent the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Client,
    Server,
}

impl PacketType {
    /// Every type, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Connect,
        Self::ConnAck,
        Self::Publish,
        Self::PubAck,
        Self::PubRec,
        Self::PubRel,
        Self::PubComp,
        Self::Subscribe,
        Self::SubAck,
        Self::Unsubscribe,
        Self::UnsubAck,
        Self::PingReq,
        Self::PingResp,
        Self::Disconnect,
        Self::Auth,
    ];

    /// The type that a first byte names; 0 is none.
    #[inline]
    pub const fn from_first_byte(byte: u8) -> Option<Self> {
        match byte >> 4 {
            0 => None,
            number => Some(Self::ALL[number as usize - 1]),
        }
    }

    /// The name that the specification gives it, in capitals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }

    /// The first byte of a packet of this type, save for the flags of a PUBLISH (table 2-2).
    pub(super) const fn first_byte(self) -> u8 {
        let flags = match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        };
        (self as u8) << 4 | flags
    }

    /// Whether the low four bits of a first byte are what they must be `[MQTT-2.1.3-1]`.
    #[inline]
    pub(super) fn check_flags(self, first: u8, version: Option<ProtocolVersion>) -> Result<(), MalformedPacket> {
        match self {
            Self::Publish => check_publish_flags(first),
            // 3.1 repeats these with DUP set (3.1 §2.1).
            Self::PubRel | Self::Subscribe | Self::Unsubscribe if version == Some(ProtocolVersion::V31) => {
                if first & 0b0111 == 0b0010 { Ok(()) } else { Err(RESERVED_FLAGS) }
            }
            _ if first == self.first_byte() => Ok(()),
            _ => Err(RESERVED_FLAGS),
        }
    }

    /// Whether this end may send such a packet in this version.
    #[inline]
    pub(super) fn check_sender(self, peer: Peer, version: ProtocolVersion) -> Result<(), MalformedPacket> {
        match (self, peer) {
            (Self::ConnAck | Self::SubAck | Self::UnsubAck | Self::PingResp, Peer::Client) => {
                Err(MalformedPacket::protocol("a packet that only a server may send"))
            }
            (Self::Connect | Self::Subscribe | Self::Unsubscribe | Self::PingReq, Peer::Server) => {
                Err(MalformedPacket::protocol("a packet that only a client may send"))
            }
            (Self::Disconnect, Peer::Server) | (Self::Auth, _) if version != ProtocolVersion::V5 => {
                Err(MalformedPacket::protocol("a packet that only MQTT 5 knows"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Packet<'_> {
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}

#[inline]
fn check_publish_flags(first: u8) -> Result<(), MalformedPacket> {
    match QoS::from_bits(first >> 1 & 0b11) {
        None => Err(MalformedPacket::packet("a PUBLISH with QoS 3")), // [MQTT-3.3.1-4]
        Some(QoS::AtMostOnce) if first & 0b1000 != 0 => Err(MalformedPacket::packet("DUP is set at QoS 0")), // [MQTT-3.3.1-2]
        Some(_) => Ok(()),
    }
}

const RESERVED_FLAGS: MalformedPacket = MalformedPacket::packet("reserved flags of the fixed header are not as required");
