//! Random operations and crashes on a queue, watched by the model that knows what the changes say, and by what a consumer sees from
//! outside.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Strategy, *};

use super::fuzzy::{Shown, Walk};
use super::told::{Model, Told};
use super::*;

#[derive(Clone, Debug)]
enum Operation {
    Enqueue {
        key: Option<u8>,
        dedup: Option<u8>,
        delay: u8,
        lifetime: Option<u8>,
    },
    Join {
        client: u8,
        prefetch: u16,
        is_explicit: bool,
        is_at_most_once: bool,
        /// As one that has retired before, if that is the last.
        resumes: bool,
    },
    Leave(prop::sample::Index),
    Retire(prop::sample::Index),
    /// A session lets go of a packet: sent, or not.
    LetGo {
        which: prop::sample::Index,
        is_sent: bool,
    },
    Disconnect(prop::sample::Index),
    /// So many deliveries are made.
    Deliver(u8),
    /// A consumer acknowledges a packet that it has.
    Ack {
        which: prop::sample::Index,
        code: u8,
    },
    /// A client uses the tag of a lease that it has or had.
    UseTag {
        which: prop::sample::Index,
        settle: Settle,
    },
    Wait(u16),
    Pause(bool),
    Redrive(Which),
    Delete(prop::sample::Index),
    Purge,
    Unblock,
    SetMax {
        deliveries: u32,
        messages: u64,
    },
    /// The process dies; of what nobody had to wait for, a part is lost.
    Crash(prop::sample::Index),
    /// The journal writes its live records anew.
    Compact,
    /// A checkpoint goes on by some pieces, or begins.
    Show {
        pieces: u8,
        count: u32,
        at_most: usize,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let codes = prop::sample::select(vec![0, 0, 0, 0x80, 0x83, 0x87, 0x97, 0x90, 0x99]);
    let delay = prop_oneof![4 => Just(0_u8), 1 => 1..5_u8];
    let settle = prop_oneof![
        3 => Just(Settle::Ack),
        1 => Just(Settle::Nack(None)),
        1 => Just(Settle::Nack(Some(Duration::from_secs(2)))),
        1 => Just(Settle::Reject),
        1 => Just(Settle::Extend(Duration::from_secs(20))),
    ];
    let which = prop_oneof![Just(Which::All), (1..3_usize).prop_map(Which::First), (1..30_u64).prop_map(Which::One)];
    let lifetime = prop::option::weighted(0.1, 1..20_u8);
    prop_oneof![
        12 => (prop::option::weighted(0.7, 0..4_u8), prop::option::weighted(0.2, 0..5_u8), delay, lifetime)
            .prop_map(|(key, dedup, delay, lifetime)| Enqueue { key, dedup, delay, lifetime }),
        4 => (0..4_u8, 1..4_u16, any::<bool>(), prop::bool::weighted(0.1), any::<bool>())
            .prop_map(|(client, prefetch, is_explicit, is_at_most_once, resumes)| Join { client, prefetch, is_explicit, is_at_most_once, resumes }),
        1 => any::<prop::sample::Index>().prop_map(Leave),
        1 => any::<prop::sample::Index>().prop_map(Retire),
        2 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(which, is_sent)| LetGo { which, is_sent }),
        1 => any::<prop::sample::Index>().prop_map(Disconnect),
        10 => (1..5_u8).prop_map(Deliver),
        10 => (any::<prop::sample::Index>(), codes).prop_map(|(which, code)| Ack { which, code }),
        6 => (any::<prop::sample::Index>(), settle).prop_map(|(which, settle)| UseTag { which, settle }),
        6 => (0..12_000_u16).prop_map(Wait),
        1 => any::<bool>().prop_map(Pause),
        3 => which.prop_map(Redrive),
        1 => any::<prop::sample::Index>().prop_map(Delete),
        1 => prop::bool::weighted(0.1).prop_map(|purge| if purge { Purge } else { Unblock }),
        1 => (0..4_u32, 3..20_u64).prop_map(|(deliveries, messages)| SetMax { deliveries, messages }),
        3 => any::<prop::sample::Index>().prop_map(Crash),
        1 => Just(Compact),
        12 => (1..4_u8, 1..6_u32, 1..6_usize).prop_map(|(pieces, count, at_most)| Show { pieces, count, at_most }),
    ]
}

