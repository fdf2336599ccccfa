//! Input that broke parsers and state machines.

use dunlin::packet::{
    Connect, ConnectProperties, Packet, PublishProperties, QoS, Subscribe, SubscriptionOptions, TopicFilter, TopicName,
    Unsubscribe, UserProperties, Will, encode,
};

use crate::siege::Siege;
use crate::support::client::{Client, V5, V311, connect, delivery, publish};

fn bytes(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(packet, V5, &mut bytes);
    bytes
}

/// A CONNECT with all that it can have.
fn full_connect(client_id: &'static str) -> Connect<'static> {
    let will = Will {
        topic: TopicName::new("w/t").unwrap(),
        payload: b"bye",
        qos: QoS::AtLeastOnce,
        retain: false,
        delay_interval: 5,
        message_expiry_interval: Some(9),
        properties: Default::default(),
    };
    let properties = ConnectProperties { session_expiry_interval: 7, receive_maximum: 3, ..Default::default() };
    Connect { client_id, will: Some(will), username: Some("u"), password: Some(b"p"), properties, ..connect(V5) }
}

/// One packet of each kind that a client sends once it is in.
fn packets_of_a_client() -> Vec<Vec<u8>> {
    let id = |number| dunlin::packet::PacketId::new(number).unwrap();
    let filters = vec![
        (TopicFilter::new("a/+/b").unwrap(), SubscriptionOptions::default()),
        (TopicFilter::new("#").unwrap(), SubscriptionOptions::default()),
    ];
    let subscribe = Subscribe {
        packet_id: id(1),
        subscription_identifier: Some(300),
        user_properties: UserProperties::default(),
        filters: filters.clone(),
    };
    let unsubscribe = Unsubscribe {
        packet_id: id(2),
        user_properties: UserProperties::default(),
        filters: filters.into_iter().map(|(filter, _)| filter).collect(),
    };
    let mut message = publish("a/x/b", "payload", delivery(QoS::ExactlyOnce, id(3)));
    message.properties = PublishProperties { message_expiry_interval: Some(60), topic_alias: Some(1), ..Default::default() };
    vec![
        bytes(&Packet::Subscribe(subscribe)),
        bytes(&Packet::Unsubscribe(unsubscribe)),
        bytes(&Packet::Publish(message)),
        vec![0x40, 4, 0, 1, 0x10, 0],
        vec![0x50, 4, 0, 1, 0x10, 0],
        vec![0x62, 4, 0, 1, 0x92, 0],
        vec![0x70, 4, 0, 1, 0x92, 0],
        vec![0xE0, 7, 0x04, 5, 0x11, 0, 0, 0, 0],
        vec![0xF0, 2, 0x19, 0],
    ]
}

/// What is sent to a stranger of each sort, and the broker hangs up, or waits for more and then hangs up.
fn throw(siege: &Siege, bytes: &[u8]) {
    let mut client = siege.dial();
    client.send_bytes(bytes);
    client.shut_write();
    client.rest();
}

fn throw_connected(siege: &Siege, bytes: &[u8]) {
    let mut client = siege.dial();
    client.log_in(Connect { client_id: "attacker", ..connect(V5) });
    client.send_bytes(bytes);
    client.shut_write();
    client.rest();
}

const LOOSE: &str = "[protection]\ntakeovers = 0\n";

/// mosquitto CVE-2017-7654, CVE-2021-34431, CVE-2023-3592; NanoMQ #2270, #2268; quinn-proto RUSTSEC-2026-0037.
#[test]
fn connects_cut_short_or_changed_at_any_byte_leak_nothing() {
    let siege = Siege::lay(LOOSE);
    let whole = bytes(&Packet::Connect(full_connect("attacker")));
    for _ in 0..3 {
        for cut in 1..whole.len() {
            throw(&siege, &whole[..cut]);
            for value in [0x00, 0xFF, whole[cut].wrapping_add(1), whole[cut].wrapping_sub(1)] {
                let mut changed = whole.clone();
                changed[cut] = value;
                throw(&siege, &changed);
            }
        }
    }
    siege.lift();
}

/// Field-aware errors of length: each byte one more and one less, each packet one field shorter and longer, with the Remaining Length
/// as it was and made to fit.
#[test]
fn packets_cut_short_or_changed_at_any_byte_leak_nothing() {
    let siege = Siege::lay(LOOSE);
    for packet in packets_of_a_client() {
        for at in 1..packet.len() {
            for value in [packet[at].wrapping_add(1), packet[at].wrapping_sub(1), 0xFF] {
                let mut changed = packet.clone();
                changed[at] = value;
                throw_connected(&siege, &changed);
            }
            let mut fitting = packet[..at.max(2)].to_vec();
            fitting[1] = (fitting.len() - 2) as u8;
            throw_connected(&siege, &fitting);
        }
        let mut longer = packet.clone();
        longer.push(0);
        longer[1] += 1;
        throw_connected(&siege, &longer);
    }
    siege.lift();
}

/// NanoMQ CVE-2026-21888: Variable Byte Integers of five bytes, ones longer than they need to be, and ones that never end.
#[test]
fn variable_integers_that_are_none_close_the_connection() {
    let siege = Siege::lay("");
    for length in [&[0xFF, 0xFF, 0xFF, 0xFF, 0x7F][..], &[0x80, 0x80, 0x80, 0x80, 0x00], &[0x80; 64], &[0xFF; 64]] {
        for first in [0x10, 0x30, 0x32, 0x82, 0xE0] {
            throw(&siege, &[&[first], length].concat());
            throw_connected(&siege, &[&[first], length].concat());
        }
    }
    siege.lift();
}

/// mosquitto CVE-2021-28166: packets that only a server sends, and the type that is reserved.
#[test]
fn packets_that_only_a_server_sends_close_the_connection() {
    let siege = Siege::lay("");
    for packet in [&[0x20, 3, 0, 0, 0][..], &[0x90, 4, 0, 1, 0, 0], &[0xB0, 4, 0, 1, 0, 0], &[0xD0, 0], &[0x00, 0], &[0xF0, 0]]
    {
        throw(&siege, packet);
        let mut client = siege.connect("attacker");
        client.send_bytes(packet);
        assert!(matches!(client.expect_close(), Some(0x81 | 0x82)), "{packet:02x?}");
        let mut old = Client::connect(siege.address(), V311, "attacker");
        old.send_bytes(packet);
        assert_eq!(old.expect_close(), None);
    }
    siege.lift();
}

/// mosquitto CVE-2021-34432: no topic, alias 0, an alias above the maximum, one that was never set.
#[test]
fn aliases_that_mean_nothing_close_the_connection_and_publish_nothing() {
    let siege = Siege::lay("");
    let mut witness = siege.connect("witness");
    witness.subscribe("#", QoS::AtMostOnce);
    for (alias, code) in [(None, 0x82), (Some(0), 0x94), (Some(33), 0x94), (Some(u16::MAX), 0x94), (Some(7), 0x82)] {
        let mut client = siege.connect("attacker");
        let properties: Vec<u8> = alias.map_or_else(|| vec![0], |alias: u16| [&[3, 0x23], &alias.to_be_bytes()[..]].concat());
        let body = [&[0, 0], &properties[..], b"x"].concat();
        client.send_bytes(&[&[0x30, body.len() as u8], &body[..]].concat());
        client.expect_disconnect(code);
    }
    // The healthy pair's messages are all that there is.
    for _ in 0..20 {
        witness.expect_publish(|publish| assert!(publish.topic.is_some_and(|topic| topic.as_str().starts_with("healthy/"))));
    }
    drop(witness);
    siege.lift();
}

/// mosquitto CVE-2021-41039: tens of thousands of user properties cost their sender its connection, and little else.
#[test]
fn tens_of_thousands_of_user_properties_are_refused_before_they_cost() {
    let siege = Siege::lay("[limits]\nmax_packet_size = \"4MiB\"\nmax_connect_size = \"1MiB\"\n");
    let properties = |count: usize| {
        let each = [0x26, 0, 0, 0, 0].repeat(count);
        [varint(each.len()), each].concat()
    };
    let packet = |first: u8, body: Vec<u8>| [vec![first], varint(body.len()), body].concat();
    for _ in 0..10 {
        let connect = [b"\x00\x04MQTT\x05\x02\x00\x3c".to_vec(), properties(50_000), b"\x00\x01c".to_vec()].concat();
        throw(&siege, &packet(0x10, connect));
        for body in [
            [b"\x00\x01t".to_vec(), properties(100_000), b"x".to_vec()].concat(),
            [b"\x00\x01t".to_vec(), properties(65), b"x".to_vec()].concat(),
        ] {
            let mut client = siege.connect("attacker");
            client.send_bytes(&packet(0x30, body));
            client.expect_disconnect(0x97);
        }
        let mut client = siege.connect("attacker");
        client.send_bytes(&packet(0x82, [vec![0, 1], properties(100_000), b"\x00\x01t\x00".to_vec()].concat()));
        client.expect_disconnect(0x97);
    }
    assert!(siege.hits("max_user_properties") >= 30.0);
    siege.assert_memory_below(16 << 20);
    siege.lift();
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value % 128) as u8;
        value /= 128;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

/// mosquitto CVE-2023-28366, EMQX #14815: the same QoS 2 identifier again and again, never released.
#[test]
fn a_qos_2_publish_that_is_never_released_is_delivered_once_and_costs_once() {
    let siege = Siege::lay("");
    let mut witness = siege.connect("witness");
    witness.subscribe("again", QoS::AtMostOnce);
    for version in [V5, V311] {
        let mut client = Client::connect(siege.address(), version, "attacker");
        let id = dunlin::packet::PacketId::new(7).unwrap();
        let payload = "x".repeat(1000);
        let mut message = publish("again", &payload, delivery(QoS::ExactlyOnce, id));
        for round in 0..20_000 {
            client.send(&Packet::Publish(message.clone()));
            message.dup = true;
            if round % 100 == 99 {
                for _ in 0..100 {
                    client.expect("PUBREC", |packet| {
                        matches!(packet, Packet::PubRec(ack) if !ack.reason.is_error()).then_some(())
                    });
                }
            }
        }
        witness.expect_message("again", &payload);
        witness.expect_nothing();
    }
    siege.assert_memory_below(4 << 20);
    drop(witness);
    siege.lift();
}
