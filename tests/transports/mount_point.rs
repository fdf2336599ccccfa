//! Listeners with a mount point: tenants that do not see each other.

use dunlin::packet::{Connect, QoS, SubscriptionOptions, TopicName, Will};

use crate::support::client::{Client, V5, V311, connect};
use crate::support::{Broker, eventually};

const DOORS: &str = r#"
[sys]
interval = "1s"
[[listeners]]
name = "a"
url = "tcp://127.0.0.1:0"
mount_point = "tenant/a/"
[[listeners]]
name = "b"
url = "tcp://127.0.0.1:0"
mount_point = "tenant/b/"
[[listeners]]
name = "whole"
url = "tcp://127.0.0.1:0"
"#;

struct House {
    broker: Broker,
}

impl House {
    fn build() -> Self {
        Self { broker: Broker::with_config(DOORS) }
    }

    fn enter(&self, door: &str, id: &str) -> Client {
        Client::connect(self.broker.listener(door), V5, id)
    }
}

#[test]
fn tenants_see_their_own_topics_without_the_prefix_and_nobody_elses() {
    let house = House::build();
    let (mut a, mut b, mut whole) = (house.enter("a", "client"), house.enter("b", "client"), house.enter("whole", "client"));
    for client in [&mut a, &mut b, &mut whole] {
        client.subscribe("#", QoS::AtLeastOnce);
    }
    a.publish("x/y", "of a", QoS::AtLeastOnce);
    a.expect_message("x/y", "of a");
    whole.expect_message("tenant/a/x/y", "of a");
    whole.publish("tenant/b/z", "for b", QoS::AtLeastOnce);
    whole.expect_message("tenant/b/z", "for b");
    b.expect_message("z", "for b");
    // To write the prefix oneself only nests it.
    a.publish("tenant/b/z", "nested", QoS::AtLeastOnce);
    a.expect_message("tenant/b/z", "nested");
    whole.expect_message("tenant/a/tenant/b/z", "nested");
    b.expect_nothing();
}

/// [MQTT-4.7.2-1]: to a tenant its own topics are all there are, so that `#` reaches none of them that begin with `$`, and none that is
/// somebody else's.
#[test]
fn wildcards_reach_what_they_would_without_a_mount_point() {
    let house = House::build();
    let (mut writer, mut whole) = (house.enter("a", "writer"), house.enter("whole", "whole"));
    writer.retain("$x/y", "hidden");
    whole.retain("tenant/a", "outside");
    let mut reader = house.enter("a", "reader");
    for filter in ["#", "+/y", "$share/g/#"] {
        reader.subscribe(filter, QoS::AtLeastOnce);
    }
    writer.publish("$x/y", "hidden", QoS::AtLeastOnce);
    whole.publish("tenant/a", "outside", QoS::AtLeastOnce);
    whole.publish("tenant/a/", "nothing is left of its topic", QoS::AtLeastOnce);
    reader.expect_nothing();
    let mut named = house.enter("a", "named");
    named.subscribe("$x/#", QoS::AtLeastOnce);
    named.expect_message("$x/y", "hidden");
    writer.publish("$x/y", "seen", QoS::AtLeastOnce);
    named.expect_message("$x/y", "seen");
}

#[test]
fn an_older_client_behind_a_mount_point_sees_topics_without_it_too() {
    let house = House::build();
    let mut a = Client::connect(house.broker.listener("a"), V311, "old");
    a.subscribe("+/y", QoS::ExactlyOnce);
    house.enter("whole", "w").publish("tenant/a/x/y", "hi", QoS::ExactlyOnce);
    a.expect_message("x/y", "hi");
}

#[test]
fn retained_messages_stay_with_their_tenant() {
    let house = House::build();
    house.enter("a", "p").retain("state", "of a");
    house.enter("b", "p").retain("state", "of b");
    for (door, topic, payload) in [("a", "state", "of a"), ("b", "state", "of b")] {
        let mut client = house.enter(door, "s");
        client.subscribe("#", QoS::AtLeastOnce);
        client.expect_message(topic, payload);
        client.expect_nothing();
    }
}

#[test]
fn a_will_goes_to_its_tenant() {
    let house = House::build();
    let (mut a, mut b, mut whole) = (house.enter("a", "s"), house.enter("b", "s"), house.enter("whole", "s"));
    for client in [&mut a, &mut b, &mut whole] {
        client.subscribe("#", QoS::AtLeastOnce);
    }
    let will = Will {
        topic: TopicName::new("gone").unwrap(),
        payload: b"bye",
        qos: QoS::AtLeastOnce,
        retain: false,
        delay_interval: 0,
        message_expiry_interval: None,
        properties: Default::default(),
    };
    let (client, _) =
        Client::connect_with(house.broker.listener("a"), Connect { client_id: "w", will: Some(will), ..connect(V5) });
    client.cut();
    a.expect_message("gone", "bye");
    whole.expect_message("tenant/a/gone", "bye");
    b.expect_nothing();
}

