use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::*;
use crate::packet::{
    ConnAck, ConnAckProperties, ConnectReason, Decoder, Delivery, DisconnectReason, Packet, PacketId, Peer, ProtocolVersion,
    Publish, PublishAck, PublishProperties, PublishReason, QoS, Release, ReleaseReason, TopicName, UserProperties, encode,
};

const VERSIONS: [ProtocolVersion; 3] = [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5];

struct Table {
    machine: Machine,
    version: ProtocolVersion,
    now: Instant,
    /// What has happened and was not looked at.
    events: VecDeque<Event>,
}

impl Table {
    fn new(version: ProtocolVersion) -> Self {
        let now = Instant::now();
        let options =
            Options { version, clean_start: false, client_id: "c".into(), topic_alias_maximum: 5, ..Options::default() };
        let mut table = Self { machine: Machine::new(options, now), version, now, events: VecDeque::new() };
        table.machine.connect(now);
        assert_eq!(table.sent(), ["CONNECT"]);
        table
    }

    /// What has been sent since the last time, in a few words.
    fn sent(&mut self) -> Vec<String> {
        let mut bytes = Vec::new();
        self.machine.take_output(&mut bytes);
        let mut words = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let version = (rest[0] >> 4 != 1).then_some(self.version);
            let decoder =
                Decoder { version, maximum_packet_size: u32::MAX, user_properties_max: 9, filters_max: 9, peer: Peer::Client };
            let (packet, length) = decoder.decode(rest).unwrap().unwrap();
            let name = packet.packet_type().name();
            words.push(match packet {
                Packet::Publish(publish) => {
                    let id = publish.delivery.packet_id().map_or(0, PacketId::get);
                    format!("PUBLISH {id}{}", if publish.dup { " DUP" } else { "" })
                }
                Packet::PubAck(ack) | Packet::PubRec(ack) => format!("{name} {}", ack.packet_id),
                Packet::PubRel(release) | Packet::PubComp(release) => format!("{name} {}", release.packet_id),
                _ => name.into(),
            });
            rest = &rest[length..];
        }
        words
    }

    fn receive(&mut self, packet: &Packet<'_>) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        encode(packet, self.version, &mut bytes);
        // Byte by byte: a packet counts when it is whole.
        assert_eq!(self.machine.receive(&bytes[..bytes.len() - 1], self.now)?, 0);
        assert_eq!(self.machine.receive(&bytes, self.now)?, bytes.len());
        while let Some(event) = self.machine.poll_event(self.now) {
            self.events.push_back(event);
        }
        Ok(())
    }

    fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn connack(&mut self, session_present: bool, receive_maximum: u16) {
        let session_present = session_present && self.version != ProtocolVersion::V31;
        let properties = ConnAckProperties { receive_maximum, ..ConnAckProperties::default() };
        self.receive(&Packet::ConnAck(ConnAck { session_present, reason: ConnectReason::Success, properties })).unwrap();
        assert!(matches!(self.event(), Some(Event::Connected { .. })));
    }

    fn publish(&mut self, qos: QoS) -> Option<PacketId> {
        self.machine.publish(Message { topic: "a".into(), qos, ..Message::default() }, self.now).unwrap()
    }

    fn message(&mut self, delivery: Delivery, dup: bool) {
        self.receive(&message(delivery, dup)).unwrap();
    }
}

fn message(delivery: Delivery, dup: bool) -> Packet<'static> {
    Packet::Publish(Publish {
        dup,
        retain: false,
        delivery,
        topic: Some(TopicName::new("a").unwrap()),
        properties: PublishProperties::default(),
        payload: b"x",
    })
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

