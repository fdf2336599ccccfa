//! What one user may have, over all its clients, and one tenant, over all its users.

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
        [[listeners]]
        name = "tenant"
        url = "tcp://127.0.0.1:0"
        mount_point = "one/"
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

/// The same for the clients of a tenant.
fn come(bounded: &Bounded, connect: Connect<'_>) -> Client {
    Client::connect_with(bounded.broker.listener("tenant"), connect).0
}

fn subscribe_code(client: &mut Client, filter: &str) -> u8 {
    client.subscribe_with(filter, Default::default(), None)[0]
}

fn retain(client: &mut Client, topic: &str, payload: &str) -> u8 {
    client.publish_with(topic, payload, QoS::AtLeastOnce, |packet| packet.retain = true)
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
    let more = |client: &mut Client| subscribe_code(client, "c");
    assert_eq!((more(&mut first), more(&mut second)), (0x97, 0x97));
    first.subscribe("a", QoS::AtLeastOnce);
    enter(&bounded, login("bob", "b")).subscribe("c", QoS::AtMostOnce);
    bounded.assert_hits("user_subscriptions", 2);
    bounded.assert_bystander_unharmed();
    assert_eq!(first.unsubscribe("b"), [0]);
    assert_eq!(more(&mut first), 0);
    leave(second);
    eventually("those of the session that has ended are free", || subscribe_code(&mut first, "d") == 0);
}

