//! 3.1.2.5 to 3.1.2.7, 3.1.3.2 to 3.1.3.4: the will in CONNECT. When it is published is in `wills`.

use dunlin::packet::{Connect, Packet, QoS, Will};

use crate::steps::will;
use crate::support::client::{V5, V31, V311, connect};
use crate::support::{Broker, Client};
use crate::wire::{Answer, Bystanders, RawConnect, prefixed, text_property, user_property};

/// [MQTT-3.1.2-7], [MQTT-3.1.2-8], [MQTT-3.1.2-14], [MQTT3-3.1.2-8], [MQTT3-3.1.2-16].
#[test]
fn the_will_of_a_client_that_is_lost_is_published() {
    let broker = Broker::start();
    let mut witness = Client::connect(broker.address(), V5, "witness");
    witness.subscribe("wills/#", QoS::ExactlyOnce);
    for version in [V31, V311, V5] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let will = Will { qos, ..will("wills/a", "gone") };
            let connect = Connect { client_id: "mortal", will: Some(will), ..connect(version) };
            Client::connect_with(broker.address(), connect).0.cut();
            assert_eq!(witness.expect_message("wills/a", "gone").qos(), qos);
        }
    }
}

/// [MQTT-3.1.2-15], [MQTT3-3.1.2-17].
#[test]
fn a_will_with_retain_is_retained_and_one_without_is_not() {
    let broker = Broker::start();
    for (retain, topic) in [(false, "wills/plain"), (true, "wills/retained")] {
        let mut witness = Client::connect(broker.address(), V311, "witness");
        witness.subscribe(topic, QoS::AtMostOnce);
        let will = Will { retain, ..will(topic, "gone") };
        let (client, _) = Client::connect_with(broker.address(), Connect { will: Some(will), ..connect(V311) });
        client.cut();
        witness.expect_message(topic, "gone");
    }
    let mut late = Client::connect(broker.address(), V311, "late");
    late.subscribe("wills/#", QoS::AtMostOnce);
    late.expect_message("wills/retained", "gone");
    late.expect_nothing();
}

/// [MQTT-3.1.2-10], [MQTT-3.14.4-3], [MQTT3-3.1.2-10], [MQTT3-3.14.4-3].
#[test]
fn the_will_of_a_client_that_says_goodbye_is_not_published() {
    let broker = Broker::start();
    let mut witness = Client::connect(broker.address(), V5, "witness");
    witness.subscribe("wills/#", QoS::AtMostOnce);
    for version in [V31, V311, V5] {
        let connect = Connect { client_id: "leaving", will: Some(will("wills/a", "gone")), ..connect(version) };
        let (mut client, _) = Client::connect_with(broker.address(), connect);
        client.send_bytes(&[0xE0, 0x00]);
        client.expect_close();
    }
    witness.expect_nothing();
}

/// [MQTT-3.1.2-8]: the Server closes it because of a protocol error, because it says nothing, or because another has taken over.
#[test]
fn the_will_is_published_when_the_server_closes_the_connection() {
    let broker = Broker::start();
    let mut witness = Client::connect(broker.address(), V5, "witness");
    witness.subscribe("wills/#", QoS::AtMostOnce);
    for version in [V311, V5] {
        let connect = Connect { client_id: "offender", will: Some(will("wills/a", "cut off")), ..connect(version) };
        let (mut client, _) = Client::connect_with(broker.address(), connect);
        client.send_bytes(&[0x00, 0x00]);
        client.expect_disconnect(0x81);
        witness.expect_message("wills/a", "cut off");
        let (mut old, _) = Client::connect_with(broker.address(), connect);
        let _new = Client::connect_with(broker.address(), Connect { will: None, ..connect });
        old.expect_disconnect(0x8E);
        witness.expect_message("wills/a", "cut off");
    }
}

