//! 2.2.2: what holds for the properties of every packet.

use crate::support::Client;
use crate::support::client::V5;
use crate::wire::{Answer, Bystanders, RawConnect, packet, prefixed, publish, section, subscribe, text_property, unsubscribe};

/// [MQTT-2.2.2-1].
#[test]
fn a_packet_without_properties_has_a_property_length_of_zero() {
    let mut others = Bystanders::start();
    let mut client = Client::connect(others.broker.address(), V5, "lengths");
    client.send_bytes(&subscribe(V5, &[], "a", 1));
    assert_eq!(client.expect_bytes(), [0x90, 4, 0, 1, 0, 1]);
    client.send_bytes(&unsubscribe(V5, &[], "a"));
    assert_eq!(client.expect_bytes(), [0xB0, 4, 0, 1, 0, 0]);
    others.refuse(
        V5,
        &[
            ("PUBLISH without a property length", packet(0x30, &[&prefixed("a")]), 0x81),
            ("SUBSCRIBE without a property length", packet(0x82, &[&[0, 1]]), 0x81),
        ],
    );
    let without = RawConnect::with(V5, |connect| (connect.properties, connect.fields) = (Vec::new(), Vec::new()));
    others.refuse_first(&[("CONNECT without a property length", without, Answer::Reason(0x81))]);
}

/// 2.2.2.2: neither is an identifier without a meaning allowed, nor one that belongs to other packets.
#[test]
fn properties_that_a_packet_may_not_carry_are_malformed() {
    let mut others = Bystanders::start();
    let pub_with = |properties: &[u8]| publish(0x30, V5, "a", None, properties);
    let ack_with = |first: u8, properties: &[u8]| packet(first, &[&[0, 1, 0], &section(properties)]);
    others.refuse(
        V5,
        &[
            ("PUBLISH with an unknown property", pub_with(&[0x7F, 0x00]), 0x81),
            ("PUBLISH with identifier 0", pub_with(&[0x00, 0x00]), 0x81),
            ("PUBLISH with an identifier of two bytes", pub_with(&[0x81, 0x01, 0x00]), 0x81),
            ("PUBLISH with a session expiry", pub_with(&[0x11, 0, 0, 0, 1]), 0x81),
            ("PUBLISH with a will delay", pub_with(&[0x18, 0, 0, 0, 1]), 0x81),
            ("PUBLISH with a reason string", pub_with(&text_property(0x1F, "x")), 0x81),
            ("SUBSCRIBE with a message expiry", subscribe(V5, &[0x02, 0, 0, 0, 1], "a", 0), 0x81),
            ("SUBSCRIBE with a topic alias", subscribe(V5, &[0x23, 0, 1], "a", 0), 0x81),
            ("UNSUBSCRIBE with a subscription identifier", unsubscribe(V5, &[0x0B, 1], "a"), 0x81),
            ("PUBACK with a content type", ack_with(0x40, &text_property(0x03, "x")), 0x81),
            ("PUBREC with a topic alias", ack_with(0x50, &[0x23, 0, 1]), 0x81),
            ("PUBREL with a receive maximum", ack_with(0x62, &[0x21, 0, 1]), 0x81),
            ("PUBCOMP with correlation data", ack_with(0x70, &text_property(0x09, "x")), 0x81),
            ("DISCONNECT with a receive maximum", packet(0xE0, &[&[0], &section(&[0x21, 0, 1])]), 0x81),
            ("AUTH with a session expiry", packet(0xF0, &[&[0x18], &section(&[0x11, 0, 0, 0, 1])]), 0x81),
        ],
    );
    let refused = Answer::Reason(0x81);
    others.refuse_first(&[
        ("CONNECT with an unknown property", RawConnect::with_properties(&[0x7F, 0x00]), refused),
        ("CONNECT with a topic alias", RawConnect::with_properties(&[0x23, 0, 1]), refused),
        ("CONNECT with a will delay", RawConnect::with_properties(&[0x18, 0, 0, 0, 1]), refused),
        ("CONNECT with a server keep alive", RawConnect::with_properties(&[0x13, 0, 1]), refused),
        ("will with a topic alias", RawConnect::with_will(V5, &[0x23, 0, 1], "a", b"x"), refused),
        ("will with a session expiry", RawConnect::with_will(V5, &[0x11, 0, 0, 0, 1], "a", b"x"), refused),
    ]);
}

/// Said of each property where it is described: "It is a Protocol Error to include … more than once".
#[test]
fn properties_that_are_there_twice_are_a_protocol_error() {
    let mut others = Bystanders::start();
    let pub_twice = |property: &[u8]| publish(0x30, V5, "a", None, &[property, property].concat());
    let reason_twice = section(&[text_property(0x1F, "x"), text_property(0x1F, "x")].concat());
    others.refuse(
        V5,
        &[
            ("payload format indicator", pub_twice(&[0x01, 1]), 0x82),
            ("message expiry", pub_twice(&[0x02, 0, 0, 0, 9]), 0x82),
            ("topic alias", pub_twice(&[0x23, 0, 1]), 0x82),
            ("response topic", pub_twice(&text_property(0x08, "r")), 0x82),
            ("correlation data", pub_twice(&text_property(0x09, "c")), 0x82),
            ("content type", pub_twice(&text_property(0x03, "t")), 0x82),
            ("subscription identifier", subscribe(V5, &[0x0B, 1, 0x0B, 2], "a", 0), 0x82),
            ("reason string of PUBACK", packet(0x40, &[&[0, 1, 0], &reason_twice]), 0x82),
            ("reason string of PUBREL", packet(0x62, &[&[0, 1, 0], &reason_twice]), 0x82),
            ("reason string of DISCONNECT", packet(0xE0, &[&[0], &reason_twice]), 0x82),
            ("expiry of DISCONNECT", packet(0xE0, &[&[0], &section(&[0x11, 0, 0, 0, 0, 0x11, 0, 0, 0, 0])]), 0x82),
        ],
    );
    let twice: [(&str, &[u8]); 8] = [
        ("session expiry", &[0x11, 0, 0, 0, 1]),
        ("receive maximum", &[0x21, 0, 1]),
        ("maximum packet size", &[0x27, 0, 1, 0, 0]),
        ("topic alias maximum", &[0x22, 0, 1]),
        ("request response information", &[0x19, 1]),
        ("request problem information", &[0x17, 1]),
        ("authentication method", b"\x15\0\x01m"),
        ("authentication data", b"\x16\0\x01d"),
    ];
    for (what, property) in twice {
        let bytes = RawConnect::with_properties(&[property, property].concat());
        others.refuse_first(&[(what, bytes, Answer::Reason(0x82))]);
    }
    let of_wills: [(&str, &[u8]); 6] = [
        ("will delay", &[0x18, 0, 0, 0, 1]),
        ("payload format indicator", &[0x01, 1]),
        ("message expiry", &[0x02, 0, 0, 0, 1]),
        ("content type", b"\x03\0\x01t"),
        ("response topic", b"\x08\0\x01r"),
        ("correlation data", b"\x09\0\x01c"),
    ];
    for (what, property) in of_wills {
        let bytes = RawConnect::with_will(V5, &[property, property].concat(), "a", b"x");
        others.refuse_first(&[(what, bytes, Answer::Reason(0x82))]);
    }
}
