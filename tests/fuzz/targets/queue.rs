//! A work queue under any sequence of events: it never panics, and what its changes say is what it is.

#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use arbitrary::Arbitrary;
use dunlin::queue::topics::Settle;
use dunlin::queue::{
    AckMode, Backoff, Change, Config, ConsumerId, Delivery, Enqueue, Expired, Join, OnDead, Overflow, Part, QueueName, Restore,
    Secret, UnixMillis, Which, WorkQueue,
};
use dunlin::units::Span;
use libfuzzer_sys::fuzz_target;

const CODES: [u8; 8] = [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x97, 0x99];

#[derive(Arbitrary, Debug)]
struct Case {
    blocks: bool,
    drops_expired: bool,
    overflow: u8,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Enqueue { key: Option<u8>, dedup: Option<u8>, delay: u8, lifetime: Option<u8> },
    Join { client: u8, prefetch: u8, is_explicit: bool, is_at_most_once: bool, is_of_dead: bool },
    Leave(u8),
    Retire(u8),
    Unanswered(u8, bool),
    Online(u8, bool),
    Deliver(bool, Room),
    Acknowledge(u8, u8),
    Settle(u8, u8, u8),
    Wait(u16),
    Pause(bool),
    Redrive(u8),
    Delete(u8),
    Purge(bool),
    Unblock,
    Restart,
}

/// Of a consumer that shares its window.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Room {
    Unasked,
    Free,
    Full,
}

struct World {
    config: Config,
    queue: WorkQueue<u32>,
    journal: Vec<(Part, Change<u32>)>,
    now: UnixMillis,
    consumers: Vec<(Part, ConsumerId)>,
    deliveries: Vec<(Part, Delivery<u32>)>,
    clients: BTreeMap<ConsumerId, String>,
    count: u32,
}

fn secret() -> Secret {
    Secret::new([7; 16])
}

impl World {
    fn new(config: Config) -> Self {
        let now = UnixMillis(1_700_000_000_000);
        let queue = WorkQueue::new(config.name.clone().unwrap(), config.clone(), secret(), 1, now);
        let (journal, consumers, deliveries) = (Vec::new(), Vec::new(), Vec::new());
        Self { config, queue, journal, now, consumers, deliveries, clients: BTreeMap::new(), count: 0 }
    }

    fn apply(&mut self, operation: Operation) {
        let now = self.now;
        match operation {
            Operation::Enqueue { key, dedup, delay, lifetime } => {
                let (key, dedup) = (key.map(|key| (key % 4).to_string()), dedup.map(|id| (id % 8).to_string()));
                self.count += 1;
                let message = Enqueue {
                    body: self.count,
                    size: 10,
                    key: key.as_deref(),
                    dedup_id: dedup.as_deref(),
                    delay: Duration::from_secs((delay / 64).into()),
                    expires_at: lifetime.map(|seconds| UnixMillis(now.0 + u64::from(seconds) * 1000)),
                };
                let _ = self.queue.with(Part::Main, |queue| queue.enqueue(message, now));
            }
            Operation::Join { client, prefetch, is_explicit, is_at_most_once, is_of_dead } => {
                let part = if is_of_dead { Part::Dead } else { Part::Main };
                let client = format!("client{}", client % 4);
                let join = Join {
                    client: client.as_str().into(),
                    ack: if is_explicit { AckMode::Explicit } else { AckMode::Puback },
                    is_at_most_once,
                    prefetch: u16::from(prefetch % 4),
                    receive_maximum: 8,
                    unacknowledged: 0,
                    resumes: (prefetch > 127).then_some(self.consumers.last()).flatten().map(|(_, id)| *id),
                    is_online: true,
                };
                let id = self.queue.with(part, |queue| queue.join(join));
                self.consumers.push((part, id));
                self.clients.insert(id, client);
            }
            Operation::Leave(which) => {
                if let Some((part, id)) = pick(&self.consumers, which) {
                    self.queue.with(part, |queue| queue.leave(id, now));
                }
            }
            Operation::Retire(which) => {
                if let Some((part, id)) = pick(&self.consumers, which) {
                    self.queue.with(part, |queue| queue.retire(id));
                }
            }
            Operation::Unanswered(which, is_sent) => {
                if let Some((part, Delivery { consumer, lease, .. })) = pick(&self.deliveries, which) {
                    self.queue.with(part, |queue| {
                        if is_sent { queue.unanswered(consumer, lease) } else { queue.unsent(consumer, lease, now) }
                    });
                }
            }
            Operation::Online(which, is_online) => {
                if let Some((part, id)) = pick(&self.consumers, which) {
                    self.queue.with(part, |queue| queue.set_online(id, is_online));
                }
            }
            Operation::Deliver(is_dead, room) => {
                let part = if is_dead { Part::Dead } else { Part::Main };
                let of_part = self.consumers.iter().filter(|(other, _)| *other == part);
                let all: Vec<_> = of_part.map(|(_, id)| *id).collect();
                let delivery = self.queue.with(part, |queue| {
                    for id in all {
                        queue.set_shared(id, room != Room::Unasked);
                        queue.set_on_hold(id, false);
                    }
                    queue.poll_delivery(now, |_| room == Room::Free)
                });
                assert!(room != Room::Full || delivery.is_none());
                self.deliveries.extend(delivery.map(|delivery| (part, delivery)));
            }
            Operation::Acknowledge(which, code) => {
                if let Some((part, delivery)) = pick(&self.deliveries, which) {
                    let code = CODES[usize::from(code) % CODES.len()];
                    self.queue.with(part, |queue| queue.acknowledged(delivery.consumer, delivery.lease, code, now));
                }
            }
            Operation::Settle(which, how, client) => self.settle(which, how, client),
            Operation::Wait(millis) => {
                self.now = UnixMillis(now.0 + u64::from(millis));
                self.queue.handle_timeout(self.now);
            }
            Operation::Pause(true) => self.queue.with(Part::Main, |queue| queue.pause()),
            Operation::Pause(false) => self.queue.with(Part::Main, |queue| queue.resume()),
            Operation::Redrive(which) => {
                let which = match which {
                    0 => Which::All,
                    1..10 => Which::First(which.into()),
                    _ => Which::One(which.into()),
                };
                self.queue.redrive(which, now);
            }
            Operation::Delete(seq) => _ = self.queue.with(Part::Main, |queue| queue.delete(seq.into())),
            Operation::Purge(is_dead) => {
                _ = self.queue.with(if is_dead { Part::Dead } else { Part::Main }, |queue| queue.purge(u64::MAX, usize::MAX));
            }
            Operation::Unblock => {
                let keys: Vec<_> = self.queue.part(Part::Main).blocked_keys().map(|(key, _)| key).collect();
                keys.into_iter().for_each(|key| _ = self.queue.with(Part::Main, |queue| queue.unblock(key)));
            }
            Operation::Restart => self.restart(),
        }
        self.write();
    }

