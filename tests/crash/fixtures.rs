//! Data directories that released versions have written stay readable. `fixtures/` has one of each format.
//!
//! When the format changes, `DUNLIN_CRASH_FIXTURE=format-2 cargo test --test crash write_a_fixture -- --ignored` writes the next one
//! with the present program; its files are then committed and named in [`FORMATS`].

use std::fs;
use std::path::PathBuf;

use dunlin::packet::{
    Connect, Delivery, Packet, PublishAck, PublishReason, QoS, Subscribe, SubscriptionOptions, TopicFilter, UserProperties,
};

use crate::house::{Broker, House, copy_folder, dunlin, text};
use crate::steps::{
    begin, expect_pubcomp, expect_pubrec, expect_pubrel, id, keeping, leave, next_message, pubrel, resume, send, will,
};
use crate::support::Client;
use crate::support::client::{V5, V311};

/// The second is of the same format, and has work queues.
const FORMATS: [&str; 2] = ["format-1", QUEUES];
const QUEUES: &str = "format-1-queues";

const NEVER: u32 = u32::MAX;

fn folder(format: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/crash/fixtures").join(format)
}

/// Sessions that never expire: the fixture gets old.
const CONFIG: &str = r#"
[durability]
segment_size = "64KiB"
[limits]
max_session_expiry = "0s"
[[queues]]
name = "orders"
bind = ["orders/#"]
key = "topic"
ack_timeout = "2s"
retention = "0s"
"#;

fn lasting(client_id: &str) -> Connect<'_> {
    let mut connect = keeping(V5, client_id);
    connect.properties.session_expiry_interval = NEVER;
    connect
}

/// One of everything that is stored, some of it in a checkpoint, which a backup makes, and some behind it.
fn fill(broker: &Broker, house: &House) {
    let mut half = begin(broker.address(), keeping(V311, "half"));
    half.subscribe("half", QoS::ExactlyOnce);
    let mut queue = begin(broker.address(), lasting("queue"));
    queue.subscribe("queue/+", QoS::ExactlyOnce);
    queue.subscribe("dropped", QoS::AtLeastOnce);
    queue.unsubscribe("dropped");
    leave(queue);
    let mut publisher = begin(broker.address(), lasting("publisher"));
    for payload in ["acknowledged", "sent", "received"] {
        publisher.publish("half", payload, QoS::ExactlyOnce);
    }
    let ids: Vec<_> = (0..3).map(|_| next_message(&mut half).1.packet_id().unwrap()).collect();
    half.pubrec(ids[0]);
    expect_pubrel(&mut half, ids[0]);
    half.pubcomp(ids[0]);
    half.pubrec(ids[2]);
    expect_pubrel(&mut half, ids[2]);
    leave(half);
    for number in 0..20 {
        if number == 10 {
            let made = dunlin(&["backup", &text(&house.folder().join("backup")), "--data-dir", &text(house.data())]);
            assert_eq!(made.code, Some(0), "{}", made.told);
        }
        let qos = if number % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        publisher.publish_with("queue/1", &format!("message {number}"), qos, |packet| {
            packet.properties.content_type = Some("text/plain");
            packet.properties.correlation_data = Some(b"\0\x01");
        });
    }
    publisher.retain("retained/set", "value");
    publisher.retain("retained/cleared", "value");
    publisher.retain("retained/cleared", "");
    send(&mut publisher, "queue/2", "not released", Delivery::ExactlyOnce(id(777)), false);
    expect_pubrec(&mut publisher, id(777));
    leave(publisher);
    let delayed = dunlin::packet::Will { delay_interval: NEVER, ..will("queue/3", "a will") };
    begin(broker.address(), Connect { will: Some(delayed), ..lasting("testator") }).cut();
    leave(begin(broker.address(), lasting("last")));
}

fn check(broker: &Broker) {
    let mut half = resume(broker.address(), keeping(V311, "half"));
    expect_pubrel(&mut half, id(3));
    assert_eq!(next_message(&mut half), ("sent".into(), Delivery::ExactlyOnce(id(2)), true));
    half.expect_nothing();

    let mut publisher = resume(broker.address(), lasting("publisher"));
    send(&mut publisher, "queue/2", "not released", Delivery::ExactlyOnce(id(777)), true);
    expect_pubrec(&mut publisher, id(777));
    pubrel(&mut publisher, id(777));
    assert_eq!(expect_pubcomp(&mut publisher, id(777)), 0);
    assert_eq!(publisher.publish("dropped", "x", QoS::AtLeastOnce), 0x10);

    begin(broker.address(), Connect { clean_start: true, ..lasting("testator") });
    let mut queue = resume(broker.address(), lasting("queue"));
    for number in 0..20 {
        queue.expect_publish(|publish| {
            assert_eq!(publish.payload, format!("message {number}").as_bytes());
            assert_eq!(publish.properties.content_type, Some("text/plain"));
            assert_eq!(publish.properties.correlation_data, Some(&b"\0\x01"[..]));
        });
    }
    queue.expect_message("queue/2", "not released");
    queue.expect_message("queue/3", "a will");
    queue.expect_nothing();

    let mut reader = Client::connect(broker.address(), V5, "reader");
    reader.subscribe("retained/#", QoS::AtMostOnce);
    reader.expect_message("retained/set", "value");
    reader.expect_nothing();
}

