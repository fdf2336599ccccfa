//! 4.10: requests and responses.

use dunlin::packet::{Connect, ConnectProperties, QoS};

use crate::support::client::{V5, connect};
use crate::support::{Broker, Client};

fn asking(client_id: &str, request_response_information: bool) -> Connect<'_> {
    let properties = ConnectProperties { request_response_information, ..Default::default() };
    Connect { client_id, properties, ..connect(V5) }
}

fn response_information(broker: &Broker, connect: Connect<'_>) -> (Client, Option<String>) {
    Client::connack(broker.address(), connect, |properties| properties.response_information.map(String::from))
}

/// `[MQTT-3.1.2-28]`: only who asks is told; each client has a part of the topic tree of its own.
#[test]
fn response_information_is_told_to_those_who_ask_and_each_has_its_own() {
    let broker = Broker::start();
    let (_client, told) = response_information(&broker, asking("quiet", false));
    assert_eq!(told, None);
    let (_one, first) = response_information(&broker, asking("one", true));
    let (_two, second) = response_information(&broker, asking("two", true));
    let (first, second) = (first.expect("a topic"), second.expect("a topic"));
    assert!(!first.starts_with(&second) && !second.starts_with(&first), "{first} {second}");
}

/// A client identifier with a wildcard in it would make the topic a filter.
#[test]
fn who_has_a_wildcard_in_its_name_gets_none() {
    let broker = Broker::start();
    for name in ["+", "a#", "a/+/b"] {
        assert_eq!(response_information(&broker, asking(name, true)).1, None, "{name}");
    }
}

/// 4.10.1, `[MQTT-3.3.2-15]`, `[MQTT-3.3.2-16]`: response topic and correlation data reach the responder unaltered.
#[test]
fn a_request_finds_its_way_there_and_its_response_back() {
    let broker = Broker::start();
    let (mut requester, topic) = response_information(&broker, asking("requester", true));
    let topic = format!("{}answers", topic.expect("a topic"));
    requester.subscribe(&topic, QoS::AtLeastOnce);
    let mut responder = Client::connect(broker.address(), V5, "responder");
    responder.subscribe("service", QoS::AtLeastOnce);

    requester.publish_with("service", "question", QoS::AtLeastOnce, |publish| {
        publish.properties.response_topic = Some(&topic);
        publish.properties.correlation_data = Some(b"\0\xff number 7");
    });
    let (reply_to, correlation) = responder.expect_publish(|publish| {
        assert_eq!(publish.payload, b"question");
        let properties = &publish.properties;
        (properties.response_topic.map(String::from), properties.correlation_data.map(<[u8]>::to_vec))
    });
    let (reply_to, correlation) = (reply_to.expect("a response topic"), correlation.expect("correlation data"));
    assert_eq!(reply_to, topic);
    responder.publish_with(&reply_to, "answer", QoS::AtLeastOnce, |publish| {
        publish.properties.correlation_data = Some(&correlation);
    });
    requester.expect_publish(|publish| {
        assert_eq!((publish.payload, publish.properties.correlation_data), (&b"answer"[..], Some(&b"\0\xff number 7"[..])));
    });
}

/// 3.3.2.3.5: a response topic without a subscriber does no harm; the responder is told that nobody is there.
#[test]
fn a_request_without_correlation_data_is_a_request() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "c");
    client.subscribe("service", QoS::AtMostOnce);
    client.publish_with("service", "q", QoS::AtLeastOnce, |publish| publish.properties.response_topic = Some("nowhere"));
    client.expect_publish(|publish| {
        assert_eq!((publish.properties.response_topic, publish.properties.correlation_data), (Some("nowhere"), None));
    });
    assert_eq!(client.publish("nowhere", "a", QoS::AtLeastOnce), 0x10);
}
