use std::collections::VecDeque;

use hashbrown::hash_map::Entry;

use super::by_id::ById;
use super::numbering::Numbering;
use super::queued::Queued;
use crate::packet::{PacketId, PublishReason, QoS};

/// The exchanges that we have open towards the client: sent, and not acknowledged to the end. They outlive the connection.
#[derive(Debug)]
pub struct Inflight {
    /// Only there while there is one: most sessions have none most of the time.
    open: Option<Box<Exchanges>>,
    next_id: PacketId,
}

#[derive(Debug, Default)]
struct Exchanges {
    by_id: ById<Exchange>,
    next_sequence: u64,
}

/// One exchange and how far it has come (4.3).
#[derive(Debug)]
pub struct Exchange {
    /// Counts up with every PUBLISH and PUBREL: the order in which they are resent `[MQTT-4.6.0-1]`, `[MQTT-4.6.0-4]`.
    sequence: u64,
    pub state: ExchangeState,
}

#[derive(Debug)]
pub enum ExchangeState {
    /// PUBLISH was sent; PUBACK or PUBREC is awaited.
    Published(Queued),
    /// PUBREL was sent; PUBCOMP is awaited. The message is the client's `[MQTT-4.3.3-8]`. Of one that is stored, its number.
    Released(Option<u64>),
}

/// A message that was taken out to go elsewhere.
#[derive(Debug)]
pub struct Taken {
    pub queued: Queued,
    /// The exchange that it was sent in, if it was.
    place: Option<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    id: PacketId,
    sequence: u64,
}

impl Taken {
    pub const fn waiting(queued: Queued) -> Self {
        Self { queued, place: None }
    }
}

/// What a PUBREC means.
#[derive(Debug)]
pub enum Received {
    /// PUBREL is due.
    Release,
    /// The same, once it cannot be lost that PUBREC came: the message with this number is to be told to be the client's.
    ReleaseStored(u64),
    /// The client refused the message: the exchange is over, no PUBREL follows `[MQTT-4.3.3-4]`.
    Refused(Queued),
    /// There is no such exchange.
    Unknown,
}

impl Default for Inflight {
    fn default() -> Self {
        Self { open: None, next_id: PacketId::FIRST }
    }
}

impl Inflight {
    /// Opens an exchange under a free identifier `[MQTT-2.2.1-3]`, `[MQTT-2.2.1-4]`; `None` when all 65,535 are in use. A message that
    /// is stored has its own; the others of such a session begin at `lowest`.
    pub fn open(&mut self, queued: Queued, lowest: PacketId) -> Option<PacketId> {
        let id = self.id_for(&queued, lowest)?;
        self.begin(id, queued);
        Some(id)
    }

    /// The identifier that [`Self::open`] would take. Until then, or [`Self::begin`], it is not in use.
    pub fn id_for(&mut self, queued: &Queued, lowest: PacketId) -> Option<PacketId> {
        match queued.sequence() {
            Some(sequence) => Some(Numbering::packet_id(sequence)).filter(|id| self.get(*id).is_none()),
            None => self.free_id(lowest),
        }
    }

    /// Its PUBLISH was written under this identifier.
    pub fn begin(&mut self, id: PacketId, queued: Queued) {
        self.insert(id, ExchangeState::Published(queued));
    }

    /// An exchange of an earlier process.
    pub fn restore(&mut self, sequence: u64, state: ExchangeState) {
        self.insert(Numbering::packet_id(sequence), state);
    }

    fn insert(&mut self, id: PacketId, state: ExchangeState) {
        let exchanges = self.open.get_or_insert_default();
        let exchange = Exchange { sequence: exchanges.next_sequence, state };
        exchanges.next_sequence += 1;
        exchanges.by_id.insert(id, exchange);
    }

    fn free_id(&mut self, lowest: PacketId) -> Option<PacketId> {
        let count = usize::from(u16::MAX - lowest.get()) + 1;
        let mut id = self.next_id.max(lowest);
        for _ in 0..count {
            let next = if id.get() == u16::MAX { lowest } else { id.next() };
            if self.get(id).is_none() {
                self.next_id = next;
                return Some(id);
            }
            id = next;
        }
        None
    }

    /// The identifier that is tried first.
    pub fn begin_at(&mut self, id: PacketId) {
        self.next_id = id;
    }

    /// Undoes an [`Self::open`] whose packet could not be written.
    pub fn cancel(&mut self, id: PacketId) -> Option<Queued> {
        match self.remove(id)?.state {
            ExchangeState::Published(queued) => Some(queued),
            ExchangeState::Released(_) => None,
        }
    }

    pub fn get(&self, id: PacketId) -> Option<&Exchange> {
        self.open.as_ref()?.by_id.get(&id)
    }

    /// PUBACK ends a QoS 1 exchange; `None` if there is none under this identifier.
    pub fn acknowledge(&mut self, id: PacketId) -> Option<Queued> {
        let Entry::Occupied(entry) = self.open.as_mut()?.by_id.entry(id) else { return None };
        let is_meant = matches!(&entry.get().state, ExchangeState::Published(queued) if queued.qos() == QoS::AtLeastOnce);
        match is_meant.then(|| entry.remove().state)? {
            ExchangeState::Published(queued) => Some(queued),
            ExchangeState::Released(_) => None,
        }
    }

