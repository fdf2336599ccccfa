use super::reason_code::DisconnectReason;

/// Bytes that are no packet: where the reader stopped believing, and which of the three codes the peer is told (4.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct MalformedPacket {
    pub kind: Malformed,
    /// What was wrong, for the log and the Reason String.
    pub detail: &'static str,
}

/// The kinds that the specification tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes cannot be read according to the specification: 0x81.
    #[error("malformed packet")]
    Packet,
    /// The bytes can be read but break a rule of the protocol (a property twice, a value of zero where none is allowed): 0x82.
    #[error("protocol error")]
    Protocol,
    /// A CONNECT of a version that we do not speak: 0x84, or return code 1 to older clients ([`super::connect_version`] tells which).
    #[error("unsupported protocol version")]
    Version,
    /// Larger than the receiver accepts: 0x95.
    #[error("packet too large")]
    TooLarge,
    /// A topic name that is none (a wildcard in it): 0x90. Empty without an alias is a protocol error (3.3.2.1).
    #[error("topic name invalid")]
    TopicName,
    /// A topic filter that is none: 0x8F.
    #[error("topic filter invalid")]
    TopicFilter,
    /// A topic alias of zero: 0x94.
    #[error("topic alias invalid")]
    TopicAlias,
    /// More User Properties than this server takes in one packet: 0x97.
    #[error("quota exceeded")]
    UserProperties,
    /// More filters than this server takes in one SUBSCRIBE or UNSUBSCRIBE: 0x97.
    #[error("quota exceeded")]
    Filters,
}

impl MalformedPacket {
    pub const fn packet(detail: &'static str) -> Self {
        Self { kind: Malformed::Packet, detail }
    }

    pub const fn protocol(detail: &'static str) -> Self {
        Self { kind: Malformed::Protocol, detail }
    }

    /// What a DISCONNECT tells the peer.
    pub const fn disconnect_reason(&self) -> DisconnectReason {
        match self.kind {
            Malformed::Packet => DisconnectReason::MalformedPacket,
            Malformed::Protocol | Malformed::Version => DisconnectReason::ProtocolError,
            Malformed::TooLarge => DisconnectReason::PacketTooLarge,
            Malformed::TopicName => DisconnectReason::TopicNameInvalid,
            Malformed::TopicFilter => DisconnectReason::TopicFilterInvalid,
            Malformed::TopicAlias => DisconnectReason::TopicAliasInvalid,
            Malformed::UserProperties | Malformed::Filters => DisconnectReason::QuotaExceeded,
        }
    }
}

/// A packet that the peer does not take for its Maximum Packet Size, or that no Remaining Length can tell (268,435,455 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet is larger than the receiver accepts")]
pub struct PacketTooLarge;
