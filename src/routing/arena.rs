use std::num::NonZeroU32;

/// The place of a value in an [`Arena`]; four bytes, also as an `Option`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(NonZeroU32);

/// Values in numbered places that are used again: an [`Id`] costs half of a pointer, and a value nothing besides itself. It grows by
/// whole blocks, so no growth copies what is there.
pub(super) struct Arena<T> {
    /// All but the last are full.
    blocks: Vec<Vec<Option<T>>>,
    free: Vec<Id>,
}

/// Places in a block.
const BLOCK: usize = 1024;

impl Id {
    fn from_index(index: usize) -> Self {
        let number = u32::try_from(index + 1).ok().and_then(NonZeroU32::new);
        Self(number.expect("memory ends before four billion places do"))
    }

    const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl<T> Arena<T> {
    pub(super) const fn new() -> Self {
        Self { blocks: Vec::new(), free: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.places() - self.free.len()
    }

    pub(super) fn insert(&mut self, value: T) -> Id {
        if let Some(id) = self.free.pop() {
            *self.place(id) = Some(value);
            return id;
        }
        let id = Id::from_index(self.places());
        match self.blocks.last_mut() {
            Some(block) if block.len() < BLOCK => block.push(Some(value)),
            _ => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(Some(value));
                self.blocks.push(block);
            }
        }
        id
    }

    /// Takes the value out. The last one to go gives all memory back.
    pub(super) fn remove(&mut self, id: Id) -> T {
        let value = self.place(id).take().expect("an id lives as long as its value");
        self.free.push(id);
        if self.len() == 0 {
            *self = Self::new();
        }
        value
    }

    pub(super) fn get(&self, id: Id) -> &T {
        let index = id.index();
        self.blocks[index / BLOCK][index % BLOCK].as_ref().expect("an id lives as long as its value")
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut T {
        self.place(id).as_mut().expect("an id lives as long as its value")
    }

    fn place(&mut self, id: Id) -> &mut Option<T> {
        let index = id.index();
        &mut self.blocks[index / BLOCK][index % BLOCK]
    }

    /// Places that were made, free ones included.
    fn places(&self) -> usize {
        self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * BLOCK + last.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_places_are_used_again() {
        let mut arena = Arena::new();
        let (first, second) = (arena.insert('a'), arena.insert('b'));
        assert_eq!(arena.remove(first), 'a');
        assert_eq!(arena.insert('c'), first);
        assert_eq!((*arena.get(first), *arena.get(second), arena.len()), ('c', 'b', 2));
    }

    #[test]
    fn an_emptied_arena_gives_its_memory_back() {
        let mut arena = Arena::new();
        let ids: Vec<_> = (0..3 * BLOCK).map(|n| arena.insert(n)).collect();
        for (n, id) in ids.into_iter().enumerate() {
            assert_eq!((*arena.get(id), arena.len()), (n, 3 * BLOCK - n));
            assert_eq!(arena.remove(id), n);
        }
        assert_eq!((arena.blocks.capacity(), arena.free.capacity()), (0, 0));
    }
}
