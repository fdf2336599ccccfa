use std::num::NonZeroU32;

/// The place of a value in an [`Arena`]; four bytes, also as an `Option`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(NonZeroU32);

/// Values in one vector with reused places: an [`Id`] costs half of a pointer, and a million nodes are one allocation.
pub(super) struct Arena<T> {
    places: Vec<Option<T>>,
    free: Vec<Id>,
}

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
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, value: T) -> Id {
        if let Some(id) = self.free.pop() {
            self.places[id.index()] = Some(value);
            return id;
        }
        self.places.push(Some(value));
        Id::from_index(self.places.len() - 1)
    }

    /// Takes the value out. The last one to go gives all memory back.
    pub(super) fn remove(&mut self, id: Id) -> T {
        let value = self.places[id.index()].take().expect("an id lives as long as its value");
        self.free.push(id);
        if self.len() == 0 {
            *self = Self::new();
        }
        value
    }

    pub(super) fn get(&self, id: Id) -> &T {
        self.places[id.index()].as_ref().expect("an id lives as long as its value")
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut T {
        self.places[id.index()].as_mut().expect("an id lives as long as its value")
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
        let ids: Vec<_> = (0..100).map(|n| arena.insert(n)).collect();
        for id in ids {
            arena.remove(id);
        }
        assert_eq!((arena.places.capacity(), arena.free.capacity()), (0, 0));
    }
}
