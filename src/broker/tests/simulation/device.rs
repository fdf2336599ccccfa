//! A device: a client that keeps to the rules, through any number of connections.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use super::truth::{Number, Truth};

pub struct Device {
    pub id: String,
    pub version: ProtocolVersion,
    /// Its task, while it thinks that it is connected.
    pub task: Option<usize>,
    /// CONNACK was read.
    pub is_welcome: bool,
    /// The session that the broker gave it.
    pub session: usize,
    pub is_session_present: bool,
    pub receive_maximum: usize,
    /// It sends no PINGREQ since then.
    pub silent_since: Option<Instant>,
    pub keep_alive: u16,
    /// Nothing is taken of what the broker sends, since then.
    pub stuck_since: Option<Instant>,
    /// What it published and was not acknowledged.
    outgoing: BTreeMap<u16, Outgoing>,
    next_id: u16,
    received: BTreeSet<u16>,
    /// Of this connection, what it has not acknowledged to the end.
    under_way: BTreeSet<u16>,
    pub owed: Vec<Owed>,
    unread: Vec<u8>,
}

struct Outgoing {
    number: Number,
    is_released: bool,
}

/// An acknowledgement of a message of the broker.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::enum_variant_names)] // the specification's names
pub enum Owed {
    Ack(u16),
    Rec(u16),
    Comp(u16),
}

