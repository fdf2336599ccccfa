use std::hash::BuildHasher;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::FixedState;
use parking_lot::{Mutex, MutexGuard, RwLock};

use super::Broker;
use super::author::Author;
use super::effects::Effects;
use super::handle::{SessionHandle, Slot};
use super::inspect::RetainedView;
use super::publish::Publisher;
use super::quotas::{Account, Quota};
use crate::metrics::Limit;
use crate::packet::{Message, PublishReason, TopicFilter, TopicName};
use crate::routing::{Retainable, RetainedTree};
use crate::session::{Grant, Limits, Publication, Replay};
use crate::storage::{self, Body, Item, Record};

/// The retained messages of all topics (3.3.1.3).
pub struct Retained {
    tree: RwLock<Tree>,
    /// Who publishes to be retained, until the journal knows: one at a time of those topics that share a turn.
    turns: [Mutex<()>; TURNS],
}

/// Enough that threads seldom meet who publish to different topics.
const TURNS: usize = 256;

impl Default for Retained {
    fn default() -> Self {
        Self { tree: RwLock::default(), turns: [const { Mutex::new(()) }; TURNS] }
    }
}

#[derive(Default)]
struct Tree {
    messages: RetainedTree<Entry>,
    sums: Sums,
}

/// Of all that is kept.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    bytes: usize,
    /// How many can expire.
    mortal: usize,
    /// How many are the broker's own, below `$SYS/`, and their bytes.
    sys: usize,
    sys_bytes: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    message: Message,
    /// Whose right to publish it is asked again when rights change; `None` for the broker's own.
    author: Option<Arc<Author>>,
    /// What it survives by.
    body: Option<Arc<Body>>,
}

impl Retainable for Entry {
    fn topic(&self) -> TopicName<'_> {
        self.message.topic()
    }

    fn topic_bytes(&self) -> &[u8] {
        let (length, _, bytes) = self.message.parts();
        &bytes[..usize::from(length)]
    }
}

impl Sums {
    fn add(&mut self, entry: &Entry) {
        let of = Self::of(entry);
        self.bytes += of.bytes;
        self.mortal += of.mortal;
        self.sys += of.sys;
        self.sys_bytes += of.sys_bytes;
    }

    fn take(&mut self, entry: &Entry) {
        let of = Self::of(entry);
        self.bytes -= of.bytes;
        self.mortal -= of.mortal;
        self.sys -= of.sys;
        self.sys_bytes -= of.sys_bytes;
    }

    fn of(entry: &Entry) -> Self {
        let (bytes, is_sys) = (entry.message.len(), entry.is_sys());
        let sys_bytes = if is_sys { bytes } else { 0 };
        Self { bytes, mortal: entry.message.expires_at.is_some().into(), sys: is_sys.into(), sys_bytes }
    }
}

impl Entry {
    fn view(&self) -> RetainedView {
        RetainedView { message: self.message.clone(), publisher: self.author.as_ref().map(|by| by.principal.clone()) }
    }

    fn account(&self) -> Option<&Arc<Account>> {
        self.author.as_ref().and_then(|by| by.account.as_ref())
    }

    /// Only the broker itself publishes there.
    fn is_sys(&self) -> bool {
        self.message.topic().as_str().starts_with("$SYS/")
    }

    fn is_kept(&self) {
        self.account().into_iter().for_each(|account| account.add(Quota::Retained, 1));
    }

    fn is_gone(&self) {
        self.account().into_iter().for_each(|account| account.give_back(Quota::Retained, 1));
    }

    /// Whether it was published under this session's client identifier, and not by another tenant's client of that name.
    fn is_of(&self, handle: &SessionHandle) -> bool {
        self.author.as_ref().is_some_and(|by| by.is_client(handle))
    }
}

/// Retained messages are handed out this many at a time.
const REPLAY_STEP: usize = 64;
/// Topics that are looked at in one step, whether they match or not.
const REPLAY_LOOK: usize = 4096;
/// No more of them while so many messages wait for the session.
const REPLAY_QUEUE_MAX: usize = 64;
/// No more of them while so many bytes are unwritten.
const REPLAY_BUFFER_MAX: usize = 64 * 1024;

/// What one step may send: nothing of it is to meet a full write buffer or queue.
struct Room {
    messages: usize,
    bytes: usize,
}

/// What a PUBLISH has besides topic, properties and payload, at most and roughly.
const OVERHEAD: usize = 32;

