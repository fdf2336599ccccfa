use std::collections::BTreeMap;

use super::entries::Entries;
use super::entry::{Lane, PLACE, State};
use super::index::Index;
use super::key::Key;
use super::list::{Linked, Links, List};
use super::slab::{NONE, Slab};

/// What can be delivered next: lines of messages without a key, and lines of keys whose first message can be had. At most one message
/// of a key is leased because its key then stands in no line.
///
/// Each kind has a line for what was never delivered and one for what was, and the four take turns: neither a heap of failures nor a
/// flood of new messages keeps the others waiting, and a key that is busy waits behind all others after each of its messages.
#[derive(Debug, Default)]
pub(super) struct Ready {
    messages: [List<PLACE>; 3],
    keys: KeyTable,
    key_lines: [List<KEYS>; 3],
    /// Which line is next.
    pub(super) turn: usize,
    /// Messages, and keys, that are set aside.
    parked: [usize; 2],
    /// Keys that stand still because of a dead message, with its number; in an order, so that they can be shown in pieces.
    pub(super) blocked: BTreeMap<Key, u64>,
}

/// What stands in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Message(u32),
    Key(u32),
}

const KEYS: usize = 0;

/// Of what is set aside.
const MESSAGE: usize = 0;
const KEY: usize = 1;

/// The keys that have messages.
#[derive(Debug)]
struct KeyTable {
    slab: Slab<KeyEntry>,
    index: Index,
}

#[derive(Debug)]
struct KeyEntry {
    key: Key,
    messages: List<PLACE>,
    links: Links,
    lane: Lane,
    /// Messages of it, those that wait for a delay of their publisher included.
    len: u32,
}

impl Default for KeyTable {
    fn default() -> Self {
        Self { slab: Slab::new(), index: Index::default() }
    }
}

impl Linked for KeyEntry {
    fn links(&mut self, _: usize) -> &mut Links {
        &mut self.links
    }

    fn next(&self, _: usize) -> u32 {
        self.links.next()
    }
}

impl KeyTable {
    /// The number of a key, for one message more.
    fn intern(&mut self, key: Key) -> u32 {
        if let Some(id) = self.find(key) {
            self.slab[id].len += 1;
            return id;
        }
        let entry = KeyEntry { key, messages: List::default(), links: Links::default(), lane: Lane::None, len: 1 };
        let id = self.slab.insert(entry);
        self.index.insert(key.0, id, |id| self.slab[id].key.0);
        id
    }

    fn find(&self, key: Key) -> Option<u32> {
        self.index.find(key.0, |id| self.slab[id].key == key)
    }

    /// One message of it less; the last takes it along.
    fn release(&mut self, id: u32) {
        self.slab[id].len -= 1;
        if self.slab[id].len > 0 {
            return;
        }
        let key = self.slab.remove(id).key;
        self.index.remove(key.0, id);
    }
}

impl Ready {
    pub(super) fn intern(&mut self, key: Key) -> u32 {
        self.keys.intern(key)
    }

    pub(super) fn key(&self, id: u32) -> Option<Key> {
        (id != NONE).then(|| self.keys.slab[id].key)
    }

    /// Keys that have messages.
    pub(super) const fn keys(&self) -> usize {
        self.keys.slab.len()
    }

    /// Messages, and keys, that are set aside.
    pub(super) const fn parked(&self) -> [usize; 2] {
        self.parked
    }

    /// Puts a message where its state says: into a line, or among those of its key.
    pub(super) fn place<B>(&mut self, entries: &mut Entries<B>, id: u32) {
        let entry = &entries.slab[id];
        let lane = if entry.is_first { Lane::Again } else { Lane::Fresh };
        if entry.key == NONE {
            if entry.state == State::Ready {
                self.enter_message(entries, id, lane);
            }
            return;
        }
        // A delay of the publisher is over before the message takes its place; after a failure it keeps the one it has.
        let keeps_place = entry.state != State::Waiting || entry.is_first;
        if keeps_place && !entry.is_in_key {
            self.join_key(entries, id);
        }
        self.update_key(entries, entries.slab[id].key, lane);
    }

    /// Takes a message out of line, and out of its key.
    pub(super) fn remove<B>(&mut self, entries: &mut Entries<B>, id: u32) {
        let key = entries.slab[id].key;
        if key == NONE {
            return self.leave_message(entries, id);
        }
        if std::mem::take(&mut entries.slab[id].is_in_key) {
            let was_first = self.keys.slab[key].messages.front() == Some(id);
            self.keys.slab[key].messages.remove(&mut entries.slab, id);
            if was_first {
                self.leave_key(key);
                self.update_key(entries, key, Lane::Fresh);
            }
        }
        self.keys.release(key);
    }

    /// Takes what is to be delivered out of line; a key stays there until its message is settled.
    pub(super) fn lease<B>(&mut self, entries: &mut Entries<B>, unit: Unit) {
        match unit {
            Unit::Message(id) => self.leave_message(entries, id),
            Unit::Key(key) => self.leave_key(key),
        }
    }

