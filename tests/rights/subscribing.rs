use dunlin::packet::{QoS, SubscriptionOptions};

use crate::house::{House, lasting};
use crate::support::client::{Client, V311};

const ACL: &str = "\
user alice
topic read open/#
topic read half/+/temperature
topic deny open/secret/#
user bob
topic #
user carol
topic #
";

fn options(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { qos, ..Default::default() }
}

#[test]
fn subscribing_to_everything_brings_what_is_permitted() {
    let house = House::build(ACL);
    let mut bob = house.enter("bob", "b");
    for topic in ["open/retained", "open/secret/retained", "closed/retained"] {
        bob.retain(topic, "1");
    }
    for filter in ["#", "+/#", "+/+", "open/#"] {
        let mut alice = house.enter("alice", "a");
        alice.subscribe(filter, QoS::AtLeastOnce);
        alice.expect_message("open/retained", "1");
        for topic in ["closed", "closed/x", "open/secret/x", "open/secret", "half/a/humidity", "$SYS/broker/x"] {
            bob.publish(topic, "no", QoS::AtLeastOnce);
        }
        bob.publish("open/x", "yes", QoS::AtLeastOnce);
        alice.expect_message("open/x", "yes");
        alice.expect_nothing();
    }
}

#[test]
fn a_filter_of_which_nothing_is_permitted_is_refused() {
    let house = House::build(ACL);
    let mut alice = house.enter("alice", "a");
    for filter in ["closed", "closed/#", "open/secret/#", "open/secret/x", "half/a/humidity", "$SYS/#", "$SYS/broker/uptime"] {
        assert_eq!(alice.subscribe_with(filter, options(QoS::AtLeastOnce), None), [0x87], "{filter}");
        assert_eq!(alice.subscribe_with(&format!("$share/g/{filter}"), options(QoS::AtLeastOnce), None), [0x87], "{filter}");
        assert_eq!(alice.unsubscribe(filter), [0x11], "nothing was left behind");
    }
    let mut old = house.enter_as(V311, "alice", "old");
    // The client reads 0x80, which is all that 3.1.1 knows, as it is.
    assert_eq!(old.subscribe_with("closed", options(QoS::AtLeastOnce), None), [0x80]);
    assert_eq!(house.metric("dunlin_authorization_denied_total{action=\"subscribe\"}"), 15.0);
}

#[test]
fn a_filter_that_overlaps_what_is_permitted_is_granted() {
    let house = House::build(ACL);
    let mut alice = house.enter("alice", "a");
    for filter in ["#", "+/+/temperature", "half/#", "half/a/+", "open", "$share/g/#", "$share/g/open/x"] {
        assert_eq!(alice.subscribe_with(filter, options(QoS::AtLeastOnce), None), [1], "{filter}");
    }
}

#[test]
fn a_shared_subscription_brings_only_what_is_permitted() {
    let house = House::build(ACL);
    let mut alice = house.enter("alice", "a");
    alice.subscribe("$share/g/#", QoS::AtLeastOnce);
    let mut bob = house.enter("bob", "b");
    for topic in ["closed", "open/secret/x"] {
        bob.publish(topic, "no", QoS::AtLeastOnce);
    }
    bob.publish("open/x", "yes", QoS::AtLeastOnce);
    alice.expect_message("open/x", "yes");
    alice.expect_nothing();
}

/// A member that may not read a message does not swallow it.
#[test]
fn a_message_of_a_group_goes_to_a_member_that_may_read_it() {
    let house = House::build(ACL);
    let (mut alice, mut carol) = (house.enter("alice", "a"), house.enter("carol", "c"));
    for member in [&mut alice, &mut carol] {
        member.subscribe("$share/g/#", QoS::AtLeastOnce);
    }
    let mut bob = house.enter("bob", "b");
    for number in 0..4 {
        bob.publish("closed", &number.to_string(), QoS::AtLeastOnce);
        carol.expect_message("closed", &number.to_string());
    }
    alice.expect_nothing();
}

/// [MQTT-4.4.0-1], [MQTT-3.3.1-1]: with its identifier, as sent before, ahead of what came later.
#[test]
fn what_no_other_member_may_read_stays_under_way_with_the_one_that_has_it() {
    let mut house = House::build(ACL);
    let connect = lasting("carol", "c");
    let mut carol = Client::connect_with(house.broker.address(), connect).0;
    let mut alice = house.enter("alice", "a");
    for member in [&mut carol, &mut alice] {
        member.subscribe("$share/g/#", QoS::AtLeastOnce);
    }
    let mut bob = house.enter("bob", "b");
    bob.publish("closed", "1", QoS::AtLeastOnce);
    let sent = carol.expect_publish(|publish| (publish.delivery, publish.dup));
    assert!(!sent.1);
    carol.cut();
    house.broker.wait_for_log("\"disconnected\",\"client\":\"c\"");
    bob.publish("closed", "2", QoS::AtLeastOnce);
    let mut carol = Client::connect_with(house.broker.address(), connect).0;
    assert_eq!(carol.expect_publish(|publish| (publish.delivery, publish.dup)), (sent.0, true));
    carol.expect_message("closed", "2");
    alice.expect_nothing();
}

/// However many members may not read it and whichever of them would be next.
#[test]
fn one_member_of_many_that_may_read_gets_the_message() {
    let house = House::build(ACL);
    let mut alices: Vec<_> = (0..4).map(|number| house.enter("alice", &format!("a{number}"))).collect();
    let mut carol = house.enter("carol", "c");
    for member in &mut alices {
        member.subscribe("$share/g/#", QoS::AtLeastOnce);
    }
    carol.subscribe("$share/g/#", QoS::AtLeastOnce);
    let mut bob = house.enter("bob", "b");
    for number in 0..5 {
        bob.publish("closed", &number.to_string(), QoS::AtLeastOnce);
    }
    for number in 0..5 {
        carol.expect_message("closed", &number.to_string());
    }
}
