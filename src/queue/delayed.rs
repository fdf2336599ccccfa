use std::collections::VecDeque;

use super::index::Index;
use super::list::{Linked, Links};
use super::owner::Owner;
use super::slab::Slab;
use super::time::UnixMillis;
use super::wheel::{Timed, Wheel, WheelPlace};
use crate::storage::Parts;

/// Messages that are published later: `$delayed/SECONDS/TOPIC` for ordinary topics. Each costs some 70 bytes besides its body, and
/// setting and firing take constant time, however many there are. `B` says where a message is kept, `O` whose it is.
#[derive(Debug)]
pub struct DelayedMessages<B, O> {
    slab: Slab<Delayed<B, O>>,
    /// By the number of the message.
    index: Index,
    wheel: Wheel<0>,
    bytes: u64,
    next_number: u64,
    /// Numbers below this may be given out without saying so.
    reserved: u64,
    now: UnixMillis,
    bounds: DelayedBounds,
    changes: VecDeque<DelayedChange<B, O>>,
}

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayedBounds {
    pub messages_max: u64,
    /// Of topic, properties and payload.
    pub bytes_max: u64,
}

/// What must outlive a crash. Applied in order, any beginning of them rebuilds what waited then.
#[derive(Clone, Debug, PartialEq)]
pub enum DelayedChange<B, O> {
    /// A message waits. Its publisher is answered once this is durable.
    Scheduled { number: u64, at: UnixMillis, size: u32, body: B, owner: Option<O> },
    /// It has been published, or taken out. Written together with what the publish left behind, or after it: lost, it only means that
    /// the message is published once more.
    Released { number: u64 },
    /// Numbers below this may have been given out.
    Reserved { until: u64 },
}

impl<B> DelayedChange<B, Owner> {
    /// Appends the change as bytes, without its body.
    pub fn write(&self, out: &mut Vec<u8>) {
        let numbers = match self {
            Self::Scheduled { number, at, size, owner: None, .. } => [0, *number, at.0, u64::from(*size)],
            Self::Scheduled { number, at, size, .. } => [3, *number, at.0, u64::from(*size)],
            Self::Released { number } => [1, *number, 0, 0],
            Self::Reserved { until } => [2, *until, 0, 0],
        };
        numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        if let Self::Scheduled { owner: Some(owner), .. } = self {
            owner.write(out);
        }
    }

    /// Reads what [`Self::write`] wrote. `None`: it is none, or its body is missing.
    pub fn read(bytes: &[u8], body: Option<B>) -> Option<Self> {
        let mut parts = Parts(bytes);
        let [kind, number, at, size] = [parts.u64()?, parts.u64()?, parts.u64()?, parts.u64()?];
        let owner = if kind == 3 { Some(Owner::read(&mut parts)?) } else { None };
        match kind {
            _ if !parts.0.is_empty() || number >= NUMBER_END => None,
            0 | 3 => Some(Self::Scheduled { number, at: UnixMillis(at), size: u32::try_from(size).ok()?, body: body?, owner }),
            1 => Some(Self::Released { number }),
            2 => Some(Self::Reserved { until: number }),
            _ => None,
        }
    }
}

impl<B, O> DelayedChange<B, O> {
    /// The same with the owner as somebody else knows it.
    pub fn map_owner<P>(self, map: impl FnOnce(O) -> P) -> DelayedChange<B, P> {
        match self {
            Self::Scheduled { number, at, size, body, owner } => {
                DelayedChange::Scheduled { number, at, size, body, owner: owner.map(map) }
            }
            Self::Released { number } => DelayedChange::Released { number },
            Self::Reserved { until } => DelayedChange::Reserved { until },
        }
    }

    /// Its body, if it brings one.
    pub const fn body(&self) -> Option<&B> {
        match self {
            Self::Scheduled { body, .. } => Some(body),
            Self::Released { .. } | Self::Reserved { .. } => None,
        }
    }
}

/// A message whose time has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Due<B, O> {
    pub number: u64,
    pub body: B,
    /// As it was scheduled.
    pub size: u32,
    pub owner: Option<O>,
}

/// There is no room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DelayedFull {
    #[error("too many delayed messages")]
    Messages,
    #[error("too many bytes of delayed messages")]
    Bytes,
}

#[derive(Debug)]
struct Delayed<B, O> {
    body: B,
    owner: Option<O>,
    number: u64,
    at: UnixMillis,
    links: Links,
    size: u32,
    place: WheelPlace,
}

/// No number gets so far; one that is read must leave room for the next.
const NUMBER_END: u64 = 1 << 63;
/// Numbers that one `Reserved` covers.
const RESERVE: u64 = 1 << 16;

impl<B: Clone, O: Clone> Delayed<B, O> {
    fn change(&self) -> DelayedChange<B, O> {
        let (body, owner) = (self.body.clone(), self.owner.clone());
        DelayedChange::Scheduled { number: self.number, at: self.at, size: self.size, body, owner }
    }
}

impl<B, O> Linked for Delayed<B, O> {
    fn links(&mut self, _: usize) -> &mut Links {
        &mut self.links
    }

    fn next(&self, _: usize) -> u32 {
        self.links.next()
    }
}

impl<B, O> Timed for Delayed<B, O> {
    fn due(&self) -> UnixMillis {
        self.at
    }

    fn place(&mut self) -> &mut WheelPlace {
        &mut self.place
    }
}

