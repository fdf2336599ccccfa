use std::sync::Arc;
use std::time::Duration;

use super::change::{Change, DropCause, Record};
use super::config::{AckMode, Expired, OnDead};
use super::consumer::ConsumerId;
use super::dead_letter::{DeadLetter, DeadReason};
use super::entry::{Entry, State};
use super::machine::Queue;
use super::stats::Cause;
use super::tag::{Lease, Tag};
use super::time::UnixMillis;
use super::topics::Settle;

/// What the acknowledgement of a packet meant for its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Settled,
    /// The window has room again, no more: settling is explicit, or has been done by topic.
    Freed,
    /// The attempt failed, or did not count: the message comes again, or is dead.
    Returned,
    /// To the dead letters without further attempts.
    Rejected,
    /// The lease was over, and nothing was left to say about the message.
    Stale,
}

/// Why a settle topic had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// 0x90: the tag was not given to this client, or not by this queue.
    #[error("no lease of this client has this tag")]
    Unknown,
    /// 0x90: the message has been settled, has died or was dropped, or somebody else has it by now.
    #[error("the lease of this tag is over")]
    Over,
    /// 0x97 or 0x83: what was asked for is beyond the bound.
    #[error("the time is longer than the queue allows")]
    TooLong,
}

/// The longest that `$extend` may ask for at once.
pub const EXTEND_MAX: Duration = Duration::from_secs(12 * 3600);

/// Reason codes of PUBACK and PUBREC that mean something of their own here; others from 0x80 on mean a failure.
const NOT_AUTHORIZED: u8 = 0x87;
const TOPIC_NAME_INVALID: u8 = 0x90;
const QUOTA_EXCEEDED: u8 = 0x97;
const PAYLOAD_FORMAT_INVALID: u8 = 0x99;
const FIRST_FAILURE: u8 = 0x80;

impl<B: Clone> Queue<B> {
    /// A consumer has acknowledged the packet of a delivery: PUBACK, PUBCOMP, or a PUBREC that refuses it. 3.1.1 knows only code 0.
    /// What could not be sent at all is told the same way, with the code that says why: 0x95 for a packet that the client is too small
    /// for.
    pub fn acknowledged(&mut self, consumer: ConsumerId, lease: Lease, code: u8, now: UnixMillis) -> Outcome {
        let now = self.advance(now);
        let Some((index, was_ended)) = self.free_packet(consumer, lease) else { return Outcome::Stale };
        let outcome = self.answered((index, was_ended), lease, code, now);
        self.let_go(consumer);
        outcome
    }

    fn answered(&mut self, (index, was_ended): (u32, bool), lease: Lease, code: u8, now: UnixMillis) -> Outcome {
        let ack = self.consumers.get(index).ack;
        let is_success = code < FIRST_FAILURE;
        if was_ended || is_success && ack == AckMode::Explicit {
            return Outcome::Freed;
        }
        let Some(id) = self.entries.find(lease.seq) else { return Outcome::Stale };
        let course = self.entries.course(id);
        let is_current = self.has_lease(index, id, lease);
        match (is_success, is_current) {
            (true, true) => self.succeed(id, index),
            (true, false) if course.given_up != lease.number => self.settle_late(id),
            (false, true) => return self.refused(id, index, code, now),
            _ => return Outcome::Stale,
        }
        Outcome::Settled
    }

    /// A packet that was sent will not be acknowledged any more: its session has let go of it. What becomes of the message is told by the
    /// end of the session, or of the lease; the attempt was made.
    pub fn unanswered(&mut self, consumer: ConsumerId, lease: Lease) {
        let _ = self.free_packet(consumer, lease);
        self.let_go(consumer);
    }

    /// What was to be delivered was not sent: it comes again, and there was no attempt.
    pub fn unsent(&mut self, consumer: ConsumerId, lease: Lease, now: UnixMillis) {
        self.advance(now);
        let Some((index, _)) = self.free_packet(consumer, lease) else { return };
        if let Some(id) = self.entries.find(lease.seq).filter(|id| self.has_lease(index, *id, lease)) {
            self.counters.count_redelivery(Cause::Unsent);
            self.give_back(id);
        }
        self.let_go(consumer);
    }

    fn has_lease(&self, holder: u32, id: u32, lease: Lease) -> bool {
        let course = self.entries.course(id);
        self.entries.slab[id].state == State::Leased && course.holder == holder && course.leases == lease.number
    }

    /// Its consumer, if that is there, and whether a settle topic had ended the lease.
    fn free_packet(&mut self, consumer: ConsumerId, lease: Lease) -> Option<(u32, bool)> {
        let index = self.consumers.find(consumer)?;
        let holder = self.consumers.get_mut(index);
        holder.packets = holder.packets.saturating_sub(1);
        let was_ended = holder.take_ended(lease);
        self.consumers.refresh(index);
        Some((index, was_ended))
    }

