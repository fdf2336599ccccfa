//! One client that consumes from several queues, and comes and goes.

use std::collections::BTreeMap;

use super::corners::{V5, create, done, some, taken, wait};
use super::*;
use crate::broker::tests::simulation::network::Task;
use crate::queue::{AckMode, Cause};

const QUEUES: [&str; 3] = ["a", "b", "c"];

/// Three queues, each bound to the topic of its name.
fn house() -> House {
    let house = House::new();
    QUEUES.iter().for_each(|name| create(&house, config(name, name, KeyMode::None)));
    house
}

/// The same on a disk, with some of them.
fn life(names: &[&str]) -> Life {
    let mut life = Life::begin_at(WALL, FakeBackend::new(), 16_384);
    names.iter().for_each(|name| make(&mut life, name));
    life
}

fn make(life: &mut Life, name: &str) {
    let (broker, now) = (life.house.broker.clone(), life.house.now);
    finish(life, broker.create_queue(id(name), config(name, name, KeyMode::None), now)).unwrap();
}

fn id(name: &str) -> QueueId {
    QueueId::plain(QueueName::new(name).unwrap())
}

/// A client of all three that takes so many packets at a time.
fn worker(house: &House, receive_maximum: u16) -> Peer {
    let properties = ConnectProperties { receive_maximum, ..ConnectProperties::default() };
    let (mut worker, _) = house.connect(Connect { client_id: "worker", properties, ..connect(V5) });
    for name in QUEUES {
        worker.subscribe(house, &format!("$queue/{name}"), QoS::AtLeastOnce);
    }
    worker.receive(house);
    worker
}

fn publish(house: &House, topics: &[&str]) {
    let mut sender = house.client(V5, "sender");
    for (topic, id) in topics.iter().zip(1..) {
        sender.publish(house, topic, topic, q1(id));
    }
}

fn unsubscribe(peer: &mut Peer, house: &House, filter: &str) {
    let filters = vec![TopicFilter::new(filter).unwrap()];
    let user_properties = UserProperties::default();
    peer.send(house, &Packet::Unsubscribe(Unsubscribe { packet_id: packet_id(9), filters, user_properties }));
}

fn leased(house: &House) -> u64 {
    QUEUES.iter().map(|name| house.broker.queue(&id(name), house.now).unwrap().stats.leased).sum()
}

/// Acknowledges all that comes, each after so many seconds, and says what came in which order.
fn work(house: &mut House, worker: &mut Peer, seconds: u64) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let news = taken(worker, house);
        if news.is_empty() {
            return all;
        }
        for (payload, id) in news {
            all.push(payload);
            wait(house, seconds);
            worker.ack(house, id.unwrap());
        }
    }
}

fn counts(all: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    all.iter().for_each(|one| *counts.entry(&**one).or_default() += 1);
    counts
}

#[test]
fn no_time_runs_for_what_a_client_has_not_been_sent() {
    let mut house = house();
    let mut worker = worker(&house, 1);
    publish(&house, &["a", "b", "c", "a", "b", "c"]);
    assert_eq!(leased(&house), 1);
    // Three quarters of the time that it has for each: together far more than for one.
    let all = work(&mut house, &mut worker, ACK_TIMEOUT.as_secs() * 3 / 4);
    assert_eq!(counts(&all), BTreeMap::from([("a", 2), ("b", 2), ("c", 2)]), "each once: {all:?}");
    for name in QUEUES {
        let stats = house.broker.queue(&id(name), house.now).unwrap().stats;
        assert_eq!((stats.depth, stats.counters.delivered, stats.counters.redelivered.len()), (0, 2, 0));
    }
}

#[test]
fn queues_have_their_turns_at_a_window() {
    for receive_maximum in [1, 2] {
        let mut house = house();
        let mut worker = worker(&house, receive_maximum);
        let busy = ["a"; 30];
        publish(&house, &[&busy[..], &["b", "c", "b", "c"]].concat());
        let all = work(&mut house, &mut worker, 0);
        assert_eq!(all.len(), 34);
        let others = all.iter().take(16).filter(|one| *one != "a").count();
        assert_eq!(others, 4, "{receive_maximum}: {all:?}");
    }
}

