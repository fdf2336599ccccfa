//! Memory: what is never read, never acknowledged, never freed; and what is given up when it runs short.

use dunlin::packet::{Connect, Packet, QoS};

use crate::siege::Siege;
use crate::support::client::{Client, V5, connect, delivery, publish};
use crate::support::eventually;

/// Twenty subscribers that never read, and a flood of QoS 0: each costs its write buffer and no more, the publisher is not blocked, and
/// they are cut.
#[test]
fn subscribers_that_never_read_cost_their_write_buffer_and_are_cut() {
    let siege = Siege::lay("[limits]\nmax_write_buffer = \"256KiB\"\nslow_consumer_timeout = \"2s\"\n");
    let mut deaf: Vec<Client> = (0..20).map(|number| siege.connect(&format!("deaf{number}"))).collect();
    deaf.iter_mut().for_each(|client| client.subscribe("flood", QoS::AtMostOnce));
    let mut publisher = siege.connect("publisher");
    let payload = "x".repeat(32 << 10);
    for _ in 0..1000 {
        publisher.publish("flood", &payload, QoS::AtMostOnce);
    }
    publisher.ping();
    siege.assert_memory_below(20 * (256 << 10) + (8 << 20));
    eventually("they are cut", || siege.metric(r#"dunlin_sessions{state="online"}"#) == 3.0);
    assert!(siege.metric(r#"dunlin_messages_dropped_total{reason="write_buffer_full"}"#) > 0.0);
    drop((deaf, publisher));
    siege.lift();
}

/// FlashMQ CVE-2025-62723: retained messages that are cleared or expire, and messages that wait and expire, are freed.
#[test]
fn what_is_cleared_or_expires_is_freed() {
    let siege = Siege::lay("[durability]\nlevel = \"memory\"\n[sys]\ninterval = \"0s\"\n");
    let mut client = siege.connect("publisher");
    let payload = "x".repeat(10_000);
    let mut sleeper = Connect { client_id: "sleeper", clean_start: false, ..connect(V5) };
    sleeper.properties.session_expiry_interval = 2;
    for _ in 0..3 {
        Client::connect_with(siege.address(), sleeper).0.subscribe("wait/#", QoS::AtLeastOnce);
        for number in 0..2000 {
            let (kept, waiting) = (format!("kept/{number}"), format!("wait/{number}"));
            client.publish_with(&kept, &payload, QoS::AtMostOnce, |packet| packet.retain = true);
            client.publish_with(&waiting, &payload, QoS::AtLeastOnce, |packet| {
                packet.properties.message_expiry_interval = Some(1)
            });
            client.reuse_packet_ids();
        }
        client.ping();
        for number in 0..2000 {
            client.publish_with(&format!("kept/{number}"), "", QoS::AtMostOnce, |packet| packet.retain = true);
        }
        client.ping();
        eventually("nothing is retained", || siege.metric("dunlin_retained_messages") == 0.0);
        eventually("nothing waits", || siege.metric("dunlin_queued_messages") == 0.0);
    }
    eventually("the sleeper is forgotten", || siege.metric(r#"dunlin_sessions{state="offline"}"#) == 0.0);
    drop(client);
    siege.lift();
}

/// A publisher that sends QoS 1 and reads no acknowledgement is not read from for ever.
#[test]
fn a_publisher_that_never_reads_its_acknowledgements_takes_bounded_memory() {
    let siege = Siege::lay("[limits]\nslow_consumer_timeout = \"2s\"\n");
    let mut deaf = Client::connect(siege.address(), V5, "deaf");
    for round in 0..200_u16 {
        let mut batch = Vec::new();
        for number in 1..=1000_u16 {
            let id = dunlin::packet::PacketId::new(number).unwrap();
            let packet = Packet::Publish(publish("unread", "x", delivery(QoS::AtLeastOnce, id)));
            dunlin::packet::encode(&packet, V5, &mut batch);
        }
        if round % 10 == 0 {
            siege.assert_memory_below(8 << 20);
        }
        deaf.send_bytes_unless_full(&batch);
    }
    siege.assert_memory_below(8 << 20);
    drop(deaf);
    siege.lift();
}