    /// A client has published to `$ack`, `$nack`, `$reject` or `$extend`. Only the holder of the lease may, and `$ack` even after it is
    /// over, as long as nobody has settled the message since.
    pub fn settle(&mut self, client: &str, tag: Tag, settle: Settle, now: UnixMillis) -> Result<(), SettleError> {
        let now = self.advance(now);
        let result = self.try_settle(client, tag, settle, now);
        self.counters.settle_refused += u64::from(result.is_err());
        result
    }

    fn try_settle(&mut self, client: &str, tag: Tag, settle: Settle, now: UnixMillis) -> Result<(), SettleError> {
        if !self.tag_is_of(&tag, client) {
            return Err(SettleError::Unknown);
        }
        let id = self.entries.find(tag.lease.seq).ok_or(SettleError::Over)?;
        let (entry, course) = (&self.entries.slab[id], self.entries.course(id));
        // After a crash that took the record of a lease with it, another client may have one of the same number.
        let is_holder = entry.state == State::Leased && *self.consumers.get(course.holder).client == *client;
        if !is_holder || course.leases != tag.lease.number {
            if settle != Settle::Ack || course.given_up == tag.lease.number {
                return Err(SettleError::Over);
            }
            self.settle_late(id);
            return Ok(());
        }
        let holder = course.holder;
        match settle {
            Settle::Ack => self.succeed(id, holder),
            Settle::Extend(span) => return self.extend(id, span, now),
            Settle::Nack(delay) if delay.is_some_and(|delay| delay > self.config.max_delay.0) => {
                return Err(SettleError::TooLong);
            }
            Settle::Nack(delay) => {
                self.consumers.get_mut(holder).end_by_word(tag.lease);
                self.give_up(id);
                self.fail(id, Cause::Failed, delay, now);
            }
            Settle::Reject => {
                self.consumers.get_mut(holder).end_by_word(tag.lease);
                self.give_up(id);
                self.die(id, DeadReason::Rejected, now);
            }
        }
        Ok(())
    }

    /// A packet was refused by the consumer that has the message.
    fn refused(&mut self, id: u32, holder: u32, code: u8, now: UnixMillis) -> Outcome {
        self.give_up(id);
        self.entries.course_mut(id).last_code = code;
        match code {
            NOT_AUTHORIZED => {
                self.exclude(id, holder);
                self.counters.count_redelivery(Cause::NotAuthorized);
                self.give_back(id);
            }
            QUOTA_EXCEEDED if self.entries.course(id).busy < self.config.max_busy => {
                self.entries.course_mut(id).busy += 1;
                self.with_rest(holder, |consumer, _| consumer.note_busy(now));
                self.counters.count_redelivery(Cause::Busy);
                self.give_back(id);
            }
            TOPIC_NAME_INVALID | PAYLOAD_FORMAT_INVALID => {
                self.die(id, DeadReason::Rejected, now);
                return Outcome::Rejected;
            }
            _ => {
                self.counters.count_failure(code);
                self.fail(id, Cause::Failed, None, now);
            }
        }
        Outcome::Returned
    }

    /// The attempt of a leased message has failed: it comes again after its backoff, or is dead.
    pub(super) fn fail(&mut self, id: u32, cause: Cause, delay: Option<Duration>, now: UnixMillis) {
        self.counters.count_redelivery(cause);
        if cause == Cause::Timeout || cause == Cause::SessionEnd {
            self.entries.course_mut(id).last_code = 0;
        }
        if cause != Cause::SessionEnd {
            let holder = self.entries.course(id).holder;
            self.with_rest(holder, |consumer, has_others| consumer.note_failure(has_others, now));
        }
        let attempts = self.entries.course(id).attempts.into();
        if self.config.is_last(attempts) {
            return self.die(id, DeadReason::MaxDeliveries, now);
        }
        let delay = delay.unwrap_or_else(|| self.config.backoff.delay(attempts, &mut self.random));
        self.return_at(id, now.plus(delay), now);
    }

    /// A leased message comes back without an attempt having been made.
    fn give_back(&mut self, id: u32) {
        self.tell_lease(id);
        let course = self.entries.course_mut(id);
        course.attempts = course.attempts.saturating_sub(1);
        self.return_at(id, self.now, self.now);
    }

    fn return_at(&mut self, id: u32, not_before: UnixMillis, now: UnixMillis) {
        self.end_lease(id);
        let seq = self.entries.slab[id].seq;
        let course = self.entries.course_mut(id);
        course.until = not_before;
        let (attempts, busy, code) = (course.attempts.into(), course.busy, course.code());
        self.changes.push_back((self.part, Change::Returned { seq, attempts, busy, not_before, code }));
        if not_before > now {
            self.entries.set_state(id, State::Waiting);
        }
        self.entries.retime(id);
        self.ready.place(&mut self.entries, id);
    }