struct Watch {
    world: World,
    model: Model,
    /// How many changes the model has seen.
    watched: usize,
    /// How many changes are on the disk for certain.
    synced: usize,
    consumers: Vec<ConsumerId>,
    /// The last that has retired in this life.
    retired: Option<ConsumerId>,
    clients: BTreeMap<ConsumerId, String>,
    /// Packets that are not acknowledged.
    packets: Vec<Delivery<u32>>,
    /// All deliveries with a tag, of this and earlier lives.
    tags: Vec<(String, Delivery<u32>)>,
    published: u32,
    dedup_ids: BTreeMap<u8, UnixMillis>,
    /// Per message and attempt: how often a consumer got it as that attempt.
    deliveries: BTreeMap<(u64, u32), u32>,
    /// Per message: how often a crash took the record of a first delivery.
    lost: BTreeMap<u64, u32>,
    /// What the journal said of attempts before its live records were written anew.
    uncounted: BTreeMap<(u64, u32), u32>,
    /// What checkpoints would have seen, each between two operations or over several of them.
    shown: Vec<Shown>,
    /// One that is being made.
    walk: Option<Walk>,
}

impl Watch {
    fn new(config: Config) -> Self {
        Self {
            world: world(config),
            model: Model::default(),
            watched: 0,
            synced: 0,
            consumers: Vec::new(),
            retired: None,
            clients: BTreeMap::new(),
            packets: Vec::new(),
            tags: Vec::new(),
            published: 0,
            dedup_ids: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            lost: BTreeMap::new(),
            uncounted: BTreeMap::new(),
            shown: Vec::new(),
            walk: None,
        }
    }

    fn apply(&mut self, operation: Operation) {
        let now = self.world.now;
        match operation {
            Operation::Enqueue { key, dedup, delay, lifetime } => self.enqueue(key, dedup, delay, lifetime),
            Operation::Join { client, prefetch, is_explicit, is_at_most_once, resumes } => {
                let ack = if is_explicit { AckMode::Explicit } else { AckMode::Puback };
                let resumes = self.retired.take_if(|_| resumes && !is_at_most_once);
                let client = resumes.map_or_else(|| format!("client{client}"), |retired| self.clients[&retired].clone());
                let join = Join { ack, is_at_most_once, prefetch, receive_maximum: prefetch, resumes, ..join(&client) };
                let id = self.world.join_as(join);
                self.consumers.push(id);
                self.clients.insert(id, client);
            }
            Operation::Leave(which) if !self.consumers.is_empty() => {
                let id = self.consumers.swap_remove(which.index(self.consumers.len()));
                self.world.with(|queue| queue.leave(id, now));
                self.packets.retain(|packet| packet.consumer != id);
            }
            Operation::Retire(which) if !self.consumers.is_empty() => {
                let id = self.consumers.swap_remove(which.index(self.consumers.len()));
                self.world.with(|queue| queue.retire(id));
                self.retired = Some(id);
            }
            Operation::LetGo { which, is_sent } if !self.packets.is_empty() => {
                let packet = self.packets.swap_remove(which.index(self.packets.len()));
                self.world.with(|queue| match is_sent {
                    true => queue.unanswered(packet.consumer, packet.lease),
                    false => queue.unsent(packet.consumer, packet.lease, now),
                });
            }
            Operation::Disconnect(which) if !self.consumers.is_empty() => {
                let id = self.consumers[which.index(self.consumers.len())];
                self.world.with(|queue| queue.set_online(id, false));
                self.world.with(|queue| queue.set_online(id, true));
            }
            Operation::Deliver(count) => (0..count).for_each(|_| self.deliver()),
            Operation::Ack { which, code } if !self.packets.is_empty() => {
                let packet = self.packets.swap_remove(which.index(self.packets.len()));
                self.world.ack(&packet, code);
            }
            Operation::UseTag { which, settle } if !self.tags.is_empty() => {
                let (client, delivery) = self.tags[which.index(self.tags.len())].clone();
                let result = self.world.settle(&client, &delivery, settle);
                let is_there = self.model.live.contains_key(&delivery.lease.seq);
                assert!(result.is_err() || is_there, "what is gone cannot be settled");
                assert_ne!(result, Err(SettleError::Unknown));
            }
            Operation::Wait(millis) => self.world.wait(millis.into()),
            Operation::Pause(true) => self.world.with(Queue::pause),
            Operation::Pause(false) => self.world.with(Queue::resume),
            Operation::Redrive(which) => {
                self.world.queue.redrive(which, now);
                self.world.write();
                self.synced = self.world.journal.len();
            }
            Operation::Delete(which) if !self.model.live.is_empty() => {
                let seq = *which.get(&self.model.live.keys().copied().collect::<Vec<_>>());
                assert!(self.world.with(|queue| queue.delete(seq)));
            }
            Operation::Purge => self.world.with(|queue| {
                queue.purge(u64::MAX, usize::MAX);
                queue.unblock_some(usize::MAX);
            }),
            Operation::Unblock => {
                let keys: Vec<_> = self.model.blocked.iter().copied().collect();
                keys.into_iter().for_each(|key| assert!(self.world.with(|queue| queue.unblock(key))));
            }
            Operation::SetMax { deliveries, messages } => {
                let config = self.world.queue.part(Part::Main).config().clone();
                self.world.queue.set_config(Config { max_deliveries: deliveries, max_messages: messages, ..config });
            }
            Operation::Crash(which) => self.crash(which),
            Operation::Compact => self.compact(),
            Operation::Show { pieces, count, at_most } => (0..pieces).for_each(|_| self.show(count, at_most)),
            _ => {}
        }
        self.watch();
        self.check();
        if self.world.journal.len().is_multiple_of(2) {
            self.world.tell_leases();
            self.watch();
        }
        // It is compared with what the journal alone says, also after a crash that took the news of a lease with it.
        if self.untold() == 0 {
            self.shown.push(Shown::of(&self.world));
        }
    }

