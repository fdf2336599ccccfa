use hashbrown::HashTable;

use super::arena::Id;

/// Finds ids by the hash of what they stand for; the keys lie in the arenas that the ids point into. The hash is kept beside the id,
/// so that growing reads no key and few wrong keys are looked at.
pub(super) struct IdTable {
    slots: HashTable<Slot>,
}

struct Slot {
    hash: u32,
    id: Id,
}

impl IdTable {
    pub(super) const fn new() -> Self {
        Self { slots: HashTable::new() }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The id with this hash that `is_it` agrees to.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(Id) -> bool) -> Option<Id> {
        let hash = fold(hash);
        self.slots.find(spread(hash), |slot| slot.hash == hash && is_it(slot.id)).map(|slot| slot.id)
    }

    /// The caller has looked: it is not there yet.
    pub(super) fn insert(&mut self, hash: u64, id: Id) {
        let hash = fold(hash);
        self.slots.insert_unique(spread(hash), Slot { hash, id }, |slot| spread(slot.hash));
    }

    pub(super) fn remove(&mut self, hash: u64, id: Id) {
        let hash = fold(hash);
        if let Ok(slot) = self.slots.find_entry(spread(hash), |slot| slot.id == id) {
            slot.remove();
        }
        if self.slots.is_empty() {
            self.slots = HashTable::new();
        }
    }
}

const fn fold(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

/// The table takes its place from the low bits and its tag from the high ones; an odd factor keeps the first and fills the second.
const fn spread(hash: u32) -> u64 {
    (hash as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
