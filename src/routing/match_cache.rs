use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::matches::Matches;
use super::subscriber::Subscriber;
use crate::packet::TopicName;

/// The matches of the topics that one thread meets often, so that a repeated topic costs one hash and one look.
///
/// A table of fixed size, in sets of four. A topic is let in when it is missed for the second time in a row at its place, so topics that
/// come once (or endless new ones of a hostile publisher) neither push out the others nor cost memory. It holds clones of subscribers,
/// stale ones too, until their place is swept or used again: [`MatchCache::clear`] lets go of all.
pub struct MatchCache<S> {
    /// Made at the first use: as many as `entries`, in sets of [`WAYS`].
    slots: Vec<Option<Slot<S>>>,
    /// By set: the hash that was missed last.
    knocked: Vec<u64>,
    entries: usize,
    bytes: usize,
    bytes_max: usize,
    /// The slot to look at next when stale ones are swept.
    hand: usize,
    nothing: Arc<Matches<S>>,
    hasher: RandomState,
}

struct Slot<S> {
    hash: u64,
    generation: u64,
    topic: Box<str>,
    matches: Arc<Matches<S>>,
    size: usize,
}

const WAYS: usize = 4;

/// Writes to the index after which a match that was not asked for again is swept.
const STALE_FOR_GOOD: u64 = 1024;

impl<S: Subscriber> MatchCache<S> {
    /// Room for `entries` topics (rounded up to a power of two, at least 4), taking no more than `bytes_max` with their matches.
    pub fn new(entries: usize, bytes_max: usize) -> Self {
        Self {
            slots: Vec::new(),
            knocked: Vec::new(),
            entries: entries.max(WAYS).next_power_of_two(),
            bytes: 0,
            bytes_max,
            hand: 0,
            nothing: Arc::default(),
            hasher: RandomState::default(),
        }
    }

    /// Who gets a message of this topic: as it was found under `generation`, else as `find` says, with the generation that it looked
    /// at. One cache may serve several indexes as long as no two of them share a generation.
    pub fn lookup(
        &mut self,
        generation: u64,
        topic: TopicName<'_>,
        find: impl FnOnce() -> (u64, Matches<S>),
    ) -> Arc<Matches<S>> {
        let hash = self.hasher.hash_one(topic.as_str());
        let found = self.find(hash, topic);
        match found.and_then(|place| self.slots[place].as_ref()) {
            Some(slot) if slot.generation == generation => slot.matches.clone(),
            _ => {
                let (generation, matches) = find();
                self.miss(generation, matches, topic, hash, found)
            }
        }
    }

    /// Lets go of everything, for a thread that has nothing to do.
    pub fn clear(&mut self) {
        (self.slots, self.knocked, self.bytes) = (Vec::new(), Vec::new(), 0);
    }

