use std::collections::HashMap;
use std::sync::Arc;

use super::door::Rights;
use super::handle::SessionHandle;
use super::quotas::{Account, Accounts};
use super::registry::registry_key;
use super::restore::RightsOf;
use super::standing::Brought;
use crate::auth::{Opinion, Principal};
use crate::packet::TopicName;
use crate::queue::Owner;
use crate::storage::{self, PublishingClient};

/// Who has published what the broker keeps: a retained message, or one that waits for its time. All that a session publishes have the
/// same one, as long as its rights stay.
#[derive(Debug)]
pub struct Author {
    pub(super) principal: Principal,
    /// By its mount point.
    tenant: Option<Arc<str>>,
    brought: Brought,
    rights: Arc<Rights>,
    /// What the user has, where that is counted.
    pub(super) account: Option<Arc<Account>>,
    /// As the journal knows it.
    stored: Arc<storage::Publisher>,
}

impl Author {
    fn new(owner: Owner, brought: Brought, rights: Arc<Rights>, account: Option<Arc<Account>>) -> Arc<Self> {
        let Owner { client, tenant } = owner;
        let principal = Principal { client_id: client.client_id.clone(), username: client.username.clone() };
        let stored = Arc::new(storage::Publisher { client: Some(client) });
        Arc::new(Self { principal, tenant, brought, rights, account, stored })
    }

    /// Whether this is the session's client, which is not another tenant's client of that name.
    pub(super) fn is_client(&self, handle: &SessionHandle) -> bool {
        self.principal.client_id == handle.principal.client_id && self.tenant == handle.mount_point
    }

    /// Whether it still may be published. What somebody outside has said is not asked again.
    pub(super) fn may_publish(&self, topic: TopicName<'_>) -> bool {
        self.rights.on_publish(&self.brought.asker(&self.principal), topic) != Opinion::Denied
    }

    pub(super) fn stored(author: Option<&Arc<Self>>) -> Arc<storage::Publisher> {
        author.map_or_else(Arc::default, |author| author.stored.clone())
    }

    /// The same, with the tenant.
    pub(super) fn owner(&self) -> Owner {
        let client = self.stored.client.clone().expect("an author is a client");
        Owner { client, tenant: self.tenant.clone() }
    }

    /// What the session of this client identifier is known by.
    pub(super) fn registry_key(&self) -> Arc<str> {
        registry_key(self.tenant.as_deref(), &self.principal.client_id)
    }
}

impl SessionHandle {
    /// Who publishes what is kept: from now on as it is now.
    pub(super) fn author(&self) -> Arc<Author> {
        let brought = self.brought();
        let mut kept = self.author.lock();
        if let Some(author) = kept.as_ref().filter(|author| author.brought == brought) {
            return author.clone();
        }
        let (client_id, username) = (self.principal.client_id.clone(), self.principal.username.clone());
        let client = PublishingClient { client_id, username, listener: self.listener.clone() };
        let owner = Owner { client, tenant: self.mount_point.clone() };
        kept.insert(Author::new(owner, brought, self.rights.clone(), self.account.clone())).clone()
    }
}

/// Those whose messages were there before the process, each of them once: few have published all of it.
#[derive(Debug)]
pub struct Authors<'a> {
    known: HashMap<Owner, Arc<Author>>,
    doors: &'a dyn RightsOf,
    accounts: &'a Accounts,
}

impl<'a> Authors<'a> {
    pub(super) fn new(doors: &'a dyn RightsOf, accounts: &'a Accounts) -> Self {
        Self { known: HashMap::new(), doors, accounts }
    }

    pub(super) fn of(&mut self, owner: Owner) -> Arc<Author> {
        let (doors, accounts) = (self.doors, self.accounts);
        let author = self.known.entry(owner).or_insert_with_key(|owner| {
            let rights = doors.rights_of(&owner.client.listener);
            let brought = if rights.is_personal() { Brought::Unknown } else { Brought::Nothing };
            let account = accounts.of(owner.client.username.as_ref(), owner.tenant.as_ref());
            Author::new(owner.clone(), brought, rights, account)
        });
        author.clone()
    }

    /// That of a retained message, whose tenant is not written down: it follows from who it is.
    pub(super) fn of_retained(&mut self, publisher: storage::Publisher, topic: &str) -> Option<Arc<Author>> {
        let client = publisher.client?;
        let principal = Principal { client_id: client.client_id.clone(), username: client.username.clone() };
        let tenant = self.doors.mount_point_of(&client.listener, &principal);
        let tenant = tenant.filter(|tenant| topic.starts_with(&**tenant));
        Some(self.of(Owner { client, tenant }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::handle::Identity;
    use super::*;
    use crate::auth::{Authenticator, Authorizer};
    use crate::storage::Level;

    #[test]
    fn all_that_a_session_publishes_has_one_author_until_its_rights_are_others() {
        let identity = Identity {
            principal: Principal { client_id: "c".into(), username: None },
            registry_key: "c".into(),
            mount_point: None,
            listener: "l".into(),
            account: None,
        };
        let rights = Arc::new(Rights::new(Authenticator::new(true, None), Authorizer::new(None)));
        let handle = SessionHandle::new(None, identity, rights, Arc::default(), Level::Memory);
        let first = handle.author();
        assert!(Arc::ptr_eq(&first, &handle.author()));
        handle.bring(Brought::Unknown);
        let second = handle.author();
        assert_eq!((&first.brought, &second.brought), (&Brought::Nothing, &Brought::Unknown));
    }
}
