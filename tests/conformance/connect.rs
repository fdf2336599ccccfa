//! 3.1 CONNECT.

use std::thread;
use std::time::Duration;

use dunlin::packet::{Connect, ConnectProperties, ForwardedProperties, Packet, ProtocolVersion, QoS, TopicName, Will};

use crate::support::client::{V5, V31, V311, connect};
use crate::support::{Broker, Client, eventually};
use crate::wire::{Answer, Bystanders, RawConnect, packet, prefixed, publish, section, text_property, user_property};

/// A will of QoS 0 that is not retained.
fn will<'a>(topic: &'a str, payload: &'a str) -> Will<'a> {
    Will {
        topic: TopicName::new(topic).expect("a topic"),
        payload: payload.as_bytes(),
        qos: QoS::AtMostOnce,
        retain: false,
        delay_interval: 0,
        message_expiry_interval: None,
        properties: ForwardedProperties::default(),
    }
}

fn with_expiry(seconds: u32) -> ConnectProperties<'static> {
    ConnectProperties { session_expiry_interval: seconds, ..Default::default() }
}

/// A client of `version` whose session is to outlive its connection, under this identifier.
fn lasting(version: ProtocolVersion, id: &str) -> Connect<'_> {
    let properties = if version == V5 { with_expiry(100) } else { ConnectProperties::default() };
    Connect { client_id: id, clean_start: false, properties, ..connect(version) }
}

/// [MQTT-3.1.0-1], [MQTT3-3.1.0-1].
#[test]
fn a_first_packet_other_than_connect_is_not_answered() {
    let mut others = Bystanders::start();
    let auth = packet(0xF0, &[&[0x18], &section(&text_property(0x15, "SCRAM-SHA-256"))]);
    for bytes in [
        publish(0x30, V5, "a", None, &[]),
        publish(0x32, V311, "a", Some(1), &[]),
        vec![0xC0, 0x00],
        vec![0xE0, 0x00],
        packet(0x20, &[&[0, 0, 0]]),
        auth,
        vec![0x00, 0x00],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
    ] {
        others.refuse_first(&[("no CONNECT", bytes, Answer::Nothing)]);
    }
}

/// [MQTT-3.1.0-2], [MQTT3-3.1.0-2].
#[test]
fn a_second_connect_is_a_protocol_error() {
    let mut others = Bystanders::start();
    for version in [V5, V311] {
        others.refuse(version, &[("CONNECT", RawConnect::new(version).bytes(), 0x82)]);
    }
}

/// [MQTT-3.1.2-1], [MQTT3-3.1.2-1].
#[test]
fn a_protocol_name_that_is_not_mqtt_is_not_answered() {
    let mut others = Bystanders::start();
    for name in ["mqtt", "MQTX", "MQTTT", "", "MQIsdq", "AMQP"] {
        let bytes = RawConnect::with(V5, |connect| connect.name = name.into());
        others.refuse_first(&[(name, bytes, Answer::Nothing)]);
    }
}

/// [MQTT-3.1.2-2], [MQTT3-3.1.2-2]: newer clients are told in their language, older ones in theirs.
#[test]
fn a_protocol_level_that_is_not_spoken_is_refused_with_its_code() {
    let mut others = Bystanders::start();
    for level in [6, 7, 100] {
        let bytes = RawConnect::with(V5, |connect| connect.level = level);
        others.refuse_first(&[("a later level", bytes, Answer::Reason(0x84))]);
    }
    for level in [0, 1, 2, 3] {
        let bytes = RawConnect::with(V311, |connect| connect.level = level);
        others.refuse_first(&[("an earlier level", bytes, Answer::ReturnCode(1))]);
    }
    for level in [2, 4, 5] {
        let bytes = RawConnect::with(V31, |connect| connect.level = level);
        others.refuse_first(&[("a level under the old name", bytes, Answer::ReturnCode(1))]);
    }
}

