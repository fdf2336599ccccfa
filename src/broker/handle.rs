use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Instant;

use parking_lot::Mutex;
#[cfg(not(test))]
use parking_lot::Mutex as SlotLock;

use super::author::Author;
use super::connect::next_epoch;
use super::door::Rights;
use super::effects::Effects;
use super::inflow::Inflow;
use super::inspect::LastEnd;
use super::outbox::Outbox;
use super::queues::{Places, QueueHandle};
use super::quotas::{Account, Quota};
use super::standing::Standing;
#[cfg(test)]
use super::tests::SlotLock; // The same, and loom may decide who gets it next.
use super::wills::Will;
use crate::auth::{Principal, Way};
use crate::metrics::Batch;
use crate::packet::{DisconnectReason, TopicFilter, TopicName};
use crate::routing::{self, Availability, Recipient, Subscriber};
use crate::session::{AckToken, Answer, Limits, Numbering, Queued, Session, SessionCell};
use crate::storage::Level;

/// One session, as all parts of the broker share it. Lock order: registry, index, slot; nothing is locked while a slot is.
#[derive(Debug)]
pub struct SessionHandle {
    /// Unique for the life of the process.
    pub key: u64,
    pub principal: Principal,
    /// The key in the registry.
    pub registry_key: Arc<str>,
    pub mount_point: Option<Arc<str>>,
    pub rights: Arc<Rights>,
    /// The listener that it was made at.
    pub listener: Arc<str>,
    /// Its number in the journal, if it outlives the process.
    pub stored_as: Option<u64>,
    /// What its user has, where that is counted.
    pub account: Option<Arc<Account>>,
    slot: SlotLock<Slot>,
    /// Rights of its own; nothing is locked while this is.
    pub(super) standing: Mutex<Option<Box<Standing>>>,
    /// Itself as those know it who look at what it has published to be retained.
    pub(super) author: Mutex<Option<Arc<Author>>>,
    availability: AtomicU8,
}

/// What a session's lock guards.
#[derive(Debug)]
pub struct Slot {
    pub session: Session,
    pub limits: Arc<Limits>,
    pub online: Option<Box<Online>>,
    /// What is left of earlier ones.
    past: Option<Box<Past>>,
    pub will: Option<Box<Will>>,
    /// In seconds; what holds once the connection is gone.
    pub expiry_interval: u32,
    /// The session is over: nothing is delivered any more.
    pub is_ended: bool,
    /// The handle that this is the slot of.
    pub me: Weak<SessionHandle>,
    /// What sessions that outlive the process survive.
    pub level: Level,
    /// How often the journal was told of the session itself.
    pub revision: u64,
    /// Its places in work queues, if it has any.
    pub(super) places: Option<Box<Places>>,
    /// The depths that the metrics know of.
    reported: Depths,
    account: Option<Arc<Account>>,
}

/// What is left of the connections that a session had; a first one costs nothing of it.
#[derive(Debug, Default)]
pub struct Past {
    /// Connections that were taken over, until their tasks have seen it.
    pub evicted: Vec<Box<Online>>,
    /// When the session is over; set while offline.
    pub expires_at: Option<Instant>,
    /// When the timer of the offline session looks at it.
    pub timer_at: Option<Instant>,
    /// How the last connection ended, for the operator.
    pub last_end: Option<LastEnd>,
}

/// The connection that a session has now, as others see it.
#[derive(Debug)]
pub struct Online {
    pub epoch: u64,
    pub writer: crate::session::Writer,
    pub outbox: Outbox,
    /// Someone will flush the outbox soon.
    pub is_dirty: bool,
    /// The connection's task was woken and has not looked yet.
    pub is_notified: bool,
    pub waker: Waker,
    /// Set by others to end the connection.
    pub closing: Option<DisconnectReason>,
    /// Answers that came later than their packets.
    pub answers: Option<Box<Vec<(AckToken, Answer)>>>,
    pub last_received: Instant,
    /// In seconds; zero for none.
    pub keep_alive: u16,
    /// Where it comes from; `None` on a Unix socket.
    pub address: Option<SocketAddr>,
    /// When it began, and how fast it sends.
    pub inflow: Inflow,
    /// The method that let it in.
    pub by: Way,
    /// What may end before it does, if anything.
    pub stay: Option<Box<Stay>>,
    /// What CONNACK promises cannot be lost any more.
    pub is_stored: bool,
    /// The client's Receive Maximum, if it has named one.
    pub receive_maximum: Option<u16>,
    /// A work queue holds back until the outbox is empty.
    pub holds_work: bool,
    /// A work queue holds back until the client takes more.
    pub lacks_room: bool,
    /// CONNACK is in the outbox; until then nothing else may be `[MQTT-3.2.0-1]`.
    pub is_welcomed: bool,
}

