use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};

use super::define::Definition;
use super::operate::QueueId;
use super::{Queues, Wake};
use crate::broker::connect::next_epoch;
use crate::broker::handle::SessionHandle;
use crate::broker::quotas::Account;
use crate::packet::QoS;
use crate::queue::{ConsumerId, Part, WorkQueue};
use crate::session::{Errand, Fate, Returns};
use crate::storage::{Body, ConsumerWish};

/// One queue with its dead letters, as all parts of the broker share it. Lock order: queue, slot; of several queues, the one with the
/// lower number first.
pub struct QueueHandle {
    /// In the journal; never given to another queue.
    pub number: u64,
    /// Unique for the life of the process, among sessions too.
    pub key: u64,
    pub id: QueueId,
    state: Mutex<QueueState>,
    /// What sessions have given back since the last look.
    returns: Mutex<Vec<(Errand, Fate)>>,
    /// When it must be looked at, in milliseconds since the epoch.
    due: AtomicU64,
    wake: Arc<Wake>,
    /// What its owner and its tenant have, where that is counted.
    pub(super) account: Option<Arc<Account>>,
}

/// What the queue's lock guards.
pub(in crate::broker) struct QueueState {
    pub work: WorkQueue<Arc<Body>>,
    pub consumers: HashMap<(Part, ConsumerId), Consumer>,
    pub definition: Definition,
    /// It is gone: nothing is taken any more.
    pub is_deleted: bool,
    /// To write changes in.
    pub scratch: Vec<u8>,
    /// To take back what sessions are done with.
    pub returns: Vec<(Errand, Fate)>,
    /// The bytes that the account knows of.
    pub reported: u64,
}

/// A consumer: one subscription of one session.
pub(in crate::broker) struct Consumer {
    pub session: Arc<SessionHandle>,
    /// Whether the lease stands in the topic.
    pub is_lease_form: bool,
    pub qos: QoS,
    pub identifier: Option<u32>,
    pub wish: ConsumerWish,
    /// Whether it is told of the lease by properties.
    pub has_properties: bool,
    /// Whether its client's window is also for others.
    pub shares_window: bool,
}

impl QueueHandle {
    pub(super) fn new(
        number: u64,
        definition: Definition,
        work: WorkQueue<Arc<Body>>,
        account: Option<Arc<Account>>,
        queues: &Queues,
    ) -> Arc<Self> {
        let id = definition.id.clone();
        let (consumers, scratch, returns) = (HashMap::new(), Vec::new(), Vec::new());
        let state = QueueState { work, consumers, definition, is_deleted: false, scratch, returns, reported: 0 };
        Arc::new(Self {
            number,
            key: next_epoch(),
            id,
            state: Mutex::new(state),
            returns: Mutex::default(),
            due: AtomicU64::new(Wake::NEVER),
            wake: queues.wake.clone(),
            account,
        })
    }

    pub(in crate::broker) fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock()
    }

    /// `into` is empty, and its memory is used again.
    pub(super) fn take_returns(&self, into: &mut Vec<(Errand, Fate)>) {
        std::mem::swap(&mut *self.returns.lock(), into);
    }

    /// Asks for a look at this time.
    pub(super) fn look_at(&self, at: u64) {
        self.due.fetch_min(at, Ordering::AcqRel);
        self.wake.by(at);
    }

    /// Whether it is time to look; whoever is told so does.
    pub(super) fn take_due(&self, wall: u64) -> bool {
        if self.due.load(Ordering::Acquire) > wall {
            return false;
        }
        self.due.store(Wake::NEVER, Ordering::Release);
        true
    }

    /// When it must be looked at next.
    pub(super) fn due(&self) -> u64 {
        self.due.load(Ordering::Acquire)
    }
}

impl Returns for QueueHandle {
    fn returned(&self, errand: Errand, fate: Fate, is_seen: bool) {
        self.returns.lock().push((errand, fate));
        if !is_seen {
            self.look_at(0);
        }
    }
}

impl fmt::Debug for QueueHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueHandle").field("number", &self.number).field("id", &self.id).finish_non_exhaustive()
    }
}

impl PartialEq for QueueHandle {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for QueueHandle {}

impl Hash for QueueHandle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}
