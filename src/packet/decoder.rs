use super::reader::Reader;
use super::varint::{Varint, read_varint};
use super::{
    Auth, ConnAck, Connect, Disconnect, Malformed, MalformedPacket, Packet, PacketType, Peer, ProtocolVersion, Publish,
    PublishAck, Release, SubAck, Subscribe, UnsubAck, Unsubscribe,
};

/// Reads the packets of one Network Connection. It keeps no bytes: the caller comes with all that it has, and again with more.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    /// The version that CONNECT named. `None` before: then CONNECT (from a server CONNACK) is the only packet that is taken
    /// `[MQTT-3.1.0-1]`.
    pub version: Option<ProtocolVersion>,
    /// The largest packet that is taken, in bytes with its fixed header.
    pub maximum_packet_size: u32,
    /// How many User Properties a property section may hold; those of a Will are counted apart from CONNECT's own.
    pub user_properties_max: usize,
    /// How many filters a SUBSCRIBE or UNSUBSCRIBE may hold: four bytes of it become many times as much memory.
    pub filters_max: usize,
    /// Who sent the bytes.
    pub peer: Peer,
}

/// What a packet's reader has to know besides its bytes.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) version: ProtocolVersion,
    pub(super) peer: Peer,
    pub(super) user_properties_max: usize,
    pub(super) filters_max: usize,
}

/// The fixed header (2.1).
#[derive(Clone, Copy)]
struct FixedHeader {
    packet_type: PacketType,
    first_byte: u8,
    /// Of the header itself.
    length: usize,
    /// Of the packet with its header.
    packet_length: usize,
    /// Whether the Remaining Length took no more bytes than needed.
    minimal: bool,
}

impl Decoder {
    /// Reads the packet that `bytes` start with, and tells how many of them it took; `None` if more are needed.
    ///
    /// A wrong first byte is told as soon as it is there, and a packet that is too large as soon as its length is.
    #[inline]
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> Result<Option<(Packet<'a>, usize)>, MalformedPacket> {
        let Some(header) = self.header(bytes)? else { return Ok(None) };
        let Some(body) = bytes.get(header.length..header.packet_length) else { return Ok(None) };
        // Not by `?`: a packet is large, and would be moved once more.
        match self.read(header, body) {
            Ok(packet) => Ok(Some((packet, header.packet_length))),
            Err(malformed) => Err(malformed),
        }
    }

    /// The whole length of the packet that `bytes` start with, once it is known; what [`Self::decode`] refuses by its fixed
    /// header is refused here too.
    pub fn frame_length(&self, bytes: &[u8]) -> Result<Option<usize>, MalformedPacket> {
        Ok(self.header(bytes)?.map(|header| header.packet_length))
    }

    #[inline(always)] // Passed through memory it would cost as much as it does.
    fn header(&self, bytes: &[u8]) -> Result<Option<FixedHeader>, MalformedPacket> {
        let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
        let packet_type = self.check_first_byte(*first)?;
        let (value, length, minimal) = match read_varint(rest) {
            Varint::Value { value, length, minimal } => (value, length, minimal),
            Varint::Incomplete => return Ok(None),
            Varint::TooLong => return Err(MalformedPacket::packet("a remaining length of more than four bytes")),
        };
        // Only 5.0 says that the shortest form must be used [MQTT-1.5.5-1].
        if !minimal && self.version == Some(ProtocolVersion::V5) {
            return Err(PADDED_LENGTH);
        }
        let length = 1 + length;
        let packet_length = length + value as usize;
        if packet_length > self.maximum_packet_size as usize {
            return Err(MalformedPacket { kind: Malformed::TooLarge, detail: "larger than the maximum packet size" });
        }
        Ok(Some(FixedHeader { packet_type, first_byte: *first, length, packet_length, minimal }))
    }

    #[inline(always)]
    fn check_first_byte(&self, first: u8) -> Result<PacketType, MalformedPacket> {
        let packet_type = PacketType::from_first_byte(first);
        match self.version {
            None if packet_type != Some(self.first_packet()) => {
                return Err(MalformedPacket::protocol("the first packet is not the one that opens a connection"));
            }
            _ => {}
        }
        let packet_type = packet_type.ok_or(MalformedPacket::packet("packet type 0"))?;
        packet_type.check_flags(first, self.version)?;
        if let Some(version) = self.version {
            packet_type.check_sender(self.peer, version)?;
        }
        Ok(packet_type)
    }

