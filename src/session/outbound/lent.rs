//! What work queues have lent a session: it waits and leaves like any other message, in a room that several queues may share.

use std::sync::Arc;
use std::time::Instant;

use super::{Outbound, WRITE_AHEAD, write};
use crate::metrics::Batch;
use crate::packet::{Delivery, QoS};
use crate::session::grant::Grant;
use crate::session::out_buffer::OutBuffer;
use crate::session::queued::Queued;
use crate::session::work::{Errand, Work};
use crate::session::writer::{Publication, Receiver, Writer};

impl Outbound {
    /// How much work the client takes now without anything of it waiting here while its time runs. Behind what others have published one
    /// waits all the same, so that it has its turn.
    pub fn room_for_work(&self) -> usize {
        let resent = self.resend.as_ref().map_or(0, |resend| resend.len());
        let taken = usize::from(self.in_use) + resent + self.queue.len() + self.promised as usize;
        match usize::from(self.window).saturating_sub(taken) {
            0 => usize::from(!self.queue.is_empty() && !self.queue.has_work() && self.promised == 0),
            room => room,
        }
    }

    /// Takes what a work queue has lent, whatever the bounds of the session's own queue: the work queue has a window of its own.
    pub fn deliver_work(
        &mut self,
        link: Option<(&mut Writer, &mut OutBuffer)>,
        work: Arc<Work>,
        grant: Grant<'_>,
        now: Instant,
        batch: &mut Batch,
    ) {
        let message = work.message().clone();
        let mut publication = Publication::stored(&message);
        match (grant.qos, link) {
            (QoS::AtMostOnce, Some((writer, out))) if !self.queue.has_at_most_once() => {
                let receiver =
                    Receiver { delivery: Delivery::AtMostOnce, dup: false, retain: false, identifiers: grant.identifiers };
                let _ = write(writer, out, &mut publication, receiver, now, batch);
            }
            (_, Some((writer, out)))
                if grant.qos != QoS::AtMostOnce && self.has_room() && self.resend.is_none() && out.len() < WRITE_AHEAD =>
            {
                self.begin(writer, out, &mut publication, Queued::work_of(work, grant), now, batch);
            }
            _ => self.queue.put(Queued::work_of(work, grant)),
        }
    }

    /// Forgets exchanges of work that is not lent any more, as long as the client has not begun to answer them.
    pub fn recall(&mut self, is_over: impl Fn(&Errand) -> bool) {
        let is_recalled =
            |queued: &Queued| queued.qos() == QoS::AtLeastOnce && queued.work().is_some_and(|work| is_over(work.errand()));
        self.inflight.discard(is_recalled);
        self.queue.extract(|queued| !is_recalled(queued));
    }

    /// A piece of work will come once it is on disk: its room is kept.
    pub const fn promise_work(&mut self) {
        self.promised += 1;
    }

    /// It comes, or does not come.
    pub const fn end_promise(&mut self) {
        self.promised = self.promised.saturating_sub(1); // Of a session that has ended nothing is known.
    }

    /// Lets go of work that was not sent yet: its subscription is over.
    pub fn give_back_unsent(&mut self, is_meant: impl Fn(&Errand) -> bool) {
        if self.queue.has_work() {
            let is_meant = |work: &Arc<Work>| is_meant(work.errand());
            self.extract(|queued| queued.qos() == QoS::AtMostOnce || !queued.work().is_some_and(is_meant));
        }
    }
}
