use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::acks::AckToken;
use super::by_id::ById;
use super::config::Limits;
use super::grant::Grant;
use super::inflight::{ExchangeState, Inflight, Received};
use super::known_notes::{KnownNotes, identifiers_of};
use super::numbering::Numbering;
use super::out_buffer::OutBuffer;
use super::outbound_queue::{OutboundQueue, Pushed, QueueBounds};
use super::outlasting::Outlasting;
use super::queued::Queued;
use super::window::Window;
use super::work::Work;
use super::writer::{Publication, Receiver, TooLarge, Writer};
use crate::metrics::{Batch, DropReason, Limit, PacketType};
use crate::packet::{
    Delivery, DisconnectReason, Message, Packet, PacketId, PublishReason, QoS, Release, ReleaseReason, encode,
};
use crate::storage::Body;

mod lent;
mod shared;

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
    /// Pieces of work that are lent, and wait for the disk before they come.
    promised: u32,
    /// Of a session that outlives the process.
    pub outlasting: Option<Box<Outlasting>>,
    /// Of a client that gets messages of its own.
    own: Option<Box<Own>>,
    /// Work whose PUBREC has come and whose PUBCOMP has not: until then it is not done.
    half_done: Option<Box<ById<Arc<Work>>>>,
    /// What its subscriptions say of messages in memory.
    known: Option<Box<KnownNotes>>,
}

/// Messages in the queue that the client itself has published, and that come behind their acknowledgements.
#[derive(Debug, Default)]
struct Own {
    /// For each of them, in order.
    behind: VecDeque<AckToken>,
    /// All acknowledgements before this one are written.
    next_ack: Option<AckToken>,
}

/// New exchanges are not begun while so much is unwritten: what waits in the queue can still expire or be handed on.
const WRITE_AHEAD: usize = 64 * 1024;

/// Exchanges at the same time: each kind of message, stored or not, has one identifier more, so that one is always free.
pub const EXCHANGES_MAX: usize = 0x7FFE;

impl Outbound {
    /// A connection takes the session up. `receive_maximum` is the lower of the client's and our own bound.
    pub fn connect(&mut self, receive_maximum: u16) {
        self.window = receive_maximum;
        self.own = None;
        self.known.take_if(|_| self.queue.is_empty() && self.inflight.is_empty());
        // A resumed PUBREL takes its place from the start: its PUBCOMP must not let more through than the client takes.
        self.in_use = self.inflight.released();
        let mut resend = self.inflight.in_order();
        // PUBREL before PUBLISH: with a full window only its PUBCOMP makes room.
        resend.make_contiguous().sort_by_key(|id| !self.inflight.is_released(*id));
        self.resend = (!resend.is_empty()).then(|| Box::new(resend));
    }

    /// The connection is gone.
    pub fn disconnect(&mut self) {
        self.own = None;
        self.resend = None;
        self.window = 0;
    }

