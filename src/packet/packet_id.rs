use std::fmt;
use std::num::NonZeroU16;

use super::reader::Reader;
use super::{MalformedPacket, QoS};

/// Names one exchange between the two ends of a session; never zero `[MQTT-2.2.1-3]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    pub const fn new(value: u16) -> Option<Self> {
        match NonZeroU16::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// Zero can be read, so it is not malformed, but no packet may carry it `[MQTT-2.2.1-3]`, `[MQTT-2.2.1-4]`.
    #[inline]
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, MalformedPacket> {
        Self::new(reader.u16()?).ok_or(MalformedPacket::protocol("packet identifier 0"))
    }

    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// The identifier that follows; 1 comes after 65,535.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(value) => Self(value),
            None => Self::FIRST,
        }
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The QoS of one PUBLISH together with the identifier that goes with it: QoS 0 has none `[MQTT-2.2.1-2]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    AtMostOnce,
    AtLeastOnce(PacketId),
    ExactlyOnce(PacketId),
}

impl Delivery {
    pub const fn qos(self) -> QoS {
        match self {
            Self::AtMostOnce => QoS::AtMostOnce,
            Self::AtLeastOnce(_) => QoS::AtLeastOnce,
            Self::ExactlyOnce(_) => QoS::ExactlyOnce,
        }
    }

    pub const fn packet_id(self) -> Option<PacketId> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce(id) | Self::ExactlyOnce(id) => Some(id),
        }
    }
}
