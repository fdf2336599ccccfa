//! The two halves of a session, each alone: packets in, packets out.

mod connection;
mod inflight;
mod limits;
mod model;
mod outbound;
mod writer;

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use super::*;
use crate::packet::*;

const V5: ProtocolVersion = ProtocolVersion::V5;
const V311: ProtocolVersion = ProtocolVersion::V311;
const V31: ProtocolVersion = ProtocolVersion::V31;

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn writer(version: ProtocolVersion) -> Writer {
    Writer { version, maximum_packet_size: None, aliases: None, mount_point: None }
}

fn stored(topic: &str, payload: &[u8], qos: QoS, expires_at: Option<Instant>) -> Message {
    let view = MessageView { topic: TopicName::new(topic).unwrap(), properties: ForwardedProperties::default(), payload };
    Message::new(view, qos, false, expires_at)
}

fn grant(qos: QoS) -> Grant<'static> {
    Grant { qos, ..Grant::default() }
}

fn queued(payload: &str, qos: QoS) -> Queued {
    let message = stored("t", payload.as_bytes(), qos, None);
    Queued::in_memory(message, Grant { qos, ..Grant::default() })
}

/// All that `buffer` holds, taken out of it.
fn drain(buffer: &mut OutBuffer) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !buffer.is_empty() {
        let mut slices = [IoSlice::new(&[]); 3];
        let used = buffer.slices(&mut slices);
        let before = bytes.len();
        slices[..used].iter().for_each(|slice| bytes.extend_from_slice(slice));
        buffer.advance(bytes.len() - before);
    }
    bytes
}

fn decoder(version: ProtocolVersion, peer: Peer) -> Decoder {
    Decoder { version: Some(version), maximum_packet_size: u32::MAX, user_properties_max: 100, filters_max: 100, peer }
}

/// One packet that we sent, as far as these tests look at it.
#[derive(Clone, Debug, PartialEq)]
enum Sent {
    Publish { payload: String, qos: QoS, dup: bool, id: Option<u16> },
    PubRel(u16, u8),
    Other(String),
}

fn sent(bytes: &[u8], version: ProtocolVersion) -> Vec<Sent> {
    packets(bytes, version)
        .iter()
        .map(|packet| match packet {
            Packet::Publish(publish) => Sent::Publish {
                payload: String::from_utf8_lossy(publish.payload).into_owned(),
                qos: publish.delivery.qos(),
                dup: publish.dup,
                id: publish.delivery.packet_id().map(PacketId::get),
            },
            Packet::PubRel(release) => Sent::PubRel(release.packet_id.get(), release.reason as u8),
            other => Sent::Other(format!("{other:?}")),
        })
        .collect()
}

fn packets(bytes: &[u8], version: ProtocolVersion) -> Vec<Packet<'_>> {
    let decoder = decoder(version, Peer::Server);
    let mut rest = bytes;
    let mut packets = Vec::new();
    while let Some((packet, length)) = decoder.decode(rest).expect("we write valid packets") {
        packets.push(packet);
        rest = &rest[length..];
    }
    assert!(rest.is_empty(), "we write whole packets");
    packets
}

fn first(payload: &str, qos: QoS, id: u16) -> Sent {
    Sent::Publish { payload: payload.into(), qos, dup: false, id: Some(id) }
}

fn again(payload: &str, qos: QoS, id: u16) -> Sent {
    Sent::Publish { payload: payload.into(), qos, dup: true, id: Some(id) }
}
