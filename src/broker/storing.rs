//! What of the broker outlives the process: sessions as the journal knows them, and the walk over all of it.

use std::ops::ControlFlow;

use super::Broker;
use super::effects::{Effects, Waiter};
use super::handle::{SessionHandle, Slot};
use crate::packet::TopicFilter;
use crate::session::{ExchangeState, Subscription};
use crate::storage::{Clock, Item, OnlineState, Record, SessionHeader, Walk, Walker};

/// Retained messages that are shown under one lock.
const PAGE: usize = 1024;
/// Messages that wait for a session and are shown under one lock.
const PIECE: usize = if cfg!(test) { 3 } else { 4096 };

impl SessionHandle {
    /// The session's own line in the journal, as it is now.
    fn header(&self, slot: &Slot, clock: &Clock) -> SessionHeader {
        let state = if slot.online.is_some() {
            OnlineState::Online
        } else {
            OnlineState::Offline { expires_at: slot.expires_at().map(|at| clock.wall(at)) }
        };
        let numbering = slot.session.numbering();
        SessionHeader {
            mount_point: self.mount_point.clone(),
            client_id: self.principal.client_id.clone(),
            username: self.principal.username.clone(),
            listener: self.listener.clone(),
            expiry_interval: slot.expiry_interval,
            state,
            will: slot.will.as_ref().map(|will| will.stored(clock)),
            next_sequence: numbering.map_or(0, |numbering| numbering.next),
            first_unsent: numbering.map_or(0, |numbering| numbering.unsent),
            revision: slot.revision,
        }
    }

    /// Reports, and tells the journal what became of a session that outlives the process: at once and under its lock, since behind the
    /// record of its end it would bring it back.
    pub(super) fn store_header(&self, slot: &mut Slot, broker: &Broker, effects: &mut Effects) {
        let (Some(session), Some(journal)) = (self.stored_as.filter(|_| !slot.is_ended), &broker.journal) else {
            return slot.report(effects);
        };
        slot.revision += 1;
        let header = Box::new(self.header(slot, &journal.clock));
        slot.session.tell(Record::Session { session, header });
        slot.report(effects);
        broker.submit(effects);
    }

    /// Tells the journal how far the retained messages of a subscription have been sent, under the session's lock.
    pub(super) fn store_replay(&self, slot: &mut Slot, filter: &TopicFilter) {
        let Some(session) = self.stored_as else { return };
        let filter = filter.clone();
        match slot.session.replays.iter().find(|replay| replay.filter == filter) {
            Some(replay) => {
                let from = replay.from.clone();
                slot.session.tell(Record::Replaying { session, filter, from });
            }
            None => slot.session.tell(Record::Replayed { session, filter }),
        }
    }

    /// Tells the journal about a subscription, at once and under the session's lock, so that the order is that of the changes.
    pub(super) fn store_subscription(&self, slot: &Slot, filter: &TopicFilter, broker: &Broker) {
        let (Some(session), Some(journal)) = (self.stored_as, &broker.journal) else { return };
        let filter = filter.clone();
        let Some(subscription) = slot.session.subscriptions.get(&filter) else {
            return journal.tell(Item::Record(Record::Unsubscribed { session, filter }));
        };
        let Subscription { options, identifier, wish } = *subscription;
        journal.tell(Item::Record(Record::Subscribed { session, filter: filter.clone(), options, identifier, wish }));
        if let Some(replay) = slot.session.replays.iter().find(|replay| replay.filter == filter) {
            journal.tell(Item::Record(Record::Replaying { session, filter, from: replay.from.clone() }));
        }
    }

    /// Shows the session, and what waits for it in pieces, between which anything may become of it.
    fn show(&self, clock: &Clock, walker: &mut Walker<'_>) {
        let Some(session) = self.stored_as else { return };
        let mut next = Some(0);
        while let Some(first) = next {
            next = self.lock(|slot| {
                if slot.is_ended {
                    return None;
                }
                if first == 0 {
                    self.show_itself(session, slot, clock, walker);
                }
                show_piece(session, slot, first, walker)
            });
            walker.pause();
        }
    }

    fn show_itself(&self, session: u64, slot: &Slot, clock: &Clock, walker: &mut Walker<'_>) {
        walker.session(session, &self.header(slot, clock));
        for (filter, subscription) in &slot.session.subscriptions {
            let Subscription { options, identifier, wish } = *subscription;
            walker.subscription(session, filter, (options, identifier, wish));
        }
        for replay in &slot.session.replays {
            walker.replaying(session, &replay.filter, replay.from.as_deref());
        }
        for id in slot.session.received() {
            walker.received(session, id);
        }
    }
}

/// Shows messages from number `first` on, in their order, whether they wait or are under way: what waits may be under way before the next
/// piece is shown. Returns where that begins.
fn show_piece(session: u64, slot: &Slot, first: u64, walker: &mut Walker<'_>) -> Option<u64> {
    let outbound = &slot.session.outbound;
    let (mut next, mut last) = (None, u64::MAX);
    for (count, (sequence, queued)) in outbound.queue.stored_from(first).enumerate() {
        if count == PIECE {
            (next, last) = (Some(sequence), sequence - 1);
            break;
        }
        show_waiting(session, queued, walker);
    }
    let is_of_piece = |sequence: u64| (first..=last).contains(&sequence);
    for state in outbound.inflight.iter() {
        match state {
            ExchangeState::Released(Some(sequence)) if is_of_piece(*sequence) => walker.released(session, *sequence),
            ExchangeState::Published(queued) if queued.sequence().is_some_and(is_of_piece) => {
                show_waiting(session, queued, walker);
            }
            ExchangeState::Released(_) | ExchangeState::Published(_) => {}
        }
    }
    next
}

fn show_waiting(session: u64, queued: &crate::session::Queued, walker: &mut Walker<'_>) {
    if let (Some(body), Some(recipient)) = (queued.body(), queued.recipient(session)) {
        walker.waiting(&recipient, body);
    }
}

impl Slot {
    /// Hands what the session has to tell to the journal, and asks for word if a message waits until it cannot be lost.
    pub(super) fn hand_news(&mut self, effects: &mut Effects) {
        let Some(outlasting) = &mut self.session.outbound.outlasting else { return };
        outlasting.news().for_each(|item| effects.journal.push(item));
        if std::mem::take(&mut outlasting.is_anxious)
            && let Some(handle) = self.me.upgrade()
        {
            // Also while the client is away: who comes back must not get what another thread has not told yet.
            let first = outlasting.numbering.hand();
            effects.journal.wait(Waiter::Safe { handle, first }, self.level);
        } else {
            outlasting.numbering.hand_unwatched();
        }
    }
}

/// All that is to survive, shown piece by piece: what was told meanwhile is replayed onto it.
impl Walk for Broker {
    fn walk(&self, walker: &mut Walker<'_>) {
        let Some(journal) = &self.journal else { return };
        for handle in self.registry.all() {
            handle.show(&journal.clock, walker);
        }
        let mut from = None;
        loop {
            from = self.show_retained(from.as_deref(), walker);
            walker.pause();
            if from.is_none() {
                break;
            }
        }
        self.show_queues(walker);
        // What was seen to be gone from one session is told to be with another before the walk ends.
        drop(self.hand_overs.write());
    }
}

impl Broker {
    fn show_retained(&self, from: Option<&str>, walker: &mut Walker<'_>) -> Option<Box<str>> {
        self.page_of_retained(from, PAGE, |topic, publisher, body| {
            walker.retained(topic, publisher, body);
            ControlFlow::Continue(())
        })
    }
}
