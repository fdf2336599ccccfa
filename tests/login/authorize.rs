//! The HTTP server that says what clients may do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dunlin::packet::{
    Connect, Disconnect, DisconnectReason, Packet, QoS, Subscribe, SubscriptionOptions, TopicFilter, TopicName, Will,
};
use serde_json::json;

use crate::answers::{Answer, Asked, Server, json as answer};
use crate::support::client::{Client, V5, V311, connect, delivery, publish};
use crate::support::{Broker, eventually};

fn allow(is_allowed: bool) -> Answer {
    answer(json!({"result": if is_allowed { "allow" } else { "deny" }}))
}

/// Lets everybody do what is under `open/`.
fn open_only(asked: &Asked) -> Answer {
    allow(asked.body["topic"].as_str().unwrap().starts_with("open/"))
}

fn broker(server: &Server, more: &str, listener: &str) -> Broker {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("acl"), "topic readwrite file/#\ntopic deny file/secret/#\ntopic deny open/secret\n")
        .unwrap();
    let config = format!(
        "{more}\nauthorize_url = \"{}\"\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n{listener}",
        server.url("/authorize")
    );
    Broker::with_config_in(folder, &config)
}

fn subscribe(client: &mut Client, filter: &str) -> u8 {
    client.subscribe_with(filter, SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() }, None)[0]
}

#[test]
fn publishing_and_subscribing_is_asked_about_and_answers_are_kept() {
    let server = Server::start(open_only);
    let broker = broker(&server, "[auth.http]", "");
    let mut client = Client::connect(broker.address(), V5, "c");
    for _ in 0..3 {
        assert_eq!(client.publish("open/x", "", QoS::AtLeastOnce), 0x10);
        assert_eq!(client.publish("other", "", QoS::AtLeastOnce), 0x87);
    }
    assert_eq!(server.asked().len(), 2, "each topic is asked about once");
    let body = &server.asked()[0].body;
    assert_eq!(
        (body["client_id"].as_str(), body["action"].as_str(), body["topic"].as_str()),
        (Some("c"), Some("publish"), Some("open/x"))
    );
    assert_eq!(subscribe(&mut client, "open/+"), 1);
    assert_eq!(subscribe(&mut client, "#"), 0x87);
    assert_eq!(subscribe(&mut client, "$share/g/open/#"), 1);
    assert_eq!(subscribe(&mut client, "$share/g/other"), 0x87);
    let topics: Vec<_> = server.asked().iter().map(|asked| asked.body["topic"].clone()).collect();
    assert_eq!(topics[2..], ["open/+", "#", "open/#", "other"], "a shared subscription is asked about like any other");
    let mut other = Client::connect(broker.address(), V5, "other");
    other.publish("open/y", "seen", QoS::AtLeastOnce);
    client.expect_message("open/y", "seen");
    assert_eq!(broker.metric("dunlin_authorization_denied_total{action=\"publish\"}"), 3.0);
}

/// Whatever comes behind a packet that is asked about waits, and goes in its order.
#[test]
fn packets_stay_in_their_order_while_one_is_asked_about() {
    let server = Server::start(open_only);
    let broker = broker(&server, "[auth.http]", "");
    let mut reader = Client::connect(broker.address(), V5, "reader");
    assert_eq!(subscribe(&mut reader, "open/#"), 1);
    let mut client = Client::connect(broker.address(), V5, "c");
    let mut bytes = Vec::new();
    for number in 0..200 {
        let (topic, payload) = (format!("open/{}", number % 50), number.to_string());
        let id = client.packet_id();
        dunlin::packet::encode(&Packet::Publish(publish(&topic, &payload, delivery(QoS::AtLeastOnce, id))), V5, &mut bytes);
    }
    client.send_bytes(&bytes);
    for number in 0..200 {
        let delivery = reader.expect_message(&format!("open/{}", number % 50), &number.to_string());
        reader.puback(delivery.packet_id().unwrap());
    }
    assert_eq!(server.asked().len(), 51);
}

#[test]
fn a_topic_alias_is_asked_about_by_the_topic_that_it_stands_for() {
    let server = Server::start(open_only);
    let broker = broker(&server, "[auth.http]\ncache_ttl = \"0s\"", "");
    let mut client = Client::connect(broker.address(), V5, "c");
    for (topic, code) in [("open/x", 0x10), ("closed", 0x87)] {
        let alias = |packet: &mut dunlin::packet::Publish<'_>| packet.properties.topic_alias = Some(1);
        assert_eq!(client.publish_with(topic, "", QoS::AtLeastOnce, alias), code);
        let by_alias = |packet: &mut dunlin::packet::Publish<'_>| {
            packet.topic = None;
            packet.properties.topic_alias = Some(1);
        };
        assert_eq!(client.publish_with("ignored", "", QoS::AtLeastOnce, by_alias), code);
    }
    let topics: Vec<_> = server.asked().iter().map(|asked| asked.body["topic"].clone()).collect();
    assert_eq!(topics, ["open/x", "open/x", "closed", "closed"], "without a cache each message is asked about");
}

