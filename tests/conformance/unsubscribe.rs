//! 3.10 UNSUBSCRIBE and 3.11 UNSUBACK.

use dunlin::packet::QoS;

use crate::steps::{expect_pubrel, next_id};
use crate::support::client::{V5, V31, V311};
use crate::support::{Broker, Client};
use crate::wire::{Bystanders, packet, prefixed, unsubscribe, user_property};

/// [MQTT-3.10.4-4], [MQTT-3.10.4-5], [MQTT-2.2.1-6], [MQTT3-3.10.4-4], [MQTT3-3.10.4-5], [MQTT3-2.3.1-7].
#[test]
fn unsubscribe_is_acknowledged_with_its_identifier_even_where_nothing_was_subscribed() {
    let broker = Broker::start();
    for version in [V31, V311, V5] {
        let mut client = Client::connect(broker.address(), version, "leaver");
        client.subscribe("there", QoS::AtMostOnce);
        for (id, filter, code) in [(1u16, "there", 0), (0xFFFF, "there", 0x11), (256, "never", 0x11)] {
            let mut bytes = unsubscribe(version, &[], filter);
            bytes[2..4].copy_from_slice(&id.to_be_bytes());
            client.send_bytes(&bytes);
            let [high, low] = id.to_be_bytes();
            let expected = if version == V5 { vec![0xB0, 4, high, low, 0, code] } else { vec![0xB0, 2, high, low] };
            assert_eq!(client.expect_bytes(), expected);
        }
    }
}

/// [MQTT-3.10.3-2], [MQTT3-3.10.3-2].
#[test]
fn an_unsubscribe_without_a_filter_is_a_protocol_error() {
    let mut others = Bystanders::start();
    others.refuse(V5, &[("no filter", packet(0xA2, &[&[0, 1, 0]]), 0x82)]);
    others.refuse(V311, &[("no filter", packet(0xA2, &[&[0, 1]]), 0x82)]);
}

/// [MQTT-4.7.1-1], [MQTT-4.7.3-1], [MQTT-4.8.2-1], [MQTT-4.8.2-2].
#[test]
fn filters_that_are_none_close_the_connection() {
    let mut others = Bystanders::start();
    for filter in ["", "a/#/b", "a#", "+a", "#/"] {
        for version in [V5, V311] {
            others.refuse(version, &[(filter, unsubscribe(version, &[], filter), 0x8F)]);
        }
    }
    for filter in ["$share/g", "$share//a", "$share/+/a"] {
        others.refuse(V5, &[(filter, unsubscribe(V5, &[], filter), 0x8F)]);
    }
}

/// [MQTT-3.10.4-1], [MQTT-3.10.4-2], [MQTT3-3.10.4-1], [MQTT3-3.10.4-2]: a filter that covers another does not end it.
#[test]
fn only_the_filter_that_is_the_same_character_by_character_is_ended() {
    let broker = Broker::start();
    for version in [V31, V311, V5] {
        let mut client = Client::connect(broker.address(), version, "leaver");
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        client.subscribe("a/b", QoS::AtMostOnce);
        for other in ["a/+", "#", "+/b", "A/B", "a/b/", "/a/b", "a/b/#", "$share/g/a/b"] {
            client.unsubscribe(other);
            publisher.publish("a/b", other, QoS::AtMostOnce);
            client.expect_message("a/b", other);
        }
        client.unsubscribe("a/b");
        publisher.publish("a/b", "after", QoS::AtLeastOnce);
        client.expect_nothing();
    }
}

/// [MQTT-3.10.4-2]: a filter with wildcards is one subscription, not what it matches.
#[test]
fn of_overlapping_subscriptions_only_the_one_that_is_named_ends() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "leaver");
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    client.subscribe("a/#", QoS::AtMostOnce);
    client.subscribe("a/b", QoS::ExactlyOnce);
    client.subscribe("$share/g/a/b", QoS::AtMostOnce);
    assert_eq!(client.unsubscribe("a/b"), [0]);
    assert_eq!(client.unsubscribe("$share/other/a/b"), [0x11]);
    assert_eq!(client.unsubscribe("$share/g/a/b"), [0]);
    publisher.publish("a/b", "x", QoS::ExactlyOnce);
    assert_eq!(client.expect_message("a/b", "x").qos(), QoS::AtMostOnce);
    client.expect_nothing();
}

/// [MQTT-3.10.4-3], [MQTT3-3.10.4-3].
#[test]
fn messages_that_are_under_way_are_delivered_to_their_end() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let mut client = Client::connect(broker.address(), version, "leaver");
        client.subscribe("a", QoS::ExactlyOnce);
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        publisher.publish("a", "1", QoS::AtLeastOnce);
        publisher.publish("a", "2", QoS::ExactlyOnce);
        let (_, first) = next_id(&mut client);
        let (_, second) = next_id(&mut client);
        client.unsubscribe("a");
        client.puback(first);
        client.pubrec(second);
        assert_eq!(expect_pubrel(&mut client, second), 0);
        client.pubcomp(second);
        client.expect_nothing();
    }
}

/// [MQTT-3.10.4-6], [MQTT-3.11.3-1], [MQTT-3.11.3-2], [MQTT3-3.10.4-6].
#[test]
fn each_filter_of_a_packet_is_answered_with_a_code_in_its_place() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let mut client = Client::connect(broker.address(), version, "leaver");
        ["a", "b/#", "c/+"].iter().for_each(|filter| client.subscribe(filter, QoS::AtMostOnce));
        let filters: Vec<u8> = ["c/+", "never", "a", "a"].iter().flat_map(prefixed).collect();
        let head: &[u8] = if version == V5 { &[0, 9, 0] } else { &[0, 9] };
        client.send_bytes(&packet(0xA2, &[head, &filters]));
        let expected = if version == V5 { vec![0xB0, 7, 0, 9, 0, 0, 0x11, 0, 0x11] } else { vec![0xB0, 2, 0, 9] };
        assert_eq!(client.expect_bytes(), expected);
        for topic in ["a", "c/x"] {
            client.publish(topic, "gone", QoS::AtLeastOnce);
        }
        client.publish("b/x", "still there", QoS::AtMostOnce);
        client.expect_message("b/x", "still there");
    }
}

/// 3.10.2.1.2: they mean nothing to the server.
#[test]
fn user_properties_of_unsubscribe_are_taken() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "chatty");
    client.send_bytes(&unsubscribe(V5, &[user_property("a", "1"), user_property("a", "2")].concat(), "a"));
    assert_eq!(client.expect_bytes(), [0xB0, 4, 0, 1, 0, 0x11]);
}
