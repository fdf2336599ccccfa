//! A whole broker: a few connections send packets, whole and broken, take what they like and go away, while time passes. Nothing
//! falls over, whatever is written is valid, and when all have gone for good nothing of them is left.

#![no_main]

use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use arc_swap::ArcSwap;
use dunlin::auth::{Authenticator, Authorizer, MountPoint};
use dunlin::broker::{
    Admission, Broker, BrokerSettings, Buckets, Client, Closed, Deliveries, Door, Origin, Protection, Quotas, Rates, Rights,
};
use dunlin::metrics::{Limit, Metrics};
use dunlin::packet::*;
use dunlin::routing::Strategy;
use dunlin::session::{Limits, QueuePolicy};
use dunlin::units::{ByteSize, Span};
use libfuzzer_sys::fuzz_target;

const CONNECTIONS: usize = 4;
const TOPICS: [&str; 6] = ["a", "a/b", "a/b/c", "$x/a", "topic/long/enough", "b"];
const CONNACK: u8 = 2;
const AUTH: u8 = 15;
const FILTERS: [&str; 9] = ["a", "#", "+/b", "a/#", "$share/g/a/#", "$share/g/+", "topic/+/enough", "$share/g", "a/+/c"];

#[derive(Arbitrary, Debug)]
struct Input {
    limits: SmallLimits,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
struct SmallLimits {
    max_queued_messages: u8,
    max_inflight: u8,
    receive_maximum: u8,
    max_retained_messages: u8,
    max_packet_size: u8,
    max_write_buffer: u8,
    drop_oldest: bool,
    queue_qos0: bool,
    has_mount_point: bool,
    strategy: u8,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Send(u8, Message),
    /// Several in one read.
    SendAll(u8, Vec<Message>),
    Bytes(u8, Vec<u8>),
    /// The peer takes so many bytes before it blocks.
    Room(u8, u8),
    Cut(u8),
    Pass(u16),
}

#[derive(Arbitrary, Debug)]
enum Message {
    Connect {
        client: u8,
        version: u8,
        clean_start: bool,
        keep_alive: u8,
        will: Option<(u8, u8, bool, u8)>,
        session_expiry: u8,
        receive_maximum: u8,
        maximum_packet_size: Option<u8>,
        topic_alias_maximum: u8,
        method: bool,
    },
    Publish {
        topic: Option<u8>,
        qos: u8,
        id: u8,
        retain: bool,
        dup: bool,
        alias: Option<u8>,
        expiry: Option<u8>,
        payload: Vec<u8>,
    },
    PubAck(u8, u8),
    PubRec(u8, u8),
    PubRel(u8, u8),
    PubComp(u8, u8),
    Subscribe {
        filters: Vec<(u8, u8)>,
        identifier: Option<u8>,
    },
    Unsubscribe(Vec<u8>),
    Ping,
    Disconnect(u8, Option<u8>),
    Auth(u8, Vec<u8>),
}

struct Anyone;

impl Admission for Anyone {
    fn admit(&mut self) -> Result<(), Limit> {
        Ok(())
    }
}

struct Peer {
    client: Client,
    /// What it sends.
    version: ProtocolVersion,
    /// What it is sent.
    spoken: ProtocolVersion,
    unread: Vec<u8>,
    received: Vec<u8>,
    room: usize,
    is_closed: bool,
}

struct House {
    broker: Arc<Broker>,
    door: Arc<Door>,
    now: Instant,
}

impl House {
    fn new(small: &SmallLimits) -> Self {
        let limits = Limits {
            max_queued_messages: usize::from(small.max_queued_messages % 20),
            max_queued_bytes: ByteSize(1000),
            max_inflight: u16::from(small.max_inflight % 8) + 1,
            receive_maximum: u16::from(small.receive_maximum % 8) + 1,
            max_retained_messages: usize::from(small.max_retained_messages % 5),
            max_packet_size: ByteSize(64 + 16 * u64::from(small.max_packet_size)),
            max_write_buffer: ByteSize(100 + 16 * u64::from(small.max_write_buffer)),
            max_subscriptions: 5,
            topic_alias_maximum: 3,
            max_topic_aliases_out: 2,
            queue_policy: if small.drop_oldest { QueuePolicy::DropOldest } else { QueuePolicy::DropNew },
            queue_qos0: small.queue_qos0,
            max_session_expiry: Span::seconds(100),
            ..Limits::default()
        };
        let strategies = [Strategy::RoundRobin, Strategy::Random, Strategy::Sticky, Strategy::HashClient, Strategy::HashTopic];
        let metrics = Arc::new(Metrics::default());
        let now = Instant::now();
        let settings = BrokerSettings {
            limits: limits.clone(),
            rates: Rates::default(),
            protection: Protection::default(),
            quotas: Quotas::default(),
            strategy: strategies[usize::from(small.strategy) % strategies.len()],
            password_checks: (1, 1),
            hashing: None,
            metrics: metrics.clone(),
            events: None,
            journal: None,
            queues: Default::default(),
            clock: dunlin::storage::Clock::new(now, 1_700_000_000_000),
        };
        let door = Arc::new(Door {
            name: "fuzz".into(),
            versions: vec![ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5],
            mount_point: small.has_mount_point.then(|| MountPoint::parse("mount/").expect("it is one")),
            limits: ArcSwap::from_pointee(limits),
            rights: Arc::new(Rights::new(Authenticator::new(true, None), Authorizer::new(None))),
            revoked: Default::default(),
            metrics: metrics.listener("fuzz"),
            flow: ArcSwap::default(),
            buckets: Buckets::shared(now),
        });
        Self { broker: Broker::new(settings, now), door, now }
    }

