//! A consumer in all moods: it does its work, says that it cannot, says nothing, goes away.

use std::collections::BTreeMap;

use super::ledger::{Ledger, Number, Told};
use super::*;

/// A message that came.
#[derive(Clone, Debug)]
pub(super) struct Got {
    id: u16,
    qos: QoS,
    pub number: Number,
    /// `q-id`, `q-tag`; a consumer of 3.1.1 is told of neither.
    pub name: Option<String>,
    tag: Option<String>,
    pub attempt: u32,
    /// Milliseconds since the epoch.
    pub deadline: Option<u64>,
    dup: bool,
}

pub(super) struct Worker {
    name: &'static str,
    version: ProtocolVersion,
    keeps: bool,
    pub queue: usize,
    is_dead: bool,
    qos: QoS,
    peer: Option<Peer>,
    owed: Vec<Got>,
    /// PUBREC is sent, PUBREL is to come.
    half: BTreeMap<u16, Got>,
    next_id: u16,
}

enum Event {
    Welcome,
    Got(Got),
    Released(u16),
}

impl Worker {
    pub fn new(name: &'static str, version: ProtocolVersion, keeps: bool, queue: usize, qos: QoS) -> Self {
        Self {
            name,
            version,
            keeps,
            queue,
            is_dead: false,
            qos,
            peer: None,
            owed: Vec::new(),
            half: BTreeMap::new(),
            next_id: 1000,
        }
    }

    /// One of those who take what is left.
    pub fn last(queue: usize, is_dead: bool) -> Self {
        let name = match (queue, is_dead) {
            (JOBS, false) => "last of jobs",
            (_, false) => "last of audit",
            (JOBS, true) => "gravedigger of jobs",
            (_, true) => "gravedigger of audit",
        };
        Self { is_dead, ..Self::new(name, ProtocolVersion::V5, false, queue, QoS::AtLeastOnce) }
    }

    pub fn connect(&mut self, house: &House) {
        if self.peer.is_some() {
            return;
        }
        let mut properties = ConnectProperties::default();
        if self.keeps {
            properties.session_expiry_interval = 3600;
        }
        let mut peer = house.dial(self.version);
        let connect = Connect { client_id: self.name, clean_start: !self.keeps, properties, ..connect(self.version) };
        peer.send(house, &Packet::Connect(connect));
        self.peer = Some(peer);
    }

    pub fn lose(&mut self) {
        self.peer = None;
        self.owed.clear();
        self.half.clear();
    }

    pub fn act(&mut self, house: &House, random: &mut Random, ledger: &mut Ledger) {
        if self.peer.is_none() {
            return self.connect(house);
        }
        match random.below(12) {
            0 => {
                if let Some(mut peer) = self.peer.take() {
                    peer.cut(house);
                }
                if !self.keeps {
                    ledger.left(self.name);
                }
                self.lose();
            }
            _ if !self.owed.is_empty() => {
                let got = self.owed.remove(random.below(self.owed.len()));
                self.answer(house, got, random.below(16), ledger);
            }
            _ => {}
        }
    }

    /// Says that all is done.
    pub fn accept_all(&mut self, house: &House, ledger: &mut Ledger) {
        for got in std::mem::take(&mut self.owed) {
            self.answer(house, got, 0, ledger);
        }
    }

