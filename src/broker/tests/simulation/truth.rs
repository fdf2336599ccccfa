//! What must be so: sessions, subscriptions, wills and who gets which message, in plain maps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::packet::QoS;

/// A message, by its number, which is its payload.
pub type Number = usize;

/// All sessions that ever were; the index is a session's name.
#[derive(Default)]
pub struct Truth {
    pub sessions: Vec<Session>,
    pub groups: BTreeMap<String, Group>,
    pub messages: Vec<Told>,
    /// Payloads of the wills that are published, in order.
    pub wills: Vec<String>,
    pub retained: BTreeSet<String>,
}

#[derive(Clone)]
pub struct Told {
    pub topic: String,
    pub qos: QoS,
}

#[derive(Default)]
pub struct Session {
    pub device: usize,
    pub is_alive: bool,
    /// The task that is its connection.
    pub online: Option<usize>,
    expiry: u32,
    ends_at: Option<Instant>,
    will: Option<Will>,
    pub subscriptions: BTreeMap<String, QoS>,
    /// Identifiers of QoS 2 messages that were not released.
    pub received: BTreeSet<u16>,
    /// What it is to get by ordinary subscriptions: with which QoS, of how many publishes.
    pub expected: BTreeMap<(Number, QoS), usize>,
    /// What its device got, duplicates of QoS 2 left out.
    pub got: BTreeMap<(Number, QoS), usize>,
}

#[derive(Clone)]
pub struct Will {
    pub payload: String,
    pub delay: u32,
    due: Option<Instant>,
}

/// A shared subscription.
#[derive(Default)]
pub struct Group {
    /// All that ever were in it.
    pub members: BTreeSet<usize>,
    pub expected: BTreeMap<Number, Shared>,
}

pub struct Shared {
    pub qos: QoS,
    pub publishes: usize,
    /// It may be lost: whoever had it went away for good.
    pub is_exempt: bool,
}

impl Will {
    pub fn new(payload: String, delay: u32) -> Self {
        Self { payload, delay, due: None }
    }
}

impl Session {
    /// Whether it outlives its connection.
    pub fn has_expiry(&self) -> bool {
        self.expiry != 0
    }
}

/// For ever.
const NEVER: u32 = u32::MAX;

impl Truth {
    pub fn live(&self) -> impl Iterator<Item = (usize, &Session)> {
        self.sessions.iter().enumerate().filter(|(_, session)| session.is_alive)
    }

    pub fn of_device(&self, device: usize) -> Option<usize> {
        self.live().find(|(_, session)| session.device == device).map(|(name, _)| name)
    }

    /// A CONNECT is let in. Which session it gets, and whether that was there.
    pub fn open(&mut self, device: usize, task: usize, clean: bool, expiry: u32, will: Option<Will>) -> (usize, bool) {
        let there = self.of_device(device);
        let resumed = there.filter(|name| !clean && self.sessions[*name].expiry != 0);
        if let (Some(name), None) = (there, resumed) {
            self.end(name);
        }
        let name = resumed.unwrap_or_else(|| {
            self.sessions.push(Session { device, is_alive: true, ..Session::default() });
            self.sessions.len() - 1
        });
        let session = &mut self.sessions[name];
        let was_online = session.online.replace(task).is_some();
        let old_will = std::mem::replace(&mut session.will, will);
        session.expiry = expiry;
        session.ends_at = None;
        if let Some(will) = old_will.filter(|will| was_online && will.delay == 0) {
            self.wills.push(will.payload);
        }
        (name, resumed.is_some())
    }

    /// The connection of a session has ended. `goodbye`: whether the will is published, and the session expiry, if that was changed.
    pub fn close(&mut self, name: usize, task: usize, goodbye: Option<(bool, Option<u32>)>, now: Instant) {
        let session = &mut self.sessions[name];
        if !session.is_alive || session.online != Some(task) {
            return;
        }
        session.online = None;
        let (has_will, expiry) = goodbye.unwrap_or((true, None));
        session.expiry = expiry.unwrap_or(session.expiry);
        if !has_will {
            session.will = None;
        }
        if let Some(will) = session.will.take_if(|will| will.delay == 0) {
            self.wills.push(will.payload);
        }
        let session = &mut self.sessions[name];
        if session.expiry == 0 {
            return self.end(name);
        }
        let after = |seconds: u32| now + Duration::from_secs(seconds.into());
        session.ends_at = (session.expiry != NEVER).then(|| after(session.expiry));
        if let Some(will) = &mut session.will {
            will.due = Some(after(will.delay));
        }
    }