    fn enqueue(&mut self, key: Option<u8>, dedup: Option<u8>, delay: u8, lifetime: Option<u8>) {
        let now = self.world.now;
        let (key, id) = (key.map(|key| format!("key{key}")), dedup.map(|id| format!("id{id}")));
        let seen = dedup.and_then(|id| self.dedup_ids.get(&id)).is_some_and(|at| at.plus(Duration::from_secs(20)) > now);
        let result = self.world.enqueue(Enqueue {
            key: key.as_deref(),
            dedup_id: id.as_deref(),
            delay: Duration::from_secs(delay.into()),
            expires_at: lifetime.map(|seconds| now.plus(Duration::from_secs(seconds.into()))),
            ..message(self.published)
        });
        self.published += 1;
        assert_eq!(result == Ok(Enqueued::Duplicate), seen);
        if let (Ok(Enqueued::Stored { .. }), Some(id)) = (result, dedup) {
            self.dedup_ids.insert(id, now);
        }
        if result.is_ok() {
            // The publisher has its acknowledgement, so this is on the disk.
            self.synced = self.world.journal.len();
        }
    }

    fn deliver(&mut self) {
        let Some(delivery) = self.world.next() else { return };
        let max = self.world.queue.part(Part::Main).config().max_deliveries;
        assert!(max == 0 || delivery.attempt <= max, "attempt {} of {max}", delivery.attempt);
        // The journal holds the lease already; what was before it is what the model still shows.
        self.watch_until_delivery(delivery.lease.seq);
        assert!(!self.model.is_paused);
        let seq = delivery.lease.seq;
        let told = &self.model.live[&seq];
        assert_eq!((told.body, told.attempts + 1, told.is_leased), (delivery.body, delivery.attempt, false));
        if let Some(key) = told.key {
            assert!(!self.model.blocked.contains(&key));
            let is_before = |other: &Told| other.key == told.key && other.order < told.order && !other.is_out_of_order;
            let passed = self.model.live.values().find(|other| is_before(other));
            assert!(told.is_out_of_order || passed.is_none(), "{told:?} passed {passed:?}");
        }
        if delivery.tag.is_some() {
            self.packets.push(delivery.clone());
            let client = self.clients[&delivery.consumer].clone();
            *self.deliveries.entry((seq, delivery.attempt)).or_default() += 1;
            self.tags.push((client, delivery.clone()));
        }
        if delivery.attempt > 1 {
            self.synced = self.world.journal.len();
        }
    }

