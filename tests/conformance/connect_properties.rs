//! 3.1.2.11 CONNECT properties.

use dunlin::packet::{Connect, ConnectProperties, Packet, QoS};

use crate::support::client::{V5, connect};
use crate::support::{Broker, Client};
use crate::wire::{Answer, Bystanders, RawConnect, publish, subscribe, text_property, unsubscribe, user_property};

/// 3.1.2.11.3 to 3.1.2.11.10: what these properties may not be.
#[test]
fn values_that_connect_properties_may_not_have_are_a_protocol_error() {
    let mut others = Bystanders::start();
    let refused = Answer::Reason(0x82);
    let with = RawConnect::with_properties;
    others.refuse_first(&[
        ("receive maximum 0", with(&[0x21, 0, 0]), refused),
        ("maximum packet size 0", with(&[0x27, 0, 0, 0, 0]), refused),
        ("request response information 2", with(&[0x19, 2]), refused),
        ("request problem information 2", with(&[0x17, 2]), refused),
        ("authentication data without a method", with(&text_property(0x16, "data")), refused),
        ("payload format indicator 2 of a will", RawConnect::with_will(V5, &[0x01, 2], "a", b"x"), refused),
    ]);
}

/// [MQTT-3.3.4-9], [MQTT-3.3.4-10], 4.9: other packets are not held up.
#[test]
fn no_more_messages_are_under_way_than_the_clients_receive_maximum() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    let properties = ConnectProperties { receive_maximum: 2, ..Default::default() };
    let (mut client, _) = Client::connect_with(broker.address(), Connect { properties, ..connect(V5) });
    client.subscribe("a", QoS::ExactlyOnce);
    let qos_of = [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for (number, qos) in qos_of.into_iter().enumerate() {
        publisher.publish("a", &number.to_string(), qos);
    }
    let first = client.expect_message("a", "0").packet_id().expect("QoS 1");
    let second = client.expect_message("a", "1").packet_id().expect("QoS 2");
    client.expect_nothing();
    client.puback(first);
    client.expect_message("a", "2");
    client.expect_nothing();
    client.pubrec(second);
    client.expect("PUBREL", |packet| matches!(packet, Packet::PubRel(release) if release.packet_id == second).then_some(()));
    client.expect_nothing();
    client.pubcomp(second);
    client.expect_message("a", "3");
}

/// [MQTT-3.1.2-24], [MQTT-3.1.2-25]: what is too large counts as sent, and takes no place in the window.
#[test]
fn a_message_larger_than_the_clients_maximum_packet_size_is_left_out() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    let properties = ConnectProperties { maximum_packet_size: Some(50), receive_maximum: 1, ..Default::default() };
    let (mut small, _) = Client::connect_with(broker.address(), Connect { properties, ..connect(V5) });
    let mut large = Client::connect(broker.address(), V5, "large");
    small.subscribe("a", QoS::AtLeastOnce);
    large.subscribe("a", QoS::AtMostOnce);
    // Two bytes of fixed header, three of topic, two of identifier, one of properties.
    let (fits, too_long) = ("x".repeat(50 - 8), "x".repeat(51 - 8));
    for payload in [&too_long, &too_long, &fits, &too_long] {
        assert_eq!(publisher.publish("a", payload, QoS::AtLeastOnce), 0);
        large.expect_message("a", payload);
    }
    let id = small.expect_message("a", &fits).packet_id().expect("QoS 1");
    small.puback(id);
    publisher.publish("a", "after", QoS::AtLeastOnce);
    small.expect_message("a", "after");
    // With QoS 0 there is no identifier to carry, also where the message was kept for later.
    publisher.retain("b", &"x".repeat(51 - 8));
    small.subscribe("b", QoS::AtLeastOnce);
    small.expect_nothing();
}

/// [MQTT-3.1.2-24]: a CONNACK is a packet too. A client that cannot be answered is not left waiting.
#[test]
fn a_client_whose_maximum_packet_size_is_too_small_for_a_connack_is_refused() {
    let broker = Broker::start();
    for size in [1, 4, 5, 8] {
        let properties = ConnectProperties { maximum_packet_size: Some(size), ..Default::default() };
        let mut client = Client::dial(broker.address(), V5);
        client.send(&Packet::Connect(Connect { properties, ..connect(V5) }));
        let answer = client.rest();
        let expected: &[u8] = if size < 5 { &[] } else { &[0x20, 3, 0, 0x95, 0] };
        assert_eq!(answer, expected, "{size}");
    }
}

