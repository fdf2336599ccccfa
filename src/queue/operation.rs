//! What operators do to a queue.

use std::sync::Arc;

use super::change::{Change, DropCause};
use super::dead_letter::DeadLetter;
use super::entry::{Entry, State};
use super::machine::Queue;
use super::slab::NONE;
use super::time::UnixMillis;
use super::{Key, entry::ORDER, list::Linked};

/// A message as an operator sees it.
#[derive(Clone, Debug)]
pub struct Peeked<B> {
    pub seq: u64,
    pub status: Status,
    /// Deliveries so far that count.
    pub attempts: u32,
    pub size: u32,
    pub enqueued_at: UnixMillis,
    pub expires_at: Option<UnixMillis>,
    pub last_client: Option<Arc<str>>,
    pub last_code: Option<u8>,
    pub dead: Option<Arc<DeadLetter>>,
    pub body: B,
}

/// Where in its life a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It can be had, or waits for others of its key.
    Ready,
    /// Its key stands still because of this dead message.
    Blocked { by: u64 },
    /// Nobody gets it before that.
    Delayed(UnixMillis),
    /// A consumer has it, until then.
    Leased(UnixMillis),
}

impl<B: Clone> Queue<B> {
    /// No message leaves until [`Self::resume`]; timers go on, and what is leased can be settled.
    pub fn pause(&mut self) {
        if !std::mem::replace(&mut self.is_paused, true) {
            self.changes.push_back((self.part, Change::Paused));
        }
    }

    pub fn resume(&mut self) {
        if std::mem::replace(&mut self.is_paused, false) {
            self.changes.push_back((self.part, Change::Resumed));
        }
    }

    /// Takes out messages with numbers below `before`, the oldest first and whoever has them: `count` of them, or all if there are fewer.
    /// Says how many. Deduplication identifiers are still remembered.
    pub fn purge(&mut self, before: u64, count: usize) -> usize {
        let mut gone = 0;
        // Told one by one: replayed onto a later state, "all" would mean others.
        while gone < count
            && let Some(id) = self.entries.oldest().filter(|id| self.entries.slab[*id].seq < before)
        {
            self.drop_message(id, DropCause::Deleted);
            gone += 1;
        }
        gone
    }

    /// Takes out one message, whoever has it; `false` if it is not here.
    pub fn delete(&mut self, seq: u64) -> bool {
        let found = self.entries.find(seq);
        if let Some(id) = found {
            self.drop_message(id, DropCause::Deleted);
        }
        found.is_some()
    }

    /// Up to `count` messages in the order of their age, from the oldest or from behind `after`.
    pub fn peek(&self, after: Option<u64>, count: usize) -> Vec<Peeked<B>> {
        let some = |id: u32| (id != NONE).then_some(id);
        let first = after.map_or_else(|| self.entries.oldest(), |after| self.entries.first_after(after));
        let ids = std::iter::successors(first, |id| some(self.entries.slab[*id].next(ORDER)));
        ids.take(count).map(|id| self.peeked(&self.entries.slab[id])).collect()
    }

    /// One message; `None` if it is not here.
    pub fn peek_one(&self, seq: u64) -> Option<Peeked<B>> {
        self.entries.find(seq).map(|id| self.peeked(&self.entries.slab[id]))
    }

    /// Keys that stand still, each with the number of the dead message that it waits for.
    pub fn blocked_keys(&self) -> impl Iterator<Item = (Key, u64)> + '_ {
        self.ready.blocked.iter().map(|(key, by)| (*key, *by))
    }

    /// Lets a key go on without its dead message; `false` if it was not blocked.
    pub fn unblock(&mut self, key: Key) -> bool {
        let was_blocked = self.ready.unblock(&mut self.entries, key);
        if was_blocked {
            self.changes.push_back((self.part, Change::KeyUnblocked { key }));
        }
        was_blocked
    }

    /// Lets `count` keys go on that stand still, or all if there are fewer, and says how many.
    pub fn unblock_some(&mut self, count: usize) -> usize {
        let keys: Vec<_> = self.ready.blocked.keys().copied().take(count).collect();
        keys.into_iter().filter(|key| self.unblock(*key)).count()
    }

    fn peeked(&self, entry: &Entry<B>) -> Peeked<B> {
        let course = self.entries.course_of(entry);
        Peeked {
            seq: entry.seq,
            status: self.status(entry),
            attempts: course.attempts.into(),
            size: entry.size,
            enqueued_at: entry.enqueued_at,
            expires_at: course.expires_at.some(),
            last_client: self.last_client(entry).cloned(),
            last_code: course.code(),
            dead: self.letters.get(&entry.seq).cloned(),
            body: entry.body.clone(),
        }
    }

    fn status(&self, entry: &Entry<B>) -> Status {
        let blocked = self.ready.key(entry.key).and_then(|key| self.ready.blocked.get(&key));
        let until = self.entries.course_of(entry).until;
        match (entry.state, blocked) {
            (State::Leased, _) => Status::Leased(until),
            (_, Some(by)) => Status::Blocked { by: *by },
            (State::Waiting, None) => Status::Delayed(until),
            (State::Ready, None) => Status::Ready,
        }
    }
}
