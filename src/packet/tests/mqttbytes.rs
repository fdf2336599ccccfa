//! Against a codec that we did not write, where that one is right.

use bytes::{Bytes, BytesMut};
use mqttbytes::{QoS as TheirQoS, v4, v5};

use super::super::*;
use super::wire_cases::{WireCase, wire_cases};
use super::{decode_one, decoder};
use crate::packet::ProtocolVersion::{V5, V31, V311};

/// Where mqttbytes 0.6 strays from the specification.
fn is_beyond_mqttbytes(case: &WireCase) -> bool {
    match &case.packet {
        _ if case.version == V31 => true,
        Packet::Auth(_) => true,
        // Passwords are text to it.
        Packet::Connect(connect) => connect.password.is_some(),
        // It leaves the property length out.
        Packet::ConnAck(connack) => case.version == V5 && connack.properties == ConnAckProperties::default(),
        // Of several identifiers it makes properties that nobody can read.
        Packet::Publish(publish) => publish.properties.subscription_identifiers.len() > 1,
        // It does not know the short forms.
        Packet::Disconnect(disconnect) => case.version == V5 && *disconnect == Disconnect::new(disconnect.reason),
        _ => false,
    }
}

#[test]
fn what_it_makes_of_our_packets_we_read_as_the_same() {
    let (mut compared, mut differing) = (0, Vec::new());
    for case in wire_cases().into_iter().filter(|case| !is_beyond_mqttbytes(case)) {
        let mut ours = Vec::new();
        encode(&case.packet, case.version, &mut ours);
        let same = through_mqttbytes(&ours, case.version).and_then(|theirs| {
            let read = decode_one(&case.decoder(), &theirs).map_err(|error| error.to_string())?;
            if plain(read.clone()) == plain(case.packet.clone()) { Ok(()) } else { Err(format!("{read:?}")) }
        });
        compared += 1;
        differing.extend(same.err().map(|why| format!("{} {}: {why}", case.packet.packet_type(), case.name)));
    }
    assert!(differing.is_empty(), "{differing:#?}");
    assert!(compared > 30, "{compared}");
}

