use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::define::Definition;
use super::records::{self, COMMON, kind};
use crate::queue::{Change, DelayedChange, Owner, Part, Restore, UnixMillis};
use crate::storage::{Place, Tell, WorkState};

/// What the journal's records of work queues fold into, with bodies as the places where they lie.
#[derive(Debug, Default)]
pub struct QueueFold {
    pub(super) secret: Option<[u8; 16]>,
    pub(super) queues: BTreeMap<u64, FoldedQueue>,
    /// By number.
    pub(super) delayed: HashMap<u64, FoldedDelayed>,
    /// Each once, however many messages are its.
    owners: HashSet<Arc<Owner>>,
    pub(super) next_delayed: u64,
    /// The highest stream that was ever told of.
    pub(super) last_stream: u64,
    /// Records that make no sense.
    pub(super) unreadable: usize,
}

#[derive(Debug, Default)]
pub(super) struct FoldedQueue {
    pub definition: Option<Definition>,
    pub restore: Restore<Place>,
    pub is_deleted: bool,
}

#[derive(Debug)]
pub(super) struct FoldedDelayed {
    pub at: UnixMillis,
    pub size: u32,
    pub place: Place,
    pub owner: Option<Arc<Owner>>,
}

/// A queue in a data directory, for people.
#[derive(Clone, Debug, serde::Serialize)]
pub struct QueueSummary {
    pub queue: String,
    pub messages: usize,
    pub dead: usize,
}

impl QueueFold {
    /// The queues that are here, and how many delayed messages.
    pub fn summary(&self) -> (Vec<QueueSummary>, usize) {
        let queues = self.queues.values().filter(|queue| !queue.is_deleted).filter_map(|queue| {
            let (messages, dead) = queue.restore.counts();
            Some(QueueSummary { queue: queue.definition.as_ref()?.id.to_string(), messages, dead })
        });
        (queues.collect(), self.delayed.len())
    }

    fn read(&mut self, stream: u64, place: Option<Place>, content: &[u8]) -> Option<()> {
        let (kind, rest) = content.split_first()?;
        self.last_stream = self.last_stream.max(stream);
        match *kind {
            kind::SECRET => self.secret = Some(rest.try_into().ok()?),
            kind::DELAYED => self.apply_delayed(DelayedChange::read(rest, place)?),
            kind::DEFINED => self.queue(stream).definition = Some(serde_json::from_slice(rest).ok()?),
            kind::DELETED => *self.queue(stream) = FoldedQueue { is_deleted: true, ..FoldedQueue::default() },
            kind::CHANGED | kind::CHANGED_DEAD => {
                let part = if *kind == kind::CHANGED { Part::Main } else { Part::Dead };
                let change = Change::<()>::read(rest).ok()?;
                if matches!(change, Change::Enqueued(_)) && place.is_none() {
                    return None;
                }
                let queue = self.queue(stream);
                if !queue.is_deleted {
                    // Only what has come in has a body, and that has a place.
                    queue.restore.apply(part, change.map_body(|()| place.unwrap_or(Place { segment: 0, offset: 0 })));
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn queue(&mut self, stream: u64) -> &mut FoldedQueue {
        self.queues.entry(stream).or_default()
    }

    fn apply_delayed(&mut self, change: DelayedChange<Place, Owner>) {
        match change {
            DelayedChange::Scheduled { number, at, size, body, owner } => {
                self.next_delayed = self.next_delayed.max(number + 1);
                let owner = owner.map(|owner| share(&mut self.owners, owner));
                self.delayed.insert(number, FoldedDelayed { at, size, place: body, owner });
            }
            DelayedChange::Released { number } => _ = self.delayed.remove(&number),
            DelayedChange::Reserved { until } => self.next_delayed = self.next_delayed.max(until),
        }
    }
}

fn share(owners: &mut HashSet<Arc<Owner>>, owner: Owner) -> Arc<Owner> {
    if let Some(known) = owners.get(&owner) {
        return known.clone();
    }
    let owner = Arc::new(owner);
    owners.insert(owner.clone());
    owner
}

impl WorkState for QueueFold {
    fn apply(&mut self, stream: u64, place: Option<Place>, content: &[u8]) {
        if self.read(stream, place, content).is_none() {
            self.unreadable += 1;
        }
    }

    fn places(&self, see: &mut dyn FnMut(Place)) {
        self.queues.values().flat_map(|queue| queue.restore.bodies()).for_each(|place| see(*place));
        self.delayed.values().for_each(|delayed| see(delayed.place));
    }

    fn move_places(&mut self, change: &mut dyn FnMut(&mut Place)) {
        self.queues.values_mut().flat_map(|queue| queue.restore.bodies_mut()).for_each(&mut *change);
        self.delayed.values_mut().for_each(|delayed| change(&mut delayed.place));
    }

    fn forget(&mut self, is_gone: &dyn Fn(&Place) -> bool) -> usize {
        let before = self.delayed.len();
        self.delayed.retain(|_, delayed| !is_gone(&delayed.place));
        let of_queues: usize = self.queues.values_mut().map(|queue| queue.restore.retain_bodies(|place| !is_gone(place))).sum();
        of_queues + before - self.delayed.len()
    }

    fn show(&self, tell: Tell<'_>) {
        if let Some(secret) = self.secret {
            tell(COMMON, None, &records::content_of_secret(secret));
        }
        let mut content = Vec::new();
        for (stream, queue) in self.queues.iter().filter(|(_, queue)| !queue.is_deleted) {
            let Some(definition) = &queue.definition else { continue };
            tell(*stream, None, &records::content_of_definition(definition));
            for (part, change) in queue.restore.snapshot() {
                records::write_change(part, &change, &mut content);
                tell(*stream, records::body_of(change), &content);
            }
        }
        let mut one = |change: DelayedChange<Place, Owner>| {
            records::write_delayed(&change, &mut content);
            tell(COMMON, change.body().copied(), &content);
        };
        one(DelayedChange::Reserved { until: self.next_delayed });
        for (number, FoldedDelayed { at, size, place, owner }) in &self.delayed {
            let owner = owner.as_deref().cloned();
            one(DelayedChange::Scheduled { number: *number, at: *at, size: *size, body: *place, owner });
        }
    }

    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any> {
        self
    }
}
