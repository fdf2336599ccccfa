use std::borrow::Cow;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::acks::{Ack, AckQueue, AckToken, Answer, Note};
use super::config::Limits;
use super::inflight::Received;
use super::queued::Queued;
use super::state::SessionCell;
use super::topic_aliases::InboundAliases;
use crate::metrics::Limit;
use crate::packet::{
    Auth, AuthReason, ConnAck, Connect, Disconnect, DisconnectReason, MalformedPacket, Packet, PacketId, ProtocolVersion,
    Publish, PublishAck, PublishReason, Release, ReleaseReason, SubAck, Subscribe, SubscribeReason, TopicName, UnsubAck,
    Unsubscribe, UnsubscribeReason, UserPropertiesBuf, encode_within,
};

/// What dies with the Network Connection: version, quotas, aliases, acknowledgements that are owed. Packets go in through
/// [`Self::handle_packet`]; what the broker must do comes back as an [`Action`], and its result goes in through the method that the
/// action names. What is to be sent gathers in a buffer that [`Self::take_output`] empties.
#[derive(Debug)]
pub struct Connection {
    phase: Phase,
    version: ProtocolVersion,
    limits: Arc<Limits>,
    acks: AckQueue,
    aliases: Option<Box<InboundAliases>>,
    /// QoS 1 and 2 messages of the client that it waits to be told of the end of (4.9).
    open_inbound: u32,
    /// The client's Maximum Packet Size; never zero `[MQTT-3.1.2-24]`.
    maximum_packet_size: Option<NonZeroU32>,
    /// Whether Reason String and User Properties may be sent besides CONNACK and DISCONNECT `[MQTT-3.1.2-29]`.
    problem_information: bool,
    /// In seconds, as it stands now.
    session_expiry_interval: u32,
    authentication_method: Option<Arc<str>>,
    /// The client waits for an answer that is over its Maximum Packet Size.
    owes_too_much: bool,
    out: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has come yet; the first packet is CONNECT `[MQTT-3.1.0-1]`.
    AwaitConnect,
    /// CONNECT is being looked at, AUTH may go to and fro.
    Authenticating,
    Connected,
    /// Nothing more is read or written than what is in the output.
    Closed,
}

/// What the broker must do about a packet. It borrows from the packet, which is large: copying it about would cost more than the rules do.
#[derive(Debug)]
pub enum Action<'a> {
    /// Nothing more.
    None,
    /// Decide, then [`Connection::accept`], [`Connection::challenge`] or [`Connection::refuse`].
    Connect(&'a Connect<'a>),
    /// The next step of an authentication; `reason` says whether it begins one anew.
    Authenticate(&'a Auth<'a>),
    /// Own the message, then [`Connection::publish_done`] if an acknowledgement is owed.
    Publish(InboundPublish<'a>),
    /// A QoS 2 identifier is free again: [`Connection::publish_done`] once that cannot be lost.
    Released(AckToken, PacketId),
    /// Something was said that was said before: [`Connection::publish_done`] once all that was said before cannot be lost.
    Repeated(AckToken),
    /// PUBREC has come for a message that outlives the process, the one with this number: [`Connection::publish_done`], which sends
    /// PUBREL, once that cannot be lost.
    Release(AckToken, u64),
    /// Then [`Connection::subscribe_done`].
    Subscribe(&'a Subscribe<'a>),
    /// Then [`Connection::unsubscribe_done`].
    Unsubscribe(&'a Unsubscribe<'a>),
    /// The client has acknowledged one of our messages with this code.
    Settled(Queued, PublishReason),
    /// The client says goodbye. The will goes with it unless `publish_will` `[MQTT-3.14.4-3]`; `limit` is one that what it asked
    /// for was cut to.
    Disconnect { reason: DisconnectReason, publish_will: bool, limit: Option<Limit> },
}

/// A PUBLISH that has passed the rules of the protocol.
#[derive(Debug)]
pub struct InboundPublish<'a> {
    topic: Topic<'a>,
    pub packet: &'a Publish<'a>,
    pub ack: Option<AckToken>,
}

