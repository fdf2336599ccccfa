use std::collections::HashSet;
use std::sync::Arc;

use super::backend::{Backend, StoreFile};
use super::body::{Body, Recipient};
use super::codec::Put;
use super::error::StorageError;
use super::frame;
use super::record::{ConsumerWish, Publisher, Record, SessionHeader, kind, put_queued, put_retained, put_subscribed, put_work};
use super::segment::{HEADER, header, number_in};
use super::session_record::put_session;
use super::state::{EntryState, RetainedState, State};
use crate::packet::{PacketId, SubscriptionOptions, TopicFilter};

/// Whoever has the state shows it, while it changes: each session, a piece at a time, under its own lock, all topics one after the other.
pub trait Walk {
    fn walk(&self, walker: &mut Walker<'_>);
}

/// Writes a checkpoint of all that it is shown. What changes meanwhile is in the journal behind it.
#[derive(Debug)]
pub struct Walker<'a> {
    file: Arc<dyn StoreFile>,
    name: String,
    buffer: Vec<u8>,
    offset: u64,
    records: u64,
    /// Segments that are to go: the bodies in them must move.
    victims: &'a HashSet<u64>,
    pub(super) to_move: Vec<Arc<Body>>,
    /// Retained messages that are not on disk yet: what they took the place of is not in the checkpoint, so they must be.
    pub(super) unwritten: Vec<Arc<Body>>,
    failure: Option<StorageError>,
}

const CHUNK: usize = 1 << 20;

pub(super) fn checkpoint_name(segment: u64) -> String {
    format!("checkpoint-{segment:020}")
}

pub(super) fn checkpoint_number(name: &str) -> Option<u64> {
    number_in(name.strip_prefix("checkpoint-")?)
}

/// The name while it is written.
pub(super) const UNFINISHED: &str = "checkpoint.unfinished";

impl<'a> Walker<'a> {
    pub(super) fn begin(
        backend: &dyn Backend,
        segment: u64,
        next_session: u64,
        victims: &'a HashSet<u64>,
    ) -> Result<Self, StorageError> {
        let file = backend.create(UNFINISHED).map_err(StorageError::io("cannot create", UNFINISHED))?;
        let mut buffer = header(segment).to_vec();
        frame::put(&mut buffer, kind::CHECKPOINT, |out| {
            out.put_varint(segment);
            out.put_varint(next_session);
        });
        debug_assert!(buffer.len() > HEADER);
        Ok(Self {
            file,
            name: checkpoint_name(segment),
            buffer,
            offset: 0,
            records: 0,
            victims,
            to_move: Vec::new(),
            unwritten: Vec::new(),
            failure: None,
        })
    }

    /// A session; what it holds follows.
    pub fn session(&mut self, session: u64, header: &SessionHeader) {
        put_session(&mut self.buffer, session, header);
        self.records += 1;
    }

    pub fn subscription(
        &mut self,
        session: u64,
        filter: &TopicFilter,
        (options, identifier, wish): (SubscriptionOptions, Option<u32>, ConsumerWish),
    ) {
        put_subscribed(&mut self.buffer, session, filter, options, identifier, wish);
        self.records += 1;
    }

    /// A message that waits for a session. One that is not on disk yet will be behind the checkpoint.
    pub fn waiting(&mut self, recipient: &Recipient, body: &Arc<Body>) {
        let Some(place) = body.place() else { return };
        put_queued(&mut self.buffer, recipient, place);
        self.records += 1;
        if self.victims.contains(&place.segment) {
            self.to_move.push(body.clone());
        }
    }

    pub fn released(&mut self, session: u64, sequence: u64) {
        self.record(&Record::Released { session, sequence });
    }

    /// An identifier that was received, if the message that came under it is on disk.
    pub fn received(&mut self, session: u64, packet_id: PacketId) {
        self.record(&Record::Received { session, packet_id });
    }

    pub fn replaying(&mut self, session: u64, filter: &TopicFilter, from: Option<&str>) {
        self.record(&Record::Replaying { session, filter: filter.clone(), from: from.map(Box::from) });
    }

