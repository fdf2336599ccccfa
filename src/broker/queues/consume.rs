use std::sync::Arc;
use std::time::Instant;

use super::AutoCreate;
use super::define::{DefineError, Definition, Origin, filters};
use super::handle::{Consumer, QueueHandle, QueueState};
use super::operate::QueueId;
use super::places::Membership;
use super::pump::take_back;
use super::settle::{right_of, why};
use crate::broker::deliver::Deliveries;
use crate::broker::handle::{SessionHandle, Slot};
use crate::broker::subscribe::Ending;
use crate::broker::{Broker, Effects};
use crate::metrics::Denied;
use crate::packet::{ProtocolVersion, QoS, Subscribe, SubscribeReason, SubscriptionOptions, TopicFilter, UserProperties};
use crate::queue::topics::{Form, SubscribeFilter, TopicError};
use crate::queue::{AckMode, Config, Join, Part, QueueName, UnixMillis, properties, topics};
use crate::session::{Errand, Limits, Subscription};
use crate::storage::ConsumerWish;

/// A refusal, with a text for clients that can be told.
pub(in crate::broker) type Refusal = (SubscribeReason, &'static str);

/// A filter that makes its subscriber a consumer; `None` for an ordinary one.
pub(in crate::broker) fn consumer_filter(filter: &TopicFilter) -> Option<Result<SubscribeFilter<'_>, TopicError>> {
    if !filter.as_str().starts_with('$') {
        return None;
    }
    topics::parse_subscribe(filter.as_str()).transpose()
}

/// Whether one of the filters is `$queue/NAME/FILTER`, which may make a queue.
pub(in crate::broker) fn names_bound_queue(subscribe: &Subscribe<'_>) -> bool {
    let mut filters = subscribe.filters.iter().filter_map(|(filter, _)| consumer_filter(filter));
    filters.any(|parsed| parsed.is_ok_and(|parsed| matches!(parsed.form, Form::Bound(_))))
}

/// The filter whose right a consumer's filter needs.
pub(in crate::broker) fn right_to_consume(filter: &SubscribeFilter<'_>) -> Option<TopicFilter> {
    TopicFilter::new(&right_of(filter.queue)).ok()
}

