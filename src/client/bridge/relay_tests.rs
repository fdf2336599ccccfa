use super::*;
use crate::client::bridge::{BridgeTopic, Direction};
use crate::packet::{Decoder, PublishProperties};
use crate::session::Limits;

const VERSION: ProtocolVersion = ProtocolVersion::V5;

fn peer(session_present: bool) -> Peer {
    Peer { version: VERSION, maximum_qos: QoS::ExactlyOnce, maximum_packet_size: None, session_present }
}

fn relay(local: Peer, remote: Peer) -> Relay {
    relay_after(local, remote, Memory::default())
}

fn relay_after(local: Peer, remote: Peer, memory: Memory) -> Relay {
    let limits = Limits { max_topic_levels: 3, ..Limits::default() };
    let rules = Rules::new(&[BridgeTopic::new("a/#", Direction::Both)]).unwrap().within(limits);
    Relay::new(rules, Some("me".into()), local, remote, memory)
}

/// What goes to the local and to the remote broker, in a few words, and what came of it.
fn step(relay: &mut Relay, side: Side, packet: Packet<'_>) -> (Vec<String>, Vec<String>, Outcome) {
    // As it would have been read.
    let mut bytes = Vec::new();
    encode(&packet, VERSION, &mut bytes);
    let (mut local, mut remote) = (Vec::new(), Vec::new());
    let (packet, _) = decoder(crate::packet::Peer::Server).decode(&bytes).unwrap().unwrap();
    let outcome = relay.handle(side, &packet, &mut local, &mut remote);
    (words(&local), words(&remote), outcome)
}

fn decoder(peer: crate::packet::Peer) -> Decoder {
    Decoder { version: Some(VERSION), maximum_packet_size: u32::MAX, user_properties_max: 99, filters_max: 9, peer }
}

fn words(mut bytes: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    while !bytes.is_empty() {
        let (packet, length) = decoder(crate::packet::Peer::Client).decode(bytes).unwrap().unwrap();
        let name = packet.packet_type().name();
        words.push(match packet {
            Packet::Publish(publish) => {
                let id = publish.delivery.packet_id().map_or(0, PacketId::get);
                let marks = publish.properties.user_properties.iter().filter(|(name, _)| *name == MARK).count();
                let (qos, dup) = (publish.delivery.qos(), if publish.dup { " dup" } else { "" });
                format!("PUBLISH {id} q{qos} m{marks}{dup}")
            }
            Packet::PubAck(ack) | Packet::PubRec(ack) => format!("{name} {}", ack.packet_id),
            Packet::PubRel(release) | Packet::PubComp(release) => format!("{name} {}", release.packet_id),
            _ => name.into(),
        });
        bytes = &bytes[length..];
    }
    words
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn publish(topic: &'static str, delivery: Delivery, dup: bool) -> Packet<'static> {
    Packet::Publish(Publish {
        dup,
        retain: false,
        delivery,
        topic: Some(TopicName::new(topic).unwrap()),
        properties: PublishProperties::default(),
        payload: b"x",
    })
}

fn ack(number: u16, reason: PublishReason) -> PublishAck<'static> {
    PublishAck::new(id(number), reason)
}

fn release(number: u16) -> Release<'static> {
    Release::new(id(number), ReleaseReason::Success)
}

const NOTHING: [&str; 0] = [];

#[test]
fn the_source_hears_what_the_target_says_and_no_sooner() {
    let mut relay = relay(peer(true), peer(true));
    let (local, remote, outcome) = step(&mut relay, Side::Local, publish("a/1", Delivery::AtLeastOnce(id(9)), false));
    assert_eq!((local, remote, outcome), (vec![], vec!["PUBLISH 9 q1 m1".into()], Outcome::Forwarded));
    let (local, remote, _) = step(&mut relay, Side::Remote, Packet::PubAck(ack(9, PublishReason::Success)));
    assert_eq!((local, remote), (vec!["PUBACK 9".into()], vec![]));
    let (local, remote, _) = step(&mut relay, Side::Remote, publish("a/1", Delivery::ExactlyOnce(id(9)), true));
    assert_eq!(local, ["PUBLISH 9 q2 m1 dup"], "the other direction has identifiers of its own");
    assert_eq!(remote, NOTHING);
    for (side, packet, to_local, to_remote) in [
        (Side::Local, Packet::PubRec(ack(9, PublishReason::Success)), None, Some("PUBREC 9")),
        (Side::Remote, Packet::PubRel(release(9)), Some("PUBREL 9"), None),
        (Side::Local, Packet::PubComp(release(9)), None, Some("PUBCOMP 9")),
    ] {
        let (local, remote, _) = step(&mut relay, side, packet);
        assert_eq!((local.first().map(String::as_str), remote.first().map(String::as_str)), (to_local, to_remote));
    }
}