#[test]
fn what_the_file_says_is_not_asked_about() {
    let server = Server::start(open_only);
    let broker = broker(&server, "[auth]\nacl_file = \"@DIR@/acl\"\n[auth.http]", "");
    let mut client = Client::connect(broker.address(), V5, "c");
    for (topic, code) in [("file/x", 0x10), ("file/secret/x", 0x87), ("open/secret", 0x87), ("$SYS/x", 0x87), ("open/x", 0x10)]
    {
        assert_eq!(client.publish(topic, "", QoS::AtLeastOnce), code, "{topic}");
    }
    for (filter, code) in [("file/a", 1), ("file/secret/#", 0x87), ("file/#", 0x87), ("open/#", 1)] {
        assert_eq!(subscribe(&mut client, filter), code, "{filter}");
    }
    let topics: Vec<_> = server.asked().iter().map(|asked| asked.body["topic"].clone()).collect();
    assert_eq!(topics, ["open/x", "file/#", "open/#"], "all of file/# is not for the file to grant");
    client.publish("open/x", "seen", QoS::AtLeastOnce);
    client.expect_message("open/x", "seen");
}

/// 0x80 (Unspecified error) tells that it is not known; a client of 3.1.1 keeps its message and is closed.
#[test]
fn without_an_answer_nothing_is_granted_and_it_is_asked_again() {
    let server = Server::start(|_| Some((500, String::new())));
    let broker = broker(&server, "[auth.http]\nbreaker_failures = 1000", "");
    let mut client = Client::connect(broker.address(), V5, "c");
    assert_eq!(client.publish("open/x", "", QoS::AtLeastOnce), 0x80);
    assert_eq!(subscribe(&mut client, "open/x"), 0x80);
    let mut old = Client::connect(broker.address(), V311, "old");
    let id = old.packet_id();
    old.send(&Packet::Publish(publish("open/x", "", delivery(QoS::AtLeastOnce, id))));
    assert_eq!(old.expect_close(), None);
    server.answer(open_only);
    assert_eq!(client.publish("open/x", "", QoS::AtLeastOnce), 0x10);
    assert_eq!(subscribe(&mut client, "open/x"), 1);
}

#[test]
fn a_will_is_asked_about_before_its_client_is_let_in() {
    let server = Server::start(open_only);
    let broker = broker(&server, "[auth.http]\nbreaker_failures = 1000", "");
    let with = |topic: &'static str| Connect {
        client_id: "c",
        will: Some(Will {
            topic: TopicName::new(topic).unwrap(),
            payload: b"bye",
            qos: QoS::AtLeastOnce,
            retain: false,
            delay_interval: 0,
            message_expiry_interval: None,
            properties: Default::default(),
        }),
        ..connect(V5)
    };
    let mut reader = Client::connect(broker.address(), V5, "reader");
    assert_eq!(subscribe(&mut reader, "open/#"), 1);
    assert_eq!(Client::refused(broker.address(), with("closed")), 0x87);
    Client::connect_with(broker.address(), with("open/will")).0.cut();
    reader.expect_message("open/will", "bye");
    server.answer(|_| Some((500, String::new())));
    assert_eq!(Client::refused(broker.address(), with("open/will")), 0x88);
}

#[test]
fn no_more_answers_are_kept_than_may_be() {
    let server = Server::start(open_only);
    let broker = broker(&server, "[auth.http]\nmax_cached = 3\ncache_ttl = \"1h\"", "");
    let mut client = Client::connect(broker.address(), V5, "c");
    for topic in ["open/1", "open/2", "open/3", "open/1", "open/4", "open/1"] {
        client.publish(topic, "", QoS::AtLeastOnce);
    }
    assert_eq!(server.asked().len(), 5);
    assert_eq!(broker.metric("dunlin_limit_hits_total{limit=\"auth_http_max_cached\"}"), 1.0);
}

#[test]
fn one_subscribe_with_many_filters_has_one_answer_for_each() {
    let server = Server::start(open_only);
    let broker = broker(&server, "[auth.http]\nmax_cached = 1", "");
    let mut client = Client::connect(broker.address(), V5, "c");
    let names: Vec<String> =
        (0..60).map(|number| if number % 3 == 0 { format!("no/{number}") } else { format!("open/{number}") }).collect();
    let filters = names.iter().map(|name| (TopicFilter::new(name).unwrap(), SubscriptionOptions::default())).collect();
    let packet_id = client.packet_id();
    client.send(&Packet::Subscribe(Subscribe {
        packet_id,
        subscription_identifier: None,
        user_properties: Default::default(),
        filters,
    }));
    let reasons = client.expect("SUBACK", |packet| match packet {
        Packet::SubAck(ack) => Some(ack.reasons.iter().map(|reason| *reason as u8).collect::<Vec<_>>()),
        _ => None,
    });
    let wanted: Vec<u8> = (0..60).map(|number| if number % 3 == 0 { 0x87 } else { 0 }).collect();
    assert_eq!(reasons, wanted);
    assert_eq!(server.asked().len(), 60);
}