/// [MQTT-3.1.2-3], [MQTT3-3.1.2-3].
#[test]
fn the_reserved_connect_flag_must_be_zero() {
    let mut others = Bystanders::start();
    let reserved = |version| RawConnect::with(version, |connect| connect.flags |= 1);
    others.refuse_first(&[("5.0", reserved(V5), Answer::Reason(0x81)), ("3.1.1", reserved(V311), Answer::Nothing)]);
}

/// [MQTT-3.1.2-4], [MQTT-3.2.2-2], [MQTT3-3.1.2-6], [MQTT3-3.2.2-1].
#[test]
fn a_clean_start_discards_the_session_that_was_there() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let (mut client, _) = Client::connect_with(broker.address(), lasting(version, "cleaned"));
        client.subscribe("a", QoS::AtLeastOnce);
        client.cut();
        let (client, was_present) =
            Client::connect_with(broker.address(), Connect { clean_start: true, ..lasting(version, "cleaned") });
        assert!(!was_present);
        client.cut();
        let (mut client, _) = Client::connect_with(broker.address(), lasting(version, "cleaned"));
        client.publish("a", "x", QoS::AtLeastOnce);
        client.expect_nothing();
    }
}

/// [MQTT-3.1.2-5], [MQTT-3.1.2-23], [MQTT-3.2.2-3], [MQTT3-3.1.2-4], [MQTT3-3.1.2-5], [MQTT3-3.2.2-2].
#[test]
fn without_a_clean_start_the_session_goes_on_with_its_subscriptions_and_messages() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        let (mut client, _) =
            Client::connect_with(broker.address(), Connect { clean_start: version == V5, ..lasting(version, "going on") });
        client.subscribe("a", QoS::ExactlyOnce);
        client.send_bytes(&[0xE0, 0x00]);
        client.expect_close();
        publisher.publish("a", "once", QoS::AtLeastOnce);
        publisher.publish("a", "twice", QoS::ExactlyOnce);
        let (mut client, was_present) = Client::connect_with(broker.address(), lasting(version, "going on"));
        assert!(was_present);
        assert_eq!(client.expect_message("a", "once").qos(), QoS::AtLeastOnce);
        assert_eq!(client.expect_message("a", "twice").qos(), QoS::ExactlyOnce);
        // Leaves nothing behind for the next version.
        client.cut();
        Client::connect(broker.address(), version, "going on").cut();
    }
}

/// [MQTT-3.1.2-6], [MQTT-3.2.2-3], [MQTT3-3.2.2-3].
#[test]
fn where_there_is_no_session_a_new_one_begins() {
    let broker = Broker::start();
    for version in [V31, V311, V5] {
        let id = format!("new{}", version as u8);
        let (mut client, was_present) = Client::connect_with(broker.address(), lasting(version, &id));
        assert!(!was_present);
        client.subscribe("a", QoS::AtMostOnce);
    }
}

/// 3.1.2.11.2, [MQTT3-3.1.2-6]: a session without an expiry ends with its connection.
#[test]
fn a_session_without_expiry_ends_with_its_connection() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let (mut client, _) = Client::connect_with(broker.address(), Connect { client_id: "short", ..connect(version) });
        client.subscribe("a", QoS::AtLeastOnce);
        client.send_bytes(&[0xE0, 0x00]);
        client.expect_close();
        let (client, was_present) = Client::connect_with(broker.address(), lasting(version, "short"));
        assert!(!was_present, "{version}");
        client.cut();
        Client::connect(broker.address(), version, "short").cut();
    }
}

