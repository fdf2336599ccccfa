use std::collections::VecDeque;
use std::time::Instant;

use smallvec::SmallVec;

use super::inflight::{ExchangeState, Inflight, Received};
use super::out_buffer::OutBuffer;
use super::outbound_queue::{OutboundQueue, Pushed, QueueBounds, Queued};
use super::writer::{Publication, Receiver, Writer};
use crate::packet::{Delivery, Packet, PacketId, PublishReason, QoS, Release, ReleaseReason, TopicFilter, encode};

/// The sending half of a session: what waits, what is under way, and how much more the client takes.
#[derive(Debug, Default)]
pub struct Outbound {
    pub queue: OutboundQueue,
    pub inflight: Inflight,
    /// Exchanges of an earlier connection that are still to be resent on this one.
    resend: VecDeque<PacketId>,
    /// PUBLISH packets with QoS 1 and 2 that may still be sent (4.9).
    quota: u16,
    quota_max: u16,
}

/// What one subscription, or several of one client together, make of a message.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    pub qos: QoS,
    pub retain: bool,
    pub identifiers: SmallVec<[u32; 1]>,
    pub share: Option<TopicFilter>,
}

/// What sending did, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// PUBLISH packets by QoS.
    pub sent: [u32; 3],
    /// Bytes of those packets.
    pub sent_bytes: usize,
    /// PUBREL packets.
    pub released: u32,
    /// Messages put into the queue.
    pub queued: u32,
    /// Messages dropped since they had expired.
    pub expired: u32,
    /// Messages dropped since the client does not take packets of their size.
    pub too_large: u32,
    /// Messages dropped since the queue was full.
    pub queue_full: u32,
    /// QoS 0 messages dropped since the write buffer was full.
    pub buffer_full: u32,
    /// QoS 0 messages dropped since the session is offline.
    pub offline: u32,
}

/// The bounds that hold for one session.
#[derive(Clone, Copy, Debug)]
pub struct OutboundBounds {
    pub queue: QueueBounds,
    pub queue_qos0: bool,
    pub write_buffer_max: usize,
}

/// New exchanges are not begun while so much is unwritten: what waits in the queue can still expire or be handed on.
const WRITE_AHEAD: usize = 64 * 1024;

impl Outbound {
    /// A connection takes the session up. `receive_maximum` is the lower of the client's and our own bound.
    pub fn connect(&mut self, receive_maximum: u16) {
        self.quota_max = receive_maximum;
        self.quota = receive_maximum;
        self.resend = self.inflight.in_order();
    }

    /// The connection is gone.
    pub fn disconnect(&mut self) {
        self.resend = VecDeque::new();
        self.quota = 0;
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
        bounds: &OutboundBounds,
        now: Instant,
        tally: &mut Tally,
    ) {
        match (grant.qos, link) {
            (QoS::AtMostOnce, Some((writer, out))) if self.queue.is_empty() => {
                if out.len() >= bounds.write_buffer_max {
                    tally.buffer_full += 1;
                    return;
                }
                let receiver = Receiver {
                    delivery: Delivery::AtMostOnce,
                    dup: false,
                    retain: grant.retain,
                    identifiers: &grant.identifiers,
                };
                tally.count(QoS::AtMostOnce, writer.write(out, publication, receiver, now).ok());
            }
            (QoS::AtMostOnce, None) if !bounds.queue_qos0 => tally.offline += 1,
            (_, Some((writer, out)))
                if grant.qos != QoS::AtMostOnce && self.has_room() && self.resend.is_empty() && out.len() < WRITE_AHEAD =>
            {
                let queued = queued(publication, grant);
                self.begin(writer, out, publication, queued, now, tally);
            }
            _ => self.push(queued(publication, grant), bounds, now, tally),
        }
    }

    /// Takes a message for this session and leaves it in the queue, whatever its QoS, for the next [`Self::fill`].
    pub fn deliver_later(
        &mut self,
        publication: &mut Publication<'_>,
        grant: Grant,
        bounds: &OutboundBounds,
        now: Instant,
        tally: &mut Tally,
    ) {
        self.push(queued(publication, grant), bounds, now, tally);
    }

    /// Puts a message at the end of the queue.
    pub fn push(&mut self, queued: Queued, bounds: &OutboundBounds, now: Instant, tally: &mut Tally) {
        let Pushed { is_queued, dropped, expired } = self.queue.push(queued, &bounds.queue, now);
        tally.queued += u32::from(is_queued);
        tally.queue_full += u32::from(!is_queued) + dropped as u32;
        tally.expired += expired as u32;
    }

