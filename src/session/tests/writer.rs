use bytes::Bytes;
use proptest::prelude::*;

use super::super::topic_aliases::InboundAliases;
use super::*;

/// What the writer must come to: the packet encoded in one piece.
fn direct(message: &Message, receiver: Receiver<'_>, version: ProtocolVersion, now: Instant) -> Vec<u8> {
    let outgoing = OutgoingPublish {
        dup: receiver.dup,
        retain: receiver.retain,
        delivery: receiver.delivery,
        message_expiry_interval: message.remaining_expiry(now),
        subscription_identifiers: receiver.identifiers,
        topic_alias: None,
    };
    let mut bytes = Vec::new();
    encode_publish(&message.view(), &outgoing, version, &mut bytes).unwrap();
    bytes
}

fn message(payload: usize, expires_at: Option<Instant>) -> Message {
    let properties = ForwardedProperties::read(b"\x01\x01\x03\0\x04text\x26\0\x01a\0\x01b").unwrap();
    let payload: Vec<u8> = (0..payload).map(|byte| byte as u8).collect();
    let view = MessageView { topic: TopicName::new("a/topic/of/some/length").unwrap(), properties, payload: &payload };
    Message::new(view, QoS::ExactlyOnce, true, expires_at)
}

fn plain(delivery: Delivery) -> Receiver<'static> {
    Receiver { delivery, dup: false, retain: false, identifiers: &[] }
}

/// Shapes share one publication: copies are patched, and must not stain each other.
#[test]
fn every_shape_of_a_copy_is_what_a_direct_encode_gives() {
    let now = Instant::now();
    for (payload, lifetime) in [(0, None), (100, Some(10)), (4095, None), (4096, Some(1)), (70_000, None)] {
        let message = message(payload, lifetime.map(|seconds| now + std::time::Duration::from_secs(seconds)));
        let mut publication = Publication::stored(&message);
        let mut out = OutBuffer::default();
        let mut expected = Vec::new();
        for round in 0..3 {
            for version in [V31, V311, V5] {
                let deliveries = [
                    Delivery::AtMostOnce,
                    Delivery::AtLeastOnce(id(1 + round * 7)),
                    Delivery::ExactlyOnce(id(u16::MAX - round)),
                ];
                for delivery in deliveries {
                    for (dup, retain, identifiers) in
                        [(false, false, &[][..]), (false, true, &[]), (true, false, &[]), (false, true, &[1, 268_435_455])]
                    {
                        let receiver = Receiver { delivery, dup, retain, identifiers };
                        let bytes = direct(&message, receiver, version, now);
                        let written = writer(version).write(&mut out, &mut publication, receiver, now);
                        assert_eq!(written, Ok(bytes.len()));
                        expected.extend(bytes);
                    }
                }
            }
        }
        assert_eq!(out.len(), expected.len());
        assert!(drain(&mut out) == expected, "{payload} bytes of payload");
    }
}

#[test]
fn a_message_from_the_read_buffer_is_written_as_its_stored_copy() {
    let now = Instant::now();
    for payload in [10, 5000] {
        let message = message(payload, None);
        let mut fresh = Publication::new(message.view(), message.qos, message.retain, None, None);
        let mut out = OutBuffer::default();
        for qos2 in [5, 6] {
            writer(V5).write(&mut out, &mut fresh, plain(Delivery::ExactlyOnce(id(qos2))), now).unwrap();
        }
        let expected: Vec<u8> =
            [5, 6].iter().flat_map(|qos2| direct(&message, plain(Delivery::ExactlyOnce(id(*qos2))), V5, now)).collect();
        assert!(drain(&mut out) == expected);
        assert_eq!(**fresh.message(), *message);
    }
}

#[test]
fn a_large_payload_lies_in_memory_once() {
    let message = message(100_000, None);
    let mut publication = Publication::stored(&message);
    let (mut first, mut second) = (OutBuffer::default(), OutBuffer::default());
    for out in [&mut first, &mut second] {
        writer(V311).write(out, &mut publication, plain(Delivery::AtMostOnce), Instant::now()).unwrap();
    }
    let payload: Bytes = message.payload();
    for out in [&first, &second] {
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(out.slices(&mut slices), 2);
        assert_eq!(slices[1].as_ptr(), payload.as_ptr());
    }
}