/// [MQTT3-3.1.2-6] "State data associated with this Session MUST NOT be reused in any subsequent Session"; 3.1.2.11.2. The old
/// connection is closed first, and its session ends with that.
#[test]
fn a_session_without_expiry_is_not_handed_to_a_client_that_takes_it_over() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let (mut old, _) = Client::connect_with(broker.address(), Connect { client_id: "taken", ..connect(version) });
        old.subscribe("a", QoS::AtLeastOnce);
        let (mut new, was_present) = Client::connect_with(broker.address(), lasting(version, "taken"));
        old.expect_disconnect(0x8E);
        assert!(!was_present, "{version}");
        new.publish("a", "x", QoS::AtLeastOnce);
        new.expect_nothing();
        new.cut();
        Client::connect(broker.address(), version, "taken").cut();
    }
}

/// [MQTT-3.1.2-23]; 3.1.2.11.2: the interval runs from the close.
#[test]
fn a_session_is_gone_once_its_expiry_has_passed() {
    let broker = Broker::start();
    let soon = Connect { client_id: "mayfly", properties: with_expiry(1), ..connect(V5) };
    let (mut client, _) = Client::connect_with(broker.address(), soon);
    client.subscribe("a", QoS::AtLeastOnce);
    client.send_bytes(&[0xE0, 0x00]);
    client.expect_close();
    let again = Connect { clean_start: false, ..soon };
    let (mut client, was_present) = Client::connect_with(broker.address(), again);
    assert!(was_present, "it is there before");
    client.send_bytes(&[0xE0, 0x00]);
    client.expect_close();
    eventually("the session expires", || broker.metric("dunlin_sessions_expired_total") == 1.0);
    let (_, was_present) = Client::connect_with(broker.address(), again);
    assert!(!was_present);
}

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

/// 3.1.3.2.2, [MQTT-3.1.2-8].
#[test]
fn a_delayed_will_waits() {
    let broker = Broker::start();
    let mut witness = Client::connect(broker.address(), V5, "witness");
    witness.subscribe("wills/#", QoS::AtMostOnce);
    witness.subscribe("$SYS/brokers/+/clients/late/disconnected", QoS::AtMostOnce);
    let delayed = Will { delay_interval: 2, ..will("wills/a", "gone") };
    let connect = Connect { client_id: "late", will: Some(delayed), properties: with_expiry(100), ..connect(V5) };
    Client::connect_with(broker.address(), connect).0.cut();
    witness.expect_publish(|publish| assert!(publish.topic.is_some_and(TopicName::is_dollar), "{publish:?}"));
    witness.expect_nothing();
    witness.expect_message("wills/a", "gone");
}

/// [MQTT-3.1.3-9].
#[test]
fn a_delayed_will_is_not_published_if_its_client_comes_back_in_time() {
    let broker = Broker::start();
    let mut witness = Client::connect(broker.address(), V5, "witness");
    witness.subscribe("wills/#", QoS::AtMostOnce);
    let delayed = Will { delay_interval: 1, ..will("wills/a", "gone") };
    let connect = Connect { client_id: "back", will: Some(delayed), properties: with_expiry(100), ..connect(V5) };
    Client::connect_with(broker.address(), connect).0.cut();
    let again = Connect { clean_start: false, will: None, ..connect };
    let (_client, was_present) = Client::connect_with(broker.address(), again);
    assert!(was_present);
    thread::sleep(Duration::from_millis(1300));
    witness.expect_nothing();
}

/// 3.1.2.5: "the Session ends" comes before the delay has passed.
#[test]
fn a_delayed_will_is_published_when_its_session_ends() {
    let broker = Broker::start();
    let mut witness = Client::connect(broker.address(), V5, "witness");
    witness.subscribe("wills/#", QoS::AtMostOnce);
    let delayed = Will { delay_interval: 1000, ..will("wills/a", "gone") };
    let at_once = Connect { client_id: "ending", will: Some(delayed), ..connect(V5) };
    Client::connect_with(broker.address(), at_once).0.cut();
    witness.expect_message("wills/a", "gone");
    let lasting = Connect { properties: with_expiry(100), ..at_once };
    Client::connect_with(broker.address(), lasting).0.cut();
    Client::connect_with(broker.address(), Connect { will: None, ..lasting });
    witness.expect_message("wills/a", "gone");
}