#[test]
fn behind_messages_that_wait_anyway_work_waits_too() {
    let mut house = house();
    let mut worker = worker(&house, 1);
    worker.subscribe(&house, "news", QoS::AtLeastOnce);
    worker.receive(&house);
    publish(&house, &["news", "news", "a", "a", "news", "b"]);
    assert_eq!(leased(&house), 1, "one piece of work has its turn among them");
    let all = work(&mut house, &mut worker, 0);
    assert_eq!(counts(&all), BTreeMap::from([("a", 2), ("b", 1), ("news", 3)]));
    assert_eq!(all[..3], ["news", "news", "a"], "{all:?}");
}

#[test]
fn what_a_client_has_no_room_for_others_get() {
    let house = house();
    let mut narrow = worker(&house, 1);
    let mut wide = house.client(V5, "wide");
    publish(&house, &["a", "b"]);
    assert_eq!(taken(&mut narrow, &house), some("a", 1));
    wide.subscribe(&house, "$queue/b", QoS::AtLeastOnce);
    assert_eq!(taken(&mut wide, &house), some("b", 1));
}

#[test]
fn what_was_not_sent_goes_back_with_its_subscription() {
    let mut house = house();
    let mut worker = worker(&house, 1);
    worker.subscribe(&house, "news", QoS::AtLeastOnce);
    worker.receive(&house);
    publish(&house, &["news", "news", "a"]);
    assert_eq!(taken(&mut worker, &house), some("news", 1));
    assert_eq!(leased(&house), 1, "behind the second of the news");
    unsubscribe(&mut worker, &house, "$queue/a");
    let mut next = house.client(V5, "next");
    next.subscribe(&house, "$queue/a", QoS::AtLeastOnce);
    wait(&mut house, 1);
    assert_eq!(taken(&mut next, &house), some("a", 1));
    let stats = house.broker.queue(&id("a"), house.now).unwrap().stats;
    assert_eq!((stats.leased, stats.consumers), (1, 1));
    worker.receive(&house);
    worker.ack(&house, 1);
    assert_eq!(taken(&mut worker, &house), some("news", 2), "and nothing of the queue");
}

#[test]
fn whoever_consumed_a_queue_consumes_the_one_that_is_made_in_its_place() {
    for is_restarted in [false, true] {
        let mut life = life(&["a"]);
        let properties = ConnectProperties { session_expiry_interval: 1000, ..ConnectProperties::default() };
        let kept = Connect { client_id: "kept", clean_start: false, properties, ..connect(V5) };
        let enter = |life: &mut Life| {
            let mut kept_one = life.house.dial(V5);
            kept_one.send(&life.house, &Packet::Connect(kept));
            life.commit();
            kept_one
        };
        let mut worker = enter(&mut life);
        worker.subscribe(&life.house, "$queue/a", QoS::AtLeastOnce);
        let mut fickle = life.house.client(V5, "fickle");
        fickle.subscribe(&life.house, "$queue/a", QoS::AtLeastOnce);
        life.commit();
        let (broker, now) = (life.house.broker.clone(), life.house.now);
        finish(&mut life, broker.delete_queue(&id("a"), now)).unwrap();
        unsubscribe(&mut fickle, &life.house, "$queue/a");
        life.commit();
        if is_restarted {
            life = Life::begin_at(WALL + 1000, life.backend.kill(), 16_384);
            worker = enter(&mut life);
        }
        worker.receive(&life.house);
        make(&mut life, "a");
        assert_eq!(life.house.broker.queue(&id("a"), life.house.now).unwrap().stats.consumers, 1);
        let mut sender = life.house.client(V5, "sender");
        sender.publish(&life.house, "a", "x", q1(1));
        life.commit();
        wait(&mut life.house, 1);
        let got: Vec<_> = taken(&mut worker, &life.house).into_iter().map(|(payload, _)| payload).collect();
        assert_eq!(got, ["x"], "after a restart: {is_restarted}");
    }
}

