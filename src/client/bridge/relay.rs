use std::collections::{HashSet, VecDeque};

use super::caution::Caution;
use super::topics::Rules;
use crate::packet::{
    Delivery, ForwardedProperties, MessageView, OutgoingPublish, Packet, PacketId, ProtocolVersion, Publish, PublishAck,
    PublishReason, QoS, Release, ReleaseReason, TopicName, UserPropertiesBuf, encode, encode_publish, encoded_publish_length,
};

/// What is known of one side's broker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) version: ProtocolVersion,
    pub(super) maximum_qos: QoS,
    pub(super) maximum_packet_size: Option<u32>,
    /// It has kept the session of the last connection.
    pub(super) session_present: bool,
}

/// Passes packets from one side to the other and keeps their identifiers. Sans-IO: it writes into two buffers.
#[derive(Debug)]
pub(super) struct Relay {
    rules: Rules,
    /// The user property that says that a message has gone this way already, and how it is encoded.
    mark: Option<(String, Vec<u8>)>,
    outgoing: Way,
    incoming: Way,
    caution: Caution,
}

/// What outlives the connections.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) caution: Caution,
    /// [`Way::cleared`] of both ways.
    outgoing_cleared: Option<HashSet<PacketId>>,
    incoming_cleared: Option<HashSet<PacketId>>,
}

/// Messages from `source` to `target`.
#[derive(Debug)]
struct Way {
    source: Peer,
    target: Peer,
    /// QoS 2 messages of the source whose PUBREL is answered here: the target knows nothing of them, or has had them with QoS
    /// 1.
    own_release: HashSet<PacketId>,
    /// QoS 2 messages that went to the target with QoS 1.
    lowered: HashSet<PacketId>,
    /// The source has begun anew and the target has not: identifiers whose old meaning the target has forgotten.
    cleared: Option<HashSet<PacketId>>,
    /// Identifiers whose old meaning it has been told to forget: their PUBCOMPs are for us.
    unasked: HashSet<PacketId>,
    /// Messages whose identifiers the target has still to forget, and those behind them: sent before that is known, a message would be
    /// lost or doubled if the connection broke.
    held: VecDeque<Held>,
    /// Bytes of `held`.
    held_bytes: usize,
}

#[derive(Debug)]
struct Held {
    id: Option<PacketId>,
    bytes: Vec<u8>,
}

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Local,
    Remote,
}

/// What came of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A message has gone on.
    Forwarded,
    /// A message has not: for this reason it is not to, and its source is told that it is done.
    Dropped(Drop),
    /// An acknowledgement, which has gone on.
    Passed,
    /// The target has refused a message which the source must not lose: the connections are to be closed.
    Refused(PublishReason),
}

/// Why a message does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drop {
    /// No rule is for it (any more).
    Unmatched,
    /// It has been there already.
    Loop,
    /// It is larger than the target takes.
    TooLarge,
    /// The target will not have it, now or later.
    Rejected,
    /// The other broker has ended the connection again and again when it came.
    Condemned,
}

/// The name of the user property that marks what has gone over a bridge.
const MARK: &str = "dunlin-bridge";

impl Relay {
    /// `mark` is what no other bridge marks by, wherever it is; none to mark nothing. `memory` is what the relay of the last connection
    /// has left.
    pub(super) fn new(rules: Rules, mark: Option<String>, local: Peer, remote: Peer, memory: Memory) -> Self {
        let mark = mark.map(|mark| {
            let mut encoded = UserPropertiesBuf::new();
            encoded.push(MARK, &mark);
            (mark, encoded.into_bytes())
        });
        // A new session's identifiers mean other messages.
        let caution = if local.session_present { memory.caution } else { Caution::default() };
        let outgoing = Way::new(local, remote, memory.outgoing_cleared);
        let incoming = Way::new(remote, local, memory.incoming_cleared);
        Self { rules, mark, outgoing, incoming, caution }
    }

    /// What is left when the connections have ended; [`Caution::ended`] has `blame`.
    pub(super) fn end(mut self, blame: u32) -> Memory {
        self.caution.ended(blame);
        Memory { caution: self.caution, outgoing_cleared: self.outgoing.cleared, incoming_cleared: self.incoming.cleared }
    }

    /// Whether messages of `side` must wait: one goes alone.
    pub(super) fn must_wait(&self, side: Side) -> bool {
        side == Side::Local && self.caution.must_wait()
    }

    /// Bytes that came from `side` and wait here.
    pub(super) fn held(&self, side: Side) -> usize {
        if side == Side::Local { self.outgoing.held_bytes } else { self.incoming.held_bytes }
    }

