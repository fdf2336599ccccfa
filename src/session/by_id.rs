use std::hash::{BuildHasher, Hasher};

use hashbrown::HashMap;

use crate::packet::PacketId;

/// A table by Packet Identifier. Identifiers mostly follow each other, and so do their places: one cache line serves several. There are
/// only 65,535 of them, so that whoever chooses them cannot make many fall on one place.
pub(super) type ById<T> = HashMap<PacketId, T, InSequence>;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct InSequence;

impl BuildHasher for InSequence {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher(0)
    }
}

/// The identifier itself, and its low bits once more at the top, where the table takes its tags from.
pub(super) struct IdHasher(u16);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0 << 8 | u16::from(*byte));
    }

    fn write_u16(&mut self, id: u16) {
        self.0 = id;
    }

    fn finish(&self) -> u64 {
        u64::from(self.0) | u64::from(self.0) << 57
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_identifiers_have_a_place_of_their_own() {
        let ids = || (1..=u16::MAX).filter_map(PacketId::new);
        let mut table = ById::default();
        ids().for_each(|id| assert_eq!(table.insert(id, id), None));
        ids().for_each(|id| assert_eq!(table.remove(&id), Some(id)));
        assert!(table.is_empty());
    }
}
