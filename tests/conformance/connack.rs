//! 3.2 CONNACK.

use dunlin::packet::{Connect, ConnectProperties, Packet, QoS};

use crate::steps::{expiring, keeping};
use crate::support::client::{V5, V31, V311, connect};
use crate::support::{Broker, Client};
use crate::wire::{Answer, Bystanders, RawConnect, publish, text_property};

/// [MQTT-3.2.0-1], [MQTT-3.2.0-2], [MQTT3-3.2.0-1]: a session with messages waiting, whose client sends more right behind CONNECT.
#[test]
fn connack_comes_before_anything_else_and_once() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let (mut client, _) = Client::connect_with(broker.address(), keeping(version, "waiting"));
        client.subscribe("a", QoS::AtLeastOnce);
        client.cut();
        Client::connect(broker.address(), V5, "publisher").publish("a", "x", QoS::AtLeastOnce);
        let mut client = Client::dial(broker.address(), version);
        client.send(&Packet::Connect(keeping(version, "waiting")));
        client.send_bytes(&[0xC0, 0]);
        let mut kinds = Vec::new();
        while kinds.len() < 3 {
            kinds.push(client.expect_bytes()[0] >> 4);
        }
        assert_eq!(kinds[0], 2, "{kinds:?}");
        assert!(!kinds[1..].contains(&2), "{kinds:?}");
        client.cut();
        Client::connect(broker.address(), version, "waiting").cut();
    }
}

/// [MQTT-3.2.2-1] to [MQTT-3.2.2-3], [MQTT3-3.2.2-1] to [MQTT3-3.2.2-3]; 3.1 has no Session Present (its byte is reserved).
#[test]
fn session_present_is_the_only_flag_and_tells_whether_there_was_a_session() {
    let broker = Broker::start();
    for (version, present) in [(V31, 0), (V311, 1), (V5, 1)] {
        let mut flags = Vec::new();
        for clean_start in [true, false, false, true] {
            let mut client = Client::dial(broker.address(), version);
            client.send(&Packet::Connect(Connect { clean_start, ..keeping(version, "present") }));
            flags.push(client.expect_bytes()[2]);
            client.send_bytes(&[0xE0, 0]);
            client.expect_close();
        }
        // The first session of 5.0 has an expiry, and is there for the second connection.
        let second = if version == V5 { present } else { 0 };
        assert_eq!(flags, [0, second, present, 0], "{version}");
        Client::connect(broker.address(), version, "present").cut();
    }
}

/// [MQTT-3.2.2-6], [MQTT-3.2.2-7], [MQTT3-3.2.2-4], [MQTT3-3.2.2-5]: also where there is a session.
#[test]
fn a_refusal_has_no_session_present_and_is_followed_by_the_close() {
    let broker = Broker::start();
    let (mut client, _) = Client::connect_with(broker.address(), keeping(V5, "raw"));
    client.send_bytes(&[0xE0, 0]);
    client.expect_close();
    let mut others = Bystanders::beside(broker);
    let wrong_method = RawConnect::with(V5, |connect| {
        connect.flags = 0;
        connect.properties = crate::wire::section(&text_property(0x15, "nonsense"));
    });
    let no_identifier = RawConnect::with(V311, |connect| (connect.flags, connect.fields) = (0, vec![Vec::new()]));
    others.refuse_first(&[("5.0", wrong_method, Answer::Reason(0x8C)), ("3.1.1", no_identifier, Answer::ReturnCode(2))]);
    let (_, was_present) = Client::connect_with(others.broker.address(), keeping(V5, "raw"));
    assert!(was_present, "a refused login does not touch the session");
}

/// 3.2.1 of 3.1.1: always four bytes.
#[test]
fn older_clients_are_told_no_properties() {
    let broker = Broker::start();
    for version in [V31, V311] {
        let mut client = Client::dial(broker.address(), version);
        client.send_bytes(&RawConnect::new(version).bytes());
        assert_eq!(client.expect_bytes(), [0x20, 2, 0, 0]);
    }
}

/// 3.2.2.3.2: told only where it is not what the client asked for.
#[test]
fn a_session_expiry_that_is_shortened_is_told() {
    let broker = Broker::with_config(
        "[[listeners]]\nname = \"a\"\nurl = \"tcp://127.0.0.1:0\"\n[limits]\nmax_session_expiry = \"100s\"\n",
    );
    for (wanted, told) in [(0, None), (100, None), (101, Some(100)), (u32::MAX, Some(100))] {
        let (_, seen) = Client::connack(broker.address(), expiring("expiring", true, wanted), |properties| {
            properties.session_expiry_interval
        });
        assert_eq!(seen, told, "{wanted}");
    }
}

