//! What was published, what consumers saw of it and answered, and what must not be.

use std::collections::{BTreeMap, BTreeSet};

use super::MAX_DELIVERIES;
use super::worker::Got;
use crate::packet::QoS;

pub(super) type Number = usize;

/// A message that was published.
pub(super) struct Told {
    pub topic: &'static str,
    pub qos: QoS,
    pub publisher: usize,
    /// What its topic begins with: deduplication, delay.
    pub prefix: String,
    pub is_acknowledged: bool,
    /// It must not be there twice, however often it was sent.
    pub is_once: bool,
    pub is_delayed: bool,
}

/// One queue, as it looks from outside.
pub(super) struct Ledger {
    has_keys: bool,
    /// Whether the order is still that of publishing: a redrive ends that.
    is_ordered: bool,
    pub is_draining: bool,
    /// Some consumer said that it is done.
    pub done: BTreeSet<Number>,
    /// The same, in this life of the broker.
    settled: BTreeSet<Number>,
    /// Taken from the dead letters, at the end.
    pub dead: BTreeSet<Number>,
    /// Names (`q-id`) under which a message came after its publisher had its acknowledgement.
    names: BTreeMap<Number, BTreeSet<String>>,
    /// Per name and attempt: how often it came, and how often that did not count.
    deliveries: BTreeMap<(String, u32), (u32, u32)>,
    /// Per key: who has its message.
    held: BTreeMap<&'static str, Held>,
    /// Per publisher and key: the message that came first last.
    last: BTreeMap<(usize, &'static str), Number>,
    seen: BTreeSet<Number>,
    /// What the last consumers have taken, each name once.
    taken: BTreeSet<String>,
}

struct Held {
    number: Number,
    worker: &'static str,
    /// Milliseconds since the epoch.
    until: u64,
}

impl Ledger {
    pub fn new(has_keys: bool) -> Self {
        Self {
            has_keys,
            is_ordered: true,
            is_draining: false,
            done: BTreeSet::new(),
            settled: BTreeSet::new(),
            dead: BTreeSet::new(),
            names: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            held: BTreeMap::new(),
            last: BTreeMap::new(),
            seen: BTreeSet::new(),
            taken: BTreeSet::new(),
        }
    }

    /// Who had something is not known any more.
    pub fn crashed(&mut self) {
        self.held.clear();
        self.settled.clear();
    }

    /// Attempts begin anew for what came back.
    pub fn redriven(&mut self) {
        self.deliveries.clear();
        self.is_ordered = false;
    }

    /// A session has ended: what it had can be had by others.
    pub fn left(&mut self, worker: &'static str) {
        self.held.retain(|_, held| held.worker != worker);
    }

    /// A consumer got a message, not for the second time under the same packet identifier.
    pub fn delivered(&mut self, worker: &'static str, got: &Got, told: &[Told], wall: u64) {
        let message = &told[got.number];
        if let Some(name) = &got.name {
            if message.is_acknowledged {
                let names = self.names.entry(got.number).or_default();
                names.insert(name.clone());
                assert!(names.len() == 1 || !message.is_once, "{} was enqueued as {names:?}", got.number);
            }
            let (count, uncounted) = self.deliveries.entry((name.clone(), got.attempt)).or_default();
            *count += 1;
            assert!(got.attempt <= MAX_DELIVERIES, "attempt {} of {}", got.attempt, got.number);
            // The record of a first one may be lost.
            let is_allowed = got.attempt == 1 || *count <= 1 + *uncounted;
            assert!(is_allowed, "{} came {count} times as attempt {}", got.number, got.attempt);
        }
        if !self.has_keys {
            return;
        }
        // It was on its way when a late acknowledgement of its last lease settled it: its key has gone on.
        if self.settled.contains(&got.number) {
            return;
        }
        let held = Held { number: got.number, worker, until: got.deadline.unwrap_or(wall) };
        if let Some(before) = self.held.insert(message.topic, held) {
            let (number, holder, until) = (before.number, before.worker, before.until);
            assert!(until <= wall, "{} comes while {holder} has {number} until {until}, and it is {wall}", got.number);
        }
        if self.seen.insert(got.number) && self.is_ordered && !message.is_delayed {
            let last = self.last.insert((message.publisher, message.topic), got.number);
            assert!(last.is_none_or(|last| last < got.number), "{} comes after {last:?}", got.number);
        }
    }

    /// The consumer is done with it.
    pub fn succeeded(&mut self, got: &Got) {
        self.done.insert(got.number);
        self.settled.insert(got.number);
        self.let_go(got.number);
        self.take(got);
    }

    /// The consumer does not want it.
    pub fn refused(&mut self, got: &Got, counts: bool) {
        if let (false, Some(name)) = (counts, &got.name) {
            self.deliveries.entry((name.clone(), got.attempt)).or_default().1 += 1;
        }
        self.let_go(got.number);
    }

    /// It was taken from the dead letters.
    pub fn buried(&mut self, got: &Got) {
        self.dead.insert(got.number);
        self.take(got);
    }

    fn let_go(&mut self, number: Number) {
        self.held.retain(|_, held| held.number != number);
    }

    fn take(&mut self, got: &Got) {
        if let (true, Some(name)) = (self.is_draining, &got.name) {
            assert!(self.taken.insert(name.clone()), "{} is done and dead, or twice one of them", got.number);
        }
    }
}
