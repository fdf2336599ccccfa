use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockWriteGuard};

use super::handle::Receiver;
use crate::packet::{TopicFilter, TopicName};
use crate::routing::{Index, MatchCache, Matches, SharedGroup, Strategy};

/// The subscription index, as many threads use it: a cached match costs no lock.
pub struct Router {
    index: RwLock<Index<Receiver>>,
    /// The stamp of the index as it is; unique in the process.
    generation: AtomicU64,
}

static GENERATIONS: AtomicU64 = AtomicU64::new(1);

/// The index under its write lock; the stamp changes when it is let go, if what topics match has changed.
pub struct Change<'a> {
    pub index: RwLockWriteGuard<'a, Index<Receiver>>,
    before: u64,
    generation: &'a AtomicU64,
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        if self.index.generation() == self.before {
            return;
        }
        // Before the guard goes: whoever reads the new stamp finds the new index.
        self.generation.store(GENERATIONS.fetch_add(1, Ordering::Relaxed), Ordering::Release);
    }
}

impl Router {
    pub fn new(strategy: Strategy) -> Self {
        Self {
            index: RwLock::new(Index::new(strategy)),
            generation: AtomicU64::new(GENERATIONS.fetch_add(1, Ordering::Relaxed)),
        }
    }

    pub fn change(&self) -> Change<'_> {
        let index = self.index.write();
        Change { before: index.generation(), index, generation: &self.generation }
    }

    /// Who wants a message to `topic`.
    pub fn lookup(&self, cache: &mut MatchCache<Receiver>, topic: TopicName<'_>) -> Rc<Matches<Receiver>> {
        cache.lookup(self.generation.load(Ordering::Acquire), topic, || {
            let index = self.index.read();
            // Under the lock no change is under way: the stamp belongs to what is read.
            (self.generation.load(Ordering::Acquire), index.matches(topic))
        })
    }

    pub fn group(&self, filter: &TopicFilter) -> Option<Arc<SharedGroup<Receiver>>> {
        self.index.read().shared_group(filter)
    }

    /// Subscriptions, and how many of them are shared.
    pub fn counts(&self) -> (usize, usize) {
        let index = self.index.read();
        (index.len(), index.shared_len())
    }
}
