use super::slab::{NONE, Slab};

/// The neighbours of a value in one list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    previous: u32,
    next: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self::NONE
    }
}

/// A value that can be in several lists at a time, one per chain.
pub(super) trait Linked {
    fn links(&mut self, chain: usize) -> &mut Links;
    fn next(&self, chain: usize) -> u32;
}

/// A list of values of a slab that is threaded through the values: any of them leaves it in constant time, and it needs no memory of
/// its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct List<const CHAIN: usize> {
    head: u32,
    tail: u32,
}

impl<const CHAIN: usize> Default for List<CHAIN> {
    fn default() -> Self {
        Self { head: NONE, tail: NONE }
    }
}

impl Links {
    pub(super) const NONE: Self = Self { previous: NONE, next: NONE };

    pub(super) const fn next(self) -> u32 {
        self.next
    }
}

impl<const CHAIN: usize> List<CHAIN> {
    pub(super) const fn is_empty(&self) -> bool {
        self.head == NONE
    }

    pub(super) fn front(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    pub(super) fn back(&self) -> Option<u32> {
        (self.tail != NONE).then_some(self.tail)
    }

    pub(super) fn push_back<T: Linked>(&mut self, values: &mut Slab<T>, id: u32) {
        *values[id].links(CHAIN) = Links { previous: self.tail, next: NONE };
        match self.tail {
            NONE => self.head = id,
            tail => values[tail].links(CHAIN).next = id,
        }
        self.tail = id;
    }

    /// Puts it before `other`, which is in the list; with [`NONE`] at the end.
    pub(super) fn insert_before<T: Linked>(&mut self, values: &mut Slab<T>, id: u32, other: u32) {
        if other == NONE {
            return self.push_back(values, id);
        }
        let previous = std::mem::replace(&mut values[other].links(CHAIN).previous, id);
        *values[id].links(CHAIN) = Links { previous, next: other };
        match previous {
            NONE => self.head = id,
            previous => values[previous].links(CHAIN).next = id,
        }
    }

    pub(super) fn remove<T: Linked>(&mut self, values: &mut Slab<T>, id: u32) {
        let Links { previous, next } = std::mem::take(values[id].links(CHAIN));
        match previous {
            NONE => self.head = next,
            previous => values[previous].links(CHAIN).next = next,
        }
        match next {
            NONE => self.tail = previous,
            next => values[next].links(CHAIN).previous = previous,
        }
    }

    pub(super) fn pop_front<T: Linked>(&mut self, values: &mut Slab<T>) -> Option<u32> {
        let id = self.front()?;
        self.remove(values, id);
        Some(id)
    }

    /// From the front to the back.
    pub(super) fn iter<'a, T: Linked>(&self, values: &'a Slab<T>) -> impl Iterator<Item = u32> + use<'a, T, CHAIN> {
        let some = |id: u32| (id != NONE).then_some(id);
        std::iter::successors(some(self.head), move |id| some(values[*id].next(CHAIN)))
    }
}