#[test]
fn what_does_not_go_on_is_done_for_its_source() {
    let mut relay = relay(peer(true), Peer { maximum_packet_size: Some(40), ..peer(true) });
    let (local, remote, outcome) = step(&mut relay, Side::Local, publish("b", Delivery::ExactlyOnce(id(3)), false));
    assert_eq!((local, remote), (vec!["PUBREC 3".into()], vec![]));
    assert_eq!(outcome, Outcome::Dropped(Drop::Unmatched));
    let (local, remote, _) = step(&mut relay, Side::Local, Packet::PubRel(release(3)));
    assert_eq!((local, remote), (vec!["PUBCOMP 3".into()], vec![]), "the target has no part in it");
    let large = publish("a/a-rather-long-name-of-a-topic", Delivery::AtLeastOnce(id(4)), false);
    let (local, _, outcome) = step(&mut relay, Side::Local, large);
    assert_eq!((local, outcome), (vec!["PUBACK 4".into()], Outcome::Dropped(Drop::TooLarge)));
}

#[test]
fn a_message_with_our_own_mark_goes_no_further() {
    let mut relay = relay(peer(true), peer(true));
    let mut pairs = UserPropertiesBuf::new();
    pairs.push(MARK, "other");
    let marked = |pairs: &UserPropertiesBuf, relay: &mut Relay| {
        let properties = PublishProperties { user_properties: pairs.as_ref(), ..PublishProperties::default() };
        let Packet::Publish(publish) = publish("a/1", Delivery::AtMostOnce, false) else { panic!() };
        let mut bytes = Vec::new();
        encode(&Packet::Publish(Publish { properties, ..publish }), VERSION, &mut bytes);
        let (packet, _) = decoder(crate::packet::Peer::Server).decode(&bytes).unwrap().unwrap();
        let (mut local, mut remote) = (Vec::new(), Vec::new());
        let outcome = relay.handle(Side::Local, &packet, &mut local, &mut remote);
        (words(&remote), outcome)
    };
    assert_eq!(marked(&pairs, &mut relay), (vec!["PUBLISH 0 q0 m2".into()], Outcome::Forwarded));
    pairs.push(MARK, "me");
    assert_eq!(marked(&pairs, &mut relay), (vec![], Outcome::Dropped(Drop::Loop)));
}

#[test]
fn a_refusal_for_now_ends_the_connection_and_one_for_good_the_message() {
    let mut relay = relay(peer(true), peer(true));
    step(&mut relay, Side::Local, publish("a/1", Delivery::ExactlyOnce(id(1)), false));
    let (local, _, outcome) = step(&mut relay, Side::Remote, Packet::PubRec(ack(1, PublishReason::QuotaExceeded)));
    assert_eq!((local, outcome), (vec![], Outcome::Refused(PublishReason::QuotaExceeded)));
    let (local, _, outcome) = step(&mut relay, Side::Remote, Packet::PubRec(ack(1, PublishReason::NotAuthorized)));
    assert_eq!((local, outcome), (vec!["PUBREC 1".into()], Outcome::Dropped(Drop::Rejected)));
    let (local, remote, _) = step(&mut relay, Side::Local, Packet::PubRel(release(1)));
    assert_eq!((local, remote), (vec!["PUBCOMP 1".into()], vec![]));
}

#[test]
fn a_target_that_takes_less_gets_less() {
    let mut relay = relay(peer(true), Peer { maximum_qos: QoS::AtLeastOnce, ..peer(true) });
    let (_, remote, _) = step(&mut relay, Side::Local, publish("a/1", Delivery::ExactlyOnce(id(5)), false));
    assert_eq!(remote, ["PUBLISH 5 q1 m1"]);
    let (local, _, _) = step(&mut relay, Side::Remote, Packet::PubAck(ack(5, PublishReason::Success)));
    assert_eq!(local, ["PUBREC 5"]);
    let (local, remote, _) = step(&mut relay, Side::Local, Packet::PubRel(release(5)));
    assert_eq!((local, remote), (vec!["PUBCOMP 5".into()], vec![]));
}

#[test]
fn a_target_forgets_the_identifiers_of_a_session_that_its_source_has_lost() {
    let mut relay = relay(peer(true), peer(false));
    let (local, _, _) = step(&mut relay, Side::Remote, publish("a/1", Delivery::ExactlyOnce(id(2)), false));
    assert_eq!(local, ["PUBREL 2"], "before it has said so, nobody knows what it would take the message for");
    let (local, remote, _) = step(&mut relay, Side::Local, Packet::PubComp(release(2)));
    assert_eq!((local, remote), (vec!["PUBLISH 2 q2 m1".into()], vec![]), "nobody has asked for the PUBCOMP");
    step(&mut relay, Side::Local, Packet::PubRec(ack(2, PublishReason::Success)));
    step(&mut relay, Side::Remote, Packet::PubRel(release(2)));
    let (_, remote, _) = step(&mut relay, Side::Local, Packet::PubComp(release(2)));
    assert_eq!(remote, ["PUBCOMP 2"]);
    let (local, _, _) = step(&mut relay, Side::Remote, publish("a/1", Delivery::ExactlyOnce(id(2)), false));
    assert_eq!(local, ["PUBLISH 2 q2 m1"], "once is enough");
    let (_, remote, _) = step(&mut relay, Side::Local, publish("a/1", Delivery::ExactlyOnce(id(2)), false));
    assert_eq!(remote, ["PUBLISH 2 q2 m1"], "the other direction is as it was");
}

