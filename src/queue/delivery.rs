use std::sync::Arc;

use super::consumer::ConsumerId;
use super::dead_letter::DeadLetter;
use super::entry::State;
use super::machine::Queue;
use super::properties::DeliveryProperties;
use super::ready::Unit;
use super::tag::{Lease, Tag};
use super::time::UnixMillis;
use super::{Key, QueueName};

/// A message on its way to a consumer.
#[derive(Clone, Debug)]
pub struct Delivery<B> {
    pub consumer: ConsumerId,
    /// By this the caller tells what became of the packet.
    pub lease: Lease,
    /// By this the consumer tells what became of the message; none where the delivery itself settles it.
    pub tag: Option<Tag>,
    /// From 1.
    pub attempt: u32,
    /// What stands for its ordering key, if it has one.
    pub key: Option<Key>,
    pub enqueued_at: UnixMillis,
    /// Until when the consumer has time; none where the delivery itself settles the message.
    pub deadline: Option<UnixMillis>,
    /// When its Message Expiry Interval passes.
    pub expires_at: Option<UnixMillis>,
    /// Its story, if it is a dead letter.
    pub dead: Option<Arc<DeadLetter>>,
    pub body: B,
}

impl<B> Delivery<B> {
    /// What a consumer of MQTT 5 is told besides the message. `queue` is the name of the queue that gave it.
    pub fn properties(&self, queue: &QueueName) -> DeliveryProperties {
        DeliveryProperties {
            tag: self.tag,
            queue: queue.clone(),
            seq: self.lease.seq,
            attempt: self.attempt,
            enqueued_at: self.enqueued_at,
            deadline: self.deadline,
            dead: self.dead.clone(),
        }
    }
}

/// How many of those set aside are looked at for one delivery. What is left comes with the next call, which [`Queue::poll_timeout`] asks
/// for at once.
const LOOKS: usize = 32;

impl<B: Clone> Queue<B> {
    /// The next message with the consumer that gets it; `None` while nothing can be delivered. The consumer has it from here on. One
    /// whose window is shared gets it only if `has_room` says so, and is on hold from then on if not.
    pub fn poll_delivery(&mut self, now: UnixMillis, mut has_room: impl FnMut(ConsumerId) -> bool) -> Option<Delivery<B>> {
        let (now, mut looks) = (self.advance(now), LOOKS);
        while !self.is_paused && self.consumers.has_free() {
            let turn = self.ready.turn;
            let unit = self.next_unit(&mut looks)?;
            let id = self.ready.message_of(unit);
            if !self.is_deliverable(id, now) {
                continue;
            }
            match self.choose(id, &mut has_room) {
                Some(consumer) => return Some(self.deliver(unit, consumer, now)),
                None if self.consumers.has_free() => self.ready.park(&mut self.entries, unit),
                None => self.ready.turn = turn, // All are on hold: it stays where it is, and first.
            }
        }
        None
    }

    /// First what was set aside, if a consumer has got room since it was looked at.
    fn next_unit(&mut self, looks: &mut usize) -> Option<Unit> {
        let mut unseen = self.unseen();
        // The two kinds in turn.
        let kind = (unseen[0] % 2 + unseen[1] % 2) % 2;
        let kind = if unseen[kind] > 0 { kind } else { 1 - kind };
        if unseen[kind] > 0 && *looks > 0 {
            *looks -= 1;
            unseen[kind] -= 1;
            self.consumers.unseen = unseen;
            return self.ready.next_parked(kind);
        }
        self.consumers.unseen = unseen;
        self.ready.next()
    }

    /// Messages, and keys, that are set aside and may be for a consumer that has got room.
    fn unseen(&self) -> [usize; 2] {
        let (unseen, parked) = (self.consumers.unseen, self.ready.parked());
        [unseen[0].min(parked[0]), unseen[1].min(parked[1])]
    }

    /// When to look at more of them.
    pub(super) fn next_look(&self) -> Option<UnixMillis> {
        let is_wanted = !self.is_paused && self.consumers.has_free() && self.unseen() != [0; 2];
        is_wanted.then_some(self.now)
    }

