//! What users and tenants have in all, against what they may have.

mod config;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;

pub use config::Quotas;

use crate::metrics::Limit;

/// What of someone's is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    Connections,
    Sessions,
    Subscriptions,
    Retained,
    QueuedBytes,
    Queues,
    /// Their bytes are among [`Self::QueuedBytes`].
    DelayedMessages,
}

/// How many there are.
const QUOTAS: usize = 7;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    User(Arc<str>),
    /// By its mount point.
    Tenant(Arc<str>),
}

impl Whose {
    const fn limit(&self, quota: Quota) -> Limit {
        match (self, quota) {
            (Self::User(_), Quota::Connections) => Limit::UserConnections,
            (Self::User(_), Quota::Sessions) => Limit::UserSessions,
            (Self::User(_), Quota::Subscriptions) => Limit::UserSubscriptions,
            (Self::User(_), Quota::Retained) => Limit::UserRetainedMessages,
            (Self::User(_), Quota::QueuedBytes) => Limit::UserQueuedBytes,
            (Self::User(_), Quota::Queues) => Limit::UserQueues,
            (Self::User(_), Quota::DelayedMessages) => Limit::UserDelayedMessages,
            (Self::Tenant(_), Quota::Connections) => Limit::TenantConnections,
            (Self::Tenant(_), Quota::Sessions) => Limit::TenantSessions,
            (Self::Tenant(_), Quota::Subscriptions) => Limit::TenantSubscriptions,
            (Self::Tenant(_), Quota::Retained) => Limit::TenantRetainedMessages,
            (Self::Tenant(_), Quota::QueuedBytes) => Limit::TenantQueuedBytes,
            (Self::Tenant(_), Quota::Queues) => Limit::TenantQueues,
            (Self::Tenant(_), Quota::DelayedMessages) => Limit::TenantDelayedMessages,
        }
    }
}

/// What one user, or one tenant, has.
#[derive(Debug)]
struct Total {
    whose: Whose,
    maxima: [u64; QUOTAS],
    counts: [AtomicU64; QUOTAS],
}

impl Total {
    fn take(&self, quota: Quota) -> Result<(), Limit> {
        let maximum = self.maxima[quota as usize];
        let next = |count: u64| (count < maximum).then_some(count + 1);
        self.counts[quota as usize]
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .map(|_| ())
            .map_err(|_| self.whose.limit(quota))
    }

    fn give_back(&self, quota: Quota, count: u64) {
        let before = self.counts[quota as usize].fetch_sub(count, Ordering::Relaxed);
        debug_assert!(before >= count, "{quota:?} of {:?} is given back once", self.whose);
    }

    fn is_full(&self, quota: Quota) -> bool {
        self.counts[quota as usize].load(Ordering::Relaxed) >= self.maxima[quota as usize]
    }
}

/// The totals that what a client has counts towards: its user's, and its tenant's. Kept while anything of it is there.
#[derive(Debug)]
pub struct Account {
    user: Option<Arc<Total>>,
    tenant: Option<Arc<Total>>,
}

impl Account {
    fn totals(&self) -> impl Iterator<Item = &Total> {
        self.user.iter().chain(&self.tenant).map(|total| &**total)
    }

    /// One more, or the limit that it would break.
    pub fn take(&self, quota: Quota) -> Result<(), Limit> {
        self.user.as_ref().map_or(Ok(()), |user| user.take(quota))?;
        self.tenant.as_ref().map_or(Ok(()), |tenant| tenant.take(quota)).inspect_err(|_| {
            self.user.iter().for_each(|user| user.give_back(quota, 1));
        })
    }

    /// More that is there already, whatever the bound.
    pub fn add(&self, quota: Quota, count: u64) {
        self.totals().for_each(|total| {
            total.counts[quota as usize].fetch_add(count, Ordering::Relaxed);
        });
    }

    /// Gives back what was taken or added.
    pub fn give_back(&self, quota: Quota, count: u64) {
        self.totals().for_each(|total| total.give_back(quota, count));
    }

    /// There was so much, and now there is so much.
    pub fn change(&self, quota: Quota, before: u64, now: u64) {
        if before != now {
            self.add(quota, now);
            self.give_back(quota, before);
        }
    }

    /// The limit that more would break; `None`: there is room.
    pub fn full(&self, quota: Quota) -> Option<Limit> {
        self.totals().find(|total| total.is_full(quota)).map(|total| total.whose.limit(quota))
    }
}

/// A connection's place among those of its user and tenant; dropping it gives it back.
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

/// The accounts of all who have something; none at all where there are no quotas.
#[derive(Debug)]
pub struct Accounts {
    of_users: Option<[u64; QUOTAS]>,
    of_tenants: Option<[u64; QUOTAS]>,
    tables: Mutex<Tables>,
}

/// A user and a mount point, as far as these are counted.
type Owner = (Option<Arc<str>>, Option<Arc<str>>);

#[derive(Debug, Default)]
struct Tables {
    totals: HashMap<Whose, Arc<Total>, RandomState>,
    accounts: HashMap<Owner, Arc<Account>, RandomState>,
}

impl Tables {
    fn total(&mut self, whose: Whose, maxima: [u64; QUOTAS]) -> Arc<Total> {
        let new = || Arc::new(Total { whose: whose.clone(), maxima, counts: Default::default() });
        self.totals.entry(whose.clone()).or_insert_with(new).clone()
    }
}

