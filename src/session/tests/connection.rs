use std::cell::RefCell;

use super::*;

/// A connection that was let in, and its session.
struct Line {
    connection: Connection,
    session: RefCell<Session>,
    version: ProtocolVersion,
}

fn connect(version: ProtocolVersion) -> Connect<'static> {
    Connect {
        version,
        clean_start: true,
        keep_alive: 0,
        client_id: "c",
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

fn agreement() -> Agreement {
    Agreement { session_expiry_interval: 0, maximum_packet_size: None, problem_information: true, authentication_method: None }
}

impl Line {
    fn new(version: ProtocolVersion, limits: Limits) -> Self {
        Self::agreed(version, limits, agreement())
    }

    fn agreed(version: ProtocolVersion, limits: Limits, agreement: Agreement) -> Self {
        let mut line = Self { connection: Connection::new(Arc::new(limits)), session: RefCell::default(), version };
        assert!(matches!(line.give(Packet::Connect(connect(version))), Ok(Action::Connect(_))));
        line.connection.accept(agreement, &connack());
        assert_eq!(line.connection.phase(), Phase::Connected);
        line.connection.take_output();
        line
    }

    fn give<'a>(&mut self, packet: Packet<'a>) -> Result<Action<'a>, Violation> {
        // What comes of it borrows from it; a test may keep that as long as it likes.
        self.connection.handle_packet(Box::leak(Box::new(packet)), &self.session)
    }

    fn refused(&mut self, packet: Packet<'_>) -> DisconnectReason {
        self.give(packet).expect_err("a violation").reason
    }

    /// Gives a message in, and answers it at once.
    fn publish(&mut self, delivery: Delivery) -> Result<(), Violation> {
        self.publish_refused_with(delivery, PublishReason::Success)
    }

    fn publish_refused_with(&mut self, delivery: Delivery, reason: PublishReason) -> Result<(), Violation> {
        match self.give(publish(delivery))? {
            Action::Publish(InboundPublish { ack: Some(token), .. }) => {
                self.connection.publish_done(token, reason, &self.session);
            }
            Action::Repeated(token) => self.connection.publish_done(token, PublishReason::Success, &self.session),
            Action::Publish(_) | Action::None => {}
            other => panic!("{other:?}"),
        }
        Ok(())
    }

    fn release(&mut self, value: u16) {
        match self.give(Packet::PubRel(Release::new(id(value), ReleaseReason::Success))).unwrap() {
            Action::Released(token, _) | Action::Repeated(token) => {
                self.connection.publish_done(token, PublishReason::Success, &self.session);
            }
            Action::None => {}
            other => panic!("{other:?}"),
        }
    }

    /// The acknowledgements since the last time: packet, identifier, code.
    fn acks(&mut self) -> Vec<(PacketType, u16, u8)> {
        let bytes = self.connection.take_output();
        packets(&bytes, self.version)
            .iter()
            .map(|packet| match packet {
                Packet::PubAck(ack) | Packet::PubRec(ack) => (packet.packet_type(), ack.packet_id.get(), ack.reason as u8),
                Packet::PubRel(ack) | Packet::PubComp(ack) => (packet.packet_type(), ack.packet_id.get(), ack.reason as u8),
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

fn connack() -> ConnAck<'static> {
    ConnAck { session_present: false, reason: ConnectReason::Success, properties: ConnAckProperties::default() }
}

fn publish(delivery: Delivery) -> Packet<'static> {
    Packet::Publish(Publish {
        dup: false,
        retain: false,
        delivery,
        topic: Some(TopicName::new("t").unwrap()),
        properties: PublishProperties::default(),
        payload: b"x",
    })
}

fn q1(value: u16) -> Delivery {
    Delivery::AtLeastOnce(id(value))
}

fn q2(value: u16) -> Delivery {
    Delivery::ExactlyOnce(id(value))
}

fn aliased(topic: Option<&'static str>, alias: u16) -> Packet<'static> {
    let Packet::Publish(mut publish) = publish(Delivery::AtMostOnce) else { unreachable!("it is one") };
    publish.topic = topic.map(|topic| TopicName::new(topic).unwrap());
    publish.properties.topic_alias = Some(alias);
    Packet::Publish(publish)
}

/// `[MQTT-4.6.0-2]`, `[MQTT-4.6.0-3]`, `[MQTT-4.6.0-4]`.
#[test]
fn acknowledgements_leave_in_the_order_of_their_packets_however_late_the_answers() {
    let mut line = Line::new(V5, Limits::default());
    line.publish(q2(9)).unwrap();
    line.acks();
    let mut tokens = Vec::new();
    for delivery in [q1(1), q2(2), q1(3)] {
        let Action::Publish(InboundPublish { ack: Some(token), .. }) = line.give(publish(delivery)).unwrap() else {
            panic!("it is owed an answer")
        };
        tokens.push(token);
    }
    let Action::Released(release, _) = line.give(Packet::PubRel(Release::new(id(9), ReleaseReason::Success))).unwrap() else {
        panic!("it was received")
    };
    for token in [release, tokens[2], tokens[1]] {
        line.connection.publish_done(token, PublishReason::Success, &line.session);
        assert_eq!(line.acks(), []);
    }
    line.publish(q2(2)).unwrap();
    assert_eq!(line.acks(), [], "a duplicate waits for its turn too");
    line.connection.publish_done(tokens[0], PublishReason::NoMatchingSubscribers, &line.session);
    assert_eq!(
        line.acks(),
        [
            (PacketType::PubAck, 1, 0x10),
            (PacketType::PubRec, 2, 0),
            (PacketType::PubAck, 3, 0),
            (PacketType::PubComp, 9, 0),
            (PacketType::PubRec, 2, 0),
        ]
    );
}

/// `[MQTT-4.3.3-10]`, `[MQTT-4.3.3-12]`.
#[test]
fn a_qos_2_message_is_handed_on_once_until_its_release() {
    for version in [V311, V5] {
        let mut line = Line::new(version, Limits::default());
        for _ in 0..3 {
            line.publish(q2(7)).unwrap();
        }
        assert_eq!(line.acks(), [(PacketType::PubRec, 7, 0); 3]);
        assert_eq!(line.session.borrow().received_len(), 1);
        let Ok(Action::Repeated(token)) = line.give(publish(q2(7))) else { panic!("it came before") };
        line.connection.publish_done(token, PublishReason::Success, &line.session);
        line.release(7);
        assert!(matches!(line.give(publish(q2(7))), Ok(Action::Publish(_))), "another message");
    }
}

/// 4.3.3: an error in PUBREC ends the exchange; the identifier is free.
#[test]
fn a_refused_qos_2_message_leaves_no_trace() {
    let mut line = Line::new(V5, Limits { receive_maximum: 1, ..Limits::default() });
    for _ in 0..3 {
        line.publish_refused_with(q2(7), PublishReason::QuotaExceeded).unwrap();
        assert_eq!(line.acks(), [(PacketType::PubRec, 7, 0x97)]);
        assert_eq!(line.session.borrow().received_len(), 0);
    }
    assert!(matches!(line.give(publish(q2(7))), Ok(Action::Publish(_))));
}

#[test]
fn a_release_of_an_unknown_identifier_is_completed_with_0x92() {
    let mut line = Line::new(V5, Limits::default());
    line.release(3);
    assert_eq!(line.acks(), [(PacketType::PubComp, 3, 0x92)]);
}

/// `[MQTT-4.3.3-4]` and 4.13.1.
#[test]
fn a_pubrec_of_an_unknown_identifier_is_released_with_0x92_unless_it_is_an_error() {
    let mut line = Line::new(V5, Limits::default());
    for reason in [PublishReason::Success, PublishReason::QuotaExceeded] {
        line.give(Packet::PubRec(PublishAck::new(id(3), reason))).unwrap();
    }
    assert_eq!(line.acks(), [(PacketType::PubRel, 3, 0x92)]);
}

/// `[MQTT-4.6.0-4]`: also of one that waits for the disk, and one that does not.
#[test]
fn releases_leave_in_the_order_in_which_their_pubrecs_came() {
    let mut line = Line::new(V5, Limits::default());
    let body = crate::storage::Body::new(stored("t", b"x", QoS::ExactlyOnce, None));
    let recipient = crate::storage::Recipient { session: 1, sequence: 0, qos: QoS::ExactlyOnce, retain: false, notes: None };
    line.session.borrow_mut().outlast(Numbering::new(1));
    let waiting = ExchangeState::Published(Queued::recovered(body, recipient));
    line.session.borrow_mut().outbound.inflight.restore(0, waiting);
    let pubrec = |value| Packet::PubRec(PublishAck::new(id(value), PublishReason::Success));
    let Action::Release(token, 0) = line.give(pubrec(1)).unwrap() else { panic!("it is stored") };
    line.give(pubrec(3)).unwrap();
    assert_eq!(line.acks(), []);
    line.connection.publish_done(token, PublishReason::Success, &line.session);
    assert_eq!(line.acks(), [(PacketType::PubRel, 1, 0), (PacketType::PubRel, 3, 0x92)]);
}

/// `[MQTT-3.3.4-7]`, `[MQTT-4.9.0-1]`.
#[test]
fn messages_over_receive_maximum_are_a_violation_of_5_0_only() {
    let limits = Limits { receive_maximum: 2, ..Limits::default() };
    let mut line = Line::new(V5, limits.clone());
    line.publish(q2(1)).unwrap();
    line.publish(q1(2)).unwrap();
    line.publish(q2(3)).unwrap();
    line.publish(Delivery::AtMostOnce).unwrap();
    assert_eq!(line.refused(publish(q1(4))), DisconnectReason::ReceiveMaximumExceeded);
    let mut line = Line::new(V311, limits);
    for value in 1..=10 {
        line.publish(q2(value)).unwrap();
    }
}

/// 4.9: PUBACK, PUBCOMP and a PUBREC that refuses each give one place back, whatever their code, and never more than there are.
#[test]
fn each_end_of_an_exchange_gives_one_place_back() {
    let mut line = Line::new(V5, Limits { receive_maximum: 2, ..Limits::default() });
    line.publish(q2(1)).unwrap();
    line.publish(q2(2)).unwrap();
    line.release(1);
    line.publish_refused_with(q1(3), PublishReason::NotAuthorized).unwrap();
    line.publish_refused_with(q2(4), PublishReason::NotAuthorized).unwrap();
    line.publish(q2(5)).unwrap();
    assert_eq!(line.refused(publish(q1(6))), DisconnectReason::ReceiveMaximumExceeded);
    line.release(99);
    line.publish(q2(7)).unwrap();
    assert_eq!(line.refused(publish(q1(8))), DisconnectReason::ReceiveMaximumExceeded);
    for unknown in 100..110 {
        line.release(unknown);
    }
    line.publish(q2(9)).unwrap();
    line.publish(q2(10)).unwrap();
    assert_eq!(line.refused(publish(q1(11))), DisconnectReason::ReceiveMaximumExceeded);
}

#[test]
fn a_client_without_receive_maximum_is_read_from_no_further_while_much_is_unanswered() {
    let mut line = Line::new(V311, Limits { receive_maximum: 2, ..Limits::default() });
    let mut tokens = Vec::new();
    for value in 1..=3 {
        assert!(!line.connection.is_congested());
        if let Action::Publish(InboundPublish { ack: Some(token), .. }) = line.give(publish(q1(value))).unwrap() {
            tokens.push(token);
        }
    }
    assert!(line.connection.is_congested());
    line.connection.publish_done(tokens[0], PublishReason::Success, &line.session);
    assert!(!line.connection.is_congested());
}

/// `[MQTT-3.1.0-1]`, `[MQTT-3.1.0-2]`.
#[test]
fn connect_comes_first_and_once() {
    let mut line = Line::new(V5, Limits::default());
    assert_eq!(line.refused(Packet::Connect(connect(V5))), DisconnectReason::ProtocolError);
    let mut stranger = Line { connection: Connection::new(Arc::default()), ..line };
    assert_eq!(stranger.connection.version(), None);
    assert_eq!(stranger.refused(Packet::PingReq), DisconnectReason::ProtocolError);
    assert!(stranger.give(Packet::Connect(connect(V5))).is_ok());
    assert_eq!(stranger.refused(Packet::PingReq), DisconnectReason::ProtocolError, "before CONNACK");
    assert_eq!(stranger.refused(Packet::Connect(connect(V5))), DisconnectReason::ProtocolError);
}

#[test]
fn packets_of_servers_are_a_protocol_error() {
    let mut line = Line::new(V5, Limits::default());
    for packet in [Packet::PingResp, Packet::ConnAck(connack())] {
        assert_eq!(line.refused(packet), DisconnectReason::ProtocolError);
    }
}

#[test]
fn a_packet_larger_than_a_stranger_may_send_is_taken_from_one_who_was_let_in() {
    let limits = Limits { max_connect_size: crate::units::ByteSize(100), ..Limits::default() };
    assert_eq!(Connection::new(Arc::new(limits.clone())).packet_size_max(), 100);
    assert_eq!(Line::new(V5, limits).connection.packet_size_max(), 1 << 20);
}

/// `[MQTT-3.14.4-3]`, 3.14.2.2.2.
#[test]
fn a_goodbye_may_change_the_session_expiry_unless_there_was_none() {
    let goodbye =
        |reason, interval| Packet::Disconnect(Disconnect { session_expiry_interval: interval, ..Disconnect::new(reason) });
    let normal = DisconnectReason::NormalDisconnection;
    for (agreed, told, expected) in [
        (0, None, Some(0)),
        (0, Some(0), Some(0)),
        (0, Some(5), None),
        (9, None, Some(9)),
        (9, Some(0), Some(0)),
        (9, Some(99), Some(60)),
    ] {
        let limits = Limits { max_session_expiry: crate::units::Span::seconds(60), ..Limits::default() };
        let mut line = Line::agreed(V5, limits, Agreement { session_expiry_interval: agreed, ..agreement() });
        match (line.give(goodbye(normal, told)), expected) {
            (Ok(Action::Disconnect { publish_will: false, .. }), Some(expected)) => {
                assert_eq!(line.connection.session_expiry_interval(), expected);
                assert_eq!(line.connection.phase(), Phase::Closed);
                assert!(matches!(line.give(Packet::PingReq), Ok(Action::None)), "nothing after it counts");
                assert!(line.connection.take_output().is_empty());
            }
            (Err(violation), None) => assert_eq!(violation.reason, DisconnectReason::ProtocolError),
            other => panic!("{other:?}"),
        }
    }
    for reason in [DisconnectReason::DisconnectWithWillMessage, DisconnectReason::UnspecifiedError] {
        let mut line = Line::new(V5, Limits::default());
        let action = line.give(goodbye(reason, None)).unwrap();
        assert!(matches!(action, Action::Disconnect { publish_will: true, .. }), "{reason}");
    }
}

#[test]
fn the_server_says_goodbye_to_clients_of_5_0_only_and_only_after_connack() {
    let reason = DisconnectReason::ServerShuttingDown;
    let mut line = Line::new(V5, Limits::default());
    line.connection.disconnect(reason, Some("later"));
    assert_eq!(line.connection.take_output(), b"\xE0\x0A\x8B\x08\x1F\0\x05later");
    line.connection.disconnect(reason, None);
    assert_eq!(line.connection.take_output(), b"", "once");
    let mut line = Line::new(V311, Limits::default());
    line.connection.disconnect(reason, None);
    assert_eq!(line.connection.take_output(), b"");
    let mut stranger = Line { connection: Connection::new(Arc::default()), ..line };
    stranger.give(Packet::Connect(connect(V5))).unwrap();
    stranger.connection.disconnect(reason, None);
    assert_eq!(stranger.connection.take_output(), b"");
}

/// `[MQTT-3.1.2-29]`.
#[test]
fn without_problem_information_no_reason_string_goes_with_a_suback() {
    for problem_information in [true, false] {
        let mut line = Line::agreed(V5, Limits::default(), Agreement { problem_information, ..agreement() });
        let token = line.connection.subscribe_done(id(1), vec![SubscribeReason::NotAuthorized], Some("no"));
        line.connection.publish_done(token, PublishReason::Success, &line.session);
        let bytes = line.connection.take_output();
        let [Packet::SubAck(ack)] = &packets(&bytes, V5)[..] else { panic!("one SUBACK") };
        assert_eq!(ack.reason_string.is_some(), problem_information);
    }
}

/// `[MQTT-3.1.2-24]`.
#[test]
fn an_answer_larger_than_the_client_takes_is_not_sent_and_is_told() {
    let mut line = Line::agreed(V5, Limits::default(), Agreement { maximum_packet_size: Some(20), ..agreement() });
    let token = line.connection.subscribe_done(id(1), vec![SubscribeReason::NotAuthorized], Some("a long story"));
    line.connection.publish_done(token, PublishReason::Success, &line.session);
    assert!(!line.connection.owes_too_much(), "the reason string was left out");
    assert_eq!(line.connection.take_output().len(), 6);
    let token = line.connection.subscribe_done(id(1), vec![SubscribeReason::GrantedQos0; 20], None);
    line.connection.publish_done(token, PublishReason::Success, &line.session);
    assert!(line.connection.owes_too_much());
    assert!(line.connection.take_output().is_empty());
    assert_eq!(line.connection.phase(), Phase::Connected);
}

/// `[MQTT-3.14.0-1]`.
#[test]
fn a_connack_larger_than_the_client_takes_closes_without_a_word() {
    let mut line = Line::new(V5, Limits::default());
    line.connection = Connection::new(Arc::default());
    line.give(Packet::Connect(connect(V5))).unwrap();
    let properties = ConnAckProperties { assigned_client_identifier: Some("a-long-name"), ..ConnAckProperties::default() };
    line.connection.accept(Agreement { maximum_packet_size: Some(10), ..agreement() }, &ConnAck { properties, ..connack() });
    assert!(line.connection.owes_too_much());
    line.connection.disconnect(DisconnectReason::PacketTooLarge, None);
    assert!(line.connection.take_output().is_empty());
}

/// `[MQTT-3.3.2-7]` to `[MQTT-3.3.2-12]`, 3.3.2.3.4.
#[test]
fn topic_aliases_mean_what_they_were_last_set_to() {
    let mut line = Line::new(V5, Limits { topic_alias_maximum: 2, ..Limits::default() });
    assert_eq!(line.refused(aliased(None, 1)), DisconnectReason::ProtocolError);
    for (named, alias, meant) in
        [(Some("a"), 1, "a"), (None, 1, "a"), (Some("b"), 2, "b"), (Some("c"), 1, "c"), (None, 1, "c"), (None, 2, "b")]
    {
        let Action::Publish(publish) = line.give(aliased(named, alias)).unwrap() else { panic!("it is one") };
        assert_eq!(publish.topic().as_str(), meant);
    }
    assert_eq!(line.refused(aliased(Some("d"), 3)), DisconnectReason::TopicAliasInvalid);
}

/// `[MQTT-4.12.1-1]`.
#[test]
fn auth_keeps_to_the_method_of_connect() {
    let auth = |method| {
        Packet::Auth(Auth {
            reason: AuthReason::ReAuthenticate,
            authentication_method: method,
            authentication_data: None,
            reason_string: None,
            user_properties: UserProperties::default(),
        })
    };
    let mut line = Line::new(V5, Limits::default());
    for method in [None, Some("SCRAM-SHA-256")] {
        assert_eq!(line.refused(auth(method)), DisconnectReason::ProtocolError);
    }
    let agreed = Agreement { authentication_method: Some("SCRAM-SHA-256".into()), ..agreement() };
    let mut line = Line::agreed(V5, Limits::default(), agreed);
    assert!(matches!(line.give(auth(Some("SCRAM-SHA-256"))), Ok(Action::Authenticate(_))));
    assert_eq!(line.refused(auth(Some("PLAIN"))), DisconnectReason::ProtocolError);
}

#[test]
fn acknowledgements_of_ours_are_told_with_the_message_and_its_code() {
    let mut line = Line::new(V5, Limits::default());
    let (mut writer, mut out, mut batch) = (writer(V5), OutBuffer::default(), Default::default());
    {
        let mut session = line.session.borrow_mut();
        session.outbound.connect(10);
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce] {
            session.outbound.push(queued("x", qos), &Limits::default(), Instant::now(), &mut batch);
        }
        session.outbound.fill(&mut writer, &mut out, Instant::now(), &mut batch);
    }
    let refused = PublishReason::QuotaExceeded;
    assert!(
        matches!(line.give(Packet::PubAck(PublishAck::new(id(1), refused))), Ok(Action::Settled(_, reason)) if reason == refused)
    );
    assert!(
        matches!(line.give(Packet::PubRec(PublishAck::new(id(2), refused))), Ok(Action::Settled(_, reason)) if reason == refused)
    );
    assert!(matches!(line.give(Packet::PubRec(PublishAck::new(id(3), PublishReason::Success))), Ok(Action::None)));
    assert_eq!(line.acks(), [(PacketType::PubRel, 3, 0)], "an error ends the exchange without PUBREL");
    line.give(Packet::PubComp(Release::new(id(3), ReleaseReason::Success))).unwrap();
    assert!(line.session.borrow().outbound.inflight.is_empty());
}