#[test]
fn identifiers_that_the_target_has_to_forget_are_remembered_over_connections_that_break() {
    let mut relay = relay(peer(true), peer(false));
    let one = || publish("a/1", Delivery::ExactlyOnce(id(1)), true);
    step(&mut relay, Side::Remote, one());
    let (local, _, _) = step(&mut relay, Side::Local, Packet::PubComp(release(1)));
    assert_eq!(local, ["PUBLISH 1 q2 m1 dup"]);
    step(&mut relay, Side::Remote, publish("a/1", Delivery::ExactlyOnce(id(2)), false));
    // The second broke off before the target could answer. Both have their sessions now.
    let mut relay = relay_after(peer(true), peer(true), relay.end(0));
    let (local, _, _) = step(&mut relay, Side::Remote, one());
    assert_eq!(local, ["PUBLISH 1 q2 m1 dup"], "what it has forgotten it may know anew");
    let (local, _, _) = step(&mut relay, Side::Remote, publish("a/1", Delivery::ExactlyOnce(id(2)), true));
    assert_eq!(local, ["PUBREL 2"]);
    let mut relay = relay_after(peer(true), peer(false), relay.end(0));
    let (local, _, _) = step(&mut relay, Side::Remote, one());
    assert_eq!(local, ["PUBREL 1"], "the source has begun anew once more");
    let mut relay = relay_after(peer(false), peer(true), relay.end(0));
    let (local, _, _) = step(&mut relay, Side::Remote, one());
    assert_eq!(local, ["PUBLISH 1 q2 m1 dup"], "a target that has begun anew remembers nothing");
}

#[test]
fn what_is_behind_a_message_that_has_to_wait_waits_too() {
    let mut relay = relay(peer(true), peer(false));
    step(&mut relay, Side::Remote, publish("a/1", Delivery::ExactlyOnce(id(1)), false));
    step(&mut relay, Side::Local, Packet::PubComp(release(1)));
    for (delivery, sent) in [
        (Delivery::ExactlyOnce(id(2)), vec!["PUBREL 2"]),
        (Delivery::ExactlyOnce(id(1)), vec![]),
        (Delivery::AtMostOnce, vec![]),
        (Delivery::AtLeastOnce(id(3)), vec!["PUBREL 3"]),
        (Delivery::AtMostOnce, vec![]),
    ] {
        let (local, _, outcome) = step(&mut relay, Side::Remote, publish("a/1", delivery, false));
        assert_eq!((local, outcome), (sent.into_iter().map(String::from).collect(), Outcome::Forwarded));
    }
    assert!(relay.held(Side::Remote) > 0);
    let (local, _, _) = step(&mut relay, Side::Local, Packet::PubComp(release(2)));
    assert_eq!(local, ["PUBLISH 2 q2 m1", "PUBLISH 1 q2 m1", "PUBLISH 0 q0 m1"]);
    let (local, _, _) = step(&mut relay, Side::Local, Packet::PubComp(release(3)));
    assert_eq!(local, ["PUBLISH 3 q1 m1", "PUBLISH 0 q0 m1"]);
    assert_eq!(relay.held(Side::Remote), 0);
}

#[test]
fn a_message_that_ends_every_connection_is_dropped_and_done_for_its_source() {
    let mut relay = relay(peer(true), peer(true));
    let bad = || publish("a/1", Delivery::ExactlyOnce(id(7)), true);
    for _ in 0..4 {
        assert_eq!(step(&mut relay, Side::Local, bad()).2, Outcome::Forwarded);
        relay = relay_after(peer(true), peer(true), relay.end(2));
    }
    let (local, remote, outcome) = step(&mut relay, Side::Local, bad());
    assert_eq!((local, remote, outcome), (vec!["PUBREC 7".into()], vec![], Outcome::Dropped(Drop::Condemned)));
    let (local, remote, _) = step(&mut relay, Side::Local, Packet::PubRel(release(7)));
    assert_eq!((local, remote), (vec!["PUBCOMP 7".into()], vec![]));
    assert_eq!(step(&mut relay, Side::Local, bad()).2, Outcome::Forwarded, "another message");
    for _ in 0..4 {
        relay = relay_after(peer(false), peer(true), relay.end(2));
        assert_eq!(step(&mut relay, Side::Local, bad()).2, Outcome::Forwarded, "another session");
    }
}

#[test]
fn a_topic_that_is_beyond_the_limits_of_our_own_broker_does_not_go_in() {
    let mut relay = relay(peer(true), peer(true));
    let deep = |id| publish("a/b/c/d", Delivery::AtLeastOnce(id), false);
    let (local, remote, outcome) = step(&mut relay, Side::Remote, deep(id(1)));
    assert_eq!((local, remote, outcome), (vec![], vec!["PUBACK 1".into()], Outcome::Dropped(Drop::Rejected)));
    assert_eq!(step(&mut relay, Side::Local, deep(id(1))).2, Outcome::Forwarded, "those of the other broker are not known");
}
