use std::time::Duration;

use super::change::{Change, DedupId, DropCause, Record};
use super::config::Overflow;
use super::dead_letter::DeadReason;
use super::entry::{Entry, State};
use super::machine::Queue;
use super::slab::NONE;
use super::tag::purpose;
use super::time::UnixMillis;

/// A message for a queue.
#[derive(Clone, Debug)]
pub struct Enqueue<'a, B> {
    /// Where the message is kept.
    pub body: B,
    /// Bytes of topic, properties and payload.
    pub size: u32,
    /// Its ordering key, as [`super::KeyMode::key_of`] finds it.
    pub key: Option<&'a str>,
    /// What its publisher repeats if it publishes it again.
    pub dedup_id: Option<&'a str>,
    /// How long to keep it back.
    pub delay: Duration,
    /// When its Message Expiry Interval has passed.
    pub expires_at: Option<UnixMillis>,
}

/// What became of a message that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// It is in the queue, under this number. Its publisher may be answered once the change is durable.
    Stored { seq: u64 },
    /// It has been in the queue before. Its publisher is told success, with `q-duplicate`.
    Duplicate,
}

/// Why a message was not taken; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// 0x97.
    #[error("the queue is full")]
    Full,
    #[error("the delay is longer than the queue's max_delay, or than it keeps messages")]
    DelayTooLong,
}

/// Numbers that one `Reserved` covers: after a restart the queue goes on behind them.
const RESERVE: u64 = 1 << 16;

impl<B: Clone> Queue<B> {
    /// Takes a message in, if it is new and there is room, or room can be made.
    pub fn enqueue(&mut self, message: Enqueue<'_, B>, now: UnixMillis) -> Result<Enqueued, Refused> {
        let now = self.advance(now);
        if !self.config.may_wait(message.delay) {
            return Err(Refused::DelayTooLong);
        }
        let dedup_id = self.dedup_id(message.dedup_id, now);
        if dedup_id.is_some_and(|id| self.dedup.contains(id)) {
            self.counters.dedup_hits += 1;
            return Ok(Enqueued::Duplicate);
        }
        if !self.make_room(message.size, now) {
            self.counters.overflow_rejected += 1;
            return Err(Refused::Full);
        }
        if let Some(id) = dedup_id {
            self.dedup.insert(id, now, self.config.dedup_max_ids);
        }
        let seq = self.take_number();
        let record = Record {
            not_before: (!message.delay.is_zero()).then(|| now.plus(message.delay)),
            expires_at: message.expires_at,
            key: message.key.map(|key| self.key_of(key)),
            dedup_id,
            ..Record::new(message.body, seq, message.size, self.stamp(seq, now))
        };
        self.insert(&record);
        self.changes.push_back((self.part, Change::Enqueued(record)));
        self.counters.enqueued += 1;
        Ok(Enqueued::Stored { seq })
    }

    /// Whether [`Self::enqueue`] would take a message, as new or as a repeated one. Nothing changes but a figure.
    pub fn admits(&mut self, size: u32, delay: Duration, dedup_id: Option<&str>, now: UnixMillis) -> Result<(), Refused> {
        let now = self.advance(now);
        if !self.config.may_wait(delay) {
            return Err(Refused::DelayTooLong);
        }
        let dedup_id = self.dedup_id(dedup_id, now);
        let is_repeated = dedup_id.is_some_and(|id| self.dedup.contains(id));
        if is_repeated || self.has_room(size) || self.can_make_room(size) {
            return Ok(());
        }
        self.counters.overflow_rejected += 1;
        Err(Refused::Full)
    }

    /// Puts a message into the queue as its record tells, as the youngest, and in its line.
    pub(super) fn insert(&mut self, record: &Record<B>) {
        let id = self.add(record);
        self.ready.place(&mut self.entries, id);
    }

