use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::Broker;
use super::deliver::Deliveries;
use super::handle::SessionHandle;
use super::quotas::Quota;
use crate::metrics::DropReason;
use crate::packet::DisconnectReason;
use crate::storage::Record;

/// What the timers of the broker are for. An entry that finds its cause gone does nothing.
#[derive(Debug)]
pub enum Timer {
    /// When to look whether a client still sends, and still reads.
    Connection(Weak<SessionHandle>, u64),
    /// When to look whether the delay of a will has passed, or a session has expired that nobody has come back to.
    Session(Weak<SessionHandle>),
    /// When to look whether what let a client in is over.
    Credentials(Weak<SessionHandle>, u64),
    /// When to look for retained messages that have expired.
    RetainedExpiry,
}

/// A timer that is due later is set for then, and set again.
const HORIZON: Duration = Duration::from_secs(300);
/// How often expired retained messages are looked for; until then they only cost memory.
const RETAINED_EXPIRY_INTERVAL: Duration = Duration::from_secs(60);

impl Broker {
    /// Does what is due. Called every [`crate::session::timers::TICK`] or so.
    pub fn handle_timeout(&self, now: Instant) {
        let due = self.timers.lock().take_due(now);
        for timer in due {
            match timer {
                Timer::Connection(handle, epoch) => {
                    if let Some(handle) = handle.upgrade() {
                        self.check_connection(&handle, epoch, now);
                    }
                }
                Timer::Session(handle) => {
                    if let Some(handle) = handle.upgrade() {
                        self.check_session(&handle, now);
                    }
                }
                Timer::Credentials(handle, epoch) => {
                    if let Some(handle) = handle.upgrade() {
                        self.check_credentials(&handle, epoch, now);
                    }
                }
                Timer::RetainedExpiry => {
                    let dropped = self.drop_expired_retained(now);
                    self.metrics.dropped(DropReason::Expired, dropped as u64);
                    self.schedule(now + RETAINED_EXPIRY_INTERVAL, Timer::RetainedExpiry);
                }
            }
        }
    }

    pub(super) fn schedule(&self, at: Instant, timer: Timer) {
        self.timers.lock().insert(at, timer);
    }

    fn check_connection(&self, handle: &Arc<SessionHandle>, epoch: u64, now: Instant) {
        let patience = self.limits().slow_consumer_timeout.0;
        let next = handle.lock(|slot| {
            let online = slot.online.as_deref_mut().filter(|online| online.epoch == epoch)?;
            if online.keep_alive > 0 && now >= online.silence_ends() {
                online.close(DisconnectReason::KeepAliveTimeout); // [MQTT-3.1.2-22]
                return None;
            }
            if online.outbox.blocked_since.is_some_and(|since| now >= since + patience) {
                online.close(DisconnectReason::QuotaExceeded);
                return None;
            }
            slot.session.shrink();
            let online = slot.online.as_deref_mut()?;
            // When one that takes nothing is to be cut, not a whole patience later.
            let cut_at = online.outbox.blocked_since.map(|since| since + patience);
            let look_again = cut_at.unwrap_or_else(|| now + patience.max(Duration::from_secs(1)));
            Some(if online.keep_alive > 0 { look_again.min(online.silence_ends()) } else { look_again })
        });
        if let Some(next) = next {
            self.schedule(next, Timer::Connection(Arc::downgrade(handle), epoch));
        }
    }

    /// Ends a connection whose token has expired, unless a new one has come by AUTH.
    fn check_credentials(&self, handle: &Arc<SessionHandle>, epoch: u64, now: Instant) {
        handle.lock(|slot| {
            let Some(online) = slot.online.as_deref_mut().filter(|online| online.epoch == epoch) else { return };
            let Some(stay) = &mut online.stay else { return };
            stay.timer_at.take_if(|at| *at <= now);
            if stay.valid_until.is_some_and(|until| until <= now) {
                online.close(DisconnectReason::MaximumConnectTime);
            }
        });
        self.schedule_credentials(handle, epoch, now);
    }

