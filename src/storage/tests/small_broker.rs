//! As much of a broker as the journal can see.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::promises::{Key, Promises, Value};
use super::*;
use crate::packet::{PacketId, RetainHandling, SubscriptionOptions, TopicFilter};
use crate::storage::fake::Random;

#[derive(Debug)]
pub(super) struct SmallBroker {
    pub(super) sessions: BTreeMap<u64, Session>,
    pub(super) retained: BTreeMap<String, Retained>,
    pub(super) journal: Arc<Journal<u64>>,
    /// What two threads have gathered.
    pub(super) hands: [Transaction<u64>; 2],
    pub(super) promises: Promises,
    pub(super) random: Random,
    pub(super) messages: u64,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) header: SessionHeader,
    pub(super) subscriptions: BTreeMap<TopicFilter, (SubscriptionOptions, Option<u32>)>,
    pub(super) replays: BTreeMap<TopicFilter, Option<Box<str>>>,
    pub(super) entries: BTreeMap<u64, Entry>,
    /// The transaction that tells of it, until it is safe.
    pub(super) received: BTreeMap<PacketId, Option<u64>>,
}

#[derive(Debug)]
pub(super) enum Entry {
    Waiting(Recipient, Arc<Body>),
    Released,
}

#[derive(Debug)]
pub(super) struct Retained {
    pub(super) publisher: Publisher,
    pub(super) body: Arc<Body>,
}

const TOPICS: [&str; 5] = ["a", "a/b", "c", "d/e/f", "g"];
const FILTERS: [&str; 4] = ["a/#", "+", "d/e/f", "$share/g/c"];
const SESSIONS_MAX: usize = 6;
/// The hand of what is told without waiting for the rest.
const AT_ONCE: usize = 2;

impl SmallBroker {
    pub(super) fn new(opened: &Opened<u64>, seed: u64, promises: Promises, messages: u64) -> Self {
        let State { sessions, retained, .. } = &opened.state;
        let body = |place: &Place| opened.bodies[place].clone();
        let entry = |entry: &EntryState| match entry {
            EntryState::Waiting(recipient, place) => Entry::Waiting(recipient.clone(), body(place)),
            EntryState::Released => Entry::Released,
        };
        let session = |session: &SessionState| Session {
            header: SessionHeader { next_sequence: session.next_sequence, ..session.header.clone() },
            subscriptions: session
                .subscriptions
                .iter()
                .map(|(filter, (options, id, _))| (filter.clone(), (*options, *id)))
                .collect(),
            replays: session.replays.clone(),
            entries: session.entries.iter().map(|(sequence, state)| (*sequence, entry(state))).collect(),
            received: session.received.iter().map(|id| (*id, None)).collect(),
        };
        let retained = retained.iter().map(|(topic, retained)| {
            (topic.to_string(), Retained { publisher: retained.publisher.clone(), body: body(&retained.place) })
        });
        Self {
            sessions: sessions.iter().map(|(number, state)| (*number, session(state))).collect(),
            retained: retained.collect(),
            journal: opened.committer.journal().clone(),
            hands: Default::default(),
            promises,
            random: Random(seed),
            messages,
        }
    }

    /// Does something, or nothing if it cannot be done.
    pub(super) fn act(&mut self) {
        match self.random.below(20) {
            0 | 1 => self.open_session(),
            2 if self.random.one_in(3) => self.end_session(),
            2 | 3 => self.change_session(),
            4 => self.subscribe(),
            5 => self.unsubscribe(),
            6..11 => self.publish(),
            11 => self.clear(),
            12 => self.queue_retained(),
            13 => self.hand_over(),
            14 => self.unreceive(),
            15..19 => self.settle(),
            _ => self.replay(),
        }
        self.go_on();
    }

    /// Both threads come to the end of their turns, sooner or later.
    pub(super) fn go_on(&mut self) {
        for hand in 0..2 {
            if self.random.one_in(2) {
                self.submit(hand);
            }
        }
    }

    pub(super) fn submit(&mut self, hand: usize) {
        let number = self.promises.give(hand);
        let level = self.random.pick(&[None, Some(Level::Os), Some(Level::Sync)]);
        if let Some(level) = level {
            self.hands[hand].wait(number, level);
        }
        self.journal.submit(&mut self.hands[hand]);
    }

