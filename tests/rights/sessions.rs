use dunlin::packet::{Connect, QoS};

use crate::house::{EVERYTHING, House, lasting, login, will};
use crate::support::client::{Client, V5};

#[test]
fn another_user_cannot_take_over_a_client_identifier_that_is_online() {
    let house = House::build(EVERYTHING);
    let (mut alice, _) = Client::connect_with(house.broker.address(), lasting("alice", "same"));
    for clean_start in [true, false] {
        assert_eq!(house.refused(Connect { client_id: "same", clean_start, ..login("bob") }), 0x87);
    }
    alice.ping();
    let (_again, present) = Client::connect_with(house.broker.address(), lasting("alice", "same"));
    assert!(present, "the same user takes over");
    alice.expect_disconnect(0x8E);
}

/// An offline session is its user's too: another one has not even the right to end it.
#[test]
fn another_user_cannot_end_a_session_that_is_offline() {
    let house = House::build(EVERYTHING);
    let (mut alice, _) = Client::connect_with(house.broker.address(), lasting("alice", "same"));
    alice.subscribe("private", QoS::AtLeastOnce);
    alice.cut();
    house.broker_sees_offline();
    house.enter("carol", "c").publish("private", "for alice", QoS::AtLeastOnce);
    for clean_start in [true, false] {
        assert_eq!(house.refused(Connect { client_id: "same", clean_start, ..login("bob") }), 0x87);
    }
    let (mut alice, present) = Client::connect_with(house.broker.address(), lasting("alice", "same"));
    assert!(present);
    alice.expect_message("private", "for alice");
}

/// A session that is over is nobody's any more, and neither is its identifier.
#[test]
fn the_identifier_of_a_session_that_has_ended_is_free_for_other_users() {
    let house = House::build(EVERYTHING);
    let mut short = lasting("alice", "same");
    short.properties.session_expiry_interval = 1;
    Client::connect_with(house.broker.address(), short).0.cut();
    house.broker_sees_offline();
    crate::support::eventually("it has expired", || house.refused(Connect { client_id: "same", ..login("bob") }) == 0);
    Client::connect_with(house.broker.address(), Connect { client_id: "other", ..login("alice") }).0.cut();
    crate::support::eventually("it has ended", || house.refused(Connect { client_id: "other", ..login("bob") }) == 0);
}

const REUSE: &str = r#"
[protection]
client_id_reuse = true
[auth]
password_file = "@DIR@/users"
acl_file = "@DIR@/acl"
[[listeners]]
name = "tcp"
url = "tcp://127.0.0.1:0"
"#;

#[test]
fn another_user_inherits_neither_messages_nor_subscriptions() {
    let house = House::furnished(REUSE, EVERYTHING);
    let (mut alice, _) = Client::connect_with(house.broker.address(), lasting("alice", "same"));
    alice.subscribe("private", QoS::AtLeastOnce);
    alice.cut();
    let mut carol = house.enter("carol", "c");
    carol.publish("private", "for alice", QoS::AtLeastOnce);
    let (mut bob, present) = Client::connect_with(house.broker.address(), lasting("bob", "same"));
    assert!(!present);
    carol.publish("private", "for alice too", QoS::AtLeastOnce);
    bob.expect_nothing();
    assert_eq!(bob.unsubscribe("private"), [0x11]);
}

/// `[MQTT-3.1.2-8]`, and 3.1.3.2.2: the session ends here, so its will is due.
#[test]
fn the_will_of_a_session_that_another_user_has_ended_is_published() {
    let house = House::furnished(REUSE, EVERYTHING);
    let mut carol = house.enter("carol", "c");
    carol.subscribe("gone", QoS::AtLeastOnce);
    let mut will = will("gone");
    will.delay_interval = 3600;
    let (alice, _) = Client::connect_with(house.broker.address(), Connect { will: Some(will), ..lasting("alice", "same") });
    alice.cut();
    house.broker_sees_offline();
    house.enter("bob", "same").ping();
    carol.expect_message("gone", "bye");
}

impl House {
    /// Waits until a session is offline.
    fn broker_sees_offline(&self) {
        crate::support::eventually("a session is offline", || self.metric("dunlin_sessions{state=\"offline\"}") == 1.0);
    }
}

