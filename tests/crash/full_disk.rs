//! A full disk: what needs it is refused, all else goes on, and when there is space again so does the rest; nothing that was
//! acknowledged is lost on the way.

use dunlin::packet::{Delivery, QoS};

use crate::failures::{take_all, waited, waiting};
use crate::faults::{Call, ENOSPC, Fault};
use crate::house::{Broker, House};
use crate::steps::{begin, expect_puback, id, keeping, leave, resume, send};
use crate::support::client::{V5, V311};
use crate::support::{Client, eventually};

const CONFIG: &str = r#"
[durability]
segment_size = "64KiB"
min_free_space = "64MiB"
"#;

/// How the disk gets full, and what takes the fault away again.
fn full(house: &House, faults: &[(Call, Fault)], is_full: bool) {
    for (call, fault) in faults {
        if is_full {
            house.faults().every(*call, *fault);
        } else {
            house.faults().off(*call);
        }
    }
}

/// Publishes until it is refused; adds what was acknowledged before to `sent`.
fn fill(publisher: &mut Client, qos: QoS, sent: &mut Vec<String>) {
    let padding = "x".repeat(10_000);
    eventually("the broker refuses what needs the disk", || {
        let payload = format!("{} {padding}", sent.len());
        let reason = publisher.publish("a/full", &payload, qos);
        assert!(reason == 0 || reason == 0x97, "{reason:#x}");
        if reason == 0 {
            sent.push(payload);
        }
        reason == 0x97
    });
}

fn who_needs_no_disk_goes_on(broker: &Broker) {
    let mut online = Client::connect(broker.address(), V5, "online");
    online.subscribe("t/#", QoS::AtLeastOnce);
    let mut publisher = Client::connect(broker.address(), V311, "transient");
    publisher.publish("t/0", "at most once", QoS::AtMostOnce);
    online.expect_message("t/0", "at most once");
    publisher.publish("t/1", "at least once", QoS::AtLeastOnce);
    let id = online.expect_message("t/1", "at least once").packet_id().unwrap();
    online.puback(id);
    publisher.publish("nobody", "exactly once", QoS::ExactlyOnce);
    publisher.publish("a/0", "for one who is away, at most once", QoS::AtMostOnce);
    publisher.ping();
}

fn a_full_disk_refuses_and_recovers(faults: &[(Call, Fault)]) {
    let house = House::with_faults(CONFIG);
    let broker = house.start();
    waiting(&broker, "s");
    waiting(&broker, "drains");
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    let mut sent = Vec::new();
    for number in 0..10 {
        sent.push(format!("before {number}"));
        assert_eq!(publisher.publish("a/full", &sent[number], QoS::AtLeastOnce), 0);
    }
    full(&house, faults, true);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        fill(&mut publisher, qos, &mut sent);
    }
    assert_eq!(publisher.publish("a/full", "refused", QoS::AtLeastOnce), 0x97, "and stays so");
    publisher.publish("a/full", "at most once", QoS::AtMostOnce);

    // 3.1.1 has no code for it.
    for delivery in [Delivery::AtLeastOnce(id(7)), Delivery::ExactlyOnce(id(7))] {
        let mut older = Client::connect(broker.address(), V311, "older");
        send(&mut older, "a/full", "refused", delivery, false);
        assert_eq!(older.rest(), [0; 0], "no acknowledgement, and closed");
    }
    assert!(broker.metric("dunlin_storage_refused_total") >= 4.0);
    who_needs_no_disk_goes_on(&broker);

    // Those who take what waits for them make room: they are not kept from it.
    let mut drains = resume(broker.address(), keeping(V5, "drains"));
    assert_eq!(take_all(&mut drains), sent);

    full(&house, faults, false);
    eventually("it takes messages again by itself", || {
        let payload = format!("after {}", sent.len());
        let is_taken = publisher.publish("a/full", &payload, QoS::AtLeastOnce) == 0;
        if is_taken {
            sent.push(payload);
        }
        is_taken
    });
    let mut older = Client::connect(broker.address(), V311, "older");
    sent.push("from an older client".into());
    older.publish("a/full", "from an older client", QoS::ExactlyOnce);
    leave(drains);

    broker.kill();
    let broker = house.start();
    assert_eq!(waited(&broker, "s"), sent, "all that was acknowledged, and nothing that was refused");
}

/// Below the low-water mark.
#[test]
fn little_space_is_left() {
    a_full_disk_refuses_and_recovers(&[(Call::Space, Fault::Pretend(1 << 20))]);
}