    /// Sends what may be sent: first what an earlier connection left unacknowledged, then what waits.
    pub fn fill(&mut self, writer: &mut Writer, out: &mut OutBuffer, now: Instant, tally: &mut Tally) {
        while out.len() < WRITE_AHEAD {
            let is_done = if self.resend.is_empty() {
                !self.send_next(writer, out, now, tally)
            } else {
                !self.resend_next(writer, out, now, tally)
            };
            if is_done {
                return;
            }
        }
    }

    /// PUBACK. `None`: it acknowledges nothing.
    pub fn handle_puback(&mut self, id: PacketId) -> Option<Queued> {
        let queued = self.inflight.acknowledge(id)?;
        self.give_back_quota();
        Some(queued)
    }

    /// PUBREC. The caller sends PUBREL where one is due.
    pub fn handle_pubrec(&mut self, id: PacketId, reason: PublishReason) -> Received {
        let received = self.inflight.receive(id, reason);
        if matches!(received, Received::Refused(_)) {
            self.give_back_quota();
        }
        received
    }

    /// PUBCOMP. `false`: it completes nothing.
    pub fn handle_pubcomp(&mut self, id: PacketId) -> bool {
        let is_known = self.inflight.complete(id);
        if is_known {
            self.give_back_quota();
        }
        is_known
    }

    fn may_begin(&self) -> bool {
        self.quota > 0 && !self.inflight.is_full()
    }

    fn give_back_quota(&mut self) {
        // 4.9: never above its initial value.
        self.quota = self.quota.saturating_add(1).min(self.quota_max);
    }

    fn resend_next(&mut self, writer: &mut Writer, out: &mut OutBuffer, now: Instant, tally: &mut Tally) -> bool {
        let Some(id) = self.resend.front().copied() else { return false };
        match self.inflight.get(id).map(|exchange| &exchange.state) {
            None => {} // Acknowledged before its turn came.
            Some(ExchangeState::Released) => {
                let packet = Packet::PubRel(Release::new(id, ReleaseReason::Success));
                out.append_with(|bytes| encode(&packet, writer.version, bytes));
                tally.released += 1;
            }
            Some(ExchangeState::Published(queued)) => {
                if self.quota == 0 {
                    return false;
                }
                let queued = queued.clone();
                let receiver = Receiver {
                    delivery: delivery(queued.qos, id),
                    dup: true, // [MQTT-3.3.1-1]
                    retain: queued.retain,
                    identifiers: &queued.identifiers,
                };
                let written = writer.write(out, &mut Publication::stored(&queued.message), receiver, now);
                tally.count(queued.qos, written.ok());
                match written {
                    Ok(_) => self.quota -= 1,
                    Err(_) => drop(self.inflight.cancel(id)),
                }
            }
        }
        self.resend.pop_front();
        true
    }

    fn send_next(&mut self, writer: &mut Writer, out: &mut OutBuffer, now: Instant, tally: &mut Tally) -> bool {
        let Some(first) = self.queue.front() else { return false };
        let is_expired = first.message.is_expired(now);
        if !is_expired && first.qos != QoS::AtMostOnce && !self.may_begin() {
            return false;
        }
        let Some(queued) = self.queue.pop() else { return false };
        if is_expired {
            tally.expired += 1; // [MQTT-3.3.2-5]
            return true;
        }
        let message = queued.message.clone();
        let mut publication = Publication::stored(&message);
        if queued.qos == QoS::AtMostOnce {
            let receiver =
                Receiver { delivery: Delivery::AtMostOnce, dup: false, retain: queued.retain, identifiers: &queued.identifiers };
            tally.count(QoS::AtMostOnce, writer.write(out, &mut publication, receiver, now).ok());
        } else {
            self.begin(writer, out, &mut publication, queued, now, tally);
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
        tally: &mut Tally,
    ) {
        let (qos, retain, identifiers) = (queued.qos, queued.retain, queued.identifiers.clone());
        let id = self.inflight.open(queued).expect("the caller asked may_begin");
        let receiver = Receiver { delivery: delivery(qos, id), dup: false, retain, identifiers: &identifiers };
        let written = writer.write(out, publication, receiver, now);
        tally.count(qos, written.ok());
        match written {
            Ok(_) => self.quota -= 1,
            Err(_) => drop(self.inflight.cancel(id)),
        }
    }
}

impl Tally {
    fn count(&mut self, qos: QoS, written: Option<usize>) {
        match written {
            Some(length) => {
                self.sent[qos as usize] += 1;
                self.sent_bytes += length;
            }
            None => self.too_large += 1,
        }
    }
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