/// One message done, one with a consumer, one dead, one behind the other and one whose time has not come.
fn fill_queues(broker: &Broker) {
    let mut publisher = Client::connect(broker.address(), V5, "orderer");
    for (topic, payload) in [("orders/a", "done"), ("orders/a", "held"), ("orders/a", "behind"), ("orders/b", "dead")] {
        publisher.publish(topic, payload, QoS::AtLeastOnce);
    }
    publisher.publish("$dedup/once/orders/c", "again", QoS::ExactlyOnce);
    publisher.publish("$delayed/31536000/later", "in a year", QoS::AtLeastOnce);
    let mut worker = Client::connect(broker.address(), V5, "worker");
    consume(&mut worker, "$queue/orders");
    for _ in 0..4 {
        let (payload, id) = worker.expect_publish(|publish| {
            (String::from_utf8_lossy(publish.payload).into_owned(), publish.delivery.packet_id().expect("QoS 1"))
        });
        match &*payload {
            "done" => worker.puback(id),
            "dead" => worker.send(&Packet::PubAck(PublishAck::new(id, PublishReason::PayloadFormatInvalid))),
            "held" | "again" => {}
            other => panic!("{other}"),
        }
    }
    worker.ping();
    publisher.cut();
    worker.cut();
}

/// Subscribes to a queue; its messages may come before SUBACK (3.8.4).
fn consume(client: &mut Client, filter: &str) {
    let packet_id = client.packet_id();
    client.send(&Packet::Subscribe(Subscribe {
        packet_id,
        subscription_identifier: None,
        user_properties: UserProperties::default(),
        filters: vec![(
            TopicFilter::new(filter).expect("a filter"),
            SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() },
        )],
    }));
    client.expect_ahead("SUBACK", |packet| matches!(packet, Packet::SubAck(ack) if ack.packet_id == packet_id).then_some(()));
}

fn check_queues(house: &House) {
    let inspected = dunlin(&["inspect", &text(house.data()), "--json"]);
    let found: serde_json::Value = serde_json::from_str(&inspected.said).expect("JSON");
    assert_eq!(found["queues"], serde_json::json!([{ "queue": "orders", "messages": 3, "dead": 1 }]), "{}", inspected.said);
    assert_eq!(found["delayed"], 1);
    let broker = house.start();
    let mut publisher = Client::connect(broker.address(), V5, "another");
    publisher.publish("$dedup/new/orders/d", "new", QoS::AtLeastOnce);
    let mut worker = Client::connect(broker.address(), V5, "other");
    consume(&mut worker, "$queue/orders");
    let mut payloads = Vec::new();
    for _ in 0..4 {
        let (payload, id) = worker.expect_publish(|publish| {
            (String::from_utf8_lossy(publish.payload).into_owned(), publish.delivery.packet_id().expect("QoS 1"))
        });
        worker.puback(id);
        payloads.push(payload);
    }
    let place = |wanted: &str| payloads.iter().position(|payload| payload == wanted).unwrap_or_else(|| panic!("{payloads:?}"));
    assert!(place("held") < place("behind") && place("again") < 4 && place("new") < 4);
    worker.expect_nothing();
    let mut gravedigger = Client::connect(broker.address(), V5, "gravedigger");
    consume(&mut gravedigger, "$dlq/orders");
    gravedigger.expect_publish(|publish| {
        assert_eq!(publish.payload, b"dead");
        let reason = publish.properties.user_properties.iter().find(|(name, _)| *name == "q-dead-reason");
        assert_eq!(reason, Some(("q-dead-reason", "rejected")));
    });
}

#[test]
fn data_directories_of_older_versions_are_read() {
    for format in FORMATS {
        let house = House::new(CONFIG);
        copy_folder(&folder(format), house.data());
        check(&house.start());
        let again = House::new(CONFIG);
        copy_folder(&folder(format), again.data());
        again.start().stop();
        check(&again.start());
    }
    let house = House::new(CONFIG);
    copy_folder(&folder(QUEUES), house.data());
    check_queues(&house);
}

/// What the present version writes is as much as a fixture holds.
#[test]
fn the_present_version_reads_what_it_has_written() {
    let house = House::new(CONFIG);
    let broker = house.start();
    fill_queues(&broker);
    fill(&broker, &house);
    broker.kill();
    check(&house.copy().start());
    check_queues(&house.copy());
    house.start().stop();
    check(&house.start());
}

#[test]
#[ignore = "writes the fixture of the present format"]
fn write_a_fixture() {
    let format = std::env::var("DUNLIN_CRASH_FIXTURE").expect("DUNLIN_CRASH_FIXTURE names the format");
    let house = House::new(CONFIG);
    let broker = house.start();
    fill_queues(&broker);
    fill(&broker, &house);
    broker.stop();
    let target = folder(&format);
    copy_folder(house.data(), &target);
    fs::remove_file(target.join("LOCK")).expect("the lock belongs to no one");
}
