//! A sync that does not return: acknowledgements that promise something wait for it, and nobody else does.

use dunlin::packet::{Delivery, Packet, QoS, Subscribe, SubscriptionOptions, TopicFilter, UserProperties};

use crate::failures::{CONFIG, STEPS, Step, waited, waiting};
use crate::faults::{Call, Fault};
use crate::house::House;
use crate::steps::{id, send};
use crate::support::Client;
use crate::support::client::{V5, V311};

#[test]
fn acknowledgements_leave_only_after_the_sync() {
    let house = House::with_faults(CONFIG);
    let broker = house.start();
    waiting(&broker, "s");
    for version in [V5, V311] {
        for step in STEPS {
            let name = format!("{step:?}{version}").replace('.', "");
            let mut ready = step.prepare(&broker, &name, version);
            house.faults().every(Call::Sync, Fault::Hold);
            ready.take(&name);
            if matches!(step, Step::Connect) {
                assert!(!ready.client.is_answered(), "CONNACK comes before the sync");
            } else {
                ready.client.expect_nothing(); // a PINGREQ behind it is answered all the same
            }
            house.faults().off(Call::Sync);
            ready.expect_answer();
        }
    }
}

#[test]
fn who_needs_no_disk_does_not_wait_for_it() {
    let house = House::with_faults(CONFIG);
    let broker = house.start();
    waiting(&broker, "s");
    let mut online = Client::connect(broker.address(), V5, "online");
    online.subscribe("t/#", QoS::AtLeastOnce);
    let mut waits = Client::connect(broker.address(), V5, "waits");
    house.faults().every(Call::Sync, Fault::Hold);
    send(&mut waits, "a/b", "for the disk", Delivery::AtLeastOnce(id(1)), false);
    waits.expect_nothing();

    for version in [V5, V311] {
        let mut publisher = Client::connect(broker.address(), version, "publisher");
        publisher.publish("t/0", "at most once", QoS::AtMostOnce);
        online.expect_message("t/0", "at most once");
        assert_eq!(publisher.publish("t/1", "at least once", QoS::AtLeastOnce), 0);
        let id = online.expect_message("t/1", "at least once").packet_id().unwrap();
        online.puback(id);
        publisher.publish("nobody", "exactly once", QoS::ExactlyOnce);
        let mut other = Client::connect(broker.address(), version, "other");
        other.subscribe("t/0", QoS::AtLeastOnce);
    }
    waits.expect_nothing();
    house.faults().off(Call::Sync);
    waits.expect("PUBACK", |packet| matches!(packet, Packet::PubAck(_)).then_some(()));
}

#[test]
fn who_makes_a_queue_hears_of_it_once_it_cannot_be_lost() {
    let house = House::with_faults(&format!("{CONFIG}\n[work_queues]\nauto_create = \"anybody\"\n"));
    let broker = house.start();
    for version in [V5, V311] {
        let mut worker = Client::connect(broker.address(), version, "worker");
        house.faults().every(Call::Sync, Fault::Hold);
        let filter = TopicFilter::new(&format!("$queue/q{}/a/#", version as u8)).unwrap();
        worker.send(&Packet::Subscribe(Subscribe {
            packet_id: id(1),
            subscription_identifier: None,
            user_properties: UserProperties::default(),
            filters: vec![(filter, SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() })],
        }));
        worker.expect_nothing();
        house.faults().off(Call::Sync);
        worker.expect("SUBACK", |packet| matches!(packet, Packet::SubAck(ack) if ack.reasons[0] as u8 == 1).then_some(()));
    }
}

/// Group commit: what comes while one sync is under way shares the next one.
#[test]
fn many_acknowledgements_share_one_sync() {
    let house = House::with_faults(CONFIG);
    let broker = house.start();
    waiting(&broker, "s");
    let mut publishers: Vec<_> =
        (0..20).map(|number| Client::connect(broker.address(), V5, &format!("publisher{number}"))).collect();
    house.faults().every(Call::Sync, Fault::Hold);
    for publisher in &mut publishers {
        for number in 1..=50 {
            send(publisher, "a/b", "x", Delivery::AtLeastOnce(id(number)), false);
        }
        publisher.expect_nothing();
    }
    let before = house.faults().count(Call::Sync);
    house.faults().off(Call::Sync);
    for publisher in &mut publishers {
        for number in 1..=50 {
            crate::steps::expect_puback(publisher, id(number));
        }
    }
    let syncs = house.faults().count(Call::Sync) - before;
    assert!(syncs <= 5, "1,000 messages took {syncs} syncs after the first");
    assert_eq!(waited(&broker, "s").len(), 1000);
    assert!(broker.metric("dunlin_storage_sync_seconds_count") >= 2.0);
    assert!(broker.metric("dunlin_storage_batch_records_sum") >= 1000.0);
    assert!(broker.metric("dunlin_storage_batch_bytes_sum") >= 1000.0);
}

#[test]
fn what_storage_does_can_be_watched() {
    let house = House::with_faults(CONFIG);
    let broker = house.start();
    waiting(&broker, "s");
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    publisher.publish("a/b", "x", QoS::AtLeastOnce);
    let (_, metrics) = broker.get("/metrics").unwrap();
    for name in [
        "sync_seconds_bucket",
        "batch_records_bucket",
        "batch_bytes_bucket",
        "bytes{kind=",
        "recovery_seconds",
        "refused_total",
    ] {
        let series = format!("\ndunlin_storage_{name}");
        assert!(metrics.contains(&series), "{series}");
    }
}
