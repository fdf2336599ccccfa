//! What is read can be written, and is read back as it was. The first byte says whose bytes they are and in which version.

#![no_main]

use dunlin::packet::{Decoder, ForwardedProperties, Packet, Peer, ProtocolVersion, connect_version, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((selector, bytes)) = data.split_first() else { return };
    let version = match selector & 3 {
        0 => None,
        1 => Some(ProtocolVersion::V31),
        2 => Some(ProtocolVersion::V311),
        _ => Some(ProtocolVersion::V5),
    };
    let peer = if selector & 4 == 0 { Peer::Client } else { Peer::Server };
    let decoder = Decoder { version, maximum_packet_size: 1 << 20, user_properties_max: 20, filters_max: 20, peer };
    let _ = connect_version(bytes);
    let framed = decoder.frame_length(bytes);
    let read = decoder.decode(bytes);
    let Ok(Some((packet, length))) = read else { return };
    assert_eq!(framed, Ok(Some(length)), "the frame is known by its length");
    assert!(length <= bytes.len());
    assert_eq!(decoder.decode(&bytes[..length - 1]), Ok(None), "one byte less is not whole");

    let written_in = match &packet {
        Packet::Connect(connect) => connect.version,
        Packet::ConnAck(_) if version.is_none() && bytes[1] == 2 => ProtocolVersion::V311,
        _ => version.unwrap_or(ProtocolVersion::V5),
    };
    let mut once = Vec::new();
    encode(&packet, written_in, &mut once);
    let (again, length) = decoder.decode(&once).expect("what we write is valid").expect("and whole");
    assert_eq!(length, once.len());
    assert_eq!(plain(&packet), plain(&again));
    let mut twice = Vec::new();
    encode(&again, written_in, &mut twice);
    assert_eq!(once, twice);
});

/// Without the run of properties as bytes, whose order may differ.
fn plain<'a>(packet: &Packet<'a>) -> Packet<'a> {
    let mut packet = packet.clone();
    if let Packet::Publish(publish) = &mut packet {
        publish.properties.forwarded = ForwardedProperties::default();
    }
    packet
}
