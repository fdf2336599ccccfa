use hashbrown::HashTable;

use super::random::mix;

/// Where in a slab the values with certain numbers are. It keeps no numbers, only places, and comes in parts, each of which grows on
/// its own: at a million values one insertion would otherwise move them all at once.
#[derive(Debug, Default)]
pub(super) struct Index {
    parts: Box<[HashTable<u32>]>,
    len: usize,
    /// The most there were since there were none.
    most: usize,
}

const PARTS: usize = 64;

/// An index that never held more keeps its memory for the next value.
const SMALL: usize = 1024;

impl Index {
    /// The place of a number; `is_it` tells whether the value there is the one.
    pub(super) fn find(&self, number: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let (part, hash) = place(number);
        self.parts.get(part)?.find(hash, |id| is_it(*id)).copied()
    }

    /// Adds a number that is not there. `number_of` tells those of others.
    pub(super) fn insert(&mut self, number: u64, id: u32, number_of: impl Fn(u32) -> u64) {
        if self.parts.is_empty() {
            self.parts = (0..PARTS).map(|_| HashTable::new()).collect();
        }
        self.len += 1;
        self.most = self.most.max(self.len);
        let (part, hash) = place(number);
        self.parts[part].insert_unique(hash, id, |id| mix(number_of(*id)));
    }

    /// The last of many takes all memory along.
    pub(super) fn remove(&mut self, number: u64, id: u32) {
        let (part, hash) = place(number);
        if let Some(Ok(found)) = self.parts.get_mut(part).map(|part| part.find_entry(hash, |at| *at == id)) {
            found.remove();
            self.len -= 1;
        }
        if self.len == 0 && self.most > SMALL {
            *self = Self::default();
        }
    }
}

/// Of the hash's bits, the table takes those at both ends.
const fn place(number: u64) -> (usize, u64) {
    let hash = mix(number);
    ((hash >> 40) as usize % PARTS, hash)
}
