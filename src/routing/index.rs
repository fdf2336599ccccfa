use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::config::Strategy;
use super::exact_filters::ExactFilters;
use super::matches::{Matches, merge};
use super::shared_subscription::SharedGroup;
use super::subscriber::Subscriber;
use super::subscriber_list::{Entry, SubscriberList, Subscription};
use super::wildcard_trie::WildcardTrie;
use crate::packet::{SharedSubscription, TopicFilter, TopicName};

/// All subscriptions: who wants this message.
///
/// A plain value, meant to lie behind one `RwLock` that readers take once per batch. Filters without wildcards are looked up whole,
/// those with wildcards level by level.
pub struct Index<S> {
    exact: ExactFilters<SubscriberList<S>>,
    wildcard: WildcardTrie<SubscriberList<S>>,
    /// By the whole `$share/NAME/FILTER`.
    groups: HashMap<TopicFilter, GroupPlace<S>, RandomState>,
    strategy: Strategy,
    generation: u64,
    subscriptions: usize,
    shared: usize,
}

/// A group, and where it stands in the list of its filter.
struct GroupPlace<S> {
    group: Arc<SharedGroup<S>>,
    place: usize,
}

impl<S: Subscriber> Index<S> {
    pub fn new(strategy: Strategy) -> Self {
        Self {
            exact: ExactFilters::new(),
            wildcard: WildcardTrie::new(),
            groups: HashMap::default(),
            strategy,
            generation: 0,
            subscriptions: 0,
            shared: 0,
        }
    }

    /// Adds a subscription, or replaces the one of the same subscriber and filter `[MQTT-3.8.4-3]`; whether it is new.
    ///
    /// A broken `$share` filter, which SUBSCRIBE refuses before, is not added.
    pub fn subscribe(&mut self, filter: &TopicFilter, subscriber: S, subscription: Subscription) -> bool {
        let Ok(shared) = filter.shared().transpose() else { return false };
        let entry = Entry::new(subscriber, subscription);
        let new = match &shared {
            Some(shared) => self.group(filter, shared).join(entry),
            None => {
                self.generation += 1;
                self.list(filter).insert(entry.to(filter))
            }
        };
        self.subscriptions += usize::from(new);
        self.shared += usize::from(new && shared.is_some());
        new
    }

    /// Takes a subscription out; whether it was there. What only it needed is freed.
    pub fn unsubscribe(&mut self, filter: &TopicFilter, subscriber_key: u64) -> bool {
        let Ok(shared) = filter.shared().transpose() else { return false };
        let known = match &shared {
            Some(shared) => self.leave(filter, shared, subscriber_key),
            None => self.change(filter, |list| list.remove(subscriber_key)).unwrap_or(false),
        };
        self.subscriptions -= usize::from(known);
        self.shared -= usize::from(known && shared.is_some());
        known
    }

    /// Who gets a message of this topic. Wildcards at the first level do not reach topics that begin with `$` `[MQTT-4.7.2-1]`.
    pub fn matches(&self, topic: TopicName<'_>) -> Matches<S> {
        let mut lists: SmallVec<[&SubscriberList<S>; 8]> = self.exact.get(topic).into_iter().collect();
        self.wildcard.visit(topic, |list| lists.push(list));
        if lists.is_empty() { Matches::default() } else { merge(&lists, topic) }
    }

    /// The group of a whole `$share/NAME/FILTER`, if it has a member.
    pub fn shared_group(&self, filter: &TopicFilter) -> Option<Arc<SharedGroup<S>>> {
        self.groups.get(filter).map(|place| place.group.clone())
    }

    /// Changes with every write that [`Index::matches`] can tell: what was found under another generation may be out of date. Members
    /// that join or leave a shared group that stays do not change it, since the group itself knows them.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// How many subscriptions there are, shared ones included.
    pub const fn len(&self) -> usize {
        self.subscriptions
    }

    pub const fn is_empty(&self) -> bool {
        self.subscriptions == 0
    }

    /// How many of them are shared.
    pub const fn shared_len(&self) -> usize {
        self.shared
    }

    /// What is in use in every part: all zero when no subscription is left.
    #[cfg(test)]
    pub(super) fn occupancy(&self) -> [usize; 7] {
        let ([entries, slots], [nodes, values, levels, edges]) = (self.exact.occupancy(), self.wildcard.occupancy());
        [entries, slots, nodes, values, levels, edges, self.groups.len()]
    }

    fn list(&mut self, filter: &TopicFilter) -> &mut SubscriberList<S> {
        if filter.has_wildcard() { self.wildcard.entry(filter) } else { self.exact.entry(filter) }
    }

    /// Works on the list of a filter, if there is one, and takes it out when it became empty.
    fn change<R>(&mut self, filter: &TopicFilter, change: impl FnOnce(&mut SubscriberList<S>) -> R) -> Option<R> {
        let wildcard = filter.has_wildcard();
        let list = if wildcard { self.wildcard.get_mut(filter) } else { self.exact.get_mut(filter) }?;
        self.generation += 1;
        let result = change(list);
        if list.is_empty() {
            if wildcard {
                self.wildcard.remove(filter)
            } else {
                self.exact.remove(filter)
            };
        }
        Some(result)
    }

    /// The group of a shared subscription, made if it was not there.
    fn group(&mut self, whole: &TopicFilter, shared: &SharedSubscription) -> &SharedGroup<S> {
        if !self.groups.contains_key(whole) {
            self.generation += 1;
            let group = Arc::new(SharedGroup::new(whole.clone(), shared.clone(), self.strategy));
            let place = self.list(&shared.filter).add_group(group.clone());
            self.groups.insert(whole.clone(), GroupPlace { group, place });
        }
        &self.groups[whole].group
    }

    fn leave(&mut self, whole: &TopicFilter, shared: &SharedSubscription, key: u64) -> bool {
        let Some(GroupPlace { group, place }) = self.groups.get(whole) else { return false };
        let known = group.leave(key);
        if group.is_empty() {
            let place = *place;
            self.groups.remove(whole);
            let moved = self.change(&shared.filter, |list| list.remove_group(place)).flatten();
            if let Some(moved) = moved.and_then(|group| self.groups.get_mut(group.whole_filter())) {
                moved.place = place;
            }
        }
        known
    }
}