#[test]
fn what_was_not_acknowledged_is_sent_again_in_order() {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let mut table = Table::new(version);
        table.connack(false, 100);
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce, QoS::AtLeastOnce] {
            table.publish(qos);
        }
        assert_eq!(table.sent(), ["PUBLISH 1", "PUBLISH 2", "PUBLISH 3", "PUBLISH 4"]);
        table.receive(&Packet::PubRec(PublishAck::new(id(2), PublishReason::Success))).unwrap();
        table.receive(&Packet::PubAck(PublishAck::new(id(4), PublishReason::Success))).unwrap();
        assert_eq!(table.sent(), ["PUBREL 2"]);
        assert_eq!(table.event(), Some(Event::Published { packet_id: id(4), reason: PublishReason::Success }));
        table.machine.lost();
        table.publish(QoS::AtLeastOnce);
        table.machine.connect(table.now);
        assert_eq!(table.sent(), ["CONNECT"]);
        table.connack(true, 100);
        assert_eq!(table.sent(), ["PUBLISH 1 DUP", "PUBREL 2", "PUBLISH 3 DUP", "PUBLISH 5"], "{version}");
        table.receive(&Packet::PubComp(Release::new(id(2), ReleaseReason::Success))).unwrap();
        assert_eq!(table.event(), Some(Event::Published { packet_id: id(2), reason: PublishReason::Success }));
        assert_eq!(table.machine.unacknowledged(), 3);
    }
}

#[test]
fn a_session_that_is_gone_gets_the_messages_as_new_ones() {
    for version in VERSIONS {
        let mut table = Table::new(version);
        table.connack(false, 100);
        table.publish(QoS::ExactlyOnce);
        table.publish(QoS::ExactlyOnce);
        table.receive(&Packet::PubRec(PublishAck::new(id(1), PublishReason::Success))).unwrap();
        table.sent();
        table.machine.connect(table.now);
        table.sent();
        table.connack(false, 100);
        assert_eq!(table.sent(), ["PUBLISH 2"], "{version}");
        // The server had acknowledged that it owns the first one.
        assert_eq!(table.event(), Some(Event::Published { packet_id: id(1), reason: PublishReason::Success }));
    }
}

#[test]
fn no_more_is_under_way_than_the_server_takes() {
    let mut table = Table::new(ProtocolVersion::V5);
    table.connack(false, 2);
    for _ in 0..4 {
        table.publish(QoS::ExactlyOnce);
    }
    assert_eq!(table.sent(), ["PUBLISH 1", "PUBLISH 2"]);
    table.receive(&Packet::PubRec(PublishAck::new(id(1), PublishReason::Success))).unwrap();
    assert_eq!(table.sent(), ["PUBREL 1"], "the place is free after PUBCOMP only [MQTT-4.9.0-2]");
    table.receive(&Packet::PubComp(Release::new(id(1), ReleaseReason::Success))).unwrap();
    table.receive(&Packet::PubRec(PublishAck::new(id(2), PublishReason::QuotaExceeded))).unwrap();
    assert_eq!(table.sent(), ["PUBLISH 3", "PUBLISH 4"], "a refusal frees the place too");
    table.event();
    assert_eq!(table.event(), Some(Event::Published { packet_id: id(2), reason: PublishReason::QuotaExceeded }));
}

#[test]
fn a_message_of_qos_2_is_told_once() {
    for version in VERSIONS {
        let mut table = Table::new(version);
        table.connack(false, 100);
        for dup in [false, true] {
            table.message(Delivery::ExactlyOnce(id(7)), dup);
        }
        assert_eq!(table.sent(), ["PUBREC 7", "PUBREC 7"]);
        table.receive(&Packet::PubRel(Release::new(id(7), ReleaseReason::Success))).unwrap();
        table.message(Delivery::ExactlyOnce(id(7)), false);
        assert_eq!(table.sent(), ["PUBCOMP 7", "PUBREC 7"]);
        assert_eq!(table.events.len(), 2, "{version}");
    }
}