impl Accounts {
    pub fn new(quotas: &Quotas) -> Self {
        Self { of_users: quotas.of_users(), of_tenants: quotas.of_tenants(), tables: Mutex::default() }
    }

    /// The account of a user's client at a mount point; `None` where nothing of it is counted.
    pub fn of(&self, user: Option<&Arc<str>>, mount_point: Option<&Arc<str>>) -> Option<Arc<Account>> {
        let user = self.of_users.zip(user.cloned());
        let tenant = self.of_tenants.zip(mount_point.cloned());
        if user.is_none() && tenant.is_none() {
            return None;
        }
        let name = |counted: &Option<([u64; QUOTAS], Arc<str>)>| counted.as_ref().map(|(_, name)| name.clone());
        let owner = (name(&user), name(&tenant));
        let tables = &mut *self.tables.lock();
        if let Some(account) = tables.accounts.get(&owner) {
            return Some(account.clone());
        }
        let user = user.map(|(maxima, name)| tables.total(Whose::User(name), maxima));
        let tenant = tenant.map(|(maxima, name)| tables.total(Whose::Tenant(name), maxima));
        let account = Arc::new(Account { user, tenant });
        tables.accounts.insert(owner, account.clone());
        Some(account)
    }

    /// Forgets who has nothing. Called now and then.
    pub fn sweep(&self) {
        let tables = &mut *self.tables.lock();
        tables.accounts.retain(|_, account| Arc::strong_count(account) > 1);
        tables.accounts.shrink_to(tables.accounts.len() * 2);
        tables.totals.retain(|_, total| Arc::strong_count(total) > 1);
        tables.totals.shrink_to(tables.totals.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accounts: &Accounts, user: &str) -> Arc<Account> {
        accounts.of(Some(&user.into()), None).unwrap()
    }

    #[test]
    fn a_place_is_taken_up_to_the_quota_and_given_back() {
        let accounts = Accounts::new(&Quotas { user_connections: 2, ..Quotas::default() });
        let alice = of(&accounts, "alice");
        let first = ConnectionPlace::take(&alice).unwrap();
        let _second = ConnectionPlace::take(&alice).unwrap();
        let again = of(&accounts, "alice");
        assert_eq!(ConnectionPlace::take(&again).err(), Some(Limit::UserConnections));
        assert!(ConnectionPlace::take(&of(&accounts, "bob")).is_ok());
        drop(first);
        assert!(ConnectionPlace::take(&again).is_ok());
        assert!((0..1000).all(|_| again.take(Quota::Sessions).is_ok()), "no quota, no bound");
    }

    #[test]
    fn a_tenants_total_is_that_of_all_its_users_and_a_user_has_one_wherever_it_is() {
        let accounts = Accounts::new(&Quotas { user_sessions: 2, tenant_sessions: 3, ..Quotas::default() });
        let at = |user: &str, tenant: &str| accounts.of(Some(&user.into()), Some(&tenant.into())).unwrap();
        let take = |user: &str, tenant: &str| at(user, tenant).take(Quota::Sessions);
        assert_eq!([take("alice", "one/"), take("bob", "one/"), take("alice", "one/")], [Ok(()); 3]);
        assert_eq!(take("bob", "one/"), Err(Limit::TenantSessions));
        assert_eq!(take("alice", "two/"), Err(Limit::UserSessions));
        assert_eq!(take("bob", "two/"), Ok(()), "what the tenant refused was given back to the user");
        assert_eq!(take("bob", "two/"), Err(Limit::UserSessions));
        assert_eq!(at("carol", "one/").full(Quota::Sessions), Some(Limit::TenantSessions));
        at("alice", "one/").give_back(Quota::Sessions, 1);
        assert_eq!(at("carol", "one/").full(Quota::Sessions), None);
        let nobody = accounts.of(None, Some(&"one/".into())).unwrap();
        assert_eq!([nobody.take(Quota::Sessions), nobody.take(Quota::Sessions)], [Ok(()), Err(Limit::TenantSessions)]);
    }

    #[test]
    fn who_has_nothing_is_forgotten() {
        let accounts = Accounts::new(&Quotas { user_sessions: 1, tenant_queues: 1, ..Quotas::default() });
        let kept = accounts.of(Some(&"kept".into()), Some(&"t/".into()));
        for user in 0..100 {
            accounts.of(Some(&user.to_string().into()), Some(&format!("{user}/").into()));
        }
        let count = || {
            let tables = accounts.tables.lock();
            (tables.accounts.len(), tables.totals.len())
        };
        accounts.sweep();
        assert_eq!(count(), (1, 2));
        drop(kept);
        accounts.sweep();
        assert_eq!(count(), (0, 0));
    }

    #[test]
    fn without_quotas_nobody_has_an_account() {
        let (alice, tenant) = (&"alice".into(), &"t/".into());
        assert!(Accounts::new(&Quotas::default()).of(Some(alice), Some(tenant)).is_none());
        let of_users = Accounts::new(&Quotas { user_sessions: 1, ..Quotas::default() });
        assert!(of_users.of(None, Some(tenant)).is_none());
        let of_tenants = Accounts::new(&Quotas { tenant_sessions: 1, ..Quotas::default() });
        assert!(of_tenants.of(Some(alice), None).is_none());
    }
}
