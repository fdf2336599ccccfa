use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashSet;

use super::change::DedupId;
use super::time::UnixMillis;

/// The deduplication identifiers of the last minutes, bounded in time and number.
#[derive(Debug, Default)]
pub(super) struct Dedup {
    ids: HashSet<DedupId, foldhash::fast::RandomState>,
    /// By age.
    order: VecDeque<(UnixMillis, DedupId)>,
}

impl Dedup {
    pub(super) fn contains(&self, id: DedupId) -> bool {
        self.ids.contains(&id)
    }

    pub(super) fn insert(&mut self, id: DedupId, at: UnixMillis, max: u64) {
        if max == 0 || !self.ids.insert(id) {
            return;
        }
        self.order.push_back((at, id));
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

    pub(super) fn iter(&self) -> impl Iterator<Item = (UnixMillis, DedupId)> + '_ {
        self.order.iter().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    fn forget_first(&mut self) {
        if let Some((_, id)) = self.order.pop_front() {
            self.ids.remove(&id);
        }
    }
}