    /// Reads what is new in the journal, up to the delivery that has just been made.
    fn watch_until_delivery(&mut self, delivered: u64) {
        let is_it = |(part, change): &(Part, Change<u32>)| match change {
            Change::Leased { seq, .. } | Change::Settled { seq, .. } => *part == Part::Main && *seq == delivered,
            _ => false,
        };
        // A first delivery leaves none yet.
        let news = &self.world.journal[self.watched..];
        let end = self.watched + news.iter().rposition(is_it).unwrap_or(news.len());
        self.watch_up_to(end);
    }

    fn watch(&mut self) {
        let end = self.world.journal.len();
        self.watch_up_to(end);
    }

    fn watch_up_to(&mut self, end: usize) {
        for (part, change) in &self.world.journal[self.watched..end] {
            if let Change::Redriven { seq, .. } = change {
                // What comes back from the dead starts anew.
                self.deliveries.retain(|(other, _), _| other != seq);
            }
            self.model.apply(*part, change);
        }
        self.watched = self.watched.max(end);
    }

    fn crash(&mut self, which: prop::sample::Index) {
        self.world.tell_leases();
        self.watch();
        let length = self.world.journal.len();
        let written = self.synced + which.index(length - self.synced + 1);
        // First deliveries whose record is lost may be made again, and so may those that were over before there was one.
        let mut leased = BTreeSet::new();
        for (part, change) in &self.world.journal[written..] {
            match (part, change) {
                (Part::Main, Change::Leased { seq, attempts, .. }) => {
                    assert_eq!(*attempts, 1, "a redelivery was not waited for");
                    leased.insert(*seq);
                    *self.lost.entry(*seq).or_default() += 1;
                }
                (Part::Main, Change::Returned { seq, .. }) => _ = leased.remove(seq),
                (Part::Main, Change::Settled { seq, .. } | Change::Dropped { seq, .. }) if !leased.contains(seq) => {
                    *self.lost.entry(*seq).or_default() += 1
                }
                _ => {}
            }
        }
        self.shown.retain(|shown| shown.is_of(written));
        self.walk = None;
        self.world.restart_with(written);
        self.model = Model { uncounted: self.uncounted.clone(), ..Model::default() };
        self.world.journal.iter().for_each(|(part, change)| self.model.apply(*part, change));
        (self.watched, self.synced) = (written, written);
        self.consumers.clear();
        self.retired = None;
        self.packets.clear();
    }

    fn show(&mut self, count: u32, at_most: usize) {
        self.world.tell_leases();
        let mut walk = self.walk.take().unwrap_or_else(|| Walk::begin(&self.world));
        if walk.go_on(&mut self.world, count, at_most) {
            self.walk = Some(walk);
        } else {
            self.shown.push(walk.end(&self.world));
        }
    }

    fn compact(&mut self) {
        self.world.tell_leases();
        self.watch();
        self.shown.clear();
        self.walk = None;
        let before = self.model.clone();
        self.world.journal = self.world.queue.snapshot().collect();
        // By their age, as the model knows them; to a restart it is the same.
        self.world.journal.sort_by_key(|(part, change)| match change {
            Change::Enqueued(record) => (1, *part == Part::Dead, record.enqueued_at, record.seq),
            _ => (0, false, UnixMillis(0), 0),
        });
        self.model = Model::of(&self.world.journal);
        (self.watched, self.synced) = (self.world.journal.len(), self.world.journal.len());
        let told = |side: &BTreeMap<u64, Told>| -> Vec<_> {
            side.iter().map(|(seq, told)| (*seq, told.body, told.key, told.attempts, told.is_leased)).collect()
        };
        assert_eq!((told(&self.model.live), told(&self.model.dead)), (told(&before.live), told(&before.dead)));
        assert_eq!((&self.model.blocked, self.model.is_paused), (&before.blocked, before.is_paused));
        // A copy has lost what the model knew of places.
        for (seq, told) in &mut self.model.live {
            told.is_out_of_order = before.live[seq].is_out_of_order;
            told.order = before.live[seq].order;
        }
        self.model.count = before.count;
        self.uncounted.clone_from(&before.uncounted);
        self.model.uncounted = before.uncounted;
    }

    /// Leases that the journal has not been told of yet.
    fn untold(&self) -> usize {
        let entries = &self.world.queue.part(Part::Main).entries;
        entries.iter().filter(|entry| entries.course_of(entry).is_untold).count()
    }

