use std::collections::VecDeque;

use super::Message;
use crate::packet::{PacketId, QoS};

/// Messages of QoS 1 and 2 that have not been acknowledged to the end, in the order in which they were published, so that
/// they are sent again in that order `[MQTT-4.6.0-1]`.
#[derive(Debug)]
pub(super) struct Outgoing {
    exchanges: VecDeque<Exchange>,
    next_id: PacketId,
}

#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) packet_id: PacketId,
    /// `None` once PUBREC has come: the server owns the message.
    pub(super) message: Option<Message>,
    /// It has gone out over some Network Connection of this session.
    pub(super) is_sent: bool,
    /// It counts against the server's Receive Maximum on this Network Connection.
    pub(super) is_in_flight: bool,
}

/// How far a message has come that is on its way over this Network Connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// PUBLISH has gone out; PUBACK or PUBREC is to come.
    Sent(QoS),
    /// PUBREC has come, PUBREL has gone out; PUBCOMP is to come.
    Released,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self { exchanges: VecDeque::new(), next_id: PacketId::FIRST }
    }
}

impl Outgoing {
    /// Takes a message in under an identifier of its own; `None` when all are in use.
    pub(super) fn push(&mut self, message: Message, is_free: impl Fn(PacketId) -> bool) -> Option<PacketId> {
        let packet_id = self.unused_id(is_free)?;
        let (is_sent, is_in_flight) = (false, false);
        self.exchanges.push_back(Exchange { packet_id, message: Some(message), is_sent, is_in_flight });
        Some(packet_id)
    }

    /// An identifier that no exchange uses `[MQTT-2.2.1-3]`.
    pub(super) fn unused_id(&mut self, is_free: impl Fn(PacketId) -> bool) -> Option<PacketId> {
        for _ in 0..u16::MAX {
            let id = self.next_id;
            self.next_id = id.next();
            if is_free(id) && self.exchanges.iter().all(|exchange| exchange.packet_id != id) {
                return Some(id);
            }
        }
        None
    }

    /// Where the search for identifiers goes on.
    pub(super) fn set_next_id(&mut self, packet_id: PacketId) {
        self.next_id = packet_id;
    }

    /// `None` for what is not on its way: it cannot be answered.
    pub(super) fn stage(&self, packet_id: PacketId) -> Option<Stage> {
        let exchange = self.exchanges.iter().find(|exchange| exchange.packet_id == packet_id && exchange.is_in_flight)?;
        Some(exchange.message.as_ref().map_or(Stage::Released, |message| Stage::Sent(message.qos)))
    }

    /// The server owns the message.
    pub(super) fn release(&mut self, packet_id: PacketId) {
        if let Some(exchange) = self.exchanges.iter_mut().find(|exchange| exchange.packet_id == packet_id) {
            exchange.message = None;
        }
    }

    pub(super) fn remove(&mut self, packet_id: PacketId) -> Option<Exchange> {
        let index = self.exchanges.iter().position(|exchange| exchange.packet_id == packet_id)?;
        self.exchanges.remove(index)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Exchange> {
        self.exchanges.iter_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.exchanges.len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.exchanges.iter().filter(|exchange| exchange.is_in_flight).count()
    }

    /// A Network Connection has begun. Those that a session which is gone had finished with the server's PUBREC are done; their
    /// identifiers are returned.
    pub(super) fn begin(&mut self, session_present: bool) -> Vec<PacketId> {
        for exchange in &mut self.exchanges {
            exchange.is_in_flight = false;
            exchange.is_sent &= session_present;
        }
        if session_present {
            return Vec::new();
        }
        let done =
            self.exchanges.iter().filter(|exchange| exchange.message.is_none()).map(|exchange| exchange.packet_id).collect();
        self.exchanges.retain(|exchange| exchange.message.is_some());
        done
    }
}
