//! A scripted client: `client.send(..)`, `client.expect(..)`. Packets of our codec or raw bytes; nothing is acknowledged by itself.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use dunlin::packet::{
    ConnAckProperties, Connect, ConnectProperties, Decoder, Delivery, Packet, PacketId, Peer, ProtocolVersion, Publish,
    PublishAck, PublishProperties, PublishReason, QoS, Release, ReleaseReason, Subscribe, SubscriptionOptions, TopicFilter,
    TopicName, Unsubscribe, UserProperties, encode,
};

use super::PATIENCE;

pub const V31: ProtocolVersion = ProtocolVersion::V31;
pub const V311: ProtocolVersion = ProtocolVersion::V311;
pub const V5: ProtocolVersion = ProtocolVersion::V5;

/// What a client speaks over: a socket, or what is layered on one.
pub trait Stream: Read + Write + Send {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;

    /// How long a write may take; streams that cannot tell wait for ever.
    fn set_write_timeout(&self, _timeout: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    /// Where the broker sees it come from, for streams that can tell.
    fn address(&self) -> Option<SocketAddr> {
        None
    }
}

impl Stream for TcpStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Self::set_read_timeout(self, timeout)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        Self::shutdown(self, how)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Self::set_write_timeout(self, timeout)
    }

    fn address(&self) -> Option<SocketAddr> {
        self.local_addr().ok()
    }
}

impl Stream for UnixStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Self::set_read_timeout(self, timeout)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        Self::shutdown(self, how)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Self::set_write_timeout(self, timeout)
    }
}

pub struct Client {
    stream: Box<dyn Stream>,
    pub version: ProtocolVersion,
    buffer: Vec<u8>,
    next_id: u16,
}

/// A CONNECT with a clean start and nothing else; change what the test is about with `..connect(V5)`.
pub fn connect(version: ProtocolVersion) -> Connect<'static> {
    Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        client_id: "",
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

impl Client {
    /// A connection on which nothing has been said.
    pub fn dial(address: SocketAddr, version: ProtocolVersion) -> Self {
        let stream = TcpStream::connect(address).expect("the broker accepts");
        stream.set_nodelay(true).expect("a socket option");
        Self::over(stream, version)
    }

    /// The same over a stream that is there already.
    pub fn over(stream: impl Stream + 'static, version: ProtocolVersion) -> Self {
        Self { stream: Box::new(stream), version, buffer: Vec::new(), next_id: 1 }
    }

    /// A client that is let in with a clean start under this identifier (at most 23 letters and digits for 3.1).
    pub fn connect(address: SocketAddr, version: ProtocolVersion, id: &str) -> Self {
        Self::connect_with(address, Connect { client_id: id, ..connect(version) }).0
    }

    /// A client that is let in, and whether its session was there.
    pub fn connect_with(address: SocketAddr, connect: Connect<'_>) -> (Self, bool) {
        let mut client = Self::dial(address, connect.version);
        let present = client.log_in(connect);
        (client, present)
    }

    /// Sends CONNECT, which must be accepted; whether the session was there.
    pub fn log_in(&mut self, connect: Connect<'_>) -> bool {
        self.send(&Packet::Connect(connect));
        self.expect("CONNACK", |packet| match packet {
            Packet::ConnAck(ack) if !ack.reason.is_error() => Some(ack.session_present),
            _ => None,
        })
    }