#[test]
fn a_queue_that_is_gone_has_no_consumers_and_done_is_done() {
    let house = house();
    let mut worker = worker(&house, 1);
    done(house.broker.delete_queue(&id("a"), house.now)).unwrap();
    assert!(house.broker.queue(&id("a"), house.now).is_err());
    create(&house, config("a", "a", KeyMode::None));
    assert_eq!(house.broker.queue(&id("a"), house.now).unwrap().stats.consumers, 1);
    assert!(house.broker.queues.deserted.lock().is_empty());
    // What is not subscribed any more is not kept in mind.
    for name in ["a", "b", "c"] {
        done(house.broker.delete_queue(&id(name), house.now)).unwrap();
    }
    let deserted = || house.broker.queues.deserted.lock().len();
    assert_eq!(deserted(), 3);
    unsubscribe(&mut worker, &house, "$queue/a");
    assert_eq!(deserted(), 2);
    worker.cut(&house);
    assert_eq!(deserted(), 0);
}

/// What has failed once waits for the disk before it is sent again: meanwhile others may have had the room.
#[test]
fn no_time_runs_for_what_waits_for_the_disk_and_finds_no_room() {
    let mut life = life(&QUEUES);
    let mut first = worker(&life.house, 9);
    let mut sender = life.house.client(V5, "sender");
    for (topic, id) in ["a", "b", "c", "a", "b", "c"].iter().zip(1..) {
        sender.publish(&life.house, topic, topic, q1(id));
    }
    life.commit();
    for (_, id) in taken(&mut first, &life.house) {
        first.send(&life.house, &Packet::PubAck(PublishAck::new(packet_id(id.unwrap()), PublishReason::UnspecifiedError)));
    }
    first.cut(&life.house);
    wait(&mut life.house, 2);
    let mut narrow = worker(&life.house, 1);
    let mut all = Vec::new();
    for _ in 0..50 {
        life.commit();
        let news = taken(&mut narrow, &life.house);
        assert!(news.len() <= 1 && leased(&life.house) <= 1, "{news:?} of {}", leased(&life.house));
        for (payload, id) in news {
            all.push(payload);
            for _ in 0..ACK_TIMEOUT.as_secs() * 3 / 4 {
                life.house.now += Duration::from_secs(1);
                life.house.broker.tend_queues(life.house.now);
                life.commit();
            }
            narrow.ack(&life.house, id.unwrap());
        }
    }
    assert_eq!(counts(&all), BTreeMap::from([("a", 2), ("b", 2), ("c", 2)]), "each once: {all:?}");
    for name in QUEUES {
        let stats = life.house.broker.queue(&id(name), life.house.now).unwrap().stats;
        assert_eq!((stats.depth, stats.counters.redelivered.get(&Cause::Timeout)), (0, None));
    }
}

#[test]
fn what_is_too_large_for_a_client_keeps_no_other_work_from_it() {
    let mut house = house();
    let properties = ConnectProperties { receive_maximum: 1, maximum_packet_size: Some(300), ..ConnectProperties::default() };
    let (mut worker, _) = house.connect(Connect { client_id: "worker", properties, ..connect(V5) });
    for name in QUEUES {
        worker.subscribe(&house, &format!("$queue/{name}"), QoS::AtLeastOnce);
    }
    worker.receive(&house);
    let mut sender = house.client(V5, "sender");
    let large = "x".repeat(300);
    for (topic, payload, id) in [("a", &*large, 1), ("b", "b", 2), ("a", &large, 3), ("c", "c", 4), ("a", &large, 5)] {
        sender.publish(&house, topic, payload, q1(id));
    }
    let mut all = work(&mut house, &mut worker, 0);
    all.sort();
    assert_eq!(all, ["b", "c"]);
}

