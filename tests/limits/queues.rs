//! What may wait for a client: in its queue, on its way, in its buffer.

use dunlin::packet::{Connect, ConnectProperties, QoS};

use crate::support::client::{V5, V311, connect};
use crate::support::{Client, eventually};
use crate::{Bounded, keeping, leave};

/// A session that is offline and has subscribed to `q` with QoS 1.
fn sleeper(bounded: &Bounded) {
    let mut client = Client::connect_with(bounded.address(), keeping("sleeper")).0;
    client.subscribe("q", QoS::AtLeastOnce);
    leave(client);
}

/// What has waited for it.
fn wake(bounded: &Bounded) -> Vec<String> {
    let (mut client, is_present) = Client::connect_with(bounded.address(), keeping("sleeper"));
    assert!(is_present);
    let mut payloads = Vec::new();
    client.send(&dunlin::packet::Packet::PingReq);
    loop {
        let payload = client.expect("a message or PINGRESP", |packet| match packet {
            dunlin::packet::Packet::Publish(publish) => Some(Some(String::from_utf8_lossy(publish.payload).into_owned())),
            dunlin::packet::Packet::PingResp => Some(None),
            _ => None,
        });
        match payload {
            Some(payload) => payloads.push(payload),
            None => return payloads,
        }
    }
}

fn publish_numbers(bounded: &Bounded, numbers: std::ops::Range<usize>) {
    let mut publisher = bounded.client("publisher");
    for number in numbers {
        assert_eq!(publisher.publish("q", &number.to_string(), QoS::AtLeastOnce), 0);
    }
}

#[test]
fn max_queued_messages_drops_the_newest() {
    let mut bounded = Bounded::new("max_queued_messages = 3");
    sleeper(&bounded);
    publish_numbers(&bounded, 0..3);
    bounded.assert_hits("max_queued_messages", 0);
    publish_numbers(&bounded, 3..5);
    bounded.assert_hits("max_queued_messages", 2);
    assert_eq!(bounded.dropped("queue_full"), 2.0);
    bounded.assert_bystander_unharmed();
    assert_eq!(wake(&bounded), ["0", "1", "2"]);
}

#[test]
fn max_queued_messages_drops_the_oldest_where_the_config_says_so() {
    let mut bounded = Bounded::new("max_queued_messages = 3\nqueue_policy = \"drop-oldest\"");
    sleeper(&bounded);
    publish_numbers(&bounded, 0..3);
    bounded.assert_hits("max_queued_messages", 0);
    publish_numbers(&bounded, 3..5);
    bounded.assert_hits("max_queued_messages", 2);
    assert_eq!(bounded.dropped("queue_full"), 2.0);
    bounded.assert_bystander_unharmed();
    assert_eq!(wake(&bounded), ["2", "3", "4"]);
}

#[test]
fn max_queued_bytes_counts_topic_and_payload() {
    for (policy, kept) in [("drop-new", ["a", "b", "c"]), ("drop-oldest", ["b", "c", "d"])] {
        let mut bounded = Bounded::new(&format!("max_queued_bytes = 300\nqueue_policy = \"{policy}\""));
        sleeper(&bounded);
        let mut publisher = bounded.client("publisher");
        for letter in ["a", "b", "c"] {
            publisher.publish("q", &letter.repeat(99), QoS::AtLeastOnce);
        }
        bounded.assert_hits("max_queued_bytes", 0);
        publisher.publish("q", &"d".repeat(99), QoS::AtLeastOnce);
        bounded.assert_hits("max_queued_bytes", 1);
        // It would not fit into an empty queue either, so nothing goes for it.
        publisher.publish("q", &"e".repeat(300), QoS::AtLeastOnce);
        bounded.assert_hits("max_queued_bytes", 2);
        assert_eq!(bounded.dropped("queue_bytes"), 2.0);
        bounded.assert_hits("max_queued_messages", 0);
        bounded.assert_bystander_unharmed();
        assert_eq!(wake(&bounded), kept.map(|letter| letter.repeat(99)));
    }
}

#[test]
fn the_queue_of_a_client_that_is_online_and_does_not_acknowledge_is_bounded_too() {
    let mut bounded = Bounded::new("max_queued_messages = 3\nmax_inflight = 2");
    let mut slow = bounded.client("slow");
    slow.subscribe("q", QoS::AtLeastOnce);
    publish_numbers(&bounded, 0..5);
    bounded.assert_hits("max_queued_messages", 0);
    publish_numbers(&bounded, 5..6);
    bounded.assert_hits("max_queued_messages", 1);
    for number in 0..5 {
        let packet_id = slow.expect_message("q", &number.to_string()).packet_id().unwrap();
        slow.puback(packet_id);
    }
    slow.expect_nothing();
    bounded.assert_bystander_unharmed();
}