#[test]
fn a_message_is_acknowledged_when_the_caller_is_done_with_it() {
    let taken = |event: Option<Event>| match event {
        Some(Event::Message(message)) => message.packet_id,
        other => panic!("{other:?}"),
    };
    for version in VERSIONS {
        let mut table = Table::new(version);
        table.connack(false, 100);
        let now = table.now;
        let mut bytes = Vec::new();
        let deliveries = [Delivery::AtLeastOnce(id(1)), Delivery::ExactlyOnce(id(2)), Delivery::AtLeastOnce(id(3))];
        deliveries.iter().for_each(|delivery| encode(&message(*delivery, false), version, &mut bytes));
        let mut used = table.machine.receive(&bytes, now).unwrap();
        assert!(table.sent().is_empty());
        assert_eq!(taken(table.machine.poll_event(now)), Some(id(1)));
        assert_eq!(table.machine.receive(&bytes[used..], now), Ok(0), "one after the other");
        assert!(table.sent().is_empty(), "nobody has said that it is done with");
        assert_eq!(table.machine.poll_event(now), None);
        assert_eq!(table.sent(), ["PUBACK 1"]);
        used += table.machine.receive(&bytes[used..], now).unwrap();
        assert!(used < bytes.len());
        assert_eq!(taken(table.machine.poll_event(now)), Some(id(2)));
        table.machine.disconnect(DisconnectReason::NormalDisconnection, None, UserProperties::default(), now);
        assert_eq!(table.sent(), ["PUBREC 2", "DISCONNECT"], "the third is the server's still: {version}");
    }
}

#[test]
fn a_message_that_is_declined_stays_with_the_server() {
    let mut table = Table::new(ProtocolVersion::V311);
    table.connack(false, 100);
    let now = table.now;
    for delivery in [Delivery::AtLeastOnce(id(1)), Delivery::ExactlyOnce(id(2))] {
        for dup in [false, true] {
            let mut bytes = Vec::new();
            encode(&message(delivery, dup), table.version, &mut bytes);
            table.machine.receive(&bytes, now).unwrap();
            assert!(matches!(table.machine.poll_event(now), Some(Event::Message(_))), "it is new each time");
            table.machine.decline();
            assert_eq!(table.machine.poll_event(now), None);
            assert!(table.sent().is_empty());
        }
    }
}

#[test]
fn what_was_taken_over_a_connection_that_broke_is_acknowledged_when_it_comes_again() {
    let mut table = Table::new(ProtocolVersion::V5);
    table.connack(false, 100);
    let now = table.now;
    let mut bytes = Vec::new();
    encode(&message(Delivery::ExactlyOnce(id(1)), false), table.version, &mut bytes);
    table.machine.receive(&bytes, now).unwrap();
    assert!(matches!(table.machine.poll_event(now), Some(Event::Message(_))));
    table.machine.lost();
    table.machine.connect(now);
    assert_eq!(table.sent(), ["CONNECT"], "the new connection owes nothing");
    table.connack(true, 100);
    table.message(Delivery::ExactlyOnce(id(1)), true);
    assert_eq!((table.sent(), table.event()), (vec!["PUBREC 1".into()], None));
}

#[test]
fn an_answer_that_does_not_fit_its_message_is_a_failure() {
    let ack = |number, reason| PublishAck::new(id(number), reason);
    let release = |number| Release::new(id(number), ReleaseReason::Success);
    let success = PublishReason::Success;
    for (is_released, answer) in [
        (false, Packet::PubAck(ack(2, success))),
        (false, Packet::PubComp(release(2))),
        (false, Packet::PubRec(ack(1, success))),
        (false, Packet::PubComp(release(1))),
        (true, Packet::PubAck(ack(2, success))),
        (true, Packet::PubRec(ack(2, PublishReason::QuotaExceeded))),
    ] {
        let mut table = Table::new(ProtocolVersion::V5);
        table.connack(false, 100);
        table.publish(QoS::AtLeastOnce);
        table.publish(QoS::ExactlyOnce);
        if is_released {
            table.receive(&Packet::PubRec(ack(2, success))).unwrap();
        }
        assert!(matches!(table.receive(&answer), Err(Failure::Protocol(_))), "{answer:?}");
        assert_eq!((table.event(), table.machine.unacknowledged()), (None, 2));
    }
}

#[test]
fn what_is_not_on_its_way_cannot_be_answered() {
    let mut table = Table::new(ProtocolVersion::V5);
    table.connack(false, 1);
    table.publish(QoS::AtLeastOnce);
    table.publish(QoS::AtLeastOnce);
    assert_eq!(table.sent(), ["PUBLISH 1"], "the second has to wait");
    for number in [2, 9] {
        table.receive(&Packet::PubAck(PublishAck::new(id(number), PublishReason::Success))).unwrap();
    }
    assert_eq!((table.event(), table.machine.unacknowledged()), (None, 2));
}

