//! 1.5, 2.1 and 2.2.1: strings, numbers, fixed headers, packet identifiers.

use dunlin::packet::QoS;

use crate::support::client::{V5, V311};
use crate::support::{Broker, Client};
use crate::wire::{
    Answer, Bystanders, RawConnect, packet, prefixed, publish, section, subscribe, text_property, unsubscribe, user_property,
};

/// What is no UTF-8: a byte that never occurs, a cut and an overlong sequence, surrogates, a code point above U+10FFFF.
const ILL_FORMED: [&[u8]; 6] = [b"a\xFF", b"a\xE2\x82", b"a\xC0\xAF", b"\xED\xA0\x80", b"\xED\xBF\xBF", b"\xF4\x90\x80\x80"];

/// Packets of a connected 5.0 client with this string in every place where a string can be.
fn strings_after_connect(text: &[u8]) -> Vec<(&'static str, Vec<u8>, u8)> {
    let pub_with = |properties: Vec<u8>| publish(0x30, V5, "a", None, &properties);
    vec![
        ("topic name", publish(0x30, V5, text, None, &[]), 0x81),
        ("response topic", pub_with(text_property(0x08, text)), 0x81),
        ("content type", pub_with(text_property(0x03, text)), 0x81),
        ("name of a user property", pub_with(user_property(text, "v")), 0x81),
        ("value of a user property", pub_with(user_property("n", text)), 0x81),
        ("topic filter of SUBSCRIBE", subscribe(V5, &[], text, 0), 0x81),
        ("topic filter of UNSUBSCRIBE", unsubscribe(V5, &[], text), 0x81),
        ("reason string of PUBACK", packet(0x40, &[&[0, 1, 0], &section(&text_property(0x1F, text))]), 0x81),
        ("reason string of DISCONNECT", packet(0xE0, &[&[4], &section(&text_property(0x1F, text))]), 0x81),
        ("method of AUTH", packet(0xF0, &[&[0x18], &section(&text_property(0x15, text))]), 0x81),
    ]
}

fn strings_of_connect(text: &[u8]) -> Vec<(&'static str, Vec<u8>, Answer)> {
    let malformed = Answer::Reason(0x81);
    let text = text.to_vec();
    vec![
        ("client identifier", RawConnect::with(V5, |connect| connect.fields = vec![text.clone()]), malformed),
        ("client identifier, 3.1.1", RawConnect::with(V311, |connect| connect.fields = vec![text.clone()]), Answer::Nothing),
        ("will topic", RawConnect::with_will(V5, &[], &text, b"x"), malformed),
        ("will topic, 3.1.1", RawConnect::with_will(V311, &[], &text, b"x"), Answer::Nothing),
        ("content type of a will", RawConnect::with_will(V5, &text_property(0x03, &text), "a", b"x"), malformed),
        ("authentication method", RawConnect::with_properties(&text_property(0x15, &text)), malformed),
        ("user property", RawConnect::with_properties(&user_property(&text, "v")), malformed),
        ("user name", with_username(V5, &text), malformed),
        ("user name, 3.1.1", with_username(V311, &text), Answer::Nothing),
    ]
}

fn with_username(version: dunlin::packet::ProtocolVersion, name: &[u8]) -> Vec<u8> {
    RawConnect::with(version, |connect| {
        connect.flags |= 0x80;
        connect.fields.push(name.to_vec());
    })
}

fn strings_of_old_packets(text: &[u8]) -> Vec<(&'static str, Vec<u8>, u8)> {
    vec![
        ("topic name, 3.1.1", publish(0x30, V311, text, None, &[]), 0),
        ("topic filter of SUBSCRIBE, 3.1.1", subscribe(V311, &[], text, 0), 0),
        ("topic filter of UNSUBSCRIBE, 3.1.1", unsubscribe(V311, &[], text), 0),
    ]
}

/// [MQTT-1.5.4-1], [MQTT-1.5.7-1], [MQTT-3.1.3-4], [MQTT-3.1.3-11], [MQTT-3.1.3-12], [MQTT-3.3.2-13], [MQTT-3.3.2-19],
/// [MQTT-3.8.3-1], [MQTT-3.10.3-1]; [MQTT3-1.5.3-1], [MQTT3-3.1.3-4], [MQTT3-3.1.3-10], [MQTT3-3.1.3-11].
#[test]
fn ill_formed_utf8_in_any_string_closes_the_connection() {
    let mut others = Bystanders::start();
    for text in ILL_FORMED {
        others.refuse_first(&strings_of_connect(text));
        others.refuse(V5, &strings_after_connect(text));
        others.refuse(V311, &strings_of_old_packets(text));
    }
}

