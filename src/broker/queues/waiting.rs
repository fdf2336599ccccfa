use std::collections::HashMap;
use std::sync::Arc;

use crate::broker::quotas::{Account, Accounts, Quota};
use crate::queue::{DelayedBounds, DelayedMessages, Due, Owner, UnixMillis};
use crate::storage::Body;

/// The delayed messages, and the totals that they count towards: those of whoever published them, until they are due.
#[derive(Debug)]
pub(super) struct Waiting {
    pub messages: DelayedMessages<Arc<Body>>,
    /// With how many of the messages; held so that an account lives as long as anything of it waits.
    accounts: HashMap<Owner, (Arc<Account>, u64)>,
}

impl Waiting {
    pub(super) fn new(bounds: DelayedBounds, now: UnixMillis) -> Self {
        Self { messages: DelayedMessages::new(bounds, now), accounts: HashMap::new() }
    }

    /// A message counts from now on, whatever the quotas.
    pub(super) fn count(&mut self, owner: &Arc<Owner>, size: u32, accounts: &Accounts) {
        let (account, count) = match self.accounts.get_mut(&**owner) {
            Some(known) => known,
            None => {
                let Some(account) = accounts.of(owner.user.as_ref(), owner.tenant.as_ref()) else { return };
                self.accounts.entry(Owner::clone(owner)).or_insert((account, 0))
            }
        };
        *count += 1;
        account.add(Quota::DelayedMessages, 1);
        account.add(Quota::QueuedBytes, size.into());
    }

    /// The next message whose time has come: it counts towards nothing any more.
    pub(super) fn poll_due(&mut self, now: UnixMillis) -> Option<Due<Arc<Body>>> {
        let due = self.messages.poll_due(now)?;
        if let Some(owner) = &due.owner
            && let Some((account, count)) = self.accounts.get_mut(&**owner)
        {
            account.give_back(Quota::DelayedMessages, 1);
            account.give_back(Quota::QueuedBytes, due.size.into());
            *count -= 1;
            if *count == 0 {
                self.accounts.remove(&**owner);
            }
        }
        Some(due)
    }

    /// One that was due could not be published.
    pub(super) fn put_back(&mut self, due: Due<Arc<Body>>, at: UnixMillis, accounts: &Accounts) {
        due.owner.iter().for_each(|owner| self.count(owner, due.size, accounts));
        self.messages.put_back(due, at);
    }
}