    /// Exchanges that the client and we allow at the same time on this connection; 0 while there is none.
    pub const fn window(&self) -> u16 {
        self.window
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
        grant: Grant<'_>,
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
                    identifiers: grant.identifiers,
                };
                let _ = write(writer, out, publication, receiver, now, batch);
            }
            (QoS::AtMostOnce, None) if !limits.queue_qos0 => batch.dropped(DropReason::Offline, 1),
            (_, Some((writer, out)))
                if grant.qos != QoS::AtMostOnce && self.has_room() && self.resend.is_none() && out.len() < WRITE_AHEAD =>
            {
                let queued = self.keep(publication, grant);
                if self.may_leave(&queued) {
                    self.begin(writer, out, publication, queued, now, batch);
                } else {
                    self.push_kept(queued, Some(publication), limits, now, batch);
                }
            }
            (qos, link) => {
                let is_own_window = self.window == limits.max_inflight;
                if qos != QoS::AtMostOnce && link.is_some() && is_own_window && !self.may_begin() {
                    batch.limit_hit(Limit::MaxInflight, 1);
                }
                let queued = self.keep(publication, grant);
                self.push_kept(queued, link.is_some().then_some(publication), limits, now, batch);
            }
        }
    }

    /// Takes a message for this session and leaves it in the queue, whatever its QoS, for the next [`Self::fill`]. The session's own one
    /// leaves behind its acknowledgement, which has the token `behind`.
    pub fn deliver_later(
        &mut self,
        publication: &mut Publication<'_>,
        grant: Grant<'_>,
        behind: Option<AckToken>,
        limits: &Limits,
        now: Instant,
        batch: &mut Batch,
    ) {
        let mut queued = self.keep(publication, grant);
        if let Some(token) = behind {
            queued = queued.own();
            self.own.get_or_insert_default().behind.push_back(token);
        }
        self.push_kept(queued, Some(publication), limits, now, batch);
    }

    /// Puts a message back at the end of the queue that was taken out of it, or of the exchanges. A stored one gets a new number: the
    /// queue stays in the order of numbers, and a checkpoint that came by meanwhile has not seen the old one.
    pub fn push(&mut self, queued: Queued, limits: &Limits, now: Instant, batch: &mut Batch) {
        let (outlasting, inflight) = (self.outlasting.as_mut(), &self.inflight);
        let again = outlasting.and_then(|outlasting| outlasting.keep_again(&queued, |id| inflight.get(id).is_some()));
        self.push_kept(again.unwrap_or(queued), None, limits, now, batch);
    }

    /// A message as it waits for this session: stored, if both the session and the message outlive the process.
    fn keep(&mut self, publication: &mut Publication<'_>, grant: Grant<'_>) -> Queued {
        if grant.qos != QoS::AtMostOnce
            && let Some(outlasting) = &mut self.outlasting
            && let Some(body) = publication.body()
        {
            let inflight = &self.inflight;
            return outlasting.keep(body, grant, |id| inflight.get(id).is_some());
        }
        let message = publication.message().clone();
        match self.place_of(&grant) {
            Some(place) => Queued::noted_at(place, message, grant),
            None => Queued::in_memory(message, grant),
        }
    }

    /// Where the notes of a message are kept besides it; `None` if it has none, or must carry them itself.
    fn place_of(&mut self, grant: &Grant<'_>) -> Option<u64> {
        if grant.is_plain() {
            return None;
        }
        if self.queue.is_empty() && self.inflight.is_empty() {
            self.known.take_if(|known| known.is_full()); // Nobody has a place there.
        }
        self.known.get_or_insert_default().place(grant)
    }

    /// `at_hand` is the message itself, if it may be wanted soon.
    fn push_kept(
        &mut self,
        queued: Queued,
        at_hand: Option<&mut Publication<'_>>,
        limits: &Limits,
        now: Instant,
        batch: &mut Batch,
    ) {
        let (stored_before, body) = (self.queue.stored(), queued.body().cloned());
        let Pushed { refused, dropped, expired } = self.queue.push(queued, &QueueBounds::of(limits), now);
        let is_queued = refused.is_none();
        dropped.iter().for_each(|gone| self.passed(gone));
        if refused.as_ref().is_some_and(Queued::is_own)
            && let Some(own) = &mut self.own
        {
            own.behind.pop_back();
        }
        if !expired.is_empty() {
            self.own = None; // Taken out of the middle: rather early than never.
        }
        let lost = usize::from(!is_queued) + dropped.len();
        if lost > 0 {
            let is_count = self.queue.len() >= limits.max_queued_messages;
            batch.dropped(if is_count { DropReason::QueueFull } else { DropReason::QueueBytes }, lost as u64);
        }
        if !expired.is_empty() {
            batch.dropped(DropReason::Expired, expired.len() as u64);
        }
        let Some(outlasting) = &mut self.outlasting else { return };
        if let (true, Some(publication), Some(body)) = (is_queued, at_hand, body) {
            outlasting.memory.follow(stored_before, &body, publication.message());
        }
        refused.iter().chain(&dropped).chain(&expired).for_each(|gone| outlasting.settle(gone));
    }

    /// The connection has written all acknowledgements before `next`.
    pub fn acknowledged_before(&mut self, next: AckToken) {
        if let Some(own) = &mut self.own {
            own.next_ack = Some(next);
        }
    }

    /// Whether the first message is the client's own and its acknowledgement is still due.
    fn is_behind_ack(&self, first: &Queued) -> bool {
        let Some(own) = self.own.as_ref().filter(|_| first.is_own()) else { return false };
        own.behind.front().is_some_and(|token| own.next_ack.is_none_or(|next| *token >= next))
    }

    /// A message has left the front of the queue.
    fn passed(&mut self, gone: &Queued) {
        if let Some(own) = self.own.as_mut().filter(|_| gone.is_own()) {
            own.behind.pop_front();
            if own.behind.is_empty() {
                self.own = None;
            }
        }
    }

    /// The session is done with messages that were taken out of it.
    pub fn settle<'a>(&mut self, gone: impl IntoIterator<Item = &'a Queued>) {
        if let Some(outlasting) = &mut self.outlasting {
            gone.into_iter().for_each(|queued| outlasting.settle(queued));
        }
    }

    /// A QoS 2 message of a session that outlives the process leaves once it cannot be lost any more: after a crash its identifier must
    /// not mean another message, which the client would take for the same (4.3.3).
    fn may_leave(&self, queued: &Queued) -> bool {
        let (Some(outlasting), Some(sequence)) = (&self.outlasting, queued.sequence()) else { return true };
        queued.qos() != QoS::ExactlyOnce || outlasting.numbering.is_safe(sequence)
    }

    /// Whether what comes next must be read from disk before it can be sent.
    pub fn is_starved(&self) -> bool {
        self.outlasting.as_ref().is_some_and(|outlasting| outlasting.is_starved)
    }

    /// The bodies of the messages that come next, to be read together.
    pub fn wanted(&self) -> Vec<Arc<Body>> {
        let again = self.resend.iter().flat_map(|ids| ids.iter()).filter_map(|id| self.inflight.get(*id));
        let again = again.filter_map(|exchange| match &exchange.state {
            ExchangeState::Published(queued) => Some(queued),
            ExchangeState::Released(_) => None,
        });
        Window::wanted(again.chain(self.queue.iter()))
    }

    /// They were read.
    pub fn supply(&mut self, messages: impl Iterator<Item = (Arc<Body>, Message)>) {
        if let Some(outlasting) = &mut self.outlasting {
            outlasting.memory = Window::default();
            outlasting.is_starved = false;
            messages.for_each(|(body, message)| outlasting.memory.put(body, message));
        }
    }

    /// Takes out what waits and `keep` refuses, in order. The caller settles it.
    pub fn extract(&mut self, keep: impl FnMut(&Queued) -> bool) -> Vec<Queued> {
        if let Some(outlasting) = &mut self.outlasting {
            outlasting.memory = Window::default();
        }
        self.own = None; // As when some have expired.
        self.queue.extract(keep)
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
        self.settle([&queued]);
        Some(queued)
    }

    /// PUBREC. The caller sends PUBREL where one is due.
    pub fn handle_pubrec(&mut self, id: PacketId, reason: PublishReason) -> Received {
        let published = self.inflight.get(id).and_then(|exchange| match &exchange.state {
            ExchangeState::Published(queued) if queued.qos() == QoS::ExactlyOnce => Some(queued),
            ExchangeState::Published(_) | ExchangeState::Released(_) => None,
        });
        let is_published = published.is_some();
        if let Some(work) = published.and_then(Queued::work).filter(|_| !reason.is_error()) {
            self.half_done.get_or_insert_default().insert(id, work.clone());
        }
        let received = self.inflight.receive(id, reason);
        match &received {
            Received::Refused(queued) => {
                self.give_back(id);
                self.settle([queued]);
            }
            // Acknowledged before it was resent: from here on it counts.
            Received::Release | Received::ReleaseStored(_) if is_published && self.is_to_be_resent(id) => self.in_use += 1,
            Received::Release | Received::ReleaseStored(_) | Received::Unknown => {}
        }
        received
    }

    /// PUBCOMP. `false`: it completes nothing.
    pub fn handle_pubcomp(&mut self, id: PacketId) -> bool {
        let Some(number) = self.inflight.complete(id) else { return false };
        self.in_use = self.in_use.saturating_sub(1); // As in `give_back`.
        if let Some(work) = self.half_done.as_mut().and_then(|half_done| half_done.remove(&id)) {
            work.answer(PublishReason::Success as u8);
            self.half_done.take_if(|half_done| half_done.is_empty());
        }
        if let (Some(outlasting), Some(number)) = (&mut self.outlasting, number) {
            outlasting.completed(number);
        }
        true
    }

    fn may_begin(&self) -> bool {
        self.has_window() && self.inflight.len() < EXCHANGES_MAX
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
            Some(ExchangeState::Released(_)) => {
                let packet = Packet::PubRel(Release::new(id, ReleaseReason::Success));
                out.append_with(|bytes| encode(&packet, writer.version, bytes));
                batch.packet_sent(PacketType::PubRel);
            }
            Some(ExchangeState::Published(queued)) => {
                if !self.has_window() {
                    return false;
                }
                let queued = queued.clone();
                let Some(message) = self.message_of(&queued) else { return false };
                let receiver = Receiver {
                    delivery: delivery(queued.qos(), id),
                    dup: true, // [MQTT-3.3.1-1]
                    retain: queued.retain(),
                    identifiers: identifiers_of(&self.known, &queued),
                };
                match write(writer, out, &mut Publication::stored(&message), receiver, now, batch) {
                    Ok(()) => self.in_use += 1,
                    Err(TooLarge) => {
                        self.inflight.cancel(id);
                        note_too_large(&queued);
                        self.settle([&queued]);
                    }
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
        if first.is_expired(now) {
            let expired = self.queue.pop();
            expired.iter().for_each(|expired| self.passed(expired));
            self.settle(&expired);
            batch.dropped(DropReason::Expired, 1); // [MQTT-3.3.2-5]
            return true;
        }
        if self.is_behind_ack(first) {
            return false;
        }
        if first.qos() != QoS::AtMostOnce && !(self.may_begin_with(first) && self.may_leave(first)) {
            return false;
        }
        let first = first.clone();
        let Some(message) = self.message_of(&first) else { return false };
        let Some(queued) = self.queue.pop() else { return false };
        self.passed(&queued);
        if message.is_expired(now) {
            self.settle([&queued]); // Bodies know their expiry only roughly.
            batch.dropped(DropReason::Expired, 1);
            return true;
        }
        let mut publication = Publication::stored(&message);
        if queued.qos() == QoS::AtMostOnce {
            let receiver = Receiver {
                delivery: Delivery::AtMostOnce,
                dup: false,
                retain: queued.retain(),
                identifiers: identifiers_of(&self.known, &queued),
            };
            let _ = write(writer, out, &mut publication, receiver, now, batch);
        } else {
            self.begin(writer, out, &mut publication, queued, now, batch);
        }
        true
    }

    /// The message, if it is in memory; if not, it is noted that it is wanted.
    fn message_of(&mut self, queued: &Queued) -> Option<Message> {
        let Some(outlasting) = &mut self.outlasting else { return queued.message() };
        let message = outlasting.memory.take(queued);
        outlasting.is_starved |= message.is_none();
        message
    }

    /// Of a stored message also the identifier must be free.
    fn may_begin_with(&self, queued: &Queued) -> bool {
        self.may_begin() && queued.sequence().is_none_or(|sequence| self.inflight.get(Numbering::packet_id(sequence)).is_none())
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
        let sequence = queued.sequence();
        let lowest = if self.outlasting.is_some() { Numbering::first_free_id() } else { PacketId::FIRST };
        // Before it is known whether it fits: one that does not is told apart by its answer.
        if let Some(work) = queued.work() {
            work.sent();
        }
        let id = self.inflight.id_for(&queued, lowest).expect("the caller asked may_begin");
        let receiver = Receiver {
            delivery: delivery(queued.qos(), id),
            dup: false,
            retain: queued.retain(),
            identifiers: identifiers_of(&self.known, &queued),
        };
        match write(writer, out, publication, receiver, now, batch) {
            Ok(()) => {
                self.in_use += 1;
                self.inflight.begin(id, queued);
                if let (Some(outlasting), Some(sequence)) = (&mut self.outlasting, sequence) {
                    outlasting.numbering.sent(sequence);
                }
            }
            Err(TooLarge) => {
                note_too_large(&queued);
                self.settle([&queued]);
            }
        }
    }
}

/// A work queue is told why its message was not sent.
fn note_too_large(queued: &Queued) {
    if let Some(work) = queued.work() {
        work.answer(DisconnectReason::PacketTooLarge as u8);
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

fn delivery(qos: QoS, id: PacketId) -> Delivery {
    match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce(id),
        QoS::ExactlyOnce => Delivery::ExactlyOnce(id),
    }
}
