use std::collections::HashSet;
use std::sync::Arc;

use crate::storage::{Parts, Put};

/// Whose totals a message counts towards while it waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owner {
    pub user: Option<Arc<str>>,
    /// By its mount point.
    pub tenant: Option<Arc<str>>,
}

impl Owner {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.put_option(self.user.as_deref());
        out.put_option(self.tenant.as_deref());
    }

    /// Takes its bytes off the front.
    pub(super) fn read(bytes: &mut Parts<'_>) -> Option<Self> {
        Some(Self { user: bytes.option()?.map(Arc::from), tenant: bytes.option()?.map(Arc::from) })
    }
}

/// Each owner once, however many messages are its.
#[derive(Debug, Default)]
pub struct Owners(HashSet<Arc<Owner>>);

impl Owners {
    /// The one that is there already, if it is.
    pub fn share(&mut self, owner: Arc<Owner>) -> Arc<Owner> {
        if let Some(known) = self.0.get(&owner) {
            return known.clone();
        }
        self.0.insert(owner.clone());
        owner
    }

    /// To be called when a message has gone: forgets its owner if nobody else knows it.
    pub fn look_after(&mut self, owner: &Arc<Owner>) {
        // One is the caller's, one the table's.
        if Arc::strong_count(owner) <= 2 {
            self.0.remove(owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_there_once_and_as_long_as_anything_is_its() {
        let owner = || Arc::new(Owner { user: Some("alice".into()), tenant: None });
        let mut owners = Owners::default();
        let (first, second) = (owners.share(owner()), owners.share(owner()));
        assert!(Arc::ptr_eq(&first, &second));
        owners.look_after(&first);
        assert_eq!(owners.0.len(), 1);
        drop(first);
        owners.look_after(&second);
        assert!(owners.0.is_empty());
    }
}
