//! What the workers of a run share with each other and with whoever leads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mio::Waker;
use parking_lot::Mutex;
use rustls::ClientConfig;

use super::settings::Target;
use super::tally::SharedTally;

/// Reasons that are kept; a thousand clients fail for the same one.
const REASONS_MAX: usize = 20;

pub(super) struct Shared {
    pub(super) target: Target,
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// Tells this run's messages from those of others.
    pub(super) run: u32,
    /// Messages that were due before are not measured; at first none are.
    pub(super) measured_from: AtomicU64,
    /// By publisher.
    pub(super) flights: Vec<Flight>,
    /// Which publisher each stream is of.
    pub(super) publisher_of: Vec<u32>,
    /// By worker.
    pub(super) tallies: Vec<SharedTally>,
    pub(super) mailboxes: Vec<Mailbox>,
    pub(super) reasons: Mutex<Vec<String>>,
}

impl Shared {
    pub(super) fn complain(&self, reason: String) {
        let mut reasons = self.reasons.lock();
        if reasons.len() < REASONS_MAX && !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
}

/// How many deliveries of a publisher's messages have been made. On a cache line of its own: receivers on all threads count here.
#[repr(align(64))]
pub(super) struct Flight {
    delivered: AtomicU64,
    /// The publisher waits for deliveries, and is to be told.
    is_starving: AtomicBool,
    /// Where the publisher is.
    pub(super) worker: usize,
    pub(super) client: usize,
}

impl Flight {
    pub(super) const fn new(worker: usize, client: usize) -> Self {
        Self { delivered: AtomicU64::new(0), is_starving: AtomicBool::new(false), worker, client }
    }

    pub(super) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::SeqCst)
    }

    /// True if the publisher is to be told. The order of the two accesses is what `starve` relies on.
    pub(super) fn add(&self, count: u64) -> bool {
        self.delivered.fetch_add(count, Ordering::SeqCst);
        self.is_starving.load(Ordering::SeqCst) && self.is_starving.swap(false, Ordering::SeqCst)
    }

    /// The publisher has nothing to send until deliveries have been made. It looks at `delivered` again afterwards.
    pub(super) fn starve(&self) {
        self.is_starving.store(true, Ordering::SeqCst);
    }
}

/// Clients of a worker that others have news for.
pub(super) struct Mailbox {
    clients: Mutex<Vec<usize>>,
    waker: Waker,
}

impl Mailbox {
    pub(super) const fn new(waker: Waker) -> Self {
        Self { clients: Mutex::new(Vec::new()), waker }
    }

    pub(super) fn post(&self, client: usize) {
        let mut clients = self.clients.lock();
        clients.push(client);
        if clients.len() == 1 {
            drop(clients);
            self.wake();
        }
    }

    pub(super) fn wake(&self) {
        // Fails only if the kernel has no memory for eight bytes; the worker then comes by at its next tick.
        let _ = self.waker.wake();
    }

    pub(super) fn take(&self) -> Vec<usize> {
        std::mem::take(&mut *self.clients.lock())
    }
}
