use std::hash::BuildHasher;
use std::rc::Rc;

use foldhash::fast::RandomState;

use super::matches::Matches;
use super::subscriber::Subscriber;
use crate::packet::TopicName;

/// The matches of the topics that one thread meets often, so that a repeated topic costs one hash and one look, and no atomics.
///
/// A table of fixed size, in sets of four. A topic is let in when it is missed again soon after, so topics that come once (or endless new
/// ones of a hostile publisher) neither push out the others nor cost memory. It holds clones of subscribers, stale ones too, until
/// their place is swept or used again: [`MatchCache::clear`] lets go of all.
pub struct MatchCache<S> {
    /// Made at the first miss, as the slots are: an idle thread needs none.
    sets: Vec<Set>,
    /// The slots of all sets, [`WAYS`] for each.
    slots: Vec<Option<Slot<S>>>,
    entries: usize,
    bytes: usize,
    bytes_max: usize,
    /// The slot that was looked at last for sweeping.
    hand: usize,
    nothing: Rc<Matches<S>>,
    hasher: RandomState,
}

/// What a look needs first, half a cache line of it. A tag is a part of the hash; 0 is none.
#[derive(Clone, Copy, Default)]
struct Set {
    /// Of the slots' topics.
    tags: [u32; WAYS],
    /// Of topics that were missed lately, the last one first.
    missed: [u32; WAYS],
}

struct Slot<S> {
    generation: u64,
    topic: Box<str>,
    matches: Rc<Matches<S>>,
    size: usize,
}

/// Where a topic belongs.
#[derive(Clone, Copy)]
struct Address {
    set: usize,
    tag: u32,
}

const WAYS: usize = 4;

/// Writes to the index after which a match that was not asked for again is swept.
const STALE_FOR_GOOD: u64 = 1024;

impl<S: Subscriber> MatchCache<S> {
    /// Room for `entries` topics (rounded up to a power of two, at least 4), taking no more than `bytes_max` with their matches.
    pub fn new(entries: usize, bytes_max: usize) -> Self {
        Self {
            sets: Vec::new(),
            slots: Vec::new(),
            entries: entries.max(WAYS).next_power_of_two(),
            bytes: 0,
            bytes_max,
            hand: 0,
            nothing: Rc::default(),
            hasher: RandomState::default(),
        }
    }

    /// Who gets a message of this topic: as it was found under `generation`, else as `ask` says, with the generation that it looked
    /// at. One cache may serve several indexes as long as no two of them share a generation.
    pub fn lookup(&mut self, generation: u64, topic: TopicName<'_>, ask: impl FnOnce() -> (u64, Matches<S>)) -> Rc<Matches<S>> {
        let address = self.address(topic);
        match self.find(address, topic) {
            Some((_, slot)) if slot.generation == generation => slot.matches.clone(),
            Some((place, _)) => self.renew(ask(), topic, place),
            None => self.miss(ask(), topic, address),
        }
    }