    pub fn retained(&mut self, topic: &str, publisher: &Publisher, body: &Arc<Body>) {
        let Some(place) = body.place() else {
            self.unwritten.push(body.clone());
            return;
        };
        put_retained(&mut self.buffer, topic, publisher, place);
        self.records += 1;
        if self.victims.contains(&place.segment) {
            self.to_move.push(body.clone());
        }
    }

    /// Something of the work queues. One whose body is not on disk yet will be behind the checkpoint.
    pub fn work(&mut self, stream: u64, body: Option<&Arc<Body>>, content: &[u8]) {
        let place = body.map(|body| body.place());
        if place == Some(None) {
            return;
        }
        let place = place.flatten();
        put_work(&mut self.buffer, stream, place, content);
        self.records += 1;
        if let Some(body) = body.filter(|_| place.is_some_and(|place| self.victims.contains(&place.segment))) {
            self.to_move.push(body.clone());
        }
    }

    /// What was found in a journal.
    pub(super) fn state(&mut self, state: &State) {
        for (number, session) in &state.sessions {
            self.session(*number, &SessionHeader { next_sequence: session.next_sequence, ..session.header.clone() });
            for (filter, subscribed) in &session.subscriptions {
                self.subscription(*number, filter, *subscribed);
            }
            session.replays.iter().for_each(|(filter, from)| self.replaying(*number, filter, from.as_deref()));
            session.received.iter().for_each(|id| self.received(*number, *id));
            for (sequence, entry) in &session.entries {
                match entry {
                    EntryState::Waiting(recipient, place) => {
                        put_queued(&mut self.buffer, recipient, *place);
                        self.records += 1;
                    }
                    EntryState::Released => self.released(*number, *sequence),
                }
            }
            self.pause();
        }
        for (topic, RetainedState { place, publisher }) in &state.retained {
            put_retained(&mut self.buffer, topic, publisher, *place);
            self.records += 1;
            self.pause();
        }
        state.work.show(&mut |stream, place, content| {
            put_work(&mut self.buffer, stream, place, content);
            self.records += 1;
            self.pause();
        });
    }

    /// Call it between sessions, topics and pieces of queues, under no lock: what has gathered is written.
    pub fn pause(&mut self) {
        #[cfg(test)]
        super::fake::pause();
        if self.buffer.len() >= CHUNK {
            self.write();
        }
    }

    fn record(&mut self, record: &Record) {
        record.put(&mut self.buffer);
        self.records += 1;
    }

    fn write(&mut self) {
        if self.failure.is_none()
            && let Err(error) = self.file.write_at(&self.buffer, self.offset)
        {
            self.failure = Some(StorageError::io("cannot write", UNFINISHED)(error));
        }
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
    }

    /// Writes the rest and syncs it. It is not in force yet. Returns its bytes.
    pub(super) fn end(&mut self) -> Result<u64, StorageError> {
        let records = self.records;
        frame::put(&mut self.buffer, kind::CHECKPOINT_END, |out| out.put_varint(records));
        self.write();
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.file.sync().map_err(StorageError::io("cannot sync", UNFINISHED))?;
        Ok(self.offset)
    }

    /// Puts it in force in place of all older ones, which stay if a copy of them may be made.
    pub(super) fn publish(&self, backend: &dyn Backend, keeps_old: bool) -> Result<(), StorageError> {
        let name = &self.name;
        backend.rename(UNFINISHED, name).map_err(StorageError::io("cannot rename", name))?;
        backend.sync_names().map_err(StorageError::io("cannot sync the folder of", name))?;
        if keeps_old {
            return Ok(());
        }
        let names = backend.list().map_err(StorageError::io("cannot list the folder of", name))?;
        for old in names.iter().filter(|old| checkpoint_number(old).is_some() && *old != name) {
            backend.remove(old).map_err(StorageError::io("cannot remove", old))?;
        }
        Ok(())
    }
}
