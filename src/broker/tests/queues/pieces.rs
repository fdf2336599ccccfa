//! A checkpoint is made piece by piece while everything happens to the queues that can: at any moment, what a restart would find is
//! what is there.
//!
//! `DUNLIN_CRASH_SEEDS=1000..50000` runs other seeds than the few of every test run.

use super::*;
use crate::broker::PeekedMessage;
use crate::queue::{Expired, Overflow, Peeked, Status};

const NAMES: [&str; 2] = ["one", "two"];
const ROUNDS: usize = 12;
/// Queues are small, so that their bounds are hit.
const MESSAGES: u64 = 12;

/// A consumer whose session outlives the process: what it has, it has after a restart.
struct Consumer {
    name: &'static str,
    filter: &'static str,
    peer: Option<Peer>,
    owed: Vec<u16>,
}

struct Scene {
    random: Random,
    sender: Option<Peer>,
    consumers: [Consumer; 3],
    sent: u16,
    wall: u64,
    began: Instant,
    segment_size: u64,
    /// How often the queues were compared while a checkpoint was being made.
    looks: usize,
}

/// All that can be seen of the queues.
#[derive(Debug, PartialEq)]
struct Picture {
    queues: Vec<String>,
    messages: Vec<String>,
    delayed: (u64, u64),
}

#[test]
fn whatever_happens_between_the_pieces_of_a_checkpoint_a_restart_finds_what_was_there() {
    let seeds = std::env::var("DUNLIN_CRASH_SEEDS").unwrap_or_else(|_| "0..25".into());
    let (first, last) = seeds.split_once("..").expect("FIRST..LAST");
    for seed in first.parse().unwrap()..last.parse().unwrap() {
        let _seed = Seed(seed);
        Scene::new(seed).run();
    }
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let consumer = |name, filter| Consumer { name, filter, peer: None, owed: Vec::new() };
        let consumers = [consumer("c1", "$queue/one"), consumer("c2", "$queue/two"), consumer("undertaker", "$dlq/one")];
        let segment_size = random.pick(&[2048, 16_384]);
        Self { random, sender: None, consumers, sent: 0, wall: WALL, began: Instant::now(), segment_size, looks: 0 }
    }

    fn run(mut self) {
        let mut life = self.begin(&FakeBackend::new());
        for name in NAMES {
            self.create(&mut life, name);
        }
        for _ in 0..ROUNDS {
            for _ in 0..self.random.below(30) {
                self.act(&mut life);
            }
            life.tend_in_pieces(|life| {
                for _ in 0..self.random.below(4) {
                    self.act(life);
                }
                if self.random.one_in(6) {
                    self.compare(life);
                    self.looks += 1;
                }
            });
            let left = self.compare(&mut life);
            if self.random.one_in(4) {
                self.wall = self.now(&life);
                life = self.begin(&left);
            }
        }
        assert!(self.looks > 0);
    }

    fn begin(&mut self, backend: &FakeBackend) -> Life {
        self.sender = None;
        for consumer in &mut self.consumers {
            consumer.peer = None;
            consumer.owed.clear();
        }
        let life = Life::begin_at(self.wall, backend.kill(), self.segment_size);
        self.began = life.house.now;
        life
    }

    /// Milliseconds since the epoch.
    fn now(&self, life: &Life) -> u64 {
        self.wall + u64::try_from((life.house.now - self.began).as_millis()).unwrap()
    }

    /// Tells all to the disk, looks at the queues, and at what a restart makes of the same disk.
    fn compare(&self, life: &mut Life) -> FakeBackend {
        // What was waited for may lead to more.
        (0..4).for_each(|_| life.commit());
        life.house.broker.tell_leases(life.house.now);
        life.commit();
        let now = self.now(life);
        let live = Picture::of(&life.house, now);
        let left = life.backend.kill();
        let found = Picture::of(&Life::begin_at(now, left.kill(), self.segment_size).house, now);
        assert_eq!(found, live);
        left
    }

    fn act(&mut self, life: &mut Life) {
        match self.random.below(16) {
            0..=5 => self.publish(life),
            6..=10 => self.consume(life),
            11 => life.commit(),
            12 => {
                life.house.now += TICK * self.random.below(20) as u32;
                life.house.broker.handle_timeout(life.house.now);
            }
            _ => self.operate(life),
        }
        life.house.broker.tend_queues(life.house.now);
    }

    fn publish(&mut self, life: &Life) {
        let house = &life.house;
        let sender = self.sender.get_or_insert_with(|| house.client(ProtocolVersion::V5, "sender"));
        sender.receive(house);
        self.sent += 1;
        let prefix = match self.random.below(6) {
            0 => format!("$dedup/{}/", self.random.below(40)),
            1 => "$delayed/2/".into(),
            _ => String::new(),
        };
        let topic = format!("{prefix}q/{}/{}", self.random.pick(&NAMES), self.random.pick(&["a", "b", "c"]));
        let payload = self.sent.to_string();
        let mut publish = message(&topic, &payload, q1(self.sent), false);
        publish.properties.message_expiry_interval = self.random.one_in(8).then_some(3);
        sender.send(house, &Packet::Publish(publish));
    }

    fn consume(&mut self, life: &Life) {
        let index = self.random.below(self.consumers.len());
        let (house, consumer) = (&life.house, &mut self.consumers[index]);
        let Some(peer) = &mut consumer.peer else { return consumer.come(house) };
        peer.receive_each(house, |packet| {
            if let Packet::Publish(publish) = packet {
                let id = publish.delivery.packet_id().expect("QoS 1").get();
                consumer.owed.retain(|owed| *owed != id);
                consumer.owed.push(id);
            }
        });
        if peer.closed || self.random.one_in(20) {
            if !peer.closed {
                peer.cut(house);
            }
            consumer.owed.clear();
            consumer.peer = None;
        } else if self.random.one_in(6) || consumer.owed.is_empty() {
            peer.subscribe(house, consumer.filter, QoS::AtLeastOnce); // its queue may be a new one
        } else {
            let id = consumer.owed.remove(self.random.below(consumer.owed.len()));
            let reason = self.random.pick(&[
                PublishReason::Success,
                PublishReason::UnspecifiedError,
                PublishReason::UnspecifiedError,
                PublishReason::PayloadFormatInvalid,
                PublishReason::QuotaExceeded,
                PublishReason::NotAuthorized,
            ]);
            peer.send(house, &Packet::PubAck(PublishAck::new(packet_id(id), reason)));
        }
    }

    fn create(&mut self, life: &mut Life, name: &str) {
        let (id, config) = (id(name), self.config(name));
        let (broker, now) = (life.house.broker.clone(), life.house.now);
        finish(life, broker.create_queue(id, config, now)).expect("there is none of this name");
    }

    fn config(&mut self, name: &str) -> Config {
        Config {
            max_deliveries: 2,
            max_messages: MESSAGES,
            overflow: self.random.pick(&[Overflow::DropOldest, Overflow::DeadLetter]),
            expired: self.random.pick(&[Expired::Drop, Expired::DeadLetter]),
            on_dead: self.random.pick(&[OnDead::Skip, OnDead::Block, OnDead::Block]),
            ..config(name, &format!("q/{name}/#"), if name == NAMES[0] { KeyMode::Topic } else { KeyMode::None })
        }
    }

    fn operate(&mut self, life: &mut Life) {
        let name = self.random.pick(&NAMES);
        let (broker, now, id) = (life.house.broker.clone(), life.house.now, id(name));
        let part = self.random.pick(&[Part::Main, Part::Dead]);
        match self.random.below(16) {
            0 => _ = finish(life, broker.purge(&id, part, now)).unwrap(),
            1 => {
                finish(life, broker.delete_queue(&id, now)).unwrap();
                self.create(life, name);
            }
            2 => {
                let config = self.config(name);
                finish(life, broker.update_queue(&id, config, now)).unwrap();
            }
            3 => finish(life, broker.set_paused(&id, self.random.one_in(3), now)).unwrap(),
            4 | 5 => _ = finish(life, broker.unblock(&id, now)).unwrap(),
            6 | 7 => {
                let (some, _) = broker.peek(&id, part, None, usize::MAX).unwrap();
                if !some.is_empty() {
                    let seq = some[self.random.below(some.len())].peeked.seq;
                    finish(life, broker.delete_message(&id, part, seq, now)).unwrap();
                }
            }
            _ => {
                let which = self.random.pick(&[Which::All, Which::First(1), Which::First(2)]);
                finish(life, broker.redrive(&id, which, now)).unwrap();
            }
        }
    }
}

