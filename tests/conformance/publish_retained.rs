//! 3.3.1.3 RETAIN and the subscription options that go with it.

use dunlin::packet::{QoS, RetainHandling, SubscriptionOptions};

use crate::support::client::{V5, V31, V311};
use crate::support::{Broker, Client};

const ALL_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// [MQTT-3.3.1-5], [MQTT3-3.3.1-5], [MQTT3-3.3.1-6], [MQTT3-3.3.1-7]: whatever the QoS, old or new.
#[test]
fn a_retained_message_replaces_the_one_before() {
    let broker = Broker::start();
    for version in [V31, V311, V5] {
        let mut publisher = Client::connect(broker.address(), version, "publisher");
        for (number, qos) in ALL_QOS.into_iter().chain(ALL_QOS).enumerate() {
            let payload = number.to_string();
            publisher.publish_with("state", &payload, qos, |packet| packet.retain = true);
            let mut late = Client::connect(broker.address(), version, "late");
            late.ping();
            publisher.ping();
            late.subscribe("state", QoS::ExactlyOnce);
            assert_eq!(late.expect_message("state", &payload).qos(), qos);
            late.expect_nothing();
        }
    }
}

/// [MQTT-3.3.1-5], 3.3.1.3: it takes the place of the one before, and is over at once.
#[test]
fn a_retained_message_that_expires_as_it_comes_removes_the_one_before() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    publisher.retain("state", "online");
    publisher.publish_with("state", "offline", QoS::AtLeastOnce, |packet| {
        packet.retain = true;
        packet.properties.message_expiry_interval = Some(0);
    });
    let mut late = Client::connect(broker.address(), V5, "late");
    late.subscribe("state", QoS::AtLeastOnce);
    late.expect_nothing();
}

/// [MQTT-3.3.1-6], [MQTT-3.3.1-7], [MQTT3-3.3.1-10], [MQTT3-3.3.1-11]: it is handed on like any other and leaves nothing.
#[test]
fn an_empty_retained_message_removes_the_one_before_and_is_not_retained_itself() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let mut publisher = Client::connect(broker.address(), version, "publisher");
        let mut there = Client::connect(broker.address(), version, "there");
        publisher.retain("state", "something");
        there.subscribe("state", QoS::AtMostOnce);
        there.expect_message("state", "something");
        for _ in 0..2 {
            publisher.retain("state", "");
            there.expect_publish(|publish| assert!(publish.payload.is_empty() && !publish.retain, "{publish:?}"));
            let mut late = Client::connect(broker.address(), version, "late");
            late.subscribe("state", QoS::AtMostOnce);
            late.expect_nothing();
        }
    }
}

/// [MQTT-3.3.1-8], [MQTT3-3.3.1-12].
#[test]
fn a_message_without_retain_neither_is_kept_nor_touches_the_one_that_is() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    publisher.publish("state", "never", QoS::AtLeastOnce);
    let mut late = Client::connect(broker.address(), V5, "late");
    late.subscribe("state", QoS::AtMostOnce);
    late.expect_nothing();
    publisher.retain("state", "kept");
    late.expect_message("state", "kept");
    publisher.publish("state", "passing", QoS::AtLeastOnce);
    publisher.publish("state", "", QoS::AtLeastOnce);
    let mut later = Client::connect(broker.address(), V311, "later");
    later.subscribe("state", QoS::AtMostOnce);
    later.expect_message("state", "kept");
    later.expect_nothing();
}

/// [MQTT-3.3.1-9], 3.8.3.1, [MQTT3-3.3.1-6], [MQTT3-3.3.1-8]: RETAIN says that it is an old one.
#[test]
fn retained_messages_that_match_are_sent_to_a_new_subscription_with_retain_set() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    let topics = ["rooms/1/light", "rooms/1/door", "rooms/2/light", "garden/light", "rooms"];
    topics.iter().for_each(|topic| publisher.retain(topic, topic));
    for version in [V311, V5] {
        for (filter, expected) in [
            ("rooms/1/light", vec!["rooms/1/light"]),
            ("rooms/+/light", vec!["rooms/1/light", "rooms/2/light"]),
            ("rooms/#", vec!["rooms", "rooms/1/door", "rooms/1/light", "rooms/2/light"]),
            ("+/light", vec!["garden/light"]),
            ("nothing/#", vec![]),
        ] {
            let mut late = Client::connect(broker.address(), version, "late");
            late.subscribe(filter, QoS::AtMostOnce);
            let mut seen: Vec<String> = (0..expected.len())
                .map(|_| {
                    late.expect_publish(|publish| {
                        assert!(publish.retain && publish.payload == publish.topic.expect("a topic").as_str().as_bytes());
                        publish.topic.expect("a topic").to_string()
                    })
                })
                .collect();
            seen.sort();
            assert_eq!(seen, expected, "{filter}");
            late.expect_nothing();
        }
    }
}

