use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::metrics::Limit;
use crate::units::ByteSize;

/// `[quotas]`: totals of one user, over all its clients; 0 is no bound. Anonymous clients are nobody's and have none. Each is counted
/// in `dunlin_limit_hits_total{limit}` when hit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quotas {
    /// Connections; one more is refused with 0x97 (3.1.1: 3).
    pub user_connections: u64,
    /// Sessions, online and offline; a new one over this is refused with 0x97 (3.1.1: 3).
    pub user_sessions: u64,
    /// Subscriptions of all its sessions; one more is refused with 0x97 (3.1.1: 0x80).
    pub user_subscriptions: u64,
    /// Retained messages that its clients have published; a new one over this is refused with 0x97.
    pub user_retained_messages: u64,
    /// Bytes of topic, properties and payload that wait for its sessions; what comes on top is dropped for sessions that are offline.
    pub user_queued_bytes: ByteSize,
}

/// What of a user's is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    Connections,
    Sessions,
    Subscriptions,
    Retained,
    QueuedBytes,
}

impl Quota {
    const fn limit(self) -> Limit {
        match self {
            Self::Connections => Limit::UserConnections,
            Self::Sessions => Limit::UserSessions,
            Self::Subscriptions => Limit::UserSubscriptions,
            Self::Retained => Limit::UserRetainedMessages,
            Self::QueuedBytes => Limit::UserQueuedBytes,
        }
    }
}

/// What one user has. Kept while anything of it is there.
#[derive(Debug)]
pub struct Account {
    maxima: [u64; 5],
    counts: [AtomicU64; 5],
}

impl Account {
    fn new(quotas: &Quotas) -> Self {
        let maxima = [
            quotas.user_connections,
            quotas.user_sessions,
            quotas.user_subscriptions,
            quotas.user_retained_messages,
            quotas.user_queued_bytes.0,
        ];
        Self { maxima: maxima.map(|maximum| if maximum == 0 { u64::MAX } else { maximum }), counts: Default::default() }
    }

    /// One more, or the limit that it would break.
    pub fn take(&self, quota: Quota) -> Result<(), Limit> {
        let maximum = self.maxima[quota as usize];
        let next = |count: u64| (count < maximum).then_some(count + 1);
        self.counts[quota as usize]
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .map(|_| ())
            .map_err(|_| quota.limit())
    }

    /// More that is there already, whatever the bound.
    pub fn add(&self, quota: Quota, count: u64) {
        self.counts[quota as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// Gives back what was taken or added.
    pub fn give_back(&self, quota: Quota, count: u64) {
        let before = self.counts[quota as usize].fetch_sub(count, Ordering::Relaxed);
        debug_assert!(before >= count, "{quota:?} is given back once");
    }

    /// Nothing more should come.
    pub fn is_full(&self, quota: Quota) -> bool {
        self.get(quota) >= self.maxima[quota as usize]
    }

    pub fn get(&self, quota: Quota) -> u64 {
        self.counts[quota as usize].load(Ordering::Relaxed)
    }
}

/// A connection's place among those of its user; dropping it gives it back.
#[derive(Debug)]
pub struct ConnectionPlace(Arc<Account>);

impl ConnectionPlace {
    /// Takes one, or tells the limit that it would break.
    pub fn take(account: &Arc<Account>) -> Result<Self, Limit> {
        account.take(Quota::Connections).map(|()| Self(account.clone()))
    }

    /// The same for one that pushes another one of its user out, whose place is free in a moment.
    pub fn in_place_of_another(account: &Arc<Account>) -> Self {
        account.add(Quota::Connections, 1);
        Self(account.clone())
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.0.give_back(Quota::Connections, 1);
    }
}

/// The accounts of all users that have something; none at all where there are no quotas.
#[derive(Debug)]
pub struct Accounts {
    quotas: Option<Quotas>,
    users: Mutex<HashMap<Arc<str>, Arc<Account>, RandomState>>,
}

impl Accounts {
    pub fn new(quotas: Quotas) -> Self {
        Self { quotas: Some(quotas).filter(|quotas| *quotas != Quotas::default()), users: Mutex::default() }
    }

    /// The account of a user; `None` where nothing is counted.
    pub fn of(&self, user: Option<&Arc<str>>) -> Option<Arc<Account>> {
        let (quotas, user) = (self.quotas.as_ref()?, user?);
        Some(self.users.lock().entry(user.clone()).or_insert_with(|| Arc::new(Account::new(quotas))).clone())
    }

    /// Forgets users that have nothing. Called now and then.
    pub fn sweep(&self) {
        if self.quotas.is_some() {
            let mut users = self.users.lock();
            users.retain(|_, account| Arc::strong_count(account) > 1);
            let enough = users.len() * 2;
            users.shrink_to(enough);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_up_to_the_quota_and_given_back() {
        let accounts = Accounts::new(Quotas { user_connections: 2, ..Quotas::default() });
        let alice = accounts.of(Some(&"alice".into())).unwrap();
        let first = ConnectionPlace::take(&alice).unwrap();
        let _second = ConnectionPlace::take(&alice).unwrap();
        let again = accounts.of(Some(&"alice".into())).unwrap();
        assert_eq!(ConnectionPlace::take(&again).err(), Some(Limit::UserConnections));
        assert!(ConnectionPlace::take(&accounts.of(Some(&"bob".into())).unwrap()).is_ok());
        drop(first);
        assert!(ConnectionPlace::take(&again).is_ok());
        assert!((0..1000).all(|_| again.take(Quota::Sessions).is_ok()), "no quota, no bound");
    }

    #[test]
    fn users_without_anything_are_forgotten() {
        let accounts = Accounts::new(Quotas { user_sessions: 1, ..Quotas::default() });
        let kept = accounts.of(Some(&"kept".into()));
        for user in 0..100 {
            accounts.of(Some(&user.to_string().into()));
        }
        accounts.sweep();
        assert_eq!(accounts.users.lock().len(), 1);
        drop(kept);
        accounts.sweep();
        assert!(accounts.users.lock().is_empty());
    }

    #[test]
    fn without_quotas_nobody_has_an_account() {
        assert!(Accounts::new(Quotas::default()).of(Some(&"alice".into())).is_none());
        assert!(Accounts::new(Quotas { user_sessions: 1, ..Quotas::default() }).of(None).is_none());
    }
}