impl Room {
    /// `None` while too much of what was sent before waits.
    fn of(slot: &Slot, unwritten: usize) -> Option<Self> {
        let waiting = slot.session.outbound.queue.len();
        let buffer_max = usize::try_from(slot.limits.max_write_buffer.0).unwrap_or(usize::MAX).min(REPLAY_BUFFER_MAX);
        let messages = REPLAY_STEP.min(slot.limits.max_queued_messages.saturating_sub(waiting));
        let bytes = buffer_max.saturating_sub(unwritten);
        (waiting < REPLAY_QUEUE_MAX && messages > 0 && bytes > 0).then_some(Self { messages, bytes })
    }

    /// Whether one more goes, of this many bytes: the last one may be larger than what is left.
    fn take(&mut self, bytes: usize) -> bool {
        if self.messages == 0 || self.bytes == 0 {
            return false;
        }
        self.messages -= 1;
        self.bytes = self.bytes.saturating_sub(bytes + OVERHEAD);
        true
    }
}

impl Retained {
    /// Messages and bytes.
    pub fn counts(&self) -> (usize, usize) {
        let tree = self.tree.read();
        (tree.messages.len(), tree.sums.bytes)
    }

    pub(super) fn get(&self, topic: TopicName<'_>) -> Option<RetainedView> {
        self.tree.read().messages.get(topic).map(Entry::view)
    }

    /// Forgets the message of a topic; `None` if there is none, else whether it was stored: then `forgotten` was told of it.
    pub(super) fn remove(&self, topic: TopicName<'_>, forgotten: impl FnOnce(&Arc<Body>)) -> Option<bool> {
        let mut tree = self.tree.write();
        tree.messages.get(topic)?;
        let body = tree.remove(topic);
        body.as_ref().map(forgotten);
        Some(body.is_some())
    }