    /// The committer has let these go; `is_synced`: those who waited for the disk.
    pub(super) fn released(&mut self, transactions: &[u64], is_synced: bool) {
        for transaction in transactions {
            if is_synced {
                self.promises.is_synced(*transaction);
                self.mark_received(*transaction);
            } else {
                self.promises.is_written(*transaction);
            }
        }
    }

    fn mark_received(&mut self, safe: u64) {
        let received = self.sessions.values_mut().flat_map(|session| session.received.values_mut());
        received.filter(|transaction| transaction.is_some_and(|number| number <= safe)).for_each(|it| *it = None);
    }

    fn tell(&mut self, hand: usize, record: Record) {
        self.hands[hand].record(record);
    }

    fn note(&mut self, key: Key, value: Value) -> usize {
        self.promises.note(0, key, value)
    }

    fn some_session(&mut self) -> Option<u64> {
        let numbers: Vec<_> = self.sessions.keys().copied().collect();
        (!numbers.is_empty()).then(|| self.random.pick(&numbers))
    }

    fn open_session(&mut self) {
        if self.sessions.len() >= SESSIONS_MAX {
            return;
        }
        let number = self.journal.next_session();
        assert!(!self.sessions.contains_key(&number), "no session has had the number");
        let header = SessionHeader {
            mount_point: self.random.one_in(3).then(|| "tenant".into()),
            client_id: format!("client {number}").into(),
            username: self.random.one_in(2).then(|| "user".into()),
            listener: "127.0.0.1:1883".into(),
            expiry_interval: self.random.below(1000) as u32,
            state: OnlineState::Online,
            will: None,
            next_sequence: 0,
            first_unsent: 0,
            revision: 0,
        };
        let session = Session {
            header,
            subscriptions: BTreeMap::new(),
            replays: BTreeMap::new(),
            entries: BTreeMap::new(),
            received: BTreeMap::new(),
        };
        self.sessions.insert(number, session);
        self.tell_header(number);
    }

    fn tell_header(&mut self, number: u64) {
        let header = self.sessions[&number].header.clone();
        self.note(Key::Session(number), Some(header_in_words(&header)));
        self.tell(0, Record::Session { session: number, header: Box::new(header) });
    }

    fn change_session(&mut self) {
        let Some(number) = self.some_session() else { return };
        let will = self.random.one_in(3).then(|| StoredWill {
            message: message("will", format!("{}", self.messages).as_bytes(), QoS::AtLeastOnce),
            delay_interval: 5,
            message_expiry_interval: self.random.one_in(2).then_some(0),
            due_at: self.random.one_in(2).then_some(WALL + 5000),
        });
        let expires_at = self.random.one_in(2).then_some(WALL + 1000);
        let state = self.random.pick(&[OnlineState::Online, OnlineState::Offline { expires_at }]);
        let header = &mut self.sessions.get_mut(&number).unwrap().header;
        (header.will, header.state) = (will, state);
        self.tell_header(number);
    }

    fn end_session(&mut self) {
        let Some(number) = self.some_session() else { return };
        let words = HashMap::new();
        let keys: Vec<_> = self.sessions[&number].in_words(number, &words).map(|(key, _)| key).collect();
        for key in keys {
            self.note(key, None);
        }
        self.sessions.remove(&number);
        self.tell(0, Record::SessionEnded { session: number });
    }