    /// What the broker tells in CONNACK, by a look at it.
    pub fn connack<R>(address: SocketAddr, connect: Connect<'_>, look: impl Fn(&ConnAckProperties<'_>) -> R) -> (Self, R) {
        let mut client = Self::dial(address, connect.version);
        client.send(&Packet::Connect(connect));
        let seen = client.expect("CONNACK", |packet| match packet {
            Packet::ConnAck(ack) if !ack.reason.is_error() => Some(look(&ack.properties)),
            _ => None,
        });
        (client, seen)
    }

    /// Sends CONNECT and returns the reason code of CONNACK as the 5.0 byte (3.1.1 codes are read as their 5.0 meaning).
    pub fn refused(address: SocketAddr, connect: Connect<'_>) -> u8 {
        Self::dial(address, connect.version).try_log_in(connect)
    }

    /// Sends CONNECT and returns the reason code of CONNACK as the 5.0 byte.
    pub fn try_log_in(&mut self, connect: Connect<'_>) -> u8 {
        self.send(&Packet::Connect(connect));
        self.expect("CONNACK", |packet| match packet {
            Packet::ConnAck(ack) => Some(ack.reason as u8),
            _ => None,
        })
    }

    /// Whether a CONNACK that lets in is what comes next; the end is none.
    pub fn has_connack(&mut self) -> bool {
        self.next(PATIENCE, |packet| matches!(packet, Some(Packet::ConnAck(ack)) if !ack.reason.is_error()))
    }

    pub fn send(&mut self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        encode(packet, self.version, &mut bytes);
        self.send_bytes(&bytes);
    }

    /// Sends bytes as they are; a broker that has hung up is no failure of the test.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
    }

    /// Sends what the socket takes within a moment, and forgets the rest.
    pub fn send_bytes_unless_full(&mut self, bytes: &[u8]) {
        let _ = self.stream.set_write_timeout(Some(Duration::from_millis(100)));
        self.send_bytes(bytes);
    }

    /// The next packet, which must be one that `want` accepts.
    pub fn expect<R>(&mut self, what: &str, want: impl FnOnce(&Packet<'_>) -> Option<R>) -> R {
        self.next(PATIENCE, |packet| match packet {
            Some(packet) => want(packet).unwrap_or_else(|| panic!("wanted {what}, got {packet:?}")),
            None => panic!("wanted {what}, got nothing"),
        })
    }

    /// The first packet that `want` accepts, whatever came before it, which is still to be read then.
    pub fn expect_ahead<R>(&mut self, what: &str, want: impl Fn(&Packet<'_>) -> Option<R>) -> R {
        let deadline = Instant::now() + PATIENCE;
        let mut at = 0;
        loop {
            let buffer = std::mem::take(&mut self.buffer);
            let next = self.decoder().decode(&buffer[at..]).expect("the broker writes valid packets");
            let next = next.map(|(packet, length)| (want(&packet), length));
            self.buffer = buffer;
            match next {
                Some((Some(found), length)) => {
                    self.buffer.drain(at..at + length);
                    return found;
                }
                Some((None, length)) => at += length,
                None => assert!(self.read_more(deadline), "wanted {what}, got nothing"),
            }
        }
    }

    /// The next packet is exactly this one.
    pub fn expect_packet(&mut self, packet: &Packet<'_>) {
        self.expect("a packet", |got| {
            assert_eq!(got, packet);
            Some(())
        });
    }

    /// Nothing comes: a PINGREQ is answered at once, with nothing before the answer.
    pub fn expect_nothing(&mut self) {
        self.send(&Packet::PingReq);
        self.expect("nothing but PINGRESP", |packet| matches!(packet, Packet::PingResp).then_some(()));
    }

    /// All that the broker has sent for this client has arrived, as far as it was sent when this is called.
    pub fn ping(&mut self) {
        self.expect_nothing();
    }

    /// Whether something comes, or the end, within a fifth of a second.
    pub fn is_answered(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_millis(200);
        self.read_more(deadline) || Instant::now() < deadline
    }

    /// The connection is closed; what came before is the reason code of the last DISCONNECT, if there was one.
    pub fn expect_close(&mut self) -> Option<u8> {
        let mut reason = None;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (seen, is_open) = self.poll(deadline, |packet| match packet {
                Packet::Disconnect(disconnect) => Some(disconnect.reason as u8),
                _ => None,
            });
            reason = seen.flatten().or(reason);
            if !is_open {
                return reason;
            }
        }
    }

    /// The connection is closed with this reason; older clients are told none.
    pub fn expect_disconnect(&mut self, reason: u8) {
        let told = self.expect_close();
        assert_eq!(told, (self.version == V5).then_some(reason));
    }

    /// All bytes that still come until the broker closes.
    pub fn rest(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        while self.read_more(deadline) {}
        assert!(Instant::now() < deadline, "the connection stays open, after {:02x?}", self.buffer);
        std::mem::take(&mut self.buffer)
    }

    /// The next packet as the bytes that it is.
    pub fn expect_bytes(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some((_, length)) = self.decoder().decode(&self.buffer).expect("the broker writes valid packets") {
                return self.buffer.drain(..length).collect();
            }
            assert!(self.read_more(deadline), "no packet, only {:02x?}", self.buffer);
        }
    }

    pub fn subscribe(&mut self, filter: &str, qos: QoS) {
        let reasons = self.subscribe_with(filter, SubscriptionOptions { qos, ..Default::default() }, None);
        assert_eq!(reasons, [qos as u8], "{filter} is granted");
    }

    /// Subscribes and returns the reason codes of SUBACK.
    pub fn subscribe_with(&mut self, filter: &str, options: SubscriptionOptions, identifier: Option<u32>) -> Vec<u8> {
        let packet_id = self.packet_id();
        self.send(&Packet::Subscribe(Subscribe {
            packet_id,
            subscription_identifier: identifier,
            user_properties: UserProperties::default(),
            filters: vec![(TopicFilter::new(filter).expect("a filter"), options)],
        }));
        self.expect("SUBACK", |packet| match packet {
            Packet::SubAck(ack) if ack.packet_id == packet_id => Some(ack.reasons.iter().map(|reason| *reason as u8).collect()),
            _ => None,
        })
    }

    /// Unsubscribes and returns the reason codes of UNSUBACK (none for older clients).
    pub fn unsubscribe(&mut self, filter: &str) -> Vec<u8> {
        let packet_id = self.packet_id();
        self.send(&Packet::Unsubscribe(Unsubscribe {
            packet_id,
            user_properties: UserProperties::default(),
            filters: vec![TopicFilter::new(filter).expect("a filter")],
        }));
        self.expect("UNSUBACK", |packet| match packet {
            Packet::UnsubAck(ack) if ack.packet_id == packet_id => {
                Some(ack.reasons.iter().map(|reason| *reason as u8).collect())
            }
            _ => None,
        })
    }

    /// Publishes and waits for the whole exchange; returns the reason code of PUBACK or PUBREC.
    pub fn publish(&mut self, topic: &str, payload: &str, qos: QoS) -> u8 {
        self.publish_with(topic, payload, qos, |_| ())
    }

    /// The same with changes to the packet.
    pub fn publish_with<'a>(
        &mut self,
        topic: &'a str,
        payload: &'a str,
        qos: QoS,
        change: impl FnOnce(&mut Publish<'a>),
    ) -> u8 {
        let id = self.packet_id();
        let mut packet = publish(topic, payload, delivery(qos, id));
        change(&mut packet);
        self.send(&Packet::Publish(packet));
        match qos {
            QoS::AtMostOnce => 0,
            QoS::AtLeastOnce => self.expect("PUBACK", |packet| match packet {
                Packet::PubAck(ack) if ack.packet_id == id => Some(ack.reason as u8),
                _ => None,
            }),
            QoS::ExactlyOnce => {
                let reason = self.expect("PUBREC", |packet| match packet {
                    Packet::PubRec(ack) if ack.packet_id == id => Some(ack.reason as u8),
                    _ => None,
                });
                if reason < 0x80 {
                    self.send(&Packet::PubRel(Release::new(id, ReleaseReason::Success)));
                    self.expect("PUBCOMP", |packet| {
                        matches!(packet, Packet::PubComp(ack) if ack.packet_id == id).then_some(())
                    });
                }
                reason
            }
        }
    }

    /// Publishes a retained message.
    pub fn retain(&mut self, topic: &str, payload: &str) {
        self.publish_with(topic, payload, QoS::AtLeastOnce, |packet| packet.retain = true);
    }

    /// The next packet is a PUBLISH of this topic and payload; its delivery.
    pub fn expect_message(&mut self, topic: &str, payload: &str) -> Delivery {
        self.expect(&format!("a message {topic} {payload}"), |packet| match packet {
            Packet::Publish(publish) => {
                let is_it = publish.topic.is_some_and(|name| name.as_str() == topic) && publish.payload == payload.as_bytes();
                is_it.then_some(publish.delivery)
            }
            _ => None,
        })
    }

    /// The next packet is a PUBLISH; a look at it.
    pub fn expect_publish<R>(&mut self, look: impl FnOnce(&Publish<'_>) -> R) -> R {
        self.expect("PUBLISH", |packet| match packet {
            Packet::Publish(publish) => Some(look(publish)),
            _ => None,
        })
    }

    pub fn puback(&mut self, id: PacketId) {
        self.send(&Packet::PubAck(PublishAck::new(id, PublishReason::Success)));
    }

    pub fn pubrec(&mut self, id: PacketId) {
        self.send(&Packet::PubRec(PublishAck::new(id, PublishReason::Success)));
    }

    pub fn pubcomp(&mut self, id: PacketId) {
        self.send(&Packet::PubComp(Release::new(id, ReleaseReason::Success)));
    }

    /// Where the broker sees this client come from.
    pub fn address(&self) -> SocketAddr {
        self.stream.address().expect("a TCP stream")
    }

    /// Nothing more will be sent; what comes can still be read.
    pub fn shut_write(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The network goes away without a word.
    pub fn cut(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// A packet identifier that this client has not used yet.
    pub fn packet_id(&mut self) -> PacketId {
        let id = PacketId::new(self.next_id).expect("identifiers begin at 1");
        self.next_id += 1;
        id
    }

    /// Nothing is under way: identifiers begin at 1 again.
    pub fn reuse_packet_ids(&mut self) {
        self.next_id = 1;
    }

    fn next<R>(&mut self, patience: Duration, take: impl FnOnce(Option<&Packet<'_>>) -> R) -> R {
        let deadline = Instant::now() + patience;
        while !self.has_packet() {
            if !self.read_more(deadline) {
                return take(None);
            }
        }
        let buffer = std::mem::take(&mut self.buffer);
        let (packet, length) =
            self.decoder().decode(&buffer).expect("the broker writes valid packets").expect("a whole packet");
        let result = take(Some(&packet));
        self.buffer = buffer[length..].to_vec();
        result
    }

    /// One packet, or the end.
    fn poll<R>(&mut self, deadline: Instant, look: impl FnOnce(&Packet<'_>) -> R) -> (Option<R>, bool) {
        while !self.has_packet() {
            if !self.read_more(deadline) {
                assert!(Instant::now() < deadline, "the connection stays open");
                return (None, false);
            }
        }
        (self.next(PATIENCE, |packet| packet.map(look)), true)
    }

    fn has_packet(&self) -> bool {
        self.decoder().decode(&self.buffer).expect("the broker writes valid packets").is_some()
    }

    /// `false` at the end of the stream, or at the deadline.
    fn read_more(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).expect("a timeout can be set");
        let mut bytes = [0; 65536];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(_) => false,
        }
    }

    /// Reads what the broker sends to this client.
    pub fn decoder(&self) -> Decoder {
        let version = Some(self.version);
        Decoder { version, maximum_packet_size: u32::MAX, user_properties_max: 10_000, filters_max: 0, peer: Peer::Server }
    }
}

pub fn publish<'a>(topic: &'a str, payload: &'a str, delivery: Delivery) -> Publish<'a> {
    Publish {
        dup: false,
        retain: false,
        delivery,
        topic: Some(TopicName::new(topic).expect("a topic")),
        properties: PublishProperties::default(),
        payload: payload.as_bytes(),
    }
}

pub fn delivery(qos: QoS, id: PacketId) -> Delivery {
    match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce(id),
        QoS::ExactlyOnce => Delivery::ExactlyOnce(id),
    }
}