#[test]
fn user_retained_messages_refuses_a_new_topic() {
    let mut bounded = users("user_retained_messages = 1");
    let (mut alice, mut bob) = (enter(&bounded, login("alice", "a")), enter(&bounded, login("bob", "b")));
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

#[test]
fn user_subscriptions_counts_consumers_of_work_queues() {
    let mut bounded = users("user_subscriptions = 2");
    let mut alice = enter(&bounded, login("alice", "a"));
    assert_eq!(subscribe_code(&mut alice, "$queue/q/work/#"), 0);
    alice.subscribe("a", QoS::AtMostOnce);
    assert_eq!(subscribe_code(&mut alice, "$queue/other/x"), 0x97);
    assert_eq!(subscribe_code(&mut alice, "b"), 0x97);
    assert_eq!(subscribe_code(&mut alice, "$queue/q/work/#"), 0, "it is there already");
    bounded.assert_hits("user_subscriptions", 2);
    bounded.assert_bystander_unharmed();
    assert_eq!(alice.unsubscribe("$queue/q/work/#"), [0]);
    assert_eq!(subscribe_code(&mut alice, "b"), 0);
    leave(alice);
    let mut again = enter(&bounded, login("alice", "a"));
    assert_eq!([subscribe_code(&mut again, "$queue/q"), subscribe_code(&mut again, "b")], [0, 0]);
    bounded.assert_hits("user_subscriptions", 2);
}

#[test]
fn user_queues_refuses_one_more_and_remembers_whose_they_are() {
    let mut bounded = users("user_queues = 1");
    let (mut alice, mut bob) = (enter(&bounded, login("alice", "a")), enter(&bounded, login("bob", "b")));
    assert_eq!(subscribe_code(&mut alice, "$queue/one/x"), 0);
    assert_eq!(subscribe_code(&mut alice, "$queue/two/x"), 0x97);
    assert_eq!(subscribe_code(&mut bob, "$queue/two/x"), 0);
    assert_eq!(subscribe_code(&mut alice, "$queue/two"), 0, "it is another one's");
    bounded.assert_hits("user_queues", 1);
    bounded.assert_bystander_unharmed();
    // What is acknowledged is on disk, and what it lies in.
    assert_eq!(enter(&bounded, login("bob", "p")).publish("x", "x", QoS::AtLeastOnce), 0);
    bounded.broker.kill_and_restart();
    let mut alice = enter(&bounded, login("alice", "a"));
    assert_eq!(subscribe_code(&mut alice, "$queue/three/x"), 0x97);
    bounded.assert_hits("user_queues", 1);
}

/// What waits in the queues that a user's clients have made is the user's.
#[test]
fn user_queued_bytes_counts_what_waits_in_work_queues() {
    let mut bounded = users("user_queued_bytes = 300");
    let mut alice = enter(&bounded, login("alice", "a"));
    assert_eq!(subscribe_code(&mut alice, "$queue/q/work/#"), 0);
    leave(alice);
    let mut bob = enter(&bounded, login("bob", "b"));
    let put = |bob: &mut Client| bob.publish("work/x", &"x".repeat(94), QoS::AtLeastOnce);
    assert_eq!([put(&mut bob), put(&mut bob), put(&mut bob)], [0; 3]);
    assert_eq!(put(&mut bob), 0x97);
    assert_eq!(bob.publish("other", "x", QoS::AtLeastOnce), 0x10);
    bounded.assert_hits("user_queued_bytes", 1);
    bounded.assert_bystander_unharmed();
    bounded.broker.kill_and_restart();
    let mut bob = enter(&bounded, login("bob", "b"));
    assert_eq!(put(&mut bob), 0x97, "they are there still");
    let mut alice = enter(&bounded, login("alice", "a"));
    alice.subscribe("$queue/q", QoS::AtLeastOnce);
    for _ in 0..3 {
        let id = alice.expect_publish(|publish| publish.delivery.packet_id()).unwrap();
        alice.puback(id);
    }
    eventually("there is room again", || put(&mut bob) == 0);
}

#[test]
fn tenant_connections_refuses_one_more_of_whatever_user() {
    let mut bounded = users("tenant_connections = 2");
    let _alice = come(&bounded, login("alice", "a"));
    let nobody = come(&bounded, Connect { client_id: "nobody", ..connect(V5) });
    let tenant = bounded.broker.listener("tenant");
    assert_eq!(Client::refused(tenant, login("bob", "b")), 0x97);
    enter(&bounded, login("bob", "b"));
    bounded.assert_hits("tenant_connections", 1);
    bounded.assert_bystander_unharmed();
    leave(nobody);
    eventually("there is room again", || Client::refused(tenant, login("bob", "b")) == 0);
}

#[test]
fn tenant_sessions_and_subscriptions_are_counted_over_all_users() {
    let mut bounded = users("tenant_sessions = 2\ntenant_subscriptions = 3\nuser_subscriptions = 2");
    let tenant = bounded.broker.listener("tenant");
    let (mut alice, mut bob) = (come(&bounded, lasting("alice", "a")), come(&bounded, login("bob", "b")));
    assert_eq!(Client::refused(tenant, login("alice", "a2")), 0x97);
    bounded.assert_hits("tenant_sessions", 1);
    assert_eq!(["x", "y", "z"].map(|filter| subscribe_code(&mut alice, filter)), [0, 0, 0x97]);
    assert_eq!(["x", "$queue/q/y"].map(|filter| subscribe_code(&mut bob, filter)), [0, 0x97]);
    bounded.assert_hits("user_subscriptions", 1);
    bounded.assert_hits("tenant_subscriptions", 1);
    let mut outside = enter(&bounded, login("bob", "outside"));
    outside.subscribe("x", QoS::AtMostOnce);
    bounded.assert_bystander_unharmed();
    leave(alice);
    bounded.broker.kill_and_restart();
    let mut bob = Client::connect_with(bounded.broker.listener("tenant"), login("bob", "b")).0;
    assert_eq!(["x", "y"].map(|filter| subscribe_code(&mut bob, filter)), [0, 0x97], "alice's two were kept");
}

#[test]
fn tenant_retained_messages_refuses_a_new_topic_of_whatever_user() {
    let mut bounded = users("tenant_retained_messages = 1");
    let (mut alice, mut bob) = (come(&bounded, login("alice", "a")), come(&bounded, login("bob", "b")));
    assert_eq!(
        [retain(&mut alice, "one", "1"), retain(&mut bob, "one", "2"), retain(&mut bob, "two", "1")],
        [0x10, 0x10, 0x97]
    );
    let mut outside = enter(&bounded, login("bob", "outside"));
    assert_eq!(retain(&mut outside, "two", "1"), 0x10);
    bounded.assert_hits("tenant_retained_messages", 1);
    bounded.assert_bystander_unharmed();
    bounded.broker.kill_and_restart();
    let mut bob = come(&bounded, login("bob", "b"));
    assert_eq!([retain(&mut bob, "two", "1"), retain(&mut bob, "one", ""), retain(&mut bob, "two", "1")], [0x97, 0x10, 0x10]);
}

#[test]
fn tenant_queues_and_what_waits_in_them_are_bounded() {
    let mut bounded = users("tenant_queues = 1\ntenant_queued_bytes = 300");
    let (mut alice, mut bob) = (come(&bounded, login("alice", "a")), come(&bounded, login("bob", "b")));
    assert_eq!(subscribe_code(&mut alice, "$queue/one/work/#"), 0);
    assert_eq!(subscribe_code(&mut bob, "$queue/two/work/#"), 0x97);
    bounded.assert_hits("tenant_queues", 1);
    let mut outside = enter(&bounded, login("bob", "outside"));
    assert_eq!(subscribe_code(&mut outside, "$queue/two/work/#"), 0);
    leave(alice);
    // With the mount point, which is part of the topic, each has 100 bytes.
    let mut put = || bob.publish("work/x", &"x".repeat(90), QoS::AtLeastOnce);
    assert_eq!([put(), put(), put(), put()], [0, 0, 0, 0x97]);
    bounded.assert_hits("tenant_queued_bytes", 1);
    assert_eq!(enter(&bounded, login("alice", "p")).publish("work/x", "x", QoS::AtLeastOnce), 0);
    bounded.assert_bystander_unharmed();
}

#[test]
fn tenant_queued_bytes_counts_what_waits_for_all_sessions() {
    let mut bounded = users("tenant_queued_bytes = 150");
    for (user, client_id) in [("alice", "a"), ("bob", "b")] {
        let mut client = come(&bounded, lasting(user, client_id));
        client.subscribe("q", QoS::AtLeastOnce);
        leave(client);
    }
    let mut publisher = come(&bounded, login("bob", "p"));
    for _ in 0..2 {
        publisher.publish("q", &"x".repeat(95), QoS::AtLeastOnce);
    }
    assert_eq!(bounded.dropped("tenant_queue_bytes"), 2.0);
    bounded.assert_hits("tenant_queued_bytes", 2);
    bounded.assert_bystander_unharmed();
}

fn later(client: &mut Client, seconds: u32) -> u8 {
    // The body is the topic behind the prefix and the payload: 100 bytes.
    client.publish(&format!("$delayed/{seconds}/a/b"), &"x".repeat(97), QoS::AtLeastOnce)
}

const HOUR: u32 = 3600;

#[test]
fn user_delayed_messages_refuses_one_more() {
    let mut bounded = users("user_delayed_messages = 2");
    let (mut first, mut second) = (enter(&bounded, login("alice", "a1")), enter(&bounded, login("alice", "a2")));
    assert_eq!([later(&mut first, HOUR), later(&mut second, HOUR), later(&mut first, HOUR)], [0, 0, 0x97]);
    bounded.assert_hits("user_delayed_messages", 1);
    assert_eq!(later(&mut enter(&bounded, login("bob", "b")), HOUR), 0);
    assert_eq!(first.publish("a", "x", QoS::AtLeastOnce), 0x10, "what is not delayed needs no room");
    // There is no code for it in 3.1.1: the message is not acknowledged.
    let mut old = enter(&bounded, Connect { version: V311, ..login("alice", "old") });
    let id = old.packet_id();
    let delivery = crate::support::client::delivery(QoS::AtLeastOnce, id);
    old.send(&dunlin::packet::Packet::Publish(crate::support::client::publish("$delayed/3600/a", "", delivery)));
    assert_eq!(old.expect_close(), None);
    bounded.assert_hits("user_delayed_messages", 2);
    bounded.assert_hits("max_delayed_messages", 0);
    bounded.assert_bystander_unharmed();
    // They are the user's also while nobody of it is there, and after a restart.
    leave(first);
    leave(second);
    bounded.broker.kill_and_restart();
    assert_eq!(later(&mut enter(&bounded, login("alice", "a1")), HOUR), 0x97);
    assert_eq!(later(&mut enter(&bounded, login("bob", "b")), HOUR), 0);
    bounded.assert_hits("user_delayed_messages", 1);
}

#[test]
fn a_delayed_message_whose_time_has_come_makes_room() {
    let mut bounded = users("user_delayed_messages = 1");
    let mut reader = enter(&bounded, login("bob", "reader"));
    reader.subscribe("a/b", QoS::AtMostOnce);
    let mut alice = enter(&bounded, login("alice", "a"));
    assert_eq!(later(&mut alice, 1), 0);
    reader.expect_publish(|publish| assert_eq!(publish.payload.len(), 97));
    eventually("there is room again", || later(&mut alice, 2) == 0);
    bounded.broker.kill_and_restart();
    let mut alice = enter(&bounded, login("alice", "a"));
    eventually("one that was restored makes room too", || later(&mut alice, HOUR) == 0);
}

#[test]
fn user_queued_bytes_counts_what_is_delayed() {
    let mut bounded = users("user_queued_bytes = 200");
    let mut alice = enter(&bounded, login("alice", "a"));
    assert_eq!([later(&mut alice, HOUR), later(&mut alice, HOUR), later(&mut alice, HOUR)], [0, 0, 0x97]);
    bounded.assert_hits("user_queued_bytes", 1);
    // What waits for its sessions is of the same measure.
    leave(alice);
    let mut sleeper = enter(&bounded, lasting("alice", "sleeper"));
    sleeper.subscribe("q", QoS::AtLeastOnce);
    leave(sleeper);
    let mut bob = enter(&bounded, login("bob", "b"));
    bob.publish("q", "x", QoS::AtLeastOnce);
    assert_eq!(bounded.dropped("user_queue_bytes"), 1.0);
    assert_eq!(later(&mut bob, HOUR), 0);
    bounded.assert_bystander_unharmed();
    bounded.broker.kill_and_restart();
    assert_eq!(later(&mut enter(&bounded, login("alice", "a")), HOUR), 0x97);
}

#[test]
fn tenant_delayed_messages_and_their_bytes_are_counted_over_all_users() {
    for (quota, key) in
        [("tenant_delayed_messages = 2", "tenant_delayed_messages"), ("tenant_queued_bytes = 201", "tenant_queued_bytes")]
    {
        let mut bounded = users(quota);
        let (mut alice, mut bob) = (come(&bounded, login("alice", "a")), come(&bounded, login("bob", "b")));
        // With the mount point each is four bytes longer.
        assert_eq!([later(&mut alice, HOUR), later(&mut bob, HOUR), later(&mut alice, HOUR)], [0, 0, 0x97], "{quota}");
        bounded.assert_hits(key, 1);
        assert_eq!(later(&mut enter(&bounded, login("bob", "outside")), HOUR), 0);
        bounded.assert_bystander_unharmed();
        bounded.broker.kill_and_restart();
        let tenant = bounded.broker.listener("tenant");
        let mut nobody = Client::connect_with(tenant, Connect { client_id: "nobody", ..connect(V5) }).0;
        assert_eq!(later(&mut nobody, HOUR), 0x97, "{quota}");
    }
}