#[derive(Debug)]
enum Topic<'a> {
    Named(TopicName<'a>),
    Aliased(Arc<str>),
}

impl InboundPublish<'_> {
    /// The topic that was named or that the alias stands for.
    pub fn topic(&self) -> TopicName<'_> {
        match &self.topic {
            Topic::Named(topic) => *topic,
            Topic::Aliased(topic) => TopicName::trusted(topic),
        }
    }
}

/// A rule that the client has broken; the connection ends with this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Violation {
    pub reason: DisconnectReason,
    pub detail: Cow<'static, str>,
    /// The rule was a limit of ours.
    pub limit: Option<Limit>,
}

impl From<MalformedPacket> for Violation {
    fn from(malformed: MalformedPacket) -> Self {
        Self { reason: malformed.disconnect_reason(), detail: malformed.detail.into(), limit: None }
    }
}

const fn violation(reason: DisconnectReason, detail: &'static str) -> Violation {
    Violation { reason, detail: Cow::Borrowed(detail), limit: None }
}

const fn over_limit(limit: Limit, reason: DisconnectReason, detail: &'static str) -> Violation {
    Violation { reason, detail: Cow::Borrowed(detail), limit: Some(limit) }
}

/// What was agreed with a client that is let in.
#[derive(Clone, Debug)]
pub struct Agreement {
    pub session_expiry_interval: u32,
    /// The client's Maximum Packet Size.
    pub maximum_packet_size: Option<u32>,
    pub problem_information: bool,
    pub authentication_method: Option<Arc<str>>,
}

impl Connection {
    /// `limits` are those of the listener that the client came through.
    pub fn new(limits: Arc<Limits>) -> Self {
        Self {
            phase: Phase::AwaitConnect,
            version: ProtocolVersion::V311,
            limits,
            acks: AckQueue::default(),
            aliases: None,
            open_inbound: 0,
            maximum_packet_size: None,
            problem_information: true,
            session_expiry_interval: 0,
            authentication_method: None,
            owes_too_much: false,
            out: Vec::new(),
        }
    }

    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The client's version, once CONNECT has told it.
    pub fn version(&self) -> Option<ProtocolVersion> {
        (self.phase != Phase::AwaitConnect).then_some(self.version)
    }

    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// The bound that holds for the next packet, in bytes.
    pub fn packet_size_max(&self) -> u32 {
        let size = match self.phase {
            Phase::Connected => self.limits.max_packet_size,
            _ => self.limits.max_connect_size,
        };
        u32::try_from(size.0).unwrap_or(u32::MAX)
    }

    /// In seconds; DISCONNECT may have changed it.
    pub const fn session_expiry_interval(&self) -> u32 {
        self.session_expiry_interval
    }

    /// A client that has this much unanswered is read from no further: for versions without Receive Maximum.
    pub fn is_congested(&self) -> bool {
        self.acks.len() > usize::from(self.limits.receive_maximum)
    }

    /// An answer is over the client's Maximum Packet Size and was not sent `[MQTT-3.1.2-24]`. The client would wait for it for ever:
    /// the caller ends the connection with 0x95.
    pub const fn owes_too_much(&self) -> bool {
        self.owes_too_much
    }

    /// What is to be written next.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Takes one packet of the client.
    pub fn handle_packet<'a>(&mut self, packet: &'a Packet<'a>, session: &impl SessionCell) -> Result<Action<'a>, Violation> {
        match self.phase {
            Phase::Connected => self.handle_connected(packet, session),
            Phase::AwaitConnect => match packet {
                Packet::Connect(connect) => {
                    self.phase = Phase::Authenticating;
                    self.version = connect.version;
                    self.problem_information = connect.properties.request_problem_information;
                    // A DISCONNECT before CONNACK is measured against it too (3.14.2.2.2).
                    self.session_expiry_interval = connect.properties.session_expiry_interval;
                    self.maximum_packet_size = connect.properties.maximum_packet_size.and_then(NonZeroU32::new);
                    Ok(Action::Connect(connect))
                }
                _ => Err(violation(DisconnectReason::ProtocolError, "the first packet is not CONNECT")),
            },
            Phase::Authenticating => match packet {
                // [MQTT-3.1.2-30] Until CONNACK the client sends nothing but AUTH and DISCONNECT when it has named a method.
                Packet::Auth(auth) => Ok(Action::Authenticate(auth)),
                Packet::Disconnect(disconnect) => self.handle_disconnect(disconnect),
                _ => Err(violation(DisconnectReason::ProtocolError, "a packet other than AUTH or DISCONNECT before CONNACK")),
            },
            Phase::Closed => Ok(Action::None),
        }
    }

