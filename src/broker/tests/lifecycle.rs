use super::*;

const V5: ProtocolVersion = ProtocolVersion::V5;
const V311: ProtocolVersion = ProtocolVersion::V311;

fn persistent(id: &str, expiry: u32) -> Connect<'_> {
    let mut request = Connect { client_id: id, clean_start: false, ..connect(V5) };
    request.properties.session_expiry_interval = expiry;
    request
}

fn will(topic: &str, delay: u32) -> Will<'_> {
    Will {
        topic: TopicName::new(topic).unwrap(),
        payload: b"gone",
        qos: QoS::AtMostOnce,
        retain: false,
        delay_interval: delay,
        message_expiry_interval: None,
        properties: ForwardedProperties::default(),
    }
}

#[test]
fn a_session_that_comes_back_gets_what_was_unacknowledged_again_in_order() {
    let house = House::new();
    let mut from = house.client(V5, "from");
    let (mut to, _) = house.connect(persistent("to", 100));
    to.subscribe(&house, "t", QoS::ExactlyOnce);
    for (n, delivery) in [q1(1), q2(2), q1(3), q2(4)].into_iter().enumerate() {
        from.publish(&house, "t", &n.to_string(), delivery);
    }
    assert_eq!(to.receive(&house).len(), 5);
    to.send(&house, &Packet::PubRec(PublishAck::new(packet_id(2), PublishReason::Success)));
    to.receive(&house);
    to.cut(&house);
    from.publish(&house, "t", "later", q1(5));
    let (mut to, connack) = house.connect(persistent("to", 100));
    assert_eq!(connack, Seen::ConnAck { present: true, reason: 0 });
    let again =
        |n: &str, qos, id| Seen::Publish { topic: "t".into(), payload: n.into(), qos, retain: false, dup: true, id: Some(id) };
    assert_eq!(
        to.receive(&house),
        [
            Seen::Ack("pubrel", 2, 0),
            again("0", QoS::AtLeastOnce, 1),
            again("2", QoS::AtLeastOnce, 3),
            again("3", QoS::ExactlyOnce, 4),
            got("t", "later", QoS::AtLeastOnce, Some(5)),
        ]
    );
}

#[test]
fn a_clean_start_forgets_what_was_there() {
    let house = House::new();
    let mut from = house.client(V5, "from");
    let (mut to, _) = house.connect(persistent("to", 100));
    to.subscribe(&house, "t", QoS::AtLeastOnce);
    to.cut(&house);
    from.publish(&house, "t", "x", q1(1));
    let (mut to, connack) = house.connect(Connect { clean_start: true, ..persistent("to", 100) });
    assert_eq!(connack, Seen::ConnAck { present: false, reason: 0 });
    from.publish(&house, "t", "y", q1(2));
    assert_eq!(to.receive(&house), []);
}

#[test]
fn a_session_ends_when_its_expiry_has_passed_and_not_before() {
    let mut house = House::new();
    let (mut peer, _) = house.connect(persistent("c", 10));
    peer.subscribe(&house, "t", QoS::AtLeastOnce);
    peer.cut(&house);
    house.pass(Duration::from_secs(9));
    let (mut peer, connack) = house.connect(persistent("c", 10));
    assert_eq!(connack, Seen::ConnAck { present: true, reason: 0 });
    house.pass(Duration::from_secs(20));
    peer.cut(&house);
    house.pass(Duration::from_secs(11));
    assert_eq!(house.connect(persistent("c", 10)).1, Seen::ConnAck { present: false, reason: 0 });
    assert_eq!(house.broker.router.counts(), (0, 0));
}

#[test]
fn an_older_client_without_a_clean_session_keeps_it() {
    let house = House::new();
    let request = Connect { client_id: "c", clean_start: false, ..connect(V311) };
    let (mut peer, _) = house.connect(request);
    peer.send(&house, &Packet::Disconnect(Disconnect::new(DisconnectReason::NormalDisconnection)));
    assert!(peer.closed);
    assert_eq!(house.connect(request).1, Seen::ConnAck { present: true, reason: 0 });
}

#[test]
fn the_old_connection_is_told_that_it_was_taken_over() {
    let house = House::new();
    let (mut first, _) = house.connect(persistent("c", 100));
    first.subscribe(&house, "t", QoS::AtLeastOnce);
    first.receive(&house);
    let (mut second, connack) = house.connect(persistent("c", 100));
    assert_eq!(connack, Seen::ConnAck { present: true, reason: 0 });
    assert_eq!(first.receive(&house), [Seen::Disconnect(0x8E)]);
    assert!(first.closed);
    let mut from = house.client(V5, "from");
    from.publish(&house, "t", "x", q1(1));
    assert_eq!(second.receive(&house).len(), 1);
}

