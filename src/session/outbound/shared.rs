//! What shared subscriptions have given a session, which goes to another member when it leaves (4.8.2).

use std::time::Instant;

use super::Outbound;
use crate::metrics::Batch;
use crate::packet::TopicFilter;
use crate::session::inflight::Taken;
use crate::session::known_notes::notes_of;
use crate::session::{Limits, Queued};

impl Outbound {
    /// Takes out what shared subscriptions that `wanted` picks have given this session: what is unacknowledged at QoS 1, then what waits,
    /// each in order. Each message has its notes with it. The caller settles them.
    pub fn take_shared(&mut self, wanted: impl Fn(&TopicFilter) -> bool) -> Vec<Taken> {
        let known = self.known.take();
        let is_wanted = |queued: &Queued| notes_of(&known, queued).and_then(|notes| notes.share.as_ref()).is_some_and(&wanted);
        let mut taken = self.inflight.extract(is_wanted);
        taken.extend(self.extract(|queued| !is_wanted(queued)).into_iter().map(Taken::waiting));
        for Taken { queued, .. } in &mut taken {
            if let Some(notes) = queued.place().and_then(|place| known.as_ref()?.get(place)) {
                queued.carry(notes.clone());
            }
        }
        self.known = known;
        taken
    }

    /// Takes back what [`Self::take_shared`] took and nobody else may get. While no client is there, what was sent is under way again as
    /// before; all else goes to the end of the queue.
    pub fn take_back(&mut self, taken: Taken, is_online: bool, limits: &Limits, now: Instant, batch: &mut Batch) {
        let waiting = if is_online { Err(taken.queued) } else { self.inflight.put_back(taken) };
        if let Err(queued) = waiting {
            self.push(queued, limits, now, batch);
        }
    }
}