    /// The next in line, whose turn it is. It stays there.
    pub(super) fn next(&mut self) -> Option<Unit> {
        let turns = (0..4).map(|step| (self.turn + step) % 4);
        let found = turns.map(|turn| (turn, self.front(turn))).find_map(|(turn, unit)| Some((turn, unit?)));
        let (turn, unit) = found?;
        self.turn = turn + 1;
        Some(unit)
    }

    /// The message that a unit would deliver.
    pub(super) fn message_of(&self, unit: Unit) -> u32 {
        match unit {
            Unit::Message(id) => id,
            Unit::Key(key) => self.keys.slab[key].messages.front().expect("a key in line has a message"),
        }
    }

    /// Sets aside what no consumer with room may have, behind others like it.
    pub(super) fn park<B>(&mut self, entries: &mut Entries<B>, unit: Unit) {
        self.lease(entries, unit);
        match unit {
            Unit::Message(id) => self.enter_message(entries, id, Lane::Parked),
            Unit::Key(key) => self.enter_key(key, Lane::Parked),
        }
    }

    /// The first of those set aside: a message, or a key.
    pub(super) fn next_parked(&self, kind: usize) -> Option<Unit> {
        match kind {
            MESSAGE => self.messages[2].front().map(Unit::Message),
            _ => self.key_lines[2].front().map(Unit::Key),
        }
    }

    pub(super) fn block<B>(&mut self, entries: &mut Entries<B>, key: Key, by: u64) {
        self.blocked.insert(key, by);
        if let Some(id) = self.keys.find(key) {
            self.update_key(entries, id, Lane::Fresh);
        }
    }

    /// Whether it had been blocked.
    pub(super) fn unblock<B>(&mut self, entries: &mut Entries<B>, key: Key) -> bool {
        let was_blocked = self.blocked.remove(&key).is_some();
        if let Some(id) = self.keys.find(key) {
            self.update_key(entries, id, Lane::Fresh);
        }
        was_blocked
    }

    fn front(&self, turn: usize) -> Option<Unit> {
        match turn {
            0 | 2 => self.messages[turn / 2].front().map(Unit::Message),
            _ => self.key_lines[turn / 2].front().map(Unit::Key),
        }
    }

    fn join_key<B>(&mut self, entries: &mut Entries<B>, id: u32) {
        let entry = &mut entries.slab[id];
        entry.is_in_key = true;
        let (key, seq, is_first) = (entry.key, entry.seq, entry.is_first);
        let messages = &mut self.keys.slab[key].messages;
        if !is_first {
            return messages.push_back(&mut entries.slab, id);
        }
        let is_behind = |other: &u32| !(entries.slab[*other].is_first && entries.slab[*other].seq < seq);
        let before = messages.iter(&entries.slab).find(is_behind).unwrap_or(NONE);
        messages.insert_before(&mut entries.slab, id, before);
    }

    /// Puts a key in line if its first message can be had, and takes it out if not.
    fn update_key<B>(&mut self, entries: &Entries<B>, id: u32, lane: Lane) {
        let entry = &self.keys.slab[id];
        let first = entry.messages.front();
        let is_ready = first.is_some_and(|first| entries.slab[first].state == State::Ready);
        let is_ready = is_ready && (self.blocked.is_empty() || !self.blocked.contains_key(&entry.key));
        match (is_ready, entry.lane) {
            (true, Lane::None) => self.enter_key(id, lane),
            (false, Lane::Fresh | Lane::Again | Lane::Parked) => self.leave_key(id),
            _ => {}
        }
    }

    fn enter_key(&mut self, id: u32, lane: Lane) {
        let Some(line) = line_of(lane) else { return };
        self.parked[KEY] += usize::from(lane == Lane::Parked);
        self.keys.slab[id].lane = lane;
        self.key_lines[line].push_back(&mut self.keys.slab, id);
    }

    fn leave_key(&mut self, id: u32) {
        let lane = std::mem::replace(&mut self.keys.slab[id].lane, Lane::None);
        let Some(line) = line_of(lane) else { return };
        self.parked[KEY] -= usize::from(lane == Lane::Parked);
        self.key_lines[line].remove(&mut self.keys.slab, id);
    }

    fn enter_message<B>(&mut self, entries: &mut Entries<B>, id: u32, lane: Lane) {
        let Some(line) = line_of(lane) else { return };
        self.parked[MESSAGE] += usize::from(lane == Lane::Parked);
        entries.slab[id].lane = lane;
        self.messages[line].push_back(&mut entries.slab, id);
    }

    fn leave_message<B>(&mut self, entries: &mut Entries<B>, id: u32) {
        let lane = std::mem::replace(&mut entries.slab[id].lane, Lane::None);
        let Some(line) = line_of(lane) else { return };
        self.parked[MESSAGE] -= usize::from(lane == Lane::Parked);
        self.messages[line].remove(&mut entries.slab, id);
    }
}

const fn line_of(lane: Lane) -> Option<usize> {
    match lane {
        Lane::None => None,
        Lane::Fresh => Some(0),
        Lane::Again => Some(1),
        Lane::Parked => Some(2),
    }
}
