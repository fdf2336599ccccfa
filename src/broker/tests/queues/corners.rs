//! What happens rarely, one case at a time.

use super::*;
use crate::broker::tests::simulation::network::Task;
use crate::queue::AckMode;
use crate::units::ByteSize;

pub(super) const V5: ProtocolVersion = ProtocolVersion::V5;
const QUOTA_EXCEEDED: u8 = 0x97;

/// Without a journal nothing waits.
pub(super) fn done<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn jobs() -> QueueId {
    QueueId::plain(QueueName::new("jobs").unwrap())
}

fn plain() -> Config {
    config("jobs", "jobs/#", KeyMode::None)
}

fn house(config: Config) -> House {
    let house = House::new();
    create(&house, config);
    house
}

pub(super) fn create(house: &House, config: Config) {
    let id = QueueId::plain(config.name.clone().unwrap());
    done(house.broker.create_queue(id, config, house.now)).unwrap();
}

fn life(config: Config) -> Life {
    let mut life = Life::begin_at(WALL, FakeBackend::new(), 16_384);
    let (broker, now) = (life.house.broker.clone(), life.house.now);
    finish(&mut life, broker.create_queue(jobs(), config, now)).unwrap();
    life
}

fn depth(house: &House) -> u64 {
    house.broker.queue(&jobs(), house.now).unwrap().stats.depth
}

/// A consumer with QoS 1.
fn worker(house: &House, id: &str) -> Peer {
    let mut worker = house.client(V5, id);
    worker.subscribe(house, "$queue/jobs", QoS::AtLeastOnce);
    worker.receive(house);
    worker
}

/// Payloads and identifiers of what has come.
pub(super) fn taken(peer: &mut Peer, house: &House) -> Vec<(String, Option<u16>)> {
    let publishes = peer.receive(house).into_iter().filter_map(|seen| match seen {
        Seen::Publish { payload, id, .. } => Some((payload, id)),
        _ => None,
    });
    publishes.collect()
}

pub(super) fn some(payload: &str, id: u16) -> Vec<(String, Option<u16>)> {
    vec![(payload.into(), Some(id))]
}

fn refuse(peer: &mut Peer, house: &House, id: u16, reason: PublishReason) {
    peer.send(house, &Packet::PubAck(PublishAck::new(packet_id(id), reason)));
}

pub(super) fn wait(house: &mut House, seconds: u64) {
    for _ in 0..seconds {
        house.now += Duration::from_secs(1);
        house.broker.tend_queues(house.now);
    }
}

fn publish_with(peer: &mut Peer, house: &House, topic: &str, properties: &[(&str, &str)]) {
    let mut buffer = UserPropertiesBuf::new();
    properties.iter().for_each(|(name, value)| buffer.push(name, value));
    let mut publish = message(topic, "x", q1(1), false);
    publish.properties.user_properties = buffer.as_ref();
    peer.send(house, &Packet::Publish(publish));
}

/// The user properties of the one message that has come.
fn properties(peer: &mut Peer, house: &House) -> Vec<(String, String)> {
    let mut found = Vec::new();
    peer.receive_each(house, |packet| {
        if let Packet::Publish(publish) = packet {
            found.push(publish.properties.user_properties.iter().map(|(name, value)| (name.into(), value.into())).collect());
        }
    });
    assert_eq!(found.len(), 1);
    found.remove(0)
}

fn values<'a>(properties: &'a [(String, String)], wanted: &str) -> Vec<&'a str> {
    properties.iter().filter(|(name, _)| name == wanted).map(|(_, value)| &**value).collect()
}

#[test]
fn a_consumer_that_was_behind_goes_on_though_senders_have_written_all() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let house = house(plain());
        let mut task = Task::new(&house, 0, V5, true);
        task.socket.set_room(usize::MAX);
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        let connect = Packet::Connect(Connect { client_id: "worker", ..connect(V5) });
        for packet in [connect, Packet::Subscribe(subscription("$queue/jobs", options, None))] {
            let mut bytes = Vec::new();
            encode(&packet, V5, &mut bytes);
            task.inbox.push(bytes);
            task.poll(&house, |_| ());
        }
        let mut sender = house.client(V5, "sender");
        let large = "x".repeat(200 * 1024);
        for payload in [&large, "and one more"] {
            task.socket.take_received();
            sender.publish(&house, "jobs/1", payload, Delivery::AtMostOnce);
            while task.is_woken() {
                task.poll(&house, |_| ());
            }
            let received = task.socket.take_received();
            assert!(received.ends_with(payload.as_bytes()), "{qos:?}: only {} bytes came", received.len());
        }
    }
}

