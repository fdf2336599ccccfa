use std::collections::HashSet;

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
    /// The source has begun anew and the target has not: identifiers whose old meaning the target has been told to forget.
    cleared: Option<HashSet<PacketId>>,
    /// PUBCOMPs that answer such a word.
    unasked: HashSet<PacketId>,
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
}

/// The name of the user property that marks what has gone over a bridge.
const MARK: &str = "dunlin-bridge";

impl Relay {
    /// `mark` is what no other bridge marks by, wherever it is; none to mark nothing.
    pub(super) fn new(rules: Rules, mark: Option<String>, local: Peer, remote: Peer) -> Self {
        let mark = mark.map(|mark| {
            let mut encoded = UserPropertiesBuf::new();
            encoded.push(MARK, &mark);
            (mark, encoded.into_bytes())
        });
        Self { rules, mark, outgoing: Way::new(local, remote), incoming: Way::new(remote, local) }
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
                let forwarded = forward(&self.rules, self.mark.as_ref(), ours, is_outgoing, publish, on);
                match forwarded {
                    Ok(answer_now) => {
                        if answer_now {
                            ours.done(publish.delivery, back);
                        }
                        Outcome::Forwarded
                    }
                    Err(drop) => {
                        ours.done(publish.delivery, back);
                        Outcome::Dropped(drop)
                    }
                }
            }
            Packet::PubAck(ack) => others.acknowledged(ack, Delivery::AtLeastOnce(ack.packet_id), on),
            Packet::PubRec(ack) => others.acknowledged(ack, Delivery::ExactlyOnce(ack.packet_id), on),
            Packet::PubComp(release) => {
                if !others.unasked.remove(&release.packet_id) {
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
    fn new(source: Peer, target: Peer) -> Self {
        // An identifier of a session that has begun anew means a new message, whatever the target remembers.
        let is_half_new = !source.session_present && target.session_present;
        Self {
            source,
            target,
            own_release: HashSet::new(),
            lowered: HashSet::new(),
            cleared: is_half_new.then(HashSet::new),
            unasked: HashSet::new(),
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

    /// Makes the target forget what an identifier meant in the source's last session.
    fn clear(&mut self, id: PacketId, on: &mut Vec<u8>) {
        if self.cleared.as_mut().is_some_and(|cleared| cleared.insert(id)) {
            self.unasked.insert(id);
            encode(&Packet::PubRel(Release::new(id, ReleaseReason::Success)), self.target.version, on);
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
    if let Some(id) = delivery.packet_id() {
        way.clear(id, on);
        if delivery.qos() < publish.delivery.qos() {
            way.lowered.insert(id);
        }
    }
    encode_publish(&view, &outgoing, version, on).map_err(|_| Drop::TooLarge)?;
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
