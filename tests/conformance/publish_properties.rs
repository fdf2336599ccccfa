//! 3.3.2.3 PUBLISH properties, but for topic aliases.

use dunlin::packet::QoS;

use crate::steps::{acknowledge, keeping};
use crate::support::client::{V5, V311};
use crate::support::{Broker, Client};
use crate::wire::{Bystanders, packet, prefixed, publish, section, text_property, user_property};

/// [MQTT-3.3.2-4], [MQTT-3.3.2-15] to [MQTT-3.3.2-18], [MQTT-3.3.2-20]: by all ways that a message can take.
#[test]
fn properties_are_handed_on_unaltered_and_in_their_order() {
    let broker = Broker::start();
    let properties = [
        user_property("b", "1"),
        vec![0x01, 1],
        user_property("", ""),
        text_property(0x09, [0, 0xFF, 0x80, 0]),
        user_property("a", "2"),
        text_property(0x03, "text/plain; charset=é"),
        text_property(0x08, "answers/to/me"),
        user_property("b", "1"),
    ]
    .concat();
    let check = |client: &mut Client, what: &str| {
        client.expect_publish(|publish| {
            let read = &publish.properties;
            let pairs: Vec<_> = read.user_properties.iter().collect();
            assert_eq!(pairs, [("b", "1"), ("", ""), ("a", "2"), ("b", "1")], "{what}");
            assert_eq!(read.payload_format_indicator, Some(true), "{what}");
            assert_eq!(read.correlation_data, Some(&[0, 0xFF, 0x80, 0][..]), "{what}");
            assert_eq!(read.content_type, Some("text/plain; charset=é"), "{what}");
            assert_eq!(read.response_topic, Some("answers/to/me"), "{what}");
            assert_eq!((read.message_expiry_interval, read.topic_alias), (None, None), "{what}");
            assert_eq!(publish.payload, b"payload", "{what}");
        });
    };
    let mut online = Client::connect(broker.address(), V5, "online");
    online.subscribe("a", QoS::AtMostOnce);
    let (mut offline, _) = Client::connect_with(broker.address(), keeping(V5, "offline"));
    offline.subscribe("a", QoS::AtLeastOnce);
    offline.send_bytes(&[0xE0, 0]);
    offline.expect_close();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    publisher.send_bytes(&publish(0x33, V5, "a", Some(1), &properties));
    assert_eq!(publisher.expect_bytes(), [0x40, 2, 0, 1]);
    check(&mut online, "at once");
    let (mut offline, _) = Client::connect_with(broker.address(), keeping(V5, "offline"));
    check(&mut offline, "from the queue");
    let mut late = Client::connect(broker.address(), V5, "late");
    late.subscribe("a", QoS::AtMostOnce);
    check(&mut late, "retained");
    let mut old = Client::connect(broker.address(), V311, "old");
    old.subscribe("a", QoS::AtMostOnce);
    assert_eq!(old.expect_bytes(), [&[0x31, 10][..], &prefixed("a"), b"payload"].concat());
}

/// 3.3.2.3.2: an indicator of zero is no indicator, but it was there.
#[test]
fn a_payload_format_indicator_of_zero_is_handed_on() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "both");
    client.subscribe("a", QoS::AtMostOnce);
    client.send_bytes(&publish(0x30, V5, "a", None, &[0x01, 0]));
    assert_eq!(client.expect_publish(|publish| publish.properties.payload_format_indicator), Some(false));
}

/// 3.3.2.3.2, 3.3.2.3.4, [MQTT-3.3.2-8], [MQTT-3.3.4-6].
#[test]
fn values_that_publish_properties_may_not_have_close_the_connection() {
    let mut others = Bystanders::start();
    let with = |properties: &[u8]| publish(0x30, V5, "a", None, properties);
    others.refuse(
        V5,
        &[
            ("payload format indicator 2", with(&[0x01, 2]), 0x82),
            ("topic alias 0", with(&[0x23, 0, 0]), 0x94),
            ("subscription identifier", with(&[0x0B, 1]), 0x82),
            ("subscription identifier 0", with(&[0x0B, 0]), 0x82),
        ],
    );
}

/// [MQTT-3.3.2-6].
#[test]
fn the_expiry_interval_is_handed_on_less_the_time_that_the_message_has_waited() {
    let broker = Broker::start();
    let (mut client, _) = Client::connect_with(broker.address(), keeping(V5, "waiting"));
    client.subscribe("a", QoS::AtLeastOnce);
    client.send_bytes(&[0xE0, 0]);
    client.expect_close();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    publisher.publish_with("a", "x", QoS::AtLeastOnce, |packet| packet.properties.message_expiry_interval = Some(1000));
    publisher.publish_with("b", "x", QoS::AtLeastOnce, |packet| {
        packet.properties.message_expiry_interval = Some(1000);
        packet.retain = true;
    });
    publisher.publish("a", "no expiry", QoS::AtLeastOnce);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let (mut client, _) = Client::connect_with(broker.address(), keeping(V5, "waiting"));
    let left = |client: &mut Client| client.expect_publish(|publish| publish.properties.message_expiry_interval);
    assert!(left(&mut client).is_some_and(|left| (900..=999).contains(&left)), "queued");
    assert_eq!(left(&mut client), None);
    client.subscribe("b", QoS::AtMostOnce);
    assert!(left(&mut client).is_some_and(|left| (900..=999).contains(&left)), "retained");
}

/// [MQTT-3.3.2-5]: neither from a queue nor as a retained message.
#[test]
fn a_message_that_has_expired_is_not_delivered() {
    let broker = Broker::start();
    let (mut client, _) = Client::connect_with(broker.address(), keeping(V5, "waiting"));
    client.subscribe("a", QoS::AtLeastOnce);
    client.send_bytes(&[0xE0, 0]);
    client.expect_close();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    for (topic, retain) in [("a", false), ("b", true)] {
        publisher.publish_with(topic, "short", QoS::AtLeastOnce, |packet| {
            packet.properties.message_expiry_interval = Some(1);
            packet.retain = retain;
        });
    }
    publisher.publish("a", "long", QoS::AtLeastOnce);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let (mut client, _) = Client::connect_with(broker.address(), keeping(V5, "waiting"));
    let delivery = client.expect_message("a", "long");
    acknowledge(&mut client, delivery);
    client.subscribe("b", QoS::AtMostOnce);
    client.expect_nothing();
}

/// 2.2.2.1: a property section ends where its length says.
#[test]
fn a_section_that_claims_more_than_is_there_publishes_nothing() {
    let mut others = Bystanders::start();
    let claims = |length: u8| packet(0x30, &[&prefixed("bystanders"), &[length], b"\x26\0\x01n\0\x01v"]);
    others.refuse(V5, &[("one more", claims(8), 0x81), ("much more", claims(127), 0x81)]);
    let cut = packet(0x30, &[&prefixed("bystanders"), &section(b"\x26\0\x01n\0\x09v")]);
    others.refuse(V5, &[("a value that reaches out of the section", cut, 0x81)]);
}
