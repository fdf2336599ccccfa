//! What the broker keeps: subscriptions, retained messages, sessions.

use dunlin::packet::{Connect, Packet, QoS, Subscribe, SubscriptionOptions, TopicFilter, Unsubscribe, UserProperties};

use crate::support::Client;
use crate::support::client::{V5, V311, connect};
use crate::{Bounded, id, keeping, leave};

fn subscribe_to(filters: impl Iterator<Item = String>) -> Packet<'static> {
    let filters = filters.map(|filter| (TopicFilter::new(&filter).unwrap(), SubscriptionOptions::default()));
    Packet::Subscribe(Subscribe {
        packet_id: id(1),
        subscription_identifier: None,
        user_properties: UserProperties::default(),
        filters: filters.collect(),
    })
}

fn unsubscribe_from(filters: impl Iterator<Item = String>) -> Packet<'static> {
    Packet::Unsubscribe(Unsubscribe {
        packet_id: id(1),
        user_properties: UserProperties::default(),
        filters: filters.map(|filter| TopicFilter::new(&filter).unwrap()).collect(),
    })
}

#[test]
fn max_subscriptions_refuses_one_more() {
    let mut bounded = Bounded::new("max_subscriptions = 3");
    for (version, refused) in [(V5, 0x97), (V311, 0x80)] {
        let mut client = Client::connect(bounded.address(), version, "c");
        client.send(&subscribe_to(["a", "b", "a", "$share/g/c", "d", "b"].into_iter().map(String::from)));
        let reasons: Vec<u8> = client.expect("SUBACK", |packet| match packet {
            Packet::SubAck(ack) => Some(ack.reasons.iter().map(|reason| *reason as u8).collect()),
            _ => None,
        });
        assert_eq!(reasons, [0, 0, 0, 0, refused, 0], "one of many, and those that are there already are no more");
        client.publish("d", "not subscribed", QoS::AtLeastOnce);
        client.unsubscribe("b");
        client.subscribe("d", QoS::AtMostOnce);
        client.publish("d", "x", QoS::AtMostOnce);
        client.expect_message("d", "x");
        leave(client);
    }
    bounded.assert_hits("max_subscriptions", 2);
    bounded.assert_bystander_unharmed();
}

#[test]
fn the_filters_of_one_packet_are_bounded() {
    let mut bounded = Bounded::new("max_subscriptions = 3");
    let many = |count: usize| (0..count).map(|number| format!("f{number}"));
    for version in [V5, V311] {
        let mut client = Client::connect(bounded.address(), version, "c");
        let before = bounded.hits("max_subscriptions");
        client.send(&subscribe_to(many(1000)));
        client.expect("SUBACK", |packet| match packet {
            Packet::SubAck(ack) => (ack.reasons.len() == 1000).then_some(()),
            _ => None,
        });
        client.send(&unsubscribe_from(many(1000)));
        client.expect("UNSUBACK", |packet| matches!(packet, Packet::UnsubAck(_)).then_some(()));
        assert_eq!(bounded.hits("max_subscriptions"), before + 997.0);
        client.send(&subscribe_to(many(1001)));
        client.expect_disconnect(0x97);

        let mut client = Client::connect(bounded.address(), version, "c");
        client.send(&unsubscribe_from(many(1001)));
        client.expect_disconnect(0x97);
        assert_eq!(bounded.hits("max_subscriptions"), before + 999.0);
    }
    bounded.assert_bystander_unharmed();
}

/// A client would send it again; nobody does for a will [MQTT-3.1.2-8].
#[test]
fn a_will_that_there_is_no_room_to_retain_is_published_all_the_same() {
    let bounded = without_sys("max_retained_messages = 1");
    let mut witness = bounded.client("witness");
    witness.retain("a", "x");
    witness.subscribe("will", QoS::AtLeastOnce);
    let will = dunlin::packet::Will {
        topic: dunlin::packet::TopicName::new("will").unwrap(),
        payload: b"gone",
        qos: QoS::AtLeastOnce,
        retain: true,
        delay_interval: 0,
        message_expiry_interval: None,
        properties: dunlin::packet::ForwardedProperties::default(),
    };
    Client::connect_with(bounded.address(), Connect { client_id: "c", will: Some(will), ..connect(V5) }).0.cut();
    witness.expect_message("will", "gone");
    let mut late = bounded.client("late");
    late.subscribe("will", QoS::AtLeastOnce);
    late.expect_nothing();
}

