//! rumqttc, in this process: both of its protocol versions.

use std::time::Duration;

use rumqttc::v5::mqttbytes as v5;

use crate::support::Broker;

const SIZES: [usize; 6] = [0, 1, 127, 128, 16 * 1024, 256 * 1024];

#[test]
fn version_3_1_1_makes_the_round_trip_with_every_qos_and_size() {
    use rumqttc::{Client, Event, MqttOptions, Packet, QoS};

    let broker = Broker::start();
    let mut options = MqttOptions::new("rumqttc", "127.0.0.1", broker.address().port());
    options.set_max_packet_size(1 << 20, 1 << 20);
    let (client, mut connection) = Client::new(options, 10);
    client.subscribe("a/#", QoS::ExactlyOnce).expect("the queue has room");
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for size in SIZES {
            client.publish("a/b", qos, false, payload(size)).expect("the queue has room");
            let got = connection.iter().find_map(|event| match event.expect("the connection stays") {
                Event::Incoming(Packet::Publish(publish)) => Some(publish),
                _ => None,
            });
            let got = got.expect("the message comes back");
            assert_eq!((got.qos, got.payload.to_vec()), (qos, payload(size)));
        }
    }
    client.disconnect().expect("the queue has room");
    let last = connection.iter().find_map(Result::err);
    assert!(last.is_some(), "the connection ends");
}

#[test]
fn version_5_makes_the_round_trip_with_properties() {
    use rumqttc::v5::{Client, Event, Incoming, MqttOptions};
    use v5::QoS;

    let broker = Broker::start();
    let mut options = MqttOptions::new("rumqttc", "127.0.0.1", broker.address().port());
    options.set_max_packet_size(Some(1 << 20));
    let (client, mut connection) = Client::new(options, 10);
    client.subscribe("a/#", QoS::ExactlyOnce).expect("the queue has room");
    let properties = v5::v5::PublishProperties {
        payload_format_indicator: Some(1),
        content_type: Some("text/plain".into()),
        response_topic: Some("answers".into()),
        correlation_data: Some("c".into()),
        user_properties: vec![("k".into(), "v".into())],
        ..Default::default()
    };
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for size in SIZES {
            let sent = client.publish_with_properties("a/b", qos, false, payload(size), properties.clone());
            sent.expect("the queue has room");
            let got = connection.iter().find_map(|event| match event.expect("the connection stays") {
                Event::Incoming(Incoming::Publish(publish)) => Some(publish),
                _ => None,
            });
            let got = got.expect("the message comes back");
            assert_eq!((got.qos, got.payload.to_vec()), (qos, payload(size)));
            assert_eq!(v5::v5::PublishProperties { topic_alias: None, ..got.properties.expect("properties") }, properties);
        }
    }
}

#[test]
fn a_session_goes_on_where_it_was_cut() {
    use rumqttc::{Client, Event, MqttOptions, Packet, QoS};

    let broker = Broker::start();
    let options = |id: &str| {
        let mut options = MqttOptions::new(id, "127.0.0.1", broker.address().port());
        options.set_clean_session(false).set_keep_alive(Duration::from_secs(60));
        options
    };
    let (client, mut connection) = Client::new(options("keeper"), 10);
    client.subscribe("post", QoS::AtLeastOnce).expect("the queue has room");
    let granted = connection.iter().find(|event| matches!(event, Ok(Event::Incoming(Packet::SubAck(_)))));
    assert!(granted.is_some());
    drop((client, connection));

    let (client, mut connection) = Client::new(options("poster"), 10);
    for n in 0..5 {
        client.publish("post", QoS::AtLeastOnce, false, n.to_string()).expect("the queue has room");
    }
    let acks = connection.iter().filter(|event| matches!(event, Ok(Event::Incoming(Packet::PubAck(_)))));
    assert_eq!(acks.take(5).count(), 5);

    let (_client, mut connection) = Client::new(options("keeper"), 10);
    let mut texts = Vec::new();
    for event in connection.iter() {
        match event.expect("the connection stays") {
            Event::Incoming(Packet::ConnAck(ack)) => assert!(ack.session_present),
            Event::Incoming(Packet::Publish(publish)) => texts.extend(publish.payload),
            _ => {}
        }
        if texts.len() == 5 {
            break;
        }
    }
    assert_eq!(texts, b"01234");
}

fn payload(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n * 7 % 251) as u8).collect()
}