/// What a SUBSCRIBE wishes for besides its filters.
pub(in crate::broker) fn wish_of(properties: UserProperties<'_>) -> Result<ConsumerWish, &'static str> {
    let mut wish = ConsumerWish::default();
    for (name, value) in properties.iter() {
        match name {
            properties::ACK => {
                let ack = properties::parse_ack(value).ok_or("q-ack is \"puback\" or \"explicit\"")?;
                wish.is_explicit = Some(ack == AckMode::Explicit);
            }
            properties::PREFETCH => {
                wish.prefetch = Some(properties::parse_prefetch(value).ok_or("q-prefetch is a number from 1 to 65535")?);
            }
            _ => {}
        }
    }
    Ok(wish)
}

impl Broker {
    /// Makes a session a consumer of a queue, and the queue first where that is allowed.
    pub(in crate::broker) fn consume(
        &self,
        handle: &Arc<SessionHandle>,
        (filter, parsed): (&TopicFilter, Result<SubscribeFilter<'_>, TopicError>),
        (options, identifier, wish): (SubscriptionOptions, Option<u32>, Result<ConsumerWish, &'static str>),
        limits: &Limits,
        now: Instant,
        effects: &mut Effects,
    ) -> Result<SubscribeReason, Refusal> {
        if handle.stored_as.is_some() && self.journal.as_ref().is_some_and(|journal| !journal.has_room()) {
            self.metrics.storage.refused.increment();
            return Err((SubscribeReason::QuotaExceeded, "the disk is full"));
        }
        if let Err(limit) = limits.check_topic(filter.as_str()) {
            self.metrics.limit_hits.count(limit);
            return Err((SubscribeReason::TopicFilterInvalid, "the filter is too long, or has too many levels"));
        }
        let SubscribeFilter { queue: reference, form } =
            parsed.map_err(|error| (SubscribeReason::TopicFilterInvalid, why(error)))?;
        let wish = wish.map_err(|why| (SubscribeReason::ImplementationSpecificError, why))?;
        let right = TopicFilter::new(&right_of(reference)).map_err(|_| (SubscribeReason::TopicFilterInvalid, "no filter"))?;
        self.may_consume(handle, &right, "no right to this queue")?;
        let bound = match &form {
            Form::Bound(bound) => {
                let mount_point = handle.mount_point.as_deref().unwrap_or_default();
                let mounted = TopicFilter::new(&format!("{mount_point}{bound}"));
                let mounted = mounted.map_err(|_| (SubscribeReason::TopicFilterInvalid, "the filter is too long"))?;
                self.may_consume(handle, &mounted, "no right to the topics that the queue would be bound to")?;
                Some((bound, mounted))
            }
            Form::Plain | Form::Lease => None,
        };
        let queue = match self.queues.find(handle.mount_point.as_deref(), reference.name) {
            Some(queue) => {
                let is_bound = |mounted: &TopicFilter| filters(&queue.lock().definition).contains(mounted);
                if bound.as_ref().is_some_and(|(_, mounted)| !is_bound(mounted)) {
                    let why = "the queue is there and is not bound to this filter";
                    return Err((SubscribeReason::ImplementationSpecificError, why));
                }
                queue
            }
            None => {
                let Some((bound, _)) = bound else {
                    return Err((SubscribeReason::TopicFilterInvalid, "there is no queue of this name"));
                };
                self.create_for(handle, reference.name, bound, now, effects)?
            }
        };
        // A stored session is not told of what it was lent after a crash: with QoS 2 an identifier could then mean two messages.
        let qos = if handle.stored_as.is_some() { options.qos.min(QoS::AtLeastOnce) } else { options.qos };
        let options = SubscriptionOptions { qos, ..options };
        let subscription = Subscription { options, identifier, wish };
        self.add_consumer(handle, filter, subscription, limits.max_subscriptions, effects)?;
        let joined = self.join(handle, filter, (&queue, reference.part, form == Form::Lease), subscription, now);
        if !joined {
            self.remove_subscription(handle, (filter, Ending::TakenAway), now, effects);
            return Err((SubscribeReason::UnspecifiedError, "the queue is gone"));
        }
        Ok(match qos {
            QoS::AtMostOnce => SubscribeReason::GrantedQos0,
            QoS::AtLeastOnce => SubscribeReason::GrantedQos1,
            QoS::ExactlyOnce => SubscribeReason::GrantedQos2,
        })
    }

    fn may_consume(&self, handle: &SessionHandle, right: &TopicFilter, why: &'static str) -> Result<(), Refusal> {
        self.check_subscribe(handle, right).map_err(|reason| match reason {
            SubscribeReason::NotAuthorized => (reason, why),
            _ => (reason, "whoever says what clients may do gives no answer"),
        })
    }

    fn create_for(
        &self,
        handle: &SessionHandle,
        name: &str,
        bound: &TopicFilter,
        now: Instant,
        effects: &mut Effects,
    ) -> Result<Arc<QueueHandle>, Refusal> {
        let may = match self.queues.settings.read().auto_create {
            AutoCreate::Nobody => false,
            AutoCreate::Known => handle.principal.username.is_some(),
            AutoCreate::Anybody => true,
        };
        if !may {
            self.metrics.authorization_denied.count(Denied::Subscribe);
            return Err((
                SubscribeReason::NotAuthorized,
                "there is no queue of this name, and [work_queues] auto_create lets nobody like this client make one",
            ));
        }
        let name = QueueName::new(name).map_err(|_| (SubscribeReason::TopicFilterInvalid, "no name of a queue"))?;
        let config = Config { bind: vec![bound.as_str().to_owned()], ..Config::named(name.clone()) };
        let id = QueueId { mount_point: handle.mount_point.as_deref().map(Box::from), name };
        let owner = handle.principal.username.as_deref().map(Box::from);
        let definition = Definition { id: id.clone(), config, origin: Origin::Client, owner };
        match self.define_queue(definition, now, effects) {
            Ok(queue) => Ok(queue),
            // Another client was faster.
            Err(DefineError::Exists) => self
                .queues
                .find(id.mount_point.as_deref(), id.name.as_str())
                .ok_or((SubscribeReason::UnspecifiedError, "the queue is gone")),
            Err(DefineError::TooMany) => Err((SubscribeReason::QuotaExceeded, "there are as many queues as may be")),
            Err(DefineError::NoRoom) => Err((SubscribeReason::QuotaExceeded, "the disk is full")),
            Err(DefineError::OfFile | DefineError::Wrong { .. }) => {
                Err((SubscribeReason::TopicFilterInvalid, "a queue cannot be bound to this filter"))
            }
        }
    }

    /// The subscription, as the session has it.
    fn add_consumer(
        &self,
        handle: &Arc<SessionHandle>,
        filter: &TopicFilter,
        subscription: Subscription,
        subscriptions_max: usize,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        handle.lock(|slot| {
            if slot.is_ended {
                return Err((SubscribeReason::UnspecifiedError, "the session has ended"));
            }
            if !slot.session.subscriptions.contains_key(filter) {
                let taken = self.take_subscription(handle, &slot.session, subscriptions_max);
                taken.map_err(|reason| (reason, "too many subscriptions"))?;
            }
            slot.session.subscriptions.insert(filter.clone(), subscription);
            handle.store_subscription(slot, filter, self);
            slot.report(effects);
            Ok(())
        })
    }

    /// Joins a queue, as offline; [`Self::sync_consumers`] says whether it is online. `false`: the queue, or the session, is gone.
    pub(in crate::broker) fn join(
        &self,
        handle: &Arc<SessionHandle>,
        filter: &TopicFilter,
        (queue, part, is_lease_form): (&Arc<QueueHandle>, Part, bool),
        subscription: Subscription,
        now: Instant,
    ) -> bool {
        let Subscription { options, identifier, wish } = subscription;
        self.forget_finished(handle);
        let mut state = queue.lock();
        if state.is_deleted {
            return false;
        }
        let wall = self.queues.moment(now);
        take_back(queue, &mut state, wall); // What it has acknowledged has not failed, and was meant as it was said.
        let there = handle.lock(|slot| slot.memberships().into_iter().find(|membership| membership.filter == *filter));
        if let Some(there) = there.filter(|there| *there.queue == **queue) {
            // The same subscription again keeps what it has, also if it wants another window or way to settle from now on.
            if let Some(consumer) = state.consumers.get_mut(&(there.part, there.consumer))
                && (consumer.qos == QoS::AtMostOnce) == (options.qos == QoS::AtMostOnce)
            {
                (consumer.qos, consumer.identifier, consumer.wish) = (options.qos, identifier, wish);
                let ack = ack_of(&wish, state.work.part(there.part).config());
                state.work.with(there.part, |queue| queue.set_ack(there.consumer, ack));
                return true;
            }
            handle.lock(|slot| slot.forget_membership(filter));
            retire_from(&mut state, handle, &there, wall);
        }
        let config = state.work.part(part).config();
        let prefetch = wish.prefetch.unwrap_or(config.prefetch);
        let join = Join {
            client: handle.client_id().clone(),
            ack: ack_of(&wish, config),
            is_at_most_once: options.qos == QoS::AtMostOnce,
            prefetch,
            receive_maximum: u16::MAX,
            unacknowledged: 0,
            resumes: handle.lock(|slot| slot.retired_from(queue, part)).filter(|_| options.qos != QoS::AtMostOnce),
            is_online: false,
        };
        let consumer = state.work.with(part, |queue| queue.join(join));
        let (session, qos) = (handle.clone(), options.qos);
        let member = Consumer { session, is_lease_form, qos, identifier, wish, has_properties: false, shares_window: false };
        state.consumers.insert((part, consumer), member);
        let membership = Membership { filter: filter.clone(), queue: queue.clone(), part, consumer };
        let is_in = handle.lock(|slot| slot.remember(membership));
        if !is_in {
            state.work.with(part, |queue| queue.leave(consumer, wall));
            state.consumers.remove(&(part, consumer));
        }
        is_in
    }

    /// Tells the queues of a session whether its client is there, and how much it takes.
    pub(in crate::broker) fn sync_consumers(&self, handle: &SessionHandle, deliveries: &mut Deliveries) {
        for Membership { queue, part, consumer, .. } in handle.lock(|slot| slot.memberships()) {
            let mut state = queue.lock();
            let link = handle.lock(|slot| Link::of(slot));
            let prefetch = state.work.part(part).config().prefetch;
            if let (Some(link), Some(member)) = (&link, state.consumers.get_mut(&(part, consumer))) {
                member.has_properties = link.version.has_properties();
                let prefetch = member.wish.prefetch.or(link.receive_maximum).unwrap_or(prefetch);
                let window = link.window;
                member.shares_window = link.shares_window && member.qos != QoS::AtMostOnce;
                let shares_window = member.shares_window;
                state.work.with(part, |queue| {
                    queue.set_window(consumer, prefetch, window);
                    queue.set_shared(consumer, shares_window);
                });
            }
            state.work.with(part, |queue| {
                queue.set_on_hold(consumer, false);
                queue.set_online(consumer, link.is_some());
            });
            drop(state);
            deliveries.touch(queue.number);
        }
    }

    /// The queue has other settings: consumers that name none of their own get its prefetch, and what settles.
    pub(super) fn set_wishes(&self, queue: &QueueHandle) {
        let mut state = queue.lock();
        let state = &mut *state;
        for ((part, consumer), member) in &state.consumers {
            let config = state.work.part(*part).config();
            let (prefetch, ack) = (config.prefetch, ack_of(&member.wish, config));
            state.work.with(*part, |queue| queue.set_ack(*consumer, ack));
            let Some(link) = member.session.lock(|slot| Link::of(slot)) else { continue };
            let prefetch = member.wish.prefetch.or(link.receive_maximum).unwrap_or(prefetch);
            state.work.with(*part, |queue| queue.set_window(*consumer, prefetch, link.window));
        }
    }

    /// A subscription is over, and its session goes on: what was not sent goes back at once, and what was, it may finish
    /// `[MQTT-3.10.4-3]`, unless it has lost the right to it.
    pub(in crate::broker) fn end_consumer(
        &self,
        handle: &SessionHandle,
        (membership, how): (&Membership, Ending),
        effects: &mut Effects,
        now: Instant,
    ) {
        self.forget_finished(handle);
        let Membership { queue, part, consumer, .. } = membership;
        let mut state = queue.lock();
        let (number, is_dead, wall) = (queue.number, *part == Part::Dead, self.queues.moment(now));
        let is_its = |errand: &Errand| errand.queue == number && errand.is_dead == is_dead && errand.consumer == consumer.get();
        handle.lock(|slot| {
            slot.session.outbound.give_back_unsent(is_its);
            slot.tell_of_room();
            slot.report(effects);
        });
        take_back(queue, &mut state, wall);
        match how {
            Ending::Unsubscribed => retire_from(&mut state, handle, membership, wall),
            Ending::TakenAway => {
                state.work.with(*part, |queue| queue.leave(*consumer, wall));
                state.consumers.remove(&(*part, *consumer));
            }
        }
        state.tell(queue, self.journal.is_some(), effects);
        self.submit(effects);
        drop(state);
        queue.look_at(0);
    }

    /// Of what it had only to finish, what is done need not be kept in mind.
    fn forget_finished(&self, handle: &SessionHandle) {
        for retired in handle.lock(|slot| slot.retired()) {
            let is_there = retired.queue.lock().work.part(retired.part).is_consumer(retired.consumer);
            if !is_there {
                handle.lock(|slot| slot.forget_retired(&retired));
            }
        }
    }

    /// The session is over: what it had goes back. As it has let go of its exchanges, only what was sent counts as an attempt.
    pub(in crate::broker) fn leave(&self, memberships: Vec<Membership>, now: Instant, effects: &mut Effects) {
        for Membership { queue, part, consumer, .. } in memberships {
            let mut state = queue.lock();
            let wall = self.queues.moment(now);
            take_back(&queue, &mut state, wall);
            state.work.with(part, |queue| queue.leave(consumer, wall));
            state.consumers.remove(&(part, consumer));
            state.tell(&queue, self.journal.is_some(), effects);
            self.submit(effects);
            drop(state);
            queue.look_at(0);
        }
    }
}

/// A consumer gets nothing more, and what it was sent it may finish: as long as its session goes on, which keeps that in mind.
fn retire_from(state: &mut QueueState, session: &SessionHandle, membership: &Membership, wall: UnixMillis) {
    let Membership { part, consumer, .. } = *membership;
    state.consumers.remove(&(part, consumer));
    state.work.with(part, |queue| queue.retire(consumer));
    if state.work.part(part).is_consumer(consumer) && !session.lock(|slot| slot.retire(membership.clone())) {
        state.work.with(part, |queue| queue.leave(consumer, wall));
    }
}

/// What settles the messages of a consumer with this wish.
fn ack_of(wish: &ConsumerWish, config: &Config) -> AckMode {
    match wish.is_explicit {
        Some(true) => AckMode::Explicit,
        Some(false) => AckMode::Puback,
        None => config.ack,
    }
}

/// A consumer's connection.
struct Link {
    version: ProtocolVersion,
    window: u16,
    /// What the client has named.
    receive_maximum: Option<u16>,
    shares_window: bool,
}

impl Link {
    fn of(slot: &Slot) -> Option<Self> {
        let online = slot.online.as_ref().filter(|online| online.is_welcomed)?;
        Some(Self {
            version: online.writer.version,
            window: slot.session.outbound.window(),
            receive_maximum: online.receive_maximum,
            shares_window: slot.shares_window(),
        })
    }
}
