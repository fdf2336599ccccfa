//! How many connections there may be, and how long they may take.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use dunlin::packet::{Connect, Packet, encode};

use crate::support::client::{V5, V31, V311, connect};
use crate::support::{Client, PATIENCE, eventually};
use crate::{Bounded, leave};

fn connect_bytes(connect: Connect<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let version = connect.version;
    encode(&Packet::Connect(connect), version, &mut bytes);
    bytes
}

#[test]
fn max_connections_refuses_one_more_with_server_busy() {
    let mut bounded = Bounded::new("max_connections = 2");
    let last = bounded.client("last");
    for (version, code) in [(V5, 0x89), (V311, 0x88), (V31, 0x88)] {
        assert_eq!(Client::refused(bounded.address(), Connect { client_id: "more", ..connect(version) }), code);
    }
    bounded.assert_hits("max_connections", 3);
    bounded.assert_bystander_unharmed();
    leave(last);
    eventually("there is room again", || Client::refused(bounded.address(), Connect { client_id: "more", ..connect(V5) }) == 0);
}

#[test]
fn a_listener_has_its_own_bound() {
    let mut bounded = Bounded::with_config(
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [[listeners]]
        name = "small"
        url = "tcp://127.0.0.1:0"
        max_connections = 1
        "#,
    );
    let small = bounded.broker.listener("small");
    let _only = Client::connect(small, V5, "only");
    assert_eq!(Client::refused(small, Connect { client_id: "more", ..connect(V5) }), 0x89);
    assert_eq!(Client::refused(small, Connect { client_id: "more", ..connect(V311) }), 0x88);
    bounded.client("elsewhere");
    bounded.assert_hits("listener_max_connections", 2);
    bounded.assert_hits("max_connections", 0);
    bounded.assert_bystander_unharmed();
}

#[test]
fn max_connections_per_address_closes_one_more_at_once() {
    let mut bounded = Bounded::new("max_connections_per_address = 2");
    let mut second = bounded.client("second");
    for version in [V5, V311] {
        let mut third = Client::dial(bounded.address(), version);
        assert_eq!(third.expect_close(), None);
    }
    second.ping();
    bounded.assert_hits("max_connections_per_address", 2);
    bounded.assert_bystander_unharmed();
}

#[test]
fn max_pending_connections_closes_one_more_at_once() {
    let mut bounded = Bounded::new("max_pending_connections = 2");
    let _silent = Client::dial(bounded.address(), V5);
    let mut second = Client::dial(bounded.address(), V5);
    assert_eq!(Client::dial(bounded.address(), V5).expect_close(), None);
    bounded.assert_hits("max_pending_connections", 1);
    bounded.assert_bystander_unharmed();
    second.send(&Packet::Connect(Connect { client_id: "second", ..connect(V5) }));
    second.expect("CONNACK", |packet| matches!(packet, Packet::ConnAck(_)).then_some(()));
    // Who has said CONNECT waits no more, so there is room for another.
    bounded.client("third");
    bounded.assert_hits("max_pending_connections", 1);
}

#[test]
fn connect_timeout_counts_from_accept_however_the_bytes_come() {
    let mut bounded = Bounded::new(r#"connect_timeout = "500ms""#);
    let mut silent = Client::dial(bounded.address(), V5);
    assert_eq!(silent.expect_close(), None);
    bounded.assert_hits("connect_timeout", 1);

    let mut slow = TcpStream::connect(bounded.address()).unwrap();
    slow.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let bytes = connect_bytes(Connect { client_id: &"x".repeat(500), ..connect(V5) });
    let mut answer = [0];
    // A byte at a time would take a minute.
    let sent = bytes.iter().take_while(|byte| slow.write_all(&[**byte]).is_ok() && !is_closed(&mut slow, &mut answer)).count();
    assert!(sent < bytes.len(), "it is cut in the middle");
    bounded.assert_hits("connect_timeout", 2);

    let mut in_time = TcpStream::connect(bounded.address()).unwrap();
    in_time.set_read_timeout(Some(PATIENCE)).unwrap();
    for part in connect_bytes(connect(V5)).chunks(7) {
        in_time.write_all(part).unwrap();
    }
    assert_eq!(in_time.read(&mut answer).unwrap(), 1, "CONNACK");
    assert_eq!(answer[0], 0x20);
    sleep(Duration::from_millis(700));
    in_time.write_all(&[0xC0, 0]).unwrap();
    let mut rest = Vec::new();
    while !rest.ends_with(&[0xD0, 0]) {
        assert_eq!(in_time.read(&mut answer).unwrap(), 1, "the time to CONNECT is no time to live");
        rest.push(answer[0]);
    }
    bounded.assert_hits("connect_timeout", 2);
    bounded.assert_bystander_unharmed();
}

fn is_closed(stream: &mut TcpStream, answer: &mut [u8]) -> bool {
    match stream.read(answer) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn connect_timeout_holds_for_handshakes_too() {
    let mut bounded = Bounded::with_config(
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [[listeners]]
        name = "ws"
        url = "ws://127.0.0.1:0/mqtt"
        [limits]
        connect_timeout = "300ms"
        "#,
    );
    let mut stream = TcpStream::connect(bounded.broker.listener("ws")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /mqtt HTTP/1.1\r\n").unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "closed");
    bounded.assert_hits("connect_timeout", 1);
    bounded.assert_bystander_unharmed();
}

#[test]
fn a_client_that_comes_and_goes_leaves_its_place_behind() {
    let mut bounded = Bounded::new("max_connections = 2");
    for _ in 0..10 {
        // The place is free once the socket is gone, a moment after the goodbye.
        eventually("there is room", || Client::refused(bounded.address(), Connect { client_id: "again", ..connect(V5) }) == 0);
    }
    bounded.assert_bystander_unharmed();
}
