use std::collections::VecDeque;
use std::time::Instant;

use smallvec::SmallVec;

use super::config::Limits;
use super::inflight::{ExchangeState, Inflight, Received};
use super::out_buffer::OutBuffer;
use super::outbound_queue::{OutboundQueue, Pushed, QueueBounds, Queued};
use super::writer::{Publication, Receiver, TooLarge, Writer};
use crate::metrics::{Batch, DropReason, Limit, PacketType};
use crate::packet::{Delivery, Packet, PacketId, PublishReason, QoS, Release, ReleaseReason, TopicFilter, encode};

/// The sending half of a session: what waits, what is under way, and how much more the client takes.
#[derive(Debug, Default)]
pub struct Outbound {
    pub queue: OutboundQueue,
    pub inflight: Inflight,
    /// Exchanges of an earlier connection that are still to be resent on this one.
    resend: Option<Box<VecDeque<PacketId>>>,
    /// Exchanges that the client counts against its Receive Maximum (4.9): PUBLISH was sent on this connection, or PUBREL is due.
    in_use: u16,
    window: u16,
}

/// What one subscription, or several of one client together, make of a message.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    pub qos: QoS,
    pub retain: bool,
    pub identifiers: SmallVec<[u32; 1]>,
    pub share: Option<TopicFilter>,
}

/// New exchanges are not begun while so much is unwritten: what waits in the queue can still expire or be handed on.
const WRITE_AHEAD: usize = 64 * 1024;

impl Outbound {
    /// A connection takes the session up. `receive_maximum` is the lower of the client's and our own bound.
    pub fn connect(&mut self, receive_maximum: u16) {
        self.window = receive_maximum;
        // A resumed PUBREL takes its place from the start: its PUBCOMP must not let more through than the client takes.
        self.in_use = self.inflight.released();
        let mut resend = self.inflight.in_order();
        // PUBREL before PUBLISH: with a full window only its PUBCOMP makes room.
        resend.make_contiguous().sort_by_key(|id| !self.inflight.is_released(*id));
        self.resend = (!resend.is_empty()).then(|| Box::new(resend));
    }

    /// The connection is gone.
    pub fn disconnect(&mut self) {
        self.resend = None;
        self.window = 0;
    }

    /// Whether a message given now would leave at once.
    pub fn has_room(&self) -> bool {
        self.may_begin() && self.queue.is_empty()
    }

    /// Takes a message for this session: written at once where that keeps the order, queued otherwise.
    pub fn deliver(
        &mut self,
        link: Option<(&mut Writer, &mut OutBuffer)>,
        publication: &mut Publication<'_>,
        grant: Grant,
        limits: &Limits,
        now: Instant,
        batch: &mut Batch,
    ) {
        match (grant.qos, link) {
            (QoS::AtMostOnce, Some((writer, out))) if !self.queue.has_at_most_once() => {
                if out.len() as u64 >= limits.max_write_buffer.0 {
                    batch.dropped(DropReason::WriteBufferFull, 1);
                    return;
                }
                let receiver = Receiver {
                    delivery: Delivery::AtMostOnce,
                    dup: false,
                    retain: grant.retain,
                    identifiers: &grant.identifiers,
                };
                let _ = write(writer, out, publication, receiver, now, batch);
            }
            (QoS::AtMostOnce, None) if !limits.queue_qos0 => batch.dropped(DropReason::Offline, 1),
            (_, Some((writer, out)))
                if grant.qos != QoS::AtMostOnce && self.has_room() && self.resend.is_none() && out.len() < WRITE_AHEAD =>
            {
                let queued = queued(publication, grant);
                self.begin(writer, out, publication, queued, now, batch);
            }
            (qos, link) => {
                let is_own_window = self.window == limits.max_inflight;
                if qos != QoS::AtMostOnce && link.is_some() && is_own_window && !self.may_begin() {
                    batch.limit_hit(Limit::MaxInflight, 1);
                }
                self.push(queued(publication, grant), limits, now, batch);
            }
        }
    }