#[test]
fn a_silent_client_is_cut_after_one_and_a_half_keep_alives_and_its_will_published() {
    let mut house = House::new();
    let mut watcher = house.client(V5, "watcher");
    watcher.subscribe(&house, "will", QoS::AtMostOnce);
    watcher.receive(&house);
    let (mut peer, _) = house.connect(Connect { client_id: "c", keep_alive: 10, will: Some(will("will", 0)), ..connect(V5) });
    house.pass(Duration::from_secs(14));
    peer.send(&house, &Packet::PingReq);
    assert_eq!(peer.receive(&house), [Seen::Other("PingResp".into())]);
    house.pass(Duration::from_secs(14));
    assert_eq!(peer.receive(&house), []);
    house.pass(Duration::from_secs(2));
    assert_eq!(peer.receive(&house), [Seen::Disconnect(0x8D)]);
    assert_eq!(watcher.receive(&house), [got("will", "gone", QoS::AtMostOnce, None)]);
}

#[test]
fn a_normal_disconnect_takes_the_will_along_and_0x04_leaves_it() {
    for (reason, published) in [(DisconnectReason::NormalDisconnection, 0), (DisconnectReason::DisconnectWithWillMessage, 1)] {
        let house = House::new();
        let mut watcher = house.client(V5, "watcher");
        watcher.subscribe(&house, "will", QoS::AtMostOnce);
        watcher.receive(&house);
        let (mut peer, _) = house.connect(Connect { client_id: "c", will: Some(will("will", 0)), ..connect(V5) });
        peer.send(&house, &Packet::Disconnect(Disconnect::new(reason)));
        assert_eq!(watcher.receive(&house).len(), published, "{reason}");
    }
}

#[test]
fn a_delayed_will_waits_is_cancelled_by_a_return_and_cut_short_by_the_sessions_end() {
    let mut house = House::new();
    let mut watcher = house.client(V5, "watcher");
    watcher.subscribe(&house, "will", QoS::AtMostOnce);
    watcher.receive(&house);
    let request = |expiry| Connect { will: Some(will("will", 10)), ..persistent("c", expiry) };
    let (mut peer, _) = house.connect(request(100));
    peer.cut(&house);
    house.pass(Duration::from_secs(5));
    let (mut peer, _) = house.connect(request(100));
    house.pass(Duration::from_secs(20));
    assert_eq!(watcher.receive(&house), []);
    peer.cut(&house);
    house.pass(Duration::from_secs(9));
    assert_eq!(watcher.receive(&house), []);
    house.pass(Duration::from_secs(2));
    assert_eq!(watcher.receive(&house).len(), 1);
    let (mut peer, _) = house.connect(request(3));
    peer.cut(&house);
    house.pass(Duration::from_secs(4));
    assert_eq!(watcher.receive(&house).len(), 1, "the session has ended before the delay");
}

#[test]
fn the_session_expiry_can_be_changed_at_disconnect_but_not_from_zero() {
    let house = House::new();
    let goodbye = |expiry| {
        Packet::Disconnect(Disconnect {
            session_expiry_interval: Some(expiry),
            ..Disconnect::new(DisconnectReason::NormalDisconnection)
        })
    };
    let (mut peer, _) = house.connect(persistent("c", 100));
    peer.send(&house, &goodbye(0));
    let (mut peer, connack) = house.connect(persistent("c", 0));
    assert_eq!(connack, Seen::ConnAck { present: false, reason: 0 });
    peer.send(&house, &goodbye(10));
    assert_eq!(peer.receive(&house), [Seen::Disconnect(0x82)]);
}

#[test]
fn a_member_that_leaves_hands_its_unacknowledged_messages_on() {
    let house = House::new();
    let mut from = house.client(V5, "from");
    let mut members: Vec<_> = ["a", "b"].iter().map(|id| house.connect(persistent(id, 100)).0).collect();
    for member in &mut members {
        member.subscribe(&house, "$share/g/t", QoS::AtLeastOnce);
        member.receive(&house);
    }
    for n in 1..=4 {
        from.publish(&house, "t", &n.to_string(), q1(n));
    }
    assert_eq!(members[0].receive(&house).len() + members[1].receive(&house).len(), 4);
    members[0].cut(&house);
    assert_eq!(members[1].receive(&house).len(), 2);
    members[1].cut(&house);
    from.publish(&house, "t", "5", q1(5));
    let (mut a, _) = house.connect(persistent("a", 100));
    let (mut b, _) = house.connect(persistent("b", 100));
    assert_eq!(a.receive(&house).len() + b.receive(&house).len(), 5, "nothing is lost while nobody is online");
}

#[test]
fn a_client_that_reads_nothing_costs_a_bounded_buffer_and_is_cut() {
    let limits = Limits { max_write_buffer: crate::units::ByteSize(10_000), ..Limits::default() };
    let mut house = House::with_limits(limits);
    let (mut from, mut to) = (house.client(V5, "from"), house.client(V5, "to"));
    to.subscribe(&house, "t", QoS::AtMostOnce);
    to.receive(&house);
    to.is_stuck = true;
    let payload = "x".repeat(1000);
    for _ in 0..100 {
        from.publish(&house, "t", &payload, Delivery::AtMostOnce);
    }
    to.receive(&house);
    assert!(house.broker.metrics.traffic().messages_dropped(crate::metrics::DropReason::WriteBufferFull) >= 85);
    house.pass(Duration::from_secs(70));
    to.is_stuck = false;
    let seen = to.receive(&house);
    assert_eq!(seen.last(), Some(&Seen::Disconnect(0x97)));
}

