use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::{Availability, Subscriber};

/// A session for tests: a number, and an availability that can be changed.
#[derive(Clone)]
pub(super) struct Client(Arc<(u64, AtomicU8)>);

impl Client {
    pub(super) fn new(key: u64) -> Self {
        let client = Self(Arc::new((key, AtomicU8::new(0))));
        client.set(Availability::Ready);
        client
    }

    pub(super) fn set(&self, availability: Availability) {
        self.0.1.store(availability as u8, Ordering::Relaxed);
    }

    /// How many clones there are, this one included.
    pub(super) fn clones(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl Subscriber for Client {
    fn key(&self) -> u64 {
        self.0.0
    }

    fn availability(&self) -> Availability {
        match self.0.1.load(Ordering::Relaxed) {
            0 => Availability::Offline,
            1 => Availability::Online,
            _ => Availability::Ready,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.key())
    }
}
