use super::*;

const V5: ProtocolVersion = ProtocolVersion::V5;
const V311: ProtocolVersion = ProtocolVersion::V311;
const ACKED: u8 = 0;
const NOBODY: u8 = 0x10;

#[test]
fn a_message_of_each_qos_reaches_a_subscriber_of_each_version() {
    for (publishing, subscribing) in [(V311, V5), (V5, V311), (ProtocolVersion::V31, ProtocolVersion::V31), (V5, V5)] {
        let house = House::new();
        let (mut from, mut to) = (house.client(publishing, "from"), house.client(subscribing, "to"));
        to.subscribe(&house, "a/+", QoS::ExactlyOnce);
        assert_eq!(to.receive(&house), [Seen::SubAck(100, vec![2])]);
        from.publish(&house, "a/b", "zero", Delivery::AtMostOnce);
        from.publish(&house, "a/b", "one", q1(7));
        from.publish(&house, "a/b", "two", q2(8));
        assert_eq!(from.receive(&house), [Seen::Ack("puback", 7, ACKED), Seen::Ack("pubrec", 8, ACKED)]);
        assert_eq!(
            to.receive(&house),
            [
                got("a/b", "zero", QoS::AtMostOnce, None),
                got("a/b", "one", QoS::AtLeastOnce, Some(1)),
                got("a/b", "two", QoS::ExactlyOnce, Some(2)),
            ]
        );
        from.send(&house, &Packet::PubRel(Release::new(packet_id(8), ReleaseReason::Success)));
        assert_eq!(from.receive(&house), [Seen::Ack("pubcomp", 8, 0)]);
        to.send(&house, &Packet::PubRec(PublishAck::new(packet_id(2), PublishReason::Success)));
        assert_eq!(to.receive(&house), [Seen::Ack("pubrel", 2, 0)]);
        to.send(&house, &Packet::PubComp(Release::new(packet_id(2), ReleaseReason::Success)));
        assert_eq!(to.receive(&house), []);
    }
}

#[test]
fn a_qos_2_message_that_comes_again_before_its_release_is_delivered_once() {
    let house = House::new();
    let (mut from, mut to) = (house.client(V5, "from"), house.client(V5, "to"));
    to.subscribe(&house, "t", QoS::AtMostOnce);
    to.receive(&house);
    from.publish(&house, "t", "x", q2(1));
    from.publish(&house, "t", "x", q2(1));
    assert_eq!(from.receive(&house), [Seen::Ack("pubrec", 1, 0), Seen::Ack("pubrec", 1, 0)]);
    assert_eq!(to.receive(&house).len(), 1);
    from.send(&house, &Packet::PubRel(Release::new(packet_id(1), ReleaseReason::Success)));
    from.publish(&house, "t", "y", q2(1));
    assert_eq!(to.receive(&house), [got("t", "y", QoS::AtMostOnce, None)]);
}

#[test]
fn release_of_an_unknown_identifier_is_completed_with_a_code() {
    let house = House::new();
    let mut peer = house.client(V5, "c");
    peer.send(&house, &Packet::PubRel(Release::new(packet_id(9), ReleaseReason::Success)));
    assert_eq!(peer.receive(&house), [Seen::Ack("pubcomp", 9, 0x92)]);
    peer.send(&house, &Packet::PubRec(PublishAck::new(packet_id(9), PublishReason::Success)));
    assert_eq!(peer.receive(&house), [Seen::Ack("pubrel", 9, 0x92)]);
    peer.ack(&house, 9);
    assert_eq!(peer.receive(&house), []);
}

#[test]
fn an_error_in_pubrec_ends_the_exchange_without_pubrel() {
    let house = House::new();
    let (mut from, mut to) = (house.client(V5, "from"), house.client(V5, "to"));
    to.subscribe(&house, "t", QoS::ExactlyOnce);
    from.publish(&house, "t", "x", q2(1));
    to.receive(&house);
    to.send(&house, &Packet::PubRec(PublishAck::new(packet_id(1), PublishReason::QuotaExceeded)));
    assert_eq!(to.receive(&house), []);
    to.send(&house, &Packet::PubComp(Release::new(packet_id(1), ReleaseReason::Success)));
    assert!(!to.closed);
}

#[test]
fn a_publisher_is_acknowledged_before_its_message_comes_back_to_it() {
    let house = House::new();
    let mut peer = house.client(V5, "c");
    peer.subscribe(&house, "t", QoS::AtMostOnce);
    peer.receive(&house);
    peer.publish(&house, "t", "x", q1(5));
    assert_eq!(peer.receive(&house), [Seen::Ack("puback", 5, 0), got("t", "x", QoS::AtMostOnce, None)]);
}

#[test]
fn a_message_that_nobody_wants_is_acknowledged_with_its_own_code() {
    let house = House::new();
    let mut peer = house.client(V5, "c");
    peer.publish(&house, "t", "x", q1(5));
    assert_eq!(peer.receive(&house), [Seen::Ack("puback", 5, NOBODY)]);
}

