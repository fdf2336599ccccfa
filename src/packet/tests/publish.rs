use super::super::*;
use super::{decode_one, decoder};
use crate::packet::ProtocolVersion::{V5, V311};

const MIXED: &[u8] = b"\x32\x24\0\x03a/b\0\x05\x15\x01\x01\x02\0\0\0\x09\x26\0\x01a\0\x01b\x23\0\x07\x03\0\x01cpayload";

const PLAIN: OutgoingPublish<'static> = OutgoingPublish {
    dup: false,
    retain: false,
    delivery: Delivery::AtMostOnce,
    message_expiry_interval: None,
    subscription_identifiers: &[],
    topic_alias: None,
};

fn read(bytes: &[u8]) -> Publish<'_> {
    match decode_one(&decoder(Some(V5), Peer::Client), bytes) {
        Ok(Packet::Publish(publish)) => publish,
        other => panic!("{other:?}"),
    }
}

fn written(message: &MessageView<'_>, publish: &OutgoingPublish<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut out = Vec::new();
    let encoded = encode_publish(message, publish, version, &mut out).unwrap();
    assert_eq!(encoded.length, out.len());
    assert_eq!(encoded_publish_length(message, publish, version), out.len());
    out
}

#[test]
fn only_what_is_handed_on_reaches_the_receiver() {
    let publish = read(MIXED);
    let message = publish.view(publish.topic.unwrap());
    assert!(message.properties.mixed);
    assert_eq!(written(&message, &PLAIN, V5), b"\x30\x1A\0\x03a/b\x0D\x01\x01\x26\0\x01a\0\x01b\x03\0\x01cpayload");
    assert_eq!(written(&message, &PLAIN, V311), b"\x30\x0C\0\x03a/bpayload");
}

#[test]
fn a_kept_message_is_written_as_the_packet_it_came_in() {
    let publish = read(MIXED);
    let view = publish.view(publish.topic.unwrap());
    let message = Message::new(view, publish.delivery.qos(), publish.retain, None);
    assert_eq!(message.view(), view);
    for version in [V311, V5] {
        assert_eq!(written(&message.view(), &PLAIN, version), written(&view, &PLAIN, version));
    }
}

#[test]
fn properties_of_the_receiver_come_before_those_of_the_message() {
    let publish = read(MIXED);
    let outgoing = OutgoingPublish {
        dup: true,
        retain: true,
        delivery: Delivery::ExactlyOnce(PacketId::new(0x0102).unwrap()),
        message_expiry_interval: Some(3),
        subscription_identifiers: &[1, 128],
        topic_alias: Some((5, AliasUse::Define)),
    };
    let bytes = b"\x3D\x29\0\x03a/b\x01\x02\x1A\x02\0\0\0\x03\x23\0\x05\x0B\x01\x0B\x80\x01\
                  \x01\x01\x26\0\x01a\0\x01b\x03\0\x01cpayload";
    assert_eq!(written(&publish.view(publish.topic.unwrap()), &outgoing, V5), bytes);
}

#[test]
fn an_alias_stands_for_the_topic_in_version_5_only() {
    let message =
        MessageView { topic: TopicName::new("a/b").unwrap(), properties: ForwardedProperties::default(), payload: b"x" };
    let refer = OutgoingPublish { topic_alias: Some((1, AliasUse::Refer)), ..PLAIN };
    assert_eq!(written(&message, &refer, V5), b"\x30\x07\0\0\x03\x23\0\x01x");
    assert_eq!(written(&message, &refer, V311), b"\x30\x06\0\x03a/bx");
}

#[test]
fn a_copy_is_patched_where_the_identifier_is() {
    let message =
        MessageView { topic: TopicName::new("a/b").unwrap(), properties: ForwardedProperties::default(), payload: &[7; 200] };
    let publish = OutgoingPublish { delivery: Delivery::AtLeastOnce(PacketId::FIRST), ..PLAIN };
    for version in [V311, V5] {
        let mut out = b"packets before it".to_vec();
        let start = out.len();
        let encoded = encode_publish(&message, &publish, version, &mut out).unwrap();
        let at = start + encoded.packet_id_at.unwrap();
        out[at..at + 2].copy_from_slice(&[0xAB, 0xCD]);
        let patched = OutgoingPublish { delivery: Delivery::AtLeastOnce(PacketId::new(0xABCD).unwrap()), ..PLAIN };
        assert_eq!(out[start..], written(&message, &patched, version));
        assert_eq!(encode_publish(&message, &PLAIN, version, &mut out).unwrap().packet_id_at, None);
    }
}

#[test]
fn a_head_and_its_payload_are_the_whole_packet() {
    let publish = read(MIXED);
    let message = publish.view(publish.topic.unwrap());
    let mut head = Vec::new();
    let encoded = encode_publish_head(&message, &PLAIN, V5, &mut head).unwrap();
    head.extend_from_slice(message.payload);
    assert_eq!(head, written(&message, &PLAIN, V5));
    assert_eq!(encoded.length, head.len());
}

#[test]
fn user_properties_are_read_whatever_lies_between_them() {
    let publish = read(b"\x30\x1B\0\x01a\x16\x26\0\x01a\0\x011\x02\0\0\0\x09\x26\0\x01b\0\0\x03\0\x01cx");
    let pairs: Vec<_> = publish.properties.user_properties.iter().collect();
    assert_eq!(pairs, [("a", "1"), ("b", "")]);
    let message = publish.view(publish.topic.unwrap());
    assert_eq!(message.properties.user_properties().iter().collect::<Vec<_>>(), pairs);
}