    /// A message of `side` that is larger than we take is not to go on, and its source hears that it is done.
    pub(super) fn pass_over(&mut self, side: Side, delivery: Delivery, back: &mut Vec<u8>) -> Outcome {
        let way = if side == Side::Local { &mut self.outgoing } else { &mut self.incoming };
        way.done(delivery, back);
        Outcome::Dropped(Drop::TooLarge)
    }

    /// Takes a packet from `side`. What is to go to the local and to the remote broker is appended.
    pub(super) fn handle(&mut self, side: Side, packet: &Packet<'_>, local: &mut Vec<u8>, remote: &mut Vec<u8>) -> Outcome {
        let is_outgoing = side == Side::Local;
        let (back, on) = if is_outgoing { (local, remote) } else { (remote, local) };
        // What the side sends as a source, and what it answers as a target.
        let (ours, others) =
            if is_outgoing { (&mut self.outgoing, &mut self.incoming) } else { (&mut self.incoming, &mut self.outgoing) };
        match packet {
            Packet::Publish(publish) => {
                let id = publish.delivery.packet_id().filter(|_| is_outgoing);
                let forwarded = match id {
                    Some(id) if self.caution.condemns(id) => Err(Drop::Condemned),
                    _ => forward(&self.rules, self.mark.as_ref(), ours, is_outgoing, publish, on),
                };
                if forwarded != Ok(false) {
                    ours.done(publish.delivery, back);
                } else if let Some(id) = id {
                    self.caution.sent(id);
                }
                forwarded.map_or_else(Outcome::Dropped, |_| Outcome::Forwarded)
            }
            Packet::PubAck(ack) | Packet::PubRec(ack) => {
                if !is_outgoing {
                    self.caution.answered(ack.packet_id);
                }
                let is_one = matches!(packet, Packet::PubAck(_));
                let delivery = if is_one { Delivery::AtLeastOnce } else { Delivery::ExactlyOnce };
                others.acknowledged(ack, delivery(ack.packet_id), on)
            }
            Packet::PubComp(release) => {
                if others.unasked.remove(&release.packet_id) {
                    others.forgotten(release.packet_id, back);
                } else {
                    encode(&Packet::PubComp(Release::new(release.packet_id, release.reason)), others.source.version, on);
                }
                Outcome::Passed
            }
            Packet::PubRel(release) => {
                ours.release(release.packet_id, back, on);
                Outcome::Passed
            }
            _ => Outcome::Passed,
        }
    }
}