/// Two listeners with a file of users each have two people called alice.
#[test]
fn a_user_of_another_listeners_file_is_another_user() {
    let config = r#"
[protection]
client_id_reuse = true
[[listeners]]
name = "tcp"
url = "tcp://127.0.0.1:0"
password_file = "@DIR@/users"
[[listeners]]
name = "others"
url = "tcp://127.0.0.1:0"
password_file = "@DIR@/acl"
"#;
    // The second file is one of passwords too.
    let house = House::furnished(config, crate::house::USERS);
    let others = house.broker.listener("others");
    let (mut alice, _) = Client::connect_with(house.broker.address(), lasting("alice", "same"));
    alice.subscribe("private", QoS::AtLeastOnce);
    assert_eq!(Client::refused(others, lasting("alice", "same")), 0x87);
    alice.cut();
    house.broker_sees_offline();
    let mut carol = house.enter("carol", "c");
    carol.publish("private", "for alice", QoS::AtLeastOnce);
    let (mut other, present) = Client::connect_with(others, lasting("alice", "same"));
    assert!(!present);
    carol.publish("private", "for alice too", QoS::AtLeastOnce);
    other.expect_nothing();
}

/// A session belongs to the rights that it was made with: a listener with others begins a new one.
#[test]
fn the_rights_of_the_listener_that_a_client_came_in_by_hold() {
    let config = r#"
[auth]
password_file = "@DIR@/users"
[[listeners]]
name = "tcp"
url = "tcp://127.0.0.1:0"
[[listeners]]
name = "strict"
url = "tcp://127.0.0.1:0"
acl_file = "@DIR@/acl"
"#;
    let house = House::furnished(config, "user alice\ntopic read public/#\n");
    let (mut alice, _) = Client::connect_with(house.broker.address(), lasting("alice", "same"));
    alice.subscribe("#", QoS::AtLeastOnce);
    alice.cut();
    house.broker_sees_offline();
    let (mut alice, present) = Client::connect_with(house.broker.listener("strict"), lasting("alice", "same"));
    assert!(!present);
    assert_eq!(alice.publish("private", "x", QoS::AtLeastOnce), 0x87);
    let mut carol = house.enter("carol", "c");
    carol.publish("private", "x", QoS::AtLeastOnce);
    alice.expect_nothing();
}

#[test]
fn a_session_is_found_at_every_listener_with_the_same_users_and_rights() {
    let config = r#"
[auth]
password_file = "@DIR@/users"
acl_file = "@DIR@/acl"
[[listeners]]
name = "tcp"
url = "tcp://127.0.0.1:0"
[[listeners]]
name = "second"
url = "tcp://127.0.0.1:0"
max_packet_size = "1KiB"
"#;
    let mut house = House::furnished(config, EVERYTHING);
    Client::connect_with(house.broker.address(), lasting("alice", "same")).0.subscribe("a", QoS::AtLeastOnce);
    house.change("acl", EVERYTHING);
    let (mut alice, present) = Client::connect_with(house.broker.listener("second"), lasting("alice", "same"));
    assert!(present);
    house.enter("bob", "b").publish("a", "x", QoS::AtLeastOnce);
    alice.expect_message("a", "x");
}

/// Rights are shared from the start; a reload that would part them changes nothing for either.
#[test]
fn listeners_with_common_rights_cannot_be_parted_by_a_reload() {
    let listener = |name: &str, acl: &str| {
        format!("[[listeners]]\nname = \"{name}\"\nurl = \"tcp://127.0.0.1:0\"\nacl_file = \"@DIR@/{acl}\"\n")
    };
    let mut house = House::furnished(&format!("{}{}", listener("tcp", "acl"), listener("second", "acl")), "topic open/#\n");
    std::fs::write(house.file("loose"), "topic #\n").unwrap();
    let changed = format!("{}{}", listener("tcp", "loose"), listener("second", "acl"));
    let folder = house.broker.folder.path().display().to_string();
    std::fs::write(house.file("dunlin.toml"), changed.replace("@DIR@", &folder)).unwrap();
    house.broker.signal("-HUP");
    house.broker.wait_for_log("users and rights stay as they were");
    house.broker.wait_for_log("config reloaded");
    for name in ["tcp", "second"] {
        let mut client = Client::connect(house.broker.listener(name), V5, "a");
        assert_eq!(client.publish("secret", "", QoS::AtLeastOnce), 0x87, "{name}");
        assert_eq!(client.publish("open/x", "", QoS::AtLeastOnce), 0x10, "{name}");
    }
}
