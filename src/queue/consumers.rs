use std::collections::BTreeSet;

use super::config::Strategy;
use super::consumer::{Consumer, ConsumerId, Rank};
use super::random::Random;
use super::slab::Slab;
use super::time::UnixMillis;

/// The consumers of a queue, and which of them is next.
#[derive(Debug)]
pub(super) struct Consumers {
    slab: Slab<Consumer>,
    /// Those with room.
    free: BTreeSet<Rank>,
    /// Those that rest, by when they wake.
    resting: BTreeSet<(UnixMillis, u32)>,
    strategy: Strategy,
    turn: u64,
    joined: u64,
    /// Those that only stand for leases.
    absent: Vec<u32>,
    /// How many of the messages, and of the keys, that are set aside are worth another look, because a consumer has got room since.
    pub(super) unseen: [usize; 2],
}

impl Consumers {
    pub(super) const fn new(strategy: Strategy) -> Self {
        let free = BTreeSet::new();
        let resting = BTreeSet::new();
        Self { slab: Slab::new(), free, resting, strategy, turn: 0, joined: 0, absent: Vec::new(), unseen: [0; 2] }
    }

    /// Those that have joined and not left.
    pub(super) const fn len(&self) -> usize {
        self.slab.len() - self.absent.len()
    }

    pub(super) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    pub(super) fn find(&self, id: ConsumerId) -> Option<u32> {
        let index = id.0 as u32;
        self.slab.get(index).is_some_and(|consumer| consumer.id == id).then_some(index)
    }

    pub(super) fn get(&self, index: u32) -> &Consumer {
        &self.slab[index]
    }

    /// After a change, [`Self::refresh`] finds out whether it has room.
    pub(super) fn get_mut(&mut self, index: u32) -> &mut Consumer {
        &mut self.slab[index]
    }

    pub(super) fn insert(&mut self, consumer: Consumer) -> u32 {
        self.joined += 1;
        let is_absent = consumer.is_absent;
        let index = self.slab.insert(consumer);
        self.absent.extend(is_absent.then_some(index));
        self.slab[index].id = ConsumerId(self.joined << 32 | u64::from(index));
        self.refresh(index);
        index
    }

    /// It gets nothing more, and stays for what it has.
    pub(super) fn retire(&mut self, index: u32) {
        self.slab[index].is_retired = true;
        if !std::mem::replace(&mut self.slab[index].is_absent, true) {
            self.absent.push(index);
        }
        self.refresh(index);
    }

    /// An absent one has come back.
    pub(super) fn set_present(&mut self, index: u32) {
        self.slab[index].is_retired = false;
        if std::mem::take(&mut self.slab[index].is_absent) {
            self.absent.retain(|absent| *absent != index);
        }
    }

    pub(super) fn absent(&self) -> impl Iterator<Item = u32> + '_ {
        self.absent.iter().copied()
    }

    pub(super) fn remove(&mut self, index: u32) -> Consumer {
        self.set_present(index);
        let consumer = self.slab.remove(index);
        if let Some(rank) = consumer.rank {
            self.free.remove(&rank);
        }
        if let Some(until) = consumer.rests_until {
            self.resting.remove(&(until, index));
        }
        consumer
    }

    /// Finds its place among those with room, or takes it out.
    pub(super) fn refresh(&mut self, index: u32) {
        let consumer = &mut self.slab[index];
        let rank = consumer.has_room().then(|| {
            let (load, turn) = match self.strategy {
                Strategy::LeastInflight => (consumer.held.len() as u32, self.turn),
                Strategy::RoundRobin | Strategy::Random => (0, self.turn),
            };
            // One that keeps its load keeps its turn: only being served sends it to the back.
            let turn = consumer.rank.filter(|rank| rank.load == load).map_or(turn, |rank| rank.turn);
            Rank { is_failing: consumer.is_failing(), load, turn, index }
        });
        if rank == consumer.rank {
            return;
        }
        if consumer.rank.is_none() {
            self.unseen = [usize::MAX; 2]; // All: they go round.
        }
        if let Some(old) = std::mem::replace(&mut consumer.rank, rank) {
            self.free.remove(&old);
        }
        self.free.extend(rank);
    }

    /// It has been given a message: the others are before it now.
    pub(super) fn served(&mut self, index: u32, random: &mut Random) {
        self.turn = match self.strategy {
            Strategy::LeastInflight | Strategy::RoundRobin => self.turn + 1,
            Strategy::Random => random.next(),
        };
        if let Some(rank) = self.slab[index].rank.take() {
            self.free.remove(&rank);
        }
        let unseen = self.unseen;
        self.refresh(index);
        self.unseen = unseen;
    }

    /// Puts it to bed if it is to rest; [`Self::wake`] gets it up.
    pub(super) fn note_rest(&mut self, index: u32, before: Option<UnixMillis>) {
        let until = self.slab[index].rests_until;
        if until == before {
            return;
        }
        if let Some(before) = before {
            self.resting.remove(&(before, index));
        }
        self.resting.extend(until.map(|until| (until, index)));
    }

    pub(super) fn wake(&mut self, now: UnixMillis) {
        while let Some((until, index)) = self.resting.first().copied().filter(|(until, _)| *until <= now) {
            self.resting.remove(&(until, index));
            self.slab[index].rests_until = None;
            self.refresh(index);
        }
    }

    pub(super) fn next_wake(&self) -> Option<UnixMillis> {
        self.resting.first().map(|(until, _)| *until)
    }

    /// Who gets a message: the first in order that may have it, one that is not `last` if there is any.
    pub(super) fn choose(&self, last: u32, random: &mut Random, is_excluded: impl Fn(ConsumerId) -> bool) -> Option<u32> {
        let mut second = None;
        for index in self.candidates(random) {
            let consumer = &self.slab[index];
            if is_excluded(consumer.id) {
                continue;
            }
            if consumer.name != last {
                return Some(index);
            }
            second = second.or(Some(index));
        }
        second
    }

    pub(super) fn set_strategy(&mut self, strategy: Strategy) {
        if strategy == self.strategy {
            return;
        }
        self.strategy = strategy;
        let free = std::mem::take(&mut self.free);
        for rank in free {
            self.slab[rank.index].rank = None;
            self.refresh(rank.index);
        }
    }

    /// Those with room, in the order of the strategy, failing ones last. By lot: turns are drawn at random, and so is where to begin.
    fn candidates(&self, random: &mut Random) -> impl Iterator<Item = u32> + '_ {
        let first = Rank { is_failing: false, load: 0, turn: 0, index: 0 };
        let is_random = self.strategy == Strategy::Random && self.free.len() > 1;
        let begin = if is_random { Rank { turn: random.next(), ..first } } else { first };
        let failing = Rank { is_failing: true, ..first };
        let ranks = self.free.range(begin..failing).chain(self.free.range(first..begin)).chain(self.free.range(failing..));
        ranks.map(|rank| rank.index)
    }
}