/// What lets a client stay, and may end before its connection does.
#[derive(Debug, Default)]
pub struct Stay {
    /// When what let it in is over.
    pub valid_until: Option<Instant>,
    /// When the timer looks at that.
    pub timer_at: Option<Instant>,
    /// Which certificate it has shown, where that may be revoked.
    pub certificate: Option<Arc<[u8]>>,
}

impl Online {
    /// Wakes the connection's task, once.
    pub fn notify(&mut self) {
        if !self.is_notified {
            self.is_notified = true;
            self.waker.wake_by_ref();
        }
    }

    /// Which certificate it has shown, where that may be revoked.
    pub fn certificate(&self) -> Option<&Arc<[u8]>> {
        self.stay.as_ref().and_then(|stay| stay.certificate.as_ref())
    }

    /// All is written, and a work queue has held back until now.
    pub fn ends_hold(&mut self) -> bool {
        self.outbox.is_empty() && std::mem::take(&mut self.holds_work)
    }

    /// Asks the connection's task to end with `reason`; the first one to ask is heard.
    pub fn close(&mut self, reason: DisconnectReason) {
        self.closing.get_or_insert(reason);
        self.notify();
    }
}

impl Slot {
    /// The connection with this epoch, in service or taken over.
    pub fn connection(&mut self, epoch: u64) -> Option<&mut Online> {
        match &mut self.online {
            Some(online) if online.epoch == epoch => Some(online),
            _ => {
                let evicted = &mut self.past.as_mut()?.evicted;
                evicted.iter_mut().find(|online| online.epoch == epoch).map(|online| &mut **online)
            }
        }
    }

    /// The connection that there is, if any, is told to go, and does so when it looks. Returns whether there was one.
    pub fn evict(&mut self, reason: DisconnectReason) -> bool {
        let Some(mut old) = self.online.take() else { return false };
        old.close(reason);
        self.past_mut().evicted.push(old);
        true
    }

    /// What earlier connections have left.
    pub fn past(&self) -> Option<&Past> {
        self.past.as_deref()
    }

    /// The same, to be changed.
    pub fn past_mut(&mut self) -> &mut Past {
        self.past.get_or_insert_default()
    }

    /// When the session is over, if it is offline and has an end.
    pub fn expires_at(&self) -> Option<Instant> {
        self.past.as_ref().and_then(|past| past.expires_at)
    }

    pub fn is_online(&self, epoch: u64) -> bool {
        self.online.as_ref().is_some_and(|online| online.epoch == epoch)
    }

    /// Sends what quota and buffer allow.
    pub fn fill(&mut self, now: Instant, batch: &mut Batch) {
        if let Some(online) = self.online.as_mut().filter(|online| online.is_welcomed) {
            self.session.outbound.fill(&mut online.writer, &mut online.outbox.buffer, now, batch);
        }
    }

    /// Tells the metrics by how much queue and window have changed since the last time, and the journal what is to survive.
    pub fn report(&mut self, effects: &mut Effects) {
        self.hand_news(effects);
        let batch = &mut effects.batch;
        let outbound = &self.session.outbound;
        let now = Depths { messages: outbound.queue.len(), bytes: outbound.queue.bytes(), inflight: outbound.inflight.len() };
        let before = std::mem::replace(&mut self.reported, now);
        if before.messages != now.messages || before.bytes != now.bytes {
            batch.queued(now.messages, now.bytes);
            batch.unqueued(before.messages, before.bytes);
            if let Some(account) = &self.account {
                account.change(Quota::QueuedBytes, before.bytes as u64, now.bytes as u64);
            }
        }
        if before.inflight != now.inflight {
            batch.inflight(now.inflight as i64 - before.inflight as i64);
        }
    }

    /// Something for the client lies on disk, or among the retained messages.
    pub fn has_more_to_fetch(&self) -> bool {
        self.session.outbound.is_starved() || self.session.next_replay().is_some()
    }

    fn availability(&self) -> u8 {
        match &self.online {
            Some(_) if self.session.outbound.has_room() => READY,
            Some(_) => ONLINE,
            None => OFFLINE,
        }
    }
}

/// How much a session has waiting and under way.
#[derive(Clone, Copy, Debug, Default)]
struct Depths {
    messages: usize,
    bytes: usize,
    inflight: usize,
}

const OFFLINE: u8 = 0;
const ONLINE: u8 = 1;
const READY: u8 = 2;