    fn answer(&mut self, house: &House, got: Got, mood: usize, ledger: &mut Ledger) {
        let is_new = self.version == ProtocolVersion::V5;
        let reason = match mood {
            9 | 10 if is_new => PublishReason::UnspecifiedError,
            11 if is_new => PublishReason::PayloadFormatInvalid,
            12 if is_new => PublishReason::QuotaExceeded,
            13 if is_new => PublishReason::NotAuthorized,
            15 => return, // not a word: the queue must find out by itself
            _ => PublishReason::Success,
        };
        if let (14, Some(tag)) = (mood, &got.tag) {
            self.next_id += 1;
            let topic = format!("$queue/{}/$ack/{tag}", QUEUES[self.queue]);
            let settle = message(&topic, "", q1(self.next_id), false);
            self.send(house, &Packet::Publish(settle));
            ledger.succeeded(&got);
        }
        let ack = PublishAck::new(packet_id(got.id), reason);
        let is_success = reason == PublishReason::Success;
        if got.qos == QoS::ExactlyOnce {
            self.send(house, &Packet::PubRec(ack));
            if is_success {
                self.half.insert(got.id, got);
                return;
            }
        } else {
            self.send(house, &Packet::PubAck(ack));
        }
        match (is_success, self.is_dead) {
            (true, true) => ledger.buried(&got),
            (true, false) if mood == 14 && got.tag.is_some() => {}
            (true, false) => ledger.succeeded(&got),
            (false, _) => {
                let counts = !matches!(reason, PublishReason::QuotaExceeded | PublishReason::NotAuthorized);
                ledger.refused(&got, counts);
            }
        }
    }

    pub fn read(&mut self, house: &House, ledger: &mut Ledger, told: &[Told], wall: u64) {
        let Some(peer) = &mut self.peer else { return };
        let mut events = Vec::new();
        peer.receive_each(house, |packet| events.extend(event(packet)));
        let is_closed = peer.closed;
        for event in events {
            self.see(house, event, ledger, told, wall);
        }
        if is_closed {
            self.lose();
        }
    }

    fn see(&mut self, house: &House, event: Event, ledger: &mut Ledger, told: &[Told], wall: u64) {
        match event {
            Event::Welcome => {
                let filter = format!("{}/{}", if self.is_dead { "$dlq" } else { "$queue" }, QUEUES[self.queue]);
                let options = SubscriptionOptions { qos: self.qos, ..SubscriptionOptions::default() };
                self.send(house, &Packet::Subscribe(subscription(&filter, options, None)));
            }
            Event::Got(got) => {
                if !got.dup && !self.is_dead {
                    ledger.delivered(self.name, &got, told, wall);
                }
                self.owed.retain(|owed| owed.id != got.id);
                self.owed.push(got);
            }
            Event::Released(id) => {
                self.send(house, &Packet::PubComp(Release::new(packet_id(id), ReleaseReason::Success)));
                if let Some(got) = self.half.remove(&id) {
                    ledger.succeeded(&got);
                }
            }
        }
    }

    fn send(&mut self, house: &House, packet: &Packet<'_>) {
        if let Some(peer) = &mut self.peer {
            peer.send(house, packet);
        }
    }
}

fn event(packet: &Packet<'_>) -> Option<Event> {
    match packet {
        Packet::ConnAck(ack) => {
            assert!(!ack.reason.is_error());
            Some(Event::Welcome)
        }
        Packet::Publish(publish) => {
            let property = |wanted: &str| {
                publish.properties.user_properties.iter().find_map(|(name, value)| (name == wanted).then(|| value.to_owned()))
            };
            Some(Event::Got(Got {
                id: publish.delivery.packet_id().expect("no consumer here has QoS 0").get(),
                qos: publish.delivery.qos(),
                number: std::str::from_utf8(publish.payload).unwrap().parse().unwrap(),
                name: property(crate::queue::properties::ID),
                tag: property(crate::queue::properties::TAG),
                attempt: property(crate::queue::properties::ATTEMPT).map_or(0, |attempt| attempt.parse().unwrap()),
                deadline: property(crate::queue::properties::DEADLINE).map(|deadline| deadline.parse().unwrap()),
                dup: publish.dup,
            }))
        }
        Packet::PubRel(release) => Some(Event::Released(release.packet_id.get())),
        Packet::SubAck(ack) => {
            assert!(ack.reasons.iter().all(|reason| (*reason as u8) < 0x80), "{ack:?}");
            None
        }
        _ => None,
    }
}