    /// The same, in no line yet.
    pub(super) fn add(&mut self, record: &Record<B>) -> u32 {
        let mut entry = Entry::new(record.body.clone(), record.seq, record.size, record.enqueued_at);
        entry.key = record.key.map_or(NONE, |key| self.ready.intern(key));
        entry.is_first = record.is_first;
        let id = self.entries.insert(entry);
        if record.has_course() {
            let holder = record.last_client.as_ref().map_or(NONE, |client| self.names.hold(client));
            let course = self.entries.course_mut(id);
            course.expires_at = record.expires_at.unwrap_or(UnixMillis::NEVER);
            course.until = record.not_before.unwrap_or_default();
            course.holder = holder;
            course.attempts = u16::try_from(record.attempts).unwrap_or(u16::MAX);
            course.busy = record.busy;
            course.leases = record.leases;
            course.last_code = record.last_code.unwrap_or(0);
        }
        if record.not_before.is_some_and(|at| at > self.now) {
            self.entries.set_state(id, State::Waiting);
        }
        self.entries.retime(id);
        if let Some(letter) = &record.dead {
            self.letters.insert(record.seq, letter.clone());
        }
        self.next_seq = self.next_seq.max(record.seq + 1);
        id
    }

    /// Drops what is oldest until a message of this size fits, where the policy allows that, and nothing if it cannot fit.
    pub(super) fn make_room(&mut self, size: u32, now: UnixMillis) -> bool {
        if !self.has_room(size) && !self.can_make_room(size) {
            return false;
        }
        while !self.has_room(size) {
            let Some(oldest) = self.entries.oldest_waiting() else { return false };
            if self.config.overflow == Overflow::DeadLetter {
                self.die(oldest, DeadReason::QueueFull, now);
            } else {
                self.drop_message(oldest, DropCause::Overflow);
            }
        }
        true
    }

    /// Whether [`Self::make_room`] would succeed: all but what consumers have can go.
    fn can_make_room(&self, size: u32) -> bool {
        self.config.overflow != Overflow::RejectPublish
            && (self.entries.leased() as u64) < self.config.max_messages
            && self.entries.leased_bytes() + u64::from(size) <= self.config.max_bytes.0
    }

    pub(super) fn has_room(&self, size: u32) -> bool {
        (self.entries.len() as u64) < self.config.max_messages
            && self.entries.bytes() + u64::from(size) <= self.config.max_bytes.0
    }

    /// The date of a message that comes in as the youngest: by dates and then by numbers they are put in order again after a restart, and
    /// the clock may have been set back since the last one came.
    pub(super) fn stamp(&self, seq: u64, now: UnixMillis) -> UnixMillis {
        let Some(youngest) = self.entries.youngest().filter(|youngest| youngest.enqueued_at > now) else { return now };
        let step = Duration::from_millis((youngest.seq > seq).into());
        youngest.enqueued_at.plus(step)
    }

    fn take_number(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        if seq >= self.reserved {
            self.reserved = seq + RESERVE;
            self.changes.push_back((self.part, Change::Reserved { until: self.reserved }));
        }
        seq
    }

    /// What stands for a deduplication identifier, where this queue remembers any.
    fn dedup_id(&mut self, id: Option<&str>, now: UnixMillis) -> Option<DedupId> {
        let window = self.config.dedup_window.0;
        self.dedup.forget_old(window, now);
        let id = id.filter(|_| !window.is_zero())?.as_bytes();
        Some(DedupId(purpose::DEDUP.map(|purpose| self.secret.hash(purpose, &[self.name.as_str().as_bytes(), id]))))
    }
}

impl<B> Record<B> {
    /// Whether something has happened to the message, or it waits for something.
    fn has_course(&self) -> bool {
        let has_waits = self.not_before.is_some() || self.expires_at.is_some();
        has_waits
            || self.leases > 0
            || self.attempts > 0
            || self.busy > 0
            || self.last_client.is_some()
            || self.last_code.is_some()
    }

    /// A message that nothing has happened to yet.
    pub(super) fn new(body: B, seq: u64, size: u32, enqueued_at: UnixMillis) -> Self {
        Self {
            seq,
            enqueued_at,
            not_before: None,
            expires_at: None,
            size,
            key: None,
            dedup_id: None,
            attempts: 0,
            busy: 0,
            leases: 0,
            is_first: false,
            lease: None,
            last_client: None,
            last_code: None,
            dead: None,
            body,
        }
    }
}
