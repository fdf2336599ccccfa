//! 3.3.2.3.4 Topic Alias, in both directions.

use dunlin::packet::{Connect, ConnectProperties, QoS};

use crate::steps::keeping;
use crate::support::client::{V5, V311, connect};
use crate::support::{Broker, Client};
use crate::wire::{Bystanders, prefixed, publish};

/// 3.3.2.3.4, [MQTT-3.3.2-12]: every alias up to the maximum can be set, used and set anew.
#[test]
fn a_topic_alias_stands_for_the_topic_that_it_was_last_set_to() {
    let broker = Broker::start();
    let (mut publisher, maximum) = Client::connack(broker.address(), connect(V5), |properties| properties.topic_alias_maximum);
    assert!(maximum > 0);
    let mut subscriber = Client::connect(broker.address(), V311, "subscriber");
    subscriber.subscribe("#", QoS::AtMostOnce);
    let with = |alias: u16| [&[0x23][..], &alias.to_be_bytes()].concat();
    for round in ["first", "second"] {
        for alias in 1..=maximum {
            publisher.send_bytes(&publish(0x30, V5, format!("{round}/{alias}"), None, &with(alias)));
            subscriber.expect_message(&format!("{round}/{alias}"), "payload");
        }
        for alias in (1..=maximum).rev() {
            publisher.send_bytes(&publish(0x32, V5, "", Some(alias), &with(alias)));
            assert_eq!(publisher.expect_bytes()[0], 0x40);
            subscriber.expect_message(&format!("{round}/{alias}"), "payload");
        }
    }
}

/// 3.3.2.3.4, [MQTT-3.3.2-7]: a resumed session brings no aliases with it.
#[test]
fn an_alias_that_was_not_set_on_this_connection_is_a_protocol_error() {
    let mut others = Bystanders::start();
    let unset = publish(0x30, V5, "", None, &[0x23, 0, 1]);
    others.refuse(V5, &[("never set", unset.clone(), 0x82)]);
    let address = others.broker.address();
    let (mut client, _) = Client::connect_with(address, keeping(V5, "aliases"));
    client.send_bytes(&publish(0x32, V5, "$elsewhere", Some(1), &[0x23, 0, 1]));
    client.expect_bytes();
    client.send_bytes(&[0xE0, 0]);
    client.expect_close();
    let (mut client, was_present) = Client::connect_with(address, keeping(V5, "aliases"));
    assert!(was_present);
    client.send_bytes(&unset);
    client.expect_disconnect(0x82);
    others.notice_nothing();
}

/// [MQTT-3.3.2-7], [MQTT-3.3.2-11], [MQTT-3.3.2-10]: towards the client they mean what they were set to on this connection.
#[test]
fn aliases_towards_a_client_are_set_before_they_are_used_and_forgotten_with_the_connection() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V311, "publisher");
    let properties = ConnectProperties { topic_alias_maximum: 3, session_expiry_interval: 100, ..Default::default() };
    for _ in 0..2 {
        let connect = Connect { client_id: "aliases", clean_start: false, properties, ..connect(V5) };
        let (mut client, _) = Client::connect_with(broker.address(), connect);
        client.subscribe("long/topics/#", QoS::AtMostOnce);
        let mut known = std::collections::HashMap::new();
        let mut referred = 0;
        for number in 0..100 {
            let topic = format!("long/topics/{}", number % 5);
            publisher.publish(&topic, &topic, QoS::AtMostOnce);
            client.expect_publish(|publish| {
                let meant = match (publish.topic, publish.properties.topic_alias) {
                    (Some(named), alias) => {
                        known.extend(alias.map(|alias| (alias, named.to_string())));
                        named.to_string()
                    }
                    (None, alias) => {
                        referred += 1;
                        known[&alias.expect("topic or alias")].clone()
                    }
                };
                assert_eq!(meant.as_bytes(), publish.payload);
                assert!(publish.properties.topic_alias.is_none_or(|alias| (1..=3).contains(&alias)));
            });
        }
        assert!(referred > 0, "aliases are used");
    }
}

/// 3.3.2.3.4: what the publisher abbreviates on its own connection is no business of its subscribers.
#[test]
fn an_alias_of_the_publisher_is_not_handed_on() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "both");
    client.subscribe("a", QoS::AtMostOnce);
    for topic in ["a", ""] {
        client.send_bytes(&publish(0x30, V5, topic, None, &[0x23, 0, 2]));
        assert_eq!(client.expect_bytes(), [&[0x30, 11][..], &prefixed("a"), &[0], b"payload"].concat());
    }
}
