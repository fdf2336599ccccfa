//! 3.3 PUBLISH: flags, topics, acknowledgements, and who gets what. Retained messages and properties have files of their own.

use dunlin::packet::{Delivery, Packet, QoS, Subscribe, SubscriptionOptions, TopicFilter, UserProperties};

use crate::steps::{acknowledge, keeping, lose, next_message};
use crate::support::client::{V5, V31, V311};
use crate::support::{Broker, Client};
use crate::wire::{Bystanders, packet, publish, text_property};

/// [MQTT-3.3.1-1], [MQTT3-3.3.1-1]; a first delivery has it unset.
#[test]
fn dup_is_set_on_messages_that_are_sent_again_and_only_on_those() {
    let mut broker = Broker::start();
    for (version, name) in [(V311, "again4"), (V5, "again5")] {
        let (mut client, _) = Client::connect_with(broker.address(), keeping(version, name));
        client.subscribe("a", QoS::ExactlyOnce);
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        publisher.publish("a", "1", QoS::AtLeastOnce);
        publisher.publish("a", "2", QoS::ExactlyOnce);
        let first = [next_message(&mut client), next_message(&mut client)];
        assert!(first.iter().all(|(_, _, dup)| !dup), "{first:?}");
        lose(&mut broker, client, name);
        publisher.publish("a", "3", QoS::AtLeastOnce);
        let (mut client, _) = Client::connect_with(broker.address(), keeping(version, name));
        for (payload, delivery, _) in first {
            assert_eq!(next_message(&mut client), (payload, delivery, true));
        }
        assert!(!next_message(&mut client).2, "it was not sent before");
        client.send_bytes(&[0xE0, 0]);
        client.expect_close();
    }
}

/// [MQTT-3.3.1-2], [MQTT3-3.3.1-2]; [MQTT-3.3.1-4], [MQTT3-3.3.1-4].
#[test]
fn dup_at_qos_0_and_qos_3_are_malformed() {
    let mut others = Bystanders::start();
    for version in [V5, V311] {
        others.refuse(
            version,
            &[
                ("DUP at QoS 0", publish(0x38, version, "a", None, &[]), 0x81),
                ("DUP and RETAIN at QoS 0", publish(0x39, version, "a", None, &[]), 0x81),
                ("QoS 3", publish(0x36, version, "a", Some(1), &[]), 0x81),
                ("QoS 3 and DUP", publish(0x3E, version, "a", Some(1), &[]), 0x81),
            ],
        );
    }
}

/// [MQTT-3.3.1-3], [MQTT3-3.3.1-3]: the publisher repeats itself, the subscriber hears it for the first time.
#[test]
fn dup_is_not_handed_on() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    for version in [V311, V5] {
        let mut subscriber = Client::connect(broker.address(), version, "subscriber");
        subscriber.subscribe("a", QoS::ExactlyOnce);
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            publisher.publish_with("a", "x", qos, |packet| packet.dup = true);
            let (_, delivery, dup) = next_message(&mut subscriber);
            assert!(!dup);
            acknowledge(&mut subscriber, delivery);
        }
    }
}

/// [MQTT-4.3.3-10]: the same identifier before PUBREL is the same message.
#[test]
fn a_qos_2_publish_that_is_repeated_is_delivered_once() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let mut subscriber = Client::connect(broker.address(), V5, "subscriber");
        subscriber.subscribe("a", QoS::AtMostOnce);
        let mut publisher = Client::connect(broker.address(), version, "publisher");
        for first in [0x34, 0x3C, 0x3C] {
            publisher.send_bytes(&publish(first, version, "a", Some(5), &[]));
            assert_eq!(publisher.expect_bytes(), [0x50, 2, 0, 5]);
        }
        subscriber.expect_message("a", "payload");
        subscriber.expect_nothing();
    }
}

/// [MQTT-3.3.2-2], [MQTT-3.3.2-14], [MQTT3-3.3.2-2], 3.3.2.1.
#[test]
fn topics_that_are_no_topic_names_close_the_connection() {
    let mut others = Bystanders::start();
    for version in [V5, V311] {
        for topic in ["#", "+", "a/+", "a/#", "a+b", "a/#/b", "bystanders/+"] {
            others.refuse(version, &[(topic, publish(0x30, version, topic, None, &[]), 0x90)]);
            others.refuse(version, &[(topic, publish(0x33, version, topic, Some(1), &[]), 0x90)]);
        }
        others.refuse(version, &[("empty", publish(0x30, version, "", None, &[]), 0x82)]);
    }
    for topic in ["#", "a/+", ""] {
        let with_response = publish(0x30, V5, "a", None, &text_property(0x08, topic));
        others.refuse(V5, &[("response topic", with_response, 0x90)]);
    }
}