/// [MQTT-3.1.2-9], [MQTT3-3.1.2-9]: with the flag, topic and payload must be there.
#[test]
fn a_will_flag_without_a_will_is_malformed() {
    let mut others = Bystanders::start();
    for (version, answer) in [(V5, Answer::Reason(0x81)), (V311, Answer::Nothing)] {
        let without = RawConnect::with(version, |connect| connect.flags |= 0x04);
        let no_payload = RawConnect::with(version, |connect| {
            connect.flags |= 0x04;
            connect.tail = [if version == V5 { vec![0] } else { vec![] }, prefixed("a")].concat();
        });
        others.refuse_first(&[("no will", without, answer), ("no payload", no_payload, answer)]);
    }
}

/// [MQTT-3.1.2-11], [MQTT-3.1.2-13], [MQTT3-3.1.2-11], [MQTT3-3.1.2-13], [MQTT3-3.1.2-15].
#[test]
fn will_qos_and_will_retain_are_zero_without_a_will() {
    let mut others = Bystanders::start();
    for flags in [0x08, 0x10, 0x20, 0x28] {
        let wrong = |version| RawConnect::with(version, |connect| connect.flags |= flags);
        others.refuse_first(&[("5.0", wrong(V5), Answer::Reason(0x81)), ("3.1.1", wrong(V311), Answer::Nothing)]);
    }
}

/// [MQTT-3.1.2-12], [MQTT3-3.1.2-14].
#[test]
fn a_will_with_qos_3_is_malformed() {
    let mut others = Bystanders::start();
    let wrong = |version| {
        let mut bytes = RawConnect::with_will(version, &[], "a", b"x");
        bytes[9] |= 0x18;
        bytes
    };
    others.refuse_first(&[("5.0", wrong(V5), Answer::Reason(0x81)), ("3.1.1", wrong(V311), Answer::Nothing)]);
}

/// 3.1.3.3: the Will Topic is a topic name [MQTT-4.7.1-1], [MQTT-4.7.3-1].
#[test]
fn a_will_topic_must_be_a_topic_name() {
    let mut others = Bystanders::start();
    for topic in ["a/+", "#", "a/#/b"] {
        let wrong = |version| RawConnect::with_will(version, &[], topic, b"x");
        others.refuse_first(&[("5.0", wrong(V5), Answer::Reason(0x90)), ("3.1.1", wrong(V311), Answer::Nothing)]);
    }
    others.refuse_first(&[
        ("empty", RawConnect::with_will(V5, &[], "", b"x"), Answer::Reason(0x90)),
        ("empty, 3.1.1", RawConnect::with_will(V311, &[], "", b"x"), Answer::Nothing),
        ("response topic", RawConnect::with_will(V5, &text_property(0x08, "a/#"), "a", b"x"), Answer::Reason(0x90)),
    ]);
}

/// 3.1.3.2, [MQTT-3.1.3-10]: all but the delay goes on with the message, the expiry counted from its publication.
#[test]
fn the_properties_of_a_will_go_on_with_it_in_their_order() {
    let broker = Broker::start();
    let mut witness = Client::connect(broker.address(), V5, "witness");
    witness.subscribe("wills/#", QoS::AtMostOnce);
    let properties = [
        user_property("b", "1"),
        vec![0x18, 0, 0, 0, 0],
        vec![0x01, 1],
        user_property("a", "2"),
        vec![0x02, 0, 0, 0, 50],
        text_property(0x03, "text/plain"),
        text_property(0x08, "answers"),
        user_property("b", "3"),
        text_property(0x09, [0, 255, 1]),
    ]
    .concat();
    let mut client = Client::dial(broker.address(), V5);
    client.send_bytes(&RawConnect::with_will(V5, &properties, "wills/a", b"gone"));
    client.expect("CONNACK", |packet| matches!(packet, Packet::ConnAck(_)).then_some(()));
    client.cut();
    witness.expect_publish(|publish| {
        let read = &publish.properties;
        assert_eq!(publish.payload, b"gone");
        assert_eq!(read.user_properties.iter().collect::<Vec<_>>(), [("b", "1"), ("a", "2"), ("b", "3")]);
        assert_eq!(read.payload_format_indicator, Some(true));
        assert!(read.message_expiry_interval.is_some_and(|left| (40..=50).contains(&left)), "{read:?}");
        assert_eq!((read.content_type, read.response_topic), (Some("text/plain"), Some("answers")));
        assert_eq!(read.correlation_data, Some(&[0, 255, 1][..]));
    });
}