#[test]
fn expired_messages_are_not_delivered_and_the_rest_of_their_time_is_told() {
    let mut house = House::new();
    let mut from = house.client(V5, "from");
    let (mut to, _) = house.connect(persistent("to", 1000));
    to.subscribe(&house, "t", QoS::AtLeastOnce);
    to.cut(&house);
    for (n, expiry) in [5, 50].into_iter().enumerate() {
        let mut publish = message("t", "x", q1(n as u16 + 1), false);
        publish.properties.message_expiry_interval = Some(expiry);
        from.send(&house, &Packet::Publish(publish));
    }
    house.pass(Duration::from_secs(10));
    let (mut to, _) = house.connect(persistent("to", 1000));
    assert_eq!(to.receive(&house).len(), 1);
}

#[test]
fn large_retained_messages_all_arrive_however_small_the_write_buffer() {
    let limits = Limits { max_write_buffer: crate::units::ByteSize(10_000), ..Limits::default() };
    let house = House::with_limits(limits);
    let (mut from, mut to) = (house.client(V5, "from"), house.client(V5, "to"));
    for n in 0..50 {
        from.retain(&house, &format!("s/{n}"), &"x".repeat(3000));
    }
    to.subscribe(&house, "s/+", QoS::AtMostOnce);
    assert_eq!(to.receive(&house).len(), 51);
}

/// 4.3.3: an older client cannot be told no, so it is closed out; what it sends again is a new message then.
#[test]
fn a_qos_2_message_that_was_refused_is_taken_when_it_comes_again() {
    let house = House::with_limits(Limits { max_retained_messages: 1, ..Limits::default() });
    let mut other = house.client(V5, "other");
    other.retain(&house, "a", "x");
    let request = || Connect { clean_start: false, client_id: "c", ..connect(V311) };
    let again = Delivery::ExactlyOnce(packet_id(7));
    let (mut peer, _) = house.connect(request());
    peer.send(&house, &Packet::Publish(message("b", "y", again, true)));
    assert!(peer.closed && peer.receive(&house).is_empty());
    other.retain(&house, "a", "");
    let (mut peer, connack) = house.connect(request());
    assert_eq!(connack, Seen::ConnAck { present: true, reason: 0 });
    peer.send(&house, &Packet::Publish(Publish { dup: true, ..message("b", "y", again, true) }));
    assert_eq!(peer.receive(&house), [Seen::Ack("pubrec", 7, 0)]);
    assert_eq!(house.broker.retained_counts().0, 1);
}

/// What is published in its client's name, but not by its connection, wakes that connection.
#[test]
fn what_a_client_has_delayed_reaches_itself_and_keeps_nothing_back() {
    let mut house = House::new();
    let mut peer = house.client(V5, "c");
    peer.subscribe(&house, "a", QoS::AtLeastOnce);
    peer.publish(&house, "$delayed/1/a", "mine", Delivery::AtLeastOnce(packet_id(1)));
    peer.receive(&house);
    house.pass(Duration::from_secs(2));
    house.broker.tend_queues(house.now);
    let handle = house.broker.registry.get("c").unwrap();
    assert!(handle.lock(|slot| slot.online.as_ref().unwrap().is_notified || !slot.online.as_ref().unwrap().outbox.is_empty()));
    assert_eq!(peer.receive(&house).len(), 1);
}

/// Between the end of a session and its leaving the group, nothing that the group is given is lost.
#[test]
fn a_member_whose_session_is_ending_takes_nothing_from_the_others() {
    let house = House::new();
    let mut ending = house.client(V5, "ending");
    let mut other = house.client(V5, "other");
    for member in [&mut ending, &mut other] {
        member.subscribe(&house, "$share/g/a", QoS::AtLeastOnce);
        member.receive(&house);
    }
    house.broker.registry.get("ending").unwrap().lock(|slot| slot.is_ended = true);
    let mut publisher = house.client(V5, "publisher");
    for number in 1..=4 {
        publisher.publish(&house, "a", "x", Delivery::AtLeastOnce(packet_id(number)));
    }
    assert_eq!(other.receive(&house).len(), 4);
    assert_eq!(publisher.receive(&house), [1, 2, 3, 4].map(|id| Seen::Ack("puback", id, 0)));
    // None is left: it is told as it is.
    house.broker.registry.get("other").unwrap().lock(|slot| slot.is_ended = true);
    publisher.publish(&house, "a", "x", Delivery::AtLeastOnce(packet_id(5)));
    assert_eq!(publisher.receive(&house), [Seen::Ack("puback", 5, PublishReason::NoMatchingSubscribers as u8)]);
}