impl Way {
    fn new(source: Peer, target: Peer, cleared: Option<HashSet<PacketId>>) -> Self {
        let cleared = match (source.session_present, target.session_present) {
            // It remembers nothing.
            (_, false) => None,
            // An identifier of a session that has begun anew means a new message, whatever the target remembers.
            (false, true) => Some(HashSet::new()),
            (true, true) => cleared,
        };
        Self {
            source,
            target,
            own_release: HashSet::new(),
            lowered: HashSet::new(),
            cleared,
            unasked: HashSet::new(),
            held: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// Tells the source that a message is done with, though the target has not said so.
    fn done(&mut self, delivery: Delivery, back: &mut Vec<u8>) {
        let ack = |packet_id| PublishAck::new(packet_id, PublishReason::Success);
        match delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce(id) => encode(&Packet::PubAck(ack(id)), self.source.version, back),
            Delivery::ExactlyOnce(id) => {
                self.own_release.insert(id);
                encode(&Packet::PubRec(ack(id)), self.source.version, back);
            }
        }
    }

    /// The target has answered a PUBLISH. `on` goes to the source.
    fn acknowledged(&mut self, ack: &PublishAck<'_>, delivery: Delivery, on: &mut Vec<u8>) -> Outcome {
        let id = ack.packet_id;
        let source_delivery = if self.lowered.remove(&id) { Delivery::ExactlyOnce(id) } else { delivery };
        if ack.reason.is_error() {
            let is_final = matches!(
                ack.reason,
                PublishReason::NotAuthorized | PublishReason::TopicNameInvalid | PublishReason::PayloadFormatInvalid
            );
            if !is_final {
                return Outcome::Refused(ack.reason);
            }
            self.done(source_delivery, on);
            return Outcome::Dropped(Drop::Rejected);
        }
        if source_delivery != delivery {
            self.done(source_delivery, on);
            return Outcome::Passed;
        }
        let answer = PublishAck::new(id, ack.reason);
        let packet = if delivery.qos() == QoS::AtLeastOnce { Packet::PubAck(answer) } else { Packet::PubRec(answer) };
        encode(&packet, self.source.version, on);
        Outcome::Passed
    }

    /// The source has heard PUBREC. The exchange ends here if the target has no part in it.
    fn release(&mut self, id: PacketId, back: &mut Vec<u8>, on: &mut Vec<u8>) {
        let release = Release::new(id, ReleaseReason::Success);
        if self.own_release.remove(&id) {
            encode(&Packet::PubComp(release), self.source.version, back);
        } else {
            encode(&Packet::PubRel(release), self.target.version, on);
        }
    }

    /// Whether the target may still know an identifier from the source's last session.
    fn is_stale(&self, id: Option<PacketId>) -> bool {
        id.zip(self.cleared.as_ref()).is_some_and(|(id, cleared)| !cleared.contains(&id))
    }

    /// Whether a message has to wait; the target is then told to forget what its identifier meant in the source's last session.
    fn must_hold(&mut self, id: Option<PacketId>, on: &mut Vec<u8>) -> bool {
        if let Some(id) = id.filter(|id| self.is_stale(Some(*id)))
            && self.unasked.insert(id)
        {
            encode(&Packet::PubRel(Release::new(id, ReleaseReason::Success)), self.target.version, on);
        }
        self.is_stale(id) || !self.held.is_empty() // in their order
    }

    fn hold(&mut self, id: Option<PacketId>, bytes: Vec<u8>) {
        self.held_bytes += bytes.len();
        self.held.push_back(Held { id, bytes });
    }

    /// The target has forgotten an identifier: what has waited for that goes on.
    fn forgotten(&mut self, id: PacketId, on: &mut Vec<u8>) {
        if let Some(cleared) = &mut self.cleared {
            cleared.insert(id);
        }
        while let Some(held) = self.held.pop_front() {
            if self.is_stale(held.id) {
                self.held.push_front(held);
                return;
            }
            self.held_bytes -= held.bytes.len();
            on.extend_from_slice(&held.bytes);
        }
    }
}

/// Sends a message on, if it may go. Returns whether the source is to be answered at once, since the target will not answer.
fn forward(
    rules: &Rules,
    mark: Option<&(String, Vec<u8>)>,
    way: &mut Way,
    is_outgoing: bool,
    publish: &Publish<'_>,
    on: &mut Vec<u8>,
) -> Result<bool, Drop> {
    // We let no one use aliases.
    let topic = publish.topic.ok_or(Drop::Unmatched)?;
    let topic = rules.map(topic, is_outgoing).ok_or(Drop::Unmatched)?;
    if !rules.is_within(&topic, is_outgoing) {
        return Err(Drop::Rejected);
    }
    let mut run = Vec::new();
    if let Some((mark, encoded)) = mark {
        if publish.properties.user_properties.iter().any(|(name, value)| name == MARK && value == mark) {
            return Err(Drop::Loop);
        }
        publish.properties.forwarded.copy_to(&mut run);
        run.extend_from_slice(encoded);
    } else {
        publish.properties.forwarded.copy_to(&mut run);
    }
    let view = MessageView {
        topic: TopicName::new(&topic).map_err(|_| Drop::Unmatched)?,
        properties: ForwardedProperties::read(&run).map_err(|_| Drop::Unmatched)?,
        payload: publish.payload,
    };
    let delivery = lower(publish.delivery, way.target.maximum_qos);
    let outgoing = OutgoingPublish {
        dup: publish.dup && delivery != Delivery::AtMostOnce,
        retain: publish.retain,
        delivery,
        message_expiry_interval: publish.properties.message_expiry_interval,
        subscription_identifiers: &[],
        topic_alias: None,
    };
    let version = way.target.version;
    let length = encoded_publish_length(&view, &outgoing, version);
    if way.target.maximum_packet_size.is_some_and(|maximum| length > maximum as usize) {
        return Err(Drop::TooLarge);
    }
    let id = delivery.packet_id();
    if delivery.qos() < publish.delivery.qos() {
        way.lowered.extend(id);
    }
    if way.must_hold(id, on) {
        let mut bytes = Vec::new();
        encode_publish(&view, &outgoing, version, &mut bytes).map_err(|_| Drop::TooLarge)?;
        way.hold(id, bytes);
    } else {
        encode_publish(&view, &outgoing, version, on).map_err(|_| Drop::TooLarge)?;
    }
    Ok(delivery == Delivery::AtMostOnce && publish.delivery != Delivery::AtMostOnce)
}

fn lower(delivery: Delivery, maximum: QoS) -> Delivery {
    match (delivery, maximum) {
        (_, QoS::AtMostOnce) => Delivery::AtMostOnce,
        (Delivery::ExactlyOnce(id), QoS::AtLeastOnce) => Delivery::AtLeastOnce(id),
        (delivery, _) => delivery,
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
