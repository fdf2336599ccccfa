use dunlin::packet::{Delivery, Packet, PacketId, QoS};

use crate::house::{EVERYTHING, House};
use crate::support::Broker;
use crate::support::client::{Client, V5, V311, connect, publish};

const ACL: &str = "user alice\ntopic write mine/#\ntopic read shown/#\nuser bob\ntopic #\n";

#[test]
fn a_denied_publish_is_neither_delivered_nor_retained_and_5_0_is_told() {
    let house = House::build(ACL);
    let mut bob = house.enter("bob", "b");
    bob.subscribe("#", QoS::ExactlyOnce);
    let mut alice = house.enter("alice", "a");
    for topic in ["other", "shown/x", "min", "mine2"] {
        for (qos, code) in [(QoS::AtMostOnce, 0), (QoS::AtLeastOnce, 0x87), (QoS::ExactlyOnce, 0x87)] {
            assert_eq!(alice.publish_with(topic, "x", qos, |packet| packet.retain = true), code, "{topic} {qos:?}");
        }
    }
    alice.ping();
    bob.expect_nothing();
    let mut late = house.enter("bob", "late");
    late.subscribe("#", QoS::AtMostOnce);
    late.expect_nothing();
    assert_eq!(house.metric("dunlin_authorization_denied_total{action=\"publish\"}"), 12.0);
    assert_eq!(house.metric("dunlin_messages_dropped_total{reason=\"not_authorized\"}"), 12.0);
}

/// `[MQTT3-3.3.5-2]`: there is no code for "no".
#[test]
fn an_older_client_gets_a_positive_acknowledgement_for_a_denied_publish() {
    let house = House::build(ACL);
    let mut bob = house.enter("bob", "b");
    bob.subscribe("#", QoS::ExactlyOnce);
    let mut alice = house.enter_as(V311, "alice", "a");
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        assert_eq!(alice.publish_with("other", "x", qos, |packet| packet.retain = true), 0);
    }
    alice.ping();
    bob.expect_nothing();
}

#[test]
fn a_denied_publish_does_not_clear_or_replace_what_is_retained() {
    let house = House::build(ACL);
    let mut bob = house.enter("bob", "b");
    bob.retain("other", "kept");
    let mut alice = house.enter("alice", "a");
    alice.retain("other", "");
    alice.retain("other", "replaced");
    bob.subscribe("other", QoS::AtMostOnce);
    bob.expect_message("other", "kept");
}

/// `[MQTT-4.3.3-4]`: PUBREC with an error ends the exchange, and its identifier is free.
#[test]
fn the_identifier_of_a_denied_qos_2_publish_is_free_again() {
    let house = House::build(ACL);
    let mut bob = house.enter("bob", "b");
    bob.subscribe("mine/x", QoS::AtLeastOnce);
    let mut alice = house.enter("alice", "a");
    let id = PacketId::new(9).unwrap();
    let exchange = Delivery::ExactlyOnce(id);
    for (topic, reason) in [("other", 0x87), ("mine/x", 0)] {
        alice.send(&Packet::Publish(publish(topic, "new", exchange)));
        let told = alice.expect("PUBREC", |packet| match packet {
            Packet::PubRec(ack) if ack.packet_id == id => Some(ack.reason as u8),
            _ => None,
        });
        assert_eq!(told, reason);
    }
    bob.expect_message("mine/x", "new");
}

#[test]
fn a_topic_alias_opens_nothing() {
    let house = House::build(ACL);
    let mut bob = house.enter("bob", "b");
    bob.subscribe("#", QoS::AtMostOnce);
    let mut alice = house.enter("alice", "a");
    alice.publish_with("mine/x", "1", QoS::AtMostOnce, |packet| packet.properties.topic_alias = Some(1));
    bob.expect_message("mine/x", "1");
    let denied = alice.publish_with("other", "2", QoS::AtLeastOnce, |packet| {
        packet.properties.topic_alias = Some(1);
    });
    assert_eq!(denied, 0x87);
    let again = alice.publish_with("other", "3", QoS::AtLeastOnce, |packet| {
        packet.topic = None;
        packet.properties.topic_alias = Some(1);
    });
    assert_eq!(again, 0x87);
    bob.expect_nothing();
}

#[test]
fn what_may_only_be_read_or_only_written_is_kept_apart() {
    let house = House::build(ACL);
    let mut alice = house.enter("alice", "a");
    alice.subscribe("#", QoS::AtLeastOnce);
    let mut bob = house.enter("bob", "b");
    bob.subscribe("mine/x", QoS::AtLeastOnce);
    alice.publish("mine/x", "written", QoS::AtLeastOnce);
    bob.expect_message("mine/x", "written");
    alice.expect_nothing();
    bob.publish("shown/x", "read", QoS::AtLeastOnce);
    alice.expect_message("shown/x", "read");
}

#[test]
fn the_brokers_own_topics_cannot_be_written() {
    let sys = "$SYS/broker/version";
    let open = Broker::start();
    let granted = House::build(&format!("{EVERYTHING}topic $SYS/#\npattern readwrite $SYS/#\n"));
    let mut clients = [
        (Client::connect_with(open.address(), connect(V5)).0, open.address(), None),
        (granted.enter("carol", "c"), granted.broker.address(), Some("carol")),
    ];
    for (client, address, user) in &mut clients {
        for topic in [sys, "$SYS/x", "$SYS"] {
            for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
                assert_eq!(client.publish_with(topic, "forged", qos, |packet| packet.retain = true), 0x87, "{topic}");
                assert_eq!(client.publish_with(topic, "", qos, |packet| packet.retain = true), 0x87, "{topic}");
            }
        }
        let login = user.map_or(connect(V5), crate::house::login);
        let mut late = Client::connect_with(*address, login).0;
        late.subscribe(sys, QoS::AtMostOnce);
        late.expect_publish(|publish| assert!(publish.payload.starts_with(b"dunlin version ")));
    }
}
