use super::change::Change;
use super::entry::State;
use super::machine::Queue;
use super::time::UnixMillis;

/// A first lease that the journal does not know of yet. Most messages are settled by the time it would, and then it need never: losing
/// it means no more than a first delivery that is one again.
#[derive(Clone, Copy, Debug)]
pub(super) struct UntoldLease {
    /// When it is told at the latest.
    at: UnixMillis,
    id: u32,
    number: u16,
    seq: u64,
}

/// How long a first lease may stay untold, in milliseconds: as long as the journal leaves anything unwritten that nobody waits for.
const PATIENCE: u64 = 10;

impl<B: Clone> Queue<B> {
    /// A message has been handed out for the first time.
    pub(super) fn tell_later(&mut self, id: u32, now: UnixMillis) {
        let (seq, number) = (self.entries.slab[id].seq, self.entries.course(id).leases);
        self.untold.push_back(UntoldLease { at: UnixMillis(now.0 + PATIENCE), id, number, seq });
    }

    /// Says who has a message, unless that is known. All else that is said of a lease makes sense behind that only.
    pub(super) fn tell_lease(&mut self, id: u32) {
        let course = self.entries.course(id);
        if self.entries.slab[id].state != State::Leased || !course.is_untold {
            return;
        }
        let client = self.consumers.get(course.holder).client.clone();
        let (number, attempts, deadline) = (course.leases, course.attempts.into(), course.until);
        let seq = self.entries.slab[id].seq;
        self.entries.course_mut(id).is_untold = false;
        self.changes.push_back((self.part, Change::Leased { seq, number, attempts, client, deadline }));
    }

    /// First leases that have lasted for a while.
    pub(super) fn tell_leases_until(&mut self, now: UnixMillis) {
        while let Some(untold) = self.untold.front().copied().filter(|untold| untold.at <= now) {
            self.untold.pop_front();
            let is_same = |id: u32| self.entries.slab.get(id).is_some_and(|entry| entry.seq == untold.seq);
            if is_same(untold.id) && self.entries.course(untold.id).leases == untold.number {
                self.tell_lease(untold.id);
            }
        }
    }

    pub(super) fn next_to_tell(&self) -> Option<UnixMillis> {
        self.untold.front().map(|untold| untold.at)
    }
}
