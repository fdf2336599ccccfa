use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::body::Recipient;
use super::record::{ConsumerWish, Publisher, SessionHeader, Told};
use super::segment::Place;
use super::work::WorkState;
use crate::packet::{PacketId, QoS, SubscriptionOptions, TopicFilter};

/// What records fold into: plain values, with bodies as the places where they lie.
#[derive(Debug)]
pub struct State {
    pub sessions: HashMap<u64, SessionState>,
    pub retained: HashMap<Box<str>, RetainedState>,
    pub next_session: u64,
    /// The work queues, as whoever knows them folds them.
    pub work: Box<dyn WorkState>,
    relocated: HashMap<Place, Place>,
    /// Segments that were dead in memory, though not all that killed their bodies may have been written.
    removed: HashSet<u64>,
    /// Messages for sessions that are told of later: a message that is not written yet takes on recipients until its turn comes.
    early: HashMap<u64, BTreeMap<u64, (Recipient, Place)>>,
}

#[derive(Debug)]
pub struct SessionState {
    pub header: SessionHeader,
    pub subscriptions: BTreeMap<TopicFilter, (SubscriptionOptions, Option<u32>, ConsumerWish)>,
    /// By sequence.
    pub entries: BTreeMap<u64, EntryState>,
    pub received: BTreeSet<PacketId>,
    /// Subscriptions whose retained messages are not all sent, and where to go on.
    pub replays: BTreeMap<TopicFilter, Option<Box<str>>>,
    /// Messages from here on have not been queued yet.
    pub next_sequence: u64,
}

/// A message that a session is not done with.
#[derive(Debug)]
pub enum EntryState {
    /// It waits, or was sent and is to be sent again.
    Waiting(Recipient, Place),
    /// PUBREL is due.
    Released,
}

#[derive(Debug)]
pub struct RetainedState {
    pub place: Place,
    pub publisher: Publisher,
}

impl SessionState {
    fn new(header: SessionHeader) -> Self {
        let next_sequence = header.next_sequence;
        Self {
            header,
            subscriptions: BTreeMap::new(),
            entries: BTreeMap::new(),
            received: BTreeSet::new(),
            replays: BTreeMap::new(),
            next_sequence,
        }
    }

    fn queue(&mut self, recipient: Recipient, place: Place) {
        self.saw(recipient.sequence);
        self.entries.insert(recipient.sequence, EntryState::Waiting(recipient, place));
    }

    fn saw(&mut self, sequence: u64) {
        self.next_sequence = self.next_sequence.max(sequence + 1);
    }
}

impl State {
    pub(super) fn new(work: Box<dyn WorkState>) -> Self {
        Self {
            sessions: HashMap::new(),
            retained: HashMap::new(),
            next_session: 0,
            work,
            relocated: HashMap::new(),
            removed: HashSet::new(),
            early: HashMap::new(),
        }
    }

    /// Takes one record over. One about a session that is over says nothing.
    pub(super) fn apply(&mut self, told: Told) {
        match told {
            Told::Session(session, header) => self.set_session(session, *header),
            Told::SessionEnded(session) => {
                self.early.remove(&session);
                self.sessions.remove(&session);
            }
            Told::Subscribed(session, filter, options, identifier, wish) => self.with(session, |session| {
                session.subscriptions.insert(filter, (options, identifier, wish));
            }),
            Told::Unsubscribed(session, filter) => self.with(session, |session| {
                session.subscriptions.remove(&filter);
                session.replays.remove(&filter);
            }),
            Told::Queued(recipient, place) => self.queue(recipient, place),
            Told::Settled(session, sequence) => self.with(session, |session| {
                session.saw(sequence);
                session.entries.remove(&sequence);
            }),
            Told::Released(session, sequence) => self.with(session, |session| {
                session.saw(sequence);
                session.entries.insert(sequence, EntryState::Released);
            }),
            Told::Received(session, id) => self.with(session, |session| {
                session.received.insert(id);
            }),
            Told::Unreceived(session, id) => self.with(session, |session| {
                session.received.remove(&id);
            }),
            Told::Retained { place, topic, publisher } => {
                self.retained.insert(topic, RetainedState { place, publisher });
            }
            Told::Unretained(topic) => drop(self.retained.remove(&topic)),
            Told::Relocated { from, to } => drop(self.relocated.insert(from, to)),
            Told::Replaying(session, filter, from) => self.with(session, |session| drop(session.replays.insert(filter, from))),
            Told::Replayed(session, filter) => self.with(session, |session| drop(session.replays.remove(&filter))),
            Told::Checkpoint { next_session, .. } => self.next_session = self.next_session.max(next_session),
            Told::Removed(segment) => drop(self.removed.insert(segment)),
            Told::Work { stream, place, content } => self.work.apply(stream, place, &content),
            Told::Body | Told::Commit { .. } | Told::CheckpointEnd(_) => {}
        }
    }