/// [MQTT-1.5.4-2], [MQTT3-1.5.3-2], [MQTT-4.7.3-2].
#[test]
fn a_null_character_in_any_string_closes_the_connection() {
    let mut others = Bystanders::start();
    others.refuse_first(&strings_of_connect(b"a\0b"));
    others.refuse(V5, &strings_after_connect(b"a\0b"));
    others.refuse(V311, &strings_of_old_packets(b"a\0b"));
}

/// [MQTT-1.5.4-3], [MQTT3-1.5.3-3].
#[test]
fn a_byte_order_mark_is_a_character_like_any_other() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let mut client = Client::connect(broker.address(), version, "bom");
        client.subscribe("\u{FEFF}a", QoS::AtMostOnce);
        client.publish("a", "without", QoS::AtMostOnce);
        client.publish("\u{FEFF}a", "with", QoS::AtMostOnce);
        client.expect_message("\u{FEFF}a", "with");
    }
}

/// 1.5.4: nothing but U+0000 and ill-formed sequences is forbidden; characters are neither normalized nor compared as if they were.
#[test]
fn topics_are_compared_character_by_character_and_handed_on_as_they_are() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "letters");
    client.subscribe("e\u{301}", QoS::AtMostOnce);
    client.subscribe("\u{1F600}/\u{10FFFF}", QoS::AtMostOnce);
    client.publish("\u{e9}", "composed", QoS::AtMostOnce);
    client.publish("E\u{301}", "capital", QoS::AtMostOnce);
    client.publish("e\u{301}", "decomposed", QoS::AtMostOnce);
    client.expect_message("e\u{301}", "decomposed");
    client.publish("\u{1F600}/\u{10FFFF}", "beyond the basic plane", QoS::AtMostOnce);
    client.expect_message("\u{1F600}/\u{10FFFF}", "beyond the basic plane");
}

/// [MQTT-1.5.5-1]: each of these could be shorter.
#[test]
fn numbers_longer_than_needed_are_malformed() {
    let mut others = Bystanders::start();
    others.refuse(
        V5,
        &[
            ("remaining length of PINGREQ", vec![0xC0, 0x80, 0x00], 0x81),
            ("remaining length of PUBLISH", [&[0x30, 0x85, 0x80, 0x00][..], b"\0\x01a\0x"].concat(), 0x81),
            ("property length", packet(0x30, &[&prefixed("a"), &[0x80, 0x00], b"x"]), 0x81),
            ("subscription identifier", subscribe(V5, &[0x0B, 0x81, 0x00], "a", 0), 0x81),
        ],
    );
    let mut connect = RawConnect::new(V5).bytes();
    let length = connect[1];
    connect.splice(1..2, [length | 0x80, 0x00]);
    others.refuse_first(&[("remaining length of CONNECT", connect, Answer::Reason(0x81))]);
}

/// 2.1.4, 3.1.1 §2.2.3: told before a fifth byte has come.
#[test]
fn numbers_of_more_than_four_bytes_are_malformed() {
    let mut others = Bystanders::start();
    let endless = [0x80, 0x80, 0x80, 0x80];
    let remaining = |first: u8| [&[first][..], &endless].concat();
    others.refuse(
        V5,
        &[
            ("remaining length", remaining(0x30), 0x81),
            ("property length", packet(0x30, &[&prefixed("a"), &endless, &[0x01], b"x"]), 0x81),
            ("subscription identifier", subscribe(V5, &[0x0B, 0x80, 0x80, 0x80, 0x80, 0x01], "a", 0), 0x81),
        ],
    );
    others.refuse(V311, &[("remaining length, 3.1.1", remaining(0x30), 0)]);
    others.refuse_first(&[("remaining length of CONNECT", remaining(0x10), Answer::Nothing)]);
}

/// 3.1.1 does not ask for the shortest form.
#[test]
fn clients_of_3_1_1_may_pad_the_remaining_length() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V311, "padded");
    client.send_bytes(&[0xC0, 0x80, 0x80, 0x00]);
    assert_eq!(client.expect_bytes(), [0xD0, 0x00]);
}

