use dunlin::packet::{Connect, Packet, QoS, TopicName, Will, encode};

use crate::support::client::{Client, V5, V31, V311, connect, delivery, publish};
use crate::support::{Broker, eventually};

#[test]
fn sigterm_and_sigint_say_goodbye_and_end_with_0() {
    for signal in ["-TERM", "-INT"] {
        let mut broker = Broker::start();
        let mut clients = [V31, V311, V5].map(|version| Client::connect(broker.address(), version, "client"));
        // One identifier: the last one has taken over. Only it and a silent connection are left.
        let mut silent = Client::dial(broker.address(), V5);
        let [first, second, last] = &mut clients;
        first.expect_close();
        second.expect_close();
        broker.signal(signal);
        last.expect_disconnect(0x8B);
        assert_eq!(silent.expect_close(), None);
        assert_eq!(broker.wait().code(), Some(0));
    }
}

#[test]
fn older_clients_are_closed_without_a_disconnect() {
    let mut broker = Broker::start();
    let mut clients =
        [(V31, "old"), (V311, "middle"), (V5, "new")].map(|(version, id)| Client::connect(broker.address(), version, id));
    broker.signal("-TERM");
    for client in &mut clients {
        client.expect_disconnect(0x8B);
    }
    assert_eq!(broker.wait().code(), Some(0));
    assert!(std::net::TcpStream::connect(broker.address()).is_err());
}

/// A signal may come as soon as readiness has been told.
#[test]
fn a_signal_right_after_the_start_is_heard() {
    for signal in ["-HUP", "-TERM"] {
        let mut broker = Broker::start();
        broker.signal(signal);
        if signal == "-HUP" {
            broker.wait_for_log("config reloaded");
            broker.signal("-TERM");
        }
        assert_eq!(broker.wait().code(), Some(0));
    }
}

/// A client that the broker sends away has not said goodbye itself (3.1.2.5, 3.14): its will is published, before anyone is sent away.
#[test]
fn a_will_at_shutdown_reaches_those_who_are_connected() {
    let mut broker = Broker::start();
    let mut watcher = Client::connect(broker.address(), V5, "watcher");
    watcher.subscribe("gone", QoS::AtLeastOnce);
    let will = Will {
        topic: TopicName::new("gone").unwrap(),
        payload: b"bye",
        qos: QoS::AtLeastOnce,
        retain: false,
        delay_interval: 0,
        message_expiry_interval: None,
        properties: Default::default(),
    };
    let (mut client, _) = Client::connect_with(broker.address(), Connect { client_id: "c", will: Some(will), ..connect(V5) });
    broker.signal("-TERM");
    client.expect_disconnect(0x8B);
    watcher.expect_message("gone", "bye");
    watcher.expect_disconnect(0x8B);
    assert_eq!(broker.wait().code(), Some(0));
}

/// Fills the buffers of a client that does not read, until the broker cannot write to it any more.
fn clog(broker: &Broker) -> Client {
    let mut clogged = Client::connect(broker.address(), V5, "clogged");
    clogged.subscribe("flood", QoS::AtMostOnce);
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    let payload = "x".repeat(100_000);
    let dropped = "dunlin_messages_dropped_total{reason=\"write_buffer_full\"}";
    eventually("the buffers are full", || {
        for _ in 0..20 {
            publisher.publish("flood", &payload, QoS::AtMostOnce);
        }
        publisher.ping();
        broker.metric(dropped) > 0.0
    });
    clogged
}

#[test]
fn a_client_that_does_not_read_holds_the_stop_up_for_shutdown_timeout_at_most() {
    let listener = "[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n";
    let mut broker = Broker::with_config(&format!("[server]\nshutdown_timeout = \"300ms\"\n{listener}"));
    let _clogged = clog(&broker);
    broker.signal("-TERM");
    broker.wait_for_log("not all clients have gone in time");
    assert_eq!(broker.wait().code(), Some(0));
}

#[test]
fn messages_that_came_before_the_stop_are_acknowledged_before_the_goodbye() {
    let mut broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "a");
    client.subscribe("a", QoS::AtLeastOnce);
    let mut bytes = Vec::new();
    for _ in 0..100 {
        let id = client.packet_id();
        encode(&Packet::Publish(publish("a", "x", delivery(QoS::AtLeastOnce, id))), V5, &mut bytes);
    }
    client.send_bytes(&bytes);
    eventually("they have come", || broker.metric("dunlin_publishes_received_total{qos=\"1\"}") == 100.0);
    broker.signal("-TERM");
    let mut acknowledged = 0;
    while client.expect("PUBACK, PUBLISH or DISCONNECT", |packet| match packet {
        Packet::PubAck(_) => {
            acknowledged += 1;
            Some(true)
        }
        Packet::Publish(_) => Some(true),
        Packet::Disconnect(disconnect) if disconnect.reason as u8 == 0x8B => Some(false),
        _ => None,
    }) {}
    assert_eq!(acknowledged, 100);
    assert_eq!(broker.wait().code(), Some(0));
}

/// While clients are being sent away the admin port still answers, and says that no more may be sent here.
#[test]
fn readyz_is_503_while_the_broker_stops() {
    let mut broker = Broker::start();
    let _clogged = clog(&broker);
    assert!(broker.get("/readyz").0.contains("200"));
    broker.signal("-TERM");
    eventually("it is not ready", || broker.get("/readyz").0.contains("503"));
    assert!(broker.get("/healthz").0.contains("200"));
    assert_eq!(broker.wait().code(), Some(0));
}