/// [MQTT-3.1.2-16] to [MQTT-3.1.2-19], [MQTT3-3.1.2-18] to [MQTT3-3.1.2-21].
#[test]
fn user_name_and_password_are_there_exactly_if_their_flags_are_set() {
    let mut others = Bystanders::start();
    for (version, answer) in [(V5, Answer::Reason(0x81)), (V311, Answer::Nothing)] {
        let with = |flags: u8, fields: usize| {
            RawConnect::with(version, |connect| {
                connect.flags |= flags;
                connect.fields.extend((0..fields).map(|_| b"field".to_vec()));
            })
        };
        others.refuse_first(&[
            ("a user name that is not there", with(0x80, 0), answer),
            ("a password that is not there", with(0xC0, 1), answer),
            ("a user name without its flag", with(0x00, 1), answer),
            ("a password without its flag", with(0x80, 2), answer),
        ]);
    }
}

/// [MQTT3-3.1.2-22]; 5.0 dropped the rule (3.1.2.9).
#[test]
fn a_password_without_a_user_name_is_for_5_0_only() {
    let mut others = Bystanders::start();
    let without = |version| {
        RawConnect::with(version, |connect| {
            connect.flags |= 0x40;
            connect.fields.push(b"password".to_vec());
        })
    };
    others.refuse_first(&[("3.1.1", without(V311), Answer::Nothing)]);
    let mut client = Client::dial(others.broker.address(), V5);
    client.send_bytes(&without(V5));
    client.expect("CONNACK", |packet| matches!(packet, Packet::ConnAck(ack) if !ack.reason.is_error()).then_some(()));
}

/// [MQTT-3.1.2-22], [MQTT3-3.1.2-24]: what the server sends does not count, and a client that sends in time stays.
#[test]
fn a_client_that_is_silent_for_one_and_a_half_keep_alives_is_cut() {
    let broker = Broker::start();
    let mut lively = Client::connect_with(broker.address(), Connect { keep_alive: 1, ..connect(V5) }).0;
    let mut unbound = Client::connect_with(broker.address(), Connect { keep_alive: 0, ..connect(V5) }).0;
    let mut silent: Vec<Client> = [V31, V311, V5]
        .into_iter()
        .map(|version| {
            let id = format!("silent{}", version as u8);
            let (mut client, _) =
                Client::connect_with(broker.address(), Connect { client_id: &id, keep_alive: 1, ..connect(version) });
            client.subscribe("a", QoS::AtMostOnce);
            client
        })
        .collect();
    for _ in 0..4 {
        lively.publish("a", "x", QoS::AtMostOnce);
        thread::sleep(Duration::from_millis(600));
    }
    for client in &mut silent {
        client.expect_disconnect(0x8D);
    }
    lively.ping();
    unbound.ping();
}

/// [MQTT-3.1.2-21], [MQTT-3.2.2-21].
#[test]
fn a_longer_keep_alive_than_the_servers_is_answered_with_the_servers() {
    let broker =
        Broker::with_config("[[listeners]]\nname = \"a\"\nurl = \"tcp://127.0.0.1:0\"\n[limits]\nmax_keep_alive = \"30s\"\n");
    for (wanted, told) in [(0, Some(30)), (31, Some(30)), (65_535, Some(30)), (30, None), (29, None)] {
        let connect = Connect { keep_alive: wanted, ..connect(V5) };
        let (_, seen) = Client::connack(broker.address(), connect, |properties| properties.server_keep_alive);
        assert_eq!(seen, told, "{wanted}");
    }
}

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
    client.send_bytes(&crate::wire::subscribe(V5, &[], &with_levels, 0));
    assert_eq!(client.expect_bytes(), [0x90, 4, 0, 1, 0, 0x8F]);
    client.send_bytes(&crate::wire::unsubscribe(V5, &[], "never"));
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

