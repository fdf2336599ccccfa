//! The lock of a slot as tests have it: parking_lot's, and within a model one that loom schedules as well.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use loom::sync::{Mutex as Gate, MutexGuard as Passage};
use parking_lot::{Mutex, MutexGuard};

thread_local! {
    /// A model runs on this thread, with all the threads that it has.
    static IS_MODEL: Cell<bool> = const { Cell::new(false) };
}

/// Slots that are made while `work` runs belong to a model.
pub fn within_model(work: impl FnOnce()) {
    IS_MODEL.set(true);
    work();
    IS_MODEL.set(false);
}

#[derive(Debug)]
pub struct SlotLock<T> {
    /// Who is within has the slot for itself: what is behind is never waited for.
    gate: Option<Gate<()>>,
    slot: Mutex<T>,
}

pub struct SlotGuard<'a, T> {
    slot: MutexGuard<'a, T>,
    /// Dropped after the slot.
    _passage: Option<Passage<'a, ()>>,
}

impl<T> SlotLock<T> {
    pub fn new(slot: T) -> Self {
        Self { gate: IS_MODEL.get().then(|| Gate::new(())), slot: Mutex::new(slot) }
    }

    pub fn lock(&self) -> SlotGuard<'_, T> {
        let passage = self.gate.as_ref().map(|gate| gate.lock().expect("loom's locks are not poisoned"));
        SlotGuard { slot: self.slot.lock(), _passage: passage }
    }
}

impl<T> Deref for SlotGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.slot
    }
}

impl<T> DerefMut for SlotGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.slot
    }
}