    /// Takes a message for this session and leaves it in the queue, whatever its QoS, for the next [`Self::fill`].
    pub fn deliver_later(
        &mut self,
        publication: &mut Publication<'_>,
        grant: Grant,
        limits: &Limits,
        now: Instant,
        batch: &mut Batch,
    ) {
        self.push(queued(publication, grant), limits, now, batch);
    }

    /// Puts a message at the end of the queue.
    pub fn push(&mut self, queued: Queued, limits: &Limits, now: Instant, batch: &mut Batch) {
        let Pushed { is_queued, dropped, expired } = self.queue.push(queued, &QueueBounds::of(limits), now);
        let lost = u64::from(!is_queued) + dropped as u64;
        if lost > 0 {
            let is_count = self.queue.len() >= limits.max_queued_messages;
            batch.dropped(if is_count { DropReason::QueueFull } else { DropReason::QueueBytes }, lost);
        }
        if expired > 0 {
            batch.dropped(DropReason::Expired, expired as u64);
        }
    }

    /// Sends what may be sent: first what an earlier connection left unacknowledged, then what waits.
    pub fn fill(&mut self, writer: &mut Writer, out: &mut OutBuffer, now: Instant, batch: &mut Batch) {
        while out.len() < WRITE_AHEAD {
            let is_done = if self.resend.is_none() {
                !self.send_next(writer, out, now, batch)
            } else {
                !self.resend_next(writer, out, now, batch)
            };
            if is_done {
                return;
            }
        }
    }

    /// PUBACK. `None`: it acknowledges nothing.
    pub fn handle_puback(&mut self, id: PacketId) -> Option<Queued> {
        let queued = self.inflight.acknowledge(id)?;
        self.give_back(id);
        Some(queued)
    }

    /// PUBREC. The caller sends PUBREL where one is due.
    pub fn handle_pubrec(&mut self, id: PacketId, reason: PublishReason) -> Received {
        let is_published = self.inflight.get(id).is_some_and(|exchange| matches!(exchange.state, ExchangeState::Published(_)));
        let received = self.inflight.receive(id, reason);
        match received {
            Received::Refused(_) => self.give_back(id),
            // Acknowledged before it was resent: from here on it counts.
            Received::Release if is_published && self.is_to_be_resent(id) => self.in_use += 1,
            Received::Release | Received::Unknown => {}
        }
        received
    }

    /// PUBCOMP. `false`: it completes nothing.
    pub fn handle_pubcomp(&mut self, id: PacketId) -> bool {
        let is_known = self.inflight.complete(id);
        if is_known {
            self.in_use = self.in_use.saturating_sub(1); // As in `give_back`.
        }
        is_known
    }

    fn may_begin(&self) -> bool {
        self.has_window() && !self.inflight.is_full()
    }

    fn has_window(&self) -> bool {
        self.in_use < self.window
    }

    /// The exchange under `id` is over before PUBREL. One that still waits to be resent took no place.
    fn give_back(&mut self, id: PacketId) {
        if !self.is_to_be_resent(id) {
            // A connection that was taken over may acknowledge after the next one is gone too, when nothing counts.
            self.in_use = self.in_use.saturating_sub(1);
        }
    }

    fn is_to_be_resent(&self, id: PacketId) -> bool {
        self.resend.as_ref().is_some_and(|resend| resend.contains(&id))
    }