    const fn first_packet(&self) -> PacketType {
        match self.peer {
            Peer::Client => PacketType::Connect,
            Peer::Server => PacketType::ConnAck,
        }
    }

    #[inline(always)]
    fn read<'a>(&self, header: FixedHeader, body: &'a [u8]) -> Result<Packet<'a>, MalformedPacket> {
        let version = self.version.unwrap_or_else(|| connack_version(body));
        let Self { peer, user_properties_max, filters_max, .. } = *self;
        let rules = Rules { version, peer, user_properties_max, filters_max };
        let reader = Reader::new(body);
        match header.packet_type {
            PacketType::Publish => match Publish::read(header.first_byte, reader, rules) {
                Ok(publish) => Ok(Packet::Publish(publish)),
                Err(malformed) => Err(malformed),
            },
            PacketType::PubAck => PublishAck::read(reader, rules).map(Packet::PubAck),
            PacketType::PubRec => PublishAck::read(reader, rules).map(Packet::PubRec),
            PacketType::PubRel => Release::read(reader, rules).map(Packet::PubRel),
            PacketType::PubComp => Release::read(reader, rules).map(Packet::PubComp),
            _ => read_other(header, reader, rules),
        }
    }
}

/// The language in which a CONNECT, however broken, wants to be answered, as far as `bytes` tell: the version it names, or the
/// nearest one for a level that we do not speak (0x84 to newer clients, return code 1 to older ones `[MQTT-3.1.2-2]`).
/// `None` for bytes that are no CONNECT: they get no answer.
///
/// Bit 7 of the level is passed over: bridges of mosquitto set it, and try again without it once they are refused.
pub fn connect_version(bytes: &[u8]) -> Option<ProtocolVersion> {
    let (first, rest) = bytes.split_first()?;
    let Varint::Value { length, .. } = read_varint(rest) else { return None };
    if PacketType::from_first_byte(*first) != Some(PacketType::Connect) {
        return None;
    }
    let mut reader = Reader::new(&rest[length..]);
    let name = reader.binary().ok()?;
    let level = reader.u8().ok()? & 0x7F;
    match (name, level) {
        (b"MQIsdp", 3) => Some(ProtocolVersion::V31),
        (b"MQIsdp", _) | (b"MQTT", 0..=4) => Some(ProtocolVersion::V311),
        (b"MQTT", _) => Some(ProtocolVersion::V5),
        _ => None,
    }
}

/// All but the packets of the hot path.
#[inline(never)]
fn read_other<'a>(header: FixedHeader, reader: Reader<'a>, rules: Rules) -> Result<Packet<'a>, MalformedPacket> {
    match header.packet_type {
        PacketType::Connect => {
            let connect = Connect::read(reader, rules)?;
            if !header.minimal && connect.version == ProtocolVersion::V5 {
                return Err(PADDED_LENGTH);
            }
            Ok(Packet::Connect(connect))
        }
        PacketType::ConnAck => ConnAck::read(reader, rules).map(Packet::ConnAck),
        PacketType::Subscribe => Subscribe::read(reader, rules).map(Packet::Subscribe),
        PacketType::SubAck => SubAck::read(reader, rules).map(Packet::SubAck),
        PacketType::Unsubscribe => Unsubscribe::read(reader, rules).map(Packet::Unsubscribe),
        PacketType::UnsubAck => UnsubAck::read(reader, rules).map(Packet::UnsubAck),
        PacketType::PingReq => reader.finish().map(|()| Packet::PingReq),
        PacketType::PingResp => reader.finish().map(|()| Packet::PingResp),
        PacketType::Disconnect => Disconnect::read(reader, rules).map(Packet::Disconnect),
        PacketType::Auth => Auth::read(reader, rules).map(Packet::Auth),
        PacketType::Publish | PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp => {
            unreachable!("read where the hot path is")
        }
    }
}

/// The version in which a CONNACK is written: those of 5.0 have a property length, so a third byte.
const fn connack_version(body: &[u8]) -> ProtocolVersion {
    if body.len() == 2 { ProtocolVersion::V311 } else { ProtocolVersion::V5 }
}

const PADDED_LENGTH: MalformedPacket = MalformedPacket::packet("a remaining length longer than needed");
