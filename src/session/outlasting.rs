use std::sync::Arc;

use super::grant::Grant;
use super::numbering::Numbering;
use super::queued::Queued;
use super::window::Window;
use crate::packet::{PacketId, QoS};
use crate::storage::{Body, Item, Record};

/// What a session has that outlives the process: the order of its messages, those of them that are in memory, and what the journal is
/// still to be told. Whoever works on the session takes the news afterwards, under the same lock.
#[derive(Debug)]
pub struct Outlasting {
    pub numbering: Numbering,
    /// Messages that are at hand though their bodies are on disk.
    pub memory: Window,
    /// The next message must be read from disk.
    pub is_starved: bool,
    /// A message waits until it cannot be lost any more.
    pub is_anxious: bool,
    news: Vec<Item>,
}

impl Outlasting {
    pub fn new(numbering: Numbering) -> Self {
        Self { numbering, memory: Window::default(), is_starved: false, is_anxious: false, news: Vec::new() }
    }

    /// A message that is to survive gets its number.
    pub fn keep(&mut self, body: &Arc<Body>, grant: Grant<'_>, is_in_use: impl Fn(PacketId) -> bool) -> Queued {
        let sequence = self.numbering.take(is_in_use);
        self.is_anxious |= grant.qos == QoS::ExactlyOnce;
        let queued = Queued::stored(body.clone(), sequence, grant);
        if let Some(recipient) = queued.recipient(self.numbering.session) {
            self.news.extend(body.add(recipient));
        }
        queued
    }

    /// The same of one that was kept before, in place of its old number; `None` if it is not stored.
    pub fn keep_again(&mut self, queued: &Queued, is_in_use: impl Fn(PacketId) -> bool) -> Option<Queued> {
        let (body, _) = queued.body().zip(queued.sequence())?;
        let notes = queued.notes();
        let grant = Grant {
            qos: queued.qos(),
            retain: queued.retain(),
            identifiers: notes.map_or(&[], |notes| &notes.identifiers),
            share: notes.and_then(|notes| notes.share.as_ref()),
        };
        let again = self.keep(body, grant, is_in_use);
        self.settle(queued);
        Some(again)
    }

    /// The session is done with a message.
    pub fn settle(&mut self, queued: &Queued) {
        let (Some(body), Some(sequence)) = (queued.body(), queued.sequence()) else { return };
        let session = self.numbering.session;
        if !body.settle(session, sequence) {
            self.news.push(Item::Record(Record::Settled { session, sequence }));
        }
    }

    /// PUBCOMP has come for the message with this number.
    pub fn completed(&mut self, sequence: u64) {
        let session = self.numbering.session;
        self.news.push(Item::Record(Record::Settled { session, sequence }));
    }

    /// Something for the journal that belongs to this session.
    pub fn tell(&mut self, record: Record) {
        self.news.push(Item::Record(record));
    }

    /// What the journal is to be told.
    pub fn news(&mut self) -> std::vec::Drain<'_, Item> {
        self.news.drain(..)
    }

    pub const fn has_news(&self) -> bool {
        !self.news.is_empty()
    }
}
