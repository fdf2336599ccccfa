//! Tests of the whole codec; those of single pieces stand beside them.

mod malformed;
mod mqttbytes;
mod publish;
mod round_trip;
mod seeds;
mod too_large;
mod wire;
mod wire_cases;

use super::{Decoder, MalformedPacket, Packet, Peer, ProtocolVersion};

/// A decoder that takes everything that this version allows.
fn decoder(version: Option<ProtocolVersion>, peer: Peer) -> Decoder {
    Decoder { version, maximum_packet_size: u32::MAX, user_properties_max: 100, filters_max: 100, peer }
}

/// Reads bytes that hold one packet and nothing else.
fn decode_one<'a>(decoder: &Decoder, bytes: &'a [u8]) -> Result<Packet<'a>, MalformedPacket> {
    let (packet, length) = decoder.decode(bytes)?.expect("the packet is whole");
    assert_eq!(length, bytes.len());
    Ok(packet)
}