/// [MQTT-3.1.2-26], [MQTT-3.1.2-27], [MQTT-3.3.2-11]; what they are used for is in `publish`.
#[test]
fn aliases_are_sent_up_to_the_clients_topic_alias_maximum_and_none_without_it() {
    let broker = Broker::start();
    for maximum in [0, 1, 3] {
        let properties = ConnectProperties { topic_alias_maximum: maximum, ..Default::default() };
        let (mut client, _) = Client::connect_with(broker.address(), Connect { properties, ..connect(V5) });
        client.subscribe("aliases/#", QoS::AtMostOnce);
        for number in 0..50 {
            client.publish(&format!("aliases/{}", number % 7), "x", QoS::AtMostOnce);
            let alias = client.expect_publish(|publish| publish.properties.topic_alias);
            assert!(alias.is_none_or(|alias| (1..=maximum).contains(&alias)), "{alias:?} of {maximum}");
        }
    }
}

/// [MQTT-3.1.2-28].
#[test]
fn response_information_is_sent_only_if_it_was_requested() {
    let broker = Broker::start();
    for requested in [false, true] {
        let properties = ConnectProperties { request_response_information: requested, ..Default::default() };
        let connect = Connect { properties, client_id: "asking", ..connect(V5) };
        let (_, told) = Client::connack(broker.address(), connect, |properties| properties.response_information.is_some());
        assert!(requested || !told);
    }
}

/// [MQTT-3.1.2-29]: on PUBLISH, CONNACK and DISCONNECT they are allowed all the same.
#[test]
fn reason_strings_and_user_properties_are_left_out_where_they_are_not_wanted() {
    let broker = Broker::start();
    let properties = ConnectProperties { request_problem_information: false, ..Default::default() };
    let (mut client, _) = Client::connect_with(broker.address(), Connect { properties, ..connect(V5) });
    client.publish_with("nobody", "x", QoS::AtLeastOnce, |_| ());
    client.send_bytes(&publish(0x34, V5, "nobody", Some(900), &[]));
    assert_eq!(client.expect_bytes(), [0x50, 3, 0x03, 0x84, 0x10]);
    client.send_bytes(&[0x62, 2, 0x00, 0x77]);
    assert_eq!(client.expect_bytes(), [0x70, 3, 0x00, 0x77, 0x92]);
    let with_levels = vec!["x"; 200].join("/");
    client.send_bytes(&subscribe(V5, &[], &with_levels, 0));
    assert_eq!(client.expect_bytes(), [0x90, 4, 0, 1, 0, 0x8F]);
    client.send_bytes(&unsubscribe(V5, &[], "never"));
    assert_eq!(client.expect_bytes(), [0xB0, 4, 0, 1, 0, 0x11]);
    client.subscribe("a", QoS::AtMostOnce);
    client.send_bytes(&publish(0x30, V5, "a", None, &user_property("n", "v")));
    client.expect_publish(|publish| assert_eq!(publish.properties.user_properties.iter().count(), 1));
}

/// [MQTT-4.12.0-1].
#[test]
fn an_unknown_authentication_method_is_refused() {
    let broker = Broker::start();
    for method in ["GS2-KRB5", "", "scram-sha-256", "SCRAM-SHA-1"] {
        let properties = ConnectProperties { authentication_method: Some(method), ..Default::default() };
        assert_eq!(Client::refused(broker.address(), Connect { properties, ..connect(V5) }), 0x8C, "{method:?}");
    }
}

/// 3.1.2.11.8: they mean nothing to the server.
#[test]
fn user_properties_of_connect_are_taken_and_bounded() {
    let broker = Broker::start();
    let mut client = Client::dial(broker.address(), V5);
    let many = |count: usize| RawConnect::with_properties(&user_property("name", "value").repeat(count));
    client.send_bytes(&many(64));
    client.expect("CONNACK", |packet| matches!(packet, Packet::ConnAck(ack) if !ack.reason.is_error()).then_some(()));
    Bystanders::beside(broker).refuse_first(&[("one more", many(65), Answer::Reason(0x97))]);
}
