//! A publisher that keeps the rules: with a session it sends again what was not acknowledged, without one it publishes it anew, under
//! the same deduplication identifier.

use std::collections::BTreeMap;

use super::ledger::{Number, Told};
use super::*;

pub(super) struct Sender {
    name: &'static str,
    index: usize,
    keeps: bool,
    peer: Option<Peer>,
    is_welcome: bool,
    has_session: bool,
    next_id: u16,
    /// By packet identifier: the message, and whether PUBREC has come.
    outgoing: BTreeMap<u16, (Number, bool)>,
}

impl Sender {
    pub fn new(name: &'static str, index: usize, keeps: bool) -> Self {
        let outgoing = BTreeMap::new();
        Self { name, index, keeps, peer: None, is_welcome: false, has_session: false, next_id: 1, outgoing }
    }

    pub fn is_idle(&self) -> bool {
        self.is_welcome && self.outgoing.is_empty()
    }

    pub fn lose(&mut self) {
        self.peer = None;
        self.is_welcome = false;
    }

    pub fn connect(&mut self, house: &House) {
        if self.peer.is_some() {
            return;
        }
        let mut properties = ConnectProperties::default();
        if self.keeps {
            properties.session_expiry_interval = 3600;
        }
        let mut peer = house.dial(ProtocolVersion::V5);
        let connect = Connect { client_id: self.name, clean_start: !self.keeps, properties, ..connect(ProtocolVersion::V5) };
        peer.send(house, &Packet::Connect(connect));
        self.peer = Some(peer);
    }

    pub fn act(&mut self, house: &House, random: &mut Random, told: &mut Vec<Told>) {
        if self.peer.is_none() {
            return self.connect(house);
        }
        if !self.is_welcome {
            return;
        }
        if random.one_in(15) {
            if let Some(mut peer) = self.peer.take() {
                peer.cut(house);
            }
            return self.lose();
        }
        self.publish(house, random, told);
    }

    fn publish(&mut self, house: &House, random: &mut Random, told: &mut Vec<Told>) {
        let number = told.len();
        let is_deduplicated = !self.keeps || random.one_in(5);
        let is_delayed = self.keeps && !is_deduplicated && random.one_in(8);
        let is_twice = self.keeps && !is_delayed && random.one_in(2);
        let prefix = match (is_deduplicated, is_delayed) {
            (true, _) => format!("$dedup/id{number}/"),
            (_, true) => "$delayed/3/".into(),
            _ => String::new(),
        };
        told.push(Told {
            topic: random.pick(&TOPICS),
            qos: if is_twice { QoS::ExactlyOnce } else { QoS::AtLeastOnce },
            publisher: self.index,
            prefix,
            is_acknowledged: false,
            is_once: is_twice || is_deduplicated,
            is_delayed,
        });
        let id = self.id();
        self.outgoing.insert(id, (number, false));
        self.send_publish(house, id, number, told, false);
    }

    pub fn read(&mut self, house: &House, told: &mut [Told]) {
        let Some(peer) = &mut self.peer else { return };
        let seen = peer.receive(house);
        let is_closed = peer.closed;
        seen.into_iter().for_each(|seen| self.see(house, seen, told));
        if is_closed {
            self.lose();
        }
    }

    fn see(&mut self, house: &House, seen: Seen, told: &mut [Told]) {
        match seen {
            Seen::ConnAck { present, reason } => {
                assert_eq!(reason, 0);
                assert!(present || !self.keeps || !self.has_session, "a session that was promised is gone");
                (self.is_welcome, self.has_session) = (true, true);
                for (id, (number, is_released)) in std::mem::take(&mut self.outgoing) {
                    let id = if self.keeps { id } else { self.id() };
                    self.outgoing.insert(id, (number, is_released));
                    if is_released {
                        self.send(house, &Packet::PubRel(Release::new(packet_id(id), ReleaseReason::Success)));
                    } else {
                        self.send_publish(house, id, number, told, self.keeps);
                    }
                }
            }
            Seen::Ack("puback", id, reason) => {
                assert!(reason < 0x80, "{reason:#x}");
                let (number, _) = self.outgoing.remove(&id).expect("it was published");
                told[number].is_acknowledged = true;
            }
            Seen::Ack("pubrec", id, reason) => {
                assert!(reason < 0x80, "{reason:#x}");
                if let Some((number, is_released)) = self.outgoing.get_mut(&id) {
                    *is_released = true;
                    told[*number].is_acknowledged = true;
                    self.send(house, &Packet::PubRel(Release::new(packet_id(id), ReleaseReason::Success)));
                }
            }
            Seen::Ack("pubcomp", id, _) => _ = self.outgoing.remove(&id),
            other => panic!("{other:?}"),
        }
    }

    fn id(&mut self) -> u16 {
        self.next_id += 1;
        self.next_id
    }

    fn send_publish(&mut self, house: &House, id: u16, number: Number, told: &[Told], dup: bool) {
        let Told { topic, qos, prefix, .. } = &told[number];
        let delivery = if *qos == QoS::ExactlyOnce { q2(id) } else { q1(id) };
        let (topic, payload) = (format!("{prefix}{topic}"), number.to_string());
        self.send(house, &Packet::Publish(Publish { dup, ..message(&topic, &payload, delivery, false) }));
    }

    fn send(&mut self, house: &House, packet: &Packet<'_>) {
        if let Some(peer) = &mut self.peer {
            peer.send(house, packet);
        }
    }
}