/// [MQTT-3.3.2-3], [MQTT3-3.3.2-3]: also under a filter that matches much.
#[test]
fn a_message_arrives_under_the_topic_that_it_was_published_to() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    for version in [V31, V311, V5] {
        let mut subscriber = Client::connect(broker.address(), version, "subscriber");
        subscriber.subscribe("+/b/#", QoS::AtMostOnce);
        for topic in ["a/b", "a/b/c", "/b", "x/b/", "a/b//d", "é/b/$x"] {
            publisher.publish(topic, topic, QoS::AtMostOnce);
            subscriber.expect_message(topic, topic);
        }
        for topic in ["a", "b", "a/c/b", "$a/b", "A/B"] {
            publisher.publish(topic, topic, QoS::AtLeastOnce);
        }
        subscriber.expect_nothing();
    }
}

/// [MQTT-3.3.4-1], [MQTT3-3.3.4-1]; of what nobody wants 5.0 is told so.
#[test]
fn every_publish_is_acknowledged_as_its_qos_asks() {
    let broker = Broker::start();
    let mut subscriber = Client::connect(broker.address(), V311, "subscriber");
    subscriber.subscribe("a", QoS::AtMostOnce);
    for (version, unwanted) in [(V31, 0), (V311, 0), (V5, 0x10)] {
        let mut client = Client::connect(broker.address(), version, "publisher");
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            assert_eq!(client.publish("a", "x", qos), 0);
            assert_eq!(client.publish("nobody", "x", qos), unwanted);
        }
        client.publish("a", "x", QoS::AtMostOnce);
        client.expect_nothing();
    }
}

/// Subscribes in one packet with this identifier.
fn subscribe_as(client: &mut Client, identifier: Option<u32>, filters: &[(&str, QoS)]) {
    let packet_id = client.packet_id();
    let filters = filters
        .iter()
        .map(|(filter, qos)| {
            (TopicFilter::new(filter).expect("a filter"), SubscriptionOptions { qos: *qos, ..Default::default() })
        })
        .collect();
    let user_properties = UserProperties::default();
    client.send(&Packet::Subscribe(Subscribe { packet_id, subscription_identifier: identifier, user_properties, filters }));
    client.expect("SUBACK", |packet| matches!(packet, Packet::SubAck(ack) if ack.packet_id == packet_id).then_some(()));
}

/// [MQTT-3.3.4-2] to [MQTT-3.3.4-5], [MQTT3-3.3.5-1]: once for all that overlap, with the highest QoS and every identifier; or once
/// for each.
#[test]
fn overlapping_subscriptions_deliver_with_the_highest_qos_and_all_identifiers() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    for version in [V311, V5] {
        let mut client = Client::connect(broker.address(), version, "overlap");
        let identifier = |number: u32| (version == V5).then_some(number);
        subscribe_as(&mut client, identifier(1), &[("a/#", QoS::AtMostOnce)]);
        subscribe_as(&mut client, identifier(268_435_455), &[("a/+", QoS::AtLeastOnce), ("+/b", QoS::AtMostOnce)]);
        subscribe_as(&mut client, None, &[("a/b", QoS::AtMostOnce)]);
        publisher.publish("a/b", "x", QoS::ExactlyOnce);
        let (delivery, mut identifiers) =
            client.expect_publish(|publish| (publish.delivery, publish.properties.subscription_identifiers.to_vec()));
        acknowledge(&mut client, delivery);
        client.expect_nothing();
        identifiers.sort_unstable();
        identifiers.dedup();
        let expected: &[u32] = if version == V5 { &[1, 268_435_455] } else { &[] };
        assert_eq!((delivery.qos(), &identifiers[..]), (QoS::AtLeastOnce, expected));
        publisher.publish("a/b/c", "x", QoS::AtMostOnce);
        let expected: &[u32] = if version == V5 { &[1] } else { &[] };
        client.expect_publish(|publish| assert_eq!(publish.properties.subscription_identifiers[..], *expected));
    }
}

/// [MQTT-3.3.4-3], 3.3.4: also what is retained or waits, and also where the subscription is a shared one.
#[test]
fn subscription_identifiers_come_with_every_message_of_their_subscription() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    publisher.retain("a", "retained");
    let (mut client, _) = Client::connect_with(broker.address(), keeping(V5, "identified"));
    subscribe_as(&mut client, Some(9), &[("$share/group/b", QoS::AtMostOnce)]);
    subscribe_as(&mut client, Some(7), &[("a", QoS::AtLeastOnce)]);
    let identifiers = |client: &mut Client, payload: &str| {
        client.expect_publish(|publish| {
            assert_eq!(publish.payload, payload.as_bytes());
            (publish.delivery, publish.properties.subscription_identifiers.to_vec())
        })
    };
    let (delivery, seen) = identifiers(&mut client, "retained");
    assert_eq!(seen, [7]);
    acknowledge(&mut client, delivery);
    publisher.publish("b", "shared", QoS::AtMostOnce);
    assert_eq!(identifiers(&mut client, "shared").1, [9]);
    client.send_bytes(&[0xE0, 0]);
    client.expect_close();
    publisher.publish("a", "waiting", QoS::AtLeastOnce);
    let (mut client, _) = Client::connect_with(broker.address(), keeping(V5, "identified"));
    assert_eq!(identifiers(&mut client, "waiting").1, [7]);
}