    fn subscribe(&mut self) {
        let Some(session) = self.some_session() else { return };
        let filter = TopicFilter::new(self.random.pick(&FILTERS)).unwrap();
        let options = SubscriptionOptions {
            qos: self.random.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]),
            no_local: self.random.one_in(2),
            retain_as_published: self.random.one_in(2),
            retain_handling: self.random.pick(&[RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend]),
        };
        let identifier = self.random.one_in(2).then(|| 1 + self.random.below(1000) as u32);
        let there = self.sessions.get_mut(&session).unwrap();
        there.subscriptions.insert(filter.clone(), (options, identifier));
        self.note(Key::Subscription(session, filter.as_str().into()), Some(format!("{options:?} {identifier:?}")));
        self.tell(0, Record::Subscribed { session, filter, options, identifier, wish: ConsumerWish::default() });
    }

    fn unsubscribe(&mut self) {
        let Some(session) = self.some_session() else { return };
        let there = self.sessions.get_mut(&session).unwrap();
        let Some((filter, _)) = there.subscriptions.pop_first() else { return };
        there.replays.remove(&filter);
        self.note(Key::Subscription(session, filter.as_str().into()), None);
        self.note(Key::Replay(session, filter.as_str().into()), None);
        self.tell(0, Record::Unsubscribed { session, filter });
    }

    fn replay(&mut self) {
        let Some(session) = self.some_session() else { return };
        let from = self.random.pick(&[None, Some("a"), Some("c")]).map(Box::<str>::from);
        let is_over = self.random.one_in(2);
        let there = self.sessions.get_mut(&session).unwrap();
        let Some(filter) = there.subscriptions.keys().next().cloned() else { return };
        let key = Key::Replay(session, filter.as_str().into());
        if is_over {
            there.replays.remove(&filter);
            self.note(key, None);
            self.tell(0, Record::Replayed { session, filter });
        } else {
            there.replays.insert(filter.clone(), from.clone());
            self.note(key, Some(format!("{from:?}")));
            self.tell(0, Record::Replaying { session, filter, from });
        }
    }

    fn publish(&mut self) {
        self.messages += 1;
        let topic = self.random.pick(&TOPICS);
        let length = self.random.pick(&[0, 10, 100, 600, 3000]);
        let mut payload = format!("{}:", self.messages).into_bytes();
        payload.extend((0..length).map(|_| self.random.number() as u8));
        let qos = self.random.pick(&[QoS::AtLeastOnce, QoS::ExactlyOnce]);
        let body = Body::new(message(topic, &payload, qos));
        let id = self.messages;
        let retains = self.random.one_in(3);
        let hand = if retains { self.random.below(2) } else { 0 };
        // First, and told together with what it takes the place of, as the broker does it.
        if retains {
            self.retain(hand, topic, body.clone(), id);
        }
        let keys = self.deliver(hand, &body, id, false);
        if qos == QoS::ExactlyOnce && hand == 0 {
            self.receive(hand, &body, keys);
        }
    }

    /// Queues it for some sessions.
    fn deliver(&mut self, hand: usize, body: &Arc<Body>, id: u64, retain: bool) -> Vec<Key> {
        let numbers: Vec<_> = self.sessions.keys().copied().collect();
        let odds = 1 + self.random.below(4);
        let chosen: Vec<_> = numbers.into_iter().filter(|_| self.random.one_in(odds)).collect();
        chosen.into_iter().map(|number| self.queue(hand, number, body, id, retain)).collect()
    }

    fn queue(&mut self, hand: usize, number: u64, body: &Arc<Body>, id: u64, retain: bool) -> Key {
        let notes = Notes { identifiers: [7, 300].into_iter().collect(), share: TopicFilter::new("$share/g/c").ok() };
        let session = self.sessions.get_mut(&number).unwrap();
        let sequence = session.header.next_sequence;
        session.header.next_sequence += 1;
        let notes = self.random.one_in(3).then(|| Arc::new(notes));
        let recipient = Recipient { session: number, sequence, qos: body.qos(), retain, notes };
        session.entries.insert(sequence, Entry::Waiting(recipient.clone(), body.clone()));
        let key = Key::Entry(number, sequence);
        self.promises.note(hand, key.clone(), Some(recipient_in_words(&recipient, id)));
        if let Some(item) = body.add(recipient) {
            self.hands[hand].push(item);
        }
        key
    }

    /// It came in by a QoS 2 exchange.
    fn receive(&mut self, hand: usize, body: &Arc<Body>, keys: Vec<Key>) {
        let Some(session) = self.some_session() else { return };
        let id = PacketId::new(1 + self.random.below(5) as u16).unwrap();
        let received = &mut self.sessions.get_mut(&session).unwrap().received;
        if received.contains_key(&id) {
            return;
        }
        received.insert(id, Some(u64::MAX));
        let key = Key::Received(session, id.get());
        let change = self.promises.note(hand, key.clone(), Some("received".into()));
        self.promises.implies(change, (key, true), keys);
        if let Some(item) = body.came_by(session, id) {
            self.hands[hand].push(item);
        }
        let number = self.promises.give(hand);
        self.sessions.get_mut(&session).unwrap().received.insert(id, Some(number));
        self.hands[hand].wait(number, Level::Sync);
        self.journal.submit(&mut self.hands[hand]);
    }

    fn unreceive(&mut self) {
        let Some(session) = self.some_session() else { return };
        let received = &mut self.sessions.get_mut(&session).unwrap().received;
        let Some((packet_id, _)) = received.iter().find(|(_, transaction)| transaction.is_none()) else { return };
        let packet_id = *packet_id;
        received.remove(&packet_id);
        self.note(Key::Received(session, packet_id.get()), None);
        self.tell(0, Record::Unreceived { session, packet_id });
    }

    fn retain(&mut self, hand: usize, topic: &str, body: Arc<Body>, id: u64) {
        if body.place().is_some() {
            return; // It was given to the journal, and has had its turn.
        }
        let client = self.random.one_in(2).then(|| PublishingClient {
            client_id: "publisher".into(),
            username: self.random.one_in(2).then(|| "user".into()),
            listener: "127.0.0.1:1883".into(),
        });
        let publisher = Publisher { client };
        if let Some(item) = body.retain(Arc::new(publisher.clone())) {
            self.hands[hand].push(item);
        }
        self.promises.note(hand, Key::Retained(topic.into()), Some(retained_in_words(&publisher, id)));
        if let Some(old) = self.retained.insert(topic.into(), Retained { publisher, body }) {
            self.hands[hand].push(old.body.unretain());
        }
    }

    fn clear(&mut self) {
        let topic = self.random.pick(&TOPICS);
        let Some(old) = self.retained.remove(topic) else { return };
        self.promises.note(AT_ONCE, Key::Retained(topic.into()), None);
        self.promises.give(AT_ONCE);
        let record = Record::Unretained { topic: topic.into() };
        self.journal.tell_together([Item::Record(record), old.body.unretain()]);
    }

    /// A retained message goes to new subscribers.
    fn queue_retained(&mut self) {
        let topics: Vec<_> = self.retained.keys().cloned().collect();
        if topics.is_empty() {
            return;
        }
        self.submit(1);
        let topic = &topics[self.random.below(topics.len())];
        let body = self.retained[topic].body.clone();
        let id = self.id_of(&body);
        self.deliver(0, &body, id, true);
    }

    fn id_of(&self, body: &Arc<Body>) -> u64 {
        id_in(load(std::slice::from_ref(body), &self.journal.clock).unwrap().0[0].view().payload)
    }

    /// A session is done with a message, or has it as its own.
    fn settle(&mut self) {
        let Some(session) = self.some_session() else { return };
        let there = self.sessions.get_mut(&session).unwrap();
        let count = there.entries.len().min(3);
        if count == 0 {
            return;
        }
        let sequence = *there.entries.keys().nth(self.random.below(count)).unwrap();
        let key = Key::Entry(session, sequence);
        match there.entries.remove(&sequence).unwrap() {
            Entry::Waiting(recipient, body) if recipient.qos == QoS::ExactlyOnce && body.place().is_some() => {
                there.entries.insert(sequence, Entry::Released);
                self.note(key, Some("released".into()));
                self.tell(0, Record::Released { session, sequence });
            }
            Entry::Waiting(_, body) => {
                self.note(key, None);
                if !body.settle(session, sequence) {
                    self.tell(0, Record::Settled { session, sequence });
                }
            }
            Entry::Released => {
                self.note(key, None);
                self.tell(0, Record::Settled { session, sequence });
            }
        }
    }

    /// The message of a consumer that goes away goes to another.
    fn hand_over(&mut self) {
        let (Some(from), Some(to)) = (self.some_session(), self.some_session()) else { return };
        let waiting = self.sessions[&from].entries.iter().find_map(|(sequence, entry)| match entry {
            Entry::Waiting(_, body) => Some((*sequence, body.clone())),
            Entry::Released => None,
        });
        let Some((sequence, body)) = waiting.filter(|_| from != to) else { return };
        self.submit(1);
        let id = self.id_of(&body);
        // First the new one: a message must not be without anybody in between.
        let new = self.queue(0, to, &body, id, false);
        self.sessions.get_mut(&from).unwrap().entries.remove(&sequence);
        let key = Key::Entry(from, sequence);
        let change = self.note(key.clone(), None);
        self.promises.implies(change, (key, false), vec![new]);
        if !body.settle(from, sequence) {
            self.tell(0, Record::Settled { session: from, sequence });
        }
    }

    /// All that survives, in words.
    pub(super) fn in_words(&self) -> HashMap<Key, String> {
        let ids: HashMap<_, _> = self.bodies().map(|body| (Arc::as_ptr(body), self.id_of(body))).collect();
        let sessions = self.sessions.iter().flat_map(|(number, session)| session.in_words(*number, &ids));
        let retained = self.retained.iter().map(|(topic, retained)| {
            (Key::Retained(topic.clone()), retained_in_words(&retained.publisher, ids[&Arc::as_ptr(&retained.body)]))
        });
        sessions.chain(retained).collect()
    }

    /// The bodies that somebody waits for, as often as somebody does.
    pub(super) fn bodies(&self) -> impl Iterator<Item = &Arc<Body>> {
        let entries = self.sessions.values().flat_map(|session| session.entries.values());
        let waiting = entries.filter_map(|entry| match entry {
            Entry::Waiting(_, body) => Some(body),
            Entry::Released => None,
        });
        waiting.chain(self.retained.values().map(|retained| &retained.body))
    }
}

