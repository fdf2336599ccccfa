use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::outgoing::{Outgoing, Stage};
use super::{Message, Options};
use crate::packet::{
    ConnAck, ConnectReason, Decoder, Delivery, Disconnect, DisconnectReason, MalformedPacket, Packet, PacketId, Peer, Publish,
    PublishAck, PublishReason, QoS, Release, ReleaseReason, Subscribe, SubscribeReason, SubscriptionOptions, TopicFilter,
    TopicName, Unsubscribe, UnsubscribeReason, UserProperties, UserPropertiesBuf, encode, encode_within,
};

/// The client's side of a session: bytes in, bytes out, over one Network Connection after the other.
///
/// [`Self::connect`] begins one, [`Self::receive`] takes what the server sent, [`Self::poll_event`] tells what came of it,
/// [`Self::take_output`] is what must be sent. [`Self::poll_timeout`] says when [`Self::handle_timeout`] is due.
///
/// A message is acknowledged when the caller is done with it: when it asks for the next event, or says goodbye.
#[derive(Debug)]
pub struct Machine {
    options: Options,
    state: State,
    output: Vec<u8>,
    events: VecDeque<Event>,
    /// The message that the caller has taken last, as long as it is not acknowledged.
    owed: Option<Delivery>,
    outgoing: Outgoing,
    /// SUBSCRIBE and UNSUBSCRIBE that wait for their answers.
    asked: HashSet<PacketId>,
    /// QoS 2 messages that have come and whose PUBREL has not `[MQTT-4.3.3-10]`.
    received: HashSet<PacketId>,
    aliases: HashMap<u16, String>,
    server: Server,
    /// Unacknowledged messages that we allow ourselves.
    max_inflight: u16,
    last_sent: Instant,
    /// When the answer to a PINGREQ is too late.
    ping_due: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Offline,
    Connecting,
    Connected,
}

/// What the server has said about itself in its CONNACK.
#[derive(Clone, Copy, Debug)]
struct Server {
    receive_maximum: u16,
    maximum_qos: QoS,
    maximum_packet_size: Option<u32>,
    keep_alive: u16,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The server has let us in.
    Connected {
        session_present: bool,
        assigned_client_id: Option<String>,
    },
    /// It has not.
    Refused {
        reason: ConnectReason,
        reason_string: Option<String>,
    },
    /// A message has come; it is acknowledged when the next event is asked for.
    Message(Message),
    /// A message of ours has been acknowledged to the end, or refused.
    Published {
        packet_id: PacketId,
        reason: PublishReason,
    },
    Subscribed {
        packet_id: PacketId,
        reasons: Vec<SubscribeReason>,
    },
    Unsubscribed {
        packet_id: PacketId,
        reasons: Vec<UnsubscribeReason>,
    },
    /// The server ends the connection (5.0).
    Disconnected {
        reason: DisconnectReason,
        reason_string: Option<String>,
    },
}

/// Why a Network Connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("the server sent what is no packet: {0}")]
    Malformed(#[from] MalformedPacket),
    #[error("the server broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("the server does not answer")]
    KeepAlive,
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    #[error("this is no topic to publish to")]
    Topic,
    #[error("the server takes messages up to QoS {0} only")]
    QoS(QoS),
    #[error("the message is larger than the server takes")]
    TooLarge,
    #[error("all 65535 packet identifiers are in use")]
    NoPacketId,
}

/// Messages that may be unacknowledged unless it is said otherwise; the server may allow fewer.
const MAX_INFLIGHT: u16 = 20;

impl Machine {
    pub fn new(options: Options, now: Instant) -> Self {
        let keep_alive = options.keep_alive;
        Self {
            options,
            state: State::Offline,
            output: Vec::new(),
            events: VecDeque::new(),
            owed: None,
            outgoing: Outgoing::default(),
            asked: HashSet::new(),
            received: HashSet::new(),
            aliases: HashMap::new(),
            server: Server { receive_maximum: u16::MAX, maximum_qos: QoS::ExactlyOnce, maximum_packet_size: None, keep_alive },
            max_inflight: MAX_INFLIGHT,
            last_sent: now,
            ping_due: None,
        }
    }