    fn dial(&self) -> Peer {
        let origin = Origin {
            door: self.door.clone(),
            address: None,
            certificate: None,
        };
        Peer {
            client: Client::new(self.broker.clone(), origin, None, Box::new(Anyone)),
            version: ProtocolVersion::V5,
            spoken: ProtocolVersion::V5,
            unread: Vec::new(),
            received: Vec::new(),
            room: usize::MAX,
            is_closed: false,
        }
    }
}

impl Peer {
    /// One turn of the connection's task, as the transport does it.
    fn turn(&mut self, house: &House, bytes: &[u8]) {
        if self.is_closed {
            return;
        }
        let mut deliveries = Deliveries::default();
        let mut context = Context::from_waker(Waker::noop());
        self.client.poll_login(&mut context, house.now);
        self.unread.extend_from_slice(bytes);
        let taken = self.client.receive(&self.unread, house.now, &mut deliveries);
        self.unread.drain(..taken);
        deliveries.flush(&house.broker, house.now);
        let closed = self.client.turn(house.now, !bytes.is_empty(), &mut deliveries);
        assert_ne!(closed, Closed::Soon, "nobody else writes");
        let (received, room) = (&mut self.received, &mut self.room);
        let write = |slices: &[IoSlice<'_>]| {
            let mut written = 0;
            for slice in slices {
                let count = slice.len().min(*room);
                received.extend_from_slice(&slice[..count]);
                *room -= count;
                written += count;
            }
            if written == 0 { Poll::Pending } else { Poll::Ready(Ok(written)) }
        };
        self.client.write(house.now, &mut deliveries, write).expect("this socket does not fail");
        deliveries.flush(&house.broker, house.now);
        self.is_closed = closed == Closed::Yes;
        self.check_written();
    }

    /// All that was written is packets that a server may send, in the language of its CONNACK.
    fn check_written(&mut self) {
        while let Some(first) = self.received.first() {
            let version = match first >> 4 {
                CONNACK => None,
                AUTH => Some(ProtocolVersion::V5),
                _ => Some(self.spoken),
            };
            let decoder = Decoder {
                version,
                maximum_packet_size: u32::MAX,
                user_properties_max: 100,
                filters_max: 100,
                peer: dunlin::packet::Peer::Server,
            };
            match decoder.decode(&self.received) {
                Ok(Some((packet, length))) => {
                    if matches!(packet, Packet::ConnAck(_)) {
                        // Those of 5.0 have properties.
                        self.spoken = if length == 4 { ProtocolVersion::V311 } else { ProtocolVersion::V5 };
                    }
                    self.received.drain(..length);
                }
                Ok(None) => return,
                Err(error) => panic!("the broker wrote {:?}: {error}", self.received),
            }
        }
    }