/// One whose writes are done by others' tasks, too.
#[test]
fn room_that_senders_make_is_told() {
    let house = house();
    let mut task = Task::new(&house, 0, V5, true);
    task.socket.set_room(usize::MAX);
    let properties = ConnectProperties { receive_maximum: 1, ..ConnectProperties::default() };
    let mut packets = vec![Packet::Connect(Connect { client_id: "worker", properties, ..connect(V5) })];
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    packets.extend(QUEUES.map(|name| Packet::Subscribe(subscription(&format!("$queue/{name}"), options, None))));
    let send = |task: &mut Task, packet: &Packet<'_>| {
        let mut bytes = Vec::new();
        encode(packet, V5, &mut bytes);
        task.inbox.push(bytes);
        task.poll(&house, |_| ());
    };
    packets.iter().for_each(|packet| send(&mut task, packet));
    task.socket.take_received();
    publish(&house, &["a", "b", "c", "a", "b", "c"]);
    for id in 1..=6 {
        while task.is_woken() {
            task.poll(&house, |_| ());
        }
        assert_eq!(leased(&house), 1, "before acknowledgement {id}");
        send(&mut task, &Packet::PubAck(PublishAck::new(packet_id(id), PublishReason::Success)));
    }
    while task.is_woken() {
        task.poll(&house, |_| ());
    }
    assert_eq!((leased(&house), depths(&house)), (0, 0));
}

fn depths(house: &House) -> u64 {
    QUEUES.iter().map(|name| house.broker.queue(&id(name), house.now).unwrap().stats.depth).sum()
}

#[test]
fn who_has_unsubscribed_fails_what_it_had_by_ending_its_session() {
    for ack in [AckMode::Puback, AckMode::Explicit] {
        let mut house = House::new();
        create(&house, Config { ack, ..config("a", "a", KeyMode::None) });
        let mut worker = house.client(V5, "worker");
        worker.subscribe(&house, "$queue/a", QoS::AtLeastOnce);
        worker.receive(&house);
        publish(&house, &["a", "a"]);
        let had = taken(&mut worker, &house);
        assert_eq!(had.len(), 2);
        unsubscribe(&mut worker, &house, "$queue/a");
        if ack == AckMode::Explicit {
            had.iter().for_each(|(_, id)| worker.ack(&house, id.unwrap()));
        }
        let leased = |house: &House| house.broker.queue(&id("a"), house.now).unwrap().stats.leased;
        assert_eq!(leased(&house), 2);
        worker.cut(&house);
        assert_eq!(leased(&house), 0, "{ack:?}");
        // Whoever comes as the same client has nothing of it.
        let mut again = house.client(V5, "worker");
        again.subscribe(&house, "$queue/a", QoS::AtLeastOnce);
        wait(&mut house, 2);
        assert_eq!(taken(&mut again, &house).len(), 2);
    }
}

/// Another has it by then.
#[test]
fn what_has_run_out_since_it_was_unsubscribed_is_not_sent_again() {
    let mut house = house();
    let properties = ConnectProperties { session_expiry_interval: 1000, ..ConnectProperties::default() };
    let kept = Connect { client_id: "kept", clean_start: false, properties, ..connect(V5) };
    let (mut worker, _) = house.connect(kept);
    worker.subscribe(&house, "$queue/a", QoS::AtLeastOnce);
    worker.receive(&house);
    publish(&house, &["a"]);
    assert_eq!(taken(&mut worker, &house), some("a", 1));
    unsubscribe(&mut worker, &house, "$queue/a");
    worker.cut(&house);
    wait(&mut house, ACK_TIMEOUT.as_secs() + 2);
    let (mut worker, connack) = house.connect(kept);
    assert_eq!(connack, Seen::ConnAck { present: true, reason: 0 });
    assert!(worker.is_quiet(&house));
    let mut next = house.client(V5, "next");
    next.subscribe(&house, "$queue/a", QoS::AtLeastOnce);
    next.receive(&house);
    assert_eq!(depths(&house), 1);
}

#[test]
fn who_unsubscribes_and_subscribes_again_has_no_more_than_its_window() {
    let house = House::new();
    let config = Config { ack: AckMode::Explicit, prefetch: 2, ..config("a", "a", KeyMode::None) };
    create(&house, config);
    let mut worker = house.client(V5, "worker");
    publish(&house, &["a"; 20]);
    for _ in 0..5 {
        worker.subscribe(&house, "$queue/a", QoS::AtLeastOnce);
        for (_, id) in taken(&mut worker, &house) {
            worker.ack(&house, id.unwrap());
        }
        unsubscribe(&mut worker, &house, "$queue/a");
    }
    assert_eq!(house.broker.queue(&id("a"), house.now).unwrap().stats.leased, 2);
}