/// [MQTT-2.1.3-1], [MQTT3-2.2.2-1], [MQTT3-2.2.2-2], [MQTT-3.8.1-1], [MQTT-3.10.1-1], [MQTT-3.14.1-1], [MQTT-3.15.1-1],
/// [MQTT-3.6.1-1], and their counterparts of 3.1.1.
#[test]
fn reserved_flags_of_the_fixed_header_must_be_as_the_specification_says() {
    let mut others = Bystanders::start();
    for version in [V5, V311] {
        let mut cases = Vec::new();
        for flags in [1, 2, 4, 8, 15] {
            cases.push(("PUBACK", packet(0x40 | flags, &[&[0, 1]]), 0x81));
            cases.push(("PUBREC", packet(0x50 | flags, &[&[0, 1]]), 0x81));
            cases.push(("PUBCOMP", packet(0x70 | flags, &[&[0, 1]]), 0x81));
            cases.push(("PINGREQ", vec![0xC0 | flags, 0], 0x81));
            cases.push(("DISCONNECT", vec![0xE0 | flags, 0], 0x81));
        }
        for flags in [0, 1, 3, 4, 6, 10, 15] {
            cases.push(("PUBREL", packet(0x60 | flags, &[&[0, 1]]), 0x81));
            let with_flags = |mut bytes: Vec<u8>| {
                bytes[0] = bytes[0] & 0xF0 | flags;
                bytes
            };
            cases.push(("SUBSCRIBE", with_flags(subscribe(version, &[], "a", 0)), 0x81));
            cases.push(("UNSUBSCRIBE", with_flags(unsubscribe(version, &[], "a")), 0x81));
        }
        others.refuse(version, &cases);
    }
    others.refuse(V5, &[("AUTH", packet(0xF1, &[&[0x18], &section(&text_property(0x15, "x"))]), 0x81)]);
    let wrong = |flags: u8| RawConnect::with(V5, |connect| connect.first = 0x10 | flags);
    others.refuse_first(&[("CONNECT", wrong(1), Answer::Reason(0x81)), ("CONNECT", wrong(8), Answer::Reason(0x81))]);
    let wrong = RawConnect::with(V311, |connect| connect.first = 0x12);
    others.refuse_first(&[("CONNECT of 3.1.1", wrong, Answer::Nothing)]);
}

/// Table 2-1 and its counterpart of 3.1.1.
#[test]
fn packet_types_that_a_client_may_not_send_close_the_connection() {
    let mut others = Bystanders::start();
    let of_servers = |version| {
        let v5 = version == V5;
        let properties: &[u8] = if v5 { &[0] } else { &[] };
        let codes: &[u8] = if v5 { &[0] } else { &[] };
        vec![
            ("type 0", vec![0x00, 0x00], 0x81),
            ("CONNACK", packet(0x20, &[&[0, 0], properties]), 0x82),
            ("SUBACK", packet(0x90, &[&[0, 1], properties, &[0]]), 0x82),
            ("UNSUBACK", packet(0xB0, &[&[0, 1], properties, codes]), 0x82),
            ("PINGRESP", vec![0xD0, 0x00], 0x82),
        ]
    };
    others.refuse(V5, &of_servers(V5));
    others.refuse(V311, &of_servers(V311));
    others.refuse(V311, &[("type 15, which 3.1.1 has not", vec![0xF0, 0x00], 0)]);
}

/// [MQTT-2.2.1-2], [MQTT3-2.3.1-5].
#[test]
fn a_publish_with_qos_0_carries_no_packet_identifier() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    for (version, bytes) in [(V311, &b"\x30\x05\0\x01axy"[..]), (V5, b"\x30\x06\0\x01a\0xy")] {
        let mut subscriber = Client::connect(broker.address(), version, "subscriber");
        subscriber.subscribe("a", QoS::AtMostOnce);
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            publisher.publish("a", "xy", qos);
            assert_eq!(subscriber.expect_bytes(), bytes);
        }
    }
}

/// [MQTT-2.2.1-3], [MQTT3-2.3.1-1].
#[test]
fn packet_identifier_zero_is_a_protocol_error() {
    let mut others = Bystanders::start();
    for version in [V5, V311] {
        let zero = |mut bytes: Vec<u8>| {
            bytes[3] = 0;
            bytes
        };
        let acknowledgement = |first| (("acknowledgement"), packet(first, &[&[0, 0]]), 0x82);
        others.refuse(
            version,
            &[
                ("PUBLISH with QoS 1", publish(0x32, version, "a", Some(0), &[]), 0x82),
                ("PUBLISH with QoS 2", publish(0x34, version, "a", Some(0), &[]), 0x82),
                ("SUBSCRIBE", zero(subscribe(version, &[], "a", 0)), 0x82),
                ("UNSUBSCRIBE", zero(unsubscribe(version, &[], "a")), 0x82),
                acknowledgement(0x40),
                acknowledgement(0x50),
                acknowledgement(0x62),
                acknowledgement(0x70),
            ],
        );
    }
}

/// [MQTT-2.2.1-4], [MQTT3-2.3.1-2]; an identifier is free again once its exchange is over.
#[test]
fn messages_under_way_to_a_client_have_identifiers_of_their_own() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let mut publisher = Client::connect(broker.address(), version, "publisher");
        let mut subscriber = Client::connect(broker.address(), version, "subscriber");
        subscriber.subscribe("a", QoS::ExactlyOnce);
        let mut seen = Vec::new();
        for number in 0..50 {
            let qos = if number % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            publisher.publish("a", "x", qos);
            seen.push(subscriber.expect_message("a", "x").packet_id().expect("an identifier").get());
        }
        let mut distinct = seen.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), seen.len(), "{seen:?}");
    }
}

