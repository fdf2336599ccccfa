//! Messages that wait on disk come back to memory, some at a time, when their session can send them.

use std::sync::Arc;
use std::time::Instant;

use super::Broker;
use super::effects::Effects;
use super::handle::SessionHandle;
use crate::metrics::DropReason;
use crate::packet::Message;
use crate::session::Queued;
use crate::storage::{Body, load};

impl Broker {
    /// Gives a connection what it can be sent next: messages from disk, then retained ones.
    pub(super) fn supply(&self, handle: &SessionHandle, epoch: u64, now: Instant, effects: &mut Effects) {
        while let Some(bodies) = handle.lock(|slot| {
            let is_starved = slot.is_online(epoch) && slot.session.outbound.is_starved();
            is_starved.then(|| slot.session.outbound.wanted())
        }) {
            let Some(messages) = self.load(&bodies) else { return };
            self.supply_step(handle, bodies, messages, now, effects);
        }
        self.replay(handle, epoch, now, effects);
    }

    /// Those that may not be read any more go no further.
    fn supply_step(
        &self,
        handle: &SessionHandle,
        bodies: Vec<Arc<Body>>,
        messages: Vec<Message>,
        now: Instant,
        effects: &mut Effects,
    ) {
        let may_read = |message: &Message| handle.rights.is_unrestricted() || handle.may_read(message.topic());
        let (readable, others): (Vec<_>, Vec<_>) = bodies.into_iter().zip(messages).partition(|(_, message)| may_read(message));
        handle.lock(|slot| {
            let outbound = &mut slot.session.outbound;
            if !others.is_empty() {
                let is_other = |queued: &Queued| {
                    queued.body().is_some_and(|body| others.iter().any(|(other, _)| Arc::ptr_eq(body, other)))
                };
                let mut gone = outbound.inflight.discard(is_other);
                gone.extend(outbound.extract(|queued| !is_other(queued)));
                outbound.settle(&gone);
                effects.dropped(DropReason::NotAuthorized, gone.len() as u64);
            }
            outbound.supply(readable.into_iter());
            slot.fill(now, effects);
            slot.report(effects);
        });
    }

    /// The messages of bodies, in their order. `None`: the disk does not give them back, and the broker is about to stop.
    pub(super) fn load(&self, bodies: &[Arc<Body>]) -> Option<Vec<Message>> {
        let journal = self.journal.as_ref()?;
        match load(bodies, &journal.clock) {
            Ok((messages, count_read)) => {
                self.metrics.storage.bodies_read.add(count_read);
                Some(messages)
            }
            Err(error) => {
                journal.break_down(error);
                None
            }
        }
    }

    /// The message of one that waits, from wherever it is.
    pub(super) fn message_of(&self, queued: &Queued) -> Option<Message> {
        match (queued.message(), queued.body()) {
            (Some(message), _) => Some(message),
            (None, Some(body)) => self.load(std::slice::from_ref(body))?.pop(),
            (None, None) => None,
        }
    }
}
