use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use super::arena::{Arena, Id};
use super::id_table::IdTable;
use crate::packet::{TopicFilter, TopicName};

/// Filters without wildcards and one value for each: a topic is looked up whole. The text is shared with the caller's filter.
pub(super) struct ExactFilters<T> {
    table: IdTable,
    entries: Arena<Entry<T>>,
    hasher: RandomState,
}

struct Entry<T> {
    filter: TopicFilter,
    value: T,
}

impl<T: Default> ExactFilters<T> {
    pub(super) fn new() -> Self {
        Self { table: IdTable::new(), entries: Arena::new(), hasher: RandomState::default() }
    }

    pub(super) fn get(&self, topic: TopicName<'_>) -> Option<&T> {
        let topic = topic.as_str();
        self.find(self.hasher.hash_one(topic), topic).map(|id| &self.entries.get(id).value)
    }

    /// The value of a filter, made if it was not there.
    pub(super) fn entry(&mut self, filter: &TopicFilter) -> &mut T {
        let hash = self.hasher.hash_one(filter.as_str());
        let id = self.find(hash, filter.as_str()).unwrap_or_else(|| {
            let id = self.entries.insert(Entry { filter: filter.clone(), value: T::default() });
            self.table.insert(hash, id);
            id
        });
        &mut self.entries.get_mut(id).value
    }

    pub(super) fn get_mut(&mut self, filter: &TopicFilter) -> Option<&mut T> {
        let id = self.find(self.hasher.hash_one(filter.as_str()), filter.as_str())?;
        Some(&mut self.entries.get_mut(id).value)
    }

    pub(super) fn remove(&mut self, filter: &TopicFilter) -> Option<T> {
        let hash = self.hasher.hash_one(filter.as_str());
        let id = self.find(hash, filter.as_str())?;
        self.table.remove(hash, id);
        Some(self.entries.remove(id).value)
    }

    /// Entries and slots in use: zero when no filter is left.
    #[cfg(test)]
    pub(super) fn occupancy(&self) -> [usize; 2] {
        [self.entries.len(), self.table.len()]
    }

    fn find(&self, hash: u64, text: &str) -> Option<Id> {
        self.table.find(hash, |id| self.entries.get(id).filter.as_str() == text)
    }
}