/// 2.2.1: client and server number their packets independently of each other.
#[test]
fn both_ends_may_use_the_same_packet_identifier_at_the_same_time() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "echo");
    client.subscribe("a", QoS::AtLeastOnce);
    client.publish("a", "first", QoS::AtMostOnce);
    client.expect_message("a", "first");
    for id in 1..5 {
        client.send_bytes(&publish(0x32, V5, "a", Some(id), &[]));
        assert_eq!(client.expect_bytes(), [0x40, 2, 0, id as u8]);
        assert_eq!(client.expect_message("a", "payload").packet_id().map(|id| id.get()), Some(id));
    }
}

/// 2.2.2.1, 4.13.1: a packet whose fields do not add up to its length.
#[test]
fn fields_that_reach_past_the_end_or_leave_bytes_over_are_malformed() {
    let mut others = Bystanders::start();
    for version in [V5, V311] {
        let v5 = version == V5;
        let mut cases = vec![
            ("PUBLISH without a topic", packet(0x30, &[]), 0x81),
            ("PUBLISH with half a topic length", packet(0x30, &[&[0]]), 0x81),
            ("PUBLISH whose topic is longer than the packet", packet(0x30, &[&[0, 9], b"a"]), 0x81),
            ("PUBLISH without its identifier", packet(0x32, &[&prefixed("a")]), 0x81),
            ("PUBLISH with half an identifier", packet(0x34, &[&prefixed("a"), &[0]]), 0x81),
            ("PUBACK without an identifier", packet(0x40, &[]), 0x81),
            ("PUBREC with half an identifier", packet(0x50, &[&[1]]), 0x81),
            ("PUBREL without an identifier", packet(0x62, &[]), 0x81),
            ("PUBCOMP without an identifier", packet(0x70, &[]), 0x81),
            ("SUBSCRIBE without an identifier", packet(0x82, &[]), 0x81),
            ("UNSUBSCRIBE with half an identifier", packet(0xA2, &[&[1]]), 0x81),
            ("PINGREQ with a body", packet(0xC0, &[&[0]]), 0x81),
        ];
        let head: &[u8] = if v5 { &[0, 1, 0] } else { &[0, 1] };
        cases.push(("SUBSCRIBE without options", packet(0x82, &[head, &prefixed("a")]), 0x81));
        cases.push(("SUBSCRIBE with half a second filter", packet(0x82, &[head, &prefixed("a"), &[0, 0, 7], b"b"]), 0x81));
        cases.push(("UNSUBSCRIBE with half a filter", packet(0xA2, &[head, &[0, 2], b"a"]), 0x81));
        if !v5 {
            cases.push(("PUBACK of 3.1.1 with more than an identifier", packet(0x40, &[&[0, 1, 0]]), 0x81));
            cases.push(("DISCONNECT of 3.1.1 with a body", packet(0xE0, &[&[0]]), 0x81));
        }
        others.refuse(version, &cases);
    }
    others.refuse(
        V5,
        &[
            ("properties longer than the packet", packet(0x30, &[&prefixed("a"), &[9], &[0x01, 1]]), 0x81),
            ("a property longer than the section", publish(0x30, V5, "a", None, &[0x02, 0, 0, 0]), 0x81),
            ("a property without a value", publish(0x30, V5, "a", None, &[0x01]), 0x81),
            ("half a user property", publish(0x30, V5, "a", None, b"\x26\0\x01n"), 0x81),
            ("PUBACK with bytes left over", packet(0x40, &[&[0, 1, 0, 0, 0]]), 0x81),
            ("PUBREL with bytes left over", packet(0x62, &[&[0, 1, 0, 0, 0]]), 0x81),
            ("DISCONNECT with bytes left over", packet(0xE0, &[&[0, 0, 0]]), 0x81),
        ],
    );
}

/// The same of CONNECT, cut after each of its bytes.
#[test]
fn a_connect_that_ends_too_early_is_refused() {
    let mut others = Bystanders::start();
    for (version, answer) in [(V5, Answer::Reason(0x81)), (V311, Answer::Nothing)] {
        let whole = RawConnect::with(version, |connect| {
            connect.flags = 0xC2;
            connect.fields.extend([b"user".to_vec(), b"password".to_vec()]);
        });
        for length in 2..whole.len() {
            let mut cut = whole[..length].to_vec();
            cut[1] = (length - 2) as u8;
            // Until the version is told, nobody knows in which language to answer.
            let answer = if length < 9 { Answer::Nothing } else { answer };
            others.refuse_first(&[(&format!("CONNECT cut to {length} bytes"), cut, answer)]);
        }
        let longer = RawConnect::with(version, |connect| connect.tail = vec![0]);
        others.refuse_first(&[("CONNECT with a byte left over", longer, answer)]);
    }
}