/// Whose session it is, and where from.
#[derive(Clone, Debug)]
pub struct Identity {
    pub principal: Principal,
    pub registry_key: Arc<str>,
    pub mount_point: Option<Arc<str>>,
    pub listener: Arc<str>,
    pub account: Option<Arc<Account>>,
}

impl SessionHandle {
    /// `stored_as` is its number in the journal, at `level`, if it outlives the process.
    pub fn new(
        stored_as: Option<u64>,
        identity: Identity,
        rights: Arc<Rights>,
        limits: Arc<Limits>,
        level: Level,
    ) -> Arc<Self> {
        let mut session = Session::default();
        if let Some(number) = stored_as {
            session.outlast(Numbering::new(number));
        }
        Arc::new_cyclic(|me| {
            let slot = Slot {
                session,
                limits,
                online: None,
                past: None,
                will: None,
                expiry_interval: 0,
                is_ended: false,
                me: me.clone(),
                level,
                revision: 0,
                places: None,
                reported: Depths::default(),
                account: identity.account.clone(),
            };
            let Identity { principal, registry_key, mount_point, listener, account } = identity;
            let (key, slot, availability) = (next_epoch(), SlotLock::new(slot), AtomicU8::new(OFFLINE));
            let (standing, author) = (Mutex::default(), Mutex::default());
            Self {
                key,
                principal,
                registry_key,
                mount_point,
                rights,
                listener,
                stored_as,
                account,
                slot,
                standing,
                author,
                availability,
            }
        })
    }

    pub fn client_id(&self) -> &Arc<str> {
        &self.principal.client_id
    }

    /// Works on the slot and publishes its availability to shared subscriptions.
    pub fn lock<R>(&self, work: impl FnOnce(&mut Slot) -> R) -> R {
        let mut slot = self.slot.lock();
        let result = work(&mut slot);
        let availability = slot.availability();
        if self.availability.load(Ordering::Relaxed) != availability {
            self.availability.store(availability, Ordering::Relaxed);
        }
        result
    }
}

impl SessionHandle {
    /// Whether a message that waits may still be sent, as far as that is known without reading it from disk. What a work queue has lent
    /// needs only the right to that.
    pub fn may_get(&self, queued: &Queued) -> bool {
        queued.work().is_some() || queued.message().is_none_or(|message| self.may_read(message.topic()))
    }

    /// Whether a topic that a whole filter of it matches lies below its mount point.
    pub fn reaches(&self, filter: &TopicFilter, topic: TopicName<'_>) -> bool {
        routing::reaches(self.mount_point.as_deref(), filter, topic)
    }
}

impl SessionCell for SessionHandle {
    fn with<R>(&self, work: impl FnOnce(&mut Session) -> R) -> R {
        self.lock(|slot| work(&mut slot.session))
    }
}

/// Who gets a message: a session of this node, or a work queue that is bound to its topic. Another node would be one more variant.
#[derive(Clone, Debug)]
pub enum Receiver {
    Session(Arc<SessionHandle>),
    Queue(Arc<QueueHandle>),
}

impl Receiver {
    pub const fn session(&self) -> Option<&Arc<SessionHandle>> {
        match self {
            Self::Session(handle) => Some(handle),
            Self::Queue(_) => None,
        }
    }
}

impl Recipient<Receiver> {
    pub(super) const fn queue(&self) -> Option<&Arc<QueueHandle>> {
        match &self.subscriber {
            Receiver::Queue(queue) => Some(queue),
            Receiver::Session(_) => None,
        }
    }
}

impl Subscriber for Receiver {
    fn key(&self) -> u64 {
        match self {
            Self::Session(handle) => handle.key,
            Self::Queue(queue) => queue.key,
        }
    }

    fn availability(&self) -> Availability {
        let Self::Session(handle) = self else { return Availability::Ready };
        match handle.availability.load(Ordering::Relaxed) {
            READY => Availability::Ready,
            ONLINE => Availability::Online,
            _ => Availability::Offline,
        }
    }

    fn root(&self) -> Option<&str> {
        match self {
            Self::Session(handle) => handle.mount_point.as_deref(),
            Self::Queue(queue) => queue.id.mount_point.as_deref(),
        }
    }
}

impl PartialEq for SessionHandle {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for SessionHandle {}

impl Hash for SessionHandle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So much memory the allocator takes for the next smaller size; an Arc adds its two counts.
    #[test]
    fn an_idle_connection_costs_no_more_of_a_session_than_this() {
        assert!(size_of::<SessionHandle>() <= 512 - 16, "{}", size_of::<SessionHandle>());
        assert!(size_of::<Online>() <= 320, "{}", size_of::<Online>());
    }
}
