//! A queue shown in pieces, between which it changes.
//!
//! Each message is shown where it lies when the walk comes by. What happens to it afterwards is in the journal behind the walk's begin
//! and is replayed onto that; what had happened before is replayed too, and ends at the same. Only a message that moves could be missed:
//! one that dies is met again, since dead letters come last. One that comes back from them is told whole (`WorkQueue::redrive`).

use std::ops::Bound;

use super::change::{Change, Record};
use super::entry::{Entry, State};
use super::key::Key;
use super::machine::Queue;
use super::topics::Part;

/// How far a walk over a queue has come: see [`super::WorkQueue::show`].
#[derive(Clone, Debug)]
pub struct Showing {
    pub(super) part: Part,
    pub(super) stage: Stage,
}

/// What of a part comes next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    Figures,
    /// Keys that stand still, from behind this one.
    Blocked(Option<Key>),
    /// Deduplication identifiers from this place on; from the oldest.
    Seen(Option<u32>),
    /// Messages from this place in memory on, which they keep as long as they are in this part.
    Messages(u32),
}

impl Showing {
    /// At the beginning.
    pub const fn new() -> Self {
        Self { part: Part::Main, stage: Stage::Figures }
    }
}

impl Default for Showing {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Clone> Queue<B> {
    /// Shows what comes at this stage, `count` at the most and while `see` says that it takes more, and what comes after that: `None` if
    /// nothing does. The changes of all stages together rebuild the queue.
    pub(super) fn show(&self, stage: Stage, count: u32, see: &mut impl FnMut(Change<B>) -> bool) -> Option<Stage> {
        let at_most = count as usize;
        match stage {
            Stage::Figures => {
                see(Change::Reserved { until: self.reserved.max(self.next_seq) });
                if self.is_paused {
                    see(Change::Paused);
                }
                Some(Stage::Blocked(None))
            }
            Stage::Blocked(after) => {
                let from = after.map_or(Bound::Unbounded, Bound::Excluded);
                let mut last = None;
                for (key, by) in self.ready.blocked.range((from, Bound::Unbounded)).take(at_most) {
                    last = Some(*key);
                    if !see(Change::KeyBlocked { key: *key, by: *by }) {
                        break;
                    }
                }
                Some(last.map_or(Stage::Seen(None), |_| Stage::Blocked(last)))
            }
            Stage::Seen(from) => {
                let mut next = None;
                for (place, at, id) in self.dedup.from(from).take(at_most) {
                    next = Some(place.wrapping_add(1));
                    if !see(Change::Seen { id, at }) {
                        break;
                    }
                }
                Some(next.map_or(Stage::Messages(0), |_| Stage::Seen(next)))
            }
            Stage::Messages(from) => self.show_messages(from, count, see).map(Stage::Messages),
        }
    }

    /// From a place in memory on: `count` places, empty ones included.
    fn show_messages(&self, from: u32, count: u32, see: &mut impl FnMut(Change<B>) -> bool) -> Option<u32> {
        let slab = &self.entries.slab;
        let to = from.saturating_add(count);
        for (id, entry) in slab.range(from, to) {
            if !see(Change::Enqueued(self.record_of(entry))) {
                return Some(id + 1);
            }
        }
        (to < slab.end()).then_some(to)
    }

    /// One message as it is, in one change: for a journal that moves what lives out of an old segment.
    pub(super) fn snapshot_of(&self, seq: u64) -> Option<Change<B>> {
        let id = self.entries.find(seq)?;
        Some(Change::Enqueued(self.record_of(&self.entries.slab[id])))
    }

    fn record_of(&self, entry: &Entry<B>) -> Record<B> {
        let last_client = self.last_client(entry).cloned();
        let is_leased = entry.state == State::Leased;
        let course = self.entries.course_of(entry);
        Record {
            // Also a delay that is over: it says where among the others of its key the message stands.
            not_before: (!is_leased && course.until > entry.enqueued_at).then_some(course.until),
            expires_at: course.expires_at.some(),
            key: self.ready.key(entry.key),
            attempts: course.attempts.into(),
            busy: course.busy,
            leases: course.leases,
            is_first: entry.is_first,
            lease: last_client.clone().filter(|_| is_leased).map(|client| (client, course.until)),
            last_client,
            last_code: course.code(),
            dead: self.letters.get(&entry.seq).cloned(),
            ..Record::new(entry.body.clone(), entry.seq, entry.size, entry.enqueued_at)
        }
    }
}
