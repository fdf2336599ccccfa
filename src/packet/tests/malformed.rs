use proptest::prelude::*;

use super::decoder;
use crate::packet::Malformed::{self, *};
use crate::packet::ProtocolVersion::{self, V5, V31, V311};
use crate::packet::{self, Decoder, ForwardedProperties, Peer, connect_version, encode};

type Case = (&'static str, &'static [u8], Malformed);

fn check(version: impl Into<Option<ProtocolVersion>>, peer: Peer, cases: &[Case]) {
    let decoder = decoder(version.into(), peer);
    for (name, bytes, kind) in cases {
        match decoder.decode(bytes) {
            Err(error) => assert_eq!(error.kind, *kind, "{name}: {error}"),
            Ok(read) => panic!("{name}: {read:?}"),
        }
    }
}

#[test]
fn the_first_byte_alone_is_enough_to_refuse() {
    check(
        None,
        Peer::Client,
        &[
            ("a TLS hello", b"\x16", Packet),
            ("HTTP", b"G", Protocol),
            ("type 0", b"\0", Protocol),
            ("PUBLISH before CONNECT", b"\x30", Protocol),
            ("CONNECT with flags", b"\x11", Packet),
        ],
    );
    check(None, Peer::Server, &[("PUBLISH before CONNACK", b"\x30", Protocol), ("CONNACK with flags", b"\x28", Packet)]);
    for version in [V31, V311, V5] {
        check(
            version,
            Peer::Client,
            &[
                ("type 0", b"\x00", Packet),
                ("QoS 3", b"\x36", Packet),
                ("DUP at QoS 0", b"\x38", Packet),
                ("PUBACK with flags", b"\x42", Packet),
                ("PUBREL without flags", b"\x60", Packet),
                ("PUBREL with wrong flags", b"\x63", Packet),
                ("SUBSCRIBE without flags", b"\x80", Packet),
                ("UNSUBSCRIBE without flags", b"\xA0", Packet),
                ("PINGREQ with flags", b"\xC1", Packet),
                ("DISCONNECT with flags", b"\xE1", Packet),
                ("AUTH with flags", b"\xF1", Packet),
                ("CONNACK from a client", b"\x20", Protocol),
                ("SUBACK from a client", b"\x90", Protocol),
                ("UNSUBACK from a client", b"\xB0", Protocol),
                ("PINGRESP from a client", b"\xD0", Protocol),
            ],
        );
        check(
            version,
            Peer::Server,
            &[
                ("CONNECT from a server", b"\x10", Protocol),
                ("SUBSCRIBE from a server", b"\x82", Protocol),
                ("UNSUBSCRIBE from a server", b"\xA2", Protocol),
                ("PINGREQ from a server", b"\xC0", Protocol),
            ],
        );
    }
    for version in [V31, V311] {
        check(version, Peer::Client, &[("AUTH before 5.0", b"\xF0", Protocol)]);
        check(version, Peer::Server, &[("DISCONNECT from a server before 5.0", b"\xE0", Protocol)]);
    }
    check(V311, Peer::Client, &[("SUBSCRIBE with DUP, which only 3.1 knows", b"\x8A", Packet)]);
}

#[test]
fn a_remaining_length_of_five_bytes_is_refused() {
    for version in [None, Some(V31), Some(V311), Some(V5)] {
        check(version, Peer::Client, &[("five bytes", b"\x10\x80\x80\x80\x80", Packet)]);
    }
}

#[test]
fn a_padded_remaining_length_is_refused_in_version_5_only() {
    check(V5, Peer::Client, &[("PINGREQ", b"\xC0\x80\0", Packet)]);
    check(None, Peer::Client, &[("CONNECT", b"\x10\x8E\0\0\x04MQTT\x05\x02\0\x3C\0\0\x01c", Packet)]);
    assert_eq!(decoder(Some(V311), Peer::Client).decode(b"\xC0\x80\0"), Ok(Some((packet::Packet::PingReq, 3))));
}

