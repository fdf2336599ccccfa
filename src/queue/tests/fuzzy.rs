//! A checkpoint is made while the queue goes on: what is shown of it, piece by piece, comes together with changes that it has already
//! seen. Whatever happened between the pieces, however much earlier the replay begins, and wherever behind the last piece the journal
//! ends, the queue must come out as it was then.

use std::collections::{BTreeMap, BTreeSet};

use super::super::random::Random;
use super::*;

/// A queue as a checkpoint shows it: from this moment of its journal to that one, in pieces between which it has changed.
pub(super) struct Shown {
    from: usize,
    to: usize,
    changes: Vec<(Part, Change<u32>)>,
}

/// One that is not shown to its end yet.
pub(super) struct Walk {
    from: usize,
    showing: Showing,
    changes: Vec<(Part, Change<u32>)>,
}

impl Walk {
    pub(super) fn begin(world: &World) -> Self {
        Self { from: world.journal.len(), showing: Showing::new(), changes: Vec::new() }
    }

    /// Shows one piece of so many things, and at most so many of them. Returns whether there are more.
    pub(super) fn go_on(&mut self, world: &mut World, count: u32, at_most: usize) -> bool {
        let end = self.changes.len() + at_most;
        let changes = &mut self.changes;
        world.queue.show(&mut self.showing, count, |part, change| {
            changes.push((part, change));
            changes.len() < end
        })
    }

    pub(super) fn end(self, world: &World) -> Shown {
        Shown { from: self.from, to: world.journal.len(), changes: self.changes }
    }
}

impl Shown {
    pub(super) fn of(world: &World) -> Self {
        let now = world.journal.len();
        Self { from: now, to: now, changes: world.queue.snapshot().collect() }
    }

    /// Whether the journal that it belongs to still goes on from its end: a checkpoint counts once all that was told before is on disk.
    pub(super) const fn is_of(&self, written: usize) -> bool {
        self.to <= written
    }

    /// What a restart finds that has just this, and the changes from an earlier moment to its end. `omits` leaves messages out that came
    /// in since then: their bodies were not on disk yet.
    fn replayed(&self, journal: &[(Part, Change<u32>)], cut: usize, omits: impl Fn(u64) -> bool) -> Restore<u32> {
        let since: BTreeSet<_> = journal[cut..self.to]
            .iter()
            .filter_map(|(_, change)| match change {
                Change::Enqueued(record) => Some(record.seq),
                _ => None,
            })
            .collect();
        let is_left_out = |change: &Change<u32>| matches!(change, Change::Enqueued(record) if since.contains(&record.seq) && omits(record.seq));
        let shown = self.changes.iter().filter(|(_, change)| !is_left_out(change));
        restored(shown.chain(&journal[cut..self.to]))
    }
}

fn restored<'a>(changes: impl Iterator<Item = &'a (Part, Change<u32>)>) -> Restore<u32> {
    let mut restore = Restore::new();
    changes.for_each(|(part, change)| restore.apply(*part, change.clone()));
    restore
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

/// Ends of the journal behind a walk that are tried, if not all of them are.
const ENDS: usize = 4;

/// Takes all that was shown, each with some replays, and compares what comes of them with the queue as it was then, and as it is now:
/// at some ends of the journal, or at `every` one.
pub(super) fn check(world: &World, shown: &[Shown], seed: u64, every: bool) {
    let mut random = Random::new(seed);
    let mut below = |bound: usize| (random.next() % bound as u64) as usize;
    let config = world.queue.part(Part::Main).config().clone();
    let window = config.dedup_window.0;
    let content = |restore: Restore<u32>| {
        let queue = restore.finish(config.name.clone().unwrap(), config.clone(), SECRET, 8, world.now);
        Content::of(queue.snapshot(), world.now, window)
    };
    let (journal, length) = (&world.journal, world.journal.len());
    let live = Content::of(world.queue.snapshot(), world.now, window);
    for one in shown.iter().filter(|one| one.is_of(length)) {
        for _ in 0..3 {
            let cut = below(one.from + 1);
            let third = below(3) as u64;
            let mut restore = one.replayed(journal, cut, |seq| seq % 3 == third);
            let mut truth = restored(journal[..one.to].iter());
            for (end, (part, change)) in journal.iter().enumerate().skip(one.to) {
                let is_tried = one.from < one.to && (every || below(length - one.to) < ENDS);
                if is_tried {
                    let where_ = format_args!("shown from {} to {}, replayed from {cut} to {end}", one.from, one.to);
                    assert_eq!(content(restore.clone()), content(truth.clone()), "{where_}");
                }
                [&mut restore, &mut truth].into_iter().for_each(|one| one.apply(*part, change.clone()));
            }
            let mut again = Restore::new();
            restore.snapshot().for_each(|(part, change)| again.apply(part, change));
            assert_eq!(content(restore), live, "shown from {} to {}, replayed from {cut} of {length}", one.from, one.to);
            assert_eq!(content(again), live, "the same, written once more");
        }
    }
}
