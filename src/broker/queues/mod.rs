//! Work queues among sessions: which there are, what feeds them, who consumes them, and what of them outlives the process. The queue
//! itself is a machine in [`crate::queue`]; here it gets its lock, its bodies, its consumers and its place in the journal.

mod consume;
mod define;
mod delayed;
mod feed;
mod figures;
mod fold;
mod handle;
mod operate;
mod places;
mod pump;
mod records;
mod restore;
mod settle;
mod show;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use hashbrown::{HashMap, HashSet};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

pub(super) use consume::{consumer_filter, names_bound_queue, right_to_consume, wish_of};
pub use define::{DefineError, Definition, Origin};
pub use feed::Hints;
pub(super) use feed::{Fed, Locked};
pub use fold::{QueueFold, QueueSummary};
pub use handle::QueueHandle;
pub use operate::{OperateError, PeekedMessage, QueueDetails, QueueId};
pub(super) use places::Places;
pub(super) use pump::Lent;
pub(super) use settle::NeededToPublish;
use waiting::Waiting;

use crate::broker::handle::SessionHandle;
use crate::packet::TopicFilter;
use crate::queue::{DelayedBounds, QueueName, Secret, UnixMillis};
use crate::storage::Clock;
use crate::units::{ByteSize, Span};

/// Messages, keys or identifiers that are shown, or changed by an operator, under one hold of a queue's lock: in the unit tests so few
/// that much happens in between.
const PIECE: u32 = if cfg!(test) { 2 } else { 1024 };

/// `[work_queues]`: what holds for all queues together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueSettings {
    /// Who may make a queue by subscribing to `$queue/NAME/FILTER`.
    pub auto_create: AutoCreate,
    /// Work queues at the same time; a further one is refused.
    pub max_queues: usize,
    /// Messages that wait for their time, as `$delayed/SECONDS/TOPIC` has it. Each costs some 110 bytes of memory besides its body, and what is
    /// known of each client that has any some 400.
    pub max_delayed_messages: u64,
    /// Bytes of topic, properties and payload of those messages.
    pub max_delayed_bytes: ByteSize,
    /// The longest delay of `$delayed/SECONDS/TOPIC`.
    pub max_delay: Span,
}

/// Who may make queues by subscribing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AutoCreate {
    Nobody,
    /// Clients with a user name or a certificate.
    #[default]
    Known,
    Anybody,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            auto_create: AutoCreate::Known,
            max_queues: 1000,
            max_delayed_messages: 1_000_000,
            max_delayed_bytes: ByteSize(1 << 30),
            max_delay: Span::seconds(365 * 86_400),
        }
    }
}

impl QueueSettings {
    const fn delayed_bounds(&self) -> DelayedBounds {
        DelayedBounds { messages_max: self.max_delayed_messages, bytes_max: self.max_delayed_bytes.0 }
    }
}

/// All queues.
pub struct Queues {
    settings: RwLock<QueueSettings>,
    by_name: RwLock<HashMap<QueueId, Arc<QueueHandle>>>,
    by_number: RwLock<HashMap<u64, Arc<QueueHandle>>>,
    /// How many there are: without any, nothing is looked up.
    count: AtomicUsize,
    /// Set once, before the first queue is there.
    secret: RwLock<Secret>,
    /// The same as it is stored.
    secret_bytes: Mutex<Option<[u8; 16]>>,
    delayed: Mutex<Waiting>,
    /// Subscriptions to queues that are not there: deleted, or lost with the journal. No more than there were consumers of what operators
    /// have deleted.
    pub(super) deserted: Mutex<HashMap<QueueId, HashSet<Deserted>>>,
    next_number: AtomicU64,
    clock: Clock,
    wake: Arc<Wake>,
}

/// Which queue a subscription is to, if it is to one.
fn queue_of(handle: &SessionHandle, filter: &TopicFilter) -> Option<QueueId> {
    let name = QueueName::new(consumer_filter(filter)?.ok()?.queue.name).ok()?;
    Some(QueueId { mount_point: handle.mount_point.as_deref().map(Box::from), name })
}