#[test]
fn broken_connects() {
    check(
        None,
        Peer::Client,
        &[
            ("unknown name", b"\x10\x0D\0\x04HTTP\x04\x02\0\x3C\0\x01c", Packet),
            ("name in lower case", b"\x10\x0D\0\x04mqtt\x04\x02\0\x3C\0\x01c", Packet),
            ("level 6", b"\x10\x0E\0\x04MQTT\x06\x02\0\x3C\0\0\x01c", Version),
            ("MQTT with level 3", b"\x10\x0D\0\x04MQTT\x03\x02\0\x3C\0\x01c", Version),
            ("MQIsdp with level 4", b"\x10\x0F\0\x06MQIsdp\x04\x02\0\x3C\0\x01c", Version),
            ("reserved flag, 3.1.1", b"\x10\x0D\0\x04MQTT\x04\x03\0\x3C\0\x01c", Packet),
            ("reserved flag, 5.0", b"\x10\x0E\0\x04MQTT\x05\x03\0\x3C\0\0\x01c", Packet),
            ("will QoS without will", b"\x10\x0D\0\x04MQTT\x04\x0A\0\x3C\0\x01c", Packet),
            ("will retain without will", b"\x10\x0D\0\x04MQTT\x04\x22\0\x3C\0\x01c", Packet),
            ("will QoS 3", b"\x10\x13\0\x04MQTT\x04\x1E\0\x3C\0\x01c\0\x01w\0\x01m", Packet),
            ("will missing", b"\x10\x0D\0\x04MQTT\x04\x06\0\x3C\0\x01c", Packet),
            ("will topic with a wildcard", b"\x10\x13\0\x04MQTT\x04\x06\0\x3C\0\x01c\0\x01#\0\x01m", TopicName),
            ("will topic empty", b"\x10\x12\0\x04MQTT\x04\x06\0\x3C\0\x01c\0\0\0\x01m", TopicName),
            ("will topic with NUL", b"\x10\x13\0\x04MQTT\x04\x06\0\x3C\0\x01c\0\x01\0\0\x01m", Packet),
            ("password without user name, 3.1", b"\x10\x12\0\x06MQIsdp\x03\x42\0\x3C\0\x01c\0\x01p", Packet),
            ("password without user name, 3.1.1", b"\x10\x10\0\x04MQTT\x04\x42\0\x3C\0\x01c\0\x01p", Packet),
            ("user name missing, 3.1.1", b"\x10\x0D\0\x04MQTT\x04\x82\0\x3C\0\x01c", Packet),
            ("client id missing", b"\x10\x0A\0\x04MQTT\x04\x02\0\x3C", Packet),
            ("client id past the end", b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x02c", Packet),
            ("client id with NUL", b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01\0", Packet),
            ("client id not UTF-8", b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01\xFF", Packet),
            ("client id with a surrogate", b"\x10\x0F\0\x04MQTT\x04\x02\0\x3C\0\x03\xED\xA0\x80", Packet),
            ("bytes after the payload", b"\x10\x0E\0\x04MQTT\x04\x02\0\x3C\0\x01cx", Packet),
        ],
    );
}

#[test]
fn broken_properties_of_connect() {
    check(
        None,
        Peer::Client,
        &[
            ("no property length", b"\x10\x0A\0\x04MQTT\x05\x02\0\x3C", Packet),
            ("property length past the end", b"\x10\x0E\0\x04MQTT\x05\x02\0\x3C\x09\0\x01c", Packet),
            ("property length padded", b"\x10\x0F\0\x04MQTT\x05\x02\0\x3C\x80\0\0\x01c", Packet),
            ("unknown property", b"\x10\x10\0\x04MQTT\x05\x02\0\x3C\x02\x7F\0\0\x01c", Packet),
            ("topic alias", b"\x10\x11\0\x04MQTT\x05\x02\0\x3C\x03\x23\0\x01\0\x01c", Packet),
            ("receive maximum twice", b"\x10\x14\0\x04MQTT\x05\x02\0\x3C\x06\x21\0\x01\x21\0\x01\0\x01c", Protocol),
            ("receive maximum 0", b"\x10\x11\0\x04MQTT\x05\x02\0\x3C\x03\x21\0\0\0\x01c", Protocol),
            ("maximum packet size 0", b"\x10\x13\0\x04MQTT\x05\x02\0\x3C\x05\x27\0\0\0\0\0\x01c", Protocol),
            ("request problem information 2", b"\x10\x10\0\x04MQTT\x05\x02\0\x3C\x02\x17\x02\0\x01c", Protocol),
            ("request response information 2", b"\x10\x10\0\x04MQTT\x05\x02\0\x3C\x02\x19\x02\0\x01c", Protocol),
            ("data without method", b"\x10\x12\0\x04MQTT\x05\x02\0\x3C\x04\x16\0\x01d\0\x01c", Protocol),
            ("property cut short", b"\x10\x10\0\x04MQTT\x05\x02\0\x3C\x02\x21\0\0\x01c", Packet),
            ("user property with NUL", b"\x10\x15\0\x04MQTT\x05\x02\0\x3C\x07\x26\0\x01\0\0\x01b\0\x01c", Packet),
            ("will property in CONNECT", b"\x10\x13\0\x04MQTT\x05\x02\0\x3C\x05\x18\0\0\0\x01\0\x01c", Packet),
            ("receive maximum in the will", b"\x10\x18\0\x04MQTT\x05\x06\0\x3C\0\0\x01c\x03\x21\0\x01\0\x01w\0\x01m", Packet),
            (
                "will delay twice",
                b"\x10\x1F\0\x04MQTT\x05\x06\0\x3C\0\0\x01c\x0A\x18\0\0\0\x01\x18\0\0\0\x01\0\x01w\0\x01m",
                Protocol,
            ),
            (
                "response topic of the will with a wildcard",
                b"\x10\x19\0\x04MQTT\x05\x06\0\x3C\0\0\x01c\x04\x08\0\x01+\0\x01w\0\x01m",
                TopicName,
            ),
        ],
    );
}

#[test]
fn broken_connacks() {
    check(
        V311,
        Peer::Server,
        &[
            ("reserved flags", b"\x20\x02\x02\0", Packet),
            ("return code 6", b"\x20\x02\0\x06", Protocol),
            ("session present and refused", b"\x20\x02\x01\x05", Protocol),
            ("bytes left", b"\x20\x03\0\0\0", Packet),
        ],
    );
    check(
        V5,
        Peer::Server,
        &[
            ("reserved flags", b"\x20\x03\x80\0\0", Packet),
            ("a code of DISCONNECT", b"\x20\x03\0\x8E\0", Protocol),
            ("session present and refused", b"\x20\x03\x01\x87\0", Protocol),
            ("no property length", b"\x20\x02\0\0", Packet),
            ("maximum QoS 2", b"\x20\x05\0\0\x02\x24\x02", Protocol),
            ("receive maximum 0", b"\x20\x06\0\0\x03\x21\0\0", Protocol),
            ("will delay", b"\x20\x08\0\0\x05\x18\0\0\0\x01", Packet),
        ],
    );
    check(V31, Peer::Server, &[("session present, which 3.1 has not", b"\x20\x02\x01\0", Packet)]);
}

#[test]
fn broken_publishes() {
    for version in [V31, V311] {
        check(
            version,
            Peer::Client,
            &[
                ("empty topic", b"\x30\x02\0\0", Protocol),
                ("wildcard", b"\x30\x05\0\x03a/+", TopicName),
                ("wildcard #", b"\x30\x03\0\x01#", TopicName),
                ("NUL", b"\x30\x05\0\x03a\0b", Packet),
                ("topic not UTF-8", b"\x30\x04\0\x02\xC3\x28", Packet),
                ("topic past the end", b"\x30\x03\0\x02a", Packet),
                ("no topic", b"\x30\x01\0", Packet),
                ("identifier 0", b"\x32\x05\0\x01a\0\0", Protocol),
                ("no identifier", b"\x32\x03\0\x01a", Packet),
            ],
        );
    }
    check(
        V5,
        Peer::Client,
        &[
            ("empty topic without alias", b"\x30\x03\0\0\0", Protocol),
            ("wildcard", b"\x30\x06\0\x03a/+\0", TopicName),
            ("topic alias 0", b"\x30\x07\0\x01a\x03\x23\0\0", TopicAlias),
            ("topic alias twice", b"\x30\x0A\0\x01a\x06\x23\0\x01\x23\0\x01", Protocol),
            ("subscription identifier from a client", b"\x30\x06\0\x01a\x02\x0B\x01", Protocol),
            ("payload format 2", b"\x30\x06\0\x01a\x02\x01\x02", Protocol),
            ("content type twice", b"\x30\x0A\0\x01a\x06\x03\0\0\x03\0\0", Protocol),
            ("response topic with a wildcard", b"\x30\x08\0\x01a\x04\x08\0\x01#", TopicName),
            ("response topic empty", b"\x30\x07\0\x01a\x03\x08\0\0", TopicName),
            ("session expiry", b"\x30\x09\0\x01a\x05\x11\0\0\0\x01", Packet),
            ("unknown property", b"\x30\x05\0\x01a\x01\x00", Packet),
            ("identifier of a property in two bytes", b"\x30\x07\0\x01a\x03\x81\0\x01", Packet),
            ("property length past the end", b"\x30\x05\0\x01a\x05\x01", Packet),
            ("no property length", b"\x30\x03\0\x01a", Packet),
        ],
    );
    check(
        V5,
        Peer::Server,
        &[
            ("subscription identifier 0", b"\x30\x06\0\x01a\x02\x0B\0", Protocol),
            ("subscription identifier of five bytes", b"\x30\x09\0\x01a\x05\x0B\x80\x80\x80\x80", Packet),
            ("subscription identifier padded", b"\x30\x07\0\x01a\x03\x0B\x81\0", Packet),
        ],
    );
}

#[test]
fn broken_acks() {
    for (first, reason_of_another) in [(0x40, 0x92), (0x50, 0x92), (0x62, 0x87), (0x70, 0x10)] {
        for version in [V31, V311, V5] {
            let decoder = decoder(Some(version), Peer::Client);
            let kind = |bytes: &[u8]| decoder.decode(bytes).unwrap_err().kind;
            assert_eq!(kind(&[first, 2, 0, 0]), Protocol);
            assert_eq!(kind(&[first, 1, 0]), Packet);
            assert_eq!(kind(&[first, 0]), Packet);
            if version == V5 {
                assert_eq!(kind(&[first, 3, 0, 1, reason_of_another]), Protocol);
                assert_eq!(kind(&[first, 4, 0, 1, 0, 1]), Packet);
                assert_eq!(kind(&[first, 5, 0, 1, 0, 0, 0]), Packet);
                assert_eq!(kind(&[first, 10, 0, 1, 0, 6, 0x1F, 0, 0, 0x1F, 0, 0]), Protocol);
                assert_eq!(kind(&[first, 7, 0, 1, 0, 3, 0x1C, 0, 0]), Packet);
            } else {
                assert_eq!(kind(&[first, 3, 0, 1, 0]), Packet);
            }
        }
    }
}

#[test]
fn broken_subscribes() {
    for version in [V31, V311] {
        check(
            version,
            Peer::Client,
            &[
                ("no filter", b"\x82\x02\0\x01", Protocol),
                ("identifier 0", b"\x82\x06\0\0\0\x01a\0", Protocol),
                ("no options", b"\x82\x05\0\x01\0\x01a", Packet),
                ("QoS 3", b"\x82\x06\0\x01\0\x01a\x03", Packet),
                ("empty filter", b"\x82\x05\0\x01\0\0\0", TopicFilter),
                ("misplaced wildcard", b"\x82\x07\0\x01\0\x02a#\0", TopicFilter),
                ("NUL in the filter", b"\x82\x06\0\x01\0\x01\0\0", Packet),
            ],
        );
    }
    check(V311, Peer::Client, &[("reserved bits", b"\x82\x06\0\x01\0\x01a\x04", Packet)]);
    check(
        V5,
        Peer::Client,
        &[
            ("no filter", b"\x82\x03\0\x01\0", Protocol),
            ("QoS 3", b"\x82\x07\0\x01\0\0\x01a\x03", Protocol),
            ("reserved bits", b"\x82\x07\0\x01\0\0\x01a\x40", Packet),
            ("retain handling 3", b"\x82\x07\0\x01\0\0\x01a\x30", Protocol),
            ("no local on a shared subscription", b"\x82\x10\0\x01\0\0\x0A$share/g/t\x04", Protocol),
            ("shared without filter", b"\x82\x0E\0\x01\0\0\x08$share/g\0", TopicFilter),
            ("share name with a wildcard", b"\x82\x10\0\x01\0\0\x0A$share/+/t\0", TopicFilter),
            ("subscription identifier 0", b"\x82\x09\0\x01\x02\x0B\0\0\x01a\0", Protocol),
            ("subscription identifier twice", b"\x82\x0B\0\x01\x04\x0B\x01\x0B\x02\0\x01a\0", Protocol),
            ("reason string", b"\x82\x0A\0\x01\x03\x1F\0\0\0\x01a\0", Packet),
        ],
    );
}

#[test]
fn broken_unsubscribes_and_answers() {
    check(
        V5,
        Peer::Client,
        &[
            ("no filter", b"\xA2\x03\0\x01\0", Protocol),
            ("# that is not all of a level", b"\xA2\x09\0\x01\0\0\x04a/#x", TopicFilter),
            ("misplaced wildcard", b"\xA2\x08\0\x01\0\0\x03#/a", TopicFilter),
            ("subscription identifier", b"\xA2\x08\0\x01\x02\x0B\x01\0\x01a", Packet),
        ],
    );
    check(V311, Peer::Client, &[("no filter", b"\xA2\x02\0\x01", Protocol)]);
    check(
        V311,
        Peer::Server,
        &[
            ("SUBACK with a reserved code", b"\x90\x03\0\x01\x03", Protocol),
            ("SUBACK without code", b"\x90\x02\0\x01", Protocol),
            ("UNSUBACK with more", b"\xB0\x03\0\x01\0", Packet),
        ],
    );
    check(
        V5,
        Peer::Server,
        &[
            ("SUBACK with an unknown code", b"\x90\x04\0\x01\0\x03", Protocol),
            ("SUBACK without code", b"\x90\x03\0\x01\0", Protocol),
            ("UNSUBACK with an unknown code", b"\xB0\x04\0\x01\0\x10", Protocol),
            ("UNSUBACK without code", b"\xB0\x03\0\x01\0", Protocol),
        ],
    );
}

#[test]
fn broken_pings_disconnects_and_auths() {
    check(
        V311,
        Peer::Client,
        &[("PINGREQ with a body", b"\xC0\x01\0", Packet), ("DISCONNECT with a body", b"\xE0\x01\0", Packet)],
    );
    check(
        V5,
        Peer::Client,
        &[
            ("a code for servers", b"\xE0\x01\x8B", Protocol),
            ("unknown code", b"\xE0\x01\x01", Protocol),
            ("bytes left", b"\xE0\x03\0\0\0", Packet),
            ("property of CONNACK", b"\xE0\x05\0\x03\x21\0\x01", Packet),
            ("AUTH success from a client", b"\xF0\0", Protocol),
            ("AUTH without method", b"\xF0\x02\x18\0", Protocol),
            ("AUTH with data alone", b"\xF0\x06\x18\x04\x16\0\x01d", Protocol),
            ("AUTH with an unknown code", b"\xF0\x06\x17\x04\x15\0\x01m", Protocol),
            ("AUTH method twice", b"\xF0\x0A\x18\x08\x15\0\x01m\x15\0\x01m", Protocol),
        ],
    );
    check(
        V5,
        Peer::Server,
        &[
            ("a code for clients", b"\xE0\x01\x04", Protocol),
            ("session expiry from a server", b"\xE0\x07\0\x05\x11\0\0\0\0", Protocol),
            ("re-authentication from a server", b"\xF0\x06\x19\x04\x15\0\x01m", Protocol),
            ("AUTH success with a reason but no method", b"\xF0\x05\0\x03\x1F\0\0", Protocol),
        ],
    );
}

#[test]
fn user_properties_over_the_bound_are_refused() {
    let decoder = Decoder { user_properties_max: 1, ..decoder(Some(V5), Peer::Client) };
    let one = b"\x30\x09\0\x01a\x05\x26\0\0\0\0";
    let two = b"\x30\x0E\0\x01a\x0A\x26\0\0\0\0\x26\0\0\0\0";
    assert!(decoder.decode(one).is_ok());
    assert_eq!(decoder.decode(two).unwrap_err().kind, UserProperties);
}

#[test]
fn size_is_refused_as_soon_as_it_is_told() {
    let decoder = Decoder { maximum_packet_size: 10, ..decoder(Some(V5), Peer::Client) };
    assert_eq!(decoder.decode(b"\x30\x09").unwrap_err().kind, TooLarge);
    assert_eq!(decoder.frame_length(b"\x30\xFF\xFF\xFF\x7F").unwrap_err().kind, TooLarge);
    assert_eq!(decoder.frame_length(b"\x30\x08"), Ok(Some(10)), "the fixed header counts");
    assert_eq!(decoder.frame_length(b"\x30"), Ok(None));
    assert_eq!(decoder.frame_length(b""), Ok(None));
}

fn any_decoder() -> impl Strategy<Value = Decoder> {
    let version = prop_oneof![Just(None), Just(Some(V31)), Just(Some(V311)), Just(Some(V5))];
    (version, prop_oneof![Just(Peer::Client), Just(Peer::Server)]).prop_map(|(version, peer)| decoder(version, peer))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_bytes_never_panic(decoder in any_decoder(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(Some((_, length))) = decoder.decode(&bytes) {
            prop_assert!(length <= bytes.len());
        }
        let _ = connect_version(&bytes);
        let _ = ForwardedProperties::read(&bytes).map(|properties| properties.user_properties().iter().count());
    }

    /// Bytes that pass the fixed header, so that the readers behind it see them.
    #[test]
    fn random_bodies_never_panic(
        decoder in any_decoder(),
        packet_type in 1..16u8,
        flags in prop_oneof![Just(0u8), Just(2)],
        body in prop::collection::vec(prop_oneof![0..6u8, 0..0x30u8, any::<u8>()], 0..100),
    ) {
        let bytes = [&[packet_type << 4 | flags, body.len() as u8], &body[..]].concat();
        if let Ok(Some((packet, length))) = decoder.decode(&bytes) {
            prop_assert_eq!(length, bytes.len());
            let mut out = Vec::new();
            encode(&packet, decoder.version.unwrap_or(V5), &mut out);
        }
    }

    /// Packets of the table with some bytes changed.
    #[test]
    fn damaged_packets_never_panic(
        index in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let cases = super::wire_cases::wire_cases();
        let case = index.get(&cases);
        let mut bytes = case.bytes.to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = case.decoder().decode(&bytes);
    }
}