/// [MQTT-3.1.3-1], [MQTT3-3.1.3-1]: all fields in their order.
#[test]
fn the_payload_is_read_in_the_order_of_the_specification() {
    let broker = Broker::start();
    let mut witness = Client::connect(broker.address(), V5, "witness");
    witness.subscribe("$SYS/brokers/+/clients/ordered/connected", QoS::AtMostOnce);
    witness.subscribe("wills", QoS::AtMostOnce);
    for version in [V31, V311, V5] {
        let connect = Connect {
            client_id: "ordered",
            will: Some(will("wills", "will")),
            username: Some("user"),
            password: Some(b"\0\xFFpassword"),
            ..connect(version)
        };
        let (client, _) = Client::connect_with(broker.address(), connect);
        witness.expect("an event", |packet| matches!(packet, Packet::Publish(_)).then_some(()));
        client.cut();
        witness.expect_message("wills", "will");
    }
}

/// [MQTT-3.1.3-2], [MQTT-3.1.3-5], [MQTT3-3.1.3-2], [MQTT3-3.1.3-5]: a client identifier is what a session is known by.
#[test]
fn client_identifiers_of_any_characters_are_taken_and_told_apart() {
    let broker = Broker::start();
    let long = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".repeat(4);
    let names = ["a", "A", "0123456789abcdefghijklm", "é/+#$ ", &long];
    for id in names {
        let (_client, was_present) = Client::connect_with(broker.address(), lasting(V5, id));
        assert!(!was_present, "{id}");
    }
    for id in names {
        let (_client, was_present) = Client::connect_with(broker.address(), lasting(V311, id));
        assert!(was_present, "{id}");
    }
}

/// [MQTT-3.1.3-8], [MQTT3-3.1.3-9].
#[test]
fn a_client_identifier_over_the_limit_is_refused_with_its_code() {
    let broker = Broker::start();
    let id = "x".repeat(513);
    assert_eq!(Client::refused(broker.address(), Connect { client_id: &id, ..connect(V5) }), 0x85);
    let mut others = Bystanders::beside(broker);
    let bytes = RawConnect::with(V311, |connect| connect.fields = vec![id.clone().into()]);
    others.refuse_first(&[("3.1.1", bytes, Answer::ReturnCode(2))]);
}

/// [MQTT-3.1.3-3], [MQTT3-3.1.3-3].
#[test]
fn a_connect_without_a_client_identifier_field_is_malformed() {
    let mut others = Bystanders::start();
    let without = |version| RawConnect::with(version, |connect| connect.fields.clear());
    others.refuse_first(&[("5.0", without(V5), Answer::Reason(0x81)), ("3.1.1", without(V311), Answer::Nothing)]);
}

/// [MQTT-3.1.3-6], [MQTT-3.1.3-7], [MQTT-3.2.2-16].
#[test]
fn a_client_without_an_identifier_is_given_a_unique_one_and_told_it() {
    let broker = Broker::start();
    let mut assigned = Vec::new();
    for clean_start in [true, false, true] {
        let connect = Connect { clean_start, properties: with_expiry(100), ..connect(V5) };
        let (_, id) =
            Client::connack(broker.address(), connect, |properties| properties.assigned_client_identifier.map(String::from));
        assigned.push(id.expect("an identifier"));
    }
    assert!(assigned[0] != assigned[1] && assigned[1] != assigned[2] && assigned[0] != assigned[2], "{assigned:?}");
    let (_, was_present) = Client::connect_with(broker.address(), lasting(V5, &assigned[1]));
    assert!(was_present, "the identifier leads back to the session");
    let named = Connect { client_id: "named", ..connect(V5) };
    let (_, id) = Client::connack(broker.address(), named, |properties| properties.assigned_client_identifier.is_some());
    assert!(!id);
}

