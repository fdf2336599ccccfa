//! What is given up when memory runs short, stage by stage, and that it comes back.

use std::thread::sleep;
use std::time::{Duration, Instant};

use dunlin::packet::{Connect, QoS};

use crate::support::client::{V5, V311, connect};
use crate::support::{Client, PATIENCE, eventually};
use crate::{Bounded, leave};

const CONFIG: &str = r#"
    [[listeners]]
    name = "tcp"
    url = "tcp://127.0.0.1:0"
    [limits]
    max_write_buffer = "16MiB"
    [durability]
    level = "memory"
    [overload]
    shed_at = 40
    refuse_connections_at = 60
    refuse_publishes_at = 80
    big_publish = "10KiB"
"#;

/// Changes what is 100 percent, so that what the broker has is so many percent of it, until it is in this stage: what it has changes a
/// little all the time.
fn bring_to(bounded: &mut Bounded, percent: usize, stage: u8) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let max = bounded.broker.resident() / percent * 100;
        let path = bounded.broker.folder.path().join("dunlin.toml");
        std::fs::write(path, format!("{CONFIG}\nmemory_max = {max}\n")).unwrap();
        bounded.broker.signal("-HUP");
        bounded.broker.wait_for_log("config reloaded");
        // It is looked at once a second.
        sleep(Duration::from_millis(2500));
        if bounded.broker.metric("dunlin_overload_stage") == f64::from(stage) {
            return;
        }
        assert!(Instant::now() < deadline, "never in stage {stage}");
    }
}

fn expect_stage(bounded: &Bounded, stage: u8) {
    eventually(&format!("stage {stage}"), || bounded.broker.metric("dunlin_overload_stage") == f64::from(stage));
}

fn is_ready(bounded: &Bounded) -> bool {
    bounded.broker.get("/readyz").0.contains("200")
}

#[test]
fn shed_at_drops_qos_0_for_those_who_do_not_keep_up() {
    let mut bounded = Bounded::with_config(CONFIG);
    let mut slow = bounded.client("slow");
    slow.subscribe("flood", QoS::AtMostOnce);
    let mut publisher = bounded.client("publisher");
    bring_to(&mut bounded, 50, 1);
    assert!(bounded.broker.log_lines().iter().any(|line| line.contains("\"overload\"")));
    assert!(is_ready(&bounded));
    let payload = "x".repeat(64 << 10);
    for _ in 0..400 {
        publisher.publish("flood", &payload, QoS::AtMostOnce);
    }
    publisher.ping();
    assert!(bounded.dropped("overload") > 0.0);
    assert_eq!(bounded.hits("shed_at"), bounded.dropped("overload"));
    assert_eq!(bounded.dropped("write_buffer_full"), 0.0);
    bounded.assert_bystander_unharmed();
    bounded.client("new");
}

#[test]
fn refuse_connections_at_refuses_newcomers_until_there_is_room() {
    let mut bounded = Bounded::with_config(CONFIG);
    let mut inside = bounded.client("inside");
    bring_to(&mut bounded, 70, 2);
    for (version, code) in [(V5, 0x89), (V311, 0x88)] {
        assert_eq!(Client::refused(bounded.address(), Connect { client_id: "new", ..connect(version) }), code);
    }
    assert_eq!(bounded.hits("refuse_connections_at"), 2.0);
    eventually("it is not ready", || !is_ready(&bounded));
    assert!(bounded.broker.get("/readyz").1.contains("memory"));
    assert_eq!(inside.publish("x", &"x".repeat(20_000), QoS::AtLeastOnce), 0x10);
    bounded.assert_bystander_unharmed();
    bring_to(&mut bounded, 10, 0);
    bounded.client("new");
    eventually("it is ready", || is_ready(&bounded));
}

#[test]
fn refuse_publishes_at_refuses_what_is_big() {
    let mut bounded = Bounded::with_config(CONFIG);
    let mut inside = bounded.client("inside");
    let mut old = Client::connect(bounded.address(), V311, "old");
    bring_to(&mut bounded, 100, 3);
    let big = "x".repeat(10 << 10);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        assert_eq!(inside.publish("x", &big, qos), 0x97);
        assert_eq!(inside.publish("x", &big[1..], qos), 0x10);
    }
    assert_eq!(bounded.hits("refuse_publishes_at"), 2.0);
    inside.publish("by", &big, QoS::AtMostOnce);
    inside.ping();
    bounded.assert_bystander_unharmed();
    old.publish("x", &big[1..], QoS::AtLeastOnce);
    let id = old.packet_id();
    old.send(&dunlin::packet::Packet::Publish(crate::support::client::publish(
        "x",
        &big,
        dunlin::packet::Delivery::AtLeastOnce(id),
    )));
    assert_eq!(old.expect_close(), None);
    assert_eq!(bounded.hits("refuse_publishes_at"), 4.0);
}

/// Memory that is really taken, and really given back.
#[test]
fn the_broker_comes_back_by_itself_when_memory_is_free_again() {
    let mut bounded = Bounded::with_config(CONFIG);
    let mut publisher = bounded.client("publisher");
    bring_to(&mut bounded, 15, 0);
    // What it has is 15 percent: some four times as much on top, with what the allocator wants, makes 70.
    let payload = "x".repeat(9000);
    let enough = bounded.broker.resident() * 17 / 5 / payload.len();
    let mut retain_all = |payload: &str| {
        for number in 0..enough {
            publisher.publish_with(&format!("kept/{number}"), payload, QoS::AtMostOnce, |packet| packet.retain = true);
            publisher.reuse_packet_ids();
        }
        publisher.ping();
    };
    retain_all(&payload);
    eventually("connections are refused", || bounded.broker.metric("dunlin_overload_stage") >= 2.0);
    assert_eq!(Client::refused(bounded.address(), Connect { client_id: "new", ..connect(V5) }), 0x89);
    bounded.assert_bystander_unharmed();
    retain_all("");
    expect_stage(&bounded, 0);
    bounded.broker.wait_for_log("no more overload");
    leave(bounded.client("new"));
    bounded.assert_bystander_unharmed();
}
