use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::change::{Change, Record};
use super::config::Config;
use super::consumer::ConsumerId;
use super::consumers::Consumers;
use super::dead_letter::DeadLetter;
use super::dedup::Dedup;
use super::entries::Entries;
use super::entry::{Course, Entry, State};
use super::names::Names;
use super::random::Random;
use super::ready::Ready;
use super::stats::{Counters, Stats};
use super::tag::{Secret, Tag, purpose};
use super::time::UnixMillis;
use super::topics::{Part, QueueRef};
use super::untold::UntoldLease;
use super::{Key, QueueName};

/// A work queue: each message goes to one consumer at a time and stays until that consumer is done with it.
///
/// No sockets, no clock: events and `now` go in by `enqueue`, `acknowledged`, `settle`, `handle_timeout` and so on; out come the
/// deliveries ([`Self::poll_delivery`], after each event until there is none) and the changes that must outlive a crash
/// ([`super::WorkQueue::poll_change`]). `B` says where a message is kept; it is cloned into changes and deliveries.
///
/// A queue and the one for its dead letters belong together: see [`super::WorkQueue`], which is how they are used.
#[derive(Debug)]
pub struct Queue<B> {
    pub(super) name: QueueName,
    pub(super) part: Part,
    pub(super) config: Config,
    pub(super) secret: Secret,
    pub(super) random: Random,
    /// The latest moment that it was told.
    pub(super) now: UnixMillis,
    pub(super) next_seq: u64,
    /// Numbers below this may be given out without saying so.
    pub(super) reserved: u64,
    pub(super) is_paused: bool,
    pub(super) entries: Entries<B>,
    pub(super) ready: Ready,
    pub(super) consumers: Consumers,
    pub(super) names: Names,
    /// Per message: the consumers that are not to get it.
    pub(super) excluded: HashMap<u64, SmallVec<[ConsumerId; 2]>>,
    pub(super) dedup: Dedup,
    pub(super) counters: Counters,
    /// What must outlive a crash, in the order in which it happened: [`super::WorkQueue`] hands it on.
    pub(super) changes: VecDeque<(Part, Change<B>)>,
    /// The oldest first.
    pub(super) untold: VecDeque<UntoldLease>,
    /// Among the dead letters: their stories.
    pub(super) letters: HashMap<u64, Arc<DeadLetter>>,
    /// Messages that have died and are to be put among the dead letters.
    pub(super) dead: VecDeque<Record<B>>,
}

impl<B: Clone> Queue<B> {
    /// An empty queue. `seed` is for jitter and lots; the secret must be the one of the data directory.
    pub(super) fn new(name: QueueName, part: Part, config: Config, secret: Secret, seed: u64, now: UnixMillis) -> Self {
        Self {
            consumers: Consumers::new(config.strategy),
            name,
            part,
            config,
            secret,
            random: Random::new(seed),
            now,
            next_seq: 1,
            reserved: 1,
            is_paused: false,
            entries: Entries::new(now),
            ready: Ready::default(),
            names: Names::new(),
            excluded: HashMap::new(),
            dedup: Dedup::default(),
            counters: Counters::default(),
            changes: VecDeque::new(),
            untold: VecDeque::new(),
            letters: HashMap::new(),
            dead: VecDeque::new(),
        }
    }

    pub fn name(&self) -> &QueueName {
        &self.name
    }

    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Messages in it, leased and delayed ones included.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Of the messages in it: topic, properties and payload.
    pub const fn bytes(&self) -> u64 {
        self.entries.bytes()
    }

    /// All messages here have lower ones.
    pub const fn next_number(&self) -> u64 {
        self.next_seq
    }

    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub const fn is_paused(&self) -> bool {
        self.is_paused
    }

    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn stats(&self, now: UnixMillis) -> Stats {
        let oldest = self.entries.oldest().map(|id| self.entries.slab[id].enqueued_at);
        Stats {
            depth: self.entries.len() as u64,
            bytes: self.entries.bytes(),
            leased: self.entries.leased() as u64,
            delayed: self.entries.waiting() as u64,
            oldest_age: oldest.map(|oldest| now.since(oldest)).unwrap_or_default(),
            consumers: self.consumers.len() as u64,
            keys: self.ready.keys() as u64,
            blocked_keys: self.ready.blocked.len() as u64,
            dedup_ids: self.dedup.len() as u64,
            is_paused: self.is_paused,
            counters: self.counters.clone(),
        }
    }

    /// Takes other settings. Bounds and times hold from the next message or lease on; nothing that is here is dropped for them.
    pub fn set_config(&mut self, config: Config) {
        self.consumers.set_strategy(config.strategy);
        self.config = config;
    }

    /// What stands for an ordering key here.
    pub fn key_of(&self, text: &str) -> Key {
        Key(self.secret.hash(purpose::KEY, &[self.name.as_str().as_bytes(), text.as_bytes()]))
    }

    /// How topics name it.
    pub fn reference(&self) -> QueueRef<'_> {
        QueueRef { name: self.name.as_str(), part: self.part }
    }

    /// Time never goes back in a queue.
    pub(super) fn advance(&mut self, now: UnixMillis) -> UnixMillis {
        self.now = self.now.max(now);
        self.now
    }

    /// Queue and client, as the tags of that client have them.
    pub(super) fn place_of(&self, client: &str) -> u64 {
        let part = [match self.part {
            Part::Main => 0,
            Part::Dead => 1,
        }];
        self.secret.hash(purpose::PLACE, &[&part, self.name.as_str().as_bytes(), client.as_bytes()])
    }

    pub(super) fn tag_is_of(&self, tag: &Tag, client: &str) -> bool {
        Tag::new(tag.lease, self.place_of(client), &self.secret) == *tag
    }

    /// Takes a message out of everything.
    pub(super) fn take(&mut self, id: u32) -> (Entry<B>, Course) {
        self.end_lease(id);
        self.ready.remove(&mut self.entries, id);
        let (entry, course) = self.entries.remove(id);
        if course.has_excluded {
            self.excluded.remove(&entry.seq);
        }
        (entry, course)
    }

    /// The client that has a message, or had it last.
    pub(super) fn last_client(&self, entry: &Entry<B>) -> Option<&Arc<str>> {
        let holder = self.entries.course_of(entry).holder;
        match entry.state {
            State::Leased => Some(&self.consumers.get(holder).client),
            _ => self.names.get(holder),
        }
    }
}