#[test]
fn a_lease_that_is_over_before_it_is_on_disk_takes_no_room() {
    let mut life = life(plain());
    let properties = ConnectProperties { receive_maximum: 1, ..ConnectProperties::default() };
    let (mut worker, _) = life.house.connect(Connect { client_id: "worker", properties, ..connect(V5) });
    worker.subscribe(&life.house, "$queue/jobs", QoS::AtLeastOnce);
    let mut sender = life.house.client(V5, "sender");
    sender.publish(&life.house, "jobs/1", "a", q1(1));
    life.commit();
    assert_eq!(taken(&mut worker, &life.house), some("a", 1));
    refuse(&mut worker, &life.house, 1, PublishReason::UnspecifiedError);
    wait(&mut life.house, 2);
    assert!(worker.is_quiet(&life.house), "a second attempt waits for the disk");
    let (broker, now) = (life.house.broker.clone(), life.house.now);
    let (peeked, _) = broker.peek(&jobs(), Part::Main, None, 10).unwrap();
    finish(&mut life, broker.delete_message(&jobs(), Part::Main, peeked[0].peeked.seq, now)).unwrap();
    assert!(worker.is_quiet(&life.house), "there is nothing to attempt");
    sender.publish(&life.house, "jobs/1", "b", q1(2));
    life.commit();
    assert_eq!(taken(&mut worker, &life.house), some("b", 2));
}

#[test]
fn a_consumer_of_qos_0_that_is_on_its_way_gets_no_more_than_it_can_be_sent() {
    let mut life = life(plain());
    let properties = ConnectProperties { session_expiry_interval: 1000, ..ConnectProperties::default() };
    let connect = Connect { client_id: "display", clean_start: false, properties, ..connect(V5) };
    let mut display = life.house.dial(V5);
    display.send(&life.house, &Packet::Connect(connect));
    life.commit();
    display.subscribe(&life.house, "$queue/jobs", QoS::AtMostOnce);
    life.commit();
    display.receive(&life.house);
    let mut next = life.house.dial(V5);
    next.send(&life.house, &Packet::Connect(connect)); // CONNACK waits for the disk.
    let mut sender = life.house.client(V5, "sender");
    for _ in 0..20 {
        sender.publish(&life.house, "jobs/1", "a", Delivery::AtMostOnce);
    }
    assert_eq!(depth(&life.house), 19);
    let mut count = 0;
    for _ in 0..4 {
        life.commit();
        count += taken(&mut next, &life.house).len();
    }
    assert_eq!((count, depth(&life.house)), (20, 0));
}

#[test]
fn what_cannot_be_retained_is_in_no_queue() {
    let mut house = House::with_limits(Limits { max_retained_messages: 1, ..Limits::default() });
    create(&house, plain());
    let mut sender = house.client(V5, "sender");
    sender.retain(&house, "other", "x");
    sender.send(&house, &Packet::Publish(message("jobs/1", "a", q1(1), true)));
    assert_eq!((sender.receive(&house), depth(&house)), (vec![Seen::Ack("puback", 1, QUOTA_EXCEEDED)], 0));
    sender.send(&house, &Packet::Publish(message("$delayed/1/jobs/1", "b", q1(2), true)));
    assert_eq!(sender.receive(&house), [Seen::Ack("puback", 2, 0)]);
    wait(&mut house, 5);
    assert_eq!((depth(&house), house.broker.delayed_counts().0), (0, 1));
    sender.retain(&house, "other", "");
    wait(&mut house, 5);
    assert_eq!((depth(&house), house.broker.delayed_counts().0), (1, 0));
}

#[test]
fn consumers_that_are_there_take_over_what_settles() {
    let house = house(plain());
    let (mut worker, mut sender) = (worker(&house, "worker"), house.client(V5, "sender"));
    done(house.broker.update_queue(&jobs(), Config { ack: AckMode::Explicit, ..plain() }, house.now)).unwrap();
    sender.publish(&house, "jobs/1", "a", q1(1));
    assert_eq!(taken(&mut worker, &house), some("a", 1));
    worker.ack(&house, 1);
    assert_eq!(depth(&house), 1);
    done(house.broker.update_queue(&jobs(), plain(), house.now)).unwrap();
    sender.publish(&house, "jobs/1", "b", q1(2));
    assert_eq!(taken(&mut worker, &house), some("b", 2));
    worker.ack(&house, 2);
    assert_eq!(depth(&house), 1, "b is done");
}

#[test]
fn a_message_that_one_queue_refuses_for_its_key_is_in_no_other() {
    let house = house(plain());
    let bytes = "jobs/1".len() + "a".len();
    create(&house, Config { max_bytes: ByteSize(bytes as u64), ..config("keyed", "jobs/#", KeyMode::ClientId) });
    let mut sender = house.client(V5, "sender");
    sender.publish(&house, "jobs/1", "a", q1(1));
    assert_eq!((sender.receive(&house), depth(&house)), (vec![Seen::Ack("puback", 1, QUOTA_EXCEEDED)], 0));
}

