//! What is shortened, and told.

use dunlin::packet::{Connect, ConnectProperties, Disconnect, DisconnectReason, Packet};

use crate::support::client::{V5, V311, connect};
use crate::support::{Client, eventually};
use crate::{Bounded, leave};

fn server_keep_alive(bounded: &Bounded, keep_alive: u16) -> (Client, Option<u16>) {
    let connect = Connect { client_id: "c", keep_alive, ..connect(V5) };
    Client::connack(bounded.address(), connect, |told| told.server_keep_alive)
}

#[test]
fn max_keep_alive_is_told_and_held_to() {
    let mut bounded = Bounded::new(r#"max_keep_alive = "2s""#);
    // The bystander was shortened too; it is kept alive by what it does.
    bounded.assert_hits("max_keep_alive", 1);
    let (client, told) = server_keep_alive(&bounded, 2);
    assert_eq!(told, None, "what was asked for holds");
    leave(client);
    bounded.assert_hits("max_keep_alive", 1);
    for wanted in [3, 0] {
        let (client, told) = server_keep_alive(&bounded, wanted);
        assert_eq!(told, Some(2));
        leave(client);
    }
    bounded.assert_hits("max_keep_alive", 3);
    bounded.assert_bystander_unharmed();

    let (mut silent, _) = server_keep_alive(&bounded, 60);
    let mut old = Client::connect_with(bounded.address(), Connect { client_id: "old", keep_alive: 60, ..connect(V311) }).0;
    silent.expect_disconnect(0x8D);
    // An older client cannot be told, so it keeps its own.
    old.ping();
    bounded.assert_hits("max_keep_alive", 4);
}

#[test]
fn a_listener_may_have_its_own_keep_alive() {
    let bounded = Bounded::with_config(
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [[listeners]]
        name = "short"
        url = "tcp://127.0.0.1:0"
        max_keep_alive = "30s"
        "#,
    );
    assert_eq!(server_keep_alive(&bounded, 0).1, None);
    let connect = Connect { client_id: "d", ..connect(V5) };
    let (_client, told) = Client::connack(bounded.broker.listener("short"), connect, |told| told.server_keep_alive);
    assert_eq!(told, Some(30));
}

fn granted(bounded: &Bounded, session_expiry_interval: u32) -> (Client, Option<u32>) {
    let properties = ConnectProperties { session_expiry_interval, ..Default::default() };
    let connect = Connect { client_id: "c", properties, ..connect(V5) };
    Client::connack(bounded.address(), connect, |told| told.session_expiry_interval)
}

#[test]
fn max_session_expiry_is_told_and_held_to() {
    let mut bounded = Bounded::new(r#"max_session_expiry = "1s""#);
    for (wanted, told) in [(0, None), (1, None), (2, Some(1)), (u32::MAX, Some(1))] {
        let (client, answer) = granted(&bounded, wanted);
        assert_eq!(answer, told, "for {wanted}");
        leave(client);
    }
    bounded.assert_hits("max_session_expiry", 2);

    let (mut client, _) = granted(&bounded, 1);
    let longer = Disconnect { session_expiry_interval: Some(3600), ..Disconnect::new(DisconnectReason::NormalDisconnection) };
    client.send(&Packet::Disconnect(longer));
    client.expect_close();
    eventually("it expires after the maximum all the same", || bounded.broker.metric("dunlin_sessions_expired_total") >= 1.0);
    bounded.assert_hits("max_session_expiry", 3);
    bounded.assert_bystander_unharmed();
}

/// A 3.1.1 session without clean session has no interval: it gets the longest that there is.
#[test]
fn max_session_expiry_holds_for_older_clients() {
    let mut bounded = Bounded::new(r#"max_session_expiry = "1s""#);
    let kept = || Connect { client_id: "old", clean_start: false, ..connect(V311) };
    leave(Client::connect_with(bounded.address(), kept()).0);
    eventually("it expires", || bounded.broker.metric("dunlin_sessions_expired_total") == 1.0);
    assert!(!Client::connect_with(bounded.address(), kept()).1);
    bounded.assert_hits("max_session_expiry", 0);
    bounded.assert_bystander_unharmed();
}
