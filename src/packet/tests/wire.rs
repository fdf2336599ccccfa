use super::super::*;
use super::decode_one;
use super::wire_cases::wire_cases;

#[test]
fn every_case_of_the_table_is_read() {
    for case in wire_cases() {
        match decode_one(&case.decoder(), case.bytes) {
            Ok(packet) => assert_eq!(packet, case.packet, "{} {}", case.packet.packet_type(), case.name),
            Err(error) => panic!("{} {}: {error}", case.packet.packet_type(), case.name),
        }
    }
}

#[test]
fn every_case_of_the_table_is_written() {
    for case in wire_cases().into_iter().filter(|case| case.written) {
        let mut out = b"before".to_vec();
        encode(&case.packet, case.version, &mut out);
        assert_eq!(out[6..], *case.bytes, "{} {}", case.packet.packet_type(), case.name);
    }
}

#[test]
fn a_packet_that_is_not_whole_is_waited_for() {
    for case in wire_cases() {
        for length in 0..case.bytes.len() {
            assert_eq!(
                case.decoder().decode(&case.bytes[..length]),
                Ok(None),
                "{} {} at {length}",
                case.packet.packet_type(),
                case.name
            );
        }
    }
}

#[test]
fn what_follows_a_packet_is_left_alone() {
    for case in wire_cases() {
        let bytes = [case.bytes, b"\xFF\xFF\xFF\xFF\xFF"].concat();
        let (packet, length) = case.decoder().decode(&bytes).unwrap().unwrap();
        assert_eq!((packet, length), (case.packet.clone(), case.bytes.len()), "{}", case.name);
        assert_eq!(case.decoder().frame_length(&bytes), Ok(Some(length)));
    }
}

#[test]
fn a_packet_cut_short_inside_is_never_read_past_its_end() {
    for case in wire_cases() {
        let (first, body) = (case.bytes[0], &case.bytes[2..]);
        for length in 0..body.len() {
            let cut = [&[first, length as u8], &body[..length]].concat();
            // Some cuts leave a packet with fewer fields; none may panic or read past its end.
            if let Ok(read) = case.decoder().decode(&cut) {
                assert_eq!(read.unwrap().1, cut.len(), "{}", case.name);
            }
        }
    }
}

#[test]
fn the_refusal_speaks_the_language_of_the_connect() {
    for (bytes, version) in [
        (&b"\x10\x0F\0\x06MQIsdp\x03"[..], Some(ProtocolVersion::V31)),
        (b"\x10\x0F\0\x06MQIsdp\x04", Some(ProtocolVersion::V311)),
        (b"\x10\x0D\0\x04MQTT\x04", Some(ProtocolVersion::V311)),
        (b"\x10\x0D\0\x04MQTT\x03", Some(ProtocolVersion::V311)),
        (b"\x10\x0D\0\x04MQTT\x84", Some(ProtocolVersion::V311)),
        (b"\x10\x0D\0\x04MQTT\x05", Some(ProtocolVersion::V5)),
        (b"\x10\x0D\0\x04MQTT\x06", Some(ProtocolVersion::V5)),
        (b"\x1F\xFF\xFF\xFF\x7F\0\x04MQTT\x05", Some(ProtocolVersion::V5)),
        (b"\x10\x0D\0\x04MQTT", None),
        (b"\x10\x0D\0\x04HTTP\x05", None),
        (b"\x30\x0D\0\x04MQTT\x05", None),
        (b"GET / HTTP/1.1\r\n", None),
        (b"", None),
    ] {
        assert_eq!(connect_version(bytes), version, "{bytes:?}");
    }
}

#[test]
fn a_server_is_understood_before_its_version_is_known() {
    let decoder = super::decoder(None, Peer::Server);
    for case in wire_cases().into_iter().filter(|case| matches!(case.packet, Packet::ConnAck(_))) {
        assert_eq!(decode_one(&decoder, case.bytes), Ok(case.packet));
    }
}

#[test]
fn a_second_connect_is_read_and_left_to_the_session() {
    let decoder = super::decoder(Some(ProtocolVersion::V311), Peer::Client);
    let bytes = b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01c";
    assert!(matches!(decode_one(&decoder, bytes), Ok(Packet::Connect(_))));
}

#[test]
fn older_clients_get_no_properties_and_codes_that_they_know() {
    let user_properties = {
        let mut buf = UserPropertiesBuf::new();
        buf.push("a", "b");
        buf
    };
    let ack = PublishAck {
        reason_string: Some("why"),
        user_properties: user_properties.as_ref(),
        ..PublishAck::new(PacketId::FIRST, PublishReason::QuotaExceeded)
    };
    let connack = ConnAck {
        session_present: false,
        reason: ConnectReason::Banned,
        properties: ConnAckProperties { topic_alias_maximum: 7, ..Default::default() },
    };
    let suback = SubAck {
        packet_id: PacketId::FIRST,
        reason_string: Some("why"),
        user_properties: user_properties.as_ref(),
        reasons: vec![SubscribeReason::GrantedQos2, SubscribeReason::QuotaExceeded],
    };
    let unsuback = UnsubAck {
        packet_id: PacketId::FIRST,
        reason_string: None,
        user_properties: UserProperties::default(),
        reasons: vec![UnsubscribeReason::NoSubscriptionExisted],
    };
    for (packet, bytes) in [
        (Packet::PubAck(ack), &b"\x40\x02\0\x01"[..]),
        (Packet::PubRec(ack), b"\x50\x02\0\x01"),
        (Packet::ConnAck(connack), b"\x20\x02\0\x05"),
        (Packet::SubAck(suback), b"\x90\x04\0\x01\x02\x80"),
        (Packet::UnsubAck(unsuback), b"\xB0\x02\0\x01"),
        (Packet::Disconnect(Disconnect::new(DisconnectReason::ServerBusy)), b"\xE0\0"),
        (Packet::Auth(Auth::new(AuthReason::ContinueAuthentication)), b""),
    ] {
        for version in [ProtocolVersion::V31, ProtocolVersion::V311] {
            let mut out = Vec::new();
            encode(&packet, version, &mut out);
            assert_eq!(out, bytes, "{packet:?}");
        }
    }
    let mut out = Vec::new();
    let resumed = ConnAck { session_present: true, reason: ConnectReason::Success, properties: ConnAckProperties::default() };
    encode(&Packet::ConnAck(resumed), ProtocolVersion::V31, &mut out);
    assert_eq!(out, b"\x20\x02\0\0", "3.1 has no session present flag");
}
