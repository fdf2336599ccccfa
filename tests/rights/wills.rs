use dunlin::packet::{Connect, QoS};

use crate::house::{House, lasting, login, will};
use crate::support::client::{Client, V5, V311};
use crate::support::eventually;

const ACL: &str = "user alice\ntopic write mine/#\nuser bob\ntopic #\n";

/// EMQX #8978: a will is a publish, a retained one too.
#[test]
fn a_will_on_a_topic_that_may_not_be_published_to_refuses_the_connect() {
    let house = House::build(ACL);
    for (topic, retain) in [("other", false), ("other", true), ("$SYS/broker/uptime", true), ("minea", false)] {
        let will = dunlin::packet::Will { retain, ..will(topic) };
        for version in [V311, V5] {
            let connect = Connect { client_id: "a", version, will: Some(will), ..login("alice") };
            assert_eq!(house.refused(connect), 0x87, "{topic}");
        }
    }
    assert_eq!(house.metric("dunlin_authorization_denied_total{action=\"will\"}"), 8.0);
    let mut bob = house.enter("bob", "b");
    bob.subscribe("#", QoS::AtMostOnce);
    bob.expect_nothing();
}

#[test]
fn a_refused_will_touches_no_session() {
    let house = House::build(ACL);
    let (mut alice, _) = Client::connect_with(house.broker.address(), lasting("alice", "same"));
    let refused = Connect { client_id: "same", will: Some(will("other")), ..login("alice") };
    assert_eq!(house.refused(refused), 0x87);
    alice.ping();
}

#[test]
fn a_will_that_may_be_published_is_published_and_retained() {
    let house = House::build(ACL);
    let will = dunlin::packet::Will { retain: true, ..will("mine/gone") };
    let (alice, _) =
        Client::connect_with(house.broker.address(), Connect { client_id: "a", will: Some(will), ..login("alice") });
    let mut bob = house.enter("bob", "b");
    bob.subscribe("mine/gone", QoS::AtMostOnce);
    alice.cut();
    bob.expect_message("mine/gone", "bye");
    let mut late = house.enter("bob", "late");
    late.subscribe("mine/gone", QoS::AtMostOnce);
    late.expect_message("mine/gone", "bye");
}

#[test]
fn a_will_whose_right_was_taken_away_meanwhile_is_not_published() {
    let mut house = House::build(ACL);
    let connect = Connect { client_id: "a", will: Some(will("mine/gone")), ..login("alice") };
    let (alice, _) = Client::connect_with(house.broker.address(), connect);
    let mut bob = house.enter("bob", "b");
    bob.subscribe("#", QoS::AtMostOnce);
    house.change("acl", "user alice\ntopic write other/#\nuser bob\ntopic #\n");
    alice.cut();
    eventually("the will is refused", || house.metric("dunlin_authorization_denied_total{action=\"will\"}") == 1.0);
    bob.expect_nothing();
}
