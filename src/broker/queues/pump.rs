use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use smallvec::SmallVec;

use super::feed::key_of;
use super::handle::{Consumer, QueueHandle, QueueState};
use super::places::Membership;
use super::{Queues, Wake};
use crate::broker::Broker;
use crate::broker::deliver::Deliveries;
use crate::broker::effects::Waiter;
use crate::broker::handle::{SessionHandle, Slot};
use crate::packet::{Message, MessageView, TopicName, UserPropertiesBuf};
use crate::queue::properties::{KEY, is_of_delivery};
use crate::queue::{ConsumerId, Delivery, KeyMode, Lease, Part, UnixMillis};
use crate::session::{Errand, Fate, Grant, Publication, Work};
use crate::storage::Body;

/// Deliveries whose bodies are read together.
const ROUND: usize = 64;
/// Bytes unwritten from which a consumer of QoS 0 gets nothing more for a while.
const AHEAD: usize = 128 * 1024;

/// What sessions give back is gathered in memory that is kept up to this size.
const RETURNS_KEPT: usize = 1024;

thread_local! {
    /// To put properties together in, again and again.
    static PROPERTIES: RefCell<UserPropertiesBuf> = const { RefCell::new(UserPropertiesBuf::new()) };
    /// To gather the deliveries of one round in.
    static LENT: Cell<Deliverables> = const { Cell::new(Vec::new()) };
}

type Deliverables = Vec<(Part, Delivery<Arc<Body>>)>;

/// A delivery that waits until its lease cannot be lost.
pub struct Lent {
    queue: Arc<QueueHandle>,
    deliveries: Deliverables,
    /// For each, the session that keeps room for it, if that is shared.
    promised_by: Vec<Option<Arc<SessionHandle>>>,
}

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lent").field("queue", &self.queue).field("count", &self.deliveries.len()).finish()
    }
}

impl Broker {
    /// Looks at all queues whose time has come, and at delayed messages.
    pub fn tend_queues(&self, now: Instant) {
        self.queues.wake.at.store(Wake::NEVER, Ordering::Release);
        let wall = self.queues.wall(now).0;
        let mut deliveries = Deliveries::default();
        // The map is let go first: who deletes a queue takes its lock before the map's.
        let all: Vec<_> = self.queues.by_number.read().values().cloned().collect();
        for queue in all {
            if queue.take_due(wall) {
                self.pump(&queue, now, &mut deliveries);
            }
            self.queues.wake.by(queue.due());
        }
        self.release_delayed(now, &mut deliveries);
        deliveries.flush(self, now);
    }

    /// Who has what goes to the journal, before it ends.
    pub fn tell_leases(&self, now: Instant) {
        let mut deliveries = Deliveries::default();
        let all: Vec<_> = self.queues.by_number.read().values().cloned().collect();
        for queue in all {
            let mut state = queue.lock();
            take_back(&queue, &mut state, self.queues.wall(now));
            state.work.tell_leases();
            state.tell(&queue, self.journal.is_some(), &mut deliveries.batch);
            self.submit(&mut deliveries.batch);
        }
    }

    /// Waits until [`Self::tend_queues`] has something to do.
    pub async fn queues_are_due(&self) {
        self.queues.next_look(Instant::now).await;
    }

    /// The queues that a batch of packets has touched.
    pub(in crate::broker) fn pump_touched(&self, touched: &[u64], now: Instant, deliveries: &mut Deliveries) {
        for number in touched {
            if let Some(queue) = self.queues.find_number(*number) {
                self.pump(&queue, now, deliveries);
            }
        }
    }

    /// A client comes back to its session: it is not sent again what has run out while it was connected, or was purged.
    pub(in crate::broker) fn recall_all_from(&self, session: &SessionHandle) {
        let memberships = session.lock(|slot| if slot.online.is_none() { slot.all_memberships() } else { Vec::new() });
        for Membership { queue, part, consumer, .. } in memberships {
            recall_from(session, &queue, &queue.lock(), (part, consumer));
        }
    }