/// Answers that were kept do not count after a reload, and subscriptions are asked about again.
#[test]
fn after_a_reload_all_is_asked_again() {
    let server = Server::start(open_only);
    let mut broker = broker(&server, "[auth.http]\ncache_ttl = \"1h\"", "");
    let mut client = Client::connect(broker.address(), V5, "c");
    assert_eq!(client.publish("open/x", "", QoS::AtLeastOnce), 0x10);
    for filter in ["open/#", "$share/g/open/#"] {
        assert_eq!(subscribe(&mut client, filter), 1);
    }
    // Counted once a second.
    eventually("the subscriptions are counted", || broker.metric("dunlin_subscriptions") == 2.0);
    server.answer(|_| allow(false));
    broker.signal("-HUP");
    broker.wait_for_log("config reloaded");
    assert_eq!(client.publish("open/x", "", QoS::AtLeastOnce), 0x87);
    eventually("the subscriptions are gone", || broker.metric("dunlin_subscriptions") == 0.0);
    client.expect_nothing();
    for filter in ["open/#", "$share/g/open/#"] {
        assert_eq!(client.unsubscribe(filter), [0x11]);
    }
}

#[test]
fn after_a_reload_without_an_answer_subscriptions_stay() {
    let server = Server::start(open_only);
    let mut broker = broker(&server, "[auth.http]\nbreaker_failures = 1000", "");
    let mut client = Client::connect(broker.address(), V5, "c");
    assert_eq!(subscribe(&mut client, "open/#"), 1);
    server.answer(|_| Some((500, String::new())));
    broker.signal("-HUP");
    broker.wait_for_log("could not be asked again");
    server.answer(open_only);
    client.publish("open/x", "still", QoS::AtLeastOnce);
    client.expect_message("open/x", "still");
}

#[test]
fn topics_are_asked_about_as_their_client_sees_them() {
    let server = Server::start(open_only);
    let broker = broker(&server, "[auth.http]", "mount_point = \"t/%c/\"");
    let mut client = Client::connect(broker.address(), V5, "c");
    assert_eq!(client.publish("open/x", "", QoS::AtLeastOnce), 0x10);
    assert_eq!(subscribe(&mut client, "$share/g/open/#"), 1);
    let asked = server.asked();
    assert_eq!((asked[0].body["topic"].as_str(), asked[0].body["mount_point"].as_str()), (Some("open/x"), Some("t/c/")));
    assert_eq!(asked[1].body["topic"], "open/#");
}

/// The silence of a client that is not read from is not its own `[MQTT-3.1.2-22]`.
#[test]
fn keep_alive_does_not_run_out_while_somebody_is_asked() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let server = Server::start(move |_| {
        let _ = held.recv(); // until it is let go, and from then on at once
        allow(true)
    });
    let broker = broker(&server, "[auth.http]\ntimeout = \"1h\"", "");
    let short =
        |client_id: &'static str| Client::connect_with(broker.address(), Connect { client_id, keep_alive: 1, ..connect(V5) }).0;
    let mut asking = short("asking");
    let id = asking.packet_id();
    asking.send(&Packet::Publish(publish("open/x", "", delivery(QoS::AtLeastOnce, id))));
    eventually("it is asked about", || server.asked().len() == 1);
    short("silent").expect_disconnect(0x8D);
    drop(release);
    asking.expect("PUBACK", |packet| matches!(packet, Packet::PubAck(_)).then_some(()));
}

/// Others go on while one client waits for its answer.
#[test]
fn a_server_that_takes_its_time_holds_up_nobody_else() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let server = Server::start(move |asked| {
        counted.fetch_add(1, Ordering::SeqCst);
        if asked.body["topic"] == "slow" { None } else { allow(true) }
    });
    let broker = broker(&server, "[auth.http]\ntimeout = \"1h\"", "");
    let mut slow = Client::connect(broker.address(), V5, "slow");
    let id = slow.packet_id();
    slow.send(&Packet::Publish(publish("slow", "", delivery(QoS::AtLeastOnce, id))));
    eventually("it is asked about", || count.load(Ordering::SeqCst) == 1);
    let mut other = Client::connect(broker.address(), V5, "other");
    assert_eq!(subscribe(&mut other, "x"), 1);
    assert_eq!(other.publish("x", "y", QoS::AtLeastOnce), 0);
    other.expect_message("x", "y");
    // It still can be sent something, and can be taken over.
    let (_again, _) = Client::connect_with(broker.address(), Connect { client_id: "slow", ..connect(V5) });
    slow.expect_disconnect(0x8E);
    other.send(&Packet::Disconnect(Disconnect::new(DisconnectReason::NormalDisconnection)));
    other.expect_close();
}