    /// Topics that are kept now.
    pub fn len(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What topics and matches take in memory, roughly; the table itself not counted.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn find(&self, hash: u64, topic: TopicName<'_>) -> Option<usize> {
        let first = self.set(hash) * WAYS;
        let set = self.slots.get(first..first + WAYS)?;
        let is_it =
            |slot: &Option<Slot<S>>| slot.as_ref().is_some_and(|slot| slot.hash == hash && *slot.topic == *topic.as_str());
        set.iter().position(is_it).map(|way| first + way)
    }

    #[cold]
    fn miss(
        &mut self,
        generation: u64,
        matches: Matches<S>,
        topic: TopicName<'_>,
        hash: u64,
        place: Option<usize>,
    ) -> Arc<Matches<S>> {
        let matches = if matches.is_empty() { self.nothing.clone() } else { Arc::new(matches) };
        if let Some(place) = place.or_else(|| self.let_in(hash)) {
            let size = topic.as_str().len() + matches.size();
            self.put(place, Slot { hash, generation, topic: topic.as_str().into(), matches: matches.clone(), size });
            self.sweep(generation);
        }
        matches
    }

    /// A place for a topic that is not kept yet; `None` if it is the first time that it is missed.
    fn let_in(&mut self, hash: u64) -> Option<usize> {
        if self.slots.is_empty() {
            self.slots.resize_with(self.entries, || None);
            self.knocked = vec![0; self.entries];
        }
        let mask = self.entries - 1;
        let knocked = &mut self.knocked[(hash >> 32) as usize & mask];
        if std::mem::replace(knocked, hash) != hash {
            return None;
        }
        self.hand = (self.hand + 1) % self.entries;
        let first = self.set(hash) * WAYS;
        // A free place, else the one that was brought up to date the longest time ago, else each in turn.
        (first..first + WAYS)
            .min_by_key(|&place| (self.slots[place].as_ref().map(|slot| slot.generation), (place + self.hand) % WAYS))
    }

    fn put(&mut self, place: usize, slot: Slot<S>) {
        self.evict(place);
        if slot.size > self.bytes_max {
            return;
        }
        while self.bytes + slot.size > self.bytes_max {
            self.hand = (self.hand + 1) % self.entries;
            self.evict(self.hand);
        }
        self.bytes += slot.size;
        self.slots[place] = Some(slot);
    }

    /// Looks at one more slot: topics that nobody asks for any more do not keep old matches for good.
    fn sweep(&mut self, generation: u64) {
        self.hand = (self.hand + 1) % self.entries;
        if self.slots[self.hand].as_ref().is_some_and(|slot| slot.generation + STALE_FOR_GOOD < generation) {
            self.evict(self.hand);
        }
    }

    fn evict(&mut self, place: usize) {
        if let Some(old) = self.slots[place].take() {
            self.bytes -= old.size;
        }
    }

    const fn set(&self, hash: u64) -> usize {
        hash as usize & (self.entries / WAYS - 1)
    }
}

impl<S: Subscriber> Default for MatchCache<S> {
    /// 8,192 topics, 8 MiB.
    fn default() -> Self {
        Self::new(8192, 8 << 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::TopicFilter;
    use crate::routing::test_subscriber::Client;
    use crate::routing::{Index, Strategy, Subscription};

    fn index_of(clients: &[Client]) -> Index<Client> {
        let mut index = Index::new(Strategy::RoundRobin);
        for client in clients {
            index.subscribe(&TopicFilter::new("#").unwrap(), client.clone(), Subscription::default());
        }
        index
    }

    fn look(cache: &mut MatchCache<Client>, index: &Index<Client>, topic: &str) -> Arc<Matches<Client>> {
        let topic = TopicName::new(topic).unwrap();
        cache.lookup(index.generation(), topic, || (index.generation(), index.matches(topic)))
    }

    #[test]
    fn a_topic_is_kept_from_its_second_time_on() {
        let (mut cache, index) = (MatchCache::default(), index_of(&[Client::new(1)]));
        let [first, second, third] = [(); 3].map(|()| look(&mut cache, &index, "a"));
        assert!(!Arc::ptr_eq(&first, &second) && Arc::ptr_eq(&second, &third));
    }

    #[test]
    fn a_write_to_the_index_makes_what_is_kept_stale() {
        let (mut cache, mut index) = (MatchCache::default(), index_of(&[Client::new(1)]));
        (0..3).for_each(|_| assert_eq!(look(&mut cache, &index, "a").recipients.len(), 1));
        index.subscribe(&TopicFilter::new("a").unwrap(), Client::new(2), Subscription::default());
        let [first, second] = [(); 2].map(|()| look(&mut cache, &index, "a"));
        assert_eq!(first.recipients.len(), 2);
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn endless_new_topics_neither_grow_it_nor_push_out_what_is_used() {
        let (mut cache, index) = (MatchCache::new(64, 1 << 20), index_of(&[Client::new(1)]));
        let [_, kept] = [(); 2].map(|()| look(&mut cache, &index, "a"));
        (0..10_000).for_each(|n| drop(look(&mut cache, &index, &format!("new/{n}"))));
        assert!(Arc::ptr_eq(&kept, &look(&mut cache, &index, "a")));
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn entries_and_bytes_stay_within_their_limits() {
        let clients: Vec<_> = (0..10).map(Client::new).collect();
        let index = index_of(&clients);
        for (entries, bytes) in [(64, 1 << 20), (64, 5000), (64, 100), (1, 1 << 20)] {
            let mut cache = MatchCache::new(entries, bytes);
            for n in 0..2000 {
                let topic = format!("new/{}", n / 2);
                assert_eq!(look(&mut cache, &index, &topic).recipients.len(), 10);
                assert!(cache.len() <= entries.max(4) && cache.bytes() <= bytes);
            }
            assert_eq!(cache.is_empty(), bytes == 100);
            cache.clear();
            assert_eq!((cache.len(), cache.bytes(), clients[0].clones()), (0, 0, 2));
        }
    }

    #[test]
    fn old_matches_of_topics_that_nobody_asks_for_are_swept() {
        let gone = Client::new(1);
        let (mut cache, mut index) = (MatchCache::new(64, 1 << 20), index_of(std::slice::from_ref(&gone)));
        (0..2).for_each(|_| drop(look(&mut cache, &index, "a")));
        let all = TopicFilter::new("#").unwrap();
        index.unsubscribe(&all, 1);
        assert_eq!(gone.clones(), 2); // this one and the cache's
        for n in 0..2 * STALE_FOR_GOOD {
            index.subscribe(&all, Client::new(n + 2), Subscription::default());
            (0..2).for_each(|_| drop(look(&mut cache, &index, "b")));
        }
        assert_eq!(gone.clones(), 1);
    }
}
