use std::hash::Hash;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// What is known of those who were seen lately: of so many at most. When there are more, those who were not seen for longest are
/// forgotten, half of them at once, so that a place costs the same whether the table is full or not.
#[derive(Debug)]
pub struct Recent<K, V> {
    young: HashMap<K, V, RandomState>,
    old: HashMap<K, V, RandomState>,
    max: usize,
    /// How many were forgotten to make room since the last look.
    forgotten: u64,
}

impl<K: Eq + Hash + Clone, V> Recent<K, V> {
    pub fn new(max: usize) -> Self {
        Self { young: HashMap::default(), old: HashMap::default(), max: max.max(2), forgotten: 0 }
    }

    pub const fn set_max(&mut self, max: usize) {
        self.max = if max < 2 { 2 } else { max };
    }

    /// What is known of `key`, which is seen now; made if it is new.
    pub fn seen(&mut self, key: &K, make: impl FnOnce() -> V) -> &mut V {
        if !self.young.contains_key(key) {
            let value = self.old.remove(key).unwrap_or_else(make);
            if self.young.len() >= self.max / 2 {
                self.forgotten += self.old.len() as u64;
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(key.clone(), value);
        }
        self.young.get_mut(key).expect("it was put there")
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    /// Lets go of what is not worth keeping, and of its memory.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        for half in [&mut self.young, &mut self.old] {
            half.retain(|key, value| keep(key, value));
            half.shrink_to(half.len() * 2);
        }
    }

    /// How many are known.
    pub fn count(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// How many were forgotten to make room since this was last asked.
    pub fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_maximum_and_the_latest_stay() {
        let mut recent = Recent::new(100);
        for key in 0..10_000_u32 {
            *recent.seen(&key, || 0) += 1;
            *recent.seen(&7, || 0) += 1;
            assert!(recent.count() <= 100);
        }
        assert_eq!(*recent.seen(&7, || 0), 10_001, "it was always seen lately");
        assert_eq!(*recent.seen(&9_990, || 0), 1);
        assert_eq!(*recent.seen(&5_000, || 0), 0, "forgotten");
        assert!(recent.take_forgotten() > 9_000 && recent.take_forgotten() == 0);
    }

    #[test]
    fn what_is_let_go_takes_no_memory() {
        let mut recent = Recent::new(1000);
        for key in 0..900_u32 {
            recent.seen(&key, || key);
        }
        recent.retain(|_, value| *value % 100 == 0);
        assert_eq!((recent.count(), recent.remove(&100), recent.remove(&100)), (9, Some(100), None));
        recent.retain(|_, _| false);
        assert_eq!(recent.young.capacity() + recent.old.capacity(), 0);
    }
}