/// While a redelivery waits for the disk.
#[test]
fn who_unsubscribes_in_between_is_sent_nothing() {
    let mut life = life(&["a"]);
    let mut worker = life.house.client(V5, "worker");
    worker.subscribe(&life.house, "$queue/a", QoS::AtLeastOnce);
    let mut sender = life.house.client(V5, "sender");
    sender.publish(&life.house, "a", "x", q1(1));
    life.commit();
    assert_eq!(taken(&mut worker, &life.house), some("x", 1));
    worker.send(&life.house, &Packet::PubAck(PublishAck::new(packet_id(1), PublishReason::UnspecifiedError)));
    wait(&mut life.house, 2);
    unsubscribe(&mut worker, &life.house, "$queue/a");
    worker.receive(&life.house);
    life.commit();
    assert!(worker.is_quiet(&life.house));
    let mut next = life.house.client(V5, "next");
    next.subscribe(&life.house, "$queue/a", QoS::AtLeastOnce);
    wait(&mut life.house, 1);
    life.commit();
    let got: Vec<_> = taken(&mut next, &life.house).into_iter().map(|(payload, _)| payload).collect();
    assert_eq!(got, ["x"]);
    let stats = life.house.broker.queue(&id("a"), life.house.now).unwrap().stats;
    assert_eq!((stats.leased, stats.consumers), (1, 1));
}

/// Its room is kept while it waits for the disk: first deliveries, which need not wait, would have it each time.
#[test]
fn what_comes_again_finds_the_room_that_it_was_lent_for() {
    let mut life = life(&QUEUES);
    let mut first = worker(&life.house, 9);
    let mut sender = life.house.client(V5, "sender");
    sender.publish(&life.house, "a", "again", q1(1));
    life.commit();
    let [(_, Some(packet))] = taken(&mut first, &life.house)[..] else { panic!("one comes") };
    first.send(&life.house, &Packet::PubAck(PublishAck::new(packet_id(packet), PublishReason::UnspecifiedError)));
    first.cut(&life.house);
    let mut narrow = worker(&life.house, 2);
    for number in 0..30 {
        sender.publish(&life.house, "a", "fresh", q1(2 + number));
    }
    sender.publish(&life.house, "b", "held", q1(40));
    life.commit();
    let mut all = Vec::new();
    for step in 0..8 {
        if step == 2 {
            wait(&mut life.house, 2); // Its backoff is over.
        }
        for (payload, id) in taken(&mut narrow, &life.house) {
            if payload != "held" {
                narrow.ack(&life.house, id.unwrap());
                all.push(payload);
            }
        }
        life.commit();
    }
    assert!(all.iter().any(|payload| payload == "again"), "{all:?}");
    let stats = life.house.broker.queue(&id("a"), life.house.now).unwrap().stats;
    assert_eq!(stats.counters.redelivered.get(&Cause::Unsent), None, "it was lent once");
}

/// Behind messages that wait anyway one piece has its turn, be it one that waits for the disk first.
#[test]
fn what_comes_again_behind_other_messages_is_one_piece_too() {
    let mut life = life(&QUEUES);
    let mut first = worker(&life.house, 9);
    publish(&life.house, &QUEUES);
    life.commit();
    for (_, id) in taken(&mut first, &life.house) {
        first.send(&life.house, &Packet::PubAck(PublishAck::new(packet_id(id.unwrap()), PublishReason::UnspecifiedError)));
    }
    first.cut(&life.house);
    let mut narrow = worker(&life.house, 1);
    narrow.subscribe(&life.house, "news", QoS::AtLeastOnce);
    narrow.receive(&life.house);
    publish(&life.house, &["news", "news", "news"]);
    assert_eq!(taken(&mut narrow, &life.house).len(), 1);
    wait(&mut life.house, 2);
    for _ in 0..5 {
        assert!(narrow.is_quiet(&life.house));
        life.house.broker.tend_queues(life.house.now);
    }
    assert_eq!(leased(&life.house), 1);
}