#[test]
fn a_mount_point_is_taken_off_the_topic() {
    for (mount_point, topic, seen) in [("a/", "a/b/c", "b/c"), ("a/b/c", "a/b/c", "a/b/c"), ("x/", "a/b", "a/b")] {
        let mut writer = Writer { mount_point: Some(mount_point.into()), ..writer(V5) };
        let mut out = OutBuffer::default();
        let message = stored(topic, b"x", QoS::AtMostOnce, None);
        writer.write(&mut out, &mut Publication::stored(&message), plain(Delivery::AtMostOnce), Instant::now()).unwrap();
        let bytes = drain(&mut out);
        let [Packet::Publish(publish)] = &packets(&bytes, V5)[..] else { panic!("one PUBLISH") };
        assert_eq!(publish.topic.unwrap().as_str(), seen);
    }
}

/// `[MQTT-3.1.2-24]`, `[MQTT-3.1.2-25]`.
#[test]
fn a_packet_of_just_the_maximum_size_is_sent_and_one_byte_more_is_not() {
    let now = Instant::now();
    for version in [V311, V5] {
        for payload in [0, 80, 4095, 4096, 16_000] {
            for identifiers in [&[][..], &[7]] {
                let message = message(payload, None);
                let receiver = Receiver { identifiers, ..plain(Delivery::AtLeastOnce(id(1))) };
                let length = direct(&message, receiver, version, now).len();
                for (maximum, fits) in [(length, true), (length - 1, false)] {
                    let mut writer = Writer { maximum_packet_size: Some(maximum as u32), ..writer(version) };
                    let mut out = OutBuffer::default();
                    let written = writer.write(&mut out, &mut Publication::stored(&message), receiver, now);
                    assert_eq!((written.is_ok(), out.is_empty()), (fits, !fits), "{payload} in {maximum}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever fits without an alias arrives, under its own topic, and nothing is larger than the client takes. The sizes are
    /// around those where lengths take one byte more.
    #[test]
    fn aliases_and_maximum_packet_size_hold_together(
        maximum in prop_oneof![100..140_u32, 16_300..16_420_u32],
        writes in prop::collection::vec((0..12_u8, 0..140_usize, any::<bool>(), prop::option::of(1..300_u32)), 1..80),
    ) {
        let now = Instant::now();
        let aliases = Some(Box::new(OutboundAliases::new(3)));
        let mut writer = Writer { maximum_packet_size: Some(maximum), aliases, ..writer(V5) };
        let mut client = InboundAliases::default();
        for (topic, size, is_large, identifier) in writes {
            let size = if is_large { (size + maximum as usize).saturating_sub(150) } else { size };
            let message = stored(&format!("topic/number/{topic}"), &vec![b'x'; size], QoS::AtMostOnce, None);
            let identifiers: Vec<u32> = identifier.into_iter().collect();
            let receiver = Receiver { identifiers: &identifiers, ..plain(Delivery::AtMostOnce) };
            let fits = direct(&message, receiver, V5, now).len() <= maximum as usize;
            let mut out = OutBuffer::default();
            let written = writer.write(&mut out, &mut Publication::stored(&message), receiver, now);
            prop_assert_eq!(written.is_ok(), fits);
            let bytes = drain(&mut out);
            prop_assert_eq!(written.unwrap_or(0), bytes.len());
            prop_assert!(bytes.len() <= maximum as usize);
            for packet in packets(&bytes, V5) {
                let Packet::Publish(publish) = packet else { panic!("a PUBLISH") };
                if let (Some(alias), Some(topic)) = (publish.properties.topic_alias, publish.topic) {
                    client.define(alias, topic);
                }
                let known = publish.properties.topic_alias.and_then(|alias| client.resolve(alias));
                let seen = publish.topic.map(|topic| topic.as_str().into()).or(known);
                prop_assert_eq!(seen.as_deref(), Some(message.topic().as_str()));
                prop_assert_eq!(publish.payload.len(), size);
            }
        }
    }
}
