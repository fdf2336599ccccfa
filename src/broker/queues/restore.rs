use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Deserted;
use super::consume::consumer_filter;
use super::define::{Definition, Origin};
use super::fold::{FoldedDelayed, FoldedQueue, QueueFold};
use super::handle::QueueHandle;
use super::operate::QueueId;
use super::records::{self, COMMON};
use crate::broker::author::Authors;
use crate::broker::deliver::Deliveries;
use crate::broker::handle::SessionHandle;
use crate::broker::quotas::Quota;
use crate::broker::{Broker, Effects};
use crate::packet::TopicFilter;
use crate::queue::topics::{Form, SubscribeFilter};
use crate::queue::{Config, DelayedChange, Owner, Part, Secret};
use crate::session::Subscription;
use crate::storage::{Body, Place, Record};

impl Broker {
    /// Takes over the queues that were stored, before their consumers come.
    pub(in crate::broker) fn restore_queues(
        &self,
        fold: QueueFold,
        bodies: &HashMap<Place, Arc<Body>>,
        authors: &mut Authors<'_>,
        now: Instant,
    ) {
        let QueueFold { secret, queues, delayed, next_delayed, last_stream, unreadable, .. } = fold;
        if unreadable > 0 {
            tracing::error!(unreadable, "records of work queues that this version cannot read were passed over");
        }
        self.keep_secret(secret);
        self.queues.next_number.store(last_stream + 1, Ordering::Relaxed);
        for (number, queue) in queues {
            self.restore_queue(number, queue, bodies, now);
        }
        let mut waiting = self.queues.delayed.lock();
        waiting.messages.apply(DelayedChange::Reserved { until: next_delayed });
        // In the order in which they came: of those that are due together, that is the one in which they leave.
        let mut delayed: Vec<_> = delayed.into_iter().collect();
        delayed.sort_unstable_by_key(|(number, _)| *number);
        for (number, FoldedDelayed { at, size, place, owner }) in delayed {
            if let Some(body) = bodies.get(&place) {
                let author = owner.map(|owner| authors.of(Owner::clone(&owner)));
                waiting.restore(number, at, (body.clone(), size), author);
            }
        }
        if let Some(at) = waiting.messages.poll_timeout() {
            self.queues.wake.by(at.0);
        }
    }

    /// Tags, keys and deduplication identifiers are made with it: it lives as long as the data directory.
    fn keep_secret(&self, known: Option<[u8; 16]>) {
        let bytes = known.unwrap_or_else(rand::random);
        *self.queues.secret.write() = Secret::new(bytes);
        self.queues.secret_bytes.lock().replace(bytes);
        if let (None, Some(journal)) = (known, &self.journal) {
            let content = records::content_of_secret(bytes).into();
            journal.tell(crate::storage::Item::Record(Record::Work { stream: COMMON, body: None, content }));
        }
    }

    fn restore_queue(&self, number: u64, folded: FoldedQueue, bodies: &HashMap<Place, Arc<Body>>, now: Instant) {
        let FoldedQueue { definition, restore, is_deleted } = folded;
        let Some(definition) = definition.filter(|_| !is_deleted) else {
            let (messages, dead) = restore.counts();
            if messages + dead > 0 {
                tracing::error!(number, messages, dead, "a work queue is lost: the record of what it is cannot be read");
            }
            return;
        };
        let (secret, wall) = (self.queues.secret.read().of_queue(number), self.queues.moment(now));
        let (name, config) = (definition.id.name.clone(), definition.config.clone());
        let restore = restore.map_bodies(|place| bodies.get(&place).cloned());
        let work = restore.finish(name, config, secret, rand::random(), wall);
        let account = self.account_of(&definition);
        account.iter().for_each(|account| account.add(Quota::Queues, 1));
        let queue = QueueHandle::new(number, definition, work, account, &self.queues);
        self.put_queue(queue.clone());
        queue.look_at(0);
    }