impl Device {
    pub fn new(id: String) -> Self {
        Self {
            id,
            version: ProtocolVersion::V5,
            task: None,
            is_welcome: false,
            session: usize::MAX,
            is_session_present: false,
            receive_maximum: 0,
            silent_since: None,
            keep_alive: 0,
            stuck_since: None,
            outgoing: BTreeMap::new(),
            next_id: 1,
            received: BTreeSet::new(),
            under_way: BTreeSet::new(),
            owed: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// It begins a new connection; what the old one had is forgotten.
    pub fn connects(&mut self, task: usize, now: Instant) {
        self.disconnected();
        self.task = Some(task);
        self.silent_since = Some(now);
    }

    pub fn disconnected(&mut self) {
        self.task = None;
        self.is_welcome = false;
        self.silent_since = None;
        self.stuck_since = None;
        self.under_way.clear();
        self.owed.clear();
        self.unread.clear();
    }

    /// Whether nothing of its own waits for the broker.
    pub fn is_settled(&self) -> bool {
        self.outgoing.is_empty() && self.owed.is_empty()
    }

    pub fn publish(&mut self, number: Number, truth: &Truth, retain: bool) -> Vec<u8> {
        let qos = truth.messages[number].qos;
        let id = if qos == QoS::AtMostOnce { None } else { Some(self.free_id()) };
        if let Some(id) = id {
            self.outgoing.insert(id, Outgoing { number, is_released: false });
        }
        self.encode_publish(number, truth, id, false, retain)
    }

    /// The packets that it sends to acknowledge what it owes first, or the one at `index`.
    pub fn answer(&mut self, index: usize) -> Vec<u8> {
        let packet = match self.owed.remove(index) {
            Owed::Ack(id) => {
                self.under_way.remove(&id);
                Packet::PubAck(PublishAck::new(packet_id(id), PublishReason::Success))
            }
            Owed::Rec(id) => Packet::PubRec(PublishAck::new(packet_id(id), PublishReason::Success)),
            Owed::Comp(id) => {
                self.under_way.remove(&id);
                Packet::PubComp(Release::new(packet_id(id), ReleaseReason::Success))
            }
        };
        self.encode(&packet)
    }

    pub fn encode(&self, packet: &Packet<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(packet, self.version, &mut bytes);
        bytes
    }

    /// Reads what the broker has sent. Returns what it sends at once.
    pub fn read(&mut self, bytes: &[u8], truth: &mut Truth) -> Vec<Vec<u8>> {
        self.unread.extend_from_slice(bytes);
        let unread = std::mem::take(&mut self.unread);
        let decoder = Decoder {
            version: Some(self.version),
            maximum_packet_size: u32::MAX,
            user_properties_max: 10,
            filters_max: 10,
            peer: crate::packet::Peer::Server,
        };
        let mut answers = Vec::new();
        let mut at = 0;
        while let Some((packet, length)) = decoder.decode(&unread[at..]).expect("the broker writes valid packets") {
            at += length;
            self.read_packet(&packet, truth, &mut answers);
        }
        self.unread = unread[at..].to_vec();
        answers
    }

    fn read_packet(&mut self, packet: &Packet<'_>, truth: &mut Truth, answers: &mut Vec<Vec<u8>>) {
        match packet {
            Packet::ConnAck(ack) => self.read_connack(ack, truth, answers),
            Packet::Publish(publish) => self.read_publish(publish, truth),
            Packet::PubRel(release) => {
                let id = release.packet_id.get();
                self.received.remove(&id);
                self.owed.push(Owed::Comp(id));
            }
            Packet::PubAck(ack) => drop(self.outgoing.remove(&ack.packet_id.get()).expect("it was published")),
            Packet::PubRec(ack) => {
                let id = ack.packet_id.get();
                // One that comes again, since PUBLISH did, may be late.
                if let Some(outgoing) = self.outgoing.get_mut(&id) {
                    outgoing.is_released = true;
                    answers.push(self.encode(&Packet::PubRel(Release::new(packet_id(id), ReleaseReason::Success))));
                }
            }
            Packet::PubComp(release) => drop(self.outgoing.remove(&release.packet_id.get())),
            Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp | Packet::Disconnect(_) => {}
            other => panic!("{other:?} from a broker"),
        }
    }

    fn read_connack(&mut self, ack: &ConnAck<'_>, truth: &Truth, answers: &mut Vec<Vec<u8>>) {
        assert_eq!(ack.reason, ConnectReason::Success);
        if self.version != ProtocolVersion::V31 {
            assert_eq!(ack.session_present, self.is_session_present);
        }
        self.is_welcome = true;
        self.silent_since = None;
        // 3.1 is not told: its clients go by what they asked for.
        if !self.is_session_present {
            self.received.clear();
            self.outgoing.clear();
            return;
        }
        let open: Vec<_> = self.outgoing.iter().map(|(id, open)| (*id, open.number, open.is_released)).collect();
        for (id, number, is_released) in open {
            answers.push(if is_released {
                self.encode(&Packet::PubRel(Release::new(packet_id(id), ReleaseReason::Success)))
            } else {
                self.encode_publish(number, truth, Some(id), true, false)
            });
        }
    }

    fn read_publish(&mut self, publish: &Publish<'_>, truth: &mut Truth) {
        let topic = publish.topic.expect("aliases are not used").as_str();
        let payload = std::str::from_utf8(publish.payload).unwrap();
        let mut is_new = true;
        if let Some(id) = publish.delivery.packet_id().map(PacketId::get) {
            assert!(self.under_way.insert(id), "an identifier that is in use");
            assert!(self.under_way.len() <= self.receive_maximum, "more than Receive Maximum is under way");
            if publish.delivery.qos() == QoS::ExactlyOnce {
                is_new = self.received.insert(id);
                self.owed.push(Owed::Rec(id));
            } else {
                self.owed.push(Owed::Ack(id));
            }
        }
        if topic.starts_with("r/") {
            return;
        }
        let number: Number = payload.parse().unwrap();
        assert_eq!(topic, truth.messages[number].topic);
        truth.receive(self.session, number, publish.delivery.qos(), is_new);
    }

    fn encode_publish(&self, number: Number, truth: &Truth, id: Option<u16>, dup: bool, retain: bool) -> Vec<u8> {
        let told = &truth.messages[number];
        let delivery = match (told.qos, id) {
            (QoS::AtLeastOnce, Some(id)) => q1(id),
            (QoS::ExactlyOnce, Some(id)) => q2(id),
            _ => Delivery::AtMostOnce,
        };
        let payload = number.to_string();
        self.encode(&Packet::Publish(Publish { dup, ..message(&told.topic, &payload, delivery, retain) }))
    }

    fn free_id(&mut self) -> u16 {
        while self.outgoing.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }
}
