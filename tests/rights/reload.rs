//! Rights that are taken away by SIGHUP: what was granted before is looked at again.

use dunlin::packet::{Packet, QoS, SubscriptionOptions};

use crate::house::{EVERYTHING, House, USERS, lasting, login};
use crate::support::client::{Client, V5, V311, connect};
use crate::support::eventually;

/// Nothing of `secret` for alice any more.
const LESS: &str = "user alice\ntopic open/#\nuser bob\ntopic #\nuser carol\ntopic #\n";

#[test]
fn subscriptions_that_nothing_permits_any_more_end() {
    let mut house = House::build(EVERYTHING);
    let mut alice = house.enter("alice", "a");
    for filter in ["secret/x", "$share/g/secret/#", "open/x"] {
        alice.subscribe(filter, QoS::AtLeastOnce);
    }
    house.change("acl", LESS);
    let mut bob = house.enter("bob", "b");
    bob.publish("secret/x", "no", QoS::AtLeastOnce);
    bob.publish("open/x", "yes", QoS::AtLeastOnce);
    alice.expect_message("open/x", "yes");
    alice.expect_nothing();
    assert_eq!(alice.unsubscribe("secret/x"), [0x11]);
    assert_eq!(alice.unsubscribe("$share/g/secret/#"), [0x11]);
    assert_eq!(alice.unsubscribe("open/x"), [0]);
}

#[test]
fn a_wider_subscription_goes_on_with_what_is_left() {
    let mut house = House::build(EVERYTHING);
    let mut alice = house.enter("alice", "a");
    alice.subscribe("#", QoS::AtLeastOnce);
    let mut bob = house.enter("bob", "b");
    bob.publish("secret/x", "before", QoS::AtLeastOnce);
    alice.expect_message("secret/x", "before");
    house.change("acl", LESS);
    bob.publish("secret/x", "after", QoS::AtLeastOnce);
    bob.publish("open/x", "yes", QoS::AtLeastOnce);
    alice.expect_message("open/x", "yes");
    assert_eq!(alice.publish("secret/x", "", QoS::AtLeastOnce), 0x87);
    house.change("acl", EVERYTHING);
    bob.publish("secret/x", "again", QoS::AtLeastOnce);
    alice.expect_message("secret/x", "again");
}

/// mosquitto CVE-2018-12546, CVE-2021-34434.
#[test]
fn messages_that_wait_for_an_offline_session_are_dropped() {
    let mut house = House::build(EVERYTHING);
    let (mut alice, _) = Client::connect_with(house.broker.address(), lasting("alice", "a"));
    alice.subscribe("#", QoS::ExactlyOnce);
    alice.cut();
    eventually("alice is offline", || house.metric("dunlin_sessions{state=\"offline\"}") == 1.0);
    let mut bob = house.enter("bob", "b");
    for (topic, qos) in [("secret/1", QoS::AtLeastOnce), ("open/1", QoS::AtLeastOnce), ("secret/2", QoS::ExactlyOnce)] {
        bob.publish(topic, "x", qos);
    }
    house.change("acl", LESS);
    let (mut alice, present) = Client::connect_with(house.broker.address(), lasting("alice", "a"));
    assert!(present);
    alice.expect_message("open/1", "x");
    alice.expect_nothing();
    assert_eq!(house.metric("dunlin_messages_dropped_total{reason=\"not_authorized\"}"), 2.0);
}

/// What was sent and not acknowledged would be sent again.
#[test]
fn unacknowledged_messages_are_not_sent_again() {
    let mut house = House::build(EVERYTHING);
    let (mut alice, _) = Client::connect_with(house.broker.address(), lasting("alice", "a"));
    alice.subscribe("#", QoS::ExactlyOnce);
    let mut bob = house.enter("bob", "b");
    for (topic, qos) in [("secret/1", QoS::AtLeastOnce), ("secret/2", QoS::ExactlyOnce), ("open/1", QoS::AtLeastOnce)] {
        bob.publish(topic, "x", qos);
        alice.expect_message(topic, "x");
    }
    // This one has got so far that only PUBREL is to be repeated, which carries nothing.
    bob.publish("secret/3", "x", QoS::ExactlyOnce);
    let id = alice.expect_message("secret/3", "x").packet_id().expect("QoS 2 has an identifier");
    alice.pubrec(id);
    alice.expect("PUBREL", |packet| matches!(packet, Packet::PubRel(_)).then_some(()));
    alice.cut();
    house.change("acl", LESS);
    let (mut alice, present) = Client::connect_with(house.broker.address(), lasting("alice", "a"));
    assert!(present);
    alice.expect("PUBREL", |packet| matches!(packet, Packet::PubRel(release) if release.packet_id == id).then_some(()));
    alice.expect_message("open/1", "x");
    alice.pubcomp(id);
    alice.expect_nothing();
}