    /// A session gets its place in a queue, for a subscription that it has; if there is no such queue, once there is one.
    pub(in crate::broker) fn rejoin(
        &self,
        handle: &Arc<SessionHandle>,
        filter: &TopicFilter,
        subscription: Subscription,
        now: Instant,
    ) {
        let Some(Ok(SubscribeFilter { queue: reference, form })) = consumer_filter(filter) else { return };
        let is_subscribed = || handle.lock(|slot| slot.is_subscribed(filter));
        let find = || self.queues.find(handle.mount_point.as_deref(), reference.name);
        loop {
            let there = find();
            match &there {
                Some(queue) => {
                    let is_lease_form = form == Form::Lease;
                    if self.join(handle, filter, (queue, reference.part, is_lease_form), subscription, now) || !is_subscribed()
                    {
                        return;
                    }
                }
                None => {
                    self.queues.desert(handle, filter);
                    // Whoever makes it has looked before that, or looks from now on.
                    if find().is_none() || !self.queues.forget_deserted(handle, filter) {
                        return;
                    }
                }
            }
        }
    }

    /// A queue has the name of one that was deleted: who was its consumer, and still subscribes to it, is one again.
    pub(super) fn rejoin_all(&self, id: &QueueId, now: Instant) {
        let deserted = self.queues.deserted.lock().remove(id).unwrap_or_default();
        for Deserted { session, key, filter } in deserted {
            let Some(handle) = self.registry.get(&session).filter(|handle| handle.key == key) else { continue };
            let subscription = handle.lock(|slot| slot.session.subscriptions.get(&filter).copied());
            if let Some(subscription) = subscription {
                self.rejoin(&handle, &filter, subscription, now);
                self.sync_consumers(&handle, &mut Deliveries::default());
            }
        }
        if let Some(queue) = self.queues.find(id.mount_point.as_deref(), id.name.as_str()) {
            queue.look_at(0);
        }
    }

    /// Once all stored sessions are back: what was lent to others has failed with them.
    pub(in crate::broker) fn end_absent_consumers(&self, now: Instant) {
        let (mut effects, wall) = (Effects::default(), self.queues.moment(now));
        for queue in self.queues.all() {
            let mut state = queue.lock();
            for part in [Part::Main, Part::Dead] {
                state.work.with(part, |queue| queue.end_absent(wall));
            }
            state.tell(&queue, self.journal.is_some(), &mut effects);
            self.submit(&mut effects);
        }
        self.tell_effects(&mut effects);
    }

    /// Makes the queues that the configuration file names as it says; those that it names no more stay, as an operator's.
    pub fn configure_queues(&self, configs: &[Config], settings: super::QueueSettings, now: Instant) {
        self.queues.delayed.lock().messages.set_bounds(settings.delayed_bounds());
        *self.queues.settings.write() = settings;
        let mut effects = Effects::default();
        let mut named = Vec::new();
        for config in configs {
            let Some(name) = config.name.clone() else { continue };
            let id = QueueId { mount_point: None, name };
            named.push(id.clone());
            let definition = Definition { id: id.clone(), config: config.clone(), origin: Origin::File, owner: None };
            let there = self.queues.find(None, id.name.as_str());
            let result = match there {
                Some(queue) => self.redefine_queue(&queue, definition, &mut effects),
                None => self.define_queue(definition, now, &mut effects).map(drop),
            };
            if let Err(error) = result {
                tracing::error!(queue = %id, %error, "work queue of the configuration file");
            }
        }
        for queue in self.queues.all() {
            let mut definition = queue.lock().definition.clone();
            if definition.origin == Origin::File && !named.contains(&queue.id) {
                tracing::warn!(queue = %queue.id, "the configuration names this work queue no more: it stays until it is deleted");
                definition.origin = Origin::Operator;
                let _ = self.redefine_queue(&queue, definition, &mut effects); // its settings were right before
            }
        }
        self.tell_effects(&mut effects);
    }
}