    pub fn end(&mut self, name: usize) {
        let session = &mut self.sessions[name];
        session.is_alive = false;
        session.online = None;
        if let Some(will) = session.will.take() {
            self.wills.push(will.payload);
        }
        let session = &mut self.sessions[name];
        session.subscriptions.clear();
        session.received.clear();
        // What a group had given it goes to those who are there, or is lost [MQTT-4.8.2-5].
        for (filter, group) in self.groups.iter_mut().filter(|(_, group)| group.members.contains(&name)) {
            let has_members = self.sessions.iter().any(|session| session.subscriptions.contains_key(filter));
            for shared in group.expected.values_mut() {
                shared.is_exempt |= !has_members || shared.qos == QoS::ExactlyOnce;
            }
        }
    }

    pub fn subscribe(&mut self, name: usize, filter: &str, qos: QoS) {
        let session = &mut self.sessions[name];
        if !session.is_alive {
            return;
        }
        session.subscriptions.insert(filter.into(), qos);
        if filter.starts_with("$share/") {
            self.groups.entry(filter.into()).or_default().members.insert(name);
        }
    }

    pub fn unsubscribe(&mut self, name: usize, filter: &str) {
        self.sessions[name].subscriptions.remove(filter);
    }

    /// A message is the broker's.
    pub fn publish(&mut self, number: Number) {
        let Told { topic, qos } = self.messages[number].clone();
        for session in self.sessions.iter_mut().filter(|session| session.is_alive) {
            let granted =
                session.subscriptions.iter().filter(|(filter, _)| is_match(filter, &topic)).map(|(_, qos)| *qos).max();
            if let Some(granted) = granted {
                *session.expected.entry((number, granted.min(qos))).or_default() += 1;
            }
        }
        for (filter, group) in &mut self.groups {
            let inner = filter.splitn(3, '/').nth(2).unwrap();
            let mut members =
                self.sessions.iter().filter(|session| session.is_alive).filter_map(|session| session.subscriptions.get(filter));
            if let Some(granted) = members.next().filter(|_| is_match(inner, &topic)) {
                let new = Shared { qos: qos.min(*granted), publishes: 0, is_exempt: false };
                group.expected.entry(number).or_insert(new).publishes += 1;
            }
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        for name in 0..self.sessions.len() {
            let session = &mut self.sessions[name];
            if !session.is_alive || session.online.is_some() {
                continue;
            }
            if let Some(will) = session.will.take_if(|will| will.due.is_some_and(|due| due <= now)) {
                self.wills.push(will.payload);
            }
            if self.sessions[name].ends_at.is_some_and(|at| at <= now) {
                self.end(name);
            }
        }
    }

    /// A device got a message.
    pub fn receive(&mut self, name: usize, number: Number, qos: QoS, is_new: bool) {
        let session = &mut self.sessions[name];
        let is_own = session.expected.contains_key(&(number, qos));
        let mut groups = self.groups.values().filter(|group| group.members.contains(&name));
        let is_shared = groups.any(|group| group.expected.get(&number).is_some_and(|shared| shared.qos == qos));
        assert!(is_own || is_shared, "{number} to {} is not for session {name}, or not so", self.messages[number].topic);
        *session.got.entry((number, qos)).or_default() += usize::from(is_new);
    }

    /// Whether everyone who is there got all, but for what found a queue full if that happens; called when nothing is on its way any
    /// more.
    pub fn check_deliveries(&self, may_lose: bool) {
        for (name, session) in self.sessions.iter().enumerate() {
            for ((number, qos), publishes) in &session.expected {
                let got = session.got.get(&(*number, *qos)).copied().unwrap_or_default();
                let fits = match qos {
                    QoS::AtMostOnce => got <= *publishes,
                    QoS::AtLeastOnce => got >= 1 || !session.is_alive || may_lose,
                    QoS::ExactlyOnce => got == 1 || (got == 0 && (!session.is_alive || may_lose)),
                };
                assert!(fits, "session {name} got {number} ({qos:?}, published {publishes} times) {got} times");
            }
        }
        for (filter, group) in &self.groups {
            for (number, Shared { qos, publishes, is_exempt }) in &group.expected {
                let got: usize = group.members.iter().filter_map(|name| self.sessions[*name].got.get(&(*number, *qos))).sum();
                let fits = match qos {
                    QoS::AtMostOnce => got <= *publishes,
                    QoS::AtLeastOnce => got >= 1 || *is_exempt || may_lose,
                    QoS::ExactlyOnce => got == 1 || (got == 0 && (*is_exempt || may_lose)),
                };
                assert!(fits, "{filter} got {number} ({qos:?}) {got} times");
            }
        }
    }
}

/// As 4.7 puts it, level by level; no topic here begins with `$`.
pub fn is_match(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}