    fn succeed(&mut self, id: u32, holder: u32) {
        self.with_rest(holder, |consumer, _| consumer.note_success());
        self.settle_message(id);
    }

    fn settle_late(&mut self, id: u32) {
        self.counters.settled_late += 1;
        self.settle_message(id);
    }

    pub(super) fn settle_message(&mut self, id: u32) {
        let entry = self.forget(id);
        self.counters.settled += 1;
        self.changes.push_back((self.part, Change::Settled { seq: entry.seq, body: Some(entry.body) }));
    }

    /// Takes a message away undone.
    pub(super) fn drop_message(&mut self, id: u32, cause: DropCause) {
        let seq = self.forget(id).seq;
        match cause {
            DropCause::Expired => self.counters.expired += 1,
            DropCause::Overflow => self.counters.overflow_dropped += 1,
            DropCause::Dead(reason) => self.counters.count_dead(reason),
            DropCause::Deleted => self.counters.deleted += 1,
        }
        self.changes.push_back((self.part, Change::Dropped { seq, cause }));
    }

    pub(super) fn expire(&mut self, id: u32, now: UnixMillis) {
        match self.config.expired {
            Expired::DeadLetter => self.die(id, DeadReason::Expired, now),
            Expired::Drop => self.drop_message(id, DropCause::Expired),
        }
    }

    /// Moves a message to the dead letters, or drops it where there are none. Its key goes on, or stops.
    pub(super) fn die(&mut self, id: u32, reason: DeadReason, now: UnixMillis) {
        let entry = &self.entries.slab[id];
        let seq = entry.seq;
        let key = self.ready.key(entry.key);
        // What was never worked on cannot have left its key half done.
        let was_tried = self.entries.course(id).attempts > 0;
        let is_undone = was_tried || matches!(reason, DeadReason::MaxDeliveries | DeadReason::Rejected);
        let blocks = key.filter(|_| is_undone && self.config.on_dead == OnDead::Block);
        if !self.config.dead_letter {
            if let Some(key) = blocks {
                self.changes.push_back((self.part, Change::KeyBlocked { key, by: seq }));
                self.ready.block(&mut self.entries, key, seq);
            }
            return self.drop_message(id, DropCause::Dead(reason));
        }
        self.counters.count_dead(reason);
        // Blocked first: otherwise the key would get in line when its first message goes.
        if let Some(key) = blocks {
            self.ready.block(&mut self.entries, key, seq);
        }
        let last_client = self.last_client(&self.entries.slab[id]).cloned();
        let (entry, course) = self.take(id);
        self.names.release(course.holder);
        let letter = Arc::new(DeadLetter {
            reason,
            attempts: course.attempts.into(),
            last_client,
            last_code: course.code(),
            at: now,
            enqueued_at: entry.enqueued_at,
            key,
        });
        self.changes.push_back((self.part, Change::Died { seq, letter: letter.clone(), blocks }));
        let record = Record { leases: course.leases, ..Record::new(entry.body, seq, entry.size, now) };
        self.dead.push_back(Record { dead: Some(letter), ..record });
    }

    /// Takes a message out for good. Who had it need not be said any more.
    pub(super) fn forget(&mut self, id: u32) -> Entry<B> {
        if self.entries.slab[id].state == State::Leased {
            self.entries.course_mut(id).is_untold = false;
        }
        let (entry, course) = self.take(id);
        self.names.release(course.holder);
        self.letters.remove(&entry.seq);
        entry
    }

    fn extend(&mut self, id: u32, span: Duration, now: UnixMillis) -> Result<(), SettleError> {
        if span > EXTEND_MAX {
            return Err(SettleError::TooLong);
        }
        self.tell_lease(id);
        let deadline = now.plus(span);
        self.entries.course_mut(id).until = deadline;
        let seq = self.entries.slab[id].seq;
        self.entries.retime(id);
        self.changes.push_back((self.part, Change::Extended { seq, deadline }));
        Ok(())
    }

    /// From now on a success that its holder reports of this lease counts no more.
    fn give_up(&mut self, id: u32) {
        let course = self.entries.course_mut(id);
        course.given_up = course.leases;
        course.last_code = 0;
    }

    fn exclude(&mut self, id: u32, holder: u32) {
        let consumer = self.consumers.get(holder).id;
        self.entries.course_mut(id).has_excluded = true;
        self.excluded.entry(self.entries.slab[id].seq).or_default().push(consumer);
    }

    fn with_rest(&mut self, index: u32, act: impl FnOnce(&mut super::consumer::Consumer, bool)) {
        let has_others = self.consumers.len() > 1;
        let consumer = self.consumers.get_mut(index);
        let before = consumer.rests_until;
        act(consumer, has_others);
        self.consumers.note_rest(index, before);
        self.consumers.refresh(index);
    }
}
