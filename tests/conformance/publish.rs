//! 3.3 PUBLISH: its flags, retained messages, properties, topics, and who gets what.

use dunlin::packet::{
    Connect, ConnectProperties, Delivery, Packet, QoS, RetainHandling, Subscribe, SubscriptionOptions, TopicFilter,
    UserProperties,
};

use crate::steps::{keeping, lose, next_message};
use crate::support::client::{V5, V31, V311, connect};
use crate::support::{Broker, Client};
use crate::wire::{Bystanders, packet, prefixed, publish, section, text_property, user_property};

const ALL_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// Acknowledges a message as its QoS asks.
fn acknowledge(client: &mut Client, delivery: Delivery) {
    let Some(id) = delivery.packet_id() else { return };
    if delivery.qos() == QoS::AtLeastOnce {
        return client.puback(id);
    }
    client.pubrec(id);
    client.expect("PUBREL", |packet| matches!(packet, Packet::PubRel(release) if release.packet_id == id).then_some(()));
    client.pubcomp(id);
}

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

/// [MQTT-3.3.1-5], [MQTT3-3.3.1-5], [MQTT3-3.3.1-6], [MQTT3-3.3.1-7]: whatever the QoS, old or new.
#[test]
fn a_retained_message_replaces_the_one_before() {
    let broker = Broker::start();
    for version in [V31, V311, V5] {
        let mut publisher = Client::connect(broker.address(), version, "publisher");
        for (number, qos) in ALL_QOS.into_iter().chain(ALL_QOS).enumerate() {
            let payload = number.to_string();
            publisher.publish_with("state", &payload, qos, |packet| packet.retain = true);
            let mut late = Client::connect(broker.address(), version, "late");
            late.ping();
            publisher.ping();
            late.subscribe("state", QoS::ExactlyOnce);
            assert_eq!(late.expect_message("state", &payload).qos(), qos);
            late.expect_nothing();
        }
    }
}

/// [MQTT-3.3.1-6], [MQTT-3.3.1-7], [MQTT3-3.3.1-10], [MQTT3-3.3.1-11]: it is handed on like any other and leaves nothing.
#[test]
fn an_empty_retained_message_removes_the_one_before_and_is_not_retained_itself() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let mut publisher = Client::connect(broker.address(), version, "publisher");
        let mut there = Client::connect(broker.address(), version, "there");
        publisher.retain("state", "something");
        there.subscribe("state", QoS::AtMostOnce);
        there.expect_message("state", "something");
        for _ in 0..2 {
            publisher.retain("state", "");
            there.expect_publish(|publish| assert!(publish.payload.is_empty() && !publish.retain, "{publish:?}"));
            let mut late = Client::connect(broker.address(), version, "late");
            late.subscribe("state", QoS::AtMostOnce);
            late.expect_nothing();
        }
    }
}

/// [MQTT-3.3.1-8], [MQTT3-3.3.1-12].
#[test]
fn a_message_without_retain_neither_is_kept_nor_touches_the_one_that_is() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    publisher.publish("state", "never", QoS::AtLeastOnce);
    let mut late = Client::connect(broker.address(), V5, "late");
    late.subscribe("state", QoS::AtMostOnce);
    late.expect_nothing();
    publisher.retain("state", "kept");
    late.expect_message("state", "kept");
    publisher.publish("state", "passing", QoS::AtLeastOnce);
    publisher.publish("state", "", QoS::AtLeastOnce);
    let mut later = Client::connect(broker.address(), V311, "later");
    later.subscribe("state", QoS::AtMostOnce);
    later.expect_message("state", "kept");
    later.expect_nothing();
}

/// [MQTT-3.3.1-9], 3.8.3.1, [MQTT3-3.3.1-6], [MQTT3-3.3.1-8]: RETAIN says that it is an old one.
#[test]
fn retained_messages_that_match_are_sent_to_a_new_subscription_with_retain_set() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    let topics = ["rooms/1/light", "rooms/1/door", "rooms/2/light", "garden/light", "rooms"];
    topics.iter().for_each(|topic| publisher.retain(topic, topic));
    for version in [V311, V5] {
        for (filter, expected) in [
            ("rooms/1/light", vec!["rooms/1/light"]),
            ("rooms/+/light", vec!["rooms/1/light", "rooms/2/light"]),
            ("rooms/#", vec!["rooms", "rooms/1/door", "rooms/1/light", "rooms/2/light"]),
            ("+/light", vec!["garden/light"]),
            ("nothing/#", vec![]),
        ] {
            let mut late = Client::connect(broker.address(), version, "late");
            late.subscribe(filter, QoS::AtMostOnce);
            let mut seen: Vec<String> = (0..expected.len())
                .map(|_| {
                    late.expect_publish(|publish| {
                        assert!(publish.retain && publish.payload == publish.topic.expect("a topic").as_str().as_bytes());
                        publish.topic.expect("a topic").to_string()
                    })
                })
                .collect();
            seen.sort();
            assert_eq!(seen, expected, "{filter}");
            late.expect_nothing();
        }
    }
}

