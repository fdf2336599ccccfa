use dunlin::packet::{Connect, Packet, QoS, encode};

use crate::house::{EVERYTHING, House, lasting, login};
use crate::support::client::{Client, V5, V31, V311, connect};

#[test]
fn the_right_password_lets_in_at_once_in_every_version() {
    let house = House::build(EVERYTHING);
    for version in [V31, V311, V5] {
        house.enter_as(version, "alice", "a").ping();
    }
    assert_eq!(house.metric("dunlin_authentications_total{result=\"success\"}"), 3.0);
}

/// 5.0 hears 0x86 and 0x87, older versions 4 and 5, which `refused` reads as the same; then the connection is closed.
#[test]
fn a_wrong_or_missing_password_is_refused_with_its_code_and_closed() {
    let house = House::build(EVERYTHING);
    let cases = [
        (Some("alice"), Some(&b"wrong"[..]), 0x86),
        (Some("alice"), Some(b""), 0x86),
        (Some("alice"), Some(b"secret\0"), 0x86),
        (Some("Alice"), Some(b"secret"), 0x86),
        (Some("mallory"), Some(b"secret"), 0x86),
        (Some(""), Some(b"secret"), 0x86),
        (Some("alice"), None, 0x86),
        (None, None, 0x87),
    ];
    for (username, password, code) in cases {
        for version in [V31, V311, V5] {
            let mut client = Client::dial(house.broker.address(), version);
            let told = client.try_log_in(Connect { client_id: "a", username, password, ..connect(version) });
            assert_eq!(told, code, "{username:?} {password:?} {version}");
            assert_eq!(client.expect_close(), None, "no DISCONNECT after a CONNACK that refuses");
        }
    }
    assert_eq!(house.metric("dunlin_authentications_total{result=\"bad_credentials\"}"), 21.0);
    assert_eq!(house.metric("dunlin_authentications_total{result=\"anonymous_refused\"}"), 3.0);
    assert_eq!(house.metric("dunlin_connacks_sent_total{reason=\"bad_user_name_or_password\"}"), 21.0);
    assert_eq!(house.metric("dunlin_connacks_sent_total{reason=\"not_authorized\"}"), 3.0);
}

/// The two codes of 3.1.1 as they are on the wire (3.1.1, table 3.1).
#[test]
fn older_clients_are_told_4_and_5() {
    let house = House::build(EVERYTHING);
    for (username, code) in [(Some("alice"), 4), (None, 5)] {
        let mut bytes = Vec::new();
        let password = username.map(|_| &b"wrong"[..]);
        encode(&Packet::Connect(Connect { client_id: "a", username, password, ..connect(V311) }), V311, &mut bytes);
        let mut socket = std::net::TcpStream::connect(house.broker.address()).unwrap();
        std::io::Write::write_all(&mut socket, &bytes).unwrap();
        let mut answer = Vec::new();
        std::io::Read::read_to_end(&mut socket, &mut answer).unwrap();
        assert_eq!(answer, [0x20, 2, 0, code]);
    }
}

#[test]
fn a_failed_login_does_not_touch_the_connection_of_that_client_identifier() {
    let house = House::build(EVERYTHING);
    let (mut alice, _) = Client::connect_with(house.broker.address(), lasting("alice", "same"));
    for user in ["alice", "bob", "mallory"] {
        let wrong = Connect { password: Some(b"wrong"), client_id: "same", ..login(user) };
        assert_eq!(house.refused(wrong), 0x86);
    }
    assert_eq!(house.refused(Connect { client_id: "same", ..connect(V5) }), 0x87);
    alice.ping();
}

#[test]
fn a_failed_login_does_not_touch_the_session_of_that_client_identifier() {
    let house = House::build(EVERYTHING);
    let (mut alice, _) = Client::connect_with(house.broker.address(), lasting("alice", "same"));
    alice.subscribe("a", QoS::AtLeastOnce);
    alice.cut();
    house.enter("bob", "b").publish("a", "kept", QoS::AtLeastOnce);
    for clean_start in [true, false] {
        for user in ["alice", "bob"] {
            let wrong = Connect { password: Some(b"wrong"), client_id: "same", clean_start, ..login(user) };
            assert_eq!(house.refused(wrong), 0x86);
        }
    }
    let (mut alice, present) = Client::connect_with(house.broker.address(), lasting("alice", "same"));
    assert!(present);
    alice.expect_message("a", "kept");
}

/// `[MQTT-3.1.4-5]` lets a client send before CONNACK; what it sends waits until it is known who it is.
#[test]
fn what_follows_connect_waits_for_the_password_check() {
    let house = House::build(EVERYTHING);
    let mut bob = house.enter("bob", "b");
    bob.subscribe("a", QoS::AtMostOnce);
    let send = |password: &[u8]| {
        let mut bytes = Vec::new();
        encode(&Packet::Connect(Connect { client_id: "a", password: Some(password), ..login("alice") }), V5, &mut bytes);
        bytes.extend_from_slice(b"\x30\x06\0\x01a\0hi\xc0\0");
        let mut client = Client::dial(house.broker.address(), V5);
        client.send_bytes(&bytes);
        client
    };
    let mut refused = send(b"wrong");
    refused.expect("CONNACK", |packet| matches!(packet, Packet::ConnAck(ack) if ack.reason as u8 == 0x86).then_some(()));
    assert_eq!(refused.expect_close(), None);
    bob.expect_nothing();
    let mut accepted = send(b"secret");
    accepted.expect("CONNACK", |packet| matches!(packet, Packet::ConnAck(ack) if ack.reason as u8 == 0).then_some(()));
    accepted.expect("PINGRESP", |packet| matches!(packet, Packet::PingResp).then_some(()));
    bob.expect_message("a", "hi");
}
