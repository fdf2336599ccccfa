//! How much may come in a second: token buckets without a clock, and who is held to which.

mod bucket;
mod config;
mod pace;
mod recent;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

pub use bucket::{Bucket, Rate};
pub use config::{Flow, Rates};
pub use pace::{Buckets, Pace, Scope, SharedBuckets};
pub use recent::Recent;

use super::{AddressKey, Origin};
use crate::metrics::{Limit, Metrics};

/// The rates of a broker, and what users and addresses have of theirs. Those without connections that have sent nothing lately are
/// not kept.
#[derive(Debug)]
pub struct Pacing {
    rates: ArcSwap<Rates>,
    users: Mutex<Recent<Arc<str>, SharedBuckets>>,
    addresses: Mutex<Recent<AddressKey, SharedBuckets>>,
}

impl Pacing {
    pub fn new(rates: Rates) -> Self {
        let max = rates.max_tracked;
        let (users, addresses) = (Mutex::new(Recent::new(max)), Mutex::new(Recent::new(max)));
        Self { rates: ArcSwap::from_pointee(rates), users, addresses }
    }

    /// New rates, for those who connect from now on.
    pub fn set_rates(&self, rates: Rates) {
        self.users.lock().set_max(rates.max_tracked);
        self.addresses.lock().set_max(rates.max_tracked);
        self.rates.store(Arc::new(rates));
    }

    /// What a connection is held to; `None` if nothing is configured.
    pub fn pace_of(&self, origin: &Origin, user: Option<&Arc<str>>, now: Instant) -> Option<Box<Pace>> {
        if origin.door.is_own() {
            return None;
        }
        let rates = self.rates.load();
        let mut pace = Pace::default();
        pace.hold_to(Scope::Client, rates.of_client(), || Buckets::shared(now));
        if let Some(user) = user {
            let of_user = || self.users.lock().seen(user, || Buckets::shared(now)).clone();
            pace.hold_to(Scope::User, rates.of_user(), of_user);
        }
        if let Some(address) = origin.address {
            let key = AddressKey::from(address.ip());
            let of_address = || self.addresses.lock().seen(&key, || Buckets::shared(now)).clone();
            pace.hold_to(Scope::Address, rates.of_address(), of_address);
        }
        pace.hold_to(Scope::Listener, **origin.door.flow.load(), || origin.door.buckets.clone());
        (!pace.is_unbounded()).then(|| Box::new(pace))
    }

    /// Forgets those of whom there is nothing to remember. Called now and then.
    pub fn sweep(&self, metrics: &Metrics, now: Instant) {
        let is_worth = |buckets: &SharedBuckets| Arc::strong_count(buckets) > 1 || !buckets.lock().is_full(now);
        let mut users = self.users.lock();
        users.retain(|_, buckets| is_worth(buckets));
        let mut addresses = self.addresses.lock();
        addresses.retain(|_, buckets| is_worth(buckets));
        metrics.limit_hits.add(Limit::MaxTracked, users.take_forgotten() + addresses.take_forgotten());
    }

    /// Users and addresses of whom something is remembered.
    pub fn tracked(&self) -> usize {
        self.users.lock().count() + self.addresses.lock().count()
    }
}
