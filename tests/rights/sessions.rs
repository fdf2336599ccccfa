use dunlin::packet::{Connect, QoS};

use crate::house::{EVERYTHING, House, lasting, login, will};
use crate::support::client::Client;

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

#[test]
fn another_user_inherits_neither_messages_nor_subscriptions() {
    let house = House::build(EVERYTHING);
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
    let house = House::build(EVERYTHING);
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

/// One user may come in by any listener that knows it by the same files, and finds its session there, with what that listener grants.
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
    let (mut alice, _) = Client::connect_with(house.broker.listener("strict"), lasting("alice", "same"));
    assert_eq!(alice.publish("private", "x", QoS::AtLeastOnce), 0x87);
    let mut carol = house.enter("carol", "c");
    carol.publish("private", "x", QoS::AtLeastOnce);
    alice.expect_nothing();
}
