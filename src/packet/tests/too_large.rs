use super::super::*;
use super::decoder;
use super::wire_cases::{id, wire_cases};
use crate::packet::ProtocolVersion::V5;

/// Puts a reason string and a user property into every packet that may leave them out.
fn packets(user_properties: UserProperties<'_>) -> Vec<Packet<'_>> {
    let reason_string = Some("why");
    let ack = PublishAck { reason_string, user_properties, ..PublishAck::new(id(1), PublishReason::QuotaExceeded) };
    let release = Release { reason_string, user_properties, ..Release::new(id(1), ReleaseReason::PacketIdentifierNotFound) };
    let connack = ConnAck {
        session_present: false,
        reason: ConnectReason::Success,
        properties: ConnAckProperties { reason_string, user_properties, ..Default::default() },
    };
    let suback = SubAck { packet_id: id(1), reason_string, user_properties, reasons: vec![SubscribeReason::GrantedQos0] };
    let unsuback = UnsubAck { packet_id: id(1), reason_string, user_properties, reasons: vec![UnsubscribeReason::Success] };
    let disconnect = Disconnect { reason_string, user_properties, ..Disconnect::new(DisconnectReason::ServerBusy) };
    let auth = Auth {
        reason_string,
        user_properties,
        authentication_method: Some("m"),
        ..Auth::new(AuthReason::ContinueAuthentication)
    };
    vec![
        Packet::ConnAck(connack),
        Packet::PubAck(ack),
        Packet::PubRec(ack),
        Packet::PubRel(release),
        Packet::PubComp(release),
        Packet::SubAck(suback),
        Packet::UnsubAck(unsuback),
        Packet::Disconnect(disconnect),
        Packet::Auth(auth),
    ]
}

#[test]
fn what_explains_is_left_out_before_the_packet_is_given_up() {
    let mut buf = UserPropertiesBuf::new();
    buf.push("name", "value");
    for packet in packets(buf.as_ref()) {
        let mut whole = Vec::new();
        encode(&packet, V5, &mut whole);
        let mut lengths = Vec::new();
        for maximum in (1..=whole.len() as u32).rev() {
            let mut out = Vec::new();
            match encode_within(&packet, V5, Some(maximum), &mut out) {
                Ok(()) => {
                    assert!(!out.is_empty() && out.len() <= maximum as usize);
                    let (read, _) = decoder(Some(V5), Peer::Server).decode(&out).unwrap().unwrap();
                    assert_eq!(read.packet_type(), packet.packet_type());
                }
                Err(PacketTooLarge) => assert_eq!(out, b"", "nothing is written"),
            }
            lengths.push(out.len());
        }
        lengths.dedup();
        // Whole, without user properties, without the reason string, not at all.
        assert_eq!(lengths.len(), 4, "{packet:?}: {lengths:?}");
        assert_eq!(lengths[0] - lengths[1], 1 + 2 + 4 + 2 + 5, "{packet:?}");
    }
}

#[test]
fn properties_that_are_not_ours_are_never_left_out() {
    for case in wire_cases() {
        let (Packet::Connect(_) | Packet::Publish(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_)) = case.packet else {
            continue;
        };
        let mut whole = Vec::new();
        encode(&case.packet, case.version, &mut whole);
        let length = whole.len() as u32;
        let mut out = Vec::new();
        assert_eq!(encode_within(&case.packet, case.version, Some(length - 1), &mut out), Err(PacketTooLarge));
        assert_eq!(out, b"");
        assert_eq!(encode_within(&case.packet, case.version, Some(length), &mut out), Ok(()));
        assert_eq!(out, whole);
    }
}

#[test]
fn a_plain_ack_of_four_bytes_needs_four() {
    let ack = Packet::PubAck(PublishAck::new(id(1), PublishReason::Success));
    let mut out = Vec::new();
    assert_eq!(encode_within(&ack, V5, Some(3), &mut out), Err(PacketTooLarge));
    assert_eq!(encode_within(&ack, V5, Some(4), &mut out), Ok(()));
    assert_eq!(out, b"\x40\x02\0\x01");
}

#[test]
fn a_publish_longer_than_any_remaining_length_is_refused() {
    let payload = vec![0; VARINT_MAX as usize];
    let message = MessageView {
        topic: TopicName::new("a").unwrap(),
        properties: ForwardedProperties::default(),
        payload: &payload[..VARINT_MAX as usize - 3],
    };
    let publish = OutgoingPublish {
        dup: false,
        retain: false,
        delivery: Delivery::AtMostOnce,
        message_expiry_interval: None,
        subscription_identifiers: &[],
        topic_alias: None,
    };
    let mut out = Vec::new();
    assert!(encode_publish_head(&message, &publish, ProtocolVersion::V311, &mut out).is_ok());
    assert_eq!(out, b"\x30\xFF\xFF\xFF\x7F\0\x01a");
    out.clear();
    assert_eq!(encode_publish_head(&message, &publish, V5, &mut out), Err(PacketTooLarge), "one byte more for the properties");
    assert_eq!(encode_publish(&message, &publish, V5, &mut out), Err(PacketTooLarge));
    assert_eq!(out, b"");
}
