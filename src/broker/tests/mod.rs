//! Many clients, one thread, a clock that is told what time it is: the broker without a socket.

mod asking;
mod basics;
mod crashes;
mod hand_over;
mod interleavings;
mod lifecycle;
mod order;
mod queues;
mod simulation;

use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

pub(super) use interleavings::SlotLock;

use super::*;
use crate::auth::{AclFile, Authenticator, Authorizer};
use crate::metrics::Limit;
use crate::packet::*;

/// When all tests begin, in milliseconds since the epoch.
const WALL: u64 = 1_700_000_000_000;

/// A broker and its clock.
pub(super) struct House {
    pub broker: Arc<Broker>,
    pub now: Instant,
    door: Arc<Door>,
}

/// The far end of a connection.
pub(super) struct Peer {
    client: Client,
    version: ProtocolVersion,
    received: Vec<u8>,
    /// What came right behind CONNACK.
    early: Vec<Seen>,
    pub closed: bool,
    /// Takes nothing of what is written.
    pub is_stuck: bool,
}

struct Anyone;

impl Admission for Anyone {
    fn admit(&mut self) -> Result<(), Limit> {
        Ok(())
    }
}

/// One packet, in a form that tests can compare: its `Debug` text without what they do not care about.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    ConnAck { present: bool, reason: u8 },
    Publish { topic: String, payload: String, qos: QoS, retain: bool, dup: bool, id: Option<u16> },
    Ack(&'static str, u16, u8),
    SubAck(u16, Vec<u8>),
    UnsubAck(u16, Vec<u8>),
    Disconnect(u8),
    Other(String),
}

impl House {
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub fn with_limits(limits: Limits) -> Self {
        Self::with_rights(limits, None)
    }

    pub fn with_rights(limits: Limits, acl: Option<&str>) -> Self {
        Self::with_journal(limits, acl, None)
    }

    pub fn with_journal(limits: Limits, acl: Option<&str>, journal: Option<Arc<Journal<Waiter>>>) -> Self {
        Self::at(WALL, limits, acl, journal)
    }

    /// The same, at a time in milliseconds since the epoch.
    pub fn at(wall: u64, limits: Limits, acl: Option<&str>, journal: Option<Arc<Journal<Waiter>>>) -> Self {
        let now = Instant::now();
        let metrics = Arc::new(Metrics::default());
        let settings = BrokerSettings {
            limits: limits.clone(),
            rates: Rates::default(),
            // Scripts take sessions over as often as they like.
            protection: Protection { takeovers: 0, ..Protection::default() },
            quotas: Quotas::default(),
            strategy: Strategy::RoundRobin,
            password_checks: (1, 1),
            hashing: None,
            metrics: metrics.clone(),
            events: None,
            journal,
            queues: Default::default(),
            clock: Clock::new(now, wall),
        };
        let acl = acl.map(|text| Arc::new(AclFile::parse(text).unwrap()));
        let door = Arc::new(Door {
            name: "test".into(),
            versions: vec![ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5],
            mount_point: None,
            limits: ArcSwap::from_pointee(limits),
            rights: Arc::new(Rights::new(Authenticator::new(true, None), Authorizer::new(acl))),
            revoked: Default::default(),
            metrics: metrics.listener("test"),
            flow: ArcSwap::default(),
            buckets: Buckets::shared(now),
        });
        Self { broker: Broker::new(settings, now), now, door }
    }

    /// Where all connections come from.
    pub fn origin(&self) -> Origin {
        Origin { door: self.door.clone(), address: None, certificate: None }
    }

    /// A connection on which nothing has been said yet.
    pub fn dial(&self, version: ProtocolVersion) -> Peer {
        Peer {
            client: Client::new(self.broker.clone(), self.origin(), None, Box::new(Anyone)),
            version,
            received: Vec::new(),
            early: Vec::new(),
            closed: false,
            is_stuck: false,
        }
    }

    /// A client that has connected, and the CONNACK that it got.
    pub fn connect(&self, connect: Connect<'_>) -> (Peer, Seen) {
        let mut peer = self.dial(connect.version);
        peer.send(self, &Packet::Connect(connect));
        let mut seen = peer.receive(self);
        assert!(!seen.is_empty(), "no CONNACK");
        let connack = seen.remove(0);
        peer.early = seen;
        (peer, connack)
    }

    /// A client with a clean start.
    pub fn client(&self, version: ProtocolVersion, id: &str) -> Peer {
        let (peer, connack) = self.connect(Connect { client_id: id, ..connect(version) });
        assert_eq!(connack, Seen::ConnAck { present: false, reason: 0 });
        peer
    }

    /// Lets time pass, tick by tick.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = end.min(self.now + Duration::from_millis(500));
            self.broker.handle_timeout(self.now);
        }
    }
}

