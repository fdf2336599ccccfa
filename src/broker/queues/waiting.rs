use std::sync::Arc;

use crate::broker::author::Author;
use crate::broker::quotas::Quota;
use crate::queue::{DelayedBounds, DelayedChange, DelayedFull, DelayedMessages, Due, UnixMillis};
use crate::storage::Body;

/// The delayed messages. Until they are due they count towards the totals of whoever published them.
#[derive(Debug)]
pub(super) struct Waiting {
    pub messages: DelayedMessages<Arc<Body>, Arc<Author>>,
}

impl Waiting {
    pub(super) fn new(bounds: DelayedBounds, now: UnixMillis) -> Self {
        Self { messages: DelayedMessages::new(bounds, now) }
    }

    pub(super) fn schedule(
        &mut self,
        body: Arc<Body>,
        size: u32,
        at: UnixMillis,
        author: Option<Arc<Author>>,
    ) -> Result<u64, DelayedFull> {
        let number = self.messages.schedule(body, size, at, author.clone())?;
        count(author.as_ref(), size);
        Ok(number)
    }

    /// One that was there before the process.
    pub(super) fn restore(&mut self, number: u64, at: UnixMillis, (body, size): (Arc<Body>, u32), author: Option<Arc<Author>>) {
        count(author.as_ref(), size);
        self.messages.apply(DelayedChange::Scheduled { number, at, size, body, owner: author });
    }

    /// The next message whose time has come: it counts towards nothing any more.
    pub(super) fn poll_due(&mut self, now: UnixMillis) -> Option<Due<Arc<Body>, Arc<Author>>> {
        let due = self.messages.poll_due(now)?;
        if let Some(account) = due.owner.as_ref().and_then(|author| author.account.as_ref()) {
            account.give_back(Quota::DelayedMessages, 1);
            account.give_back(Quota::QueuedBytes, due.size.into());
        }
        Some(due)
    }

    /// One that was due could not be published.
    pub(super) fn put_back(&mut self, due: Due<Arc<Body>, Arc<Author>>, at: UnixMillis) {
        count(due.owner.as_ref(), due.size);
        self.messages.put_back(due, at);
    }
}

/// A message counts from now on, whatever the quotas.
fn count(author: Option<&Arc<Author>>, size: u32) {
    if let Some(account) = author.and_then(|author| author.account.as_ref()) {
        account.add(Quota::DelayedMessages, 1);
        account.add(Quota::QueuedBytes, size.into());
    }
}