/// [MQTT-3.3.4-7], [MQTT-3.3.4-8], 4.9: what has been answered does not count.
#[test]
fn more_messages_under_way_than_the_servers_receive_maximum_close_the_connection() {
    let broker =
        Broker::with_config("[[listeners]]\nname = \"a\"\nurl = \"tcp://127.0.0.1:0\"\n[limits]\nreceive_maximum = 3\n");
    let mut client = Client::connect(broker.address(), V5, "eager");
    for number in 1..=3 {
        client.send_bytes(&publish(0x34, V5, "nobody", Some(number), &[]));
        client.expect_bytes();
    }
    // Three wait for PUBREL; other packets are not counted, and a refused or completed exchange is over.
    for number in 1..20 {
        client.publish("nobody", "x", QoS::AtMostOnce);
        client.send_bytes(&packet(0x62, &[&[0, number % 3 + 1]]));
        client.expect_bytes();
        client.send_bytes(&publish(0x34, V5, "nobody", Some(u16::from(number % 3 + 1)), &[]));
        client.expect_bytes();
    }
    client.send_bytes(&publish(0x32, V5, "nobody", Some(9), &[]));
    client.expect_disconnect(0x93);
}

/// Older versions have no such bound: they are read no further until they are answered.
#[test]
fn older_clients_may_have_as_many_messages_under_way_as_they_like() {
    let broker =
        Broker::with_config("[[listeners]]\nname = \"a\"\nurl = \"tcp://127.0.0.1:0\"\n[limits]\nreceive_maximum = 3\n");
    let mut client = Client::connect(broker.address(), V311, "eager");
    for number in 1..=100 {
        client.send_bytes(&publish(0x34, V311, "nobody", Some(number), &[]));
    }
    for number in 1..=100 {
        assert_eq!(client.expect_bytes(), [0x50, 2, 0, number]);
    }
}

/// [MQTT-4.13.1-1], 3.3.4: an offending packet behind good ones takes nothing of them back, and nothing after it counts.
#[test]
fn packets_before_a_malformed_one_count_and_those_behind_it_do_not() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let mut subscriber = Client::connect(broker.address(), V5, "subscriber");
        subscriber.subscribe("#", QoS::AtMostOnce);
        let mut client = Client::connect(broker.address(), version, "offender");
        let good = publish(0x32, version, "good", Some(1), &[]);
        let bad = publish(0x36, version, "bad", Some(2), &[]);
        client.send_bytes(&[good, bad, publish(0x30, version, "behind", None, &[])].concat());
        assert_eq!(client.expect_bytes(), [0x40, 2, 0, 1]);
        client.expect_disconnect(0x81);
        subscriber.expect_message("good", "payload");
        subscriber.expect_nothing();
    }
}

/// 3.3.3: a payload may be anything, and nothing at all.
#[test]
fn payloads_are_handed_on_whatever_they_are() {
    let broker = Broker::start();
    let all: Vec<u8> = (0..=255).collect();
    for version in [V31, V311, V5] {
        let mut client = Client::connect(broker.address(), version, "payloads");
        client.subscribe("a", QoS::AtMostOnce);
        for payload in [&b""[..], b"\0", &all, &all.repeat(1000)] {
            let mut packet = crate::support::client::publish("a", "", Delivery::AtMostOnce);
            packet.payload = payload;
            client.send(&Packet::Publish(packet));
            client.expect_publish(|publish| assert!(publish.payload == payload, "{} bytes", payload.len()));
        }
    }
}

/// 4.5, [MQTT-4.5.0-1]: to every subscription that matches, those of the publisher too.
#[test]
fn publishers_get_their_own_messages_if_they_subscribe_to_them() {
    let broker = Broker::start();
    for version in [V31, V311, V5] {
        let mut client = Client::connect(broker.address(), version, "self");
        client.subscribe("a", QoS::ExactlyOnce);
        for (first, answer) in [(0x30, None), (0x32, Some(0x40)), (0x34, Some(0x50))] {
            client.send_bytes(&publish(first, version, "a", (first > 0x30).then_some(7), &[]));
            if let Some(answer) = answer {
                assert_eq!(client.expect_bytes(), [answer, 2, 0, 7]);
            }
            assert_eq!(client.expect_message("a", "payload").qos() as u8, (first & 6) >> 1);
        }
    }
}