/// There are some fifty of them.
#[test]
fn the_brokers_own_figures_take_no_place_of_a_retained_message() {
    let config =
        "[sys]\ninterval = '1s'\n[[listeners]]\nname = 'tcp'\nurl = 'tcp://127.0.0.1:0'\n[limits]\nmax_retained_messages = 2\n";
    let bounded = Bounded::with_config(config);
    let mut client = bounded.client("c");
    client.subscribe("$SYS/broker/uptime", QoS::AtMostOnce);
    client.expect_publish(|_| ());
    let retain =
        |client: &mut Client, topic: &str| client.publish_with(topic, "x", QoS::AtLeastOnce, |packet| packet.retain = true);
    let mut publisher = bounded.client("publisher");
    assert!(retain(&mut publisher, "a") < 0x80 && retain(&mut publisher, "b") < 0x80);
    assert_eq!(retain(&mut publisher, "c"), 0x97);
}

#[test]
fn max_retained_messages_refuses_a_new_topic() {
    let mut bounded = without_sys("max_retained_messages = 2");
    let retain = |client: &mut Client, topic: &str, payload: &str| {
        client.publish_with(topic, payload, QoS::AtLeastOnce, |publish| publish.retain = true)
    };
    let mut client = bounded.client("c");
    for topic in ["a", "b"] {
        assert!(retain(&mut client, topic, "x") < 0x80);
    }
    bounded.assert_hits("max_retained_messages", 0);
    assert_eq!(retain(&mut client, "c", "x"), 0x97);
    bounded.assert_hits("max_retained_messages", 1);
    assert!(retain(&mut client, "a", "another value of a topic that is there") < 0x80);
    assert!(retain(&mut client, "d", "") < 0x80, "nothing is kept for an empty one");

    // An older client has no code for it [MQTT3-3.3.5-2]; it finds out by the close.
    let mut old = Client::connect(bounded.address(), V311, "old");
    let mut packet = crate::support::client::publish("c", "x", dunlin::packet::Delivery::AtLeastOnce(id(1)));
    packet.retain = true;
    old.send(&Packet::Publish(packet));
    assert_eq!(old.expect_close(), None);
    bounded.assert_hits("max_retained_messages", 2);

    assert!(retain(&mut client, "b", "") < 0x80);
    assert!(retain(&mut client, "c", "x") < 0x80, "there is room again");
    bounded.assert_hits("max_retained_messages", 2);
    bounded.assert_bystander_unharmed();
}

/// A broker that retains nothing of its own.
fn without_sys(limits: &str) -> Bounded {
    Bounded::with_config(&format!(
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [sys]
        interval = "0s"
        [limits]
        {limits}
        "#
    ))
}

#[test]
fn max_retained_bytes_refuses_what_does_not_fit() {
    let mut bounded = without_sys("max_retained_bytes = 200");
    let retain = |client: &mut Client, topic: &str, length: usize| {
        let payload = "x".repeat(length);
        client.publish_with(topic, &payload, QoS::AtLeastOnce, |publish| publish.retain = true)
    };
    let mut client = bounded.client("c");
    assert!(retain(&mut client, "a", 99) < 0x80);
    assert!(retain(&mut client, "b", 99) < 0x80);
    bounded.assert_hits("max_retained_bytes", 0);
    assert_eq!(retain(&mut client, "c", 1), 0x97);
    assert_eq!(retain(&mut client, "b", 100), 0x97, "what is there stays when its successor does not fit");
    bounded.assert_hits("max_retained_bytes", 2);
    assert!(retain(&mut client, "b", 98) < 0x80);
    client.subscribe("b", QoS::AtMostOnce);
    client.expect_message("b", &"x".repeat(98));
    bounded.assert_hits("max_retained_bytes", 2);
    bounded.assert_bystander_unharmed();
}

#[test]
fn max_sessions_counts_those_that_are_offline_too() {
    let mut bounded = Bounded::new("max_sessions = 3");
    leave(Client::connect_with(bounded.address(), keeping("offline")).0);
    let online = bounded.client("online");
    for (version, code) in [(V5, 0x97), (V311, 0x88)] {
        assert_eq!(Client::refused(bounded.address(), Connect { client_id: "more", ..connect(version) }), code);
    }
    bounded.assert_hits("max_sessions", 2);
    let (again, is_present) = Client::connect_with(bounded.address(), keeping("offline"));
    assert!(is_present, "who has a session comes back to it");
    leave(again);
    leave(online);
    leave(bounded.client("more"));
    bounded.assert_hits("max_sessions", 2);
    bounded.assert_bystander_unharmed();
}
