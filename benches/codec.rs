//! What it costs to read and to write a PUBLISH, beside mqttbytes. `cargo bench --bench codec`

use bytes::{BufMut, BytesMut};
use divan::{Bencher, black_box};
use dunlin::packet::{
    Decoder, Delivery, ForwardedProperties, MessageView, OutgoingPublish, Packet, PacketId, Peer, ProtocolVersion, PublishAck,
    PublishReason, TopicName, encode, encode_publish,
};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

const TOPIC: &str = "sensors/hall-7/machine-42/temperature";
const PROPERTIES: &[u8] = b"\x01\x01\x03\0\x0Atext/plain\x26\0\x06tenant\0\x04acme";

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];

fn main() {
    divan::main();
}

fn message(properties: &'static [u8]) -> MessageView<'static> {
    MessageView {
        topic: TopicName::new(TOPIC).expect("it is a topic"),
        properties: ForwardedProperties::read(properties).expect("they are valid"),
        payload: &[b'x'; 64],
    }
}

fn outgoing(delivery: Delivery) -> OutgoingPublish<'static> {
    OutgoingPublish {
        dup: false,
        retain: false,
        delivery,
        message_expiry_interval: None,
        subscription_identifiers: &[],
        topic_alias: None,
    }
}

fn encoded(version: ProtocolVersion, delivery: Delivery, properties: &'static [u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_publish(&message(properties), &outgoing(delivery), version, &mut out).expect("it is small");
    out
}

const fn decoder(version: ProtocolVersion) -> Decoder {
    let version = Some(version);
    Decoder { version, maximum_packet_size: 1 << 20, user_properties_max: 32, filters_max: 100, peer: Peer::Client }
}

fn bench_decode(bencher: Bencher<'_, '_>, version: ProtocolVersion, bytes: &[u8]) {
    let decoder = decoder(version);
    bencher.bench_local(|| match black_box(&decoder).decode(black_box(bytes)) {
        Ok(Some((Packet::Publish(publish), length))) => {
            black_box((publish.topic, publish.delivery, publish.payload, publish.properties.forwarded, length))
        }
        other => panic!("{other:?}"),
    });
}

#[divan::bench(args = VERSIONS)]
fn decode_qos0(bencher: Bencher<'_, '_>, version: &ProtocolVersion) {
    bench_decode(bencher, *version, &encoded(*version, Delivery::AtMostOnce, b""));
}

#[divan::bench(args = VERSIONS)]
fn decode_qos1(bencher: Bencher<'_, '_>, version: &ProtocolVersion) {
    bench_decode(bencher, *version, &encoded(*version, Delivery::AtLeastOnce(PacketId::FIRST), b""));
}

#[divan::bench]
fn decode_three_properties(bencher: Bencher<'_, '_>) {
    bench_decode(bencher, ProtocolVersion::V5, &encoded(ProtocolVersion::V5, Delivery::AtMostOnce, PROPERTIES));
}

#[divan::bench]
fn decode_puback(bencher: Bencher<'_, '_>) {
    let decoder = decoder(ProtocolVersion::V5);
    bencher.bench_local(|| match black_box(&decoder).decode(black_box(b"\x40\x02\0\x01")) {
        Ok(Some((Packet::PubAck(ack), length))) => black_box((ack.packet_id, length)),
        other => panic!("{other:?}"),
    });
}

/// With a copy of the bytes, which it needs to have as its own.
#[divan::bench(args = VERSIONS)]
fn decode_qos1_mqttbytes(bencher: Bencher<'_, '_>, version: &ProtocolVersion) {
    let bytes = encoded(*version, Delivery::AtLeastOnce(PacketId::FIRST), b"");
    let mut stream = BytesMut::with_capacity(1 << 20);
    bencher.bench_local(|| {
        stream.put_slice(&bytes);
        match version {
            ProtocolVersion::V5 => {
                black_box(mqttbytes::v5::read(&mut stream, 1 << 20).is_ok());
            }
            _ => {
                black_box(mqttbytes::v4::read(&mut stream, 1 << 20).is_ok());
            }
        }
    });
}

fn bench_encode(bencher: Bencher<'_, '_>, version: ProtocolVersion, delivery: Delivery, properties: &'static [u8]) {
    let (message, outgoing) = (message(properties), outgoing(delivery));
    let mut out = Vec::with_capacity(1 << 16);
    bencher.bench_local(|| {
        out.clear();
        black_box(encode_publish(black_box(&message), black_box(&outgoing), version, &mut out).is_ok())
    });
}

#[divan::bench(args = VERSIONS)]
fn encode_qos0(bencher: Bencher<'_, '_>, version: &ProtocolVersion) {
    bench_encode(bencher, *version, Delivery::AtMostOnce, b"");
}

#[divan::bench(args = VERSIONS)]
fn encode_qos1(bencher: Bencher<'_, '_>, version: &ProtocolVersion) {
    bench_encode(bencher, *version, Delivery::AtLeastOnce(PacketId::FIRST), b"");
}

#[divan::bench]
fn encode_three_properties(bencher: Bencher<'_, '_>) {
    bench_encode(bencher, ProtocolVersion::V5, Delivery::AtMostOnce, PROPERTIES);
}

#[divan::bench]
fn encode_puback(bencher: Bencher<'_, '_>) {
    let ack = Packet::PubAck(PublishAck::new(PacketId::FIRST, PublishReason::Success));
    let mut out = Vec::with_capacity(1 << 16);
    bencher.bench_local(|| {
        out.clear();
        encode(black_box(&ack), ProtocolVersion::V5, &mut out);
        black_box(out.len())
    });
}