#[test]
fn receive_maximum_of_the_client_bounds_what_is_under_way() {
    let house = House::new();
    let mut from = house.client(V5, "from");
    let mut request = Connect { client_id: "to", ..connect(V5) };
    request.properties.receive_maximum = 2;
    let (mut to, _) = house.connect(request);
    to.subscribe(&house, "t", QoS::AtLeastOnce);
    to.receive(&house);
    for n in 0..5 {
        from.publish(&house, "t", &n.to_string(), q1(n + 1));
    }
    let payloads = |seen: Vec<Seen>| seen.len();
    assert_eq!(payloads(to.receive(&house)), 2);
    to.ack(&house, 1);
    assert_eq!(to.receive(&house), [got("t", "2", QoS::AtLeastOnce, Some(3))]);
    to.ack(&house, 3);
    to.ack(&house, 2);
    assert_eq!(payloads(to.receive(&house)), 2);
}

#[test]
fn more_unacknowledged_messages_than_the_broker_takes_end_the_connection() {
    let house = House::with_limits(Limits { receive_maximum: 2, ..Limits::default() });
    let mut peer = house.client(V5, "c");
    for id in 1..=3 {
        peer.publish(&house, "t", "x", q2(id));
    }
    let seen = peer.receive(&house);
    assert_eq!(seen.last(), Some(&Seen::Disconnect(0x93)));
    assert!(peer.closed);
}

#[test]
fn overlapping_subscriptions_deliver_once_with_the_highest_qos() {
    let house = House::new();
    let (mut from, mut to) = (house.client(V5, "from"), house.client(V5, "to"));
    to.subscribe(&house, "a/#", QoS::AtMostOnce);
    to.subscribe(&house, "a/+", QoS::AtLeastOnce);
    to.subscribe(&house, "a/b", QoS::AtMostOnce);
    to.receive(&house);
    from.publish(&house, "a/b", "x", q2(1));
    assert_eq!(to.receive(&house), [got("a/b", "x", QoS::AtLeastOnce, Some(1))]);
}

#[test]
fn retained_messages_are_sent_to_new_subscriptions_and_cleared_by_an_empty_payload() {
    let house = House::new();
    let (mut from, mut to) = (house.client(V5, "from"), house.client(V311, "to"));
    for n in 0..200 {
        from.retain(&house, &format!("s/{n:03}"), "v");
    }
    from.retain(&house, "s/007", "");
    to.subscribe(&house, "s/+", QoS::AtLeastOnce);
    let seen = to.receive(&house);
    assert_eq!(seen.len(), 200, "SUBACK and 199 messages");
    assert!(matches!(&seen[1], Seen::Publish { retain: true, qos: QoS::AtMostOnce, .. }));
    assert_eq!(house.broker.retained.counts().0, 199);
}

#[test]
fn a_denied_publish_is_neither_delivered_nor_retained() {
    let house = House::with_rights(Limits::default(), Some("pattern read #\ntopic read #\ntopic write open/#\n"));
    let (mut from, mut to) = (house.client(V5, "from"), house.client(V5, "to"));
    to.subscribe(&house, "#", QoS::AtMostOnce);
    to.receive(&house);
    from.publish(&house, "closed/x", "x", q1(1));
    from.retain(&house, "closed/x", "x");
    from.publish(&house, "open/x", "y", q1(2));
    assert_eq!(from.receive(&house), [Seen::Ack("puback", 1, 0x87), Seen::Ack("puback", 2, 0)]);
    assert_eq!(to.receive(&house), [got("open/x", "y", QoS::AtMostOnce, None)]);
    assert_eq!(house.broker.retained.counts(), (0, 0));
}

#[test]
fn clients_cannot_write_to_sys_topics() {
    let house = House::new();
    let mut peer = house.client(V5, "c");
    peer.publish(&house, "$SYS/broker/uptime", "x", q1(1));
    assert_eq!(peer.receive(&house), [Seen::Ack("puback", 1, 0x87)]);
}

#[test]
fn qos_0_does_not_wait_behind_a_full_window() {
    let house = House::new();
    let mut from = house.client(V5, "from");
    let mut request = Connect { client_id: "to", ..connect(V5) };
    request.properties.receive_maximum = 1;
    let (mut to, _) = house.connect(request);
    to.subscribe(&house, "t", QoS::AtLeastOnce);
    to.receive(&house);
    for id in 1..=3 {
        from.publish(&house, "t", "one", q1(id));
    }
    from.publish(&house, "t", "zero", Delivery::AtMostOnce);
    let seen = to.receive(&house);
    assert_eq!(seen, [got("t", "one", QoS::AtLeastOnce, Some(1)), got("t", "zero", QoS::AtMostOnce, None)]);
}
