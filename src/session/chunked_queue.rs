use std::collections::VecDeque;

/// A queue that may have millions of entries. It grows by chunks of one size: nothing is copied when it does, no room is kept for as
/// many again, and what is taken out is given back. A short one is a plain ring.
#[derive(Debug)]
pub struct ChunkedQueue<T> {
    /// What comes next.
    front: VecDeque<T>,
    /// All behind it, in full chunks but for the last; missing while the front is all.
    rest: Option<Box<Rest<T>>>,
}

#[derive(Debug)]
struct Rest<T> {
    chunks: VecDeque<VecDeque<T>>,
    len: usize,
}

/// Entries of one chunk.
const CHUNK: usize = 64;

impl<T> Default for ChunkedQueue<T> {
    fn default() -> Self {
        Self { front: VecDeque::new(), rest: None }
    }
}

impl<T> ChunkedQueue<T> {
    pub fn len(&self) -> usize {
        self.front.len() + self.rest.as_ref().map_or(0, |rest| rest.len)
    }

    pub fn is_empty(&self) -> bool {
        self.front.is_empty()
    }

    pub fn front(&self) -> Option<&T> {
        self.front.front()
    }

    pub fn push_back(&mut self, entry: T) {
        if self.rest.is_none() && self.front.len() < CHUNK {
            return self.front.push_back(entry);
        }
        let rest = self.rest.get_or_insert_with(|| Box::new(Rest { chunks: VecDeque::new(), len: 0 }));
        rest.len += 1;
        match rest.chunks.back_mut() {
            Some(last) if last.len() < CHUNK => last.push_back(entry),
            _ => {
                let mut chunk = VecDeque::with_capacity(CHUNK);
                chunk.push_back(entry);
                rest.chunks.push_back(chunk);
            }
        }
    }

    /// An empty queue holds no memory.
    pub fn pop_front(&mut self) -> Option<T> {
        let first = self.front.pop_front()?;
        if self.front.is_empty() {
            self.front = self.next_chunk().unwrap_or_default();
        }
        Some(first)
    }

    fn next_chunk(&mut self) -> Option<VecDeque<T>> {
        let rest = self.rest.as_mut()?;
        let chunk = rest.chunks.pop_front()?;
        rest.len -= chunk.len();
        if rest.chunks.is_empty() {
            self.rest = None;
        }
        Some(chunk)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.iter_without(|_| false)
    }

    /// All but the chunks that are passed over, of which little is looked at.
    pub fn iter_without(&self, is_passed: impl Fn(&VecDeque<T>) -> bool) -> impl Iterator<Item = &T> {
        let rest = self.rest.iter().flat_map(|rest| rest.chunks.iter());
        std::iter::once(&self.front).chain(rest).filter(move |chunk| !is_passed(chunk)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    proptest! {
        /// Runs of pushes and pops, so that it grows long and shrinks again.
        #[test]
        fn it_is_a_queue(runs in prop::collection::vec((any::<bool>(), 0..5 * CHUNK), 1..20)) {
            let (mut queue, mut model) = (ChunkedQueue::default(), VecDeque::new());
            let mut next = 0;
            for (is_push, count) in runs {
                for _ in 0..count {
                    if is_push {
                        queue.push_back(next);
                        model.push_back(next);
                        next += 1;
                    } else {
                        prop_assert_eq!(queue.pop_front(), model.pop_front());
                    }
                    prop_assert_eq!((queue.len(), queue.is_empty()), (model.len(), model.is_empty()));
                    prop_assert_eq!(queue.front(), model.front());
                }
                prop_assert!(queue.iter().eq(model.iter()));
            }
        }
    }

    #[test]
    fn an_empty_queue_holds_no_memory() {
        let mut queue = ChunkedQueue::default();
        (0..3 * CHUNK).for_each(|n| queue.push_back(n));
        while queue.pop_front().is_some() {}
        assert!(queue.front.capacity() == 0 && queue.rest.is_none());
    }
}