/// A CONNECT with a clean start and nothing else.
pub(super) fn connect(version: ProtocolVersion) -> Connect<'static> {
    Connect {
        version,
        clean_start: true,
        keep_alive: 0,
        client_id: "",
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

impl Peer {
    pub fn send(&mut self, house: &House, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        encode(packet, self.version, &mut bytes);
        self.send_bytes(house, &bytes);
    }

    pub fn send_bytes(&mut self, house: &House, bytes: &[u8]) {
        let mut deliveries = Deliveries::default();
        let mut context = Context::from_waker(Waker::noop());
        self.client.poll_login(&mut context, house.now);
        self.client.receive(bytes, house.now, &mut deliveries);
        deliveries.flush(&house.broker, house.now);
        self.turn(house, true);
    }

    /// What has been written to this peer since the last time.
    pub fn receive(&mut self, house: &House) -> Vec<Seen> {
        let mut seen = std::mem::take(&mut self.early);
        self.receive_each(house, |packet| seen.push(see(packet)));
        seen
    }

    /// The same, packet by packet.
    pub fn receive_each(&mut self, house: &House, mut each: impl FnMut(&Packet<'_>)) {
        self.turn(house, false);
        let bytes = std::mem::take(&mut self.received);
        let decoder = Decoder {
            version: Some(self.version),
            maximum_packet_size: u32::MAX,
            user_properties_max: 1000,
            filters_max: 0,
            peer: crate::packet::Peer::Server,
        };
        let mut rest = &bytes[..];
        while let Some((packet, length)) = decoder.decode(rest).expect("the broker writes valid packets") {
            each(&packet);
            rest = &rest[length..];
        }
        assert!(rest.is_empty(), "the broker writes whole packets");
    }

    /// Whether nothing has come since the last time; what came stays to be received.
    pub fn is_quiet(&mut self, house: &House) -> bool {
        self.turn(house, false);
        self.received.is_empty() && self.early.is_empty()
    }

    /// The network goes away.
    pub fn cut(&mut self, house: &House) {
        let mut deliveries = Deliveries::default();
        self.client.lost("cut".into(), house.now, &mut deliveries);
        deliveries.flush(&house.broker, house.now);
        self.closed = true;
    }

    pub fn subscribe(&mut self, house: &House, filter: &str, qos: QoS) {
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        self.subscribe_with(house, filter, options, None);
    }

    pub fn subscribe_with(&mut self, house: &House, filter: &str, options: SubscriptionOptions, identifier: Option<u32>) {
        self.send(house, &Packet::Subscribe(subscription(filter, options, identifier)));
    }

    pub fn publish(&mut self, house: &House, topic: &str, payload: &str, delivery: Delivery) {
        self.send(house, &Packet::Publish(message(topic, payload, delivery, false)));
    }

    pub fn retain(&mut self, house: &House, topic: &str, payload: &str) {
        self.send(house, &Packet::Publish(message(topic, payload, Delivery::AtMostOnce, true)));
    }

    pub fn ack(&mut self, house: &House, id: u16) {
        self.send(house, &Packet::PubAck(PublishAck::new(packet_id(id), PublishReason::Success)));
    }

    fn turn(&mut self, house: &House, has_received: bool) {
        if self.closed {
            return;
        }
        let mut deliveries = Deliveries::default();
        let closed = self.client.turn(house.now, has_received, &mut deliveries);
        let (received, is_stuck) = (&mut self.received, self.is_stuck);
        let write = |slices: &[IoSlice<'_>]| {
            if is_stuck {
                return Poll::Pending;
            }
            slices.iter().for_each(|slice| received.extend_from_slice(slice));
            Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
        };
        self.client.write(house.now, &mut deliveries, write).expect("this socket does not fail");
        deliveries.flush(&house.broker, house.now);
        self.closed |= closed == Closed::Yes;
    }
}

pub(super) fn message<'a>(topic: &'a str, payload: &'a str, delivery: Delivery, retain: bool) -> Publish<'a> {
    Publish {
        dup: false,
        retain,
        delivery,
        topic: Some(TopicName::new(topic).unwrap()),
        properties: PublishProperties::default(),
        payload: payload.as_bytes(),
    }
}

pub(super) fn subscription(filter: &str, options: SubscriptionOptions, identifier: Option<u32>) -> Subscribe<'static> {
    Subscribe {
        packet_id: packet_id(100),
        subscription_identifier: identifier,
        user_properties: UserProperties::default(),
        filters: vec![(TopicFilter::new(filter).unwrap(), options)],
    }
}

pub(super) fn packet_id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

pub(super) fn q1(id: u16) -> Delivery {
    Delivery::AtLeastOnce(packet_id(id))
}

pub(super) fn q2(id: u16) -> Delivery {
    Delivery::ExactlyOnce(packet_id(id))
}

/// What a plain message looks like to its receiver.
pub(super) fn got(topic: &str, payload: &str, qos: QoS, id: Option<u16>) -> Seen {
    Seen::Publish { topic: topic.into(), payload: payload.into(), qos, retain: false, dup: false, id }
}

fn see(packet: &Packet<'_>) -> Seen {
    match packet {
        Packet::ConnAck(ack) => Seen::ConnAck { present: ack.session_present, reason: ack.reason as u8 },
        Packet::Publish(publish) => Seen::Publish {
            topic: publish.topic.map(|topic| topic.to_string()).unwrap_or_default(),
            payload: String::from_utf8_lossy(publish.payload).into_owned(),
            qos: publish.delivery.qos(),
            retain: publish.retain,
            dup: publish.dup,
            id: publish.delivery.packet_id().map(PacketId::get),
        },
        Packet::PubAck(ack) => Seen::Ack("puback", ack.packet_id.get(), ack.reason as u8),
        Packet::PubRec(ack) => Seen::Ack("pubrec", ack.packet_id.get(), ack.reason as u8),
        Packet::PubRel(ack) => Seen::Ack("pubrel", ack.packet_id.get(), ack.reason as u8),
        Packet::PubComp(ack) => Seen::Ack("pubcomp", ack.packet_id.get(), ack.reason as u8),
        Packet::SubAck(ack) => Seen::SubAck(ack.packet_id.get(), ack.reasons.iter().map(|reason| *reason as u8).collect()),
        Packet::UnsubAck(ack) => Seen::UnsubAck(ack.packet_id.get(), ack.reasons.iter().map(|reason| *reason as u8).collect()),
        Packet::Disconnect(disconnect) => Seen::Disconnect(disconnect.reason as u8),
        other => Seen::Other(format!("{other:?}")),
    }
}
