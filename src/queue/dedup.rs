use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashTable;

use super::change::DedupId;
use super::time::UnixMillis;

/// The deduplication identifiers of the last minutes, bounded in time and number.
#[derive(Debug, Default)]
pub(super) struct Dedup {
    /// By age.
    order: VecDeque<(UnixMillis, DedupId)>,
    /// Where in `order` an identifier is: the low bits of how many were remembered before it.
    places: HashTable<u32>,
    /// How many have been forgotten.
    forgotten: u32,
}

impl Dedup {
    pub(super) fn contains(&self, id: DedupId) -> bool {
        self.places.find(hash(id), |place| self.at(*place).1 == id).is_some()
    }

    pub(super) fn insert(&mut self, id: DedupId, at: UnixMillis, max: u64) {
        if max == 0 || self.contains(id) {
            return;
        }
        let place = self.forgotten.wrapping_add(self.order.len() as u32);
        self.order.push_back((at, id));
        let (order, forgotten) = (&self.order, self.forgotten);
        self.places.insert_unique(hash(id), place, |place| hash(order[place.wrapping_sub(forgotten) as usize].1));
        while self.order.len() as u64 > max {
            self.forget_first();
        }
    }

    /// Forgets what is older than the window.
    pub(super) fn forget_old(&mut self, window: Duration, now: UnixMillis) {
        while self.order.front().is_some_and(|(at, _)| at.plus(window) <= now) {
            self.forget_first();
        }
        if self.order.is_empty() && self.order.capacity() > 0 {
            *self = Self::default();
        }
    }

    /// From a place on, or from the oldest, each with its place. Where that place is no more, from the oldest that is left; once all had
    /// been forgotten, some of those that came since may be left out.
    pub(super) fn from(&self, place: Option<u32>) -> impl Iterator<Item = (u32, UnixMillis, DedupId)> + '_ {
        let passed = place.map_or(0, |place| place.wrapping_sub(self.forgotten) as usize);
        let passed = if passed <= self.order.len() { passed } else { 0 };
        let places = passed as u32..;
        let forgotten = self.forgotten;
        self.order.range(passed..).zip(places).map(move |((at, id), place)| (place.wrapping_add(forgotten), *at, *id))
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    fn forget_first(&mut self) {
        let Some((_, id)) = self.order.front().copied() else { return };
        let first = self.forgotten;
        if let Ok(found) = self.places.find_entry(hash(id), |place| *place == first) {
            found.remove();
        }
        self.order.pop_front();
        self.forgotten = first.wrapping_add(1);
    }

    fn at(&self, place: u32) -> (UnixMillis, DedupId) {
        self.order[place.wrapping_sub(self.forgotten) as usize]
    }
}

/// An identifier is a keyed hash already.
const fn hash(id: DedupId) -> u64 {
    id.0[0]
}
