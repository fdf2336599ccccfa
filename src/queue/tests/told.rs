//! The small model of a queue: what its changes say, read in the plainest way.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// What the changes say of one message.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub body: u32,
    pub key: Option<Key>,
    /// Its place among the changes: earlier ones of its key come before it.
    pub order: usize,
    /// Whether that place is not to be relied on: it was kept back at first, or came back from the dead.
    pub is_out_of_order: bool,
    pub attempts: u32,
    pub is_leased: bool,
}

/// The changes read in the plainest way.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub live: BTreeMap<u64, Told>,
    pub dead: BTreeMap<u64, Told>,
    pub seen: BTreeMap<[u64; 2], UnixMillis>,
    pub blocked: BTreeSet<Key>,
    pub is_paused: bool,
    pub count: usize,
    /// Per message and attempt: how often that attempt did not count and was to be made again.
    pub uncounted: BTreeMap<(u64, u32), u32>,
    /// The last change brought it back from the dead.
    pub redriven: Option<u64>,
}

impl Model {
    pub fn of(journal: &[(Part, Change<u32>)]) -> Self {
        let mut model = Self::default();
        journal.iter().for_each(|(part, change)| model.apply(*part, change));
        model
    }

    pub fn apply(&mut self, part: Part, change: &Change<u32>) {
        self.count += 1;
        let redriven = self.redriven.take();
        let side = if part == Part::Main { &mut self.live } else { &mut self.dead };
        match change {
            Change::Enqueued(record) if redriven == Some(record.seq) => {
                // Told whole, since a walk is under way.
                let Told { body, key, attempts, is_leased, .. } = side[&record.seq];
                assert_eq!(
                    (body, key, attempts, is_leased),
                    (record.body, record.key, record.attempts, record.lease.is_some())
                );
            }
            Change::Enqueued(record) => {
                // A copy with a low number behind higher ones came back from the dead before it was written anew.
                let came_back = side.last_key_value().is_some_and(|(last, _)| *last > record.seq);
                let told = Told {
                    body: record.body,
                    key: record.key.or_else(|| record.dead.as_ref().and_then(|letter| letter.key)),
                    order: self.count,
                    is_out_of_order: record.not_before.is_some() || record.leases > 0 || came_back,
                    attempts: record.attempts,
                    is_leased: record.lease.is_some(),
                };
                assert!(side.insert(record.seq, told).is_none(), "{} is there already", record.seq);
                if let Some(id) = record.dedup_id {
                    self.seen.insert(id.0, record.enqueued_at);
                }
            }
            Change::Leased { seq, attempts, .. } => {
                let key = side[seq].key.filter(|_| part == Part::Main);
                let other = side.iter().find(|(_, other)| other.is_leased && key.is_some() && other.key == key);
                assert_eq!(other, None, "two leases of one key: {seq} is the other");
                let told = side.get_mut(seq).expect("it is there");
                assert!(!told.is_leased && *attempts == told.attempts + 1);
                (told.is_leased, told.attempts) = (true, *attempts);
            }
            Change::Extended { seq, .. } => assert!(side[seq].is_leased),
            Change::Returned { seq, attempts, .. } => {
                let told = side.get_mut(seq).expect("it is there");
                assert!(told.is_leased && (*attempts == told.attempts || *attempts + 1 == told.attempts));
                if part == Part::Main && *attempts < told.attempts {
                    *self.uncounted.entry((*seq, told.attempts)).or_default() += 1;
                }
                (told.is_leased, told.attempts) = (false, *attempts);
            }
            Change::Settled { seq, .. } | Change::Dropped { seq, .. } => {
                side.remove(seq).unwrap_or_else(|| panic!("{seq} is settled twice"));
            }
            Change::Died { seq, blocks, .. } => {
                let told = self.live.remove(seq).unwrap_or_else(|| panic!("{seq} dies twice"));
                self.dead.insert(*seq, Told { attempts: 0, is_leased: false, ..told });
                self.blocked.extend(blocks);
            }
            Change::Redriven { seq, unblocks, .. } => {
                let told = self.dead.remove(seq).unwrap_or_else(|| panic!("{seq} comes back twice"));
                if let Some(key) = unblocks {
                    assert!(self.blocked.remove(key) && told.key == Some(*key));
                }
                let told = Told { is_out_of_order: true, attempts: 0, is_leased: false, ..told };
                assert!(self.live.insert(*seq, told).is_none());
                self.redriven = Some(*seq);
            }
            Change::Seen { id, at } => _ = self.seen.insert(id.0, *at),
            Change::Reserved { .. } => {}
            Change::Paused => self.is_paused = true,
            Change::Resumed => self.is_paused = false,
            Change::KeyBlocked { key, .. } => _ = self.blocked.insert(*key),
            Change::KeyUnblocked { key } => _ = self.blocked.remove(key),
        }
    }
}