    /// PUBREC moves a QoS 2 exchange on.
    pub fn receive(&mut self, id: PacketId, reason: PublishReason) -> Received {
        let Some(Exchanges { by_id, next_sequence }) = self.open.as_deref_mut() else { return Received::Unknown };
        let Some(exchange) = by_id.get_mut(&id) else { return Received::Unknown };
        match &exchange.state {
            // Whether it was stored that it came, an earlier connection may not have waited to see.
            ExchangeState::Released(Some(sequence)) => Received::ReleaseStored(*sequence),
            ExchangeState::Released(None) => Received::Release,
            ExchangeState::Published(queued) if queued.qos() != QoS::ExactlyOnce => Received::Unknown,
            ExchangeState::Published(_) if reason.is_error() => self.cancel(id).map_or(Received::Unknown, Received::Refused),
            ExchangeState::Published(queued) => {
                let number = queued.sequence();
                // PUBREL is resent in the order in which PUBREC came, whatever that of PUBLISH was.
                *exchange = Exchange { sequence: *next_sequence, state: ExchangeState::Released(number) };
                *next_sequence += 1;
                number.map_or(Received::Release, Received::ReleaseStored)
            }
        }
    }

    /// PUBCOMP ends a QoS 2 exchange; `None` if there is none that waits for it. Of one that is stored, its number.
    pub fn complete(&mut self, id: PacketId) -> Option<Option<u64>> {
        match self.get(id)?.state {
            ExchangeState::Released(number) => self.remove(id).map(|_| number),
            ExchangeState::Published(_) => None,
        }
    }

    /// Whether only PUBCOMP is missing.
    pub fn is_released(&self, id: PacketId) -> bool {
        self.get(id).is_some_and(|exchange| matches!(exchange.state, ExchangeState::Released(_)))
    }

    /// All identifiers in the order in which their exchanges began.
    pub fn in_order(&self) -> VecDeque<PacketId> {
        let Some(exchanges) = &self.open else { return VecDeque::new() };
        let mut ids: Vec<_> = exchanges.by_id.iter().map(|(id, exchange)| (exchange.sequence, *id)).collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// Takes out the unacknowledged QoS 1 messages that `wanted` picks, in order.
    pub fn extract(&mut self, mut wanted: impl FnMut(&Queued) -> bool) -> Vec<Taken> {
        let mut taken = Vec::new();
        for id in self.in_order() {
            let Some(Exchange { sequence, state: ExchangeState::Published(queued) }) = self.get(id) else { continue };
            if queued.qos() == QoS::AtLeastOnce && wanted(queued) {
                let place = Some(Place { id, sequence: *sequence });
                taken.extend(self.cancel(id).map(|queued| Taken { queued, place }));
            }
        }
        taken
    }

    /// Opens the exchange again that a message was taken out of, under its identifier and at its place `[MQTT-4.4.0-1]`,
    /// `[MQTT-4.6.0-1]`. Gives it back if it was in none, or its identifier is in use by now.
    pub fn put_back(&mut self, taken: Taken) -> Result<(), Queued> {
        let Taken { queued, place } = taken;
        let Some(Place { id, sequence }) = place.filter(|place| self.get(place.id).is_none()) else { return Err(queued) };
        let exchange = Exchange { sequence, state: ExchangeState::Published(queued) };
        let exchanges = self.open.get_or_insert_default();
        exchanges.next_sequence = exchanges.next_sequence.max(sequence + 1);
        exchanges.by_id.insert(id, exchange);
        Ok(())
    }

    /// How many exchanges wait for PUBCOMP only.
    pub fn released(&self) -> u16 {
        let Some(exchanges) = &self.open else { return 0 };
        let released = |exchange: &&Exchange| matches!(exchange.state, ExchangeState::Released(_));
        exchanges.by_id.values().filter(released).count() as u16 // there are no more identifiers
    }

    /// Takes out the unacknowledged messages that `unwanted` picks, of whatever QoS. What the client has taken over by PUBREC goes on.
    pub fn discard(&mut self, mut unwanted: impl FnMut(&Queued) -> bool) -> Vec<Queued> {
        let is_unwanted = |exchange: &Exchange, unwanted: &mut dyn FnMut(&Queued) -> bool| match &exchange.state {
            ExchangeState::Published(queued) => unwanted(queued),
            ExchangeState::Released(_) => false,
        };
        let Some(exchanges) = &mut self.open else { return Vec::new() };
        let taken = exchanges.by_id.extract_if(|_, exchange| is_unwanted(exchange, &mut unwanted));
        taken
            .filter_map(|(_, exchange)| match exchange.state {
                ExchangeState::Published(queued) => Some(queued),
                ExchangeState::Released(_) => None,
            })
            .collect()
    }

    /// All exchanges, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &ExchangeState> {
        self.open.iter().flat_map(|exchanges| exchanges.by_id.values()).map(|exchange| &exchange.state)
    }

    pub fn len(&self) -> usize {
        self.open.as_ref().map_or(0, |exchanges| exchanges.by_id.len())
    }

    pub fn is_full(&self) -> bool {
        self.len() >= usize::from(u16::MAX)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn remove(&mut self, id: PacketId) -> Option<Exchange> {
        self.open.as_mut()?.by_id.remove(&id)
    }

    /// Gives memory back when nothing is under way.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            self.open = None;
        }
    }
}