/// [MQTT3-3.1.3-6] to [MQTT3-3.1.3-8]; 3.1 wants a name of 1 to 23 characters.
#[test]
fn older_clients_without_an_identifier_are_let_in_with_a_clean_session_only() {
    let mut others = Bystanders::start();
    let anonymous = |version, flags| {
        RawConnect::with(version, |connect| {
            connect.flags = flags;
            connect.fields = vec![Vec::new()];
        })
    };
    others.refuse_first(&[
        ("3.1.1 without a clean session", anonymous(V311, 0x00), Answer::ReturnCode(2)),
        ("3.1 without a clean session", anonymous(V31, 0x00), Answer::ReturnCode(2)),
        ("3.1 with a clean session", anonymous(V31, 0x02), Answer::ReturnCode(2)),
    ]);
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Client::dial(others.broker.address(), V311);
        client.send_bytes(&anonymous(V311, 0x02));
        assert_eq!(client.expect_bytes(), [0x20, 2, 0, 0]);
        clients.push(client);
    }
    clients.iter_mut().for_each(Client::ping);
}

/// [MQTT-3.1.4-3], [MQTT3-3.1.4-2].
#[test]
fn a_client_with_an_identifier_that_is_in_use_takes_the_session_over() {
    let broker = Broker::start();
    for old_version in [V31, V311, V5] {
        for new_version in [V31, V311, V5] {
            let mut old = Client::connect(broker.address(), old_version, "twice");
            let mut new = Client::connect(broker.address(), new_version, "twice");
            old.expect_disconnect(0x8E);
            new.ping();
        }
    }
}

/// [MQTT-3.1.4-1], [MQTT-3.2.0-1]: what follows a CONNECT that is refused is not looked at.
#[test]
fn nothing_is_processed_after_a_connect_that_was_refused() {
    let mut others = Bystanders::start();
    let wrong_level = RawConnect::with(V5, |connect| connect.level = 6);
    let no_identifier = RawConnect::with(V311, |connect| (connect.flags, connect.fields) = (0, vec![Vec::new()]));
    let wrong_method = RawConnect::with_properties(&text_property(0x15, "nonsense"));
    for (version, connect) in [(V5, wrong_level), (V311, no_identifier), (V5, wrong_method)] {
        let mut client = Client::dial(others.broker.address(), version);
        client.send_bytes(&[connect, publish(0x30, version, "never", None, &[])].concat());
        let answered = client.rest();
        assert_eq!(answered[0], 0x20, "{answered:02x?}");
        others.notice_nothing();
    }
}

/// [MQTT-3.1.4-5], 3.1.4: a client need not wait for CONNACK.
#[test]
fn packets_sent_before_connack_are_processed_after_it() {
    let broker = Broker::start();
    for version in [V31, V311, V5] {
        let mut client = Client::dial(broker.address(), version);
        let bytes = [
            RawConnect::new(version).bytes(),
            crate::wire::subscribe(version, &[], "a", 0),
            publish(0x30, version, "a", None, &[]),
            vec![0xC0, 0x00],
        ];
        client.send_bytes(&bytes.concat());
        client.expect("CONNACK", |packet| matches!(packet, Packet::ConnAck(_)).then_some(()));
        let mut answers: Vec<u8> = (0..3).map(|_| client.expect_bytes()[0]).collect();
        answers.sort_unstable();
        assert_eq!(answers, [0x30, 0x90, 0xD0], "SUBACK, the message and PINGRESP, in any order");
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

/// 3.1 of MQTT 3.1: the packet may end before what its flags announce.
#[test]
fn clients_of_3_1_may_leave_out_user_name_and_password() {
    let broker = Broker::start();
    let mut client = Client::dial(broker.address(), V31);
    client.send_bytes(&RawConnect::with(V31, |connect| connect.flags |= 0xC0));
    assert_eq!(client.expect_bytes(), [0x20, 2, 0, 0]);
}