    fn queue(&mut self, recipient: Recipient, place: Place) {
        let number = recipient.session;
        match self.sessions.get_mut(&number) {
            Some(session) => session.queue(recipient, place),
            None => {
                // Whoever gets the number after a crash must not get the message.
                self.next_session = self.next_session.max(number + 1);
                self.early.entry(number).or_default().insert(recipient.sequence, (recipient, place));
            }
        }
    }

    fn set_session(&mut self, number: u64, header: SessionHeader) {
        self.next_session = self.next_session.max(number + 1);
        match self.sessions.get_mut(&number) {
            Some(session) => {
                session.next_sequence = session.next_sequence.max(header.next_sequence);
                if header.revision >= session.header.revision {
                    session.header = header;
                }
            }
            None => {
                let session = self.sessions.entry(number).or_insert_with(|| SessionState::new(header));
                let early = self.early.remove(&number).unwrap_or_default();
                early.into_values().for_each(|(recipient, place)| session.queue(recipient, place));
            }
        }
    }

    fn with(&mut self, session: u64, work: impl FnOnce(&mut SessionState)) {
        if let Some(session) = self.sessions.get_mut(&session) {
            work(session);
        }
    }

    /// Brings all places up to date: bodies that were moved are where they were moved to.
    pub(super) fn settle_places(&mut self) {
        self.early.clear();
        self.follow_bodies();
        self.bury();
    }

    fn follow_bodies(&mut self) {
        let relocated = std::mem::take(&mut self.relocated);
        if relocated.is_empty() {
            return;
        }
        let places =
            self.sessions.values_mut().flat_map(|session| session.entries.values_mut()).filter_map(|entry| match entry {
                EntryState::Waiting(_, place) => Some(place),
                EntryState::Released => None,
            });
        let follow = |place: &mut Place| {
            while let Some(to) = relocated.get(place) {
                *place = *to;
            }
        };
        places.chain(self.retained.values_mut().map(|retained| &mut retained.place)).for_each(follow);
        self.work.move_places(&mut |place| follow(place));
    }

    /// A segment is removed once nobody in memory waits for what is in it: whoever seems to is done with it, and the record that says so
    /// was not written.
    fn bury(&mut self) {
        let removed = std::mem::take(&mut self.removed);
        for session in self.sessions.values_mut() {
            session.entries.retain(|_, entry| match entry {
                EntryState::Waiting(recipient, place) if removed.contains(&place.segment) => {
                    // PUBREC may have come: a PUBREL too many does no harm, one too few leaves the identifier in use for ever.
                    let may_be_released = recipient.qos == QoS::ExactlyOnce;
                    *entry = EntryState::Released;
                    may_be_released
                }
                EntryState::Waiting(..) | EntryState::Released => true,
            });
        }
        self.retained.retain(|_, retained| !removed.contains(&retained.place.segment));
        self.work.forget(&|place| removed.contains(&place.segment));
    }

    /// All places where a body must be, each once, in their order.
    pub(super) fn places(&self) -> Vec<Place> {
        let entries = self.sessions.values().flat_map(|session| session.entries.values());
        let waiting = entries.filter_map(|entry| match entry {
            EntryState::Waiting(_, place) => Some(*place),
            EntryState::Released => None,
        });
        let mut places: Vec<_> = waiting.chain(self.retained.values().map(|retained| retained.place)).collect();
        self.work.places(&mut |place| places.push(place));
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Forgets what lies at the places for which `is_lost` says so. Returns how many messages and retained messages that were.
    pub(super) fn forget(&mut self, is_lost: impl Fn(&Place) -> bool) -> (usize, usize) {
        let mut messages = self.work.forget(&is_lost);
        for session in self.sessions.values_mut() {
            let before = session.entries.len();
            session.entries.retain(|_, entry| !matches!(entry, EntryState::Waiting(_, place) if is_lost(place)));
            messages += before - session.entries.len();
        }
        let before = self.retained.len();
        self.retained.retain(|_, retained| !is_lost(&retained.place));
        (messages, before - self.retained.len())
    }

    /// Messages that wait for a session, each counted for each session.
    pub fn waiting(&self) -> usize {
        self.sessions.values().map(|session| session.entries.len()).sum()
    }

    /// The session of a client identifier, for tests and tools.
    pub fn session_of(&self, client_id: &str) -> Option<&SessionState> {
        self.sessions.values().find(|session| session.header.client_id == Arc::from(client_id))
    }
}