#[test]
fn a_queue_that_is_deleted_keeps_nothing_for_those_who_still_know_it() {
    let house = house(plain());
    let (mut worker, mut sender) = (worker(&house, "worker"), house.client(V5, "sender"));
    for id in 1..=3 {
        sender.publish(&house, "jobs/1", "a", q1(id));
    }
    assert_eq!(taken(&mut worker, &house).len(), 3);
    worker.ack(&house, 1);
    let queue = house.broker.queues.find(None, "jobs").unwrap();
    let kept = || {
        let state = queue.lock();
        (state.work.bytes(), state.reported)
    };
    assert_eq!(kept().0, 2 * "jobs/1a".len() as u64);
    done(house.broker.delete_queue(&jobs(), house.now)).unwrap();
    worker.ack(&house, 2);
    worker.cut(&house);
    house.broker.tend_queues(house.now);
    assert_eq!(kept(), (0, 0));
}

#[test]
fn what_was_acknowledged_before_another_wish_is_done() {
    let mut house = house(plain());
    let (mut worker, mut sender) = (worker(&house, "worker"), house.client(V5, "sender"));
    sender.publish(&house, "jobs/1", "a", q1(1));
    assert_eq!(taken(&mut worker, &house), some("a", 1));
    let mut wish = UserPropertiesBuf::new();
    wish.push("q-prefetch", "3");
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    let again = Subscribe { user_properties: wish.as_ref(), ..subscription("$queue/jobs", options, None) };
    let mut bytes = Vec::new();
    encode(&Packet::PubAck(PublishAck::new(packet_id(1), PublishReason::Success)), V5, &mut bytes);
    encode(&Packet::Subscribe(again), V5, &mut bytes);
    worker.send_bytes(&house, &bytes);
    wait(&mut house, 3);
    assert_eq!((taken(&mut worker, &house), depth(&house)), (vec![], 0));
}

#[test]
fn purging_the_dead_letters_lets_their_keys_go_on() {
    let house = house(Config { on_dead: OnDead::Block, key: KeyMode::Topic, ..plain() });
    let (mut worker, mut sender) = (worker(&house, "worker"), house.client(V5, "sender"));
    sender.publish(&house, "jobs/1", "a", q1(1));
    assert_eq!(taken(&mut worker, &house), some("a", 1));
    refuse(&mut worker, &house, 1, PublishReason::PayloadFormatInvalid);
    sender.publish(&house, "jobs/1", "b", q1(2));
    assert!(worker.is_quiet(&house), "the key stands still");
    assert_eq!(done(house.broker.purge(&jobs(), Part::Dead, house.now)), Ok(1));
    assert_eq!(taken(&mut worker, &house), some("b", 2));
}

#[test]
fn what_a_publisher_says_of_a_lease_is_not_told_to_consumers() {
    let house = house(config("jobs", "jobs/#", KeyMode::ClientId));
    let (mut worker, mut sender) = (worker(&house, "worker"), house.client(V5, "sender"));
    let lies = [("q-id", "jobs:1"), ("q-tag", "none"), ("q-dead-reason", "none"), ("q-key", "somebody else")];
    publish_with(&mut sender, &house, "jobs/1", &[&lies[..], &[("mine", "1"), ("mine", "2")]].concat());
    let told = properties(&mut worker, &house);
    assert!(lies.iter().all(|(name, lie)| !values(&told, name).contains(lie)), "{told:?}");
    assert_eq!(values(&told, "mine"), ["1", "2"]);
    assert_eq!((values(&told, "q-key"), values(&told, "q-id").len(), values(&told, "q-tag").len()), (vec!["sender"], 1, 1));
    refuse(&mut worker, &house, 1, PublishReason::PayloadFormatInvalid);
    worker.subscribe(&house, "$dlq/jobs", QoS::AtLeastOnce);
    let letter = properties(&mut worker, &house);
    assert_eq!((values(&letter, "q-dead-reason"), values(&letter, "mine")), (vec!["rejected"], vec!["1", "2"]));
    assert_eq!(values(&letter, "q-id"), values(&told, "q-id"));
}

#[test]
fn a_queue_that_is_made_anew_repeats_no_identifier() {
    let mut house = house(plain());
    let mut sender = house.client(V5, "sender");
    let mut all = Vec::new();
    for _ in 0..2 {
        let mut worker = worker(&house, "worker");
        publish_with(&mut sender, &house, "jobs/1", &[]);
        all.push(properties(&mut worker, &house));
        worker.cut(&house);
        done(house.broker.delete_queue(&jobs(), house.now)).unwrap();
        wait(&mut house, 1);
        create(&house, plain());
    }
    let [first, second] = [0, 1].map(|at| values(&all[at], "q-id"));
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second);
}