    /// Takes back what sessions are done with, and delivers what can be delivered.
    fn pump(&self, queue: &Arc<QueueHandle>, now: Instant, deliveries: &mut Deliveries) {
        let wall = self.queues.wall(now);
        let mut state = queue.lock();
        let (mut has_run_out, mut given) = (false, Given::default());
        loop {
            take_back(queue, &mut state, wall);
            if state.work.poll_timeout().is_some_and(|at| at <= wall) {
                has_run_out |= state.work.handle_timeout(wall);
            }
            let mut lent = next_round(&mut state, &mut given, wall);
            state.tell(queue, self.journal.is_some(), &mut deliveries.batch);
            let goes_on = !lent.is_empty() && self.lend(queue, &mut state, (&mut lent, &mut given), now, deliveries);
            lent.clear();
            LENT.set(lent);
            if !goes_on {
                break;
            }
            self.submit(&mut deliveries.batch);
        }
        self.submit(&mut deliveries.batch);
        given.end();
        if has_run_out {
            recall(queue, &state);
        }
        if let Some(at) = state.work.poll_timeout() {
            queue.look_at(at.0.max(wall.0 + 1));
        }
    }

    /// `false`: the disk does not give bodies back, and the broker is about to stop.
    fn lend(
        &self,
        queue: &Arc<QueueHandle>,
        state: &mut QueueState,
        (lent, given): (&mut Deliverables, &mut Given),
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> bool {
        // A numbered attempt must not happen twice, so a redelivery waits; the first one need not.
        let must_wait = |(_, delivery): &mut (_, Delivery<_>)| delivery.attempt >= 2 && self.journal.is_some();
        let later: Vec<_> = lent.extract_if(.., must_wait).collect();
        given.by_session.clear(); // It stands in their windows from here on.
        if !later.is_empty() {
            let promised_by = later.iter().map(|(part, delivery)| {
                let consumer = state.consumers.get(&(*part, delivery.consumer)).filter(|consumer| consumer.shares_window)?;
                consumer.session.lock(|slot| slot.session.outbound.promise_work());
                Some(consumer.session.clone())
            });
            let lent = Lent { queue: queue.clone(), promised_by: promised_by.collect(), deliveries: later };
            deliveries.batch.journal.wait(Waiter::Lent(Box::new(lent)), self.stored_level());
        }
        self.send(queue, state, lent, now, deliveries)
    }

    /// Redeliveries whose leases are safe now.
    pub(in crate::broker) fn lent(&self, lent: Lent, now: Instant, deliveries: &mut Deliveries) {
        let wall = self.queues.wall(now);
        let mut state = lent.queue.lock();
        let (mut still, mut given) = (Vec::new(), Given::default());
        for ((part, delivery), promised_by) in lent.deliveries.into_iter().zip(lent.promised_by) {
            let Delivery { consumer, lease, .. } = delivery;
            // A consumer of QoS 0 has no lease that could be over: its messages are settled already.
            if delivery.deadline.is_some() && !state.work.part(part).is_leased(lease) {
                promised_by.iter().for_each(|session| given.let_go(session));
                // Of a packet that is not sent nobody tells what became of it.
                state.work.with(part, |queue| queue.unanswered(consumer, lease));
            } else if promised_by.is_none_or(|session| given.is_taken(&session)) {
                still.push((part, delivery));
            } else {
                state.work.with(part, |queue| {
                    queue.unsent(consumer, lease, wall);
                    queue.set_on_hold(consumer, true);
                });
            }
        }
        self.send(&lent.queue, &mut state, &still, now, deliveries);
        given.end();
        drop(state);
        deliveries.touch(lent.queue.number);
    }

    fn send(
        &self,
        queue: &Arc<QueueHandle>,
        state: &mut QueueState,
        lent: &[(Part, Delivery<Arc<Body>>)],
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> bool {
        let bodies: Vec<_> = lent.iter().map(|(_, delivery)| delivery.body.clone()).collect();
        let Some(messages) = self.messages_of(&bodies) else { return false };
        for ((part, delivery), message) in lent.iter().zip(messages) {
            let Some(consumer) = state.consumers.get(&(*part, delivery.consumer)) else {
                // Its subscription is over, and what it was lent waited for the disk.
                let (consumer, lease, wall) = (delivery.consumer, delivery.lease, self.queues.wall(now));
                state.work.with(*part, |queue| queue.unsent(consumer, lease, wall));
                continue;
            };
            let is_ahead = send_one(queue, state, consumer, (*part, delivery), &message, now, deliveries);
            if self.traces.is_on() {
                let grant = Grant { qos: consumer.qos, ..Grant::default() };
                self.trace_delivery(consumer.session.client_id(), &Publication::stored(&message), &grant);
            }
            if is_ahead {
                let consumer = delivery.consumer;
                state.work.with(*part, |queue| queue.set_on_hold(consumer, true));
            }
        }
        true
    }

    /// The messages of bodies, from wherever they are.
    pub(super) fn messages_of(&self, bodies: &[Arc<Body>]) -> Option<Vec<Message>> {
        if self.journal.is_some() { self.load(bodies) } else { bodies.iter().map(|body| body.message()).collect() }
    }

    /// A consumer of QoS 0 has taken what it was sent.
    pub(in crate::broker) fn end_hold(&self, handle: &SessionHandle, deliveries: &mut Deliveries) {
        for Membership { queue, part, consumer, .. } in handle.lock(|slot| slot.memberships()) {
            queue.lock().work.with(part, |queue| queue.set_on_hold(consumer, false));
            deliveries.touch(queue.number);
        }
    }

    /// A client takes more work again: its queues have their turns at that room.
    pub(in crate::broker) fn share_room(&self, handle: &SessionHandle, now: Instant, deliveries: &mut Deliveries) {
        for _ in 0..handle.lock(|slot| slot.membership_count()) {
            let Some(next) = handle.lock(Slot::next_in_turn) else { break };
            let Membership { queue, part, consumer, .. } = next;
            queue.lock().work.with(part, |queue| queue.set_on_hold(consumer, false));
            self.pump(&queue, now, deliveries);
        }
    }
}

impl Queues {
    pub(super) fn moment(&self, at: Instant) -> UnixMillis {
        self.wall(at)
    }
}

/// Takes note of what sessions are done with.
pub(super) fn take_back(queue: &QueueHandle, state: &mut QueueState, wall: UnixMillis) {
    let mut returns = std::mem::take(&mut state.returns);
    queue.take_returns(&mut returns);
    for (errand, fate) in returns.drain(..) {
        let part = if errand.is_dead { Part::Dead } else { Part::Main };
        let (consumer, lease) = (ConsumerId::of(errand.consumer), Lease { seq: errand.seq, number: errand.number });
        state.work.with(part, |queue| match fate {
            Fate::Answered(code) => _ = queue.acknowledged(consumer, lease, code, wall),
            Fate::Unsent => queue.unsent(consumer, lease, wall),
            Fate::Unanswered => queue.unanswered(consumer, lease),
        });
    }
    returns.shrink_to(RETURNS_KEPT);
    state.returns = returns;
}

/// What sessions with several consumers are about to be given by one look at a queue.
#[derive(Default)]
struct Given {
    by_session: SmallVec<[(u64, usize); 4]>,
    /// Those that took no more, and may again.
    refused: SmallVec<[Arc<SessionHandle>; 2]>,
}

impl Given {
    /// Whether a consumer takes one more.
    fn may_have(&mut self, consumer: &Consumer) -> bool {
        self.ask(&consumer.session, Slot::takes_work)
    }

    /// Whether a session takes what it was promised.
    fn is_taken(&mut self, session: &Arc<SessionHandle>) -> bool {
        self.ask(session, Slot::takes_promised)
    }

    /// What was promised to a session does not come.
    fn let_go(&mut self, session: &Arc<SessionHandle>) {
        session.lock(|slot| slot.session.outbound.end_promise());
        self.refuse(session); // There is room for others.
    }

    fn ask(&mut self, session: &Arc<SessionHandle>, takes: impl FnOnce(&mut Slot, usize) -> bool) -> bool {
        let at = self.place_of(session);
        let given = &mut self.by_session[at].1;
        let is_given = session.lock(|slot| takes(slot, *given));
        *given += usize::from(is_given);
        if !is_given {
            self.refuse(session);
        }
        is_given
    }

    fn refuse(&mut self, session: &Arc<SessionHandle>) {
        if !self.refused.iter().any(|refused| refused.key == session.key) {
            self.refused.push(session.clone());
        }
    }

    fn place_of(&mut self, session: &SessionHandle) -> usize {
        let known = self.by_session.iter().position(|(key, _)| *key == session.key);
        known.unwrap_or_else(|| {
            self.by_session.push((session.key, 0));
            self.by_session.len() - 1
        })
    }

    /// What was promised may not have been sent after all, and then nothing else would tell.
    fn end(self) {
        self.refused.iter().for_each(|session| session.lock(Slot::tell_of_room));
    }
}

/// Some deliveries, those of the queue and of its dead letters in turn.
fn next_round(state: &mut QueueState, given: &mut Given, wall: UnixMillis) -> Deliverables {
    let QueueState { work, consumers, .. } = state;
    let mut lent = LENT.take();
    let mut parts = [Some(Part::Main), Some(Part::Dead)];
    while lent.len() < ROUND && parts.iter().any(Option::is_some) {
        for slot in &mut parts {
            let Some(part) = *slot else { continue };
            let has_room = |id| consumers.get(&(part, id)).is_none_or(|consumer| given.may_have(consumer));
            match work.with(part, |queue| queue.poll_delivery(wall, has_room)) {
                Some(delivery) => lent.push((part, delivery)),
                None => *slot = None,
            }
        }
    }
    lent
}

/// Consumers that are away keep no packets of leases that have run out: others have those messages now.
fn recall(queue: &QueueHandle, state: &QueueState) {
    for ((part, id), consumer) in &state.consumers {
        recall_from(&consumer.session, queue, state, (*part, *id));
    }
}

fn recall_from(session: &SessionHandle, queue: &QueueHandle, state: &QueueState, (part, id): (Part, ConsumerId)) {
    let is_dead = part == Part::Dead;
    let is_over = |errand: &Errand| {
        errand.queue == queue.number
            && errand.is_dead == is_dead
            && errand.consumer == id.get()
            && !state.work.part(part).is_leased(Lease { seq: errand.seq, number: errand.number })
    };
    session.lock(|slot| {
        if slot.online.is_none() {
            slot.session.outbound.recall(is_over);
        }
    });
}

/// Returns whether the consumer should get nothing more for a while.
fn send_one(
    queue: &Arc<QueueHandle>,
    state: &QueueState,
    consumer: &Consumer,
    (part, delivery): (Part, &Delivery<Arc<Body>>),
    message: &Message,
    now: Instant,
    deliveries: &mut Deliveries,
) -> bool {
    let errand = Errand {
        queue: queue.number,
        is_dead: part == Part::Dead,
        consumer: delivery.consumer.get(),
        seq: delivery.lease.seq,
        number: delivery.lease.number,
    };
    let message = as_lent(queue, state, consumer, (part, delivery), message);
    let work = Work::new(message, errand, queue.clone());
    let grant = Grant { qos: consumer.qos, identifiers: consumer.identifier.as_slice(), ..Grant::default() };
    deliveries.lend(&consumer.session, work, grant, AHEAD, now)
}

/// The message as this consumer gets it.
fn as_lent(
    queue: &QueueHandle,
    state: &QueueState,
    consumer: &Consumer,
    (part, delivery): (Part, &Delivery<Arc<Body>>),
    message: &Message,
) -> Message {
    // Dead letters, and those that are redriven, have no lifetime but the queue's.
    let expires_at = message.expires_at.filter(|_| delivery.expires_at.is_some());
    let is_as_it_was = !message.retain && message.expires_at == expires_at;
    if is_as_it_was && !consumer.has_properties && !consumer.is_lease_form {
        return message.clone();
    }
    let view = message.view();
    let mount_point = queue.id.mount_point.as_deref();
    let topic = match (delivery.tag, consumer.is_lease_form) {
        (Some(tag), true) => {
            let original = view.topic.as_str();
            let original = mount_point.and_then(|mount_point| original.strip_prefix(mount_point)).unwrap_or(original);
            let reference = state.work.part(part).reference();
            Some(crate::queue::topics::lease_topic(reference, tag, original))
        }
        _ => None,
    };
    PROPERTIES.with_borrow_mut(|properties| {
        properties.clear();
        let mut tells_key = false;
        if consumer.has_properties {
            let mode = &state.definition.config.key;
            // By a property the message has it already, and of a client it was given it.
            let is_told = matches!(mode, KeyMode::Property(_) | KeyMode::ClientId);
            let key = if is_told { None } else { key_of(mode, &view, mount_point, "") };
            tells_key = key.is_some();
            delivery.properties(&queue.id.name).each(key, |name, value| properties.push(name, value));
        }
        // A topic that got too long by its lease stays as it was.
        let topic = topic.as_deref().and_then(|topic| TopicName::new(topic).ok()).unwrap_or(view.topic);
        let is_out = |name: &str| is_of_delivery(name) || tells_key && name == KEY;
        Message::extended(MessageView { topic, ..view }, is_out, properties, (message.qos, false, expires_at))
    })
}