    /// One piece of those that match `filter`, or of all: as [`RetainedTree::scan`].
    pub(super) fn scan(
        &self,
        filter: Option<&TopicFilter>,
        from: Option<&str>,
        limit: usize,
        mut found: impl FnMut(TopicName<'_>, RetainedView) -> ControlFlow<()>,
    ) -> Option<Box<str>> {
        let tree = self.tree.read();
        match filter {
            Some(filter) => tree.messages.scan(filter, from, limit, |topic, entry| found(topic, entry.view())),
            None => tree.messages.page(from, limit, |topic, entry| found(topic, entry.view())),
        }
    }

    /// Forgets what `keep` refuses; for what happens rarely.
    /// What was stored is told to `forgotten`.
    pub(super) fn retain(
        &self,
        mut keep: impl FnMut(&Message, Option<&Author>) -> bool,
        mut forgotten: impl FnMut(TopicName<'_>, &Arc<Body>),
    ) -> usize {
        let mut tree = self.tree.write();
        let Tree { messages, sums } = &mut *tree;
        let before = messages.len();
        messages.retain(|entry| {
            let is_kept = keep(&entry.message, entry.author.as_deref());
            if !is_kept {
                entry.is_gone();
                sums.take(entry);
                if let Some(body) = &entry.body {
                    forgotten(entry.message.topic(), body);
                }
            }
            is_kept
        });
        before - messages.len()
    }
}

impl Tree {
    /// What the one that was there survives by, if the journal knows it.
    fn remove(&mut self, topic: TopicName<'_>) -> Option<Arc<Body>> {
        let old = self.messages.remove(topic)?;
        self.forget(&old);
        old.body
    }

    /// As [`Self::remove`].
    fn insert(&mut self, entry: Entry) -> Option<Arc<Body>> {
        entry.is_kept();
        self.sums.add(&entry);
        let old = self.messages.insert(entry)?;
        self.forget(&old);
        old.body
    }

    /// Which limit keeps this message out; the broker's own take nobody's place. That it has the place of another one is looked at only
    /// where it matters.
    fn limit_met(&self, message: &Message, account: Option<&Arc<Account>>, limits: &Limits) -> Option<Limit> {
        let Sums { bytes, sys, sys_bytes, .. } = self.sums;
        let has_room = |freed: usize| (bytes - sys_bytes - freed + message.len()) as u64 <= limits.max_retained_bytes.0;
        let is_full = self.messages.len() - sys >= limits.max_retained_messages;
        let account_full = account.and_then(|account| account.full(Quota::Retained));
        if !is_full && account_full.is_none() && has_room(0) {
            return None;
        }
        match self.messages.get(message.topic()) {
            Some(old) => (!has_room(old.message.len())).then_some(Limit::MaxRetainedBytes),
            None if is_full => Some(Limit::MaxRetainedMessages),
            None if !has_room(0) => Some(Limit::MaxRetainedBytes),
            None => account_full,
        }
    }

    fn forget(&mut self, old: &Entry) {
        old.is_gone();
        self.sums.take(old);
    }
}

impl Broker {
    /// The turn to publish to a topic what is to be retained: of two messages of one topic, the later one is told to the journal later.
    /// Told in the other order, a crash would bring the earlier one back though the later one, or its clearing, was acknowledged.
    pub(super) fn turn_of(&self, topic: TopicName<'_>, retain: bool) -> Option<MutexGuard<'_, ()>> {
        let is_told = retain && self.journal.is_some();
        is_told.then(|| self.retained.turns[FixedState::default().hash_one(topic.as_str()) as usize % TURNS].lock())
    }

    /// Keeps the message as its topic's last one; an empty payload forgets it `[MQTT-3.3.1-5]` to `[MQTT-3.3.1-7]`, and so does one whose
    /// time is over as it comes: it takes the place of the last one, and expires. Returns whether the journal is told: in the topic's turn
    /// ([`Self::turn_of`]).
    pub(super) fn retain(
        &self,
        publication: &mut Publication<'_>,
        publisher: &Publisher<'_>,
        now: Instant,
        effects: &mut Effects,
    ) -> Result<bool, PublishReason> {
        let topic = publication.topic();
        if publication.view().payload.is_empty() || publication.expires_at.is_some_and(|at| at <= now) {
            let mut tree = self.retained.tree.write();
            if let Some(body) = tree.remove(topic) {
                self.tell_unretained(topic, &body);
            }
            // One that found nothing may come behind another whose clearing is not safe yet.
            return Ok(publication.is_lasting());
        }
        let message = publication.message().clone();
        let limits = self.limits();
        let author = publisher.author();
        let mut tree = self.retained.tree.write();
        if publisher.is_bounded()
            && let Some(limit) = tree.limit_met(&message, publisher.account(), &limits)
        {
            drop(tree);
            self.metrics.limit_hits.count(limit);
            return Err(PublishReason::QuotaExceeded);
        }
        let body = publication.body().cloned();
        if let Some(body) = &body {
            body.retain(Author::stored(author.as_ref())).into_iter().for_each(|item| effects.journal.push(item));
        }
        let is_stored = body.is_some();
        match tree.insert(Entry { message, author, body }) {
            // Together with what takes its place: one of them is there after any crash.
            Some(old) if is_stored => effects.journal.push(old.unretain()),
            Some(old) => self.tell_unretained(topic, &old),
            None => {}
        }
        Ok(is_stored)
    }

    /// Whether [`Self::retain`] would find room now: for what must be known before others get the message.
    pub(super) fn may_retain(
        &self,
        publication: &mut Publication<'_>,
        publisher: &Publisher<'_>,
        now: Instant,
    ) -> Result<(), PublishReason> {
        let message = publication.message().clone();
        if !publisher.is_bounded() || publication.view().payload.is_empty() || message.is_expired(now) {
            return Ok(());
        }
        let met = self.retained.tree.read().limit_met(&message, publisher.account(), &self.limits());
        met.map_or(Ok(()), |limit| {
            self.metrics.limit_hits.count(limit);
            Err(PublishReason::QuotaExceeded)
        })
    }

    /// Under the lock of the tree, so that the order is that of the changes.
    pub(super) fn tell_unretained(&self, topic: TopicName<'_>, old: &Arc<Body>) {
        if let Some(journal) = &self.journal {
            let cleared = Record::Unretained { topic: topic.as_str().into() };
            journal.tell_together([old.unretain(), Item::Record(cleared)]);
        }
    }

    /// One that was there before the process.
    pub(super) fn restore_retained(&self, message: Message, body: Arc<Body>, author: Option<Arc<Author>>) {
        let mut tree = self.retained.tree.write();
        tree.insert(Entry { message, author, body: Some(body) });
    }

    /// Shows those that survive, one page of topics from `from` on. Returns where the next one begins.
    pub(super) fn page_of_retained(
        &self,
        from: Option<&str>,
        limit: usize,
        mut show: impl FnMut(&str, &storage::Publisher, &Arc<Body>) -> ControlFlow<()>,
    ) -> Option<Box<str>> {
        self.retained.tree.read().messages.page(from, limit, |topic, entry| match &entry.body {
            Some(body) => show(topic.as_str(), &Author::stored(entry.author.as_ref()), body),
            None => ControlFlow::Continue(()),
        })
    }

    /// Sends the next retained messages that new subscriptions of `handle` are to get, as far as there is room. Called by the
    /// connection's own task; what is left goes on when the buffer has drained.
    pub(super) fn replay(&self, handle: &SessionHandle, epoch: u64, now: Instant, batch: &mut Effects) {
        while let Some((replay, room)) = handle.lock(|slot| {
            let online = slot.online.as_ref().filter(|online| online.epoch == epoch && online.is_welcomed)?;
            let replay = slot.session.next_replay()?;
            Some((replay.clone(), Room::of(slot, online.outbox.len())?))
        }) {
            self.replay_step((handle, epoch), &replay, room, now, batch);
        }
    }

    fn replay_step(
        &self,
        (handle, epoch): (&SessionHandle, u64),
        replay: &Replay,
        mut room: Room,
        now: Instant,
        batch: &mut Effects,
    ) {
        let mut found = Vec::new();
        // Until what was found is with the session: a newer one that is retained meanwhile must come behind it `[MQTT-4.6.0-6]`.
        let tree = self.retained.tree.read();
        let next = tree.messages.scan(&replay.filter, replay.from.as_deref(), REPLAY_LOOK, |_, entry| {
            if !handle.reaches(&replay.filter, entry.message.topic()) {
                return ControlFlow::Continue(());
            }
            if !room.take(entry.message.len()) {
                return ControlFlow::Break(());
            }
            found.push((entry.message.clone(), entry.body.clone(), entry.is_of(handle)));
            ControlFlow::Continue(())
        });
        let mut expired = Vec::new();
        handle.lock(|slot| {
            if !slot.is_online(epoch) {
                return; // Meanwhile taken over by one that may still wait for its CONNACK: it goes on from here itself.
            }
            let Some(position) = slot.session.replays.iter().position(|there| there.filter == replay.filter) else { return };
            let Some(subscription) = slot.session.subscriptions.get(&replay.filter).copied() else {
                slot.session.replays.remove(position);
                return;
            };
            for (message, body, is_own) in &found {
                if message.is_expired(now) {
                    expired.push(message.clone());
                    continue;
                }
                if subscription.options.no_local && *is_own {
                    continue; // [MQTT-3.8.3-3]
                }
                if !handle.rights.is_unrestricted() && !handle.may_read(message.topic()) {
                    continue;
                }
                let grant = Grant {
                    qos: subscription.options.qos.min(message.qos),
                    retain: true, // [MQTT-3.3.1-8]
                    identifiers: subscription.identifier.as_slice(),
                    share: None,
                };
                let link = slot.online.as_deref_mut().map(|online| (&mut online.writer, &mut online.outbox.buffer));
                let mut publication = Publication::stored(message).in_body(body.clone());
                slot.session.outbound.deliver(link, &mut publication, grant, &slot.limits, now, batch);
            }
            match next {
                Some(_) => slot.session.replays[position].from = next,
                None => drop(slot.session.replays.remove(position)),
            }
            // Together with what was queued: after a crash it goes on where it was.
            handle.store_replay(slot, &replay.filter);
            slot.report(batch);
        });
        drop(tree);
        if !expired.is_empty() {
            let mut tree = self.retained.tree.write();
            for message in expired {
                let is_same = tree.messages.get(message.topic()).is_some_and(|entry| entry.message.is_same(&message));
                if is_same && let Some(body) = tree.remove(message.topic()) {
                    self.tell_unretained(message.topic(), &body);
                }
            }
        }
    }

    /// Forgets retained messages that have outlived their expiry.
    pub(super) fn drop_expired_retained(&self, now: Instant) -> usize {
        if self.retained.tree.read().sums.mortal == 0 {
            return 0;
        }
        self.retained.retain(|message, _| !message.is_expired(now), |topic, body| self.tell_unretained(topic, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retained_message_costs_little_memory_beside_itself() {
        assert!(size_of::<Entry>() <= 24, "{}", size_of::<Entry>());
    }
}
