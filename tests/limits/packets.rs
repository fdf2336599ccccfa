//! How large packets, and what is in them, may be.

use dunlin::packet::{
    Connect, ConnectProperties, Delivery, Packet, ProtocolVersion, QoS, SubscriptionOptions, TopicName, UserPropertiesBuf,
    encode,
};

use crate::support::Client;
use crate::support::client::{V5, V31, V311, connect, publish};
use crate::{Bounded, id};

const ALL: [ProtocolVersion; 3] = [V31, V311, V5];

fn encoded(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(packet, version, &mut bytes);
    bytes
}

/// A CONNECT of exactly so many bytes, a will making up for what is missing.
fn connect_of(size: usize, version: ProtocolVersion) -> Vec<u8> {
    let with = |payload: &[u8]| {
        let will = dunlin::packet::Will {
            topic: TopicName::new("w").unwrap(),
            payload,
            qos: QoS::AtMostOnce,
            retain: false,
            delay_interval: 0,
            message_expiry_interval: None,
            properties: Default::default(),
        };
        encoded(&Packet::Connect(Connect { client_id: "c", will: Some(will), ..connect(version) }), version)
    };
    // One byte more of Remaining Length than the short one has.
    let fill = size - with(b"").len() - 1;
    let bytes = with(&vec![b'x'; fill]);
    assert_eq!(bytes.len(), size);
    bytes
}

/// A PUBLISH of exactly so many bytes.
fn publish_of(size: usize, version: ProtocolVersion) -> Vec<u8> {
    let with = |payload: &str| encoded(&Packet::Publish(publish("t", payload, Delivery::AtLeastOnce(id(1)))), version);
    let fill = size - with("").len() - 1;
    let bytes = with(&"x".repeat(fill));
    assert_eq!(bytes.len(), size);
    bytes
}

fn expect_connack(client: &mut Client) -> u8 {
    client.expect("CONNACK", |packet| match packet {
        Packet::ConnAck(ack) => Some(ack.reason as u8),
        _ => None,
    })
}

fn expect_puback(client: &mut Client) -> u8 {
    client.expect("PUBACK", |packet| match packet {
        Packet::PubAck(ack) => Some(ack.reason as u8),
        _ => None,
    })
}