    fn settle(&mut self, which: u8, how: u8, client: u8) {
        let Some((part, delivery)) = pick(&self.deliveries, which) else { return };
        let Some(tag) = delivery.tag else { return };
        let settle = match how % 5 {
            0 => Settle::Ack,
            1 => Settle::Nack(None),
            2 => Settle::Nack(Some(Duration::from_secs(how.into()))),
            3 => Settle::Reject,
            _ => Settle::Extend(Duration::from_secs(how.into())),
        };
        let client = match self.clients.get(&delivery.consumer) {
            Some(client_id) if client < 200 => client_id.clone(),
            _ => format!("client{}", client % 4),
        };
        let now = self.now;
        let _ = self.queue.with(part, |queue| queue.settle(&client, tag, settle, now));
    }

    fn write(&mut self) {
        while let Some((part, change)) = self.queue.poll_change() {
            let mut bytes = Vec::new();
            let mut bare = change.clone().map_body(|_| ());
            bare.write(&mut bytes);
            // The body of what is settled is not said.
            if let Change::Settled { body, .. } = &mut bare {
                *body = None;
            }
            assert_eq!(Change::read(&bytes), Ok(bare));
            self.journal.push((part, change));
        }
    }

    fn restored(&self) -> WorkQueue<u32> {
        let mut restore = Restore::new();
        self.journal.iter().for_each(|(part, change)| restore.apply(*part, change.clone()));
        restore.finish(self.config.name.clone().unwrap(), self.config.clone(), secret(), 2, self.now)
    }

    /// What a restart finds, once all is told that is told later.
    fn check(&mut self) -> WorkQueue<u32> {
        self.queue.tell_leases();
        self.write();
        let restored = self.restored();
        assert_eq!(messages(&restored), messages(&self.queue));
        restored
    }

    fn restart(&mut self) {
        self.queue = self.check();
        self.consumers.clear();
    }
}

fn pick<T: Clone>(all: &[T], which: u8) -> Option<T> {
    all.get(usize::from(which).checked_rem(all.len())?).cloned()
}

fn messages(queue: &WorkQueue<u32>) -> Vec<(Part, Change<u32>)> {
    let mut all: Vec<_> = queue.snapshot().filter(|(_, change)| matches!(change, Change::Enqueued(_))).collect();
    all.sort_by_key(|(part, change)| (*part == Part::Dead, change.seq()));
    all
}

fuzz_target!(|case: Case| {
    let overflows = [Overflow::RejectPublish, Overflow::DropOldest, Overflow::DeadLetter];
    let mut world = World::new(Config {
        max_deliveries: 3,
        max_messages: 12,
        max_busy: 2,
        backoff: Backoff::List(vec![Span::seconds(1)]),
        on_dead: if case.blocks { OnDead::Block } else { OnDead::Skip },
        expired: if case.drops_expired { Expired::Drop } else { Expired::DeadLetter },
        overflow: overflows[usize::from(case.overflow) % 3],
        ..Config::named(QueueName::new("jobs").unwrap())
    });
    for operation in case.operations {
        world.apply(operation);
        assert!(world.queue.part(Part::Main).len() <= 12);
    }
    world.check();
});