    /// Deals with what may not be delivered any more.
    fn is_deliverable(&mut self, id: u32, now: UnixMillis) -> bool {
        let course = self.entries.course(id);
        if course.is_expired(now) {
            self.expire(id, now);
            return false;
        }
        if self.config.is_last(course.attempts.into()) {
            self.die(id, super::DeadReason::MaxDeliveries, now);
            return false;
        }
        true
    }

    fn choose(&mut self, id: u32, mut has_room: impl FnMut(ConsumerId) -> bool) -> Option<u32> {
        let course = self.entries.course(id);
        let excluded = if course.has_excluded { self.excluded.get(&self.entries.slab[id].seq) } else { None };
        let is_excluded = |consumer| excluded.is_some_and(|excluded| excluded.contains(&consumer));
        loop {
            let index = self.consumers.choose(course.holder, &mut self.random, is_excluded)?;
            let consumer = self.consumers.get_mut(index);
            if !consumer.shares_window || has_room(consumer.id) {
                return Some(index);
            }
            consumer.is_on_hold = true;
            self.consumers.refresh(index);
        }
    }

    fn deliver(&mut self, unit: Unit, consumer: u32, now: UnixMillis) -> Delivery<B> {
        let id = self.ready.message_of(unit);
        let key = self.ready.key(self.entries.slab[id].key);
        self.ready.lease(&mut self.entries, unit);
        self.counters.delivered += 1;
        let course = self.entries.course_mut(id);
        course.attempts = course.attempts.saturating_add(1);
        // 0 stands for no lease, also once the count has gone around.
        course.leases = course.leases.checked_add(1).unwrap_or(1);
        let (number, attempt, expires_at) = (course.leases, course.attempts, course.expires_at);
        let entry = &mut self.entries.slab[id];
        entry.is_first = true;
        let holder = self.consumers.get(consumer);
        let mut delivery = Delivery {
            consumer: holder.id,
            lease: Lease { seq: entry.seq, number },
            tag: None,
            attempt: attempt.into(),
            key,
            enqueued_at: entry.enqueued_at,
            deadline: None,
            expires_at: expires_at.some(),
            dead: self.letters.get(&entry.seq).cloned(),
            body: entry.body.clone(),
        };
        if holder.is_at_most_once {
            self.settle_message(id);
        } else {
            delivery.tag = Some(Tag::new(delivery.lease, holder.place, &self.secret));
            let deadline = now.plus(self.config.ack_timeout.0);
            delivery.deadline = Some(deadline);
            self.begin_lease(id, consumer, deadline, now);
        }
        self.consumers.served(consumer, &mut self.random);
        delivery
    }

    fn begin_lease(&mut self, id: u32, consumer: u32, deadline: UnixMillis, now: UnixMillis) {
        self.hold(id, consumer, deadline);
        self.consumers.get_mut(consumer).packets += 1;
        let course = self.entries.course_mut(id);
        course.is_untold = true;
        if course.attempts > 1 {
            self.tell_lease(id);
        } else {
            self.tell_later(id, now);
        }
    }

    /// Makes a consumer the holder of a message that is in no line.
    pub(super) fn hold(&mut self, id: u32, consumer: u32, deadline: UnixMillis) {
        self.entries.set_state(id, State::Leased);
        let holder = self.consumers.get_mut(consumer);
        let course = self.entries.course_mut(id);
        course.until = deadline;
        let before = std::mem::replace(&mut course.holder, consumer);
        course.held_at = holder.held.len() as u32;
        holder.held.push(id);
        self.names.release(before);
        self.entries.retime(id);
    }

    /// Takes a message from the consumer that has it, if one has.
    pub(super) fn end_lease(&mut self, id: u32) {
        if self.entries.slab[id].state != State::Leased {
            return;
        }
        self.tell_lease(id);
        let course = self.entries.course_mut(id);
        let (consumer, at) = (course.holder, course.held_at);
        let holder = self.consumers.get_mut(consumer);
        course.holder = holder.name;
        self.names.hold_again(holder.name);
        self.entries.set_state(id, State::Ready);
        holder.held.swap_remove(at as usize);
        if let Some(moved) = holder.held.get(at as usize) {
            self.entries.course_mut(*moved).held_at = at;
        }
        let holder = holder.id;
        self.consumers.refresh(consumer);
        self.let_go(holder);
    }
}
