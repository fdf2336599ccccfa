use std::time::Duration;

use super::list::{Linked, List};
use super::slab::Slab;
use super::time::UnixMillis;

/// A value that can wait on a [`Wheel`].
pub(super) trait Timed: Linked {
    /// When its time has come.
    fn due(&self) -> UnixMillis;
    /// Where on the wheel it hangs.
    fn place(&mut self) -> &mut WheelPlace;
}

/// A slot of a wheel, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WheelPlace(u16);

impl WheelPlace {
    pub(super) const NONE: Self = Self(u16::MAX);
}

/// Timers of values of a slab: setting and cancelling take constant time and no memory, however many there are. Levels of 64 slots,
/// each level 64 times as coarse as the one below; a value moves down a level when its slot comes up, so at most five times.
#[derive(Debug)]
pub(super) struct Wheel<const CHAIN: usize> {
    /// The tick up to which all has been handed out.
    elapsed: u64,
    /// Per level: which slots hold something.
    occupied: [u64; LEVELS],
    slots: Box<[List<CHAIN>]>,
}

/// How exactly timers fire: never early, late by up to this much.
pub(super) const TICK: Duration = Duration::from_millis(TICK_MILLIS);
const TICK_MILLIS: u64 = 10;
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
/// Together 21 years; what is later than half of that is looked at again then.
const LEVELS: usize = 6;
const TURN: u64 = 1 << (BITS as usize * LEVELS);

/// A slot that comes up next.
struct Next {
    level: usize,
    slot: usize,
    tick: u64,
}

impl<const CHAIN: usize> Wheel<CHAIN> {
    pub(super) fn new(now: UnixMillis) -> Self {
        Self { elapsed: now.0 / TICK_MILLIS, occupied: [0; LEVELS], slots: vec![List::default(); LEVELS * SLOTS].into() }
    }

    pub(super) fn insert<T: Timed>(&mut self, values: &mut Slab<T>, id: u32) {
        let due = values[id].due().0.div_ceil(TICK_MILLIS).clamp(self.elapsed, self.elapsed + TURN / 2);
        let level = self.level_of(due);
        let slot = (due >> (BITS as usize * level)) as usize % SLOTS;
        self.occupied[level] |= 1 << slot;
        *values[id].place() = WheelPlace((level * SLOTS + slot) as u16);
        self.slots[level * SLOTS + slot].push_back(values, id);
    }

    /// Takes a value off; one that does not hang here stays as it is.
    pub(super) fn remove<T: Timed>(&mut self, values: &mut Slab<T>, id: u32) {
        let place = std::mem::replace(values[id].place(), WheelPlace::NONE);
        if place == WheelPlace::NONE {
            return;
        }
        let at = usize::from(place.0);
        self.slots[at].remove(values, id);
        self.mark(at);
    }

    /// The first value whose time has come, taken off.
    pub(super) fn pop_due<T: Timed>(&mut self, values: &mut Slab<T>, now: UnixMillis) -> Option<u32> {
        let now_tick = (now.0 / TICK_MILLIS).max(self.elapsed);
        loop {
            let Some(next) = self.next().filter(|next| next.tick <= now_tick) else {
                self.elapsed = now_tick;
                return None;
            };
            self.elapsed = next.tick;
            let at = next.level * SLOTS + next.slot;
            if next.level == 0 {
                let id = self.slots[at].pop_front(values).expect("an occupied slot holds something");
                *values[id].place() = WheelPlace::NONE;
                self.mark(at);
                return Some(id);
            }
            self.spread(values, at);
        }
    }

    /// When to look again: never later than the first value is due, perhaps earlier.
    pub(super) fn next_due(&self) -> Option<UnixMillis> {
        self.next().map(|next| UnixMillis(next.tick * TICK_MILLIS))
    }

    /// Hangs the values of a slot that has come up into finer ones.
    fn spread<T: Timed>(&mut self, values: &mut Slab<T>, at: usize) {
        let mut coarse = std::mem::take(&mut self.slots[at]);
        self.mark(at);
        while let Some(id) = coarse.pop_front(values) {
            self.insert(values, id);
        }
    }

    fn mark(&mut self, at: usize) {
        let bit = 1 << (at % SLOTS);
        if self.slots[at].is_empty() {
            self.occupied[at / SLOTS] &= !bit;
        }
    }

    /// The finest level on which `due` and now are in the same turn.
    fn level_of(&self, due: u64) -> usize {
        let differing = (self.elapsed ^ due) | (SLOTS as u64 - 1);
        ((63 - differing.leading_zeros()) / BITS).min(LEVELS as u32 - 1) as usize
    }

    fn next(&self) -> Option<Next> {
        // A finer level always comes up before a coarser one: it is inside the coarser one's present slot.
        let level = self.occupied.iter().position(|slots| *slots != 0)?;
        let shift = BITS as usize * level;
        let here = (self.elapsed >> shift) as usize % SLOTS;
        let ahead = self.occupied[level].rotate_right(here as u32).trailing_zeros() as usize;
        let slot = (here + ahead) % SLOTS;
        let turn = shift + BITS as usize;
        let start = (self.elapsed >> turn) << turn;
        // Only on the coarsest level can a slot lie behind: it means the next turn.
        let next_turn = if slot < here { 1 << turn } else { 0 };
        Some(Next { level, slot, tick: start + ((slot as u64) << shift) + next_turn })
    }
}