impl Session {
    fn in_words(&self, number: u64, ids: &HashMap<*const Body, u64>) -> impl Iterator<Item = (Key, String)> {
        let subscriptions = self.subscriptions.iter().map(move |(filter, (options, identifier))| {
            (Key::Subscription(number, filter.as_str().into()), format!("{options:?} {identifier:?}"))
        });
        let replays =
            self.replays.iter().map(move |(filter, from)| (Key::Replay(number, filter.as_str().into()), format!("{from:?}")));
        let received = self.received.keys().map(move |id| (Key::Received(number, id.get()), "received".into()));
        let entries = self.entries.iter().map(move |(sequence, entry)| {
            let words = match entry {
                Entry::Waiting(recipient, body) => {
                    recipient_in_words(recipient, ids.get(&Arc::as_ptr(body)).copied().unwrap_or(0))
                }
                Entry::Released => "released".into(),
            };
            (Key::Entry(number, *sequence), words)
        });
        let session = std::iter::once((Key::Session(number), header_in_words(&self.header)));
        session.chain(subscriptions).chain(replays).chain(received).chain(entries)
    }

    pub(super) fn show(&self, number: u64, walker: &mut Walker<'_>) {
        walker.session(number, &self.header);
        for (filter, (options, identifier)) in &self.subscriptions {
            walker.subscription(number, filter, (*options, *identifier, ConsumerWish::default()));
        }
        for (filter, from) in &self.replays {
            walker.replaying(number, filter, from.as_deref());
        }
        for (id, transaction) in &self.received {
            if transaction.is_none() {
                walker.received(number, *id);
            }
        }
        for (sequence, entry) in &self.entries {
            match entry {
                Entry::Waiting(recipient, body) => walker.waiting(recipient, body),
                Entry::Released => walker.released(number, *sequence),
            }
        }
    }
}

fn header_in_words(header: &SessionHeader) -> String {
    format!("{:?}", SessionHeader { next_sequence: 0, ..header.clone() })
}

fn recipient_in_words(recipient: &Recipient, id: u64) -> String {
    let Recipient { qos, retain, notes, .. } = recipient;
    format!("message {id} {qos:?} {retain} {notes:?}")
}

fn retained_in_words(publisher: &Publisher, id: u64) -> String {
    format!("message {id} of {publisher:?}")
}

/// The number in a payload.
fn id_in(payload: &[u8]) -> u64 {
    let digits = payload.split(|byte| *byte == b':').next().unwrap();
    std::str::from_utf8(digits).unwrap().parse().unwrap()
}