#[test]
fn max_inflight_holds_messages_back() {
    let mut bounded = Bounded::new("max_inflight = 2");
    for version in [V311, V5] {
        let before = bounded.hits("max_inflight");
        let mut client = Client::connect(bounded.address(), version, "c");
        client.subscribe("q", QoS::AtLeastOnce);
        publish_numbers(&bounded, 0..2);
        assert_eq!(bounded.hits("max_inflight"), before);
        publish_numbers(&bounded, 2..4);
        assert_eq!(bounded.hits("max_inflight"), before + 2.0);
        let first = client.expect_message("q", "0").packet_id().unwrap();
        client.expect_message("q", "1");
        client.expect_nothing();
        client.puback(first);
        client.expect_message("q", "2");
        client.expect_nothing();
        leave(client);
    }
    // The client's own bound is the client's.
    let before = bounded.hits("max_inflight");
    let properties = ConnectProperties { receive_maximum: 1, ..Default::default() };
    let mut client = Client::connect_with(bounded.address(), Connect { client_id: "c", properties, ..connect(V5) }).0;
    client.subscribe("q", QoS::AtLeastOnce);
    publish_numbers(&bounded, 0..2);
    client.expect_message("q", "0");
    client.expect_nothing();
    assert_eq!(bounded.hits("max_inflight"), before);
    bounded.assert_bystander_unharmed();
}

#[test]
fn queue_qos0_lets_qos_0_messages_wait() {
    for (value, expected) in [("false", &["1"][..]), ("true", &["0", "1", "2"])] {
        let mut bounded = Bounded::new(&format!("queue_qos0 = {value}"));
        sleeper(&bounded);
        let mut publisher = bounded.client("publisher");
        publisher.publish("q", "0", QoS::AtMostOnce);
        publisher.publish("q", "1", QoS::AtLeastOnce);
        publisher.publish("q", "2", QoS::AtMostOnce);
        publisher.ping();
        assert_eq!(bounded.dropped("offline"), if value == "true" { 0.0 } else { 2.0 });
        assert_eq!(wake(&bounded), expected);
        bounded.assert_bystander_unharmed();
    }
}

#[test]
fn qos_0_messages_that_wait_are_bounded_like_others() {
    let mut bounded = Bounded::new("queue_qos0 = true\nmax_queued_messages = 2");
    sleeper(&bounded);
    let mut publisher = bounded.client("publisher");
    for number in 0..3 {
        publisher.publish("q", &number.to_string(), QoS::AtMostOnce);
    }
    publisher.ping();
    bounded.assert_hits("max_queued_messages", 1);
    assert_eq!(wake(&bounded), ["0", "1"]);
    bounded.assert_bystander_unharmed();
}

/// More than the buffers of any socket.
const FLOOD: usize = 64;

/// Publishes 64 messages of half a megabyte with QoS 0; `after_each` looks at them.
fn flood(bounded: &Bounded, topic: &str, mut after_each: impl FnMut()) {
    let payload = "x".repeat(512 * 1024);
    let mut publisher = bounded.client("publisher");
    for _ in 0..FLOOD {
        publisher.publish(topic, &payload, QoS::AtMostOnce);
        publisher.ping();
        after_each();
    }
}

#[test]
fn max_write_buffer_drops_qos_0_for_a_client_that_does_not_read() {
    let mut bounded = Bounded::new(r#"max_write_buffer = "1MiB""#);
    let mut deaf = bounded.client("deaf");
    let mut reader = bounded.client("reader");
    for client in [&mut deaf, &mut reader] {
        client.subscribe("flood", QoS::AtMostOnce);
    }
    let before = bounded.broker.resident();
    // Who reads gets everything.
    flood(&bounded, "flood", || reader.expect_publish(|publish| assert_eq!(publish.payload.len(), 512 * 1024)));
    let dropped = bounded.dropped("write_buffer_full");
    assert!(dropped > 0.0 && dropped < FLOOD as f64, "{dropped} of {FLOOD} were dropped");
    assert_eq!(bounded.hits("max_write_buffer"), dropped);
    // All of it would be 32 MiB.
    assert!(bounded.broker.resident() < before + (24 << 20), "what does not fit is not kept");
    for _ in 0..FLOOD - dropped as usize {
        deaf.expect_publish(|publish| assert_eq!(publish.payload.len(), 512 * 1024));
    }
    deaf.expect_nothing();
    bounded.assert_bystander_unharmed();
}

#[test]
fn slow_consumer_timeout_cuts_a_client_that_takes_nothing() {
    let mut bounded = Bounded::new("slow_consumer_timeout = \"1s\"");
    for version in [V5, V311] {
        let before = bounded.hits("slow_consumer_timeout");
        let mut deaf = Client::connect(bounded.address(), version, "deaf");
        deaf.subscribe("flood", QoS::AtMostOnce);
        flood(&bounded, "flood", || ());
        bounded.assert_bystander_unharmed();
        eventually("it is cut", || bounded.hits("slow_consumer_timeout") == before + 1.0);
        // What is left is written for a moment longer, to one who reads after all.
        let told = deaf.expect_close();
        assert!(told.is_none() || told == Some(0x97), "{told:?}");
        bounded.assert_bystander_unharmed();
    }
    assert_eq!(bounded.broker.metric(r#"dunlin_disconnects_sent_total{reason="quota_exceeded"}"#), 2.0);
}

#[test]
fn a_client_that_has_nothing_to_read_is_not_a_slow_one() {
    let mut bounded = Bounded::new("slow_consumer_timeout = \"200ms\"");
    let mut idle = bounded.client("idle");
    idle.subscribe("q", QoS::AtMostOnce);
    std::thread::sleep(std::time::Duration::from_millis(700));
    publish_numbers(&bounded, 0..1);
    idle.expect_message("q", "0");
    bounded.assert_hits("slow_consumer_timeout", 0);
    bounded.assert_bystander_unharmed();
}