    fn check(&self) {
        let queue = self.world.queue.part(Part::Main);
        let numbers =
            |part| -> BTreeSet<u64> { self.world.queue.part(part).peek(None, 1000).iter().map(|peeked| peeked.seq).collect() };
        assert_eq!(numbers(Part::Main), self.model.live.keys().copied().collect());
        assert_eq!(numbers(Part::Dead), self.model.dead.keys().copied().collect());
        let stats = queue.stats(self.world.now);
        assert_eq!(stats.leased as usize, self.untold() + self.model.live.values().filter(|told| told.is_leased).count());
        assert_eq!(stats.bytes, 10 * stats.depth);
        assert!(stats.consumers as usize <= self.consumers.len() + 1); // The last one drains it.
        let keys: BTreeSet<_> = self.model.live.values().filter_map(|told| told.key).collect();
        assert_eq!((stats.keys as usize, stats.blocked_keys as usize), (keys.len(), self.model.blocked.len()));
        for ((seq, attempt), count) in &self.deliveries {
            let lost = if *attempt == 1 { self.lost.get(seq).copied().unwrap_or(0) } else { 0 };
            let uncounted = self.model.uncounted.get(&(*seq, *attempt)).copied().unwrap_or(0);
            assert!(*count <= 1 + lost + uncounted, "{seq} was delivered {count} times as attempt {attempt}");
        }
    }

    /// Everything that can be done is done: then nothing is left.
    fn drain(&mut self) {
        self.world.with(Queue::resume);
        let id = self.world.join_as(Join { prefetch: 100, receive_maximum: 100, ..join("last") });
        self.clients.insert(id, "last".into());
        for _ in 0..200 {
            self.world.wait(5_000);
            let keys: Vec<_> = self.world.queue.part(Part::Main).blocked_keys().collect();
            keys.into_iter().for_each(|(key, _)| assert!(self.world.with(|queue| queue.unblock(key))));
            for _ in 0..100 {
                self.deliver();
                self.watch();
            }
            for packet in std::mem::take(&mut self.packets) {
                if packet.consumer == id {
                    self.world.ack(&packet, 0);
                }
            }
        }
        self.watch();
        self.check();
        assert!(self.model.live.is_empty(), "left behind: {:?}", self.model.live);
    }

    /// Whatever part of the journal is there, the queue is what it says.
    fn check_every_beginning(&mut self) {
        let journal = self.world.journal.clone();
        let deliveries = std::mem::take(&mut self.deliveries);
        for written in 0..=journal.len() {
            self.world.journal.clone_from(&journal);
            self.world.restart_with(written);
            self.model = Model::of(&self.world.journal);
            self.watched = written;
            self.check();
        }
        self.deliveries = deliveries;
        for (attempt, count) in &self.uncounted {
            *self.model.uncounted.entry(*attempt).or_default() += count;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 5000 }))]

    #[test]
    fn every_message_is_done_once_or_dead_once_or_still_there(
        operations in prop::collection::vec(operation(), 1..150),
        on_dead in prop_oneof![Just(OnDead::Skip), Just(OnDead::Block)],
        overflow in prop::sample::select(vec![Overflow::RejectPublish, Overflow::DropOldest, Overflow::DeadLetter]),
        strategy in prop::sample::select(vec![super::Strategy::LeastInflight, super::Strategy::RoundRobin, super::Strategy::Random]),
        expired in prop::sample::select(vec![Expired::Drop, Expired::DeadLetter]),
        dead_letter in prop::bool::weighted(0.8),
        (seed, every) in (any::<u64>(), prop::bool::weighted(0.05)),
    ) {
        let mut watch = Watch::new(Config {
            max_deliveries: 3,
            max_messages: 12,
            max_busy: 2,
            on_dead,
            overflow: if dead_letter { overflow } else { Overflow::DropOldest },
            expired: if dead_letter { expired } else { Expired::Drop },
            strategy,
            dead_letter,
            dedup_window: Span::seconds(20),
            ..config()
        });
        for operation in operations {
            watch.apply(operation);
        }
        watch.world.tell_leases();
        fuzzy::check(&watch.world, &watch.shown, seed, every);
        watch.check_every_beginning();
        watch.packets.clear();
        watch.drain();
    }
}