    fn resend_next(&mut self, writer: &mut Writer, out: &mut OutBuffer, now: Instant, batch: &mut Batch) -> bool {
        let Some(id) = self.resend.as_ref().and_then(|resend| resend.front().copied()) else {
            self.resend = None;
            return true;
        };
        match self.inflight.get(id).map(|exchange| &exchange.state) {
            None => {} // Acknowledged before its turn came.
            Some(ExchangeState::Released) => {
                let packet = Packet::PubRel(Release::new(id, ReleaseReason::Success));
                out.append_with(|bytes| encode(&packet, writer.version, bytes));
                batch.packet_sent(PacketType::PubRel);
            }
            Some(ExchangeState::Published(queued)) => {
                if !self.has_window() {
                    return false;
                }
                let queued = queued.clone();
                let receiver = Receiver {
                    delivery: delivery(queued.qos, id),
                    dup: true, // [MQTT-3.3.1-1]
                    retain: queued.retain,
                    identifiers: &queued.identifiers,
                };
                match write(writer, out, &mut Publication::stored(&queued.message), receiver, now, batch) {
                    Ok(()) => self.in_use += 1,
                    Err(TooLarge) => drop(self.inflight.cancel(id)),
                }
            }
        }
        if let Some(resend) = &mut self.resend {
            resend.pop_front();
        }
        true
    }

    fn send_next(&mut self, writer: &mut Writer, out: &mut OutBuffer, now: Instant, batch: &mut Batch) -> bool {
        let Some(first) = self.queue.front() else { return false };
        let is_expired = first.message.is_expired(now);
        if !is_expired && first.qos != QoS::AtMostOnce && !self.may_begin() {
            return false;
        }
        let Some(queued) = self.queue.pop() else { return false };
        if is_expired {
            batch.dropped(DropReason::Expired, 1); // [MQTT-3.3.2-5]
            return true;
        }
        let message = queued.message.clone();
        let mut publication = Publication::stored(&message);
        if queued.qos == QoS::AtMostOnce {
            let receiver = Receiver {
                delivery: Delivery::AtMostOnce,
                dup: false,
                retain: queued.retain,
                identifiers: &queued.identifiers,
            };
            let _ = write(writer, out, &mut publication, receiver, now, batch);
        } else {
            self.begin(writer, out, &mut publication, queued, now, batch);
        }
        true
    }

    /// Opens an exchange and writes its PUBLISH; there is quota for it.
    fn begin(
        &mut self,
        writer: &mut Writer,
        out: &mut OutBuffer,
        publication: &mut Publication<'_>,
        queued: Queued,
        now: Instant,
        batch: &mut Batch,
    ) {
        let (qos, retain, identifiers) = (queued.qos, queued.retain, queued.identifiers.clone());
        let id = self.inflight.open(queued).expect("the caller asked may_begin");
        let receiver = Receiver { delivery: delivery(qos, id), dup: false, retain, identifiers: &identifiers };
        match write(writer, out, publication, receiver, now, batch) {
            Ok(()) => self.in_use += 1,
            Err(TooLarge) => drop(self.inflight.cancel(id)),
        }
    }
}

/// Writes one PUBLISH and counts it, or counts it as dropped.
fn write(
    writer: &mut Writer,
    out: &mut OutBuffer,
    publication: &mut Publication<'_>,
    receiver: Receiver<'_>,
    now: Instant,
    batch: &mut Batch,
) -> Result<(), TooLarge> {
    let written = writer.write(out, publication, receiver, now);
    match written {
        Ok(length) => {
            batch.packet_sent(PacketType::Publish);
            batch.publish_sent(receiver.delivery.qos() as u8, publication.view().payload.len());
            batch.bytes_sent(length);
        }
        Err(TooLarge) => batch.dropped(DropReason::TooLarge, 1), // [MQTT-3.1.2-25]
    }
    let without_alias = writer.aliases.as_mut().map_or(0, |aliases| aliases.take_refused());
    if without_alias > 0 {
        batch.limit_hit(Limit::MaxTopicAliasesOut, without_alias);
    }
    written.map(drop)
}

fn queued(publication: &mut Publication<'_>, grant: Grant) -> Queued {
    Queued {
        message: publication.message().clone(),
        qos: grant.qos,
        retain: grant.retain,
        identifiers: grant.identifiers,
        share: grant.share,
    }
}

fn delivery(qos: QoS, id: PacketId) -> Delivery {
    match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce(id),
        QoS::ExactlyOnce => Delivery::ExactlyOnce(id),
    }
}
