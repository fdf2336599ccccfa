use std::sync::Arc;
use std::time::Instant;

use super::Broker;
use super::effects::Effects;
use super::handle::SessionHandle;
use super::outbox;
use super::publish::Publisher;
use super::quotas::Quota;
use crate::metrics::{DropReason, Limit};
use crate::packet::QoS;
use crate::session::{Grant, Publication, Scratch, Work};

/// What one batch of packets has sent to others, and whom it must wake: one flush for each, at the end.
#[derive(Debug, Default)]
pub struct Deliveries {
    dirty: Vec<Arc<SessionHandle>>,
    /// Numbers of work queues that have something new to deliver, or to take back.
    touched: Vec<u64>,
    pub batch: Effects,
    /// Someone's buffer fills faster than it drains.
    pub is_ahead: bool,
    /// Memory to encode in, used again and again.
    pub(super) scratch: Option<Box<Scratch>>,
    /// QoS 0 messages to those who do not keep up are dropped: memory runs short.
    sheds: bool,
}

/// With more receivers than this the writes are left to their own tasks, on all cores.
const DIRECT_WRITES_MAX: usize = 4;
/// Unwritten bytes with which a subscriber does not keep up, when memory runs short.
const BEHIND: usize = 64 * 1024;
/// Unwritten bytes from which a sender lets others have their turn.
const AHEAD: usize = 256 * 1024;

impl Deliveries {
    /// Gives a message to one session: written into its buffer, or queued. `false`: the session has ended.
    pub fn deliver(
        &mut self,
        handle: &Arc<SessionHandle>,
        publication: &mut Publication<'_>,
        grant: Grant<'_>,
        publisher: &Publisher<'_>,
        now: Instant,
    ) -> bool {
        if !handle.rights.is_unrestricted() && !handle.may_read(publication.topic()) {
            self.batch.dropped(DropReason::NotAuthorized, 1);
            return true;
        }
        let is_author = publisher.key() == Some(handle.key);
        let (batch, sheds) = (&mut self.batch, self.sheds);
        let news = handle.lock(|slot| {
            if slot.is_ended {
                return None;
            }
            let Some(online) = slot.online.as_deref_mut() else {
                // What waits for nobody who is away is not lost for want of room.
                let may_wait = grant.qos != QoS::AtMostOnce || slot.limits.queue_qos0;
                if may_wait && let Some(reason) = refuses_offline(handle, grant.qos, sheds) {
                    batch.dropped(reason, 1);
                    return Some((false, false));
                }
                slot.session.outbound.deliver(None, publication, grant, &slot.limits, now, batch);
                slot.report(batch);
                return Some((false, false));
            };
            // What others publish in its name, a will or what was delayed, its connection knows nothing of.
            let is_own = is_author && publisher.epoch == Some(online.epoch);
            if is_own || !online.is_welcomed {
                // Behind CONNACK, or the acknowledgement of the same message, which is not in the buffer yet.
                let behind = publisher.ack.filter(|_| is_own);
                slot.session.outbound.deliver_later(publication, grant, behind, &slot.limits, now, batch);
                slot.report(batch);
                return Some((false, false));
            }
            if sheds && grant.qos == QoS::AtMostOnce && (online.outbox.blocked_since.is_some() || online.outbox.len() > BEHIND)
            {
                batch.dropped(DropReason::Overload, 1);
                return Some((false, false));
            }
            let link = (&mut online.writer, &mut online.outbox.buffer);
            slot.session.outbound.deliver(Some(link), publication, grant, &slot.limits, now, batch);
            let news = if online.outbox.buffer.is_empty() {
                (false, false)
            } else {
                online.outbox.waiting_since.get_or_insert(now);
                (!std::mem::replace(&mut online.is_dirty, true), online.outbox.len() > AHEAD)
            };
            slot.report(batch);
            Some(news)
        });
        let Some((becomes_dirty, is_ahead)) = news else { return false };
        self.is_ahead |= is_ahead;
        if becomes_dirty {
            self.dirty.push(handle.clone());
        }
        true
    }

    /// A work queue must be looked at.
    pub fn touch(&mut self, queue: u64) {
        if !self.touched.contains(&queue) {
            self.touched.push(queue);
        }
    }

    /// Gives a session what a work queue lends it. Returns whether it should get nothing more for a while: more than `ahead` bytes are
    /// unwritten then, or there is no connection to write to.
    pub fn lend(&mut self, handle: &Arc<SessionHandle>, work: Arc<Work>, grant: Grant<'_>, ahead: usize, now: Instant) -> bool {
        let batch = &mut self.batch;
        let (becomes_dirty, is_ahead) = handle.lock(|slot| {
            // Nothing more, until the queue is told that the client is there, or gone: one of QoS 0 has no window that would end it.
            if slot.is_ended {
                return (false, true);
            }
            let Some(online) = slot.online.as_deref_mut().filter(|online| online.is_welcomed) else {
                slot.session.outbound.deliver_work(None, work, grant, now, batch);
                slot.report(batch);
                return (false, true);
            };
            let link = (&mut online.writer, &mut online.outbox.buffer);
            slot.session.outbound.deliver_work(Some(link), work, grant, now, batch);
            let is_ahead = online.outbox.len() > ahead;
            online.holds_work |= is_ahead;
            let becomes_dirty = !online.outbox.buffer.is_empty() && !std::mem::replace(&mut online.is_dirty, true);
            if becomes_dirty {
                online.outbox.waiting_since.get_or_insert(now);
            }
            slot.report(batch);
            (becomes_dirty, is_ahead)
        });
        if becomes_dirty {
            self.dirty.push(handle.clone());
        }
        is_ahead
    }

    /// Sends off all that was delivered.
    pub fn flush(&mut self, broker: &Broker, now: Instant) {
        if !self.touched.is_empty() {
            let touched = std::mem::take(&mut self.touched);
            broker.pump_touched(&touched, now, self);
        }
        // Before anything is written: what a client acknowledges must be known to the journal.
        broker.tell_effects(&mut self.batch);
        let may_write = self.dirty.len() <= DIRECT_WRITES_MAX;
        for handle in self.dirty.drain(..) {
            if let Some(since) = outbox::flush(&handle, may_write, now, &mut self.batch) {
                broker.metrics.latency.publish_to_delivery.record(since.elapsed().as_secs_f64());
            }
        }
        if self.dirty.capacity() > 1024 {
            self.dirty = Vec::new();
        }
        broker.tell_effects(&mut self.batch);
        self.is_ahead = false;
        self.sheds = broker.overload.sheds();
    }
}

/// Why a message does not wait for a session that is offline, besides the session's own bounds.
fn refuses_offline(handle: &SessionHandle, qos: QoS, sheds: bool) -> Option<DropReason> {
    if sheds && qos == QoS::AtMostOnce {
        return Some(DropReason::Overload);
    }
    let account = handle.account.as_ref()?;
    account.full(Quota::QueuedBytes).map(|limit| match limit {
        Limit::TenantQueuedBytes => DropReason::TenantQueueBytes,
        _ => DropReason::UserQueueBytes,
    })
}
