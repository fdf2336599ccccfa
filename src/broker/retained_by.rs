use std::sync::Arc;

use super::door::Rights;
use super::handle::SessionHandle;
use super::quotas::Account;
use super::standing::Brought;
use crate::auth::{Opinion, Principal};
use crate::packet::TopicName;
use crate::storage::{self, PublishingClient};

/// Who published retained messages; all that a session publishes have the same one, as long as its rights stay.
#[derive(Debug)]
pub struct RetainedBy {
    pub(super) principal: Principal,
    brought: Brought,
    rights: Arc<Rights>,
    /// What the user has, where that is counted.
    pub(super) account: Option<Arc<Account>>,
    /// As the journal knows it.
    stored: Arc<storage::Publisher>,
}

impl RetainedBy {
    pub(super) fn new(
        principal: Principal,
        brought: Brought,
        rights: Arc<Rights>,
        listener: Arc<str>,
        account: Option<Arc<Account>>,
    ) -> Arc<Self> {
        let client =
            PublishingClient { client_id: principal.client_id.clone(), username: principal.username.clone(), listener };
        let stored = Arc::new(storage::Publisher { client: Some(client) });
        Arc::new(Self { principal, brought, rights, account, stored })
    }

    /// Whether it still may be published. What somebody outside has said is not asked again.
    pub(super) fn may_publish(&self, topic: TopicName<'_>) -> bool {
        self.rights.on_publish(&self.brought.asker(&self.principal), topic) != Opinion::Denied
    }

    pub(super) fn stored(by: Option<&Arc<Self>>) -> Arc<storage::Publisher> {
        by.map_or_else(Arc::default, |by| by.stored.clone())
    }
}

impl SessionHandle {
    /// Who publishes what is retained: from now on as it is now.
    pub(super) fn retained_by(&self) -> Arc<RetainedBy> {
        let brought = self.brought();
        let mut kept = self.retained_by.lock();
        if let Some(by) = kept.as_ref().filter(|by| by.brought == brought) {
            return by.clone();
        }
        let (principal, rights) = (self.principal.clone(), self.rights.clone());
        let by = RetainedBy::new(principal, brought, rights, self.listener.clone(), self.account.clone());
        kept.insert(by).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::handle::Identity;
    use super::*;
    use crate::auth::{Authenticator, Authorizer};
    use crate::storage::Level;

    #[test]
    fn all_that_a_session_publishes_has_one_publisher_until_its_rights_are_others() {
        let identity = Identity {
            principal: Principal { client_id: "c".into(), username: None },
            registry_key: "c".into(),
            mount_point: None,
            listener: "l".into(),
            account: None,
        };
        let rights = Arc::new(Rights::new(Authenticator::new(true, None), Authorizer::new(None)));
        let handle = SessionHandle::new(None, identity, rights, Arc::default(), Level::Memory);
        let first = handle.retained_by();
        assert!(Arc::ptr_eq(&first, &handle.retained_by()));
        handle.bring(Brought::Unknown);
        let second = handle.retained_by();
        assert_eq!((&first.brought, &second.brought), (&Brought::Nothing, &Brought::Unknown));
    }
}
