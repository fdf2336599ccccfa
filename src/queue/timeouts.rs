use super::entry::State;
use super::machine::Queue;
use super::stats::Cause;
use super::time::UnixMillis;
use super::wheel::TICK;

/// Timers that one call deals with, so that a million that are due together do not hold up everything else.
const BATCH: usize = 4096;

impl<B: Clone> Queue<B> {
    /// When to call [`Self::handle_timeout`] next. Earlier than anything is due at times, never later.
    pub fn poll_timeout(&self) -> Option<UnixMillis> {
        let retention = self.next_out_of_retention();
        let all = [self.entries.next_due(), self.consumers.next_wake(), retention, self.next_to_tell(), self.next_look()];
        all.into_iter().flatten().min()
    }

    /// Ends leases whose deadline has passed, makes messages ready whose delay is over, deals with those that have outlived their time.
    /// What is left when many are due at once comes with the next call, which [`Self::poll_timeout`] then asks for at once. Returns
    /// whether a lease has run out.
    pub fn handle_timeout(&mut self, now: UnixMillis) -> bool {
        let now = self.advance(now);
        self.tell_leases_until(now);
        self.consumers.wake(now);
        let mut has_run_out = false;
        for _ in 0..BATCH {
            let Some(id) = self.entries.pop_due(now) else { break };
            let entry = &self.entries.slab[id];
            match entry.state {
                State::Leased => {
                    has_run_out = true;
                    self.fail(id, Cause::Timeout, None, now);
                }
                _ if self.entries.course(id).is_expired(now) => self.expire(id, now),
                _ => self.make_ready(id),
            }
        }
        self.end_retention(now);
        has_run_out
    }

    fn make_ready(&mut self, id: u32) {
        self.entries.set_state(id, State::Ready);
        self.entries.retime(id);
        self.ready.place(&mut self.entries, id);
    }

    /// What has been here for too long. One that a consumer has is waited for, and those behind it.
    fn end_retention(&mut self, now: UnixMillis) {
        for _ in 0..BATCH {
            let Some(id) = self.oldest_unless_leased() else { return };
            let entered_at = self.entries.slab[id].enqueued_at;
            if self.config.retention().is_none_or(|retention| entered_at.plus(retention) > now) {
                return;
            }
            self.expire(id, now);
        }
    }

    fn next_out_of_retention(&self) -> Option<UnixMillis> {
        let retention = self.config.retention()?;
        let oldest = self.oldest_unless_leased()?;
        // Rounded up as the wheel does, so that a stream of messages does not ask for a call per millisecond.
        Some(self.entries.slab[oldest].enqueued_at.plus(retention + TICK))
    }

    fn oldest_unless_leased(&self) -> Option<u32> {
        self.entries.oldest().filter(|id| self.entries.slab[*id].state != State::Leased)
    }
}