/// A subscription to a queue that is not there.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Deserted {
    /// The session's key in the registry.
    session: Arc<str>,
    /// The session's own: another one may have its place there.
    key: u64,
    filter: TopicFilter,
}

impl Deserted {
    fn of(handle: &SessionHandle, filter: &TopicFilter) -> Self {
        Self { session: handle.registry_key.clone(), key: handle.key, filter: filter.clone() }
    }
}

/// When somebody must look at the queues next.
#[derive(Debug)]
pub(super) struct Wake {
    /// Milliseconds since the epoch.
    at: AtomicU64,
    notify: Notify,
}

impl Wake {
    const NEVER: u64 = u64::MAX;

    fn by(&self, at: u64) {
        if self.at.fetch_min(at, Ordering::AcqRel) > at {
            self.notify.notify_one();
        }
    }
}

impl Queues {
    pub(super) fn new(settings: QueueSettings, clock: Clock, now: Instant) -> Self {
        let delayed = Waiting::new(settings.delayed_bounds(), UnixMillis(clock.wall(now)));
        Self {
            settings: RwLock::new(settings),
            by_name: RwLock::default(),
            by_number: RwLock::default(),
            count: AtomicUsize::new(0),
            secret: RwLock::new(Secret::new(rand::random())),
            secret_bytes: Mutex::default(),
            delayed: Mutex::new(delayed),
            deserted: Mutex::default(),
            next_number: AtomicU64::new(1),
            clock,
            wake: Arc::new(Wake { at: AtomicU64::new(Wake::NEVER), notify: Notify::new() }),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// The time as queues tell it.
    fn wall(&self, now: Instant) -> UnixMillis {
        UnixMillis(self.clock.wall(now))
    }

    pub(super) fn find(&self, mount_point: Option<&str>, name: &str) -> Option<Arc<QueueHandle>> {
        let name = QueueName::new(name).ok()?;
        self.by_name.read().get(&QueueId { mount_point: mount_point.map(Box::from), name }).cloned()
    }

    /// A subscription of a session to a queue that is not there.
    fn desert(&self, handle: &SessionHandle, filter: &TopicFilter) {
        let Some(id) = queue_of(handle, filter) else { return };
        self.deserted.lock().entry(id).or_default().insert(Deserted::of(handle, filter));
        // It may have ended meanwhile.
        if !handle.lock(|slot| slot.is_subscribed(filter)) {
            self.forget_deserted(handle, filter);
        }
    }

    /// Such a subscription is over. Returns whether it was one.
    pub(super) fn forget_deserted(&self, handle: &SessionHandle, filter: &TopicFilter) -> bool {
        let Some(id) = queue_of(handle, filter) else { return false };
        let mut deserted = self.deserted.lock();
        let Some(all) = deserted.get_mut(&id) else { return false };
        let was_one = all.remove(&Deserted::of(handle, filter));
        if all.is_empty() {
            deserted.remove(&id);
        }
        was_one
    }

    fn find_number(&self, number: u64) -> Option<Arc<QueueHandle>> {
        self.by_number.read().get(&number).cloned()
    }

    /// All of them, by name.
    pub(super) fn all(&self) -> Vec<Arc<QueueHandle>> {
        let mut all: Vec<_> = self.by_name.read().values().cloned().collect();
        all.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        all
    }

    /// Waits until somebody must look at the queues: now, or at the moment that is returned.
    pub async fn next_look(&self, now: fn() -> Instant) {
        loop {
            let at = self.wake.at.load(Ordering::Acquire);
            let wall = self.wall(now()).0;
            if at <= wall {
                return;
            }
            let told = self.wake.notify.notified();
            if at == Wake::NEVER {
                told.await;
            } else {
                let _ = tokio::time::timeout(std::time::Duration::from_millis(at - wall), told).await;
            }
        }
    }
}