fn with_handling(qos: QoS, retain_handling: RetainHandling) -> SubscriptionOptions {
    SubscriptionOptions { qos, retain_handling, ..Default::default() }
}

/// [MQTT-3.3.1-9] to [MQTT-3.3.1-11].
#[test]
fn retain_handling_decides_whether_retained_messages_are_sent() {
    let broker = Broker::start();
    Client::connect(broker.address(), V5, "publisher").retain("state", "kept");
    for (handling, at_first, at_second) in [
        (RetainHandling::Send, true, true),
        (RetainHandling::SendIfNew, true, false),
        (RetainHandling::DoNotSend, false, false),
    ] {
        let mut client = Client::connect(broker.address(), V5, "handling");
        for is_sent in [at_first, at_second] {
            assert_eq!(client.subscribe_with("state", with_handling(QoS::AtMostOnce, handling), None), [0]);
            if is_sent {
                client.expect_message("state", "kept");
            }
            client.expect_nothing();
        }
    }
}

/// [MQTT-3.3.1-10]: after UNSUBSCRIBE the subscription is a new one again.
#[test]
fn a_subscription_that_was_ended_counts_as_new() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "handling");
    client.retain("state", "kept");
    for _ in 0..2 {
        client.subscribe_with("state", with_handling(QoS::AtMostOnce, RetainHandling::SendIfNew), None);
        client.expect_message("state", "kept");
        client.unsubscribe("state");
    }
}

/// [MQTT-3.3.1-12], [MQTT-3.3.1-13], [MQTT3-3.3.1-9].
#[test]
fn retain_is_handed_on_to_subscriptions_only_as_retain_as_published_says() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    for (version, retain_as_published) in [(V311, false), (V5, false), (V5, true)] {
        let mut subscriber = Client::connect(broker.address(), version, "subscriber");
        let options =
            SubscriptionOptions { retain_as_published, retain_handling: RetainHandling::DoNotSend, ..Default::default() };
        let options = if version == V5 { options } else { SubscriptionOptions::default() };
        subscriber.subscribe_with("flag", options, None);
        for retain in [false, true] {
            publisher.publish_with("flag", "x", QoS::AtMostOnce, |packet| packet.retain = retain);
            let seen = subscriber.expect_publish(|publish| publish.retain);
            assert_eq!(seen, retain && retain_as_published);
        }
        publisher.retain("flag", "");
        subscriber.expect_publish(|_| ());
    }
}

/// 3.3.1.3: what is sent because of a subscription has RETAIN set, whatever Retain As Published says.
#[test]
fn retain_is_set_on_stored_messages_for_either_retain_as_published() {
    let broker = Broker::start();
    Client::connect(broker.address(), V311, "publisher").retain("state", "kept");
    for retain_as_published in [false, true] {
        let mut subscriber = Client::connect(broker.address(), V5, "subscriber");
        subscriber.subscribe_with("state", SubscriptionOptions { retain_as_published, ..Default::default() }, None);
        assert!(subscriber.expect_publish(|publish| publish.retain));
    }
}

/// 3.3.1.3, 4.1: retained messages belong to no session.
#[test]
fn retained_messages_outlive_the_session_of_their_publisher() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V311, "publisher");
    publisher.retain("state", "kept");
    publisher.send_bytes(&[0xE0, 0]);
    publisher.expect_close();
    let mut late = Client::connect(broker.address(), V311, "late");
    late.subscribe("state", QoS::AtMostOnce);
    late.expect_message("state", "kept");
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