/// Nothing can be written at all. What had been taken when that came to light waits until it can; all else is refused.
#[test]
fn no_space_is_left() {
    let house = House::with_faults(CONFIG);
    let mut broker = house.start();
    waiting(&broker, "s");
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    assert_eq!(publisher.publish("a/full", "before", QoS::AtLeastOnce), 0);
    full(&house, &[(Call::Allocate, Fault::Fail(ENOSPC)), (Call::Write, Fault::Fail(ENOSPC))], true);
    send(&mut publisher, "a/full", "held", Delivery::AtLeastOnce(id(900)), false);
    // What comes before that is taken too.
    eventually("it has come to light", || broker.told().contains("the disk is full"));
    publisher.expect_nothing();
    for version in [V5, V311] {
        for delivery in [Delivery::AtLeastOnce(id(7)), Delivery::ExactlyOnce(id(7))] {
            let mut other = Client::connect(broker.address(), version, "other");
            if version == V5 {
                assert_eq!(other.publish("a/full", "refused", delivery.qos()), 0x97);
            } else {
                send(&mut other, "a/full", "refused", delivery, false);
                assert_eq!(other.rest(), [0; 0], "no acknowledgement, and closed");
            }
        }
    }
    who_needs_no_disk_goes_on(&broker);
    publisher.expect_nothing();
    full(&house, &[(Call::Allocate, Fault::Fail(ENOSPC)), (Call::Write, Fault::Fail(ENOSPC))], false);
    assert_eq!(expect_puback(&mut publisher, id(900)), 0);
    eventually("it takes messages again by itself", || publisher.publish("a/full", "after", QoS::ExactlyOnce) == 0);
    broker.kill();
    assert_eq!(waited(&house.start(), "s"), ["before", "held", "after"]);
}

/// Only new files find no space, what was set aside can still be written.
#[test]
fn no_space_is_left_for_a_new_segment() {
    a_full_disk_refuses_and_recovers(&[(Call::Allocate, Fault::Fail(ENOSPC)), (Call::Create, Fault::Fail(ENOSPC))]);
}

/// Sessions that were there are taken up while there is little space; they are how it comes back.
#[test]
fn sessions_while_the_disk_is_full() {
    let house = House::with_faults(CONFIG);
    let broker = house.start();
    waiting(&broker, "s");
    house.faults().every(Call::Space, Fault::Pretend(1 << 20));
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    let mut sent = Vec::new();
    fill(&mut publisher, QoS::AtLeastOnce, &mut sent);
    assert_eq!(waited(&broker, "s"), sent);
    house.faults().off(Call::Space);
    eventually("messages are taken again", || publisher.publish("a/b", "later", QoS::AtLeastOnce) == 0);
    broker.kill();
    assert_eq!(waited(&house.start(), "s"), ["later"]);
}

/// Whoever restarts a broker because the disk is full must get one that can at least give away what it has.
#[test]
fn it_starts_on_a_full_disk() {
    let faults = [(Call::Space, Fault::Pretend(0)), (Call::Allocate, Fault::Fail(ENOSPC)), (Call::Write, Fault::Fail(ENOSPC))];
    let house = House::with_faults(CONFIG);
    let broker = house.start();
    waiting(&broker, "s");
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    assert_eq!(publisher.publish("a/b", "acknowledged", QoS::AtLeastOnce), 0);
    broker.kill();
    full(&house, &faults, true);
    match house.try_start(&[]) {
        Ok(broker) => {
            let mut publisher = Client::connect(broker.address(), V5, "publisher");
            eventually("it refuses", || publisher.publish("a/b", "refused", QoS::AtLeastOnce) == 0x97);
            assert_eq!(waited(&broker, "s"), ["acknowledged"]);
            broker.kill();
        }
        // Or it says why it does not.
        Err(ended) => {
            assert_eq!(ended.code, Some(74), "{}", ended.told);
            assert!(ended.told.contains("No space left"), "{}", ended.told);
        }
    }
    full(&house, &faults, false);
    let broker = house.start();
    let came = waited(&broker, "s");
    assert!(came.is_empty() || came == ["acknowledged"], "{came:?}");
}

/// A new segment that finds no room must not make the one before it look complete: that one is written on, and torn.
#[test]
fn a_write_is_torn_while_there_is_no_room_for_a_new_segment() {
    for tear in [1, 9, 40, 500] {
        let house = House::with_faults("[durability]\nsegment_size = \"64KiB\"\nmin_free_space = \"1\"\n");
        let mut broker = house.start();
        waiting(&broker, "s");
        let mut publisher = begin(broker.address(), keeping(V5, "publisher"));
        let mut sent = Vec::new();
        house.faults().every(Call::Allocate, Fault::Fail(ENOSPC));
        fill(&mut publisher, QoS::AtLeastOnce, &mut sent);
        // Acknowledgements of what waits are still written.
        let mut subscriber = resume(broker.address(), keeping(V5, "s"));
        house.faults().at_nth(Call::Write, 1, Fault::Tear(tear));
        for _ in 0..sent.len() {
            let (_, id) = crate::steps::next_id(&mut subscriber);
            subscriber.puback(id);
        }
        broker.ends();
        house.faults().off(Call::Write);
        house.faults().off(Call::Allocate);
        let broker = house.try_start(&[]).unwrap_or_else(|ended| panic!("torn after {tear} bytes: {}", ended.told));
        let came = waited(&broker, "s");
        assert!(sent.ends_with(&came), "{} of {}", came.len(), sent.len());
    }
}