fn with_handling(qos: QoS, retain_handling: RetainHandling) -> SubscriptionOptions {
    SubscriptionOptions { qos, retain_handling, ..Default::default() }
}

/// [MQTT-3.3.1-9] to [MQTT-3.3.1-11].
#[test]
fn retain_handling_decides_whether_retained_messages_are_sent() {
    let broker = Broker::start();
    Client::connect(broker.address(), V5, "publisher").retain("state", "kept");
    for (handling, at_first, at_second) in [
        (RetainHandling::Send, true, true),
        (RetainHandling::SendIfNew, true, false),
        (RetainHandling::DoNotSend, false, false),
    ] {
        let mut client = Client::connect(broker.address(), V5, "handling");
        for is_sent in [at_first, at_second] {
            assert_eq!(client.subscribe_with("state", with_handling(QoS::AtMostOnce, handling), None), [0]);
            if is_sent {
                client.expect_message("state", "kept");
            }
            client.expect_nothing();
        }
    }
}

/// [MQTT-3.3.1-10]: after UNSUBSCRIBE the subscription is a new one again.
#[test]
fn a_subscription_that_was_ended_counts_as_new() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "handling");
    client.retain("state", "kept");
    for _ in 0..2 {
        client.subscribe_with("state", with_handling(QoS::AtMostOnce, RetainHandling::SendIfNew), None);
        client.expect_message("state", "kept");
        client.unsubscribe("state");
    }
}

/// [MQTT-3.3.1-12], [MQTT-3.3.1-13], [MQTT3-3.3.1-9].
#[test]
fn retain_is_handed_on_to_subscriptions_only_as_retain_as_published_says() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    for (version, retain_as_published) in [(V311, false), (V5, false), (V5, true)] {
        let mut subscriber = Client::connect(broker.address(), version, "subscriber");
        let options =
            SubscriptionOptions { retain_as_published, retain_handling: RetainHandling::DoNotSend, ..Default::default() };
        let options = if version == V5 { options } else { SubscriptionOptions::default() };
        subscriber.subscribe_with("flag", options, None);
        for retain in [false, true] {
            publisher.publish_with("flag", "x", QoS::AtMostOnce, |packet| packet.retain = retain);
            let seen = subscriber.expect_publish(|publish| publish.retain);
            assert_eq!(seen, retain && retain_as_published);
        }
        publisher.retain("flag", "");
        subscriber.expect_publish(|_| ());
    }
}

/// 3.3.1.3: what is sent because of a subscription has RETAIN set, whatever Retain As Published says.
#[test]
fn retain_is_set_on_stored_messages_for_either_retain_as_published() {
    let broker = Broker::start();
    Client::connect(broker.address(), V311, "publisher").retain("state", "kept");
    for retain_as_published in [false, true] {
        let mut subscriber = Client::connect(broker.address(), V5, "subscriber");
        subscriber.subscribe_with("state", SubscriptionOptions { retain_as_published, ..Default::default() }, None);
        assert!(subscriber.expect_publish(|publish| publish.retain));
    }
}

/// 3.3.1.3, 4.1: retained messages belong to no session.
#[test]
fn retained_messages_outlive_the_session_of_their_publisher() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V311, "publisher");
    publisher.retain("state", "kept");
    publisher.send_bytes(&[0xE0, 0]);
    publisher.expect_close();
    let mut late = Client::connect(broker.address(), V311, "late");
    late.subscribe("state", QoS::AtMostOnce);
    late.expect_message("state", "kept");
}