#[test]
fn max_connect_size_bounds_what_a_stranger_may_send() {
    let mut bounded = Bounded::new(r#"max_connect_size = "1KiB""#);
    for version in ALL {
        let mut client = Client::dial(bounded.address(), version);
        client.send_bytes(&connect_of(1024, version));
        assert_eq!(expect_connack(&mut client), 0);

        let mut client = Client::dial(bounded.address(), version);
        // The announcement is enough, nothing is waited for.
        client.send_bytes(&connect_of(1025, version)[..20]);
        if version == V5 {
            assert_eq!(expect_connack(&mut client), 0x95);
        }
        assert_eq!(client.expect_close(), None);
    }
    bounded.assert_hits("max_connect_size", 3);
    bounded.assert_hits("max_packet_size", 0);
    bounded.assert_bystander_unharmed();
}

#[test]
fn max_packet_size_is_told_and_held_to() {
    let mut bounded = Bounded::new(r#"max_packet_size = "2KiB""#);
    for version in ALL {
        let (mut client, told) =
            Client::connack(bounded.address(), Connect { client_id: "c", ..connect(version) }, |told| told.maximum_packet_size);
        assert_eq!(told, (version == V5).then_some(2048));
        client.send_bytes(&publish_of(2048, version));
        expect_puback(&mut client);
        client.send_bytes(&publish_of(2049, version)[..5]);
        client.expect_disconnect(0x95);
    }
    bounded.assert_hits("max_packet_size", 3);
    bounded.assert_hits("max_connect_size", 0);
    bounded.assert_bystander_unharmed();
}

#[test]
fn a_listener_may_have_its_own_packet_size() {
    let mut bounded = Bounded::with_config(
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [[listeners]]
        name = "small"
        url = "tcp://127.0.0.1:0"
        max_packet_size = "512B"
        "#,
    );
    let mut client = Client::connect(bounded.broker.listener("small"), V5, "small");
    client.send_bytes(&publish_of(512, V5));
    expect_puback(&mut client);
    client.send_bytes(&publish_of(513, V5));
    client.expect_disconnect(0x95);
    let mut client = bounded.client("large");
    client.send_bytes(&publish_of(513, V5));
    expect_puback(&mut client);
    bounded.assert_hits("max_packet_size", 1);
    bounded.assert_bystander_unharmed();
}

#[test]
fn receive_maximum_is_told_and_held_to() {
    let mut bounded = Bounded::new("receive_maximum = 2");
    let (mut client, told) = Client::connack(bounded.address(), connect(V5), |told| told.receive_maximum);
    assert_eq!(told, 2);
    let send = |client: &mut Client, number| {
        client.send(&Packet::Publish(publish("t", "x", Delivery::ExactlyOnce(id(number)))));
    };
    for number in 1..=2 {
        send(&mut client, number);
        client.expect("PUBREC", |packet| matches!(packet, Packet::PubRec(_)).then_some(()));
    }
    bounded.assert_hits("receive_maximum", 0);
    send(&mut client, 3);
    client.expect_disconnect(0x93);
    bounded.assert_hits("receive_maximum", 1);

    // An older client is not told, so it is held back, not cut.
    let mut client = Client::connect(bounded.address(), V311, "old");
    for number in 1..=20 {
        send(&mut client, number);
    }
    for _ in 1..=20 {
        client.expect("PUBREC", |packet| matches!(packet, Packet::PubRec(_)).then_some(()));
    }
    bounded.assert_hits("receive_maximum", 1);
    bounded.assert_bystander_unharmed();
}

/// What may be published, subscribed to and left behind as a will, and what not.
fn check_topics(bounded: &Bounded, longest: &str, too_long: &str) {
    for version in ALL {
        let mut client = Client::connect(bounded.address(), version, "c");
        client.subscribe(longest, QoS::AtMostOnce);
        client.publish(longest, "x", QoS::AtLeastOnce);
        client.expect_message(longest, "x");
        let refused = client.subscribe_with(too_long, SubscriptionOptions::default(), None);
        assert_eq!(refused, [if version == V5 { 0x8F } else { 0x80 }]);
        client.ping();
        client.send(&Packet::Publish(publish(too_long, "x", Delivery::AtMostOnce)));
        client.expect_disconnect(0x90);
    }
    // Last, since a will that is let in goes out when its client is dropped.
    for version in ALL {
        let with_will = |topic| {
            let will = dunlin::packet::Will {
                topic: TopicName::new(topic).unwrap(),
                payload: b"x",
                qos: QoS::AtMostOnce,
                retain: false,
                delay_interval: 0,
                message_expiry_interval: None,
                properties: Default::default(),
            };
            Client::refused(bounded.address(), Connect { client_id: "w", will: Some(will), ..connect(version) })
        };
        assert_eq!(with_will(longest), 0);
        assert_eq!(with_will(too_long), if version == V5 { 0x90 } else { 0x88 });
    }
}

#[test]
fn max_topic_levels_holds_for_topics_filters_and_wills() {
    let mut bounded = Bounded::new("max_topic_levels = 3");
    check_topics(&bounded, "a/b/c", "a/b/c/d");
    bounded.assert_hits("max_topic_levels", 9);
    bounded.assert_hits("max_topic_length", 0);
    bounded.assert_bystander_unharmed();
}

#[test]
fn max_topic_length_holds_for_topics_filters_and_wills() {
    let mut bounded = Bounded::new("max_topic_length = 10");
    check_topics(&bounded, "0123456789", "0123456789a");
    bounded.assert_hits("max_topic_length", 9);
    bounded.assert_hits("max_topic_levels", 0);
    bounded.assert_bystander_unharmed();
}

#[test]
fn topic_alias_maximum_is_told_and_held_to() {
    let mut bounded = Bounded::new("topic_alias_maximum = 3");
    let (mut client, told) = Client::connack(bounded.address(), connect(V5), |told| told.topic_alias_maximum);
    assert_eq!(told, 3);
    client.subscribe("t", QoS::AtMostOnce);
    client.publish_with("t", "named", QoS::AtMostOnce, |publish| publish.properties.topic_alias = Some(3));
    client.expect_message("t", "named");
    client.publish_with("t", "by alias", QoS::AtMostOnce, |publish| {
        publish.topic = None;
        publish.properties.topic_alias = Some(3);
    });
    client.expect_message("t", "by alias");
    client.publish_with("t", "too high", QoS::AtMostOnce, |publish| publish.properties.topic_alias = Some(4));
    client.expect_disconnect(0x94);
    bounded.assert_hits("topic_alias_maximum", 1);
    bounded.assert_bystander_unharmed();

    let mut none = Bounded::new("topic_alias_maximum = 0");
    let (mut client, told) = Client::connack(none.address(), connect(V5), |told| told.topic_alias_maximum);
    assert_eq!(told, 0);
    client.publish_with("t", "x", QoS::AtMostOnce, |publish| publish.properties.topic_alias = Some(1));
    client.expect_disconnect(0x94);
    none.assert_bystander_unharmed();
}

#[test]
fn max_topic_aliases_out_bounds_what_a_client_is_given() {
    let mut bounded = Bounded::new("max_topic_aliases_out = 2");
    for (takes, expected) in [(10, 2), (1, 1), (0, 0)] {
        let before = bounded.hits("max_topic_aliases_out");
        let properties = ConnectProperties { topic_alias_maximum: takes, ..Default::default() };
        let mut client = Client::connect_with(bounded.address(), Connect { properties, ..connect(V5) }).0;
        client.subscribe("a/topic/#", QoS::AtMostOnce);
        let mut publisher = bounded.client("publisher");
        let mut given = std::collections::BTreeSet::new();
        for number in 0..5 {
            publisher.publish(&format!("a/topic/{number}"), "x", QoS::AtMostOnce);
            given.extend(client.expect_publish(|publish| publish.properties.topic_alias));
        }
        assert_eq!(given, (1..=expected).collect(), "a client that takes {takes}");
        let hits = bounded.hits("max_topic_aliases_out") - before;
        assert_eq!(hits, if takes > 2 { 3.0 } else { 0.0 }, "a client that takes {takes}");
    }
    bounded.assert_bystander_unharmed();
}

#[test]
fn max_user_properties_bounds_each_packet() {
    let mut bounded = Bounded::new("max_user_properties = 2");
    let mut properties = UserPropertiesBuf::new();
    properties.push("a", "1");
    properties.push("a", "2");
    let mut more = properties.clone();
    more.push("a", "3");
    let connect_with = |user_properties| {
        let properties = ConnectProperties { user_properties, ..Default::default() };
        Connect { client_id: "c", properties, ..connect(V5) }
    };
    assert_eq!(Client::refused(bounded.address(), connect_with(more.as_ref())), 0x97);
    bounded.assert_hits("max_user_properties", 1);
    let mut client = Client::connect_with(bounded.address(), connect_with(properties.as_ref())).0;
    client.publish_with("t", "x", QoS::AtLeastOnce, |publish| publish.properties.user_properties = properties.as_ref());
    client.publish_with("t", "x", QoS::AtMostOnce, |publish| publish.properties.user_properties = more.as_ref());
    client.expect_disconnect(0x97);
    bounded.assert_hits("max_user_properties", 2);
    bounded.assert_bystander_unharmed();
}

#[test]
fn max_client_id_length_is_held_to() {
    let mut bounded = Bounded::new("max_client_id_length = 23");
    for version in ALL {
        crate::leave(Client::connect(bounded.address(), version, &"c".repeat(23)));
        // 3.1.1: return code 2, identifier rejected.
        assert_eq!(Client::refused(bounded.address(), Connect { client_id: &"c".repeat(24), ..connect(version) }), 0x85);
    }
    bounded.assert_hits("max_client_id_length", 3);
    bounded.assert_bystander_unharmed();
}