    /// Lets go of everything, for a thread that has nothing to do.
    pub fn clear(&mut self) {
        (self.sets, self.slots, self.bytes) = (Vec::new(), Vec::new(), 0);
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

    fn address(&self, topic: TopicName<'_>) -> Address {
        let hash = self.hasher.hash_one(topic.as_str());
        Address { set: hash as usize & (self.entries / WAYS - 1), tag: ((hash >> 32) as u32).max(1) }
    }

    fn find(&self, address: Address, topic: TopicName<'_>) -> Option<(usize, &Slot<S>)> {
        let set = self.sets.get(address.set)?;
        (0..WAYS).filter(|&way| set.tags[way] == address.tag).find_map(|way| {
            let place = address.set * WAYS + way;
            let slot = self.slots[place].as_ref().filter(|slot| *slot.topic == *topic.as_str())?;
            Some((place, slot))
        })
    }

    #[cold]
    fn renew(&mut self, (generation, matches): (u64, Matches<S>), topic: TopicName<'_>, place: usize) -> Rc<Matches<S>> {
        let matches = self.share(matches);
        let tag = self.sets[place / WAYS].tags[place % WAYS];
        self.put(place, tag, Slot::new(generation, topic, &matches));
        matches
    }

    #[cold]
    fn miss(&mut self, (generation, matches): (u64, Matches<S>), topic: TopicName<'_>, address: Address) -> Rc<Matches<S>> {
        let matches = self.share(matches);
        if self.sets.is_empty() {
            self.sets.resize(self.entries / WAYS, Set::default());
            self.slots.resize_with(self.entries, || None);
        }
        if self.sets[address.set].was_missed_lately(address.tag) {
            let place = self.place_in(address.set);
            self.put(place, address.tag, Slot::new(generation, topic, &matches));
        }
        matches
    }

    fn share(&self, matches: Matches<S>) -> Rc<Matches<S>> {
        if matches.is_empty() { self.nothing.clone() } else { Rc::new(matches) }
    }

    /// A free place of a set, else the one that was renewed the longest time ago, else each in turn.
    fn place_in(&self, set: usize) -> usize {
        let age = |place: &usize| (self.slots[*place].as_ref().map(|slot| slot.generation), (place + self.hand) % WAYS);
        (set * WAYS..(set + 1) * WAYS).min_by_key(age).expect("a set has places")
    }

    fn put(&mut self, place: usize, tag: u32, slot: Slot<S>) {
        self.evict(place);
        self.sweep(slot.generation);
        if slot.size > self.bytes_max {
            return;
        }
        while self.bytes + slot.size > self.bytes_max {
            self.turn_hand();
            self.evict(self.hand);
        }
        self.bytes += slot.size;
        self.sets[place / WAYS].tags[place % WAYS] = tag;
        self.slots[place] = Some(slot);
    }

    /// Looks at one more slot: topics that nobody asks for any more do not keep old matches for good.
    fn sweep(&mut self, generation: u64) {
        self.turn_hand();
        if self.slots[self.hand].as_ref().is_some_and(|slot| slot.generation + STALE_FOR_GOOD < generation) {
            self.evict(self.hand);
        }
    }

    const fn turn_hand(&mut self) {
        self.hand = (self.hand + 1) % self.entries;
    }

    fn evict(&mut self, place: usize) {
        if let Some(old) = self.slots[place].take() {
            self.sets[place / WAYS].tags[place % WAYS] = 0;
            self.bytes -= old.size;
        }
    }
}

impl Set {
    /// Whether a topic of this tag was missed lately; if not, it has been now.
    fn was_missed_lately(&mut self, tag: u32) -> bool {
        if let Some(found) = self.missed.iter_mut().find(|missed| **missed == tag) {
            *found = 0;
            return true;
        }
        self.missed.rotate_right(1);
        self.missed[0] = tag;
        false
    }
}

impl<S: Subscriber> Slot<S> {
    fn new(generation: u64, topic: TopicName<'_>, matches: &Rc<Matches<S>>) -> Self {
        let size = topic.as_str().len() + matches.size();
        Self { generation, topic: topic.as_str().into(), matches: matches.clone(), size }
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

    fn look(cache: &mut MatchCache<Client>, index: &Index<Client>, topic: &str) -> Rc<Matches<Client>> {
        let topic = TopicName::new(topic).unwrap();
        cache.lookup(index.generation(), topic, || (index.generation(), index.matches(topic)))
    }

    #[test]
    fn a_topic_is_kept_from_its_second_time_on() {
        let (mut cache, index) = (MatchCache::default(), index_of(&[Client::new(1)]));
        let [first, second, third] = [(); 3].map(|()| look(&mut cache, &index, "a"));
        assert!(!Rc::ptr_eq(&first, &second) && Rc::ptr_eq(&second, &third));
    }

    #[test]
    fn a_write_to_the_index_makes_what_is_kept_stale() {
        let (mut cache, mut index) = (MatchCache::default(), index_of(&[Client::new(1)]));
        (0..3).for_each(|_| assert_eq!(look(&mut cache, &index, "a").recipients.len(), 1));
        index.subscribe(&TopicFilter::new("a").unwrap(), Client::new(2), Subscription::default());
        let [first, second] = [(); 2].map(|()| look(&mut cache, &index, "a"));
        assert_eq!(first.recipients.len(), 2);
        assert!(Rc::ptr_eq(&first, &second));
    }

    #[test]
    fn endless_new_topics_neither_grow_it_nor_push_out_what_is_used() {
        let (mut cache, index) = (MatchCache::new(64, 1 << 20), index_of(&[Client::new(1)]));
        let [_, kept] = [(); 2].map(|()| look(&mut cache, &index, "a"));
        (0..10_000).for_each(|n| drop(look(&mut cache, &index, &format!("new/{n}"))));
        assert!(Rc::ptr_eq(&kept, &look(&mut cache, &index, "a")));
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