/// Both keep User Properties and the rest in an order of their own.
fn plain(packet: Packet<'_>) -> Packet<'_> {
    match packet {
        Packet::Publish(mut publish) => {
            publish.properties.forwarded = ForwardedProperties::default();
            Packet::Publish(publish)
        }
        packet => packet,
    }
}

/// Reads bytes with their reader and writes what came of it with their writer.
fn through_mqttbytes(bytes: &[u8], version: ProtocolVersion) -> Result<Vec<u8>, String> {
    let mut stream = BytesMut::from(bytes);
    let mut out = BytesMut::new();
    let written = if version == V5 {
        use v5::Packet::*;
        match v5::read(&mut stream, 10_000).map_err(|error| format!("{error:?}"))? {
            Connect(packet) => packet.write(&mut out),
            ConnAck(packet) => packet.write(&mut out),
            Publish(packet) => packet.write(&mut out),
            PubAck(packet) => packet.write(&mut out),
            PubRec(packet) => packet.write(&mut out),
            PubRel(packet) => packet.write(&mut out),
            PubComp(packet) => packet.write(&mut out),
            Subscribe(packet) => packet.write(&mut out),
            SubAck(packet) => packet.write(&mut out),
            Unsubscribe(packet) => packet.write(&mut out),
            UnsubAck(packet) => packet.write(&mut out),
            PingReq => v5::PingReq.write(&mut out),
            PingResp => v5::PingResp.write(&mut out),
            Disconnect(packet) => packet.write(&mut out),
        }
    } else {
        use v4::Packet::*;
        match v4::read(&mut stream, 10_000).map_err(|error| format!("{error:?}"))? {
            Connect(packet) => packet.write(&mut out),
            ConnAck(packet) => packet.write(&mut out),
            Publish(packet) => packet.write(&mut out),
            PubAck(packet) => packet.write(&mut out),
            PubRec(packet) => packet.write(&mut out),
            PubRel(packet) => packet.write(&mut out),
            PubComp(packet) => packet.write(&mut out),
            Subscribe(packet) => packet.write(&mut out),
            SubAck(packet) => packet.write(&mut out),
            Unsubscribe(packet) => packet.write(&mut out),
            UnsubAck(packet) => packet.write(&mut out),
            PingReq => v4::PingReq.write(&mut out),
            PingResp => v4::PingResp.write(&mut out),
            Disconnect => v4::Disconnect.write(&mut out),
        }
    };
    written.map_err(|error| format!("{error:?}"))?;
    assert!(stream.is_empty(), "it took the whole packet");
    Ok(out.to_vec())
}

#[test]
fn it_finds_our_fields_where_it_expects_them() {
    let properties = b"\x01\x01\x08\0\x01r\x09\0\x02\0\x01\x26\0\x01a\0\x01b";
    let message = MessageView {
        topic: TopicName::new("a/é").unwrap(),
        properties: ForwardedProperties::read(properties).unwrap(),
        payload: b"payload",
    };
    let publish = OutgoingPublish {
        dup: true,
        retain: true,
        delivery: Delivery::AtLeastOnce(PacketId::new(300).unwrap()),
        message_expiry_interval: Some(70_000),
        subscription_identifiers: &[300],
        topic_alias: Some((2, AliasUse::Define)),
    };
    let mut out = Vec::new();
    encode_publish(&message, &publish, V5, &mut out).unwrap();
    let expected = v5::Publish {
        dup: true,
        qos: TheirQoS::AtLeastOnce,
        retain: true,
        topic: "a/é".to_owned(),
        pkid: 300,
        properties: Some(v5::PublishProperties {
            payload_format_indicator: Some(1),
            message_expiry_interval: Some(70_000),
            topic_alias: Some(2),
            response_topic: Some("r".to_owned()),
            correlation_data: Some(Bytes::from_static(b"\0\x01")),
            user_properties: vec![("a".to_owned(), "b".to_owned())],
            subscription_identifiers: vec![300],
            content_type: None,
        }),
        payload: Bytes::from_static(b"payload"),
    };
    assert_eq!(v5::read(&mut BytesMut::from(&out[..]), 10_000), Ok(v5::Packet::Publish(expected)));

    out.clear();
    encode_publish(&message, &publish, V311, &mut out).unwrap();
    let Ok(v4::Packet::Publish(read)) = v4::read(&mut BytesMut::from(&out[..]), 10_000) else { panic!("no PUBLISH") };
    assert_eq!((read.topic.as_str(), read.pkid, read.dup, read.retain), ("a/é", 300, true, true));
    assert_eq!(&read.payload[..], b"payload");
}

#[test]
fn we_find_its_fields_where_we_expect_them() {
    let mut connect = v4::Connect::new("client");
    connect.set_login("user", "secret");
    connect.keep_alive = 33;
    connect.last_will = Some(v4::LastWill::new("will/topic", "gone", TheirQoS::ExactlyOnce, true));
    let mut out = BytesMut::new();
    connect.write(&mut out).unwrap();
    let Ok(Packet::Connect(read)) = decode_one(&decoder(None, Peer::Client), &out) else { panic!("no CONNECT") };
    assert_eq!((read.version, read.client_id, read.keep_alive, read.clean_start), (V311, "client", 33, true));
    assert_eq!((read.username, read.password), (Some("user"), Some(&b"secret"[..])));
    let will = read.will.unwrap();
    assert_eq!(
        (will.topic.as_str(), will.payload, will.qos, will.retain),
        ("will/topic", &b"gone"[..], QoS::ExactlyOnce, true)
    );

    let mut filter = v5::SubscribeFilter::new("a/#".to_owned(), TheirQoS::AtLeastOnce);
    filter.set_nolocal(true).set_preserve_retain(true).set_retain_forward_rule(v5::RetainForwardRule::Never);
    let mut subscribe = v5::Subscribe::new_many([filter]);
    subscribe.pkid = 77;
    subscribe.properties = Some(v5::SubscribeProperties { id: Some(99), user_properties: Vec::new() });
    let mut out = BytesMut::new();
    subscribe.write(&mut out).unwrap();
    let expected = Subscribe {
        packet_id: PacketId::new(77).unwrap(),
        subscription_identifier: Some(99),
        user_properties: UserProperties::default(),
        filters: vec![(
            TopicFilter::new("a/#").unwrap(),
            SubscriptionOptions {
                qos: QoS::AtLeastOnce,
                no_local: true,
                retain_as_published: true,
                retain_handling: RetainHandling::DoNotSend,
            },
        )],
    };
    assert_eq!(decode_one(&decoder(Some(V5), Peer::Client), &out), Ok(Packet::Subscribe(expected)));
}