    fn cut(&mut self, house: &House) {
        if !self.is_closed {
            let mut deliveries = Deliveries::default();
            self.client.lost("cut".into(), house.now, &mut deliveries);
            deliveries.flush(&house.broker, house.now);
        }
        *self = house.dial();
    }

    fn encode(&mut self, message: &Message) -> Vec<u8> {
        let mut bytes = Vec::new();
        with_packet(message, |packet| {
            if let Packet::Connect(connect) = &packet {
                self.version = connect.version;
            }
            encode(&packet, self.version, &mut bytes);
        });
        bytes
    }
}

fn qos(value: u8) -> QoS {
    [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(value % 3)]
}

fn id(value: u8) -> PacketId {
    PacketId::new(u16::from(value % 12) + 1).expect("it is above zero")
}

fn topic(value: u8) -> TopicName<'static> {
    TopicName::new(TOPICS[usize::from(value) % TOPICS.len()]).expect("it is one")
}

fn filter(value: u8) -> TopicFilter {
    TopicFilter::new(FILTERS[usize::from(value) % FILTERS.len()]).expect("it is one")
}

fn with_packet(message: &Message, send: impl FnOnce(Packet<'_>)) {
    match message {
        Message::Connect { .. } => with_connect(message, send),
        Message::Publish { topic: name, qos: level, id: number, retain, dup, alias, expiry, payload } => {
            let delivery = match qos(*level) {
                QoS::AtMostOnce => Delivery::AtMostOnce,
                QoS::AtLeastOnce => Delivery::AtLeastOnce(id(*number)),
                QoS::ExactlyOnce => Delivery::ExactlyOnce(id(*number)),
            };
            let properties = PublishProperties {
                topic_alias: alias.map(|alias| u16::from(alias % 5)),
                message_expiry_interval: expiry.map(u32::from),
                ..PublishProperties::default()
            };
            let topic = name.map(topic);
            send(Packet::Publish(Publish { dup: *dup, retain: *retain, delivery, topic, properties, payload }));
        }
        Message::PubAck(number, code) => {
            send(Packet::PubAck(PublishAck::new(
                id(*number),
                PublishReason::from_byte(*code).unwrap_or(PublishReason::Success),
            )));
        }
        Message::PubRec(number, code) => {
            send(Packet::PubRec(PublishAck::new(
                id(*number),
                PublishReason::from_byte(*code).unwrap_or(PublishReason::Success),
            )));
        }
        Message::PubRel(number, code) => send(Packet::PubRel(Release::new(id(*number), release(*code)))),
        Message::PubComp(number, code) => send(Packet::PubComp(Release::new(id(*number), release(*code)))),
        Message::Subscribe { filters, identifier } => {
            let filters = filters.iter().take(8).map(|(name, options)| (filter(*name), options_of(*options))).collect();
            send(Packet::Subscribe(Subscribe {
                packet_id: id(0),
                subscription_identifier: identifier.map(|value| u32::from(value) + 1),
                user_properties: UserProperties::default(),
                filters,
            }));
        }
        Message::Unsubscribe(filters) => {
            let filters = filters.iter().take(8).map(|name| filter(*name)).collect();
            send(Packet::Unsubscribe(Unsubscribe { packet_id: id(1), user_properties: UserProperties::default(), filters }));
        }
        Message::Ping => send(Packet::PingReq),
        Message::Disconnect(code, expiry) => {
            let reason = DisconnectReason::from_byte(*code).unwrap_or(DisconnectReason::NormalDisconnection);
            let session_expiry_interval = expiry.map(u32::from);
            send(Packet::Disconnect(Disconnect { session_expiry_interval, ..Disconnect::new(reason) }));
        }
        Message::Auth(code, data) => send(Packet::Auth(Auth {
            reason: AuthReason::from_byte(*code).unwrap_or(AuthReason::ContinueAuthentication),
            authentication_method: Some("SCRAM-SHA-256"),
            authentication_data: Some(data),
            reason_string: None,
            user_properties: UserProperties::default(),
        })),
    }
}

fn with_connect(message: &Message, send: impl FnOnce(Packet<'_>)) {
    let Message::Connect {
        client,
        version,
        clean_start,
        keep_alive,
        will,
        session_expiry,
        receive_maximum,
        maximum_packet_size,
        topic_alias_maximum,
        method,
    } = message
    else {
        return;
    };
    let version = [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5][usize::from(version % 3)];
    let will = will.map(|(name, level, retain, delay)| Will {
        topic: topic(name),
        payload: b"will",
        qos: qos(level),
        retain,
        delay_interval: u32::from(delay),
        message_expiry_interval: None,
        properties: ForwardedProperties::default(),
    });
    let properties = ConnectProperties {
        session_expiry_interval: u32::from(*session_expiry),
        receive_maximum: u16::from(*receive_maximum % 6) + 1,
        maximum_packet_size: maximum_packet_size.map(|size| u32::from(size) + 1),
        topic_alias_maximum: u16::from(*topic_alias_maximum % 4),
        authentication_method: method.then_some("SCRAM-SHA-256"),
        ..ConnectProperties::default()
    };
    send(Packet::Connect(Connect {
        version,
        clean_start: *clean_start,
        keep_alive: u16::from(*keep_alive),
        client_id: ["", "one", "two", "three"][usize::from(client % 4)],
        will,
        username: None,
        password: None,
        properties: if version == ProtocolVersion::V5 { properties } else { ConnectProperties::default() },
    }));
}

fn release(code: u8) -> ReleaseReason {
    ReleaseReason::from_byte(code).unwrap_or(ReleaseReason::Success)
}

fn options_of(bits: u8) -> SubscriptionOptions {
    SubscriptionOptions {
        qos: qos(bits & 3),
        no_local: bits & 4 != 0,
        retain_as_published: bits & 8 != 0,
        retain_handling: [RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend]
            [usize::from(bits >> 4) % 3],
    }
}

fuzz_target!(|input: Input| {
    let mut house = House::new(&input.limits);
    let mut peers: Vec<Peer> = (0..CONNECTIONS).map(|_| house.dial()).collect();
    for step in &input.steps {
        run(&mut house, &mut peers, step);
    }
    for peer in &mut peers {
        peer.cut(&house);
    }
    // Wills, expiries, and what they set off.
    for _ in 0..500 {
        house.now += Duration::from_secs(1);
        house.broker.handle_timeout(house.now);
    }
    house.broker.measure(house.now);
    let (metrics, traffic) = (&house.broker.metrics, house.broker.metrics.traffic());
    assert_eq!((metrics.sessions.online.get(), metrics.sessions.offline.get()), (0, 0), "sessions");
    assert_eq!(metrics.subscriptions.get(), 0, "subscriptions");
    assert_eq!((traffic.queued_messages(), traffic.queued_bytes(), traffic.inflight_messages()), (0, 0, 0), "queues");
    assert_eq!(house.door.metrics.connected(), [0, 0, 0], "connections");
});

fn run(house: &mut House, peers: &mut [Peer], step: &Step) {
    match step {
        Step::Send(peer, message) => {
            let peer = &mut peers[usize::from(*peer) % CONNECTIONS];
            let bytes = peer.encode(message);
            peer.turn(house, &bytes);
        }
        Step::SendAll(peer, messages) => {
            let peer = &mut peers[usize::from(*peer) % CONNECTIONS];
            let bytes: Vec<u8> = messages.iter().flat_map(|message| peer.encode(message)).collect();
            peer.turn(house, &bytes);
        }
        Step::Bytes(peer, bytes) => peers[usize::from(*peer) % CONNECTIONS].turn(house, bytes),
        Step::Room(peer, room) => {
            let peer = &mut peers[usize::from(*peer) % CONNECTIONS];
            peer.room = if *room == u8::MAX { usize::MAX } else { usize::from(*room) };
        }
        Step::Cut(peer) => peers[usize::from(*peer) % CONNECTIONS].cut(house),
        Step::Pass(seconds) => {
            house.now += Duration::from_secs(u64::from(seconds % 200));
            house.broker.handle_timeout(house.now);
        }
    }
    for peer in peers {
        peer.turn(house, &[]);
        if peer.is_closed {
            *peer = house.dial();
        }
    }
}