    /// How many messages of QoS 1 and 2 may be unacknowledged; more wait. The server may allow fewer.
    pub fn set_max_inflight(&mut self, max_inflight: u16) {
        self.max_inflight = max_inflight.max(1);
    }

    /// Which packet identifier is the first. A session that is taken up without what it had under way may know low ones from before:
    /// it would take a new message of QoS 2 for an old one.
    pub fn set_first_packet_id(&mut self, packet_id: PacketId) {
        self.outgoing.set_next_id(packet_id);
    }

    pub const fn options(&self) -> &Options {
        &self.options
    }

    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Messages that are not acknowledged to the end.
    pub fn unacknowledged(&self) -> usize {
        self.outgoing.len()
    }

    /// A Network Connection has been opened: CONNECT goes out. What the last one left unsent or unread is forgotten.
    pub fn connect(&mut self, now: Instant) {
        self.output.clear();
        self.owed = None;
        self.aliases.clear(); // [MQTT-3.3.2-7]
        self.asked.clear();
        self.ping_due = None;
        self.last_sent = now;
        self.state = State::Connecting;
        self.options.encode(&mut self.output);
    }

    /// What must be sent.
    pub fn take_output(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.output);
    }

    /// Bytes of it.
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// The next event. To ask for it is to be done with the one before: a message is acknowledged now.
    pub fn poll_event(&mut self, now: Instant) -> Option<Event> {
        self.acknowledge(now);
        let event = self.events.pop_front()?;
        if let Event::Message(message) = &event {
            self.owed = message.packet_id.map(|packet_id| delivery(message.qos, packet_id));
        }
        Some(event)
    }

    /// For a caller that takes its time with each event: what it is done with is acknowledged, and PINGREQ goes out if that is due. Whether
    /// an answer is late cannot be told here: it may lie unread.
    pub fn catch_up(&mut self, now: Instant) {
        self.acknowledge(now);
        if self.state == State::Connected && self.ping_due.is_none() && self.poll_timeout().is_some_and(|at| at <= now) {
            self.ping(now);
        }
    }

    fn acknowledge(&mut self, now: Instant) {
        let ack = |packet_id| PublishAck::new(packet_id, PublishReason::Success);
        match self.owed.take() {
            None | Some(Delivery::AtMostOnce) => {}
            Some(Delivery::AtLeastOnce(packet_id)) => self.send(&Packet::PubAck(ack(packet_id)), now),
            Some(Delivery::ExactlyOnce(packet_id)) => self.send(&Packet::PubRec(ack(packet_id)), now),
        }
    }

    /// The message that was taken last is not acknowledged: it stays with the server.
    pub fn decline(&mut self) {
        if let Some(Delivery::ExactlyOnce(packet_id)) = self.owed.take() {
            self.received.remove(&packet_id);
        }
    }

    /// Takes the whole packets that `bytes` begin with, up to one that brings an event: the next is taken when the caller is done with
    /// that, so that what it does not get to is not acknowledged. Returns how many bytes they were. After a failure the connection is to
    /// be closed.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) -> Result<usize, Failure> {
        let mut consumed = 0;
        while self.events.is_empty() && self.owed.is_none() {
            let Some((packet, length)) = self.decoder().decode(&bytes[consumed..])? else { break };
            consumed += length;
            self.handle(packet, now)?;
        }
        Ok(consumed)
    }

    /// Bytes went to or came from the server that would not have if it were gone: the answer to a PINGREQ may come later.
    pub fn shows_life(&mut self, now: Instant) {
        if let Some(due) = &mut self.ping_due {
            *due = now + Duration::from_secs(self.server.keep_alive.into());
        }
    }

    fn decoder(&self) -> Decoder {
        Decoder {
            version: Some(self.options.version),
            maximum_packet_size: self.options.maximum_packet_size,
            user_properties_max: usize::MAX,
            filters_max: usize::MAX,
            peer: Peer::Server,
        }
    }

    fn handle(&mut self, packet: Packet<'_>, now: Instant) -> Result<(), Failure> {
        if self.state == State::Connecting {
            return match packet {
                Packet::ConnAck(connack) => self.handle_connack(&connack, now),
                Packet::Auth(_) => Err(Failure::Protocol("it asks for an authentication that was not begun")),
                _ => Err(Failure::Protocol("its first packet is not CONNACK")), // [MQTT-3.2.0-1]
            };
        }
        match packet {
            Packet::Publish(publish) => self.handle_publish(&publish, now)?,
            Packet::PubAck(ack) => self.handle_puback(&ack, now)?,
            Packet::PubRec(ack) => self.handle_pubrec(&ack, now)?,
            Packet::PubRel(release) => self.handle_pubrel(&release, now),
            Packet::PubComp(release) => self.handle_pubcomp(&release, now)?,
            Packet::SubAck(ack) => {
                self.asked.remove(&ack.packet_id);
                self.events.push_back(Event::Subscribed { packet_id: ack.packet_id, reasons: ack.reasons });
            }
            Packet::UnsubAck(ack) => {
                self.asked.remove(&ack.packet_id);
                self.events.push_back(Event::Unsubscribed { packet_id: ack.packet_id, reasons: ack.reasons });
            }
            Packet::PingResp => self.ping_due = None,
            Packet::Disconnect(disconnect) => {
                let reason_string = disconnect.reason_string.map(str::to_owned);
                self.events.push_back(Event::Disconnected { reason: disconnect.reason, reason_string });
            }
            Packet::ConnAck(_) => return Err(Failure::Protocol("a second CONNACK")),
            Packet::Auth(_) => return Err(Failure::Protocol("an AUTH that nobody asked for")),
            Packet::Connect(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_) | Packet::PingReq => {
                return Err(Failure::Protocol("a packet that only a client sends"));
            }
        }
        Ok(())
    }

    fn handle_connack(&mut self, connack: &ConnAck<'_>, now: Instant) -> Result<(), Failure> {
        if connack.reason.is_error() {
            self.state = State::Offline;
            let reason_string = connack.properties.reason_string.map(str::to_owned);
            self.events.push_back(Event::Refused { reason: connack.reason, reason_string });
            return Ok(());
        }
        if connack.session_present && self.options.clean_start {
            return Err(Failure::Protocol("it has kept a session that was to begin anew")); // [MQTT-3.2.2-2]
        }
        let properties = &connack.properties;
        self.server = Server {
            receive_maximum: properties.receive_maximum,
            maximum_qos: properties.maximum_qos,
            maximum_packet_size: properties.maximum_packet_size,
            keep_alive: properties.server_keep_alive.unwrap_or(self.options.keep_alive), // [MQTT-3.2.2-21]
        };
        self.state = State::Connected;
        let session_present = connack.session_present;
        let assigned_client_id = properties.assigned_client_identifier.map(str::to_owned);
        if let Some(id) = &assigned_client_id {
            self.options.client_id.clone_from(id); // so that a reconnection means the same session
        }
        self.events.push_back(Event::Connected { session_present, assigned_client_id });
        if !session_present {
            self.received.clear();
        }
        for packet_id in self.outgoing.begin(session_present) {
            self.events.push_back(Event::Published { packet_id, reason: PublishReason::Success });
        }
        self.send_waiting(now);
        Ok(())
    }

    fn handle_publish(&mut self, publish: &Publish<'_>, now: Instant) -> Result<(), Failure> {
        let topic = self.resolve_topic(publish)?;
        if let Delivery::ExactlyOnce(packet_id) = publish.delivery
            && !self.received.insert(packet_id)
        {
            // It has come before [MQTT-4.3.3-10], and was taken then.
            self.send(&Packet::PubRec(PublishAck::new(packet_id, PublishReason::Success)), now);
            return Ok(());
        }
        self.events.push_back(Event::Message(Message::of(publish, &topic)));
        Ok(())
    }

    /// The topic that a PUBLISH names or that its alias stands for (3.3.2.3.4).
    fn resolve_topic(&mut self, publish: &Publish<'_>) -> Result<String, Failure> {
        let alias = publish.properties.topic_alias;
        if alias.is_some_and(|alias| alias > self.options.topic_alias_maximum) {
            return Err(Failure::Protocol("a topic alias above what we allow")); // [MQTT-3.3.2-9]
        }
        match (publish.topic, alias) {
            (Some(topic), None) => Ok(topic.as_str().to_owned()),
            (Some(topic), Some(alias)) => {
                self.aliases.insert(alias, topic.as_str().to_owned());
                Ok(topic.as_str().to_owned())
            }
            (None, alias) => {
                let known = alias.and_then(|alias| self.aliases.get(&alias));
                known.cloned().ok_or(Failure::Protocol("a topic alias without a meaning"))
            }
        }
    }

    fn handle_puback(&mut self, ack: &PublishAck<'_>, now: Instant) -> Result<(), Failure> {
        match self.outgoing.stage(ack.packet_id) {
            Some(Stage::Sent(QoS::AtLeastOnce)) => self.settle(ack.packet_id, ack.reason, now),
            Some(_) => return Err(Failure::Protocol("PUBACK for a message of QoS 2")),
            None => {}
        }
        Ok(())
    }

    fn handle_pubrec(&mut self, ack: &PublishAck<'_>, now: Instant) -> Result<(), Failure> {
        let is_error = ack.reason.is_error();
        let reason = match self.outgoing.stage(ack.packet_id) {
            Some(Stage::Sent(QoS::ExactlyOnce)) if is_error => {
                self.settle(ack.packet_id, ack.reason, now);
                return Ok(());
            }
            Some(Stage::Sent(QoS::ExactlyOnce)) => {
                self.outgoing.release(ack.packet_id);
                ReleaseReason::Success
            }
            Some(Stage::Released) if !is_error => ReleaseReason::Success,
            Some(_) => return Err(Failure::Protocol("a PUBREC that does not fit its message")),
            None if is_error => return Ok(()),
            None => ReleaseReason::PacketIdentifierNotFound,
        };
        self.send(&Packet::PubRel(Release::new(ack.packet_id, reason)), now);
        Ok(())
    }

    fn handle_pubcomp(&mut self, release: &Release<'_>, now: Instant) -> Result<(), Failure> {
        match self.outgoing.stage(release.packet_id) {
            Some(Stage::Released) => self.settle(release.packet_id, PublishReason::Success, now),
            Some(Stage::Sent(_)) => return Err(Failure::Protocol("PUBCOMP before PUBREL")),
            None => {}
        }
        Ok(())
    }

    fn handle_pubrel(&mut self, release: &Release<'_>, now: Instant) {
        let was_there = self.received.remove(&release.packet_id);
        let reason = if was_there { ReleaseReason::Success } else { ReleaseReason::PacketIdentifierNotFound };
        self.send(&Packet::PubComp(Release::new(release.packet_id, reason)), now);
    }

    fn settle(&mut self, packet_id: PacketId, reason: PublishReason, now: Instant) {
        if self.outgoing.remove(packet_id).is_some() {
            self.events.push_back(Event::Published { packet_id, reason });
            self.send_waiting(now);
        }
    }

    /// Sends what is not on its way over this connection, as far as the server's Receive Maximum goes `[MQTT-3.3.4-9]`: again
    /// with DUP `[MQTT-3.3.1-1]`, or the PUBREL of what the server has `[MQTT-4.4.0-1]`.
    fn send_waiting(&mut self, now: Instant) {
        if self.state != State::Connected {
            return;
        }
        let window = usize::from(self.max_inflight.min(self.server.receive_maximum));
        let mut free = window.saturating_sub(self.outgoing.in_flight());
        let version = self.options.version;
        for exchange in self.outgoing.iter_mut().filter(|exchange| !exchange.is_in_flight) {
            if free == 0 {
                break;
            }
            free -= 1;
            exchange.is_in_flight = true;
            self.last_sent = now;
            match &exchange.message {
                None => {
                    let release = Release::new(exchange.packet_id, ReleaseReason::Success);
                    encode(&Packet::PubRel(release), version, &mut self.output);
                }
                Some(message) => {
                    let delivery = delivery(message.qos, exchange.packet_id);
                    message.with_packet(delivery, exchange.is_sent, |packet| encode(packet, version, &mut self.output));
                    exchange.is_sent = true;
                }
            }
        }
    }

    /// Sends a message as soon as it may go; `None` for one of QoS 0, of which nothing is heard any more.
    pub fn publish(&mut self, message: Message, now: Instant) -> Result<Option<PacketId>, PublishError> {
        TopicName::new(&message.topic).map_err(|_| PublishError::Topic)?;
        if message.qos > self.server.maximum_qos {
            return Err(PublishError::QoS(self.server.maximum_qos)); // [MQTT-3.2.2-11]
        }
        let (version, maximum) = (self.options.version, self.server.maximum_packet_size);
        let mut encoded = Vec::new();
        let mut is_small = true;
        let probe = delivery(message.qos, PacketId::FIRST);
        message.with_packet(probe, false, |packet| is_small = encode_within(packet, version, maximum, &mut encoded).is_ok());
        if !is_small {
            return Err(PublishError::TooLarge); // [MQTT-3.2.2-15]
        }
        if message.qos == QoS::AtMostOnce {
            self.last_sent = now;
            self.output.append(&mut encoded);
            return Ok(None);
        }
        let asked = &self.asked;
        let packet_id = self.outgoing.push(message, |id| !asked.contains(&id)).ok_or(PublishError::NoPacketId)?;
        self.send_waiting(now);
        Ok(Some(packet_id))
    }

    /// Asks for messages; the answer is an [`Event::Subscribed`]. `None` when all packet identifiers are in use.
    pub fn subscribe(
        &mut self,
        filters: Vec<(TopicFilter, SubscriptionOptions)>,
        subscription_identifier: Option<u32>,
        user_properties: &UserPropertiesBuf,
        now: Instant,
    ) -> Option<PacketId> {
        let packet_id = self.ask()?;
        let user_properties = user_properties.as_ref();
        self.send(&Packet::Subscribe(Subscribe { packet_id, subscription_identifier, user_properties, filters }), now);
        Some(packet_id)
    }

    /// Asks for no more messages; the answer is an [`Event::Unsubscribed`].
    pub fn unsubscribe(
        &mut self,
        filters: Vec<TopicFilter>,
        user_properties: &UserPropertiesBuf,
        now: Instant,
    ) -> Option<PacketId> {
        let packet_id = self.ask()?;
        self.send(&Packet::Unsubscribe(Unsubscribe { packet_id, user_properties: user_properties.as_ref(), filters }), now);
        Some(packet_id)
    }

    fn ask(&mut self) -> Option<PacketId> {
        let asked = &self.asked;
        let packet_id = self.outgoing.unused_id(|id| !asked.contains(&id))?;
        self.asked.insert(packet_id);
        Some(packet_id)
    }

    /// Says goodbye, and is done with the message that was taken last; the connection is to be closed when that is sent.
    pub fn disconnect(
        &mut self,
        reason: DisconnectReason,
        session_expiry_interval: Option<u32>,
        user_properties: UserProperties<'_>,
        now: Instant,
    ) {
        self.acknowledge(now);
        let disconnect = Disconnect { session_expiry_interval, user_properties, ..Disconnect::new(reason) };
        self.send(&Packet::Disconnect(disconnect), now);
        self.state = State::Offline;
    }

    /// The Network Connection is gone. Messages wait for the next.
    pub fn lost(&mut self) {
        self.state = State::Offline;
        self.ping_due = None;
        self.owed = None;
        self.output.clear();
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.state, self.server.keep_alive) {
            (State::Offline, _) => None,
            (State::Connecting, _) => Some(self.last_sent + CONNACK_PATIENCE),
            (State::Connected, 0) => None,
            (State::Connected, seconds) => {
                let ping_at = self.last_sent + Duration::from_secs(seconds.into());
                Some(self.ping_due.unwrap_or(ping_at))
            }
        }
    }

    /// Sends PINGREQ when nothing else has been sent for the Keep Alive `[MQTT-3.1.2-20]`; fails when the answer has not come.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Failure> {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return Ok(());
        }
        if self.state == State::Connecting || self.ping_due.is_some() {
            return Err(Failure::KeepAlive);
        }
        self.ping(now);
        Ok(())
    }

    fn ping(&mut self, now: Instant) {
        self.send(&Packet::PingReq, now);
        self.ping_due = Some(now + Duration::from_secs(self.server.keep_alive.into()));
    }

    fn send(&mut self, packet: &Packet<'_>, now: Instant) {
        self.last_sent = now;
        encode(packet, self.options.version, &mut self.output);
    }
}

/// How long CONNACK may take.
const CONNACK_PATIENCE: Duration = Duration::from_secs(30);

const fn delivery(qos: QoS, packet_id: PacketId) -> Delivery {
    match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce(packet_id),
        QoS::ExactlyOnce => Delivery::ExactlyOnce(packet_id),
    }
}
