use std::sync::Arc;

use super::handle::QueueHandle;
use crate::broker::handle::Slot;
use crate::packet::TopicFilter;
use crate::queue::{ConsumerId, Part};

/// A session's place in a queue.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The subscription that it comes from.
    pub filter: TopicFilter,
    pub queue: Arc<QueueHandle>,
    pub part: Part,
    pub consumer: ConsumerId,
}

/// All places of a session in queues.
#[derive(Debug, Default)]
pub struct Places {
    there: Vec<Membership>,
    /// Of subscriptions that are over, for as long as something is left to finish.
    retired: Vec<Membership>,
}

impl Slot {
    /// Its places in work queues.
    pub fn memberships(&self) -> Vec<Membership> {
        self.places.as_ref().map(|places| places.there.clone()).unwrap_or_default()
    }

    /// The same, with those that it only has to finish what it was lent.
    pub fn all_memberships(&self) -> Vec<Membership> {
        let Some(places) = &self.places else { return Vec::new() };
        places.there.iter().chain(&places.retired).cloned().collect()
    }

    pub fn has_memberships(&self) -> bool {
        self.membership_count() > 0
    }

    pub(super) fn membership_count(&self) -> usize {
        self.places.as_ref().map_or(0, |places| places.there.len())
    }

    /// Whether several consumers have its client's window together.
    pub(super) fn shares_window(&self) -> bool {
        self.places.as_ref().is_some_and(|places| places.there.len() + places.retired.len() > 1)
    }

    pub(super) fn is_subscribed(&self, filter: &TopicFilter) -> bool {
        !self.is_ended && self.session.subscriptions.contains_key(filter)
    }

    /// `false`: the session has ended, or its subscription.
    pub(super) fn remember(&mut self, membership: Membership) -> bool {
        if !self.is_subscribed(&membership.filter) {
            return false;
        }
        let places = self.places.get_or_insert_default();
        places.retired.retain(|retired| !retired.is_same(&membership));
        places.there.push(membership);
        true
    }

    pub(in crate::broker) fn forget_membership(&mut self, filter: &TopicFilter) -> Option<Membership> {
        self.change_places(|places| {
            let at = places.there.iter().position(|membership| membership.filter == *filter)?;
            Some(places.there.swap_remove(at))
        })?
    }

    /// Keeps in mind that it has something to finish there. `false`: the session has ended.
    pub(super) fn retire(&mut self, membership: Membership) -> bool {
        if self.is_ended {
            return false;
        }
        self.places.get_or_insert_default().retired.push(membership);
        true
    }

    /// Those that it has only to finish what it was lent, or has finished by now.
    pub(super) fn retired(&self) -> Vec<Membership> {
        self.places.as_ref().map(|places| places.retired.clone()).unwrap_or_default()
    }

    /// It has nothing to finish there any more.
    pub(super) fn forget_retired(&mut self, done: &Membership) {
        self.change_places(|places| places.retired.retain(|retired| !retired.is_same(done)));
    }

    /// As whom it has something to finish.
    pub(super) fn retired_from(&self, queue: &QueueHandle, part: Part) -> Option<ConsumerId> {
        let mut retired = self.places.as_ref()?.retired.iter();
        retired.find(|retired| *retired.queue == *queue && retired.part == part).map(|retired| retired.consumer)
    }

    /// Returns the subscriptions that had places in it.
    pub(super) fn forget_queue(&mut self, queue: &QueueHandle) -> Vec<TopicFilter> {
        let forget = |places: &mut Places| {
            places.retired.retain(|retired| *retired.queue != *queue);
            let gone = places.there.extract_if(.., |membership| *membership.queue == *queue);
            gone.map(|membership| membership.filter).collect()
        };
        self.change_places(forget).unwrap_or_default()
    }

    /// All of them, for good.
    pub(in crate::broker) fn take_memberships(&mut self) -> Vec<Membership> {
        self.places.take().map(|places| places.there.into_iter().chain(places.retired).collect()).unwrap_or_default()
    }

    fn change_places<T>(&mut self, act: impl FnOnce(&mut Places) -> T) -> Option<T> {
        let result = act(self.places.as_mut()?);
        self.places.take_if(|places| places.there.is_empty() && places.retired.is_empty());
        Some(result)
    }
}

impl Membership {
    fn is_same(&self, other: &Self) -> bool {
        *self.queue == *other.queue && self.part == other.part && self.consumer == other.consumer
    }
}

/// How much work the client takes, which several queues may have for it.
impl Slot {
    /// Whether it takes another piece of work besides so many that it is about to be given. If not, nobody gives it any until
    /// [`Self::ends_lack_of_room`] says that it does again: those who wait come first then.
    pub(super) fn takes_work(&mut self, given: usize) -> bool {
        let room = self.room_for_work();
        let Some(online) = &mut self.online else { return false };
        online.lacks_room |= room <= given;
        !online.lacks_room
    }

    /// What it was promised comes. Whether it takes that, besides so many pieces that it is about to be given: its window may be smaller now.
    pub(super) fn takes_promised(&mut self, given: usize) -> bool {
        self.session.outbound.end_promise();
        let takes = self.room_for_work() > given;
        if let Some(online) = self.online.as_mut().filter(|_| !takes) {
            online.lacks_room = true;
        }
        takes
    }

    /// Queues hold back for want of room, and there is some: whoever has made it sees to it that the connection's task looks.
    pub(in crate::broker) fn has_room_again(&self) -> bool {
        // While the outbox has to empty first, its end is the end of this too.
        self.online.as_ref().is_some_and(|online| online.lacks_room && !online.holds_work) && self.room_for_work() > 0
    }

    /// The same, for the connection's task, which then gives the queues their turns at that room. Once.
    pub(in crate::broker) fn ends_lack_of_room(&mut self) -> bool {
        let has_room_again = self.has_room_again();
        if let Some(online) = self.online.as_mut().filter(|_| has_room_again) {
            online.lacks_room = false;
        }
        has_room_again
    }

    /// Wakes the connection's task if queues need not hold back any more.
    pub(in crate::broker) fn tell_of_room(&mut self) {
        if self.has_room_again()
            && let Some(online) = &mut self.online
        {
            online.notify();
        }
    }

    /// The next of its places, as long as its client takes anything: each time another one is the first.
    pub(super) fn next_in_turn(&mut self) -> Option<Membership> {
        if !self.takes_work(0) {
            return None;
        }
        let there = &mut self.places.as_mut()?.there;
        let first = there.first().cloned()?;
        there.rotate_left(1);
        Some(first)
    }

    fn room_for_work(&self) -> usize {
        let is_there = self.online.as_ref().is_some_and(|online| online.is_welcomed);
        if is_there { self.session.outbound.room_for_work() } else { 0 }
    }
}