/// The same where the rights went while the client was connected, and it comes back later.
#[test]
fn messages_unacknowledged_by_a_client_that_was_online_are_not_sent_again_either() {
    let mut house = House::build(EVERYTHING);
    let (mut alice, _) = Client::connect_with(house.broker.address(), lasting("alice", "a"));
    alice.subscribe("#", QoS::AtLeastOnce);
    house.enter("bob", "b").publish("secret/1", "x", QoS::AtLeastOnce);
    let id = alice.expect_message("secret/1", "x").packet_id().expect("QoS 1 has an identifier");
    house.change("acl", LESS);
    // An acknowledgement that comes now is as good as before.
    alice.puback(id);
    alice.ping();
    house.change("acl", EVERYTHING);
    house.enter("bob", "b").publish("secret/2", "x", QoS::AtLeastOnce);
    alice.expect_message("secret/2", "x");
    house.change("acl", LESS);
    alice.cut();
    let (mut alice, present) = Client::connect_with(house.broker.address(), lasting("alice", "a"));
    assert!(present);
    alice.expect_nothing();
}

#[test]
fn retained_messages_may_not_be_read_any_more() {
    let mut house = House::build(EVERYTHING);
    house.enter("bob", "b").retain("secret/x", "1");
    house.change("acl", LESS);
    let mut alice = house.enter("alice", "a");
    alice.subscribe("#", QoS::AtLeastOnce);
    alice.expect_nothing();
}

#[test]
fn retained_messages_of_a_publisher_that_lost_its_right_are_forgotten() {
    let mut house = House::build(EVERYTHING);
    let mut alice = house.enter("alice", "a");
    alice.retain("secret/x", "1");
    alice.retain("open/x", "2");
    let mut old = house.enter_as(V311, "bob", "b");
    old.retain("secret/y", "3");
    house.change("acl", LESS);
    let mut carol = house.enter("carol", "c");
    carol.subscribe("secret/#", QoS::AtLeastOnce);
    carol.expect_message("secret/y", "3");
    carol.subscribe("open/#", QoS::AtLeastOnce);
    carol.expect_message("open/x", "2");
    carol.expect_nothing();
}

#[test]
fn a_user_that_was_removed_is_disconnected_and_does_not_come_back() {
    let mut house = House::build(EVERYTHING);
    let (mut alice, mut old) = (house.enter("alice", "a"), house.enter_as(V311, "alice", "old"));
    let mut bob = house.enter("bob", "b");
    let without: String = USERS.lines().skip(1).map(|line| format!("{line}\n")).collect();
    house.change("users", &without);
    alice.expect_disconnect(0x87);
    old.expect_disconnect(0x87);
    bob.ping();
    assert_eq!(house.refused(login("alice")), 0x86);
}

#[test]
fn anonymous_clients_are_disconnected_when_they_are_not_wanted_any_more() {
    let config = |allowed: bool| {
        format!("[auth]\nallow_anonymous = {allowed}\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n")
    };
    let mut house = House::furnished(&config(true), "");
    let mut client = Client::connect_with(house.broker.address(), connect(V5)).0;
    house.change("dunlin.toml", &config(true));
    client.ping();
    house.change("dunlin.toml", &config(false));
    client.expect_disconnect(0x87);
    assert_eq!(house.refused(connect(V5)), 0x87);
}

#[test]
fn new_users_and_rights_hold_without_a_new_connection() {
    let mut house = House::build("user alice\ntopic open/#\n");
    let mut alice = house.enter("alice", "a");
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
    assert_eq!(alice.subscribe_with("secret/x", options, None), [0x87]);
    house.change("acl", EVERYTHING);
    alice.subscribe("secret/x", QoS::AtLeastOnce);
    assert_eq!(alice.publish("secret/x", "x", QoS::AtLeastOnce), 0);
    alice.expect_message("secret/x", "x");
    let more = format!("{USERS}{}", USERS.lines().next().unwrap().replace("alice", "dave"));
    house.change("users", &more);
    assert_eq!(house.refused(login("dave")), 0);
}

#[test]
fn files_that_cannot_be_read_leave_all_as_it_was() {
    let mut house = House::build(LESS);
    let mut alice = house.enter("alice", "a");
    for (file, good, broken) in [("acl", LESS, "topics open/#\n"), ("users", USERS, "alice\n")] {
        std::fs::write(house.file(file), broken).unwrap();
        house.broker.signal("-HUP");
        let line = house.broker.wait_for_log("all stays as it was");
        assert!(line.contains(&format!("{}:1", house.file(file).display())), "{line}");
        assert_eq!(alice.publish("open/x", "", QoS::AtLeastOnce), 0x10);
        assert_eq!(alice.publish("secret/x", "", QoS::AtLeastOnce), 0x87);
        assert_eq!(house.refused(login("bob")), 0);
        std::fs::write(house.file(file), good).unwrap();
    }
}