impl Consumer {
    fn come(&mut self, house: &House) {
        let properties = ConnectProperties { session_expiry_interval: 360_000, ..ConnectProperties::default() };
        let mut peer = house.dial(ProtocolVersion::V5);
        let connect = connect(ProtocolVersion::V5);
        peer.send(house, &Packet::Connect(Connect { client_id: self.name, clean_start: false, properties, ..connect }));
        self.peer = Some(peer);
    }
}

impl Picture {
    fn of(house: &House, now: u64) -> Self {
        let (mut queues, mut messages) = (Vec::new(), Vec::new());
        for queue in house.broker.queues(house.now) {
            let (id, stats, dead) = (&queue.definition.id, &queue.stats, &queue.dead);
            queues.push(format!(
                "{:?}: {} and {} dead, {} and {} lent, {} blocked keys, {} identifiers, paused: {}",
                queue.definition,
                stats.depth,
                dead.depth,
                stats.leased,
                dead.leased,
                stats.blocked_keys,
                stats.dedup_ids,
                stats.is_paused,
            ));
            for part in [Part::Main, Part::Dead] {
                let (mut some, has_more) = house.broker.peek(id, part, None, usize::MAX).unwrap();
                assert!(!has_more);
                // Those of one moment stand by their numbers after a restart.
                some.sort_by_key(|one| (one.peeked.enqueued_at, one.peeked.seq));
                for PeekedMessage { peeked, message } in some {
                    let payload = String::from_utf8_lossy(message.view().payload).into_owned();
                    let status = match peeked.status {
                        // Whether a delay is over is found out when somebody looks.
                        Status::Delayed(until) if until.0 <= now + 5 => Status::Ready,
                        status => status,
                    };
                    let peeked = Peeked { status, ..without_body(peeked) };
                    messages.push(format!("{id} {part:?} {payload}: {peeked:?}"));
                }
            }
        }
        Self { queues, messages, delayed: house.broker.delayed_counts() }
    }
}

fn without_body<B>(peeked: Peeked<B>) -> Peeked<()> {
    let Peeked { seq, status, attempts, size, enqueued_at, expires_at, last_client, last_code, dead, .. } = peeked;
    Peeked { seq, status, attempts, size, enqueued_at, expires_at, last_client, last_code, dead, body: () }
}

fn id(name: &str) -> QueueId {
    QueueId::plain(QueueName::new(name).unwrap())
}