/// 3.3.2.3.4, [MQTT-3.3.2-12]: every alias up to the maximum can be set, used and set anew.
#[test]
fn a_topic_alias_stands_for_the_topic_that_it_was_last_set_to() {
    let broker = Broker::start();
    let (mut publisher, maximum) = Client::connack(broker.address(), connect(V5), |properties| properties.topic_alias_maximum);
    assert!(maximum > 0);
    let mut subscriber = Client::connect(broker.address(), V311, "subscriber");
    subscriber.subscribe("#", QoS::AtMostOnce);
    let with = |alias: u16| [&[0x23][..], &alias.to_be_bytes()].concat();
    for round in ["first", "second"] {
        for alias in 1..=maximum {
            publisher.send_bytes(&publish(0x30, V5, format!("{round}/{alias}"), None, &with(alias)));
            subscriber.expect_message(&format!("{round}/{alias}"), "payload");
        }
        for alias in (1..=maximum).rev() {
            publisher.send_bytes(&publish(0x32, V5, "", Some(alias), &with(alias)));
            assert_eq!(publisher.expect_bytes()[0], 0x40);
            subscriber.expect_message(&format!("{round}/{alias}"), "payload");
        }
    }
}

/// 3.3.2.3.4, [MQTT-3.3.2-7]: a resumed session brings no aliases with it.
#[test]
fn an_alias_that_was_not_set_on_this_connection_is_a_protocol_error() {
    let mut others = Bystanders::start();
    let unset = publish(0x30, V5, "", None, &[0x23, 0, 1]);
    others.refuse(V5, &[("never set", unset.clone(), 0x82)]);
    let address = others.broker.address();
    let (mut client, _) = Client::connect_with(address, keeping(V5, "aliases"));
    client.send_bytes(&publish(0x32, V5, "$elsewhere", Some(1), &[0x23, 0, 1]));
    client.expect_bytes();
    client.send_bytes(&[0xE0, 0]);
    client.expect_close();
    let (mut client, was_present) = Client::connect_with(address, keeping(V5, "aliases"));
    assert!(was_present);
    client.send_bytes(&unset);
    client.expect_disconnect(0x82);
    others.notice_nothing();
}

/// [MQTT-3.3.2-7], [MQTT-3.3.2-11], [MQTT-3.3.2-10]: towards the client they mean what they were set to on this connection.
#[test]
fn aliases_towards_a_client_are_set_before_they_are_used_and_forgotten_with_the_connection() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V311, "publisher");
    let properties = ConnectProperties { topic_alias_maximum: 3, session_expiry_interval: 100, ..Default::default() };
    for _ in 0..2 {
        let connect = Connect { client_id: "aliases", clean_start: false, properties, ..connect(V5) };
        let (mut client, _) = Client::connect_with(broker.address(), connect);
        client.subscribe("long/topics/#", QoS::AtMostOnce);
        let mut known = std::collections::HashMap::new();
        let mut referred = 0;
        for number in 0..100 {
            let topic = format!("long/topics/{}", number % 5);
            publisher.publish(&topic, &topic, QoS::AtMostOnce);
            client.expect_publish(|publish| {
                let meant = match (publish.topic, publish.properties.topic_alias) {
                    (Some(named), alias) => {
                        known.extend(alias.map(|alias| (alias, named.to_string())));
                        named.to_string()
                    }
                    (None, alias) => {
                        referred += 1;
                        known[&alias.expect("topic or alias")].clone()
                    }
                };
                assert_eq!(meant.as_bytes(), publish.payload);
                assert!(publish.properties.topic_alias.is_none_or(|alias| (1..=3).contains(&alias)));
            });
        }
        assert!(referred > 0, "aliases are used");
    }
}

/// 3.3.2.3.4: what the publisher abbreviates on its own connection is no business of its subscribers.
#[test]
fn an_alias_of_the_publisher_is_not_handed_on() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "both");
    client.subscribe("a", QoS::AtMostOnce);
    for topic in ["a", ""] {
        client.send_bytes(&publish(0x30, V5, topic, None, &[0x23, 0, 2]));
        assert_eq!(client.expect_bytes(), [&[0x30, 11][..], &prefixed("a"), &[0], b"payload"].concat());
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

/// 2.2.2.1: a property section ends where its length says.
#[test]
fn a_section_that_claims_more_than_is_there_publishes_nothing() {
    let mut others = Bystanders::start();
    let claims = |length: u8| packet(0x30, &[&prefixed("bystanders"), &[length], b"\x26\0\x01n\0\x01v"]);
    others.refuse(V5, &[("one more", claims(8), 0x81), ("much more", claims(127), 0x81)]);
    let cut = packet(0x30, &[&prefixed("bystanders"), &section(b"\x26\0\x01n\0\x09v")]);
    others.refuse(V5, &[("a value that reaches out of the section", cut, 0x81)]);
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