/// 3.2.2.3: what is not mentioned is available without bounds, and what is told is meant.
#[test]
fn limits_of_the_server_are_told() {
    let broker = Broker::with_config(
        "[[listeners]]\nname = \"a\"\nurl = \"tcp://127.0.0.1:0\"\n[limits]\nreceive_maximum = 7\nmax_packet_size = \"2KiB\"\n\
         topic_alias_maximum = 3\n",
    );
    let (_, told) = Client::connack(broker.address(), connect(V5), |properties| {
        assert_eq!(properties.maximum_qos, QoS::ExactlyOnce);
        assert!(properties.retain_available && properties.wildcard_subscription_available);
        assert!(properties.subscription_identifiers_available && properties.shared_subscription_available);
        (properties.receive_maximum, properties.maximum_packet_size, properties.topic_alias_maximum)
    });
    assert_eq!(told, (7, Some(2048), 3));
}

/// [MQTT-3.2.2-15].
#[test]
fn a_packet_over_the_servers_maximum_packet_size_closes_the_connection() {
    let broker =
        Broker::with_config("[[listeners]]\nname = \"a\"\nurl = \"tcp://127.0.0.1:0\"\n[limits]\nmax_packet_size = \"2KiB\"\n");
    let mut others = Bystanders::beside(broker);
    let sized = |version, size: usize| {
        // Three bytes of fixed header, three of topic.
        let head = if version == V5 { 7 } else { 6 };
        let topic = crate::wire::prefixed("a");
        let properties: &[u8] = if version == V5 { &[0] } else { &[] };
        crate::wire::packet(0x30, &[&topic, properties, &vec![b'x'; size - head]])
    };
    for version in [V5, V311] {
        others.refuse(version, &[("one byte more", sized(version, 2049), 0x95)]);
        // Told by the fixed header alone.
        others.refuse(version, &[("announced only", sized(version, 2049)[..3].to_vec(), 0x95)]);
    }
}

/// [MQTT-3.2.2-15]: the bound itself is within it.
#[test]
fn a_packet_of_just_the_servers_maximum_packet_size_is_published() {
    let broker =
        Broker::with_config("[[listeners]]\nname = \"a\"\nurl = \"tcp://127.0.0.1:0\"\n[limits]\nmax_packet_size = \"2KiB\"\n");
    let mut client = Client::connect(broker.address(), V5, "both");
    client.subscribe("a", QoS::AtMostOnce);
    let payload = "x".repeat(2048 - 7);
    client.publish("a", &payload, QoS::AtMostOnce);
    client.expect_message("a", &payload);
}

/// [MQTT-3.2.2-17], [MQTT-3.2.2-18]; a maximum of zero allows none.
#[test]
fn an_alias_over_the_servers_topic_alias_maximum_closes_the_connection() {
    for maximum in [0u16, 3] {
        let broker = Broker::with_config(&format!(
            "[[listeners]]\nname = \"a\"\nurl = \"tcp://127.0.0.1:0\"\n[limits]\ntopic_alias_maximum = {maximum}\n"
        ));
        let mut others = Bystanders::beside(broker);
        let alias = (maximum + 1).to_be_bytes();
        others.refuse(V5, &[("alias", publish(0x30, V5, "a", None, &[0x23, alias[0], alias[1]]), 0x94)]);
    }
}

/// [MQTT-3.2.2-19], [MQTT-3.2.2-20], [MQTT-3.14.2-3]: the refusal is told, the words are left out.
#[test]
fn reason_strings_give_way_to_the_clients_maximum_packet_size() {
    let broker = Broker::start();
    let sizes = [(None, true), (Some(1000), true), (Some(20), false)];
    for (size, has_words) in sizes {
        let properties =
            ConnectProperties { maximum_packet_size: size, authentication_method: Some("nonsense"), ..Default::default() };
        let mut client = Client::dial(broker.address(), V5);
        client.send(&Packet::Connect(Connect { properties, ..connect(V5) }));
        let words = client.expect("CONNACK", |packet| match packet {
            Packet::ConnAck(ack) if ack.reason as u8 == 0x8C => Some(ack.properties.reason_string.is_some()),
            _ => None,
        });
        assert_eq!(words, has_words, "CONNACK within {size:?}");
    }
    for (size, has_words) in [(None, true), (Some(1000), true), (Some(17), false)] {
        let properties = ConnectProperties { maximum_packet_size: size, ..Default::default() };
        let (mut client, _) = Client::connect_with(broker.address(), Connect { client_id: "terse", properties, ..connect(V5) });
        client.send_bytes(&[0x00, 0x00]);
        let words = client.expect("DISCONNECT", |packet| match packet {
            Packet::Disconnect(disconnect) => Some(disconnect.reason_string.is_some()),
            _ => None,
        });
        assert_eq!(words, has_words, "DISCONNECT within {size:?}");
    }
}

/// 3.2.2.3.15, 4.10: what is offered can be used.
#[test]
fn response_information_is_a_topic_for_this_client() {
    let broker = Broker::start();
    let mut topics = Vec::new();
    for client_id in ["asking1", "asking2"] {
        let properties = ConnectProperties { request_response_information: true, ..Default::default() };
        let (mut client, topic) =
            Client::connack(broker.address(), Connect { client_id, properties, ..connect(V5) }, |properties| {
                properties.response_information.map(String::from)
            });
        let topic = topic.expect("response information");
        client.subscribe(&format!("{topic}#"), QoS::AtMostOnce);
        topics.push(topic);
    }
    assert_ne!(topics[0], topics[1]);
}