    fn handle_connected<'a>(&mut self, packet: &'a Packet<'a>, session: &impl SessionCell) -> Result<Action<'a>, Violation> {
        match packet {
            Packet::Publish(publish) => {
                self.handle_publish(publish, session).map(Action::Publish).or_else(Duplicate::into_action)
            }
            Packet::PubAck(ack) => Ok(session
                .with(|session| session.outbound.handle_puback(ack.packet_id))
                .map_or(Action::None, |queued| Action::Settled(queued, ack.reason))),
            Packet::PubRec(ack) => Ok(self.handle_pubrec(ack, session)),
            Packet::PubRel(release) => Ok(self.handle_pubrel(release.packet_id, session)),
            Packet::PubComp(release) => {
                session.with(|session| session.outbound.handle_pubcomp(release.packet_id));
                Ok(Action::None)
            }
            Packet::Subscribe(subscribe) => Ok(Action::Subscribe(subscribe)),
            Packet::Unsubscribe(unsubscribe) => Ok(Action::Unsubscribe(unsubscribe)),
            Packet::PingReq => {
                self.send(&Packet::PingResp); // [MQTT-3.12.4-1]
                Ok(Action::None)
            }
            Packet::Disconnect(disconnect) => self.handle_disconnect(disconnect),
            Packet::Auth(auth) => self.handle_auth(auth),
            // [MQTT-3.1.0-2]
            Packet::Connect(_) => Err(violation(DisconnectReason::ProtocolError, "a second CONNECT")),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                Err(violation(DisconnectReason::ProtocolError, "a packet that only a server sends"))
            }
        }
    }

    fn handle_publish<'a>(
        &mut self,
        publish: &'a Publish<'a>,
        session: &impl SessionCell,
    ) -> Result<InboundPublish<'a>, Duplicate> {
        let topic = self.resolve_topic(publish)?;
        let Some(id) = publish.delivery.packet_id() else {
            return Ok(InboundPublish { topic, packet: publish, ack: None });
        };
        // [MQTT-3.3.4-9], [MQTT-4.9.0-1]: the client counts its unacknowledged messages, and so do we.
        if self.version.has_properties() && self.open_inbound >= u32::from(self.limits.receive_maximum) {
            return Err(over_limit(
                Limit::ReceiveMaximum,
                DisconnectReason::ReceiveMaximumExceeded,
                "more unacknowledged messages than Receive Maximum",
            )
            .into());
        }
        let is_exactly_once = publish.delivery.qos() == crate::packet::QoS::ExactlyOnce;
        if is_exactly_once && !session.with(|session| session.receive(id)) {
            return Err(Duplicate::Repeated(self.acks.open(Ack::PubRec(id, PublishReason::Success))));
        }
        self.open_inbound += 1;
        let ack =
            if is_exactly_once { Ack::PubRec(id, PublishReason::Success) } else { Ack::PubAck(id, PublishReason::Success) };
        Ok(InboundPublish { topic, packet: publish, ack: Some(self.acks.open(ack)) })
    }

    /// The topic that a PUBLISH is on, without taking it: `None` if it names none that is known.
    pub fn topic_of(&self, publish: &Publish<'_>) -> Option<Arc<str>> {
        match (publish.topic, publish.properties.topic_alias) {
            (Some(topic), _) => Some(topic.as_str().into()),
            (None, alias) => self.aliases.as_ref()?.resolve(alias?),
        }
    }

    fn resolve_topic<'a>(&mut self, publish: &Publish<'a>) -> Result<Topic<'a>, Violation> {
        let topic = match (publish.topic, publish.properties.topic_alias) {
            (Some(topic), None) => Topic::Named(topic),
            (named, Some(alias)) => {
                // [MQTT-3.3.2-9]
                if alias > self.limits.topic_alias_maximum {
                    return Err(over_limit(
                        Limit::TopicAliasMaximum,
                        DisconnectReason::TopicAliasInvalid,
                        "a topic alias above Topic Alias Maximum",
                    ));
                }
                match named {
                    Some(topic) => {
                        self.aliases.get_or_insert_default().define(alias, topic);
                        Topic::Named(topic)
                    }
                    None => self
                        .aliases
                        .as_ref()
                        .and_then(|aliases| aliases.resolve(alias))
                        .map(Topic::Aliased)
                        .ok_or(violation(DisconnectReason::ProtocolError, "a topic alias that was never set"))?,
                }
            }
            (None, None) => return Err(violation(DisconnectReason::TopicNameInvalid, "neither topic nor topic alias")),
        };
        if let Topic::Named(name) = topic
            && let Err(limit) = self.limits.check_topic(name.as_str())
        {
            let detail = "a topic over the server's limit of length or levels";
            return Err(over_limit(limit, DisconnectReason::TopicNameInvalid, detail));
        }
        Ok(topic)
    }

    fn handle_pubrec(&mut self, ack: &PublishAck<'_>, session: &impl SessionCell) -> Action<'static> {
        let received = session.with(|session| session.outbound.handle_pubrec(ack.packet_id, ack.reason));
        let reason = match received {
            Received::Release => ReleaseReason::Success,
            Received::ReleaseStored(number) => {
                return Action::Release(self.acks.open(Ack::PubRel(ack.packet_id, ReleaseReason::Success)), number);
            }
            Received::Refused(queued) => return Action::Settled(queued, ack.reason),
            Received::Unknown if ack.reason.is_error() => return Action::None,
            Received::Unknown => ReleaseReason::PacketIdentifierNotFound,
        };
        if self.acks.is_empty() {
            self.send(&Packet::PubRel(Release::new(ack.packet_id, reason))); // [MQTT-4.3.3-4]
        } else {
            // Behind those that wait for the disk [MQTT-4.6.0-4].
            let token = self.acks.open(Ack::PubRel(ack.packet_id, reason));
            self.complete(token, PublishReason::Success.into(), session);
        }
        Action::None
    }

    fn handle_pubrel(&mut self, id: PacketId, session: &impl SessionCell) -> Action<'static> {
        let was_there = session.with(|session| session.release(id));
        let reason = if was_there { ReleaseReason::Success } else { ReleaseReason::PacketIdentifierNotFound };
        let token = self.acks.open(Ack::PubComp(id, reason));
        if was_there { Action::Released(token, id) } else { Action::Repeated(token) }
    }

    fn handle_disconnect(&mut self, disconnect: &Disconnect<'_>) -> Result<Action<'static>, Violation> {
        let mut limit = None;
        if let Some(interval) = disconnect.session_expiry_interval {
            // 3.14.2.2.2: not from zero to anything else.
            if self.session_expiry_interval == 0 && interval != 0 {
                return Err(violation(
                    DisconnectReason::ProtocolError,
                    "a session expiry at DISCONNECT where CONNECT had none",
                ));
            }
            self.session_expiry_interval = self.limits.bound_session_expiry(interval);
            limit = (self.session_expiry_interval != interval).then_some(Limit::MaxSessionExpiry);
        }
        self.phase = Phase::Closed;
        // Any code but 0x00 leaves the will in place [MQTT-3.1.2-10].
        let publish_will = disconnect.reason != DisconnectReason::NormalDisconnection;
        Ok(Action::Disconnect { reason: disconnect.reason, publish_will, limit })
    }

    fn handle_auth<'a>(&mut self, auth: &'a Auth<'a>) -> Result<Action<'a>, Violation> {
        // [MQTT-4.12.1-1]
        if self.authentication_method.is_none() || self.authentication_method.as_deref() != auth.authentication_method {
            return Err(violation(DisconnectReason::ProtocolError, "AUTH with another method than CONNECT"));
        }
        Ok(Action::Authenticate(auth))
    }

    /// Whether the client takes a packet of this size, at most without Reason String and User Properties `[MQTT-3.1.2-24]`.
    pub fn may_send(&self, packet: &Packet<'_>) -> bool {
        encode_within(packet, self.version, self.maximum_packet_size.map(NonZeroU32::get), &mut Vec::new()).is_ok()
    }

    /// The client is let in: from here on all its packets count.
    pub fn accept(&mut self, agreement: Agreement, connack: &ConnAck<'_>) {
        debug_assert_eq!(self.phase, Phase::Authenticating);
        self.phase = Phase::Connected;
        self.session_expiry_interval = agreement.session_expiry_interval;
        self.maximum_packet_size = agreement.maximum_packet_size.and_then(NonZeroU32::new);
        self.problem_information = agreement.problem_information;
        self.authentication_method = agreement.authentication_method;
        self.send(&Packet::ConnAck(*connack));
        if self.owes_too_much {
            self.phase = Phase::Closed; // [MQTT-3.14.0-1]: no DISCONNECT without a CONNACK before.
        }
    }

    /// The client is not let in `[MQTT-3.1.4-2]`, `[MQTT-3.2.2-7]`.
    pub fn refuse(&mut self, connack: &ConnAck<'_>) {
        self.send(&Packet::ConnAck(*connack));
        self.phase = Phase::Closed;
    }

    /// A CONNECT could not be read to its end, but its version could: the refusal is written in that.
    pub fn assume_version(&mut self, version: ProtocolVersion) {
        self.version = version;
    }

    /// One more step of an authentication.
    pub fn challenge(&mut self, reason: AuthReason, method: &str, data: Option<&[u8]>) {
        self.send(&Packet::Auth(Auth {
            reason,
            authentication_method: Some(method),
            authentication_data: data,
            reason_string: None,
            user_properties: Default::default(),
        }));
    }

    /// The message is owned, or refused: its acknowledgement leaves when its turn comes. The same for all else that has a token.
    pub fn publish_done(&mut self, token: AckToken, answer: impl Into<Answer>, session: &impl SessionCell) {
        self.complete(token, answer.into(), session);
    }

    /// One code for each filter, in their order `[MQTT-3.8.4-5]`, `[MQTT-3.8.4-6]`. It leaves with [`Self::publish_done`].
    pub fn subscribe_done(&mut self, packet_id: PacketId, reasons: Vec<SubscribeReason>, why: Option<&str>) -> AckToken {
        let why = why.filter(|_| self.problem_information).map(Box::from);
        self.acks.open(Ack::SubAck(packet_id, Box::new((reasons, why))))
    }

    /// One code for each filter, and one packet whatever they say `[MQTT-3.10.4-4]`, `[MQTT-3.10.4-5]`. It leaves with
    /// [`Self::publish_done`].
    pub fn unsubscribe_done(&mut self, packet_id: PacketId, reasons: Vec<UnsubscribeReason>) -> AckToken {
        self.acks.open(Ack::UnsubAck(packet_id, Box::new(reasons)))
    }

    /// All acknowledgements before this one have been written.
    pub const fn next_ack(&self) -> AckToken {
        self.acks.next_to_leave()
    }

    /// Whether a SUBSCRIBE waits to be answered.
    pub fn owes_suback(&self) -> bool {
        self.acks.has_suback()
    }

    /// Whether something waits to be answered.
    pub fn owes(&self) -> bool {
        !self.acks.is_empty()
    }

    /// Ends the connection from our side. Clients of 5.0 are told why (4.13); older ones have no packet for it.
    pub fn disconnect(&mut self, reason: DisconnectReason, why: Option<&str>) {
        if self.phase == Phase::Connected && self.version.has_properties() {
            self.send(&Packet::Disconnect(Disconnect { reason_string: why, ..Disconnect::new(reason) }));
        }
        self.phase = Phase::Closed;
    }

    fn complete(&mut self, token: AckToken, answer: Answer, session: &impl SessionCell) {
        match self.acks.complete(token, answer) {
            // A refused QoS 2 message leaves no trace: its identifier is free, no PUBREL comes (4.3.3).
            Some(Ack::PubRec(id, reason)) if reason.is_error() => {
                session.with(|session| session.release(*id));
            }
            Some(Ack::PubRec(id, _)) => session.with(|session| session.owned(*id)),
            Some(_) => {}
            None => return,
        }
        while let Some((ack, note)) = self.acks.pop_ready() {
            self.write_ack(ack, note);
        }
    }

    fn write_ack(&mut self, ack: Ack, note: Note) {
        let ends_exchange = match ack {
            Ack::PubAck(..) => true,
            Ack::PubRec(_, reason) => reason.is_error(),
            Ack::PubComp(..) => true, // 4.9: whatever code it has.
            Ack::PubRel(..) | Ack::SubAck(..) | Ack::UnsubAck(..) => false,
        };
        if ends_exchange {
            self.open_inbound = self.open_inbound.saturating_sub(1);
        }
        let user_properties = Default::default();
        let note = if self.problem_information { note } else { Note::None }; // [MQTT-3.1.2-29]
        let packet = match ack {
            Ack::PubAck(id, reason) if note == Note::None => Packet::PubAck(PublishAck::new(id, reason)),
            Ack::PubRec(id, reason) if note == Note::None => Packet::PubRec(PublishAck::new(id, reason)),
            Ack::PubAck(..) | Ack::PubRec(..) => return self.send_noted(&ack, note),
            Ack::PubRel(id, reason) => Packet::PubRel(Release::new(id, reason)), // [MQTT-4.3.3-4]
            Ack::PubComp(id, reason) => Packet::PubComp(Release::new(id, reason)),
            Ack::SubAck(packet_id, answer) => {
                let (reasons, why) = *answer;
                let answer = SubAck { packet_id, reason_string: why.as_deref(), user_properties, reasons };
                return self.send(&Packet::SubAck(answer));
            }
            Ack::UnsubAck(packet_id, reasons) => {
                Packet::UnsubAck(UnsubAck { packet_id, reason_string: None, user_properties, reasons: *reasons })
            }
        };
        self.send(&packet);
    }

    /// The acknowledgement of a PUBLISH with more than a code.
    fn send_noted(&mut self, ack: &Ack, note: Note) {
        let mut properties = UserPropertiesBuf::new();
        let mut reason_string = None;
        match note {
            Note::None => {}
            Note::Reason(why) => reason_string = Some(why),
            Note::Property(name, value) => properties.push(name, value),
        }
        let answer =
            |id, reason| PublishAck { reason_string, user_properties: properties.as_ref(), ..PublishAck::new(id, reason) };
        match *ack {
            Ack::PubAck(id, reason) => self.send(&Packet::PubAck(answer(id, reason))),
            Ack::PubRec(id, reason) => self.send(&Packet::PubRec(answer(id, reason))),
            Ack::PubRel(..) | Ack::PubComp(..) | Ack::SubAck(..) | Ack::UnsubAck(..) => {}
        }
    }

    fn send(&mut self, packet: &Packet<'_>) {
        self.owes_too_much |=
            encode_within(packet, self.version, self.maximum_packet_size.map(NonZeroU32::get), &mut self.out).is_err();
    }
}

/// Why a PUBLISH goes no further.
enum Duplicate {
    Violation(Violation),
    /// It came before, and is acknowledged again.
    Repeated(AckToken),
}

impl Duplicate {
    fn into_action<'a>(self) -> Result<Action<'a>, Violation> {
        match self {
            Self::Violation(violation) => Err(violation),
            Self::Repeated(token) => Ok(Action::Repeated(token)),
        }
    }
}

impl From<Violation> for Duplicate {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}