#[test]
fn identifiers_begin_where_they_are_told_to() {
    let mut table = Table::new(ProtocolVersion::V311);
    table.machine.set_first_packet_id(id(65_535));
    table.connack(true, 100);
    table.publish(QoS::ExactlyOnce);
    table.publish(QoS::ExactlyOnce);
    assert_eq!(table.sent(), ["PUBLISH 65535", "PUBLISH 1"]);
}

#[test]
fn a_sign_of_life_puts_off_the_end() {
    let mut table = Table::new(ProtocolVersion::V311);
    table.connack(false, 100);
    let at = table.machine.poll_timeout().unwrap();
    table.machine.shows_life(at);
    assert_eq!(table.machine.poll_timeout(), Some(at), "PINGREQ goes out all the same");
    table.machine.handle_timeout(at).unwrap();
    let due = table.machine.poll_timeout().unwrap();
    table.machine.shows_life(due);
    table.machine.handle_timeout(due).unwrap();
    assert_eq!(table.machine.poll_timeout(), Some(due + (due - at)));
    assert_eq!(table.machine.handle_timeout(due + (due - at)), Err(Failure::KeepAlive));
}

#[test]
fn an_alias_stands_for_the_topic_it_was_given() {
    let mut table = Table::new(ProtocolVersion::V5);
    table.connack(false, 100);
    let with = |topic: Option<&'static str>, alias| {
        Packet::Publish(Publish {
            dup: false,
            retain: false,
            delivery: Delivery::AtMostOnce,
            topic: topic.map(|topic| TopicName::new(topic).unwrap()),
            properties: PublishProperties { topic_alias: Some(alias), ..PublishProperties::default() },
            payload: b"",
        })
    };
    table.receive(&with(Some("long/topic"), 5)).unwrap();
    table.receive(&with(None, 5)).unwrap();
    for _ in 0..2 {
        let Some(Event::Message(message)) = table.event() else { panic!("no message") };
        assert_eq!(message.topic, "long/topic");
    }
    assert!(table.machine.receive(&encoded(&with(None, 4)), table.now).is_err(), "no meaning");
    assert!(table.machine.receive(&encoded(&with(Some("a"), 6)), table.now).is_err(), "above the maximum");
}

fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(packet, ProtocolVersion::V5, &mut bytes);
    bytes
}

#[test]
fn a_silent_server_is_asked_and_then_given_up() {
    let mut table = Table::new(ProtocolVersion::V311);
    table.connack(false, 100);
    let at = table.machine.poll_timeout().unwrap();
    assert_eq!(at, table.now + Duration::from_secs(60));
    table.machine.handle_timeout(at - Duration::from_secs(1)).unwrap();
    assert!(table.sent().is_empty());
    table.machine.handle_timeout(at).unwrap();
    assert_eq!(table.sent(), ["PINGREQ"]);
    let due = table.machine.poll_timeout().unwrap();
    assert_eq!(table.machine.handle_timeout(due), Err(Failure::KeepAlive));
    table.receive(&Packet::PingResp).unwrap();
    assert!(table.machine.handle_timeout(due - Duration::from_secs(1)).is_ok());
}

#[test]
fn what_the_server_may_not_send_is_a_failure() {
    let mut table = Table::new(ProtocolVersion::V5);
    assert!(table.receive(&Packet::PingResp).is_err(), "before CONNACK");
    table.connack(false, 100);
    assert!(table.machine.receive(b"\xC0\0", table.now).is_err(), "PINGREQ is the client's");
    assert!(table.machine.receive(b"\xFF\xFF", table.now).is_err());
}

#[test]
fn a_bridge_sets_the_high_bit_of_the_level_in_older_versions() {
    for (version, level) in [(ProtocolVersion::V31, 0x83), (ProtocolVersion::V311, 0x84), (ProtocolVersion::V5, 5)] {
        let mut bytes = Vec::new();
        Options { version, is_bridge: true, ..Options::default() }.encode(&mut bytes);
        let at = 2 + 2 + if version == ProtocolVersion::V31 { 6 } else { 4 };
        assert_eq!(bytes[at], level, "{version}");
    }
}