#[test]
fn a_shared_subscription_is_shared_within_the_tenant() {
    let house = House::build();
    let mut members = [house.enter("a", "m1"), house.enter("a", "m2"), house.enter("b", "m1")];
    for member in &mut members {
        member.subscribe("$share/group/x/+", QoS::AtLeastOnce);
    }
    let mut publisher = house.enter("a", "p");
    for payload in ["1", "2"] {
        publisher.publish("x/y", payload, QoS::AtLeastOnce);
    }
    let [first, second, other] = &mut members;
    first.expect_publish(|publish| assert_eq!(publish.topic.unwrap().as_str(), "x/y"));
    second.expect_publish(|publish| assert_eq!(publish.topic.unwrap().as_str(), "x/y"));
    other.expect_nothing();
    assert_eq!(first.unsubscribe("$share/group/x/+"), [0]);
    assert_eq!(first.unsubscribe("$share/group/x/+"), [0x11]);
}

#[test]
fn unsubscribing_and_subscription_identifiers_work_behind_a_mount_point() {
    let house = House::build();
    let mut a = house.enter("a", "s");
    a.subscribe_with("x", SubscriptionOptions { qos: QoS::AtMostOnce, ..Default::default() }, Some(7));
    a.publish("x", "1", QoS::AtMostOnce);
    a.expect_publish(|publish| assert_eq!(publish.topic.unwrap().as_str(), "x"));
    assert_eq!(a.unsubscribe("x"), [0]);
    a.publish("x", "2", QoS::AtMostOnce);
    a.expect_nothing();
}

/// Topic aliases stand for the topic that the client knows.
#[test]
fn outgoing_topic_aliases_name_the_short_topic() {
    let house = House::build();
    let mut properties = connect(V5).properties;
    properties.topic_alias_maximum = 4;
    let (mut a, _) = Client::connect_with(house.broker.listener("a"), Connect { client_id: "s", properties, ..connect(V5) });
    a.subscribe("x/y/z", QoS::AtMostOnce);
    let mut publisher = house.enter("whole", "p");
    let mut alias = None;
    for _ in 0..4 {
        publisher.publish("tenant/a/x/y/z", "hi", QoS::AtMostOnce);
        a.expect_publish(|publish| match publish.topic {
            Some(topic) => {
                assert_eq!(topic.as_str(), "x/y/z");
                alias = publish.properties.topic_alias.or(alias);
            }
            None => assert_eq!(publish.properties.topic_alias, alias),
        });
    }
}

#[test]
fn the_same_client_identifier_in_two_tenants_is_two_sessions() {
    let house = House::build();
    let mut properties = connect(V5).properties;
    properties.session_expiry_interval = 600;
    let lasting = Connect { client_id: "same", clean_start: false, properties, ..connect(V5) };
    let (mut a, present) = Client::connect_with(house.broker.listener("a"), lasting);
    assert!(!present);
    a.subscribe("x", QoS::AtLeastOnce);
    let (mut b, present) = Client::connect_with(house.broker.listener("b"), lasting);
    assert!(!present, "not the session of the other tenant");
    a.ping();
    b.ping();
    a.cut();
    let (_a, present) = Client::connect_with(house.broker.listener("a"), lasting);
    assert!(present);
}

#[test]
fn the_brokers_own_topics_cannot_be_seen_through_a_mount_point() {
    let house = House::build();
    let mut whole = house.enter("whole", "s");
    whole.subscribe("$SYS/#", QoS::AtMostOnce);
    let mut topics = Vec::new();
    while !topics.iter().any(|topic: &String| topic == "$SYS/broker/uptime") {
        topics.push(whole.expect_publish(|publish| publish.topic.unwrap().as_str().to_owned()));
    }
    let mut a = house.enter("a", "s");
    for filter in ["#", "$SYS/#", "$SYS/broker/uptime", "+/broker/#"] {
        a.subscribe(filter, QoS::AtMostOnce);
    }
    house.enter("b", "presence").ping();
    let before = house.broker.metric("dunlin_publishes_sent_total{qos=\"0\"}");
    eventually("the broker has published again", || house.broker.metric("dunlin_publishes_sent_total{qos=\"0\"}") > before);
    a.expect_nothing();
    // What a tenant calls $SYS is an ordinary topic of its own.
    a.publish("$SYS/broker/uptime", "forged", QoS::AtMostOnce);
    let mut late = house.enter("whole", "late");
    late.subscribe("$SYS/broker/uptime", QoS::AtMostOnce);
    late.expect_publish(|publish| assert_ne!(publish.payload, b"forged"));
}

/// With its prefix the topic would be longer than a topic can be.
#[test]
fn a_topic_that_does_not_fit_with_the_prefix_is_refused() {
    let house = House::build();
    let topic = "x".repeat(65_530);
    let mut a = house.enter("a", "p");
    assert_eq!(a.publish(&topic, "", QoS::AtLeastOnce), 0x90);
    a.ping();
    let reasons = a.subscribe_with(&topic, SubscriptionOptions::default(), None);
    assert_eq!(reasons, [0x8F]);
}
