//! Records of queues as bytes: the first byte says what it is, the stream which queue it is of. `storage/FORMAT.md` has them.

use std::sync::Arc;

use super::define::Definition;
use super::handle::{QueueHandle, QueueState};
use crate::broker::Effects;
use crate::broker::author::Author;
use crate::broker::quotas::Quota;
use crate::queue::{Change, DelayedChange, Durability, Owner, Part};
use crate::storage::{Body, Record};

/// The stream of what belongs to no queue.
pub(super) const COMMON: u64 = 0;

pub(super) mod kind {
    /// 16 bytes, of [`super::COMMON`].
    pub(crate) const SECRET: u8 = 0;
    /// JSON.
    pub(crate) const DEFINED: u8 = 1;
    pub(crate) const DELETED: u8 = 2;
    /// A change of the queue, or of its dead letters.
    pub(crate) const CHANGED: u8 = 3;
    pub(crate) const CHANGED_DEAD: u8 = 4;
    /// A change of the delayed messages, of [`super::COMMON`].
    pub(crate) const DELAYED: u8 = 5;
}

pub(super) fn content_of_secret(secret: [u8; 16]) -> Vec<u8> {
    let mut content = vec![kind::SECRET];
    content.extend_from_slice(&secret);
    content
}

pub(super) fn content_of_definition(definition: &Definition) -> Vec<u8> {
    let mut content = vec![kind::DEFINED];
    serde_json::to_writer(&mut content, definition).expect("a definition has only texts and numbers");
    content
}

/// A change without the body that it brings in; `content` is written anew.
pub(super) fn write_change<B>(part: Part, change: &Change<B>, content: &mut Vec<u8>) {
    content.clear();
    content.push(match part {
        Part::Main => kind::CHANGED,
        Part::Dead => kind::CHANGED_DEAD,
    });
    change.write_head(content);
}

/// The body that it brings in.
pub(super) fn body_of<B>(change: Change<B>) -> Option<B> {
    match change {
        Change::Enqueued(record) => Some(record.body),
        _ => None,
    }
}

/// Whether it settles a message that has not been written yet, and now will not be.
fn is_forgotten(change: &Change<Arc<Body>>, stream: u64) -> bool {
    matches!(change, Change::Settled { body: Some(body), .. } if body.let_go(stream))
}

pub(super) fn of_delayed(change: DelayedChange<Arc<Body>, Arc<Author>>) -> (Option<Arc<Body>>, Vec<u8>) {
    let mut content = Vec::new();
    let change = change.map_owner(|author| author.owner());
    write_delayed(&change, &mut content);
    (change.body().cloned(), content)
}

/// A change without its body; `content` is written anew.
pub(super) fn write_delayed<B>(change: &DelayedChange<B, Owner>, content: &mut Vec<u8>) {
    content.clear();
    content.push(kind::DELAYED);
    change.write(content);
}

pub(super) fn record(stream: u64, (body, content): (Option<Arc<Body>>, Vec<u8>)) -> Record {
    Record::Work { stream, body, content: content.into() }
}

impl QueueState {
    /// Hands what has changed over to the journal's next transaction, and says what must wait for it. To be submitted under the same
    /// lock: the order of the records is that of the changes.
    pub(super) fn tell(&mut self, queue: &QueueHandle, has_journal: bool, effects: &mut Effects) -> Durability {
        let (mut waits, mut content) = (Durability::Lazy, std::mem::take(&mut self.scratch));
        while let Some((part, change)) = self.work.poll_change() {
            if change.durability() == Durability::BeforeAnswer {
                waits = Durability::BeforeAnswer;
            }
            if has_journal && !is_forgotten(&change, queue.number) {
                write_change(part, &change, &mut content);
                let body = body_of(change);
                effects.journal.record(Record::Work { stream: queue.number, body, content: content.as_slice().into() });
            }
        }
        self.scratch = content;
        if let Some(account) = &queue.account {
            let bytes = self.work.bytes();
            account.change(Quota::QueuedBytes, std::mem::replace(&mut self.reported, bytes), bytes);
        }
        waits
    }
}
