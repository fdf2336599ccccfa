use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::by_id::ById;
use super::numbering::Numbering;
use super::outbound::Outbound;
use super::outlasting::Outlasting;
use crate::packet::{PacketId, SubscriptionOptions, TopicFilter};
use crate::storage::{Body, ConsumerWish, Record};

/// What outlives the Network Connection (4.1): the subscriptions, the exchanges that are open in both directions, what waits to be
/// sent. The broker keeps it under one lock; whoever holds the connection works on it through [`SessionCell`].
#[derive(Debug, Default)]
pub struct Session {
    pub subscriptions: HashMap<TopicFilter, Subscription, RandomState>,
    pub outbound: Outbound,
    /// Retained messages that new subscriptions are still to be sent.
    pub replays: Vec<Replay>,
    /// QoS 2 messages that were received and not yet released `[MQTT-4.3.3-10]`.
    received: Option<Box<ById<Receipt>>>,
}

/// How far a QoS 2 message that was received has come.
#[derive(Debug)]
enum Receipt {
    /// It is being looked at.
    Open,
    /// It is stored, together with its identifier, in this body.
    Told(Arc<Body>),
    /// PUBREC is due or was sent.
    Owned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub options: SubscriptionOptions,
    pub identifier: Option<u32>,
    /// Of one to a work queue.
    pub wish: ConsumerWish,
}

/// How far the retained messages of one subscription have been sent.
#[derive(Clone, Debug)]
pub struct Replay {
    pub filter: TopicFilter,
    /// The topic to go on with; `None` to begin.
    pub from: Option<Box<str>>,
    /// SUBACK is still due, and goes first.
    pub is_held: bool,
}

impl Session {
    /// The retained messages to be sent next.
    pub fn next_replay(&self) -> Option<&Replay> {
        self.replays.iter().find(|replay| !replay.is_held)
    }

    /// SUBACK was written, or will never be.
    pub fn let_replays_go(&mut self) {
        self.replays.iter_mut().for_each(|replay| replay.is_held = false);
    }

    /// A QoS 2 PUBLISH came in; `false` if its message is ours already `[MQTT-4.3.3-10]`.
    pub fn receive(&mut self, id: PacketId) -> bool {
        self.received.get_or_insert_default().try_insert(id, Receipt::Open).is_ok()
    }

    /// The message that came under this identifier is stored with it.
    pub fn received_in(&mut self, id: PacketId, body: &Arc<Body>) {
        self.set_receipt(id, Receipt::Told(body.clone()));
    }

    /// The message that came under this identifier is owned.
    pub fn owned(&mut self, id: PacketId) {
        self.set_receipt(id, Receipt::Owned);
    }

    fn set_receipt(&mut self, id: PacketId, receipt: Receipt) {
        if let Some(there) = self.received.as_mut().and_then(|received| received.get_mut(&id)) {
            *there = receipt;
        }
    }

    /// The identifiers of messages that are stored and not released. Those of which the journal has still to write are not among them.
    pub fn received(&self) -> impl Iterator<Item = PacketId> {
        let is_stored = |receipt: &Receipt| match receipt {
            Receipt::Open => false,
            Receipt::Told(body) => body.is_receipt_written(),
            Receipt::Owned => true,
        };
        let received = self.received.iter().flat_map(|received| received.iter());
        received.filter_map(move |(id, receipt)| is_stored(receipt).then_some(*id))
    }

    /// The client gives the identifier free: by PUBREL, or since we refused the message. `false` if it was not in use.
    pub fn release(&mut self, id: PacketId) -> bool {
        self.received.as_mut().is_some_and(|received| received.remove(&id).is_some())
    }

    /// The session outlives the process from now on.
    pub fn outlast(&mut self, numbering: Numbering) {
        self.outbound.outlasting = Some(Box::new(Outlasting::new(numbering)));
    }

    pub fn numbering(&self) -> Option<&Numbering> {
        self.outbound.outlasting.as_ref().map(|outlasting| &outlasting.numbering)
    }

    /// Something for the journal, if the session outlives the process.
    pub fn tell(&mut self, record: Record) {
        if let Some(outlasting) = &mut self.outbound.outlasting {
            outlasting.tell(record);
        }
    }

    /// Messages that were handed to the journal from this number on cannot be lost any more.
    pub fn is_safe_from(&mut self, first: u64) {
        if let Some(outlasting) = &mut self.outbound.outlasting {
            outlasting.numbering.is_safe_from(first);
        }
    }

    /// Gives memory back that an idle session does not need.
    pub fn shrink(&mut self) {
        self.outbound.inflight.shrink();
        if self.received_len() == 0 {
            self.received = None;
        }
    }

    pub fn received_len(&self) -> usize {
        self.received.as_ref().map_or(0, |received| received.len())
    }
}

/// Access to the session that a connection works on.
pub trait SessionCell {
    fn with<R>(&self, work: impl FnOnce(&mut Session) -> R) -> R;
}

impl SessionCell for std::cell::RefCell<Session> {
    fn with<R>(&self, work: impl FnOnce(&mut Session) -> R) -> R {
        work(&mut self.borrow_mut())
    }
}
