/// Values under small numbers, in pages: growing copies nothing, and a page that empties gives its memory back.
#[derive(Debug)]
pub(super) struct Slab<T> {
    pages: Vec<Page<T>>,
    /// Pages with room, each once; among them all that have no memory.
    open: Vec<u32>,
    len: usize,
}

#[derive(Debug)]
struct Page<T> {
    slots: Vec<Slot<T>>,
    /// The first free slot below `slots.len()`.
    free: u32,
    used: u32,
    is_open: bool,
}

#[derive(Debug)]
enum Slot<T> {
    Full(T),
    /// The next free slot of the page.
    Free(u32),
}

/// Bytes of a page: one that allocators have a class for, so that nothing is lost between pages.
const PAGE_BYTES: usize = 16 << 10;
/// A small slab does not take a whole page, and keeps what it has when it empties.
const FIRST: usize = 4;

/// No number: where a link leads nowhere.
pub(super) const NONE: u32 = u32::MAX;

impl<T> Slab<T> {
    /// Values of a page.
    const PAGE: u32 = (PAGE_BYTES / size_of::<Slot<T>>()) as u32;

    pub(super) const fn new() -> Self {
        Self { pages: Vec::new(), open: Vec::new(), len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        let number = match self.open.last() {
            Some(number) => *number,
            None => self.add_page(),
        };
        let page = &mut self.pages[number as usize];
        let slot = page.insert(value);
        if page.used == Self::PAGE {
            page.is_open = false;
            self.open.pop();
        }
        self.len += 1;
        number * Self::PAGE + slot
    }

    /// Takes a value out that is there.
    pub(super) fn remove(&mut self, id: u32) -> T {
        let number = id / Self::PAGE;
        let page = &mut self.pages[number as usize];
        let value = page.remove(id % Self::PAGE);
        if !page.is_open {
            page.is_open = true;
            self.open.push(number);
        }
        self.len -= 1;
        if self.len == 0 && self.pages.len() > 1 {
            *self = Self::new();
        }
        value
    }

    /// The values with numbers from `from` up to and without `to`. A value keeps its number, so whoever goes on from where the last
    /// call has stopped meets each that stays once, whatever comes and goes in between.
    pub(super) fn range(&self, from: u32, to: u32) -> impl Iterator<Item = (u32, &T)> {
        let first = (from / Self::PAGE) as usize;
        let pages = self.pages.iter().enumerate().skip(first).take_while(move |(page, _)| (*page as u32) * Self::PAGE < to);
        let slots = pages.flat_map(|(page, of)| (page as u32 * Self::PAGE..).zip(&of.slots));
        slots.filter_map(move |(id, slot)| match slot {
            Slot::Full(value) if (from..to).contains(&id) => Some((id, value)),
            _ => None,
        })
    }

    /// All numbers are below this.
    pub(super) fn end(&self) -> u32 {
        let before = self.pages.len().saturating_sub(1) as u32 * Self::PAGE;
        before + self.pages.last().map_or(0, |last| last.slots.len() as u32)
    }

    pub(super) fn get(&self, id: u32) -> Option<&T> {
        match self.pages.get((id / Self::PAGE) as usize)?.slots.get((id % Self::PAGE) as usize)? {
            Slot::Full(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    fn add_page(&mut self) -> u32 {
        let number = self.pages.len() as u32;
        self.pages.push(Page { slots: Vec::new(), free: NONE, used: 0, is_open: true });
        self.open.push(number);
        number
    }
}

impl<T> Page<T> {
    fn insert(&mut self, value: T) -> u32 {
        self.used += 1;
        if self.free == NONE {
            if self.slots.len() == self.slots.capacity() {
                let room = Slab::<T>::PAGE as usize - self.slots.len();
                let more = self.slots.len().max(FIRST).min(room);
                self.slots.reserve_exact(more);
            }
            self.slots.push(Slot::Full(value));
            return self.slots.len() as u32 - 1;
        }
        let free = self.free;
        match std::mem::replace(&mut self.slots[free as usize], Slot::Full(value)) {
            Slot::Free(next) => self.free = next,
            Slot::Full(_) => unreachable!("the free list leads to free slots"),
        }
        free
    }

    fn remove(&mut self, slot: u32) -> T {
        let taken = std::mem::replace(&mut self.slots[slot as usize], Slot::Free(self.free));
        let Slot::Full(value) = taken else { unreachable!("what is removed is there") };
        self.free = slot;
        self.used -= 1;
        if self.used == 0 && self.slots.len() > FIRST {
            self.slots = Vec::new();
            self.free = NONE;
        }
        value
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, id: u32) -> &T {
        self.get(id).expect("only numbers of values that are there are kept")
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, id: u32) -> &mut T {
        let slot = &mut self.pages[(id / Self::PAGE) as usize].slots[(id % Self::PAGE) as usize];
        let Slot::Full(value) = slot else { panic!("only numbers of values that are there are kept") };
        value
    }
}