impl<B: Clone, O: Clone> DelayedMessages<B, O> {
    pub fn new(bounds: DelayedBounds, now: UnixMillis) -> Self {
        Self {
            slab: Slab::new(),
            index: Index::default(),
            wheel: Wheel::new(now),
            bytes: 0,
            next_number: 1,
            reserved: 1,
            now,
            bounds,
            changes: VecDeque::new(),
        }
    }

    /// Keeps a message until `at`, and gives its number. `owner` is whose it is, if it is anybody's.
    pub fn schedule(&mut self, body: B, size: u32, at: UnixMillis, owner: Option<O>) -> Result<u64, DelayedFull> {
        if self.slab.len() as u64 >= self.bounds.messages_max {
            return Err(DelayedFull::Messages);
        }
        if self.bytes + u64::from(size) > self.bounds.bytes_max {
            return Err(DelayedFull::Bytes);
        }
        let number = self.next_number;
        self.next_number += 1;
        if number >= self.reserved {
            self.reserved = number + RESERVE;
            self.changes.push_back(DelayedChange::Reserved { until: self.reserved });
        }
        self.insert(number, at, size, body.clone(), owner.clone());
        self.changes.push_back(DelayedChange::Scheduled { number, at, size, body, owner });
        Ok(number)
    }

    /// Keeps a message again that was due and could not be published, whatever the bounds.
    pub fn put_back(&mut self, due: Due<B, O>, at: UnixMillis) {
        let bounds = std::mem::replace(&mut self.bounds, DelayedBounds { messages_max: u64::MAX, bytes_max: u64::MAX });
        let _ = self.schedule(due.body, due.size, at, due.owner); // within these it is taken
        self.bounds = bounds;
    }

    /// The next message whose time has come. To be called until there is none, or until enough was done at once.
    pub fn poll_due(&mut self, now: UnixMillis) -> Option<Due<B, O>> {
        self.now = self.now.max(now);
        let id = self.wheel.pop_due(&mut self.slab, self.now)?;
        let Delayed { number, body, size, owner, .. } = self.remove(id);
        self.changes.push_back(DelayedChange::Released { number });
        Some(Due { number, body, size, owner })
    }

    /// When to call [`Self::poll_due`] next: never later than the first message is due, perhaps earlier.
    pub fn poll_timeout(&self) -> Option<UnixMillis> {
        self.wheel.next_due()
    }

    /// Takes a message out before its time.
    pub fn cancel(&mut self, number: u64) -> Option<B> {
        let id = self.find(number)?;
        let delayed = self.remove(id);
        self.changes.push_back(DelayedChange::Released { number });
        Some(delayed.body)
    }

    /// The next change that must outlive a crash, in the order in which they happened.
    pub fn poll_change(&mut self) -> Option<DelayedChange<B, O>> {
        self.changes.pop_front()
    }

    /// Takes the next change of the journal, when this is rebuilt from it. Bounds do not matter here.
    pub fn apply(&mut self, change: DelayedChange<B, O>) {
        match change {
            DelayedChange::Scheduled { number, at, size, body, owner } => {
                if let Some(id) = self.find(number) {
                    self.remove(id);
                }
                self.insert(number, at, size, body, owner);
                self.next_number = self.next_number.max(number + 1);
            }
            DelayedChange::Released { number } => {
                if let Some(id) = self.find(number) {
                    self.remove(id);
                }
            }
            DelayedChange::Reserved { until } => self.next_number = self.next_number.max(until),
        }
        self.reserved = self.next_number;
    }

    /// One message as it is, in one change: for a journal that moves what lives out of an old segment.
    pub fn snapshot_of(&self, number: u64) -> Option<DelayedChange<B, O>> {
        Some(self.slab[self.find(number)?].change())
    }

    /// Keeps numbers from being given out twice, where the journal has cleared away all other records.
    pub const fn snapshot_of_numbers(&self) -> DelayedChange<B, O> {
        DelayedChange::Reserved { until: if self.reserved > self.next_number { self.reserved } else { self.next_number } }
    }

    /// Shows what waits, in pieces, between which messages may come and go: `count` places in memory from the place `from` on, which at
    /// the beginning is 0. Returns where the next piece begins, `None` behind the last one.
    pub fn show(&self, from: u32, count: u32, mut see: impl FnMut(DelayedChange<B, O>)) -> Option<u32> {
        let to = from.saturating_add(count);
        for (_, one) in self.slab.range(from, to) {
            see(one.change());
        }
        (to < self.slab.end()).then_some(to)
    }

    pub fn set_bounds(&mut self, bounds: DelayedBounds) {
        self.bounds = bounds;
    }

    pub const fn len(&self) -> usize {
        self.slab.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Of topic, properties and payload.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    fn find(&self, number: u64) -> Option<u32> {
        self.index.find(number, |id| self.slab[id].number == number)
    }

    fn insert(&mut self, number: u64, at: UnixMillis, size: u32, body: B, owner: Option<O>) {
        self.bytes += u64::from(size);
        let delayed = Delayed { body, owner, number, at, links: Links::default(), size, place: WheelPlace::NONE };
        let id = self.slab.insert(delayed);
        self.index.insert(number, id, |id| self.slab[id].number);
        self.wheel.insert(&mut self.slab, id);
    }

    fn remove(&mut self, id: u32) -> Delayed<B, O> {
        self.wheel.remove(&mut self.slab, id);
        self.index.remove(self.slab[id].number, id);
        let delayed = self.slab.remove(id);
        self.bytes -= u64::from(delayed.size);
        delayed
    }
}
