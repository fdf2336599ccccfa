use std::num::NonZeroU32;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::shared_subscription::SharedGroup;
use super::subscriber::{Subscriber, is_below, may_overreach};
use crate::packet::{QoS, SubscriptionOptions, TopicFilter, TopicName};

/// Who subscribed to one filter. Most filters have one subscriber, who is kept in place; all else is boxed.
#[derive(Default)]
pub(super) enum SubscriberList<S> {
    #[default]
    Empty,
    One(Entry<S>),
    Several(Box<Several<S>>),
}

pub(super) struct Several<S> {
    subscribers: Members<S>,
    groups: Vec<Arc<SharedGroup<S>>>,
}

/// Subscribers by key: a plain list, with a map of places once it is long, so that no change costs a walk over many.
pub(super) struct Members<S> {
    entries: Vec<Entry<S>>,
    /// Empty while the list is short.
    places: HashMap<u64, u32, RandomState>,
}

/// A subscriber and what it was granted: [`Subscription`] in eight bytes.
#[derive(Clone)]
pub(super) struct Entry<S> {
    pub(super) subscriber: S,
    pub(super) identifier: Option<NonZeroU32>,
    pub(super) qos: QoS,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    /// The filter matches topics that are not the subscriber's.
    overreaches: bool,
}

/// What a client was granted for one filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    pub options: SubscriptionOptions,
    /// The Subscription Identifier; 0 counts as none.
    pub identifier: Option<u32>,
}

/// From this length on, a list has a map beside it.
const LONG: usize = 16;

impl<S: Subscriber> Entry<S> {
    pub(super) fn new(subscriber: S, subscription: Subscription) -> Self {
        Self {
            subscriber,
            identifier: subscription.identifier.and_then(NonZeroU32::new),
            qos: subscription.options.qos,
            no_local: subscription.options.no_local,
            retain_as_published: subscription.options.retain_as_published,
            overreaches: false,
        }
    }

    /// The same, for one filter alone: a group asks its members.
    pub(super) fn to(mut self, filter: &TopicFilter) -> Self {
        self.overreaches = self.subscriber.root().is_some_and(|root| may_overreach(root, filter));
        self
    }

    /// Whether a topic that the filter matches is the subscriber's.
    pub(super) fn reaches(&self, topic: TopicName<'_>) -> bool {
        !self.overreaches || self.subscriber.root().is_none_or(|root| is_below(root, topic))
    }
}

impl<S: Subscriber> SubscriberList<S> {
    /// Adds or replaces; whether it was not there before.
    pub(super) fn insert(&mut self, entry: Entry<S>) -> bool {
        match self {
            Self::Empty => {
                *self = Self::One(entry);
                true
            }
            Self::One(old) if old.subscriber.key() == entry.subscriber.key() => {
                *old = entry;
                false
            }
            Self::One(_) | Self::Several(_) => self.widen().subscribers.insert(entry),
        }
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, key: u64) -> bool {
        match self {
            Self::Empty => false,
            Self::One(entry) => {
                let known = entry.subscriber.key() == key;
                if known {
                    *self = Self::Empty;
                }
                known
            }
            Self::Several(several) => {
                let known = several.subscribers.remove(key);
                self.narrow();
                known
            }
        }
    }

    /// Adds a group and says at which place.
    pub(super) fn add_group(&mut self, group: Arc<SharedGroup<S>>) -> usize {
        let groups = &mut self.widen().groups;
        groups.push(group);
        groups.len() - 1
    }

    /// Takes a group out; the one that is at its place afterwards, if any, was the last before.
    pub(super) fn remove_group(&mut self, place: usize) -> Option<Arc<SharedGroup<S>>> {
        let groups = &mut self.widen().groups;
        groups.swap_remove(place);
        let moved = groups.get(place).cloned();
        self.narrow();
        moved
    }

    pub(super) const fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    pub(super) fn entries(&self) -> &[Entry<S>] {
        match self {
            Self::Empty => &[],
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Several(several) => several.subscribers.entries(),
        }
    }

    pub(super) fn groups(&self) -> &[Arc<SharedGroup<S>>] {
        match self {
            Self::Empty | Self::One(_) => &[],
            Self::Several(several) => &several.groups,
        }
    }

    fn widen(&mut self) -> &mut Several<S> {
        if !matches!(self, Self::Several(_)) {
            let mut several = Several { subscribers: Members::new(), groups: Vec::new() };
            if let Self::One(entry) = std::mem::take(self) {
                several.subscribers.insert(entry);
            }
            *self = Self::Several(Box::new(several));
        }
        let Self::Several(several) = self else { unreachable!("it was made so above") };
        several
    }

    /// Back to the small forms where they do.
    fn narrow(&mut self) {
        let Self::Several(several) = self else { return };
        if several.groups.is_empty() && several.subscribers.entries.len() < 2 {
            *self = several.subscribers.entries.pop().map_or(Self::Empty, Self::One);
        }
    }
}

impl<S: Subscriber> Members<S> {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), places: HashMap::default() }
    }

    pub(super) fn entries(&self) -> &[Entry<S>] {
        &self.entries
    }

    pub(super) fn get(&self, key: u64) -> Option<&Entry<S>> {
        self.place(key).map(|place| &self.entries[place])
    }

    /// Adds or replaces; whether it was not there before.
    pub(super) fn insert(&mut self, entry: Entry<S>) -> bool {
        let key = entry.subscriber.key();
        if let Some(place) = self.place(key) {
            self.entries[place] = entry;
            return false;
        }
        self.entries.push(entry);
        if !self.places.is_empty() {
            self.places.insert(key, self.entries.len() as u32 - 1);
        } else if self.entries.len() >= LONG {
            self.places = self.entries.iter().zip(0..).map(|(entry, place)| (entry.subscriber.key(), place)).collect();
        }
        true
    }

    /// Whether it was there. The last one takes its place.
    pub(super) fn remove(&mut self, key: u64) -> bool {
        let Some(place) = self.place(key) else { return false };
        self.entries.swap_remove(place);
        self.places.remove(&key);
        if self.entries.len() < LONG / 2 {
            self.places = HashMap::default();
        } else if let (Some(moved), false) = (self.entries.get(place), self.places.is_empty()) {
            self.places.insert(moved.subscriber.key(), place as u32);
        }
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        true
    }

    fn place(&self, key: u64) -> Option<usize> {
        if self.places.is_empty() {
            return self.entries.iter().position(|entry| entry.subscriber.key() == key);
        }
        self.places.get(&key).map(|&place| place as usize)
    }
}
