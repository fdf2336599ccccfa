//! What a broker has promised, and what may be found after a crash.

use std::collections::{BTreeMap, HashMap};

/// One thing that survives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    Session(u64),
    Subscription(u64, String),
    Replay(u64, String),
    Entry(u64, u64),
    Received(u64, u16),
    Retained(String),
}

/// What it is, in words; `None`: it is not there.
pub(super) type Value = Option<String>;

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Kill,
    PowerCut,
}

/// The values that each thing had since the last one that was promised, the latest last.
#[derive(Debug, Default)]
pub(super) struct Promises {
    histories: BTreeMap<Key, Vec<(usize, Value)>>,
    /// With which transaction each change was given to the journal.
    given: Vec<u64>,
    /// Changes that lie in one of the threads' hands.
    in_hand: [Vec<usize>; 3],
    transactions: u64,
    /// All transactions up to these were told to survive a power cut, and the end of the process.
    synced: u64,
    written: u64,
    /// If one thing is there because of this change, the others are, or were.
    implications: Vec<Implication>,
}

#[derive(Debug)]
struct Implication {
    change: usize,
    /// That the change is what is found: this is or is not there.
    sign: (Key, bool),
    others: Vec<Key>,
}

const NEVER: u64 = u64::MAX;

impl Promises {
    /// A change in memory that a thread has still to give to the journal. Returns its number.
    pub(super) fn note(&mut self, hand: usize, key: Key, value: Value) -> usize {
        if self.given.is_empty() {
            self.given.push(0); // What was so before the first change.
        }
        let change = self.given.len();
        self.given.push(NEVER);
        self.in_hand[hand].push(change);
        self.histories.entry(key).or_insert_with(|| vec![(0, None)]).push((change, value));
        change
    }

    /// If a crash leaves `sign` as this change made it, then the others must be there, unless they ended later.
    pub(super) fn implies(&mut self, change: usize, sign: (Key, bool), others: Vec<Key>) {
        self.implications.push(Implication { change, sign, others });
    }

    /// The number of the transaction that a thread gives to the journal now.
    pub(super) fn give(&mut self, hand: usize) -> u64 {
        self.transactions += 1;
        for change in self.in_hand[hand].drain(..) {
            self.given[change] = self.transactions;
        }
        self.transactions
    }

    pub(super) fn is_synced(&mut self, transaction: u64) {
        self.synced = self.synced.max(transaction);
        self.written = self.written.max(transaction);
    }

    pub(super) fn is_written(&mut self, transaction: u64) {
        self.written = self.written.max(transaction);
    }

    /// Holds what was found after a crash against the promises; from now on, what was found is what was promised.
    pub(super) fn check(&mut self, found: &HashMap<Key, String>, end: End) {
        let safe = if end == End::PowerCut { self.synced } else { self.written };
        for (key, value) in found {
            assert!(self.histories.contains_key(key), "{key:?} was never there, and is {value}");
        }
        for (key, history) in &self.histories {
            let promised = history.iter().rposition(|(change, _)| self.is_given_by(*change, safe)).unwrap_or(0);
            let found = found.get(key);
            // A QoS 2 message that nobody waits for any more may come back as one whose PUBREL is due.
            let is_harmless = found.is_some_and(|words| words == "released") && history.last().unwrap().1.is_none();
            // A session that was not promised itself takes along what waits for it: its client has heard of nothing.
            let is_orphan = matches!(key, Key::Entry(session, _) if found.is_none() && !self.is_promised(*session, safe));
            let is_allowed = is_harmless || is_orphan || history[promised..].iter().any(|(_, value)| value.as_ref() == found);
            assert!(is_allowed, "{key:?} after a {end:?}: {found:?} is none of {:?}", &history[promised..]);
        }
        self.check_implications(found, safe);
        let found = found.iter().map(|(key, value)| (key.clone(), vec![(0, Some(value.clone()))]));
        *self = Self { histories: found.collect(), given: vec![0], ..Self::default() };
    }

    fn is_promised(&self, session: u64, safe: u64) -> bool {
        let history = self.histories.get(&Key::Session(session));
        history.is_some_and(|history| history.iter().any(|(change, value)| value.is_some() && self.is_given_by(*change, safe)))
    }

    fn is_given_by(&self, change: usize, transaction: u64) -> bool {
        self.given.get(change).is_none_or(|given| *given <= transaction)
    }

    fn check_implications(&self, found: &HashMap<Key, String>, safe: u64) {
        for Implication { change, sign: (key, is_there), others } in &self.implications {
            let history = &self.histories[key];
            let is_latest = history.last().is_some_and(|(latest, _)| latest == change);
            // What was handed on may not have been promised itself, nor that an identifier was free again.
            let was_promised = history.iter().rev().nth(1).is_some_and(|(before, _)| self.is_given_by(*before, safe));
            if !is_latest || !was_promised || self.is_given_by(*change, safe) || found.contains_key(key) != *is_there {
                continue;
            }
            for other in others {
                let ended = self.histories[other].last().is_none_or(|(_, value)| value.is_none());
                assert!(ended || found.contains_key(other), "{key:?} is there: {is_there}, and {other:?} is not");
            }
        }
    }
}
