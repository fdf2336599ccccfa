//! What one user may have, over all its clients.

use dunlin::packet::{Connect, QoS};

use crate::support::client::{V5, V311, connect};
use crate::support::{Client, eventually};
use crate::{Bounded, leave};

/// Users with these quotas; the bystander is nobody's.
fn users(quotas: &str) -> Bounded {
    const USERS: &str = "\
alice:$6$I0j6Zbk/ozwvsWef$JWHqnMsNFq6nmRGk1PT7d29rYZj0d//m7fCJfuSngXU0LvfitiBZvtY8eQNc/mW36vS6oEGTAMm3YOM9H1oxzQ==
bob:$6$I0j6Zbk/ozwvsWef$JWHqnMsNFq6nmRGk1PT7d29rYZj0d//m7fCJfuSngXU0LvfitiBZvtY8eQNc/mW36vS6oEGTAMm3YOM9H1oxzQ==
";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("users"), USERS).unwrap();
    let config = r#"
        [auth]
        password_file = "@DIR@/users"
        allow_anonymous = true
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [quotas]
        "#;
    Bounded::with_config_in(folder, &format!("{config}{quotas}\n"))
}

fn login(user: &'static str, client_id: &'static str) -> Connect<'static> {
    Connect { client_id, username: Some(user), password: Some(b"secret"), ..connect(V5) }
}

fn lasting(user: &'static str, client_id: &'static str) -> Connect<'static> {
    let mut login = Connect { clean_start: false, ..login(user, client_id) };
    login.properties.session_expiry_interval = 3600;
    login
}

fn enter(bounded: &Bounded, connect: Connect<'_>) -> Client {
    Client::connect_with(bounded.address(), connect).0
}

#[test]
fn user_connections_refuses_one_more() {
    let mut bounded = users("user_connections = 2");
    let _first = enter(&bounded, login("alice", "a1"));
    let second = enter(&bounded, login("alice", "a2"));
    assert_eq!(Client::refused(bounded.address(), login("alice", "a3")), 0x97);
    assert_eq!(Client::refused(bounded.address(), Connect { version: V311, ..login("alice", "a3") }), 0x88);
    enter(&bounded, login("bob", "b"));
    bounded.assert_hits("user_connections", 2);
    bounded.assert_bystander_unharmed();
    // One that comes back before we know that it was gone needs no room.
    let (again, mut second) = (enter(&bounded, login("alice", "a2")), second);
    second.expect_disconnect(0x8E);
    leave(again);
    eventually("there is room again", || Client::refused(bounded.address(), login("alice", "a3")) == 0);
}

#[test]
fn user_sessions_counts_those_that_are_offline_too() {
    let mut bounded = users("user_sessions = 2");
    leave(enter(&bounded, lasting("alice", "a1")));
    let second = enter(&bounded, login("alice", "a2"));
    assert_eq!(Client::refused(bounded.address(), login("alice", "a3")), 0x97);
    leave(enter(&bounded, lasting("alice", "a1")));
    enter(&bounded, login("bob", "b"));
    bounded.assert_hits("user_sessions", 1);
    bounded.assert_bystander_unharmed();
    leave(second);
    eventually("there is room again", || Client::refused(bounded.address(), login("alice", "a3")) == 0);
}

#[test]
fn user_subscriptions_counts_those_of_all_sessions() {
    let mut bounded = users("user_subscriptions = 3");
    let (mut first, mut second) = (enter(&bounded, lasting("alice", "a1")), enter(&bounded, login("alice", "a2")));
    first.subscribe("a", QoS::AtMostOnce);
    first.subscribe("b", QoS::AtMostOnce);
    second.subscribe("a", QoS::AtMostOnce);
    let more = |client: &mut Client| client.subscribe_with("c", Default::default(), None)[0];
    assert_eq!((more(&mut first), more(&mut second)), (0x97, 0x97));
    first.subscribe("a", QoS::AtLeastOnce);
    enter(&bounded, login("bob", "b")).subscribe("c", QoS::AtMostOnce);
    bounded.assert_hits("user_subscriptions", 2);
    bounded.assert_bystander_unharmed();
    assert_eq!(first.unsubscribe("b"), [0]);
    assert_eq!(more(&mut first), 0);
    leave(second);
    eventually("those of the session that has ended are free", || first.subscribe_with("d", Default::default(), None)[0] == 0);
}

#[test]
fn user_retained_messages_refuses_a_new_topic() {
    let mut bounded = users("user_retained_messages = 1");
    let (mut alice, mut bob) = (enter(&bounded, login("alice", "a")), enter(&bounded, login("bob", "b")));
    let retain = |client: &mut Client, topic, payload| {
        client.publish_with(topic, payload, QoS::AtLeastOnce, |packet| packet.retain = true)
    };
    assert_eq!(retain(&mut alice, "one", "1"), 0x10);
    assert_eq!(retain(&mut alice, "one", "2"), 0x10);
    assert_eq!(retain(&mut alice, "two", "1"), 0x97);
    assert_eq!(retain(&mut bob, "two", "1"), 0x10);
    bounded.assert_hits("user_retained_messages", 1);
    bounded.assert_bystander_unharmed();
    assert_eq!(retain(&mut bob, "one", ""), 0x10, "whoever clears it");
    assert_eq!(retain(&mut alice, "three", "1"), 0x10);
}

#[test]
fn user_queued_bytes_counts_what_waits_for_all_sessions() {
    let mut bounded = users("user_queued_bytes = 300");
    for client_id in ["a1", "a2"] {
        let mut client = enter(&bounded, lasting("alice", client_id));
        client.subscribe("q", QoS::AtLeastOnce);
        leave(client);
    }
    let mut bob = enter(&bounded, login("bob", "b"));
    for _ in 0..2 {
        bob.publish("q", &"x".repeat(99), QoS::AtLeastOnce);
    }
    // 100 bytes for each of the two, twice: the fourth of them came when there were 300.
    bounded.assert_hits("user_queued_bytes", 1);
    assert_eq!(bounded.dropped("user_queue_bytes"), 1.0);
    bounded.assert_bystander_unharmed();
    let mut first = enter(&bounded, lasting("alice", "a1"));
    for _ in 0..2 {
        let id = first.expect_publish(|publish| publish.delivery.packet_id()).unwrap();
        first.puback(id);
    }
    first.ping();
    bob.publish("q", &"y".repeat(99), QoS::AtLeastOnce);
    bounded.assert_hits("user_queued_bytes", 1);
}