    /// Sets the timer of a connection that is to end with its token. However often a new one comes, few entries lie in the wheel.
    pub(super) fn schedule_credentials(&self, handle: &Arc<SessionHandle>, epoch: u64, now: Instant) {
        let at = handle.lock(|slot| {
            let online = slot.online.as_deref_mut().filter(|online| online.epoch == epoch && online.closing.is_none())?;
            let stay = online.stay.as_mut()?;
            let at = stay.valid_until?.min(now + HORIZON);
            if stay.timer_at.is_some_and(|set| set <= at) {
                return None;
            }
            stay.timer_at = Some(at);
            Some(at)
        });
        if let Some(at) = at {
            self.schedule(at, Timer::Credentials(Arc::downgrade(handle), epoch));
        }
    }

    fn check_session(&self, handle: &Arc<SessionHandle>, now: Instant) {
        let (will, is_expired) = handle.lock(|slot| {
            slot.past_mut().timer_at = None;
            if slot.online.is_some() || slot.is_ended {
                return (None, false);
            }
            let will = slot.will.take_if(|will| will.due_at.is_some_and(|at| at <= now));
            (will, slot.expires_at().is_some_and(|at| at <= now))
        });
        if let Some(will) = will {
            self.publish_will(handle, &will, now);
        }
        if is_expired {
            if self.end_session(handle, now) {
                tracing::debug!(client = &**handle.client_id(), "session expired");
                self.metrics.sessions.expired.increment();
            }
        } else {
            self.schedule_session(handle, now);
        }
    }

    /// Sets the timer of a session that is offline. One that comes and goes all the time has one entry, not one each time; and none
    /// lies in the wheel for longer than [`HORIZON`], whatever the client asks for.
    pub(super) fn schedule_session(&self, handle: &Arc<SessionHandle>, now: Instant) {
        let at = handle.lock(|slot| {
            if slot.online.is_some() || slot.is_ended {
                return None;
            }
            let will_at = slot.will.as_ref().and_then(|will| will.due_at);
            let at = will_at.into_iter().chain(slot.expires_at()).min()?.min(now + HORIZON);
            let past = slot.past_mut();
            if past.timer_at.is_some_and(|set| set <= at) {
                return None;
            }
            past.timer_at = Some(at);
            Some(at)
        });
        if let Some(at) = at {
            self.schedule(at, Timer::Session(Arc::downgrade(handle)));
        }
    }

    /// Ends a session for good: its subscriptions go, its will is published if it still waits `[MQTT-3.1.2-8]`, and what a shared
    /// subscription had given it goes to other members. One that a client has come back to meanwhile stays.
    /// Returns whether it was this call that ended it.
    pub(super) fn end_session(&self, handle: &Arc<SessionHandle>, now: Instant) -> bool {
        let _handing_over = self.hand_overs.read();
        let mut deliveries = Deliveries::default();
        let batch = &mut deliveries.batch;
        let Some((subscriptions, memberships, will, queued)) = handle.lock(|slot| {
            if slot.online.is_some() || std::mem::replace(&mut slot.is_ended, true) {
                return None;
            }
            slot.hand_news(batch);
            let mut session = std::mem::take(&mut slot.session);
            let queued = session.outbound.take_shared(|_| true);
            batch.dropped(DropReason::SessionGone, session.outbound.queue.len() as u64);
            slot.report(batch);
            Some((session.subscriptions, slot.take_memberships(), slot.will.take(), queued))
        }) else {
            return false;
        };
        self.registry.remove(handle);
        if let Some(account) = &handle.account {
            account.give_back(Quota::Sessions, 1);
            account.give_back(Quota::Subscriptions, subscriptions.len() as u64);
        }
        if !subscriptions.is_empty() {
            let mut change = self.router.change();
            for filter in subscriptions.keys() {
                change.index.unsubscribe(filter, handle.key);
            }
        }
        self.leave(memberships, now, &mut deliveries.batch);
        subscriptions.keys().for_each(|filter| _ = self.queues.forget_deserted(handle, filter));
        if let Some(will) = will {
            self.publish_will(handle, &will, now);
        }
        self.hand_on_or_drop(handle.key, queued, now, &mut deliveries);
        if let Some(session) = handle.stored_as {
            // Behind what others were given of it.
            deliveries.batch.journal.record(Record::SessionEnded { session });
        }
        deliveries.flush(self, now);
        true
    }
}

impl super::handle::Online {
    /// When a client that sends nothing is given up: after one and a half times its keep alive.
    pub(super) fn silence_ends(&self) -> Instant {
        self.last_received + Duration::from_millis(u64::from(self.keep_alive) * 1500)
    }
}
