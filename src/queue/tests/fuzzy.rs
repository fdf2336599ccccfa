//! A checkpoint is made while the queue goes on: what is shown of it under its lock comes together with changes that it has already
//! seen. Whatever moment was shown, and however much earlier the replay begins, the queue must come out as it is.

use std::collections::{BTreeMap, BTreeSet};

use super::super::random::Random;
use super::*;

/// A queue as it was shown at some moment of its journal.
pub(super) struct Shown {
    at: usize,
    changes: Vec<(Part, Change<u32>)>,
}

impl Shown {
    pub(super) fn of(world: &World) -> Self {
        Self { at: world.journal.len(), changes: world.queue.snapshot().collect() }
    }

    /// Whether the journal that it belongs to still goes on from it.
    pub(super) const fn is_of(&self, written: usize) -> bool {
        self.at <= written
    }

    /// The same behind changes from an earlier moment on. `omits` leaves messages out that came in since then: their bodies were not on
    /// disk yet.
    fn replayed(&self, journal: &[(Part, Change<u32>)], cut: usize, omits: impl Fn(u64) -> bool) -> Restore<u32> {
        let since: BTreeSet<_> = journal[cut..self.at]
            .iter()
            .filter_map(|(_, change)| match change {
                Change::Enqueued(record) => Some(record.seq),
                _ => None,
            })
            .collect();
        let is_left_out = |change: &Change<u32>| matches!(change, Change::Enqueued(record) if since.contains(&record.seq) && omits(record.seq));
        let mut restore = Restore::new();
        let shown = self.changes.iter().filter(|(_, change)| !is_left_out(change));
        shown.chain(&journal[cut..]).for_each(|(part, change)| restore.apply(*part, change.clone()));
        restore
    }
}

/// All that a queue is, in an order of its own.
#[derive(Debug, PartialEq)]
struct Content {
    messages: Vec<(Part, Change<u32>)>,
    blocked: BTreeMap<u64, u64>,
    seen: BTreeMap<[u64; 2], UnixMillis>,
    is_paused: bool,
}

impl Content {
    fn of(changes: impl Iterator<Item = (Part, Change<u32>)>, now: UnixMillis, window: Duration) -> Self {
        let mut content = Self { messages: Vec::new(), blocked: BTreeMap::new(), seen: BTreeMap::new(), is_paused: false };
        for (part, change) in changes {
            match change {
                Change::Enqueued(_) => content.messages.push((part, change)),
                Change::KeyBlocked { key, by } => _ = content.blocked.insert(key.0, by),
                Change::Seen { id, at } if at.plus(window) > now => _ = content.seen.insert(id.0, at),
                Change::Paused => content.is_paused = true,
                _ => {}
            }
        }
        // Those of one moment stand by their numbers after a restart.
        content.messages.sort_by_key(|(part, change)| (*part == Part::Dead, change.seq()));
        content
    }
}

/// Takes some of the moments that were shown, each with some replays, and compares what comes of them with the queue as it is.
pub(super) fn check(world: &World, shown: &[Shown], seed: u64) {
    let mut random = Random::new(seed);
    let mut below = |bound: usize| (random.next() % bound as u64) as usize;
    let config = world.queue.part(Part::Main).config().clone();
    let window = config.dedup_window.0;
    let content = |restore: Restore<u32>| {
        let queue = restore.finish(config.name.clone().unwrap(), config.clone(), SECRET, 8, world.now);
        Content::of(queue.snapshot(), world.now, window)
    };
    let live = Content::of(world.queue.snapshot(), world.now, window);
    for one in shown.iter().filter(|one| one.is_of(world.journal.len())) {
        for _ in 0..3 {
            let cut = below(one.at + 1);
            let third = below(3) as u64;
            let restore = one.replayed(&world.journal, cut, |seq| seq % 3 == third);
            let mut again = Restore::new();
            restore.snapshot().for_each(|(part, change)| again.apply(part, change));
            assert_eq!(content(restore), live, "shown at {}, replayed from {cut} of {}", one.at, world.journal.len());
            assert_eq!(content(again), live, "the same, written once more");
        }
    }
}
