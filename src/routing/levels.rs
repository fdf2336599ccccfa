use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use super::arena::{Arena, Id};
use super::id_table::IdTable;

/// The names of topic levels, each kept once while some filter uses it. Seeded hashing: clients choose the names.
pub(super) struct Levels {
    table: IdTable,
    levels: Arena<Level>,
    hasher: RandomState,
}

struct Level {
    name: Box<str>,
    users: u32,
}

impl Levels {
    pub(super) fn new() -> Self {
        Self { table: IdTable::new(), levels: Arena::new(), hasher: RandomState::default() }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.levels.len()
    }

    pub(super) fn find(&self, name: &str) -> Option<Id> {
        self.find_hashed(self.hasher.hash_one(name), name)
    }

    /// The name's id with one more user.
    pub(super) fn acquire(&mut self, name: &str) -> Id {
        let hash = self.hasher.hash_one(name);
        if let Some(id) = self.find_hashed(hash, name) {
            self.levels.get_mut(id).users += 1;
            return id;
        }
        let id = self.levels.insert(Level { name: name.into(), users: 1 });
        self.table.insert(hash, id);
        id
    }

    /// One user less; the last one takes the name along.
    pub(super) fn release(&mut self, id: Id) {
        let level = self.levels.get_mut(id);
        level.users -= 1;
        if level.users == 0 {
            let level = self.levels.remove(id);
            self.table.remove(self.hasher.hash_one(&*level.name), id);
        }
    }

    fn find_hashed(&self, hash: u64, name: &str) -> Option<Id> {
        self.table.find(hash, |id| *self.levels.get(id).name == *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_goes_with_its_last_user() {
        let mut levels = Levels::new();
        let id = levels.acquire("a");
        assert_eq!(levels.acquire("a"), id);
        levels.release(id);
        assert_eq!(levels.find("a"), Some(id));
        levels.release(id);
        assert_eq!((levels.find("a"), levels.len(), levels.table.len()), (None, 0, 0));
    }
}
