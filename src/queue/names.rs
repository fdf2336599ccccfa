use std::sync::Arc;

use hashbrown::HashMap;

use super::slab::{NONE, Slab};

/// Client identifiers under small numbers, counted: messages remember who had them last.
#[derive(Debug)]
pub(super) struct Names {
    slab: Slab<(Arc<str>, u32)>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { slab: Slab::new(), numbers: HashMap::new() }
    }

    /// The number of a name, held once more.
    pub(super) fn hold(&mut self, name: &Arc<str>) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            self.slab[*number].1 += 1;
            return *number;
        }
        let number = self.slab.insert((name.clone(), 1));
        self.numbers.insert(name.clone(), number);
        number
    }

    pub(super) fn hold_again(&mut self, number: u32) {
        self.slab[number].1 += 1;
    }

    /// Held once less; does nothing for [`NONE`].
    pub(super) fn release(&mut self, number: u32) {
        if number == NONE {
            return;
        }
        self.slab[number].1 -= 1;
        if self.slab[number].1 == 0 {
            let (name, _) = self.slab.remove(number);
            self.numbers.remove(&name);
        }
    }

    pub(super) fn get(&self, number: u32) -> Option<&Arc<str>> {
        self.slab.get(number).map(|(name, _)| name)
    }
}
